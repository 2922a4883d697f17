"""`swachat prompt` as a script and a person use it: docs/reference/prompt.md is the contract."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from chatapp.engine.template.fallbacks import CHATML
from tests.support.program import COMMAND, swachat
from tests.support.tiny_models import tiny

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "prompt.md"
SAID = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi\x1b[2J"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "And now?"},
]
TEXT = (
    "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi\x1b[2J<|im_end|>\n"
    "<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nAnd now?<|im_end|>\n<|im_start|>assistant\n"
)
CAPITALS = CHATML.replace("m['content']", "(m['content'] | upper if loop.last else m['content'])")
FIELDS = {"parts", "text", "reference", "equal", "warnings"}
PART = {"turn", "role", "text", "tokens", "pieces"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prompt")
    (folder / "chat.json").write_text(json.dumps(SAID))
    (folder / "chatml.jinja").write_text(CHATML)
    (folder / "capitals.jinja").write_text(CAPITALS)
    return folder


def test_the_documentation_lists_the_fields_and_the_flags() -> None:
    page = REFERENCE.read_text()
    assert set(re.findall(r"^\| `(?:parts\.)?(\w+)` \|", page, re.M)) == FIELDS | PART
    shown = set(re.findall(r"--[a-z-]+", swachat("prompt", "--help").text)) - {"--help"}
    assert shown == set(re.findall(r"^\| `(--[a-z]+)", page, re.M))


def test_a_pipe_gets_the_very_text(folder: Path) -> None:
    """Controls too: it is no terminal. Equal to the plain rendering, so nothing else is said."""
    ran = swachat("prompt", "--template", str(folder / "chatml.jinja"), "--reference", str(folder / "chat.json"))
    assert (ran.code, ran.out.decode(), ran.err) == (0, TEXT, b"")


def test_a_terminal_gets_headings_and_signs(folder: Path) -> None:
    words = ["prompt", "--template", str(folder / "chatml.jinja"), "--reference", str(folder / "chat.json")]
    screen, terminal = os.openpty()
    ran = subprocess.run([*COMMAND, *words], stdout=terminal, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(terminal)
    lines = os.read(screen, 1 << 16).decode().splitlines()
    os.close(screen)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert lines[:7] == [
        "Before the first turn · system",
        "⟨<|im_start|>⟩system↵",
        "Be brief.⟨<|im_end|>⟩↵",
        "",
        "Turn 1 · user",
        "⟨<|im_start|>⟩user↵",
        "Hi␛[2J⟨<|im_end|>⟩↵",
    ]
    assert lines[-1] == "The plain rendering of the whole conversation is the same."


def test_a_difference_is_shown_and_is_the_exit_code(folder: Path) -> None:
    """A template that changes a message once another follows: what is cached is what it was then."""
    words = ("prompt", "--template", str(folder / "capitals.jinja"), str(folder / "chat.json"))
    without = swachat(*words)
    assert (without.code, without.err) == (0, b"")
    ran = swachat(*words, "--reference")
    assert (ran.code, ran.out) == (1, without.out)
    told = ran.err.decode().splitlines()
    assert told[:2] == ["--- plain rendering", "+++ in the cache"]
    assert [line for line in told[3:] if line[0] in "+-"] == ["-Hi␛[2J<|im_end|>↵", "+HI␛[2J<|im_end|>↵"]
    found = _json(*words, "--reference", code=1)
    assert (found["equal"], found["text"]) == (False, without.text)


def test_json_has_the_parts_with_the_tokens_of_a_model(folder: Path, tmp_path: Path) -> None:
    """From standard input, in the form of an API; only the vocabulary is loaded."""
    given = json.dumps({"messages": SAID[1:2]}).encode()
    model = str(tiny("llama", tmp_path))
    found = _json("prompt", "--model", model, "--system", "Be brief.", "--reference", "-", given=given)
    assert set(found) == FIELDS
    assert {key for part in found["parts"] for key in part} == PART
    assert [(part["turn"], part["role"]) for part in found["parts"]] == [(0, "system"), (1, "user"), (1, "assistant")]
    assert all(part["tokens"] > 0 for part in found["parts"])
    assert (found["equal"], found["reference"]) == (True, found["text"])
    alone = _json("prompt", "--template", str(folder / "chatml.jinja"), str(folder / "chat.json"))
    assert {part["tokens"] for part in alone["parts"]} == {None}
    assert (alone["text"], alone["reference"], alone["equal"]) == (TEXT, None, None)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["chat.json"], 2, "There is nothing to render with."),
        (["--template", "chatml.jinja", "--system", "x", "chat.json"], 2, "There are two system prompts."),
        (["--model", "starter", "--bos", "x", "chat.json"], 2, "--bos and --eos are for a template alone."),
        (["--template", "chatml.jinja", "missing.json"], 2, "missing.json cannot be read: No such file or directory."),
        (["--template", "chatml.jinja", "/dev/zero"], 2, "/dev/zero is longer than 64 MiB."),
        (["--template", "missing.jinja", "chat.json"], 2, "missing.jinja cannot be read: No such file or directory."),
        (["--template", "chatml.jinja", "bad.json"], 2, 'bad.json: message 1 has no "content".'),
        (["--template", "bad.jinja", "chat.json"], 3, "The model's chat template cannot be parsed"),
    ],
)
def test_mistakes_are_one_line(words: list[str], code: int, said: str, folder: Path) -> None:
    (folder / "bad.json").write_text('[{"role": "user"}]')
    (folder / "bad.jinja").write_text("{% for %}")
    ran = swachat("prompt", *(str(folder / word) if word.endswith((".json", ".jinja")) else word for word in words))
    assert (ran.code, ran.out) == (code, b"")
    assert said in ran.complaint.replace(f"{folder}/", "")


def _json(*words: str, given: bytes = b"", code: int = 0) -> dict[str, Any]:
    ran = swachat(*words, "--json", given=given)
    assert (ran.code, ran.err) == (code, b"")
    assert ran.out.count(b"\n") == 1
    return json.loads(ran.out)
