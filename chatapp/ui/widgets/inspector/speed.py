"""The speed panel: the speed of prefill and decode, and where the time of a turn goes."""

from textual.content import Content
from textual.style import Style

from chatapp.presentation import format
from chatapp.presentation.observed import Observed
from chatapp.presentation.time_series import MARKED, marks
from chatapp.protocol.values import Threads
from chatapp.ui.widgets.inspector.panel import LABEL_WIDTH, Panel, labelled
from chatapp.ui.widgets.inspector.sampled import WIDE

STAGES = ("template", "prefill", "sample", "decode", "probe", "draw")


class SpeedPanel(Panel):
    """Prompt and decode rates, time to the first token, time by stage, and the last replies' decode rates as bars."""

    HELP = (
        "Prompt is the rate at which the last prompt's new tokens were processed, and reply the rate from the first to"
        " the newest token of the reply, both by the engine's clock; threads are those that decode a reply, with"
        " auto the number that was the fastest lately beside whatever else the machine does; TTFT (time to first token)"
        " is the time from the engine's receipt of the message to the first token of its reply. "
        "For the last turn, template, prefill, sample, decode and probe are the engine's time, one after the other, and"
        " draw is the processor time of the interface meanwhile, in a process of its own. "
        "Each bar is the decode rate of one whole reply, drawn from zero, the newest on the right, with a ^ under a"
        " reply that caused an eviction."
    )

    def rows(self, observed: Observed, width: int) -> list[Content]:
        """Prompt, reply, TTFT, stages, history."""
        snapshot, last = observed.snapshot, observed.last_turn
        return [
            labelled("prompt", _rate(snapshot.prompt_tok_s if snapshot is not None else None)),
            labelled("reply", _rate(snapshot.decode_tok_s if snapshot is not None else None)),
            *(
                []
                if snapshot is None or snapshot.threads is None
                else [labelled("threads", _threads(snapshot.threads))]
            ),
            labelled("TTFT", format.duration(last.ttft_s) if last is not None else format.DASH),
            *self._stages(observed, width),
            *self._history(observed, width),
        ]

    def summary(self, observed: Observed) -> str:
        """ "61 tok/s": the reply's."""
        return _rate(observed.snapshot.decode_tok_s if observed.snapshot is not None else None)

    def _stages(self, observed: Observed, width: int) -> list[Content]:
        """The stages in two columns, or with a bar each if it is wide enough."""
        last = observed.last_turn
        if last is None or last.stages is None:
            return []
        stages = last.stages
        took = (stages.template, stages.prefill, stages.sample, stages.decode, stages.probe, observed.drawn_ms)
        if width >= WIDE:
            most = max(ms or 0.0 for ms in took)
            room = width - LABEL_WIDTH - 12
            style = Style() if self.colours.plain else Style(foreground=self.colours.colour("turn-a"))
            return [
                labelled(
                    name,
                    f"{_ms(ms):>10}  ",
                    Content.styled(format.fraction_bar(ms or 0.0, most, room), style),
                )
                for name, ms in zip(STAGES, took, strict=True)
            ]
        half = max(LABEL_WIDTH + 8, width // 2)
        cells = [labelled(name, _ms(ms)) for name, ms in zip(STAGES, took, strict=True)]
        return [
            Content.assemble(left, " " * max(1, half - left.cell_length), right)
            for left, right in zip(cells[::2], cells[1::2], strict=True)
        ]

    def _history(self, observed: Observed, width: int) -> list[Content]:
        if not observed.decode_history:
            return []
        shown = list(observed.decode_history)[-max(1, width - len(" up to 9999 tok/s")) :]
        rates = [pace.tok_s for pace in shown]
        style = Style() if self.colours.plain else Style(foreground=self.colours.colour("turn-a"))
        bars = Content.styled(format.bars(rates, len(rates)), style)
        rows = [Content.assemble(bars, (f" up to {format.rate(max(rates))} tok/s", "dim"))]
        if any(pace.evicted for pace in shown):
            rows.append(Content.assemble(marks(pace.evicted for pace in shown), (MARKED, "dim")))
        return rows


def _rate(tok_s: float | None) -> str:
    return format.DASH if tok_s is None else f"{format.rate(tok_s)} tok/s"


def _threads(threads: Threads) -> str:
    """ "1 of 2 · faster than 2": those of a reply; those of a prompt only where they differ."""
    prompt = f", {threads.prefill} for a prompt" if threads.prefill != threads.decode else ""
    return f"{threads.decode} of {threads.most}{prompt} · {threads.why}"


def _ms(ms: float | None) -> str:
    return format.DASH if ms is None else format.duration(ms / 1000)
