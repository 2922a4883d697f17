"""What docs/reference/cache.md says of keys that are renumbered again and again, against llama.cpp and the policy."""

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import pytest

from benchmarks.drift import history, moves
from chatapp.cache import policy
from chatapp.cache.ledger import CellKind, Ledger
from chatapp.cache.shift_limit import QUANTIZED_MOVES, most_moves
from chatapp.engine.native import llama
from chatapp.engine.native.llama import Model
from chatapp.protocol.events import Evicted
from chatapp.protocol.values import CacheSettings
from tests.support.engine.process import Engine, english, greedy
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
    assert 1 / share - 2 <= moved_at_most(n_ctx, share, need=8) <= 1 / share + 1


def test_a_reply_does_not_wear_its_keys_out_token_by_token() -> None:
    """Gemma 3 in a window as short as its own 512: to keep 512 tokens after what leaves, one left for each new one,
    and 508 moves are more than quantized keys stand (q4_0 ends in no number). f16 has no bound.
    """
    assert moved_at_most(512, 0.125, need=1, keep_recent=512) > 400
    assert moved_at_most(512, 0.125, need=1, keep_recent=512, most_moves=QUANTIZED_MOVES) <= QUANTIZED_MOVES
    assert [most_moves(type_k) for type_k in ("f32", "f16", "bf16")] == [None] * 3
    assert {most_moves(type_k) for type_k in ("q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")} == {QUANTIZED_MOVES}


def test_where_less_is_left_than_the_bound_asks_for_what_is_needed_leaves() -> None:
    """Nearly all of the window is sinks or pinned: room for the next token goes before."""
    book = Ledger().append(0, "system", (1,) * 90, kind=CellKind.SINK).append(1, "user", (2,) * 6, kind=CellKind.PINNED)
    book = book.append(2, "user", (3,) * 2).append(2, "assistant", (4,) * 2)
    plan = policy.make_room(book, policy="sinks", need=1, n_ctx=100, share=0.05, turn=3, most_moves=2)
    assert (plan.tokens, plan.turns, plan.full) == (4, (2,), "")


def test_the_engine_holds_quantized_keys_to_the_bound(gemma: Path, tmp_path: Path) -> None:
    """A reply in a full window of 512 tokens, as long as the model's own: a twentieth of it leaves at once."""
    with Engine(tmp_path / "log") as engine:
        engine.load(gemma, CacheSettings(n_ctx=512, sinks=4, type_k="q8_0"))
        engine.open()
        step = engine.send(1, english(420), greedy(60))
    left = [event.tokens for event in step.all(Evicted) if event.why == "the reply needed cells"]
    assert left
    assert min(left) >= (512 - step.snapshot.n_sink) / QUANTIZED_MOVES


def moved_at_most(n_ctx: int, share: float, *, need: int, keep_recent: int = 0, most_moves: int | None = None) -> int:
    """How often the most moved token of a long turn is renumbered until it leaves."""
    n_sink = 4
    ledger = Ledger().append_sinks_first(1, "text", (0,) * n_ctx, n_sink=n_sink)
    behind = [0] * (n_ctx - n_sink)  # moves of each token that is no sink
    most = 0
    for _ in range(3 * n_ctx // need):
        plan = policy.make_room(
            ledger, policy="sinks", need=need, n_ctx=n_ctx, share=share, turn=1,
            keep_recent=keep_recent, most_moves=most_moves,
        )  # fmt: skip
        most = max([most, *behind[: plan.tokens]])
        behind = [moved + plan.renumbers for moved in behind[plan.tokens :]] + [0] * need
        ledger = policy.apply(ledger, plan).append(1, "text", (0,) * need)
    return most
