"""Standard input in any pieces, output that ends anywhere, and Ctrl+C at any import."""

import os
import subprocess
import threading
from pathlib import Path

import pytest

from chatapp.commands import given
from chatapp.errors import UserError
from tests.robustness.tries import Try, tries
from tests.support.program import COMMAND

PIECES = ("word ", "\n", "é", "👩\u200d🚀", "\r\n", "\x00", "\x1b[2J", "</stdin>", "\t", "x" * 70_000)
INTERRUPT = """\
import os, signal, sys

class Finder:
    left = {count}

    def find_spec(self, name, path=None, target=None):
        if "chatapp.errors" in sys.modules or name == "chatapp.errors":
            Finder.left -= 1
            if Finder.left == 0:
                os.kill(os.getpid(), signal.SIGINT)
        return None

sys.meta_path.insert(0, Finder())
"""
"""Sends a SIGINT at one of the imports after the program has begun."""


class Input:
    """What `sys.stdin` is to the reader: a pipe."""

    def __init__(self, source: int) -> None:
        self._source = source

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._source


def piped(attempt: Try, data: bytes, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """What is read of `data`, which comes in pieces of any size."""
    reading, writing = os.pipe()

    def write() -> None:
        at = 0
        with open(writing, "wb", buffering=0) as out:
            while at < len(data):
                at += out.write(data[at : at + attempt.choice([1, 7, 4096, 65536])])

    thread = threading.Thread(target=write)
    monkeypatch.setattr("sys.stdin", Input(reading))
    thread.start()
    try:
        return given.standard_input(patient=True)
    finally:
        thread.join()
        os.close(reading)


def test_any_text_in_any_pieces_arrives_whole_and_bytes_that_are_none_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for attempt in tries("pipes", 200):
        text = "".join(attempt.choice(PIECES) for _ in range(attempt.randrange(8)))
        data = (b"\xef\xbb\xbf" if attempt.random() < 0.3 else b"") + text.encode()
        if attempt.random() < 0.2:
            data += b"\xff" * attempt.randint(1, 3)
            with pytest.raises(UserError, match="Standard input is not valid UTF-8"):
                piped(attempt, data, monkeypatch)
        else:
            assert piped(attempt, data, monkeypatch) == text, str(attempt)


@pytest.mark.parametrize("output", ["/dev/full", "closed", "gone"])
@pytest.mark.parametrize("words", ["--help", "sessions list", "models list", "config path", "lab mask"])
def test_output_that_cannot_be_written_is_one_line(output: str, words: str) -> None:
    """Each was a traceback."""
    redirected = {"/dev/full": ">/dev/full", "closed": ">&-", "gone": "| exec true"}[output]
    shell = ["bash", "-c", f'set -o pipefail; "$@" {redirected}', "-", *COMMAND, *words.split()]
    ran = subprocess.run(shell, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    if output == "gone":
        assert ran.returncode in (0, 141)  # it may have been quicker
        assert ran.stderr == b""
        return
    why = "is closed" if output == "closed" else "cannot be written: No space left on device"
    assert (ran.returncode, ran.stderr.decode()) == (1, f"swachat: Standard output {why}.\n")


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&- <&-", ">/dev/full 2>/dev/full", "<&-"])
def test_closed_streams_are_not_taken_for_files(closed: str) -> None:
    """The database was standard output, and an error message was part of the output."""
    shell = ["bash", "-c", f'"$@" {closed}', "-", *COMMAND, "sessions", "export", "none"]
    ran = subprocess.run(shell, capture_output=True, timeout=60, check=False)
    assert ran.returncode == 2
    assert ran.stdout == b""
    assert b"Traceback" not in ran.stderr


def test_ctrl_c_at_any_import_is_one_line(tmp_path: Path) -> None:
    """It was a traceback: of the import, or of a dataclass that took it for an error of its own."""
    for attempt in tries("interrupts", 10):
        (tmp_path / "sitecustomize.py").write_text(INTERRUPT.format(count=attempt.randint(1, 120)))
        ran = subprocess.run(
            [*COMMAND, "ask", "Hi", "--model", "none"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            timeout=60,
            check=False,
        )
        assert (ran.returncode, ran.stderr) == (130, b"swachat: interrupted\n"), (str(attempt), ran.stderr[-500:])
