"""How often a robustness test tries: some hundred seeded times in the suite, or for minutes (`make torture`)."""

import os
import random
import time
from collections.abc import Iterator

SUITE_SEED = 20260721
"""The suite tries the same inputs every time, so that a red run can be repeated."""


def tries(name: str, few: int) -> Iterator["Try"]:
    """One source of random numbers for each try of the class `name`; `few` of them in the suite.

    `TORTURE_MINUTES` makes it go on for that many minutes instead, and `TORTURE_SEED` starts from another seed. Each
    try depends on the seed, the name and its number alone; assertions carry the try as their message.
    """
    seed = int(os.environ.get("TORTURE_SEED", SUITE_SEED))
    minutes = float(os.environ.get("TORTURE_MINUTES", 0))
    until = time.monotonic() + minutes * 60
    i = 0
    while (time.monotonic() < until) if minutes else (i < few):
        yield Try(seed, name, i)
        i += 1


class Try(random.Random):
    """Random numbers that can say where they come from."""

    def __init__(self, seed: int, name: str, i: int) -> None:
        super().__init__(f"{seed} {name} {i}")
        self.label = f"{name}, seed {seed}, try {i}"

    def __str__(self) -> str:
        return self.label
