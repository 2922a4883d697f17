"""What docs/cache.md says of keys that are renumbered again and again, held to llama.cpp and to the policy."""

from collections.abc import Iterator
from statistics import fmean

import pytest

from benchmarks.drift import history, moves
from chatapp.cache import policy
from chatapp.cache.ledger import Ledger
from chatapp.engine import llama
from chatapp.engine.llama import Model
from tests.engine.support import english
from tests.support.tiny_models import tiny

TYPES = ["f16", "q8_0", "q4_0"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    llama.init()
    loaded = Model(tiny("llama", tmp_path_factory.mktemp("model")))
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def tokens(model: Model) -> list[int]:
    return model.tokenize(english(1500), special=False)


@pytest.mark.parametrize("type_k", TYPES)
def test_keys_that_stay_do_not_wear_out(model: Model, tokens: list[int], type_k: str) -> None:
    """Sinks and pinned turns pass every shift of their cache. Put back into their type they are what they were, or
    what the first shift made of them: a bound on the shifts of a conversation would have no ground.
    """
    early, late = moves(model, tokens, type_k, [2, 60])
    assert abs(late["stayed"] - early["stayed"]) < 1e-5
    assert early["stayed"] < {"f16": 1e-9, "q8_0": 1e-3, "q4_0": 1e-2}[type_k]
    assert late["moved"] > early["moved"] > early["stayed"]


@pytest.mark.parametrize("type_k", TYPES)
def test_what_a_long_history_adds_does_not_grow_with_it(model: Model, tokens: list[int], type_k: str) -> None:
    found = history(model, tokens, [type_k], [0, 30, 120])
    none, some, many = (fmean(found[type_k, shifts][0]) for shifts in (0, 30, 120))
    assert many < 3 * max(none, some)


@pytest.mark.parametrize("share", [0.05, 0.125, 0.5])
@pytest.mark.parametrize("n_ctx", [256, 1024])
def test_a_token_is_moved_no_oftener_than_shares_fit_in_the_window(n_ctx: int, share: float) -> None:
    """The bound on what rounding can add up to: then it leaves."""
    n_sink, chunk = 4, 8
    ledger = Ledger().append_sinks_first(1, "text", tuple(range(n_ctx)), n_sink=n_sink)
    behind: list[int] = [0] * (n_ctx - n_sink)  # how often each token that is no sink was moved
    most = 0
    for _ in range(200):
        plan = policy.make_room(ledger, policy="sinks", need=chunk, n_ctx=n_ctx, share=share, turn=1)
        most = max([most, *behind[: plan.tokens]])
        behind = [moved + plan.renumbers for moved in behind[plan.tokens :]]
        ledger = policy.apply(ledger, plan).append(1, "text", tuple(range(chunk)))
        behind += [0] * chunk
    assert 1 / share - 2 <= most <= 1 / share + 1
