"""The function behind each action of the table, by the action's id, for the chat and for a replay.

A handler takes the screen that it acts on and the argument of its slash command, which may be empty. The screen shows
the person any SwachatError that it raises.
"""

from collections.abc import Awaitable, Callable, Mapping

from chatapp.ui.actions import conversation, inspector, replay, window
from chatapp.ui.actions.compare import compare
from chatapp.ui.actions.host import ChatHost, ReplayHost
from chatapp.ui.actions.ledger import ledger
from chatapp.ui.actions.window_text import show_window_text

Handler = Callable[[ChatHost, str], Awaitable[None] | None]
ReplayHandler = Callable[[ReplayHost, str], Awaitable[None] | None]

HANDLERS: Mapping[str, Handler] = {
    "stop": conversation.stop,
    "regenerate": conversation.regenerate,
    "undo": conversation.undo,
    "new": conversation.new,
    "resume": conversation.resume,
    "rename": conversation.rename,
    "copy": conversation.copy,
    "copy_or_stop": conversation.copy_or_stop,
    "copy_code": conversation.copy_code,
    "thoughts": conversation.thoughts,
    "answer": conversation.answer,
    "choose": conversation.choose,
    "pin": window.pin,
    "unpin": window.unpin,
    "recall": window.recall,
    "edit": window.edit,
    "branch": window.branch,
    "branches": window.branches,
    "next_alternative": window.next_alternative,
    "previous_alternative": window.previous_alternative,
    "model": conversation.model,
    "restart": conversation.restart,
    "inspector": inspector.show_or_hide,
    "inspect": inspector.inspect,
    "zoom": inspector.zoom,
    "fold": inspector.fold,
    "explain": inspector.explain,
    "wider": inspector.wider,
    "narrower": inspector.narrower,
    "ledger": ledger,
    "prompt": show_window_text,
    "compare": compare,
    "reset_layout": inspector.reset_layout,
    "heat": inspector.heat,
    "physical": inspector.physical,
    "look": inspector.look,
    "theme": conversation.theme,
    "next_theme": conversation.next_theme,
    "previous_theme": conversation.previous_theme,
    "help": conversation.show_help,
    "quit": conversation.leave_program,
    "top": conversation.top,
    "bottom": conversation.bottom,
    "older": conversation.older,
}
"""The actions of the chat."""

REPLAY_HANDLERS: Mapping[str, ReplayHandler] = {
    "play": replay.play,
    "skip_forward": replay.skip(replay.SKIP_S),
    "skip_back": replay.skip(-replay.SKIP_S),
    "next_event": replay.step(1),
    "previous_event": replay.step(-1),
    "next_turn": replay.to_next(lambda timeline: timeline.turns, "turn"),
    "previous_turn": replay.to_previous(lambda timeline: timeline.turns, "turn"),
    "next_eviction": replay.to_next(lambda timeline: timeline.evictions, "eviction"),
    "previous_eviction": replay.to_previous(lambda timeline: timeline.evictions, "eviction"),
    "next_mismatch": replay.to_next(lambda timeline: timeline.mismatches, "mismatch"),
    "previous_mismatch": replay.to_previous(lambda timeline: timeline.mismatches, "mismatch"),
    "faster": replay.faster,
    "slower": replay.slower,
    "replay_start": replay.to_start,
    "replay_end": replay.to_end,
    "replay_bar": replay.to_bar,
    "help": replay.show_help,
    "inspector": replay.show_or_hide,
    "inspect": replay.inspect,
    "zoom": inspector.zoom,
    "heat": inspector.heat,
    "physical": inspector.physical,
    "wider": inspector.wider,
    "narrower": inspector.narrower,
    "next_theme": replay.next_theme,
    "previous_theme": replay.previous_theme,
    "quit": conversation.leave_program,
}
"""The actions of a replay: its own, and those of the chat that mean the same there."""


def _said(host: ChatHost) -> bool:
    return host.chat is not None and bool(host.chat.conversation.messages)


def _said_and_idle(host: ChatHost) -> bool:
    return _said(host) and host.chat is not None and not host.chat.busy


def _stoppable(host: ChatHost) -> bool:
    return host.chat is not None and (host.chat.busy or bool(host.chat.queue))


def _thinking(host: ChatHost) -> bool:
    reply = None if host.chat is None else host.chat.conversation.reply
    return reply is not None and reply.thinking


def _pinned(host: ChatHost) -> bool:
    return host.chat is not None and bool(host.chat.conversation.pinned)


def _evicted(host: ChatHost) -> bool:
    return host.chat is not None and bool(host.chat.conversation.answered - host.chat.inside)


def _alternatives(host: ChatHost) -> bool:
    return host.chat is not None and any(said.others for said in host.chat.conversation.messages)


AVAILABLE: Mapping[str, Callable[[ChatHost], bool]] = {
    "stop": _stoppable,
    "regenerate": _said_and_idle,
    "undo": _said_and_idle,
    "new": _said,
    "rename": _said,
    "copy": _said,
    "copy_code": _said,
    "thoughts": lambda host: conversation.with_thoughts(host) is not None,
    "answer": _thinking,
    "choose": _said,
    "pin": _said_and_idle,
    "unpin": _pinned,
    "recall": _evicted,
    "edit": _said_and_idle,
    "branch": _said_and_idle,
    "branches": _said_and_idle,
    "next_alternative": _alternatives,
    "previous_alternative": _alternatives,
    "prompt": lambda host: host.chat is not None and host.chat.loaded is not None,
    "older": lambda host: host.transcript.first > 0,
}
"""When an action of the chat is available; actions that are not listed always are."""


def available(host: ChatHost, action_id: str) -> bool:
    """True if the chat can carry out the action now, so that the palette should offer it."""
    return action_id in HANDLERS and AVAILABLE.get(action_id, _always)(host)


def _always(_: ChatHost) -> bool:
    return True
