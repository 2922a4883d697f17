"""The probe: samples what llama.cpp attends to for every n-th token of a reply, and for the next one on request.

Between two samples it only counts. How often it samples is set, and limited: where samples would take more than
MOST_TIME of the time, in a long window, it takes fewer.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final

import numpy as np

from chatapp.cache.ledger import Ledger
from chatapp.engine.kv.cache import UNWATCHED, KvCache
from chatapp.engine.native.llama import Context
from chatapp.engine.probe import report as reports
from chatapp.engine.probe.read import AttendedCells, AttentionSums, cells, visible_cells, weigh
from chatapp.engine.probe.report import KindSample
from chatapp.engine.probe.tap import Attention, DecodeCapture, Tap
from chatapp.engine.probe.weights import WeightMaker
from chatapp.engine.stopwatch import Stopwatch
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Probed, Warned

MOST_TIME: Final = 0.04
"""The share of the time that samples may take together."""
MOST_BLIND: Final = 16
"""After so many empty samples in a row the probe stops."""


class ProbeSampler:
    """Samples the decodes of one context: `with probe.watch(): context.decode(...)`, then `report`.

    `problem` says why it has stopped, None while it works.
    """

    def __init__(
        self,
        context: Context,
        tap: Tap,
        *,
        every: int,
        slides: Sequence[bool],
        requested: Callable[[], bool] = lambda: False,
        most_time: float = MOST_TIME,
    ) -> None:
        """`every` is the tokens from one sample to the next, 0 for none; `slides` says of each layer whether its window
        slides; `requested` is asked once a token whether a sample is wanted now.
        """
        self.problem: str | None = None
        self._context = context
        self._tap = tap
        self._every = every
        self._slides = slides
        self._requested = requested
        self._most_time = most_time
        self._maker = WeightMaker(context.n_threads)
        self._wanted = False
        self._since = 0
        self._blind = 0
        self._began_at: float | None = None
        self._sampling = False
        self._usual_s = 0.0
        self._not_before = 0.0
        tap.attach(context)

    def begin(self) -> None:
        """Begin a reply: the time since the last token was not spent on decoding."""
        self._began_at = None

    def extend(self, kv: KvCache, turn: int, token: int, emit: Callable[[AnyEvent], None], clock: Stopwatch) -> None:
        """`kv.extend`, and a Probed event where this token is sampled."""
        watch = self.watch()
        kv.extend(turn, token, watch)
        if watch is UNWATCHED:
            clock.lap("decode")
            return
        clock.watched()
        probed = self.report(kv.ledger, turn)
        if probed is not None:
            emit(probed)
        elif self.problem is not None:
            emit(Warned(at_s=time.time(), text=f"Attention can no longer be sampled: {self.problem}"))
        clock.lap("probe")

    def watch(self) -> AbstractContextManager[None]:
        """The context manager for the next decode of one token: the tap where it is sampled, else UNWATCHED."""
        if self.problem is not None:
            return UNWATCHED
        now = time.perf_counter()
        if self._began_at is not None:
            self._learn(self._began_at, now - self._began_at)
        self._began_at = now
        self._since += 1
        self._wanted = self._wanted or self._requested()
        due = 0 < self._every <= self._since and now >= self._not_before
        self._sampling = due or self._wanted
        return self._tap if self._sampling else UNWATCHED

    def _learn(self, began_at: float, step_s: float) -> None:
        """Learn that a token took `step_s` in all. The extra time of a sample decides when the next may be taken."""
        if not self._sampling:
            self._usual_s = step_s if not self._usual_s else self._usual_s + (step_s - self._usual_s) / 8
        elif self._tap.seen is not None:
            self._not_before = began_at + max(0.0, step_s - self._usual_s) / self._most_time

    def report(self, ledger: Ledger, turn: int) -> Probed | None:
        """The sample of the last decode; `ledger` has its token already.

        None where llama.cpp had to rebuild its graph: the next token is sampled then. Where no sample is possible,
        `problem` says why.
        """
        seen = self._tap.seen
        if seen is None:
            self._blind += 1
            if self._tap.problem is not None or self._blind == MOST_BLIND:
                self.problem = self._tap.problem or "llama.cpp rebuilds its graph for each token."
            return None
        self._blind, self._since, self._wanted = 0, 0, False
        began = time.perf_counter()
        kinds = self._kinds(seen)
        try:
            samples = [KindSample(kind, *self._read(kind, layers, ledger)) for kind, layers in kinds.items()]
        except RuntimeError as error:  # the reply continues without the sample
            self.problem = f"{error}."
            return None
        mismatch = next((wrong for sample in samples if (wrong := _mismatch(sample.kind, sample.cells, ledger))), None)
        return reports.event(turn, seen, ledger, samples, mismatch, (time.perf_counter() - began) * 1000)

    def _kinds(self, seen: DecodeCapture) -> dict[str, list[Attention]]:
        kinds: dict[str, list[Attention]] = {}
        for layer, attention in sorted(seen.attention.items()):
            slides = layer < len(self._slides) and self._slides[layer]
            kinds.setdefault("swa" if slides else "global", []).append(attention)
        return kinds

    def _read(self, kind: str, layers: Sequence[Attention], ledger: Ledger) -> tuple[AttendedCells, AttentionSums]:
        first = layers[0]
        positions = self._context.cell_positions(len(visible_cells(first)), sliding=kind == "swa")
        where = cells(first, positions, ledger)
        alike = [one for one in layers if one.mask is first.mask or np.array_equal(one.mask, first.mask)]
        made = iter(self._maker.weights([one for one in alike if one.weights is None]))
        weights = [one.weights if one.weights is not None else next(made) for one in alike]
        return where, weigh(alike, weights, where, len(ledger.runs))

    def close(self) -> None:
        """Free its working memory."""
        self._maker.close()


def _mismatch(kind: str, seen: AttendedCells, ledger: Ledger) -> str | None:
    """How llama.cpp's cells and the ledger disagree, None where they agree or llama.cpp reports no positions."""
    if seen.positions is None:
        return None
    cached = np.sort(seen.positions)
    recorded = np.concatenate([np.arange(run.pos, run.end) for run in ledger.runs])
    if kind == "swa":
        recorded = recorded[recorded >= cached[0]]
    if np.array_equal(cached, recorded):
        return None
    odd = np.setxor1d(cached, recorded)
    where = f"position {odd[0]}" if len(odd) else f"{len(cached)} cells"
    return f"the ledger and the cells that the {kind} layers see disagree about {where}"
