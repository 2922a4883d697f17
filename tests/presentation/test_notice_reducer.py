"""From commands and events to notices: everything that left the cache is told once, and a failure asked for is none."""

import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatapp.presentation.notice_reducer import NoticeReducer
from chatapp.presentation.notices import Notice
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.commands import Cancel, Command, Forecast, Open, Pin, Recall, Regenerate, Send, Undo
from chatapp.protocol.events import (
    Calibrating,
    Evicted,
    Failed,
    Opened,
    Pinned,
    Recalled,
    Released,
    RolledBack,
    Text,
    Warned,
)
from chatapp.protocol.values import Sampling, Sinks
from tests.support.presentation.inspector_events import done, loaded, past_the_window, started

SEND = Send(turn=1, text="", sampling=Sampling())
OPEN = Open(system=None, messages=[])
OPENED = Opened(at_s=0, n_sink=4, processed_tokens=9, in_window_turns=2, evicted_turns=0, ms=30, why="")
CUT = RolledBack(at_s=0, tokens=4, to_pos=9, rebuilt=False, processed_tokens=0, why="undo", ms=8)
RECALLED = Recalled(at_s=0, turns=[2], tokens=98, ms=1200)
STOPPED = Failed(at_s=0, kind="user", what="Stopped.", todo="")
DONE = done(1, reply=3, reused=4, at_s=0, decode_tok_s=50.0)


def evicted(tokens: int, turns: list[int], part: int | None = None) -> Evicted:
    """So many tokens of these turns left."""
    return Evicted(
        at_s=0, turn=9, policy="sinks", tokens=tokens, turns=turns, partial_turn=part, removed=[], renumbered=True,
        ms=1, next_decode_ms=1, why="",
    )  # fmt: skip


def told(*lines: Command | AnyEvent) -> list[Notice]:
    """What stands in a transcript after these commands and events."""
    reducer, shown = NoticeReducer(), list[Notice]()
    for line in lines:
        if isinstance(line, Command):
            reducer.post(line)
            continue
        for notice in reducer.take(line):
            if shown and notice.key is not None and shown[-1].key == notice.key:
                shown.pop()
            shown.append(notice)
    return shown


LINES = st.lists(
    st.one_of(
        st.builds(
            evicted,
            st.integers(1, 5000),
            st.lists(st.integers(1, 40), max_size=3),
            st.none() | st.integers(41, 44),
        ),
        st.sampled_from([
            SEND, OPEN, OPENED, CUT, RECALLED, STOPPED, DONE, Cancel(), Undo(turn=1), Pin(turn=1, pinned=True),
            Recall(turns=[1]), Regenerate(turn=1, sampling=Sampling()), Forecast(id=1, text="a"),
            Text(at_s=0, turn=1, text="a", tokens=1), Warned(at_s=0, text="careful"), past_the_window(), started(),
        ]),
    ),
    max_size=40,
)  # fmt: skip


@settings(deadline=None)
@given(LINES)
def test_each_token_that_left_is_told_once(lines: list[Command | AnyEvent]) -> None:
    """However the evictions are gathered, and whatever comes between them; and so is each turn that left."""
    left = [line for line in lines if isinstance(line, Evicted)]
    words = [notice.text for notice in told(*lines) if " evicted: " in notice.text]
    counts = [re.search(r": ([\d,]+) tokens?\.", text) for text in words]
    assert sum(int(count[1].replace(",", "")) for count in counts if count) == sum(each.tokens for each in left)
    for part in {each.partial_turn for each in left} - {None}:
        assert any(f"oldest part of turn {part}" in text for text in words)


def test_the_evictions_of_one_reply_are_one_notice_and_those_of_the_next_another() -> None:
    assert told(SEND, evicted(200, [1, 2]), evicted(12, [3]), evicted(1, [], 4), DONE, SEND, evicted(5, [4])) == [
        Notice("warning", "Turns 1–3 and the oldest part of turn 4 were evicted: 213 tokens.", "evicted 0"),
        Notice("warning", "Turn 4 was evicted: 5 tokens.", "evicted 1"),
    ]


def test_what_was_told_before_another_notice_is_not_told_again() -> None:
    """A second line of evictions counts what left since."""
    words = [notice.text for notice in told(SEND, evicted(8, [1]), Warned(at_s=0, text="careful"), evicted(5, [2]))]
    assert words == ["Turn 1 was evicted: 8 tokens.", "careful", "Turn 2 was evicted: 5 tokens."]


@pytest.mark.parametrize("work", [SEND, OPEN, Recall(turns=[1]), Regenerate(turn=1, sampling=Sampling())])
def test_a_stop_that_was_asked_for_is_no_failure(work: Command) -> None:
    """The same event without the request is one, and so is the next."""
    assert [notice.level for notice in told(work, Cancel(), STOPPED, STOPPED)] == ["info", "error"]
    assert [notice.level for notice in told(work, STOPPED)] == ["error"]
    assert [notice.level for notice in told(work, Cancel(), msgspec.structs.replace(STOPPED, kind="engine"))] == [
        "error"
    ]


@pytest.mark.parametrize("end", [DONE, started()])
def test_a_stop_does_not_reach_beyond_what_was_stopped(end: AnyEvent) -> None:
    assert [notice.level for notice in told(SEND, Cancel(), end, Pin(turn=1, pinned=True), STOPPED)] == ["error"]


def test_on_the_way_to_another_branch_a_mere_cut_is_not_told() -> None:
    """Nothing is lost by it; a rebuild costs time, wherever it happens."""
    rebuilt = msgspec.structs.replace(CUT, rebuilt=True, processed_tokens=30)
    assert told(OPEN, CUT) == []
    assert len(told(OPEN, rebuilt)) == 1
    assert len(told(OPEN, msgspec.structs.replace(CUT, from_checkpoint=True))) == 1
    assert [notice.text for notice in told(OPEN, OPENED, Undo(turn=1), CUT)][1:] == ["Rolled back 4 tokens: undo."]
    assert len(told(OPEN, STOPPED, CUT)) == 2


def test_measured_sinks_are_told_and_those_that_were_set_are_not() -> None:
    """Nobody waited for the others."""
    sinks = Sinks(n=4, why="Measured.")
    model = msgspec.structs.replace(loaded(), sinks=sinks, warnings=["One.", "Two."])
    warnings = [Notice("warning", "One."), Notice("warning", "Two.")]
    assert told(started(), model) == warnings
    measured = told(started(), Calibrating(at_s=0, done=1, total=2), model)
    assert measured == [*warnings, Notice("info", "The first 4 tokens are kept as sinks. Measured.")]


def test_a_pin_that_is_given_up_unasked_is_a_warning() -> None:
    free = Pinned(at_s=0, turn=3, pinned=False, tokens=212, kept_tokens=48)
    assert [notice.level for notice in told(free, msgspec.structs.replace(free, why="no room"))] == ["info", "warning"]


def test_recalled_turns_and_released_branches_are_told() -> None:
    released = Released(at_s=0, tokens=9, live_branches=1, why="room is needed")
    assert [notice.level for notice in told(RECALLED, released)] == ["info", "info"]
