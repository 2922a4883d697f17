"""The conversation as it is stored: what was said, and how it grows, is cut back and is opened again.

No widgets and no engine in here. A message is stored before anything else happens with it; a reply is stored as it
grows. Every method that writes raises StoreError, and then nothing that was said is forgotten: what could not be
written is kept and written the next time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from chatapp.protocol.values import Message, TurnStats
from chatapp.store import FinalState, Place, Role, SessionInfo, State, Store, StoredMessage


@dataclass
class ChatMessage:
    """One message as it is shown. `id` is its number in the store, None until it is written."""

    turn: int
    role: Role
    text: str
    state: State = "done"
    stats: TurnStats | None = None
    stop_reason: str | None = None
    id: int | None = None
    pinned: bool = False
    """For a message of the person: its turn is kept in the window for good."""
    others: tuple[int, ...] = ()
    """The ids of the messages that stand in its place on other branches, the oldest first."""

    @property
    def number(self) -> int:
        """Which of the messages in its place it is, counted from 1."""
        return 1 + sum(self.id is None or other < self.id for other in self.others)

    @property
    def answered(self) -> bool:
        """For a reply: there is one, if only an empty one that the model ended itself. A turn that was stopped before
        its first token is none to the engine.
        """
        return self.role == "assistant" and (
            bool(self.text) or (self.stats is not None and (self.stats.reply_tokens > 0 or self.stop_reason == "end"))
        )


class Conversation:
    """The branch of one stored session that is shown. A new one is put into the store with its first message."""

    def __init__(
        self, store: Store, *, model: str, system: str | None, settings: Mapping[str, Any], name: str | None = None
    ) -> None:
        """`model`, `system`, `settings` and `name` are those of a new session."""
        self.store = store
        self.model = model
        self.system = system
        self.settings = dict(settings)
        self.name = name
        """What the person calls it; None where it has no name."""
        self.session: SessionInfo | None = None
        self.messages: list[ChatMessage] = []
        self._reply: ChatMessage | None = None
        """The reply whose end is not written yet."""
        self._unwritten = ""
        """What has come of it and is not in the store yet."""

    @classmethod
    def resumed(cls, store: Store, session: SessionInfo) -> "Conversation":
        """A stored one, on the branch that is shown. It is read here: call it in a worker thread."""
        self = cls(store, model=session.model, system=session.system, settings=session.settings, name=session.name)
        self.session = session
        self.messages = shown(store.path(session.id), store.forks(session.id))
        return self

    # ----------------------------------------------------------------------- reading

    @property
    def turn(self) -> int:
        """The number of the last turn; 0 before the first."""
        return self.messages[-1].turn if self.messages else 0

    @property
    def reply(self) -> ChatMessage | None:
        """The reply that is growing now."""
        last = self.messages[-1] if self.messages else None
        return last if last is not None and last.state == "growing" else None

    def as_messages(self) -> list[Message]:
        """All of it as the engine takes it."""
        return [
            Message(turn=said.turn, role=said.role, text=said.text)
            for said in self.messages
            if said.role == "user" or said.answered
        ]

    def asked(self, turn: int) -> ChatMessage | None:
        """The person's message of a turn; None where there is no such turn."""
        return next((said for said in self.messages if said.turn == turn and said.role == "user"), None)

    @property
    def answered(self) -> set[int]:
        """The turns that have a reply: all that the engine knows of."""
        return {said.turn for said in self.messages if said.answered}

    @property
    def pinned(self) -> list[int]:
        """The turns that are kept for good."""
        return [said.turn for said in self.messages if said.pinned]

    # ----------------------------------------------------------------------- a turn

    def ask(self, text: str) -> ChatMessage:
        """Store the person's message; its turn is the next one."""
        self.flush()
        said = ChatMessage(turn=self.turn + 1, role="user", text=text)
        if self.session is None:
            self.session = self.store.new_session(
                model=self.model, system=self.system, settings=self.settings, name=self.name
            )
        parent = self.messages[-1] if self.messages else None
        others = self._beside(parent, said.role)
        said.id = self._add(said, parent=parent, text=text, state="done")
        said.others = others
        self.messages.append(said)
        return said

    def begin_reply(self) -> ChatMessage:
        """A reply to the last message begins; it is written with its first words."""
        self.flush()
        others = self._beside(self.messages[-1], "assistant")
        self._reply = ChatMessage(turn=self.turn, role="assistant", text="", state="growing", others=others)
        self.messages.append(self._reply)
        return self._reply

    def grow(self, text: str) -> None:
        """More of the reply; `flush` writes it."""
        if self._reply is not None:
            self._reply.text += text
            self._unwritten += text

    def finish_reply(self, state: FinalState, stats: TurnStats | None, stop_reason: str | None) -> ChatMessage | None:
        """The reply has ended, which `flush` writes; the reply, None where there was none."""
        said = self.reply
        if said is not None:
            said.state, said.stats, said.stop_reason = state, stats, stop_reason
        return said

    def flush(self) -> None:
        """Write what is not written yet. Call it a few times a second: each call is a transaction or two."""
        said = self._reply
        if said is None:
            return
        if said.state == "growing" and not self._unwritten:
            return
        if said.id is None:
            parent = self.messages[-2] if len(self.messages) > 1 else None
            said.id = self._add(said, parent=parent, text="", state="growing")
        if self._unwritten:
            self.store.append_text(said.id, self._unwritten)
            self._unwritten = ""
        if said.state != "growing":
            cost = None if said.stats is None else {**msgspec.to_builtins(said.stats), "stop_reason": said.stop_reason}
            self.store.finish_message(said.id, state=said.state, stats=cost)
            self._reply = None

    # ----------------------------------------------------------------------- going back

    def undo(self) -> list[ChatMessage]:
        """Leave out the last turn; what was left out. It stays stored, on a branch of its own."""
        return self.back_to(self.turn)

    def back_to(self, turn: int) -> list[ChatMessage]:
        """Go back to just before this turn; what was left out. It stays stored, on a branch of its own."""
        self.flush()
        kept = [said for said in self.messages if said.turn < turn]
        gone = self.messages[len(kept) :]
        self._move_head(kept)
        self.messages = kept
        return gone

    def go_to(self, branch: Sequence[ChatMessage]) -> None:
        """Show another branch of this conversation, from its first message to its last."""
        self.flush()
        kept = list(branch)
        self._move_head(kept)
        self.messages = kept

    def drop_reply(self) -> ChatMessage | None:
        """Leave out the last reply, for another one in its place; None where the last message has none."""
        self.flush()
        if not self.messages or self.messages[-1].role != "assistant":
            return None
        gone, kept = self.messages[-1], self.messages[:-1]
        self._move_head(kept)
        self.messages = kept
        return gone

    def put_back(self, dropped: ChatMessage) -> ChatMessage:
        """`drop_reply` undone, while the reply that began in its place has no word yet; that reply."""
        begun = self.messages[-1]
        kept = [*self.messages[:-1], dropped]
        self._move_head(kept)
        self.messages, self._reply = kept, None
        return begun

    def pin(self, turn: int, pinned: bool) -> None:
        """Keep a turn for good, or no longer."""
        said = self.asked(turn)
        if said is not None and said.id is not None and said.pinned != pinned:
            said.pinned = pinned  # the engine holds it so, whatever the store says to that
            self.store.set_pinned(said.id, pinned)

    def rename(self, name: str) -> str:
        """Give the conversation a name; the name as it is kept. Raises StoreError where it is taken."""
        if self.session is not None:
            self.store.rename(self.session.id, name)
            self.session = self.store.session(self.session.id)
        self.name = name if self.session is None else self.session.name
        return self.name or name

    def use_model(self, model: str) -> None:
        """From now on another model replies."""
        self.model = model
        if self.session is not None:
            self.store.configure(self.session.id, model=model, system=self.system, settings=self.settings)

    # ----------------------------------------------------------------------- inside

    def _add(self, said: ChatMessage, *, parent: ChatMessage | None, text: str, state: State) -> int:
        assert self.session is not None  # a conversation begins with a message of the person
        return self.store.add_message(
            self.session.id,
            parent_id=None if parent is None else parent.id,
            turn=said.turn,
            role=said.role,
            text=text,
            state=state,
        )

    def _beside(self, parent: ChatMessage | None, role: Role) -> tuple[int, ...]:
        if self.session is None:
            return ()
        return self.store.beside(self.session.id, (None if parent is None else parent.id, role))

    def _move_head(self, kept: list[ChatMessage]) -> None:
        if self.session is not None:
            self.store.set_head(self.session.id, kept[-1].id if kept else None)


def shown(branch: Sequence[StoredMessage], forks: Mapping[Place, tuple[int, ...]]) -> list[ChatMessage]:
    """A stored branch as it is shown; `forks` are those of its conversation."""
    return [_said(message, forks.get((message.parent_id, message.role), ())) for message in branch]


def _said(message: StoredMessage, place: tuple[int, ...]) -> ChatMessage:
    stats, stop_reason = _stats(message.stats)
    return ChatMessage(
        turn=message.turn,
        role=message.role,
        text=message.text,
        state="stopped" if message.state == "growing" else message.state,
        stats=stats,
        stop_reason=stop_reason,
        id=message.id,
        pinned=message.pinned,
        others=tuple(other for other in place if other != message.id),
    )


def _stats(kept: dict[str, Any] | None) -> tuple[TurnStats | None, str | None]:
    """Stats as stored, perhaps by another version: what does not fit is not shown."""
    if kept is None:
        return None, None
    reason = kept.get("stop_reason")
    try:
        return msgspec.convert(kept, TurnStats), reason if isinstance(reason, str) else None
    except msgspec.ValidationError:
        return None, None
