"""One conversation in this process, taken through the same cycle of turns again and again: what the soak runs.

The cycle has questions of a few words, pages, a paste longer than the window, replies of 1 to 200 tokens, another
reply, a turn taken back, one that is pinned for a while, one that is recalled; and, where that is asked for, the way
back to the branch of the reply that was left, and to that of an earlier turn. The engine is the engine process's own
(chatapp.engine.worker), with a meter for its pipe.
"""

import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.witness import MOST_PROBLEMS, Witness
from chatapp.engine.kv.cache import KvCache
from chatapp.engine.native import llama
from chatapp.engine.native.llama import Model
from chatapp.engine.pipe import Pipe
from chatapp.engine.worker import Worker
from chatapp.protocol.codec import AnyCommand, AnyEvent
from chatapp.protocol.commands import Load, Open, Pin, Recall, Regenerate, Send, Undo
from chatapp.protocol.events import (
    Evicted,
    Opened,
    Prefilled,
    Snapshot,
    Text,
    TurnDone,
    TurnStarted,
)
from chatapp.protocol.values import CacheSettings, EngineSettings, Message, Sampling
from tests.support.engine.process import english

SYSTEM = "You are a patient librarian who answers in short, plain sentences."
CYCLE = ((12, 40), (30, 120), (8, 20), (90, 60), (20, 200), (250, 80), (15, 1), (45, 150), (6, 30), (700, 50))
"""Tokens of each message, about, and the longest reply to it."""
ANOTHER_REPLY_TO, TAKEN_BACK = 3, 7
PINNED, UNPINNED_BEHIND, RECALLED_BEHIND, BRANCHED_BEHIND = 2, 5, 8, 6
"""Places in the cycle. What is recalled is its first turn, where that has left."""
N_REPORTS = 10
"""Lines of progress in a run."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """What one cycle cost: tokens, seconds of processor time, and at its end the resident bytes of the process, the
    conversation's own text (`text_bytes`) among them.
    """

    prompt_tok: int
    prompt_s: float
    reply_tok: int
    reply_s: float
    resident_bytes: int
    text_bytes: int

    @property
    def tokens(self) -> int:
        """Tokens that went through the model."""
        return self.prompt_tok + self.reply_tok


@dataclass
class Outcome:
    """What a run found. `checks` counts comparisons with llama.cpp's cells; a step is a reply or a turn taken back, and
    ends with a comparison of the lowest and highest position.
    """

    cycles: list[Cycle] = field(default_factory=list[Cycle])
    steps: int = 0
    checks: int = 0
    evictions: int = 0
    pins: int = 0
    recalls: int = 0
    switches: int = 0
    """Ways to another branch that was in the cache."""
    most_runs: int = 0
    """The most pieces that the ledger was ever made of."""
    most_gone: int = 0
    """The most evicted turns that it knew one by one."""
    problems: list[str] = field(default_factory=list[str])

    @property
    def tokens(self) -> int:
        """Tokens that went through the model."""
        return sum(cycle.tokens for cycle in self.cycles)


class Meter(Pipe):
    """Stands in for the pipe of the engine process: takes the events, and the processor time between them.

    `spent` is time that counts for nobody.
    """

    def __init__(self) -> None:
        super().__init__(-1, -1)
        self.spent = 0.0
        self.prompt_ends = 0.0
        self.evictions = 0
        self.reply: list[str] = []
        self.done: TurnDone | None = None
        self.snapshot: Snapshot | None = None
        self.opened: Opened | None = None

    def now(self) -> float:
        """Seconds of processor time."""
        return time.process_time() - self.spent

    def cancelled(self) -> bool:
        """Nobody cancels."""
        return False

    def emit(self, event: AnyEvent) -> None:
        """One event."""
        match event:
            case Prefilled(done=done, total=total) if done == total:
                self.prompt_ends = self.now()
            case Evicted():
                self.evictions += 1
            case TurnStarted():
                self.reply = []
            case Text(text=text):
                self.reply.append(text)
            case TurnDone():
                self.done = event
            case Snapshot():
                self.snapshot = event
            case Opened():
                self.opened = event
            case _:
                pass


class Engine(Worker):
    """The engine process's own work, in this process: commands in, events to the meter."""

    def do(self, command: AnyCommand) -> None:
        """One command; what the engine would report as Failed is raised."""
        self._do(command)

    @property
    def model(self) -> Model:
        """The model that was loaded."""
        assert self._model is not None
        return self._model

    @property
    def kv(self) -> KvCache:
        """The cache and its ledger."""
        assert self._session is not None
        return self._session.kv

    def close(self) -> None:
        """Give all memory back."""
        self._unload()


class Patient(Witness):
    """A witness that tells the meter what it took."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._meter = meter

    def hear(self, text: bytes) -> None:
        """One message of the log."""
        began = time.process_time()
        super().hear(text)
        self._meter.spent += time.process_time() - began


class Conversation:
    """A conversation that is taken through cycle after cycle.

    With `branches` it keeps every word, for the engine is given them all again on the way to another branch.
    """

    def __init__(self, engine: Engine, meter: Meter, outcome: Outcome, *, branches: bool = False) -> None:
        self._engine, self._meter, self._outcome = engine, meter, outcome
        self._said: list[tuple[Message, Message]] | None = [] if branches else None
        tokenize = engine.model.tokenize
        self._words = [(word, len(tokenize(f" {word}", special=False))) for word in english(20_000).split()]
        self._turn = self._word = 0
        self._text_bytes = self._turn_bytes = 0
        self._other: tuple[Message, Message] | None = None
        self._prompt_tok = self._reply_tok = 0
        self._prompt_s = self._reply_s = 0.0

    def cycle(self) -> Cycle:
        """One cycle."""
        before = self._prompt_tok, self._prompt_s, self._reply_tok, self._reply_s
        first, pinned = self._turn + 1, 0
        for place, (size, longest) in enumerate(CYCLE):
            self._turn += 1
            text, sampling = self._text(size), Sampling(seed=self._turn, max_tokens=longest)
            self._reply(Send(turn=self._turn, text=text, sampling=sampling))
            self._keep(text)
            if place == ANOTHER_REPLY_TO:
                self._reply(Regenerate(turn=self._turn, sampling=sampling))
                self._forget()
                self._keep(text)
                self._back_to_the_other_reply()
            if place == TAKEN_BACK:
                self._engine.do(Undo(turn=self._turn))
                self._forget()
                self._turn -= 1
                self._check()
            if place == PINNED and self._engine.kv.policy != "window":
                pinned = self._turn
                self._pin(pinned, True)
            if place == UNPINNED_BEHIND and pinned:
                self._pin(pinned, False)
            if place == BRANCHED_BEHIND:
                self._back_to_the_turn_before()
            if place == RECALLED_BEHIND:
                self._recall(first)
        after = self._prompt_tok, self._prompt_s, self._reply_tok, self._reply_s
        prompt_tok, prompt_s, reply_tok, reply_s = (now - then for now, then in zip(after, before, strict=True))
        resident_bytes = psutil.Process().memory_info().rss
        return Cycle(int(prompt_tok), prompt_s, int(reply_tok), reply_s, resident_bytes, self._text_bytes)

    def _pin(self, turn: int, pinned: bool) -> None:
        self._engine.do(Pin(turn=turn, pinned=pinned))
        self._outcome.pins += pinned
        self._check()

    def _recall(self, turn: int) -> None:
        """Bring a turn back that has left."""
        kv = self._engine.kv
        if turn in kv.ledger.turns:
            return
        began, processed = self._meter.now(), kv.processed
        self._engine.do(Recall(turns=[turn]))
        self._prompt_tok += kv.processed - processed
        self._prompt_s += self._meter.now() - began
        self._outcome.recalls += 1
        self._check()

    def _back_to_the_other_reply(self) -> None:
        """The reply that another one was made for is the better one."""
        if self._said is not None and self._other is not None:
            self._said[-1] = self._other
            self._open()

    def _back_to_the_turn_before(self) -> None:
        """The last turn leads nowhere."""
        if self._said is not None:
            self._said.pop()
            self._turn -= 1
            self._open()

    def _open(self) -> None:
        messages = [message for said in self._said or () for message in said]
        self._engine.do(Open(system=SYSTEM, messages=messages))
        opened = self._meter.opened
        assert opened is not None
        self._outcome.switches += opened.reused_tokens > 0
        self._check()

    def _reply(self, command: Send | Regenerate) -> None:
        began = self._meter.now()
        self._engine.do(command)
        ended = self._meter.now()
        done = self._meter.done
        assert done is not None
        self._prompt_tok += done.stats.processed_tokens
        self._reply_tok += done.stats.reply_tokens
        self._prompt_s += self._meter.prompt_ends - began
        self._reply_s += ended - self._meter.prompt_ends
        self._check()

    def _keep(self, text: str) -> None:
        """Count what Python needs to hold the turn's two messages."""
        reply = "".join(self._meter.reply)
        held = (text, reply, *(Message(turn=self._turn, role="user", text=each) for each in (text, reply)))
        self._turn_bytes = sum(sys.getsizeof(each) for each in held)
        self._text_bytes += self._turn_bytes
        if self._said is not None:
            said = (
                Message(turn=self._turn, role=role, text=each) for role, each in (("user", text), ("assistant", reply))
            )
            self._said.append((next(said), next(said)))

    def _forget(self) -> None:
        """The last turn is no longer the conversation's."""
        self._text_bytes -= self._turn_bytes
        self._other = self._said.pop() if self._said else None

    def _text(self, size: int) -> str:
        taken: list[str] = []
        while size > 0:
            word, count = self._words[self._word % len(self._words)]
            self._word += 1
            taken.append(word)
            size -= count
        return " ".join(taken)

    def _check(self) -> None:
        """What the snapshot says, and how large the ledger is."""
        outcome, snapshot, ledger = self._outcome, self._meter.snapshot, self._engine.kv.ledger
        assert snapshot is not None
        outcome.steps += 1
        outcome.most_runs = max(outcome.most_runs, len(ledger.runs))
        outcome.most_gone = max(outcome.most_gone, len(ledger.gone))
        problem = snapshot.mismatch
        if problem is None and snapshot.n_used != ledger.n_tokens:
            problem = f"the snapshot shows {snapshot.n_used} tokens, the ledger has {ledger.n_tokens}"
        if problem is not None and len(outcome.problems) < MOST_PROBLEMS:
            outcome.problems.append(problem)


def soak(
    path: Path,
    tokens: int,
    cache: CacheSettings,
    *,
    threads: int = 1,
    witness: bool = True,
    branches: bool = False,
    stopped: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Take a conversation through whole cycles until `tokens` have gone through the model, something is wrong, or
    `stopped` says so after a cycle.
    """
    outcome, told = Outcome(), 0
    llama.init()
    meter = Meter()
    engine, listener = Engine(meter), Patient(meter)
    with listener.installed() if witness else nullcontext():
        engine.do(Load(path=str(path), cache=cache, engine=EngineSettings(threads=threads)))
        listener.attend(engine.kv)
        engine.do(Open(system=SYSTEM, messages=[]))
        chat = Conversation(engine, meter, outcome, branches=branches)
        while outcome.tokens < tokens and not outcome.problems and not stopped():
            outcome.cycles.append(chat.cycle())
            outcome.problems += listener.problems
            if outcome.tokens * N_REPORTS // tokens > told:
                told = outcome.tokens * N_REPORTS // tokens
                print(f"{path.stem}: {outcome.tokens} of {tokens} tokens", file=sys.stderr, flush=True)
        engine.close()
    outcome.checks, outcome.evictions = listener.checks, meter.evictions
    return outcome
