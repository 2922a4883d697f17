"""How many first tokens are kept, decided on losses alone; that the losses are a model's is in tests/engine."""

import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.cache.sinks import ERRORS, TOLERANCE_NATS, Trial, compare, fewest

Losses = list[tuple[int, list[float]]]


def noisy(means: Sequence[tuple[int, float]], noise: float, n: int = 256) -> Losses:
    """Losses of n tokens, easy and hard ones, that differ between trials by these means and by chance."""
    draw = random.Random(1)
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
