"""Deleting models, but only those that lie in the models folder."""

from glob import escape
from pathlib import Path

from chatapp.errors import UserError
from chatapp.models.find import locate
from chatapp.models.gguf import parts
from chatapp.models.shipped import SHIPPED


def removal(spec: str) -> list[Path]:
    """The files of the model `spec` in the models folder: all of its parts, and partial files of a newer pull of them.

    Raises UserError for a model that belongs to a package or lies elsewhere, and as `locate` does.
    """
    from chatapp.paths import models_dir

    shipped = SHIPPED.get(spec.casefold())
    folder = models_dir().resolve()
    ready = shipped.ready() if shipped is not None else None
    if shipped is not None and shipped.installed() and (ready is None or not _inside(ready, folder)):
        raise UserError(
            f"{shipped.name} belongs to the package {shipped.package}, not to the models folder.",
            f"To remove it, uninstall that package: pip uninstall {shipped.package}",
        )
    path = locate(spec)
    if not _inside(path, folder) or not path.is_file():
        raise UserError(
            f"{path} is not a model in the models folder {folder}.", "Delete the file yourself if you want to."
        )
    whole = [part for part in parts(path) if part.is_file()]
    return whole + [left for part in whole for left in part.parent.glob(f".{escape(part.name)}.*.part")]


def remove(files: list[Path]) -> None:
    """Delete the files that `removal` named, and the folders that become empty. Raises UserError."""
    from chatapp.paths import models_dir

    top = models_dir().resolve()
    try:
        for file in files:
            file.unlink(missing_ok=True)
            folder = file.parent.resolve()
            while folder != top and not any(folder.iterdir()):
                folder.rmdir()
                folder = folder.parent
    except OSError as error:
        raise UserError(f"{error.filename} cannot be deleted: {error.strerror}.", "Check its permissions.") from error


def _inside(path: Path, folder: Path) -> bool:
    """True when the directory entry `path` lies below `folder`; where a link there points does not matter."""
    return path.parent.resolve().is_relative_to(folder)
