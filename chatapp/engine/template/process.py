"""A model's own chat template in a process with limits: it is code from an untrusted file.

Jinja's sandbox keeps a template from reaching out; it does not keep it from computing for ever, in one C call that
nothing in the same process can interrupt, or from taking all memory. So it is compiled and rendered in a process of
its own (`sandbox`), which is kept for the model's life, costs a fraction of a millisecond per rendering, and
can be killed.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import psutil

import chatapp
from chatapp.engine.interrupts import CancelledError
from chatapp.engine.template.sandbox import (
    DONE,
    FAILED,
    MEMORY_BYTES,
    MEMORY_PER_BYTE,
    NO_MEMORY,
    REASON_CHARS,
    REFUSED,
    REPLY,
    REQUEST,
)
from chatapp.errors import ModelError

LOAD_LIMIT_S = 1.0
"""Processor time for compiling a template and trying it out, together: real templates take 10 to 60 ms."""
RENDER_LIMIT_S = 1.0
"""Processor time for one rendering after that, with RENDER_S_PER_BYTE for its messages: real templates take 0.05 ms."""
RENDER_S_PER_BYTE = 1e-7
SLOW_S, SLOW_PROCESSOR_S = 1.7, 0.4
"""On a busy machine a limit of processor time comes late: this much time by the clock is enough for what has also had
this much processor time.
"""
PATIENCE_S = 10.0
"""Time by the clock after which a process is taken for dead."""
POLL_MS = 50
"""How often a cancel is looked for, and what the process has taken."""
SOURCE_CHARS = 1 << 18
"""The longest template that is taken; real ones have up to 30,000 characters."""
OUTPUT_CHARS = 100_000
"""What a rendering may have beyond OUTPUT_PER_CHAR times the characters of its messages: a default system prompt has
some thousand, and every character has to be tokenized.
"""
OUTPUT_PER_CHAR = 4
_OWN_BYTES = 64 << 20
"""More than what the process takes before it has seen a template."""

_ROOTS = dict.fromkeys(str(Path(str(module.__file__)).parent.parent) for module in (chatapp, jinja2, markupsafe))
_PROGRAM = (
    "import sys; sys.path += sys.argv[2:]; from chatapp.engine.template import sandbox; sandbox.main(int(sys.argv[1]))"
)
# Isolated, and without `site`: what is installed beside Jinja is not looked at, and cannot run code at the start.
_COMMAND = [sys.executable, "-I", "-S", "-c", _PROGRAM]
_TOO_LONG = "it takes too long"


class RefusalError(ModelError):
    """The template works, and raised an exception of its own about what it was given."""


class _EndedError(Exception):
    """The process ended, or was ended, before it replied; the message says why."""


@dataclass
class _Time:
    """What a rendering, or the whole trial of a template, may take, and has taken."""

    limit_s: float
    processor_s: float = 0.0
    clock_s: float = 0.0

    def over(self) -> bool:
        slow = self.processor_s > SLOW_PROCESSOR_S and self.clock_s > max(SLOW_S, self.limit_s)
        return slow or self.processor_s >= self.limit_s

    def after(self, processor_s: float, clock_s: float) -> "_Time":
        return _Time(self.limit_s, self.processor_s + processor_s, self.clock_s + clock_s)


class TemplateProcess:
    """One template, compiled in a process of its own. After a failure the process is not trusted any more: it is ended,
    and started again when it is next needed.
    """

    def __init__(self, source: str, cancelled: Callable[[], bool] = lambda: False) -> None:
        """`cancelled` is asked while something takes long. ModelError where the template cannot be compiled,
        CancelledError where the user cancelled.
        """
        self._source, self._cancelled = source, cancelled
        self._process: subprocess.Popen[bytes] | None = None
        self._processor_s = 0.0
        """What the process has taken, as of its last reply."""
        self._end: Callable[[], object] = lambda: None
        self.reads: list[str] = []
        """The names that the template reads from outside."""
        self._trial: _Time | None = _Time(LOAD_LIMIT_S)
        """None once the template is accepted."""
        if len(source) > SOURCE_CHARS:
            raise _unusable(f"it has {len(source):,} characters, and at most {SOURCE_CHARS:,} are taken")
        self._start()

    def accept(self) -> None:
        """The template was tried out, and works: from now on each rendering has RENDER_LIMIT_S of its own. ModelError
        where the trial took too long, so that some of it was not tried.
        """
        if self._trial is not None and self._trial.over():
            raise _fails(_TOO_LONG)
        self._trial = None

    def render(self, messages: list[dict[str, Any]], *, reply: bool, variables: dict[str, Any]) -> str:
        """The output for `messages`, with the opening of a reply if `reply`; `variables` are the other names that the
        template may read.

        Raises ModelError where the template refuses the messages, fails, or takes too much of anything, and
        CancelledError where the user cancelled meanwhile.
        """
        if self._process is None or self._process.poll() is not None:  # it may have been killed since
            self.close()
            self._start()
        most_chars = OUTPUT_CHARS + OUTPUT_PER_CHAR * sum(len(str(message["content"])) for message in messages)
        request = {"messages": messages, "reply": reply, "variables": variables, "most_chars": most_chars}
        went, text = self._ask(json.dumps(request).encode(), RENDER_LIMIT_S, most_chars)
        if went == DONE:
            return text
        if went == REFUSED:
            raise RefusalError(f"The model's chat template refuses this conversation: {text}.")
        raise _fails(text)

    def close(self) -> None:
        """End the process."""
        self._end()
        self._process = None

    def _start(self) -> None:
        """Start the process, and have it compile the template."""
        try:
            process, lifeline = _launch()
        except OSError as error:
            raise _unusable(f"no process can be started for it: {error.strerror}") from error
        self._process, self._processor_s, self._end = process, 0.0, weakref.finalize(self, _kill, process, lifeline)
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        try:
            self._exchange(b"", 0, _Time(PATIENCE_S))  # it has started, which is not on the template's account
        except _EndedError as ended:
            went, text = FAILED, str(ended)
        else:
            went, text = self._ask(json.dumps({"source": self._source}).encode(), LOAD_LIMIT_S, SOURCE_CHARS)
        if went != DONE:
            self.close()  # refused, too: there is nothing to render
            raise _unusable(text)
        self.reads = [str(name) for name in json.loads(text)]

    def _ask(self, request: bytes, limit_s: float, most_chars: int) -> tuple[bytes, str]:
        """How a request went, and the text or the reason."""
        spent = self._trial or _Time(limit_s + RENDER_S_PER_BYTE * len(request))
        if spent.over():
            return FAILED, _TOO_LONG
        began, before_s = time.monotonic(), self._processor_s
        head = REQUEST.pack(spent.limit_s - spent.processor_s, len(request))
        try:
            went, text = self._exchange(head + request, most_chars, spent)
        except _EndedError as ended:
            went, text = FAILED, str(ended)
            if text == _TOO_LONG:
                spent.processor_s = spent.limit_s
        if went == FAILED:
            self.close()
        if self._trial is not None:
            self._trial = spent.after(self._processor_s - before_s, time.monotonic() - began)
        return went, text

    def _exchange(self, request: bytes, most_chars: int, spent: _Time) -> tuple[bytes, str]:
        """Write a request, and read how it went and a text. _EndedError where there is no reply, CancelledError where
        the user cancelled.
        """
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        source, sink = process.stdout.fileno(), process.stdin.fileno()
        ready = select.poll()
        ready.register(source, select.POLLIN)
        ready.register(sink, select.POLLOUT)
        began = time.monotonic()
        rest, reply, due = memoryview(request), bytearray(), REPLY.size
        while len(reply) < due:
            events = dict(ready.poll(POLL_MS))
            if source in events:
                if not (data := os.read(source, 1 << 16)):
                    raise _EndedError(_cause(process))
                reply += data
                if due == REPLY.size <= len(reply):
                    due += REPLY.unpack_from(reply)[2]
                    if due > REPLY.size + 4 * max(most_chars, REASON_CHARS):  # UTF-8 has at most four bytes a character
                        raise _EndedError("its process replies with nonsense")
            elif sink in events:
                with suppress(BlockingIOError, BrokenPipeError):  # a broken one has an end to be read
                    rest = rest[os.write(sink, rest) :]
                if not rest:
                    ready.unregister(sink)
            elif self._cancelled():
                self.close()
                raise CancelledError
            else:
                self._check(process.pid, len(request), spent, time.monotonic() - began)
        went, self._processor_s, _ = REPLY.unpack_from(reply)
        return went, reply[REPLY.size :].decode(errors="replace")

    def _check(self, pid: int, n_bytes: int, spent: _Time, clock_s: float) -> None:
        """_EndedError where the process has taken too much. It has limits of its own; this is for those that come late,
        or that the system does not enforce.
        """
        if clock_s > PATIENCE_S + spent.limit_s:
            raise _EndedError(f"its process has not answered for {clock_s:.0f} s")
        with suppress(psutil.Error):  # it ends: there is something to read
            process = psutil.Process(pid)
            used = process.cpu_times()
            if spent.after(used.user + used.system - self._processor_s, clock_s).over():
                raise _EndedError(_TOO_LONG)
            if process.memory_info().rss > _OWN_BYTES + MEMORY_BYTES + MEMORY_PER_BYTE * n_bytes:
                raise _EndedError(NO_MEMORY)


def _unusable(why: str) -> ModelError:
    return ModelError(f"The model's chat template cannot be parsed: {why}.", "Choose another model.")


def _fails(why: str) -> ModelError:
    return ModelError(f"The model's chat template fails: {why}.")


def _cause(process: subprocess.Popen[bytes]) -> str:
    """Why the process ended by itself."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(1)
    code = process.returncode
    if code == -signal.SIGPROF:
        return _TOO_LONG
    if code is None or code >= 0:
        return f"its process ended with status {code}"
    with suppress(ValueError):
        return f"its process was ended by signal {signal.Signals(-code).name}"
    return f"its process was ended by signal {-code}"


def _launch() -> tuple[subprocess.Popen[bytes], int]:
    """A process, and the end of a pipe that it ends with."""
    its_end, lifeline = os.pipe()
    try:
        process = subprocess.Popen(
            [*_COMMAND, str(its_end), *_ROOTS],
            pass_fds=[its_end],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # the engine's log is searched for the reason of the engine's own end
            start_new_session=True,
        )
    except OSError:
        os.close(lifeline)
        raise
    finally:
        os.close(its_end)
    return process, lifeline


def _kill(process: subprocess.Popen[bytes], lifeline: int) -> None:
    process.kill()
    process.wait()
    os.close(lifeline)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
