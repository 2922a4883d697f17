"""What is done in a replay: to and fro in the trace."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from chatapp.ui.actions.host import ReplayHost

if TYPE_CHECKING:
    from chatapp.replay.timeline import Timeline

SKIP_S = 5.0

Entries = Callable[["Timeline"], Sequence[int]]
"""Which entries of a trace are gone to."""


def play(host: ReplayHost, _: str = "") -> None:
    """Play or pause."""
    host.player.toggle()
    host.show_jump()


def skip(seconds: float) -> Callable[[ReplayHost, str], None]:
    """So far on, or back."""

    def act(host: ReplayHost, _: str = "") -> None:
        host.player.skip(seconds)
        host.show_jump()

    return act


def step(events: int) -> Callable[[ReplayHost, str], None]:
    """So many events on, or back."""

    def act(host: ReplayHost, _: str = "") -> None:
        host.player.go_to(host.player.position + events)
        host.show_jump()

    return act


def to_next(entries: Entries, what: str) -> Callable[[ReplayHost, str], None]:
    """To the next of these entries; a word where there is none."""

    def act(host: ReplayHost, _: str = "") -> None:
        _arrive(host, host.player.go_to_next(entries(host.player.timeline)), f"later {what}")

    return act


def to_previous(entries: Entries, what: str) -> Callable[[ReplayHost, str], None]:
    """To the one of these entries before; a word where there is none."""

    def act(host: ReplayHost, _: str = "") -> None:
        _arrive(host, host.player.go_to_previous(entries(host.player.timeline)), f"earlier {what}")

    return act


def _arrive(host: ReplayHost, found: bool, what: str) -> None:
    if found:
        host.show_jump()
    else:
        host.notify(f"There is no {what}.", timeout=2, markup=False)


def to_start(host: ReplayHost, _: str = "") -> None:
    """To the beginning."""
    host.player.go_to(0)
    host.show_jump()


def to_end(host: ReplayHost, _: str = "") -> None:
    """To the end."""
    host.player.go_to(host.player.timeline.end)
    host.show_jump()


def faster(host: ReplayHost, _: str = "") -> None:
    """Play faster."""
    host.player.change_speed(1)
    host.show_status()


def slower(host: ReplayHost, _: str = "") -> None:
    """Play slower."""
    host.player.change_speed(-1)
    host.show_status()


# --------------------------------------------------------------------------- what a chat has too


def show_or_hide(host: ReplayHost, _: str = "") -> None:
    """Show or hide the inspector; the keys go to the bar."""
    host.pane.toggle()
    host.focus_bar()


def inspect(host: ReplayHost, _: str = "") -> None:
    """Into the inspector, which opens for that; back from there."""
    if host.pane.has_focus:
        leave(host)
    else:
        host.pane.enter()


def leave(host: ReplayHost) -> None:
    """Out of a panel that has the whole screen, else back to the bar."""
    if host.pane.zoomed:
        host.pane.unzoom()
    else:
        host.pane.leave()
        host.focus_bar()


def next_theme(host: ReplayHost, _: str = "") -> None:
    """The next theme."""
    host.themes.step_theme(1)


def previous_theme(host: ReplayHost, _: str = "") -> None:
    """The theme before."""
    host.themes.step_theme(-1)


def show_help(host: ReplayHost, _: str = "") -> None:
    """F1."""
    from chatapp.ui.dialogs.help import REPLAY_PLACES, Help

    host.show_dialog(Help(host.config.keys, host.focused_help, REPLAY_PLACES))
