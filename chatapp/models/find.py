"""From a MODEL to its file, and the list of the models on this machine."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from chatapp.errors import ModelError, SwachatError, UserError
from chatapp.models.gguf import check_gguf, parts, quantization, stem
from chatapp.models.last import last_used
from chatapp.models.shipped import SHIPPED, hub_folder
from chatapp.models.spec import as_path, choose, is_hub, parse_hub
from chatapp.text import close_names

STARTER = "starter"
_LIST = "`swachat models list` shows the models on this machine."


@dataclass(frozen=True)
class ModelFile:
    """A model on this machine. `path` is None until its pieces are assembled."""

    name: str
    size_bytes: int
    source: str
    """One of "package:NAME", "hf:org/repo", and "file" for what the user put into the models folder."""
    quantization: str | None
    path: Path | None


def resolve(spec: str | None = None) -> Path:
    """The GGUF that `spec` means, absolute and checked by its header; None means `default_model()`.

    Raises UserError for a name or path that cannot be resolved, ModelError for a file that is not a model or a shipped
    model that is not installed. Assembling gemma3-270m takes a few seconds, once.
    """
    path = locate(default_model() if spec is None else spec)
    check_gguf(path)
    return path


def default_model() -> str:
    """The last model used if it can still be found, else the starter."""
    last = last_used()
    if last is None:
        return STARTER
    try:
        check_gguf(locate(last))
    except SwachatError:
        return STARTER
    return last


def locate(spec: str) -> Path:
    """The absolute path that `spec` means. The file exists, but may not be a model. Raises as `resolve` does."""
    shipped = SHIPPED.get(spec.casefold())
    if shipped is not None:
        return shipped.fetch()
    if is_hub(spec):
        return _locate_pulled(spec)
    path = as_path(spec)
    if path is not None and _is_there(path):
        return path
    found = _named(spec)
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        names = ", ".join(sorted(model.name for model in known() if model.path in found))
        raise UserError(f"{spec} matches several models: {names}.", "Give more of the name.")
    # A file without .gguf in the current folder comes last: a known name must not change its meaning there.
    if path is None and os.path.isfile(spec):
        return Path(spec).absolute()
    raise _unknown(spec, path)


def known() -> list[ModelFile]:
    """Every named model on this machine: the shipped ones that are installed, then those in the models folder."""
    from chatapp.paths import models_dir

    listed: list[ModelFile] = []
    for shipped in SHIPPED.values():
        if not shipped.installed():
            continue
        ready = shipped.ready()
        pulled = ready is not None and ready.is_relative_to(models_dir())
        source = _source(ready) if ready is not None and pulled else f"package:{shipped.package}"
        listed.append(
            ModelFile(shipped.name, shipped.size_bytes, source, quantization(ready) if ready else None, ready)
        )
    taken = {model.path for model in listed}
    files = [file for file in _files() if file not in taken]
    names = Counter(stem(file.name).casefold() for file in files)
    for file in files:
        unique = names[stem(file.name).casefold()] == 1 and stem(file.name).casefold() not in SHIPPED
        name = stem(file.name) if unique else file.relative_to(models_dir()).as_posix()
        size = sum(part.stat().st_size for part in parts(file) if part.is_file())
        listed.append(ModelFile(name, size, _source(file), quantization(file), file))
    return listed


def unfinished() -> list[Path]:
    """The partial files of interrupted pulls in the models folder."""
    from chatapp.paths import models_dir

    return sorted(models_dir().rglob(".*.part"))


def _is_there(path: Path) -> bool:
    """False only where nothing has this name; `check_gguf` reports what cannot be accessed."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True
    return True


def _files() -> list[Path]:
    """Every model in the models folder; of a split one, the first part only."""
    from chatapp.paths import models_dir

    found: list[Path] = []
    for folder, _, names in os.walk(models_dir()):
        found += [Path(folder, name) for name in names if name.casefold().endswith(".gguf")]
    return sorted(file for file in found if (whole := parts(file)) and file == whole[0])


def _source(file: Path) -> str:
    from chatapp.paths import models_dir

    match file.relative_to(models_dir()).parts:
        case ("hf", org, repo, _, *_):
            return f"hf:{org}/{repo}"
        case _:
            return "file"


def _named(name: str) -> list[Path]:
    """The files in the models folder that `name` means: a whole name, ignoring case, else the beginning of one."""
    from chatapp.paths import models_dir

    wanted = name.casefold()
    if not wanted.strip():
        return []
    whole: list[Path] = []
    begun: list[Path] = []
    for file in _files():
        relative = file.relative_to(models_dir()).as_posix().casefold()
        aliases = {stem(file.name).casefold(), file.name.casefold(), relative, relative.removesuffix(".gguf")}
        if wanted in aliases:
            whole.append(file)
        elif stem(file.name).casefold().startswith(wanted):
            begun.append(file)
    return whole or begun


def _locate_pulled(spec: str) -> Path:
    wanted = parse_hub(spec)
    folder = hub_folder(wanted.repo)
    here = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    try:
        chosen = choose(here, wanted, "the models folder") if here else None
    except (UserError, ModelError) as error:
        raise type(error)(error.what, f"{error.todo} To download one: swachat models pull {wanted}") from error
    if chosen is None:
        raise UserError(f"{wanted} is not on this machine.", f"Download it with: swachat models pull {wanted}")
    return folder / chosen[0]


def _unknown(spec: str, path: Path | None) -> UserError:
    if path is not None:
        try:
            beside = [file.name for file in path.parent.iterdir() if file.name.casefold().endswith(".gguf")]
        except OSError:
            beside = []
        near = close_names(path.name, beside)
        hint = f" Did you mean {near[0]}?" if near else ""
        return UserError(f"There is no file {path}.{hint}", _LIST)
    names = {name.casefold(): name for name in (*SHIPPED, *(stem(file.name) for file in _files()))}
    near = close_names(spec.casefold(), names)
    hint = f" Did you mean {names[near[0]]}?" if near else ""
    return UserError(f'There is no model named "{spec}" here.{hint}', _LIST)
