"""What real models attend to, as the inspector draws it: each figure against one worked out here from the bytes.

The panels' own tests feed them made-up events; these prove that real ones are drawn, and drawn right.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import pytest

from chatapp.presentation import format
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.commands import Load, Probe, Send
from chatapp.protocol.events import Loaded, Probed, TurnDone
from chatapp.protocol.values import CacheSettings, EngineSettings, LayerSight
from chatapp.ui.widgets.inspector.experts import ExpertsPanel
from chatapp.ui.widgets.inspector.inspector import Inspector
from chatapp.ui.widgets.inspector.reach import ReachPanel
from chatapp.ui.widgets.inspector.sinks import SinksPanel
from tests.support.engine.process import Engine, english, greedy
from tests.support.tiny_models import WINDOW, tiny
from tests.support.ui.inspector_app import InspectorApp, text_of

SIZE = (120, 100)


@dataclass(frozen=True)
class Watched:
    """A short conversation with a model that was looked into."""

    events: list[AnyEvent]

    @property
    def loaded(self) -> Loaded:
        return next(event for event in self.events if isinstance(event, Loaded))

    @property
    def probed(self) -> list[Probed]:
        return [event for event in self.events if isinstance(event, Probed)]


def watched(path: Path, log: Path, *, n_words: int, n_ctx: int) -> Watched:
    """One turn: a long message, and a reply whose tokens are looked into as often as the probe's bound lets them be."""
    with Engine(log) as engine:
        settings = EngineSettings(threads=1, probe_every=2)
        engine.post(Load(path=str(path), cache=CacheSettings(n_ctx=n_ctx), engine=settings))
        events = list(engine.until(Loaded).events)
        engine.open(system="Be brief.")
        engine.post(Probe(), Send(turn=1, text=english(n_words), sampling=greedy(12)))
        events += engine.until(TurnDone).events
    found = Watched(events)
    assert found.probed
    assert all(event.mismatch is None for event in found.probed)
    return found


def drawn(seen: Watched, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Title and body of each panel, on a wide screen, with digits for shades."""
    monkeypatch.setenv("NO_COLOR", "1")
    return asyncio.run(_drawn(seen))


async def _drawn(seen: Watched) -> dict[str, list[str]]:
    app = InspectorApp(seen.events)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        inspector = app.query_one(Inspector)
        for section in inspector.present:
            section.fold(not isinstance(section.body, SinksPanel | ExpertsPanel | ReachPanel))
        await pilot.pause()
        await app.workers.wait_for_complete()  # pyright: ignore[reportUnknownMemberType]  Worker[Unknown]
        await pilot.pause()
        return {
            section.label: [text_of(section.title), *text_of(section.body).splitlines()]
            for section in inspector.present
            if not section.folded
        }


def share(layers: list[LayerSight]) -> float:
    """Attention on sinks, mean over the heads of these layers: bytes of 255, the learned sinks' added."""
    heads = [byte for layer in layers for byte in layer.kept]
    return (sum(heads) + sum(byte for layer in layers for byte in layer.learned)) / 255 / len(heads)


def figure(lines: list[str], label: str) -> str:
    """The last word of the line with this label."""
    (line,) = [line for line in lines if line.startswith(f"{label} ")]
    return line.split()[-1]


def check_heads(lines: list[str], probed: Probed) -> None:
    """The table has a row for each layer, in order, with a digit for each head: whole tenths, nothing as a dot."""
    first = next(at for at, line in enumerate(lines) if line.startswith("layer ")) + 1
    for line, layer in zip(lines[first:], probed.layers, strict=False):
        number, kind, mean, *rest = line.split()
        assert (int(number), kind) == (layer.layer, "sliding" if layer.kind == "swa" else "global")
        assert mean == format.percent(share([layer]))
        digits = [str(10 * byte // 255) if 10 * byte >= 255 else "·" for byte in (*layer.kept, *layer.learned)]
        digits = ["9" if digit == "10" else digit for digit in digits]
        assert list("".join(rest[:-1])) == digits


def test_smollm2_looks_at_its_first_token(starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """30 layers of 9 heads, all of which see the whole window."""
    seen = watched(starter, tmp_path / "log", n_words=120, n_ctx=512)
    newest = seen.probed[-1]
    panels = drawn(seen, monkeypatch)
    assert f"{format.percent(newest.sink_share)} of attention" in panels["Sinks"][0]
    assert figure(panels["Sinks"], "now") == format.percent(share(newest.layers))
    assert abs(share(newest.layers) - newest.sink_share) < 0.002, "half a byte's step at most"
    assert newest.sink_share > 0.2
    assert len(newest.layers) == 30
    check_heads(panels["Sinks"], newest)
    assert "30 global: all 512 cells" in panels["Reach"][1]
    assert "Experts" not in panels


def test_gemma_sees_its_sinks_in_the_global_layers_alone(
    gemma: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than 512 tokens on, the sinks have left the window of 15 of 18 layers."""
    seen = watched(gemma, tmp_path / "log", n_words=560, n_ctx=1024)
    newest = seen.probed[-1]
    panels = drawn(seen, monkeypatch)
    kinds = {kind: [layer for layer in newest.layers if layer.kind == kind] for kind in ("global", "swa")}
    assert [len(kinds["global"]), len(kinds["swa"])] == [3, 15]
    assert newest.pos > 600
    assert figure(panels["Sinks"], "global") == format.percent(share(kinds["global"])) != "0%"
    assert figure(panels["Sinks"], "sliding") == "0%"
    check_heads(panels["Sinks"], newest)
    told = " ".join(panels["Reach"])
    assert "15 sliding: 512 tokens; 3 global: all 1,024 cells" in told
    assert "order    ·····█·····█·····█" in told
    assert "exact    1,404 · 2.74 W" in told


def test_learned_sinks_are_told_from_kept_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """gpt-oss: what a head's own number took stands apart, in every layer, and the panel says that it is no cell."""
    seen = watched(tiny("gpt-oss", tmp_path), tmp_path / "log", n_words=60, n_ctx=256)
    newest = seen.probed[-1]
    panels = drawn(seen, monkeypatch)
    kept = fmean(byte / 255 for layer in newest.layers for byte in layer.kept)
    learned = fmean(byte / 255 for layer in newest.layers for byte in layer.learned)
    assert f"kept {format.percent(kept)} · learned {format.percent(learned)}" in " ".join(panels["Sinks"])
    assert learned > 0.01
    check_heads(panels["Sinks"], newest)
    assert "no cell" in " ".join(panels["Sinks"])
    assert f"2 sliding: {WINDOW} tokens; 2 global: all 256 cells" in " ".join(panels["Reach"])


@pytest.mark.parametrize("name", ["mixtral", "gpt-oss"])
def test_experts_are_counted_as_the_router_chose_them(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For each layer the tokens that went through an expert, counted here."""
    seen = watched(tiny(name, tmp_path), tmp_path / "log", n_words=60, n_ctx=256)
    lines = drawn(seen, monkeypatch)["Experts"]
    n_expert, n_used = seen.loaded.model.n_expert, seen.loaded.model.n_expert_used
    assert n_expert is not None
    assert f"{n_used} of {n_expert} per token" in lines[0]
    chosen: dict[int, list[list[int]]] = {}
    for event in seen.probed:
        for layer in event.layers:
            if layer.experts:
                chosen.setdefault(layer.layer, []).append(layer.experts)
    assert len(chosen) == 4
    counts = {
        layer: [sum(expert in token for token in tokens) for expert in range(n_expert)]
        for layer, tokens in chosen.items()
    }
    top = max(max(row) for row in counts.values())
    first = next(at for at, line in enumerate(lines) if line.startswith("layer ")) + 1
    for line, (layer, row) in zip(lines[first:], sorted(counts.items()), strict=False):
        number, _, used, *rest = line.split()
        digits = [10 * count // top for count in row]
        assert (int(number), int(used)) == (layer, sum(1 for count in row if count))
        assert rest[:n_expert] == [str(min(9, digit)) if digit else "·" for digit in digits]
        newest = seen.probed[-1].layers[layer]
        heaviest = max(zip(newest.expert_weights, newest.experts, strict=True))[1]
        assert rest[n_expert] == str(heaviest)
