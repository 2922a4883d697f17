"""`swachat sessions` as a person or a script uses it."""

import argparse
import contextlib
import io
import json
import resource
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chatapp.commands.sessions import add_arguments, run
from chatapp.errors import StoreError, UserError
from chatapp.paths import store_file
from chatapp.store import Store

ESCAPE = "\x1b]52;c;aGk=\x07\x9b2J"
"""OSC 52 (sets the clipboard) and a C1 control sequence (clears the screen)."""

Sessions = Callable[..., int]


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sessions:
    """The command, on a database of its own with three conversations."""
    monkeypatch.setenv("SWACHAT_DATA_DIR", str(tmp_path / "data"))
    with Store.open(store_file()) as store:
        work = store.new_session(model="m.gguf", system="Be brief.", settings={"n_ctx": 512}, name="work").id
        question = store.add_message(work, parent_id=None, turn=1, role="user", text="Why?\n\n# not a heading")
        store.add_message(work, parent_id=question, turn=1, role="assistant", text="First try.")
        reply = store.add_message(work, parent_id=question, turn=1, role="assistant", state="growing")
        store.append_text(reply, "", "Is it so?\n\n# It is.\r\n")
        store.append_text(reply, "Because é.")
        store.finish_message(reply, state="stopped", stats={"reply_tokens": 3}, tokens=bytes(4), model="digest")
        bad = store.new_session(model="m.gguf", system=None, settings={}).id
        store.add_message(bad, parent_id=None, turn=1, role="user", text=f"bad {ESCAPE} \u202e text")
        store.new_session(model="m.gguf", system=None, settings={})

    def command(*words: str) -> int:
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        return run(parser.parse_args(words))

    return command


class Terminal(io.StringIO):
    """A standard input or output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_list_shows_each_conversation_on_one_safe_line(sessions: Sessions, capsys: pytest.CaptureFixture[str]) -> None:
    assert sessions("list") == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ["ID", "WRITTEN", "MESSAGES", "NAME", "OR", "FIRST", "WORDS"]
    assert len(lines) == 3
    empty, bad, work = lines
    assert (work.split()[0], work.split()[3], work.split()[4]) == ("1", "3", "work")
    assert empty.endswith("(empty)")
    assert "bad ␛]52;c;aGk=␇" in bad
    assert not set(bad) & set("\x1b\x07\x9b\u202e")


def test_list_json_is_exact_and_still_safe_for_a_terminal(
    sessions: Sessions, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sessions("list", "--json") == 0
    out = capsys.readouterr().out
    assert not set(out) & set("\x1b\x07\x9b\u202e")
    _, bad, work = json.loads(out)
    assert bad["title"] == f"bad {ESCAPE} \u202e text"
    assert work["name"] == "work"
    assert work["settings"] == {"n_ctx": 512}
    assert bad["name"] is None


def test_list_of_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sessions: Sessions, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWACHAT_DATA_DIR", str(tmp_path / "empty"))
    assert sessions("list") == 0
    assert sessions("list", "--json") == 0
    assert capsys.readouterr().out == "No conversations yet.\n[]\n"


def test_a_damaged_database_is_told_on_standard_error(sessions: Sessions, capsys: pytest.CaptureFixture[str]) -> None:
    store_file().write_text("damaged")
    assert sessions("list", "--json") == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == []
    assert "is damaged" in told.err


def test_export_markdown_is_the_branch_that_is_shown(sessions: Sessions, capsys: pytest.CaptureFixture[str]) -> None:
    assert sessions("export", "work") == 0
    out = capsys.readouterr().out
    assert out.startswith("# work\n\nModel: m.gguf")
    assert out.endswith(
        "\n\n## System\n\nBe brief.\n\n## 1. You\n\nWhy?\n\n# not a heading"
        "\n\n## 1. Assistant (stopped)\n\nBecause é.\n"
    )
    assert "First try." not in out


def test_export_json_has_every_branch(sessions: Sessions, capsys: pytest.CaptureFixture[str]) -> None:
    assert sessions("export", "1", "--format", "json") == 0
    exported = json.loads(capsys.readouterr().out)
    assert (exported["format"], exported["version"]) == ("swachat-conversation", 1)
    assert exported["session"]["head_id"] == exported["messages"][2]["id"]
    assert [(m["parent_id"], m["text"], m["state"]) for m in exported["messages"]] == [
        (None, "Why?\n\n# not a heading", "done"),
        (1, "First try.", "done"),
        (1, "Because é.", "stopped"),
    ]
    assert exported["messages"][2]["stats"] == {"reply_tokens": 3}
    assert not {"tokens", "model", "reasoning"} & exported["messages"][2].keys()


def test_export_has_the_thoughts_where_they_are_asked_for(
    sessions: Sessions, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sessions("export", "work", "--reasoning") == 0
    assert capsys.readouterr().out.endswith(
        "\n\n## 1. Assistant (stopped)\n\n> **Thoughts**\n>\n> Is it so?\n>\n> # It is.\n\nBecause é.\n"
    )
    assert sessions("export", "work", "--reasoning", "--format", "json") == 0
    exported = json.loads(capsys.readouterr().out)
    assert [message["reasoning"] for message in exported["messages"]] == ["", "", "Is it so?\n\n# It is.\r\n"]


def test_export_is_exact_in_a_pipe_and_safe_on_a_terminal(
    sessions: Sessions, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sessions("export", "2") == 0
    assert f"bad {ESCAPE}" in capsys.readouterr().out
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    assert sessions("export", "2") == 0
    assert "bad ␛]52" in terminal.getvalue()
    assert not set(terminal.getvalue()) & set("\x1b\x07\x9b\u202e")


@pytest.mark.parametrize("form", ["md", "json"])
def test_export_to_a_file_replaces_nothing(sessions: Sessions, tmp_path: Path, form: str) -> None:
    file = tmp_path / "out.txt"
    assert sessions("export", "work", "--format", form, "--output", str(file)) == 0
    written = file.read_text(encoding="utf-8")
    assert "Because é." in written
    with pytest.raises(UserError, match="already exists"):
        sessions("export", "2", "--output", str(file))
    assert file.read_text(encoding="utf-8") == written


def test_export_to_where_nothing_can_be_written(sessions: Sessions, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file or directory"):
        sessions("export", "work", "--output", str(tmp_path / "missing" / "out.md"))


def test_export_that_is_cut_off_leaves_no_half_file(sessions: Sessions, tmp_path: Path) -> None:
    """A limit on the size of files stands for a disk that fills up."""
    with Store.open(store_file()) as store:
        store.add_message(3, parent_id=None, turn=1, role="user", text="x" * 300_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(UserError, match="Cannot write"):
            sessions("export", "3", "--output", str(tmp_path / "out.md"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "out.md").exists()


def test_a_name_that_is_not_there_is_answered_with_the_nearest(sessions: Sessions) -> None:
    for action in ("export", "rm"):
        with pytest.raises(StoreError, match='Did you mean "work"') as caught:
            sessions(action, "wrok")
        assert caught.value.exit_code == 2


def remaining() -> list[str]:
    with Store.open(store_file()) as store:
        return sorted(str(info.name) for info in store.sessions())


def test_rm_without_a_terminal_needs_a_yes(
    sessions: Sessions, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(UserError, match="--yes"):
        sessions("rm", "work")
    assert "work" in remaining()
    assert sessions("rm", "work", "--yes") == 0
    assert "work" not in remaining()
    assert capsys.readouterr().out == "Deleted conversation 1 (work; messages: 3).\n"


@pytest.mark.parametrize(
    ("answer", "deleted"),
    [("y\n", True), ("YES \n", True), ("n\n", False), ("\n", False), ("what\n", False), ("", False)],
)
def test_rm_asks_on_a_terminal(
    sessions: Sessions, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, answer: str, deleted: bool
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert sessions("rm", "work") == 0
    assert ("work" not in remaining()) == deleted
    out = capsys.readouterr().out
    assert "Delete conversation 1 (work; messages: 3) permanently? [y/N]" in out
    assert ("Nothing was deleted." in out) != deleted


@pytest.mark.parametrize("words", [[], ["list", "x"], ["export"], ["rm"], ["export", "1", "--format", "pdf"]])
def test_a_wrong_command_line_exits_with_2(
    sessions: Sessions, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        sessions(*words)
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_a_damaged_database_is_listed_and_is_repaired_only_when_a_person_agrees(
    sessions: Sessions, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sessions("repair") == 0
    assert "is not damaged" in capsys.readouterr().out
    content = bytearray(store_file().read_bytes())
    at = content.index(b"message_by_parent")
    content[at + 3] ^= 0x80
    store_file().write_bytes(content)
    assert sessions("list") == 0
    listed, told = capsys.readouterr()
    assert "work" in listed
    assert "is damaged" in told
    assert "sessions repair" in told
    with pytest.raises(UserError, match="no terminal to ask on"):
        sessions("repair")
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    assert sessions("repair") == 0
    assert store_file().read_bytes() == content
    assert sessions("repair", "--yes") == 0
    assert "Kept 4 messages in 3 conversations" in capsys.readouterr().out
    assert sessions("export", "work") == 0
    assert "Because é." in capsys.readouterr().out


def test_a_damaged_message_is_exported_and_marked(sessions: Sessions, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.closing(sqlite3.connect(store_file(), isolation_level=None)) as db:
        db.execute("UPDATE message SET text = CAST(x'42ff64' AS TEXT), created_at = -1e18 WHERE text = 'Because é.'")
        db.execute("UPDATE session SET settings = '[1]', updated_at = -1e18 WHERE name = 'work'")
    assert sessions("list") == 0
    assert "work (damaged: settings, updated_at)" in capsys.readouterr().out
    assert sessions("export", "work") == 0
    assert "## 1. Assistant (stopped; damaged: text, created_at)\n\nB�d" in capsys.readouterr().out


def test_the_last_conversation_is_the_last_whatever_the_clock_says(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0)
    with Store.open(store_file()) as store:
        later = store.new_session(model="m", system=None, settings={}).id
        store.add_message(later, parent_id=None, turn=1, role="user", text="after the clock went back")
        last = store.last_session()
        assert last is not None
        assert last.id == later
