"""What is done with the inspector, in a chat and in a replay, and what its cache map asks of the engine."""

from typing import TYPE_CHECKING

from chatapp.ui.actions.host import ChatHost, Host

if TYPE_CHECKING:
    from chatapp.chat.controller import Chat


def show_or_hide(host: Host, _: str = "") -> None:
    """Show or hide the inspector."""
    host.pane.toggle()


def inspect(host: Host, _: str = "") -> None:
    """Into the inspector, which opens for that; back to the prompt from there, and from a zoomed panel."""
    if host.pane.has_focus:
        host.pane.unzoom()
        host.pane.leave()
    else:
        host.pane.enter()


def zoom(host: Host, panel: str = "") -> None:
    """Give a panel the whole screen, or its place again."""
    host.pane.inspector.zoom(host.pane.section(panel))


def fold(host: Host, panel: str = "") -> None:
    """Fold a panel or unfold it; without a name, all of them."""
    if panel:
        section = host.pane.section(panel)
        section.fold(not section.folded)
    else:
        host.pane.inspector.action_fold_panels()


def explain(host: Host, panel: str = "") -> None:
    """Say what a panel shows and how that was measured."""
    section = host.pane.section(panel)
    section.explain()
    section.scroll_visible()


def wider(host: Host, _: str = "") -> None:
    """More columns for the inspector."""
    host.pane.widen(1)


def narrower(host: Host, _: str = "") -> None:
    """More columns for the conversation."""
    host.pane.widen(-1)


def reset_layout(host: Host, _: str = "") -> None:
    """As the config says."""
    host.pane.reset()


def heat(host: Host, _: str = "") -> None:
    """The attention of the newest look on top of the cache map, or no longer."""
    host.pane.inspector.action_heat_panel()


def physical(host: Host, _: str = "") -> None:
    """The cells by their numbers, or by the positions of their tokens again."""
    host.pane.inspector.action_physical_panel()


def look(host: ChatHost, _: str = "") -> None:
    """Look into the next token of a reply."""
    from chatapp.chat.view import Phase

    chat = host.chat
    if chat is None or chat.loaded is None:
        host.show_notice("info", "There is no model to look into yet.")
    elif not (probe := chat.loaded.capability.probe).ok:
        host.show_notice("warning", f"What this model attends to cannot be read here. {probe.why}", key="look")
    else:
        ask_for_look(chat)
        if chat.phase is not Phase.REPLYING:
            host.show_notice("info", "The next token of a reply will be looked into.", key="look")


def ask_for_look(chat: "Chat") -> None:
    """Have the engine read what the next token attends to."""
    from chatapp.protocol.commands import Probe

    chat.send(Probe())


def ask_for_words(chat: "Chat", pos: int, n: int) -> None:
    """Ask which words are at these positions: while the engine answers at once, between turns or tokens."""
    from chatapp.chat.view import Phase
    from chatapp.protocol.commands import Spell

    if chat.phase in (Phase.IDLE, Phase.REPLYING):
        chat.send(Spell(pos=pos, n=n))
