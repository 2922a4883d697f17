"""What one token looks at, the fast way against the reference: by cell, by head, by group, from every kind of cache."""

from typing import Any

import numpy as np
import pytest

from kernels.fast import attention_mass
from kernels.fast.rows import KINDS, Kind
from kernels.mass import AttentionMass, top_cells
from kernels.mass import attention_mass as slow
from tests.kernels.rounding import EPS
from tests.kernels.test_fast_attention import Shape, draw, stored

SHAPES = [Shape(1, 1, 1, 1), Shape(9, 3, 64, 1), Shape(4, 1, 256, 1), Shape(8, 8, 18, 1)]


def assert_same(fast: AttentionMass, exact: AttentionMass) -> None:
    """Shares are at most 1, so their rounding is that of the scores (some units) and of the sums."""
    tolerance = 64 * EPS
    np.testing.assert_allclose(fast.cells, exact.cells, atol=tolerance)
    np.testing.assert_allclose(fast.sink, exact.sink, atol=tolerance)
    np.testing.assert_allclose(fast.groups, exact.groups, atol=tolerance)
    np.testing.assert_allclose(exact.cells[fast.top], exact.cells[exact.top], atol=tolerance)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("n_cell", [1, 6, 700])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_the_reference(shape: Shape, n_cell: int, softcap: float | None, learned: bool) -> None:
    """700 cells of which most are visible are several parts, and no multiple of four."""
    random = np.random.default_rng(5)
    q, k, _ = draw(shape, 1, n_cell)
    visible = random.random(n_cell) < 0.9
    groups = random.integers(-1, 3, n_cell)
    options: dict[str, Any] = {"softcap": softcap, "groups": groups, "n_group": 4, "n_top": 5}
    options["sink_logits"] = np.linspace(-1, 2, shape.n_head) if learned else None
    fast, exact = attention_mass(q[:, 0], k, visible, **options), slow(q[:, 0], k, visible, **options)
    assert_same(fast, exact)
    assert len(fast.top) == min(5, visible.sum())
    assert not fast.cells[~visible].any()
    np.testing.assert_allclose(fast.cells.sum() + fast.sink.mean(), 1 if visible.any() or learned else 0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_keys_are_read_where_a_cache_keeps_them(kind: Kind) -> None:
    q, k, _ = draw(Shape(9, 3, 64, 1), 1, 300)
    keys = stored(k, kind)
    visible = np.arange(300) % 7 != 3
    assert_same(attention_mass(q[:, 0], keys, visible, n_top=8), slow(q[:, 0], keys.floats(), visible, n_top=8))


def test_nothing_visible_is_no_mass() -> None:
    q, k, _ = draw(Shape(4, 2, 8, 1), 1, 5)
    blind = np.zeros(5, dtype=np.bool_)
    mass = attention_mass(q[:, 0], k, blind, n_top=3)
    assert not mass.cells.any()
    assert not mass.sink.any()
    assert mass.top.tolist() == []
    assert attention_mass(q[:, 0], k, blind, sink_logits=np.zeros(4)).sink.tolist() == [1, 1, 1, 1]


def test_a_damaged_key_is_not_hidden() -> None:
    q, k, _ = draw(Shape(4, 2, 8, 1), 1, 5)
    k[0, 2] = np.nan
    assert np.isnan(attention_mass(q[:, 0], k, np.ones(5, dtype=np.bool_)).cells).all()
    hidden = np.arange(5) != 2
    assert np.isfinite(attention_mass(q[:, 0], k, hidden).cells).all()


def test_top_cells_of_equal_mass_are_the_first_and_never_hidden_ones() -> None:
    mass, visible = np.array([0.0, 0.3, 0.0, 0.3, 0.4]), np.array([False, True, True, True, True])
    assert top_cells(mass, visible, 9).tolist() == [4, 1, 3, 2]
    assert top_cells(mass, visible, 2).tolist() == [4, 1]
    assert top_cells(mass, visible, 3).tolist() == [4, 1, 3]
    assert top_cells(mass, visible, 0).tolist() == []


@pytest.mark.parametrize("mass", [attention_mass, slow])
def test_what_does_not_fit_is_refused(mass: Any) -> None:
    """A group beyond the last would be written beyond the end of an array."""
    q, k, _ = draw(Shape(4, 2, 8, 1), 1, 5)
    visible = np.ones(5, dtype=np.bool_)
    with pytest.raises(ValueError, match="groups must be numbered from 0 to 1, with -1 for none"):
        mass(q[:, 0], k, visible, groups=np.array([0, 1, 2, 0, 0]), n_group=2)
    with pytest.raises(ValueError, match="groups must be numbered from 0 to 1, with -1 for none"):
        mass(q[:, 0], k, visible, groups=np.array([0, 1, -2, 0, 0]), n_group=2)
    with pytest.raises(ValueError, match=r"groups must be \(n_cell = 5,\), not \(4,\)"):
        mass(q[:, 0], k, visible, groups=np.zeros(4, dtype=np.int64), n_group=2)
    with pytest.raises(ValueError, match=r"visible must be \(n_cell = 5,\), not \(4,\)"):
        mass(q[:, 0], k, visible[:4])
    with pytest.raises(ValueError, match="q must have a multiple of the 2 heads of k, at least one each, not 3"):
        mass(q[:3, 0], k, visible)


def test_queries_of_a_prompt_are_refused() -> None:
    q, k, _ = draw(Shape(4, 2, 8, 1), 2, 5)
    with pytest.raises(ValueError, match=r"q must be \(n_head, head_dim\), not \(4, 2, 8\)"):
        attention_mass(q, k, np.ones(5, dtype=np.bool_))
