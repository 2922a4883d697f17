"""The map over time as a picture: a column for each moment, a row for each cell of the window, as an indexed PNG."""

import struct
import zlib
from base64 import b64encode
from collections.abc import Sequence

from chatapp.page.columns import Column
from chatapp.protocol.values import CellRun

ROWS = 256
"""Most rows of the picture; a window of more cells shows several in one row."""

COLOURS = {
    "free": None,
    "sink": "#c98a1b",
    "pinned": "#c2447f",
    "recalled": "#2a9d9d",
    "odd turn, message": "#2f6fc4",
    "odd turn, reply": "#8fb5e6",
    "even turn, message": "#3d8b37",
    "even turn, reply": "#97c993",
}
"""The colour of each kind of cell; None is transparent. Light and dark alternate, to separate turns without colour."""

_NUMBERS = {name: number for number, name in enumerate(COLOURS)}


def picture(columns: Sequence[Column]) -> str:
    """The data: URL of the picture, one pixel per column, the first positions at the top."""
    rows = min(ROWS, max((column.snapshot.n_ctx for column in columns), default=1)) or 1
    drawn = [_column(column.snapshot.runs, column.snapshot.n_ctx, rows) for column in columns]
    lines = b"".join(b"\0" + bytes(column[row] for column in drawn) for row in range(rows))
    return "data:image/png;base64," + b64encode(_png(len(drawn), rows, lines)).decode()


def _column(runs: Sequence[CellRun], n_ctx: int, rows: int) -> bytearray:
    """One column. Runs are in order of position, without gaps; kept cells are drawn last, and never too thin."""
    column = bytearray(rows)
    if n_ctx <= 0:
        return column
    placed: list[tuple[int, int, int]] = []
    at = 0
    for run in runs:
        placed.append((_number(run), at, at + max(0, run.n)))
        at += max(0, run.n)
    for number, begin, end in sorted(placed, key=lambda each: each[0] in (1, 2, 3)):
        first = min(rows - 1, begin * rows // n_ctx)
        last = min(rows, max(first + 1, end * rows // n_ctx))
        column[first:last] = bytes([number]) * (last - first)
    return column


def _number(run: CellRun) -> int:
    if run.kind in _NUMBERS:
        return _NUMBERS[run.kind]
    turn = "odd turn" if run.turn % 2 else "even turn"
    return _NUMBERS[f"{turn}, {'reply' if run.role == 'assistant' else 'message'}"]


def _png(width: int, height: int, lines: bytes) -> bytes:
    """An indexed PNG of 8 bits (PNG specification, 11.2): header, palette, transparency of its first colour, data."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    palette = b"".join(bytes.fromhex((colour or "#000000")[1:]) for colour in COLOURS.values())
    return b"".join((
        b"\x89PNG\r\n\x1a\n",
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        chunk(b"PLTE", palette),
        chunk(b"tRNS", b"\0"),
        chunk(b"IDAT", zlib.compress(lines, 9)),
        chunk(b"IEND", b""),
    ))  # fmt: skip
