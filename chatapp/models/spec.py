"""What a MODEL can be written as: a path, a name, or `hf:org/repo[:file]`."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from chatapp.errors import ModelError, UserError
from chatapp.models.gguf import part_names
from chatapp.text import close_names

_REPO = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
_LISTED = 40


@dataclass(frozen=True)
class HubSpec:
    """A repository on the Hugging Face Hub, and the file in it, or a part of the file's name."""

    repo: str
    file: str | None = None

    def __str__(self) -> str:
        return f"hf:{self.repo}:{self.file}" if self.file else f"hf:{self.repo}"


def is_hub(spec: str) -> bool:
    """True when `spec` means the Hub."""
    return spec.casefold().startswith("hf:")


def parse_hub(spec: str) -> HubSpec:
    """The parts of `hf:org/repo[:file]`. Raises UserError for any other spelling."""
    repo, _, file = spec[3:].partition(":")
    if not is_hub(spec) or not _REPO.fullmatch(repo) or ".." in repo or "--" in repo:
        raise UserError(f"{spec} is not a model on the Hub.", "Write hf:org/repo or hf:org/repo:file.")
    return HubSpec(repo, file or None)


def as_path(spec: str) -> Path | None:
    """The absolute path that `spec` means, whether or not it exists; None where it is written as a name or hf:..."""
    written_as_path = "/" in spec or spec.startswith((".", "~")) or spec.casefold().endswith(".gguf")
    if is_hub(spec) or not written_as_path:
        return None
    return Path(os.path.expanduser(spec)).absolute()


def choose(files: Iterable[str], spec: HubSpec, where: str, prefer: str | None = None) -> list[str]:
    """The file of the repository that `spec` means, as the names of all its parts, in order.

    `files` are names relative to the repository, and `where` describes their origin in errors. Where `spec` names no
    file, the only model is chosen, else the only one whose name contains `prefer`. Raises UserError, listing what
    there is, when none or several match, and ModelError when a part is missing.
    """
    names = {name for name in files if _is_model(name)}
    # One entry per model: its first part. A missing first part still represents its model.
    firsts = sorted({_parts_of(name)[0] for name in names})
    found = _matching(firsts, spec.file)
    if len(found) > 1 and spec.file is None and prefer is not None:
        found = _matching(firsts, prefer)
    if len(found) != 1:
        raise _unclear(firsts, found, spec, where)
    chosen = _parts_of(found[0])
    missing = [name for name in chosen if name not in names]
    if missing:
        raise ModelError(f"{spec}: {where} is missing {', '.join(missing)}.", "Choose another file.")
    return chosen


def _is_model(name: str) -> bool:
    """False for a file that is not a GGUF, and for a projector (the vision part of another model)."""
    base = PurePosixPath(name).name.casefold()
    return base.endswith(".gguf") and not base.startswith("mmproj")


def _parts_of(name: str) -> list[str]:
    path = PurePosixPath(name)
    return [str(path.with_name(part)) for part in part_names(path.name)]


def _matching(firsts: list[str], wanted: str | None) -> list[str]:
    """The models that `wanted` means: the exact name, else any part of a name, ignoring case; all for None."""
    if wanted is None:
        return firsts
    exact = [first for first in firsts if wanted in _parts_of(first)]
    low = wanted.casefold()
    whole = [first for first in firsts if low in (PurePosixPath(first).name.casefold(), first.casefold())]
    return exact or whole or [first for first in firsts if low in first.casefold()]


def _unclear(firsts: list[str], found: list[str], spec: HubSpec, where: str) -> UserError:
    if not firsts:
        return UserError(f"{spec}: {where} contains no GGUF model.", "Look for a repository whose name ends in GGUF.")
    listed = ", ".join(firsts[:_LISTED]) + (f" and {len(firsts) - _LISTED} more" if len(firsts) > _LISTED else "")
    if not found:
        near = close_names(spec.file or "", firsts)
        hint = f" Did you mean {near[0]}?" if near else ""
        return UserError(f"{spec}: {where} has no such file.{hint}", f"It contains: {listed}.")
    several = f"{len(found)} matching files" if spec.file else f"{len(found)} models"
    return UserError(
        f"{spec}: {where} contains {several}: {listed if found == firsts else ', '.join(found[:_LISTED])}.",
        f"Name one, as in hf:{spec.repo}:{found[0]}.",
    )
