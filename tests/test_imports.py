"""What an import loads, seen in a fresh interpreter: import-linter's contracts read the code, these run it.

They guard the time to the first screen and the interface's memory, and keep llama.cpp in the engine's process.
"""

import json
import pkgutil
import subprocess
import sys
from collections.abc import Mapping, Set
from importlib.util import find_spec
from pathlib import Path

import grimp
import pytest

import chatapp.cache
from tests.support.fake_engine.engine import Script
from tests.support.traces import record, sends

HEAVY = {"huggingface_hub", "jinja2", "llama_cpp", "numpy", "pydantic", "textual"}


def loaded_by(module: str) -> set[str]:
    """The names of all modules loaded by importing `module`."""
    code = f"import json, sys; import {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_the_command_line_loads_nothing_heavy() -> None:
    """`swachat --help` and the first screen wait for these imports."""
    assert not HEAVY & loaded_by("chatapp.cli")


@pytest.mark.parametrize(
    "module", ["chatapp.ui.app", "chatapp.ui.widgets.inspector.inspector", "chatapp.engine.client", "chatapp.store"]
)
def test_the_interface_process_never_loads_the_engine(module: str) -> None:
    """llama.cpp may end its process and NumPy costs 20 MB: both stay in the engine's process."""
    engine = {"llama_cpp", "numpy", "chatapp.engine.native.llama", "chatapp.engine.session.session"}
    assert not engine & loaded_by(module)


def test_the_engine_loads_no_screen() -> None:
    """The engine's process is a plain one: a Textual there would cost memory and start time."""
    assert "llama_cpp" in loaded_by("chatapp.engine.worker")
    assert not {"textual", "pydantic", "chatapp.ui", "chatapp.store"} & loaded_by("chatapp.engine.worker")


@pytest.mark.parametrize("module", [m.name for m in pkgutil.iter_modules(chatapp.cache.__path__, "chatapp.cache.")])
def test_the_cache_is_pure(module: str) -> None:
    """The decisions about the cache need nothing but the standard library and one another."""
    plain = loaded_by("sys")
    others = {name for name in loaded_by(module) - plain if name.split(".")[0] not in sys.stdlib_module_names}
    assert module in others
    assert {name for name in others if not name.startswith("chatapp.cache.")} <= {"chatapp", "chatapp.cache"}


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports for types alone, and those inside functions, are counted too: two such modules are read as one."""
    graph = grimp.build_graph("chatapp", "kernels", exclude_type_checking_imports=False)
    imported = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imported) > 250
    assert "chatapp.ui.base_app" in imported["chatapp.ui.screens.chat"]
    assert [sorted(part) for part in strongly_connected(imported) if len(part) > 1] == []


def test_circles_are_found() -> None:
    """The control: one circle of three, with a way to it and a way out of it."""
    found = strongly_connected({"in": {"a"}, "a": {"b"}, "b": {"c", "out"}, "c": {"a"}, "out": set()})
    assert sorted(map(sorted, found)) == [["a", "b", "c"], ["in"], ["out"]]


def strongly_connected(edges: Mapping[str, Set[str]]) -> list[set[str]]:
    """The strongly connected components of a directed graph (Tarjan), without recursion."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_nodes: list[str] = []
    components: list[set[str]] = []
    for root in sorted(edges):
        if root in number:
            continue
        path = [(root, iter(sorted(edges[root])))]
        number[root] = lowest[root] = len(number)
        open_nodes.append(root)
        while path:
            node, targets = path[-1]
            for target in targets:
                if target not in number:
                    number[target] = lowest[target] = len(number)
                    open_nodes.append(target)
                    path.append((target, iter(sorted(edges[target]))))
                    break
                if target in open_nodes:
                    lowest[node] = min(lowest[node], number[target])
            else:
                path.pop()
                if path:
                    lowest[path[-1][0]] = min(lowest[path[-1][0]], lowest[node])
                if lowest[node] == number[node]:
                    at = open_nodes.index(node)
                    components.append(set(open_nodes[at:]))
                    del open_nodes[at:]
    return components


# ---------------------------------------------------------------------------- what is done and shown without a screen


def loaded_by_all(package: str) -> set[str]:
    """The names of all modules loaded by importing every module of a package."""
    spec = find_spec(package)
    assert spec is not None
    modules = [package, *(m.name for m in pkgutil.walk_packages(spec.submodule_search_locations, f"{package}."))]
    loaded = loaded_by(", ".join(modules))
    assert loaded >= set(modules)
    return loaded


@pytest.mark.parametrize("package", ["chat", "compare", "page", "presentation", "replay"])
def test_chats_pictures_and_pages_need_no_screen(package: str) -> None:
    """A page of a trace is written on a machine without a terminal; and who tests a chat needs no application."""
    loaded = loaded_by_all(f"chatapp.{package}")
    assert not {name for name in loaded if name.split(".")[0] == "textual" or name.startswith("chatapp.ui")}


@pytest.mark.parametrize("package", ["chat", "config", "models", "page", "presentation", "protocol", "store"])
def test_what_is_said_to_the_engine_is_known_without_it(package: str) -> None:
    """The wire is a package of its own: who reads or writes it does not load the process behind it."""
    assert not {name for name in loaded_by_all(f"chatapp.{package}") if name.startswith("chatapp.engine")}


def test_the_page_of_a_trace_is_written_without_a_screen_or_an_engine(tmp_path: Path) -> None:
    """All of the way through the command, for what it imports only then."""
    trace, page = tmp_path / "trace", tmp_path / "page.html"
    record(trace, sends(4, 60), Script(n_ctx=256, looks=True))
    code = (
        "import json, sys; from chatapp.cli import main; "
        f"assert main(['inspect', {str(trace)!r}, '--html', {str(page)!r}]) == 0; print(json.dumps(list(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert " evicted: " in page.read_text()
    unwanted = ("textual", "llama_cpp", "chatapp.ui", "chatapp.engine")
    assert not {name for name in json.loads(done.stdout) if name.startswith(unwanted)}


@pytest.mark.parametrize(
    "module",
    [
        "llama_cpp",
        "numpy",
        "sqlite3",
        "markdown_it",
        "pygments.lexers",
        "jinja2",
        "huggingface_hub",
        "textual.widgets._markdown",
    ],
)
def test_the_screen_comes_up_without(module: str) -> None:
    """Replies, store and engine come after the first paint, and so does what they import."""
    code = f"import sys, chatapp.ui.app; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
