"""llama.cpp's own list of its cells, as it writes it to the engine's log with LLAMA_KV_CACHE_DEBUG=3."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

CELL_CHARS = 5
LINE_CHARS = 64 * CELL_CHARS
_HEAD = re.compile(r"find_slot: stream\[\d+\], .* n_swa = +(\d+)")

# The engine program, with llama.cpp's debug lines let through to the log. Its fourth argument is the engine's own, and
# its last word is what an engine is known by.
_TALKATIVE = """\
#!/bin/sh
exec {python} -P -c '
from chatapp.engine.native import log
log.DEBUG = -1
from chatapp.engine.worker import main
main()' "$4" chatapp.engine.worker
"""


@dataclass(frozen=True)
class Dump:
    """The positions in the cells of one cache, ascending, before a micro-batch goes in."""

    n_swa: int
    """0 for the global layers."""
    positions: list[int]


def talkative(folder: Path) -> Path:
    """A program in place of Python that starts an engine which says all."""
    program = folder / "python"
    program.write_text(_TALKATIVE.format(python=sys.executable))
    program.chmod(0o755)
    return program


def dumps(log: str) -> list[Dump]:
    """All of a log, in order. 64 cells a line, five characters each, "." for a free one."""
    found: list[Dump] = []
    rows: list[str] = []
    n_swa = 0
    for line in [*log.splitlines(), "end"]:
        if len(line) >= LINE_CHARS and set(line) <= set("0123456789. *"):
            rows.append(line[:LINE_CHARS])
            continue
        if rows:
            cells = [row[i : i + CELL_CHARS].strip() for row in rows for i in range(0, LINE_CHARS, CELL_CHARS)]
            found.append(Dump(n_swa, sorted(int(cell) for cell in cells if cell != ".")))
            rows = []
        if head := _HEAD.search(line):
            n_swa = int(head[1])
    return found
