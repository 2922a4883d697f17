"""Copying: to the system's clipboard where there is one, else through tmux or the terminal, and what to say of it.

Only the system's own tools, and tmux, answer whether they have taken a text. A terminal that is sent OSC 52 does not:
nothing that went that way is called copied. The tools run as children with a time limit, in sessions of their own,
because on X11 and Wayland one of them has to stay and hand out the text after this program has ended.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

LIMIT_S = 2.0
"""A tool that waits for a display that does not answer is given up after this time."""
TERMINAL = "terminal"
"""The way through the terminal, which this module only names: the app writes the OSC 52."""


@dataclass(frozen=True)
class Way:
    """A way to copy: the command that takes the text from its standard input; none for the terminal."""

    name: str
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class Copied:
    """Which way a text went (None: none), and what was wrong with those that were tried before."""

    way: Way | None
    troubles: tuple[str, ...] = ()
    remote: bool = False
    """The program runs on another machine than the terminal: no tool could be installed here to help."""


def is_remote(environment: Mapping[str, str]) -> bool:
    """True over ssh."""
    return bool(environment.get("SSH_CONNECTION") or environment.get("SSH_TTY"))


def ways(environment: Mapping[str, str], platform: str, exists: Callable[[str], bool]) -> list[Way]:
    """The ways to try, best first; empty if there is none.

    Over ssh the clipboard that counts is at the other end, and only a forwarded X11 display leads there.
    """
    remote = is_remote(environment)
    display = environment.get("DISPLAY", "")
    found: list[Way] = []
    if platform == "darwin" and not remote:
        found.append(Way("pbcopy", ("pbcopy",)))
    if environment.get("WAYLAND_DISPLAY") and not remote:
        found.append(Way("wl-copy", ("wl-copy", "--type", "text/plain;charset=utf-8")))
    if display and (not remote or display.startswith("localhost:")):
        found.append(Way("xclip", ("xclip", "-selection", "clipboard", "-in")))
        found.append(Way("xsel", ("xsel", "--clipboard", "--input")))
    if environment.get("TMUX"):
        found.append(Way("tmux", ("tmux", "load-buffer", "-w", "-")))
        found.append(Way("tmux", ("tmux", "load-buffer", "-")))  # before 3.2, which cannot pass it on
    found = [way for way in found if exists(way.command[0])]
    return found if environment.get("STY") else [*found, Way(TERMINAL)]


def terminal_only(text: str) -> Copied:
    """No tools are run: the text goes to the terminal."""
    del text
    return Copied(Way(TERMINAL))


def copy(text: str) -> Copied:
    """Copy by the first way that works. It may take seconds: call it in a thread."""
    troubles: list[str] = []
    for way in ways(os.environ, sys.platform, lambda tool: shutil.which(tool) is not None):
        trouble = _run(way, text) if way.command else None
        if trouble is None:
            return Copied(way, tuple(troubles), is_remote(os.environ))
        troubles.append(trouble)
    return Copied(None, tuple(troubles), is_remote(os.environ))


def _run(way: Way, text: str) -> str | None:
    """Give the text to the tool; returns what went wrong."""
    import tempfile  # with the first copy

    # Its errors go to a file: a tool that stays behind keeps a pipe open, and reading it would never end.
    with tempfile.TemporaryFile() as errors:
        try:
            ended = subprocess.run(
                way.command,
                input=text.encode(errors="replace"),
                stdout=subprocess.DEVNULL,
                stderr=errors,
                timeout=LIMIT_S,
                start_new_session=True,
                env={**os.environ, "LC_CTYPE": "UTF-8"} if way.name == "pbcopy" else None,
            )
        except subprocess.TimeoutExpired:
            return f"{way.name} did not answer within {LIMIT_S:g} s"
        except OSError as error:
            return f"{way.name} cannot be run ({error.strerror or error})"
        if ended.returncode == 0:
            return None
        errors.seek(0)
        said = errors.read(2_000).decode(errors="replace").strip().splitlines()
        return f"{way.name} failed ({said[0][:100] if said else f'exit code {ended.returncode}'})"


def words(copied: Copied, what: str, characters: int) -> str:
    """What to tell the person; `what` is "the message"."""
    size = f"{characters:,} character{'' if characters == 1 else 's'}"
    before = f" {'; '.join(dict.fromkeys(copied.troubles))}." if copied.troubles else ""
    match copied.way:
        case None:
            return (
                f"Not copied: nothing here takes {what}.{before} GNU screen passes no copies on: select with Shift and "
                "the mouse, or run swachat outside screen."
            )
        case Way(name="terminal"):
            tools = "" if copied.remote else ", or install wl-copy, xclip or xsel"
            return (
                f"Sent {what} to the terminal for its clipboard (OSC 52): {size}.{before} If pasting does not give it, "
                f"allow OSC 52 in the terminal{tools}."
            )
        case Way(name="tmux", command=command):
            passed = (
                "tmux was asked to pass it on to the terminal; if that does not have it, `set -g set-clipboard on`."
                if "-w" in command
                else "This tmux cannot pass it on to the terminal."
            )
            return f"Copied {what} to tmux's buffer (prefix ] pastes it): {size}.{before} {passed}"
        case Way(name=name):
            return f"Copied {what} to the clipboard ({name}): {size}."
