"""The library as a whole: what it exports, what it needs, and that every example in its documents is true."""

import doctest
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import kernels

PAGES = (
    *("arrays", "checks", "masks", "attention", "sinks", "rope", "ring", "prefill", "packing", "moe", "reach", "quant"),
    *("layers", "architecture", "decoder", "mass"),
)
MODULES = {name: import_module(f"kernels.{name}") for name in PAGES}
GUIDE = Path(__file__).parents[2] / "docs" / "reference" / "kernels.md"


def public(module: ModuleType) -> set[str]:
    """The functions and classes that a module defines and does not hide."""
    return {
        name
        for name, thing in vars(module).items()
        if (inspect.isfunction(thing) or inspect.isclass(thing))
        and thing.__module__ == module.__name__
        and not name.startswith("_")
    }


def test_everything_public_is_exported() -> None:
    of_pages = {name: public(module) for name, module in MODULES.items() if name not in ("arrays", "checks")}
    assert kernels.__all__ == sorted(kernels.__all__)
    assert set(kernels.__all__) == set[str]().union(*of_pages.values())
    for page, names in of_pages.items():
        for name in names:
            assert getattr(kernels, name) is getattr(MODULES[page], name)


def test_no_export_hides_a_module() -> None:
    """`kernels.attention` must be the module for who imports it by name."""
    modules = {module.name for module in pkgutil.iter_modules(kernels.__path__)}
    assert set(PAGES) <= modules
    assert not modules & set(kernels.__all__)


@pytest.mark.parametrize("page", PAGES)
def test_every_public_function_has_a_worked_example_that_is_true(page: str) -> None:
    examples = doctest.DocTestFinder().find(MODULES[page], globs={**vars(MODULES[page]), "np": np})
    shown = {example.name.split(".")[2] for example in examples if example.examples and example.name.count(".") > 1}
    without = {name for name in public(MODULES[page]) if inspect.isclass(getattr(MODULES[page], name))} - shown
    # plain records, made and shown in the examples of the functions beside them
    assert without <= {"Yarn", "Gate", "Architecture", "LayerKind", "Seen", "AttentionMass"}
    assert {name for name in public(MODULES[page]) if inspect.isfunction(getattr(MODULES[page], name))} <= shown
    for example in examples:
        assert doctest.DocTestRunner().run(example).failed == 0, example.name


def test_every_example_of_the_guide_is_true() -> None:
    """One session from top to bottom, as a reader would type it after the two imports that the page begins with."""
    blocks = re.findall(r"```pycon\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)
    session = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, GUIDE.name, str(GUIDE), 0)
    assert len(session.examples) > 20
    assert doctest.DocTestRunner().run(session).failed == 0


def test_it_needs_numpy_alone() -> None:
    """Not the chat, not gguf, nothing that the distribution happens to install."""
    code = "import json, sys, numpy; old = set(sys.modules); import kernels; print(json.dumps([*{*sys.modules} - old]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    others = {name.split(".")[0] for name in json.loads(done.stdout)} - sys.stdlib_module_names
    assert others - {"numpy"} == {"kernels"}
