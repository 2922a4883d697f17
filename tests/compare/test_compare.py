"""Two windows on one text: what is compared, how it is measured, what is said of it, and how it is drawn."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from chatapp.compare.findings import diverges_at, sentences, table, widest
from chatapp.compare.measurement import SideMeasurement, measure
from chatapp.compare.plot import BOTH, NOTHING, A, B, plot
from chatapp.compare.side import ComparedCache
from chatapp.compare.text import read_text
from chatapp.errors import EngineError, UserError
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.commands import Command, Load, Measure
from chatapp.protocol.events import Failed, Measured, Scored
from chatapp.protocol.values import CacheRequest, EngineSettings
from tests.support.presentation.inspector_events import NOON_S, loaded, started


def scored(tokens: int, losses: Sequence[float], perplexity: float) -> Scored:
    return Scored(at_s=NOON_S, tokens=tokens, perplexity=perplexity, losses=list(losses))


def measured(*, tokens: int = 3, evicted: int = 0, stop_reason: str = "end") -> Measured:
    return Measured(
        at_s=NOON_S,
        perplexity=9.0,
        tokens=tokens,
        every=1,
        shifts=evicted // 64,
        evicted_tokens=evicted,
        tok_s=200.0,
        n_ctx=512,
        n_sink=4,
        policy="sinks",
        curve=[],
        stop_reason=stop_reason,
    )


def side(
    losses: Sequence[float], curve: Sequence[float] = (), *, evicted: int = 0, stopped: str = "end"
) -> SideMeasurement:
    """One that is measured."""
    end = measured(tokens=len(losses), evicted=evicted, stop_reason=stopped)
    return SideMeasurement(loaded(), end, len(losses), list(losses), list(curve))


# --------------------------------------------------------------------------- sides


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("sinks:512", ComparedCache("sinks", 512, None)),
        (" window:2048:0 ", ComparedCache("window", 2048, 0)),
        ("dense", ComparedCache("dense", None, None)),
    ],
)
def test_a_side_is_read_and_written(text: str, side: ComparedCache) -> None:
    assert ComparedCache.parse(text) == side
    assert str(side) == text.strip()


@pytest.mark.parametrize(
    "text", ["", "sink:512", "sinks:", "sinks:-1", "sinks:512:4:1", "sinks:0", "sinks:½", "recompute:9"]
)
def test_what_is_no_side_is_told_with_an_example(text: str) -> None:
    """A window of another size than the person meant would be measured for minutes before anybody saw it."""
    with pytest.raises(UserError, match="sinks:512"):
        ComparedCache.parse(text)


def test_what_a_side_leaves_open_is_as_the_settings_say() -> None:
    settings = CacheRequest(n_ctx=4096, sinks=None, policy="slide", type_k="q8_0")
    assert ComparedCache.parse("window:512:2").request(settings) == structs.replace(
        settings, policy="window", n_ctx=512, sinks=2
    )
    assert ComparedCache.parse("dense").request(settings) == structs.replace(settings, policy="dense")


def test_a_text_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    with pytest.raises(UserError, match="not valid UTF-8 \\(byte 3\\)"):
        read_text(tmp_path / "latin")
    with pytest.raises(UserError, match="cannot be read"):
        read_text(tmp_path / "none")


# --------------------------------------------------------------------------- measuring


class Scripted:
    """An engine that answers a Measure with these events; it notes what it was asked, and whether it was ended."""

    death: str | None = None

    def __init__(self, answers: Sequence[AnyEvent]) -> None:
        self.answers = answers
        self.asked: list[Command] = []
        self.ended = False

    async def start(self) -> None:
        """Nothing to do."""

    def post(self, command: Command) -> None:
        """Note it."""
        self.asked.append(command)

    async def events(self) -> AsyncIterator[AnyEvent]:
        """Started, Loaded as soon as it is asked to load, then the answers."""
        yield started()
        assert isinstance(self.asked[0], Load)
        yield loaded()
        assert isinstance(self.asked[1], Measure)
        for event in self.answers:
            yield event

    async def stop(self) -> None:
        """Note it."""
        self.ended = True


async def run(engine: Scripted) -> SideMeasurement:
    request = Measure(text="words", max_tokens=None)
    return await measure(engine, Path("m.gguf"), CacheRequest(), EngineSettings(), request, lambda side: None)


async def test_a_side_is_measured_and_its_engine_ended() -> None:
    """Asked to load for scoring; ended before the other side begins, or both would be in memory at once."""
    engine = Scripted([scored(2, [1.0, 2.0], 4.5), scored(3, [3.0], 20.1), measured()])
    side = await run(engine)
    load = engine.asked[0]
    assert isinstance(load, Load)
    assert load.scoring
    assert (side.losses, side.curve, side.tokens) == ([1.0, 2.0, 3.0], [4.5, 20.1], 3)
    assert [round(side.perplexity(n) or 0, 3) for n in (None, 1)] == [7.389, 2.718]
    assert engine.ended


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([Failed(at_s=NOON_S, kind="user", what="No.", todo="Do.")], UserError),
        ([scored(2, [1.0], 2.7)], EngineError),
    ],
)
async def test_a_failure_and_a_death_end_the_engine_too(answers: list[AnyEvent], error: type[Exception]) -> None:
    engine = Scripted(answers)
    with pytest.raises(error):
        await run(engine)
    assert engine.ended


async def test_a_measurement_that_is_given_up_ends_the_engine() -> None:
    """Esc or Ctrl+C in the middle: no process may be left behind."""

    waiting = asyncio.Event()

    class Endless(Scripted):
        async def events(self) -> AsyncIterator[AnyEvent]:
            """It never answers."""
            yield started()
            waiting.set()
            await asyncio.Event().wait()

    engine = Endless([])
    task = asyncio.create_task(run(engine))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.ended


# --------------------------------------------------------------------------- what is said


def test_they_part_at_the_first_token_that_is_expected_differently() -> None:
    """Rounding is no difference; with one token in four scored, the third loss is that of token 12."""
    assert diverges_at([1.0, 2.0, 3.0], [1.001, 2.0, 3.2], 4) == 12
    assert diverges_at([1.0, 2.0], [1.0, 2.001, 9.0], 1) is None


def test_the_widest_gap_counts_both_ways() -> None:
    """As a ratio: 10 against 40 is farther apart than 100 against 60."""
    gap = widest([5.0, 10.0, 100.0], [5.0, 40.0, 60.0])
    assert gap is not None
    assert (gap.first, gap.last, gap.a, gap.b) == (512, 1024, 10.0, 40.0)
    assert widest([], [1.0]) is None


def test_a_person_reads_where_and_how_far() -> None:
    said = sentences(side([1.0, 2.0], [3.0]), side([1.0, 4.0], [9.0], evicted=64))
    assert said == [
        "They diverge at token 2.",
        "The gap is widest at tokens 0 to 2: perplexity 3.0 (A) against 9.0 (B).",
    ]
    alike = side([1.0], [2.7])
    assert "neither window evicted anything" in sentences(alike, alike)[0]
    assert "neither needed" in sentences(alike, side([1.0], [2.7], evicted=64))[0]
    assert sentences(side([1.0]), SideMeasurement()) == []
    assert "A stopped when its window was full" in sentences(side([1.0], stopped="window_full"), alike)[-1]


def test_the_table_compares_what_both_have_scored() -> None:
    """A dense window stops early: its perplexity must not be held against that of a longer text."""
    rows = {row[0]: row[1:] for row in table(side([1.0, 1.0]), side([1.0, 2.0, 9.0], evicted=64))}
    assert rows["perplexity"] == ("2.718", "4.482", "1.65")
    assert rows["tokens scored"] == ("2", "3", "1.50")
    assert rows["tokens evicted"] == ("0", "64", "")
    assert rows["ms per token"] == ("5", "5", "1.00")
    assert {row[1] for row in table(SideMeasurement(), SideMeasurement())} == {"—"}


# --------------------------------------------------------------------------- the picture

curves = st.lists(st.floats(1.0, 1e5), max_size=40)


@given(a=curves, b=curves, width=st.integers(1, 50), height=st.integers(1, 12))
def test_every_column_has_each_curve_once_as_far_as_it_goes(
    a: list[float], b: list[float], width: int, height: int
) -> None:
    drawn = plot(a, b, width, height)
    assert [len(row) for row in drawn.rows] == [width] * height
    assert len({len(label) for label in drawn.labels}) <= 1
    for mark, curve in ((A, a), (B, b)):
        for column in range(width):
            marks = [row[column] for row in drawn.rows]
            there = marks.count(mark) + marks.count(BOTH)
            first = column * max(len(a), len(b)) // width
            assert there == (1 if first < len(curve) else 0)


@given(curve=st.lists(st.floats(1.0, 1e5), min_size=1, max_size=40), width=st.integers(1, 50))
def test_the_higher_value_is_never_drawn_lower(curve: list[float], width: int) -> None:
    """Columns that stand for one part each: their rows are in the order of their values."""
    drawn = plot(curve, [], len(curve), 9)
    heights = [next(9 - y for y, row in enumerate(drawn.rows) if row[x] == A) for x in range(len(curve))]
    for one, other in zip(range(len(curve)), range(1, len(curve)), strict=False):
        assert (heights[one] - heights[other]) * (curve[one] - curve[other]) >= 0


def test_what_a_picture_looks_like() -> None:
    """Both begin together; B rises ten times as high. The axis is logarithmic: 31.6 is half way from 10 to 100."""
    assert plot([10, 10, 10], [10, 31.6, 100], 6, 3).lines() == [
        " 100 ┤    BB",
        "31.6 ┤  BB",
        "  10 ┤**AAAA",
    ]
    assert plot([], [], 3, 2).rows == [NOTHING * 3] * 2
