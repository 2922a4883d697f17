"""`swachat perplexity`: the same engine code that chats, scored. docs/reference/perplexity.md is the contract."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.engine.process import english
from tests.support.program import swachat
from tests.support.tiny_models import tiny

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
FIELDS = {
    "perplexity": float,
    "tokens": int,
    "every": int,
    "shifts": int,
    "evicted_tokens": int,
    "tok_s": float,
    "curve": list,
    "n_ctx": int,
    "n_sink": int,
    "policy": str,
    "model": str,
    "stop_reason": str,
}
TOKENS = 2048


@pytest.fixture(scope="module")
def prose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plain English, about 3,000 tokens of it."""
    path = tmp_path_factory.mktemp("text") / "prose.txt"
    path.write_text(english(2700, 3000))
    return path


def scored(*words: str) -> dict[str, Any]:
    ran = swachat("perplexity", *words, "--json")
    assert (ran.code, ran.err) == (0, b"")
    assert ran.out.count(b"\n") == 1
    return json.loads(ran.out)


def losses(*words: str, trace: Path) -> list[float]:
    """-ln p of each scored token, from the trace."""
    result = scored(*words, "--trace", str(trace))
    events = [json.loads(line) for line in trace.read_text().splitlines()]
    parts = [event for event in events if event["type"] == "Scored"]
    np.testing.assert_allclose(
        [math.exp(math.fsum(part["losses"]) / len(part["losses"])) for part in parts], result["curve"], rtol=1e-9
    )
    found = [loss for part in parts for loss in part["losses"]]
    assert len(found) == result["tokens"]
    trace.unlink()
    return found


def test_the_documentation_lists_the_fields() -> None:
    page = (REFERENCE / "perplexity.md").read_text().partition("## The JSON object")[2]
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.M)) == set(FIELDS)


@pytest.mark.timeout(600)
def test_sinks_keep_what_a_plain_window_loses(prose: Path) -> None:
    """StreamingLLM's figure on the starter model: with sinks a window of 512 is nearly as good as the whole text in
    the window; without them it falls apart as soon as the first tokens leave.
    """
    words = ("--text", str(prose), "--model", "starter", "--max-tokens", str(TOKENS))
    dense = scored(*words, "--ctx", str(TOKENS), "--policy", "dense")
    sinks = scored(*words, "--ctx", "512", "--sinks", "4", "--policy", "sinks")
    window = scored(*words, "--ctx", "512", "--policy", "window")
    for result in (dense, sinks, window):
        assert {name: type(value) for name, value in result.items()} == FIELDS
        assert (result["tokens"], result["stop_reason"]) == (TOKENS - 1, "end")
        assert len(result["curve"]) == math.ceil((TOKENS - 1) / 512)
        # The curve and the whole agree: it is the perplexity of each 512 tokens.
        sizes = [512] * (len(result["curve"]) - 1) + [(TOKENS - 1) % 512]
        mean = sum(n * math.log(part) for n, part in zip(sizes, result["curve"], strict=True)) / (TOKENS - 1)
        assert math.isclose(math.exp(mean), result["perplexity"], rel_tol=1e-6)
    assert (dense["shifts"], dense["evicted_tokens"], dense["n_ctx"]) == (0, 0, TOKENS)
    assert (sinks["n_sink"], window["n_sink"], sinks["n_ctx"]) == (4, 0, 512)
    assert sinks["shifts"] > 4
    assert TOKENS - 512 <= sinks["evicted_tokens"] < TOKENS - 256
    assert dense["perplexity"] < sinks["perplexity"] < 1.15 * dense["perplexity"]
    assert window["perplexity"] > 1.3 * sinks["perplexity"]
    # Before anything leaves, all three are the same model on the same text.
    assert math.isclose(sinks["curve"][0], dense["curve"][0], rel_tol=0.1)


def test_a_dense_window_that_is_full_ends_the_stream_and_says_so(prose: Path, tmp_path: Path) -> None:
    words = ("--text", str(prose), "--model", str(tiny("llama", tmp_path)), "--ctx", "256", "--policy", "dense")
    ran = swachat("perplexity", *words, "--json")
    result = json.loads(ran.out)
    assert (ran.code, result["stop_reason"], result["tokens"]) == (0, "window_full", 256)
    assert ran.err == b"swachat: stopped: the window of 256 tokens is full, and dense evicts nothing.\n"


def test_a_sample_has_the_same_tokens_under_every_policy(prose: Path, tmp_path: Path) -> None:
    """One token in 100, at the same places of the text: what the whole run says of them, and what recompute says of
    those for which nothing had left yet.
    """
    words = ("--text", str(prose), "--model", str(tiny("llama", tmp_path)), "--ctx", "256", "--max-tokens", "1100")
    trace = tmp_path / "trace"
    whole = losses(*words, "--policy", "sinks", trace=trace)
    sample = losses(*words, "--policy", "sinks", "--every", "100", trace=trace)
    again = losses(*words, "--policy", "recompute", "--every", "100", trace=trace)
    assert len(whole) == 1099
    assert sample == whole[99::100]
    assert len(again) == len(sample) == 10
    np.testing.assert_allclose(again[:2], sample[:2], atol=1e-3)
    assert min(abs(a - b) for a, b in zip(again[2:], sample[2:], strict=True)) > 1e-3


def test_no_sinks_and_the_policy_window_are_the_same_for_a_text(prose: Path, tmp_path: Path) -> None:
    """They differ in a conversation, whose system prompt is a sink however few sinks are asked for."""
    words = ("--text", str(prose), "--model", str(tiny("llama", tmp_path)), "--ctx", "256", "--max-tokens", "700")
    trace = tmp_path / "trace"
    window = losses(*words, "--policy", "window", trace=trace)
    assert losses(*words, "--policy", "sinks", "--sinks", "0", trace=trace) == window
    assert losses(*words, "--policy", "sinks", "--sinks", "1", trace=trace) != window


def test_a_recomputed_window_says_what_it_is(prose: Path, tmp_path: Path) -> None:
    words = ("--text", str(prose), "--model", str(tiny("llama", tmp_path)), "--ctx", "256", "--max-tokens", "700")
    result = scored(*words, "--policy", "recompute", "--every", "128")
    told = [result[name] for name in ("policy", "every", "tokens", "shifts", "evicted_tokens", "n_sink")]
    assert told == ["recompute", 128, 5, 0, 0, 0]
    ran = swachat("perplexity", *words, "--policy", "recompute", "--every", "128")
    assert "over 5 tokens (one in 128); window 256, policy recompute, 0 sinks" in ran.text.splitlines()[-1]
    assert ran.text.rstrip().endswith(" ms per token")


def test_no_conversation_recomputes(tmp_path: Path) -> None:
    settings = tmp_path / "config.yaml"
    settings.write_text("cache: {policy: recompute}")
    for words in (["ask", "Hello.", "--policy", "recompute"], ["config", "check", str(settings)]):
        ran = swachat(*words)
        assert ran.code == 2
        assert "only `swachat perplexity` can recompute each token" in (ran.out + ran.err).decode()


def test_for_people_it_is_a_line_for_each_step_and_a_summary(prose: Path, tmp_path: Path) -> None:
    words = ("--text", str(prose), "--model", str(tiny("llama", tmp_path)), "--ctx", "256", "--max-tokens", "1200")
    trace = tmp_path / "trace"
    ran = swachat("perplexity", *words, "--trace", str(trace))
    assert (ran.code, ran.err) == (0, b"")
    lines = ran.text.splitlines()
    assert [line.split()[0] for line in lines] == ["512", "1024", "1199", "llama:"]
    assert "over 1199 tokens; window 256, policy sinks, 4 sinks" in lines[-1]
    kinds = [json.loads(line)["type"] for line in trace.read_text().splitlines()]
    assert kinds.count("Scored") == 3
    assert kinds[-1] == "Measured"


@pytest.mark.parametrize(
    ("text", "flags", "said"),
    [
        (None, [], "cannot be read: No such file or directory."),
        (b"\xff\xfe", [], "is not valid UTF-8 (byte 0)."),
        (b"", [], "has fewer than two tokens."),
        (b"Some text.", ["--max-tokens", "1"], "--max-tokens 1 leaves nothing to predict."),
        (b"Some text.", ["--every", "0"], "--every 0 is not possible. Use 1 to 512."),
        (b"Some text.", ["--every", "500"], "has fewer than 501 tokens."),
        (b"Some text.", ["--policy", "hope"], "policy"),
    ],
)
def test_a_mistake_is_one_clear_line(text: bytes | None, flags: list[str], said: str, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    if text is not None:
        path.write_bytes(text)
    ran = swachat("perplexity", "--text", str(path), "--model", "starter", "--ctx", "256", "--json", *flags)
    assert (ran.code, ran.out) == (2, b"")
    assert said in ran.complaint
