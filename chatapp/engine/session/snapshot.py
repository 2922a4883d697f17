"""The cache at one moment, as an event: the ledger's runs beside llama.cpp's own positions."""

import time
from collections.abc import Sequence

import psutil

from chatapp import host_memory
from chatapp.engine.session.live_branches import LiveBranches
from chatapp.protocol.events import Snapshot
from chatapp.protocol.values import CellRun, Device, Ghost, Threads

_process = psutil.Process()
_host = host_memory.Watched()


def take(
    branches: LiveBranches,
    *,
    turn: int | None,
    n_swa: int | None,
    n_ctx_swa: int | None,
    devices: Sequence[Device],
    prompt_tok_s: float | None,
    decode_tok_s: float | None,
    threads: Threads | None,
) -> Snapshot:
    """Take a snapshot. Only answered turns count as evicted, not one in progress."""
    kv, transcript = branches.kv, branches.transcript
    ledger = kv.ledger
    positions = kv.context.positions
    present = ledger.in_window
    return Snapshot(
        at_s=time.time(),
        turn=turn,
        runs=[
            CellRun(turn=run.turn, role=run.role, kind=str(run.kind), pos=run.pos, n=len(run.tokens), lost=run.lost)
            for run in ledger.runs
        ],
        ghosts=[Ghost(turn=gone.turn, tokens=gone.tokens, whole=gone.turn not in present) for gone in ledger.gone],
        evicted_tokens=ledger.evicted_tokens,
        evicted_turns=transcript.n_turns - sum(turn <= (transcript.last or 0) for turn in present),
        shifts=kv.shifts,
        n_ctx=kv.context.n_ctx,
        n_ctx_swa=n_ctx_swa,
        n_swa=n_swa,
        n_sink=ledger.n_sink,
        n_used=ledger.n_tokens,
        n_elsewhere=kv.n_elsewhere,
        live_branches=branches.live,
        checkpoint_bytes=sum(len(each.state) for each in kv.checkpoints),
        pos_min=positions[0] if positions else None,
        pos_max=positions[1] if positions else None,
        mismatch=kv.mismatch(),
        resident_bytes=_process.memory_info().rss,
        devices=list(devices),
        host=_host.now(),
        prompt_tok_s=prompt_tok_s,
        decode_tok_s=decode_tok_s,
        threads=threads,
    )
