"""A scripted engine that speaks the real protocol: for tests of the interface and for pictures of it, never to chat.

Its cache (`fake_cache.py`) is the real ledger under the real policy, so that snapshots, evictions, pins and branches
are those of an engine with a small window. Nothing in it is random and its clock is a counter: the same commands give
the same events, byte for byte.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from msgspec import structs

from chatapp.engine import refusals
from chatapp.errors import EngineError, UserError
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.commands import (
    Cancel,
    Command,
    Forecast,
    Load,
    Open,
    Pin,
    Probe,
    Recall,
    Regenerate,
    Save,
    Send,
    Shutdown,
    Spell,
    Undo,
)
from chatapp.protocol.events import (
    Calibrating,
    Failed,
    Loaded,
    LoadProgress,
    Prefilled,
    Saved,
    Started,
    Text,
    TurnDone,
    TurnStarted,
)
from chatapp.protocol.values import (
    Answer,
    Capability,
    Device,
    Memory,
    Message,
    ModelFacts,
    Sinks,
    Stages,
    TurnStats,
)
from tests.support.fake_engine.cache import MIB, OPENING_TOK, FakeCache, pieces, tokens
from tests.support.fake_engine.look import look

EPOCH_S = 1_760_000_000.0


@dataclass(frozen=True)
class Script:
    """What the engine does, in order. A death or a failure happens once and is used up."""

    replies: Sequence[str] = ("Hello. What shall we talk about?",)
    """Replies by turn, again from the first after the last."""
    n_ctx: int = 512
    token_s: float = 0.0
    """Pause before each token of a reply, in seconds; 0 still lets other tasks run."""
    hold_after: int | None = None
    """Tokens of each reply after which the engine waits for `release`, or for a Cancel."""
    load_s: float = 0.0
    """Pause before each of the four reports of loading."""
    chunk_tok: int = 256
    """Prompt tokens between two reports of a prefill."""
    on_gpu: bool = False
    start_error: str | None = None
    """`start` raises EngineError with this."""
    hold_load: float | None = None
    """Share of the weights at which loading waits for `release`."""
    load_failure: Failed | None = None
    hold_sinks: bool = False
    """A measurement of sinks waits for `release` or for a Cancel."""
    open_failures: Sequence[Failed] = ()
    """What the first openings are refused with, one after the other."""
    regenerate_failure: Failed | None = None
    warnings: tuple[str, ...] = ()
    looks: bool = False
    """A reply can be looked into: a Probe is answered at its next token."""
    hold_open: bool = False
    """A conversation with messages waits for `release` or for a Cancel, halfway into the cache."""
    hold_recall: bool = False
    """A recall waits behind its first message, for `release` or for a Cancel."""
    lets_go_in_turn: int | None = None
    """The turn at whose beginning the engine gives up every pin, for want of room."""
    die_in_turn: int | None = None
    """The turn in which the engine ends by itself, after `die_after` tokens of its reply."""
    die_after: int = 0
    death: str = "The engine process was ended by signal SIGKILL; its log is engine.log."


class FakeEngine:
    """See the module. Satisfies `chatapp.engine.client.Engine`; `posted` keeps every command for tests to read."""

    def __init__(self, script: Script | None = None, *, posted: list[Command] | None = None) -> None:
        """`posted` may be shared by several engines, so that a test sees what a restarted one was asked."""
        self.script = script or Script()
        self.posted: list[Command] = [] if posted is None else posted
        self._commands: asyncio.Queue[Command | None] = asyncio.Queue()
        self._events: asyncio.Queue[AnyEvent | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._cancel = self._look_wanted = False
        self._free = asyncio.Event()
        self._death: str | None = None
        self._ticks = 0
        self._path = ""
        self._unopened: Open | None = None
        """The conversation that the next command opens first: its opening was stopped or refused."""
        self._refusal: Failed | None = None
        """What that command is refused with."""
        self._open_failures = list(self.script.open_failures)
        self._cache = self._new_cache()

    # ----------------------------------------------------------------------- the protocol of chatapp.engine.client

    @property
    def death(self) -> str | None:
        """See Engine.death."""
        return self._death

    async def start(self) -> None:
        """See Engine.start."""
        if self.script.start_error:
            raise EngineError(self.script.start_error)
        cpu = Device(name="CPU", description="Scripted CPU", kind="cpu", total_bytes=8192 * MIB, free_bytes=4096 * MIB)
        self._emit(
            Started(
                at_s=self._now(), pid=1, llama_cpp_python="0.3.36", llama_cpp="scripted", system_info="",
                gpu_offload=self.script.on_gpu, devices=[cpu],
            )
        )  # fmt: skip
        self._task = asyncio.create_task(self._serve())

    def post(self, command: Command) -> None:
        """See Engine.post."""
        if self._death is not None:
            return
        self.posted.append(command)
        if isinstance(command, Cancel):
            self._cancel = True
            self._free.set()
        elif isinstance(command, Probe):
            self._look_wanted = self.script.looks
        elif isinstance(command, Spell):
            self._cache.spell(command.pos, command.n)
        else:
            self._commands.put_nowait(command)

    async def events(self) -> AsyncIterator[AnyEvent]:
        """See Engine.events."""
        while (event := await self._events.get()) is not None:
            yield event

    async def stop(self) -> None:
        """See Engine.stop."""
        if self._task is None or self._death is not None:
            return
        self._cancel = True
        self._free.set()
        self._commands.put_nowait(Shutdown())
        await self._task

    def release(self) -> None:
        """Go on with the reply that is held."""
        self._free.set()

    def die(self, why: str | None = None) -> None:
        """End as a killed process does: at once, in the middle of anything."""
        self._death = why or self.script.death
        if self._task is not None:
            self._task.cancel()
        self._events.put_nowait(None)

    # ----------------------------------------------------------------------- the script

    async def _serve(self) -> None:
        while True:
            command = await self._commands.get()
            if isinstance(command, Save | Send | Regenerate | Undo | Pin | Recall) and not self._settled():
                continue
            match command:
                case Load():
                    await self._load(command)
                case Open():
                    await self._open(command)
                case Save():
                    held = self._cache.ledger.n_tokens
                    self._emit(Saved(at_s=self._now(), path=command.path, tokens=held, size_bytes=0, ms=0.0))
                case Send():
                    self._cancel = False
                    self._free.clear()
                    await self._turn(command.turn, command.text)
                case Regenerate() | Undo() if command.turn != self._cache.last_turn:
                    why = f"Turn {command.turn} is not the last one the model answered."
                    self._emit(Failed(at_s=self._now(), kind="user", what=why, todo=""))
                case Regenerate() if self.script.regenerate_failure is not None:
                    self._emit(self.script.regenerate_failure)
                case Regenerate():
                    self._cancel = False
                    self._free.clear()
                    asked = self._cache.asked(command.turn)
                    self._cache.roll_back(command.turn, keep_user=True, why="the last reply is made again")
                    await self._turn(command.turn, asked, again=True)
                case Undo():
                    self._cache.roll_back(command.turn, keep_user=False, why="the last turn is undone")
                    self._cache.snapshot()
                case Pin():
                    self._cache.pin(command.turn, pinned=command.pinned)
                case Recall():
                    self._cancel = False
                    self._free.clear()
                    await self._recall(command.turns)
                case Forecast() if self._refusal is not None:
                    self._emit(structs.replace(self._refusal, at_s=self._now()))
                case Forecast():
                    self._cache.forecast(command)
                case _:
                    self._events.put_nowait(None)
                    return

    async def _load(self, command: Load) -> None:
        self._path = command.path
        for fraction in (0.25, 0.5, 0.75, 1.0):
            await asyncio.sleep(self.script.load_s)
            self._emit(LoadProgress(at_s=self._now(), fraction=fraction))
            if fraction == self.script.hold_load:
                await self._free.wait()
        if self.script.load_failure is not None:
            self._emit(self.script.load_failure)
            return
        sinks = await self._sinks(command.cache.sinks)
        self._cache = self._new_cache()
        self._unopened, self._refusal = None, self._failed(refusals.nothing_open())
        yes = Answer(ok=True)
        policy = "sinks" if command.cache.policy == "auto" else command.cache.policy
        memory = Memory(weights_bytes=98 * MIB, kv_bytes=self.script.n_ctx * 23040, compute_bytes=29 * MIB)
        facts = ModelFacts(
            path=command.path, name="SmolLM2 135M Instruct", architecture="llama", size_bytes=98 * MIB,
            n_params=134_515_008, n_layer=30, n_head=9, n_head_kv=3, head_dim=64, n_embd=576, n_vocab=49152,
            n_ctx_train=8192, n_swa=None, n_layer_swa=0, rope_scaling=None, rope_factor=None, learned_sinks=False,
            n_expert=None, n_expert_used=None, has_chat_template=True, quantization="Q4_1",
        )  # fmt: skip
        self._emit(
            Loaded(
                at_s=self._now(), model=facts, n_ctx=self.script.n_ctx, n_ctx_swa=None, policy=policy,
                capability=Capability(
                    evict=yes, renumber=yes, roll_back=yes, quantize_k=yes, quantize_v=yes, save_state=yes,
                    policy=policy, policy_why="as asked",
                    probe=Answer(ok=self.script.looks, why="" if self.script.looks else "There is no model."),
                ),
                planned=memory, measured=memory, on_gpu=self.script.on_gpu, load_s=0.4,
                warnings=list(self.script.warnings), sinks=sinks,
            )
        )  # fmt: skip

    async def _sinks(self, asked: int | None) -> Sinks:
        if asked is not None:
            return Sinks(n=asked, why="From settings.")
        self._cancel = False
        self._free.clear()
        self._emit(Calibrating(at_s=self._now(), done=640, total=1856))
        if self.script.hold_sinks:
            await self._free.wait()
        if self._cancel:
            return Sinks(n=4, why="Not measured: the measurement was stopped. 4 is the default.")
        return Sinks(n=1, why="Measured: the fewest whose loss is within 0.05 nats of the best of 0, 1, 2, 4 and 8.")

    def _new_cache(self) -> FakeCache:
        return FakeCache(self.script.n_ctx, self._emit, self._now)

    async def _open(self, command: Open) -> None:
        self._unopened, self._refusal = command, None
        if self.script.hold_open and command.messages:
            self._cancel = False
            self._free.clear()
            total = sum(len(tokens(message.text)) + OPENING_TOK for message in command.messages)
            self._emit(Prefilled(at_s=self._now(), done=total // 2, total=total, ms=total * 0.5))
            await self._free.wait()
            if self._cancel:
                self._empty()
                self._emit(Failed(at_s=self._now(), kind="user", what="Stopped.", todo=refusals.STOPPED_OPENING))
                return
        if (refused := self._fill(command)) is not None:
            self._emit(refused)

    def _fill(self, command: Open) -> Failed | None:
        """Hold this conversation; what it is refused with, and then the cache is empty."""
        error = self._cache.refusal(command.system)
        refused = self._open_failures.pop(0) if self._open_failures else error and self._failed(error)
        if refused is None:
            self._cache.open(command)
            self._unopened = self._refusal = None
            return None
        self._empty()
        self._refusal = structs.replace(refused, what=refusals.not_open(EngineError(refused.what)).what)
        return structs.replace(refused, at_s=self._now())

    def _empty(self) -> None:
        self._cache = self._new_cache()
        self._cache.snapshot()

    def _settled(self) -> bool:
        """True where a conversation is open: one that was stopped or refused is tried again first."""
        if self._unopened is not None:
            self._fill(self._unopened)
        if self._refusal is not None:
            self._emit(structs.replace(self._refusal, at_s=self._now()))
        return self._refusal is None

    def _failed(self, error: UserError) -> Failed:
        return Failed(at_s=EPOCH_S, kind="user", what=error.what, todo=error.todo)

    async def _turn(self, turn: int, text: str, *, again: bool = False) -> None:
        if turn == self.script.lets_go_in_turn:
            self._cache.let_go("the window has no room left for it")
        reused = self._cache.ledger.n_tokens
        prompt = () if again else tokens(text)
        total = len(prompt) + OPENING_TOK
        before = (self._cache.evicted, self._cache.shifts)
        self._emit(TurnStarted(at_s=self._now(), turn=turn, prompt_tokens=total, reused_tokens=reused))
        done = 0
        while done < total and not self._cancel:
            await asyncio.sleep(self.script.token_s)
            take = min(self.script.chunk_tok, total - done)
            self._cache.room(take, turn)
            opening = OPENING_TOK if done == 0 else 0
            self._cache.add(turn, "assistant" if again else "user", (0,) * (take - opening), opening=opening)
            done += take
            self._emit(Prefilled(at_s=self._now(), turn=turn, done=done, total=total, ms=take * 0.5))
            self._cache.snapshot()
        made: list[str] = []
        for piece in pieces(self.script.replies[(turn - 1) % len(self.script.replies)]):
            if self.script.die_in_turn == turn and len(made) >= self.script.die_after:
                self.die()
                await asyncio.sleep(0)
            await asyncio.sleep(self.script.token_s)
            if len(made) == self.script.hold_after:
                await self._free.wait()
                self._free.clear()
            if self._cancel:
                break
            self._cache.room(1, turn)
            self._cache.add(turn, "assistant", (0,), opening=0)
            made.append(piece)
            self._emit(Text(at_s=self._now(), turn=turn, text=piece, tokens=1))
            if self._look_wanted:
                self._look_wanted = False
                self._emit(look(self._cache.ledger, self.script.n_ctx, turn=turn, at_s=self._now()))
            self._cache.snapshot()
        stats = TurnStats(
            prompt_tokens=total, reply_tokens=len(made), reused_tokens=reused, processed_tokens=done,
            evicted_tokens=self._cache.evicted - before[0], shifts=self._cache.shifts - before[1],
            ttft_s=0.18 if made else None, prompt_tok_s=412.0, decode_tok_s=61.0 if made else None,
            stages=Stages(
                template=0.6, prefill=done / 0.412, sample=len(made) * 0.2, decode=len(made) * 16.0, probe=0.0
            ),
        )  # fmt: skip
        if made or not self._cancel:
            said = (("user", text), ("assistant", "".join(made)))
            self._cache.said(*(Message(turn=turn, role=role, text=words) for role, words in said))
        else:
            # As the real one does: a turn that was stopped before its reply leaves no trace.
            self._cache.roll_back(turn, keep_user=False, why="the turn ended before its reply began")
        reason = "cancelled" if self._cancel else "end"
        self._emit(TurnDone(at_s=self._now(), turn=turn, stop_reason=reason, stats=stats, seed=7))
        self._cache.snapshot()

    async def _recall(self, turns: list[int]) -> None:
        for _ in self._cache.recall(turns):
            await asyncio.sleep(self.script.token_s)
            if self.script.hold_recall:
                await self._free.wait()
            if self._cancel:
                self._cache.forget_recalled(turns)
                self._emit(Failed(at_s=self._now(), kind="user", what="Stopped.", todo=""))
                return

    def _emit(self, event: AnyEvent) -> None:
        self._events.put_nowait(event)

    def _now(self) -> float:
        self._ticks += 1
        return EPOCH_S + self._ticks / 100
