"""What the cache did, said in one line each for the transcript: an eviction is never silent."""

from typing import TYPE_CHECKING

from chatapp.ui.format import count, duration, plural, rate, turns

if TYPE_CHECKING:
    from chatapp.engine.protocol import Evicted, Foreseen, Opened, RolledBack, TurnStats


def evicted(events: "list[Evicted]") -> str:
    """The evictions of one turn, told together: a long paste causes hundreds of them."""
    tokens = plural(sum(event.tokens for event in events), "token")
    whole = sorted({turn for event in events for turn in event.turns})
    partly = sorted({event.partial_turn for event in events if event.partial_turn is not None} - set(whole))
    named = [f"turn {whole[0]}" if len(whole) == 1 else f"turns {turns(whole)}"] if whole else []
    named += [f"the oldest part of turn {turn}" for turn in partly]
    subject = " and ".join(named) or "the oldest tokens"
    return f"{subject[0].upper()}{subject[1:]} left the window: {tokens}."


def opened(event: "Opened") -> str | None:
    """What it took to make the cache hold the conversation; None where there was none."""
    if event.in_window_turns == 0 and event.evicted_turns == 0:
        return None
    out = f" {plural(event.evicted_turns, 'older turn')} did not fit into the window." if event.evicted_turns else ""
    how = f"{plural(event.processed_tokens, 'token')} processed"
    if event.restored_tokens:
        how = f"{plural(event.restored_tokens, 'token')} put back from disk"
    return (
        f"The cache holds {plural(event.in_window_turns, 'turn')} of this conversation again: "
        f"{how} in {duration(event.ms / 1000)}.{out}"
    )


def rolled_back(event: "RolledBack") -> str:
    """A cut, or the rebuild that was done in its place."""
    if event.rebuilt:
        return (
            f"The cache was rebuilt: {plural(event.processed_tokens, 'token')} processed in "
            f"{duration(event.ms / 1000)}, because {event.why}."
        )
    return f"Rolled back {plural(event.tokens, 'token')}: {event.why}."


def foreseen(event: "Foreseen") -> str:
    """What sending the draft would do."""
    tokens = plural(event.tokens, "token")
    if event.partly:
        return f"{tokens}: longer than the window, its beginning will leave"
    if event.leaving:
        which = f"turn {event.leaving[0]}" if len(event.leaving) == 1 else f"turns {turns(event.leaving)}"
        return f"{tokens}: {which} will leave the window"
    return f"{tokens}, {count(event.free)} free"


def stats(cost: "TurnStats", stop_reason: str | None) -> str:
    """The line under a reply."""
    parts = [
        f"{rate(cost.decode_tok_s)} tok/s" if cost.decode_tok_s is not None else "",
        f"first {duration(cost.ttft_s)}" if cost.ttft_s is not None else "",
        f"{count(cost.reply_tokens)} tok",
        f"reused {count(cost.reused_tokens)}",
        f"processed {count(cost.processed_tokens)}",
        f"evicted {count(cost.evicted_tokens)}" if cost.evicted_tokens else "",
        STOPPED.get(stop_reason or "", ""),
    ]
    return " · ".join(part for part in parts if part)


STOPPED = {
    "cancelled": "stopped",
    "length": "the longest reply allowed",
    "window_full": "the window is full",
    "error": "failed",
}
"""Why a reply ended, where it is worth saying."""
