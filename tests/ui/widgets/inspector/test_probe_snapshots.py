"""What a person sees of sinks, experts and reach, narrow and wide, with colour and without."""

from collections.abc import Callable, Iterable

import pytest
from msgspec import structs
from textual.app import App, ComposeResult
from textual.containers import VerticalScroll
from textual.pilot import Pilot

from chatapp.paths import data_dir
from chatapp.presentation.observed import Observed
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Evicted, Loaded
from chatapp.ui.themes import load_theme
from chatapp.ui.widgets.inspector.experts import ExpertsPanel
from chatapp.ui.widgets.inspector.reach import ReachPanel
from chatapp.ui.widgets.inspector.section import Section
from chatapp.ui.widgets.inspector.sinks import SinksPanel
from tests.support.presentation.inspector_events import conversation, hybrid, loaded, snapshot, story
from tests.support.presentation.probe_events import (
    expert_model,
    expert_sample,
    measured_sinks,
    plain_sample,
    with_sinks,
)

Compare = Callable[..., bool]
NARROW, WIDE = (42, 50), (112, 70)


class ProbeApp(App[None]):
    """The three panels, each as a section, as wide as the screen."""

    def __init__(self, events: Iterable[AnyEvent], theme: str = "swachat-dark") -> None:
        super().__init__()
        self.observed = Observed()
        self.theme_name = theme
        for event in events:
            self.observed.apply(event)

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Section("Sinks", SinksPanel())
            yield Section("Experts", ExpertsPanel())
            yield Section("Reach", ReachPanel())

    def on_mount(self) -> None:
        """Show what was observed, once the panels know their width."""
        theme = load_theme(self.theme_name, [data_dir() / "themes"])
        assert theme is not None
        self.register_theme(theme)
        self.theme = theme.name
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        for section in self.query(Section):
            section.turn_up(self.observed)
            section.look(self.observed)


async def computed(pilot: Pilot[None]) -> None:
    """Wait for the curve."""
    await pilot.pause()
    await pilot.app.workers.wait_for_complete()  # pyright: ignore[reportUnknownMemberType]  Worker[Unknown]
    await pilot.pause()


def with_experts() -> list[AnyEvent]:
    """A model as gpt-oss: learned sinks, 32 experts, every other of 12 layers slides; tokens left after 20 samples."""
    model: Loaded = structs.replace(expert_model(32, n_layer=12), n_ctx=2048)
    samples = [expert_sample(pos * pos, n_layer=12, n_expert=32) for pos in range(29)]
    evicted = next(event for event in story() if isinstance(event, Evicted))
    return [model, *samples[:20], evicted, *samples[20:], hybrid()]


def without_sinks() -> list[AnyEvent]:
    """30 layers of 9 heads that look at their first tokens, under a policy that keeps none."""
    model = with_sinks(structs.replace(loaded(), policy="window"), measured_sinks(outliers=((0, 168.0), (23, 12.0))))
    return [model, plain_sample(), snapshot(conversation([(22, 61), (18, 49)], sinks=0))]


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["narrow", "wide"])
@pytest.mark.parametrize("colour", [True, False], ids=["colour", "plain"])
def test_experts_and_learned_sinks(
    snap_compare: Compare, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], colour: bool
) -> None:
    """Bars of 10% kept (solid) and 20% learned (hatched); an eviction under the 21st sample. Narrow: 32 experts in 8
    rows, 12 layers across. Wide: a row for each layer with its heads, one for each with its experts, and the curve as
    a table with the formula. Without colour the same in digits."""
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(ProbeApp(with_experts()), terminal_size=size, run_before=computed)


@pytest.mark.parametrize("theme", ["swachat-light", "terminal"])
def test_too_few_sinks(snap_compare: Compare, theme: str) -> None:
    """A warning that no first token is kept and one needed, the losses of each count, and a slope of shades over 30
    layers and 9 heads: paler and stronger in the light theme, denser in that of sixteen colours."""
    assert snap_compare(ProbeApp(without_sinks(), theme), terminal_size=(112, 54), run_before=computed)
