"""A trace file as it is opened: whole, cut off, broken, foreign, and by another version."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from chatapp.errors import UserError
from chatapp.protocol.events import Snapshot, Text
from chatapp.replay.index import Index
from chatapp.replay.lines import OWN, decode
from tests.support.fake_engine.script import Script
from tests.support.traces import record, send

HEAD = '{"type":"Trace","at_s":1.0,"format":1,"swachat":"0.1.0"}\n'


def text(words: str, at_s: float = 2.0) -> str:
    """A line of a reply."""
    return json.dumps({"type": "Text", "at_s": at_s, "turn": 1, "text": words, "tokens": 1}) + "\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a test writes its trace."""
    return tmp_path / "trace"


def test_every_entry_is_the_line_that_was_written(path: Path) -> None:
    """The index knows places in the file: one byte off, and every line after it is another one."""
    record(path, [send(1, "What is the sea? " * 30), send(2, "é ␛ 🜁")], Script(replies=("Wide, and 深.",)))
    lines = path.read_bytes().splitlines()
    with Index(path) as index:
        assert len(index) == len(lines)
        assert [index.entry(entry) for entry in range(len(index))] == [decode(line) for line in lines]
        assert [index.kind(entry) for entry in range(len(index))] == [json.loads(line)["type"] for line in lines]
        said = [line.text for line in map(decode, lines) if isinstance(line, Text)]
        assert index.texts == said
        assert index.text(0, len(index)) == "".join(said)
        half = index.text_entries[len(said) // 2]
        assert index.text(0, half) + index.text(half, len(index)) == "".join(said)


def test_a_trace_of_events_alone_is_read(path: Path) -> None:
    """As swachat 0.1 wrote it, without a first line of its own."""
    whole = path.with_suffix(".whole")
    record(whole, [send(1, "hello")])
    events = [line for line in whole.read_bytes().splitlines() if not isinstance(decode(line), OWN)]
    path.write_bytes(b"\n".join(events))  # the last line feed may be missing: the line is whole
    with Index(path) as index:
        assert len(index) == len(events)
        assert index.notices == []


def test_a_trace_that_was_cut_off_is_played_up_to_there(path: Path) -> None:
    """A killed program, or a trace that is still being written."""
    path.write_text(HEAD + text("whole") + text("half")[:-20])
    with Index(path) as index:
        assert len(index) == 2
        assert index.notices == ["The trace is truncated in line 3; it is played up to there."]


def test_empty_lines_count_as_lines_and_are_nothing(path: Path) -> None:
    """A person's editor may have added one; messages name lines as the editor counts them."""
    path.write_text(HEAD + "\n  \r\n" + text("a").replace("\n", "\r\n") + text("b"))
    with Index(path) as index:
        assert list(index.lines) == [1, 4, 5]
        assert index.text(0, 3) == "ab"


def test_times_never_run_backwards(path: Path) -> None:
    """The program and the engine write one trace, and a clock may be set back: a search by time needs an order."""
    path.write_text(text("a", 5.0) + text("b", 3.0) + text("c", 6.0))
    with Index(path) as index:
        assert list(index.at_s) == [5.0, 5.0, 6.0]


def test_types_of_a_later_version_are_left_out_with_a_word(path: Path) -> None:
    """A new event must not make a trace unreadable, and must not vanish in silence either."""
    path.write_text(HEAD + '{"type":"Sung","at_s":2.0,"text":["la"]}\n' + text("a"))
    with Index(path) as index:
        assert [index.kind(entry) for entry in range(len(index))] == ["Trace", "Text"]
        assert index.notices == ["Skipped lines of types that this version does not know: 1 (Sung)."]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (HEAD + "not json\n" + text("a"), "Line 2 of"),
        (HEAD + text("a") + '{"type":"Text","at_s":"now"}\n', "Line 3 of"),
        (HEAD + '{"type":"Text","turn":1,"text":"x","tokens":1}\n', "`at_s` is not a time"),
        (HEAD + '{"type":"Text","at_s":1e300,"turn":1,"text":"x","tokens":1}\n', "`at_s` is not a time"),
        (HEAD + '{"type":"Text","at_s":2.0,"turn":1,"text":7,"tokens":1}\n', "`text` is not a string"),
        (HEAD + '{"at_s":2.0}\n', "Line 2 of"),
        (HEAD + "[]\n", "Line 2 of"),
        (HEAD + '{"type":"TurnDone","at_s":2.0,"turn":1}\n', "missing required field `stop_reason`"),
        (HEAD + '{"type":"Text","at_s":2.0,"more":' + "[" * 100_000 + "\n", "Line 2 of"),
        ("# Notes\n\nNot a trace.\n", "Line 1 of"),
        ("no line feed, no trace", "Line 1 of"),
        ("", "contains no events"),
        ("\n\n", "contains no events"),
        (HEAD.replace('"format":1', '"format":9'), "this version reads format 1. Update swachat"),
        (HEAD.replace('"format":1', '"format":"one"'), "of format 'one'"),
    ],
)
def test_what_is_no_trace_is_told_with_its_line(path: Path, content: str, says: str) -> None:
    """A person who named the wrong file, or edited the right one, should find the place."""
    path.write_text(content)
    with pytest.raises(UserError) as raised:
        Index(path)
    assert says in str(raised.value)


def test_bytes_that_are_no_text_are_told_with_their_line(path: Path) -> None:
    """A model's file, say, named by mistake."""
    path.write_bytes(HEAD.encode() + b"\xff\xfe\x00" * 40 + b"\n")
    with pytest.raises(UserError, match="Line 2 of"):
        Index(path)


def test_a_line_with_a_field_missing_is_told_when_it_is_needed(path: Path) -> None:
    """Its head is all that is read when the file is opened; nothing may fail without a line number later."""
    path.write_text(HEAD + '{"type":"Snapshot","at_s":2.0,"turn":null,"runs":[]}\n')
    with Index(path) as index, pytest.raises(UserError, match=r"Line 2 of .*ghosts"):
        index.entry(1)


@pytest.mark.parametrize("what", ["nothing", "folder", "pipe", "shut"])
def test_what_cannot_be_read_is_a_sentence(tmp_path: Path, what: str) -> None:
    """A pipe above all: to wait for a writer would look as if the program hung."""
    path = tmp_path / "x"
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "shut":
        path = Path("/dev/mem/x")
    with pytest.raises(UserError, match=r"Name a trace file\."):
        Index(path)


def test_a_disagreement_of_ledger_and_cache_is_found_without_decoding(path: Path) -> None:
    """The key that goes to the next mismatch must know all of them."""
    record(path, [send(1, "hello")])
    lines: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
    snapshots = [entry for entry, line in enumerate(lines) if line["type"] == "Snapshot"]
    lines[snapshots[1]]["mismatch"] = "position 7 is missing"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    with Index(path) as index:
        assert list(index.mismatches) == [snapshots[1]]
        found = index.entry(snapshots[1])
        assert isinstance(found, Snapshot)
        assert found.mismatch == "position 7 is missing"
