"""Where the time of a turn goes: one clock that is read where a stage ends, so that no moment counts twice."""

import time
from typing import Literal

from chatapp.protocol.values import Stages

Stage = Literal["template", "prefill", "sample", "decode", "probe"]


def now() -> float:
    """Seconds of a clock that only ever goes on."""
    return time.perf_counter()


class Stopwatch:
    """Runs from when it is made. Each `lap` ends a stage; the next one begins there."""

    def __init__(self) -> None:
        self.began = self._at = now()
        self._s: dict[Stage, float] = dict.fromkeys(("template", "prefill", "sample", "decode", "probe"), 0.0)
        self._watched = 0

    def lap(self, stage: Stage | None) -> None:
        """The time since the last lap was spent on `stage`; None: on what has no stage of its own."""
        at = now()
        if stage is not None:
            self._s[stage] += at - self._at
        self._at = at

    def watched(self) -> None:
        """The lap that ends was a decode, and a look into it: which part was which is worked out in the end."""
        self._watched += 1
        self.lap("probe")

    def stages(self, n_decoded: int) -> Stages:
        """So far. Of the `n_decoded` tokens of a reply those that were looked into took as long as the others, on
        average, and the rest of their time was the looking; where there are no others, all of it was.
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
