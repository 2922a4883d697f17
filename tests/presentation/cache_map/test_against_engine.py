"""The cache map of real models, over evictions, against llama.cpp's own list of its cells, unread by the product.

The map is drawn from the engine's events alone. Whenever llama.cpp is about to decode, and the ledger is the one that
the newest event was made of, what the map says of every cell is held against what llama.cpp prints of it.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

from benchmarks.witness import Witness
from chatapp.cache.ledger import Ledger
from chatapp.engine.native import llama, load_log
from chatapp.engine.native.llama import Context, Model
from chatapp.engine.planning.load_plan import prepare
from chatapp.engine.probe.sampling import ProbeSampler
from chatapp.engine.probe.tap import Tap
from chatapp.engine.session.session import Session
from chatapp.engine.template.model_template import template_of
from chatapp.presentation.cache_map.cells import BlockKind, Group, tally
from chatapp.presentation.cache_map.picture import GLOBAL, SLIDING, MapPicture, MapView
from chatapp.presentation.observed import Observed
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Evicted, Snapshot
from chatapp.protocol.values import CacheRequest, CellRun, EngineSettings
from tests.support.drawn_cells import cell_by_cell
from tests.support.engine.process import english, greedy
from tests.support.tiny_models import tiny

WIDTHS = ((34, 8), (120, 8), (512, 8))
HELD = (
    BlockKind.SINK,
    BlockKind.SYSTEM,
    BlockKind.PINNED,
    BlockKind.RECALLED,
    BlockKind.PARTIAL,
    BlockKind.TURN_A,
    BlockKind.TURN_B,
)


class MapWitness(Witness):
    """Holds the map that the events so far have made against llama.cpp's cells."""

    def __init__(self) -> None:
        super().__init__()
        self.observed = Observed()
        self.by_position = self.by_cell = self.after_eviction = self.sliding = 0
        """How often the map was compared: in each of its orders, since tokens had left, and of sliding layers."""

    def compare(self, ledger: Ledger, held: Mapping[int, int], n_swa: int) -> None:
        """See Witness."""
        super().compare(ledger, held, n_swa)
        try:
            self._compare_map(ledger, held, n_swa)
        except AssertionError as wrong:  # llama.cpp's log calls this: nothing is raised through it
            self.problems.append(str(wrong))

    def _compare_map(self, ledger: Ledger, held: Mapping[int, int], n_swa: int) -> None:
        snapshot, look = self.observed.snapshot, self.observed.known.sample
        if snapshot is not None and same(snapshot.runs, ledger):
            self.by_position += 1
            self.after_eviction += snapshot.evicted_tokens > 0
            self._by_position(snapshot, held, n_swa)
        kinds = [] if look is None else [sight.kind for sight in look.sights if sight.placed]
        if look is not None and same(look.runs, ledger) and (SLIDING if n_swa else GLOBAL) in kinds:
            self.by_cell += 1
            self.sliding += n_swa > 0
            self._by_cell(held, n_swa)

    def _by_position(self, snapshot: Snapshot, held: Mapping[int, int], n_swa: int) -> None:
        for groups in self._drawn(SLIDING if n_swa else GLOBAL, MapView()):
            drawn = [pos for group in groups for pos, n in group.stretches for pos in range(pos, pos + n)]
            counts = tally(part for group in groups for part in group.parts)
            if n_swa:
                # The cells may hold older tokens, too, which the window does not reach any more.
                assert drawn == sorted(held.values())[len(held) - len(drawn) :]
                assert len(drawn) == min(n_swa, len(held))
                assert counts.get(BlockKind.OUTSIDE, 0) == (snapshot.n_ctx_swa or 0) - len(drawn) or not held
            else:
                assert drawn == sorted(held.values())
                assert sum(counts.get(kind, 0) for kind in HELD) == len(held)
                assert counts.get(BlockKind.FREE, 0) == snapshot.n_ctx - len(held)

    def _by_cell(self, held: Mapping[int, int], n_swa: int) -> None:
        for groups in self._drawn(SLIDING if n_swa else GLOBAL, MapView(by_cell=True)):
            drawn = cell_by_cell(groups)
            assert all(part.kind is not BlockKind.STRAY for group in groups for part in group.parts)
            assert drawn == {cell: pos for cell, pos in held.items() if cell in drawn}
            seen = n_swa or len(held)
            assert sorted(drawn.values()) == sorted(held.values())[-seen:]

    def _drawn(self, kind: str, view: MapView) -> Iterable[list[Group]]:
        picture = MapPicture()
        picture.update(self.observed.snapshot, self.observed.loaded, self.observed.known, view)
        assert picture.by_cell == view.by_cell
        blocks = picture.blocks(kind)
        assert blocks is not None
        return [blocks(*size) for size in WIDTHS]


def same(runs: list[CellRun], ledger: Ledger) -> bool:
    return [(run.pos, run.n) for run in runs] == [(run.pos, len(run.tokens)) for run in ledger.runs]


def converse(path: Path, cache: CacheRequest, turns: int, words: int) -> tuple[MapWitness, list[AnyEvent]]:
    """A conversation with a look into every fifth token."""
    llama.init()
    witness, events = MapWitness(), list[AnyEvent]()
    settings = EngineSettings(threads=2)

    def emit(event: AnyEvent) -> None:
        events.append(event)
        witness.observed.apply(event)

    with witness.installed():
        prepared = prepare(path, cache, engine=settings)
        model = Model(path)
        context = Context(model, prepared.cache, settings, n_sequences=prepared.n_sequences)
        probe = ProbeSampler(context, Tap(), every=5, slides=prepared.slides, most_time=1e9)
        session = Session(
            model,
            context,
            template_of(model, []),
            prepared.cache,
            capability=prepared.capability,
            n_swa=prepared.model.n_swa,
            n_ctx_swa=load_log.read(context.log).swa_cells,
            emit=emit,
            cancelled=lambda: False,
            devices=list,
            probe=probe,
        )
        try:
            session.open("Be brief.", [], None, [])
            witness.kv = session.kv
            for turn in range(1, turns + 1):
                session.send(turn, english(words, words * turn), greedy(24))
            session.send(turns + 1, "And?", greedy(2))  # fits: its first decode meets the cache of the last snapshot
        finally:
            probe.close()
            context.close()
            model.close()
    return witness, events


def test_a_model_without_global_layers_has_no_global_cells_by_number(tmp_path: Path) -> None:
    """llama.cpp makes it a global cache of no layers, at which nothing ever looks: its order would be a guess."""
    witness, _ = converse(tiny("window-only", tmp_path), CacheRequest(n_ctx=512, micro_batch=64), 2, 40)
    picture = MapPicture()
    observed = witness.observed
    picture.update(observed.snapshot, observed.loaded, observed.known, MapView(by_cell=True))
    assert picture.by_cell
    assert picture.blocks(GLOBAL) is None
    assert picture.blocks(SLIDING) is not None


@pytest.mark.parametrize(
    ("model", "by_cell", "sliding"),
    [
        ("phi-window", True, False),
        ("gemma2", True, True),
        ("window-only", True, True),
        ("gpt-oss", True, True),
        ("lfm2", True, False),
        ("qwen2vl", False, False),
        ("llama4", False, False),
    ],
)
def test_every_kind_of_cache_is_drawn_as_it_is(model: str, by_cell: bool, sliding: bool, tmp_path: Path) -> None:
    """Learned sinks, no global layers, recurrent layers beside attention; several positions a token, and chunked
    windows, whose cells cannot be read: there is no map by number then, and none that is made up."""
    witness, _ = converse(tiny(model, tmp_path), CacheRequest(n_ctx=512, micro_batch=64), 4, 60)
    assert witness.problems == []
    assert witness.after_eviction >= 1
    assert (witness.by_cell >= 5) == by_cell
    assert (witness.sliding >= 5) == sliding


Real = Callable[[str], Path]


@pytest.fixture
def real(request: pytest.FixtureRequest) -> Real:
    """A real model by the name of its fixture: only the one that is asked for is fetched."""
    return request.getfixturevalue


@pytest.mark.parametrize(
    ("model", "cache", "turns", "words"),
    [
        ("starter", CacheRequest(n_ctx=256, micro_batch=64), 5, 50),
        ("gemma", CacheRequest(n_ctx=1024, micro_batch=64), 5, 250),
    ],
)
def test_the_map_says_what_llama_cpp_says(real: Real, model: str, cache: CacheRequest, turns: int, words: int) -> None:
    """In both orders, for global and for sliding layers, before and after tokens have left."""
    witness, events = converse(real(model), cache, turns, words)
    assert witness.problems == []
    assert any(isinstance(event, Evicted) for event in events)
    assert witness.observed.probed is not None
    assert witness.observed.probed.mismatch is None
    assert witness.by_cell >= 10
    assert witness.by_position >= 10
    assert witness.after_eviction >= 5
    assert (witness.sliding >= 5) == (model == "gemma")
