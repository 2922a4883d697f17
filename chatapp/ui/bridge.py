"""Turns the engine's events into Textual's messages at the frame rate: no text is lost, the latest snapshot wins."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from chatapp.engine.client import Engine
    from chatapp.protocol.codec import AnyEvent


class EngineSaid(Message):
    """The engine reported `event`."""

    def __init__(self, engine: "Engine", event: "AnyEvent") -> None:
        super().__init__()
        self.engine = engine
        self.event = event

    def can_replace(self, message: Message) -> bool:
        """True if `message`, queued after this one, supersedes it: of two snapshots only the newer is drawn.

        Textual asks this before a queued message is handled.
        """
        from chatapp.protocol.events import Snapshot

        return (
            isinstance(message, EngineSaid) and isinstance(self.event, Snapshot) and isinstance(message.event, Snapshot)
        )


class EngineEnded(Message):
    """The engine has ended: `why`, or None if it was asked to."""

    def __init__(self, engine: "Engine", why: str | None) -> None:
        super().__init__()
        self.engine = engine
        self.why = why


class Bridge:
    """Reads one engine's events and posts them, batched by frame."""

    def __init__(self, engine: "Engine", post: Callable[[Message], object], frame_s: float) -> None:
        """`post` takes the messages; batches are at least `frame_s` apart."""
        self._engine = engine
        self._post = post
        self._frame_s = frame_s
        self._waiting: list[AnyEvent] = []
        self._posted_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Start the engine and post its events until it ends; the last message says so."""
        from chatapp.errors import EngineError

        try:
            await self._engine.start()
        except EngineError as error:
            self._post(EngineEnded(self._engine, str(error)))
            return
        try:
            async for event in self._engine.events():
                self._add(event)
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._flush()
        self._post(EngineEnded(self._engine, self._engine.death))

    def _add(self, event: "AnyEvent") -> None:
        """Join adjacent text; drop a snapshot that a newer one supersedes; keep the order of everything else."""
        import msgspec

        from chatapp.protocol.events import Snapshot, Text

        last = self._waiting[-1] if self._waiting else None
        if isinstance(event, Snapshot):
            self._waiting = [old for old in self._waiting if not isinstance(old, Snapshot)]
        elif isinstance(event, Text):
            index = len(self._waiting) - (2 if isinstance(last, Snapshot) else 1)
            before = self._waiting[index] if index >= 0 else None
            if isinstance(before, Text) and before.turn == event.turn:
                self._waiting[index] = msgspec.structs.replace(
                    before,
                    text=before.text + event.text,
                    reasoning=before.reasoning + event.reasoning,
                    tokens=before.tokens + event.tokens,
                )
                return
        self._waiting.append(event)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._posted_at + self._frame_s), self._flush)

    def _flush(self) -> None:
        self._timer = None
        self._posted_at = asyncio.get_running_loop().time()
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            self._post(EngineSaid(self._engine, event))
