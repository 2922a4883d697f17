"""A scripted engine that speaks the real protocol: for tests of the interface and for pictures of it, never to chat.

Its worker, its session and its cache are the engine's own; its llama.cpp is not (`llama.py`). Nothing in it is random
and its clock is a counter: the same commands give the same events, byte for byte.
"""

import asyncio
from collections.abc import AsyncIterator

from chatapp.errors import EngineError
from chatapp.protocol.codec import AnyCommand, AnyEvent
from chatapp.protocol.commands import Cancel, Command
from tests.support.fake_engine.lockstep import Lockstep
from tests.support.fake_engine.script import Script
from tests.support.fake_engine.steady import steady
from tests.support.fake_engine.worker import ScriptedPipe, ScriptedWorker, Wish

EPOCH_S = 1_760_000_000.0


class FakeEngine:
    """See the module. Satisfies `chatapp.engine.client.Engine`; `posted` keeps every command for tests to read."""

    def __init__(self, script: Script | None = None, *, posted: list[Command] | None = None) -> None:
        """`posted` may be shared by several engines, so that a test sees what a restarted one was asked."""
        self.script = script or Script()
        self.posted: list[Command] = [] if posted is None else posted
        self._events: asyncio.Queue[AnyEvent | None] = asyncio.Queue()
        self._told: list[AnyEvent] = []
        self._task: asyncio.Task[None] | None = None
        self._called = asyncio.Event()
        self._ending = False
        self._death: str | None = None
        self._ticks = 0
        self._lockstep = Lockstep[Wish](lambda: self._worker.run())
        self._pipe = ScriptedPipe(lambda: self.script, self._lockstep.pause, self._tell)
        self._worker = ScriptedWorker(lambda: self.script, self._pipe, self._lockstep.pause)

    # ----------------------------------------------------------------------- the protocol of chatapp.engine.client

    @property
    def death(self) -> str | None:
        """See Engine.death."""
        return self._death

    async def start(self) -> None:
        """See Engine.start."""
        if self.script.start_error:
            raise EngineError(self.script.start_error)
        self._task = asyncio.create_task(self._serve())

    def post(self, command: Command) -> None:
        """See Engine.post."""
        if self._death is not None:
            return
        self.posted.append(command)
        assert isinstance(command, AnyCommand)
        self._pipe.take(command)
        self._called.set()

    async def events(self) -> AsyncIterator[AnyEvent]:
        """See Engine.events."""
        while (event := await self._events.get()) is not None:
            yield event

    async def stop(self) -> None:
        """See Engine.stop."""
        if self._task is None or self._death is not None:
            return
        self._pipe.take(Cancel())
        self._ending = True
        self._called.set()
        await self._task

    def release(self) -> None:
        """Go on with the reply that is held."""
        self._pipe.freed = True
        self._called.set()

    def die(self, why: str | None = None) -> None:
        """End as a killed process does: at once, in the middle of anything."""
        self._death = why or self.script.death
        if self._task is not None:
            self._task.cancel()
        self._events.put_nowait(None)

    # ----------------------------------------------------------------------- the script

    async def _serve(self) -> None:
        steps = self._lockstep.steps()
        try:
            for wish in steps:
                self._hand_over()
                match wish:
                    case Wish.COMMAND if self._ending:
                        break
                    case Wish.COMMAND | Wish.RELEASE:
                        self._called.clear()
                        await self._called.wait()
                    case Wish.TOKEN:
                        await asyncio.sleep(self.script.token_s)
                    case Wish.WEIGHTS:
                        await asyncio.sleep(self.script.load_s)
                    case Wish.DEATH:
                        self.die()
                        await asyncio.sleep(0)
        finally:
            steps.close()
            self._events.put_nowait(None)

    def _tell(self, event: AnyEvent) -> None:
        self._ticks += 1
        self._told.append(steady(event, EPOCH_S + self._ticks / 100))

    def _hand_over(self) -> None:
        told, self._told = self._told, []
        for event in told:
            self._events.put_nowait(event)
