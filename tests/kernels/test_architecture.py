"""What metadata say of a model: the defaults and exceptions of llama.cpp, which no tensor shows."""

import math
from typing import Any

import numpy as np
import pytest

from kernels import Architecture, Yarn, geglu, read_architecture, swiglu, swiglu_oai
from kernels.architecture import FREQS, LONG, SHORT

BASIC: dict[str, Any] = {
    "block_count": 6,
    "embedding_length": 256,
    "context_length": 4096,
    "attention.head_count": 4,
    "attention.layer_norm_rms_epsilon": 1e-5,
}
FACTORS = {FREQS: np.array([1.0, 2.0]), SHORT: np.array([3.0, 4.0]), LONG: np.array([5.0, 6.0])}


def read(name: str, *, n_ctx: int | None = None, tensors: dict[str, Any] | None = None, **keys: Any) -> Architecture:
    """`rope__freq_base=1.0` is `NAME.rope.freq_base`; None takes a key away."""
    values = BASIC | {key.replace("__", "."): value for key, value in keys.items()}
    metadata = {f"{name}.{key}": value for key, value in values.items() if value is not None}
    return read_architecture({"general.architecture": name} | metadata, tensors, n_ctx=n_ctx)


def windows(model: Architecture) -> list[int | None]:
    return [layer.window for layer in model.layers]


def test_what_a_file_leaves_out_has_the_usual_value() -> None:
    model = read("llama")
    assert (model.n_head, model.n_head_kv, model.head_dim, model.scale, model.eps) == (4, 4, 64, 1 / 8, 1e-5)
    assert (model.activation, model.embedding_scale, model.n_expert_used) == (swiglu, 1.0, 0)
    assert (model.score_cap, model.logit_cap) == (None, None)
    rope = model.layers[0].rope
    assert (rope.n_rot, rope.base, rope.order, rope.freq_scale, rope.yarn) == (64, 10000.0, "normal", 1.0, None)
    assert read("llama", attention__key_length=32, attention__head_count_kv=2).scale == 1 / math.sqrt(32)


@pytest.mark.parametrize(
    ("name", "keys", "expected"),
    [
        ("llama", {"attention__sliding_window": 8}, [None] * 6),
        ("phi3", {"attention__sliding_window": 8}, [None] * 6),
        ("gemma2", {}, [4096, None] * 3),
        ("gemma2", {"attention__sliding_window_pattern": 0}, [4096] * 6),
        ("gemma3", {"attention__sliding_window": 8}, [8, 8, 8, 8, 8, None]),
        ("gemma3", {}, [None] * 6),
        ("gemma3", {"attention__sliding_window": 8, "attention__sliding_window_pattern": 3}, [8, 8, None] * 2),
        ("gpt-oss", {"attention__sliding_window": 128}, [128, None] * 3),
        (
            "gpt-oss",
            {"attention__sliding_window": 128, "attention__sliding_window_pattern": [False, True] + [False] * 6},
            [None, 128, None, None, None, None],
        ),
    ],
)
def test_windows_lie_where_llama_cpp_has_them(name: str, keys: dict[str, Any], expected: list[int | None]) -> None:
    assert windows(read(name, **keys)) == expected


def test_gemma_turns_faster_where_its_window_slides() -> None:
    model = read("gemma3", attention__sliding_window=8, rope__freq_base=1e6, rope__scaling__factor=8.0)
    local, whole = model.layers[0].rope, model.layers[5].rope
    assert (local.base, local.freq_scale, local.order) == (10000.0, 1.0, "neox")
    assert (whole.base, whole.freq_scale, whole.order) == (1e6, 1 / 8, "neox")
    other = read("gemma2", rope__freq_base=5e5, rope__freq_base_swa=100.0)
    assert [layer.rope.base for layer in other.layers[:2]] == [100.0, 5e5]
    same = read("gpt-oss", attention__sliding_window=8, rope__freq_base=5e5, rope__scaling__factor=8.0)
    assert {(layer.rope.base, layer.rope.freq_scale) for layer in same.layers} == {(5e5, 1 / 8)}


def test_gemma_scales_its_embeddings_and_caps_what_it_caps() -> None:
    first, second = read("gemma2"), read("gemma3", final_logit_softcapping=20.0)
    assert (first.embedding_scale, first.score_cap, first.logit_cap, first.activation) == (16.0, 50.0, 30.0, geglu)
    assert (second.score_cap, second.logit_cap, read("gemma3").logit_cap) == (None, 20.0, None)
    # The 27B models divide by the width for each head, and their heads are narrower.
    assert read("gemma3", block_count=62, attention__key_length=16).scale == 1 / 8
    assert read("gemma2", block_count=46, attention__key_length=16).scale == 1 / 8
    assert read("gemma3", block_count=46, attention__key_length=16).scale == 1 / 4


def test_scaling_of_positions_is_that_of_the_file() -> None:
    def rope(**keys: Any) -> Any:
        return read("llama", **keys).layers[0].rope

    assert rope(rope__scaling__type="linear", rope__scaling__factor=4.0).freq_scale == 1 / 4
    assert rope(rope__scale_linear=2.0).freq_scale == 1 / 2
    assert rope(rope__scaling__type="none", rope__scaling__factor=4.0).freq_scale == 1.0
    assert rope(rope__scaling__attn_factor=1.25).attn_factor == 1.25
    yarn = rope(rope__scaling__type="yarn", rope__scaling__factor=4.0, rope__scaling__original_context_length=1024)
    assert (yarn.yarn, yarn.freq_scale) == (Yarn(n_ctx_orig=1024), 1 / 4)
    assert rope(rope__scaling__type="yarn").yarn == Yarn(n_ctx_orig=4096)
    assert rope(rope__dimension_count=16).n_rot == 16


@pytest.mark.parametrize(
    ("name", "scaling", "n_ctx", "expected"),
    [
        ("llama", None, None, FREQS),
        ("llama", "longrope", None, SHORT),
        ("llama", "longrope", 4096, SHORT),
        ("llama", "longrope", 4097, LONG),
        ("phi3", None, None, SHORT),
        ("phi3", "longrope", 8192, LONG),
        ("gemma3", None, None, None),
    ],
)
def test_factors_are_those_for_this_model_and_window(
    name: str, scaling: str | None, n_ctx: int | None, expected: str | None
) -> None:
    model = read(name, n_ctx=n_ctx, tensors=FACTORS, rope__dimension_count=4, rope__scaling__type=scaling)
    assert model.layers[0].rope.freq_factors == (None if expected is None else tuple(FACTORS[expected]))


def test_experts_and_their_activation() -> None:
    assert read("llama", expert_used_count=2).n_expert_used == 2
    assert read("gpt-oss", attention__sliding_window=8, expert_used_count=4).activation is swiglu_oai


@pytest.mark.parametrize(
    ("name", "keys", "problem"),
    [
        ("mamba", {}, "the architecture 'mamba' is not covered, only llama, phi3"),
        ("llama", {"block_count": None}, "llama.block_count must be a whole number, 1 or more, not None"),
        (
            "llama",
            {"attention__head_count": [4, 4]},
            r"llama.attention.head_count must be a whole number, 1 or more, not \[4, 4\]",
        ),
        ("gpt-oss", {}, "gpt-oss.attention.sliding_window must be a whole number"),
    ],
)
def test_a_model_that_is_not_understood_is_refused(name: str, keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read(name, **keys)
