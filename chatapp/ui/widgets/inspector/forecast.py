"""The forecast panel: what would happen if the draft were sent now."""

from textual.content import Content

from chatapp.presentation import format
from chatapp.presentation.forecast import cut
from chatapp.presentation.observed import Observed
from chatapp.protocol.events import Foreseen
from chatapp.ui.widgets.inspector.panel import Panel, labelled
from chatapp.ui.widgets.inspector.sampled import noted


class ForecastPanel(Panel):
    """The draft's tokens, the free cells, the turns that would be evicted, and how long the prefill would take."""

    HELP = (
        "What sending the draft would do, worked out by the engine whenever you pause in writing: it tokenizes the"
        " draft as it would be sent and tries its policy on the ledger, without touching the cache. "
        "The cells that it leaves free are for the reply; if the prompt is short of cells, the turns named here would"
        " be evicted, and the reply may evict more. "
        "The time is estimated from the speed of the last prompt, and includes what would be processed again."
    )

    def rows(self, observed: Observed, width: int) -> list[Content]:
        """One row while nothing is drafted."""
        foreseen = observed.foreseen
        if foreseen is None:
            return [labelled("draft", "none")]
        rows = [
            labelled("draft", format.plural(foreseen.tokens, "token")),
            labelled("cells", _cells(foreseen)),
            *noted("evicts", _leaving(foreseen, observed), width),
        ]
        if foreseen.reprocessed:
            rows.append(labelled("rebuild", format.plural(foreseen.reprocessed, "kept token")))
        took = format.DASH if foreseen.seconds is None else f"{format.duration(foreseen.seconds)} to prefill"
        return [*rows, labelled("takes", took)]

    def summary(self, observed: Observed) -> str:
        """ "312 tokens · evicts turns 3–4"; nothing while nothing is drafted."""
        foreseen = observed.foreseen
        if foreseen is None:
            return ""
        tokens = format.plural(foreseen.tokens, "token")
        if not foreseen.leaving:
            return tokens
        return f"{tokens} · evicts {format.turns_named(foreseen.leaving)}"


def _cells(foreseen: Foreseen) -> str:
    left = foreseen.free - foreseen.tokens
    return f"{foreseen.free:,} free, " + (f"leaves {left:,} free" if left >= 0 else f"{-left:,} short")


def _leaving(foreseen: Foreseen, observed: Observed) -> str:
    policy = observed.loaded.policy if observed.loaded is not None else ""
    if foreseen.partly and policy == "dense":
        return "nothing (dense): the draft does not fit"
    turns = format.turns_named(foreseen.leaving) if foreseen.leaving else ""
    return " and ".join(part for part in (turns, cut(foreseen, policy, observed.snapshot)) if part) or "nothing"
