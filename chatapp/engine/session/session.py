"""One conversation on one cache: take a message, reply, roll back, pin and recall turns."""

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import structs

from chatapp.cache.shift_limit import most_moves
from chatapp.engine.interrupts import CancelledError, WindowFullError
from chatapp.engine.kv import prefill_plan, state_file
from chatapp.engine.kv.cache import KvCache
from chatapp.engine.kv.prefill_plan import CacheRules, Prefill
from chatapp.engine.native.llama import Context, Model, versions
from chatapp.engine.native.sampler import Sampler
from chatapp.engine.probe.sampling import ProbeSampler
from chatapp.engine.session import pins, reply_start, scoring, turn_tokens, window_report
from chatapp.engine.session.batch import PromptBatch
from chatapp.engine.session.generation import LARGEST_SEED, Reply, generate
from chatapp.engine.session.live_branches import LiveBranches
from chatapp.engine.session.opening import Opening
from chatapp.engine.session.progress import INTERVALS, Intervals, ProgressReport
from chatapp.engine.session.recalling import Recalling
from chatapp.engine.session.thoughts import Thinking
from chatapp.engine.session.transcript import BranchTranscript
from chatapp.engine.session.turn import Counts, Turn
from chatapp.engine.session.turn_tokens import TurnTokens
from chatapp.engine.template.chat_template import ChatTemplate
from chatapp.errors import UserError
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.commands import Measure
from chatapp.protocol.events import Foreseen, Spelled, TurnDone, TurnStarted, Warned
from chatapp.protocol.values import CacheSettings, Capability, Device, Message, Sampling, Threads

MIB = 1 << 20


class Session:
    """The conversation in the cache. `emit` takes every event; `cancelled` is called once a token, and `between`
    between two tokens of a reply, when the cache may be read.
    """

    def __init__(
        self,
        model: Model,
        context: Context,
        template: ChatTemplate,
        cache: CacheSettings,
        *,
        capability: Capability,
        n_swa: int | None,
        n_ctx_swa: int | None,
        emit: Callable[[AnyEvent], None],
        cancelled: Callable[[], bool],
        devices: Callable[[], list[Device]],
        probe: ProbeSampler | None = None,
        threads: Callable[[], Threads | None] = lambda: None,
        between: Callable[[], None] = lambda: None,
        thinking: Thinking | None = None,
        answer_now: Callable[[], bool] = lambda: False,
        sampler: Callable[[Model, Sampling, int], Sampler] = Sampler,
        intervals: Intervals = INTERVALS,
    ) -> None:
        self._model = model
        self._n_batch = cache.micro_batch
        self._probe = probe
        self._template = template
        self._emit = emit
        self._cancelled, self._between = cancelled, between
        self._thinking, self._answer_now = thinking, answer_now
        self._sampler, self._intervals = sampler, intervals
        self.kv = KvCache(
            context,
            CacheRules.of(
                policy=capability.policy,
                n_sink=cache.sinks,
                share=cache.evict_share,
                most_moves=most_moves(cache.type_k),
                chunk=cache.micro_batch,
                n_ctx=context.n_ctx,
                n_swa=n_swa,
                n_ctx_swa=n_ctx_swa,
                max_pos=model.n_ctx_train,
            ),
            can_cut=capability.evict.ok,
            on_evicted=emit,
            on_released=emit,
            cancelled=cancelled,
            # With swa_full too: cells that no sliding window needs are reused even then.
            checkpoint_bytes=cache.checkpoint_mib * MIB if n_swa is not None or not capability.evict.ok else 0,
        )
        self._branches = LiveBranches(self.kv, emit, template.text)
        self._report = ProgressReport(
            self._branches,
            n_swa=n_swa,
            n_ctx_swa=n_ctx_swa,
            emit=emit,
            devices=devices,
            threads=threads,
            interval_s=intervals.snapshot_s,
        )
        digest = state_file.model_digest(model.path)
        self._tokens = TurnTokens(template, digest, model.n_vocab)
        self._opening = Opening(
            self._branches,
            template,
            self._tokens,
            self._report,
            emit,
            model=digest,
            settings=state_file.settings_digest(cache, capability.policy, versions()[1], template.identity),
            share=cache.evict_share,
            n_vocab=model.n_vocab,
        )
        self._several = PromptBatch(
            model,
            context,
            template,
            cache,
            policy=capability.policy,
            recurrent=not capability.evict.ok,
            emit=emit,
            cancelled=cancelled,
            thinking=thinking,
            sampler=sampler,
        )
        self._tries = 0

    def open(
        self, system: str | None, messages: list[Message], state: Path | None = None, pinned: Sequence[int] = ()
    ) -> None:
        """Open this conversation; see Opening."""
        self._tries = 0
        self._opening.open(system, messages, state, pinned)

    def save(self, path: Path) -> None:
        """Write the cache to `path`. Raises EngineError where it cannot be written."""
        self._settle()
        self._opening.save(path)

    def _settle(self) -> None:
        """Finish an opening or a rebuild that was stopped. Raises CancelledError where it is stopped again, and what
        Opening.settle raises where no conversation is open.
        """
        self._opening.settle()
        if self.kv.unfinished is not None:
            self.kv.settle(self._report.progress(self.kv.unfinished.n_tokens, None))

    # ------------------------------------------------------------------ turns

    def send(self, turn: int, text: str, sampling: Sampling) -> None:
        """Reply to the user's message. A turn that is stopped before its first token is dropped. ModelError where the
        template refuses it, or fails: nothing has changed then.
        """
        self._settle()
        started = Turn(turn, text, Counts.of(self.kv), reused=self.kv.ledger.n_tokens)
        try:
            prompt = self._prompt(self._branches.transcript, turn, text, begun=bool(self.kv.ledger.runs))
        except CancelledError:  # a template or a text that takes long
            self._stopped_before_reply(started)
            return
        prefill = self.kv.without_evicted(prompt)
        started.clock.lap("template")
        self._tries = 0
        self._reply(started, prefill, sampling)

    def _prompt(self, transcript: BranchTranscript, turn: int, text: str, *, begun: bool) -> Prefill:
        """What is decoded when `text` is sent after `transcript`, with marks where a roll-back may go to: before the
        turn, and before the token that its reply is sampled from. `begun`: the system prompt is cached.
        """
        system = transcript.system
        first = not transcript.n_turns
        if first and begun:
            first = not self._template.head_is_closed(system, self.kv.ledger.tokens)
        prompt = self._template.prompt(
            system,
            text,
            first=first,
            begun=begun,
            closing=transcript.pending,
            after=self._branches.tail,
        )
        pieces = turn_tokens.prompt_pieces(prompt, turn, transcript.last or 0)
        return Prefill(pieces, (len(prompt.closing), prompt.n_tokens - 1))

    def regenerate(self, turn: int, sampling: Sampling) -> None:
        """Make another reply to the last message; the old one stays a live branch where possible.

        A seed that is set grows by one with each try: the same seed would give the same reply.
        """
        self._settle()
        self._need_last(turn)
        branches, ledger = self._branches, self.kv.ledger
        start = reply_start.position(ledger, turn, at_once=self._template.generates_at_once(branches.transcript.system))
        self._tries += 1
        if sampling.seed is not None:
            sampling = structs.replace(sampling, seed=sampling.seed + self._tries)
        asked, _ = branches.transcript.of_turn(turn)
        started = Turn(turn, asked.text, Counts.of(self.kv))
        was_pinned = turn in ledger.pinned_turns
        again = reply_start.token_before(ledger, start)  # the first token is sampled from its logits
        why = "another reply to the same message"
        started.reused = branches.go_back(start - 1, turn, why, self._report.progress, keep=True)
        branches.without_last()
        if was_pinned:  # a pinned reply could not be evicted where it outgrows the window
            self.kv.unpin(turn)
        if self.kv.unfinished is None:
            self._reply(started, Prefill([again]), sampling)
        else:
            self._stopped_before_reply(started)
        if was_pinned and branches.transcript.last == turn:
            pins.only(branches, {*self.kv.ledger.pinned_turns, turn}, self._emit)

    def _reply(self, turn: Turn, prompt: Prefill, sampling: Sampling) -> None:
        """Prefill, generate, and keep or drop the turn."""
        kv, branches = self.kv, self._branches
        total = prompt.n_tokens
        self._emit(TurnStarted(at_s=time.time(), turn=turn.number, prompt_tokens=total, reused_tokens=turn.reused))
        reply, seed = Reply(), None
        try:
            began, before = time.perf_counter(), kv.processed
            kv.prefill(prompt, after=self._report.progress(total, turn.number))
            kv.context.synchronize()
            branches.closed()
            took_s = time.perf_counter() - began
            self._report.prompt_tok_s = total / took_s
            self._report.processed_tok_s = (kv.processed - before) / took_s
            turn.clock.lap("prefill")
            seed = sampling.seed if sampling.seed is not None else random.randrange(LARGEST_SEED)
            reply = generate(
                self._model,
                kv,
                turn.number,
                sampling,
                seed,
                emit=self._emit,
                report=self._report,
                probe=self._probe,
                clock=turn.clock,
                cancelled=self._stopped_between_tokens,
                text_interval_s=self._intervals.text_s,
                thinking=self._thinking,
                answer_now=self._answer_now,
                sampler=self._sampler,
            )
        except WindowFullError as full:
            reply.stop_reason, reply.full = "window_full", str(full)
        except CancelledError:
            reply.stop_reason = "cancelled"
        if reply.full:
            self._emit(Warned(at_s=time.time(), text=f"Stopped: {reply.full}."))
        if reply.tokens or reply.stop_reason == "end":
            said = self._tokens.reply(turn.number, reply.text, reply.ids)
            answered = branches.transcript.with_turn(turn.text, said)
            branches.answered(turn.text, said, self._tokens.closing(answered))
            if not reply.tokens:
                text = "The reply is empty: the model ended it at once."
                self._emit(Warned(at_s=time.time(), turn=turn.number, text=text))
            elif reply.unclosed:
                text = "The reply ended while the model was thinking: it has no answer."
                self._emit(Warned(at_s=time.time(), turn=turn.number, text=text))
        else:
            self._drop(turn.number, "the turn ended before its reply began")
        self._finish(turn, reply, total, seed)

    def _stopped_between_tokens(self) -> bool:
        self._between()
        return self._cancelled()

    def _stopped_before_reply(self, turn: Turn) -> None:
        """End a turn that was cancelled before its prefill: it is dropped."""
        self._emit(TurnStarted(at_s=time.time(), turn=turn.number, prompt_tokens=0, reused_tokens=0))
        self._drop(turn.number, "the turn ended before its reply began")
        self._finish(turn, Reply(stop_reason="cancelled"), 0, None)

    def undo(self, turn: int) -> None:
        """Remove the last turn from the conversation and the cache."""
        self._settle()
        self._need_last(turn)
        self._branches.without_last()
        self._drop(turn, "the last turn was undone")
        self._report.snapshot()

    def _need_last(self, turn: int) -> None:
        last = self._branches.transcript.last
        if last != turn:
            raise UserError(f"Turn {turn} is not the last one the model answered (that is {last or 'none'}).")

    def _drop(self, turn: int, why: str) -> None:
        """Remove the cached part of `turn`."""
        branches, kv = self._branches, self.kv
        book = kv.unfinished or kv.ledger
        start = next((run.pos for run in book.of_turn(turn)), None)
        if start is not None:
            branches.go_back(start, turn, why, self._report.progress)
            book = kv.unfinished or kv.ledger
        transcript = branches.transcript
        if not transcript.n_turns and book.n_tokens < self._opening.n_preamble:
            branches.clear()  # the system prompt is incomplete, and must not be taken for complete
            branches.hold(transcript)
        else:
            branches.cut_back(self._tokens.closing(transcript))

    def _finish(self, turn: Turn, reply: Reply, prompt_tokens: int, seed: int | None) -> None:
        report = self._report
        if not reply.tokens:
            turn.clock.lap("prefill")  # tokens that were processed and removed again
        stats = turn.stats(Counts.of(self.kv), reply, prompt_tokens, report.prompt_tok_s)
        report.decode_tok_s = stats.decode_tok_s or report.decode_tok_s
        report.snapshot()
        said = self._tokens.reply(turn.number, reply.text, reply.ids)
        self._emit(
            TurnDone(
                at_s=time.time(),
                turn=turn.number,
                stop_reason=reply.stop_reason,
                stats=stats,
                seed=seed,
                tokens=said.tokens,
                model=said.model,
            )
        )

    # ------------------------------------------------------------------ pins and recalls

    def pin(self, turn: int, pinned: bool) -> None:
        """Pin or unpin a turn. UserError where too few cells would stay free."""
        self._settle()
        if pinned:
            pins.pin(self._branches, turn, self._emit)
        else:
            pins.unpin(self._branches, turn, self._emit)
        self._report.snapshot()

    def recall(self, turns: list[int], *, agreed: bool = True) -> None:
        """Recall evicted turns; see `Recalling`."""
        self._settle()
        Recalling(self._branches, self._tokens, self._report, self._emit, self._drop).recall(turns, agreed=agreed)

    # ------------------------------------------------------------------ several prompts, and scoring

    def several(self, system: str | None, prompts: list[str], sampling: Sampling) -> None:
        """Reply to several prompts at once, independently; the open conversation is closed."""
        self._opening.close()
        self._several.run(system, prompts, sampling)
        self._branches.clear()

    def measure(self, request: Measure) -> None:
        """Score a text; the open conversation is closed. UserError where the model was loaded for a chat."""
        if not request.recompute and self.kv.context.n_outputs < self._n_batch:
            raise UserError(
                "The model was loaded for a chat, which computes the logits of one token of a batch.",
                "Load it for scoring.",
            )
        self._opening.close()
        scoring.measure(self._model, self.kv, request, self._emit)
        self._branches.clear()

    # ------------------------------------------------------------------ questions

    def spell(self, pos: int, n: int) -> None:
        """Report which tokens are at the positions from `pos` on, at most `n`, up to the first gap."""
        tokens: list[int] = []
        for run in self.kv.ledger.runs:
            if len(tokens) < n and run.pos <= pos + len(tokens) < run.end:
                tokens += run.tokens[pos + len(tokens) - run.pos :][: n - len(tokens)]
        pieces = [self._model.piece(token).decode(errors="replace") or self._model.spelling(token) for token in tokens]
        self._emit(Spelled(at_s=time.time(), pos=pos, tokens=tokens, pieces=pieces))

    def show_window(self) -> None:
        """Report the text of the window, as it is in the cache now."""
        transcript = self._branches.transcript
        pending = self._tokens.pending(transcript, self._branches.tail) if transcript.pending else None
        self._emit(window_report.shown(self._model, self.kv.ledger, pending, self.kv.context.n_ctx))

    def forecast(self, request: int, text: str, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Report what sending `text` now would do. Of a draft of many windows, raises CancelledError once `cancelled`
        says so.
        """
        kv = self.kv
        transcript, first = self._opening.due()
        turn = (transcript.last or 0) + 1
        prompt = self._prompt(transcript, turn, text, begun=bool(first or kv.ledger.runs))
        found = kv.forecast([Prefill(first), prompt] if first else [prompt], cancelled)
        again = prefill_plan.count(first) + found.reprocessed
        speed = self._report.processed_tok_s
        self._emit(
            Foreseen(
                at_s=time.time(),
                id=request,
                tokens=found.tokens,
                free=kv.context.n_ctx - kv.ledger.n_tokens,
                leaving=list(found.leaving),
                partly=found.partial is not None or bool(found.full),
                partial_turn=turn if found.full else found.partial,
                seconds=(found.tokens + again) / speed if speed else None,
                reprocessed=again,
            )
        )
