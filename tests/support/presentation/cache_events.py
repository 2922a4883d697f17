"""A conversation under the real ledger and policy, as the events that an engine reports of it.

Every token is another number, so that a test can tell whether two positions hold the same one.
"""

import random
from collections.abc import Callable

import msgspec
from hypothesis import strategies as st

from chatapp.cache.ledger import CellKind, Ledger
from chatapp.cache.policy import apply, make_room
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import (
    Evicted,
    Loaded,
    Opened,
    Probed,
    Recalled,
    RolledBack,
    Snapshot,
)
from chatapp.protocol.values import CellRun, Ghost
from tests.support.presentation.inspector_events import NOON_S, loaded, snapshot
from tests.support.presentation.looks import look, sight

N_CTX = 64
N_SWA = 16
STEPS = (*["say"] * 6, *["look"] * 5, *["regenerate"] * 2, *["recall"] * 2, "undo", "pin", "open")


def model() -> Loaded:
    """The history's model, whose decodes can be looked into."""
    made = loaded(N_CTX, N_SWA, N_CTX // 2)
    yes = msgspec.structs.replace(made.capability.probe, ok=True, why="")
    return msgspec.structs.replace(made, capability=msgspec.structs.replace(made.capability, probe=yes))


def runs_of(ledger: Ledger) -> list[CellRun]:
    """As the engine reports them."""
    return [
        CellRun(turn=run.turn, role=run.role, kind=str(run.kind), pos=run.pos, n=len(run.tokens), lost=run.lost)
        for run in ledger.runs
    ]


def tokens_of(ledger: Ledger) -> dict[int, int]:
    """Which token is at which position."""
    return {run.pos + i: token for run in ledger.runs for i, token in enumerate(run.tokens)}


class History:
    """`events` has all that happened, each with the ledger as it then was."""

    def __init__(self, policy: str, seed: int) -> None:
        self.events: list[tuple[AnyEvent, Ledger]] = []
        self.ledger = Ledger()
        self._policy = policy
        self._draw = random.Random(seed)
        self._tokens = 0
        self._turn = 0
        self._said: dict[int, tuple[int, int]] = {}
        """Tokens of the message and of the reply, by turn."""
        self._cells: dict[int, int] = {}
        """The cell of each token: any free one, as in llama.cpp."""

    def do(self, step: str, asked: int, answered: int) -> None:
        """One of STEPS."""
        doing: dict[str, Callable[[], object]] = {
            "say": lambda: self._next_turn(asked, answered),
            "look": self._look,
            "undo": lambda: self._roll_back("user"),
            "regenerate": lambda: self._again(answered),
            "recall": self._recall,
            "pin": self._pin,
            "open": lambda: self._open(asked),
        }
        doing[step]()
        self._emit(self._snapshot())

    # ----------------------------------------------------------------------- the steps

    def _next_turn(self, asked: int, answered: int) -> None:
        self._turn += 1
        self._said[self._turn] = asked, answered
        self._add(self._turn, "user", asked)
        self._add(self._turn, "assistant", answered)

    def _again(self, answered: int) -> None:
        if self._roll_back("assistant"):
            self._said[self._turn] = self._said[self._turn][0], answered
            self._add(self._turn, "assistant", answered)

    def _roll_back(self, role: str) -> bool:
        """The last turn from this role's message on; False where there is none, or where sinks would go."""
        last = [run for run in self.ledger.of_turn(self._turn) if run.kind is not CellKind.SINK]
        start = next((run.pos for run in last if run.role == role), None)
        if start is None or last[-1] is not self.ledger.runs[-1] or any(run.lost for run in last):
            return False
        n = self.ledger.next_pos - start
        self.ledger = self.ledger.truncate(start)
        if role == "user":
            self._turn -= 1
        self._emit(
            RolledBack(at_s=NOON_S, tokens=n, to_pos=start, rebuilt=False, processed_tokens=0, why="", ms=0.1)
        )  # fmt: skip
        return True

    def _recall(self) -> None:
        gone = [
            gone.turn for gone in self.ledger.gone if gone.turn not in self.ledger.turns and gone.turn in self._said
        ]
        if not gone or sum(self._said[gone[-1]]) > N_CTX // 3 or self.ledger.n_pinned:
            return
        turn = gone[-1]
        self.ledger = self.ledger.returned((turn,))
        for role, n in zip(("user", "assistant"), self._said[turn], strict=True):
            self._add(turn, role, n, CellKind.RECALLED)
            self._emit(self._snapshot())
        self._emit(Recalled(at_s=NOON_S, turns=[turn], tokens=sum(self._said[turn]), ms=1.0))

    def _pin(self) -> None:
        turns = [turn for turn in self.ledger.turns if sum(self._said[turn]) < N_CTX // 4]
        pinned = self.ledger.pinned_turns
        if pinned:
            self.ledger = self.ledger.unpin(pinned[0])
        elif turns:
            self.ledger = self.ledger.pin(turns[0])

    def _open(self, asked: int) -> None:
        """Another conversation, whose turns have the same numbers."""
        self.ledger, self._said, self._turn = Ledger(), {}, 0
        self._next_turn(asked, asked)
        self._emit(
            Opened(at_s=NOON_S, n_sink=4, processed_tokens=0, in_window_turns=1, evicted_turns=0, ms=1.0, why="")
        )  # fmt: skip

    def _look(self) -> None:
        if self.ledger.n_tokens:
            self._emit(self._probed())

    # ----------------------------------------------------------------------- the cache

    def _add(self, turn: int, role: str, n: int, kind: CellKind | None = None) -> None:
        for _ in range(n):
            plan = make_room(self.ledger, policy=self._policy, need=1, n_ctx=N_CTX, share=0.2, turn=turn)
            if plan.steps:
                self.ledger = apply(self.ledger, plan)
                self._emit(
                    Evicted(
                        at_s=NOON_S, policy=self._policy, tokens=plan.tokens, turns=list(plan.turns),
                        partial_turn=plan.partial_turn, removed=list(plan.removed), renumbered=plan.renumbers,
                        ms=0.1, next_decode_ms=1.0, why="",
                    )
                )  # fmt: skip
            self._tokens += 1
            self.ledger = self.ledger.append_sinks_first(turn, role, (self._tokens,), n_sink=4, kind=kind)

    def _placed(self) -> dict[int, int]:
        """The cell of each token that is there."""
        tokens = tokens_of(self.ledger).values()
        self._cells = {token: cell for token, cell in self._cells.items() if token in tokens}
        free = sorted(set(range(N_CTX)) - set(self._cells.values()))
        self._draw.shuffle(free)
        self._cells |= dict(zip((token for token in tokens if token not in self._cells), free, strict=False))
        return self._cells

    def _probed(self) -> Probed:
        """A look whose every heat says which token it is on: byte = token modulo 251, plus 1."""
        tokens, cells = tokens_of(self.ledger), self._placed()
        placed = sorted((cells[token], pos, 1) for pos, token in tokens.items())
        newest = self.ledger.next_pos - 1
        heat = {pos: heat_of(token) for pos, token in tokens.items()}
        near = [one for one in placed if one[1] > newest - N_SWA]
        return look(
            runs_of(self.ledger),
            sight(placed, heat, n_cells=N_CTX),
            sight(near, {pos: byte for pos, byte in heat.items() if pos > newest - N_SWA}, kind="swa", n_cells=N_CTX),
        )

    def _snapshot(self) -> Snapshot:
        book = self.ledger
        inside = set(book.turns)
        ghosts = [Ghost(turn=gone.turn, tokens=gone.tokens, whole=gone.turn not in inside) for gone in book.gone]
        return snapshot(runs_of(book), n_ctx=N_CTX, n_swa=N_SWA, n_ctx_swa=N_CTX // 2, ghosts=ghosts)

    def _emit(self, event: AnyEvent) -> None:
        self.events.append((event, self.ledger))


def heat_of(token: int) -> int:
    """The byte that tells a token."""
    return token % 251 + 1


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Any such history. The steps come from a seed: short lists of simple steps, which hypothesis likes to try, would
    hardly ever look, evict and say again.
    """
    seed = draw(st.integers(0, 2**20))
    history, steps = History(draw(st.sampled_from(["sinks", "slide", "window"])), seed), random.Random(seed)
    for _ in range(draw(st.integers(1, 24))):
        history.do(steps.choice(STEPS), steps.randint(1, 20), steps.randint(1, 20))
    return history
