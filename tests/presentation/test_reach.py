"""How far back a model sees, as the inspector works it out: held against the kernels and against plain counting."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from chatapp.presentation import reach
from chatapp.presentation.reach import ALPHA, EPS, HistoryReach, Stack
from chatapp.presentation.residual_influence import ResidualInfluence
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Evicted, Loaded, Opened, RolledBack, Snapshot
from chatapp.protocol.values import Ghost
from kernels import exact_tokens, influence, influence_in_context
from tests.support.presentation.inspector_events import NOON_S, conversation, hybrid, loaded, snapshot, story
from tests.support.presentation.probe_events import gemma

GEMMA = Stack(tuple(i % 6 != 5 for i in range(18)), 512, 2048, chunked=False)


def test_the_shape_is_that_of_the_loaded_model() -> None:
    assert reach.stack(gemma()) == GEMMA
    assert (GEMMA.n_sliding, GEMMA.n_global, GEMMA.reachable_tokens) == (15, 3, 15 * 511 + 1)


def test_a_model_without_windows_sees_all_that_is_cached() -> None:
    assert reach.stack(loaded()) == Stack((False,) * 30, 512, 512, chunked=False)
    assert not reach.computable(reach.stack(loaded()))


def test_a_window_that_is_wider_than_the_cache_never_slides() -> None:
    """Phi-3's 2,047 in a cache of 512: every layer sees all of it, and a curve of 2,047 would be wrong."""
    assert reach.stack(structs.replace(gemma(), n_ctx=512)).n_sliding == 0
    assert reach.stack(structs.replace(gemma(), n_ctx=768)).n_sliding == 15


def test_an_older_trace_without_the_layers_kinds_counts_them() -> None:
    event = structs.replace(gemma(), slides=[])
    assert reach.stack(event).n_sliding == 15


def llama4() -> Loaded:
    event = gemma()
    return structs.replace(event, model=structs.replace(event.model, architecture="llama4"))


def test_chunks_are_no_windows() -> None:
    """They lie at fixed places, so nothing passes from one to the next: a curve of windows would be made up."""
    assert reach.stack(llama4()).chunked
    assert not reach.computable(reach.stack(llama4()))


@settings(max_examples=30)
@given(st.lists(st.booleans(), min_size=1, max_size=6).filter(any), st.integers(2, 9), st.integers(1, 90))
def test_what_comes_from_a_distance_is_the_sum_over_the_kernels_curve(
    slides: list[bool], window: int, distance: int
) -> None:
    """Summed here one by one; through all layers for a full window, in the order of the layers."""
    stack = Stack(tuple(slides), window, 60, chunked=False)
    curve = reach.curve(stack)
    alone = influence(sum(slides), window, ALPHA)
    assert math.isclose(curve.beyond(distance), sum(alone[distance:]), rel_tol=1e-9, abs_tol=0)
    together = curve.beyond_together(distance)
    if all(slides) or distance >= 60:
        assert together is None
        return
    assert together is not None
    felt = influence_in_context(60, [window if one else None for one in slides], ALPHA)
    assert math.isclose(together, sum(felt[distance:]), rel_tol=1e-9, abs_tol=1e-300)


def test_exact_and_formula_are_those_of_the_kernels() -> None:
    """At alpha 0.9 the bound is two windows at any depth, and the exact range of 15 layers is longer."""
    curve = reach.curve(GEMMA)
    assert curve.exact_tokens == exact_tokens(15, 512, ALPHA, EPS)
    assert curve.beyond(curve.exact_tokens) <= EPS < curve.beyond(curve.exact_tokens - 1)
    assert round(curve.formula_tokens) == 1024 < curve.exact_tokens


@pytest.mark.parametrize(
    ("stack", "affordable"),
    [
        (GEMMA, True),
        (Stack(tuple(i % 6 != 5 for i in range(62)), 1024, 131_072, chunked=False), True),
        (Stack((True,) * 80, 8192, 131_072, chunked=False), False),
    ],
)
def test_a_curve_that_would_take_minutes_is_not_begun(stack: Stack, affordable: bool) -> None:
    assert reach.computable(stack) is affordable


def test_the_past_counts_what_is_there_and_what_has_left() -> None:
    """Behind the sinks tokens have left: only the others end with the newest one without a gap."""
    gone = [Ghost(turn=1, tokens=3000, whole=True)]
    there = snapshot(conversation([(20, 30)], sinks=4), ghosts=gone)
    assert reach.history_reach(there, 3000) == HistoryReach(in_window=54, recent=50, evicted=3000, residual=3000)
    assert reach.history_reach(there, 3000).farthest == 3053
    whole = snapshot(conversation([(20, 30)], sinks=4))
    assert reach.history_reach(whole, 0) == HistoryReach(in_window=54, recent=54, evicted=0, residual=0)
    assert reach.history_reach(snapshot(), 0).farthest == 0


def test_a_pinned_turn_may_have_a_gap_behind_it() -> None:
    assert reach.history_reach(hybrid(), 1008).recent == 300 + 411 + 25 + 140


# --------------------------------------------------------------------------- what lingers

OPENED = next(event for event in story() if isinstance(event, Opened))
EVICTED = next(event for event in story() if isinstance(event, Evicted))
ROLLED_BACK = RolledBack(at_s=NOON_S, tokens=9, to_pos=40, rebuilt=True, processed_tokens=40, why="", ms=1.0)


def after(*events: AnyEvent) -> int:
    """What lingers of the last snapshot among these."""
    residual = ResidualInfluence()
    for event in events:
        residual.apply(event)
    return residual.tokens(next(event for event in reversed(events) if isinstance(event, Snapshot)))


def gone(tokens: int) -> Snapshot:
    return snapshot(conversation([(20, 30)]), ghosts=[Ghost(turn=1, tokens=tokens, whole=True)])


def test_what_left_since_the_cache_was_made_lingers() -> None:
    assert after(loaded(), OPENED, gone(0), EVICTED, gone(90)) == 90


@pytest.mark.parametrize("remade", [structs.replace(EVICTED, reprocessed_tokens=54), ROLLED_BACK])
def test_nothing_lingers_of_what_left_before_the_rest_was_processed_again(remade: AnyEvent) -> None:
    assert after(OPENED, gone(0), EVICTED, gone(90), remade, gone(120)) == 0
    assert after(OPENED, gone(0), EVICTED, gone(90), remade, gone(120), EVICTED, gone(150)) == 30


def test_a_cut_that_made_nothing_again_erases_nothing() -> None:
    assert after(OPENED, gone(0), EVICTED, gone(90), structs.replace(ROLLED_BACK, rebuilt=False), gone(90)) == 90


def test_a_saved_cache_remembers_what_had_left_and_a_processed_one_does_not() -> None:
    """After a resume: the keys on disk were computed in sight of what had left; those of a prefill were not."""
    assert after(structs.replace(OPENED, restored_tokens=50), gone(90)) == 90
    assert after(structs.replace(OPENED, reused_tokens=50), gone(90)) == 90
    assert after(OPENED, gone(90)) == 0
    assert after(OPENED, gone(90), loaded(), EVICTED, gone(10)) == 10, "another model"
