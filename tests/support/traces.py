"""Traces to test with: conversations of the scripted engine, recorded as the program records them."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.commands import Command, Load, Open, Regenerate, Send
from chatapp.protocol.events import Loaded, Opened, Started, TurnDone
from chatapp.protocol.values import CacheRequest, EngineSettings, Message, Sampling
from chatapp.replay.record import RecordedEngine, Recorder
from tests.support.fake_engine.engine import EPOCH_S, FakeEngine
from tests.support.fake_engine.script import Script

LOAD = Load(path="/models/starter.gguf", cache=CacheRequest(), engine=EngineSettings())
OPEN = Open(system="You help.", messages=[])
ENDS = (Started, Loaded, Opened, TurnDone)
"""The events after which the next command is given; an answer to any other command comes before them."""


def send(turn: int, text: str) -> Send:
    """A message of the person."""
    return Send(turn=turn, text=text, sampling=Sampling())


def sends(n: int, words: int = 12) -> list[Command]:
    """So many messages, of so many words each."""
    return [send(turn, " ".join(f"word{turn}" for _ in range(words))) for turn in range(1, n + 1)]


def clock() -> Callable[[], float]:
    """Times that fit those of the scripted engine, whose clock is a counter too; it starts at EPOCH_S."""
    return lambda: EPOCH_S


def record(
    path: Path, commands: Sequence[Command], script: Script | None = None, messages: Sequence[Message] = ()
) -> list[AnyEvent]:
    """Record a chat in which these commands are given, one after the other, in `path`; the events of it."""

    async def chat() -> list[AnyEvent]:
        events: list[AnyEvent] = []
        with path.open("wb", buffering=0) as file:
            engine = RecordedEngine(FakeEngine(script), Recorder(file, clock()))
            await engine.start()
            waiting: list[Command] = [LOAD, Open(system=OPEN.system, messages=list(messages)), *commands]
            async for event in engine.events():
                events.append(event)
                if not isinstance(event, ENDS):
                    continue
                while waiting:
                    command = waiting.pop(0)
                    engine.post(command)
                    if isinstance(command, Send | Regenerate | Load | Open):
                        break
                else:
                    break
            await engine.stop()
        return events

    return asyncio.run(chat())
