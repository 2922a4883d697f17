"""What holds for every test: no test touches the real home, and none depends on the terminal it was started from."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from chatapp import models
from chatapp.engine.client import SPIN_COUNT

# NumPy's threads spin while they wait for each other: on the small matrices of tests that is four times the work.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# As the client does for the engine process; OpenMP reads it when llama.cpp is first loaded into a test's own process.
os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)

# A slow or shared machine is no failure. On a CI machine the examples are the same on each run.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

TERMINAL = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
KEPT = "TEXTUAL_SNAPSHOT_TEMPDIR"
"""pytest-textual-snapshot's own, set before any fixture runs."""
UNSET = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "COLUMNS", "LINES", "TEXTUAL", "PAGER")


@pytest.fixture(scope="session", autouse=True)
def isolated_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A home, a terminal and a time zone of our own, for session fixtures and the programs they start too.

    The cache folder is shared by the whole session: an assembled model is made once.
    """
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            ours = name.startswith(("SWACHAT_", "XDG_", "HF_", "TEXTUAL_")) and name != KEPT
            if name in UNSET or ours:
                patch.delenv(name)
        for name, value in TERMINAL.items():
            patch.setenv(name, value)
        _move_home(patch, home)
        patch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
        time.tzset()
        yield
    time.tzset()


@pytest.fixture(autouse=True)
def isolated_home(
    isolated_session: None, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A home of the test's own: no config, no conversations, no models but the shipped ones."""
    home = tmp_path_factory.mktemp("home")
    _move_home(monkeypatch, home)
    return home


@pytest.fixture(scope="session")
def starter(isolated_session: None) -> Path:
    """SmolLM2-135M-Instruct: full attention in 30 layers."""
    return models.resolve("starter")


@pytest.fixture(scope="session")
def gemma(isolated_session: None) -> Path:
    """Gemma 3 270M: a window of 512 tokens in 15 of 18 layers."""
    return models.resolve("gemma3-270m")


def _move_home(patch: pytest.MonkeyPatch, home: Path) -> None:
    patch.setenv("HOME", str(home))
    patch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    patch.setenv("XDG_DATA_HOME", str(home / ".local/share"))
    patch.setenv("XDG_STATE_HOME", str(home / ".local/state"))
