"""Where the keys take the playing head, and what an inspector is told there."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatapp.presentation.observed import Observed
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.commands import Command, Forecast
from chatapp.replay.index import Index
from chatapp.replay.lines import OWN, decode, encode
from chatapp.replay.player import SPEEDS, Player
from chatapp.replay.timeline import LONGEST_PAUSE_S, Timeline
from tests.support.fake_engine.script import Script
from tests.support.traces import record, sends


@pytest.fixture(scope="module")
def timeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Timeline]:
    """Thirty turns in a small window, which most of them have left at the end."""
    path = tmp_path_factory.mktemp("trace") / "trace"
    asked: list[Command] = []
    for turn, message in enumerate(sends(30, 30), 1):
        asked += [Forecast(id=turn, text="a draft"), message]
    record(path, asked, Script(n_ctx=256, replies=("Some words, and a few more of them.",)))
    with Index(path) as index:
        yield Timeline(index)


def test_it_plays_to_the_end_and_pauses_there(timeline: Timeline) -> None:
    """And one more press plays it again from the start, as every player does."""
    player = Player(timeline)
    player.toggle()
    for _ in range(1000):
        player.advance(timeline.duration_s / 500)
    assert player.position == timeline.end
    assert not player.playing
    player.toggle()
    assert player.position == 0
    assert player.playing


def test_twice_the_speed_is_half_the_time(timeline: Timeline) -> None:
    """The places after equal playing time are equal."""
    slow, fast = Player(timeline), Player(timeline, speed=2.0)
    for player in (slow, fast):
        player.toggle()
    slow.advance(timeline.duration_s / 2)
    fast.advance(timeline.duration_s / 4)
    assert slow.position == fast.position
    assert 0 < slow.position < timeline.end


def test_speeds_go_up_and_down_within_their_bounds(timeline: Timeline) -> None:
    """A thousand presses of a key do no harm."""
    player = Player(timeline)
    for _ in range(50):
        player.change_speed(1)
    assert player.speed == SPEEDS[-1]
    for _ in range(50):
        player.change_speed(-1)
    assert player.speed == SPEEDS[0]


def test_evictions_are_visited_one_by_one_and_back(timeline: Timeline) -> None:
    """Forth to each, and back over the same ones."""
    player = Player(timeline)
    forth: list[int] = []
    while player.go_to_next(timeline.evictions):
        forth.append(player.position)
    assert forth == [entry + 1 for entry in timeline.evictions]
    assert len(forth) > 2
    back: list[int] = []
    while player.go_to_previous(timeline.evictions):
        back.append(player.position)
    assert back == forth[-2::-1]


def test_from_within_a_turn_back_goes_to_its_beginning(timeline: Timeline) -> None:
    """As in a music player: first to the start of what plays, then to the one before."""
    player = Player(timeline, timeline.turns[2] + 5)
    assert player.go_to_previous(timeline.turns)
    assert player.position == timeline.turns[2] + 1
    assert player.go_to_previous(timeline.turns)
    assert player.position == timeline.turns[1] + 1


def test_long_pauses_are_cut_short(tmp_path: Path) -> None:
    """A person who thought for an hour is not waited for."""
    path = tmp_path / "trace"
    record(path, sends(1))
    lines = [decode(line) for line in path.read_bytes().splitlines()]
    from msgspec.structs import replace

    late = [replace(line, at_s=line.at_s + (3600 if number > 8 else 0)) for number, line in enumerate(lines)]
    path.write_bytes(b"".join(map(encode, late)))
    with Index(path) as index:
        timeline = Timeline(index)
    assert timeline.duration_s < LONGEST_PAUSE_S + 5
    assert list(timeline.clock_s) == sorted(timeline.clock_s)


Step = Callable[[Player], object]
STEPS: list[Step] = [
    lambda player: player.skip(0.05),
    lambda player: player.skip(-0.05),
    lambda player: player.skip(1e9),
    lambda player: player.skip(-1e9),
    lambda player: player.go_to(player.position + 1),
    lambda player: player.go_to(player.position - 1),
    lambda player: player.go_to_next(player.timeline.turns),
    lambda player: player.go_to_previous(player.timeline.evictions),
    lambda player: player.change_speed(1),
    lambda player: player.toggle(),
    lambda player: player.advance(0.3),
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(STEPS), max_size=25))
def test_no_keys_lead_out_of_the_trace(timeline: Timeline, steps: list[Step]) -> None:
    """The head stays within, and its time is always that of a place at or before the next one."""
    player = Player(timeline)
    for step in steps:
        step(player)
        assert 0 <= player.position <= timeline.end
        assert 0 <= player.time_s <= timeline.duration_s + 1e-9
        assert timeline.time_of(player.position) <= player.time_s + 1e-9


def events_of(timeline: Timeline, entries: range | list[int]) -> list[AnyEvent]:
    """The events among some entries."""
    return [line for line in map(timeline.index.entry, entries) if not isinstance(line, OWN)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 1))
def test_a_jump_shows_what_playing_up_to_there_shows(timeline: Timeline, share: float) -> None:
    """Few events bring the inspector to a place: the newest figures, the ledger and the histories must be the same."""
    position = round(share * timeline.end)
    played, jumped = Observed(), Observed()
    for event in events_of(timeline, range(position)):
        played.apply(event)
    for event in events_of(timeline, timeline.shown_at(position)):
        jumped.apply(event)
    for name in ("started", "loaded", "snapshot", "last_turn", "decode_history", "sink_history", "probed", "foreseen"):
        assert getattr(jumped, name) == getattr(played, name), name
    assert list(jumped.book.entries) == list(played.book.entries)
    assert jumped.book.sums == played.book.sums
    assert len(jumped.resident.spans) == len(played.resident.spans)
