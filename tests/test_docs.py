"""The documents name files, folders, functions and one another: all of them must exist."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
PRODUCT = ("chatapp", "kernels", "tests", "tools", "benchmarks")
CODE = sorted([ROOT / "config.example.yaml", *(file for folder in PRODUCT for file in (ROOT / folder).rglob("*.py"))])
MODULES = {file.name for folder in PRODUCT for file in (ROOT / folder).rglob("*.py")}


def name(path: Path) -> str:
    """A page as it is written in test ids and messages."""
    return str(path.relative_to(ROOT))


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What a link can point to within a page, as GitHub makes it from the headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> Iterator[tuple[str, Path, str]]:
    """Each relative link as it is written, the file that it means, and its anchor."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield target, (page.parent / path).resolve() if path else page, anchor


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = [
        target
        for target, path, anchor in links(page)
        if not path.exists() or not path.is_relative_to(ROOT) or (anchor and anchor not in anchors(path))
    ]
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_path_in_backticks_exists(page: Path) -> None:
    """Paths from the root of the repository, modules by their bare or dotted name, and benchmarks to run."""
    text = page.read_text(encoding="utf-8")
    quoted = re.findall(r"`([\w./-]+)`", prose(page))
    top = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    paths = {path for path in quoted if "/" in path and path.split("/")[0] in top}
    assert {path for path in paths if not (ROOT / path).exists()} == set()
    assert {path for path in quoted if re.fullmatch(r"\w+\.py", path)} - MODULES == set()
    dotted = {module for module in quoted if module.startswith("chatapp.") and not module.endswith(".py")}
    folders = {ROOT.joinpath(*module.split(".")) for module in dotted}
    assert {path for path in folders if not path.is_dir() and not path.with_suffix(".py").exists()} == set()
    benchmarks = re.findall(r"python -m (benchmarks\.\w+)", text)
    assert {
        module for module in benchmarks if not (ROOT / module.replace(".", "/")).with_suffix(".py").exists()
    } == set()


def test_the_code_names_documents_that_exist() -> None:
    """In messages, docstrings and comments; a decision may be named by its number."""
    for file in CODE:
        if file != Path(__file__):
            for path in re.findall(r"(?<![\w/])docs/[\w./-]*[\w/]", file.read_text(encoding="utf-8")):
                assert (ROOT / path).exists() or any(ROOT.glob(f"{path}-*")), f"{name(file)} names {path}"


def test_every_page_is_reached_from_the_first() -> None:
    """By links from page to page; the decisions are listed by their folder."""
    reached, waiting = {DOCS / "README.md"}, [DOCS / "README.md"]
    while waiting:
        for _, path, _ in links(waiting.pop()):
            if path.suffix == ".md" and path not in reached and path.exists():
                reached.add(path)
                waiting.append(path)
    assert {name(page) for page in DOCS.rglob("*.md") if page.parent.name != "decisions"} <= set(map(name, reached))


def tree() -> dict[str, str]:
    """The file tree of the documents' first page: each path with what is said of it."""
    block = (
        (DOCS / "README.md").read_text(encoding="utf-8").partition("## The file tree\n\n```\n")[2].partition("```")[0]
    )
    found, above = dict[str, str](), list[str]()
    for line in block.splitlines():
        entries, _, words = line.strip().partition("  ")
        above = above[: (len(line) - len(line.lstrip())) // 2]
        for entry in entries.split():
            found["".join([*above, entry])] = words.strip()
        above.append(entries)
    return found


def test_the_file_tree_names_exactly_the_folders_of_the_program() -> None:
    packages = {f"{name(file.parent)}/" for file in (ROOT / "chatapp").rglob("*.py")}
    modules = {name(file) for file in (ROOT / "chatapp").glob("*.py")} - {"chatapp/__init__.py"}
    assert {path for path in tree() if path.startswith("chatapp/")} == packages | modules


def test_every_entry_of_the_file_tree_exists_and_has_a_line() -> None:
    assert [path for path, words in tree().items() if not words or not (ROOT / path).exists()] == []


def test_a_message_and_a_token_pass_through_functions_that_exist() -> None:
    steps = re.findall(
        r"^\| `([\w/]+\.py)` \| `(\w+)` \|", (DOCS / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(steps) > 20
    for module, function in steps:
        nodes = ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8")))
        functions = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert function in functions, f"{module} has no {function}"


def test_every_module_has_a_place_where_it_is_tested() -> None:
    """By its path, or by the table of tests/README.md, which has no line without need and no test that is not there."""
    tests = ROOT / "tests"
    unnamed = {
        module.relative_to(ROOT / "chatapp")
        for module in (ROOT / "chatapp").rglob("*.py")
        if not module.name.startswith("__")
    }
    unnamed -= {module for module in unnamed if (tests / module.parent / f"test_{module.name}").exists()}
    for line in re.findall(r"^\| `.*\.py.*$", (tests / "README.md").read_text(encoding="utf-8"), re.MULTILINE):
        modules, tested_in = (re.findall(r"`([^`]+)`", column) for column in line.strip("|").split("|"))
        assert [test for test in tested_in if not (tests / test).is_file()] == []
        for pattern in modules:
            named = {
                module for module in unnamed if module.match(pattern) and len(module.parts) == pattern.count("/") + 1
            }
            assert named, f"{pattern}: has a test of its own, has a line already, or does not exist"
            unnamed -= named
    assert sorted(map(str, unnamed)) == []
