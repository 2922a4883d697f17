"""Traces that are damaged or forged: a page, or one line; nothing in them is control."""

import json
import re
from pathlib import Path
from typing import Any, cast

import pytest

from chatapp.cli import main
from tests.robustness.tries import Try, tries
from tests.support.traces import record, sends

VALUES: tuple[Any, ...] = (
    None,
    -1,
    0,
    2**63,
    1e308,
    True,
    "",
    "x" * 9000,
    "a\nevict  yes",
    "\x1b[2J",
    [],
    {},
    [[]],
    "\u202e",
)
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to every value in a line."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(cast("dict[Any, Any]", value).items())
    elif isinstance(value, list):
        inner = list(enumerate(cast("list[Any]", value)))
    return [path] * bool(path) + [way for key, each in inner for way in places(each, (*path, key))]


def damaged(attempt: Try, lines: list[str]) -> bytes:
    """A trace with one line changed, or a byte."""
    lines = list(lines)
    at = attempt.randrange(len(lines))
    match attempt.choice(["value", "value", "value", "drop", "swap", "byte", "cut"]):
        case "value":
            line = json.loads(lines[at])
            *way, last = attempt.choice(places(line))
            inside = line
            for key in way:
                inside = inside[key]
            inside[last] = attempt.choice(VALUES)
            lines[at] = json.dumps(line)
        case "drop":
            del lines[at]
        case "swap":
            other = attempt.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        case how:
            data = bytearray("\n".join(lines).encode())
            if how == "cut":
                return bytes(data[: attempt.randrange(len(data))])
            data[attempt.randrange(len(data))] = attempt.randrange(256)
            return bytes(data)
    return "\n".join(lines).encode()


def test_a_damaged_trace_is_a_page_or_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An error quoted 8 kB of the trace."""
    trace, page = tmp_path / "trace.jsonl", tmp_path / "page.html"
    record(trace, sends(2, words=4))
    lines = trace.read_text().splitlines()
    for attempt in tries("traces", 150):
        trace.write_bytes(damaged(attempt, lines))
        code = main(["inspect", str(trace), "--html", str(page), "--force"])
        out, err = capsys.readouterr()
        assert out == "", str(attempt)
        if code == 0:
            assert err == "", str(attempt)
            assert not CONTROLS.search(page.read_text("utf-8")), str(attempt)
        else:
            assert code == 2, str(attempt)
            assert err.count("\n") == 1, (str(attempt), err)
            assert len(err) < 2100, str(attempt)
            assert not CONTROLS.search(err[:-1]), str(attempt)
