"""`swachat lab`: the numbers of each experiment, what a person reads of them, and how mistakes are told.

docs/reference/lab.md is the contract. The pictures have their own tests in tests/lab/test_pictures.py.
"""

import doctest
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chatapp import cli
from chatapp.commands import lab
from chatapp.lab import influence, shapes
from kernels import fast, influence_in_context, range_tokens
from tests.support.program import first, started, swachat
from tests.support.tiny_models import WINDOW, tiny

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
MIB = 2**20
FIELDS = {
    "mask": {"policy", "window", "sinks", "lengths", "tokens", "words", "seen_pairs", "causal_pairs", "mask"},
    "reach": {
        *("model", "layers", "global_layers", "window", "alpha", "eps", "tokens"),
        *("reachable_tokens", "exact_tokens", "windows_only_tokens", "exponential_tokens", "gaussian_std_tokens"),
        *("curve", "depths"),
    },
    "sinks": {"tokens", "window", "sinks", "score", "variants"},
    "ring": {"tokens", "window", "sinks", "words", "steps", "in_order"},
    "memory": {"ctx", "micro_batch", "type_k", "type_v", "contexts_tok", "models"},
}
INNER = {
    "curve": {"distance_tokens", "exact", "exponential", "gaussian", "windows_only"},
    "depths": {"layers", "exact_tokens"},
    "variants": {"name", "weights", "on_text", "elsewhere", "takes_in"},
    "steps": {"position", "slot", "replaced", "cells"},
    "models": {
        *("name", "layers", "global_layers", "window", "global_cell_bytes", "sliding_cell_bytes"),
        *("full_bytes", "pruned_bytes", "bounded_bytes"),
    },
}
SMALL = {
    "mask": (),
    "reach": ("--layers", "2", "--window", "4"),
    "sinks": (),
    "ring": (),
    "memory": (),
}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """`swachat lab WORDS` in this process: its exit code, standard output and standard error."""

    def run(*words: str) -> tuple[int, str, str]:
        try:
            code = cli.main(["lab", *words])
        except SystemExit as end:  # argparse's way to refuse
            code = int(end.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def numbers(run: Run) -> Callable[..., dict[str, Any]]:
    """The JSON of `swachat lab WORDS --json`."""

    def numbers(*words: str) -> dict[str, Any]:
        code, out, err = run(*words, "--json")
        assert (code, err, out.count("\n")) == (0, "", 1)
        return json.loads(out)

    return numbers


Numbers = Callable[..., dict[str, Any]]


# --------------------------------------------------------------------------- the contract


@pytest.mark.parametrize("name", FIELDS)
def test_the_documentation_lists_the_fields(name: str, numbers: Numbers) -> None:
    page = (REFERENCE / "lab.md").read_text(encoding="utf-8")
    section = page.partition(f"## {name}\n")[2].partition("\n## ")[0]
    listed = set(re.findall(r"`([a-z_.\[\]]+)`", section.partition("| Field |")[2]))
    found = numbers(name, *SMALL[name])
    assert found.keys() == FIELDS[name]
    part_of = {part: f"{part}[]" if isinstance(found[part], list) else part for part in INNER if part in found}
    inner = {f"{of}.{field}" for part, of in part_of.items() for field in INNER[part]}
    contract = FIELDS[name] - INNER.keys() | inner
    assert contract <= listed
    assert not {field for field in listed - contract if "_" in field or "." in field}
    for part, fields in INNER.items():
        if part in found:
            entry: dict[str, Any] = found[part] if part == "curve" else found[part][0]
            assert entry.keys() == fields


def test_the_real_command_prints_one_object() -> None:
    ran = swachat("lab", "mask", "--tokens", "4", "--window", "2", "--sinks", "1", "--json")
    assert (ran.code, ran.err, ran.out.count(b"\n")) == (0, b"", 1)
    assert json.loads(ran.out)["mask"] == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 1, 1]]


def test_a_reader_that_leaves_ends_it_quietly() -> None:
    """As with every command: status 141, and no traceback."""
    program = started("lab", "mask", "--tokens", "1000", "--json")  # more than any pipe holds
    first(program, 10)
    assert program.stdout is not None
    assert program.stderr is not None
    program.stdout.close()
    with program, program.stderr:
        assert (program.stderr.read(), program.wait(timeout=60)) == (b"", 141)


def test_help_loads_nothing_heavy() -> None:
    code = "import sys; from chatapp import cli\ntry: cli.main(['lab', 'reach', '--help'])\nexcept SystemExit: pass\n"
    code += "assert 'chatapp.commands.lab' in sys.modules\n"
    code += "print({'numpy', 'matplotlib', 'rich', 'llama_cpp'} & set(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == "set()\n"


def test_the_examples_are_true() -> None:
    failed, tried = doctest.testmod(shapes)
    assert (failed, tried > 1) == (0, True)


# --------------------------------------------------------------------------- mask


@pytest.mark.parametrize("tokens", [1, 2, 7])
@pytest.mark.parametrize("window", [1, 3, 50])
@pytest.mark.parametrize("sinks", [0, 1, 9])
def test_the_mask_is_the_sinks_and_the_window(tokens: int, window: int, sinks: int, numbers: Numbers) -> None:
    """Written out pair by pair: the window holds the token itself, sinks are never ahead of the query."""
    found = numbers("mask", "--tokens", str(tokens), "--window", str(window), "--sinks", str(sinks))
    expected = [
        [int(key <= query and (key > query - window or key < sinks)) for key in range(tokens)]
        for query in range(tokens)
    ]
    assert found["mask"] == expected
    assert found["seen_pairs"] == sum(map(sum, expected))
    assert found["causal_pairs"] == tokens * (tokens + 1) // 2
    assert found["policy"] == ("sinks" if sinks else "window")


def test_the_masks_of_the_other_policies(numbers: Numbers) -> None:
    dense = numbers("mask", "--policy", "dense", "--tokens", "3")
    assert (dense["mask"], dense["window"]) == ([[1, 0, 0], [1, 1, 0], [1, 1, 1]], None)
    chunked = numbers("mask", "--policy", "chunked", "--tokens", "4", "--window", "2")
    assert chunked["mask"] == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]
    packed = numbers("mask", "--lengths", "1", "3")
    assert (packed["policy"], packed["lengths"], packed["words"]) == ("packed", [1, 3], None)
    assert packed["mask"] == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 1, 1, 1]]
    assert numbers("mask", "--lengths", "1", "3", "--window", "2")["mask"][3] == [0, 0, 1, 1]


def test_the_mask_of_the_sentence_as_a_person_sees_it() -> None:
    """Sinks are told from the window by their letter: a pipe has no colours."""
    ran = swachat("lab", "mask", "--sinks", "1")
    assert (ran.code, ran.err) == (0, b"")
    assert ran.text.splitlines() == [
        "1 sink and a window of 3, including the token itself; 6 tokens",
        "",
        "  The  S",
        "  cat  S █",
        "   is  S █ █",
        "   on  S █ █ █",
        "    a  S · █ █ █",
        "chair  S · · █ █ █",
        "",
        "S sink  █ seen  · not seen",
        "Computes 18 of the 21 pairs of causal attention (85.7%).",
    ]


def test_a_long_mask_is_drawn_in_blocks_that_fit(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    code, out, _ = run("mask", "--tokens", "1000", "--window", "300", "--sinks", "30")
    lines = out.splitlines()
    rows = lines[2:-3]
    assert code == 0
    assert max(map(len, rows)) <= 60
    assert len(rows) <= 50
    assert rows[-1].split()[1:3] == ["S", "·"]
    assert rows[-1].endswith("█ █ █")
    assert any("▒" in row or "▓" in row for row in rows)
    assert "each mark is 38 x 38 tokens" in lines[-2]


# --------------------------------------------------------------------------- reach


def exact(layers: int, window: int, alpha: float, eps: float) -> int:
    """The recurrence as it is written, and the smallest range with so small a tail."""
    p = [1.0]
    for _ in range(layers):
        grown = [alpha * value for value in p] + [0.0] * (window - 1)
        for distance, value in enumerate(p):
            for step in range(window):
                grown[distance + step] += (1 - alpha) / window * value
        p = grown
    return next(r for r in range(len(p) + 1) if math.fsum(p[r:]) <= eps * (1 + 1e-9))


@pytest.mark.parametrize(
    ("layers", "window", "alpha", "eps"), [(3, 5, 0.3, 0.01), (6, 20, 0.9, 0.01), (4, 7, 0.0, 0.1), (5, 9, 0.99, 1e-6)]
)
def test_the_ranges(layers: int, window: int, alpha: float, eps: float, numbers: Numbers) -> None:
    words = ("--layers", str(layers), "--window", str(window), "--alpha", str(alpha), "--eps", str(eps))
    found = numbers("reach", *words)
    assert found["exact_tokens"] == exact(layers, window, alpha, eps)
    assert found["reachable_tokens"] == layers * (window - 1) + 1
    assert math.isclose(found["gaussian_std_tokens"], math.sqrt(layers * (window**2 - 1) / 12))
    if alpha:
        assert math.isclose(found["exponential_tokens"], window * math.log(eps) / math.log(1 - alpha))
    else:
        assert found["exponential_tokens"] is None
    assert (found["curve"]["gaussian"] is None) is (alpha > 0)
    curve = dict(zip(found["curve"]["distance_tokens"], found["curve"]["exact"], strict=True))
    assert math.isclose(curve[0], 1)
    assert all(share <= eps * (1 + 1e-9) for distance, share in curve.items() if distance >= found["exact_tokens"])
    assert all(share > eps for distance, share in curve.items() if distance < found["exact_tokens"])
    assert found["depths"][-1] == {"layers": layers, "exact_tokens": found["exact_tokens"]}


def test_the_published_table(numbers: Numbers) -> None:
    """1% at alpha 0.9, in windows: it grows with the layers, and the bound does not."""
    for layers, windows in ((6, 1.71), (24, 3.61), (36, 4.66), (100, 9.46)):
        found = numbers("reach", "--layers", str(layers), "--window", "100", "--alpha", "0.9", "--eps", "0.01")
        assert found["exact_tokens"] == round(100 * windows)
        assert math.isclose(found["exponential_tokens"], 200)


@pytest.mark.parametrize(
    ("words", "exact_tokens", "exponential_tokens", "gaussian_std_tokens"),
    [
        (("--layers", "5", "--window", "1"), 1, 2.0, 0.0),  # a window of one token never moves
        (("--layers", "0", "--window", "9"), 1, 18.0, 0.0),
        (("--layers", "1", "--window", "4", "--alpha", "0.5", "--eps", "0.125"), 3, 12.0, math.sqrt(15 / 12)),
        (("--layers", "3", "--window", "4", "--alpha", "1"), 1, None, math.sqrt(3 * 15 / 12)),
        (("--layers", "3", "--window", "4", "--eps", "1"), 0, 0.0, math.sqrt(3 * 15 / 12)),
        (("--layers", "3", "--window", "4", "--eps", "0"), 10, None, math.sqrt(3 * 15 / 12)),
    ],
)
def test_the_edges_of_reach(
    words: tuple[str, ...],
    exact_tokens: int,
    exponential_tokens: float | None,
    gaussian_std_tokens: float,
    numbers: Numbers,
    run: Run,
) -> None:
    found = numbers("reach", *words)
    assert found["exact_tokens"] == exact_tokens
    assert math.isclose(found["gaussian_std_tokens"], gaussian_std_tokens)
    if exponential_tokens is None:
        assert found["exponential_tokens"] is None
    else:
        assert math.isclose(found["exponential_tokens"], exponential_tokens)
    code, out, err = run("reach", *words)
    assert (code, err) == (0, "")
    assert f"exact        {exact_tokens:>11,} tokens" in out
    assert "-0" not in out


def test_long_stacks_go_through_the_fast_kernels(numbers: Numbers, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same ranges; and without Numba a large stack is refused, a smaller one computed as ever."""
    stacks = (("--layers", "6", "--window", "100"), ("--layers", "6", "--window", "50", "--global-every", "3"))
    expected = [numbers("reach", *stack) for stack in stacks]
    monkeypatch.setattr(influence, "QUICK", 0)
    asked: list[str] = []
    for name in ("influence", "influence_in_context"):
        monkeypatch.setattr(fast, name, noted(asked, name, getattr(fast, name)))
    for stack, slow in zip(stacks, expected, strict=True):
        found = numbers("reach", *stack)
        for name in ("exact", "windows_only"):
            ours, theirs = found["curve"].pop(name), slow["curve"].pop(name)
            assert ours is None if theirs is None else np.allclose(ours, theirs, rtol=1e-9)
        assert found == slow
    assert {"influence", "influence_in_context"} == set(asked)
    monkeypatch.setattr(fast, "available", lambda: False)
    assert numbers("reach", *stacks[0])["exact_tokens"] == expected[0]["exact_tokens"]
    code, _, err = run("reach", "--layers", "100", "--window", "4096")
    assert code == 2
    assert err.endswith("or install the extra: swachat[fast].\n")


def noted(names: list[str], name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """`call`, which leaves its name in `names`."""

    def noting(*words: Any) -> Any:
        names.append(name)
        return call(*words)

    return noting


def test_a_stack_with_global_layers(numbers: Numbers) -> None:
    """Gemma 3's pattern: the range is of what is cached, and beside it stands what windows alone would see."""
    words = ("--layers", "6", "--window", "512", "--global-every", "6", "--tokens", "8192")
    found = numbers("reach", *words)
    assert (found["global_layers"], found["reachable_tokens"], found["depths"]) == (1, 8192, [])
    assert found["exact_tokens"] == range_tokens(influence_in_context(8192, [*[512] * 5, None], 0.9), 0.01)
    assert found["windows_only_tokens"] == 876
    assert math.isclose(found["curve"]["windows_only"][0], 1)
    alone = numbers("reach", "--layers", "6", "--window", "512", "--tokens", "600")
    assert (alone["reachable_tokens"], alone["windows_only_tokens"]) == (600, None)


def test_the_reach_of_a_model_is_read_from_its_file(numbers: Numbers, tmp_path: Path) -> None:
    """llama.cpp says which layers slide: the metadata alone does not."""
    found = numbers("reach", "--model", str(tiny("gemma3", tmp_path)), "--tokens", "500")
    assert (found["layers"], found["global_layers"], found["window"]) == (6, 1, WINDOW)
    assert found["exact_tokens"] == range_tokens(influence_in_context(500, [*[WINDOW] * 5, None], 0.9), 0.01)
    alternating = numbers("reach", "--model", str(tiny("gpt-oss", tmp_path)), "--tokens", "500")
    felt = influence_in_context(500, [WINDOW, None] * 2, 0.9)
    assert alternating["exact_tokens"] == range_tokens(felt, 0.01)
    assert not np.allclose(felt, influence_in_context(500, [None, WINDOW] * 2, 0.9))  # the order matters


def test_the_reach_of_a_model_without_windows(numbers: Numbers, run: Run) -> None:
    found = numbers("reach", "--shape", "llama-3.1-8b")
    assert (found["window"], found["tokens"], found["reachable_tokens"]) == (None, 4096, 4096)
    assert found["exponential_tokens"] is found["gaussian_std_tokens"] is found["windows_only_tokens"] is None
    _, out, _ = run("reach", "--shape", "llama-3.1-8b")
    assert "llama-3.1-8b: 32 layers, no window, 4,096 tokens cached" in out


def test_a_model_that_keeps_a_state_has_no_reach(run: Run, tmp_path: Path) -> None:
    code, out, err = run("reach", "--model", str(tiny("mamba", tmp_path)))
    assert (code, out) == (3, "")
    assert "has no KV cache to examine" in err


# --------------------------------------------------------------------------- sinks


def test_what_each_variant_takes_in(numbers: Numbers) -> None:
    """In closed form: a softmax over W equal scores and one that is 4 higher, or none; and a sigmoid of -4."""
    found = numbers("sinks", "--tokens", "10", "--window", "3")
    by_name = {variant["name"]: variant for variant in found["variants"]}
    e4 = math.exp(4)
    expected = {
        "full attention": 9 / (9 + e4),
        "window alone": 1.0,
        "kept tokens": 3 / (3 + e4),
        "sink token": 3 / (3 + e4),
        "learned logit": 3 / (3 + e4),
        "k/v bias": 3 / (3 + e4),
        "sigmoid": 3 / (1 + e4),
    }
    assert by_name.keys() == expected.keys()
    assert math.isclose(by_name["window alone"]["takes_in"][2], 2 / (2 + e4))  # the first token is still there
    on_text = {"full attention": 1.0, "window alone": 1.0, "kept tokens": 1.0}
    for name, variant in by_name.items():
        assert math.isclose(variant["takes_in"][-1], expected[name])
        assert math.isclose(variant["on_text"], on_text.get(name, expected[name]))
        assert math.isclose(variant["on_text"], sum(variant["weights"]))
        assert math.isclose(variant["elsewhere"], 0 if name in {*on_text, "sigmoid"} else e4 / (3 + e4))


def test_the_variants_as_a_person_sees_them(run: Run) -> None:
    code, out, err = run("sinks")
    assert (code, err) == (0, "")
    assert "window alone       1.000        1.000      0.000  ················░░░░░░░░" in out
    assert "kept tokens        0.128        1.000      0.000  █···············░░░░░░░░" in out
    assert "out of the row, which sums to less than 1 (gpt-oss)" in out


# --------------------------------------------------------------------------- ring


@pytest.mark.parametrize(("window", "sinks"), [(4, 0), (3, 1), (1, 0), (2, 9)])
def test_the_ring_holds_the_sinks_and_the_last_tokens(window: int, sinks: int, numbers: Numbers) -> None:
    found = numbers("ring", "--tokens", "9", "--window", str(window), "--sinks", str(sinks))
    before: list[int | None] = [None] * (window + sinks)
    for position, step in enumerate(found["steps"]):
        slot = position if position < sinks else sinks + (position - sinks) % window
        assert (step["position"], step["slot"], step["replaced"]) == (position, slot, before[slot])
        before[slot] = position
        assert step["cells"] == before
    assert found["in_order"] == [p for p in range(9) if p < sinks or p > 8 - window]


def test_the_ring_as_a_person_sees_it(run: Run) -> None:
    """The seeds' example: with W = 4, "a" is the fifth word and takes the place of "The"."""
    code, out, err = run("ring")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[5] == "   3  on     slot 3  The   cat   is    on"
    assert lines[6] == "   4  a      slot 0  a     cat   is    on     replaces The"
    assert lines[-1] == "In conversation order: is on a chair"


def test_a_ring_too_wide_for_the_terminal_still_tells_each_step(run: Run) -> None:
    _, out, _ = run("ring", "--tokens", "101", "--window", "100")
    assert " 100  100  slot 0   replaces 0" in out.splitlines()


# --------------------------------------------------------------------------- memory


def test_the_memory_of_gemma_3_27b_is_what_llama_cpp_was_seen_to_take(numbers: Numbers) -> None:
    """31,744 MiB full and 6,368 MiB pruned at 64K, with micro-batches of 2,048."""
    found = numbers("memory", "--shape", "gemma-3-27b", "--up-to", "65536", "--micro-batch", "2048")
    (model,) = found["models"]
    assert found["contexts_tok"][-1] == 65536
    assert (model["full_bytes"][-1], model["pruned_bytes"][-1]) == (31744 * MIB, 6368 * MIB)
    assert (model["layers"], model["global_layers"], model["window"]) == (62, 10, 1024)


def test_full_hybrid_and_window_models_side_by_side(numbers: Numbers) -> None:
    found = numbers("memory", "--ctx", "4096", "--up-to", "40000")
    assert found["contexts_tok"] == [1024, 2048, 4096, 8192, 16384, 32768, 40000]
    llama, mistral, gemma = found["models"]
    assert llama["full_bytes"] == llama["pruned_bytes"]
    assert llama["full_bytes"][-2] == 32 * 2 * 8 * 128 * 2 * 32768
    assert mistral["full_bytes"] == llama["full_bytes"]
    assert mistral["pruned_bytes"][3:] == [32 * 2 * 8 * 128 * 2 * (4096 + 256)] * 4  # it grows no more
    assert gemma["full_bytes"][-1] > gemma["pruned_bytes"][-1] > gemma["bounded_bytes"][-1]
    for model in found["models"]:
        assert model["bounded_bytes"][2:] == [model["pruned_bytes"][2]] * 5


def test_cache_types_change_the_memory(numbers: Numbers) -> None:
    plain, small = (
        numbers("memory", "--shape", "gpt-oss-20b", "--type-k", kind, "--type-v", kind)["models"][0]
        for kind in ("f16", "q8_0")
    )
    assert small["full_bytes"][0] * 64 == plain["full_bytes"][0] * 34  # 34 bytes for 32 numbers


def test_the_memory_of_a_model_is_read_from_its_file(numbers: Numbers, tmp_path: Path) -> None:
    path = str(tiny("gemma3", tmp_path))
    (model,) = numbers("memory", "--model", path)["models"]
    cell = 2 * 64 * 2  # key and value of 64 numbers in f16
    assert (model["global_cell_bytes"], model["sliding_cell_bytes"]) == (cell, 5 * cell)
    assert model["pruned_bytes"][1] == cell * 2048 + 5 * cell * 512  # PAD(32 + 256) cells


def test_memory_as_a_person_sees_it(run: Run) -> None:
    code, out, err = run("memory", "--ctx", "8192")
    assert (code, err) == (0, "")
    for line in (
        "llama-3.1-8b: 32 layers, all global",
        "gemma-3-27b: 62 layers, 52 with a window of 1,024, 10 global",
        "      tokens         every token      windows pruned          --ctx 8192",
        "      65,536            31,744.0             5,640.0             1,160.0",
    ):
        assert line in out.splitlines()


# --------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("mask --window 0", "--window"),
        ("mask --sinks -1", "--sinks"),
        ("mask --tokens 0", "--tokens"),
        ("mask --tokens x", "--tokens"),
        ("mask --tokens 5000", "5,000"),
        ("mask --policy dense --window 3", "--window"),
        ("mask --policy window --sinks 1", "--sinks"),
        ("mask --policy chunked --lengths 3", "--lengths"),
        ("mask --policy packed", "--lengths"),
        ("mask --lengths 3 --tokens 4", "--lengths"),
        ("mask --policy hope", "--policy"),
        ("mask --tokens 3 --text words", "--text"),
        ("reach", "--layers"),
        ("reach --layers 3", "--window"),
        ("reach --window 3", "--layers"),
        ("reach --layers 3 --window 4 --shape gpt-oss-20b", "--shape"),
        ("reach --layers -1 --window 4", "--layers"),
        ("reach --layers 3 --window 0", "--window"),
        ("reach --layers 3 --window 4 --alpha 1.5", "--alpha"),
        ("reach --layers 3 --window 4 --alpha nan", "--alpha"),
        ("reach --layers 3 --window 4 --eps -0.1", "--eps"),
        ("reach --layers 3 --window 4 --eps 2", "--eps"),
        ("reach --layers 3 --window 4 --eps much", "--eps"),
        ("reach --layers 9999 --window 99999", "--layers or --window"),
        ("reach --layers 900 --window 9 --global-every 3 --tokens 9999999", "--tokens"),
        ("reach --layers 100000 --window 1", "--layers"),
        ("reach --model no-such-model", "no-such-model"),
        ("sinks --tokens 9999", "--tokens"),
        ("sinks --score inf", "--score"),
        ("ring --tokens 99999 --window 99999", "--window"),
        ("ring --window 0", "--window"),
        ("memory --shape gpt-5", "--shape"),
        ("memory --type-k q9", "--type-k"),
        ("memory --up-to 0", "--up-to"),
        ("mask --out mask.pdf", "--out"),
        ("hope", "hope"),
        ("", "mask|reach|sinks|ring|memory"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_flag(words: str, named: str, run: Run) -> None:
    code, out, err = run(*words.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("swachat")
    assert named in err


def test_a_text_without_words_is_a_mistake(run: Run) -> None:
    assert run("ring", "--text", "  ") == (2, "", "swachat: --text contains no words. Give at least one.\n")


def test_words_are_data(run: Run) -> None:
    """Nothing in them is obeyed by the terminal, nor read as markup."""
    for experiment in ("mask", "ring"):
        _, out, _ = run(experiment, "--text", "\x1b[2J [red]b[/red]")
        assert "\x1b" not in out
        assert "␛[2J" in out
        assert "[red]b[/red]" in out


def test_the_published_models_are_those_of_the_flags() -> None:
    assert lab.MODELS == shapes.NAMES
    assert set(lab.COMPARED) <= set(lab.MODELS)
