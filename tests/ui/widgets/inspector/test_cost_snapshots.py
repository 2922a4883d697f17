"""What a person sees of what the cache costs: forecast, speed, ledger log and memory, narrow and wide, with colour and
without."""

from collections.abc import Callable

import msgspec
import pytest
from textual.app import App, ComposeResult
from textual.containers import VerticalScroll

from chatapp.presentation.memory_pressure import MemoryWatch
from chatapp.presentation.observed import Observed
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Foreseen, Snapshot, TurnDone
from chatapp.protocol.values import Buffers, HostMemory, Memory, Stages
from chatapp.ui.widgets.inspector.forecast import ForecastPanel
from chatapp.ui.widgets.inspector.ledger_log import LedgerLog
from chatapp.ui.widgets.inspector.memory import MemoryPanel
from chatapp.ui.widgets.inspector.section import Section
from chatapp.ui.widgets.inspector.speed import SpeedPanel
from tests.support.presentation.inspector_events import NOON_S, done, hybrid, loaded, story

Compare = Callable[..., bool]
NARROW, WIDE = (38, 48), (110, 48)


class CostApp(App[None]):
    """The four panels, each as a section, as wide as the screen."""

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Section("Forecast", ForecastPanel())
            yield Section("Speed", SpeedPanel())
            yield Section("Ledger", LedgerLog())
            yield Section("Memory", MemoryPanel())

    def on_mount(self) -> None:
        """Show a long conversation, once the panels know their width."""
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        observed, memory = Observed(), MemoryWatch()
        for event in events():
            observed.apply(event)
            memory.take(event)
        observed.drawn_ms, observed.pressure = 87.0, memory.pressure
        for section in self.query(Section):
            section.look(observed)


def events() -> list[AnyEvent]:
    """A hybrid on two devices, ten replies of which every third made room, and memory that runs out at the end."""
    replies = [reply(turn) for turn in range(9, 19)]
    pictures = [picture(second) for second in range(12)]
    evicted = story()[5]
    foreseen = Foreseen(
        at_s=NOON_S, id=1, tokens=812, free=100, leaving=[5, 6], partly=False, seconds=9.2, reprocessed=1204
    )
    return [on_two_devices(), *story(), *replies, *pictures[:5], evicted, *pictures[5:], foreseen]


def on_two_devices() -> AnyEvent:
    """Most of the model is on a card."""
    on_card = Memory(weights_bytes=90_000_000, kv_bytes=11_796_480, kv_swa_bytes=3_932_160, compute_bytes=23_000_000)
    on_host = Memory(weights_bytes=8_200_000, compute_bytes=1_000_000)
    buffers = [Buffers(device="CPU", memory=on_host), Buffers(device="CUDA0", memory=on_card)]
    return msgspec.structs.replace(loaded(2048, 512, 768), buffers=buffers, planned_buffers=buffers)


def reply(turn: int) -> TurnDone:
    """A reply, and where its time went."""
    end = done(turn, reply=30, reused=400, at_s=NOON_S + turn, decode_tok_s=float(40 + turn % 7))
    stages = Stages(template=2.1, prefill=412.0, sample=31.0, decode=1900.0, probe=12.0)
    stats = msgspec.structs.replace(end.stats, stages=stages, evicted_tokens=212 if turn % 3 == 0 else 0)
    return msgspec.structs.replace(end, stats=stats)


def picture(second: int) -> Snapshot:
    """The cache a second later, the process a little larger, and the host with little left."""
    host = HostMemory(available_bytes=(2000 - 150 * second) << 20, limit_bytes=8 << 30, swapped_bytes=12 << 20)
    return msgspec.structs.replace(
        hybrid(), at_s=NOON_S + second, resident_bytes=248_000_000 + second * 400_000, host=host
    )


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["narrow", "wide"])
def test_in_colour(snap_compare: Compare, size: tuple[int, int]) -> None:
    """A draft of 812 tokens for which turns 5–6 leave; stages, and ten replies with marks under four of them; the last
    lines of the ledger log; red above the memory that is low. Wide: a bar for each stage, the ledger's sums, two
    columns for each device."""
    assert snap_compare(CostApp(), terminal_size=size)


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["narrow", "wide"])
def test_without_colour(snap_compare: Compare, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, and every figure can be read: the warning is reversed."""
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(CostApp(), terminal_size=size)
