"""One tiny model of each kind that the cache engine must handle: random weights, the real architecture.

The shapes are what llama.cpp's src/models/*.cpp asks for. Each file is below a megabyte, is the same on each run, and
loads in a few milliseconds; what it says is noise, and noise is enough to see whether two ways to the same cache agree.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.support.tiny_gguf import N_VOCAB, TEMPLATE, TinyWriter

N_EMBD: Final = 64
WINDOW: Final = 32
"""Tokens of the sliding window, the token itself included, of every tiny model that slides but llama4."""
CHUNK: Final = 8192
"""llama.cpp fixes the chunk of llama4."""


@dataclass(frozen=True)
class Spec:
    """What a tiny model is made of. `keys` are extra metadata; `slides` names the layers with a window."""

    arch: str
    n_layer: int = 4
    n_head: int = 2
    n_head_kv: int = 1
    head_dim: int = 64
    n_ff: int = 64
    n_ctx: int = 4096
    """Positions that the model was trained for."""
    keys: tuple[tuple[str, Any], ...] = ()
    slides: tuple[bool, ...] | None = None
    tensors: str = "llama"
    """Which builder below writes the layers."""
    n_expert: int = 0
    quantized: bool = False
    rope_factors: tuple[str, ...] = ()

    def sliding(self) -> tuple[bool, ...]:
        """For each layer, whether its window slides."""
        return self.slides or (False,) * self.n_layer


def _keys(**values: Any) -> tuple[tuple[str, Any], ...]:
    return tuple(values.items())


YARN = _keys(rope__scaling__type="yarn", rope__scaling__factor=4.0, rope__scaling__original_context_length=1024)
SPECS: Final[dict[str, Spec]] = {
    # full attention
    "llama": Spec("llama"),
    "llama-yarn": Spec("llama", keys=YARN),
    "llama-linear": Spec("llama", keys=_keys(rope__scaling__type="linear", rope__scaling__factor=4.0)),
    "llama-3": Spec("llama", keys=_keys(rope__freq_base=500000.0), rope_factors=("rope_freqs.weight",)),
    "llama-longrope": Spec(
        "llama",
        keys=_keys(rope__scaling__type="longrope", rope__scaling__attn_factor=1.25),
        rope_factors=("rope_factors_long.weight", "rope_factors_short.weight"),
    ),
    "llama-head-80": Spec("llama", head_dim=80),
    "llama-head-96": Spec("llama", head_dim=96),
    "llama-q4": Spec("llama", quantized=True),
    "mixtral": Spec("llama", n_ff=32, n_expert=4, keys=_keys(expert_used_count=2)),
    "mixtral-q4": Spec("llama", n_ff=32, n_expert=4, keys=_keys(expert_used_count=2), quantized=True),
    "mistral-window": Spec("llama", keys=_keys(attention__sliding_window=WINDOW)),  # llama.cpp ignores it
    "phi-window": Spec("phi3", head_dim=32, n_head_kv=2, keys=_keys(attention__sliding_window=WINDOW), tensors="phi3"),
    "qwen2vl": Spec("qwen2vl", n_head=1, keys=_keys(rope__dimension_sections=[8, 12, 12, 0])),
    "gpt2": Spec("gpt2", n_head=1, n_ctx=1024, keys=_keys(attention__layer_norm_epsilon=1e-5), tensors="gpt2"),
    "smollm3": Spec("smollm3"),  # the fourth layer has no RoPE
    "hunyuan": Spec("hunyuan-dense", keys=_keys(rope__scaling__alpha=8.0)),  # keys are normalized after RoPE
    # sliding windows
    "gemma2": Spec("gemma2", keys=_keys(attention__sliding_window=WINDOW), slides=(True, False) * 2, tensors="gemma"),
    "gemma3": Spec(
        "gemma3",
        n_layer=6,
        keys=_keys(attention__sliding_window=WINDOW, rope__freq_base=1000000.0),
        slides=(True,) * 5 + (False,),
        tensors="gemma",
    ),
    "window-only": Spec(
        "gemma2",
        keys=_keys(attention__sliding_window=WINDOW, attention__sliding_window_pattern=0),
        slides=(True,) * 4,
        tensors="gemma",
    ),
    "gpt-oss": Spec(
        "gpt-oss",
        n_ff=32,
        n_expert=4,
        keys=_keys(
            attention__sliding_window=WINDOW,
            expert_used_count=2,
            expert_feed_forward_length=32,
            rope__scaling__type="yarn",
            rope__scaling__factor=32.0,
            rope__scaling__original_context_length=128,
        ),
        slides=(True, False) * 2,
        tensors="gpt-oss",
    ),
    "granite-sinks": Spec(
        "granite_swa",
        keys=_keys(
            attention__sliding_window=WINDOW,
            attention__sliding_window_pattern=[True, True, True, False],
            logit_scale=1.0,
        ),
        slides=(True, True, True, False),
    ),
    "llama4": Spec(
        "llama4",
        n_expert=2,
        keys=_keys(expert_used_count=1, expert_feed_forward_length=64, interleave_moe_layer_step=2),
        slides=(True, True, True, False),
    ),
    # recurrent
    "mamba": Spec(
        "mamba",
        n_head=0,
        n_head_kv=0,
        head_dim=0,
        keys=_keys(ssm__conv_kernel=4, ssm__inner_size=2 * N_EMBD, ssm__state_size=16, ssm__time_step_rank=4),
        tensors="mamba",
    ),
    "lfm2": Spec("lfm2", n_head=1, keys=_keys(shortconv__l_cache=3), tensors="lfm2"),
}
NAMES: Final = tuple(SPECS)
UNUSABLE: Final[dict[str, Spec]] = {
    # llama.cpp ends the process on a rope scaling that it does not know
    "llama-dynamic": Spec("llama", keys=_keys(rope__scaling__type="dynamic", rope__scaling__factor=4.0)),
    # it says so of a window, too, that no layer has
    "no-window": Spec(
        "gemma2", keys=_keys(attention__sliding_window=WINDOW, attention__sliding_window_pattern=1), tensors="gemma"
    ),
    # a diffusion model: it has no cache
    "llada": Spec("llada"),
}
LFM2_ATTENTION: Final = (False, True, False, True)
"""The layers of the tiny lfm2 that attend; the others are convolutions with a state."""

_written: dict[tuple[Path, str], Path] = {}


def tiny(name: str, folder: Path) -> Path:
    """The model `name` (of NAMES or UNUSABLE) as a file in `folder`, written once in a session."""
    if (folder, name) not in _written:
        path = folder / f"{name}.gguf"
        _write(path, name, (SPECS | UNUSABLE)[name])
        _written[folder, name] = path
    return _written[folder, name]


def tiny_with_template(path: Path, template: str) -> Path:
    """The model "llama" with another chat template, written to `path`."""
    _write(path, "llama", SPECS["llama"], template)
    return path


def _write(path: Path, name: str, spec: Spec, template: str = TEMPLATE) -> None:
    writer = TinyWriter(path, spec.arch, name, template)
    kv: int | list[int] = spec.n_head_kv
    if spec.tensors == "lfm2":
        kv = [spec.n_head_kv if attends else 0 for attends in LFM2_ATTENTION]
    writer.keys(
        block_count=spec.n_layer,
        context_length=spec.n_ctx,
        embedding_length=N_EMBD,
        feed_forward_length=0 if spec.arch == "mamba" else spec.n_ff,
        attention__layer_norm_rms_epsilon=1e-5,
        attention__head_count=spec.n_head,
        attention__head_count_kv=kv,
        vocab_size=N_VOCAB,
    )
    if spec.head_dim:
        writer.keys(
            attention__key_length=spec.head_dim,
            attention__value_length=spec.head_dim,
            rope__dimension_count=spec.head_dim,
        )
    if spec.n_expert:
        writer.keys(expert_count=spec.n_expert)
    writer.keys(**dict(spec.keys))
    writer.random("token_embd.weight", N_EMBD, N_VOCAB, quantized=spec.quantized)
    writer.norm("token_embd_norm.weight" if spec.tensors == "lfm2" else "output_norm.weight", N_EMBD)
    if spec.tensors == "gpt-oss":
        writer.random("output.weight", N_EMBD, N_VOCAB)
    if spec.tensors == "gpt2":
        writer.random("output_norm.bias", N_EMBD)
        writer.random("position_embd.weight", N_EMBD, spec.n_ctx)
    for factors in spec.rope_factors:
        writer.values(factors, np.linspace(1, 8, spec.head_dim // 2))
    for layer in range(spec.n_layer):
        _LAYERS[spec.tensors](writer, spec, layer, f"blk.{layer}")
    writer.write()


# --------------------------------------------------------------------------- layers


def _attention(writer: TinyWriter, spec: Spec, block: str) -> None:
    q, kv = spec.n_head * spec.head_dim, spec.n_head_kv * spec.head_dim
    writer.norm(f"{block}.attn_norm.weight", N_EMBD)
    for name, width in (("q", q), ("k", kv), ("v", kv)):
        writer.random(f"{block}.attn_{name}.weight", N_EMBD, width, quantized=spec.quantized)
    writer.random(f"{block}.attn_output.weight", q, N_EMBD, quantized=spec.quantized)


def _feed_forward(writer: TinyWriter, spec: Spec, block: str) -> None:
    writer.norm(f"{block}.ffn_norm.weight", N_EMBD)
    _gated(writer, spec, block, "")


def _gated(writer: TinyWriter, spec: Spec, block: str, suffix: str, *experts: int) -> None:
    for name, wide, narrow in (("gate", N_EMBD, spec.n_ff), ("up", N_EMBD, spec.n_ff), ("down", spec.n_ff, N_EMBD)):
        tensor = f"{block}.ffn_{name}{suffix}.weight"
        writer.random(tensor, wide, narrow, *experts, quantized=spec.quantized)


def _llama(writer: TinyWriter, spec: Spec, layer: int, block: str) -> None:
    _attention(writer, spec, block)
    if spec.arch == "hunyuan-dense":
        writer.norm(f"{block}.attn_q_norm.weight", spec.head_dim)
        writer.norm(f"{block}.attn_k_norm.weight", spec.head_dim)
    if spec.arch == "granite_swa":
        writer.random(f"{block}.attn_sinks.weight", spec.n_head)
    if spec.arch == "qwen2vl":
        for name in ("q", "k", "v"):
            writer.random(f"{block}.attn_{name}.bias", spec.head_dim)
    dense = spec.arch == "llama4" and layer % 2 == 0
    if not spec.n_expert or dense:
        _feed_forward(writer, spec, block)
        return
    writer.norm(f"{block}.ffn_norm.weight", N_EMBD)
    writer.random(f"{block}.ffn_gate_inp.weight", N_EMBD, spec.n_expert)
    _gated(writer, spec, block, "_exps", spec.n_expert)
    if spec.arch == "llama4":
        _gated(writer, spec, block, "_shexp")


def _phi3(writer: TinyWriter, spec: Spec, layer: int, block: str) -> None:
    _attention(writer, spec, block)
    writer.norm(f"{block}.ffn_norm.weight", N_EMBD)
    writer.random(f"{block}.ffn_up.weight", N_EMBD, 2 * spec.n_ff)
    writer.random(f"{block}.ffn_down.weight", spec.n_ff, N_EMBD)


def _gpt2(writer: TinyWriter, spec: Spec, layer: int, block: str) -> None:
    for name in ("attn_norm", "ffn_norm"):
        writer.norm(f"{block}.{name}.weight", N_EMBD)
        writer.random(f"{block}.{name}.bias", N_EMBD)
    shapes = (("attn_qkv", N_EMBD, 3 * N_EMBD), ("attn_output", N_EMBD, N_EMBD))
    for name, wide, narrow in (*shapes, ("ffn_up", N_EMBD, spec.n_ff), ("ffn_down", spec.n_ff, N_EMBD)):
        writer.random(f"{block}.{name}.weight", wide, narrow)
        writer.random(f"{block}.{name}.bias", narrow)


def _gemma(writer: TinyWriter, spec: Spec, layer: int, block: str) -> None:
    _attention(writer, spec, block)
    if spec.arch == "gemma3":
        writer.norm(f"{block}.attn_q_norm.weight", spec.head_dim)
        writer.norm(f"{block}.attn_k_norm.weight", spec.head_dim)
    writer.norm(f"{block}.post_attention_norm.weight", N_EMBD)
    _feed_forward(writer, spec, block)
    writer.norm(f"{block}.post_ffw_norm.weight", N_EMBD)


def _gpt_oss(writer: TinyWriter, spec: Spec, layer: int, block: str) -> None:
    _attention(writer, spec, block)
    writer.random(f"{block}.attn_output.bias", N_EMBD)
    writer.random(f"{block}.attn_sinks.weight", spec.n_head)
    writer.norm(f"{block}.post_attention_norm.weight", N_EMBD)
    writer.random(f"{block}.ffn_gate_inp.weight", N_EMBD, spec.n_expert)
    writer.random(f"{block}.ffn_gate_inp.bias", spec.n_expert)
    _gated(writer, spec, block, "_exps", spec.n_expert)
    for name, width in (("gate", spec.n_ff), ("up", spec.n_ff), ("down", N_EMBD)):
        writer.random(f"{block}.ffn_{name}_exps.bias", width, spec.n_expert)


def _mamba(writer: TinyWriter, spec: Spec, layer: int, block: str) -> None:
    inner, kernel, state, rank = 2 * N_EMBD, 4, 16, 4
    writer.norm(f"{block}.attn_norm.weight", N_EMBD)
    writer.random(f"{block}.ssm_in.weight", N_EMBD, 2 * inner)
    writer.random(f"{block}.ssm_conv1d.weight", kernel, inner)
    writer.random(f"{block}.ssm_conv1d.bias", inner)
    writer.random(f"{block}.ssm_x.weight", inner, rank + 2 * state)
    writer.random(f"{block}.ssm_dt.weight", rank, inner)
    writer.random(f"{block}.ssm_dt.bias", inner)
    # A must be negative, or the state grows without end.
    writer.values(f"{block}.ssm_a", -np.tile(np.arange(1.0, state + 1), (inner, 1)))
    writer.norm(f"{block}.ssm_d", inner)
    writer.random(f"{block}.ssm_out.weight", inner, N_EMBD)


def _lfm2(writer: TinyWriter, spec: Spec, layer: int, block: str) -> None:
    if LFM2_ATTENTION[layer]:
        _attention(writer, spec, block)
        writer.norm(f"{block}.attn_q_norm.weight", spec.head_dim)
        writer.norm(f"{block}.attn_k_norm.weight", spec.head_dim)
    else:
        writer.norm(f"{block}.attn_norm.weight", N_EMBD)
        writer.random(f"{block}.shortconv.conv.weight", 3, N_EMBD)
        writer.random(f"{block}.shortconv.in_proj.weight", N_EMBD, 3 * N_EMBD)
        writer.random(f"{block}.shortconv.out_proj.weight", N_EMBD, N_EMBD)
    _feed_forward(writer, spec, block)


_LAYERS: Final[dict[str, Callable[[TinyWriter, Spec, int, str], None]]] = {
    "llama": _llama,
    "phi3": _phi3,
    "gpt2": _gpt2,
    "gemma": _gemma,
    "gpt-oss": _gpt_oss,
    "mamba": _mamba,
    "lfm2": _lfm2,
}
