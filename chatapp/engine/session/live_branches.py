"""The branches of the conversation that the cache holds: the one in use, and parked ones that resume at no cost."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from chatapp.engine.interrupts import CancelledError
from chatapp.engine.kv.cache import KvCache
from chatapp.engine.kv.roll_back import RollBack
from chatapp.engine.session.transcript import BranchTranscript
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Branched, RolledBack
from chatapp.protocol.values import Message

Progress = Callable[[int, int | None], Callable[[int], None]]
"""(total tokens, turn) -> a callback that is told how many of them are done."""

_WORDS = {
    RollBack.CUT: "",
    RollBack.CHECKPOINT: "; what a cut cannot bring back was restored from a checkpoint",
    RollBack.REBUILT: "; cells that the sliding window needs were gone, so the cache was rebuilt",
    RollBack.UNFINISHED: "; the rebuild was stopped, and is finished before the next message",
}


class LiveBranches:
    """The live branches, as text (`transcript`, which only this class changes) and as cells."""

    def __init__(self, kv: KvCache, emit: Callable[[AnyEvent], None], text: Callable[[Sequence[int]], str]) -> None:
        """`text(tokens)` spells tokens out, special ones too."""
        self.kv = kv
        self._text = text
        self._transcript = BranchTranscript()
        self._emit = emit
        self._parked: dict[int, BranchTranscript] = {}

    @property
    def transcript(self) -> BranchTranscript:
        """The transcript of the branch in use."""
        return self._transcript

    @property
    def live(self) -> int:
        """How many branches the cache holds."""
        return len(self.kv.parked) + 1

    def clear(self) -> None:
        """Empty the cache and forget every branch."""
        self.kv.clear()
        self._parked.clear()
        self._transcript = BranchTranscript()

    # ------------------------------------------------------------------ the transcript of the branch in use

    def hold(self, transcript: BranchTranscript, *, pending: str = "") -> None:
        """Record that the cache holds this conversation. The markup `pending` closes its last reply and is decoded with
        the next message.
        """
        self._transcript = replace(transcript, pending=pending)

    def answered(self, text: str, reply: Message, closing: str) -> None:
        """Append a turn. The markup `closing` closes its reply and is decoded with the next message."""
        self._transcript = self._transcript.with_turn(text, reply, closing)

    def closed(self) -> None:
        """The markup that closes the last reply is in the cache now."""
        self._transcript = replace(self._transcript, pending="")

    def without_last(self) -> None:
        """Remove the last turn, which was undone."""
        self._transcript = replace(self._transcript.without_last(), pending="")

    def cut_back(self, closing: str) -> None:
        """After a cut: the markup that closes the last reply is pending again unless the cache still ends with it."""
        ledger = self.kv.unfinished or self.kv.ledger
        due = bool(ledger.runs) and bool(self._transcript.n_turns) and not self.ends_with(closing)
        self._transcript = replace(self._transcript, pending=closing if due else "")

    # ------------------------------------------------------------------ which branch is in use

    def go_back(self, p0: int, turn: int, why: str, progress: Progress, *, keep: bool = False) -> int:
        """Go back to position p0 and report it; returns how many of the kept tokens were not processed again.

        With `keep` the branch as it was is parked, where that is possible.
        """
        kv = self.kv
        began = time.perf_counter()
        before, processed = kv.ledger.n_tokens, kv.processed
        if keep and kv.can_fork(p0):
            self._fork(p0)
            how, why = RollBack.CUT, f"{why}; the other branch stays in the cache"
        else:
            try:
                how = kv.go_back(p0, progress(kv.ledger.truncate(p0).n_tokens, turn))
            except CancelledError:
                how = RollBack.UNFINISHED
        done = kv.processed - processed
        self._emit(
            RolledBack(
                at_s=time.time(),
                turn=turn,
                tokens=max(0, before - kv.ledger.n_tokens),
                to_pos=p0,
                rebuilt=how in (RollBack.REBUILT, RollBack.UNFINISHED),
                from_checkpoint=how is RollBack.CHECKPOINT,
                processed_tokens=done,
                why=why + _WORDS[how],
                ms=(time.perf_counter() - began) * 1000,
            )
        )
        return kv.ledger.n_tokens - done

    def _fork(self, p0: int) -> None:
        parked = self.kv.fork(p0)
        self._parked[parked] = self.transcript
        self._forget_released()
        self._emit(Branched(at_s=time.time(), shared_tokens=self.kv.ledger.n_tokens, live_branches=self.live))

    def _forget_released(self) -> None:
        self._parked = {
            sequence: transcript for sequence, transcript in self._parked.items() if sequence in self.kv.parked
        }

    def reuse(self, wanted: BranchTranscript, closing: Callable[[BranchTranscript], str], progress: Progress) -> bool:
        """Use the branch that has the longest beginning of `wanted`, cut back to it; False where the cache holds none
        whole. `closing` is the markup that closes the last reply of a transcript.
        """
        kv = self.kv
        self._forget_released()
        if kv.unfinished is not None:
            return False
        here = kv.context.sequence
        live = {**self._parked, here: self.transcript}
        best = max(live, key=lambda sequence: (live[sequence].common_turns(wanted), sequence == here))
        transcript = live[best]
        common = transcript.common_turns(wanted)
        ledger = kv.ledger if best == here else kv.parked[best].ledger
        if not common or transcript.turns[common - 1] not in ledger.turns or ledger.lost(transcript.turns[common - 1]):
            return False
        if best != here:
            self._parked[kv.resume(best)] = self.transcript
            del self._parked[best]
            self._transcript = transcript
        if common < transcript.n_turns:
            self._go_back_to(common, closing, progress)
        return True

    def _go_back_to(self, n_turns: int, closing: Callable[[BranchTranscript], str], progress: Progress) -> None:
        """Go back to the first `n_turns` turns of the branch in use, and park it whole."""
        transcript, ledger = self.transcript, self.kv.ledger
        kept = transcript.first_turns(n_turns)
        later = set(transcript.turns[n_turns:])
        p0 = min((run.pos for run in ledger.runs if run.turn in later), default=ledger.next_pos)
        self.go_back(p0, transcript.turns[n_turns], f"back to turn {kept.last}", progress, keep=True)
        due = closing(kept)
        self.hold(kept, pending="" if self.ends_with(due) else due)

    @property
    def tail(self) -> str | None:
        """The text of the last token in the cache; None where there is none."""
        runs = (self.kv.unfinished or self.kv.ledger).runs
        return self._text(runs[-1].tokens[-1:]) if runs else None

    def ends_with(self, closing: str) -> bool:
        """True where the cache ends with the markup that closes a reply."""
        tokens = (self.kv.unfinished or self.kv.ledger).tokens[-max(1, len(closing.encode())) :]
        return bool(closing) and self._text(tokens).endswith(closing)
