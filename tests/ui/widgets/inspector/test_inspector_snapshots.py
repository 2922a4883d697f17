"""What a person sees of the inspector, at the widths it is used at, with colour and without."""

from collections.abc import Callable

import pytest

from chatapp.protocol.codec import AnyEvent
from tests.support.presentation.inspector_events import (
    NOON_S,
    done,
    hybrid,
    loaded,
    past_the_window,
    snapshot,
    started,
    story,
)
from tests.support.ui.inspector_app import InspectorApp

Compare = Callable[..., bool]


def plain_model() -> list[AnyEvent]:
    """512 cells of a model with full attention, after two turns of which the second made room for itself."""
    return [started(), loaded(), *story(), past_the_window()]


def hybrid_model() -> list[AnyEvent]:
    """2,048 cells and a sliding window of 512, with a card beside the processor, and ten replies of history."""
    replies = [
        done(turn, reply=30, reused=400, at_s=NOON_S + turn, decode_tok_s=float(40 + turn)) for turn in range(9, 19)
    ]
    return [started(), loaded(2048, 512, 768), *story(), *replies, hybrid()]


def test_narrow(snap_compare: Compare) -> None:
    """34 columns: grey ghosts of three turns, amber sinks, green and blue turns with paler replies, a white bar where
    the next token goes, dots for free cells; 412/512, 31 sinks from the system prompt, memory with a dash for the
    compute buffer that nobody measured, 61.2 tok/s, and a ledger log that ends with the reply of turn 8."""
    assert snap_compare(InspectorApp(plain_model()), terminal_size=(34, 44))


def test_wide_with_a_sliding_window(snap_compare: Compare) -> None:
    """48 columns: under the map a strip of the sliding-window layers with a bracket "512 of window 512"; a partly
    evicted turn in orange, a pinned one in pink, "evicted 12+" before the ghosts; KV SWA and CUDA0 in the memory."""
    assert snap_compare(InspectorApp(hybrid_model()), terminal_size=(48, 48))


def test_without_colour(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    """40 columns, NO_COLOR: the same as letters (s, X, P) and shades, in greys only."""
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(InspectorApp(hybrid_model()), terminal_size=(40, 48))


def test_before_a_model(snap_compare: Compare) -> None:
    """Nothing is loaded: dashes, no map, no guess."""
    assert snap_compare(InspectorApp([started()]), terminal_size=(40, 40))


def test_mismatch(snap_compare: Compare) -> None:
    """A red block above everything says that the picture is wrong, and why."""
    events = [started(), loaded(), snapshot(mismatch="the ledger ends at 411, llama.cpp at 409")]
    assert snap_compare(InspectorApp(events), terminal_size=(40, 40))


def test_line(snap_compare: Compare) -> None:
    """80 columns, one line: the sink count, the map, 412/512, 3 turns gone, 61.2 tok/s, 251 MB."""
    assert snap_compare(InspectorApp(plain_model(), line=True), terminal_size=(80, 2))


def test_line_without_colour(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    """60 columns, NO_COLOR: letters and shades in the strip, and the memory left out for want of room."""
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(InspectorApp(plain_model(), line=True), terminal_size=(60, 2))
