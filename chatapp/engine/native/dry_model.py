"""A model without weights and vocabulary: llama.cpp reads the metadata, and allocates nothing."""

import sys

from chatapp.engine.native import load_log
from chatapp.engine.native.binding import lib
from chatapp.engine.native.gguf import GgufMeta
from chatapp.engine.native.llama import Model
from chatapp.engine.native.log import whole_log
from chatapp.errors import ModelError


class DryModel(Model):
    """For contexts that never decode. `log` has llama.cpp's debug lines too."""

    def __init__(self, meta: GgufMeta, gpu_layers: int) -> None:
        """ModelError where llama.cpp cannot load the file; `gpu_layers` is as for Model."""
        params = lib.llama_model_default_params()
        params.no_alloc = True
        params.load_mode = lib.LLAMA_LOAD_MODE_NONE  # there is nothing to map
        params.n_gpu_layers = gpu_layers
        n_vocab = meta.n_vocab or meta.number("vocab_size") or 0
        overrides = (lib.llama_model_kv_override * 3)()  # the empty last one ends the list
        overrides[0].tag, overrides[0].key = lib.LLAMA_KV_OVERRIDE_TYPE_STR, b"tokenizer.ggml.model"
        overrides[0].value.val_str = b"none"
        overrides[1].tag, overrides[1].key = lib.LLAMA_KV_OVERRIDE_TYPE_INT, f"{meta.architecture}.vocab_size".encode()
        overrides[1].value.val_i64 = n_vocab
        params.kv_overrides = overrides
        with whole_log() as log:
            handle = lib.llama_model_load_from_file(str(meta.path).encode(), params)
        self.log = "".join(log)
        if handle is None:
            sys.stderr.write(self.log)
            why = load_log.reason(self.log)
            raise ModelError(f"{meta.path}: llama.cpp cannot load this model: {why}.", "Choose another file.")
        self.path = meta.path
        self._own(handle)
        self.n_vocab = n_vocab
        self.n_swa = int(lib.llama_model_n_swa(handle))
        self.n_ctx_train = int(lib.llama_model_n_ctx_train(handle))
        self.n_params = int(lib.llama_model_n_params(handle))
        name = lib.llama_ftype_name(lib.llama_model_ftype(handle))
        self.quantization = name.decode(errors="replace") if name else None
        self.n_layer = int(lib.llama_model_n_layer(handle))
        self.n_embd = int(lib.llama_model_n_embd(handle))
        self.has_encoder = bool(lib.llama_model_has_encoder(handle))
        self.recurrent = bool(lib.llama_model_is_recurrent(handle))
        """All layers have a state instead of cells."""
        self.hybrid = bool(lib.llama_model_is_hybrid(handle))
        """Some layers have a state instead of cells."""
        rope = int(lib.llama_model_rope_type(handle))
        self.several_positions = rope in {lib.LLAMA_ROPE_TYPE_MROPE, lib.LLAMA_ROPE_TYPE_IMROPE}
        self.ropes = rope != lib.LLAMA_ROPE_TYPE_NONE
