"""What is relied on in llama.cpp beside its documented interface: the whole list, and that this build has each of it.

The lists are written down here a second time on purpose: whoever makes the engine lean on something new adds it here,
and the test then looks for it in the build.
"""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import llama_cpp
import pytest

from chatapp.engine import native
from chatapp.engine.native import build, gguf, llama, load_log, rope_in_graph, symbols
from chatapp.engine.native.cache_types import CACHE_TYPES
from chatapp.engine.native.ggml import Tensor
from chatapp.engine.native.log import whole_log
from chatapp.engine.planning.dry_run import DryRun, lines_of_load
from chatapp.engine.planning.load_plan import prepare
from chatapp.engine.probe import tap
from chatapp.errors import BuildError
from chatapp.protocol.values import CacheSettings, EngineSettings
from tests.support.tiny_models import tiny

FUNCTIONS = re.findall(
    r"\w+",
    """
    ggml_init ggml_free ggml_new_tensor_4d ggml_mul_mat ggml_mul_mat_id ggml_backend_buffer_free
    ggml_backend_buft_alloc_buffer ggml_backend_buft_get_alloc_size ggml_backend_dev_backend_reg
    ggml_backend_dev_by_type ggml_backend_dev_count ggml_backend_dev_description ggml_backend_dev_get
    ggml_backend_dev_host_buffer_type ggml_backend_dev_memory ggml_backend_dev_name ggml_backend_dev_supports_op
    ggml_backend_dev_type ggml_backend_reg_get_proc_address gguf_init_from_file gguf_free gguf_get_data_offset
    gguf_get_n_kv gguf_get_n_tensors gguf_get_key gguf_get_kv_type gguf_get_arr_type gguf_get_arr_n
    gguf_get_arr_data gguf_get_val_str gguf_get_val_u8 gguf_get_val_i8 gguf_get_val_u16 gguf_get_val_i16
    gguf_get_val_u32 gguf_get_val_i32 gguf_get_val_f32 gguf_get_val_bool gguf_get_val_u64 gguf_get_val_i64
    gguf_get_val_f64 gguf_get_tensor_name gguf_get_tensor_ne gguf_get_tensor_offset gguf_get_tensor_size
    gguf_get_tensor_type ggml_tensor_overhead ggml_graph_overhead_custom ggml_new_graph_custom
    ggml_build_forward_expand ggml_view_3d ggml_reshape_3d ggml_prec_set_acc ggml_scale_inplace ggml_tanh_inplace
    ggml_soft_max_ext ggml_soft_max_ext_inplace ggml_soft_max_add_sinks ggml_flash_attn_ext
    ggml_flash_attn_ext_add_sinks ggml_nbytes ggml_op_desc ggml_op_name ggml_type_name ggml_get_data ggml_set_name
    ggml_set_input ggml_set_output ggml_backend_alloc_ctx_tensors ggml_backend_alloc_ctx_tensors_from_buft
    ggml_backend_buffer_get_type ggml_backend_buffer_is_host ggml_backend_buft_get_device
    ggml_backend_cpu_buffer_type ggml_backend_dev_init ggml_backend_free ggml_backend_graph_compute
    ggml_backend_sched_set_eval_callback ggml_backend_tensor_get ggml_backend_tensor_set ggml_backend_init_by_type
    ggml_backend_cpu_set_n_threads _ZNK13llama_context9get_schedEv
    """,
)
TENSOR_FIELDS = (
    *("type", "buffer", "ne", "nb", "op", "op_params", "flags", "src", "view_src", "view_offs", "data", "name"),
    *("extra", "padding"),
)
LINES = (
    *("weights", "cells", "state", "compute", "cells by device", "state by device", "sliding cells", "hyperparameter"),
    *("layer", "cached layer", "rotation"),
)
HYPERPARAMETERS = (
    *("n_layer_all", "n_head", "n_head_kv", "n_embd_k_gqa", "n_embd_v_gqa", "n_embd_head_k", "n_embd_head_v"),
    *("is_swa_any", "n_embd_head_k_swa", "n_embd_head_v_swa"),
)
NODES = ("kqv_out", "kq_soft_max", "l_out", "ffn_moe_topk", "ffn_moe_weights")
OPERATIONS = ("NONE", "VIEW", "SET_ROWS", "ROPE", "CONCAT", "FLASH_ATTN_EXT")
N_OPERATIONS = 90
"""At least as many has this build; further ones are not looked at."""
CACHE = CacheSettings(n_ctx=512, micro_batch=64)
OTHER_WORDS = {
    "weights": ("model buffer size", "weight buffer size"),
    "cells": ("llama_kv_cache: size =", "llama_kv_cache: total ="),
    "state": ("llama_memory_recurrent: size =", "llama_memory_recurrent: total ="),
    "compute": ("compute buffer size =", "compute buffer ="),
    "cells by device": ("KV buffer size", "KV size"),
    "state by device": ("RS buffer size", "RS size"),
    "sliding cells": ("creating     SWA KV cache", "creating sliding KV cache"),
    "hyperparameter": ("print_info: ", "model_info: "),
    "layer": ("assigned to device", "goes to"),
    "cached layer": (": dev =", ": device ="),
    "rotation": ("attn_rot_k", "attn_rotate_k"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    llama.init()
    return tmp_path_factory.mktemp("tiny")


def sources() -> Iterator[tuple[str, ast.Module]]:
    """The modules that call into llama.cpp, parsed."""
    for path in sorted(Path(*native.__path__).glob("*.py")):
        yield path.name, ast.parse(path.read_text())


def whole_load(path: Path, flash_attention: str = "auto") -> str:
    """Everything that llama.cpp logs of a load and of a dry run, the graphs too."""
    prepared = prepare(path, CACHE)
    with whole_log() as log, rope_in_graph.printed_graphs():
        model = llama.Model(path, gpu_layers=0)
        context = llama.Context(model, prepared.cache, EngineSettings(flash_attention=flash_attention))
        context.close()
        model.close()
    return "".join(log)


# --------------------------------------------------------------------------- functions, names, fields


def test_every_function_is_listed_and_exported() -> None:
    assert set(symbols.SIGNATURES) == set(FUNCTIONS)
    assert symbols.not_exported(symbols.SIGNATURES) == []
    assert build.reads().keys() == {"functions", "tensors", "scheduler"}
    assert all(answer.ok for answer in build.reads().values()), build.reads()


def test_the_numbers_of_the_cache_types_are_those_of_llama_cpp() -> None:
    for name, number in CACHE_TYPES.items():
        assert symbols.function("ggml_type_name")(number) == name.encode()


def test_every_listed_function_is_called_somewhere() -> None:
    called = {
        word
        for name, tree in sources()
        if name != "symbols.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "function"
        for word in (part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant))
    }
    scalars = {name for name in FUNCTIONS if name.startswith("gguf_get_val_")} - {"gguf_get_val_str"}
    assert called == set(FUNCTIONS) - scalars - {symbols.GET_SCHEDULER} | {"gguf_get_val_"}


def test_signatures_and_structs_are_written_in_one_place_each() -> None:
    """A call with a signature of its own, or a library that is loaded beside, would be in no list."""
    found = {
        (name, node.attr if isinstance(node, ast.Attribute) else node.id)
        for name, tree in sources()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in ("argtypes", "restype", "CDLL", "Structure"))
        or (isinstance(node, ast.Name) and node.id == "_fields_")
    }
    assert found == {
        ("symbols.py", "argtypes"),
        ("symbols.py", "restype"),
        ("symbols.py", "Structure"),
        ("symbols.py", "_fields_"),
        ("ggml.py", "Structure"),
        ("ggml.py", "_fields_"),
        ("binding.py", "CDLL"),
    }


def test_every_name_of_llama_cpp_that_is_used_is_listed_and_there() -> None:
    used = {
        node.attr
        for _, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("lib", "binding")
    }
    assert {name for name in used if not name.startswith("__")} == {*symbols.BOUND}
    assert symbols.not_bound() == []


def test_every_field_of_its_structs_that_is_used_is_listed() -> None:
    structs = {"params": ("llama_model_params", "llama_context_params"), "batch": ("llama_batch",)}
    for variable, names in structs.items():
        used = {
            node.attr
            for _, tree in sources()
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and ast.unparse(node.value).removeprefix("self._") == variable
            and not ast.unparse(node).startswith("params.n_params")
        }
        assert used == {field for name in names for field in symbols.BOUND_FIELDS[name]}


@pytest.mark.parametrize("what", ["name", "field"])
def test_what_llama_cpp_no_longer_has_is_named(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    if what == "name":
        monkeypatch.delattr(llama_cpp, "llama_memory_seq_add")
        missing = "llama_memory_seq_add"
    else:
        monkeypatch.setattr(llama_cpp, "llama_context_params", llama_cpp.llama_batch)
        missing = "llama_context_params.swa_full"
    with pytest.raises(BuildError, match=r"^llama\.cpp \S+ \(llama-cpp-python \S+\) has no ") as refused:
        build.check()
    assert missing in refused.value.what


def test_the_fields_of_a_tensor_are_listed() -> None:
    """That this build has them there: test_tensor_layout.py."""
    assert tuple(field[0] for field in Tensor._fields_) == TENSOR_FIELDS


# --------------------------------------------------------------------------- the log


def test_every_line_that_is_read_is_listed_and_logged(folder: Path) -> None:
    logs = [whole_load(tiny(name, folder)) for name in ("gemma3", "lfm2")]
    assert tuple(load_log.LINES) == LINES
    for name, line in load_log.LINES.items():
        assert any(line.pattern.search(log) for log in logs), name
        assert line.pattern.search(line.sample), f"{name}: its sample is none"
    assert {*load_log.HYPERPARAMETERS, *load_log.SLIDING_HYPERPARAMETERS} == {*HYPERPARAMETERS}
    assert {*HYPERPARAMETERS} <= load_log.info(logs[0]).keys()


def test_every_node_and_operation_of_a_graph_that_is_read_is_printed(folder: Path) -> None:
    """The scheduler's callback is told the same names."""
    with whole_log() as dry:
        DryRun(gguf.read(tiny("gpt-oss", folder)))
    logs = [whole_load(tiny("gpt-oss", folder), flash) for flash in ("on", "off")]
    text = "".join([*dry, *logs])
    rope_in_graph.check(text)
    assert set(NODES) == {name for name in NODES if tap.NODE.fullmatch(f"{name}-0".encode())}
    for name in NODES:
        assert f" {name}-0 (" in text, name
    known = {symbols.function("ggml_op_name")(number).decode() for number in range(N_OPERATIONS)}
    assert known >= {*OPERATIONS}
    for name in ("SET_ROWS", "ROPE"):
        assert f"({name:>10})" in text, name


# --------------------------------------------------------------------------- the log in other words


def with_words(monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    """From now on llama.cpp logs `new` where it logged `old`, whoever listens."""
    log_set: Callable[..., None] = llama_cpp.llama_log_set
    held: list[object] = []

    def reworded_set(callback: Callable[..., None], user: object) -> None:
        @llama_cpp.llama_log_callback
        def reworded(level: int, text: bytes, user: int) -> None:
            callback(level, text.replace(old.encode(), new.encode()), user)

        held.append((callback, reworded))
        log_set(reworded, user)

    monkeypatch.setattr(llama_cpp, "llama_log_set", reworded_set)


def check_clear(error: BuildError) -> None:
    assert error.what.startswith(f"llama.cpp {llama_cpp.llama_version().decode()} ")
    assert f"(llama-cpp-python {llama_cpp.__version__}) does not log " in error.what
    assert error.todo


@pytest.mark.parametrize("line", LINES)
def test_a_line_in_other_words_is_a_clear_error(folder: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """In the dry run where it has the line, else when the model was loaded."""
    path = tiny("lfm2" if line.startswith("state") else "gemma3", folder)
    prepared = prepare(path, CACHE)
    old, new = OTHER_WORDS[line]
    with_words(monkeypatch, old, new)
    try:
        prepare(path, CACHE)
    except BuildError as error:
        check_clear(error)
        return
    monkeypatch.undo()
    log = whole_load(path).replace(old, new)
    assert new in log
    with pytest.raises(BuildError) as refused:
        load_log.check(log, *prepared.log_lines)
    check_clear(refused.value)


@pytest.mark.parametrize("name", HYPERPARAMETERS)
@pytest.mark.parametrize("how", ["renamed", "reworded"])
def test_a_hyperparameter_in_other_words_is_a_clear_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, how: str
) -> None:
    if how == "reworded" and name == "is_swa_any":
        return  # the name of a flag
    old = f"print_info: {name:<21} = "
    with_words(monkeypatch, old, old + "about " if how == "reworded" else f"print_info: new_{name:<17} = ")
    with pytest.raises(BuildError) as refused:
        prepare(tiny("gemma3", folder), CACHE)
    check_clear(refused.value)
    assert f"the hyperparameter {name}" in refused.value.what


@pytest.mark.parametrize("words", [("node #", "graph node"), ("SET_ROWS", "PUT_ROWS"), ("cache_k_l", "k_cache_l")])
def test_a_graph_that_is_printed_in_another_way_is_a_clear_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, str]
) -> None:
    with_words(monkeypatch, *words)
    with pytest.raises(BuildError, match="the nodes of a graph") as refused:
        prepare(tiny("gemma3", folder), CACHE)
    check_clear(refused.value)


def test_what_a_load_must_log_depends_on_the_model(folder: Path) -> None:
    for name, lines in (
        ("llama", ["weights", "compute", "cells", "rotation", "cells by device"]),
        ("gemma3", ["weights", "compute", "cells", "rotation", "sliding cells", "cells by device"]),
        ("mamba", ["weights", "compute", "state", "state by device"]),
    ):
        with DryRun(gguf.read(tiny(name, folder))) as dry_run:
            assert lines_of_load(dry_run.structure) == lines
