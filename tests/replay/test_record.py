"""What a trace file holds, who may read it, and what happens where it cannot be written."""

import io
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from chatapp import __version__
from chatapp.commands.shared import opened_trace
from chatapp.errors import UserError
from chatapp.protocol.commands import Forecast, Recall, Regenerate, Send, Undo
from chatapp.protocol.events import Started
from chatapp.protocol.values import Sampling
from chatapp.replay.lines import FORMAT, KEPT, OWN, AnyKept, AnyLine, Ended, Posted, Trace, decode
from chatapp.replay.record import RecordedEngine, Recorder
from tests.support.fake_engine.engine import EPOCH_S, FakeEngine
from tests.support.fake_engine.script import Script
from tests.support.traces import LOAD, OPEN, record, send


def lines(path: Path) -> list[AnyLine]:
    """All lines of a trace."""
    return [decode(line) for line in path.read_bytes().splitlines()]


def test_a_trace_has_what_was_said_and_every_event_in_order(tmp_path: Path) -> None:
    """Events alone do not hold the person's words: a replay would show a conversation with itself."""
    path = tmp_path / "trace"
    commands = [send(1, "What is the sea?"), Undo(turn=1), send(1, "And the land?")]
    events = record(path, commands, Script(replies=("Water.",)))
    found = lines(path)
    assert isinstance(found[0], Trace)
    assert (found[0].format, found[0].swachat) == (FORMAT, __version__)
    assert [line for line in found if not isinstance(line, OWN)][: len(events)] == events
    asked = [line.command for line in found if isinstance(line, Posted)]
    assert asked[2:] == commands


def test_drafts_are_not_recorded() -> None:
    """What was typed and never sent is nobody's business."""
    file = io.BytesIO()
    recorder = Recorder(file, lambda: EPOCH_S)
    recorder.post(Forecast(id=1, text="never sent"))
    recorder.post(Recall(turns=[1]))
    recorder.post(Regenerate(turn=1, sampling=Sampling()))
    said = file.getvalue()
    assert b"never sent" not in said
    assert [type(line.command) for line in map(decode, said.splitlines()) if isinstance(line, Posted)] == [
        Recall,
        Regenerate,
    ]


def test_what_is_kept_and_what_can_be_read_again_are_the_same_commands() -> None:
    """A command that were written and could not be read would make every such trace a broken one."""
    assert set(KEPT) == set(AnyKept.__args__)


async def test_the_end_of_an_engine_is_recorded() -> None:
    """The engine cannot tell of its own death."""
    file = io.BytesIO()
    fake = FakeEngine(Script(death="It was ended by signal SIGKILL."))
    engine = RecordedEngine(fake, Recorder(file, lambda: EPOCH_S))
    await engine.start()
    async for event in engine.events():
        if isinstance(event, Started):
            fake.die()
    assert decode(file.getvalue().splitlines()[-1]) == Ended(at_s=EPOCH_S, why="It was ended by signal SIGKILL.")


class FullDisk(io.BytesIO):
    """Takes some bytes of the first line that is longer than what is left, and then none."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def write(self, data: Any, /) -> int:
        """As a file on a full disk does; `data` is bytes or a view of some."""
        if not self.room:
            raise OSError(28, "No space left on device")
        taken = min(self.room, len(data))
        self.room -= taken
        return super().write(data[:taken])


async def test_a_full_disk_ends_the_trace_and_not_the_chat() -> None:
    """An error in the middle of a reply would take the conversation with it; the person is told once."""
    file = FullDisk(100)
    fake = FakeEngine()
    recorder = Recorder(file, lambda: EPOCH_S)
    engine = RecordedEngine(fake, recorder)
    await engine.start()
    seen: list[str] = []
    told: list[str | None] = []
    async for event in engine.events():
        seen.append(type(event).__name__)
        told.append(recorder.new_trouble())
        if isinstance(event, Started):
            for command in (LOAD, OPEN, send(1, "go on")):
                engine.post(command)
        if seen[-1] == "TurnDone":
            fake.die()
    assert "TurnDone" in seen
    assert "Warned" not in seen, "that is the engine's to say"
    assert [text for text in told if text] == [
        "Recording has stopped: the trace cannot be written: No space left on device."
    ]


# --------------------------------------------------------------------------- the file


def test_a_trace_is_for_its_owner_alone(tmp_path: Path) -> None:
    """It holds the conversation; an old file that others could read is closed to them when it is overwritten."""
    path = tmp_path / "trace"
    path.write_text("old, and much longer than what is written over it" * 9)
    path.chmod(0o644)
    with opened_trace(path, force=True) as recorder:
        assert recorder is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_bytes().splitlines()) == 1


def test_no_file_is_overwritten_unasked(tmp_path: Path) -> None:
    """`--trace NOTES.md` would otherwise cost a person their notes."""
    path = tmp_path / "notes"
    path.write_text("dear diary")
    with pytest.raises(UserError, match=r"exists\. Name another one, or overwrite it with --force"), opened_trace(path):
        pass
    assert path.read_text() == "dear diary"


def test_a_trace_may_go_into_a_pipe(tmp_path: Path) -> None:
    """`--trace /dev/stderr`, or a named pipe that another program reads: there is nothing to lose."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with opened_trace(path):
            pass
        assert isinstance(decode(os.read(reader, 4096)), Trace)
    finally:
        os.close(reader)


def test_send_is_kept_whole() -> None:
    """The sampling says how a reply was made."""
    file = io.BytesIO()
    asked = Send(turn=3, text="\x1b[31m red \u202e </script>", sampling=Sampling(seed=7, temperature=0.0))
    Recorder(file, lambda: EPOCH_S).post(asked)
    assert decode(file.getvalue().splitlines()[1]) == Posted(at_s=EPOCH_S, command=asked)
