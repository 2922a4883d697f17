"""The reach panel: what the layers see directly, what can reach a token through stacked windows, and how far back the
conversation goes.
"""

from dataclasses import dataclass
from functools import partial

from textual.content import Content
from textual.message import Message
from textual.style import Style

from chatapp.presentation import format, reach
from chatapp.presentation.observed import Observed
from chatapp.presentation.reach import ALPHA, EPS, HistoryReach, ReachCurve, Stack
from chatapp.ui.widgets.inspector.panel import LABEL_WIDTH, Panel, labelled
from chatapp.ui.widgets.inspector.sampled import WIDE, noted
from chatapp.units import significant

TABLE_ROWS = 16
_LONGEST_BAR = 30
_NOTHING = HistoryReach(in_window=0, recent=0, evicted=0, residual=0)


class ReachPanel(Panel):
    """Layers and window, how far back the conversation goes, the exact curve beside the formula."""

    HELP = (
        "A sliding layer sees its window, a global one the whole cache, and tokens farther back influence the newest"
        " one only through the tokens between; the curve shows how much of the influence comes from a distance"
        " or beyond. "
        "It is computed exactly from the shape of the model, assuming even attention and a residual of 0.9: it is the"
        " geometry of the windows, not a measurement. "
        "No layer sees evicted tokens, but their influence remains in later tokens until the cache is rebuilt."
    )

    @dataclass
    class Computed(Message):
        """The curve of a stack has been computed."""

        stack: Stack
        curve: ReachCurve

    def __init__(self) -> None:
        super().__init__()
        self._stack: Stack | None = None
        self._curve: ReachCurve | None = None
        """Of `_stack`; None while it is being computed, and if it cannot be."""

    def look(self, observed: Observed) -> None:
        """Draw what is observed now; for a new model, begin to compute the curve."""
        stack = reach.stack(observed.loaded) if observed.loaded is not None else None
        if stack != self._stack:
            self._stack, self._curve = stack, None
            if stack is not None and reach.computable(stack):
                self.run_worker(partial(self._compute, stack), thread=True, exclusive=True, group="reach")
        super().look(observed)

    def _compute(self, stack: Stack) -> None:
        self.post_message(self.Computed(stack, reach.curve(stack)))

    def on_reach_panel_computed(self, event: Computed) -> None:
        """Draw it, unless the model has changed meanwhile."""
        event.stop()
        if event.stack == self._stack:
            self._curve = event.curve
            super().look(self._observed)

    def rows(self, observed: Observed, width: int) -> list[Content]:
        """What is seen directly, how far back the conversation goes, and how much of that reaches the newest token."""
        if observed.loaded is None:
            return [labelled("layers", format.DASH)]
        stack = reach.stack(observed.loaded)
        history = _NOTHING
        if observed.snapshot is not None:
            history = reach.history_reach(observed.snapshot, observed.residual.tokens(observed.snapshot))
        rows = [*self._layers(stack, width), *_history(history, width)]
        if not stack.n_sliding:
            return rows
        if stack.chunked:
            words = f"each sees only its chunk of {stack.window:,} tokens, with fixed boundaries: chunks do not stack"
            return [*rows, *noted("sliding", words, width)]
        if not reach.computable(stack):
            return [*rows, *noted("curve", "takes too long to compute here; use `swachat lab reach`", width)]
        curve = self._curve if self._stack == stack else None
        if curve is None:
            return [*rows, labelled("curve", "computing …")]
        rows += [*_through(stack, curve, history, width), *_ranges(stack, curve, width)]
        return [*rows, *(self._table if width >= WIDE else self._picture)(stack, curve, history, width)]

    def summary(self, observed: Observed) -> str:
        """ "15 × 512 + 3 global", "all 512"."""
        if observed.loaded is None:
            return format.DASH
        stack = reach.stack(observed.loaded)
        if not stack.n_sliding:
            return f"all {stack.n_ctx:,}"
        others = f" + {stack.n_global} global" if stack.n_global else ""
        return f"{stack.n_sliding} × {stack.window:,}{others}"

    def _layers(self, stack: Stack, width: int) -> list[Content]:
        """How many layers of each kind, and in which order."""
        n = len(stack.slides)
        if not stack.n_sliding:
            return noted("layers", f"{n} global: all {stack.n_ctx:,} cells", width)
        rows = noted(
            "layers",
            f"{stack.n_sliding} sliding: {stack.window:,} tokens; "
            + (f"{stack.n_global} global: all {stack.n_ctx:,} cells" if stack.n_global else "none global"),
            width,
        )
        if stack.n_global and n <= width - LABEL_WIDTH:
            rows.append(labelled("order", "".join("·" if slides else "█" for slides in stack.slides)))
        return rows

    def _picture(self, stack: Stack, curve: ReachCurve, history: HistoryReach, width: int) -> list[Content]:
        """The curve as bars from the newest token back, with marks under them."""
        room = max(8, width - LABEL_WIDTH)
        last = _last(stack, curve)
        distances = [last * column // (room - 1) for column in range(room)]
        bars = format.bars([curve.beyond(distance) for distance in distances], room)
        marks = [" "] * room
        for letter, tokens in (("W", stack.window), ("F", round(curve.formula_tokens)), ("X", curve.exact_tokens)):
            marks[min(room - 1, round(tokens * (room - 1) / last))] = letter
        if 1 < history.recent <= last:
            marks[round((history.recent - 1) * (room - 1) / last)] = "^"
        style = Style() if self.colours.plain else Style(foreground=self.colours.colour("turn-a"))
        return [
            labelled("curve", Content.styled(bars, style)),
            labelled("", "".join(marks).rstrip()),
            *noted("", f"to {last:,} back; W window, F formula, X exact, ^ last contiguous", width, "dim"),
        ]

    def _table(self, stack: Stack, curve: ReachCurve, history: HistoryReach, width: int) -> list[Content]:
        """What comes from each distance or beyond: through the windows alone, by the formula, through all layers."""
        last = _last(stack, curve)
        marks = {stack.window: "window", curve.exact_tokens: "exact", round(curve.formula_tokens): "formula"}
        if history.recent > 1:
            marks[history.recent - 1] = "last contiguous"
        if history.residual:
            marks[history.farthest] = "oldest influence"
        distances = sorted({last * row // (TABLE_ROWS - 1) for row in range(TABLE_ROWS)} | marks.keys())
        every = f"{'all layers':>10}  " if stack.n_global else ""
        heading = f"{'back':>9}  {'sliding':>8}  {'formula':>8}  {every}"
        room = min(_LONGEST_BAR, width - len(heading) - 1 - max(map(len, marks.values())))
        rows = [Content(""), Content.styled(heading, "dim")]
        style = Style() if self.colours.plain else Style(foreground=self.colours.colour("turn-a"))
        for distance in distances:
            share, together = curve.beyond(distance), curve.beyond_together(distance)
            bound = (1 - ALPHA) ** (distance / stack.window)
            line = f"{distance:>9,}  {format.percent(share):>8}  {format.percent(bound):>8}  "
            if stack.n_global:
                line += f"{format.DASH if together is None else format.percent(together):>10}  "
            bar = format.fraction_bar(share, 1.0, room).ljust(room)
            rows.append(
                Content.assemble(line, (bar, style), (f" {marks[distance]}" if distance in marks else "", "dim"))
            )
        return rows


def _history(history: HistoryReach, width: int) -> list[Content]:
    if not history.in_window:
        return []
    there = f"{format.plural(history.in_window, 'token')} in the window"
    if not history.evicted:
        return noted("now", there, width)
    whose = (
        "their influence" if history.residual == history.evicted else f"the influence of the last {history.residual:,}"
    )
    then = f"{whose} remains in later tokens" if history.residual else "the cache was rebuilt without them"
    return [
        *noted("now", f"{there}, the last {history.recent:,} contiguous", width),
        *noted("evicted", f"{format.plural(history.evicted, 'token')}: no layer sees them; {then}", width),
    ]


def _through(stack: Stack, curve: ReachCurve, history: HistoryReach, width: int) -> list[Content]:
    """How much the oldest tokens in the window, and the oldest one with any influence, reach the newest token."""
    if history.recent < 2:
        return []
    back = history.recent - 1
    how = f"through {format.plural(stack.n_sliding, 'sliding layer')}"
    rows: list[Content] = []
    if stack.n_global:
        sees = "layer sees" if stack.n_global == 1 else "layers see"
        rows += noted("global", f"{stack.n_global} {sees} all {history.in_window:,} directly", width)
    rows += noted("sliding", f"{format.percent(curve.beyond(back))} comes from {back:,} back or farther {how}", width)
    if history.residual:
        share = format.percent(curve.beyond(history.farthest))
        rows += noted("", f"{share} from {history.farthest:,}, {_first(history)}", width)
    return rows


def _first(history: HistoryReach) -> str:
    """What the oldest token is that may still have influence."""
    return "the beginning" if history.residual == history.evicted else "the first since the cache was built"


def _ranges(stack: Stack, curve: ReachCurve, width: int) -> list[Content]:
    def of(tokens: float) -> str:
        return f"{tokens:,.0f} · {significant(tokens / stack.window)} W"

    rows = [
        *noted("exact", f"{of(curve.exact_tokens)}: {format.percent(EPS)} comes from there or farther", width),
        *noted("formula", f"{of(curve.formula_tokens)}: W ln {EPS:g} / ln {1 - ALPHA:.2g}, at any depth", width),
    ]
    if width >= WIDE:
        rows.append(labelled("at most", f"{of(stack.reachable_tokens)}: layers (W - 1) + 1, no influence beyond"))
    return rows


def _last(stack: Stack, curve: ReachCurve) -> int:
    """The farthest distance that is drawn: well beyond the point where the curve is nearly zero."""
    return max(2, min(stack.reachable_tokens - 1, max(curve.exact_tokens, round(curve.formula_tokens)) * 3 // 2))
