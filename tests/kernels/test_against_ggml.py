"""The reference against ggml's own operations: the oracle has to agree with what llama.cpp really computes."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels import (
    Rope,
    Yarn,
    attend,
    attention_scores,
    dequantize,
    llama3_factors,
    rotate,
    shift,
    sinks_and_window,
    sliding_window,
)
from kernels.rope import Order
from tests.kernels import ggml

ROPES = {
    "plain": Rope(n_rot=16),
    "part of the head": Rope(n_rot=8),
    "linear": Rope(n_rot=16, freq_scale=1 / 8),
    "llama 3": Rope(n_rot=16, base=500000.0, freq_factors=llama3_factors(16)),
    "yarn": Rope(n_rot=16, freq_scale=1 / 4, yarn=Yarn(n_ctx_orig=4096)),
    "gpt-oss": Rope(n_rot=16, base=150000.0, freq_scale=1 / 32, yarn=Yarn(n_ctx_orig=4096)),
    "yarn, half": Rope(
        n_rot=16, freq_scale=1 / 4, yarn=Yarn(n_ctx_orig=512, beta_fast=16, beta_slow=2, ext_factor=0.5)
    ),
    "yarn, ramp from below 0": Rope(n_rot=16, base=100.0, freq_scale=1 / 4, yarn=Yarn(n_ctx_orig=64)),
    "yarn, ramp to the end": Rope(n_rot=16, base=10.0, freq_scale=1 / 4, yarn=Yarn(n_ctx_orig=512)),
    "yarn over llama 3": Rope(n_rot=16, freq_scale=1 / 4, freq_factors=llama3_factors(16), yarn=Yarn(n_ctx_orig=2048)),
    "magnitude": Rope(n_rot=16, attn_factor=1.19),
}


@pytest.mark.parametrize("order", get_args(Order))
@pytest.mark.parametrize("name", ROPES)
def test_rotation_is_ggmls(name: str, order: Order) -> None:
    rope = replace(ROPES[name], order=order)
    x = np.random.default_rng(1).normal(size=(2, 7, 16)).astype(np.float32)
    positions = np.array([0, 1, 2, 17, 100, 255, 300])
    theirs = ggml.rope(x.swapaxes(0, 1), positions, rope).swapaxes(0, 1)
    np.testing.assert_allclose(theirs, rotate(x, positions, rope), atol=2e-4)


@pytest.mark.parametrize("name", ROPES)
def test_a_k_shift_is_ggmls(name: str) -> None:
    """llama.cpp's K-shift is one more `ggml_rope_ext` with the delta, magnitude and all (build_rope_shift)."""
    rope = ROPES[name]
    x = np.random.default_rng(2).normal(size=(2, 5, 16)).astype(np.float32)
    at, delta = np.array([4, 90, 91, 200, 300]), np.array([0, -80, -80, -80, -80])
    theirs = ggml.rope(ggml.rope(x.swapaxes(0, 1), at, rope), delta, rope).swapaxes(0, 1)
    np.testing.assert_allclose(theirs, shift(rotate(x, at, rope), delta, rope), atol=3e-4)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("softcap", [0.0, 3.0])
@pytest.mark.parametrize("n_kv_head", [1, 2, 4])
def test_attention_is_ggmls_flash_attention(n_kv_head: int, softcap: float, learned: bool) -> None:
    random = np.random.default_rng(3)
    q = random.normal(size=(4, 9, 32)).astype(np.float32) * 4
    k, v = (random.normal(size=(n_kv_head, 9, 32)).astype(np.float32) for _ in "kv")
    sinks = random.normal(size=4).astype(np.float32) if learned else None
    tokens = np.arange(9)
    mask = sinks_and_window(tokens, tokens, window=4, n_sink=1)
    theirs = ggml.flash_attention(q, k, v, mask, scale=0.2, softcap=softcap, sinks=sinks)
    ours = attend(q, k, v, mask, scale=0.2, softcap=softcap or None, sink_logits=sinks)
    np.testing.assert_allclose(theirs, ours.output, atol=1e-5)


@pytest.mark.parametrize("learned", [False, True])
def test_weights_are_ggmls_soft_max(learned: bool) -> None:
    random = np.random.default_rng(4)
    q, k = (random.normal(size=(3, 8, 16)).astype(np.float32) for _ in "qk")
    sinks = random.normal(size=3).astype(np.float32) if learned else None
    tokens = np.arange(8)
    mask = sliding_window(tokens, tokens, window=3)
    scores = attention_scores(q, k, scale=1.0).astype(np.float32)
    theirs = ggml.soft_max(scores, mask, 0.25, sinks)
    ours = attend(q, k, k, mask, sink_logits=sinks)
    np.testing.assert_allclose(theirs, ours.weights, atol=1e-6)
    np.testing.assert_allclose(1 - theirs.sum(axis=-1), ours.sink, atol=1e-6)


QUANTIZED = (
    *("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4"),
    *("F16", "BF16"),
)


@pytest.mark.parametrize("type_name", QUANTIZED)
def test_a_product_with_quantized_weights_is_the_exact_one_of_rounded_activations(type_name: str) -> None:
    """Why llama.cpp and the decoder differ on quantized models, and that nothing else differs: ggml rounds activations,
    most often to 8 bits, and multiplies them with just the weights that `dequantize` reads. Measured: 2e-4 (F16) to
    8e-3 off the product of what it was given, 1e-7 off that of what it made of it.
    """
    random = np.random.default_rng(5)
    weights, x = (random.normal(size=(n, 512)).astype(np.float32) for n in (24, 8))
    blocks = ggml.quantized(weights, type_name)
    theirs = ggml.product(blocks, type_name, x)
    ours = dequantize(blocks, type_name).astype(np.float64)

    def error(activations: NDArray[np.float32]) -> float:
        return float(np.linalg.norm(theirs - activations @ ours.T) / np.linalg.norm(theirs))

    # Types with a minimum are multiplied with the sum of a block too, which Q8_1 has in float16.
    assert error(ggml.rounded_for(type_name, x)) < (1e-3 if type_name in ("Q4_1", "Q5_1") else 1e-6)
    assert error(x) > (1e-4 if type_name == "F16" else 1e-3)
