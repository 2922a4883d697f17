"""The cache of the scripted engine: the real ledger under the real policy, a word being a token.

It holds the conversation in use and at most one other branch of it, as an engine with two live branches does.
"""

import re
from collections.abc import Callable, Iterator
from itertools import takewhile

from chatapp.cache.ledger import CellKind, Ledger
from chatapp.cache.policy import apply, make_room
from chatapp.engine import refusals
from chatapp.errors import UserError
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.commands import Forecast, Open
from chatapp.protocol.events import (
    Branched,
    Evicted,
    Failed,
    Foreseen,
    Opened,
    Pinned,
    Prefilled,
    Recalled,
    Released,
    RolledBack,
    Snapshot,
    Spelled,
)
from chatapp.protocol.values import CellRun, Ghost, Message

MIB = 1 << 20
OPENING_TOK = 3
"""Tokens of a chat template before each message."""
SHARE = 0.25
"""Share of the window that leaves at once."""
TOKEN_MS = 0.5

Branch = tuple[Ledger, list[Message]]


class FakeCache:
    """One conversation's tokens; `emit` takes every event, `now` gives its time."""

    def __init__(self, n_ctx: int, emit: Callable[[AnyEvent], None], now: Callable[[], float]) -> None:
        self.ledger = Ledger()
        self.evicted = self.shifts = 0
        self._n_ctx, self._emit, self._now = n_ctx, emit, now
        self._messages: list[Message] = []
        self._system: str | None = None
        self._other: Branch | None = None
        """The branch that is in the cache and not in use."""

    # ----------------------------------------------------------------------- conversations

    def refusal(self, system: str | None) -> UserError | None:
        """Why no conversation with this system prompt is opened; None where it is."""
        least = _beginning(system).n_tokens
        return refusals.system_too_long(least, self._n_ctx) if least > self._n_ctx * 3 // 4 else None

    def open(self, command: Open) -> None:
        """Hold this conversation; what is there of it already, in either branch, is used again."""
        answered = {message.turn for message in command.messages if message.role == "assistant"}
        messages = [message for message in command.messages if message.turn in answered]
        reused = self._go_to(messages) if command.system == self._system and self.ledger.n_tokens else 0
        if not reused:
            self.ledger, self._other = _beginning(command.system), None
            self._system = command.system
        before = self.ledger.n_tokens if reused else 0
        known = {message.turn for message in self._messages} if reused else set[int]()
        for turn in self.ledger.turns:
            self._mark(turn, pinned=turn in command.pinned)
        for message in messages:
            if message.turn in known:
                continue
            opening = _opening(message.role)
            self.room(len(tokens(message.text)) + opening, message.turn, quiet=True)
            self.add(message.turn, message.role, tokens(message.text), opening=opening)
            if message.role == "assistant" and message.turn in command.pinned:
                self._mark(message.turn, pinned=True)
        self._messages = messages
        inside, processed = set(self.ledger.turns), self.ledger.n_tokens - before
        self._emit(
            Opened(
                at_s=self._now(), n_sink=self.ledger.n_sink, processed_tokens=processed, in_window_turns=len(inside),
                evicted_turns=len(answered - inside), ms=processed * TOKEN_MS, reused_tokens=before,
                why="" if answered else "new conversation",
            )
        )  # fmt: skip
        self.snapshot()

    def _go_to(self, messages: list[Message]) -> int:
        """Take the live branch that shares most with this conversation; how many tokens of it there are."""
        here: Branch = (self.ledger, self._messages)
        branches = [here] if self._other is None else [here, self._other]
        ledger, said = max(branches, key=lambda branch: _common(branch[1], messages))
        shared = _common(said, messages)
        if not shared:
            return 0
        was_live = self._other
        left = next((branch for branch in branches if branch[1] is not said), None)
        self.ledger = _until(ledger, said, shared)
        self._messages = said[:shared]
        if shared == len(said):
            self._other = left
            return self.ledger.n_tokens
        # What is left behind is now a branch of its own; of three, the one that was not in use goes.
        if was_live is not None and was_live[1] is not said:
            self._release("a third branch begins")
        self._other = (ledger, said)
        self._emit(Branched(at_s=self._now(), shared_tokens=self.ledger.n_tokens, live_branches=2))
        return self.ledger.n_tokens

    def _release(self, why: str) -> None:
        n = self._elsewhere
        self._other = None
        self._emit(Released(at_s=self._now(), tokens=n, live_branches=1, why=why))

    @property
    def _elsewhere(self) -> int:
        """Cells that only the other branch holds."""
        if self._other is None:
            return 0
        ledger, said = self._other
        return ledger.n_tokens - _until(ledger, said, _common(said, self._messages)).n_tokens

    def said(self, *messages: Message) -> None:
        """These came to the end of the conversation."""
        self._messages += messages

    def asked(self, turn: int) -> str:
        """What the person said in this turn."""
        return next(message.text for message in self._messages if message.turn == turn)

    @property
    def last_turn(self) -> int:
        """The last turn that the model answered; 0 where there is none."""
        return self._messages[-1].turn if self._messages else 0

    def roll_back(self, turn: int, *, keep_user: bool, why: str) -> None:
        """Drop a turn, or only its reply."""
        book = self.ledger
        gone = [
            run
            for run in book.of_turn(turn)
            if run.kind is not CellKind.SINK and not (keep_user and run.role == "user")
        ]
        to_pos = gone[0].pos if gone else book.next_pos
        self.ledger = book.truncate(to_pos)
        self._messages = [message for message in self._messages if message.turn != turn]
        self._emit(
            RolledBack(
                at_s=self._now(), turn=turn, tokens=book.n_tokens - self.ledger.n_tokens, to_pos=to_pos,
                rebuilt=False, processed_tokens=0, ms=0.2, why=why,
            )
        )  # fmt: skip

    # ----------------------------------------------------------------------- pins and recall

    def pin(self, turn: int, *, pinned: bool) -> None:
        """Keep a turn for good, or no longer; refused where less than a quarter of the window would be left."""
        runs = [run for run in self.ledger.of_turn(turn) if run.kind is not CellKind.SINK]
        if not runs:
            self._fail(f"Turn {turn} is not in the window.", "Recall it first.")
            return
        n = sum(len(run.tokens) for run in runs)
        kept = self.ledger.n_sink + self.ledger.n_pinned
        most = self._n_ctx * 3 // 4
        if pinned and kept + n > most:
            what = f"Turn {turn} has {n} tokens, and {kept} never leave already: {kept + n} of {self._n_ctx}."
            self._fail(what, f"At most {most} may stay for good. Unpin another turn, or use a larger --ctx.")
            return
        self._mark(turn, pinned=pinned)
        self._tell_pin(turn, pinned=pinned)
        self.snapshot()

    def let_go(self, why: str) -> None:
        """Give up every pin, as an engine does that needs the room."""
        for turn in self.ledger.pinned_turns:
            self._mark(turn, pinned=False)
            self._tell_pin(turn, pinned=False, why=why)

    def _mark(self, turn: int, *, pinned: bool) -> None:
        self.ledger = self.ledger.pin(turn) if pinned else self.ledger.unpin(turn)

    def _tell_pin(self, turn: int, *, pinned: bool, why: str = "") -> None:
        n = sum(len(run.tokens) for run in self.ledger.of_turn(turn) if run.kind is not CellKind.SINK)
        kept = self.ledger.n_sink + self.ledger.n_pinned
        self._emit(Pinned(at_s=self._now(), turn=turn, pinned=pinned, tokens=n, kept_tokens=kept, why=why))

    def recall(self, turns: list[int]) -> Iterator[None]:
        """Process evicted turns again, message by message; a caller that does not go on has cancelled."""
        inside = [turn for turn in turns if turn in self.ledger.turns]
        wanted = [message for turn in turns for message in self._messages if message.turn == turn]
        sizes = [len(tokens(message.text)) + _opening(message.role) for message in wanted]
        total = sum(sizes)
        kept = self.ledger.n_sink + self.ledger.n_pinned
        if inside:
            self._fail(f"Turn {inside[0]} is in the window.", "")
            return
        if kept + total > self._n_ctx * 3 // 4:
            what = f"These turns have {total} tokens, and {kept} of {self._n_ctx} never leave."
            self._fail(what, "Recall fewer turns, or use a larger --ctx.")
            return
        done, turn = 0, self.last_turn
        self.room(total, None)
        for message, take in zip(wanted, sizes, strict=True):
            self.ledger = self.ledger.returned((message.turn,))
            opening = _opening(message.role)
            self.add(message.turn, message.role, tokens(message.text), opening=opening, kind=CellKind.RECALLED)
            done += take
            self._emit(Prefilled(at_s=self._now(), turn=turn, done=done, total=total, ms=take * TOKEN_MS))
            self.snapshot()
            yield
        self._emit(Recalled(at_s=self._now(), turns=turns, tokens=total, ms=total * TOKEN_MS))

    def forget_recalled(self, turns: list[int]) -> None:
        """A recall that was stopped leaves nothing behind."""
        start = min((run.pos for turn in turns for run in self.ledger.of_turn(turn)), default=self.ledger.next_pos)
        self.ledger = self.ledger.truncate(start)
        self.snapshot()

    # ----------------------------------------------------------------------- cells

    def add(self, turn: int, role: str, more: tuple[int, ...], *, opening: int = OPENING_TOK,
            kind: CellKind | None = None) -> None:  # fmt: skip
        """Tokens at the end."""
        self.ledger = self.ledger.append(turn, role, (0,) * opening + more, opening=opening, kind=kind)

    def room(self, need: int, turn: int | None, *, quiet: bool = False) -> None:
        """Make room for so many tokens; the branch that is not in use goes first."""
        if self._other is not None and self.ledger.n_tokens + self._elsewhere + need > self._n_ctx:
            self._release("room for new tokens")
        plan = make_room(self.ledger, policy="sinks", need=need, n_ctx=self._n_ctx, share=SHARE, turn=turn)
        if not plan.steps:
            return
        self.ledger = apply(self.ledger, plan)
        self.evicted += plan.tokens
        self.shifts += 1
        if not quiet:
            self._emit(
                Evicted(
                    at_s=self._now(), turn=turn, policy="sinks", tokens=plan.tokens, turns=list(plan.turns),
                    partial_turn=plan.partial_turn, removed=list(plan.removed), renumbered=plan.renumbers, ms=0.3,
                    next_decode_ms=9.0, why="room for new tokens",
                )
            )  # fmt: skip

    def forecast(self, command: Forecast) -> None:
        """What sending this draft would do."""
        need = len(tokens(command.text)) + 2 * OPENING_TOK
        plan = make_room(self.ledger, policy="sinks", need=need, n_ctx=self._n_ctx, share=SHARE, turn=None)
        free = self._n_ctx - self.ledger.n_tokens - self._elsewhere
        self._emit(
            Foreseen(
                at_s=self._now(), id=command.id, tokens=need, free=free, leaving=list(plan.turns),
                partly=need > self._n_ctx, seconds=need / 412.0,
            )
        )  # fmt: skip

    def spell(self, pos: int, n: int) -> None:
        """Name tokens by their positions: a script has no vocabulary."""
        held = {p for run in self.ledger.runs for p in range(run.pos, run.end)}
        there = list(takewhile(held.__contains__, range(pos, pos + n)))
        self._emit(Spelled(at_s=self._now(), pos=pos, tokens=[0] * len(there), pieces=[f"word{p}" for p in there]))

    def snapshot(self) -> None:
        """Tell what is where."""
        book = self.ledger
        runs = [
            CellRun(turn=r.turn, role=r.role, kind=r.kind.value, pos=r.pos, n=len(r.tokens), lost=r.lost)
            for r in book.runs
        ]
        inside = set(book.turns)
        ghosts = [Ghost(turn=gone.turn, tokens=gone.tokens, whole=gone.turn not in inside) for gone in book.gone[-8:]]
        self._emit(
            Snapshot(
                at_s=self._now(), runs=runs, ghosts=ghosts, evicted_tokens=book.evicted_tokens,
                evicted_turns=sum(gone.turn not in inside for gone in book.gone), shifts=self.shifts,
                n_ctx=self._n_ctx, n_ctx_swa=None, n_swa=None, n_sink=book.n_sink, n_used=book.n_tokens,
                n_elsewhere=self._elsewhere, live_branches=1 if self._other is None else 2,
                pos_min=0 if book.n_tokens else None, pos_max=book.next_pos - 1 if book.n_tokens else None,
                mismatch=None, resident_bytes=251 * MIB, devices=[], prompt_tok_s=412.0, decode_tok_s=61.0,
            )
        )  # fmt: skip

    def _fail(self, what: str, todo: str) -> None:
        self._emit(Failed(at_s=self._now(), kind="user", what=what, todo=todo))


def pieces(text: str) -> list[str]:
    """`text` in pieces of a word each; joined they are `text` again."""
    return re.findall(r"\s*\S+|\s+$", text)


def tokens(text: str) -> tuple[int, ...]:
    """The tokens of `text`: one a word."""
    return (0,) * len(pieces(text))


def _opening(role: str) -> int:
    """A turn's markup is all before the person's message here."""
    return OPENING_TOK if role == "user" else 0


def _beginning(system: str | None) -> Ledger:
    """BOS and the system prompt."""
    opening = OPENING_TOK + len(tokens(system)) if system else OPENING_TOK
    return Ledger().append(0, "system", (0,) * max(4, opening), kind=CellKind.SINK)


def _common(a: list[Message], b: list[Message]) -> int:
    """Messages that two conversations begin with alike, in whole turns."""
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))) // 2 * 2


def _until(ledger: Ledger, messages: list[Message], kept: int) -> Ledger:
    """The ledger as it was when only the first `kept` of its messages had been said."""
    later = {message.turn for message in messages[kept:]}
    return ledger.truncate(min((run.pos for run in ledger.runs if run.turn in later), default=ledger.next_pos))
