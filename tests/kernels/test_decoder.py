"""The decoder against itself: what must not matter does not, what must matter does. llama.cpp judges it elsewhere."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import Decoder, Gguf
from kernels.arrays import Floats
from tests.kernels.draws import seeds
from tests.support.tiny_gguf import N_VOCAB
from tests.support.tiny_models import SPECS, WINDOW, tiny

COVERED = [name for name, spec in SPECS.items() if spec.arch in ("llama", "phi3", "gemma2", "gemma3", "gpt-oss")]
EXACT = 1e-9
"""Largest difference of a logit between two ways to the same numbers in float64. (Logits are around 1.)"""
OTHER = 1e-2
"""Least difference where something else was computed."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


def text(length: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(N_VOCAB, size=length).tolist()


def fed(decoder: Decoder, tokens: Sequence[int], size: int = 1000) -> Floats:
    """The logits of the last token, after `tokens` went in `size` at a time."""
    logits = [decoder.decode(tokens[at : at + size], n_output=1) for at in range(0, len(tokens), size)]
    return logits[-1][0]


def difference(a: Floats, b: Floats) -> float:
    return float(np.abs(a - b).max())


@settings(max_examples=15, deadline=None)
@given(name=st.sampled_from(COVERED), cuts=st.lists(st.integers(1, 49), max_size=6), seed=seeds)
def test_in_how_many_calls_a_text_is_decoded_makes_no_difference(
    folder: Path, name: str, cuts: list[int], seed: int
) -> None:
    """Every architecture, past its window: 50 tokens through one of 32."""
    tokens, edges = text(50, seed), sorted({0, *cuts, 50})
    whole, parts = Decoder.load(tiny(name, folder)), Decoder.load(tiny(name, folder))
    expected = whole.decode(tokens)
    assert expected.shape == (50, N_VOCAB)
    got = [parts.decode(tokens[a:b]) for a, b in pairwise(edges)]
    assert difference(np.concatenate(got), expected) < EXACT
    assert parts.next_position == 50
    for one, other in zip(whole.seen, parts.seen, strict=True):
        assert difference(one.weights, other.weights) < EXACT


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt-oss"])
def test_what_is_cut_off_the_end_was_never_there(folder: Path, name: str) -> None:
    straight, detour = Decoder.load(tiny(name, folder)), Decoder.load(tiny(name, folder))
    expected = fed(straight, text(60))
    fed(detour, text(40) + text(30, seed=1))
    detour.remove(40)
    assert (detour.next_position, len(detour.tokens)) == (40, 40)
    assert difference(fed(detour, text(60)[40:]), expected) < EXACT


@pytest.mark.parametrize("name", ["llama", "llama-linear", "llama-3", "gemma3", "window-only", "phi-window", "mixtral"])
def test_positions_count_by_their_distances_alone(folder: Path, name: str) -> None:
    """Renumbering all that is stored, there and back and on, changes nothing that a later token computes."""
    still, moved = Decoder.load(tiny(name, folder)), Decoder.load(tiny(name, folder))
    expected = [fed(still, text(40)), fed(still, text(5, seed=1))]
    fed(moved, text(40))
    for delta in (+900, -700):
        moved.renumber(0, delta)
    assert moved.positions.tolist() == list(range(200, 240))
    got = fed(moved, text(5, seed=1))
    assert moved.next_position == 245
    moved.renumber(0, -200)
    assert difference(got, expected[1]) < EXACT
    assert difference(fed(moved, text(5, seed=2)), fed(still, text(5, seed=2))) < EXACT


def test_yarn_multiplies_every_key_once_for_each_decode_that_shifts(folder: Path) -> None:
    """The trap of shifting such a model: also the keys that do not move grow, and several renumberings count once."""
    once, twice, never = (Decoder.load(tiny("llama-yarn", folder)) for _ in range(3))
    for decoder in (once, twice, never):
        fed(decoder, text(40))
    once.renumber(10, +5)
    twice.renumber(10, +3)
    twice.renumber(10, +2)
    never.renumber(10, 0)
    never.renumber(40, 7)  # nothing stands there
    assert never.positions.tolist() == list(range(40))
    after = {decoder: fed(decoder, text(1, seed=1)) for decoder in (once, twice)}
    assert difference(after[once], after[twice]) < EXACT
    never.decode(text(1, seed=1), at=45)
    # The first token's key has not moved; its score grew by the magnitude, 1.139 at a factor of 4.
    logs = [np.log(decoder.seen[0].weights[:, :10]) for decoder in (once, never)]
    grown, plain = (rows - rows[:, :1] for rows in logs)
    np.testing.assert_allclose(grown[:, 1:], plain[:, 1:] * (1 + 0.1 * np.log(4)), rtol=1e-9)


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt-oss"])
def test_what_left_lingers_until_a_rebuild(folder: Path, name: str) -> None:
    """Kept cells were computed while the evicted ones were visible; made again they are those of a fresh cache."""
    decoder, fresh = Decoder.load(tiny(name, folder)), Decoder.load(tiny(name, folder))
    tokens = text(60)
    fed(decoder, tokens)
    decoder.remove(4, 24)
    decoder.renumber(24, -20)
    kept = tokens[:4] + tokens[24:]
    assert (decoder.tokens.tolist(), decoder.positions.tolist()) == (kept, list(range(40)))
    expected = fed(fresh, kept)
    lingering = fed(decoder, text(1, seed=1))
    decoder.remove(40)
    assert difference(decoder.rebuild()[0], expected) < EXACT
    assert difference(fed(decoder, text(1, seed=1)), fed(fresh, text(1, seed=1))) < EXACT
    decoder.remove(40)
    assert difference(fed(decoder, text(1, seed=1)), lingering) > OTHER


@pytest.mark.parametrize("name", ["mixtral", "gemma3", "gpt-oss"])
def test_what_the_last_token_saw_can_be_looked_at(folder: Path, name: str) -> None:
    spec = SPECS[name]
    decoder = Decoder.load(tiny(name, folder))
    fed(decoder, text(50))
    decoder.remove(5, 20)
    decoder.decode(text(3, seed=1))
    assert len(decoder.seen) == spec.n_layer
    cells = [*range(5), *range(20, 53)]
    for slides, seen in zip(spec.sliding(), decoder.seen, strict=True):
        assert seen.positions.tolist() == cells == decoder.positions.tolist()
        assert seen.weights.shape == (spec.n_head, len(cells))
        np.testing.assert_allclose(seen.weights.sum(axis=-1) + seen.sink, 1)
        assert (seen.sink > 0).all() == (name == "gpt-oss")
        visible = seen.positions > 52 - WINDOW if slides else np.ones(len(cells), dtype=np.bool_)
        np.testing.assert_array_equal(seen.weights > 0, np.broadcast_to(visible, seen.weights.shape))
        assert seen.residual_norms.shape == (3,)
        assert (seen.residual_norms > 0).all()
        if spec.n_expert:
            assert seen.gate is not None
            assert seen.gate.experts.shape == seen.gate.weights.shape == (3, 2)
            np.testing.assert_allclose(seen.gate.weights.sum(axis=-1), 1)
        else:
            assert seen.gate is None


def test_a_narrow_cache_rounds_what_it_stores(folder: Path) -> None:
    """float16 changes the logits by its rounding; float64 holds what was computed."""
    exact, narrow = (Decoder.load(tiny("llama", folder), cache_type=kind) for kind in (np.float64, np.float16))
    tokens = text(40)
    error = difference(fed(exact, tokens), fed(narrow, tokens))
    assert EXACT < error < OTHER
    for decoder in (exact, narrow):
        decoder.remove(0, 10)
        decoder.renumber(10, -10)
    assert error / 100 < difference(fed(exact, [1]), fed(narrow, [1])) < OTHER


def test_queries_keys_and_values_in_one_matrix_are_the_same_three(folder: Path) -> None:
    """Real Phi-3 files have them so, and gate and input of the feed-forward network too, as the tiny one does."""
    file = Gguf(tiny("phi-window", folder))
    tensors: dict[str, Any] = dict(file)
    for layer in range(SPECS["phi-window"].n_layer):
        parts = [tensors.pop(f"blk.{layer}.attn_{which}.weight") for which in "qkv"]
        tensors[f"blk.{layer}.attn_qkv.weight"] = np.concatenate(parts)
    fused, apart = Decoder(file.metadata, tensors), Decoder(file.metadata, file)
    assert difference(fused.decode(text(9)), apart.decode(text(9))) < EXACT
    tensors["blk.0.attn_qkv.weight"] = tensors["blk.0.attn_qkv.weight"][:-1]
    with pytest.raises(ValueError, match=r"blk\.0\.attn_qkv has 191 rows in place of 192"):
        Decoder(file.metadata, tensors)


def test_the_window_decides_between_the_factors_of_longrope(folder: Path) -> None:
    file = Gguf(tiny("llama-longrope", folder))
    tensors = dict(file)
    tensors["rope_factors_long.weight"] = tensors["rope_factors_long.weight"] * 2
    short, long = (Decoder(file.metadata, tensors, n_ctx=n_ctx) for n_ctx in (4096, 4097))
    assert difference(short.decode(text(9)), long.decode(text(9))) > OTHER


def test_a_model_that_would_be_computed_only_in_part_is_refused(folder: Path) -> None:
    file = Gguf(tiny("llama", folder))
    with pytest.raises(ValueError, match=r"cannot use blk\.0\.attn_k_norm\.bias, blk\.9\.x of this llama"):
        Decoder(file.metadata, dict(file) | {"blk.9.x": np.ones(1), "blk.0.attn_k_norm.bias": np.ones(64)})
    for name in ("token_embd.weight", "output_norm.weight", "blk.3.ffn_norm.weight", "blk.1.attn_v.weight"):
        with pytest.raises(ValueError, match=f"the model has no tensor {name}"):
            Decoder(file.metadata, {other: values for other, values in file.items() if other != name})


def test_tokens_and_positions_that_cannot_be_are_refused(folder: Path) -> None:
    decoder = Decoder.load(tiny("llama", folder))
    decoder.decode(text(10))
    with pytest.raises(ValueError, match="there is no token to decode"):
        decoder.decode([])
    for token in (-1, N_VOCAB):
        with pytest.raises(ValueError, match="beyond the vocabulary"):
            decoder.decode([token])
    with pytest.raises(ValueError, match="2 tokens have no 3 outputs"):
        decoder.decode([1, 1], n_output=3)
    with pytest.raises(ValueError, match="position 9 is not after 9, the last one"):
        decoder.decode([1], at=9)
    for p0, delta in ((5, -1), (0, -1), (9, -2)):
        with pytest.raises(ValueError, match=f"positions from {p0} on cannot move by {delta}"):
            decoder.renumber(p0, delta)
    # None of this has changed the cache.
    assert decoder.positions.tolist() == list(range(10))
    decoder.decode([1], at=12)
    assert decoder.positions.tolist() == [*range(10), 12]
    decoder.clear()
    assert (decoder.next_position, len(decoder.tokens)) == (0, 0)
