"""Reports while the engine works: progress, speeds and snapshots of the cache."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chatapp.engine.session import snapshot
from chatapp.engine.session.live_branches import LiveBranches
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Prefilled
from chatapp.protocol.values import Device, Threads


@dataclass(frozen=True, slots=True)
class Intervals:
    """How long what grows waits until it is told again, in seconds: a screen draws no more often."""

    text_s: float = 0.03
    snapshot_s: float = 0.1


INTERVALS: Final = Intervals()


class ProgressReport:
    """Sends snapshots, one in `interval_s` at most while work goes on, and the progress of long work."""

    def __init__(
        self,
        branches: LiveBranches,
        *,
        n_swa: int | None,
        n_ctx_swa: int | None,
        emit: Callable[[AnyEvent], None],
        devices: Callable[[], list[Device]],
        threads: Callable[[], Threads | None],
        interval_s: float,
    ) -> None:
        self._branches = branches
        self._n_swa, self._n_ctx_swa = n_swa, n_ctx_swa
        self._emit = emit
        self._devices = devices
        self._threads = threads
        self._interval_s = interval_s
        self._at = 0.0
        self.prompt_tok_s: float | None = None
        self.processed_tok_s: float | None = None
        """As `prompt_tok_s`, with tokens that were processed again."""
        self.decode_tok_s: float | None = None

    def forget_speeds(self) -> None:
        """Another conversation begins. `processed_tok_s` is about the model, and stays."""
        self.prompt_tok_s = self.decode_tok_s = None

    def snapshot(self, turn: int | None = None) -> None:
        """Emit a snapshot of the cache."""
        self._at = time.perf_counter()
        self._emit(
            snapshot.take(
                self._branches,
                turn=turn,
                n_swa=self._n_swa,
                n_ctx_swa=self._n_ctx_swa,
                devices=self._devices(),
                prompt_tok_s=self.prompt_tok_s,
                decode_tok_s=self.decode_tok_s,
                threads=self._threads(),
            )
        )

    def progress(self, total: int, turn: int | None) -> Callable[[int], None]:
        """A callback to be called with how many of the `total` tokens are done."""
        began = time.perf_counter()

        def report(done: int) -> None:
            ms = (time.perf_counter() - began) * 1000
            self._emit(Prefilled(at_s=time.time(), turn=turn, done=done, total=total, ms=ms))
            if time.perf_counter() - self._at >= self._interval_s:
                self.snapshot(turn)

        return report

    def reply_grew(self, tokens: int, first_at: float, last_at: float) -> None:
        """Update the decode speed of a reply and emit a snapshot, where the last one is old enough."""
        if last_at - self._at < self._interval_s:
            return
        if tokens > 1:
            self.decode_tok_s = (tokens - 1) / (last_at - first_at)
        self.snapshot()
