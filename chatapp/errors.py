"""The errors that users see: each says what happened, where, and what to do next.

    SwachatError
    ├── UserError       a mistake of the user; exit code 2
    │   ├── ConfigError     a setting, theme or flag
    │   └── StoreError      the database is out of reach or from a newer version
    │       ├── BusyError       another program has locked it
    │       ├── DamagedError    its file is damaged
    │       └── HeldError       another program has the conversation open (`chatapp.store`); exit code 4
    ├── OutputError     standard output is closed or full; exit code 1
    ├── ModelError      a model that is missing, damaged or unsupported; exit code 3
    └── EngineError     the engine process failed or died; exit code 3
        └── BuildError      llama.cpp is another one than this program knows

`exit_code` is the process's exit status when the error ends a command.
"""

from chatapp.text import LONGEST_SENTENCE, one_line


class SwachatError(Exception):
    """Base of every error that is reported to the user in one line, without a traceback."""

    exit_code = 1

    def __init__(self, what: str, todo: str = "") -> None:
        """`what` says what happened and where; `todo` says what to do next.

        Both become one line of bounded length that a terminal can show, whatever file, name or library they quote.
        """
        self.what = one_line(what, LONGEST_SENTENCE)
        self.todo = one_line(todo, LONGEST_SENTENCE)
        super().__init__(self.what)

    def __str__(self) -> str:
        return f"{self.what} {self.todo}".strip()


class UserError(SwachatError):
    """A mistake that the user can fix: a flag, a file, a name."""

    exit_code = 2


class ConfigError(UserError):
    """A setting or theme that cannot be used; `what` names the file, line and key."""


class StoreError(UserError):
    """The conversation database cannot be opened or written."""


class BusyError(StoreError):
    """Another program has locked the database: the same call may succeed a moment later."""


class DamagedError(StoreError):
    """The file of the database is damaged as a whole, not only some rows of it."""


class OutputError(SwachatError):
    """Standard output cannot be written."""


class ModelError(SwachatError):
    """A model that cannot be found, read, loaded or run."""

    exit_code = 3


class EngineError(SwachatError):
    """The engine process failed or ended."""

    exit_code = 3


class BuildError(EngineError):
    """llama.cpp is not as this program knows it: a name, a layout or the words of its log."""
