"""One conversation on one cache: take a message, reply, roll back, open an old conversation again."""

import codecs
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import structs

from chatapp.cache.ledger import Ledger
from chatapp.engine import history, snapshot, state_file
from chatapp.engine.llama import Context, Model, Sampler, versions
from chatapp.engine.protocol import (
    AnyEvent,
    CacheSettings,
    Capability,
    Device,
    Foreseen,
    Message,
    Opened,
    Prefilled,
    RolledBack,
    Sampling,
    Saved,
    Text,
    TurnDone,
    TurnStarted,
    TurnStats,
    Warned,
)
from chatapp.engine.resident import CancelledError, Piece, Resident, WindowFullError
from chatapp.engine.template import ChatTemplate
from chatapp.errors import EngineError, UserError

TEXT_INTERVAL_S = 0.03
SNAPSHOT_INTERVAL_S = 0.1
LARGEST_SEED = 2**31 - 1


@dataclass
class _Reply:
    """What one generation did."""

    text: str = ""
    tokens: int = 0
    stop_reason: str = "end"
    first_token_at: float | None = None
    last_token_at: float | None = None


@dataclass
class _Turn:
    """A turn in progress: what was asked, and the counts when it began."""

    number: int
    text: str
    counts: tuple[int, int, int]
    reused: int = 0
    began: float = field(default_factory=time.perf_counter)


class Session:
    """The conversation that the cache holds. `emit` takes every event; `cancelled` is asked once a token."""

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
    ) -> None:
        self._model = model
        self._template = template
        self._emit = emit
        self._cancelled = cancelled
        self._devices = devices
        self._n_swa, self._n_ctx_swa = n_swa, n_ctx_swa
        self._model_digest = state_file.model_digest(model.path)
        self._settings_digest = state_file.settings_digest(cache, capability.policy, versions()[1])
        self._share = cache.evict_share
        self.resident = Resident(
            context,
            policy=capability.policy,
            n_sink=cache.sinks,
            share=cache.evict_share,
            chunk=cache.micro_batch,
            n_swa=n_swa,
            max_pos=model.n_ctx_train,
            can_cut=capability.evict.ok,
            on_evicted=emit,
            cancelled=cancelled,
        )
        self._system: str | None = None
        self._messages: list[Message] = []
        self._closing: tuple[int, ...] = ()
        self._pending: tuple[int, ...] = ()
        self._snapshot_at = 0.0
        self._prompt_tok_s: float | None = None
        self._decode_tok_s: float | None = None
        self._tries = 0

    # ------------------------------------------------------------------ opening

    def open(self, system: str | None, messages: list[Message], state: Path | None = None) -> None:
        """Hold this conversation: its sinks and as many of its latest turns as fit with room for a reply.

        A saved `state` of the very same conversation takes the place of processing it. Turns without a reply are left
        out: the model never answered them. Raises UserError where the system prompt leaves no room, CancelledError
        between two chunks.
        """
        began = time.perf_counter()
        resident = self.resident
        preamble = self._template.preamble(system)
        least = max(len(preamble), resident.n_sink)
        n_ctx = resident.context.n_ctx
        if resident.policy != "window" and least > n_ctx * 3 // 4:
            raise UserError(
                f"The system prompt and the sinks take {least} of {n_ctx} tokens.",
                "Keep at least a quarter of the window free: a larger --ctx, a shorter system prompt, fewer sinks.",
            )
        resident.clear()
        self._system, self._messages = system, history.answered(messages)
        self._closing, self._pending = self._template.closing(system), ()
        before, restored = resident.processed, 0
        why = "a new conversation"
        if self._messages:
            why = self._restore(state) if state is not None else "no cache was saved"
            restored = resident.ledger.n_tokens
            if not restored:
                self._reprocess(preamble, int((n_ctx - least) * (1 - self._share)))
                why = f"{why}, so the conversation was processed again"
        self._emit(
            Opened(
                at_s=time.time(),
                n_sink=resident.ledger.n_sink or least,
                processed_tokens=resident.processed - before,
                in_window_turns=len(resident.ledger.turns),
                evicted_turns=len(self._messages) // 2 - len(resident.ledger.turns),
                ms=(time.perf_counter() - began) * 1000,
                why=why,
                restored_tokens=restored,
            )
        )
        self.snapshot()

    def _reprocess(self, preamble: tuple[int, ...], budget: int) -> None:
        """Run the sinks and the latest turns through the model."""
        resident = self.resident
        kept, left_out = history.latest_turns(self._template, self._system, self._messages, self._closing, budget)
        pieces = [Piece(0, "system", preamble, sink=True), *kept]
        resident.prefill(pieces, after=self._progress(sum(len(piece.tokens) for piece in pieces), None))
        left = sum(gone.tokens for gone in left_out)
        book = resident.ledger
        resident.ledger = Ledger(book.runs, (*left_out, *book.gone), book.evicted_tokens + left)
        self._pending = self._closing

    def _restore(self, path: Path) -> str:
        """Put a saved cache back; why it was, or was not, in words."""
        try:
            saved, state = state_file.read(path)
        except state_file.StateError as error:
            return str(error)
        problem = state_file.differs(saved, self._model_digest, self._settings_digest, self._conversation())
        if problem is not None:
            return problem
        if not self.resident.restore(state_file.ledger_of(saved), state):
            return "llama.cpp did not take the saved cache"
        self._pending = tuple(saved.pending)
        return "the saved cache was put back"

    def save(self, path: Path) -> None:
        """Write the cache to `path`. Raises EngineError where it cannot be written."""
        began = time.perf_counter()
        ledger = self.resident.ledger
        conversation = self._conversation()
        saved = state_file.header(self._model_digest, self._settings_digest, conversation, ledger, self._pending)
        try:
            size = state_file.write(path, saved, self.resident.context.state())
        except OSError as error:
            raise EngineError(f"The cache cannot be saved to {path}: {error.strerror}.", "Free some space.") from error
        ms = (time.perf_counter() - began) * 1000
        self._emit(Saved(at_s=time.time(), path=str(path), tokens=ledger.n_tokens, size_bytes=size, ms=ms))

    def _conversation(self) -> str:
        return state_file.conversation_digest(self._system, self._messages)

    # ------------------------------------------------------------------ turns

    def send(self, turn: int, text: str, sampling: Sampling) -> None:
        """Take the person's message and reply. A turn that is stopped before its first token leaves no trace."""
        ledger = self.resident.ledger
        last = self._messages[-1].turn if self._messages else None
        earlier = [message for message in self._messages if message.turn == last]
        prompt = self._template.prompt(self._system, earlier, text)
        pieces = [
            Piece(last or 0, "assistant", self._pending),
            Piece(0, "system", () if ledger.runs else prompt.preamble, sink=True),
            Piece(turn, "user", prompt.user, prompt.user_opening),
            Piece(turn, "assistant", prompt.reply_opening, len(prompt.reply_opening)),
        ]
        self._tries = 0
        self._reply(_Turn(turn, text, self._counts(), reused=ledger.n_tokens), pieces, sampling)

    def regenerate(self, turn: int, sampling: Sampling) -> None:
        """Drop the last reply and make another one from the same prompt.

        A seed that is set grows by one with each try: the same seed would make the same reply again.
        """
        self._need_last(turn)
        ledger = self.resident.ledger
        openings = [run for run in ledger.of_turn(turn) if run.role == "assistant" and run.opening]
        if not openings:
            raise UserError("The start of this reply has left the window.", "Send the message again.")
        user, _ = self._messages[-2:]
        del self._messages[-2:]
        self._tries += 1
        if sampling.seed is not None:
            sampling = structs.replace(sampling, seed=sampling.seed + self._tries)
        started = _Turn(turn, user.text, self._counts())
        start = openings[-1].pos + openings[-1].opening  # in two runs where the last sink lies inside the opening
        again = ledger.truncate(start).tokens[-1]  # its logits are those that the first token is drawn from
        started.reused = self._roll_back(start - 1, turn, "another reply to the same message")
        self._reply(started, [Piece(turn, "assistant", (again,), 1)], sampling)

    def _reply(self, turn: _Turn, pieces: list[Piece], sampling: Sampling) -> None:
        """Process the prompt, generate, and keep or drop the turn."""
        resident = self.resident
        total = sum(len(piece.tokens) for piece in pieces)
        self._emit(TurnStarted(at_s=time.time(), turn=turn.number, prompt_tokens=total, reused_tokens=turn.reused))
        reply, seed = _Reply(), None
        try:
            began = time.perf_counter()
            resident.prefill(pieces, after=self._progress(total, turn.number))
            self._pending = ()
            self._prompt_tok_s = total / (time.perf_counter() - began)
            reply, seed = self._generate(turn.number, sampling)
        except (WindowFullError, CancelledError) as stop:
            reply.stop_reason = self._explain(stop)
        if reply.tokens:
            self._messages += [
                Message(turn=turn.number, role="user", text=turn.text),
                Message(turn=turn.number, role="assistant", text=reply.text),
            ]
            self._pending = self._closing
        else:
            self._drop(turn.number, "the turn ended before its reply began")
        self._finish(turn, reply, total, seed)

    def undo(self, turn: int) -> None:
        """Drop the last turn, as if it had not been said."""
        self._need_last(turn)
        del self._messages[-2:]
        self._drop(turn, "the last turn was taken back")
        self.snapshot()

    def _need_last(self, turn: int) -> None:
        last = self._messages[-1].turn if self._messages else None
        if last != turn:
            raise UserError(f"Turn {turn} is not the last one the model answered (that is {last or 'none'}).")

    def _drop(self, turn: int, why: str) -> None:
        """Take what is in the cache of `turn` out of it."""
        start = next((run.pos for run in self.resident.ledger.of_turn(turn)), None)
        if start is not None:
            self._roll_back(start, turn, why)
        if not self._messages and self.resident.ledger.n_tokens < len(self._template.preamble(self._system)):
            self.resident.clear()  # the system prompt was cut short: it must not be taken for whole
        if self.resident.ledger.runs and self._messages and not self._ends_closed():
            self._pending = self._closing
        else:
            self._pending = ()

    def _ends_closed(self) -> bool:
        """True where the cache ends with the markup that closes a reply."""
        closing = self._closing
        tail = self.resident.ledger.runs[-1].tokens
        return bool(closing) and tail[-len(closing) :] == closing

    def _roll_back(self, p0: int, turn: int, why: str) -> int:
        """Cut the cache at position p0, by a rebuild where cells are gone; how many tokens are reused."""
        resident = self.resident
        began = time.perf_counter()
        before, processed = resident.ledger.n_tokens, resident.processed
        rebuilt = not resident.can_cut(p0)
        if rebuilt:
            target = resident.ledger.truncate(p0)
            why = f"{why}; cells that the window needs were gone, so the cache was made again"
            resident.rebuild(target, self._progress(target.n_tokens, turn))
        else:
            resident.cut(p0)
        self._emit(
            RolledBack(
                at_s=time.time(),
                turn=turn,
                tokens=before - resident.ledger.n_tokens,
                to_pos=p0,
                rebuilt=rebuilt,
                processed_tokens=resident.processed - processed,
                why=why,
                ms=(time.perf_counter() - began) * 1000,
            )
        )
        return 0 if rebuilt else resident.ledger.n_tokens

    # ------------------------------------------------------------------ generating

    def _generate(self, turn: int, sampling: Sampling) -> tuple[_Reply, int]:
        """Sample and decode until the model ends, the limit is reached, or the person stops it."""
        reply = _Reply()
        resident, model = self.resident, self._model
        seed = sampling.seed if sampling.seed is not None else random.randrange(LARGEST_SEED)
        sampler = Sampler(model, sampling, seed)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        unsent, unsent_tokens, sent_at = "", 0, 0.0
        pieces: list[str] = []
        try:
            while True:
                token = sampler.sample(resident.context)
                if model.is_end(token):
                    break
                reply.tokens += 1
                reply.last_token_at = time.perf_counter()
                reply.first_token_at = reply.first_token_at or reply.last_token_at
                unsent += decoder.decode(model.piece(token))
                unsent_tokens += 1
                if reply.last_token_at - sent_at >= TEXT_INTERVAL_S:
                    self._emit(Text(at_s=time.time(), turn=turn, text=unsent, tokens=unsent_tokens))
                    pieces.append(unsent)
                    unsent, unsent_tokens, sent_at = "", 0, reply.last_token_at
                resident.extend(turn, token)
                if reply.tokens == sampling.max_tokens:
                    reply.stop_reason = "length"
                    break
                if self._cancelled():
                    reply.stop_reason = "cancelled"
                    break
                self._snapshot_if_due(reply)
        except WindowFullError as full:
            reply.stop_reason = self._explain(full)
        finally:
            sampler.close()
        unsent += decoder.decode(b"", True)
        if unsent_tokens or unsent:
            self._emit(Text(at_s=time.time(), turn=turn, text=unsent, tokens=unsent_tokens))
        reply.text = "".join([*pieces, unsent])
        return reply, seed

    def _explain(self, stop: Exception) -> str:
        if isinstance(stop, CancelledError):
            return "cancelled"
        self._emit(Warned(at_s=time.time(), text=f"Stopped: {stop}."))
        return "window_full"

    def _counts(self) -> tuple[int, int, int]:
        resident = self.resident
        return resident.processed, resident.ledger.evicted_tokens, resident.shifts

    def _finish(self, turn: _Turn, reply: _Reply, prompt_tokens: int, seed: int | None) -> None:
        processed, evicted, shifts = (now - then for now, then in zip(self._counts(), turn.counts, strict=True))
        first, last = reply.first_token_at, reply.last_token_at
        if first is not None and last is not None and reply.tokens > 1:
            self._decode_tok_s = (reply.tokens - 1) / (last - first)
        stats = TurnStats(
            prompt_tokens=prompt_tokens,
            reply_tokens=reply.tokens,
            reused_tokens=turn.reused,
            processed_tokens=processed,
            evicted_tokens=evicted,
            shifts=shifts,
            ttft_s=first - turn.began if first is not None else None,
            prompt_tok_s=self._prompt_tok_s,
            decode_tok_s=self._decode_tok_s if reply.tokens > 1 else None,
        )
        self.snapshot()
        self._emit(TurnDone(at_s=time.time(), turn=turn.number, stop_reason=reply.stop_reason, stats=stats, seed=seed))

    # ------------------------------------------------------------------ looking

    def foresee(self, request: int, text: str) -> None:
        """Report what sending `text` now would do."""
        earlier = [m for m in self._messages if self._messages and m.turn == self._messages[-1].turn]
        prompt = self._template.prompt(self._system, earlier, text)
        resident = self.resident
        need = prompt.n_tokens + len(self._pending)
        free = resident.context.n_ctx - resident.ledger.n_tokens
        plan = resident.foresee(need, None)
        self._emit(
            Foreseen(
                at_s=time.time(),
                id=request,
                tokens=need,
                free=free,
                leaving=list(plan.turns),
                partly=plan.partial_turn is not None or bool(plan.full),
                seconds=need / self._prompt_tok_s if self._prompt_tok_s else None,
            )
        )

    def _progress(self, total: int, turn: int | None) -> Callable[[int], None]:
        began = time.perf_counter()

        def report(done: int) -> None:
            ms = (time.perf_counter() - began) * 1000
            self._emit(Prefilled(at_s=time.time(), turn=turn, done=done, total=total, ms=ms))
            if time.perf_counter() - self._snapshot_at >= SNAPSHOT_INTERVAL_S:
                self.snapshot(turn)

        return report

    def _snapshot_if_due(self, reply: _Reply) -> None:
        first, last = reply.first_token_at, reply.last_token_at
        if last is None or first is None or last - self._snapshot_at < SNAPSHOT_INTERVAL_S:
            return
        if reply.tokens > 1:
            self._decode_tok_s = (reply.tokens - 1) / (last - first)
        self.snapshot()

    def snapshot(self, turn: int | None = None) -> None:
        """Report the cache as it stands."""
        self._snapshot_at = time.perf_counter()
        self._emit(
            snapshot.take(
                self.resident,
                turn=turn,
                last_turn=self._messages[-1].turn if self._messages else 0,
                n_turns=len(self._messages) // 2,
                n_swa=self._n_swa,
                n_ctx_swa=self._n_ctx_swa,
                devices=self._devices(),
                prompt_tok_s=self._prompt_tok_s,
                decode_tok_s=self._decode_tok_s,
            )
        )
