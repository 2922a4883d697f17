"""What drawing the inspector costs: decode speed with it open, with every panel folded, and with it hidden.

Usage: python -m benchmarks.draw_cost [MODEL] [--tokens N] [--rounds N] [--columns N --rows N] [--probe-every N]

The real program in a pseudo-terminal of 120 x 36 that only reads what is written. Each round makes the same reply
(same prompt, same seed, a new conversation) in each of the three states, one after the other, the first one another
each round; keys and commands go from state to state, and the layout file that the program writes says that it is
there. Speed is the engine's own, out of the stored reply. What counts is the median over the rounds of the ratio to
the hidden inspector within the same round. The processor time of the interface's process hardly depends on what else
the machine does. On a machine with work of its own the ratios are of no use.
"""

import argparse
import json
import os
import sqlite3
import statistics
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pexpect
import psutil

from benchmarks.shared import PROMPT, private_home, show

LIMIT = 0.97
"""Decode speed with the inspector open, over that with it hidden: drawing may cost 3%."""
DEADLINE_S = 300.0
LOOK_EVERY_S = 0.1
F2, CTRL_Q = "\x1bOQ", "\x11"
STATES = ("open", "folded", "hidden")


@dataclass
class Reply:
    """One reply in one state."""

    decode_tok_s: float
    tokens: int
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
    lock: threading.Lock = field(default_factory=threading.Lock)

    def drain(self) -> None:
        """Read what is written, for ever; a program whose terminal does not read stands still."""
        while True:
            try:
                data = os.read(self.child.child_fd, 65536)
            except OSError:
                return
            with self.lock:
                self.written_bytes += len(data)

    def type(self, text: str) -> None:
        """As a person would, and pause as long as a person would at least."""
        self.child.send(text)
        time.sleep(2 * LOOK_EVERY_S)

    def state(self) -> str:
        """As the program itself has written it down."""
        try:
            layout = json.loads((self.home / "state/swachat/layout.json").read_text())
        except FileNotFoundError:
            return "open"
        if layout["shown"] is False:
            return "hidden"
        # Not all of them: a panel that this model has no use for is not there to be folded.
        return "folded" if layout["folded"].get("Cache") else "open"

    def go_to(self, state: str) -> None:
        """Have the inspector in this state."""
        if (self.state() == "hidden") != (state == "hidden"):
            self.type(F2)
            until(lambda: (self.state() == "hidden") == (state == "hidden"), "the inspector did not open or hide")
        if state != "hidden" and self.state() != state:
            self.type("/fold\r")
            until(lambda: self.state() == state, f"the panels are not {state}")

    def replies(self) -> list[tuple[int, str, str | None]]:
        """Id, state and figures of the stored replies, the oldest first."""
        file = self.home / "data/swachat/swachat.db"
        if not file.exists():
            return []
        db = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        try:
            return db.execute("SELECT id, state, stats FROM message WHERE role = 'assistant' ORDER BY id").fetchall()
        finally:
            db.close()

    def reply(self) -> Reply:
        """Begin anew, ask, and wait for the end."""
        self.type("/new\r")
        before = len(self.replies())
        process = psutil.Process(self.child.pid)
        self.type(f"{PROMPT}\r")
        until(lambda: len(self.replies()) > before, "no reply began")
        busy, written_bytes = process.cpu_times(), self.written_bytes
        until(lambda: len(now := self.replies()) > before and now[-1][1] != "growing", "no reply came to its end")
        busy_after = process.cpu_times()
        stats = json.loads(self.replies()[-1][2] or "{}")
        return Reply(
            stats["decode_tok_s"],
            stats["reply_tokens"],
            busy_after.user + busy_after.system - busy.user - busy.system,
            self.written_bytes - written_bytes,
        )


def until(holds: Callable[[], bool], otherwise: str) -> None:
    """Wait for it."""
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"{otherwise} within {DEADLINE_S:g} s")
        time.sleep(LOOK_EVERY_S)


def measure(home: Path, args: argparse.Namespace) -> list[dict[str, Reply]]:
    """A reply in each state, in each round."""
    config = home / "config/swachat/config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(f"engine:\n  probe_every: {args.probe_every}\n")
    words = ["-m", "chatapp.cli", args.model, "--ctx", "2048", "--seed", "7", "--max-tokens", str(args.tokens)]
    child: pexpect.spawn[bytes] = pexpect.spawn(
        sys.executable,
        words,
        env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
        dimensions=(args.rows, args.columns),
        timeout=DEADLINE_S,
    )
    child.expect("ready")
    program = Program(home, child)
    threading.Thread(target=program.drain, daemon=True).start()
    program.reply()  # to warm up
    rounds: list[dict[str, Reply]] = []
    for number in range(args.rounds):
        round: dict[str, Reply] = {}
        for state in (*STATES[number % 3 :], *STATES[: number % 3]):
            program.go_to(state)
            round[state] = program.reply()
        rounds.append(round)
        print("  ".join(f"{state} {round[state].decode_tok_s:.1f} tok/s" for state in STATES), flush=True)
    child.send(CTRL_Q)
    child.wait()
    return rounds


def main() -> None:
    """Measure, and print what is true of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="starter")
    parser.add_argument("--tokens", type=int, default=250, help="tokens of each reply")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--columns", type=int, default=120)
    parser.add_argument("--rows", type=int, default=36)
    parser.add_argument("--probe-every", type=int, default=0)
    args = parser.parse_args()
    print(f"{args.rounds} rounds of replies of {args.tokens} tokens in {args.columns} x {args.rows}, "
          f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the start")  # fmt: skip
    with private_home() as home:
        rounds = measure(home, args)
    rows: list[dict[str, Any]] = []
    for state in STATES:
        replies = [round[state] for round in rounds]
        ratios = sorted(round[state].decode_tok_s / round["hidden"].decode_tok_s for round in rounds)
        seconds = sum(reply.tokens / reply.decode_tok_s for reply in replies)
        rows.append(
            {
                "inspector": state,
                "decode_tok_s": statistics.median(reply.decode_tok_s for reply in replies),
                "ratio_median": statistics.median(ratios),
                "ratio_least": ratios[0],
                "ratio_most": ratios[-1],
                "interface_busy": sum(reply.busy_s for reply in replies) / seconds,
                "written_kb_s": sum(reply.written_bytes for reply in replies) / seconds / 1000,
                "tokens": sum(reply.tokens for reply in replies),
            }
        )
    print(f"the limit is {LIMIT}; interface_busy is processors' time over decode time")
    show(rows, "draw_cost")


if __name__ == "__main__":
    main()
