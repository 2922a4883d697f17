"""The real program, run as a person or a script runs it."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

PATIENCE_S = 240
COMMAND = (sys.executable, "-m", "chatapp.cli")


@dataclass(frozen=True)
class Ran:
    """How a run ended, and what it wrote: bytes, because controls matter."""

    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def complaint(self) -> str:
        """Standard error of a run that failed: one line, and no traceback."""
        text = self.err.decode()
        assert text.count("\n") == 1, text
        assert text.startswith("swachat"), text
        return text.removesuffix("\n")


def swachat(*words: str | bytes, given: bytes = b"", env: Mapping[str, str] | None = None) -> Ran:
    """`swachat WORDS`, with `given` on standard input."""
    done = subprocess.run(
        [*COMMAND, *words], input=given, capture_output=True, timeout=PATIENCE_S, env=env, check=False
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def started(*words: str) -> subprocess.Popen[bytes]:
    """`swachat WORDS`, running, with its output on pipes that are not buffered here."""
    return subprocess.Popen(
        [*COMMAND, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )


def first(program: subprocess.Popen[bytes], count: int) -> bytes:
    """The first `count` bytes of its standard output."""
    assert program.stdout is not None
    got = b""
    while len(got) < count:
        more = program.stdout.read(count - len(got))
        assert more, f"it wrote {got!r} only"
        got += more
    return got
