"""Whether RoPE made the stored keys, from lines as ggml prints them; real graphs are in test_capability.py."""

import os

import pytest

from chatapp.engine.native.rope_in_graph import SWITCH, keys_are_roped, printed_graphs


def node(operation: str, name: str, *sources: str) -> str:
    """One line of ggml_backend_sched_print_assignments."""
    tensor = "{:>20.20s} (  32K) [  CPU         ]"
    head = f"node #  7 ({operation:>10.10s}): {tensor.format(name)} use=1,c=1:"
    return head + "".join(f" {tensor.format(source)}" for source in sources) + "\n"


def stored(layer: int, source: str) -> str:
    cache = f"cache_k_l{layer}"
    return node("SET_ROWS", f"{cache} (view)", f"{source} (view)", "attn_inp_k_idxs", cache)


ROPE_0 = node("MUL_MAT", "Kcur-0", "blk.0.attn_k.weight", "attn_norm-0") + node("ROPE", "Kcur-0", "Kcur-0", "inp_pos")


def test_a_key_that_is_stored_as_rope_left_it_is_roped() -> None:
    assert keys_are_roped(ROPE_0 + stored(0, "Kcur-0"), [0])


def test_a_layer_without_rope_is_found_among_others() -> None:
    without = node("MUL_MAT", "Kcur-1", "blk.1.attn_k.weight", "attn_norm-1") + stored(1, "Kcur-1")
    log = ROPE_0 + stored(0, "Kcur-0") + without
    assert keys_are_roped(log, [0])
    assert not keys_are_roped(log, [0, 1])


def test_a_norm_behind_rope_is_found_even_under_the_same_name() -> None:
    assert not keys_are_roped(ROPE_0 + node("MUL", "Kcur-0", "norm-0", "weight") + stored(0, "Kcur-0"), [0])


def test_a_key_put_together_with_a_roped_part_is_roped() -> None:
    parts = node("RMS_NORM", "kv_cmpr-0", "kv-0") + node("ROPE", "k_pe-0", "k_pe-0 (view)", "inp_pos")
    assert keys_are_roped(parts + node("CONCAT", "Kcur-0", "kv_cmpr-0", "k_pe-0") + stored(0, "Kcur-0"), [0])
    assert not keys_are_roped(parts + node("CONCAT", "Kcur-0", "kv_cmpr-0", "nope-0") + stored(0, "Kcur-0"), [0])


def test_a_long_name_is_known_by_its_beginning() -> None:
    """Names are cut to 20 characters, and with them the word that marks a view."""
    name = "Kcur_normed-12"
    assert keys_are_roped(node("ROPE", name, name, "inp_pos") + stored(12, name), [12])


def test_one_graph_of_several_that_stores_otherwise_is_enough() -> None:
    log = ROPE_0 + stored(0, "Kcur-0") + node("MUL_MAT", "Kcur-0", "w", "x") + stored(0, "Kcur-0")
    assert not keys_are_roped(log, [0])


def test_what_is_not_in_the_log_is_not_promised() -> None:
    assert not keys_are_roped("", [0])
    assert keys_are_roped("", [])


@pytest.mark.parametrize("before", [None, "1"])
def test_the_switch_is_left_as_it_was(before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    if before is not None:
        monkeypatch.setenv(SWITCH, before)
    with printed_graphs():
        assert os.environ[SWITCH] == "2"
    assert os.environ.get(SWITCH) == before
