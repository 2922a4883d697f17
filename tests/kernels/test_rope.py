"""Rotation: turns add up, lengths stay, distances count; and YaRN's magnitude, which does none of this."""

import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import Rope, Yarn, llama3_factors, rotate, shift, unrotate, yarn_ramp
from kernels.rope import Order
from tests.kernels.draws import seeds

YARN = Rope(n_rot=8, freq_scale=1 / 4, yarn=Yarn(n_ctx_orig=256))
GPT_OSS = Rope(n_rot=64, base=150000.0, order="neox", freq_scale=1 / 32, yarn=Yarn(n_ctx_orig=4096))
plain = st.builds(
    Rope,
    n_rot=st.sampled_from([2, 6, 8]),
    base=st.sampled_from([100.0, 10000.0, 1e6]),
    order=st.sampled_from(get_args(Order)),
    freq_scale=st.sampled_from([1.0, 1 / 8]),
)
scaled = st.sampled_from([YARN, replace(YARN, order="neox"), Rope(n_rot=8, freq_factors=llama3_factors(8))])
ropes = plain | scaled
positions = st.integers(0, 100_000)
KEYS = np.random.default_rng(12).normal(size=(2, 1, 8))


@given(rope=ropes, p=positions, d=st.integers(-1000, 1000))
def test_a_shift_is_a_rotation_to_the_new_position_but_for_the_magnitude(rope: Rope, p: int, d: int) -> None:
    shifted = shift(rotate(KEYS, np.array([p]), rope), np.array([d]), rope)
    fresh = rotate(KEYS, np.array([p + d]), rope)
    np.testing.assert_allclose(shifted, fresh * rope.magnitude, atol=1e-9)


def test_each_shift_applies_yarns_magnitude_once_more() -> None:
    """Three shifts at factor 4, and what one would do to gpt-oss: every cached key is too long by this."""
    key = rotate(KEYS, np.array([50]), YARN)
    lengths: list[float] = []
    for _ in range(3):
        key = shift(key, np.array([-3]), YARN)
        lengths.append(float(np.linalg.norm(key) / np.linalg.norm(rotate(KEYS, np.array([50]), YARN))))
    assert [round(length, 3) for length in lengths] == [1.139, 1.296, 1.476]
    assert round(GPT_OSS.magnitude, 3) == 1.347


@given(rope=ropes, p=positions)
def test_unrotating_gives_the_key_back(rope: Rope, p: int) -> None:
    at = np.array([p])
    np.testing.assert_allclose(unrotate(rotate(KEYS, at, rope), at, rope), KEYS, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(rotate(KEYS, at, rope)), rope.magnitude * np.linalg.norm(KEYS))


def test_a_yarn_cache_can_be_renumbered_by_rotating_anew() -> None:
    """The way out that a shift is not: unrotate from the old position, rotate to the new one."""
    old, new = np.array([50]), np.array([47])
    again = rotate(unrotate(rotate(KEYS, old, YARN), old, YARN), new, YARN)
    np.testing.assert_allclose(again, rotate(KEYS, new, YARN), atol=1e-12)


@given(rope=plain, seed=seeds, p=st.integers(0, 1000), distance=st.integers(0, 1000), d=st.integers(0, 1000))
def test_only_the_distance_counts(rope: Rope, seed: int, p: int, distance: int, d: int) -> None:
    """The score of a query and a key stays when both move: why a cache may be renumbered at all."""
    q, k = np.random.default_rng(seed).normal(size=(2, 1, rope.n_rot))

    def score(query_at: int, key_at: int) -> float:
        return (rotate(q, np.array([query_at]), rope) @ rotate(k, np.array([key_at]), rope).T).item()

    assert math.isclose(score(p + distance, p), score(p + distance + d, p + d), abs_tol=1e-9)


def test_each_token_turns_to_its_own_position_and_the_rest_of_a_head_stays() -> None:
    x = np.random.default_rng(13).normal(size=(3, 4, 10))
    rope = Rope(n_rot=6, order="neox")
    turned = rotate(x, np.array([5, 0, 2, 9]), rope)
    np.testing.assert_array_equal(turned[..., 6:], x[..., 6:])
    np.testing.assert_array_equal(turned[:, 1], x[:, 1])
    np.testing.assert_allclose(turned[:, [3]], rotate(x[:, [3]], np.array([9]), rope))


def test_the_two_orders_are_the_same_rotation_of_other_neighbours() -> None:
    x = np.random.default_rng(14).normal(size=(1, 3, 8))
    at = np.array([1, 20, 300])
    to_halves = [0, 2, 4, 6, 1, 3, 5, 7]
    normal = rotate(x, at, Rope(n_rot=8))
    neox = rotate(x[..., to_halves], at, Rope(n_rot=8, order="neox"))
    np.testing.assert_allclose(neox, normal[..., to_halves])


def test_linear_scaling_reads_every_position_as_a_fraction() -> None:
    at = np.array([8, 80])
    stretched = rotate(np.ones((2, 8)), at, Rope(n_rot=8, freq_scale=1 / 8))
    np.testing.assert_allclose(stretched, rotate(np.ones((2, 8)), at // 8, Rope(n_rot=8)))


def test_yarn_keeps_fast_pairs_and_stretches_slow_ones() -> None:
    """gpt-oss: 64 dims, base 150000, 4096 tokens. Pairs up to 8 keep their turn, from 18 on they are linear."""
    assert GPT_OSS.yarn is not None
    ramp = yarn_ramp(64, 150000.0, GPT_OSS.yarn)
    assert ramp[:9].tolist() == [1.0] * 9
    assert ramp[13] == 0.5
    assert ramp[18:].tolist() == [0.0] * 14
    turn = GPT_OSS.angles(np.array([1]))[0]
    own = Rope(n_rot=64, base=150000.0).angles(np.array([1]))[0]
    np.testing.assert_allclose(turn[:9], own[:9])
    np.testing.assert_allclose(turn[18:], own[18:] / 32)
    assert (turn[9:18] < own[9:18]).all()


def test_yarn_without_its_mix_is_linear_scaling() -> None:
    none = Rope(n_rot=8, freq_scale=1 / 4, yarn=Yarn(n_ctx_orig=256, ext_factor=0.0))
    linear = Rope(n_rot=8, freq_scale=1 / 4)
    assert none.magnitude == linear.magnitude == 1
    np.testing.assert_array_equal(none.angles(np.array([9])), linear.angles(np.array([9])))


def test_llama_3_divides_long_waves_alone() -> None:
    """Llama 3.1: 128 dims, base 500000, factor 8, 8192 tokens; waves under 2048 tokens stay, over 8192 are divided."""
    factors = np.array(llama3_factors(128))
    wave = 2 * math.pi * 500000 ** (np.arange(64) / 64)
    assert (factors[wave < 2048] == 1).all()
    assert (factors[wave > 8192] == 8).all()
    between = factors[(wave >= 2048) & (wave <= 8192)]
    assert len(between) == 6
    assert (np.diff(between) > 0).all()
    assert 1 < between[0] < between[-1] < 8


def test_heads_that_cannot_rotate_are_refused() -> None:
    with pytest.raises(ValueError, match="pairs"):
        Rope(n_rot=3)
    with pytest.raises(ValueError, match=r"freq_factors must be \(n_pair = 4,\), not \(3,\)"):
        Rope(n_rot=8, freq_factors=(1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match=r"x must be \(.*\) with head_dim at least 8, not \(1, 4\)"):
        rotate(np.ones((1, 4)), np.array([0]), Rope(n_rot=8))
    with pytest.raises(ValueError, match=r"positions must be \(n_token = 2,\), not \(1,\)"):
        rotate(np.ones((2, 8)), np.array([0]), Rope(n_rot=8))
