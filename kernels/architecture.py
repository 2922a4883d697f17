"""What the metadata of a GGUF say about the model: heads, windows, rotation. The choices that no tensor shows.

Covered: llama (SmolLM2, Mixtral), phi3, gemma2, gemma3, gpt-oss. Keys, defaults and exceptions are those that llama.cpp
reads: load_hparams in llama-model.cpp, load_arch_hparams in models/*.cpp, the YaRN part of llama-context.cpp.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from kernels import checks
from kernels.arrays import AnyFloats
from kernels.checks import require
from kernels.layers import Activation, geglu, swiglu, swiglu_oai
from kernels.rope import Order, Rope, Yarn

ACTIVATIONS: Final[Mapping[str, Activation]] = {
    "llama": swiglu,
    "phi3": swiglu,
    "gemma2": geglu,
    "gemma3": geglu,
    "gpt-oss": swiglu_oai,
}
WINDOW_PERIODS: Final = {"gemma2": 2, "gemma3": 6, "gpt-oss": 2}
"""The last of this many layers is global, where the file does not say; in other architectures all are."""
WIDE_HEADS: Final = {"gemma2": 46, "gemma3": 62}
"""Layers of the 27B models, which scale scores by n_embd / n_head instead of the size of a head."""
SCALINGS: Final = ("none", "linear", "yarn", "longrope")
"""What a file can say of how its rotations are scaled."""
FREQS, LONG, SHORT = "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"


@dataclass(frozen=True)
class LayerKind:
    """What one layer does differently from the others."""

    rope: Rope
    window: int | None
    """How many tokens it sees, including the token itself; None where it is global."""


@dataclass(frozen=True)
class Architecture:
    """What all layers share, and what each does differently."""

    name: str
    n_head: int
    n_head_kv: int
    head_dim: int
    eps: float
    """What keeps a norm from dividing by zero."""
    scale: float
    """What attention scores are multiplied by."""
    layers: tuple[LayerKind, ...]
    activation: Activation
    embedding_scale: float = 1.0
    score_cap: float | None = None
    """Attention scores stay within ± this, by a tanh (Gemma 2)."""
    logit_cap: float | None = None
    """Logits stay within ± this."""
    n_expert_used: int = 0
    """Experts that each token goes through; 0 for a model without."""


def read_architecture(
    metadata: Mapping[str, Any], tensors: Mapping[str, AnyFloats] | None = None, *, n_ctx: int | None = None
) -> Architecture:
    """The model that `metadata` describe; of the tensors, those that scale rotations (`FREQS`, `LONG`, `SHORT`) matter.

    `n_ctx` is the window in tokens, by default what the model was first trained with: LongRoPE has other factors for a
    larger one. ValueError for an architecture that is not covered, for a missing key, and for values that no model has.

    >>> small = {"block_count": 2, "embedding_length": 128, "context_length": 2048, "attention.head_count": 2,
    ...     "attention.layer_norm_rms_epsilon": 1e-6, "attention.sliding_window": 512}
    >>> gemma = read_architecture({"general.architecture": "gemma3"} | {f"gemma3.{key}": small[key] for key in small})
    >>> gemma.head_dim, gemma.scale, [layer.window for layer in gemma.layers]
    (64, 0.125, [512, 512])
    """
    name = str(metadata.get("general.architecture"))
    require(name in ACTIVATIONS, f"the architecture {name!r} is not covered, only {', '.join(ACTIVATIONS)}")
    keys = _Keys(metadata, name)
    if n_ctx is not None:
        checks.count("n_ctx", n_ctx, 1)
    n_layer, n_embd = keys.whole("block_count", least=1), keys.whole("embedding_length", least=1)
    n_head = keys.whole("attention.head_count", least=1)
    n_head_kv = keys.whole("attention.head_count_kv", n_head, least=1)
    require(n_head % n_head_kv == 0, f"{name}.attention.head_count must be a multiple of {n_head_kv}, not {n_head}")
    head_dim = keys.whole("attention.key_length", n_embd // n_head, least=1)
    wide = n_layer == WIDE_HEADS.get(name)
    return Architecture(
        name=name,
        n_head=n_head,
        n_head_kv=n_head_kv,
        head_dim=head_dim,
        eps=keys.real("attention.layer_norm_rms_epsilon", least=0),
        scale=1 / math.sqrt(n_embd // n_head if wide else head_dim),
        layers=tuple(_kind(keys, window, head_dim, tensors or {}, n_ctx) for window in _windows(keys, n_layer)),
        activation=ACTIVATIONS[name],
        embedding_scale=math.sqrt(n_embd) if name in ("gemma2", "gemma3") else 1.0,
        score_cap=(keys.real("attn_logit_softcapping", 50.0, least=0) or None) if name == "gemma2" else None,
        logit_cap=keys.real("final_logit_softcapping", 30.0 if name == "gemma2" else 0.0, least=0) or None,
        n_expert_used=keys.whole("expert_used_count", 0),
    )


class _Keys:
    """The metadata of one architecture, by the rest of their names; without a default the key must exist."""

    def __init__(self, metadata: Mapping[str, Any], name: str) -> None:
        self.name = name
        self._metadata = metadata

    def get(self, key: str, default: Any = None) -> Any:
        return self._metadata.get(f"{self.name}.{key}", default)

    def real(self, key: str, default: float | None = None, *, least: float = -checks.LARGEST) -> float:
        return checks.real(f"{self.name}.{key}", self.get(key, default), least)

    def whole(self, key: str, default: int | None = None, *, least: int = 0) -> int:
        return checks.count(f"{self.name}.{key}", self.get(key, default), least)


def _windows(keys: _Keys, n_layer: int) -> list[int | None]:
    """The window of each layer. llama.cpp ignores one that a llama or phi3 file has."""
    if keys.name not in WINDOW_PERIODS:
        return [None] * n_layer
    window = keys.whole("attention.sliding_window", {"gemma2": 4096, "gemma3": 0}.get(keys.name))
    pattern: int | Sequence[int] = keys.get("attention.sliding_window_pattern", WINDOW_PERIODS[keys.name])
    wanted = f"{keys.name}.attention.sliding_window_pattern must be a period, or say it of each of {n_layer} layers"
    if isinstance(pattern, int):
        require(pattern >= 0, f"{wanted}, not {pattern}")
        pattern = [pattern == 0 or layer % pattern < pattern - 1 for layer in range(n_layer)]
    require(isinstance(cast(object, pattern), list | tuple) and len(pattern) >= n_layer, f"{wanted}, not {pattern!r}")
    return [window if slides and window else None for slides in pattern[:n_layer]]


def _kind(
    keys: _Keys, window: int | None, head_dim: int, tensors: Mapping[str, AnyFloats], n_ctx: int | None
) -> LayerKind:
    """A layer's rotation: Gemma 3 has another base, and no scaling, where the window slides."""
    base, scaling = keys.real("rope.freq_base", 10000.0), keys.get("rope.scaling.type", "linear")
    checks.choice(f"{keys.name}.rope.scaling.type", scaling, SCALINGS)
    factor = keys.real("rope.scaling.factor", keys.real("rope.scale_linear", 0.0), least=0)
    freq_scale = 1 / factor if factor and scaling != "none" else 1.0
    n_ctx_orig = keys.whole("rope.scaling.original_context_length", keys.whole("context_length"))
    if window is not None:
        base = keys.real("rope.freq_base_swa", 10000.0 if keys.name == "gemma3" else base)
        freq_scale = 1.0 if keys.name == "gemma3" else freq_scale
    order: Order = "normal" if keys.name == "llama" else "neox"
    rope = Rope(
        n_rot=keys.whole("rope.dimension_count", head_dim),
        base=base,
        order=order,
        freq_scale=freq_scale,
        freq_factors=_factors(keys.name, scaling, tensors, long=n_ctx is not None and n_ctx > n_ctx_orig),
        yarn=Yarn(n_ctx_orig) if scaling == "yarn" else None,
        attn_factor=keys.real("rope.scaling.attn_factor", 1.0),
    )
    return LayerKind(rope, window)


def _factors(name: str, scaling: str, tensors: Mapping[str, AnyFloats], *, long: bool) -> tuple[float, ...] | None:
    """Divisors of the turns: Llama 3's, or LongRoPE's for this window."""
    if name == "phi3" or (name == "llama" and scaling == "longrope"):
        factors = tensors.get(LONG if long else SHORT)
    elif name == "llama":
        factors = tensors.get(FREQS)
    else:
        factors = None
    return None if factors is None else tuple(factors.tolist())
