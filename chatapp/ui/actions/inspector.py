"""Actions on the inspector, in a chat and in a replay, and what its cache map asks of the engine."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from chatapp.ui.action_table import BY_ID, shown_keys
from chatapp.ui.actions.host import ChatHost, Host

if TYPE_CHECKING:
    from chatapp.chat.controller import Chat


def show_or_hide(host: Host, _: str = "") -> None:
    """Show or hide the inspector."""
    host.pane.toggle()


def inspect(host: Host, _: str = "") -> None:
    """Have single keys act on a panel, opening the inspector if need be; from there, return to the prompt."""
    if host.pane.takes_keys:
        host.pane.unzoom()
        host.pane.leave()
    else:
        host.pane.enter()


def panel_hint(keys: Mapping[str, str]) -> str:
    """The keys that act on a panel; `keys` are the person's own."""
    words = {
        "next_panel": "next panel",
        "toggle_panel": "fold",
        "zoom_panel": "zoom",
        "explain_panel": "explain",
        "stop": "back",
    }
    first = {name: keys.get(name, BY_ID[name].keys).split(",")[0] for name in words}
    return " · ".join(f"{shown_keys(first[name])} {word}" for name, word in words.items())


def zoom(host: Host, panel: str = "") -> None:
    """Expand a panel to the whole screen, or restore it."""
    host.pane.inspector.zoom(host.pane.section(panel))


def fold(host: Host, panel: str = "") -> None:
    """Fold or unfold a panel; without a name, all of them."""
    if panel:
        section = host.pane.section(panel)
        section.fold(not section.folded)
    else:
        host.pane.inspector.action_fold_panels()


def explain(host: Host, panel: str = "") -> None:
    """Explain what a panel shows and how it is measured."""
    section = host.pane.section(panel)
    section.explain()
    section.scroll_visible()


def wider(host: Host, _: str = "") -> None:
    """Make the inspector wider."""
    host.pane.widen(1)


def narrower(host: Host, _: str = "") -> None:
    """Make the inspector narrower."""
    host.pane.widen(-1)


def reset_layout(host: Host, _: str = "") -> None:
    """Reset the layout to that of the config."""
    host.pane.reset()


def heat(host: Host, _: str = "") -> None:
    """Show or hide the attention of the newest sample on the cache map."""
    host.pane.inspector.action_heat_panel()


def physical(host: Host, _: str = "") -> None:
    """Order the cache map by cell, or by position."""
    host.pane.inspector.action_physical_panel()


def look(host: ChatHost, _: str = "") -> None:
    """Probe the next token of a reply."""
    from chatapp.chat.view import Phase

    chat = host.chat
    if chat is None or chat.loaded is None:
        host.show_notice("info", "No model is loaded yet.")
    elif not (probe := chat.loaded.capability.probe).ok:
        host.show_notice("warning", f"This model's attention cannot be read on this build. {probe.why}", key="look")
    else:
        ask_for_look(chat)
        if chat.phase is not Phase.REPLYING:
            host.show_notice("info", "The next reply token will be probed.", key="look")


def ask_for_look(chat: "Chat") -> None:
    """Have the engine probe the next token."""
    from chatapp.protocol.commands import Probe

    chat.send(Probe())


def ask_for_words(chat: "Chat", pos: int, n: int) -> None:
    """Ask for the text at these positions, if the engine can answer at once: between turns or tokens."""
    from chatapp.chat.view import Phase
    from chatapp.protocol.commands import Spell

    if chat.phase in (Phase.IDLE, Phase.REPLYING):
        chat.send(Spell(pos=pos, n=n))
