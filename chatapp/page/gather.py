"""The content of a page: everything as text that is safe to show, and the coordinates of what is drawn.

Each part is bounded, and the page says where something was omitted: even an endless conversation must open.
"""

import time
from dataclasses import dataclass
from typing import Any

from chatapp.models import name_of
from chatapp.page.bitmap import COLOURS, picture
from chatapp.page.columns import Column, column_of, columns
from chatapp.page.conversation import Item, conversation
from chatapp.page.curves import Curve, curve
from chatapp.page.heads import Heads, heads, needs
from chatapp.presentation import format
from chatapp.presentation.ledger.book import KINDS, LedgerBook, LedgerEntry
from chatapp.presentation.ledger.lines import turns_of
from chatapp.presentation.visibility import TurnVisibility
from chatapp.protocol.events import Loaded, Probed, Snapshot
from chatapp.protocol.values import Memory
from chatapp.replay.lines import OWN, Trace
from chatapp.replay.timeline import CHANGES, LONGEST_PAUSE_S, Timeline
from chatapp.text import LONGEST_SENTENCE, one_line

MOST_ENTRIES = 2000
"""How many of the newest lines of the ledger are shown."""
MOST_MARKS = 600


@dataclass(frozen=True)
class Page:
    """Everything that the template needs. Figures are formatted already."""

    title: str
    facts: list[tuple[str, str]]
    notices: list[str]
    picture: str
    n_columns: int
    rows: str
    legend: list[tuple[str, str]]
    evictions: list[int]
    """Columns in which something was evicted."""
    mismatches: list[str]
    curves: list[Curve]
    heads: Heads
    needs: list[str]
    """What is known about the model's sinks, in sentences."""
    memory: list[tuple[str, str, str]]
    sums: list[tuple[str, ...]]
    ledger: list[tuple[str, ...]]
    kinds: list[str]
    items: list[Item]
    moments: list[dict[str, Any]]
    """For the script: the text of each column, and the turns that were in the window."""
    static: list[tuple[str, ...]]
    """The same for a few columns, as a table."""


def gather(timeline: Timeline) -> Page:
    """Read the content of a page from a trace. Raises UserError where a line that is needed cannot be read."""
    found = columns(timeline)
    notices = [one_line(notice, LONGEST_SENTENCE) for notice in timeline.index.notices]
    snapshots = timeline.index.of_kind("Snapshot")
    if len(snapshots) > len(found):
        notices.append(
            f"The map and the curves show {len(found):,} moments of the trace's {len(snapshots):,} snapshots."
        )
    loaded = _last(timeline, "Loaded")
    book = _book(timeline)
    entries = list(book.entries)[-MOST_ENTRIES:]
    if book.written > len(entries):
        notices.append(f"The ledger shows the last {len(entries):,} of {book.written:,} lines; the totals include all.")
    items = conversation(timeline, notices)
    marks = sorted({column_of(found, entry + 1) for entry in timeline.evictions}) if found else []
    moments = [_moment(column) for column in found]
    return Page(
        title=one_line(timeline.index.path.name),
        facts=_facts(timeline, loaded),
        notices=notices,
        picture=picture(found) if found else "",
        n_columns=len(found),
        rows=_rows(found),
        legend=[(name, colour) for name, colour in COLOURS.items() if colour is not None],
        evictions=marks[:MOST_MARKS],
        mismatches=_mismatches(timeline),
        curves=_curves(found),
        heads=heads(found, notices),
        needs=needs(loaded, found[-1].snapshot if found else None),
        memory=_memory(loaded, found),
        sums=[_sum(kind, book) for kind in KINDS if kind in book.sums],
        ledger=[_entry(entry) for entry in entries],
        kinds=[kind for kind in KINDS if any(entry.kind == kind for entry in entries)],
        items=items,
        moments=moments,
        static=[
            (each["time"], each["cells"], each["window"], each["sinks"], each["memory"], each["speed"])
            for each in (moments[:: max(1, len(moments) // 24)] if moments else [])
        ],
    )


def _last(timeline: Timeline, kind: str) -> Loaded | None:
    found = timeline.index.of_kind(kind)
    entry = timeline.index.entry(found[-1]) if found else None
    return entry if isinstance(entry, Loaded) else None


def _facts(timeline: Timeline, loaded: Loaded | None) -> list[tuple[str, str]]:
    index = timeline.index
    first = index.entry(0)
    facts = [("recorded", f"{_date(index.at_s[0])} to {_date(index.at_s[-1])}")]
    if isinstance(first, Trace):
        facts.append(("recorded with", f"swachat {first.swachat}"))
    if loaded is not None:
        model = loaded.model
        facts += [
            ("model", f"{name_of(model.path)} · {model.architecture} · {model.quantization or format.DASH}"),
            ("window", f"{format.plural(loaded.n_ctx, 'cell')} · policy {loaded.policy}"),
            ("device", "GPU" if loaded.on_gpu else "CPU"),
        ]
    facts += [
        ("turns", format.count(len(timeline.turns))),
        ("evictions", format.count(len(timeline.evictions))),
        ("events", format.count(timeline.end)),
        ("time axis", f"pauses longer than {LONGEST_PAUSE_S:g} s are shortened"),
    ]
    return [(name, one_line(value, LONGEST_SENTENCE)) for name, value in facts]


def _rows(found: list[Column]) -> str:
    n_ctx = max((column.snapshot.n_ctx for column in found), default=0)
    return format.plural(n_ctx, "cell")


def _curves(found: list[Column]) -> list[Curve]:
    drawn = [
        curve("Sink share", "attention on the sinks, mean over heads and layers, in the latest probe sample",
              [None if column.sample is None else column.sample.sink_share for column in found],
              lambda value: f"{value:.0%}", top=1.0),
        curve("Cells in use", "tokens in the window",
              [float(column.snapshot.n_used) for column in found], lambda value: f"{value:,.0f}",
              top=float(max((column.snapshot.n_ctx for column in found), default=1))),
        curve("Memory", "resident memory of the engine process",
              [_float(column.snapshot.resident_bytes) for column in found], lambda value: format.size(round(value))),
        curve("Reply speed", "tokens per second of the latest reply",
              [column.snapshot.decode_tok_s for column in found], lambda value: f"{format.rate(value)} tok/s"),
        curve("Prompt speed", "tokens per second of the latest prompt",
              [column.snapshot.prompt_tok_s for column in found], lambda value: f"{format.rate(value)} tok/s"),
    ]  # fmt: skip
    return [each for each in drawn if each is not None]


def _float(value: int | None) -> float | None:
    return None if value is None else float(value)


def _memory(loaded: Loaded | None, found: list[Column]) -> list[tuple[str, str, str]]:
    planned, measured = (loaded.planned, loaded.measured) if loaded is not None else (Memory(), Memory())
    rows = [
        ("weights", format.size(planned.weights_bytes), format.size(measured.weights_bytes)),
        ("KV cells", format.size(planned.kv_bytes), format.size(measured.kv_bytes)),
        ("compute", format.size(planned.compute_bytes), format.size(measured.compute_bytes)),
    ]
    if loaded is not None and loaded.n_ctx_swa is not None:
        slide = ("KV cells, sliding layers", format.size(planned.kv_swa_bytes), format.size(measured.kv_swa_bytes))
        rows.insert(2, slide)
    resident = found[-1].snapshot.resident_bytes if found else None
    return [*rows, ("process, at the end", "", format.size(resident))]


def _book(timeline: Timeline) -> LedgerBook:
    book = LedgerBook()
    index = timeline.index
    for number in index.of_kind("Prefilled", *CHANGES):
        entry = index.entry(number)
        if not isinstance(entry, OWN):
            book.apply(entry)
    return book


def _entry(entry: LedgerEntry) -> tuple[str, ...]:
    return (
        _clock(entry.at_s),
        entry.kind,
        turns_of(entry),
        "" if entry.tokens is None else f"{entry.tokens:+,}",
        _count(entry.processed),
        _count(entry.reused),
        "" if entry.ms is None else f"{entry.ms:,.1f}",
        entry.why,
    )


def _sum(kind: str, book: LedgerBook) -> tuple[str, ...]:
    total = book.sums[kind]
    tokens = "" if total.tokens is None else f"{total.tokens:+,}"
    return (
        kind,
        format.count(total.times),
        tokens,
        _count(total.processed),
        "" if total.ms is None else f"{total.ms:,.1f}",
    )


def _mismatches(timeline: Timeline) -> list[str]:
    said: list[str] = []
    for number in timeline.mismatches[:20]:
        entry = timeline.index.entry(number)
        if isinstance(entry, Snapshot | Probed) and entry.mismatch:
            said.append(f"{_clock(entry.at_s)}, event {number + 1:,}: {one_line(entry.mismatch, LONGEST_SENTENCE)}")
    if len(timeline.mismatches) > len(said):
        said.append(f"and {len(timeline.mismatches) - len(said):,} more")
    return said


def _moment(column: Column) -> dict[str, Any]:
    snapshot = column.snapshot
    inside = TurnVisibility(snapshot).inside
    return {
        "time": _clock(column.at_s),
        "cells": f"{snapshot.n_used:,}/{snapshot.n_ctx:,}",
        "window": format.turns(inside) or "none",
        "sinks": format.DASH if column.sample is None else f"{column.sample.sink_share:.1%}",
        "memory": format.size(snapshot.resident_bytes),
        "speed": f"{format.rate(snapshot.decode_tok_s)} tok/s" if snapshot.decode_tok_s is not None else format.DASH,
    }


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _clock(at_s: float) -> str:
    return format.clock(at_s)


def _date(at_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_s))
