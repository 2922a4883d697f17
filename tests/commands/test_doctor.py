"""`swachat doctor`: docs/reference/doctor.md is the contract."""

import json
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from chatapp import models
from chatapp.paths import config_file
from tests.support.other_build import other_build
from tests.support.program import swachat
from tests.support.tiny_models import tiny

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
FIELDS = {
    "versions": {"swachat", "python", "llama_cpp_python", "llama_cpp", "textual"},
    "build": {"gpu_offload", "features", "functions", "tensors", "scheduler", "log"},
    "model": {
        *("path", "name", "architecture", "size_bytes", "n_params", "n_layer", "n_head", "n_head_kv", "head_dim"),
        *("n_embd", "n_vocab", "n_ctx_train", "n_swa", "n_layer_swa", "rope_scaling", "rope_factor", "learned_sinks"),
        *("n_expert", "n_expert_used", "has_chat_template", "quantization"),
    },
    "capability": {
        *("evict", "renumber", "roll_back", "quantize_k", "quantize_v", "save_state", "probe", "policy", "policy_why"),
    },
    "sinks": {"n", "why", "trials", "scored_tokens", "outliers"},
    "plan": {
        *(
            "asked_ctx",
            "n_ctx",
            "weights_bytes",
            "kv_bytes",
            "kv_swa_bytes",
            "compute_bytes",
            "largest_ctx",
            "free_bytes",
        ),
    },
    "paths": {"config", "store", "models", "engine_log"},
}
LOOKS = ("functions", "tensors", "scheduler", "log")
DEVICE = {"name", "description", "kind", "total_bytes", "free_bytes"}
MIB = 2**20


def report(*words: str) -> dict[str, Any]:
    ran = swachat("doctor", *words, "--json")
    assert (ran.code, ran.err) == (0, b"")
    assert ran.out.count(b"\n") == 1
    return json.loads(ran.out)


def check_fields(found: dict[str, Any]) -> None:
    assert found.keys() == {*FIELDS, "devices", "model_problem"}
    for part, names in FIELDS.items():
        assert found[part].keys() == names
    assert {name: answer["ok"] for name, answer in found["build"].items() if name in LOOKS} == dict.fromkeys(
        LOOKS, True
    )
    assert found["devices"]
    assert all(device.keys() == DEVICE for device in found["devices"])
    assert all(
        answer.keys() == {"ok", "why"} and (answer["ok"] or answer["why"])
        for name, answer in found["capability"].items()
        if not name.startswith("policy")
    )


def test_the_documentation_lists_the_fields() -> None:
    page = (REFERENCE / "doctor.md").read_text()
    listed = " ".join(re.findall(r"^\| (`.*?) \|", page, re.M))
    for part in ("build", "model", "capability", "sinks", "plan"):
        assert set(re.findall(rf"`{part}\.(\w+)`", listed)) == FIELDS[part]
    for name in (*FIELDS["versions"], *DEVICE, *FIELDS["paths"], "model_problem"):
        assert f"`{name}`" in page


def test_the_starter_in_every_field() -> None:
    found = report("starter", "--ctx", "1000")
    check_fields(found)
    assert found["versions"]["python"] == platform.python_version()
    assert found["versions"]["llama_cpp_python"] == metadata.version("llama-cpp-python")
    assert found["model_problem"] is None
    model = found["model"]
    assert model["path"] == str(models.resolve("starter"))
    assert (model["architecture"], model["n_layer"], model["n_head"], model["n_head_kv"]) == ("llama", 30, 9, 3)
    assert (model["n_ctx_train"], model["n_swa"], model["n_layer_swa"]) == (8192, None, 0)
    assert (model["n_params"], model["quantization"]) == (134_515_008, "Q4_1")
    assert (model["rope_scaling"], model["n_expert"], model["learned_sinks"]) == (None, None, False)
    assert found["capability"]["policy"] == "sinks"
    plan = found["plan"]
    assert (plan["asked_ctx"], plan["n_ctx"]) == (1000, 1024)
    assert plan["kv_bytes"] == 30 * 2 * 3 * 64 * 2 * 1024  # layers x (K, V) x heads x width x f16 x cells
    assert plan["kv_swa_bytes"] is None
    assert 0 < plan["compute_bytes"] < 50 * MIB
    assert plan["largest_ctx"] % 256 == 0
    assert plan["largest_ctx"] * plan["kv_bytes"] // 1024 < plan["free_bytes"]


def test_a_model_with_a_sliding_window() -> None:
    """What is kept of it, what that takes with and without pruning, and what a roll-back needs."""
    found = report("gemma3-270m", "--ctx", "4096")
    check_fields(found)
    model = found["model"]
    assert (model["architecture"], model["n_swa"], model["n_layer_swa"], model["n_layer"]) == ("gemma3", 512, 15, 18)
    assert not model["has_chat_template"]
    assert found["capability"]["roll_back"]["why"].startswith("Only while the last 512 cells")
    cell = 2 * 256 * 2  # (K, V) x width x f16
    assert found["plan"]["kv_bytes"] == 3 * cell * 4096
    assert found["plan"]["kv_swa_bytes"] == 15 * cell * 768
    full = report("gemma3-270m", "--ctx", "4096", "--swa-full")
    assert full["plan"]["kv_swa_bytes"] == 15 * cell * 4096
    assert full["capability"]["roll_back"] == {"ok": True, "why": ""}


def test_the_largest_window_ends_where_the_training_did(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory would allow a longer one, as `largest_ctx` says; past its training the model only gets worse."""
    plan = report("starter", "--ctx", "max")["plan"]
    assert (plan["asked_ctx"], plan["n_ctx"]) == ("max", 8192)
    assert plan["largest_ctx"] > 8192
    monkeypatch.setenv("SWACHAT_CACHE_CTX", "max")
    assert report("starter")["plan"]["n_ctx"] == 8192
    assert "plan      window 8192 (max): weights " in swachat("doctor", "starter").text


def test_measured_sinks_come_with_their_numbers(tmp_path: Path) -> None:
    """Measured the first time, read from disk the next; a number that is set is what it is."""
    path = str(tiny("llama", tmp_path))
    found = report(path, "--sinks", "auto")
    check_fields(found)
    sinks = found["sinks"]
    assert [trial["n_sink"] for trial in sinks["trials"]] == [0, 1, 8]
    assert all(trial.keys() == {"n_sink", "loss_nats", "excess_nats", "error_nats"} for trial in sinks["trials"])
    assert (sinks["scored_tokens"], sinks["outliers"]) == (64, [])
    said = swachat("doctor", path, "--sinks", "auto")
    assert f"\nsinks      {sinks['n']}: Measured: " in said.text
    assert f"8: {sinks['trials'][2]['excess_nats']:.3f} ± {sinks['trials'][2]['error_nats']:.3f}" in said.text
    assert report(path, "--sinks", "auto")["sinks"] == sinks
    assert "\nsinks      7: From settings.\n" in swachat("doctor", path, "--sinks", "7").text


def test_for_people_it_says_the_same() -> None:
    ran = swachat("doctor", "gemma3-270m")
    assert (ran.code, ran.err) == (0, b"")
    for said in (
        f"llama-cpp-python {metadata.version('llama-cpp-python')}",
        "\ncompatible: functions yes, tensors yes, scheduler yes, log yes\n",
        "architecture gemma3, 18 layers",
        "sliding window: 512 tokens in 15 of 18 layers",
        "policy     sinks: ",
        "roll back  yes (Only while the last 512 cells",
        "plan      window 4096: weights ",
        "the longest window that fits is ",
    ):
        assert said in ran.text, said


def test_a_name_in_a_file_is_data(tmp_path: Path) -> None:
    """Files and their metadata come from strangers: nothing in them is obeyed by the terminal."""
    path = tmp_path / "e\x1b[2Jvil.gguf"
    path.write_bytes(tiny("llama", tmp_path).read_bytes().replace(b"tiny llama", b"ti\x1b[2Jlama"))
    ran = swachat("doctor", str(path))
    assert ran.code == 0
    assert b"\x1b" not in ran.out
    assert "model     e␛[2Jvil (" in ran.text
    assert report(str(path))["model"]["name"] == "ti\x1b[2Jlama"


def test_a_policy_that_cannot_work_is_refused_with_the_reason(tmp_path: Path) -> None:
    ran = swachat("doctor", str(tiny("mamba", tmp_path)), "--policy", "sinks")
    assert ran.code == 2
    assert "policy 'sinks' does not work on this model (mamba): " in ran.complaint


def test_without_a_model_the_rest_is_told() -> None:
    """A set-up that is not finished is what the doctor is called for: the problem is a field, not the end."""
    file = config_file()
    file.parent.mkdir(parents=True)
    file.write_text("model: no-such-model\n")
    found = report()
    assert found["model"] is found["capability"] is found["sinks"] is found["plan"] is None
    assert 'There is no model named "no-such-model" here.' in found["model_problem"]
    assert found["devices"]
    assert found["build"]["log"] is None
    ran = swachat("doctor")
    assert ran.code == 0
    assert "scheduler yes, log not tried\n" in ran.text
    assert 'no model: There is no model named "no-such-model" here.' in ran.text


def test_a_llama_cpp_that_logs_in_other_words_is_named_and_the_rest_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_build(tmp_path, monkeypatch, words={"n_layer_all  ": "n_layers_all "})
    path = str(tiny("llama", tmp_path))
    ran = swachat("doctor", path, "--json")
    assert ran.code == 3
    assert f"(llama-cpp-python {metadata.version('llama-cpp-python')}) does not log the hyperpara" in ran.complaint
    found = json.loads(ran.out)
    assert found["model"] is found["capability"] is found["plan"] is None
    assert {name: found["build"][name]["ok"] for name in LOOKS} == dict.fromkeys(LOOKS, True) | {"log": False}
    assert found["build"]["log"]["why"] in found["model_problem"]
    assert found["build"]["log"]["why"] in ran.complaint
    people = swachat("doctor", path)
    assert people.code == 3
    assert "\ncompatible: functions yes, tensors yes, scheduler yes, log no\n" in people.text
    assert f"\n            log: {found['build']['log']['why']}\n" in people.text


def test_each_way_of_looking_into_llama_cpp_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tiny("llama", tmp_path))
    other_build(tmp_path, monkeypatch, without=["_ZNK13llama_context9get_schedEv"], before="src")
    ran = swachat("doctor", path)
    assert ran.code == 0
    assert "\ncompatible: functions yes, tensors no, scheduler no, log yes\n" in ran.text
    assert "\n            tensors: llama.cpp " in ran.text
    assert "\nprobe      no (llama.cpp " in ran.text
    other_build(tmp_path, monkeypatch, without=["gguf_get_tensor_ne"])
    ran = swachat("doctor", path)
    assert ran.code == 3
    assert ran.complaint.count("has no gguf_get_tensor_ne") == 1
    assert "\ncompatible: functions no, tensors yes, scheduler yes, log not tried\n" in ran.text


@pytest.mark.parametrize(
    ("words", "code"), [(["no-such-model"], 2), (["/etc/passwd"], 3), (["starter", "--ctx", "9"], 2)]
)
def test_a_mistake_is_one_clear_line(words: list[str], code: int) -> None:
    ran = swachat("doctor", *words)
    assert (ran.code, ran.out) == (code, b"")
    assert ran.complaint
