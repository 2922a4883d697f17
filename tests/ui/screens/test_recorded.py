"""A chat that is recorded, held against its replay: the same words, at the end and on the way."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from chatapp.chat.view import Phase
from chatapp.commands.shared import opened_trace
from chatapp.config import Config
from chatapp.presentation.remark import Remark
from chatapp.presentation.visibility import Visibility
from chatapp.protocol.commands import Regenerate
from chatapp.protocol.events import Failed
from chatapp.replay.index import Index
from chatapp.replay.player import Player
from chatapp.replay.record import Recorder
from chatapp.replay.timeline import Timeline
from chatapp.ui.app import SwachatApp
from chatapp.ui.dialogs.ask import AskYes
from chatapp.ui.replay_app import ReplayApp
from chatapp.ui.services import recorded
from chatapp.ui.widgets.transcript.message import MessageView
from chatapp.ui.widgets.transcript.transcript import Transcript
from tests.support.fake_engine.engine import EPOCH_S
from tests.support.fake_engine.script import Script
from tests.support.ui.chat_app import Bench, notices, phase, ready, say, spoken, transcript, until

WORDY = Script(replies=("word " * 60, "other " * 60), n_ctx=256)


TALL = (80, 60)
"""Every message is drawn."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The trace."""
    return tmp_path / "trace"


@pytest.fixture
def recorder(path: Path) -> Iterator[Recorder]:
    """What the chat is recorded with; its times fit the scripted engine's."""
    with opened_trace(path) as found:
        assert found is not None
        with path.open("wb", buffering=0) as file:
            yield Recorder(file, lambda: EPOCH_S)


def app(bench: Bench, recorder: Recorder) -> SwachatApp:
    """The chat, recorded."""
    found = bench.app()
    found.services = recorded(found.services, recorder)
    return found


def said(pilot: Pilot[None]) -> list[tuple[int, str, str]]:
    """The messages of the transcript."""
    items = pilot.app.screen.query_one(Transcript).items
    return [(item.turn, item.role, item.text) for item in items if not isinstance(item, Remark)]


def visibility(pilot: Pilot[None]) -> dict[tuple[int, str], Visibility]:
    """How the messages that are drawn stand in the window."""
    return {(view.said.turn, view.said.role): view.visibility for view in pilot.app.screen.query(MessageView)}


async def replayed(path: Path, live: list[tuple[int, str, str]]) -> tuple[list[str], dict[tuple[int, str], Visibility]]:
    """All of the replay's transcript at its end, which has the same messages; and the edges."""
    texts, _, seen = await replayed_whole(path, live)
    return texts, seen


async def replayed_whole(
    path: Path, live: list[tuple[int, str, str]]
) -> tuple[list[str], list[tuple[str, str]], dict[tuple[int, str], Visibility]]:
    """The same, and between them the notices with their levels."""
    with Index(path) as index:
        timeline = Timeline(index)
        async with ReplayApp(Config(), Player(timeline, timeline.end)).run_test(size=TALL) as pilot:
            await pilot.pause()
            assert said(pilot) == live
            return spoken_there(pilot), levels(pilot), visibility(pilot)


def spoken_there(pilot: Pilot[None]) -> list[str]:
    """Every text of the transcript."""
    return [item.text for item in pilot.app.screen.query_one(Transcript).items]


def levels(pilot: Pilot[None]) -> list[tuple[str, str]]:
    """The notices of the transcript."""
    items = pilot.app.screen.query_one(Transcript).items
    return [(item.level, item.text) for item in items if isinstance(item, Remark)]


async def test_a_measurement_and_warnings_of_the_engine(tmp_path: Path, path: Path, recorder: Recorder) -> None:
    """A line for each warning, and what came of the measurement that the person waited for."""
    bench = Bench(tmp_path, [Script(hold_sinks=True, warnings=("One.", "Two."))])
    bench.config = Config.model_validate({"cache": {"sinks": "auto"}})
    async with app(bench, recorder).run_test() as pilot:
        await until(pilot, lambda: phase(pilot) is Phase.MEASURING)
        bench.engines[-1].release()
        await ready(pilot)
        await say(pilot, "first")
        await ready(pilot)
        live, told = said(pilot), levels(pilot)
    assert [level for level, _ in told] == ["warning", "warning", "info"]
    _, seen, _ = await replayed_whole(path, live)
    assert seen == told


async def test_a_recall_that_was_stopped_and_a_pin_that_was_given_up(
    tmp_path: Path, path: Path, recorder: Recorder
) -> None:
    """Levels too: what a person asked for is no error, what nobody asked for is a warning."""
    bench = Bench(tmp_path, [replace(WORDY, hold_recall=True, lets_go_in_turn=5)])
    async with app(bench, recorder).run_test() as pilot:
        await ready(pilot)
        for topic in ("whales sing", "mountains rise", "rivers run", "clouds drift"):
            await say(pilot, topic)
            await ready(pilot)
        await say(pilot, "/pin 4")
        await until(pilot, lambda: any("is pinned" in text for text in spoken(pilot)))
        await say(pilot, "/recall 1")
        await until(pilot, lambda: isinstance(pilot.app.screen, AskYes))  # it would evict another turn
        await pilot.press("enter")
        await until(pilot, lambda: phase(pilot) is Phase.RECALLING)
        await pilot.press("escape")
        await until(pilot, lambda: "Stopped." in spoken(pilot))
        await ready(pilot)
        await say(pilot, "birds fly")
        await ready(pilot)
        live, told = said(pilot), levels(pilot)
    assert ("info", "Stopped.") in told
    assert any(level == "warning" and "no longer pinned" in text for level, text in told)
    _, seen, _ = await replayed_whole(path, live)
    assert seen == told


async def test_a_branch_that_is_gone_back_to(tmp_path: Path, path: Path, recorder: Recorder) -> None:
    """A cut on the way there costs nothing, and neither of them speaks of it."""
    async with app(Bench(tmp_path, [Script(replies=("one", "two", "three"))]), recorder).run_test() as pilot:
        await ready(pilot)
        for topic in ("first", "second", "third"):
            await say(pilot, topic)
            await ready(pilot)
        await say(pilot, "/branch 1")
        await ready(pilot)
        live, told = said(pilot), levels(pilot)
    assert not any("Rolled back" in text for _, text in told)
    _, seen, _ = await replayed_whole(path, live)
    assert seen == [(level, text) for level, text in told if "F6" not in text]


async def test_evictions_undo_and_other_replies(tmp_path: Path, path: Path, recorder: Recorder) -> None:
    """Message by message and notice by notice, edge by edge."""
    async with app(Bench(tmp_path, [WORDY]), recorder).run_test(size=TALL) as pilot:
        await ready(pilot)
        for topic in ("whales sing", "mountains rise", "rivers run", "clouds drift"):
            await say(pilot, topic)
            await ready(pilot)
        await pilot.press("ctrl+r")
        await ready(pilot)
        await pilot.press("ctrl+t")
        await ready(pilot)
        await pilot.press("enter")
        await ready(pilot)
        await say(pilot, "/pin 3")
        await until(pilot, lambda: any("is pinned" in text for text in spoken(pilot)))
        live, everything, edges = said(pilot), spoken(pilot), visibility(pilot)
    assert len(live) == 8
    told, seen = await replayed(path, live)
    assert told == everything
    assert seen == edges
    assert set(edges.values()) > {Visibility.WINDOW}


async def test_an_edit_goes_on_from_what_both_branches_share(tmp_path: Path, path: Path, recorder: Recorder) -> None:
    """The beginning stays with its notices and its figures; the end of the branch that was left is not shown."""
    async with app(Bench(tmp_path, [Script(replies=("one", "two", "three"))]), recorder).run_test() as pilot:
        await ready(pilot)
        for topic in ("first", "second", "third"):
            await say(pilot, topic)
            await ready(pilot)
        await say(pilot, "/edit 2")
        await until(pilot, lambda: transcript(pilot).screen.query_one("#prompt").has_focus)
        await pilot.press("x", "enter")
        await ready(pilot)
        live = said(pilot)
    assert [text for _, _, text in live] == ["first", "one", live[2][2], "two"]
    assert live[2][2] != "second"
    await replayed(path, live)


async def test_an_engine_that_died_and_the_next_one(tmp_path: Path, path: Path, recorder: Recorder) -> None:
    """One trace holds both; the half reply and the reason are shown, and the conversation goes on once, not twice."""
    scripts = [Script(replies=("one", "two three four"), die_in_turn=2, die_after=1), Script(replies=("five", "six"))]
    async with app(Bench(tmp_path, scripts), recorder).run_test() as pilot:
        await ready(pilot)
        await say(pilot, "first")
        await ready(pilot)
        await say(pilot, "second")
        await until(pilot, lambda: any("SIGKILL" in text for text in spoken(pilot)))
        await ready(pilot)
        await say(pilot, "third")
        await ready(pilot)
        live = said(pilot)
    assert len(live) == 6
    told, _ = await replayed(path, live)
    assert any("SIGKILL" in text for text in told)


async def test_another_reply_that_could_not_be_made(tmp_path: Path, path: Path, recorder: Recorder) -> None:
    """The reply that was to be replaced is there again."""
    failure = Failed(at_s=EPOCH_S, kind="engine", what="No room.", todo="")
    bench = Bench(tmp_path, [Script(replies=("one",), regenerate_failure=failure)])
    async with app(bench, recorder).run_test() as pilot:
        await ready(pilot)
        await say(pilot, "first")
        await ready(pilot)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "No room." in spoken(pilot))
        await ready(pilot)
        live = said(pilot)
    assert len(bench.of(Regenerate)) == 1
    assert live == [(1, "user", "first"), (1, "assistant", "one")]
    told, _ = await replayed(path, live)
    assert "No room." in told


class FullDisk(io.BytesIO):
    """Takes a few hundred bytes and no more."""

    def write(self, data: Any, /) -> int:
        """As a file on a full disk does."""
        if self.tell() > 300:
            raise OSError(28, "No space left on device")
        return super().write(data)


async def test_a_chat_that_is_no_longer_recorded_says_so_once_and_continues(tmp_path: Path) -> None:
    app = Bench(tmp_path).app()
    app.services = recorded(app.services, Recorder(FullDisk(), lambda: EPOCH_S))
    async with app.run_test() as pilot:
        await ready(pilot)
        await say(pilot, "hello")
        await ready(pilot)
        await until(pilot, lambda: any("Recording has stopped" in text for text in notices(pilot)))
        await say(pilot, "and now?")
        await ready(pilot)
        assert sum("Recording has stopped" in text for text in notices(pilot)) == 1
