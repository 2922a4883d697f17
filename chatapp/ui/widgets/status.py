"""The status bar and the progress line: what is happening, in one line each."""

import time
from dataclasses import dataclass, replace

from rich.cells import cell_len
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Static

from chatapp.text import one_line

FIGURES_EVERY_S = 0.5
"""Figures that change with every token cannot be read faster. Also, when a line as wide as the screen is drawn together
with a part of the transcript, Textual 8.2.8 draws the inspector's part of those rows, too."""


@dataclass(frozen=True)
class Status:
    """What the status bar shows; empty strings are omitted."""

    phase: str
    window: str = ""
    speed: str = ""
    device: str = ""
    policy: str = ""
    model: str = ""
    style: str = ""
    """The style of the phase, by urgency."""


class StatusBar(Static):
    """One line. If it is too narrow for everything, the least important parts are dropped."""

    def __init__(self) -> None:
        super().__init__(id="status")
        self._status = Status("starting")
        self._mode = ""
        self._drawn_s = 0.0
        self._wait: Timer | None = None

    def show(self, status: Status) -> None:
        """Show this from now on; if only figures differ, at most twice a second."""
        if status == self._status:
            return
        before, self._status = self._status, status
        wait_s = self._drawn_s + FIGURES_EVERY_S - time.monotonic()
        if wait_s <= 0 or replace(status, window=before.window, speed=before.speed) != before:
            self._draw()
        elif self._wait is None:
            self._wait = self.set_timer(wait_s, self._draw)

    def show_mode(self, mode: str) -> None:
        """Name the mode in which single keys act; "" if they do not."""
        if mode != self._mode:
            self._mode = mode
            self._draw()

    def on_resize(self) -> None:
        """Choose again what fits."""
        self._draw()

    def _draw(self) -> None:
        if self._wait is not None:
            self._wait.stop()
            self._wait = None
        self._drawn_s = time.monotonic()
        status = self._status
        by_worth = [status.window, status.model, status.device, status.speed, status.policy]
        mode = f" {self._mode} " if self._mode else ""
        room = max(0, self.content_size.width - cell_len(status.phase) - 2 - cell_len(mode))
        kept: set[int] = set()
        for index, text in enumerate(by_worth):
            need = cell_len(text) + 3
            if text and need <= room:
                room -= need
                kept.add(index)
        order = (1, 0, 4, 2, 3)
        rest = [one_line(by_worth[index]) for index in order if index in kept]
        parts: list[Content | tuple[str, str]] = [(f" {status.phase} ", status.style), (mode, "reverse")]
        parts += [Content(f" · {text}" if number else f" {text}") for number, text in enumerate(rest)]
        self.update(Content.assemble(*parts), layout=False)  # always one line


class ProgressLine(Static):
    """A word, a bar and a figure, while there is something to wait for."""

    def __init__(self) -> None:
        super().__init__(id="progress")
        self.display = False
        self._shown: tuple[str, int, int, str] | None = None

    def show(self, word: str, done: int, total: int, figure: str) -> None:
        """Show `done` of `total`; `figure` is the same in words."""
        self.display = True
        self._shown = (word, done, total, figure)
        self._draw(*self._shown)

    def on_resize(self) -> None:
        """Draw for the new width; there is none before it is shown."""
        if self._shown is not None:
            self._draw(*self._shown)

    def _draw(self, word: str, done: int, total: int, figure: str) -> None:
        width = max(4, self.content_size.width - cell_len(word) - cell_len(figure) - 4)
        filled = width if total <= 0 else min(width, width * done // total)
        bar = (("━" * filled, "$primary"), ("─" * (width - filled), "dim"))
        self.update(Content.assemble(f"{word}  ", *bar, f"  {figure}"), layout=False)

    def hide(self) -> None:
        """Hide: there is nothing to wait for."""
        self.display = False
        self._shown = None
