"""The number of threads, on machines that are made up: how fast each number would be is known there."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatapp.engine.thread_choice import CHUNKS, TOKENS, Effort, ThreadChoice, steps

Seconds = Callable[[int], float]
"""What a decode takes with a number of threads."""


def machine(cores: int, busy: int, serial: float) -> Seconds:
    """`busy` other programs, each with a core; `serial` is the share of a token that one thread does alone. With more
    threads than free cores all wait for one that is put off: nine times as long, as measured with llama.cpp.
    """

    def seconds(n: int) -> float:
        alone = 0.01 * (serial + (1 - serial) / n)
        return alone if n + busy <= cores or n == 1 else 9 * alone

    return seconds


def run(
    choice: ThreadChoice, seconds: Seconds, for_s: float, noise: random.Random, idle: float | None = None
) -> tuple[float, float]:
    """Decode for so long. Returns the seconds of a decode on average, and of the longest stretch of decodes that took
    twice as long as with the best number.
    """
    best = min(seconds(n) for n in range(1, 257))
    spent, n, slow, longest = 0.0, 0, 0.0, 0.0
    while spent < for_s:
        took = seconds(choice.n) * noise.uniform(0.98, 1.04)
        choice.took(took, idle)
        spent, n = spent + took, n + 1
        slow = slow + took if took > 2 * best * 1.04 else 0.0
        longest = max(longest, slow)
    return spent / n, longest


@given(
    cores=st.integers(1, 24),
    busy=st.integers(0, 4),
    serial=st.floats(0.0, 0.6),
    start=st.integers(1, 24),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=60)
def test_a_steady_machine_is_used_as_well_as_by_the_best_number(
    cores: int, busy: int, serial: float, start: int, seed: int
) -> None:
    """After some seconds; trials go on for ever, and cost little."""
    seconds, noise = machine(cores, busy, serial), random.Random(seed)
    choice = ThreadChoice(cores, start)
    run(choice, seconds, 12.0, noise)
    best = min(seconds(n) for n in steps(cores))
    mean, _ = run(choice, seconds, 20.0, noise)
    assert best * 1.01 / mean > 0.93, (choice.settled, mean, best)


@given(cores=st.integers(2, 16), seed=st.integers(0, 2**32))
@settings(max_examples=30)
def test_neighbours_that_come_and_go_are_followed_within_a_second(cores: int, seed: int) -> None:
    """Each stays four seconds: it comes, and a decode takes nine times as long; it goes, and a processor is idle."""
    noise = random.Random(seed)
    choice = ThreadChoice(cores, cores)
    quiet, shared = machine(cores, 0, 0.4), machine(cores, 1, 0.4)
    run(choice, quiet, 4.0, noise, idle=0.0)
    for _ in range(3):
        for seconds, idle in ((shared, 0.0), (quiet, 1.0)):
            best = min(seconds(n) for n in steps(cores))
            mean, slow = run(choice, seconds, 4.0, noise, idle=idle)
            assert best / mean > 0.8, (choice.settled, seconds is quiet)
            assert slow < 1.0
            choice.took(mean, 0.0)


@given(st.lists(st.floats(1e-6, 1e3), max_size=300), st.integers(1, 300), st.integers(1, 300), st.booleans())
def test_it_stays_within_its_bounds_whatever_it_sees(times: list[float], most: int, start: int, chunks: bool) -> None:
    choice = ThreadChoice(most, start, CHUNKS if chunks else TOKENS)
    for number, seconds in enumerate(times):
        choice.took(seconds, idle=[None, 0.0, 2.0][number % 3])
        assert 1 <= choice.n <= most
        assert choice.settled in steps(most)


@pytest.mark.parametrize("effort", [TOKENS, CHUNKS])
def test_one_processor_leaves_nothing_to_try(effort: Effort) -> None:
    choice = ThreadChoice(1, 1, effort)
    for _ in range(50):
        choice.took(0.01)
        assert choice.n == 1


def test_a_pause_between_replies_brings_no_trial_nearer() -> None:
    """Trials are paid for by time spent decoding: a hundred short replies try no more often than a long one."""
    choice = ThreadChoice(2, 2)
    seconds = machine(2, 0, 0.4)
    run(choice, seconds, 3.0, random.Random(1))
    trials = 0
    for _ in range(300):
        trials += choice.n != choice.settled
        choice.took(seconds(choice.n))
    assert trials <= 12
