"""Comparing two measurements: a table, and where they diverge."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chatapp.compare.measurement import SideMeasurement
from chatapp.presentation import format
from chatapp.protocol.commands import SCORED_STEP_TOK
from chatapp.units import significant

ALIKE_NATS = 0.01
"""Losses closer than this are equal: two caches that hold the same tokens differ by the rounding of their batches."""

Row = tuple[str, str, str, str]
"""Name, A's value, B's value, and B's divided by A's."""


def diverges_at(a: Sequence[float], b: Sequence[float], every: int) -> int | None:
    """The first token of the text whose loss differs between the two; None where there is none.

    `a` and `b` are -ln p, in nats, of every `every`-th token: the first is that of token `every`.
    """
    for index, (one, other) in enumerate(zip(a, b, strict=False)):
        if abs(one - other) > ALIKE_NATS:
            return (index + 1) * every
    return None


@dataclass(frozen=True)
class Gap:
    """The part of the text where the two differ most: tokens `first` to `last`, and the perplexities there."""

    first: int
    last: int
    a: float
    b: float


def widest(a: Sequence[float], b: Sequence[float]) -> Gap | None:
    """Where the two curves are farthest apart, as a ratio; None where they do not overlap."""
    parts = list(zip(a, b, strict=False))
    if not parts:
        return None
    at = max(
        range(len(parts)), key=lambda index: max(parts[index][0] / parts[index][1], parts[index][1] / parts[index][0])
    )
    return Gap(at * SCORED_STEP_TOK, (at + 1) * SCORED_STEP_TOK, *parts[at])


def table(a: SideMeasurement, b: SideMeasurement) -> list[Row]:
    """The figures of both; a dash where one is not known yet. The perplexities cover what both have scored."""
    n = min(len(a.losses), len(b.losses)) or None
    one, other = a.measured, b.measured
    policies = [measurement.loaded.policy if measurement.loaded is not None else format.DASH for measurement in (a, b)]
    cells = [measurement.loaded.n_ctx if measurement.loaded is not None else None for measurement in (a, b)]
    return [
        ("policy", policies[0], policies[1], ""),
        _row("perplexity", a.perplexity(n), b.perplexity(n), _three_decimals),
        _row("tokens scored", len(a.losses) or None, len(b.losses) or None, _whole),
        _row("window, cells", cells[0], cells[1], _whole),
        _row("KV cache", a.kv_bytes, b.kv_bytes, lambda n: format.size(int(n))),
        _row("ms per token", one and 1000 / one.tok_s, other and 1000 / other.tok_s, significant),
        _row("tokens evicted", one and one.evicted_tokens, other and other.evicted_tokens, _whole),
        _row("shifts", one and one.shifts, other and other.shifts, _whole),
        _row("sinks", one and one.n_sink, other and other.n_sink, _whole),
    ]


def sentences(a: SideMeasurement, b: SideMeasurement) -> list[str]:
    """The conclusions; none before both are measured."""
    if a.measured is None or b.measured is None or not a.losses or not b.losses:
        return []
    said: list[str] = []
    at_token = diverges_at(a.losses, b.losses, a.measured.every)
    if at_token is None:
        said.append("A and B predict every token equally well: neither needed what the other evicted.")
        if not a.measured.evicted_tokens and not b.measured.evicted_tokens:
            said = ["A and B predict every token equally well: neither window evicted anything. Use a longer text."]
    else:
        said.append(f"They diverge at token {at_token:,}.")
        gap = widest(a.curve, b.curve)
        if gap is not None:
            said.append(
                f"The gap is widest at tokens {gap.first:,} to {min(gap.last, len(a.losses) * a.measured.every):,}:"
                f" perplexity {gap.a:.1f} (A) against {gap.b:.1f} (B)."
            )
    for name, measurement in (("A", a.measured), ("B", b.measured)):
        if measurement.stop_reason == "window_full":
            said.append(f"{name} stopped when its window was full: the perplexities cover the text up to there.")
    return said


def _row(name: str, a: float | None, b: float | None, shown: Callable[[float], str]) -> Row:
    over = f"{b / a:.2f}" if a and b is not None else ""
    return name, *_both(a, b, shown), over


def _both(a: float | None, b: float | None, shown: Callable[[float], str]) -> tuple[str, str]:
    return format.DASH if a is None else shown(a), format.DASH if b is None else shown(b)


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _three_decimals(value: float) -> str:
    return f"{value:,.3f}"
