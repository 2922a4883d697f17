"""What a prompt is made of: a question, and what is on standard input."""

import os
import select
import sys
import time

from chatapp.errors import UserError
from chatapp.units import size

FIRST_BYTE_S = 10.0
"""How long a question waits for the first byte of a pipe that nobody may ever write to."""
TELL_AFTER_S = 2.0
"""A longer wait is explained."""
MOST_BYTES = 64 << 20
"""No window holds as much; and /dev/zero never ends."""
_LOOK_EVERY_S = 0.25
_CHUNK_BYTES = 1 << 16


def standard_input(*, patient: bool) -> str | None:
    """The text on standard input: None on a terminal, which is not read, empty where there is nothing.

    `patient` waits as long as it takes. Otherwise, where no byte comes within FIRST_BYTE_S, it goes on without: cron,
    ssh and programs that start programs leave a pipe that is never closed. Either wait is told on standard error.
    Raises UserError where it cannot be read or is no text.
    """
    if sys.stdin.isatty():
        return None
    try:
        data = _all(sys.stdin.fileno(), patient)
    except OSError as error:
        raise UserError(
            f"Standard input cannot be read: {error.strerror or error}.", "Redirect a file to it."
        ) from error
    try:
        return data.decode("utf-8-sig")  # some editors put a byte order mark in front
    except UnicodeDecodeError as error:
        raise UserError(
            f"Standard input is not valid UTF-8 (byte {error.start} is {error.object[error.start]:#04x}).",
            "Convert it to UTF-8.",
        ) from error


def joined(question: str, text: str) -> str:
    """The message: the question, then the text between marks; either of them alone where the other is blank."""
    if not text.strip() or not question.strip():
        return question if question.strip() else text
    end = "" if text.endswith("\n") else "\n"
    return f"{question.rstrip()}\n\n<stdin>\n{text}{end}</stdin>"


def _all(source: int, patient: bool) -> bytes:
    """Everything up to the end of the file `source`."""
    data = bytearray()
    since_s, told = time.monotonic(), False
    while True:
        if not select.select([source], [], [], _LOOK_EVERY_S)[0]:
            quiet_s = time.monotonic() - since_s
            if quiet_s >= FIRST_BYTE_S and not data and not patient:
                _tell(f"nothing came on standard input in {FIRST_BYTE_S:g} s: asking without it (--stdin waits)")
                return b""
            if quiet_s >= TELL_AFTER_S and not told:
                told = True
                _tell(f"waiting for {'the end of ' if data else ''}standard input; < /dev/null asks without it")
            continue
        piece = os.read(source, _CHUNK_BYTES)
        if not piece:
            return bytes(data)
        data += piece
        since_s = time.monotonic()
        if len(data) > MOST_BYTES:
            raise UserError(f"Standard input is longer than {size(MOST_BYTES)}.", "Give a part of it.")


def _tell(what: str) -> None:
    print(f"swachat: {what}", file=sys.stderr)
