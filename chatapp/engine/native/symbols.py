"""The functions of llama.cpp and ggml that are called without llama_cpp's bindings: each signature once.

llama_cpp does not bind ggml, and one function is not part of llama.cpp's C interface. The names of llama_cpp that are
used are listed too, so that an upgrade that drops one is noticed before it is called.
"""

import ctypes
from collections.abc import Callable, Mapping
from ctypes import c_bool, c_char_p, c_double, c_float, c_int, c_int64, c_size_t, c_void_p
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from chatapp.engine.native.binding import lib, library, unknown_build
from chatapp.errors import BuildError


class InitParams(ctypes.Structure):
    """struct ggml_init_params (ggml.h)."""

    _fields_ = (("mem_size", c_size_t), ("mem_buffer", c_void_p), ("no_alloc", c_bool))


class GgufInitParams(ctypes.Structure):
    """struct gguf_init_params (gguf.h)."""

    _fields_ = (("no_alloc", c_bool), ("ctx", c_void_p))


@dataclass(frozen=True, slots=True)
class Signature:
    """Where a function is exported, what it returns and what it takes."""

    library: str
    result: Any
    arguments: tuple[Any, ...]


def _base(result: Any, *arguments: Any) -> Signature:
    return Signature("ggml-base", result, arguments)


GET_SCHEDULER: Final = "_ZNK13llama_context9get_schedEv"
"""llama_context::get_sched() const"""
_P: Final = c_void_p
LOADING: Final[Mapping[str, Signature]] = {
    # Devices, and what a matrix takes there (ggml.h, ggml-backend.h)
    "ggml_init": _base(_P, InitParams),
    "ggml_free": _base(None, _P),
    "ggml_new_tensor_4d": _base(_P, _P, c_int, c_int64, c_int64, c_int64, c_int64),
    "ggml_mul_mat": _base(_P, _P, _P, _P),
    "ggml_mul_mat_id": _base(_P, _P, _P, _P, _P),
    "ggml_backend_buffer_free": _base(None, _P),
    "ggml_backend_buft_alloc_buffer": _base(_P, _P, c_size_t),
    "ggml_backend_buft_get_alloc_size": _base(c_size_t, _P, _P),
    "ggml_backend_dev_backend_reg": _base(_P, _P),
    "ggml_backend_dev_by_type": Signature("ggml", _P, (c_int,)),
    "ggml_backend_dev_count": Signature("ggml", c_size_t, ()),
    "ggml_backend_dev_description": _base(c_char_p, _P),
    "ggml_backend_dev_get": Signature("ggml", _P, (c_size_t,)),
    "ggml_backend_dev_host_buffer_type": _base(_P, _P),
    "ggml_backend_dev_memory": _base(None, _P, _P, _P),
    "ggml_backend_dev_name": _base(c_char_p, _P),
    "ggml_backend_dev_supports_op": _base(c_bool, _P, _P),
    "ggml_backend_dev_type": _base(c_int, _P),
    "ggml_backend_reg_get_proc_address": _base(_P, _P, c_char_p),
    # Files (gguf.h)
    "gguf_init_from_file": _base(_P, c_char_p, GgufInitParams),
    "gguf_free": _base(None, _P),
    "gguf_get_data_offset": _base(c_size_t, _P),
    "gguf_get_n_kv": _base(c_int64, _P),
    "gguf_get_n_tensors": _base(c_int64, _P),
    "gguf_get_key": _base(c_char_p, _P, c_int64),
    "gguf_get_kv_type": _base(c_int, _P, c_int64),
    "gguf_get_arr_type": _base(c_int, _P, c_int64),
    "gguf_get_arr_n": _base(c_size_t, _P, c_int64),
    "gguf_get_arr_data": _base(_P, _P, c_int64),
    "gguf_get_val_str": _base(c_char_p, _P, c_int64),
    "gguf_get_val_u8": _base(ctypes.c_uint8, _P, c_int64),
    "gguf_get_val_i8": _base(ctypes.c_int8, _P, c_int64),
    "gguf_get_val_u16": _base(ctypes.c_uint16, _P, c_int64),
    "gguf_get_val_i16": _base(ctypes.c_int16, _P, c_int64),
    "gguf_get_val_u32": _base(ctypes.c_uint32, _P, c_int64),
    "gguf_get_val_i32": _base(ctypes.c_int32, _P, c_int64),
    "gguf_get_val_f32": _base(c_float, _P, c_int64),
    "gguf_get_val_bool": _base(c_bool, _P, c_int64),
    "gguf_get_val_u64": _base(ctypes.c_uint64, _P, c_int64),
    "gguf_get_val_i64": _base(c_int64, _P, c_int64),
    "gguf_get_val_f64": _base(c_double, _P, c_int64),
    "gguf_get_tensor_name": _base(c_char_p, _P, c_int64),
    "gguf_get_tensor_ne": _base(ctypes.POINTER(c_int64), _P, c_int64),
    "gguf_get_tensor_offset": _base(c_size_t, _P, c_int64),
    "gguf_get_tensor_size": _base(c_size_t, _P, c_int64),
    "gguf_get_tensor_type": _base(c_int, _P, c_int64),
}
"""Functions that loading a model needs."""
PROBING: Final[Mapping[str, Signature]] = {
    # Tensors and graphs (ggml.h, ggml-backend.h, ggml-alloc.h)
    "ggml_tensor_overhead": _base(c_size_t),
    "ggml_graph_overhead_custom": _base(c_size_t, c_size_t, c_bool),
    "ggml_new_graph_custom": _base(_P, _P, c_size_t, c_bool),
    "ggml_build_forward_expand": _base(None, _P, _P),
    "ggml_view_3d": _base(_P, _P, _P, c_int64, c_int64, c_int64, c_size_t, c_size_t, c_size_t),
    "ggml_reshape_3d": _base(_P, _P, _P, c_int64, c_int64, c_int64),
    "ggml_prec_set_acc": _base(c_bool, _P, c_int),
    "ggml_scale_inplace": _base(_P, _P, _P, c_float),
    "ggml_tanh_inplace": _base(_P, _P, _P),
    "ggml_soft_max_ext": _base(_P, _P, _P, _P, c_float, c_float),
    "ggml_soft_max_ext_inplace": _base(_P, _P, _P, _P, c_float, c_float),
    "ggml_soft_max_add_sinks": _base(None, _P, _P),
    "ggml_flash_attn_ext": _base(_P, _P, _P, _P, _P, _P, c_float, c_float, c_float),
    "ggml_flash_attn_ext_add_sinks": _base(None, _P, _P),
    "ggml_nbytes": _base(c_size_t, _P),
    "ggml_op_desc": _base(c_char_p, _P),
    "ggml_op_name": _base(c_char_p, c_int),
    "ggml_type_name": _base(c_char_p, c_int),
    "ggml_get_data": _base(_P, _P),
    "ggml_set_name": _base(_P, _P, c_char_p),
    "ggml_set_input": _base(None, _P),
    "ggml_set_output": _base(None, _P),
    "ggml_backend_alloc_ctx_tensors": _base(_P, _P, _P),
    "ggml_backend_alloc_ctx_tensors_from_buft": _base(_P, _P, _P),
    "ggml_backend_buffer_get_type": _base(_P, _P),
    "ggml_backend_buffer_is_host": _base(c_bool, _P),
    "ggml_backend_buft_get_device": _base(_P, _P),
    "ggml_backend_cpu_buffer_type": _base(_P),
    "ggml_backend_dev_init": _base(_P, _P, _P),
    "ggml_backend_free": _base(None, _P),
    "ggml_backend_graph_compute": _base(c_int, _P, _P),
    "ggml_backend_sched_set_eval_callback": _base(None, _P, _P, _P),
    "ggml_backend_tensor_get": _base(None, _P, _P, c_size_t, c_size_t),
    "ggml_backend_tensor_set": _base(None, _P, _P, c_size_t, c_size_t),
    "ggml_backend_init_by_type": Signature("ggml", _P, (c_int, _P)),
    "ggml_backend_cpu_set_n_threads": Signature("ggml-cpu", None, (_P, c_int)),
    # The scheduler of a context, which C++ alone hands out
    GET_SCHEDULER: Signature("llama", _P, (_P,)),
}
"""Functions that observing a decode needs; a model loads without them."""
SIGNATURES: Final[Mapping[str, Signature]] = {**LOADING, **PROBING}

BOUND: Final = (
    *("LLAMA_KV_OVERRIDE_TYPE_INT", "LLAMA_KV_OVERRIDE_TYPE_STR", "LLAMA_LOAD_MODE_NONE"),
    *("LLAMA_ROPE_TYPE_IMROPE", "LLAMA_ROPE_TYPE_MROPE", "LLAMA_ROPE_TYPE_NONE"),
    *("LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY", "llama_backend_init", "llama_batch_free", "llama_batch_init"),
    *("llama_context_default_params", "llama_decode", "llama_free", "llama_ftype_name", "llama_get_logits"),
    *("llama_get_memory", "llama_init_from_model", "llama_log_callback", "llama_log_get", "llama_log_set"),
    *("llama_memory_can_shift", "llama_memory_clear", "llama_memory_seq_add", "llama_memory_seq_cp"),
    *("llama_memory_seq_pos_max", "llama_memory_seq_pos_min", "llama_memory_seq_rm", "llama_model_chat_template"),
    *("llama_model_default_params", "llama_model_free", "llama_model_ftype", "llama_model_get_vocab"),
    *("llama_model_has_encoder", "llama_model_is_hybrid", "llama_model_is_recurrent", "llama_model_kv_override"),
    *("llama_model_load_from_file", "llama_model_n_ctx_train", "llama_model_n_embd", "llama_model_n_layer"),
    *("llama_model_n_params", "llama_model_n_swa", "llama_model_rope_type", "llama_n_ctx", "llama_n_threads"),
    *("llama_print_system_info", "llama_progress_callback", "llama_sampler_chain_add"),
    *("llama_sampler_chain_default_params", "llama_sampler_chain_init", "llama_sampler_free"),
    *("llama_sampler_init_dist", "llama_sampler_init_greedy", "llama_sampler_init_min_p"),
    *("llama_sampler_init_penalties", "llama_sampler_init_temp", "llama_sampler_init_top_k"),
    *("llama_sampler_init_top_p", "llama_sampler_sample", "llama_seq_id", "llama_state_seq_flags"),
    *("ggml_abort_callback", "llama_set_abort_callback", "llama_set_n_threads"),
    *("llama_state_seq_get_data_ext", "llama_state_seq_get_size_ext", "llama_state_seq_set_data_ext"),
    *("llama_supports_gpu_offload", "llama_synchronize", "llama_token_to_piece", "llama_tokenize", "llama_version"),
    *("llama_vocab_bos", "llama_vocab_eos", "llama_vocab_get_add_bos", "llama_vocab_get_attr"),
    *("llama_vocab_get_text", "llama_vocab_is_eog", "llama_vocab_n_tokens"),
)
"""Names of llama_cpp that are used."""
BOUND_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "llama_model_params": ("kv_overrides", "load_mode", "n_gpu_layers", "no_alloc", "progress_callback", "vocab_only"),
    "llama_context_params": (
        *("cb_eval", "flash_attn_type", "kv_unified", "n_batch", "n_ctx", "n_outputs_max", "n_seq_max", "n_threads"),
        *("n_threads_batch", "n_ubatch", "no_perf", "swa_full", "type_k", "type_v"),
    ),
    "llama_batch": ("logits", "n_seq_id", "n_tokens", "pos", "seq_id", "token"),
    "llama_model_kv_override": ("key", "tag", "value"),
}
"""Fields of llama_cpp's structs that are used, by struct. Assigning one that does not exist would do nothing."""


@cache
def function(name: str) -> Callable[..., Any]:
    """The exported function with its signature. BuildError where this build does not have it."""
    signature = SIGNATURES[name]
    try:
        found = library(signature.library)[name]
    except AttributeError:
        raise unknown_build(f"does not export {name}") from None
    found.restype, found.argtypes = signature.result, signature.arguments
    return found


def is_exported(name: str) -> bool:
    """True where this build has the function."""
    try:
        return hasattr(library(SIGNATURES[name].library), name)
    except BuildError:  # the library is missing
        return False


def not_exported(table: Mapping[str, Signature]) -> list[str]:
    """The functions of `table` that this build does not have."""
    return [name for name in table if not is_exported(name)]


def not_bound() -> list[str]:
    """Names, and fields as "struct.field", that llama_cpp should have and does not."""
    there: Mapping[str, Any] = vars(lib)
    names = [name for name in (*BOUND, *BOUND_FIELDS) if name not in there]
    fields = [
        f"{name}.{field}"
        for name, used in BOUND_FIELDS.items()
        if name in there
        for field in used
        if field not in {known[0] for known in there[name]._fields_}
    ]
    return names + fields
