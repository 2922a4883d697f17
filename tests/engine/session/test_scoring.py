"""What a loss is, and what recompute predicts from, against plain llama.cpp calls."""

from collections.abc import Iterator

import numpy as np
import pytest

from chatapp.engine.native import llama
from chatapp.engine.native.llama import Model
from chatapp.engine.native.losses import losses
from chatapp.engine.session import recompute
from chatapp.protocol.values import CacheSettings
from tests.support.engine.inprocess import kv, plain
from tests.support.engine.process import english
from tests.support.tiny_models import tiny

WINDOW = 256


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    llama.init()
    loaded = Model(tiny("llama", tmp_path_factory.mktemp("model")))
    yield loaded
    loaded.close()


def test_a_loss_is_that_of_a_softmax_in_double_precision() -> None:
    """Also where one token has nearly all of the probability, or the logits lie far from zero."""
    rng = np.random.default_rng(1)
    logits = np.concatenate([rng.normal(0, 4, (6, 50_000)), rng.normal(900, 1, (2, 50_000))]).astype(np.float32)
    logits[0, 7] = 60.0
    tokens = [7, 3, 49_999, 0, 1, 2, 5, 8]
    exact = logits.astype(np.float64)
    exact -= exact.max(axis=1, keepdims=True)
    expected = np.log(np.exp(exact).sum(axis=1)) - exact[np.arange(8), tokens]
    np.testing.assert_allclose(losses(logits, tokens), expected, atol=1e-6)


@pytest.mark.parametrize("bos", [False, True])
def test_the_window_before_a_token_never_outgrows_the_cache(bos: bool) -> None:
    tokens = list(range(20))
    for at in range(1, 20):
        before = recompute.window_before(tokens, at, 8, bos=bos)
        assert before[-1] == at - 1
        assert len(before) == min(at, 8)
        assert before[0] == (0 if bos or at <= 8 else at - 8)


def test_each_token_is_predicted_from_a_fresh_window(model: Model) -> None:
    """As a new context of plain llama.cpp calls predicts it, before the window is full and after."""
    tokens = model.tokenize(english(600), special=False)[:700]
    if model.bos is not None:
        tokens = [model.bos, *tokens[:-1]]
    seen: list[int] = []
    with kv(model, CacheSettings(n_ctx=WINDOW, micro_batch=32), policy="dense") as (cache, _):
        for at, row in recompute.predictions(model, cache, tokens, 150):
            seen.append(at)
            window = recompute.window_before(tokens, at, WINDOW, bos=model.bos is not None)
            with plain(model, WINDOW, 32) as fresh:
                for p0 in range(0, len(window), 32):
                    fresh.decode(window[p0 : p0 + 32], p0)
                np.testing.assert_allclose(row[0], fresh.logits, atol=1e-4)
    assert seen == [150, 300, 450, 600]
