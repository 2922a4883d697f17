"""What leans on private parts of Textual stands in one folder: nothing else imports, overrides or reads one.

A release of Textual may change them without a word, so that whoever upgrades has to know where to look.
"""

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import chatapp.ui
import chatapp.ui.textual_fixes

FOLDER = Path(chatapp.ui.textual_fixes.__path__[0])
PROGRAM = Path(chatapp.ui.__path__[0]).parent
OUTSIDE = sorted(file for file in PROGRAM.rglob("*.py") if FOLDER not in file.parents)
MODULES = [module.name for module in pkgutil.walk_packages(chatapp.ui.__path__, "chatapp.ui.")]
FIXES = sorted(file.stem for file in FOLDER.glob("*.py") if file.stem != "__init__")
MADE_BY_TEXTUAL = frozenset({
    "_css_type_name", "_css_type_names", "_decorated_handlers", "_inherit_bindings", "_inherit_component_classes",
    "_inherit_css", "_merged_bindings", "_reactives", "_computes", "_default_virtual_size", "_abc_impl",
})  # fmt: skip
"""What Textual and Python write into every class of a widget, and for every reactive."""


def is_private(name: str) -> bool:
    """Whether a name begins with one underscore."""
    return name.startswith("_") and not name.startswith("__")


def imported(tree: ast.AST) -> list[str]:
    """All that a module imports, with its way."""
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def private_imports(source: str) -> list[str]:
    """The private parts of Textual among a module's imports."""
    names = [name.split(".") for name in imported(ast.parse(source))]
    return [".".join(parts) for parts in names if parts[0] == "textual" and any(map(is_private, parts))]


def written(tree: ast.AST) -> set[str]:
    """The names that a module defines: functions, and attributes that it assigns."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Attribute(attr=name, ctx=ast.Store()) | ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case _:
                pass
    return found


def read(tree: ast.AST) -> set[str]:
    """The private attributes that a module reads; `os._exit` is a public function of Python's, whatever its name."""
    attributes = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and is_private(node.attr))
    return {node.attr for node in attributes if ast.unparse(node) != "os._exit"}


def test_nothing_outside_imports_a_private_part() -> None:
    assert {file.name: found for file in OUTSIDE if (found := private_imports(file.read_text()))} == {}


def test_nothing_outside_reads_a_private_attribute_that_it_has_not_made() -> None:
    trees = {file: ast.parse(file.read_text()) for file in OUTSIDE if "ui" in file.relative_to(PROGRAM).parts}
    own = set[str]().union(*map(written, trees.values()))
    assert {file.name: foreign for file, tree in trees.items() if (foreign := read(tree) - own)} == {}


def test_nothing_outside_silences_the_type_checker_about_a_private_part() -> None:
    silenced = [file.name for file in OUTSIDE if "reportPrivate" in file.read_text()]
    assert silenced == []


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith("chatapp.ui.textual_fixes")])
def test_nothing_outside_overrides_a_private_part(module: str) -> None:
    """By accident, too: a method that happens to be called as one of Textual's is called by Textual."""
    classes = [value for value in vars(importlib.import_module(module)).values() if inspect.isclass(value)]
    taken = [
        f"{each.__name__}.{name}"
        for each in classes
        if each.__module__ == module
        for base in each.__mro__
        if base.__module__.partition(".")[0] == "textual"
        for name in vars(each).keys() & vars(base).keys()
        if is_private(name) and name not in MADE_BY_TEXTUAL
    ]
    assert taken == []


@pytest.mark.parametrize("fix", FIXES)
def test_each_says_when_it_may_go_and_has_a_test(fix: str) -> None:
    """And for which version of Textual it was made."""
    words = " ".join((ast.get_docstring(ast.parse((FOLDER / f"{fix}.py").read_text())) or "").split())
    assert "Textual 8.2.8" in words
    assert "can be removed when" in words
    assert (Path(__file__).parent / f"test_{fix}.py").exists()


def test_the_scan_sees_what_it_looks_for() -> None:
    """In the folder itself there is some of each."""
    sources = [file.read_text() for file in FOLDER.glob("*.py")]
    assert sum(bool(private_imports(source)) for source in sources) >= 3
    assert private_imports("from textual.widgets._markdown import MarkdownBlock") == [
        "textual.widgets._markdown.MarkdownBlock"
    ]
    assert any("reportPrivate" in source for source in sources)
    tree = ast.parse((FOLDER / "keys_in_order.py").read_text())
    assert read(tree) - written(tree) == {"_bindings"}
