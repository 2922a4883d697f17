"""A replay on the screen: what a person sees at any place of a trace, and what the keys do."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from textual.pilot import Pilot

from chatapp.config import Config
from chatapp.presentation.remark import Remark
from chatapp.presentation.transcript_at import TranscriptAt
from chatapp.protocol.commands import Command, Pin, Regenerate, Undo
from chatapp.protocol.values import Sampling
from chatapp.replay.index import Index
from chatapp.replay.player import Player
from chatapp.replay.timeline import Timeline
from chatapp.ui.actions.handlers import REPLAY_HANDLERS
from chatapp.ui.replay_app import ReplayApp
from chatapp.ui.replay_messages import ReplayMessages
from chatapp.ui.screens.replay import ReplayScreen
from chatapp.ui.widgets.inspector.inspector import Inspector
from chatapp.ui.widgets.scrubber import EVICTION, MISMATCH, Scrubber, column_of, marks, position_of
from chatapp.ui.widgets.status import StatusBar
from chatapp.ui.widgets.transcript.transcript import Transcript
from tests.support.fake_engine.script import Script
from tests.support.traces import record, send
from tests.support.ui.inspector_app import text_of

REPLIES = ("The sea is **wide**, and it is salt.", "A river runs into it.", "Rain comes from the clouds above it.")
QUESTIONS = ("What is the sea?", "And a river?", "Where does the rain come from?")


def commands() -> list[Command]:
    """Twelve turns in a window that holds three: one is pinned, the last is undone, sent again and made again."""
    asked: list[Command] = [
        send(turn, f"{QUESTIONS[turn % 3]} Tell me more than you did." * 3) for turn in range(1, 13)
    ]
    again = Regenerate(turn=12, sampling=Sampling())
    return [*asked[:5], Pin(turn=5, pinned=True), *asked[5:], Undo(turn=12), asked[11], again]


@pytest.fixture(scope="module")
def timeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Timeline]:
    """The trace that most tests play."""
    path = tmp_path_factory.mktemp("trace") / "sea.jsonl"
    record(path, commands(), Script(n_ctx=256, replies=REPLIES))
    with Index(path) as index:
        yield Timeline(index)


def screen_of(pilot: Pilot[None]) -> ReplayScreen:
    """The replay."""
    assert isinstance(pilot.app, ReplayApp)
    return pilot.app.get_default_screen()


def spoken(pilot: Pilot[None]) -> list[str]:
    """Every message and notice, as text."""
    return [item.text for item in screen_of(pilot).query_one(Transcript).items]


def picture(pilot: Pilot[None]) -> str:
    """What the inspector shows."""
    return text_of(screen_of(pilot).query_one(Inspector))


async def test_a_jump_shows_what_playing_shows(timeline: Timeline) -> None:
    """Forth by single events and back by jumps: at each place the same transcript, the same inspector."""
    places = [timeline.end // 3, 2 * timeline.end // 3, timeline.end]
    player = Player(timeline)
    seen: dict[int, tuple[list[str], str]] = {}
    async with ReplayApp(Config(), player).run_test(size=(120, 60)) as pilot:
        screen = screen_of(pilot)
        for position in range(1, timeline.end + 1, 7):
            player.go_to(position)
            screen.refresh_place()
        for place in places:
            player.go_to(place)
            screen.refresh_place()
            await pilot.pause(0.1)
            seen[place] = (spoken(pilot), picture(pilot))
        for place in reversed(places):
            player.go_to(0)
            screen.refresh_place()
            assert spoken(pilot) == []
            player.go_to(place)
            screen.refresh_place()
            await pilot.pause(0.1)
            assert (spoken(pilot), picture(pilot)) == seen[place]
    assert len(set(map(str, seen.values()))) == len(places)


async def test_it_plays_with_the_keys(timeline: Timeline) -> None:
    """Space plays to the end by itself, keys change speed, arrows skip, and the status bar says so."""
    player = Player(timeline, speed=64.0)
    async with ReplayApp(Config(), player).run_test(size=(80, 24)) as pilot:
        await pilot.press("space")
        for _ in range(200):
            await pilot.pause(0.02)
            if not player.playing:
                break
        assert player.position == timeline.end
        assert REPLIES[0] in spoken(pilot)
        await pilot.press("home", "e")
        assert player.position == timeline.evictions[0] + 1
        assert any(" evicted: " in text for text in spoken(pilot))
        await pilot.press("comma")
        assert player.position == timeline.evictions[0]
        assert not any(" evicted: " in text for text in spoken(pilot))
        await pilot.press("right_square_bracket", "minus", "minus")
        assert player.position in [turn + 1 for turn in timeline.turns]
        assert "paused 16×" in text_of(screen_of(pilot).query_one(StatusBar))
        await pilot.press("end")
        assert player.position == timeline.end
        await pilot.press("m")
        assert player.position == timeline.end


async def test_a_click_on_the_bar_goes_there(timeline: Timeline) -> None:
    """The middle of the bar is the middle of the time."""
    player = Player(timeline)
    async with ReplayApp(Config(), player).run_test(size=(80, 24)) as pilot:
        scrubber = screen_of(pilot).query_one(Scrubber)
        width = len(text_of(scrubber).splitlines()[1].rstrip().split("  ")[0])
        await pilot.click(Scrubber, offset=(width // 2, 1))
        assert abs(player.time_s - timeline.duration_s / 2) < timeline.duration_s / width * 2


async def test_keys_of_the_chat_do_nothing_here(timeline: Timeline) -> None:
    """There is no prompt to type into and nothing to pin; letters on a chosen message must not look for either."""
    player = Player(timeline, timeline.end)
    async with ReplayApp(Config(), player).run_test(size=(120, 36)) as pilot:
        screen_of(pilot).query_one(Transcript).focus()
        await pilot.press("up", "up", "p", "r", "g", "x", "1", "enter", "c")
        assert player.position == timeline.end
        assert pilot.app.clipboard in REPLIES or "Tell me more" in pilot.app.clipboard
        await pilot.press("f1")
        assert "five seconds" in "".join(text_of(widget) for widget in pilot.app.screen.query("Static"))


async def test_panels_are_zoomed_and_left_again(timeline: Timeline) -> None:
    """In a small terminal F9 opens the inspector over the transcript; Esc goes back step by step, to the bar."""
    player = Player(timeline, timeline.end)
    async with ReplayApp(Config(), player).run_test(size=(80, 24)) as pilot:
        screen = screen_of(pilot)
        await pilot.press("f9")
        assert screen.has_class("-overlay")
        assert screen.query_one(Inspector).has_focus_within
        await pilot.press("z")
        assert screen.maximized is not None
        await pilot.press("escape")
        assert screen.maximized is None
        await pilot.press("escape")
        assert not screen.has_class("-overlay")
        await pilot.press("home")
        assert player.position == 0


async def test_the_palette_offers_the_keys_of_a_replay(timeline: Timeline) -> None:
    """And none of the chat's."""
    from chatapp.ui.action_table import ACTIONS

    async with ReplayApp(Config(), Player(timeline)).run_test(size=(80, 24)) as pilot:
        offered = {action.id for action in ACTIONS if screen_of(pilot).offers(action)}
        assert {"play", "next_eviction", "faster", "quit"} <= offered
        assert not offered & {"undo", "new", "model", "restart", "recall"}
        assert offered == set(REPLAY_HANDLERS)


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """A trace of one turn."""
    record(tmp_path / "short", [send(1, "hello")])
    return tmp_path / "short"


async def test_a_picture_that_cannot_be_read_is_told_and_the_rest_is_played(short: Path) -> None:
    """One snapshot of another version in the middle of a long trace: with its line, once."""
    path = short
    lines = path.read_text().splitlines()
    bad = next(number for number, line in enumerate(lines) if '"Snapshot"' in line)
    lines[bad] = lines[bad].replace('"n_sink":', '"n_sunk":')
    path.write_text("\n".join(lines) + "\n")
    with Index(path) as index:
        player = Player(Timeline(index), len(index))
        async with ReplayApp(Config(), player).run_test(size=(120, 36)) as pilot:
            await pilot.press("home", "end")
            told = [text for text in spoken(pilot) if f"Line {bad + 1} of" in text]
            assert len(told) == 1
            assert "Hello. What shall we talk about?" in spoken(pilot)


# --------------------------------------------------------------------------- pictures

Compare = Callable[..., bool]


WITHOUT_INSPECTOR = Config.model_validate({"ui": {"inspector": False}})
"""The inspector has pictures of its own."""


def test_behind_an_eviction(snap_compare: Compare, timeline: Timeline) -> None:
    """120x36: turns 1 to 4 with a thin edge, a notice for each eviction, a reply that has not begun; below it the
    bar with ▲ for evictions and · for turns, and "paused 1×"."""
    player = Player(timeline, timeline.evictions[1] + 1)
    assert snap_compare(ReplayApp(WITHOUT_INSPECTOR, player), terminal_size=(120, 36))


def test_in_a_small_terminal(snap_compare: Compare, timeline: Timeline) -> None:
    """80x24, at the end: the inspector is one line, and the bar has time and turn."""
    assert snap_compare(ReplayApp(Config(), Player(timeline, timeline.end)), terminal_size=(80, 24))


def test_without_colour(snap_compare: Compare, timeline: Timeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """120x36, NO_COLOR: the same in greys."""
    monkeypatch.setenv("NO_COLOR", "1")
    player = Player(timeline, timeline.evictions[1] + 1)
    assert snap_compare(ReplayApp(WITHOUT_INSPECTOR, player), terminal_size=(120, 36))


# --------------------------------------------------------------------------- pure parts


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_the_transcript_of_a_place_does_not_depend_on_the_way(timeline: Timeline, shares: list[float]) -> None:
    """Pieces are kept from place to place; kept too long, they would show the words of another place."""
    story, retold = TranscriptAt(timeline.index), ReplayMessages()
    for share in shares:
        story.go_to(round(share * timeline.end))
        pieces = retold.changes(story.items).pieces
        fresh = TranscriptAt(timeline.index)
        fresh.go_to(story.position)
        expected = ReplayMessages().changes(fresh.items).pieces
        assert [vars(piece) for piece in pieces] == [vars(piece) for piece in expected]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 200))
def test_every_eviction_has_its_mark(timeline: Timeline, width: int) -> None:
    """However narrow the bar is."""
    row = marks(timeline, width)
    assert len(row) == width
    for entry in timeline.evictions:
        assert row[column_of(timeline, entry + 1, width)] in (EVICTION, MISMATCH)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(2, 200), st.integers(-5, 300))
def test_a_click_goes_to_the_column_that_was_clicked(timeline: Timeline, width: int, column: int) -> None:
    """Or to the last place before it, where nothing happened in that column."""
    position = position_of(timeline, column, width)
    assert 0 <= position <= timeline.end
    assert column_of(timeline, position, width) <= min(max(column, 0), width - 1)


def test_notices_read_as_in_the_chat(timeline: Timeline) -> None:
    """The words are the chat's own."""
    story = TranscriptAt(timeline.index)
    story.go_to(timeline.end)
    told = [piece.text for piece in ReplayMessages().changes(story.items).pieces if isinstance(piece, Remark)]
    assert any(text.startswith("Turn 5 is pinned") for text in told)
    assert any(" evicted: " in text for text in told)
    assert any(text.startswith("Rolled back") for text in told)
