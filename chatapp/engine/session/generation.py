"""One reply: sample, decode, and emit the text as it grows."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from chatapp.engine.interrupts import CancelledError, WindowFullError
from chatapp.engine.kv.cache import KvCache
from chatapp.engine.native.llama import Model
from chatapp.engine.native.sampler import Sampler
from chatapp.engine.probe.sampling import ProbeSampler
from chatapp.engine.session.progress import ProgressReport
from chatapp.engine.session.thoughts import ReplyText, Said, Thinking, ThoughtsEnd
from chatapp.engine.stopwatch import Stopwatch, now
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Text
from chatapp.protocol.values import Sampling

LARGEST_SEED = 2**31 - 1


@dataclass
class Reply:
    """The outcome of one generation: its text and the tokens of it. `full` says why no more cells could be freed."""

    text: str = ""
    reasoning: str = ""
    reasoning_tokens: int = 0
    unclosed: bool = False
    """It ended in the middle of a thought: there is no answer."""
    ids: list[int] = field(default_factory=list[int])
    stop_reason: str = "end"
    full: str = ""
    first_token_at: float | None = None
    last_token_at: float | None = None

    @property
    def tokens(self) -> int:
        """How many there are."""
        return len(self.ids)


def generate(
    model: Model,
    kv: KvCache,
    turn: int,
    sampling: Sampling,
    seed: int,
    *,
    emit: Callable[[AnyEvent], None],
    report: ProgressReport,
    probe: ProbeSampler | None,
    clock: Stopwatch,
    cancelled: Callable[[], bool],
    text_interval_s: float,
    thinking: Thinking | None = None,
    answer_now: Callable[[], bool] = lambda: False,
    sampler: Callable[[Model, Sampling, int], Sampler] = Sampler,
) -> Reply:
    """Sample and decode until the model ends, the limit is reached, the window is full, or the user cancels.

    `clock` takes the times, from the end of the prefill on. `answer_now` says that a thought should end.
    """
    if probe is not None:
        probe.begin()
    reply = Reply()
    chain = sampler(model, sampling, seed)
    opening = [token for run in kv.ledger.of_turn(turn) if run.role == "assistant" for token in run.tokens]
    words, ending = ReplyText(model, thinking, opening), ThoughtsEnd(thinking, sampling.think_budget, answer_now)
    sent: list[Said] = []
    unsent: list[Said] = []
    unsent_tokens, sent_at = 0, 0.0

    def send() -> None:
        nonlocal unsent_tokens
        text, reasoning = ("".join(said) for said in zip(*unsent, strict=True))
        emit(Text(at_s=time.time(), turn=turn, text=text, reasoning=reasoning, tokens=unsent_tokens))
        sent.append(Said(text, reasoning))
        unsent.clear()
        unsent_tokens = 0

    clock.lap("sample")
    try:
        while True:
            kv.context.synchronize()  # a GPU decodes while Python runs on
            clock.lap("decode")
            forced = ending.next(words)
            token = chain.sample(kv.context) if forced is None else forced
            if forced is None and model.is_end(token):
                break
            reply.ids.append(token)
            reply.last_token_at = now()
            reply.first_token_at = reply.first_token_at or reply.last_token_at
            unsent.append(words.add(token))
            unsent_tokens += 1
            if reply.last_token_at - sent_at >= text_interval_s:
                send()
                sent_at = reply.last_token_at
            clock.lap("sample")
            if probe is None:
                kv.extend(turn, token)
                clock.lap("decode")
            else:
                probe.extend(kv, turn, token, emit, clock)
            if reply.tokens == sampling.max_tokens:
                reply.stop_reason = "length"
                break
            if cancelled():
                reply.stop_reason = "cancelled"
                break
            report.reply_grew(reply.tokens, reply.first_token_at, reply.last_token_at)
            clock.lap(None)
    except WindowFullError as full:
        reply.stop_reason, reply.full = "window_full", str(full)
        clock.lap("decode")
    except CancelledError:  # during a rebuild that was to free cells
        reply.stop_reason = "cancelled"
        clock.lap("decode")
    finally:
        chain.close()
    unsent.append(words.end())
    if unsent_tokens or any(unsent[-1]):
        send()
    reply.text, reply.reasoning = "".join(said.text for said in sent), "".join(said.reasoning for said in sent)
    reply.reasoning_tokens, reply.unclosed = words.reasoning_tokens, words.unclosed
    clock.lap("sample")
    return reply
