"""`swachat compare`, as a program. docs/reference/compare.md is the contract."""

import json
import re
from pathlib import Path

import pytest

from tests.support.engine.process import english
from tests.support.program import swachat
from tests.support.tiny_models import tiny

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
SIDES = ("--a", "sinks:256:4", "--b", "window:256")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """A tiny random model, and a text that is longer than the windows."""
    folder = tmp_path_factory.mktemp("compare")
    (folder / "prose.txt").write_text(english(400))
    return "compare", "--text", str(folder / "prose.txt"), "--model", str(tiny("llama", folder)), "--max-tokens", "700"


def test_the_two_part_where_the_first_token_has_left(words: tuple[str, ...]) -> None:
    """Until then both caches hold the same: a difference before that would be a fault of the measurement."""
    ran = swachat(*words, *SIDES, "--json")
    assert (ran.code, ran.err) == (0, b"")
    found = json.loads(ran.out)
    page = (REFERENCE / "compare.md").read_text().partition("## The JSON object")[2]
    assert set(found) == set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|(.+?)\|", page, re.M))))
    assert (
        set(found["a"])
        == set(found["b"])
        == set(re.findall(r"`(\w+)`", page.partition("Each side has")[2].partition(", as in")[0]))
    )
    assert found["parted_at"] > 256
    a, b = found["a"], found["b"]
    assert (a["policy"], a["n_sink"], b["policy"], b["n_sink"]) == ("sinks", 4, "window", 0)
    assert a["tokens"] == b["tokens"] == 699
    assert a["evicted_tokens"] > 0
    assert len(a["curve"]) == len(b["curve"]) == 2
    assert a["kv_bytes"] == b["kv_bytes"] > 0


def test_a_person_gets_a_table_a_picture_and_a_sentence(words: tuple[str, ...]) -> None:
    ran = swachat(*words, *SIDES)
    out = ran.out.decode()
    assert re.search(
        r"A  sinks:256:4 +B  window:256 +B/A\npolicy +sinks +window\nperplexity +[\d.,]+ +[\d.,]+ +\d", out
    )
    assert re.search(r"^ *[\d.]+ ┤[AB* ]+$", out, re.M)
    assert re.search(r"^They diverge at token \d+\.$", out, re.M)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--a", "sinks:256", "--b", "sink:256"), "'sink:256' does not name a policy"),
        (("--a", "sinks:256", "--b", "window:256", "--every", "0"), "--every 0 is not possible"),
    ],
)
def test_a_mistake_is_told_before_a_model_is_loaded(words: tuple[str, ...], flags: tuple[str, ...], said: str) -> None:
    ran = swachat(*words, *flags)
    assert (ran.code, ran.out) == (2, b"")
    assert said in ran.err.decode()
