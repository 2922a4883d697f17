"""A chat that is recorded, and played again by the real program where there is neither a model nor a store."""

import signal
from pathlib import Path

import pytest

from tests.e2e.terminal import Home, Terminal, without
from tests.e2e.wire import modes
from tests.support.fake_engine.script import Script
from tests.support.traces import record, sends

HOSTILE = "\x1b[31m red \x1b]0;owned\x07 \u202e [bold]reversed[/bold] \x9b2J"
"""A terminal would obey this; the way that a Terminal is left fails the test where it is not drawn."""
SIZES = [(80, 24), (120, 36)]


@pytest.mark.parametrize(("columns", "rows"), SIZES)
def test_a_trace_is_played_where_there_is_no_model(home: Home, tmp_path: Path, columns: int, rows: int) -> None:
    """Scrubbed, stepped through and left by keys; no engine is started, nothing is written into the home, and text that
    a terminal would obey is drawn.
    """
    trace = tmp_path / "trace.jsonl"
    record(trace, sends(13, 30), Script(n_ctx=256, replies=("The sea is wide.", HOSTILE)))
    elsewhere = {"PATH": "/nowhere", "SWACHAT_MODEL": "/no/such/model.gguf"}
    words = ("replay", str(trace), "--speed", "64")
    with Terminal(home, *words, columns=columns, rows=rows, variables=elsewhere) as terminal:
        terminal.wait_for("paused 64×", "Space plays", "replay of trace.jsonl")
        assert terminal.engines() == []
        terminal.type("e")
        terminal.wait_for(" evicted:", "▲", "/256")
        terminal.type("\x1b[F")  # End
        terminal.wait_for("Model  13", "The sea is wide.", "␛[31m")
        terminal.type("\x1b[H")  # Home
        terminal.wait_for(without("The sea is wide."), "Space plays")
        terminal.type(" ")
        terminal.wait_for("Model  13", "paused 64×")
        terminal.press("f1")
        terminal.wait_for("In a replay", "Skip five seconds forward.")
        terminal.press("escape")
        terminal.wait_for(without("In a replay"))
        terminal.type("q")
        assert terminal.exit_code() == 0
    assert not home.store.exists()


def test_a_broken_trace_is_a_sentence(home: Home, tmp_path: Path) -> None:
    """With the line, before any screen; status 2."""
    trace = tmp_path / "trace.jsonl"
    record(trace, sends(1))
    trace.write_text(trace.read_text().replace('"TurnStarted"', '"TurnStarted', 1))
    with Terminal(home, "replay", str(trace)) as terminal:
        assert terminal.exit_code() == 2
        assert "is not a line of a trace" in terminal.text


def test_a_chat_is_recorded_and_played(home: Home, tmp_path: Path) -> None:
    """What the person said and what the model said, from the real engine; the trace is for its owner alone."""
    trace = tmp_path / "trace.jsonl"
    words = ("starter", "--ctx", "256", "--seed", "1", "--max-tokens", "12", "--trace", str(trace))
    with Terminal(home, *words) as terminal:
        terminal.wait_for("ready")
        terminal.type("What is the sea?")
        terminal.press("enter")
        terminal.wait_for("tok/s · TTFT", "ready")
        reply = terminal.text
        terminal.press("ctrl+q")
        assert terminal.exit_code() == 0
    assert trace.stat().st_mode & 0o777 == 0o600
    with Terminal(home, "replay", str(trace), "--at", "1000000") as terminal:
        played = terminal.wait_for("paused", "What is the sea?", "tok/s · TTFT")
        line = next(line for line in reply.splitlines() if "tok/s · TTFT" in line)
        assert line.split("tok/s")[0].split()[-1] in played
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.exit_code() == 128 + signal.SIGTERM
        assert modes(terminal.raw) == {7, 25}
