"""What this model and this cache can do, and why not: facts from the GGUF, rules from llama.cpp."""

from chatapp.cache.plan import TYPE_SIZE, Layer, Shape
from chatapp.cache.policy import POLICIES
from chatapp.engine.gguf_meta import GgufMeta
from chatapp.engine.protocol import Answer, CacheSettings, Capability, ModelFacts
from chatapp.errors import UserError

# Where the GGUF names a window but no pattern: every n-th layer is global (llama.cpp, src/models/*.cpp).
_PATTERNS = {"gemma2": 2, "gemma3": 6, "gemma3n": 5, "gpt-oss": 2, "cohere2": 4, "exaone4": 4, "olmo2": 4}
# llama.cpp reads the window of these architectures and then does not use it.
_WINDOW_IGNORED = {"phi3", "llama", "qwen2", "qwen3"}
_MULTI_POSITION = {"qwen2vl", "qwen3vl", "qwen3vlmoe", "glm4v", "paddleocr"}
_RECURRENT = {"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"}
_HYBRID_RECURRENT = {"jamba", "falcon-h1", "plamo2", "granitehybrid", "lfm2", "nemotron_h", "qwen3next", "kimi-linear"}

YES = Answer(ok=True)


def sliding_layers(meta: GgufMeta) -> list[bool]:
    """For each layer, whether its attention slides (llama_hparams::set_swa_pattern)."""
    n_layer = meta.number("block_count") or 0
    window = meta.number("attention.sliding_window")
    if not window or meta.architecture in _WINDOW_IGNORED:
        return [False] * n_layer
    pattern = meta.get("attention.sliding_window_pattern")
    if isinstance(pattern, list):
        return [bool(pattern[i]) if i < len(pattern) else False for i in range(n_layer)]
    every = pattern if isinstance(pattern, int) and pattern else _PATTERNS.get(meta.architecture)
    if every is None:
        return [False] * n_layer
    return [i % every < every - 1 for i in range(n_layer)]


def facts(meta: GgufMeta) -> ModelFacts:
    """The model in the terms of the protocol."""
    slides = sliding_layers(meta)
    n_head, n_embd = meta.number("attention.head_count"), meta.number("embedding_length") or 0
    head_dim = meta.number("attention.key_length") or (n_embd // n_head if n_head else None)
    factor = meta.get("rope.scaling.factor")
    scaling = meta.get("rope.scaling.type")
    name = meta.values.get("general.name")
    return ModelFacts(
        path=str(meta.path),
        name=str(name) if name is not None else None,
        architecture=meta.architecture,
        size_bytes=meta.path.stat().st_size,
        n_params=None,
        n_layer=len(slides),
        n_head=n_head,
        n_head_kv=meta.number("attention.head_count_kv") or n_head,
        head_dim=head_dim,
        n_embd=n_embd,
        n_vocab=meta.n_vocab or meta.number("vocab_size") or 0,
        n_ctx_train=meta.number("context_length") or 0,
        n_swa=meta.number("attention.sliding_window") if any(slides) else None,
        n_layer_swa=sum(slides),
        rope_scaling=str(scaling) if scaling and scaling != "none" else None,
        rope_factor=float(factor) if isinstance(factor, int | float) else None,
        learned_sinks=any(".attn_sinks." in name for name in meta.tensors),
        n_expert=meta.number("expert_count") or None,
        n_expert_used=meta.number("expert_used_count") or None,
        has_chat_template="tokenizer.chat_template" in meta.values,
        quantization=None,
    )


def shape(meta: GgufMeta) -> Shape:
    """The model as far as memory goes."""
    n_embd = meta.number("embedding_length") or 0
    n_head = meta.number("attention.head_count") or 1
    k_dim = meta.number("attention.key_length") or n_embd // n_head
    v_dim = meta.number("attention.value_length") or n_embd // n_head
    heads = meta.get("attention.head_count_kv")
    slides = sliding_layers(meta)

    def kv_heads(layer: int) -> int:
        if isinstance(heads, list):
            return int(heads[layer]) if layer < len(heads) else 0
        return int(heads) if isinstance(heads, int | float) else n_head

    layers = tuple(Layer(kv_heads(i) * k_dim, kv_heads(i) * v_dim, slide) for i, slide in enumerate(slides))
    return Shape(
        weights_bytes=meta.tensor_bytes,
        layers=layers,
        n_swa=(meta.number("attention.sliding_window") or 0) if any(slides) else 0,
        n_vocab=meta.n_vocab or meta.number("vocab_size") or 0,
        n_embd=n_embd,
        n_ff=(meta.number("expert_feed_forward_length") or 0) * (meta.number("expert_used_count") or 1)
        or (meta.number("feed_forward_length") or 4 * n_embd),
    )


def capability(model: ModelFacts, cache: CacheSettings) -> Capability:
    """What can be done, each "no" with its reason. UserError where the policy asked for cannot work on this model."""
    evict = _evict(model)
    renumber = _renumber(model, cache) if evict.ok else evict
    policy, why = _policy(model, cache, evict, renumber)
    return Capability(
        evict=evict,
        renumber=renumber,
        roll_back=_roll_back(model, cache, evict),
        quantize_k=YES,
        quantize_v=YES if cache.type_v in ("f32", "f16", "bf16") else _quantize_v(),
        save_state=YES,
        policy=policy,
        policy_why=why,
    )


def _evict(model: ModelFacts) -> Answer:
    if model.architecture in _RECURRENT:
        return Answer(ok=False, why="A recurrent model folds its whole past into one state; nothing can be taken out.")
    if model.architecture in _HYBRID_RECURRENT:
        return Answer(ok=False, why="Some layers keep a recurrent state, from which nothing can be taken out.")
    return YES


def _renumber(model: ModelFacts, cache: CacheSettings) -> Answer:
    if model.architecture in _MULTI_POSITION:
        return Answer(ok=False, why="Tokens have several positions each (M-RoPE), and llama.cpp cannot shift those.")
    if model.architecture == "step35":
        return Answer(ok=False, why="Rotary dimensions differ by layer, and llama.cpp cannot shift those.")
    if model.rope_scaling == "yarn":
        return Answer(ok=False, why="Each shift would apply YaRN's magnitude to the stored keys once more.")
    head_dim = model.head_dim or 0
    if cache.type_k not in ("f32", "f16", "bf16") and head_dim % 64:
        return Answer(ok=False, why=f"Quantized keys of head size {head_dim} have no rotation that a shift could undo.")
    return YES


def _roll_back(model: ModelFacts, cache: CacheSettings, evict: Answer) -> Answer:
    if not evict.ok:
        return Answer(ok=False, why=evict.why)
    if model.n_swa and not cache.swa_full:
        return Answer(
            ok=True, why=f"Only while the last {model.n_swa} cells before the cut are there; else the cache is rebuilt."
        )
    return YES


def _quantize_v() -> Answer:
    return Answer(ok=True, why="Needs flash attention.")


def _policy(model: ModelFacts, cache: CacheSettings, evict: Answer, renumber: Answer) -> tuple[str, str]:
    if cache.policy == "auto":
        if renumber.ok:
            return "sinks", "The first tokens stay, whole oldest turns leave, positions are renumbered in place."
        return "dense", f"Nothing leaves the window: {renumber.why}"
    if cache.policy not in POLICIES:
        raise UserError(f"policy {cache.policy!r} is not known.", f"Use one of auto, {', '.join(POLICIES)}.")
    refused = next((answer for answer in (evict, renumber) if not answer.ok), None)
    if cache.policy != "dense" and refused is not None:
        raise UserError(
            f"policy {cache.policy!r} does not work on this model ({model.architecture}): {refused.why}",
            "Use --policy dense.",
        )
    return cache.policy, "As set."


def check_types(cache: CacheSettings) -> None:
    """UserError where a cache type is not known."""
    for kind in (cache.type_k, cache.type_v):
        if kind not in TYPE_SIZE:
            raise UserError(f"cache type {kind!r} is not known.", f"Use one of {', '.join(TYPE_SIZE)}.")
