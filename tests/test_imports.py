"""What an import loads, seen in a fresh interpreter: import-linter's contracts read the code, these run it.

They guard the time to the first screen and the interface's memory, and keep llama.cpp in the engine's process.
"""

import json
import pkgutil
import subprocess
import sys

import pytest

import chatapp.cache

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
