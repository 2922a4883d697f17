"""What the probe reads, against llama.cpp's own softmax, the decoder of `kernels`, and the ledger."""

import base64
import json
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chatapp.engine.kv.cache import UNWATCHED, KvCache
from chatapp.engine.kv.prefill_plan import Piece, Prefill
from chatapp.engine.native import ggml, llama, tensor_layout
from chatapp.engine.native.ggml import Floats, Tensor, numbers, tensor_at
from chatapp.engine.native.llama import Context, Model
from chatapp.engine.native.scheduler_hook import node_callback, watch
from chatapp.engine.planning.load_plan import prepare
from chatapp.engine.probe import report
from chatapp.engine.probe import tap as taps
from chatapp.engine.probe.read import visible_cells
from chatapp.engine.probe.sampling import MOST_BLIND, ProbeSampler
from chatapp.engine.probe.tap import Attention, DecodeCapture, Tap
from chatapp.engine.probe.weights import WeightMaker
from chatapp.engine.stopwatch import Stopwatch
from chatapp.protocol import attention_bytes
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.commands import Load, Send
from chatapp.protocol.commands import Probe as ProbeCommand
from chatapp.protocol.events import Loaded, Probed, TurnDone, Warned
from chatapp.protocol.values import CacheSettings, EngineSettings
from kernels import Decoder
from tests.support.engine.inprocess import THREADS
from tests.support.engine.inprocess import kv as resident_on
from tests.support.engine.process import Engine, greedy
from tests.support.program import swachat
from tests.support.tiny_gguf import N_VOCAB
from tests.support.tiny_models import WINDOW, tiny

approx: Any = pytest.approx  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

SAME = 1e-3
"""Of weights that sum to 1. Attention that is off by one cell makes a hundred times as much."""
F32 = CacheSettings(n_ctx=512, type_k="f32", type_v="f32", micro_batch=64)
N_TOK = 150
"""More than the window of the models that slide, and no multiple of anything."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    llama.init()
    return tmp_path_factory.mktemp("tiny")


@contextmanager
def loaded(path: Path, cache: CacheSettings, flash: str = "on") -> Generator[Context]:
    model = Model(path)
    context = Context(model, cache, EngineSettings(threads=THREADS, flash_attention=flash))
    try:
        yield context
    finally:
        context.close()
        model.close()


def text(n: int) -> list[int]:
    """Some tokens; no special ones."""
    return [10 + (i * 37) % (N_VOCAB - 10) for i in range(n)]


def look(context: Context, n: int = N_TOK) -> tuple[Tap, DecodeCapture]:
    """What token `n` of `text` shows, those before it decoded and two after the batch, for the graph is new then."""
    tokens = text(n + 1)
    batch = n - 2
    for at in range(0, batch, 64):
        context.decode(tokens[at : min(at + 64, batch)], at)
    context.decode(tokens[n - 2 : n - 1], n - 2)
    context.decode(tokens[n - 1 : n], n - 1)
    tap = Tap()
    tap.attach(context)
    with tap:
        context.decode(tokens[n:], n)
    assert tap.problem is None
    assert tap.seen is not None
    return tap, tap.seen


def weights(context: Context, seen: DecodeCapture) -> dict[int, Floats]:
    """(n_head, n_cells) by layer."""
    layers = list(seen.attention.values())
    maker = WeightMaker(THREADS)
    made = iter(maker.weights([layer for layer in layers if layer.weights is None]))
    maker.close()
    return {layer.layer: layer.weights if layer.weights is not None else next(made) for layer in layers}


@pytest.mark.parametrize("flash", ["on", "off"])
@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt-oss", "smollm3"])
def test_later_looks_stop_half_as_often_and_show_the_same(folder: Path, name: str, flash: str) -> None:
    """What leaves a layer is read when the next one attends: it must still be there, to the bit."""
    stops: list[str] = []

    def count_stops(tap: Tap) -> None:
        callback: Any = tap.callback

        def counted(address: int, ask: bool, user: int | None) -> bool:
            if not ask:
                stops.append(tensor_at(address).name.decode().partition("-")[0])
            return callback(address, ask, user)

        tap.callback = type(callback)(counted)

    with loaded(tiny(name, folder), F32, flash) as context:
        used, first = look(context)
        n_layer = len(first.norms)
        fresh = Tap()
        fresh.attach(context)
        shown: list[DecodeCapture] = []
        for tap, expected in ((used, 1), (fresh, n_layer)):
            stops.clear()
            count_stops(tap)
            with tap:
                context.decode([7], N_TOK + 1)
            assert tap.problem is None
            assert tap.seen is not None
            assert stops.count("l_out") == expected
            shown.append(tap.seen)
            assert context.remove(N_TOK + 1, -1)
    later, whole = shown
    assert later.norms == whole.norms
    assert sorted(later.norms) == list(range(n_layer))
    assert sorted(later.attention) == sorted(whole.attention)


# --------------------------------------------------------------------------- the weights


class KeysAndSoftMax:
    """With flash attention off, from one decode: query and keys where they meet (kq), and what ggml makes of them."""

    def __init__(self) -> None:
        self.meets: dict[int, tuple[Floats, Tensor]] = {}
        self.soft_max: dict[int, tuple[Floats, Floats, Floats | None, float]] = {}
        self.callback = node_callback(self.take)

    def take(self, address: int, ask: bool, _user: int | None) -> bool:
        node = tensor_at(address)
        name, _, layer = node.name.decode().partition("-")
        if ask or name not in ("kq", "kq_soft_max"):
            return name in ("kq", "kq_soft_max")
        keys, q = node.source(0), node.source(1)
        assert keys is not None
        assert q is not None
        if name == "kq":
            self.meets[int(layer)] = numbers(q)[0, :, -1], keys.copy()
        else:
            sinks = node.source(2)
            logits = numbers(sinks).ravel() if sinks is not None else None
            mask = numbers(q)[0, 0, -1]
            self.soft_max[int(layer)] = numbers(node)[0, :, -1], mask, logits, node.parameter(0)
        return True


@pytest.mark.parametrize(
    ("name", "type_k"),
    [
        *(("llama", kind) for kind in ("f32", "f16", "bf16", "q8_0", "q4_0")),
        ("llama-head-80", "f16"),
        ("gpt-oss", "f16"),
        ("phi-window", "q8_0"),
        ("gemma3", "f16"),
    ],
)
def test_weights_made_from_query_and_keys_are_those_that_the_same_decode_made(
    folder: Path, name: str, type_k: str
) -> None:
    """Every type of key, under a rotation (q8_0, heads of 64) or not; a picture of wrong weights would be a lie."""
    both = KeysAndSoftMax()
    cache = CacheSettings(n_ctx=512, type_k=type_k, micro_batch=64)
    with loaded(tiny(name, folder), cache, flash="off") as context:
        tokens = text(N_TOK)
        for at in range(0, N_TOK - 3, 64):
            context.decode(tokens[at : min(at + 64, N_TOK - 3)], at)
        for at in range(N_TOK - 3, N_TOK):
            watch(context, both.callback)  # the first ones build a graph, which takes the callback out
            context.decode(tokens[at : at + 1], at)
            context.synchronize()
        layers = [
            Attention(layer, mask, len(mask), q=both.meets[layer][0], keys=both.meets[layer][1], scale=scale,
                      sink_logits=logits)
            for layer, (_, mask, logits, scale) in both.soft_max.items()
        ]  # fmt: skip
        assert len(layers) >= 4
        made = WeightMaker(THREADS).weights(layers)
    for layer, mine in zip(layers, made, strict=True):
        theirs = both.soft_max[layer.layer][0]
        assert np.abs(mine - theirs).max() < SAME
        assert theirs.max() > 10 * SAME, "flat weights would agree with anything"


@pytest.mark.parametrize("name", ["llama", "gemma2", "gemma3", "gpt-oss"])
def test_flash_attention_shows_what_its_absence_does(folder: Path, name: str) -> None:
    """The first layer, whose input is the same: after it the two ways of computing drift apart by themselves."""
    found: list[Floats] = []
    learned: list[bool] = []
    for flash in ("on", "off"):
        with loaded(tiny(name, folder), F32, flash) as context:
            _, seen = look(context)
            assert (seen.attention[0].weights is None) == (flash == "on")
            learned.append(seen.attention[0].sink_logits is not None)
            found.append(weights(context, seen)[0])
    assert np.abs(found[0] - found[1]).max() < SAME
    assert learned == [name == "gpt-oss"] * 2


@pytest.mark.parametrize(
    ("name", "flash"), [("llama", "on"), ("mixtral", "off"), ("gemma3", "off"), ("gpt-oss", "off")]
)
def test_what_is_read_equals_the_decoder_of_the_kernels(folder: Path, name: str, flash: str) -> None:
    """Weights by position, learned sinks, residual norms and experts, by quite another way from the same file."""
    path = tiny(name, folder)
    decoder = Decoder.load(path, cache_type=np.float32)
    decoder.decode(text(N_TOK + 1), n_output=1)
    slides = prepare(path, F32).slides
    with loaded(path, F32, flash) as context:
        _, seen = look(context)
        read = weights(context, seen)
        for layer, expected in enumerate(decoder.seen):
            visible = visible_cells(seen.attention[layer])
            positions = context.cell_positions(len(visible), sliding=slides[layer])
            assert positions is not None
            by_position = np.zeros((len(read[layer]), N_TOK + 1))
            by_position[:, positions] = read[layer][:, visible]
            assert np.abs(by_position - expected.weights).max() < 5 * SAME
            took = 1 - read[layer].sum(axis=1)
            assert np.abs(took - expected.sink).max() < SAME
            assert seen.norms[layer] == approx(expected.residual_norms[-1], rel=0.01)
            if expected.gate is not None:
                assert seen.experts[layer].chosen == expected.gate.experts[-1].tolist()
                assert seen.experts[layer].weights == approx(expected.gate.weights[-1], abs=0.01)
    assert (decoder.seen[0].gate is not None) == bool(seen.experts)


# --------------------------------------------------------------------------- the cells


def test_gemma_sees_its_window_in_some_layers_and_everything_in_the_others(gemma: Path) -> None:
    """The sizes that the documentation of this model implies; a full SWA cache would show 1,065 everywhere."""
    slides = prepare(gemma, CacheSettings(n_ctx=1280)).slides
    model = Model(gemma)
    with resident_on(model, CacheSettings(n_ctx=1280)) as (kv, context):
        probe = ProbeSampler(context, Tap(), every=1, slides=slides)
        events: list[AnyEvent] = []
        kv.prefill(
            Prefill([Piece(0, "system", (2, *range(1000, 1019)), sink=True), Piece(1, "user", tuple(text(1043)))])
        )
        while not events:
            probe.extend(kv, 1, 500, events.append, Stopwatch())
        (probed,) = events
    model.close()
    assert isinstance(probed, Probed)
    assert (probed.pos, probed.mismatch) == (1064, None)
    sights = {sight.kind: sight for sight in probed.sights}
    assert (sights["swa"].n_visible, sights["swa"].n_cells) == (512, 768)
    assert (sights["global"].n_visible, sights["global"].n_cells) == (1065, 1280)
    assert sights["global"].placed == [(0, 0, 1065)]
    held = [pos for _, start, n in sights["swa"].placed for pos in range(start, start + n)]
    assert sorted(held) == list(range(553, 1065))
    assert len(sights["swa"].placed) == 2, "the cells have come round once"
    assert [layer.kind for layer in probed.layers] == ["swa" if slide else "global" for slide in slides]
    assert sights["swa"].shares[0] == 0, "sinks are out of the window"
    assert sights["global"].shares[0] > 0.02


SEEN: dict[str, str] = {
    "llama": "sinks",
    "llama-yarn": "slide",
    "mixtral": "sinks",
    "phi-window": "sinks",
    "gpt2": "slide",
    "gemma3": "sinks",
    "gpt-oss": "slide",
    "granite-sinks": "slide",
    "lfm2": "rebuild",
}


@pytest.mark.parametrize("name", SEEN)
def test_over_evictions_llama_cpp_holds_what_the_ledger_says(folder: Path, name: str) -> None:
    """Each sampled token: positions in cells that are reused, moved, and out of order; shares that sum to one."""
    path, cache = tiny(name, folder), CacheSettings(n_ctx=256, evict_share=0.2)
    slides = prepare(path, cache).slides
    model = Model(path)
    events: list[AnyEvent] = []
    with resident_on(model, cache, policy=SEEN[name]) as (kv, context):
        probe = ProbeSampler(context, Tap(), every=1, slides=slides, most_time=1e9)
        for turn in range(1, 6):
            kv.prefill(Prefill([Piece(turn, "user", tuple(text(50 + turn)))]))
            for token in text(20):
                probe.extend(kv, turn, token, events.append, Stopwatch())
        assert kv.ledger.evicted_tokens > 0
    model.close()
    probed = [event for event in events if isinstance(event, Probed)]
    assert len(probed) == len(events) >= 60
    for event in probed:
        assert event.mismatch is None
        held = [pos for run in event.runs for pos in range(run.pos, run.pos + run.n)]
        assert event.pos == held[-1]
        for sight in event.sights:
            placed = [pos for _, start, n in sight.placed for pos in range(start, start + n)]
            assert sorted(placed) == (held[-WINDOW:] if sight.kind == "swa" else held)
            assert all(a[0] + a[2] <= b[0] for a, b in pairwise(sight.placed))
            assert all(top.pos in held for top in sight.top)
            assert [top.share for top in sight.top] == sorted((top.share for top in sight.top), reverse=True)
            same_kind = [layer for layer in event.layers if layer.kind == sight.kind]
            learned = [attention_bytes.share(byte) for layer in same_kind for byte in layer.learned]
            took = sum(learned) / len(learned) if learned else 0
            assert sum(sight.shares) + took == approx(1, abs=0.01)
            assert sum(map(attention_bytes.weight, sight.heat)) + took == approx(1, abs=0.06)
    model_learned = name in ("gpt-oss", "granite-sinks")
    assert any(layer.learned for layer in probed[-1].layers) == model_learned


def test_a_ledger_that_is_wrong_is_told_apart(folder: Path) -> None:
    """The check that all others trust: a token that only the ledger has, and one that only llama.cpp has."""
    model = Model(tiny("gemma3", folder))
    with resident_on(model, F32) as (kv, context):
        probe = ProbeSampler(context, Tap(), every=1, slides=prepare(tiny("gemma3", folder), F32).slides, most_time=1e9)
        kv.prefill(Prefill([Piece(1, "user", tuple(text(60)))]))
        events: list[AnyEvent] = []
        for token in text(3):
            probe.extend(kv, 1, token, events.append, Stopwatch())
        assert context.remove(20, 21)
        probe.extend(kv, 1, 50, events.append, Stopwatch())
        vars(kv)["_ledger"] = kv.ledger.remove(20, 21).remove(50, 51)
        probe.extend(kv, 1, 50, events.append, Stopwatch())
    model.close()
    *before, missing, extra = [event.mismatch for event in events if isinstance(event, Probed)]
    assert set(before) == {None}
    assert missing is not None
    assert "position 20" in missing
    assert extra is not None
    assert "position 50" in extra


# --------------------------------------------------------------------------- when it looks


def do_nothing(*_: object) -> None:
    """In place of what would let the callback be called."""


@pytest.fixture
def tiny_resident(folder: Path) -> Iterator[tuple[KvCache, Context]]:
    """A cache with a prompt in it, and room."""
    model = Model(tiny("llama", folder))
    with resident_on(model, F32) as (kv, context):
        kv.prefill(Prefill([Piece(1, "user", tuple(text(60)))]))
        yield kv, context
    model.close()


def sampled(probe: ProbeSampler, kv: KvCache, n: int) -> list[int]:
    """Positions of the samples among the next `n` tokens, counted from the first of them."""
    first, events = kv.ledger.next_pos, list[AnyEvent]()
    for token in text(n):
        probe.extend(kv, 1, token, events.append, Stopwatch())
    assert all(isinstance(event, Probed) for event in events)
    return [event.pos - first for event in events if isinstance(event, Probed)]


def test_one_token_in_so_many_is_sampled(tiny_resident: tuple[KvCache, Context]) -> None:
    kv, context = tiny_resident
    assert sampled(ProbeSampler(context, Tap(), every=4, slides=[], most_time=1e9), kv, 17) == [3, 7, 11, 15]


def test_the_first_token_after_a_batch_shows_nothing_and_the_next_one_does(
    tiny_resident: tuple[KvCache, Context],
) -> None:
    """llama.cpp takes the callback out when it builds a graph; a sample must not be lost, nor be of another token."""
    kv, context = tiny_resident
    assert sampled(ProbeSampler(context, Tap(), every=1, slides=[], most_time=1e9), kv, 4) == [1, 2, 3]


def test_a_callback_that_stays_sees_that_one_too(folder: Path) -> None:
    model = Model(tiny("llama", folder))
    tap = Tap(always=True)
    context = Context(model, F32, EngineSettings(threads=THREADS), callback=tap.callback)
    tap.attach(context)
    context.decode(text(60), 0)
    assert tap.seen is None
    with tap:
        context.decode([20], 60)
    assert tap.seen is not None
    assert len(tap.seen.attention) == 4
    context.close()
    model.close()


def test_nothing_is_sampled_unless_asked_and_a_wish_is_granted_once(tiny_resident: tuple[KvCache, Context]) -> None:
    kv, context = tiny_resident
    wishes = [False] * 5 + [True] + [False] * 6
    probe = ProbeSampler(context, Tap(), every=0, slides=[], requested=lambda: wishes.pop(0))
    assert sampled(probe, kv, 12) == [5]
    assert ProbeSampler(context, Tap(), every=0, slides=[]).watch() is UNWATCHED


def test_looking_never_takes_more_than_its_share_of_the_time(tiny_resident: tuple[KvCache, Context]) -> None:
    """With next to no time allowed the first sample uses up that of all the others."""
    kv, context = tiny_resident
    probe = ProbeSampler(context, Tap(), every=1, slides=[], most_time=1e-12)
    assert sampled(probe, kv, 30) == [1]


def test_a_decode_that_is_looked_into_gives_the_same_logits(folder: Path) -> None:
    path, logits = tiny("gpt-oss", folder), list[list[Floats]]()
    for every in (0, 1):
        model = Model(path)
        with resident_on(model, F32) as (kv, context):
            probe = ProbeSampler(context, Tap(), every=every, slides=[], most_time=1e9)
            kv.prefill(Prefill([Piece(1, "user", tuple(text(60)))]))
            rows: list[Floats] = []
            for token in text(6):
                probe.extend(kv, 1, token, lambda _: None, Stopwatch())
                rows.append(context.logits(1)[0].copy())
            logits.append(rows)
        model.close()
    assert np.array_equal(logits[0], logits[1])


def test_a_graph_that_is_always_new_ends_the_probe_with_a_reason(
    tiny_resident: tuple[KvCache, Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    kv, context = tiny_resident
    monkeypatch.setattr(taps, "watch", do_nothing)
    probe, events = ProbeSampler(context, Tap(), every=1, slides=[]), list[AnyEvent]()
    for token in text(MOST_BLIND + 5):
        probe.extend(kv, 1, token, events.append, Stopwatch())
    (warned,) = events
    assert isinstance(warned, Warned)
    assert "rebuilds its graph" in warned.text


@pytest.mark.parametrize(("part", "method"), [(ggml, "numbers"), (WeightMaker, "weights")])
def test_a_reading_that_fails_leaves_the_decode_alone(
    tiny_resident: tuple[KvCache, Context], monkeypatch: pytest.MonkeyPatch, part: object, method: str
) -> None:
    """An exception in the callback would end the computation in the middle, and any one the reply."""
    kv, context = tiny_resident

    def fail(*_: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(part, method, fail)
    probe, events = ProbeSampler(context, Tap(), every=1, slides=[]), list[AnyEvent]()
    for token in text(6):
        probe.extend(kv, 1, token, events.append, Stopwatch())
    (warned,) = events
    assert isinstance(warned, Warned)
    assert "no memory" in warned.text
    assert kv.ledger.n_tokens == 66
    assert kv.mismatch() is None


# --------------------------------------------------------------------------- whether it can


def test_a_build_without_the_symbol_says_so_and_names_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    assert taps.answer(attends=True, always=False).ok
    monkeypatch.setattr(taps, "can_watch", lambda: False)
    refused = taps.answer(attends=True, always=False)
    assert not refused.ok
    assert "engine.probe_always" in refused.why
    assert taps.answer(attends=True, always=True).ok

    def differences(_: object) -> dict[str, str]:
        return {"name": "b'' instead of b'cache_k_l7'"}

    monkeypatch.setattr(tensor_layout, "differences", differences)
    assert "lays out" in taps.answer(attends=True, always=True).why


# --------------------------------------------------------------------------- the real process


def test_the_engine_tells_what_it_attended_to_on_its_own_and_on_request(folder: Path, tmp_path: Path) -> None:
    path = str(tiny("gemma3", folder))
    with Engine(tmp_path / "log") as engine:
        for every, wish, n in ((3, False, 12), (0, True, 12), (None, False, 70)):
            settings = EngineSettings(threads=1, probe_every=every)
            engine.post(Load(path=path, cache=CacheSettings(n_ctx=256), engine=settings))
            assert engine.until(Loaded).one(Loaded).capability.probe.ok
            engine.open()
            if wish:
                engine.post(ProbeCommand())
            engine.post(Send(turn=1, text="You and I", sampling=greedy(n)))
            turn = engine.until(TurnDone)
            probed = turn.all(Probed)
            assert all(event.turn == 1 and event.mismatch is None for event in probed)
            assert [len(event.layers) for event in probed][:1] == [6]
            assert len(probed) == 1 if wish else len(probed) >= 1


def test_a_trace_file_has_what_was_attended_to(folder: Path, tmp_path: Path) -> None:
    """Through the public door: the setting in the environment, the event as a line that reads without this program."""
    trace = tmp_path / "trace.jsonl"
    model = str(tiny("gpt-oss", folder))
    words = ("--ctx", "256", "--max-tokens", "12", "--seed", "1", "--trace", str(trace))
    ran = swachat("ask", "You and I", "--model", model, *words, env={**os.environ, "SWACHAT_ENGINE_PROBE_EVERY": "2"})
    assert ran.code == 0, ran.complaint
    events = [json.loads(line) for line in trace.read_text().splitlines()]
    probed = [event for event in events if event["type"] == "Probed"]
    assert probed
    for layer in probed[0]["layers"]:
        assert len(base64.b64decode(layer["learned"])) == 2, "one byte a head"
        assert len(layer["experts"]) == 2
        assert sum(layer["expert_weights"]) == approx(1, abs=0.01)


def test_a_byte_of_a_share_is_read_as_it_was_written() -> None:
    """The two sides are written apart, for the interface reads without NumPy."""
    for share in (1.0, 0.5, 0.3, 1e-3, 1e-6, 3e-9):
        (level,) = report.weights_as_bytes(np.array([share], np.float32))
        assert attention_bytes.weight(level) == approx(share, rel=0.05)
    assert report.weights_as_bytes(np.array([0.0, 1e-12], np.float32)) == bytes(2)
    for share in (0.0, 0.004, 0.5, 1.0):
        (level,) = report.shares_as_bytes(np.array([share], np.float32))
        assert attention_bytes.share(level) == approx(share, abs=0.002)
