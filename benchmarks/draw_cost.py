"""What drawing the inspector costs: decode speed with it open, and with every panel folded, over that with it hidden.

Usage: python -m benchmarks.draw_cost [MODEL] [--replies N] [--tokens N] [--seconds S] [--columns N --rows N]
                                      [--probe-every N]

The real program in a pseudo-terminal of 120 x 36 that only reads what is written. While it replies F2 shows and hides
the inspector, every other second: a machine's speed goes up and down by a tenth from one half minute to the next, and
hardly from one second to the next. Speed is read out of the trace that the program records, whose times are the
engine's own. What counts is the mean of the ratios of neighbouring stretches, and its standard error. What the change
from state to state costs is left out, and so are stretches with another pause (the next question). The processor time
of the interface's process hardly depends on what else the machine does; it counts the recording, in each state alike.
"""

import argparse
import json
import math
import os
import sqlite3
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pexpect
import psutil

from benchmarks.shared import PROMPT, private_home, show

LIMIT = 0.97
"""Decode speed with the inspector open, over that with it hidden: drawing may cost 3%."""
DEADLINE_S = 300.0
LOOK_EVERY_S = 0.05
SETTLED_S = 0.3
"""After this the change of state has been drawn."""
LONGEST_GAP_S = 0.4
"""Between two pieces of a reply; a longer one is the end of it."""
F2, CTRL_Q = "\x1bOQ", "\x11"
SHOWN = ("open", "folded")


@dataclass(frozen=True)
class Stretch:
    """A time in one state."""

    shown: bool
    began_s: float
    ended_s: float
    busy_s: float
    """Processor time of the interface's process meanwhile."""
    written_bytes: int
    """To the terminal, meanwhile."""


@dataclass
class Program:
    """The chat in a pseudo-terminal."""

    home: Path
    child: Any
    written_bytes: int = 0
    over: bool = False
    stretches: list[Stretch] = field(default_factory=list[Stretch])

    def drain(self) -> None:
        """Read what is written, for ever; a program whose terminal does not read stands still."""
        while True:
            try:
                self.written_bytes += len(os.read(self.child.child_fd, 65536))
            except OSError:
                return

    def type(self, text: str) -> None:
        """As a person would, and pause as long as a person would at least."""
        self.child.send(text)
        time.sleep(4 * LOOK_EVERY_S)

    def layout(self) -> dict[str, Any]:
        """As the program itself has written it down."""
        try:
            return json.loads((self.home / "state/swachat/layout.json").read_text())
        except FileNotFoundError:
            return {}

    @property
    def shown(self) -> bool:
        """Whether the inspector is shown."""
        return self.layout().get("shown") is not False

    def fold(self) -> None:
        """Fold every panel."""
        self.type("/fold\r")
        # Not all of them: a panel that this model has no use for is not there to be folded.
        until(lambda: bool(self.layout().get("folded", {}).get("Cache")), "the panels did not fold")

    def toggle(self) -> None:
        """Show the inspector, or hide it."""
        before = self.shown
        self.child.send(F2)
        until(lambda: self.shown != before, "the inspector did not open or hide")
        time.sleep(SETTLED_S)

    def alternate(self, seconds: float) -> None:
        """Show and hide the inspector until it is `over`, and keep account of each stretch."""
        process = psutil.Process(self.child.pid)
        while not self.over:
            began_s, busy, written = time.time(), process.cpu_times(), self.written_bytes
            time.sleep(seconds)
            ended_s, now = time.time(), process.cpu_times()
            busy_s = now.user + now.system - busy.user - busy.system
            self.stretches.append(Stretch(self.shown, began_s, ended_s, busy_s, self.written_bytes - written))
            self.toggle()

    def replies(self) -> list[str]:
        """States of the stored replies, the oldest first."""
        file = self.home / "data/swachat/swachat.db"
        if not file.exists():
            return []
        db = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        try:
            rows = db.execute("SELECT state FROM message WHERE role = 'assistant' ORDER BY id").fetchall()
            return [state for (state,) in rows]
        finally:
            db.close()

    def reply(self) -> None:
        """Begin anew, ask, and wait for the end."""
        self.type("/new\r")
        before = len(self.replies())
        self.type(f"{PROMPT}\r")
        until(lambda: len(now := self.replies()) > before and now[-1] != "growing", "no reply came to its end")


def until(holds: Callable[[], bool], otherwise: str) -> None:
    """Wait for it."""
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"{otherwise} within {DEADLINE_S:g} s")
        time.sleep(LOOK_EVERY_S)


Piece = tuple[float, int]
"""Of a reply: when it came, by the engine's clock, and how many tokens it has."""


def pieces_of(trace: Path) -> list[Piece]:
    """All that came, in order."""
    with trace.open() as lines:
        return [(event["at_s"], event["tokens"]) for event in map(json.loads, lines) if event["type"] == "Text"]


def speed(pieces: Sequence[Piece], stretch: Stretch) -> float | None:
    """Tokens a second in a stretch; None where no reply went on through all of it."""
    inside = [piece for piece in pieces if stretch.began_s <= piece[0] <= stretch.ended_s]
    marks = [stretch.began_s, *(at_s for at_s, _ in inside), stretch.ended_s]
    if len(inside) < 2 or max(b - a for a, b in pairwise(marks)) > LONGEST_GAP_S:
        return None
    return sum(tokens for _, tokens in inside[1:]) / (inside[-1][0] - inside[0][0])


def measure(home: Path, args: argparse.Namespace, state: str) -> dict[str, Any]:
    """`state` against hidden, in the replies of one program."""
    config = home / "config/swachat/config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(f"engine:\n  probe_every: {args.probe_every}\n")
    trace = home / "trace.jsonl"
    words = ["-m", "chatapp.cli", args.model, "--ctx", "2048", "--seed", "7", "--max-tokens", str(args.tokens)]
    child: pexpect.spawn[bytes] = pexpect.spawn(
        sys.executable,
        [*words, "--trace", str(trace)],
        env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
        dimensions=(args.rows, args.columns),
        timeout=DEADLINE_S,
    )
    child.expect("ready")
    program = Program(home, child)
    threading.Thread(target=program.drain, daemon=True).start()
    if state == "folded":
        program.fold()
    program.reply()  # to warm up
    alternating = threading.Thread(target=program.alternate, args=[args.seconds])
    alternating.start()
    try:
        for _ in range(args.replies):
            program.reply()
    finally:
        program.over = True
        alternating.join()
    child.send(CTRL_Q)
    child.wait()
    return figures(state, program.stretches, pieces_of(trace))


def figures(state: str, stretches: Sequence[Stretch], pieces: Sequence[Piece]) -> dict[str, Any]:
    """One row: `state` against hidden."""
    measured = [(stretch, speed(pieces, stretch)) for stretch in stretches]
    ratios: list[float] = []
    for (one, a), (other, b) in pairwise(measured):
        if a is not None and b is not None and one.shown != other.shown:
            ratios.append(a / b if one.shown else b / a)
    row: dict[str, Any] = {"inspector": state, "pairs": len(ratios)}
    if len(ratios) < 3:
        raise SystemExit("too few stretches of one reply: more --replies or --tokens, or fewer --seconds")
    row["ratio"] = statistics.fmean(ratios)
    # Each stretch stands in two ratios, so that half as many are independent.
    row["error"] = statistics.stdev(ratios) / math.sqrt(len(ratios) / 2)
    for name, shown in (("shown", True), ("hidden", False)):
        of = [(each, rate) for each, rate in measured if rate and each.shown == shown]
        seconds = sum(each.ended_s - each.began_s for each, _ in of)
        row[f"{name}_tok_s"] = statistics.median(rate for _, rate in of)
        row[f"{name}_busy"] = sum(each.busy_s for each, _ in of) / seconds
        row[f"{name}_kb_s"] = sum(each.written_bytes for each, _ in of) / seconds / 1000
    return row


def main() -> None:
    """Measure, and print what is true of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="starter")
    parser.add_argument("--tokens", type=int, default=500, help="tokens of each reply")
    parser.add_argument("--replies", type=int, default=20, help="replies for each state")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each stretch")
    parser.add_argument("--columns", type=int, default=120)
    parser.add_argument("--rows", type=int, default=36)
    parser.add_argument("--probe-every", type=int, default=0)
    args = parser.parse_args()
    print(f"{args.replies} replies of {args.tokens} tokens for each state in {args.columns} x {args.rows}, "
          f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the start")  # fmt: skip
    rows: list[dict[str, Any]] = []
    for state in SHOWN:
        with private_home() as home:
            rows.append(measure(home, args, state))
    print(f"the limit is {LIMIT}; busy is the interface's processor time by the clock")
    show(rows, "draw_cost")


if __name__ == "__main__":
    main()
