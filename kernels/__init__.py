"""The mathematics of sliding windows and attention sinks: a reference in NumPy, slow and obvious.

Faster code is tested against it, so each module is a page that can be read beside its paper, and computes in float64.
It needs NumPy alone (to read GGUF files, the `gguf` package too: the extra `decoder`) and knows nothing of the chat.

    masks      which tokens see which         ring       a cache of fixed size that rolls
    attention  attention and its weights      prefill    a long prompt in chunks
    sinks      where unneeded attention goes  packing    several prompts in one sequence
    rope       positions, shifted and scaled  moe        which experts a token goes through
    reach      how far a stack of windows sees  mass     what one token attends to, summed up
    quant      a GGUF file as numbers         layers     norms, activations, feed-forward networks
    decoder    all of it together: a GGUF file and tokens to exact logits, with the history of its cache
    architecture  what the metadata of a GGUF file say about the model
    fast       fast versions in Numba, under the same names: not imported here

Errors: ValueError for shapes, types and numbers that make no sense, named by `checks`, which all modules share.
"""

from kernels.architecture import Architecture, LayerKind, read_architecture
from kernels.attention import Attended, attend, attend_online, attention_scores, for_each_head
from kernels.decoder import Decoder, Seen
from kernels.layers import FeedForward, Linear, geglu, rms_norm, swiglu, swiglu_oai
from kernels.masks import block_diagonal_causal, causal, chunked, sinks_and_window, sliding_window
from kernels.mass import AttentionMass, attention_mass, group_numbers, top_cells
from kernels.moe import Gate, expert_load, mix, top_k_gate
from kernels.packing import attend_packed, last_places, pack, packed_positions, unpack
from kernels.prefill import prefill_chunked
from kernels.quant import Gguf, dequantize
from kernels.reach import (
    exact_tokens,
    exponential,
    exponential_tokens,
    gaussian,
    gaussian_std_tokens,
    influence,
    influence_in_context,
    range_tokens,
    reachable_tokens,
)
from kernels.ring import RollingBuffer, slot_of
from kernels.rope import Rope, Yarn, llama3_factors, rotate, shift, unrotate, yarn_ramp
from kernels.sinks import attend_sigmoid, attend_streaming, attend_with_bias, attend_with_sink_token

__all__ = [
    "Architecture",
    "Attended",
    "AttentionMass",
    "Decoder",
    "FeedForward",
    "Gate",
    "Gguf",
    "LayerKind",
    "Linear",
    "RollingBuffer",
    "Rope",
    "Seen",
    "Yarn",
    "attend",
    "attend_online",
    "attend_packed",
    "attend_sigmoid",
    "attend_streaming",
    "attend_with_bias",
    "attend_with_sink_token",
    "attention_mass",
    "attention_scores",
    "block_diagonal_causal",
    "causal",
    "chunked",
    "dequantize",
    "exact_tokens",
    "expert_load",
    "exponential",
    "exponential_tokens",
    "for_each_head",
    "gaussian",
    "gaussian_std_tokens",
    "geglu",
    "group_numbers",
    "influence",
    "influence_in_context",
    "last_places",
    "llama3_factors",
    "mix",
    "pack",
    "packed_positions",
    "prefill_chunked",
    "range_tokens",
    "reachable_tokens",
    "read_architecture",
    "rms_norm",
    "rotate",
    "shift",
    "sinks_and_window",
    "sliding_window",
    "slot_of",
    "swiglu",
    "swiglu_oai",
    "top_cells",
    "top_k_gate",
    "unpack",
    "unrotate",
    "yarn_ramp",
]
