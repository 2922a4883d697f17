"""The progress of one long command, read from what pip and the build print."""

from __future__ import annotations

import re
import shutil
import time
from typing import TextIO

COMPILED = re.compile(r"\s*\[ *(\d+)/(\d+)\] ")
FETCHED = re.compile(r"\s*Progress (\d+) of (\d+)$")
NAMED = re.compile(r"\s*(?:Collecting|Downloading|Using cached|Building wheel for) ([\w.-]+)")
SILENCE_S = 5.0


class Progress:
    """One line that updates itself on a terminal; elsewhere a new line at most every SILENCE_S seconds."""

    def __init__(self, title: str, out: TextIO) -> None:
        """Start: `title` says what is being done."""
        self._title = title
        self._out = out
        self._live = out.isatty()
        self._started_s = self._spoken_s = time.monotonic()
        self._package = ""
        self._say("...")

    def read(self, line: str) -> None:
        """Process one line of the command's output, which may report progress."""
        if match := COMPILED.match(line):
            step, steps = int(match[1]), int(match[2])
            self._tell(f"compiling, {100 * step // max(1, steps)}% ({step} of {steps})")
        elif match := FETCHED.match(line):
            got_bytes, all_bytes = int(match[1]), int(match[2])
            self._tell(f"{self._package}, {100 * got_bytes // max(1, all_bytes)}% of {all_bytes / 2**20:.1f} MiB")
        elif match := NAMED.match(line):
            self._package = match[1]
            self._tell(self._package)

    def end(self, word: str) -> None:
        """Finish the line: `word` says how it went."""
        self._say(f"{word}, {time.monotonic() - self._started_s:.0f} s")
        if self._live:
            print(file=self._out, flush=True)

    def _tell(self, news: str) -> None:
        now_s = time.monotonic()
        if self._live or now_s - self._spoken_s >= SILENCE_S:
            self._spoken_s = now_s
            self._say(f"{news}, {now_s - self._started_s:.0f} s")

    def _say(self, news: str) -> None:
        text = f"{self._title}: {news}"
        if self._live:
            columns = shutil.get_terminal_size().columns
            print(f"\r{text[: columns - 1]}\x1b[K", end="", file=self._out, flush=True)
        else:
            print(text, file=self._out, flush=True)
