"""Every panel of the inspector on the whole screen, at both sizes, in colour and without.

The panels are those of the table `PANELS`: one that is added there is pictured here, and all that it needs is an event
in `everything` where nothing in there concerns it yet.
"""

from collections.abc import Callable

import pytest
from msgspec import structs
from textual.pilot import Pilot

from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Loaded
from chatapp.ui.widgets.inspector.inspector import PANELS, Inspector
from tests.support.presentation.inspector_events import started
from tests.support.presentation.probe_events import expert_sample, measured_sinks
from tests.support.ui.inspector_app import InspectorApp
from tests.ui.widgets.inspector.test_cost_snapshots import events

Compare = Callable[..., bool]


def everything() -> list[AnyEvent]:
    """A conversation past its window, on two devices, with a draft, and five looks into a model that has everything:
    sliding layers, experts and learned sinks."""
    first, *rest = events()
    assert isinstance(first, Loaded)
    facts = structs.replace(
        first.model, n_layer=4, n_layer_swa=2, n_head=2, n_expert=8, n_expert_used=2, learned_sinks=True
    )
    model = structs.replace(first, model=facts, slides=[True, False, True, False], sinks=measured_sinks())
    return [started(), model, *rest, *(expert_sample(pos) for pos in range(1380, 1400, 4))]


@pytest.mark.parametrize("colour", [True, False], ids=["colour", "plain"])
@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])
@pytest.mark.parametrize("panel", PANELS)
def test_a_zoomed_panel(
    snap_compare: Compare, panel: str, size: tuple[int, int], colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The title with its figure and the keys, then the panel's rows, none of them cut; without colour every kind of
    cell, every bar and every mark can still be told from the others."""
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")

    async def zoomed(pilot: Pilot[None]) -> None:
        inspector = pilot.app.query_one(Inspector)
        await pilot.pause()
        inspector.zoom(inspector.section(panel))
        await pilot.pause(0.1)
        # The reach panel works its curve out in a thread.
        await pilot.app.workers.wait_for_complete()  # pyright: ignore[reportUnknownMemberType]  Worker[Unknown]
        await pilot.pause()

    assert snap_compare(InspectorApp(everything()), terminal_size=size, run_before=zoomed)
