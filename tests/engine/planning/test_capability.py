"""What the capability promises and denies, for one model of each kind, against what llama.cpp then does."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from msgspec import structs

from chatapp.engine.native import llama, load_log
from chatapp.engine.native.gguf import GgufMeta, Value
from chatapp.engine.native.llama import lib
from chatapp.engine.planning.dry_run import refuse_fatal
from chatapp.engine.planning.load_plan import Prepared, prepare
from chatapp.errors import ModelError, UserError
from chatapp.protocol.values import CacheSettings, EngineSettings
from tests.support.tiny_gguf import N_VOCAB
from tests.support.tiny_models import CHUNK, NAMES, SPECS, UNUSABLE, WINDOW, tiny

F32 = CacheSettings(n_ctx=512, micro_batch=64, type_k="f32", type_v="f32")
F16 = CacheSettings(n_ctx=512, micro_batch=64)
Q8 = CacheSettings(n_ctx=512, micro_batch=64, type_k="q8_0", type_v="q8_0")
ENGINE = EngineSettings(gpu_layers=0)
TOKENS = [int(token) for token in np.random.default_rng(7).integers(5, N_VOCAB, 200)]
# Which word a "no" must hold, by model: at f16 and by default, nothing else is denied.
NO_RENUMBER = {
    "llama-yarn": "YaRN",
    "llama-longrope": "1.25",
    "qwen2vl": "M-RoPE",
    "gpt2": "embeddings",
    "smollm3": "keys without RoPE",
    "hunyuan": "keys without RoPE",
    "window-only": "All layers have a sliding window",
    "gpt-oss": "YaRN",
    "granite-sinks": "learned sinks",
    "llama4": "keys without RoPE",
}
RECURRENT = ("mamba", "lfm2")
NO_QUANTIZE = {"llama-head-80": "have 80", "mamba": "no keys and values"}
QUANTIZED = ("llama-q4", "mixtral-q4")
"""Weights of Q4_0 answer the rounding of a shift with more rounding."""
# Their stored keys would be wrong after a shift, though llama.cpp says nothing.
SILENTLY_WRONG = ("llama-yarn", "llama-longrope", "gpt2", "smollm3", "hunyuan", "gpt-oss", "llama4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    llama.init()
    return tmp_path_factory.mktemp("tiny")


class Loaded:
    """A model with a cache, and the position where it goes on."""

    def __init__(self, prepared: Prepared, *, flash_attention: str = "auto") -> None:
        engine = structs.replace(ENGINE, flash_attention=flash_attention)
        self.model = llama.Model(prepared.path, gpu_layers=0)
        self.context = llama.Context(self.model, prepared.cache, engine)
        self.pos = 0

    def read(self, tokens: list[int], *, at_once: int = 64) -> None:
        for start in range(0, len(tokens), at_once):
            chunk = tokens[start : start + at_once]
            assert self.context.decode(chunk, self.pos) == 0
            self.pos += len(chunk)

    def logits(self) -> npt.NDArray[np.float32]:
        return self.context.logits(1)[0].copy()

    def close(self) -> None:
        self.context.close()
        self.model.close()


def divergence(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    """KL divergence of the distributions that two rows of logits stand for, in nats."""
    p, q = (np.exp(x - np.logaddexp.reduce(x.astype(np.float64))) for x in (a, b))
    return float((p * np.log(p / q)).sum())


# --------------------------------------------------------------------------- the models themselves


@pytest.mark.parametrize("name", NAMES)
def test_every_tiny_model_is_small_loads_and_decodes(folder: Path, name: str) -> None:
    path = tiny(name, folder)
    assert path.stat().st_size < 2**20
    loaded = Loaded(prepare(path, F16))
    for token in TOKENS[:64]:
        loaded.read([token])
        assert np.isfinite(loaded.logits()).all()
    assert loaded.logits().std() > 0.1  # it is not indifferent
    loaded.close()


def test_a_tiny_model_speaks_chat_markup_and_any_text(folder: Path) -> None:
    model = llama.Model(tiny("llama", folder), gpu_layers=0)
    text = "Hello, wörld €\n"
    assert b"".join(model.piece(token) for token in model.tokenize(text, special=False)).decode() == text
    assert len(model.tokenize("<|im_start|>", special=True)) == 1 < len(model.tokenize("<|im_start|>", special=False))
    assert model.bos == 1
    model.close()


# --------------------------------------------------------------------------- facts


@pytest.mark.parametrize("name", NAMES)
def test_the_facts_are_what_llama_cpp_loads(folder: Path, name: str) -> None:
    spec, prepared = SPECS[name], prepare(tiny(name, folder), F16)
    facts, loaded = prepared.model, Loaded(prepared)
    handle, info = loaded.model.handle, load_log.info(loaded.model.log)
    assert facts.name == f"tiny {name}"
    assert facts.architecture == spec.arch == info["arch"]
    assert facts.n_layer == spec.n_layer == lib.llama_model_n_layer(handle)
    assert facts.n_head == (max(load_log.per_layer(info["n_head"], spec.n_layer)) or None)
    assert facts.n_head_kv == (max(load_log.per_layer(info["n_head_kv"], spec.n_layer)) or None)
    assert facts.head_dim == (spec.head_dim or None)
    assert facts.n_embd == lib.llama_model_n_embd(handle)
    assert facts.n_vocab == loaded.model.n_vocab == N_VOCAB
    assert facts.n_ctx_train == loaded.model.n_ctx_train == spec.n_ctx
    assert facts.n_params == loaded.model.n_params
    assert facts.n_expert == (spec.n_expert or None)
    assert facts.learned_sinks == (name in ("gpt-oss", "granite-sinks"))
    # window
    assert facts.n_layer_swa == sum(spec.sliding())
    assert facts.n_swa == ((CHUNK if name == "llama4" else WINDOW) if any(spec.sliding()) else None)
    assert (facts.n_swa or 0) == loaded.model.n_swa
    measured = load_log.read(loaded.model.log + loaded.context.log)
    assert (measured.swa_cells is not None) == any(spec.sliding())
    loaded.close()


def test_rope_scaling_is_told_as_the_file_has_it(folder: Path) -> None:
    told = {
        name: (facts.rope_scaling, facts.rope_factor)
        for name in ("llama", "llama-3", "llama-yarn", "llama-linear", "llama-longrope", "gpt-oss")
        if (facts := prepare(tiny(name, folder), F16).model)
    }
    assert told == {
        "llama": (None, None),
        "llama-3": (None, None),
        "llama-yarn": ("yarn", 4.0),
        "llama-linear": ("linear", 4.0),
        "llama-longrope": ("longrope", None),
        "gpt-oss": ("yarn", 32.0),
    }


def test_the_facts_of_the_real_models(starter: Path, gemma: Path) -> None:
    smol, hybrid = (prepare(path, CacheSettings()).model for path in (starter, gemma))
    assert (smol.architecture, smol.n_layer, smol.n_head, smol.n_head_kv, smol.head_dim) == ("llama", 30, 9, 3, 64)
    assert (smol.n_swa, smol.n_layer_swa, smol.n_ctx_train, smol.quantization) == (None, 0, 8192, "Q4_1")
    assert (hybrid.architecture, hybrid.n_layer, hybrid.n_swa, hybrid.n_layer_swa) == ("gemma3", 18, 512, 15)


# --------------------------------------------------------------------------- promises


@pytest.mark.parametrize("name", NAMES)
def test_each_no_has_its_reason_and_all_else_is_yes(folder: Path, name: str) -> None:
    can = prepare(tiny(name, folder), F16).capability
    reasons = {
        "evict": "state" if name in RECURRENT else None,
        "renumber": "state" if name in RECURRENT else NO_RENUMBER.get(name),
        "roll_back": "state" if name in RECURRENT else None,
        "quantize_k": NO_QUANTIZE.get(name),
        "quantize_v": NO_QUANTIZE.get(name),
        "save_state": None,
        "probe": "has attention" if name == "mamba" else None,
    }
    for which, reason in reasons.items():
        answer = getattr(can, which)
        assert answer.ok == (reason is None), which
        if reason:
            assert reason in answer.why
            assert answer.why.endswith(".")
            assert answer.why.count(". ") == 0, "one sentence"
    expected = "rebuild" if name in RECURRENT else "slide" if name in NO_RENUMBER else "sinks"
    assert can.policy == expected
    assert can.renumber.ok or can.renumber.why in can.policy_why or can.evict.why in can.policy_why


@pytest.mark.parametrize("name", NAMES)
def test_what_llama_cpp_says_of_shifting_is_never_overruled(folder: Path, name: str) -> None:
    """Its no is ours, asked of caches that have equally many cells; for its yes there may be more to know."""
    prepared = prepare(tiny(name, folder), structs.replace(F16, swa_full=True))
    loaded = Loaded(prepared)
    assert loaded.context.can_shift or not prepared.capability.renumber.ok
    loaded.close()


@pytest.mark.parametrize("flash_attention", ["auto", "off"])
@pytest.mark.parametrize("cache", [F32, F16, Q8], ids=["f32", "f16", "q8_0"])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in (*NO_RENUMBER, *RECURRENT, *QUANTIZED)])
def test_where_renumbering_is_promised_it_changes_nothing(
    folder: Path, name: str, cache: CacheSettings, flash_attention: str
) -> None:
    """Moving all tokens by as much leaves their distances, and so what the model says next."""
    if flash_attention == "off":
        cache = structs.replace(cache, type_v="f16")
    if cache.type_k == "q8_0" and (SPECS[name].head_dim % 64):
        return  # denied, see below
    prepared = prepare(tiny(name, folder), cache)
    assert prepared.capability.renumber.ok
    bound = 2e-3 if cache.type_k == "q8_0" else 2e-5
    assert _divergence_by_shift(prepared, flash_attention) < bound


@pytest.mark.parametrize("name", SILENTLY_WRONG)
def test_where_renumbering_is_denied_llama_cpp_would_have_been_wrong(folder: Path, name: str) -> None:
    assert _divergence_by_shift(prepare(tiny(name, folder), F32), "auto") > 1e-4


def _divergence_by_shift(prepared: Prepared, flash_attention: str) -> float:
    seen: list[npt.NDArray[np.float32]] = []
    for delta in (0, 37):
        loaded = Loaded(prepared, flash_attention=flash_attention)
        loaded.read(TOKENS[:128])
        if delta:
            loaded.context.renumber(0, delta)
            loaded.pos += delta
        loaded.read(TOKENS[128:136], at_once=1)
        seen.append(loaded.logits())
        loaded.close()
    return divergence(*seen)


@pytest.mark.parametrize(("name", "cache"), [("window-only", F16), ("llama-head-96", Q8), ("qwen2vl", F16)], ids=str)
def test_where_renumbering_is_denied_llama_cpp_would_have_died(folder: Path, name: str, cache: CacheSettings) -> None:
    """In a process of its own: an assertion or a segmentation fault, which no exception handler would see."""
    assert not prepare(tiny(name, folder), cache).capability.renumber.ok
    script = (
        "import sys; from chatapp.engine.native import llama; from chatapp.protocol.values import *\n"
        "kind = sys.argv[2]; cache = CacheSettings(n_ctx=512, micro_batch=64, type_k=kind, type_v=kind)\n"
        "context = llama.Context(llama.Model(sys.argv[1], gpu_layers=0), cache, EngineSettings())\n"
        "assert context.decode([5] * 8, 0) == 0; print('decoded', flush=True)\n"
        "context.renumber(0, 4); context.decode([5], 12); print('moved', flush=True)\n"
    )
    died = _python(script, str(tiny(name, folder)), cache.type_k)
    assert died.returncode < 0
    assert died.stdout == "decoded\n"


def _python(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("name", NAMES)
def test_taking_out_a_middle_and_an_end_work_where_they_are_promised(folder: Path, name: str) -> None:
    """A recurrent state takes the removal of a middle for done, and does nothing: its answer is not asked for."""
    prepared = prepare(tiny(name, folder), structs.replace(F16, swa_full=True))
    loaded = Loaded(prepared)
    loaded.read(TOKENS[:64])
    if prepared.capability.evict.ok:
        assert loaded.context.remove(8, 24)
    loaded.read(TOKENS[64:72], at_once=1)
    assert loaded.context.remove(70, -1) == prepared.capability.roll_back.ok
    loaded.pos = 70 if prepared.capability.roll_back.ok else loaded.pos
    loaded.read(TOKENS[72:74], at_once=1)
    assert np.isfinite(loaded.logits()).all()
    loaded.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_state_goes_on_where_it_was(folder: Path, name: str) -> None:
    prepared = prepare(tiny(name, folder), F16)
    first, second = Loaded(prepared), Loaded(prepared)
    first.read(TOKENS[:96])
    assert second.context.restore(first.context.state())
    second.pos = first.pos
    for loaded in (first, second):
        loaded.read(TOKENS[96:100], at_once=1)
    assert divergence(first.logits(), second.logits()) < 1e-9
    first.close()
    second.close()


def test_rolling_back_a_pruned_window_is_promised_with_its_condition(folder: Path) -> None:
    pruned, full = (
        prepare(tiny("gemma3", folder), structs.replace(F16, swa_full=swa_full)).capability.roll_back
        for swa_full in (False, True)
    )
    assert (pruned.ok, full.ok, full.why) == (True, True, "")
    assert f"last {WINDOW} cells" in pruned.why


# --------------------------------------------------------------------------- settings


@pytest.mark.parametrize("kind", ["q8_0", "q4_0"])
def test_quantized_keys_are_renumbered_only_under_a_rotation(folder: Path, kind: str) -> None:
    cache = structs.replace(F16, type_k=kind)
    for name, ok in (("llama", True), ("gemma2", True), ("llama-head-96", False), ("phi-window", False)):
        can = prepare(tiny(name, folder), cache).capability
        assert (can.renumber.ok, can.policy) == (ok, "sinks" if ok else "slide"), name
        assert can.quantize_k.ok
    assert "heads of 96 elements" in prepare(tiny("llama-head-96", folder), cache).capability.renumber.why


def test_bf16_keys_are_not_renumbered(folder: Path) -> None:
    """ggml's RoPE knows f32 and f16 alone: the first shift would end the process."""
    can = prepare(tiny("llama", folder), structs.replace(F16, type_k="bf16")).capability
    assert (can.renumber.ok, can.policy) == (False, "slide")
    assert prepare(tiny("llama", folder), structs.replace(F16, type_v="bf16")).capability.renumber.ok


def test_without_the_rotation_no_quantized_keys_are_renumbered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_ATTN_ROT_DISABLE", "1")
    assert not prepare(tiny("llama", folder), Q8).capability.renumber.ok
    assert prepare(tiny("llama", folder), F16).capability.renumber.ok


@pytest.mark.parametrize("setting", ["type_k", "type_v"])
def test_heads_that_no_block_fits_are_refused_before_llama_cpp_sees_them(folder: Path, setting: str) -> None:
    """With flash attention off llama.cpp does not look, and asserts."""
    cache = structs.replace(F16, **{setting: "q8_0"})
    for flash_attention in ("auto", "off"):
        with pytest.raises(UserError) as refused:
            prepare(tiny("llama-head-80", folder), cache, engine=EngineSettings(flash_attention=flash_attention))
        assert setting in refused.value.what
        assert refused.value.todo == f"Use {setting} f16."


def test_quantized_values_need_flash_attention(folder: Path) -> None:
    off = EngineSettings(flash_attention="off")
    answer = prepare(tiny("llama", folder), F16, engine=off).capability.quantize_v
    assert (answer.ok, "flash attention" in answer.why) == (False, True)
    with pytest.raises(UserError, match="flash attention, which is off"):
        prepare(tiny("llama", folder), Q8, engine=off)
    assert prepare(tiny("llama", folder), Q8).capability.quantize_v.ok
    assert prepare(tiny("llama", folder), structs.replace(Q8, type_v="f16"), engine=off).capability.quantize_k.ok


def test_a_state_has_no_type(folder: Path) -> None:
    """A quantized cache is no mistake on a model that keeps none."""
    assert prepare(tiny("mamba", folder), Q8).capability.policy == "rebuild"


def test_an_unknown_cache_type_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="Unknown cache type 'q3_k'"):
        prepare(tiny("llama", folder), structs.replace(F16, type_v="q3_k"))


@pytest.mark.parametrize(
    ("name", "policy", "instead"),
    [
        ("llama-yarn", "sinks", "slide"),
        ("gpt-oss", "window", "slide"),
        ("qwen2vl", "sinks", "slide"),
        ("mamba", "sinks", "rebuild"),
        ("lfm2", "slide", "rebuild"),
    ],
)
def test_a_policy_that_cannot_work_is_refused_with_one_that_can(
    folder: Path, name: str, policy: str, instead: str
) -> None:
    with pytest.raises(UserError) as refused:
        prepare(tiny(name, folder), structs.replace(F16, policy=policy))
    assert repr(policy) in refused.value.what
    assert refused.value.todo == f"Use --policy {instead}."
    can = prepare(tiny(name, folder), structs.replace(F16, policy=instead)).capability
    assert (can.policy, can.policy_why) == (instead, "From settings.")


@pytest.mark.parametrize("policy", ["dense", "rebuild"])
@pytest.mark.parametrize("name", NAMES)
def test_stopping_and_making_anew_work_everywhere(folder: Path, name: str, policy: str) -> None:
    assert prepare(tiny(name, folder), structs.replace(F16, policy=policy)).capability.policy == policy


def test_an_unknown_policy_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="Unknown policy 'drop'"):
        prepare(tiny("llama", folder), structs.replace(F16, policy="drop"))


def test_a_window_past_the_last_learned_position_is_refused(folder: Path) -> None:
    """Its row would be read from beyond the table, and ggml asserts."""
    with pytest.raises(UserError, match="1024 positions") as refused:
        prepare(tiny("gpt2", folder), CacheSettings(n_ctx=1100))
    assert refused.value.todo == "Use --ctx 1024."


# --------------------------------------------------------------------------- files that cannot be run


@pytest.mark.parametrize(
    ("name", "why"),
    [("llama-dynamic", "'dynamic'"), ("no-window", "do not agree"), ("llada", "not a model to chat with")],
)
def test_what_cannot_be_run_is_refused_before_it_is_loaded(folder: Path, name: str, why: str) -> None:
    assert name in UNUSABLE
    with pytest.raises(ModelError, match=why):
        prepare(tiny(name, folder), F16)


def test_a_model_with_an_encoder_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def has_encoder(_handle: object) -> bool:
        return True

    monkeypatch.setattr(lib, "llama_model_has_encoder", has_encoder)
    with pytest.raises(ModelError, match="not a model to chat with: it needs an encoder"):
        prepare(tiny("llama", folder), F16)


@pytest.mark.parametrize("name", ["llama-dynamic", "no-window"])
def test_llama_cpp_would_have_died_of_these(folder: Path, name: str) -> None:
    script = (
        "import sys; from chatapp.engine.native import llama; from chatapp.protocol.values import *\n"
        "llama.Context(llama.Model(sys.argv[1], gpu_layers=0), CacheSettings(n_ctx=512), EngineSettings())\n"
    )
    assert _python(script, str(tiny(name, folder))).returncode < 0


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"block_count": 0}, "0 layers"),
        ({"block_count": 513}, "513 layers"),
        ({"block_count": 2, "nextn_predict_layers": 3}, "3 of its 2 layers"),
        ({"expert_count": 4}, "0 of 4 experts"),
        ({"expert_used_count": 2}, "2 of 0 experts"),
        ({"expert_count": 4, "expert_used_count": 5}, "5 of 4 experts"),
        ({"expert_count": 2000, "expert_used_count": 5}, "5 of 2000 experts"),
        ({"expert_count": 4, "expert_used_count": 2, "expert_group_count": 4}, "0 of 4 groups"),
        ({"expert_count": 9, "expert_used_count": 2, "expert_group_count": 2, "expert_group_used_count": 1}, "1 of 2"),
        ({"rope.scaling.type": "ntk"}, "'ntk'"),
    ],
)
def test_metadata_on_which_llama_cpp_asserts_is_refused(values: dict[str, Value], why: str) -> None:
    named: dict[str, Value] = {f"llama.{key}": value for key, value in values.items()}
    with pytest.raises(ModelError, match=why):
        refuse_fatal(GgufMeta(Path("x.gguf"), {"general.architecture": "llama"} | named, {}, None))


def test_ordinary_metadata_is_not_refused() -> None:
    values: dict[str, Value] = {
        "general.architecture": "deepseek2",
        "deepseek2.block_count": 61,
        "deepseek2.nextn_predict_layers": 1,
        "deepseek2.expert_count": 256,
        "deepseek2.expert_used_count": [8, 8],
        "deepseek2.expert_group_count": 8,
        "deepseek2.expert_group_used_count": 4,
        "deepseek2.rope.scaling.type": "yarn",
    }
    refuse_fatal(GgufMeta(Path("x.gguf"), values, {}, None))


def test_a_file_that_llama_cpp_refuses_says_why(folder: Path, tmp_path: Path) -> None:
    data = tiny("llama", folder).read_bytes()
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(data.replace(b"blk.2.attn_k.weight", b"blk.2.attn_x.weight"))
    with pytest.raises(ModelError, match=r"blk\.2\.attn_k\.weight"):
        prepare(broken, F16)


def test_divergence_is_zero_for_equal_rows_and_known_for_two() -> None:
    row = np.array([0.0, 1.0], dtype=np.float32)
    assert divergence(row, row + 3) < 1e-12
    even = np.zeros(2, dtype=np.float32)
    p = math.e / (1 + math.e)
    assert abs(divergence(row, even) - (p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p)))) < 1e-6
