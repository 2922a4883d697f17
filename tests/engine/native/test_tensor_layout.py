"""A tensor that ggml made is read back field by field, and a difference is named."""

import ctypes
import re
from typing import Any

import pytest

from chatapp.engine.native import tensor_layout
from chatapp.engine.native.ggml import Tensor

UNREAD = {"extra", "padding"}
"""Fields that are not read; a tensor's size counts them."""
FIELDS = [field[0] for field in Tensor._fields_]


def displaced(before: str, *, kind: Any = ctypes.c_int64) -> Any:
    """The struct with a field more before one of its fields."""
    fields: list[Any] = list(Tensor._fields_)
    fields.insert(FIELDS.index(before), ("new", kind))
    return type("Displaced", (ctypes.Structure,), {"_fields_": fields})


def swapped(one: str, other: str) -> Any:
    """The struct with two of its fields in each other's place: of the same size."""
    fields: list[Any] = list(Tensor._fields_)
    a, b = FIELDS.index(one), FIELDS.index(other)
    fields[a], fields[b] = fields[b], fields[a]
    return type("Swapped", (ctypes.Structure,), {"_fields_": fields})


def test_this_build_lays_out_its_tensors_as_they_are_read() -> None:
    assert tensor_layout.differences() == {}
    assert tensor_layout.problem() is None


@pytest.mark.parametrize("field", [field for field in FIELDS if field not in UNREAD])
def test_a_field_that_is_somewhere_else_is_named(field: str) -> None:
    found = tensor_layout.differences(displaced(field))
    assert field in found
    assert "size" in found
    before = FIELDS[: FIELDS.index(field)]
    assert not set(before) & set(found), "what lies before it is where it was"


@pytest.mark.parametrize(("one", "other"), [("ne", "nb"), ("view_offs", "data"), ("view_src", "buffer")])
def test_two_fields_that_changed_places_are_named_though_the_size_is_the_same(one: str, other: str) -> None:
    found = tensor_layout.differences(swapped(one, other))
    assert {one, other} <= set(found)
    assert "size" not in found


def test_a_layout_that_is_not_known_names_the_version_and_the_fields() -> None:
    problem = tensor_layout.problem(displaced("name"))
    assert problem is not None
    assert re.match(r"llama\.cpp \S+ \(llama-cpp-python \d\S+\) lays out its tensors differently .*: ", problem.what)
    assert "name (b'" in problem.what
    assert "instead of b'cache_k_l7')" in problem.what
    assert "make install" in problem.todo
