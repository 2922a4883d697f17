"""What is shipped: the locks, the wheel, and that the code imports only what it declares."""

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import numpy
import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
# One pinned requirement with its hashes, as in `name==1.0 ; marker \` and its indented --hash lines.
PINNED = re.compile(
    r"(?P<name>[a-z0-9-]+)==(?P<version>[\w.]+)( ; [^\\]+)? \\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+"
)


def normal(name: str) -> str:
    """A distribution's name in its normal form."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(*locks: str) -> dict[str, str]:
    """Versions by name in the named lock files."""
    text = "".join((ROOT / f"requirements/{lock}.lock").read_text("utf-8") for lock in locks)
    return {match["name"]: match["version"] for match in PINNED.finditer(text)}


def declared(requirements: list[str]) -> dict[str, str]:
    """Versions by name in a list of `name[extra]==version; marker`."""
    pairs = (requirement.split(";")[0].split("==") for requirement in requirements)
    return {normal(name.split("[")[0]): version for name, version in pairs}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_holds_pins_with_hashes_and_nothing_else(lock: Path) -> None:
    """No address either: where packages come from is the person's own choice."""
    text = "".join(line for line in lock.read_text("utf-8").splitlines(keepends=True) if not line.startswith("#"))
    assert PINNED.search(text)
    assert PINNED.sub("", text) == ""


@pytest.mark.parametrize(
    ("requirements", "locks"),
    [
        pytest.param(PROJECT["project"]["dependencies"], ("runtime", "llama"), id="runtime"),
        pytest.param(EXTRAS["gpu"], ("gpu",), id="gpu"),
        pytest.param(EXTRAS["fast"] + EXTRAS["lab"], ("runtime",), id="fast and lab"),
        pytest.param(EXTRAS["decoder"] + EXTRAS["triton"], ("dev",), id="decoder and triton"),
        *(pytest.param(pinned, (group,), id=group) for group, pinned in PROJECT["dependency-groups"].items()),
    ],
)
def test_the_locks_hold_what_the_project_declares(requirements: list[str], locks: tuple[str, ...]) -> None:
    """A version changed in pyproject.toml and not locked would never be installed."""
    wanted = declared(requirements)
    assert wanted
    assert wanted.items() <= pins(*locks).items()


def test_the_locks_agree_with_one_another() -> None:
    """They are installed into one environment, one after the other."""
    everything = [pair for lock in LOCKS for pair in pins(lock.stem).items()]
    assert len({name for name, _ in everything}) == len(set(everything))


def test_the_code_imports_only_what_is_declared() -> None:
    """What only comes along with another package may leave with its next version."""
    graph = grimp.build_graph("chatapp", "kernels", include_external_packages=True, cache_dir=None)
    third_party = {name for name in graph.modules if "." not in name} - {"chatapp", "kernels"} - sys.stdlib_module_names
    distributions = packages_distributions()
    wanted = declared(PROJECT["project"]["dependencies"] + [pin for extra in EXTRAS.values() for pin in extra])
    missing = {name for name in third_party if not {normal(each) for each in distributions.get(name, [])} & set(wanted)}
    assert "msgspec" in third_party
    assert not missing


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as a release is."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_program_and_its_data(wheel: Path) -> None:
    """Every module, style sheet, text and theme, and the example config; no test, no tool."""
    names = set(zipfile.ZipFile(wheel).namelist())
    suffixes = {".py", ".tcss", ".txt", ".html", ".css", ".js"}
    source = {str(path.relative_to(ROOT)) for path in (ROOT / "chatapp").rglob("*") if path.suffix in suffixes}
    themes = {f"chatapp/data/themes/{path.name}" for path in (ROOT / "themes").iterdir()}
    assert len(themes) >= 6
    assert source | themes | {"chatapp/data/config.example.yaml"} <= names
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} <= {"chatapp", "kernels"}


def test_an_unpacked_wheel_finds_its_data(wheel: Path, tmp_path: Path) -> None:
    """Without the checkout: the shipped data is read from inside the package."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import chatapp.paths as p; print(p.data_dir())"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path)
    found = Path(done.stdout.strip())
    assert found == tmp_path / "chatapp/data"
    assert (found / "config.example.yaml").read_text("utf-8") == (ROOT / "config.example.yaml").read_text("utf-8")


def test_the_kernels_of_the_wheel_need_numpy_alone(wheel: Path, tmp_path: Path) -> None:
    """`import kernels` where nothing but the wheel and NumPy is installed, and none of the wheel's own dependencies."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    assert numpy.__file__ is not None
    installed = Path(numpy.__file__).parents[1]
    for name in ("numpy", "numpy.libs"):  # the second holds the libraries of NumPy's Linux wheels
        if (installed / name).exists():
            (tmp_path / name).symlink_to(installed / name)
    code = (
        f"import sys; sys.path.append({str(tmp_path)!r}); import kernels, numpy; place = numpy.arange(4); "
        "print(kernels.sliding_window(place, place, 2).sum()); "
        "print(*sorted({name.split('.')[0] for name in sys.modules} - sys.stdlib_module_names))"
    )
    command = [sys.executable, "-I", "-S", "-c", code]  # no site-packages, no variables, no current folder
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    computed, loaded = done.stdout.splitlines()
    assert computed == "7"
    assert set(loaded.split()) - {"__main__"} == {"kernels", "numpy"}


def test_the_wheel_says_how_to_start_it(wheel: Path) -> None:
    """`swachat` is the command, and the licence travels along."""
    archive = zipfile.ZipFile(wheel)
    (entry_points,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
    assert "swachat = chatapp.cli:main" in archive.read(entry_points).decode()
    assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())
