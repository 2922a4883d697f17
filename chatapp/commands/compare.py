"""`swachat compare`: score the same text under two windows, side by side."""

import argparse
import asyncio
import json
from typing import TYPE_CHECKING

from chatapp.commands.scored import add_text_flags, request_of, too_short
from chatapp.commands.shared import add_config_flag, config_of, engine_log
from chatapp.terminal_line import TerminalLine
from chatapp.text import one_line

if TYPE_CHECKING:
    from chatapp.compare.measurement import SideMeasurement
    from chatapp.compare.side import ComparedCache
    from chatapp.protocol.commands import Measure

PLOT_COLUMNS, PLOT_ROWS = 64, 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments."""
    add_text_flags(parser)
    parser.add_argument("--a", required=True, metavar="SIDE", help="one side, POLICY:WINDOW[:SINKS], such as sinks:512")
    parser.add_argument("--b", required=True, metavar="SIDE", help="the side to compare it with, such as window:512")
    parser.add_argument("--model", metavar="MODEL", help="path, name or hf:org/repo[:file]; default: the last one used")
    parser.add_argument("--json", action="store_true", help="print only a JSON object")
    add_config_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; the exit code."""
    from chatapp.compare.side import ComparedCache

    sides = ComparedCache.parse(args.a), ComparedCache.parse(args.b)
    a, b = asyncio.run(_measure(args, request_of(args), sides))
    if not a.losses or not b.losses:
        raise too_short(args)
    if args.json:
        print(json.dumps(_as_json(a, b)))
    else:
        _print(a, b, sides)
    return 0


async def _measure(
    args: argparse.Namespace, request: "Measure", sides: "tuple[ComparedCache, ComparedCache]"
) -> "tuple[SideMeasurement, SideMeasurement]":
    """One after the other: each engine has ended before the next one starts, so that its memory is free again."""
    from chatapp import models
    from chatapp.compare.measurement import measure
    from chatapp.config import cache_settings, engine_settings
    from chatapp.engine.client import EngineClient

    config = config_of(args)
    path = models.resolve(args.model or config.model)
    measurements: list[SideMeasurement] = []
    for name, side in zip("AB", sides, strict=True):
        line, title = TerminalLine(), f"{name} {side}"
        measurement = await measure(
            EngineClient(engine_log()),
            path,
            side.request(cache_settings(config)),
            engine_settings(config),
            request,
            lambda measurement, line=line, title=title: line.show(_progress(title, measurement)),
        )
        line.clear()
        measurements.append(measurement)
    return measurements[0], measurements[1]


def _progress(name: str, measurement: "SideMeasurement") -> str:
    return f"{name}: {measurement.tokens:,} tokens" if measurement.loaded is not None else f"{name}: loading"


def _print(a: "SideMeasurement", b: "SideMeasurement", sides: "tuple[ComparedCache, ComparedCache]") -> None:
    from chatapp.compare.findings import sentences, table
    from chatapp.compare.plot import HEADING, plot
    from chatapp.models import name_of

    assert a.loaded is not None
    rows = [("", f"A  {sides[0]}", f"B  {sides[1]}", "B/A"), *table(a, b)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    print(f"{one_line(name_of(a.loaded.model.path))}\n")
    for name, *values in rows:
        print("  ".join([name.ljust(widths[0]), *map(str.rjust, values, widths[1:])]).rstrip())
    print(f"\n{HEADING}")
    print("\n".join(plot(a.curve, b.curve, PLOT_COLUMNS, PLOT_ROWS).lines()))
    print("\n".join(["", *sentences(a, b)]))


def _as_json(a: "SideMeasurement", b: "SideMeasurement") -> dict[str, object]:
    from chatapp.compare.findings import diverges_at, widest
    from chatapp.models import name_of

    assert a.loaded is not None
    assert a.measured is not None
    gap = widest(a.curve, b.curve)
    n = min(len(a.losses), len(b.losses))
    return {
        "model": name_of(a.loaded.model.path),
        "every": a.measured.every,
        "a": _side_as_json(a, n),
        "b": _side_as_json(b, n),
        "parted_at": diverges_at(a.losses, b.losses, a.measured.every),
        "widest": None if gap is None else {"first": gap.first, "last": gap.last, "a": gap.a, "b": gap.b},
    }


def _side_as_json(measurement: "SideMeasurement", n: int) -> dict[str, object]:
    measured = measurement.measured
    assert measured is not None
    return {
        "policy": measured.policy,
        "n_ctx": measured.n_ctx,
        "n_sink": measured.n_sink,
        "perplexity": measurement.perplexity(n),
        "tokens": measured.tokens,
        "tok_s": measured.tok_s,
        "kv_bytes": measurement.kv_bytes,
        "shifts": measured.shifts,
        "evicted_tokens": measured.evicted_tokens,
        "curve": measurement.curve,
        "stop_reason": measured.stop_reason,
    }
