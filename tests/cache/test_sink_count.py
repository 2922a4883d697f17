"""How many first tokens are kept, decided on losses alone; that the losses are a model's is in tests/engine."""

import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.cache.sink_count import (
    CANDIDATES,
    ERRORS,
    LEAST_TOK,
    LOOK_TOK,
    TOLERANCE_NATS,
    Trial,
    compare,
    fewest,
    undecided,
)

Losses = list[tuple[int, list[float]]]


def noisy(means: Sequence[tuple[int, float]], noise: float, n: int = 256, seed: int = 1) -> Losses:
    """Losses of n tokens, easy and hard ones, that differ between trials by these means and by chance."""
    draw = random.Random(seed)
    tokens = [draw.expovariate(1 / 3) for _ in range(n)]
    return [(n_sink, [token + mean + draw.gauss(0, noise) for token in tokens]) for n_sink, mean in means]


# Perplexities of StreamingLLM (arXiv 2309.17453, table 2) for 0, 1, 2, 4 and 8 first tokens, and what they ask for.
PUBLISHED = {
    "Falcon-7B": ((17.90, 12.12, 12.12, 12.12, 12.12), 1),
    "MPT-7B": ((460.29, 14.99, 15.00, 14.99, 14.98), 1),
    "Pythia-12B": ((21.62, 11.95, 12.09, 12.09, 12.02), 1),
    "Llama-2-7B": ((3359.95, 11.88, 10.51, 9.59, 9.54), 4),
}


@pytest.mark.parametrize("model", PUBLISHED)
def test_what_is_published_of_models_is_decided_as_published(model: str) -> None:
    perplexities, wanted = PUBLISHED[model]
    means = [(n_sink, math.log(value)) for n_sink, value in zip((0, 1, 2, 4, 8), perplexities, strict=True)]
    assert fewest(compare(noisy(means, noise=0.05, n=1024))) == wanted


def test_a_difference_is_taken_token_by_token() -> None:
    """Hard tokens are hard in every trial: their spread is no noise of the difference."""
    one, none = compare(noisy([(1, 0.0), (0, 0.5)], noise=0.01))
    assert (one.excess, one.error, one.good) == (0, 0, True)
    assert math.isclose(none.excess, 0.5, abs_tol=0.01)
    assert none.error < 0.002
    assert not none.good


def test_noise_keeps_more_first_tokens_not_fewer() -> None:
    """A measurement that tells nothing must not end in a cache without sinks."""
    means = [(8, 0.0), (4, 0.005), (1, 0.005), (0, 0.005)]
    assert fewest(compare(noisy(means, noise=0.01))) == 0
    loud = compare(noisy(means, noise=2.0))
    best = min(loud, key=lambda trial: trial.loss)
    assert fewest(loud) == best.n_sink


@given(
    st.lists(
        st.lists(st.floats(0, 20), min_size=4, max_size=4), min_size=1, max_size=5
    ).map(lambda rows: list(enumerate(rows)))
)  # fmt: skip
def test_the_choice_is_a_trial_that_is_good_and_no_smaller_one_is(losses: Losses) -> None:
    trials = compare(losses)
    chosen = fewest(trials)
    (trial,) = [trial for trial in trials if trial.n_sink == chosen]
    assert trial.excess <= TOLERANCE_NATS
    assert all(other.excess + ERRORS * other.error > TOLERANCE_NATS for other in trials if other.n_sink < chosen)
    assert math.isclose(min(trial.loss for trial in trials), min(sum(row) / len(row) for _, row in losses))


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.1)), min_size=2, max_size=6), st.floats(0, 1))
def test_a_worse_loss_with_fewer_tokens_never_makes_them_enough(
    measured: list[tuple[float, float]], worse: float
) -> None:
    """Where all but the trial with the most first tokens lose more, no fewer are kept than before."""

    def chosen(more: float) -> int:
        rest = [Trial(n, excess + more, excess + more, error) for n, (excess, error) in enumerate(measured)]
        return fewest([*rest, Trial(len(measured), 0, 0, 0)])

    assert chosen(worse) >= chosen(0)


@given(st.lists(st.floats(0, 20), min_size=2, max_size=9), st.integers(1, 9))
def test_where_first_tokens_make_no_difference_none_is_kept(row: list[float], most: int) -> None:
    assert fewest(compare([(n_sink, row) for n_sink in range(most, -1, -1)])) == 0


# --------------------------------------------------------------------------- how much is measured

MOST_TOK = 256


def decided(all_losses: Losses) -> tuple[int, dict[int, int]]:
    """What is kept, and how many tokens each count was tried with, where these are the losses that would be found."""
    found = dict(all_losses)
    scored: dict[int, list[float]] = {}
    while wanted := undecided(scored, MOST_TOK):
        for n_sink in wanted:
            seen = len(scored.setdefault(n_sink, []))
            scored[n_sink] += found[n_sink][seen : seen + LOOK_TOK]
    return fewest(compare(list(scored.items()))), {n_sink: len(values) for n_sink, values in scored.items()}


@pytest.mark.parametrize("model", PUBLISHED)
def test_few_tokens_tell_what_is_published(model: str) -> None:
    """And the counts that do not matter are not tried."""
    perplexities, wanted = PUBLISHED[model]
    means = [(n_sink, math.log(value)) for n_sink, value in zip((0, 1, 2, 4, 8), perplexities, strict=True)]
    kept, tried = decided(noisy(means, noise=0.05))
    assert kept == wanted
    assert tried.keys() == ({0, 1, 8} if wanted == 1 else {0, 1, 2, 4, 8})
    assert tried[0] == LOOK_TOK
    assert tried[wanted] == LEAST_TOK


def test_the_closer_the_longer() -> None:
    """A count that is hardly good enough needs more tokens to be known as such; one that is not known is not taken."""
    clear, near, beyond = (
        decided(noisy([(0, 1.0), (1, above), (2, 0.0), (4, 0.0), (8, 0.0)], noise=0.05, seed=2))
        for above in (0, 0.03, 0.04)
    )
    assert (clear[0], near[0]) == (1, 1)
    assert clear[1][1] < near[1][1] < MOST_TOK
    assert beyond[0] == 2
    assert beyond[1][1] == MOST_TOK


@given(
    means=st.tuples(*[st.floats(0, 0.3)] * len(CANDIDATES)), noise=st.floats(0, 0.5), n=st.integers(1, 8)
)  # fmt: skip
def test_measuring_ends_with_a_count_that_is_known_to_do(means: tuple[float, ...], noise: float, n: int) -> None:
    """Whatever the losses: every count is asked for at most to the end, and never ahead of what it is compared with."""
    losses = dict(noisy(list(zip(CANDIDATES, means, strict=True)), noise))
    scored: dict[int, list[float]] = {}
    most = n * LOOK_TOK
    looks = 0
    while wanted := undecided(scored, most):
        looks += 1
        for n_sink in wanted:
            seen = len(scored.setdefault(n_sink, []))
            scored[n_sink] += losses[n_sink][seen : seen + LOOK_TOK]
        assert all(len(values) <= len(scored[max(CANDIDATES)]) <= most for values in scored.values())
    assert looks <= len(CANDIDATES) * n
    trials = compare(list(scored.items()))
    kept = fewest(trials)
    assert next(trial for trial in trials if trial.n_sink == kept).good
    assert kept == max(CANDIDATES) or len(scored[kept]) >= min(LEAST_TOK, most)


def test_a_trial_that_ended_early_is_compared_over_its_own_tokens() -> None:
    """Its text was easier or harder than the rest: only the difference counts."""
    best = [1.0] * 32 + [5.0] * 32
    eight, none = compare([(8, best), (0, [2.0, 2.2] * 16)])
    assert (eight.excess, eight.loss) == (0, 3)
    assert math.isclose(none.excess, 1.1)
    assert math.isclose(none.loss, 4.1)
