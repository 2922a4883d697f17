"""Recording: an engine whose commands and events are written to a trace file as they pass."""

import time
from collections.abc import AsyncIterator, Callable
from typing import BinaryIO

from chatapp import __version__
from chatapp.engine.client import Engine
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.commands import Command
from chatapp.replay.lines import FORMAT, KEPT, AnyLine, Ended, Posted, Trace, encode


class Recorder:
    """Writes lines to a trace. Where that fails the trace ends, the chat continues, and `trouble` says why."""

    def __init__(self, file: BinaryIO, clock: Callable[[], float] = time.time) -> None:
        """`file` is unbuffered, so that it has everything up to a crash; `clock` gives Unix time."""
        self._file: BinaryIO | None = file
        self._clock = clock
        self._told = False
        self.trouble: str | None = None
        self.write(Trace(at_s=clock(), format=FORMAT, swachat=__version__))

    def write(self, line: AnyLine) -> None:
        """Write one whole line."""
        if self._file is None:
            return
        rest = memoryview(encode(line))
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._file = None
            self.trouble = f"Recording has stopped: the trace cannot be written: {error.strerror}."

    def post(self, command: Command) -> None:
        """Record a command to the engine, if it is one that traces record."""
        if isinstance(command, KEPT):
            self.write(Posted(at_s=self._clock(), command=command))

    def end(self, why: str) -> None:
        """Record that the engine has ended unexpectedly."""
        self.write(Ended(at_s=self._clock(), why=why))

    def new_trouble(self) -> str | None:
        """What to tell the user about the trouble, once."""
        if self._told:
            return None
        self._told = self.trouble is not None
        return self.trouble


class RecordedEngine:
    """An engine that is being recorded. Satisfies `chatapp.engine.client.Engine`."""

    def __init__(self, engine: Engine, recorder: Recorder) -> None:
        self._engine = engine
        self._recorder = recorder

    @property
    def death(self) -> str | None:
        """See Engine.death."""
        return self._engine.death

    async def start(self) -> None:
        """See Engine.start."""
        await self._engine.start()

    def post(self, command: Command) -> None:
        """See Engine.post."""
        self._recorder.post(command)
        self._engine.post(command)

    async def events(self) -> AsyncIterator[AnyEvent]:
        """See Engine.events."""
        async for event in self._engine.events():
            self._recorder.write(event)
            yield event
        if (why := self._engine.death) is not None:
            self._recorder.end(why)

    async def stop(self) -> None:
        """See Engine.stop."""
        await self._engine.stop()
