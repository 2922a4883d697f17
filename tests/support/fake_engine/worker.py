"""The engine's own worker and session, on a llama.cpp that is scripted.

It runs in lockstep with the interface's event loop: wherever a real engine takes time, it waits for a `Wish` to come
true.
"""

from collections.abc import Callable
from enum import Enum
from pathlib import Path

from msgspec import structs

from chatapp.engine.kv.cache import KvCache
from chatapp.engine.native import gguf
from chatapp.engine.pipe import Pipe
from chatapp.engine.planning.load_plan import fitted
from chatapp.engine.probe.sampling import ProbeSampler
from chatapp.engine.session.progress import Intervals
from chatapp.engine.session.session import Session
from chatapp.engine.session.thoughts import Thinking
from chatapp.engine.stopwatch import Stopwatch
from chatapp.engine.thread_tuner import fixed
from chatapp.engine.worker import Worker
from chatapp.errors import EngineError, ModelError, SwachatError, UserError
from chatapp.protocol.codec import AnyCommand, AnyEvent
from chatapp.protocol.commands import Load, Open, Recall, Regenerate, Send, Several
from chatapp.protocol.events import (
    Calibrating,
    Failed,
    Loaded,
    LoadProgress,
    Pinned,
    Prefilled,
    Started,
    Text,
    TurnStarted,
)
from chatapp.protocol.values import (
    Answer,
    Capability,
    Device,
    Memory,
    ModelFacts,
    Sampling,
    Sinks,
)
from chatapp.thinking.families import FAMILIES
from tests.support.fake_engine.llama import ScriptedContext, ScriptedModel, ScriptedSampler, ScriptedTemplate
from tests.support.fake_engine.look import look
from tests.support.fake_engine.script import Script
from tests.support.fake_engine.steady import MIB

SEED = 7
LIVE_BRANCHES = 2
THINK = next(family for family in FAMILIES if family.name == "think")
ERRORS: dict[str, type[SwachatError]] = {"user": UserError, "model": ModelError, "engine": EngineError}


class Wish(Enum):
    """What a scripted engine waits for."""

    COMMAND = "a command"
    TOKEN = "the time that a token takes"
    WEIGHTS = "the time that a quarter of the weights takes"
    RELEASE = "that the test lets it go on"
    DEATH = "its end"


class ScriptedPipe(Pipe):
    """No pipe at all: commands are handed in, events are handed out."""

    def __init__(
        self, script: Callable[[], Script], pause: Callable[[Wish], None], tell: Callable[[AnyEvent], None]
    ) -> None:
        """`script` is asked each time: a test may give the engine another one."""
        super().__init__(-1, -1)
        self._script, self._pause, self._tell = script, pause, tell
        self._command: AnyCommand | None = None
        self.why_unpinned = ""
        self.turn = self.n_said = 0
        """The turn in progress, and the tokens of its reply."""
        self._held = self.freed = False
        self.between: Callable[[], None] = lambda: None
        """What a real engine does between two tokens of a reply."""

    @property
    def idle(self) -> bool:
        """True where there is no command to be taken."""
        return self._n_taken == self._n_queued

    @property
    def stopped(self) -> bool:
        """True where Cancel came after the command in hand."""
        return super().cancelled()

    def next(self) -> AnyCommand:
        """See Pipe."""
        while self.idle:
            self._pause(Wish.COMMAND)
        self._command, self._held, self.freed = super().next(), False, False
        return self._command

    def cancelled(self) -> bool:
        """See Pipe. It is asked once a chunk and once a token."""
        self._pause(Wish.TOKEN)
        if isinstance(self._command, Send | Regenerate) and self.n_said == self._script().hold_after and self.turn:
            self.hold()
        return super().cancelled()

    def hold(self) -> None:
        """Wait for `release` or Cancel, once a command."""
        if self._held:
            return
        self._held = True
        while not (self.freed or self.stopped):
            self._pause(Wish.RELEASE)
            if self.n_said:
                self.between()

    def emit(self, event: AnyEvent) -> None:
        """See Pipe."""
        match event:
            case TurnStarted(turn=int(turn)):
                self.turn, self.n_said = turn, 0
            case Text():
                self.n_said += event.tokens
            case Pinned(pinned=False) if self.why_unpinned:
                event = structs.replace(event, why=self.why_unpinned)
            case _:
                pass
        self._tell(event)
        if isinstance(event, Prefilled) and event.done < event.total:
            script, command = self._script(), self._command
            if (script.hold_open and isinstance(command, Open)) or (script.hold_recall and isinstance(command, Recall)):
                self.hold()


class ScriptedProbe(ProbeSampler):
    """Answers each Probe at the next token."""

    def __init__(self, n_ctx: int, requested: Callable[[], bool]) -> None:
        self._n_ctx = n_ctx
        self._requested = requested

    def begin(self) -> None:
        """See ProbeSampler."""

    def extend(self, kv: KvCache, turn: int, token: int, emit: Callable[[AnyEvent], None], clock: Stopwatch) -> None:
        """See ProbeSampler."""
        kv.extend(turn, token)
        if self._requested():
            emit(look(kv.ledger, self._n_ctx, turn=turn, at_s=0.0))

    def close(self) -> None:
        """See ProbeSampler."""


class ScriptedWorker(Worker):
    """A worker whose model says what the script says."""

    def __init__(self, script: Callable[[], Script], pipe: ScriptedPipe, pause: Callable[[Wish], None]) -> None:
        super().__init__(pipe, sweep=lambda: None)
        self._script, self._scripted, self._pause = script, pipe, pause
        pipe.between = self._answer
        self._first_replies = list(script().first_replies)
        self._open_failures = list(script().open_failures)
        self._regenerate_failure = script().regenerate_failure
        self._n_prompts: int | None = None
        """How many of several prompts were begun; None while a conversation goes on."""

    def _started(self) -> Started:
        cpu = Device(name="CPU", description="Scripted CPU", kind="cpu", total_bytes=8192 * MIB, free_bytes=4096 * MIB)
        return Started(
            at_s=0.0, pid=1, llama_cpp_python="0.3.36", llama_cpp="scripted", system_info="",
            gpu_offload=self._script().on_gpu, devices=[cpu],
        )  # fmt: skip

    # ----------------------------------------------------------------------- loading

    def _load(self, command: Load) -> None:
        script = self._script()
        self._unload()
        if command.path in script.no_models:
            gguf.read(Path(command.path))
        for fraction in (0.25, 0.5, 0.75, 1.0):
            self._pause(Wish.WEIGHTS)
            self._scripted.emit(LoadProgress(at_s=0.0, fraction=fraction))
            if fraction == script.hold_load:
                self._scripted.hold()
            if self._scripted.stopped:
                raise ModelError("The loading was stopped.")
        if script.load_failure is not None:
            self._scripted.emit(script.load_failure)
            return
        sinks = self._count_sinks(command.cache.sinks)
        policy = "sinks" if command.cache.policy == "auto" else command.cache.policy
        yes = Answer(ok=True)
        capability = Capability(
            evict=yes, renumber=yes, roll_back=yes, quantize_k=yes, quantize_v=yes, save_state=yes,
            policy=policy, policy_why="as asked",
            probe=Answer(ok=script.looks, why="" if script.looks else "There is no model."),
        )  # fmt: skip
        cache = structs.replace(
            fitted(structs.replace(command.cache, sinks=sinks.n, evict_share=script.evict_share), script.n_ctx),
            n_ctx=script.n_ctx,
        )
        if script.chunk_tok is not None:
            cache = structs.replace(cache, micro_batch=script.chunk_tok)
        model, context = ScriptedModel(), ScriptedContext(cache, command.cache.live_branches or LIVE_BRANCHES)
        self._model, self._context = model, context
        self._session = Session(
            model,
            context,
            ScriptedTemplate(model, self._refuse_opening),
            cache,
            capability=capability,
            n_swa=None,
            n_ctx_swa=None,
            emit=self._scripted.emit,
            cancelled=self._scripted.cancelled,
            devices=list,
            probe=ScriptedProbe(script.n_ctx, self._scripted.probe_wanted) if script.looks else None,
            threads=lambda: None if command.engine.threads is None else fixed(command.engine.threads),
            between=self._answer,
            thinking=Thinking(THINK, ending=tuple(model.tokenize(THINK.ending, special=True)))
            if script.thinks
            else None,
            answer_now=self._scripted.answer_now,
            sampler=self._sampler,
            intervals=Intervals(text_s=0, snapshot_s=0),
        )
        memory = Memory(weights_bytes=98 * MIB, kv_bytes=script.n_ctx * 23040, compute_bytes=29 * MIB)
        self._scripted.emit(
            Loaded(
                at_s=0.0, model=_facts(command.path), n_ctx=script.n_ctx, n_ctx_swa=None, policy=policy,
                capability=capability, planned=memory, measured=memory, on_gpu=script.on_gpu, load_s=0.4,
                warnings=list(script.warnings), sinks=sinks,
            )
        )  # fmt: skip

    def _count_sinks(self, asked: int | None) -> Sinks:
        if asked is not None:
            return Sinks(n=asked, why="From settings.")
        self._scripted.emit(Calibrating(at_s=0.0, done=640, total=1856))
        if self._script().hold_sinks:
            self._scripted.hold()
        if self._scripted.stopped:
            return Sinks(n=4, why="Not measured: the measurement was stopped. 4 is the default.")
        return Sinks(n=1, why="Measured: the fewest whose loss is within 0.05 nats of the best of 0, 1, 2, 4 and 8.")

    # ----------------------------------------------------------------------- conversing

    def _converse(self, command: AnyCommand, session: Session) -> None:
        self._n_prompts = None
        if isinstance(command, Send | Regenerate | Several):
            if command.sampling.seed is None:
                command = structs.replace(command, sampling=structs.replace(command.sampling, seed=SEED))
            if isinstance(command, Several):
                self._n_prompts = 0
            elif command.turn == self._script().lets_go_in_turn:
                self._unpin(session)
        if isinstance(command, Regenerate) and self._regenerate_failure is not None:
            failure, self._regenerate_failure = self._regenerate_failure, None
            raise _error(failure)
        self._scripted.turn = 0
        super()._converse(command, session)

    def _unpin(self, session: Session) -> None:
        self._scripted.why_unpinned = "the window has no room left for it"
        for turn in session.kv.ledger.pinned_turns:
            session.pin(turn, False)
        self._scripted.why_unpinned = ""

    def _refuse_opening(self) -> None:
        if self._open_failures:
            raise _error(self._open_failures.pop(0))

    def _sampler(self, model: object, sampling: Sampling, seed: int) -> ScriptedSampler:
        assert isinstance(model, ScriptedModel)
        turn = self._scripted.turn
        if self._n_prompts is not None:
            self._n_prompts += 1
            turn = self._n_prompts
        if self._first_replies:
            return ScriptedSampler(model, self._first_replies.pop(0), self._before_token)
        replies = self._script().replies
        return ScriptedSampler(model, replies[(turn - 1) % len(replies)], self._before_token)

    def _before_token(self) -> None:
        script, pipe = self._script(), self._scripted
        if pipe.turn == script.die_in_turn and pipe.n_said >= script.die_after:
            self._pause(Wish.DEATH)


def _error(failure: Failed) -> SwachatError:
    return ERRORS[failure.kind](failure.what, failure.todo)


def _facts(path: str) -> ModelFacts:
    return ModelFacts(
        path=path, name="SmolLM2 135M Instruct", architecture="llama", size_bytes=98 * MIB,
        n_params=134_515_008, n_layer=30, n_head=9, n_head_kv=3, head_dim=64, n_embd=576, n_vocab=49152,
        n_ctx_train=8192, n_swa=None, n_layer_swa=0, rope_scaling=None, rope_factor=None, learned_sinks=False,
        n_expert=None, n_expert_used=None, has_chat_template=True, quantization="Q4_1",
    )  # fmt: skip
