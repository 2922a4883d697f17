"""Events of a believable conversation, for the inspector's tests."""

from collections.abc import Sequence

from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import (
    Evicted,
    Loaded,
    Opened,
    Prefilled,
    Snapshot,
    Started,
    TurnDone,
    TurnStarted,
    Warned,
)
from chatapp.protocol.values import (
    Answer,
    Capability,
    CellRun,
    Device,
    Ghost,
    Memory,
    ModelFacts,
    TurnStats,
)

NOON_S = 1_767_225_600.0 + 12 * 3600
CPU = Device(name="CPU", description="a processor", kind="cpu", total_bytes=16_000_000_000, free_bytes=7_800_000_000)
GPU = Device(name="CUDA0", description="a card", kind="gpu", total_bytes=85_000_000_000, free_bytes=61_200_000_000)


def started() -> Started:
    """The engine process is up."""
    return Started(
        at_s=NOON_S,
        pid=1,
        llama_cpp_python="0.3.36",
        llama_cpp="b1",
        system_info="",
        gpu_offload=False,
        devices=[CPU],
    )


def loaded(n_ctx: int = 512, n_swa: int | None = None, n_ctx_swa: int | None = None) -> Loaded:
    """A small model is loaded."""
    yes = Answer(ok=True)
    return Loaded(
        at_s=NOON_S,
        model=ModelFacts(
            path="/models/small.gguf",
            name="Small",
            architecture="llama",
            size_bytes=98_000_000,
            n_params=135_000_000,
            n_layer=30,
            n_head=9,
            n_head_kv=3,
            head_dim=64,
            n_embd=576,
            n_vocab=49152,
            n_ctx_train=8192,
            n_swa=n_swa,
            n_layer_swa=15 if n_swa else 0,
            rope_scaling=None,
            rope_factor=None,
            learned_sinks=False,
            n_expert=None,
            n_expert_used=None,
            has_chat_template=True,
            quantization="Q4_1",
        ),
        capability=Capability(
            evict=yes,
            renumber=yes,
            roll_back=yes,
            quantize_k=yes,
            quantize_v=yes,
            save_state=yes,
            policy="sinks",
            policy_why="",
        ),
        n_ctx=n_ctx,
        n_ctx_swa=n_ctx_swa,
        policy="sinks",
        planned=Memory(
            weights_bytes=98_000_000,
            kv_bytes=11_796_480,
            kv_swa_bytes=3_932_160 if n_ctx_swa else None,
            compute_bytes=24_000_000,
        ),
        measured=Memory(
            weights_bytes=98_200_000,
            kv_bytes=11_796_480,
            kv_swa_bytes=3_932_160 if n_ctx_swa else None,
            compute_bytes=None,
        ),
        on_gpu=False,
        load_s=0.3,
        warnings=[],
    )


def snapshot(
    runs: Sequence[CellRun] = (),
    *,
    n_ctx: int = 512,
    n_swa: int | None = None,
    n_ctx_swa: int | None = None,
    n_elsewhere: int = 0,
    ghosts: Sequence[Ghost] = (),
    evicted_turns: int | None = None,
    mismatch: str | None = None,
    n_used: int | None = None,
    decode_tok_s: float | None = 61.2,
    devices: Sequence[Device] = (CPU,),
) -> Snapshot:
    """A cache that holds these runs; everything that follows from them does."""
    return Snapshot(
        at_s=NOON_S + 60,
        runs=list(runs),
        ghosts=list(ghosts),
        evicted_tokens=sum(ghost.tokens for ghost in ghosts),
        evicted_turns=len([ghost for ghost in ghosts if ghost.whole]) if evicted_turns is None else evicted_turns,
        shifts=len(ghosts),
        n_ctx=n_ctx,
        n_ctx_swa=n_ctx_swa,
        n_swa=n_swa,
        n_sink=sum(run.n for run in runs if run.kind == "sink"),
        n_used=sum(run.n for run in runs) if n_used is None else n_used,
        n_elsewhere=n_elsewhere,
        live_branches=2 if n_elsewhere else 1,
        pos_min=runs[0].pos if runs else None,
        pos_max=runs[-1].pos + runs[-1].n - 1 if runs else None,
        mismatch=mismatch,
        resident_bytes=251_000_000,
        devices=list(devices),
        prompt_tok_s=812.0,
        decode_tok_s=decode_tok_s,
    )


def conversation(lengths: Sequence[tuple[int, int]], *, first_turn: int = 1, sinks: int = 31) -> list[CellRun]:
    """System prompt as sinks, then turns of (message, reply) tokens, position after position."""
    runs = [CellRun(turn=0, role="system", kind="sink", pos=0, n=sinks)] if sinks else []
    pos = sinks
    for turn, (asked, answered) in enumerate(lengths, start=first_turn):
        for role, n in (("user", asked), ("assistant", answered)):
            runs.append(CellRun(turn=turn, role=role, kind="recent", pos=pos, n=n))
            pos += n
    return runs


def past_the_window() -> Snapshot:
    """512 cells: 31 sinks, turns 4 to 8, three turns gone."""
    runs = conversation([(22, 61), (18, 49), (40, 83), (12, 37), (25, 34)], first_turn=4)
    ghosts = [Ghost(turn=turn, tokens=tokens, whole=True) for turn, tokens in ((1, 212), (2, 96), (3, 1048))]
    return snapshot(runs, ghosts=ghosts)


def hybrid() -> Snapshot:
    """2,048 global cells and a window of 512 in 768 cells, every kind of cell present."""
    runs = conversation([(120, 310), (90, 260), (300, 411), (25, 140)], first_turn=5, sinks=4)
    runs[2] = CellRun(turn=5, role="assistant", kind="recent", pos=runs[2].pos, n=310, lost=80)
    runs[3] = CellRun(turn=6, role="user", kind="pinned", pos=runs[3].pos, n=90)
    runs[4] = CellRun(turn=6, role="assistant", kind="pinned", pos=runs[4].pos, n=260)
    ghosts = [Ghost(turn=turn, tokens=90 * turn + 7, whole=True) for turn in range(1, 5)]
    ghosts.append(Ghost(turn=5, tokens=80, whole=False))
    return snapshot(
        runs, n_ctx=2048, n_swa=512, n_ctx_swa=768, ghosts=ghosts, evicted_turns=16, devices=(CPU, GPU)
    )  # fmt: skip


def story() -> list[AnyEvent]:
    """What the engine reports of two turns, the second of which makes others leave."""
    return [
        Opened(
            at_s=NOON_S, n_sink=31, processed_tokens=31, in_window_turns=0, evicted_turns=0, ms=40.0, why="a new one"
        ),
        TurnStarted(at_s=NOON_S + 1, turn=7, prompt_tokens=12, reused_tokens=331),
        Prefilled(at_s=NOON_S + 1.1, turn=7, done=6, total=12, ms=60.0),
        Prefilled(at_s=NOON_S + 1.2, turn=7, done=12, total=12, ms=120.4),
        done(7, reply=37, reused=331, at_s=NOON_S + 2.9, decode_tok_s=58.0),
        Evicted(
            at_s=NOON_S + 10,
            turn=8,
            policy="sinks",
            tokens=1356,
            turns=[1, 2, 3],
            partial_turn=None,
            removed=[(31, 1387)],
            renumbered=True,
            ms=0.41,
            next_decode_ms=31.0,
            why="the window is full",
        ),
        Warned(at_s=NOON_S + 11, text="the system prompt takes a third of the window"),
        done(8, reply=34, reused=380, at_s=NOON_S + 12, decode_tok_s=61.2),
    ]


def done(turn: int, *, reply: int, reused: int, at_s: float, decode_tok_s: float | None) -> TurnDone:
    """The reply of a turn has ended."""
    return TurnDone(
        at_s=at_s,
        turn=turn,
        stop_reason="end",
        stats=TurnStats(
            prompt_tokens=12,
            reply_tokens=reply,
            reused_tokens=reused,
            processed_tokens=12,
            evicted_tokens=0,
            shifts=0,
            ttft_s=0.42,
            prompt_tok_s=812.0,
            decode_tok_s=decode_tok_s,
        ),
        seed=1,
    )
