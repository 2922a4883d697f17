"""The memory panel: by component and device, over time, what the window saves, and the warning."""

import itertools
from collections.abc import Sequence

import msgspec
import pytest

from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Evicted, Loaded, Snapshot
from chatapp.protocol.values import Buffers, Ghost, HostMemory, Memory
from chatapp.ui.widgets.inspector.memory import MemoryPanel
from chatapp.ui.widgets.inspector.section import Section
from tests.support.presentation.inspector_events import (
    CPU,
    GPU,
    NOON_S,
    conversation,
    hybrid,
    loaded,
    past_the_window,
    snapshot,
    story,
)
from tests.support.ui.inspector_app import InspectorApp, text_of

GIB = 1 << 30
HOST = HostMemory(available_bytes=9 * GIB, limit_bytes=16 * GIB, swap_used_bytes=0, swapped_bytes=0, private_bytes=GIB)


def shared(host_compute: int, card_weights: int) -> list[Buffers]:
    """A hybrid, most of it on a card, but for these bytes."""
    card = Memory(weights_bytes=card_weights, kv_bytes=11_796_480, kv_swa_bytes=3_932_160, compute_bytes=23_000_000)
    return [
        Buffers(device="CPU", memory=Memory(weights_bytes=8_200_000, compute_bytes=host_compute)),
        Buffers(device="CUDA0", memory=card),
    ]


def on_two_devices() -> Loaded:
    """Planned a little smaller than it became."""
    return msgspec.structs.replace(
        loaded(2048, 512, 768), buffers=shared(1_000_000, 90_000_000), planned_buffers=shared(900_000, 89_900_000)
    )


def at(seconds: float, resident: int, host: HostMemory | None = HOST) -> Snapshot:
    """The same cache, later."""
    return msgspec.structs.replace(past_the_window(), at_s=NOON_S + seconds, resident_bytes=resident, host=host)


def evicted() -> Evicted:
    """Turns left."""
    return next(event for event in story() if isinstance(event, Evicted))


async def rows(events: Sequence[AnyEvent], width: int = 42) -> list[str]:
    """The panel's lines."""
    app = InspectorApp(events)
    async with app.run_test(size=(width, 90)) as pilot:
        await pilot.pause()
        return [" ".join(line.split()) for line in text_of(app.query_one(MemoryPanel)).splitlines()]


async def test_each_component_is_planned_and_measured() -> None:
    """A sum of which a part was not measured is a dash; the sliding layers' cells count."""
    assert (await rows([loaded(2048, 512, 768), hybrid()]))[:7] == [
        "planned measured",
        "weights 93.5 MiB 93.7 MiB",
        "KV cells 11.2 MiB 11.2 MiB",
        "KV SWA 3.75 MiB 3.75 MiB",
        "compute 22.9 MiB —",
        "total 131 MiB —",
        "process 239 MiB",
    ]


async def test_what_each_device_holds_stands_beside_what_is_free_there() -> None:
    """Narrow: under each device. Zoomed: in two columns for each, whose sums have no dash for what is elsewhere."""
    narrow = await rows([on_two_devices(), hybrid()])
    assert narrow[narrow.index("CPU 7.26 GiB of 14.9 GiB free") + 1] == "model 8.77 MiB, plan 8.68 MiB"
    assert narrow[narrow.index("CUDA0 57 GiB of 79.2 GiB free") + 1] == "model 123 MiB, plan 123 MiB"
    wide = await rows([on_two_devices(), hybrid()], 100)
    assert wide[0] == "planned measured planned on CPU planned on CUDA0"
    assert wide[1] == "weights 93.5 MiB 93.7 MiB 7.82 MiB 7.82 MiB 85.7 MiB 85.8 MiB"
    assert wide[3] == "KV SWA 3.75 MiB 3.75 MiB — — 3.75 MiB 3.75 MiB"
    assert wide[5] == "total 131 MiB — 8.68 MiB 8.77 MiB 123 MiB 123 MiB"
    assert not any(line.startswith("model ") for line in wide)


async def test_devices_that_have_no_room_for_columns_have_lines() -> None:
    """Eight cards, zoomed: nothing is cut off."""
    both = on_two_devices()
    cards = [msgspec.structs.replace(both.buffers[1], device=f"CUDA{i}") for i in range(8)]
    many = msgspec.structs.replace(both, buffers=[both.buffers[0], *cards], planned_buffers=[])
    wide = await rows([many, hybrid()], 118)
    assert wide[0] == "planned measured"
    assert wide[wide.index("CUDA0 57 GiB of 79.2 GiB free") + 1] == "model 123 MiB, plan —"


async def test_one_device_has_no_column_of_its_own() -> None:
    """It would repeat what is measured."""
    assert (await rows([loaded(), snapshot()], 100))[0] == "planned measured"


async def test_the_process_is_drawn_from_its_lowest_to_its_highest_size_with_evictions() -> None:
    """Three seconds, an eviction in the second one."""
    events = [loaded(), at(0, 248_000_000), evicted(), at(1, 250_000_000), at(2, 253_000_000)]
    drawn = await rows(events)
    assert drawn[drawn.index("process 241 MiB") + 1 :][:2] == [
        "▁▄█ 237 MiB–241 MiB",
        "^ ^ eviction",
    ]
    app = InspectorApp(events)
    async with app.run_test(size=(42, 90)) as pilot:
        await pilot.pause()
        lines = text_of(app.query_one(MemoryPanel)).splitlines()
        bars, under = next((a, b) for a, b in itertools.pairwise(lines) if "▁▄█" in a)
        assert under.index("^") == bars.index("▄")


async def test_a_size_that_does_not_change_is_flat() -> None:
    drawn = await rows([loaded(), *(at(second, 251_000_000) for second in range(5))])
    assert "▄▄▄▄▄ 239 MiB" in drawn


async def test_the_panel_says_what_the_window_saves() -> None:
    cache = snapshot(conversation([(22, 61)]), ghosts=[Ghost(turn=1, tokens=48_099, whole=True)])
    told = " ".join(await rows([loaded(), cache]))
    assert "window A full cache for 48,213 tokens would take 1.04 GiB; this one takes 11.2 MiB." in told


async def test_what_was_swapped_is_told_when_there_is_any() -> None:
    assert not any("swap" in line for line in await rows([loaded(), at(0, 1)]))
    host = msgspec.structs.replace(HOST, swapped_bytes=12_000_000)
    assert "swapped 11.4 MiB" in await rows([loaded(), at(0, 1, host)])


@pytest.mark.parametrize("no_color", [False, True])
async def test_memory_that_runs_out_is_a_warning_above_all_and_in_the_title(
    no_color: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reversed, in colour or without; gone only when it was well for a while."""
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    low = msgspec.structs.replace(HOST, available_bytes=GIB)
    app = InspectorApp([loaded(), at(0, 251_000_000, low)])
    async with app.run_test(size=(42, 90)) as pilot:
        await pilot.pause()
        panel = app.query_one(MemoryPanel)
        lines = text_of(panel).splitlines()
        assert " ".join(" ".join(lines[:2]).split()) == "Memory is low: only 1 GiB of 16 GiB is available."
        strip = panel.render_line(0)
        assert all(segment.style is not None and segment.style.reverse for segment in strip if segment.text.strip())
        title = panel.query_ancestor(Section).title
        assert "239 MiB · memory is low" in text_of(title)
        app.feed(at(1, 251_000_000))
        await pilot.pause()
        assert text_of(panel).startswith(" Memory is low")
        app.feed(at(12, 251_000_000))
        await pilot.pause()
        assert "Memory is low" not in text_of(panel)


async def test_a_new_model_begins_anew() -> None:
    """Neither the history nor a warning is about it."""
    low = msgspec.structs.replace(HOST, available_bytes=GIB)
    drawn = await rows([loaded(), at(0, 248_000_000, low), at(5, 250_000_000, low), loaded(), at(9, 100_000_000)])
    assert not any("low" in line or "▁" in line for line in drawn)


async def test_the_host_without_figures_is_no_warning() -> None:
    """An older trace, say."""
    drawn = await rows([loaded(), at(0, 1, None), msgspec.structs.replace(at(1, 2, None), devices=[CPU, GPU])])
    assert not any("emory is" in line for line in drawn)
