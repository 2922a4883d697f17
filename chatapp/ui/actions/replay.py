"""Actions of a replay: moving through the trace."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from chatapp.ui.actions.host import ReplayHost

if TYPE_CHECKING:
    from chatapp.replay.timeline import Timeline

SKIP_S = 5.0

Entries = Callable[["Timeline"], Sequence[int]]
"""The entries of a trace to go to."""


def play(host: ReplayHost, _: str = "") -> None:
    """Play or pause."""
    host.player.toggle()
    host.show_jump()


def skip(seconds: float) -> Callable[[ReplayHost, str], None]:
    """Skip `seconds` forward, or back if negative."""

    def act(host: ReplayHost, _: str = "") -> None:
        host.player.skip(seconds)
        host.show_jump()

    return act


def step(events: int) -> Callable[[ReplayHost, str], None]:
    """Go `events` forward, or back if negative."""

    def act(host: ReplayHost, _: str = "") -> None:
        host.player.go_to(host.player.position + events)
        host.show_jump()

    return act


def to_next(entries: Entries, what: str) -> Callable[[ReplayHost, str], None]:
    """Go to the next of these entries; say so if there is none."""

    def act(host: ReplayHost, _: str = "") -> None:
        _arrive(host, host.player.go_to_next(entries(host.player.timeline)), f"later {what}")

    return act


def to_previous(entries: Entries, what: str) -> Callable[[ReplayHost, str], None]:
    """Go to the previous one of these entries; say so if there is none."""

    def act(host: ReplayHost, _: str = "") -> None:
        _arrive(host, host.player.go_to_previous(entries(host.player.timeline)), f"earlier {what}")

    return act


def _arrive(host: ReplayHost, found: bool, what: str) -> None:
    if found:
        host.show_jump()
    else:
        host.notify(f"There is no {what}.", timeout=2, markup=False)


def to_start(host: ReplayHost, _: str = "") -> None:
    """Go to the beginning."""
    host.player.go_to(0)
    host.show_jump()


def to_end(host: ReplayHost, _: str = "") -> None:
    """Go to the end."""
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


# --------------------------------------------------------------------------- shared with the chat


def show_or_hide(host: ReplayHost, _: str = "") -> None:
    """Show or hide the inspector; the bar gets the focus."""
    host.pane.toggle()
    host.focus_bar()


def inspect(host: ReplayHost, _: str = "") -> None:
    """Focus the inspector, opening it if need be; from there, return to the bar."""
    if host.pane.has_focus:
        to_bar(host)
    else:
        host.pane.enter()


def to_bar(host: ReplayHost, _: str = "") -> None:
    """Restore a zoomed panel, or else return to the bar."""
    if host.pane.zoomed:
        host.pane.unzoom()
    else:
        host.pane.leave()
        host.focus_bar()


def next_theme(host: ReplayHost, _: str = "") -> None:
    """Switch to the next theme."""
    host.themes.step_theme(1)


def previous_theme(host: ReplayHost, _: str = "") -> None:
    """Switch to the previous theme."""
    host.themes.step_theme(-1)


def show_help(host: ReplayHost, _: str = "") -> None:
    """Show the keys."""
    from chatapp.ui.dialogs.help import REPLAY_PLACES, Help

    host.show_dialog(Help(host.config.keys, host.focused_help, REPLAY_PLACES))
