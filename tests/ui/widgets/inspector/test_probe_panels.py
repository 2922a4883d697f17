"""The panels of sinks, reach and experts on the screen: every figure is worked out here, from the event, by hand."""

from collections.abc import Callable

import pytest
from msgspec import structs
from rich.color import Color
from textual.geometry import Region
from textual.pilot import Pilot
from textual.widget import Widget

from chatapp.presentation import reach
from chatapp.presentation.observed import Observed
from chatapp.presentation.reach import ReachCurve, Stack
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Evicted, Loaded
from chatapp.protocol.values import Answer, Ghost, Sinks
from chatapp.ui.layout import LEAST_WIDTH
from chatapp.ui.widgets.inspector.experts import ExpertsPanel
from chatapp.ui.widgets.inspector.inspector import Inspector
from chatapp.ui.widgets.inspector.reach import ReachPanel
from chatapp.ui.widgets.inspector.section import Section
from chatapp.ui.widgets.inspector.sinks import SinksPanel
from kernels import influence
from tests.support.presentation.inspector_events import (
    conversation,
    hybrid,
    loaded,
    past_the_window,
    snapshot,
    started,
    story,
)
from tests.support.presentation.probe_events import (
    expert_model,
    expert_sample,
    gemma,
    hybrid_sample,
    layer,
    measured_sinks,
    plain_sample,
    probed,
    with_sinks,
)
from tests.support.ui.inspector_app import InspectorApp, text_of

NARROW, WIDE = (42, 120), (110, 120)


@pytest.fixture
def no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shades are digits: the tenths that a value reaches."""
    monkeypatch.setenv("NO_COLOR", "1")


async def sinks_of(events: list[AnyEvent], size: tuple[int, int] = NARROW) -> list[str]:
    """What the panel of sinks shows, line by line."""
    app = InspectorApp(events)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        return text_of(app.query_one(SinksPanel)).splitlines()


def row(lines: list[str], label: str) -> str:
    """What stands after a label."""
    (line,) = [line for line in lines if line.startswith(f"{label} ")]
    return line.removeprefix(label).strip()


def drawn(panel: Widget, region: Region) -> list[list[tuple[str, Color | None]]]:
    """Texts and their colours."""
    lines = panel.render_lines(region)
    return [[(one.text, one.style.color if one.style is not None else None) for one in line] for line in lines]


# --------------------------------------------------------------------------- sinks


@pytest.mark.usefixtures("no_colour")
async def test_the_gauge_is_the_share_of_the_attention() -> None:
    """10% on kept sinks, 20% on learned ones: of 26 columns 2.6 are solid, 5 hatched, the rest dots."""
    lines = await sinks_of([expert_model(), expert_sample()])
    bar, said = row(lines, "now").split()
    assert said == "30%"
    assert bar == "██▋" + "▒" * 5 + "·" * 18
    assert any("kept 10% · learned 20%" in line for line in lines)
    assert row(lines, "sample") == "position 411 · turn 8"


@pytest.mark.usefixtures("no_colour")
async def test_each_kind_of_layer_has_a_gauge_where_there_are_two() -> None:
    """Three of 18 layers are global and have half of their attention on sinks: a twelfth in all. Sinks left the window
    of the others."""
    lines = await sinks_of([gemma(), hybrid_sample()])
    assert [row(lines, kind).split()[-1] for kind in ("now", "global", "sliding")] == ["8.4%", "50%", "0%"]
    assert row(lines, "layers") == "·····5·····5·····5"
    assert not [line for line in await sinks_of([loaded(), plain_sample()]) if line.startswith("global")]


@pytest.mark.usefixtures("no_colour")
async def test_the_samples_stand_in_order_and_an_eviction_under_the_first_behind_it() -> None:
    """10, 40 and 20%: bars of a quarter, the whole and a half; tokens left between the second and the third."""
    evicted = next(event for event in story() if isinstance(event, Evicted))
    ten, forty, twenty = (probed([layer(0, [byte])]) for byte in (26, 102, 51))
    lines = await sinks_of([loaded(), ten, forty, evicted, twenty])
    at = next(at for at, line in enumerate(lines) if line.startswith("samples"))
    assert lines[at][9:] == "▃█▄ up to 40%"
    assert lines[at + 1][9:] == "  ^ ^ eviction"


@pytest.mark.usefixtures("no_colour")
async def test_zoomed_every_head_has_its_shade() -> None:
    """Layer 1, head 2 has 6 + 16 of 255 on sinks (a digit for every whole tenth); its norm stands at the end."""
    lines = await sinks_of([loaded(), plain_sample()], WIDE)
    heads = [[i * 6 + head * 8 for head in range(9)] for i in range(30)]
    table = [line.split() for line in lines if line.strip().split()[1:2] == ["global"]]
    assert len(table) == 30
    for i, cells in enumerate(table):
        digits = [str(10 * byte // 255) if 10 * byte >= 255 else "·" for byte in heads[i]]
        assert cells == [str(i), "global", cells[2], *digits, "41"]
    assert table[29][2] == "81%", "(29 · 6 + 4 · 8) / 255"
    assert "layers" not in {line.split(" ")[0] for line in lines}, "the table has them"


@pytest.mark.usefixtures("no_colour")
async def test_zoomed_learned_sinks_have_a_table_of_their_own() -> None:
    lines = await sinks_of([expert_model(), expert_sample()], WIDE)
    title = next(line for line in lines if line.startswith("layer"))
    first = next(line for line in lines if line.startswith("  0 sliding"))
    assert title.index("kept, by head") == first.index("1"), "a tenth of 255 is 25.5: 26 is one, 25 is none"
    assert first[title.index("learned, by head") :].split() == ["2", "2", "41"]
    assert "one number per head, no cells" in row(lines, "model")


@pytest.mark.usefixtures("no_colour")
async def test_more_heads_than_columns_are_drawn_as_means_and_said_to_be() -> None:
    """64 heads twice, in 110 columns: two share one, of 0 and 255, and nobody sees a head that is not there."""
    sample = probed([layer(0, [0, 255] * 32, learned=[0] * 64)])
    lines = await sinks_of([expert_model(), sample], WIDE)
    assert any(line.startswith("  0 global") and "5" * 32 in line and "5" * 33 not in line for line in lines)
    assert any("One column is 2 heads." in line for line in lines)


async def test_without_a_sample_it_says_how_to_get_one() -> None:
    able = structs.replace(loaded(), capability=structs.replace(loaded().capability, probe=Answer(ok=True)))
    told = " ".join(" ".join(await sinks_of([able])).split())
    assert "no sample yet; /look takes one" in told
    unable = structs.replace(
        able, capability=structs.replace(able.capability, probe=Answer(ok=False, why="No symbol."))
    )
    assert "cannot be read: No symbol." in " ".join(await sinks_of([unable]))
    assert "no model is loaded" in " ".join(await sinks_of([started()]))


async def test_fewer_sinks_than_the_model_needs_are_a_warning() -> None:
    """The policy `window` keeps none; this model was measured to need one."""
    window = with_sinks(structs.replace(loaded(), policy="window"), measured_sinks())
    lines = await sinks_of([window, snapshot(conversation([(20, 30)], sinks=0))])
    assert "▲ keeps no sinks; this model needs 1" in " ".join(" ".join(lines).split())
    assert row(lines, "needs") == "the first token, as measured"
    assert "0 ×168" in row(lines, "norms")
    kept = await sinks_of([with_sinks(loaded(), measured_sinks()), past_the_window()])
    assert not [line for line in kept if line.startswith("▲")]


async def test_the_warning_comes_and_goes_with_the_cache() -> None:
    """The rows of a sample are made once: what is kept must not be remembered with them."""
    window = with_sinks(structs.replace(loaded(), policy="window"), measured_sinks())
    app = InspectorApp([window, snapshot(conversation([(20, 30)], sinks=4)), plain_sample()])
    async with app.run_test(size=NARROW) as pilot:
        await pilot.pause()
        assert "▲" not in text_of(app.query_one(SinksPanel))
        app.feed(snapshot(conversation([(20, 30)], sinks=0)))
        await pilot.pause()
        assert "▲" in text_of(app.query_one(SinksPanel))


async def test_zoomed_the_measurement_is_told_in_full() -> None:
    lines = await sinks_of([with_sinks(loaded(), measured_sinks())], WIDE)
    assert any(line.split() == ["0", "kept", "+0.584", "±", "0.076", "nats", "per", "token"] for line in lines)
    assert any(line.split() == ["8", "kept", "best"] for line in lines)


async def test_what_was_not_measured_says_why() -> None:
    lines = await sinks_of([with_sinks(loaded(), Sinks(n=4, why="Not measured: \x1b[2J[b]no."))], WIDE)
    assert row(lines, "keeps") == "at least the first 4 tokens (not measured: ␛[2J[b]no)"


async def test_a_sample_of_other_shades_alone_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """In colour every shade is the same block: the panel must not take it for the picture it has drawn."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    samples = [probed([layer(0, [200, 55]), layer(1, [55, 200])])] * 100
    app = InspectorApp([loaded(), *samples])  # one more is another bar only until the row is full
    async with app.run_test(size=WIDE) as pilot:
        app.theme = "bright"
        await pilot.pause()
        panel = app.query_one(SinksPanel)
        first = next(at for at, line in enumerate(text_of(panel).splitlines()) if line.startswith("  0 global"))
        heads = Region(len("  0 sliding  50% "), first, 4, 2)
        before = drawn(panel, heads)
        assert {text for line in before for text, _ in line} == {"██"}
        app.feed(probed([layer(0, [55, 200]), layer(1, [200, 55])]))
        await pilot.pause()
        assert drawn(panel, heads) == before[::-1] != before


# --------------------------------------------------------------------------- experts


async def test_only_a_model_with_experts_has_their_panel() -> None:
    """It comes and goes with the model, `j` never stops at it, and a zoomed one gives the screen back."""
    app = InspectorApp([loaded()])
    async with app.run_test(size=NARROW) as pilot:
        await pilot.pause()
        inspector = app.query_one(Inspector)
        section = app.query_one(ExpertsPanel).parent
        assert isinstance(section, Section)
        assert not section.display
        assert section not in inspector.present
        app.feed(expert_model(), expert_sample())
        await pilot.pause()
        assert section.display
        inspector.zoom(section)
        await pilot.pause()
        assert section.zoomed
        app.feed(loaded())
        await pilot.pause()
        await pilot.pause()
        assert not section.zoomed
        assert not section.display


async def experts_of(events: list[AnyEvent], size: tuple[int, int]) -> list[str]:
    app = InspectorApp(events)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        return text_of(app.query_one(ExpertsPanel)).splitlines()


@pytest.mark.usefixtures("no_colour")
async def test_the_grid_has_an_expert_in_each_row_and_a_layer_in_each_column() -> None:
    """Two tokens, two layers: expert 0 of layer 0 had both, of layer 1 none."""
    first = probed([layer(0, [1], experts=[0, 1]), layer(1, [1], experts=[2, 3])])
    second = probed([layer(0, [1], experts=[0, 2]), layer(1, [1], experts=[3, 2])])
    lines = await experts_of([expert_model(4, n_layer=2), first, second], NARROW)
    assert row(lines, "tokens") == "2 sampled"
    assert row(lines, "shades") == "up to 100%; even load 50%"
    assert [row(lines, str(expert)).split() for expert in range(4)] == [["9", "·"], ["5", "·"], ["5", "9"], ["·", "9"]]
    assert "×2.0 the mean in the median layer" in " ".join(" ".join(lines).split())


@pytest.mark.usefixtures("no_colour")
async def test_zoomed_each_layer_has_a_row_with_the_newest_tokens_experts() -> None:
    """The heavier expert first; 3 of 4 were taken, and the busiest had twice the mean."""
    first = probed([layer(0, [1], experts=[0, 1])])
    second = probed([structs.replace(layer(0, [1], experts=[0, 2]), expert_weights=[0.25, 0.75])])
    lines = await experts_of([expert_model(4, n_layer=1), first, second], WIDE)
    (line,) = [line for line in lines if line.split()[:1] == ["0"]]
    assert line.split() == ["0", "×2.0", "3", "9", "5", "5", "·", "2", "75%,", "0", "25%"]


@pytest.mark.usefixtures("no_colour")
async def test_128_experts_share_rows_and_the_scale_is_that_of_what_is_drawn() -> None:
    """Sixteen experts a row: one that all tokens took is a sixteenth of its row, and drawn as the most there is."""
    sample = probed([layer(i, [1], experts=[0, 127]) for i in range(36)])
    lines = await experts_of([expert_model(128, n_layer=36), sample], NARROW)
    assert row(lines, "shades") == "up to 6.2%; even load 1.6%"
    assert row(lines, "0–15") == "9" * 18, "two layers share a column"
    assert row(lines, "112–127") == "9" * 18
    assert row(lines, "16–31") == "·" * 18


# --------------------------------------------------------------------------- reach


async def computed(app: InspectorApp) -> None:
    """Wait for what is computed beside the screen."""
    await app.workers.wait_for_complete()  # pyright: ignore[reportUnknownMemberType]  Worker[Unknown]


async def unfolded(pilot: Pilot[None], app: InspectorApp) -> ReachPanel:
    """The panel, with its curve computed."""
    app.query_one(Inspector).section("reach").fold(False)
    await pilot.pause()
    await computed(app)
    await pilot.pause()
    return app.query_one(ReachPanel)


async def reach_of(events: list[AnyEvent], size: tuple[int, int] = NARROW) -> list[str]:
    app = InspectorApp(events)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        return text_of(await unfolded(pilot, app)).splitlines()


def said(lines: list[str]) -> str:
    """The lines as one."""
    return " ".join(" ".join(lines).split())


async def test_without_windows_the_cache_is_all_there_is() -> None:
    told = said(await reach_of([loaded(), past_the_window()]))
    assert "30 global: all 512 cells" in told
    assert "1,356 tokens: no layer sees them; their influence remains in later tokens" in told
    assert "curve" not in told


async def test_the_conversation_stands_against_the_curve_of_the_kernels() -> None:
    """Both at once: what three global layers see directly, and what comes through the fifteen windows."""
    runs = conversation([(400, 600)], sinks=4)
    events: list[AnyEvent] = [gemma(), snapshot(runs, n_ctx=2048, ghosts=[Ghost(turn=1, tokens=300, whole=True)])]
    told = said(await reach_of(events))
    p = influence(15, 512, 0.9)
    near, far = sum(p[999:]), sum(p[1303:])
    assert "15 sliding: 512 tokens; 3 global: all 2,048 cells" in told
    assert "order ·····█·····█·····█" in told
    assert "3 layers see all 1,004 directly" in told
    assert f"{100 * near:.1f}% comes from 999 back or farther through 15 sliding layers" in told
    assert f"{100 * far:.1f}% from 1,303, the beginning" in told
    assert "exact 1,404 · 2.74 W: 1.0% comes from there or farther" in told
    assert "formula 1,024 · 2 W: W ln 0.01 / ln 0.1, at any depth" in told


async def test_zoomed_the_curve_is_a_table_beside_the_formula() -> None:
    """At the window's width: the exact curve, (1 - alpha)^(d / W) = 0.1, and all layers together."""
    lines = await reach_of([gemma(), hybrid()], WIDE)
    (line,) = [line for line in lines if line.endswith(" window")]
    share = sum(influence(15, 512, 0.9)[512:])
    curve = reach.curve(reach.stack(gemma()))
    together = curve.beyond_together(512)
    assert together is not None
    assert line.split()[:4] == ["512", f"{100 * share:.0f}%", "10%", f"{100 * together:.0f}%"]
    assert any(line.endswith("exact") and line.split()[:2] == ["1,404", "1.0%"] for line in lines)


async def test_after_a_rebuild_nothing_comes_from_what_has_left() -> None:
    """Keys that were computed without the tokens that left know nothing of them; of what leaves later they do."""
    remade = next(structs.replace(event, reprocessed_tokens=54) for event in story() if isinstance(event, Evicted))
    told = said(await reach_of([gemma(), remade, hybrid()]))
    assert "1,008 tokens: no layer sees them; the cache was rebuilt without them" in told
    assert "the beginning" not in told
    later = structs.replace(hybrid(), evicted_tokens=1108)
    told = said(await reach_of([gemma(), remade, hybrid(), later]))
    assert "1,108 tokens: no layer sees them; the influence of the last 100 remains in later tokens" in told
    assert "from 1,759, the first since the cache was built" in told


async def test_chunks_have_no_curve() -> None:
    model = gemma()
    model = structs.replace(model, model=structs.replace(model.model, architecture="llama4"))
    told = said(await reach_of([model, hybrid()]))
    assert "chunks do not stack" in told
    assert "exact" not in told


async def test_nothing_is_computed_while_it_is_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes NumPy and maybe seconds: only who looks pays, once for each model, and never the screen's own thread."""
    asked: list[Stack] = []

    def note(stack: Stack, of: Callable[[Stack], ReachCurve] = reach.curve) -> ReachCurve:
        asked.append(stack)
        return of(stack)

    monkeypatch.setattr(reach, "curve", note)
    app = InspectorApp([gemma(), hybrid()])
    async with app.run_test(size=NARROW) as pilot:
        await pilot.pause()
        await computed(app)
        assert "15 × 512 + 3 global" in text_of(app.query_one(Inspector).section("reach").title)
        assert not asked
        await unfolded(pilot, app)
        app.feed(hybrid(), hybrid_sample())
        await pilot.pause()
        await computed(app)
        assert asked == [reach.stack(gemma())]


async def test_the_curve_of_a_model_that_is_gone_is_dropped() -> None:
    app = InspectorApp([gemma(), hybrid()])
    async with app.run_test(size=NARROW) as pilot:
        panel = await unfolded(pilot, app)
        late = reach.curve(reach.stack(gemma()))
        other: Loaded = structs.replace(gemma(), n_ctx=1024)
        app.feed(other)
        await pilot.pause()
        await computed(app)
        await pilot.pause()
        right = text_of(panel)
        panel.post_message(ReachPanel.Computed(reach.stack(gemma()), late))
        await pilot.pause()
        assert text_of(panel) == right


# --------------------------------------------------------------------------- room


@pytest.mark.parametrize(
    "events",
    [
        [gemma(), hybrid(), hybrid_sample()],
        [with_sinks(structs.replace(loaded(), policy="window"), measured_sinks()), past_the_window(), plain_sample()],
        [expert_model(), *(expert_sample(pos) for pos in range(60)), past_the_window()],
    ],
)
async def test_no_line_is_wider_than_its_panel(events: list[AnyEvent]) -> None:
    """A number that is cut reads as a smaller one. From the narrowest inspector that there is to the full screen."""
    app = InspectorApp(events)
    async with app.run_test(size=WIDE) as pilot:
        panels = [await unfolded(pilot, app), app.query_one(SinksPanel), app.query_one(ExpertsPanel)]
        observed = Observed()
        for event in events:
            observed.apply(event)
        too_wide = [
            (width, row.plain)
            for panel in panels
            for width in (LEAST_WIDTH - 2, 30, 38, 71, 72, 90, 120, 200)
            for row in panel.rows(observed, width)
            if row.cell_length > width
        ]
        assert too_wide == []
