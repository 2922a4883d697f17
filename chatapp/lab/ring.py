"""The rolling buffer, step by step: which cell each token takes, and which token it replaces."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from chatapp.errors import UserError
from kernels.ring import EMPTY, RollingBuffer, slot_of

MOST_CELLS: Final = 1_000_000
"""Cells times steps."""


@dataclass(frozen=True)
class Step:
    """One token arrived, and took the cell of the one at `replaced`. `cells`: the position in each, None if empty."""

    position: int
    slot: int
    replaced: int | None
    cells: list[int | None]


@dataclass(frozen=True)
class Ring:
    """`words` going one by one through a buffer of `n_sink + window` cells."""

    words: list[str]
    window: int
    n_sink: int
    steps: list[Step]
    in_order: list[int]

    def numbers(self) -> dict[str, Any]:
        """Every step, as positions."""
        return {
            "tokens": len(self.words),
            "window": self.window,
            "sinks": self.n_sink,
            "words": self.words,
            "steps": [
                {"position": step.position, "slot": step.slot, "replaced": step.replaced, "cells": step.cells}
                for step in self.steps
            ],
            "in_order": self.in_order,
        }

    def lines(self, room: int) -> list[Text]:
        """A line for each step, with the cells where they all fit."""
        width = max(map(cell_len, self.words))
        n_cell = self.n_sink + self.window
        before = len(f"{len(self.words):>4}  ") + width + len(f"  slot {n_cell}  ")
        cells_fit = before + n_cell * (width + 1) <= room
        lines = [Text(self.title), Text()]
        for step in self.steps:
            line = Text(f"{step.position:>4}  {set_cell_size(self.words[step.position], width)}  ")
            line.append(f"slot {step.slot:<{len(str(n_cell))}}")
            if cells_fit:
                line.append("  ")
                for slot, position in enumerate(step.cells):
                    line.append(
                        set_cell_size("·" if position is None else self.words[position], width), self._style(step, slot)
                    )
                    line.append(" ")
            if step.replaced is not None:
                line.append(f" replaces {self.words[step.replaced]}")
            line.rstrip()
            lines.append(line)
        order = " ".join(self.words[position] for position in self.in_order)
        return [*lines, Text(), Text(f"In conversation order: {order}")]

    @property
    def title(self) -> str:
        """The heading."""
        if self.n_sink:
            behind = "1 sink" if self.n_sink == 1 else f"{self.n_sink} sinks"
            return f"A rolling buffer of {self.window} cells after {behind}"
        return f"A rolling buffer of {self.window} cells: slot = position mod {self.window}"

    def _style(self, step: Step, slot: int) -> str:
        if step.cells[slot] is None:
            return "dim"
        colour = "yellow" if slot < self.n_sink else "blue"
        return f"bold {colour} reverse" if slot == step.slot else colour


def ring(words: Sequence[str], *, window: int, n_sink: int) -> Ring:
    """Put `words` one by one into a rolling buffer. UserError for more steps than can be shown."""
    if len(words) * (n_sink + window) > MOST_CELLS:
        raise UserError(
            f"{len(words):,} steps of {n_sink + window:,} cells are too many to show.",
            "Use fewer tokens or a smaller --window.",
        )
    buffer = RollingBuffer(window, n_sink=n_sink, shape=(), dtype="i8")
    steps: list[Step] = []
    for position in range(len(words)):
        slot = slot_of(position, window, n_sink)
        old = int(buffer.positions[slot])
        buffer.append([position])
        cells = [None if held == EMPTY else int(held) for held in buffer.positions]
        steps.append(Step(position, slot, None if old == EMPTY else old, cells))
    return Ring(list(words), window, n_sink, steps, [int(position) for position in buffer.positions_in_order()])
