"""The speed panel: how fast prompts are read and replies written."""

from textual.content import Content
from textual.style import Style

from chatapp.ui import format
from chatapp.ui.widgets.observed import Observed
from chatapp.ui.widgets.panel import Panel, labelled


class Speed(Panel):
    """Prompt and decode rates, time to the first token, and the last replies' decode rates as bars."""

    HELP = (
        "Prompt is the rate at which the last prompt's new tokens went through the model, and reply the rate from the"
        " first to the newest token of the reply, both by the engine's clock. "
        "First token is the time from the engine taking the message to the first token of its reply. "
        "Each bar is the decode rate of one whole reply, drawn from zero, the newest at the right."
    )

    def rows(self, observed: Observed, width: int) -> list[Content]:
        """Prompt, reply, first token, history."""
        snapshot, last = observed.snapshot, observed.last_turn
        history = observed.decode_history
        rows = [
            labelled("prompt", _rate(snapshot.prompt_tok_s if snapshot is not None else None)),
            labelled("reply", _rate(snapshot.decode_tok_s if snapshot is not None else None)),
            labelled("first", f"token after {format.duration(last.ttft_s)}" if last is not None else format.DASH),
        ]
        if history:
            bars = format.bars(history, max(1, width - len(" up to 9999 tok/s")))
            style = Style() if self.colours.plain else Style(foreground=self.colours.colour("turn-a"))
            top = max(list(history)[-len(bars) :])
            rows.append(Content.assemble((bars, style), (f" up to {format.rate(top)} tok/s", "dim")))
        return rows

    def summary(self, observed: Observed) -> str:
        """ "61 tok/s": the reply's."""
        return _rate(observed.snapshot.decode_tok_s if observed.snapshot is not None else None)


def _rate(tok_s: float | None) -> str:
    return format.DASH if tok_s is None else f"{format.rate(tok_s)} tok/s"
