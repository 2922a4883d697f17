"""A real engine process, driven step by step; every snapshot that passes is held against the truth."""

import asyncio
import pydoc_data.topics
import re
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from chatapp.engine.client import EngineClient
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.commands import Command, Load, Open, Regenerate, Send, Undo
from chatapp.protocol.events import (
    Event,
    Evicted,
    Failed,
    Loaded,
    Opened,
    RolledBack,
    Snapshot,
    Started,
    Text,
    TurnDone,
    TurnStarted,
)
from chatapp.protocol.values import CacheSettings, EngineSettings, Message, Sampling

E = TypeVar("E", bound=Event)
T = TypeVar("T")
PATIENCE_S = 200.0
"""A busy machine is slow; an engine that hangs is told apart by the test's own time limit."""


def english(n_words: int, start: int = 0) -> str:
    """Plain English: `n_words` words of the prose in Python's own reference, from word `start` on."""
    words = re.sub(r"[^A-Za-z,.;' ]+", " ", " ".join(pydoc_data.topics.topics.values())).split()
    return " ".join(words[start : start + n_words])


def greedy(max_tokens: int) -> Sampling:
    """The likeliest tokens, and no penalty that would look back."""
    return Sampling(temperature=0, repeat_penalty=1.0, seed=1, max_tokens=max_tokens)


@dataclass(frozen=True)
class Seen:
    """The events of one step, in order."""

    events: Sequence[AnyEvent]

    def all(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def one(self, kind: type[E]) -> E:
        """The only event of this type."""
        (event,) = self.all(kind)
        return event

    def last(self, kind: type[E]) -> E:
        return self.all(kind)[-1]

    @property
    def done(self) -> TurnDone:
        return self.one(TurnDone)

    @property
    def started(self) -> TurnStarted:
        return self.one(TurnStarted)

    @property
    def snapshot(self) -> Snapshot:
        return self.last(Snapshot)

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.all(Text))


class Engine:
    """An engine process for a `with`; a plain, waiting face on the asyncio client."""

    def __init__(self, log: Path) -> None:
        self.client = EngineClient(log)
        self._runner = asyncio.Runner()
        self._events: AsyncIterator[AnyEvent] | None = None

    def __enter__(self) -> Self:
        self._runner.run(self.client.start())
        self._events = self.client.events()
        self.started = self.until(Started).one(Started)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._runner.run(self.client.stop())
        self._runner.close()

    @property
    def pid(self) -> int:
        assert self.client.pid is not None
        return self.client.pid

    def post(self, *commands: Command) -> None:
        """Hand commands over, all in one write."""

        async def write() -> None:
            for command in commands:
                self.client.post(command)

        self._runner.run(write())

    def until(self, last: type[Event], n: int = 1) -> Seen:
        """Wait for `n` events of type `last`; everything up to there. A Failed that is not awaited fails the test."""

        async def read() -> list[AnyEvent]:
            seen: list[AnyEvent] = []
            assert self._events is not None
            left = n
            async with asyncio.timeout(PATIENCE_S):
                async for event in self._events:
                    seen.append(event)
                    if isinstance(event, Snapshot):
                        check(event)
                    left -= isinstance(event, last)
                    if not left:
                        return seen
                    assert not isinstance(event, Failed), event
            raise AssertionError(f"the engine ended while {last.__name__} was awaited: {self.client.death}")

        return Seen(self._runner.run(read()))

    def stream(self) -> AsyncIterator[AnyEvent]:
        """All events to come, for `run`."""
        assert self._events is not None
        return self._events

    def run(self, work: Coroutine[None, None, T]) -> T:
        """Wait for `work` in the loop that the client lives in."""
        return self._runner.run(work)

    def to_the_end(self) -> None:
        """Read until the engine has ended."""

        async def read() -> None:
            assert self._events is not None
            async for _ in self._events:
                pass

        self._runner.run(asyncio.wait_for(read(), PATIENCE_S))

    def load(self, path: Path, cache: CacheSettings, *, scoring: bool = False) -> Loaded:
        self.post(Load(path=str(path), cache=cache, engine=EngineSettings(), scoring=scoring))
        return self.until(Loaded).one(Loaded)

    def open(self, messages: Sequence[Message] = (), system: str | None = None) -> Opened:
        """A conversation, old or new, with the snapshot that follows."""
        self.post(Open(system=system, messages=list(messages)))
        opened = self.until(Opened).one(Opened)
        self.until(Snapshot)
        return opened

    def send(self, turn: int, text: str, sampling: Sampling) -> Seen:
        self.post(Send(turn=turn, text=text, sampling=sampling))
        return self.until(TurnDone)

    def regenerate(self, turn: int, sampling: Sampling) -> Seen:
        self.post(Regenerate(turn=turn, sampling=sampling))
        return self.until(TurnDone)

    def undo(self, turn: int) -> RolledBack:
        self.post(Undo(turn=turn))
        seen = self.until(RolledBack)
        self.until(Snapshot)
        return seen.one(RolledBack)


def check(snapshot: Snapshot) -> None:
    """What holds at every moment, whatever the policy: the ledger, llama.cpp's positions and the counts agree."""
    assert snapshot.mismatch is None
    assert snapshot.n_used == sum(run.n for run in snapshot.runs) <= snapshot.n_ctx
    assert all(a.pos + a.n <= b.pos for a, b in pairwise(snapshot.runs))
    assert snapshot.n_sink == sum(run.n for run in snapshot.runs if run.kind == "sink")
    if snapshot.runs:
        assert snapshot.pos_max == snapshot.runs[-1].pos + snapshot.runs[-1].n - 1
    else:
        assert (snapshot.pos_min, snapshot.pos_max) == (None, None)


def without_gaps(snapshot: Snapshot) -> bool:
    """True where the positions are 0, 1, 2, ..., as many as there are tokens."""
    return not snapshot.runs or (
        snapshot.runs[0].pos == 0
        and all(a.pos + a.n == b.pos for a, b in pairwise(snapshot.runs))
        and snapshot.pos_max == snapshot.n_used - 1
    )


def evictions(steps: Sequence[Seen]) -> list[Evicted]:
    """All evictions of these steps, in order."""
    return [event for step in steps for event in step.all(Evicted)]
