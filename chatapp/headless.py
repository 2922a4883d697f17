"""The engine without a screen: what `ask`, `perplexity` and `doctor` drive it with."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from chatapp.engine.client import Engine, EngineClient, ended, error_of
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.commands import Cancel, Command, Load
from chatapp.protocol.events import Calibrating, Event, Failed, Loaded, Started
from chatapp.protocol.values import CacheRequest, EngineSettings
from chatapp.replay.record import RecordedEngine, Recorder
from chatapp.terminal_line import TerminalLine
from chatapp.text import LONGEST_SENTENCE, one_line

E = TypeVar("E", bound=Event)


class Headless:
    """One engine for the length of an `async with`. Ctrl+C cancels what runs; a second one ends the process."""

    def __init__(self, log: Path, trace: Recorder | None = None) -> None:
        """`log` takes llama.cpp's log, `trace` what is asked of the engine and what it does."""
        client = EngineClient(log)
        self._trace = trace
        self._client: Engine = client if trace is None else RecordedEngine(client, trace)
        self._events: AsyncIterator[AnyEvent] | None = None
        self._line = TerminalLine()
        self.interrupted = False

    async def __aenter__(self) -> Self:
        await self._client.start()
        self._events = self._client.events()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._interrupt)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._client.stop()

    def _interrupt(self) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        self._client.post(Cancel())

    def post(self, command: Command) -> None:
        """Hand a command to the engine; after Ctrl+C it is cancelled at once."""
        self._client.post(command)
        if self.interrupted:
            self._client.post(Cancel())

    async def until(self, last: type[E]) -> E:
        """Drop events up to the first of type `last`. Raises as `stream` does."""
        async for event in self.stream(last):
            if isinstance(event, last):
                return event
        raise AssertionError("a stream ends with its last event or an error")

    async def stream(self, last: type[Event]) -> AsyncIterator[AnyEvent]:
        """Events up to and with the first of type `last`.

        A Failed event is raised as UserError, ModelError, BuildError or EngineError; so is the engine's death.
        """
        assert self._events is not None
        async for event in self._events:
            if self._trace is not None and (trouble := self._trace.new_trouble()) is not None:
                print(f"swachat: {one_line(trouble, LONGEST_SENTENCE)}", file=sys.stderr)
            if isinstance(event, Failed):
                if self.interrupted:
                    raise KeyboardInterrupt
                raise error_of(event)
            if isinstance(event, Calibrating):
                self._line.show(f"Measuring sinks: {event.done} of {event.total} tokens")
                if event.done >= event.total:
                    self._line.clear()
            yield event
            if isinstance(event, last):
                return
        if self.interrupted:
            raise KeyboardInterrupt
        raise ended(self._client)

    async def load(self, path: Path, cache: CacheRequest, engine: EngineSettings, *, scoring: bool = False) -> Loaded:
        """Start with this model."""
        await self.until(Started)
        self.post(Load(path=str(path), cache=cache, engine=engine, scoring=scoring))
        loaded = await self.until(Loaded)
        if self.interrupted:  # a measurement of sinks that is stopped does not fail the load
            raise KeyboardInterrupt
        return loaded
