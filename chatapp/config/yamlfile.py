"""A YAML file of settings as plain values, each with its line number.

Only mappings, lists and plain scalars are read. Tags, aliases and duplicate keys are rejected: each of them makes a
file mean something other than what it seems to say.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from chatapp.errors import ConfigError
from chatapp.text import one_line

if TYPE_CHECKING:
    import yaml

LIMIT_BYTES = 1 << 20
"""A larger file is not a settings file; without a limit, /dev/zero would be read forever."""

MOST_VALUES = 2000
"""Keys and values. All settings are about a hundred; PyYAML takes half a minute for the hundreds of thousands that fit
in LIMIT_BYTES."""
LONGEST_NUMBER = 100
"""Characters: PyYAML takes minutes for a number of a megabyte."""

_TAG = "tag:yaml.org,2002:"
_COLLECTIONS = {f"{_TAG}map", f"{_TAG}seq"}
_TYPED = {f"{_TAG}{name}" for name in ("null", "bool", "int", "float")}
_TEXT = {f"{_TAG}{name}" for name in ("str", "timestamp", "merge", "value")}
"""YAML 1.1 gives `2026-01-01`, `<<` and `=` types of their own; here they are plain text."""

Keys = tuple[str | int, ...]
"""The path to a value: keys of mappings, indices of lists."""


@dataclass(frozen=True, slots=True)
class YamlFile:
    """The file's values, and the line (from 1) of each by its path."""

    path: Path
    values: dict[str, object]
    lines: Mapping[Keys, int] = field(default_factory=dict[Keys, int])

    def where(self, keys: Keys) -> str:
        """The file and the line of `keys`, or of the enclosing mapping where they are missing."""
        while keys and keys not in self.lines:
            keys = keys[:-1]
        return _place(self.path, self.lines.get(keys, 1))


def read_yaml(path: Path) -> YamlFile:
    """The mapping in the file at `path`; an empty file is an empty mapping. Raises ConfigError, naming the line."""
    text = _read_text(path)
    # Imported here: it is not needed without a settings file. The C loader is not used: a deeply nested file
    # overflows its stack and kills the process, where this one raises RecursionError.
    import yaml

    walk: _Walk | None = None
    values: object = None
    try:
        with _errors_in(path, text):
            loader = _bounded(yaml.SafeLoader)(text)
            root = loader.get_single_node()
            if root is not None:
                walk = _Walk(path, loader)
                values = walk.value(root, ())
    except _TooManyError:
        raise ConfigError(
            f"{path} has more than {MOST_VALUES} values.", "This cannot be a settings file. Check the path."
        ) from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply.", "Settings are nested two levels deep at most.") from None
    if walk is None or values is None:
        return YamlFile(path, {})
    if not isinstance(values, dict):
        raise ConfigError(f"{_place(path, 1)}: the file does not contain settings.", "Write one `key: value` per line.")
    return YamlFile(path, cast("dict[str, object]", values), walk.lines)


def _place(path: Path, line: int) -> str:
    return f"{path}, line {line}"


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(LIMIT_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist.", "Check the path.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", "Check the path and its permissions.") from error
    if len(data) > LIMIT_BYTES:
        raise ConfigError(
            f"{path} is larger than {LIMIT_BYTES} bytes.", "This cannot be a settings file. Check the path."
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{_place(path, line)}: the text is not UTF-8.", "Save the file as UTF-8.") from error


@contextmanager
def _errors_in(path: Path, text: str) -> Generator[None]:
    """Turn PyYAML's errors into one-line ConfigErrors."""
    import yaml

    try:
        yield
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        todo = "Remove it, or escape it inside double quotes."
        raise ConfigError(f"{_place(path, line)}: a control character is not allowed.", todo) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problem = one_line(error.problem or "it cannot be parsed")
        todo = "Check the colons, quotes and indentation there and just above."
        raise ConfigError(f"{_place(path, line)}: this is not valid YAML: {problem}.", todo) from error


class _TooManyError(Exception):
    """A file has more than MOST_VALUES."""


def _bounded(loader: "type[yaml.SafeLoader]") -> "type[yaml.SafeLoader]":
    """This loader, which gives up after MOST_VALUES. A class made here, because yaml is not imported before."""

    class Bounded(loader):
        n_values = 0

        def compose_node(self, parent: "yaml.Node | None", index: int) -> "yaml.Node | None":
            """See yaml.composer."""
            self.n_values += 1
            if self.n_values > MOST_VALUES:
                raise _TooManyError
            return super().compose_node(parent, index)

    return Bounded


class _Walk:
    """Converts YAML's nodes to plain values and records their lines."""

    def __init__(self, path: Path, loader: "yaml.SafeLoader") -> None:
        self.lines: dict[Keys, int] = {}
        self._path = path
        self._loader = loader
        self._seen: set[int] = set()

    def value(self, node: "yaml.Node", keys: Keys) -> object:
        """The value of `node`, whose path is `keys`."""
        import yaml

        if id(node) in self._seen:
            # PyYAML has replaced the alias with the node it refers to. Nested ones would grow without bound.
            raise self._error(node, "an alias (*name) is not allowed.", "Write the value out.")
        self._seen.add(id(node))
        if node.tag not in _COLLECTIONS | _TYPED | _TEXT:
            raise self._error(node, f"the tag {one_line(node.tag)} is not allowed.", "Write a plain value.")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, keys)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*keys, index)) for index, item in enumerate(node.value)]
        if node.tag in _TEXT:
            return node.value
        if len(node.value) > LONGEST_NUMBER:
            raise self._error(node, "this value cannot be read.", "Write a plain value.")
        try:
            # PyYAML's type stubs leave this method's result untyped.
            return cast("object", self._loader.construct_object(node))  # pyright: ignore[reportUnknownMemberType]
        except (ValueError, LookupError, OverflowError):
            # An explicit tag that the text does not fit, or a number of thousands of digits.
            raise self._error(node, "this value cannot be read.", "Write a plain value.") from None

    def _mapping(self, node: "yaml.MappingNode", keys: Keys) -> dict[str, object]:
        import yaml

        values: dict[str, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error(key_node, "a key must be plain text.", "Write `key: value`.")
            key: str = key_node.value
            here = (*keys, key)
            if key in values:
                shown = one_line(".".join(map(str, here)))
                what = f"duplicate key {shown}, first set on line {self.lines[here]}."
                raise self._error(key_node, what, "Remove one of them.")
            self.lines[here] = key_node.start_mark.line + 1
            values[key] = self.value(value_node, here)
        return values

    def _error(self, node: "yaml.Node", what: str, todo: str) -> ConfigError:
        return ConfigError(f"{_place(self._path, node.start_mark.line + 1)}: {what}", todo)
