"""Open a stored conversation: from what is cached, from a saved state, or by processing it. Save the cache to disk."""

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from chatapp.cache.ledger import EvictedTurn
from chatapp.engine.interrupts import CancelledError, WindowFullError
from chatapp.engine.kv import prefill_plan, state_file
from chatapp.engine.kv.prefill_plan import Piece, Prefill
from chatapp.engine.session import pins, refusals
from chatapp.engine.session.live_branches import LiveBranches
from chatapp.engine.session.progress import ProgressReport
from chatapp.engine.session.transcript import BranchTranscript
from chatapp.engine.session.turn_tokens import TurnTokens, answered
from chatapp.engine.template.chat_template import ChatTemplate
from chatapp.errors import EngineError, SwachatError
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Opened, Saved, Warned
from chatapp.protocol.values import Message


class Opening:
    """`model` and `settings` are the digests that a saved state must have, `n_vocab` the number of tokens that there
    are, `tokens` makes turns into pieces; `share` of the window is evicted at once.
    """

    def __init__(
        self,
        branches: LiveBranches,
        template: ChatTemplate,
        tokens: TurnTokens,
        report: ProgressReport,
        emit: Callable[[AnyEvent], None],
        *,
        model: str,
        settings: str,
        share: float,
        n_vocab: int,
    ) -> None:
        self._branches = branches
        self._template = template
        self._tokens = tokens
        self._report = report
        self._emit = emit
        self._model, self._settings = model, settings
        self._share = share
        self._n_vocab = n_vocab
        self.n_preamble = 0
        """How many tokens precede the first turn: kept, because a template that worked may fail later."""
        self._unopened: tuple[str | None, Sequence[Message], Path | None, Collection[int]] | None = None
        """The conversation whose opening was stopped or refused, for `settle`."""
        self._refusal: SwachatError | None = refusals.nothing_open()
        """Why no conversation is open; None where one is, or its opening was only stopped."""

    def open(
        self, system: str | None, messages: Sequence[Message], state: Path | None, pinned: Collection[int]
    ) -> None:
        """Open this conversation: cache its sinks, its pinned turns, and as many of its latest turns as fit with free
        cells for a reply. Turns without a reply are omitted: the model never answered them.

        What the cache holds already is reused, or else a saved `state` of exactly this conversation. Raises
        UserError where the conversation does not fit, ModelError where the template refuses it, EngineError where
        llama.cpp fails, CancelledError between two chunks. The cache is empty then, whatever it held before, and
        `settle` tries again.
        """
        self._unopened, self._refusal = (system, messages, state, pinned), None
        try:
            self._hold(BranchTranscript.of(system, answered(messages)), state, pinned)
        except Exception as error:
            self._branches.clear()  # so that neither a part of it nor the conversation before is taken for this one
            self._report.snapshot()
            match error:
                case CancelledError():
                    raise CancelledError(refusals.STOPPED_OPENING) from error
                case WindowFullError():
                    why = refusals.does_not_fit(str(error))
                    self._refusal = refusals.not_open(why)
                    raise why from error
                case SwachatError():
                    self._refusal = refusals.not_open(error)
                case _:
                    pass
            raise
        self._unopened = None

    def settle(self) -> None:
        """Retry an opening that was stopped or refused. Raises CancelledError where it is stopped again, and UserError,
        ModelError or EngineError where no conversation is open.
        """
        if self._unopened is not None:
            with suppress(SwachatError):  # _need_open raises it
                self.open(*self._unopened)
        self._need_open()

    def due(self) -> tuple[BranchTranscript, list[Piece]]:
        """The conversation that the next message continues, and what `settle` would process first. Raises an opening's
        refusal: a forecast does not retry it.
        """
        self._need_open()
        if self._unopened is None:
            return self._branches.transcript, []
        system, messages, _, pinned = self._unopened
        wanted = BranchTranscript.of(system, answered(messages))
        pieces = self._pieces(wanted, self._least(wanted), pinned)[0] if wanted.n_turns else []
        return replace(wanted, pending=self._tokens.closing(wanted)), pieces

    def close(self) -> None:
        """Close the conversation."""
        self._branches.clear()
        self._unopened, self._refusal = None, refusals.nothing_open()

    def _need_open(self) -> None:
        if self._refusal is not None:
            raise self._refusal.with_traceback(None)

    def _hold(self, wanted: BranchTranscript, state: Path | None, pinned: Collection[int]) -> None:
        began = time.perf_counter()
        branches, kv = self._branches, self._branches.kv
        least = self._least(wanted)
        if kv.policy != "window" and least > pins.most(kv):
            raise refusals.system_too_long(least, kv.context.n_ctx)
        before = kv.processed
        restored = reused = 0
        why = "a new conversation"
        if self._reuse(wanted):
            reused = max(0, kv.ledger.n_tokens - (kv.processed - before))
            why = "it was in the cache already"
        else:
            branches.clear()
            branches.hold(wanted)
            self._report.forget_speeds()
            if wanted.n_turns:
                why = self._restore(wanted, state) if state is not None else "no cache was saved"
                restored = kv.ledger.n_tokens
                if not restored:
                    self._process(wanted, least, pinned)
                    why = f"{why}, so the conversation was processed again"
        pins.only(branches, pinned, self._emit)
        self._emit(
            Opened(
                at_s=time.time(),
                n_sink=kv.ledger.n_sink or least,
                processed_tokens=kv.processed - before,
                in_window_turns=len(kv.ledger.in_window),
                evicted_turns=wanted.n_turns - len(kv.ledger.in_window),
                ms=(time.perf_counter() - began) * 1000,
                why=why,
                restored_tokens=restored,
                reused_tokens=reused,
            )
        )
        self._report.snapshot()

    def _least(self, wanted: BranchTranscript) -> int:
        """The fewest tokens that are never evicted."""
        self.n_preamble = len(self._template.preamble(wanted.system))
        return max(len(self._template.preamble(wanted.system, closed=True)), self._branches.kv.rules.n_sink)

    def _reuse(self, wanted: BranchTranscript) -> bool:
        """Reuse what the cache holds of `wanted` and process the rest; False where that is not worthwhile."""
        branches, kv = self._branches, self._branches.kv
        if not branches.reuse(wanted, self._tokens.closing, self._report.progress) or kv.unfinished is not None:
            return False
        rest = wanted.turns[branches.transcript.n_turns :]
        if not rest:
            return True
        pieces = [self._tokens.pending(branches.transcript, branches.tail)]
        pieces += [piece for turn in rest for piece in self._tokens.of_turn(wanted, turn)]
        total = prefill_plan.count(pieces)
        if total > kv.context.n_ctx // 2:
            return False  # it would evict most of what is reused
        prefill = kv.without_evicted(Prefill(pieces))
        kv.prefill(prefill, after=self._report.progress(prefill.n_tokens, None))
        branches.hold(wanted, pending=self._tokens.closing(wanted))
        return True

    def _process(
        self,
        wanted: BranchTranscript,
        least: int,
        pinned: Collection[int],
    ) -> None:
        """Run the sinks, the pinned turns and the latest ones through the model."""
        kv = self._branches.kv
        pieces, left_out = self._pieces(wanted, least, pinned)
        if left_out and left_out[-1].turn == wanted.last:
            kept = sum(len(piece.tokens) for piece in pieces if piece.turn == wanted.last)
            text = f"Turn {wanted.last} is longer than the window: the newest {kept:,} of its "
            text += f"{kept + left_out[-1].tokens:,} tokens are processed."
            self._emit(Warned(at_s=time.time(), turn=wanted.last, text=text))
        kv.prefill(Prefill(pieces), after=self._report.progress(prefill_plan.count(pieces), None))
        kv.left_out(left_out)
        self._branches.hold(wanted, pending=self._tokens.closing(wanted))

    def _pieces(
        self,
        wanted: BranchTranscript,
        least: int,
        pinned: Collection[int],
    ) -> tuple[list[Piece], list[EvictedTurn]]:
        """The pieces of a conversation that is not cached, and the turns that are omitted, the last
        one in part.
        """
        keep = self._affordable(wanted, least, pinned)
        kv = self._branches.kv
        budget = int((kv.context.n_ctx - least) * (1 - self._share))
        return self._tokens.latest(wanted, budget, keep, may_cut=kv.policy != "dense")

    def _affordable(self, wanted: BranchTranscript, least: int, pinned: Collection[int]) -> set[int]:
        """As many pinned turns, the newest first, as keep a quarter of the window free."""
        kv = self._branches.kv
        budget = pins.most(kv) - least if kv.policy != "window" else 0
        kept: set[int] = set()
        for turn in sorted(set(pinned) & set(wanted.turns), reverse=True):
            budget -= prefill_plan.count(self._tokens.of_turn(wanted, turn))
            if budget < 0:
                break
            kept.add(turn)
        return kept

    def _restore(self, wanted: BranchTranscript, path: Path) -> str:
        """Restore a saved cache; returns why it was, or was not."""
        conversation = state_file.conversation_digest(wanted.system, wanted.messages)
        kv = self._branches.kv
        try:
            saved, state = state_file.read(path, kv.cancelled)
            problem = state_file.differs(saved, self._model, self._settings, conversation)
            if problem is not None:
                return problem
            ledger = state_file.ledger_of(saved, wanted.turns, n_vocab=self._n_vocab, n_ctx=kv.context.n_ctx)
        except state_file.StateError as error:
            return str(error)
        if not kv.restore(ledger, state):
            return "llama.cpp rejected the saved cache"
        self._branches.hold(wanted, pending="" if saved.closed else self._tokens.closing(wanted))
        return "the saved cache was restored"

    def save(self, path: Path) -> None:
        """Write the cache of the branch in use to `path`. Raises EngineError where it cannot be written."""
        began = time.perf_counter()
        transcript, ledger = self._branches.transcript, self._branches.kv.ledger
        conversation = state_file.conversation_digest(transcript.system, transcript.messages)
        saved = state_file.header(self._model, self._settings, conversation, ledger, closed=not transcript.pending)
        try:
            kv = self._branches.kv
            size = state_file.write(path, saved, kv.context.state(), kv.cancelled)
        except OSError as error:
            raise EngineError(
                f"The cache cannot be saved to {path}: {error.strerror}.", "Check its free space."
            ) from error
        ms = (time.perf_counter() - began) * 1000
        self._emit(Saved(at_s=time.time(), path=str(path), tokens=ledger.n_tokens, size_bytes=size, ms=ms))
