"""Where the time of a turn goes: one clock, read where a stage ends, so that no moment counts twice."""

import time
from typing import Literal

from chatapp.protocol.values import Stages

Stage = Literal["template", "prefill", "sample", "decode", "probe"]


def now() -> float:
    """Seconds of a monotonic clock."""
    return time.perf_counter()


class Stopwatch:
    """Runs from its creation. Each `lap` ends a stage; the next one begins there."""

    def __init__(self) -> None:
        self.began = self._at = now()
        self._s: dict[Stage, float] = dict.fromkeys(("template", "prefill", "sample", "decode", "probe"), 0.0)
        self._watched = 0

    def lap(self, stage: Stage | None) -> None:
        """Count the time since the last lap for `stage`; None: for no stage."""
        at = now()
        if stage is not None:
            self._s[stage] += at - self._at
        self._at = at

    def watched(self) -> None:
        """End the lap of a sampled decode; `stages` splits it into decode and probe."""
        self._watched += 1
        self.lap("probe")

    def stages(self, n_decoded: int) -> Stages:
        """The times so far. Of the `n_decoded` tokens of a reply, a sampled one is taken to have decoded as fast as the
        others on average; the rest of its time is the probe's, all of it where there are no others.
        """
        plain = n_decoded - self._watched
        usual_s = self._s["decode"] / plain if plain > 0 else 0.0
        of_decode = min(self._s["probe"], usual_s * self._watched)
        return Stages(
            template=self._s["template"] * 1000,
            prefill=self._s["prefill"] * 1000,
            sample=self._s["sample"] * 1000,
            decode=(self._s["decode"] + of_decode) * 1000,
            probe=(self._s["probe"] - of_decode) * 1000,
        )
