"""What goes wrong before the first word: one clear line each, nothing lost, and the program goes on where it can."""

import contextlib
import re
import sqlite3
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from chatapp import models
from chatapp.store import Store
from tests.e2e.reading import BRIEF, ready, say, says, squeezed, stored, tells
from tests.e2e.terminal import PROGRAM, Home, Terminal


@pytest.mark.parametrize("words", [[], ["starter"], ["--resume"]])
def test_without_a_terminal(home: Home, words: list[str]) -> None:
    done = subprocess.run(
        [PROGRAM, *words], env=home.environment({}), input="Hello\n", capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == 'swachat: The chat needs a terminal. In a script, use: swachat ask "Hello".\n'
    assert not home.store.exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["starter"], "The chat cannot be drawn in a terminal of type dumb (TERM). In a script, use: swachat ask"),
        (["replay", "t.jsonl"], "A replay cannot be drawn in a terminal of type dumb (TERM). In a script, use: swacha"),
    ],
)
def test_a_terminal_that_can_do_nothing(home: Home, words: list[str], line: str) -> None:
    """It is said in a line of plain text, whatever the terminal's size."""
    with Terminal(home, *words, columns=100, rows=30, variables={"TERM": "dumb"}) as terminal:
        assert terminal.exit_code() == 2
        assert terminal.text.startswith(f"swachat: {line}")
        assert b"\x1b" not in terminal.raw


def test_a_broken_config(home: Home) -> None:
    """It ends before the first screen: file, line, key, and the nearest key."""
    home.config.parent.mkdir(parents=True)
    home.config.write_text("cache:\n  ctx: 512\n  snks: 4\n")
    with Terminal(home) as terminal:
        assert terminal.exit_code() == 2
        line = f"swachat: {home.config}, line 3: unknown key cache.snks. Did you mean cache.sinks?"
        assert squeezed(terminal.text) == squeezed(line)


def test_models_that_cannot_be_had(home: Home, tmp_path: Path) -> None:
    """Each is named in a line; what is typed meanwhile waits, and /model goes on with a better one."""
    no_gguf, cut = tmp_path / "no.gguf", tmp_path / "cut.gguf"
    no_gguf.write_bytes(b"hello")
    with models.resolve("starter").open("rb") as file:
        cut.write_bytes(file.read(3_000_000))
    with Terminal(home, "/nowhere/model.gguf", *BRIEF[1:]) as terminal:
        terminal.wait_for("✗ There is no file /nowhere/model.gguf.", " no engine ")
        terminal.type("Hello\r")
        terminal.wait_for("queued  Hello")
        for spec, line in (
            ("smolm", '✗ There is no model named "smolm" here.'),
            (str(no_gguf), f"✗ {no_gguf} is not a GGUF file."),
            (str(cut), f"✗ {cut} is truncated: it has 3,000,000 bytes"),
        ):
            terminal.type(f"/model {spec}\r")
            terminal.wait_for(tells(line), " no engine ")
        terminal.type("/model starter\r")
        terminal.wait_for(ready, says(r"Model  1.*tok/s · TTFT"))
        assert [message.text for message in stored(home)[::2]] == ["Hello"]


def test_a_window_larger_than_memory(home: Home) -> None:
    """It is refused before anything is loaded, with the largest one that fits."""
    with Terminal(home, "starter", "--ctx", "200000000") as terminal:
        terminal.wait_for(
            tells("✗ A window of 200000000 tokens needs"), tells("The largest window that fits is --ctx"), " no engine "
        )


def test_broken_and_unknown_themes(home: Home) -> None:
    """A person's broken theme is named and left out, one that does not exist too; the chat goes on in another."""
    home.themes.mkdir(parents=True)
    (home.themes / "mine.yaml").write_text("name: mine\ncolors: {primary: [\n")
    with Terminal(home, *BRIEF, "--theme", "mine") as terminal:
        terminal.wait_for(
            ready,
            tells(f"▲ {home.themes / 'mine.yaml'}, line 3: "),
            tells("▲ There is no theme mine. Available: dawn, ember,"),
        )
        say(terminal, "Hello", 1)


def test_a_damaged_database_is_set_aside_when_asked(home: Home) -> None:
    """Nothing is moved unasked; its bytes stay, under the name that `sessions repair` says, and a new one begins."""
    damaged = b"This was a database once. " * 400
    home.store.parent.mkdir(parents=True)
    home.store.write_bytes(damaged)
    with Terminal(home, *BRIEF) as terminal:
        told = tells(
            f"✗ The conversation database {home.store} is damaged: file is not a database. `swachat sessions repair`"
        )
        terminal.wait_for(told, " no store")
        assert home.store.read_bytes() == damaged
        done = subprocess.run(
            [PROGRAM, "sessions", "repair", "--yes"],
            env=home.environment({}), capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        kept = re.search(r"The damaged file is (.*)\.$", done.stdout)
        assert kept is not None
        assert Path(kept[1]).read_bytes() == damaged
        say(terminal, "Hello", 1)
        assert stored(home)[0].text == "Hello"


def test_a_locked_database(home: Home) -> None:
    """The first screen is there and can be typed in; nothing is sent that cannot be stored; then it goes on."""
    with Store.open(home.store) as store:
        session = store.new_session(model="starter", system=None, settings={})
        store.add_message(session.id, parent_id=None, turn=1, role="user", text="What was there before")
    with Terminal(home, *BRIEF) as terminal:
        with locked(home):
            terminal.wait_for("Write a message…")
            terminal.type("Hello\r")
            terminal.wait_for(
                tells(f"✗ The conversation database {home.store} is locked"),
                "│ Hello ",
                " no store",
            )
            assert terminal.engines() == [], "no model is loaded before the conversation is there"
        terminal.press("enter")
        terminal.wait_for(ready, says(r"You  1\W+Hello.*Model  1.*tok/s · TTFT"))
    assert [message.text for message in stored(home)[:1]] == ["Hello"]
    with Store.open(home.store) as store:
        assert [found.title for found in store.sessions()] == ["Hello", "What was there before"]


@contextlib.contextmanager
def locked(home: Home) -> Generator[None]:
    """Another program has the database to itself."""
    with contextlib.closing(sqlite3.connect(home.store)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        yield
