"""The interface's side of the pipe: start the engine process, post commands, read events, notice its death."""

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from chatapp.errors import BuildError, EngineError, ModelError, SwachatError, UserError
from chatapp.protocol.codec import AnyEvent, decode_event, encode
from chatapp.protocol.commands import Command, Shutdown
from chatapp.protocol.events import Failed

STOP_TIMEOUT_S = 3.0
FRAME_LIMIT_BYTES = 1 << 24
SPIN_COUNT = "4000"
"""How long llama.cpp's OpenMP threads spin for each other before they sleep (docs/decisions/0006)."""


class Engine(Protocol):
    """What the interface needs of an engine: `EngineClient`, or a scripted one in tests."""

    async def start(self) -> None:
        """Start it; the first event is Started. Raises EngineError where it cannot be started."""
        ...

    def post(self, command: Command) -> None:
        """Send a command without waiting. Does nothing once the engine has ended."""
        ...

    def events(self) -> AsyncIterator[AnyEvent]:
        """Every event in order, until the engine has ended and its last event is read."""
        ...

    async def stop(self) -> None:
        """Ask it to end, then kill it. Returns when the process has ended."""
        ...

    @property
    def death(self) -> str | None:
        """Why it ended, in one sentence; None while it runs and when it was asked to end."""
        ...


def error_of(event: Failed) -> SwachatError:
    """The error that a Failed event reports, with its exit code."""
    kinds = {"user": UserError, "model": ModelError, "build": BuildError}
    return kinds.get(event.kind, EngineError)(event.what, event.todo)


def ended(engine: Engine) -> EngineError:
    """The error of an engine that has ended before it answered."""
    return EngineError(engine.death or "The engine process has ended.", "Run `swachat doctor` to find out more.")


class EngineClient:
    """One engine process. llama.cpp's log, and whatever else it writes on its standard error, goes to `log`."""

    def __init__(self, log: Path) -> None:
        """`log` is appended to; its folder must exist."""
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._lifeline: int | None = None
        self._asked_to_end = False
        self._death: str | None = None

    @property
    def pid(self) -> int | None:
        """The engine's process id, None before `start`."""
        return self._process.pid if self._process else None

    @property
    def death(self) -> str | None:
        """See Engine.death."""
        return self._death

    async def start(self) -> None:
        """See Engine.start. The process has a session of its own, so that Ctrl+C in the terminal does not reach it."""
        try:
            engines_end, self._lifeline = os.pipe()
            try:
                with self._log.open("ab") as log:
                    self._process = await asyncio.create_subprocess_exec(
                        *(sys.executable, "-P", "-m", "chatapp.engine.worker", str(engines_end)),
                        pass_fds=[engines_end],
                        stdin=asyncio.subprocess.PIPE,
                        stdout=asyncio.subprocess.PIPE,
                        stderr=log,
                        start_new_session=True,
                        env={"GOMP_SPINCOUNT": SPIN_COUNT, **os.environ},
                        limit=FRAME_LIMIT_BYTES,
                    )
            finally:
                os.close(engines_end)
        except OSError as error:
            self._let_go()
            raise EngineError(f"The engine process cannot be started: {error}.", f"See {self._log}.") from error

    def post(self, command: Command) -> None:
        """See Engine.post."""
        process = self._process
        if process is None or process.stdin is None or process.stdin.is_closing() or process.returncode is not None:
            return
        process.stdin.write(encode(command))

    async def events(self) -> AsyncIterator[AnyEvent]:
        """See Engine.events."""
        process = self._process
        if process is None or process.stdout is None:
            raise EngineError("The engine process was not started.")
        try:
            while True:
                head = await process.stdout.readexactly(4)
                yield decode_event(await process.stdout.readexactly(int.from_bytes(head, "little")))
        except asyncio.IncompleteReadError:
            pass
        code = await process.wait()
        self._let_go()
        if not self._asked_to_end:
            self._death = self._explain(code)

    async def stop(self) -> None:
        """See Engine.stop."""
        process = self._process
        if process is None or process.returncode is not None:
            self._let_go()
            return
        self._asked_to_end = True
        self.post(Shutdown())
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.wait()
        self._let_go()

    def _let_go(self) -> None:
        """Close this end of the pipe whose end ends the engine: it has ended."""
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None

    def _explain(self, code: int) -> str:
        if code < 0:
            try:
                cause = f"was ended by signal {signal.Signals(-code).name}"
            except ValueError:
                cause = f"was ended by signal {-code}"
        else:
            cause = f"ended with status {code}"
        last = self._last_complaint()
        return f"The engine process {cause}{f' ({last})' if last else ''}; its log is {self._log}."

    def _last_complaint(self) -> str:
        """The last line of the log that mentions a failed assertion or an error."""
        try:
            with self._log.open("rb") as log:
                tail = deque(log, maxlen=60)
        except OSError:
            return ""
        for line in reversed(tail):
            text = line.decode(errors="replace").strip()
            if "GGML_ASSERT" in text or "GGML_ABORT" in text or "Error" in text:
                return text[:200]
        return ""
