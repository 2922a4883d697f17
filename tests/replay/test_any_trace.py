"""A trace from anywhere: whatever is in its fields, it is played and written as a page, or refused in a sentence."""

import copy
import json
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatapp.errors import UserError
from chatapp.page.gather import gather
from chatapp.page.render import render
from chatapp.presentation.observed import Observed
from chatapp.presentation.transcript_at import TranscriptAt
from chatapp.presentation.visibility import TurnVisibility
from chatapp.protocol.commands import Command, Pin, Probe, Regenerate, Undo
from chatapp.protocol.values import Sampling
from chatapp.replay.index import Index
from chatapp.replay.lines import OWN
from chatapp.replay.player import Player
from chatapp.replay.timeline import Timeline
from chatapp.ui.replay_messages import ReplayMessages
from chatapp.ui.widgets.scrubber import marks, words
from tests.support.fake_engine.script import Script
from tests.support.traces import record, send, sends

ODD: list[Any] = [None, True, -1, 0, 1, 7, 2**31, 2**63, 10**30, 1.5, -0.0, 1e300, "", "x", "\x1b[2J</script>", "‮",
                  [], [1], [[1, 2]], {}, {"type": "Text"}]  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The lines of a short chat with everything in it."""
    path = tmp_path_factory.mktemp("trace") / "trace"
    commands: list[Command] = [
        *sends(6, 30),
        Probe(),
        *sends(7, 30)[6:],
        Pin(turn=6, pinned=True),
        Undo(turn=7),
        send(7, "again"),
    ]
    record(
        path,
        [*commands, Regenerate(turn=7, sampling=Sampling())],
        Script(n_ctx=256, replies=("A few words.",), looks=True),
    )
    return [json.loads(line) for line in path.read_text().splitlines()]


def places(value: Any, way: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The ways to all values within a value."""
    found = [way]
    if isinstance(value, dict):
        steps = cast("dict[str | int, Any]", value)
    elif isinstance(value, list):
        steps = dict(enumerate(cast("list[Any]", value)))
    else:
        return found
    for step, each in steps.items():
        found += places(each, (*way, step))
    return found


def look_at_all(path: Path) -> None:
    """Do with it what a replay and a page do, at some places. Raises UserError."""
    with Index(path) as index:
        timeline = Timeline(index)
        player, story, retold, observed = Player(timeline), TranscriptAt(index), ReplayMessages(), Observed()
        for share in (0.3, 1.0, 0.6):
            player.go_to(round(share * timeline.end))
            story.go_to(player.position)
            retold.changes(story.items)
            assert len(marks(timeline, 60)) == 60
            assert words(player, 60)
            for entry in timeline.shown_at(player.position):
                line = index.entry(entry)
                if not isinstance(line, OWN):
                    observed.apply(line)
            if observed.snapshot is not None:
                TurnVisibility(observed.snapshot)
        render(gather(timeline))


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.data())
def test_any_value_in_any_place_is_taken_or_refused(good: list[Any], tmp_path: Path, data: st.DataObject) -> None:
    """Never a traceback: each of these is a field that a person, or another program, may have changed."""
    lines = copy.deepcopy(good)
    for _ in range(data.draw(st.integers(1, 4))):
        line = data.draw(st.integers(0, len(lines) - 1))
        *way, last = data.draw(st.sampled_from(places(lines[line])[1:]))
        value = lines[line]
        try:
            for step in way:
                value = value[step]
            alike = [odd for odd in ODD if type(odd) is type(value[last])]
            if data.draw(st.integers(0, 9)):
                # Mostly of the same type: a value of another one is refused before anybody looks at it.
                odd = data.draw(st.sampled_from(alike if alike and data.draw(st.integers(0, 3)) else ODD))
                value[last] = copy.deepcopy(odd)  # the next change may go into it
            else:
                del value[last]
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took it away
    (tmp_path / "t").write_text("\n".join(json.dumps(line) for line in lines))
    try:
        look_at_all(tmp_path / "t")
    except UserError as error:
        assert "Line" in str(error) or "format" in str(error)  # noqa: PT017 - it may raise, and then so
