"""The forecast panel: what would happen if the draft were sent now."""

from textual.content import Content

from chatapp.presentation import format
from chatapp.presentation.forecast import cut
from chatapp.presentation.observed import Observed
from chatapp.protocol.events import Foreseen
from chatapp.ui.widgets.inspector.panel import Panel, labelled
from chatapp.ui.widgets.inspector.sampled import noted


class ForecastPanel(Panel):
    """The draft's tokens, the cells they find, the turns that would leave, and how long reading them would take."""

    HELP = (
        "What sending the draft would do, asked of the engine when you pause in writing: it tokenizes the draft as it"
        " would be sent and tries its policy on the ledger, without touching the cache. "
        "Then is what would be left for the reply; where there is too little, the turns named here would leave for the"
        " prompt, and the reply may need room of its own. "
        "The time is worked out at the speed of the last prompt, and counts what would be processed again."
    )

    def rows(self, observed: Observed, width: int) -> list[Content]:
        """One row while nothing is drafted."""
        foreseen = observed.foreseen
        if foreseen is None:
            return [labelled("draft", "nothing yet")]
        rows = [
            labelled("draft", format.plural(foreseen.tokens, "token")),
            labelled("cells", _cells(foreseen)),
            *noted("leaves", _leaving(foreseen, observed), width),
        ]
        if foreseen.reprocessed:
            rows += noted(
                "again", f"{format.plural(foreseen.reprocessed, 'token')} that stay are processed again", width
            )
        took = format.DASH if foreseen.seconds is None else f"{format.duration(foreseen.seconds)} to read"
        return [*rows, labelled("takes", took)]

    def summary(self, observed: Observed) -> str:
        """ "312 tokens · turns 3–4 leave"; nothing while nothing is drafted."""
        foreseen = observed.foreseen
        if foreseen is None:
            return ""
        tokens = format.plural(foreseen.tokens, "token")
        if not foreseen.leaving:
            return tokens
        return (
            f"{tokens} · {format.turns_named(foreseen.leaving)} {'leaves' if len(foreseen.leaving) == 1 else 'leave'}"
        )


def _cells(foreseen: Foreseen) -> str:
    left = foreseen.free - foreseen.tokens
    return f"{foreseen.free:,} free, then {left:,}" if left >= 0 else f"{foreseen.free:,} free: {-left:,} too few"


def _leaving(foreseen: Foreseen, observed: Observed) -> str:
    policy = observed.loaded.policy if observed.loaded is not None else ""
    if foreseen.partly and policy == "dense":
        return "nothing may: the draft does not fit"
    turns = format.turns_named(foreseen.leaving) if foreseen.leaving else ""
    return " and ".join(part for part in (turns, cut(foreseen, policy, observed.snapshot)) if part) or "nothing"
