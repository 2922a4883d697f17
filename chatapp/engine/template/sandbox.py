"""Jinja's sandbox for one chat template, and the process in which an untrusted one is compiled and rendered.

`main` is that process: it imports Jinja and nothing else of weight, takes requests from standard input, one at a time,
and writes one reply each to standard output. `process` is its other side.
"""

import json
import os
import resource
import signal
import struct
import sys
from contextlib import suppress
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError, meta, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from chatapp.engine import lifeline

REQUEST = struct.Struct("!dQ")
"""What stands before a request, which is the arguments of `SandboxedTemplate`, then of its `render`, as JSON: the
seconds of processor time that it may take, and its length in bytes.
"""
REPLY = struct.Struct("!cdQ")
"""What stands before the text of a reply: one of the following, the seconds of processor time that the process has
taken in all, and the length in bytes.
"""
DONE, REFUSED, FAILED = b"d", b"r", b"f"
REASON_CHARS = 200
"""The most that is told of an error: a template may raise one with megabytes of text."""
MEMORY_BYTES = 192 << 20
"""What a template may take beyond what Python itself does; compiling the longest one that is taken needs half of it."""
MEMORY_PER_BYTE = 32
"""And for each byte of a request: the text in JSON, decoded, several times in the template's hands, and encoded."""
NO_MEMORY = f"it takes more than {MEMORY_BYTES >> 20} MiB of memory"


class OutputTooLongError(Exception):
    """A rendering has more characters than it may."""


class _Generation(Extension):
    """`{% generation %}`: Hugging Face's mark around what a model wrote, for training; it has no effect here."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class SandboxedTemplate:
    """A compiled template. Without limits: in the engine's own process only for templates that are part of it."""

    def __init__(self, source: str) -> None:
        """Whatever Jinja and Python's compiler raise, where the template cannot be compiled."""
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _raise_exception  # pyright: ignore[reportArgumentType]  (a template global)
        environment.globals["strftime_now"] = _strftime_now  # pyright: ignore[reportArgumentType]  (a template global)
        self._template = environment.from_string(source)
        self.reads = sorted(meta.find_undeclared_variables(environment.parse(source)) - environment.globals.keys())
        """The names that the template reads from outside."""

    def render(
        self, messages: list[dict[str, Any]], *, reply: bool, variables: dict[str, Any], most_chars: int | None = None
    ) -> str:
        """The output for `messages`, with the opening of a reply if `reply`; `variables` are the other names that the
        template may read.

        Raises OutputTooLongError beyond `most_chars`, and whatever the template does.
        """
        pieces: list[str] = []
        n_chars = 0
        told = {"tools": None, **variables, "messages": messages, "add_generation_prompt": reply}
        for piece in self._template.generate(told):
            pieces.append(piece)
            n_chars += len(piece)
            if most_chars is not None and n_chars > most_chars:
                raise OutputTooLongError(f"it wrote more than {most_chars:,} characters")
        return "".join(pieces)

    def close(self) -> None:
        """There is nothing to close."""


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(str(message))


def _strftime_now(pattern: str) -> str:
    return datetime.now().astimezone().strftime(pattern)


def _tojson(value: object, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    """JSON as Hugging Face's templates expect it: Jinja's own filter escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


# ------------------------------------------------------------------ the process


def main(line: int) -> None:
    """Reply once all is imported, and then to requests, until standard input ends, or the pipe `line` does: that one at
    any moment.
    """
    lifeline.tie(line)
    requests = os.fdopen(0, "rb")
    for of_a_terminal in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTSTP):
        signal.signal(of_a_terminal, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # which ends the process, also in the middle of a C call
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(limit, (0, 0))
    template: SandboxedTemplate | None = None
    own_bytes = _own_bytes()
    _write(REPLY.pack(DONE, _processor_s(), 0))
    while len(head := requests.read(REQUEST.size)) == REQUEST.size:
        limit_s, length = REQUEST.unpack(head)
        _limit_memory(own_bytes, MEMORY_BYTES + MEMORY_PER_BYTE * length)
        signal.setitimer(signal.ITIMER_PROF, limit_s)
        went, text = DONE, b""
        try:
            request: dict[str, Any] = json.loads(requests.read(length))
            if template is None:
                template = SandboxedTemplate(**request)
                text = json.dumps(template.reads).encode()
            else:
                text = template.render(**request).encode()
        except BaseException as error:  # an untrusted template may raise anything
            went, text = REFUSED if isinstance(error, TemplateError) else FAILED, _reason(error)
        signal.setitimer(signal.ITIMER_PROF, 0)
        _write(REPLY.pack(went, _processor_s(), len(text)) + text)


def _own_bytes() -> int | None:
    """The address space in use; None where /proc does not tell."""
    with suppress(OSError), open("/proc/self/statm") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()
    return None


def _limit_memory(own_bytes: int | None, more_bytes: int) -> None:
    """Allow `more_bytes` beyond the `own_bytes` of Python. macOS does not enforce a limit of the address space, and
    has no /proc: there only the other side of the pipe looks, every 50 ms, at the memory in use.
    """
    if own_bytes is not None:
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        soft = own_bytes + more_bytes
        resource.setrlimit(resource.RLIMIT_AS, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _reason(error: BaseException) -> bytes:
    """The error in one line of at most REASON_CHARS characters."""
    if isinstance(error, MemoryError):
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))  # what was allocated is still held by the error's frames
        return NO_MEMORY.encode()
    try:
        text = " ".join(str(error)[: 4 * REASON_CHARS].split())
    except Exception:  # its own __str__ fails
        text = ""
    if not text or not isinstance(error, TemplateError | OutputTooLongError):
        text = f"{type(error).__name__}: {text}".removesuffix(": ")
    if len(text) > REASON_CHARS:
        text = text[: REASON_CHARS - 1] + "…"
    return text.encode(errors="replace")


def _write(data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(1, view) :]
    except OSError:
        sys.exit()
