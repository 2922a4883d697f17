"""The stored conversation: its messages, and how they are added, cut back and reopened.

No widgets and no engine in here. A message is stored before anything else is done with it; a reply is stored as it
grows. Every method that writes raises StoreError, and then no text is lost: what could not be written is kept and
written the next time.
"""

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from chatapp.chat.sent_messages import for_window, message_of
from chatapp.presentation.format import turns_named
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
    why: str = ""
    """For a reply that failed in this run: what was wrong, and what to do."""
    id: int | None = None
    pinned: bool = False
    """For a message of the person: its turn is pinned."""
    others: tuple[int, ...] = ()
    """The ids of its alternatives on other branches, oldest first."""
    reasoning: str = ""
    """For a reply: what the model thought before it."""
    thought_tokens: int = 0
    """For a reply of this run: its tokens before its answer began."""
    thought_s: float | None = None
    """How long it has been thinking, or thought, in seconds of the engine's clock; None where that was not seen."""
    tokens: bytes = b""
    """For a reply: its tokens, and the digest of the `model` that made them, as in `protocol.values.Message`."""
    model: str = ""

    @property
    def thinking(self) -> bool:
        """It is a reply that is growing and whose thoughts have begun, but not its answer."""
        return self.state == "growing" and bool(self.reasoning) and not self.text

    @property
    def number(self) -> int:
        """Which of the alternatives it is, counted from 1."""
        return 1 + sum(self.id is None or other < self.id for other in self.others)

    @property
    def answered(self) -> bool:
        """For a reply: it has text or thoughts, or the model itself ended it empty. To the engine, a turn that was
        stopped before its first token does not exist.
        """
        return self.role == "assistant" and (
            bool(self.text or self.reasoning)
            or (self.stats is not None and (self.stats.reply_tokens > 0 or self.stop_reason == "end"))
        )


@dataclass(frozen=True)
class Dropped:
    """What a new reply is generated instead of."""

    reply: ChatMessage | None
    """None where the last message has none."""
    others: tuple[int, ...]
    """The ids of the replies that are stored in its place."""


class Conversation:
    """The branch of one stored session that is shown. A new session is stored with its first message."""

    def __init__(
        self, store: Store, *, model: str, system: str | None, settings: Mapping[str, Any], name: str | None = None
    ) -> None:
        """`model`, `system`, `settings` and `name` are those of a new session."""
        self.store = store
        self.model = model
        self.system = system
        self.settings = dict(settings)
        self.name = name
        """The name that the person gave it; None without one."""
        self.read_only = ""
        """Why nothing can be added here, and what to do about it; empty where it can."""
        self.session: SessionInfo | None = None
        self.damage = ""
        """What of it is damaged in the database, to be told; empty if nothing is."""
        self.messages: list[ChatMessage] = []
        self._reply: ChatMessage | None = None
        """The reply that is not completely written yet."""
        self._unwritten: deque[tuple[str, str]] = deque()
        """Its text and its reasoning that are not in the store yet. `flush` may run in a thread while it grows."""
        self._writing = threading.RLock()

    @classmethod
    def resumed(cls, store: Store, session: SessionInfo) -> "Conversation":
        """A stored conversation, on the branch that was shown last. It reads the store: call it in a worker thread."""
        self = cls(store, model=session.model, system=session.system, settings=session.settings, name=session.name)
        self.session = session
        path = store.path(session.id)
        self.messages = shown(path, store.forks(session.id))
        if turns := sorted({message.turn for message in path if message.damage}):
            self.damage = f"Damaged in the database, and shown as far as it can be read: {turns_named(turns)}."
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

    def as_messages(self, n_ctx: int) -> list[Message]:
        """All messages in the form that an engine with a window of `n_ctx` tokens takes."""
        said = [message_of(said) for said in self.messages if said.role == "user" or said.answered]
        return for_window(said, n_ctx, self.pinned)

    def asked(self, turn: int) -> ChatMessage | None:
        """The person's message of a turn; None if there is no such turn."""
        return next((said for said in self.messages if said.turn == turn and said.role == "user"), None)

    @property
    def answered(self) -> set[int]:
        """The turns that have a reply: those that the engine knows."""
        return {said.turn for said in self.messages if said.answered}

    @property
    def pinned(self) -> list[int]:
        """The pinned turns."""
        return [said.turn for said in self.messages if said.pinned]

    # ----------------------------------------------------------------------- a turn

    def ask(self, text: str) -> ChatMessage:
        """Store the person's message as the next turn."""
        self.flush()
        said = ChatMessage(turn=self.turn + 1, role="user", text=text)
        if self.session is None:
            self.session = self.store.new_session(
                model=self.model, system=self.system, settings=self.settings, name=self.name, hold=True
            )
        parent = self.messages[-1] if self.messages else None
        others = self._beside(parent, said.role)
        said.id = self._add(said, parent=parent, text=text, state="done")
        said.others = others
        self.messages.append(said)
        return said

    def begin_reply(self, others: tuple[int, ...] = ()) -> ChatMessage:
        """Begin a reply to the last message, beside these `others`; it is stored with its first words."""
        self._reply = ChatMessage(turn=self.turn, role="assistant", text="", state="growing", others=others)
        self.messages.append(self._reply)
        return self._reply

    def grow(self, text: str, reasoning: str = "") -> None:
        """Add text to the reply, and `reasoning` to what the model thought before it; `flush` writes it."""
        if self._reply is not None:
            self._reply.text += text
            self._reply.reasoning += reasoning
            if text or reasoning:
                self._unwritten.append((text, reasoning))

    def finish_reply(
        self,
        state: FinalState,
        stats: TurnStats | None,
        stop_reason: str | None,
        why: str = "",
        *,
        tokens: bytes = b"",
        model: str = "",
    ) -> ChatMessage | None:
        """End the reply, which `flush` writes; returns the reply, None if there was none. `why` it failed is shown.

        `tokens` are those of the reply, `model` the digest of the one that made them.
        """
        said = self.reply
        if said is not None:
            said.stats, said.stop_reason, said.why = stats, stop_reason, why
            said.tokens, said.model = tokens, model
            said.state = state  # last: `flush`, which may run in a thread, ends the reply when it sees it
        return said

    @property
    def unwritten(self) -> bool:
        """True if `flush` has something to write."""
        said = self._reply
        return said is not None and (said.state != "growing" or bool(self._unwritten))

    def flush(self) -> None:
        """Write what is not written yet. Call it a few times a second, in any thread: a transaction or two each."""
        with self._writing:
            if self.unwritten:
                self._write()

    def _write(self) -> None:
        said = self._reply
        assert said is not None
        state = said.state  # before the text is looked at: once it has ended, all of its text is there
        pieces = list(self._unwritten)
        if said.id is None:
            parent = self.messages[-2] if len(self.messages) > 1 else None
            said.id = self._add(said, parent=parent, text="", state="growing")
        if pieces:
            text, reasoning = ("".join(column) for column in zip(*pieces, strict=True))
            self.store.append_text(said.id, text, reasoning)
            for _ in pieces:
                self._unwritten.popleft()
        if state != "growing":
            cost = None if said.stats is None else {**msgspec.to_builtins(said.stats), "stop_reason": said.stop_reason}
            self.store.finish_message(said.id, state=state, stats=cost, tokens=said.tokens, model=said.model)
            self._reply = None

    # ----------------------------------------------------------------------- going back

    def undo(self) -> list[ChatMessage]:
        """Remove the last turn; returns what was removed. It stays stored, on its own branch."""
        return self.back_to(self.turn)

    def back_to(self, turn: int) -> list[ChatMessage]:
        """Go back to just before this turn; returns what was removed. It stays stored, on its own branch."""
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

    def drop_reply(self) -> Dropped:
        """Remove the last reply, if the last message has one, to generate another."""
        self.flush()
        replied = self.messages[-1].role == "assistant"
        reply, kept = (self.messages[-1], self.messages[:-1]) if replied else (None, self.messages)
        dropped = Dropped(reply, self._beside(kept[-1], "assistant"))
        if replied:
            self._move_head(kept)
            self.messages = kept
        return dropped

    def put_back(self, dropped: ChatMessage) -> ChatMessage:
        """Undo `drop_reply` while the new reply is still empty; returns that reply."""
        begun = self.messages[-1]
        kept = [*self.messages[:-1], dropped]
        self._move_head(kept)
        self.messages, self._reply = kept, None
        return begun

    def pin(self, turn: int, pinned: bool) -> None:
        """Pin or unpin a turn."""
        said = self.asked(turn)
        if said is not None and said.id is not None and said.pinned != pinned:
            self.store.set_pinned(said.id, pinned)
            said.pinned = pinned

    def rename(self, name: str) -> str:
        """Give the conversation a name; returns the name as stored. Raises StoreError if it is taken."""
        if self.session is not None:
            self.store.rename(self.session.id, name)
            self.session = self.store.session(self.session.id)
        self.name = name if self.session is None else self.session.name
        return self.name or name

    def use_model(self, model: str) -> None:
        """Set the model of the conversation."""
        self.model = model
        if self.session is not None and not self.read_only:
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
        reasoning=message.reasoning,
        tokens=message.tokens,
        model=message.model,
    )


def _stats(kept: dict[str, Any] | None) -> tuple[TurnStats | None, str | None]:
    """Stats as stored, perhaps by another version: if they do not fit, none are shown."""
    if kept is None:
        return None, None
    reason = kept.get("stop_reason")
    try:
        return msgspec.convert(kept, TurnStats), reason if isinstance(reason, str) else None
    except msgspec.ValidationError:
        return None, None
