"""What the cache did, as one line each for the transcript: no eviction is silent."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from chatapp.presentation.format import count, duration, plural, rate, turns_named
from chatapp.text import LONGEST_SENTENCE, one_line

if TYPE_CHECKING:
    from chatapp.protocol.events import (
        Evicted,
        Foreseen,
        Opened,
        Pinned,
        Recalled,
        RecallForeseen,
        Released,
        RolledBack,
        Snapshot,
    )
    from chatapp.protocol.values import Sinks, TurnStats

NOT_RECORDED = "(The text is not in this trace.)"
QUICK_S = 1.0
"""A shorter wait is not worth mentioning."""

Level = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Notice:
    """One line for the transcript. It replaces the notice directly before it if both have the same key."""

    level: Level
    text: str
    key: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", one_line(self.text, LONGEST_SENTENCE))  # it may quote a model or a trace


def evicted(events: "list[Evicted]") -> str:
    """The evictions of one turn, reported together: a long paste causes hundreds of them."""
    tokens = plural(sum(event.tokens for event in events), "token")
    whole = sorted({turn for event in events for turn in event.turns})
    partly = sorted({event.partial_turn for event in events if event.partial_turn is not None} - set(whole))
    named = [turns_named(whole)] if whole else []
    named += [f"the oldest part of turn {turn}" for turn in partly]
    subject = " and ".join(named) or "the oldest tokens"
    was = "was" if len(named) == 1 and len(whole) < 2 else "were"
    return f"{subject[0].upper()}{subject[1:]} {was} evicted: {tokens}."


def sinks(found: "Sinks") -> str:
    """The result of a measurement that the person waited for."""
    if found.n == 0:
        return f"No sinks are kept. {found.why}"
    kept = (
        "The first token is kept as a sink" if found.n == 1 else f"The first {count(found.n)} tokens are kept as sinks"
    )
    return f"{kept}. {found.why}"


def opened(event: "Opened") -> str | None:
    """What it took to fill the cache with the conversation; None if it took nothing."""
    if not event.processed_tokens and not event.restored_tokens:
        return None
    if event.in_window_turns == 0 and event.evicted_turns == 0:
        return None
    kept = event.restored_tokens or event.reused_tokens
    why = ("was" if event.evicted_turns == 1 else "were") + " evicted before" if kept else "did not fit"
    out = f" {plural(event.evicted_turns, 'older turn')} {why}." if event.evicted_turns else ""
    are = "is" if event.in_window_turns == 1 else "are"
    how = [
        f"{plural(event.reused_tokens, 'token')} still cached" if event.reused_tokens else "",
        f"{plural(event.restored_tokens, 'token')} restored from disk" if event.restored_tokens else "",
        f"{plural(event.processed_tokens, 'token')} processed" if event.processed_tokens else "",
    ]
    return (
        f"{plural(event.in_window_turns, 'turn')} of this conversation {are} in the cache again: "
        f"{', '.join(part for part in how if part)} in {duration(event.ms / 1000)}.{out}"
    )


def rolled_back(event: "RolledBack") -> str:
    """A cut, or the rebuild that was done in its place."""
    if event.rebuilt:
        return (
            f"The cache was rebuilt: {plural(event.processed_tokens, 'token')} processed in "
            f"{duration(event.ms / 1000)}, because {event.why}."
        )
    memory = (
        f" The rest was restored from a checkpoint in {duration(event.ms / 1000)}." if event.from_checkpoint else ""
    )
    return f"Rolled back {plural(event.tokens, 'token')}: {event.why}.{memory}"


def pinned(event: "Pinned") -> str:
    """A turn was pinned or unpinned."""
    if event.pinned:
        return (
            f"Turn {event.turn} is pinned: {plural(event.tokens, 'token')}. "
            f"In all, {plural(event.kept_tokens, 'token')} are never evicted."
        )
    because = f": {event.why}" if event.why else ""
    return f"Turn {event.turn} is no longer pinned{because}."


def recalled(event: "Recalled") -> str:
    """Evicted turns were recalled."""
    which = turns_named(event.turns)
    are = "is" if len(event.turns) == 1 else "are"
    tokens = plural(event.tokens, "token")
    return f"{which[0].upper()}{which[1:]} {are} back in the window: {tokens} in {duration(event.ms / 1000)}."


def recall_foreseen(event: "RecallForeseen") -> str:
    """What a recall would evict."""
    leaving = [turns_named(event.leaving)] if event.leaving else []
    if event.partial_turn is not None:
        leaving.append(f"the oldest part of turn {event.partial_turn}")
    return (
        f"Recalling {turns_named(event.turns)} takes {plural(event.tokens, 'token')} and evicts "
        f"{' and '.join(leaving)}."
    )


def released(event: "Released") -> str:
    """An inactive branch was dropped to free cells."""
    return (
        f"An inactive branch was dropped from the cache, because {event.why}: {plural(event.tokens, 'cell')} freed. "
        "It is processed again when you return to it."
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
        return f"{tokens}: too long for the window, evicts its own beginning{again}"
    leaving = " and ".join(each for each in (turns_named(event.leaving) if event.leaving else "", part) if each)
    if leaving:
        return f"{tokens}: evicts {leaving}{again}"
    return f"{tokens}: leaves {count(event.free - event.tokens)} free{again}"


def stats(cost: "TurnStats", stop_reason: str | None) -> str:
    """The line under a reply."""
    parts = [
        f"{rate(cost.decode_tok_s)} tok/s" if cost.decode_tok_s is not None else "",
        f"TTFT {duration(cost.ttft_s)}" if cost.ttft_s is not None else "",
        f"{count(cost.reply_tokens)} tok",
        f"cached {count(cost.reused_tokens)}",
        f"new {count(cost.processed_tokens)}",
        f"evicted {count(cost.evicted_tokens)}" if cost.evicted_tokens else "",
        STOPPED.get(stop_reason or "", ""),
    ]
    return " · ".join(part for part in parts if part)


STOPPED = {
    "cancelled": "stopped",
    "length": "length limit",
    "window_full": "window full",
    "error": "failed",
}
"""Why a reply ended, if that is worth saying."""
