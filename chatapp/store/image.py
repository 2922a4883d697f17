"""A database in memory, from the bytes of its files: for files that SQLite cannot open where they are, or not at all.

SQLite writes beside a database that it reads (the shared memory of the log), so a folder that is read-only or full
keeps it from reading. And it refuses a file as a whole where its first page is damaged, though the rows lie elsewhere.
"""

import sqlite3
import struct
from pathlib import Path

from chatapp.store.files import companion
from chatapp.store.schema import migrate

_LEGACY = b"\1\1"
"""The two bytes of the header that say that there is no log."""
_PAGE_SIZES = [4096 << shift for shift in range(5)]
"""Those with a first page that has place for the whole schema; Python's SQLite makes 4096."""
_CHECKED_LOG_BYTES = 64 << 20
"""The checksums of a longer log are not computed: in Python that would take seconds."""


def whole(path: Path) -> bytes:
    """The database with what its log has, fit for `Connection.deserialize`. Raises OSError."""
    pages = _with_log(path)
    if len(pages) >= 20:
        pages[18:20] = _LEGACY
    return bytes(pages)


def with_new_schema(path: Path) -> bytes:
    """The same, with a first page that knows where a new database has its tables, whatever the file says there.

    Migrations only ever create tables in one order, so they begin on the same pages in each file. Raises OSError.
    """
    pages = _with_log(path)
    size = _page_size(pages)
    if len(pages) < 2 * size:
        return b""
    pages[:size] = _first_page(size)
    struct.pack_into(">I", pages, 28, len(pages) // size)
    return bytes(pages[: len(pages) // size * size])


def _page_size(pages: bytes | bytearray) -> int:
    size = int.from_bytes(pages[16:18], "big")
    size = 65536 if size == 1 else size
    return size if size in _PAGE_SIZES else 4096


def _first_page(size: int) -> bytes:
    db = sqlite3.connect(":memory:", isolation_level=None)
    try:
        db.execute(f"PRAGMA page_size = {size}")
        migrate(db)
        db.execute("PRAGMA writable_schema = ON")
        # What people wrote: the schema of all else would not fit on one page for ever.
        kept = "tbl_name IN ('session', 'message', 'piece') AND type <> 'trigger'"
        db.execute(f"DELETE FROM sqlite_master WHERE NOT ({kept})")
        return db.serialize()[:size]
    finally:
        db.close()


def _with_log(path: Path) -> bytearray:
    pages = bytearray(path.read_bytes())
    try:
        log = companion(path, "-wal").read_bytes()
    except OSError:
        return pages
    for number, page in _committed(log).items():
        end = number * len(page)
        if len(pages) < end:
            pages.extend(bytes(end - len(pages)))
        pages[end - len(page) : end] = page
    return pages


def _committed(log: bytes) -> dict[int, bytes]:
    """The pages of the log's whole transactions, the newest of each, by number."""
    if len(log) < 32:
        return {}
    magic, _, size, _, salts, first, second = struct.unpack(">IIII8sII", log[:32])
    if magic >> 1 != 0x377F0682 >> 1 or size not in (*_PAGE_SIZES, 1):
        return {}
    size = 65536 if size == 1 else size
    order = ">" if magic & 1 else "<"
    sums = (first, second)
    found: dict[int, bytes] = {}
    open_now: dict[int, bytes] = {}
    for at in range(32, len(log) - 24 - size + 1, 24 + size):
        number, pages_after, frame_salts, *wanted = struct.unpack(">II8sII", log[at : at + 24])
        page = log[at + 24 : at + 24 + size]
        if frame_salts != salts or not number:
            break
        if len(log) <= _CHECKED_LOG_BYTES:
            sums = _checksum(order, log[at : at + 8] + page, sums)
            if list(sums) != wanted:
                break
        open_now[number] = page
        if pages_after:
            found |= open_now
            open_now = {}
    return found


def _checksum(order: str, words: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    """SQLite's own, which runs on from frame to frame."""
    first, second = sums
    numbers = struct.unpack(f"{order}{len(words) // 4}I", words)
    for even, odd in zip(numbers[::2], numbers[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
