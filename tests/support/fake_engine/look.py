"""What the scripted engine says when it is asked to look into a token: made up, and believable."""

from chatapp.cache.ledger import CellKind, Ledger
from chatapp.protocol.attention_bytes import TOP, weight
from chatapp.protocol.events import Probed
from chatapp.protocol.values import CellRun, LayerSight, Sight, TopCell

N_LAYER, N_HEAD = 30, 9
N_TOP = 8
SINK_LEVEL, NEWEST_LEVEL, LEAST_LEVEL = 239, 215, 120
"""Bytes of attention_bytes.weight: a quarter on each first token, 3% on the newest, less on each before it."""


def look(ledger: Ledger, n_ctx: int, *, turn: int, at_s: float) -> Probed:
    """A look at the newest token, which sees all others; the cells are used round and round."""
    newest = ledger.next_pos - 1
    heat = {pos: _level(pos, newest) for run in ledger.runs for pos in range(run.pos, run.end)}
    placed = _placed(ledger, n_ctx)
    cell_of = {pos + i: cell + i for cell, pos, n in placed for i in range(n)}
    top = sorted(heat, key=lambda pos: -heat[pos])[:N_TOP]
    shares = [sum(weight(heat[pos]) for pos in range(run.pos, run.end)) for run in ledger.runs]
    on_sinks = sum(share for share, run in zip(shares, ledger.runs, strict=True) if run.kind is CellKind.SINK)
    return Probed(
        at_s=at_s,
        turn=turn,
        pos=newest,
        runs=[
            CellRun(turn=run.turn, role=run.role, kind=run.kind.value, pos=run.pos, n=len(run.tokens), lost=run.lost)
            for run in ledger.runs
        ],
        sink_share=min(1.0, on_sinks),
        sights=[
            Sight(
                kind="global",
                n_cells=n_ctx,
                n_visible=len(heat),
                placed=placed,
                shares=shares,
                heat=bytes(heat.values()),
                heat_tok=1,
                top=[TopCell(cell=cell_of[pos], pos=pos, share=weight(heat[pos])) for pos in top],
            )
        ],
        layers=[
            LayerSight(
                layer=layer,
                kind="global",
                kept=bytes((layer * 29 + head * 53) % (TOP + 1) for head in range(N_HEAD)),
                learned=b"",
                runs=bytes(LEAST_LEVEL for _ in ledger.runs),
                norm=100.0 + layer,
                experts=[],
                expert_weights=[],
            )
            for layer in range(N_LAYER)
        ],
        mismatch=None,
        ms=3.1,
    )


def _level(pos: int, newest: int) -> int:
    return SINK_LEVEL if pos < 2 else max(LEAST_LEVEL, NEWEST_LEVEL - (newest - pos))


def _placed(ledger: Ledger, n_ctx: int) -> list[tuple[int, int, int]]:
    """Sinks stay in the first cells; the rest goes on where what has left lay before, and around."""
    first = ledger.n_sink
    room = max(1, n_ctx - first)
    placed: list[tuple[int, int, int]] = []
    for rank, pos in enumerate(pos for run in ledger.runs for pos in range(run.pos, run.end)):
        cell = rank if rank < first else first + (rank - first + ledger.evicted_tokens) % room
        placed.append((cell, pos, 1))
    joined: list[tuple[int, int, int]] = []
    for cell, pos, n in sorted(placed):
        if joined and joined[-1][0] + joined[-1][2] == cell and joined[-1][1] + joined[-1][2] == pos:
            joined[-1] = (joined[-1][0], joined[-1][1], joined[-1][2] + n)
        else:
            joined.append((cell, pos, n))
    return joined
