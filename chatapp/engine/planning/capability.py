"""What this model and this cache can do, and why not: rules over facts from the GGUF and from llama.cpp."""

from chatapp.cache.memory_plan import BLOCK, PAD, TYPE_SIZE, quantized
from chatapp.cache.policy import POLICIES
from chatapp.engine.native.gguf import GgufMeta
from chatapp.engine.planning.dry_run import ModelStructure
from chatapp.errors import UserError
from chatapp.protocol.values import Answer, CacheSettings, Capability, ModelFacts
from chatapp.text import one_line

YES = Answer(ok=True)
_LEARNED_POSITIONS = "position_embd.weight"
"""The tensor with one row for each position (GPT-2 and its kin)."""


def facts(meta: GgufMeta, structure: ModelStructure) -> ModelFacts:
    """The model in the terms of the protocol."""
    scaling = meta.text("rope.scaling.type")
    head_dims = structure.head_dims_k
    return ModelFacts(
        path=str(meta.path),
        name=meta.name,
        architecture=meta.architecture,
        size_bytes=meta.path.stat().st_size,
        n_params=structure.n_params,
        n_layer=structure.n_layer,
        n_head=structure.n_head or None,
        n_head_kv=structure.n_head_kv or None,
        head_dim=max(head_dims) if head_dims else None,
        n_embd=structure.n_embd,
        n_vocab=meta.n_vocab or meta.number("vocab_size") or 0,
        n_ctx_train=structure.n_ctx_train,
        n_swa=structure.n_swa or None,
        n_layer_swa=sum(structure.slides),
        rope_scaling=one_line(scaling) if scaling and scaling != "none" else None,
        rope_factor=meta.fraction("rope.scaling.factor"),
        learned_sinks=any(".attn_sinks." in tensor for tensor in meta.tensors),
        n_expert=meta.number("expert_count") or None,
        n_expert_used=meta.number("expert_used_count") or None,
        has_chat_template="tokenizer.chat_template" in meta.values,
        quantization=structure.quantization,
    )


def check_cache(meta: GgufMeta, structure: ModelStructure, cache: CacheSettings, *, flash_attention: str) -> None:
    """UserError for a cache type that is unknown or does not work on this model, and a window that is too long."""
    for setting, kind in (("type_k", cache.type_k), ("type_v", cache.type_v)):
        if kind not in TYPE_SIZE:
            raise UserError(f"Unknown cache type {kind!r}.", f"Use one of {', '.join(TYPE_SIZE)}.")
        if quantized(kind) and structure.cached:
            answer = _quantize_k(structure) if setting == "type_k" else _quantize_v(structure, flash_attention)
            if not answer.ok:
                raise UserError(f"{setting} {kind!r} does not work: {answer.why}", f"Use {setting} f16.")
    if _LEARNED_POSITIONS in meta.tensors and cache.n_ctx > structure.n_ctx_train:
        raise UserError(
            f"A window of {cache.n_ctx} tokens is longer than the model's {structure.n_ctx_train} positions.",
            f"Use --ctx {structure.n_ctx_train // PAD * PAD}.",
        )


def capability(
    meta: GgufMeta, structure: ModelStructure, cache: CacheSettings, *, flash_attention: str, rotates_keys: bool
) -> Capability:
    """What can be done, each "no" with its reason. UserError where the requested policy does not work on this model.

    `rotates_keys`: quantized keys of this cache have a rotation that a shift can undo.
    """
    evict = _evict(structure)
    renumber = _renumber(meta, structure, cache, rotates_keys) if evict.ok else evict
    policy, why = _policy(meta.architecture, cache.policy, evict, renumber)
    return Capability(
        evict=evict,
        renumber=renumber,
        roll_back=_roll_back(structure, cache, evict),
        quantize_k=_quantize_k(structure),
        quantize_v=_quantize_v(structure, flash_attention),
        save_state=YES,
        policy=policy,
        policy_why=why,
    )


def _evict(structure: ModelStructure) -> Answer:
    if structure.recurrent:
        return Answer(ok=False, why="A recurrent model keeps one state for all tokens; none of them can be evicted.")
    if structure.hybrid:
        return Answer(ok=False, why="Some layers keep a recurrent state, from which no token can be evicted.")
    return YES


def _renumber(meta: GgufMeta, structure: ModelStructure, cache: CacheSettings, rotates_keys: bool) -> Answer:
    if structure.several_positions:
        return Answer(ok=False, why="Tokens have several positions each (M-RoPE), and llama.cpp cannot shift those.")
    if not structure.can_shift:
        return Answer(ok=False, why="llama.cpp cannot shift the cache of this architecture.")
    if meta.text("rope.scaling.type") == "yarn":
        return Answer(ok=False, why="Each shift would apply YaRN's magnitude to the cached keys once more.")
    gain = meta.fraction("rope.scaling.attn_factor")
    if gain is not None and gain != 1:
        return Answer(ok=False, why=f"Each shift would multiply the cached keys by {gain:g}, the scale of their RoPE.")
    if not structure.keys_are_roped:
        return Answer(ok=False, why="Some layers cache keys without RoPE, and llama.cpp would rotate those too.")
    if structure.cached and all(layer.slides for layer in structure.cached):
        return Answer(ok=False, why="All layers have a sliding window, and llama.cpp cannot shift such a cache.")
    if any(".attn_sinks." in name for name in meta.tensors):
        return Answer(
            ok=False, why="The model has learned sinks; its tokens keep the positions they were processed at."
        )
    if _LEARNED_POSITIONS in meta.tensors:
        return Answer(ok=False, why="Positions are part of the tokens' embeddings, so cached keys cannot be shifted.")
    if cache.type_k == "bf16":  # ggml aborts in ggml_compute_forward_rope
        return Answer(ok=False, why="llama.cpp cannot shift bf16 keys; f16 takes as much memory.")
    if quantized(cache.type_k) and not rotates_keys:
        size = "/".join(str(size) for size in sorted(structure.head_dims_k))
        return Answer(ok=False, why=f"llama.cpp cannot shift {cache.type_k} keys with heads of {size} elements.")
    return YES


def _roll_back(structure: ModelStructure, cache: CacheSettings, evict: Answer) -> Answer:
    if not evict.ok:
        return Answer(ok=False, why=evict.why)
    if structure.n_swa and not cache.swa_full:
        why = f"Only while the last {structure.n_swa} cells before the cut are there; otherwise the cache is rebuilt."
        return Answer(ok=True, why=why)
    return YES


def _quantize_k(structure: ModelStructure) -> Answer:
    return _blocks(structure, structure.head_dims_k)


def _quantize_v(structure: ModelStructure, flash_attention: str) -> Answer:
    if structure.cached and flash_attention == "off":
        return Answer(ok=False, why="Quantized values need flash attention, which is off.")
    return _blocks(structure, structure.head_dims_v)


def _blocks(structure: ModelStructure, head_dims: frozenset[int]) -> Answer:
    if not structure.cached:
        return Answer(ok=False, why="The model caches no keys and values, only a state, which cannot be quantized.")
    odd = sorted(size for size in head_dims if size % BLOCK)
    if odd:
        return Answer(
            ok=False, why=f"Quantized types store blocks of {BLOCK} elements, and the model's heads have {odd[0]}."
        )
    return YES


def _policy(architecture: str, asked: str, evict: Answer, renumber: Answer) -> tuple[str, str]:
    if asked == "auto":
        return _auto(evict, renumber)
    if asked not in POLICIES:
        raise UserError(f"Unknown policy {asked!r}.", f"Use one of auto, {', '.join(POLICIES)}.")
    needs = {"window": renumber, "sinks": renumber, "slide": evict}.get(asked, YES)
    if not needs.ok:
        nearest = "slide" if evict.ok else "rebuild"
        what = f"The policy {asked!r} does not work on this model ({architecture}): {needs.why}"
        raise UserError(what, f"Use --policy {nearest}.")
    return asked, "From settings."


def _auto(evict: Answer, renumber: Answer) -> tuple[str, str]:
    if not evict.ok:
        return "rebuild", f"The cache is rebuilt when the window is full: {evict.why}"
    if not renumber.ok:
        return "slide", f"The oldest turns are evicted, and the others keep their positions: {renumber.why}"
    return "sinks", "The first tokens stay, the oldest turns are evicted whole, and the rest is shifted."
