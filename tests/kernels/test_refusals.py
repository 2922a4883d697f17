"""What each public function of the kernels refuses, one bad call a line, and in which words."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

import kernels as typed
from kernels import fast
from kernels.fast.rows import CacheRows
from tests.kernels.test_checks import AT, CELLS, GATE, IDENTITY, NO_GATE, ROPE, VISIBLE, Call, K, Q, V, online, refusal

kernels: Any = typed
"""Without its types, which forbid half of this."""
K3, V3 = K[:, :3], V[:, :3]
MASK = np.ones((3, 6), dtype=np.bool_)
UNSIGNED = np.ones((1, 4), dtype=np.uint8)
CELL = kernels.RollingBuffer(4, shape=(3,))
BLOCK = np.zeros(34, dtype=np.uint8)
METADATA: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.block_count": 1,
    "llama.embedding_length": 2,
    "llama.context_length": 8,
    "llama.attention.head_count": 1,
    "llama.attention.layer_norm_rms_epsilon": 0.0,
}
WEIGHTS = {
    "token_embd.weight": np.eye(2),
    "output_norm.weight": np.ones(2),
    **{f"blk.0.{name}_norm.weight": np.ones(2) for name in ("attn", "ffn")},
    **{f"blk.0.{name}.weight": np.eye(2) for name in ("attn_q", "attn_k", "attn_v", "attn_output")},
    **{f"blk.0.{name}.weight": np.eye(2) for name in ("ffn_gate", "ffn_up", "ffn_down")},
}
DECODER = kernels.Decoder(METADATA, WEIGHTS)


def read(**keys: Any) -> object:
    changed = {f"llama.{key.replace('__', '.')}": value for key, value in keys.items()}
    return kernels.read_architecture(METADATA | changed)


ADDED: Any = np.where(MASK, 0.0, -np.inf)


def _one_row(_queries: Any, keys: Any) -> Any:
    return np.ones((1, len(keys)), dtype=np.bool_)


def _narrower(x: Any) -> Any:
    return x[:, :2]


def rows(**changed: Any) -> Call:
    fields: dict[str, Any] = {"data": np.zeros(24, dtype=np.uint8), "kind": "F16", "n_head": 2, "n_cell": 3, "dim": 2}
    fields |= {"head_bytes": 4, "cell_bytes": 8} | changed
    return lambda: CacheRows(**fields)


def with_mask(mask: Any) -> list[tuple[str, Call]]:
    """Every function of a mask."""
    one, value = np.ones((2, 8)), np.ones((2, 5))
    return [
        ("attend", lambda: kernels.attend(Q, K, V, mask)),
        ("attend_sigmoid", lambda: kernels.attend_sigmoid(Q, K, V, mask)),
        ("attend_with_bias", lambda: kernels.attend_with_bias(Q, K, V, mask, key_bias=one, value_bias=value)),
        (
            "attend_with_sink_token",
            lambda: kernels.attend_with_sink_token(Q, K, V, mask, sink_key=one, sink_value=value),
        ),
    ]


MASKS: dict[str, tuple[Any, str]] = {
    "for one query": (MASK[:1], "mask must be (n_query = 3, n_key = 6), not (1, 6)"),
    "for one key": (MASK[:, :1], "mask must be (n_query = 3, n_key = 6), not (3, 1)"),
    "for each head": (np.stack([MASK] * 4), "mask must be (n_query = 3, n_key = 6), not (4, 3, 6)"),
    "to be added": (ADDED, "mask must be an array of bools, True where the key is seen, not of float64"),
    "of 0 and 1": (MASK.astype(np.int64), "mask must be an array of bools, True where the key is seen, not of int64"),
    "as a list": (MASK.tolist(), "mask must be an array of bools, True where the key is seen, not a list"),
}
ALONE: list[tuple[str, Call, str]] = [
    *((name, call, problem) for mask, problem in MASKS.values() for name, call in with_mask(mask)),
    ("attend", lambda: kernels.attend(Q, K, V[:1], MASK), "v must be (n_kv_head = 2, n_key = 6, v_dim), not (1, 6, 5)"),
    ("attend", lambda: kernels.attend(Q, K, V3, MASK), "v must be (n_kv_head = 2, n_key = 6, v_dim), not (2, 3, 5)"),
    ("attend_sigmoid", lambda: kernels.attend_sigmoid(Q, K, V[:1], MASK), "v must be"),
    (
        "attend_with_bias",
        lambda: kernels.attend_with_bias(Q, K, V, MASK, key_bias=np.ones(8), value_bias=np.ones((2, 5))),
        "key_bias must be (n_kv_head = 2, dim = 8), not (8,)",
    ),
    (
        "attend_with_sink_token",
        lambda: kernels.attend_with_sink_token(Q, K, V, MASK, sink_key=np.ones((2, 8)), sink_value=np.ones((1, 5))),
        "sink_value must be (n_kv_head = 2, dim = 5), not (1, 5)",
    ),
    ("attend_online", lambda: online(block=0), "block must be a whole number, 1 or more, not 0"),
    (
        "attend_online",
        lambda: kernels.attend_online(Q, K, V, _one_row, AT, CELLS),
        "what the rule returns must be (n_query = 3, n_key = 6), not (1, 6)",
    ),
    ("attend_online", lambda: online(k=K[:, :0], v=V[:, :0], cells=CELLS[:0], window=0), "window must be"),
    (
        "attention_scores",
        lambda: kernels.attention_scores(Q[0], K),
        "q must be (n_head, n_query, head_dim), not (3, 8)",
    ),
    ("attention_scores", lambda: kernels.attention_scores(Q, K, softcap=0.0), "softcap must be"),
    ("for_each_head", lambda: kernels.for_each_head(K[0], 4), "shared must be (n_kv_head, n_key, dim), not (6, 8)"),
    ("for_each_head", lambda: kernels.for_each_head(K, 0), "n_head must be a whole number, 1 or more, not 0"),
    (
        "Attended",
        lambda: kernels.attend(Q, K, V, MASK).sink_mass(-1),
        "n_sink must be a whole number, 0 or more, not -1",
    ),
    (
        "attend_streaming",
        lambda: kernels.attend_streaming(Q, K, V, window=2, n_sink=1, rope=ROPE),
        "k must be (n_kv_head, n_token = 3, head_dim), not (2, 6, 8)",
    ),
    (
        "attend_streaming",
        lambda: kernels.attend_streaming(Q, K[:, :2], V[:, :2], window=2, n_sink=1, rope=ROPE),
        "k must be (n_kv_head, n_token = 3, head_dim), not (2, 2, 8)",
    ),
    (
        "attend_streaming",
        lambda: kernels.attend_streaming(Q, K3, V3, window=2, n_sink=1, rope=kernels.Rope(n_rot=10)),
        "x must be (..., n_token, head_dim) with head_dim at least 10",
    ),
    (
        "prefill_chunked",
        lambda: kernels.prefill_chunked(Q, K, V, window=2, chunk=2),
        "k must be (n_kv_head, n_token = 3, head_dim), not (2, 6, 8)",
    ),
    ("prefill_chunked", lambda: kernels.prefill_chunked(Q, K3, V3, window=2, chunk=0), "chunk must be"),
    ("prefill_chunked", lambda: kernels.prefill_chunked(Q, K3, V3, window=0, chunk=1), "window must be"),
    ("prefill_chunked", lambda: kernels.prefill_chunked(Q, K3, V3, window=1, chunk=1, n_sink=-1), "n_sink must be"),
    ("causal", lambda: kernels.causal(MASK[0], CELLS), "queries must be an array of integers, not of bool"),
    ("causal", lambda: kernels.causal(AT[:, np.newaxis], CELLS), "queries must be (n_query,), not (3, 1)"),
    (
        "sliding_window",
        lambda: kernels.sliding_window(AT, CELLS[:, np.newaxis], 2),
        "keys must be (n_key,), not (6, 1)",
    ),
    ("sliding_window", lambda: kernels.sliding_window(AT, CELLS, 0), "window must be"),
    ("sinks_and_window", lambda: kernels.sinks_and_window(AT, CELLS, 1, -1), "n_sink must be"),
    ("chunked", lambda: kernels.chunked(AT, CELLS, 0), "chunk must be a whole number, 1 or more, not 0"),
    ("block_diagonal_causal", lambda: kernels.block_diagonal_causal([2, -1]), "lengths[1] must be"),
    ("slot_of", lambda: kernels.slot_of(3, 0), "window must be a whole number, 1 or more, not 0"),
    ("slot_of", lambda: kernels.slot_of(-1, 4), "position must be a whole number, 0 or more, not -1"),
    ("slot_of", lambda: kernels.slot_of(1, 4, -2), "n_sink must be"),
    (
        "RollingBuffer",
        lambda: kernels.RollingBuffer(2, shape=(3, -1)),
        "shape[1] must be a whole number",
    ),
    ("RollingBuffer", lambda: CELL.append(np.ones(3)), "items must be (n_token, shape[0] = 3), not (3,)"),
    ("RollingBuffer", lambda: CELL.append(np.ones((2, 1))), "items must be (n_token, shape[0] = 3), not (2, 1)"),
    ("RollingBuffer", lambda: CELL.append(1.0), "items must be (n_token, shape[0] = 3), not ()"),
    ("RollingBuffer", lambda: CELL.append([[1.0], [1.0, 2.0]]), "items must be an array of float64"),
    ("RollingBuffer", lambda: CELL.append(["a"]), "items must be an array of float64"),
    ("packed_positions", lambda: kernels.packed_positions([2, -3]), "lengths[1] must be"),
    ("last_places", lambda: kernels.last_places([0]), "lengths[0] must be a whole number, 1 or more, not 0"),
    ("pack", lambda: kernels.pack([]), "prompts must be one array or more, not none"),
    ("pack", lambda: kernels.pack([K, Q]), "prompts[1] must be (n_head = 2, length, dim = 8), not (4, 3, 8)"),
    ("pack", lambda: kernels.pack([K[0]]), "prompts[0] must be (n_head, length, dim), not (6, 8)"),
    ("unpack", lambda: kernels.unpack(K, []), "packed must be (n_head, sum_of_lengths = 0, dim), not (2, 6, 8)"),
    ("unpack", lambda: kernels.unpack(K, [7, -1]), "lengths[1] must be"),
    ("unpack", lambda: kernels.unpack(K[0, 0], [8]), "packed must be"),
    (
        "attend_packed",
        lambda: kernels.attend_packed(Q, K3, V3, [1, 1]),
        "q must be (n_head, sum_of_lengths = 2, head_dim)",
    ),
    (
        "attend_packed",
        lambda: kernels.attend_packed(Q, K, V, [1, 2]),
        "k must be (n_kv_head, sum_of_lengths = 3, head_dim)",
    ),
    ("top_k_gate", lambda: kernels.top_k_gate(np.ones(4), 1), "logits must be (n_token, n_expert), not (4,)"),
    (
        "top_k_gate",
        lambda: kernels.top_k_gate(UNSIGNED, 1),
        "logits must be an array of floating point numbers, not of uint8",
    ),
    ("top_k_gate", lambda: kernels.top_k_gate(np.ones((1, 4)), 5), "n_used must be a whole number, from 1 to 4, not 5"),
    (
        "mix",
        lambda: kernels.mix(np.ones((2, 3)), GATE, [np.abs] * 2),
        "gate.experts must be (n_token = 2, n_used), not (1, 2)",
    ),
    ("mix", lambda: kernels.mix(np.ones((1, 3)), GATE, []), "experts must be one or more, not none"),
    ("mix", lambda: kernels.mix(np.ones((1, 3)), GATE, [np.abs]), "gate.experts must be numbers from 0 to 0, not 1"),
    (
        "mix",
        lambda: kernels.mix(np.ones((1, 3)), replace(GATE, experts=np.array([[0, -1]])), [np.abs] * 2),
        "gate.experts must be numbers from 0 to 1, not -1",
    ),
    (
        "Gate",
        lambda: kernels.mix(np.ones((1, 3)), replace(GATE, weights=np.ones((1, 1))), [np.abs] * 2),
        "gate.weights must be (n_token = 1, n_used = 2), not (1, 1)",
    ),
    (
        "mix",
        lambda: kernels.mix(np.ones((1, 3)), GATE, [np.abs, _narrower]),
        "the output of expert 1 must be (n_token = 1, dim_out = 3), not (1, 2)",
    ),
    ("expert_load", lambda: kernels.expert_load(GATE, 1), "gate.experts must be numbers from 0 to 0, not 1"),
    ("expert_load", lambda: kernels.expert_load(NO_GATE, 4), "gate.experts must be the choices of one token or more"),
    ("expert_load", lambda: kernels.expert_load(GATE, 0), "n_expert must be a whole number, 1 or more, not 0"),
    ("top_cells", lambda: kernels.top_cells(np.ones(5), VISIBLE, 2), "visible must be (n_cell = 5,), not (6,)"),
    ("top_cells", lambda: kernels.top_cells(np.ones(6), VISIBLE, -1), "n_top must be"),
    ("group_numbers", lambda: kernels.group_numbers(None, 0, -1), "n_cell must be a whole number, 0 or more, not -1"),
    ("range_tokens", lambda: kernels.range_tokens(np.ones((2, 2)), 0.1), "p must be (n_distance,), not (2, 2)"),
    (
        "range_tokens",
        lambda: kernels.range_tokens(np.ones(2), np.nan),
        "eps must be a finite number, 0 or more, 1 or less",
    ),
    ("exact_tokens", lambda: kernels.exact_tokens(2, 3, 0.5, -0.1), "eps must be"),
    ("reachable_tokens", lambda: kernels.reachable_tokens(2, 0), "window must be"),
    ("gaussian_std_tokens", lambda: kernels.gaussian_std_tokens(-1, 2), "layers must be"),
    ("gaussian", lambda: kernels.gaussian(0, 2), "without layers, or with a window of one token, nothing moves"),
    ("exponential", lambda: kernels.exponential(2, 1.0, np.ones(1)), "alpha must be a finite number, above 0, below 1"),
    (
        "exponential_tokens",
        lambda: kernels.exponential_tokens(2, 0.5, 0.0),
        "eps must be a finite number, above 0, 1 or less",
    ),
    ("Rope", lambda: kernels.Rope(n_rot=3), "n_rot must be even, for numbers rotate in pairs, not 3"),
    ("Rope", lambda: kernels.Rope(n_rot=0), "n_rot must be a whole number, 2 or more, not 0"),
    ("Rope", lambda: kernels.Rope(n_rot=4, base=1.0), "base must be a finite number, above 1, not 1.0"),
    ("Rope", lambda: kernels.Rope(n_rot=4, order="foo"), "order must be normal or neox, not 'foo'"),
    ("Rope", lambda: kernels.Rope(n_rot=4, freq_scale=0.0), "freq_scale must be a finite number, above 0, not 0.0"),
    ("Rope", lambda: kernels.Rope(n_rot=4, attn_factor=0.0), "attn_factor must be a finite number, above 0, not 0.0"),
    ("Rope", lambda: kernels.Rope(n_rot=4, freq_factors=(1.0, 0.0)), "freq_factors must be above 0, not (1.0, 0.0)"),
    (
        "Rope",
        lambda: kernels.Rope(n_rot=4, freq_scale=1e9, yarn=kernels.Yarn(8)),
        "freq_scale must leave YaRN",
    ),
    ("Rope", lambda: ROPE.angles(np.array([0.5])), "positions must be an array of integers, not of float64"),
    ("Yarn", lambda: kernels.Yarn(0), "n_ctx_orig must be a whole number, 1 or more, not 0"),
    ("Yarn", lambda: kernels.Yarn(8, beta_slow=0.0), "beta_slow must be a finite number, above 0, not 0.0"),
    (
        "Yarn",
        lambda: kernels.Yarn(8, ext_factor=2.0),
        "ext_factor must be a finite number, 0 or more",
    ),
    ("yarn_ramp", lambda: kernels.yarn_ramp(4, 1.0, kernels.Yarn(8)), "base must be a finite number, above 1, not 1.0"),
    ("llama3_factors", lambda: kernels.llama3_factors(5), "n_rot must be even"),
    (
        "llama3_factors",
        lambda: kernels.llama3_factors(4, factor=0.0),
        "factor must be a finite number, above 0, not 0.0",
    ),
    ("llama3_factors", lambda: kernels.llama3_factors(4, high_freq_factor=1.0), "high_freq_factor must be"),
    (
        "rotate",
        lambda: kernels.rotate(np.ones(4), AT, ROPE),
        "x must be (..., n_token, head_dim) with head_dim at least 4",
    ),
    ("rotate", lambda: kernels.rotate(Q, AT[:1], ROPE), "positions must be (n_token = 3,), not (1,)"),
    ("unrotate", lambda: kernels.unrotate(Q, AT[:, np.newaxis], ROPE), "positions must be (n_token = 3,), not (3, 1)"),
    ("shift", lambda: kernels.shift(Q, AT[:2], ROPE), "deltas must be (n_token = 3,), not (2,)"),
    ("shift", lambda: kernels.shift(Q, AT / 2, ROPE), "deltas must be an array of integers, not of float64"),
    ("Linear", lambda: kernels.Linear(np.ones(3)), "weight must be (n_out, n_in), not (3,)"),
    (
        "Linear",
        lambda: kernels.Linear(np.ones((3, 0))),
        "weight must be (n_out, n_in) with at least 1 each",
    ),
    ("Linear", lambda: kernels.Linear(np.ones((3, 2)), np.ones(1)), "bias must be (n_out = 3,), not (1,)"),
    (
        "Linear",
        lambda: kernels.Linear(np.eye(2))(np.float64(1.0)),
        "x must be an array of floating",
    ),
    (
        "FeedForward",
        lambda: kernels.FeedForward(IDENTITY, kernels.Linear(np.ones((1, 2))), IDENTITY, kernels.swiglu),
        "the weight of up must be",
    ),
    (
        "FeedForward",
        lambda: kernels.FeedForward(IDENTITY, IDENTITY, kernels.Linear(np.ones((2, 1))), kernels.swiglu),
        "the weight of down must be",
    ),
    (
        "rms_norm",
        lambda: kernels.rms_norm(np.ones((2, 3)), np.ones((2, 3)), 0.0),
        "weight must be (n = 3,), not (2, 3)",
    ),
    ("rms_norm", lambda: kernels.rms_norm(np.ones((2, 3)), np.ones(1), 0.0), "weight must be (n = 3,), not (1,)"),
    ("rms_norm", lambda: kernels.rms_norm(np.ones((2, 0)), np.ones(0), 0.0), "x must be (..., n) with n at least 1"),
    (
        "rms_norm",
        lambda: kernels.rms_norm(np.ones(3), np.ones(3), -1.0),
        "eps must be a finite number, 0 or more, not -1.0",
    ),
    *(
        (function.__name__, partial(function, np.ones((2, 3)), np.ones(3)), "up must have the shape of gate, (2, 3)")
        for function in (kernels.swiglu, kernels.geglu, kernels.swiglu_oai)
    ),
    (
        "dequantize",
        lambda: kernels.dequantize(BLOCK[:33], "Q8_0"),
        "blocks must be (..., row_bytes) in whole blocks of 34",
    ),
    (
        "dequantize",
        lambda: kernels.dequantize(BLOCK.astype(np.int8), "Q8_0"),
        "blocks must be an array of bytes, not of int8",
    ),
    ("read_architecture", lambda: read(attention__head_count=0), "llama.attention.head_count must be"),
    ("read_architecture", lambda: read(attention__head_count_kv=0), "llama.attention.head_count_kv must be"),
    (
        "read_architecture",
        lambda: read(attention__head_count_kv=2),
        "llama.attention.head_count must be a multiple of 2",
    ),
    ("read_architecture", lambda: read(block_count=float("nan")), "llama.block_count must be a whole number"),
    ("read_architecture", lambda: read(rope__freq_base=float("inf")), "llama.rope.freq_base must be a finite number"),
    (
        "read_architecture",
        lambda: read(rope__scaling__type="foo"),
        "llama.rope.scaling.type must be none, linear, yarn or",
    ),
    ("read_architecture", lambda: kernels.read_architecture(METADATA, n_ctx=0), "n_ctx must be"),
    ("Decoder", lambda: DECODER.decode([1.5]), "tokens[0] must be a whole number"),
    ("Decoder", lambda: DECODER.decode([1], n_output=-1), "n_output must be a whole number, 0 or more, not -1"),
    (
        "Decoder",
        lambda: kernels.Decoder(METADATA, WEIGHTS | {"blk.0.attn_q.weight": np.ones((4, 2))}),
        "blk.0.attn_q.weight",
    ),
    ("CacheRows", rows(kind="Q4_0"), "kind must be F32, F16, BF16 or Q8_0, not 'Q4_0'"),
    ("CacheRows", rows(data=np.zeros(12, np.int16)), "data must be an array of bytes, not of int16"),
    ("CacheRows", rows(n_cell=2.0), "n_cell must be a whole number"),
    ("CacheRows", lambda: CacheRows.of(K[0]), "stored must be (n_kv_head, n_cell, dim), not (6, 8)"),
]


@pytest.mark.parametrize(
    ("call", "problem"), [pytest.param(call, problem, id=f"{name}: {problem}") for name, call, problem in ALONE]
)
def test_what_does_not_fit_is_refused_by_name(call: Call, problem: str) -> None:
    assert refusal(call).startswith(problem)


def test_every_public_function_is_in_a_table() -> None:
    """But for the plain records that others return."""
    alone = {name for name, _, _ in ALONE}
    twins_too = {"attend_window", "attention_mass", "influence", "influence_in_context"}
    records = {"Architecture", "AttentionMass", "LayerKind", "Seen"}
    asked = {"available", "why", "NumbaMissing", "Gguf"}  # nothing is handed to these, or a path alone
    assert {*kernels.__all__, *fast.__all__} == alone | twins_too | records | asked


def test_a_period_or_a_choice_for_each_layer() -> None:
    """A pattern of fewer layers would make a model of fewer layers."""
    keys = {f"gemma3.{key.partition('.')[2]}": value for key, value in METADATA.items() if key.startswith("llama.")}
    gemma = {"general.architecture": "gemma3"} | keys | {"gemma3.block_count": 3, "gemma3.attention.sliding_window": 4}
    for pattern in ([True], -1, "1"):
        with pytest.raises(ValueError, match="sliding_window_pattern must be a period"):
            kernels.read_architecture(gemma | {"gemma3.attention.sliding_window_pattern": pattern})
    assert len(kernels.read_architecture(gemma | {"gemma3.attention.sliding_window_pattern": [1, 0, 1]}).layers) == 3
