"""Several prompts at once: each is a conversation of its own, all are decoded in the same batches.

The system prompt is processed once, and every sequence shares its cells (docs/decisions/0009). Each step is one batch:
part of the prompts that are not processed yet, and one token of every reply in progress. A batch of several replies
costs little more than that of one, because most of the time goes into reading the weights.

Each prompt has an equal share of the cells; beyond it its own oldest tokens are evicted by the policy. Only cells
that belong to one sequence are evicted or shifted: the shared beginning stays at positions 0, 1, 2, ...
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chatapp.cache import consistency
from chatapp.cache import policy as policies
from chatapp.cache.ledger import CellKind, Ledger
from chatapp.cache.policy import EvictionPlan, Remove, Renumber
from chatapp.engine.interrupts import CancelledError
from chatapp.engine.native.llama import BatchEntry, Context, Model
from chatapp.engine.native.sampler import Sampler
from chatapp.engine.session.generation import LARGEST_SEED
from chatapp.engine.session.thoughts import ReplyText, Said, Thinking, ThoughtsEnd
from chatapp.engine.template.chat_template import ChatTemplate
from chatapp.errors import EngineError, ModelError, UserError
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Replied, SeveralDone
from chatapp.protocol.values import CacheSettings, Sampling

SHIFTING = ("sinks", "slide")
"""Policies that evict inside one sequence; with the others a reply ends when its share is full."""


@dataclass
class _BatchPrompt:
    """One prompt in its sequence. `waiting` are the tokens still to be processed; then its reply is generated."""

    number: int
    sequence: int
    sampler: Sampler
    ledger: Ledger
    waiting: list[tuple[int, str]]
    n_prompt: int
    words: ReplyText
    ending: ThoughtsEnd
    text: str = ""
    reasoning: str = ""
    began: float = field(default_factory=time.perf_counter)
    reply: list[int] = field(default_factory=list[int])
    output: int | None = None
    """The index of its logits in the last batch."""
    stop_reason: str = ""
    mismatch: str | None = None
    """How its ledger and llama.cpp's positions first disagreed after a step."""

    def hear(self, said: Said) -> None:
        """The reply goes on."""
        self.text, self.reasoning = self.text + said.text, self.reasoning + said.reasoning


class PromptBatch:
    """The sequences of one context, each with one prompt at a time."""

    def __init__(
        self,
        model: Model,
        context: Context,
        template: ChatTemplate,
        cache: CacheSettings,
        *,
        policy: str,
        recurrent: bool,
        emit: Callable[[AnyEvent], None],
        cancelled: Callable[[], bool],
        thinking: Thinking | None = None,
        sampler: Callable[[Model, Sampling, int], Sampler] = Sampler,
    ) -> None:
        """`recurrent`: the model has a state that cannot be cut, and reports no lowest position."""
        self._model, self._context, self._template = model, context, template
        self._policy, self._n_sink, self._share = policy, cache.sinks, cache.evict_share
        self._n_batch = cache.micro_batch
        self._recurrent = recurrent
        self._thinking = thinking
        self._n_swa = 0 if cache.swa_full else model.n_swa
        self._bare: set[int] = set()
        """Sequences without the system prompt: a recurrent state cannot be cut back to it."""
        self._emit, self._cancelled, self._sampler = emit, cancelled, sampler

    def run(self, system: str | None, prompts: Sequence[str], sampling: Sampling) -> None:
        """Reply to every prompt; one Replied event each, in the order in which they end. A prompt that the template
        refuses fails alone.

        Raises UserError where the system prompt takes more than half of a prompt's share.
        """
        began = time.perf_counter()
        context = self._context
        context.clear()
        context.use(0)
        preamble = self._template.preamble(system)
        most = (context.n_ctx - len(preamble)) // context.n_sequences + len(preamble)
        if 2 * len(preamble) > most:
            raise UserError(
                f"The system prompt takes {len(preamble)} of the {most} tokens that each of {context.n_sequences} "
                f"prompts may have.",
                "Use a larger --ctx, or fewer prompts at once.",
            )
        self._bare.clear()
        for at in range(0, len(preamble), self._n_batch):
            self._decode([BatchEntry(token, at + i, 0) for i, token in enumerate(preamble[at : at + self._n_batch])])
        for sequence in range(1, context.n_sequences):
            context.share(sequence, len(preamble))
        todo = list(enumerate(prompts))[::-1]
        free = list(range(context.n_sequences))[::-1]
        active: list[_BatchPrompt] = []
        try:
            while todo or active:
                while todo and free and not self._cancelled():
                    number, prompt = todo.pop()
                    try:
                        active.append(self._begin(number, free[-1], system, prompt, preamble, sampling))
                    except CancelledError:  # a template that takes long; what is in progress ends below
                        break
                    except ModelError as error:
                        self._refuse(number, error)
                    else:
                        free.pop()
                self._step(active, most, sampling)
                for running in [running for running in active if running.stop_reason]:
                    self._end(running, len(preamble))
                    active.remove(running)
                    free.append(running.sequence)
                if self._cancelled():
                    todo.clear()
        finally:
            for running in active:
                running.sampler.close()
            context.use(0)
            context.clear()
        ms = (time.perf_counter() - began) * 1000
        self._emit(SeveralDone(at_s=time.time(), shared_tokens=len(preamble), ms=ms))

    def _begin(
        self,
        number: int,
        sequence: int,
        system: str | None,
        text: str,
        preamble: tuple[int, ...],
        sampling: Sampling,
    ) -> _BatchPrompt:
        prompt = self._template.prompt(system, text, first=True, after=self._template.text(preamble[-1:]))
        ledger = Ledger().append(0, "system", preamble, kind=CellKind.SINK)
        waiting: list[tuple[int, str]] = []
        if sequence in self._bare:
            ledger, waiting = Ledger(), [(token, "system") for token in preamble]
        waiting += [(token, "user") for token in prompt.user + prompt.head_end]
        waiting += [(token, "assistant") for token in prompt.reply_opening]
        seed = random.randrange(LARGEST_SEED) if sampling.seed is None else sampling.seed + number
        return _BatchPrompt(
            number,
            sequence,
            self._sampler(self._model, sampling, seed),
            ledger,
            waiting,
            len(waiting),
            ReplyText(self._model, self._thinking, prompt.reply_opening),
            ThoughtsEnd(self._thinking, sampling.think_budget, lambda: False),
        )

    def _refuse(self, number: int, error: ModelError) -> None:
        self._emit(
            Replied(
                at_s=time.time(),
                number=number,
                text="",
                prompt_tokens=0,
                reply_tokens=0,
                evicted_tokens=0,
                stop_reason="error",
                ms=0.0,
                error=str(error),
            )
        )

    def _step(self, active: Sequence[_BatchPrompt], most: int, sampling: Sampling) -> None:
        """Sample a token of each reply in progress, then decode one batch for all."""
        for running in active:
            if running.output is not None:
                self._sample(running, sampling)
        batch: list[BatchEntry] = []
        budget = self._n_batch
        for i, running in enumerate(active):
            count = 0 if running.stop_reason else min(len(running.waiting), max(1, budget // (len(active) - i)))
            if count and self._make_room(running, count, most):
                budget -= count
                for _ in range(count):
                    token, role = running.waiting.pop(0)
                    batch.append(
                        BatchEntry(token, running.ledger.next_pos, running.sequence, wanted=not running.waiting)
                    )
                    running.ledger = self._with(running.ledger, token, role)
                running.output = len(batch) - 1 if not running.waiting else None
        if batch:
            self._decode(batch)
            self._compare(active)

    def _compare(self, active: Sequence[_BatchPrompt]) -> None:
        """Compare each ledger with llama.cpp's own positions, as for a single conversation."""
        for running in active:
            if running.mismatch is None:
                running.mismatch = consistency.mismatch(
                    running.ledger,
                    self._context.positions_of(running.sequence),
                    n_ctx=self._context.n_ctx,
                    n_swa=self._n_swa or 0,
                    recurrent=self._recurrent,
                )

    def _with(self, ledger: Ledger, token: int, role: str) -> Ledger:
        if role == "system":
            return ledger.append(0, role, (token,), kind=CellKind.SINK)
        return ledger.append_sinks_first(1, role, (token,), n_sink=self._n_sink)

    def _sample(self, running: _BatchPrompt, sampling: Sampling) -> None:
        assert running.output is not None
        forced = running.ending.next(running.words)
        token = running.sampler.sample(self._context, running.output) if forced is None else forced
        running.output = None
        if forced is None and self._model.is_end(token):
            running.stop_reason = "end"
            return
        running.reply.append(token)
        running.hear(running.words.add(token))
        running.waiting.append((token, "assistant"))
        if len(running.reply) == sampling.max_tokens:
            running.stop_reason = "length"
        elif self._cancelled():
            running.stop_reason = "cancelled"

    def _make_room(self, running: _BatchPrompt, need: int, most: int) -> bool:
        """Evict the oldest tokens of this sequence; False, and the reply ends, where none can be evicted."""
        plan = EvictionPlan()
        if running.ledger.n_tokens + need > most:
            plan = policies.make_room(
                running.ledger,
                policy=self._policy if self._policy in SHIFTING else "dense",
                need=need,
                n_ctx=most,
                share=self._share,
                turn=1,
                keep_recent=self._n_swa,
            )
        n_after = running.ledger.next_pos - max((p1 for _, p1 in plan.removed), default=0)
        if plan.full or (plan.removed and n_after < self._n_swa):  # the sliding window would reach cells that are gone
            running.stop_reason = "window_full"
            return False
        self._context.use(running.sequence)
        for step in plan.steps:
            match step:
                case Remove(p0, p1):
                    self._context.remove(p0, p1)
                case Renumber(p0, delta):
                    self._context.renumber(p0, delta)
                case _:
                    raise AssertionError("no such step in these policies")
        running.ledger = policies.apply(running.ledger, plan)
        return True

    def _decode(self, batch: Sequence[BatchEntry]) -> None:
        if status := self._context.decode_entries(batch):
            raise EngineError(f"llama.cpp could not process {len(batch)} tokens (status {status}).", "See the log.")

    def _end(self, running: _BatchPrompt, n_shared: int) -> None:
        running.hear(running.words.end())
        self._context.use(running.sequence)
        if not self._context.remove(n_shared, -1):
            self._context.release(running.sequence)
            self._bare.add(running.sequence)
        running.sampler.close()
        self._emit(
            Replied(
                at_s=time.time(),
                number=running.number,
                text=running.text,
                reasoning=running.reasoning,
                prompt_tokens=running.n_prompt,
                reply_tokens=len(running.reply),
                reasoning_tokens=running.words.reasoning_tokens,
                evicted_tokens=running.ledger.evicted_tokens,
                stop_reason=running.stop_reason,
                mismatch=running.mismatch,
                ms=(time.perf_counter() - running.began) * 1000,
            )
        )
