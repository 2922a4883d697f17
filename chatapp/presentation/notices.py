"""What the cache did, said in one line each for the transcript: an eviction is never silent."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from chatapp.presentation.format import count, duration, plural, rate, turns_named

if TYPE_CHECKING:
    from chatapp.protocol.events import (
        Evicted,
        Foreseen,
        Opened,
        Pinned,
        Recalled,
        Released,
        RolledBack,
        Snapshot,
    )
    from chatapp.protocol.values import Sinks, TurnStats

NOT_RECORDED = "(The words are not in this trace.)"
QUICK_S = 1.0
"""Nobody needs to be told of a shorter wait."""

Level = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Notice:
    """One line for the transcript. It takes the place of the notice directly before it where both have the same key."""

    level: Level
    text: str
    key: str | None = None


def evicted(events: "list[Evicted]") -> str:
    """The evictions of one turn, told together: a long paste causes hundreds of them."""
    tokens = plural(sum(event.tokens for event in events), "token")
    whole = sorted({turn for event in events for turn in event.turns})
    partly = sorted({event.partial_turn for event in events if event.partial_turn is not None} - set(whole))
    named = [turns_named(whole)] if whole else []
    named += [f"the oldest part of turn {turn}" for turn in partly]
    subject = " and ".join(named) or "the oldest tokens"
    return f"{subject[0].upper()}{subject[1:]} left the window: {tokens}."


def sinks(found: "Sinks") -> str:
    """What came of a measurement that the person waited for."""
    return f"{plural(found.n, 'first token')} {'stays' if found.n == 1 else 'stay'} in the cache. {found.why}"


def opened(event: "Opened") -> str | None:
    """What it took to make the cache hold the conversation; None where it took nothing."""
    if not event.processed_tokens and not event.restored_tokens:
        return None
    if event.in_window_turns == 0 and event.evicted_turns == 0:
        return None
    out = f" {plural(event.evicted_turns, 'older turn')} did not fit into the window." if event.evicted_turns else ""
    how = [
        f"{plural(event.reused_tokens, 'token')} were there" if event.reused_tokens else "",
        f"{plural(event.restored_tokens, 'token')} put back from disk" if event.restored_tokens else "",
        f"{plural(event.processed_tokens, 'token')} processed" if event.processed_tokens else "",
    ]
    return (
        f"The cache holds {plural(event.in_window_turns, 'turn')} of this conversation again: "
        f"{', '.join(part for part in how if part)} in {duration(event.ms / 1000)}.{out}"
    )


def rolled_back(event: "RolledBack") -> str:
    """A cut, or the rebuild that was done in its place."""
    if event.rebuilt:
        return (
            f"The cache was rebuilt: {plural(event.processed_tokens, 'token')} processed in "
            f"{duration(event.ms / 1000)}, because {event.why}."
        )
    memory = f" The rest came from a checkpoint in {duration(event.ms / 1000)}." if event.from_checkpoint else ""
    return f"Rolled back {plural(event.tokens, 'token')}: {event.why}.{memory}"


def pinned(event: "Pinned") -> str:
    """A turn is kept for good, or no longer."""
    if event.pinned:
        return (
            f"Turn {event.turn} is pinned: its {plural(event.tokens, 'token')} stay. "
            f"With the sinks, {count(event.kept_tokens)} never leave."
        )
    because = f": {event.why}" if event.why else ""
    return f"Turn {event.turn} is no longer pinned{because}."


def recalled(event: "Recalled") -> str:
    """Evicted turns are back."""
    which = turns_named(event.turns)
    are = "is" if len(event.turns) == 1 else "are"
    tokens = plural(event.tokens, "token")
    return f"{which[0].upper()}{which[1:]} {are} in the window again: {tokens} in {duration(event.ms / 1000)}."


def released(event: "Released") -> str:
    """A branch that is not in use has made room."""
    return (
        f"A branch that is not in use left the cache: {plural(event.tokens, 'cell')} free, because {event.why}. "
        "It is processed again when you go back to it."
    )


def forecast(event: "Foreseen", policy: str = "", snapshot: "Snapshot | None" = None) -> str:
    """What sending the draft would do, under the policy in force and to this cache."""
    from chatapp.presentation.forecast import OWN, cut

    tokens = plural(event.tokens, "token")
    if event.seconds is not None and event.seconds >= QUICK_S:
        tokens = f"{tokens} in {duration(event.seconds)}"
    again = f", {plural(event.reprocessed, 'token')} processed again" if event.reprocessed else ""
    if event.partly and policy == "dense":
        return f"{tokens}: does not fit"
    part = cut(event, policy, snapshot)
    if part == OWN:
        return f"{tokens}: more than the window has room for, its beginning will leave{again}"
    leaving = " and ".join(each for each in (turns_named(event.leaving) if event.leaving else "", part) if each)
    if leaving:
        return f"{tokens}: {leaving} will leave the window{again}"
    return f"{tokens}, {count(event.free - event.tokens)} then free{again}"


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
