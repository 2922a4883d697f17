"""Where swachat keeps its files: the XDG folders, each movable by an environment variable.

| Function            | Default on Linux                  | Moved by (the first that is set)  |
|---------------------|-----------------------------------|-----------------------------------|
| `config_file()`     | ~/.config/swachat/config.yaml     | SWACHAT_CONFIG, XDG_CONFIG_HOME   |
| `user_themes_dir()` | ~/.config/swachat/themes          | XDG_CONFIG_HOME                   |
| `store_file()`      | ~/.local/share/swachat/swachat.db | SWACHAT_DATA_DIR, XDG_DATA_HOME   |
| `models_dir()`      | ~/.local/share/swachat/models     | SWACHAT_DATA_DIR, XDG_DATA_HOME   |
| `state_dir()`       | ~/.local/state/swachat            | SWACHAT_STATE_DIR, XDG_STATE_HOME |
| `cache_dir()`       | ~/.cache/swachat                  | SWACHAT_CACHE_DIR, XDG_CACHE_HOME |

What is read only (`config_file`, `user_themes_dir`, `data_dir`) is named, never made. A folder that is written to is
made when its function is called, readable by its owner alone. The environment is read on each call, so a test can
move everything with `monkeypatch.setenv`.
"""

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from platformdirs import PlatformDirs

from chatapp.errors import UserError

VARIABLES = ("SWACHAT_CONFIG", "SWACHAT_DATA_DIR", "SWACHAT_STATE_DIR", "SWACHAT_CACHE_DIR")
"""The environment variables that move files."""

_DIRS = PlatformDirs("swachat", appauthor=False)
_PACKAGE = Path(__file__).resolve().parent


def config_file(environ: Mapping[str, str] = os.environ) -> Path:
    """The person's config file, which need not exist. SWACHAT_CONFIG is looked up in `environ`."""
    return _override("SWACHAT_CONFIG", environ) or Path(_DIRS.user_config_path, "config.yaml")


def user_themes_dir() -> Path:
    """The folder of the person's own themes, which need not exist."""
    return _DIRS.user_config_path / "themes"


def data_dir() -> Path:
    """The folder of what is shipped: `themes/` and `config.example.yaml`. Inside the wheel, else the project's root."""
    packed = _PACKAGE / "data"
    return packed if packed.is_dir() else _PACKAGE.parent


def store_file() -> Path:
    """The database of conversations; its folder exists after this call."""
    return _user_data_dir() / "swachat.db"


def models_dir() -> Path:
    """The folder of downloaded models."""
    return private_folder(_user_data_dir() / "models")


def state_dir() -> Path:
    """The folder of what may be lost without harm but is kept between runs: the engine's log, the last model used."""
    return private_folder(_override("SWACHAT_STATE_DIR") or _DIRS.user_state_path)


def cache_dir() -> Path:
    """The folder of what can be made again: assembled models, saved caches."""
    return private_folder(_override("SWACHAT_CACHE_DIR") or _DIRS.user_cache_path)


def saved_caches_dir() -> Path:
    """The folder of conversations' caches, which hold what was said in them."""
    return private_folder(cache_dir() / "conversations")


def sinks_dir() -> Path:
    """The folder of what was measured of models' sinks."""
    return private_folder(cache_dir() / "sinks")


def private_folder(folder: Path) -> Path:
    """`folder`, made with its missing parents at mode 0700; one that exists keeps its mode, for it may be shared.

    Raises UserError where it cannot be made.
    """
    try:
        missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        for parent in reversed(missing):
            # Not `mkdir(parents=True)`: that gives the mode to the last folder only.
            parent.mkdir(mode=0o700, exist_ok=True)
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "a file is in its place")
    except OSError as error:
        raise UserError(
            f"The folder {folder} cannot be made: {error.strerror}.",
            "Free that path, or move the folder: see the environment variables in docs/reference/config.md.",
        ) from error
    return folder


def _user_data_dir() -> Path:
    return private_folder(_override("SWACHAT_DATA_DIR") or _DIRS.user_data_path)


def _override(variable: str, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The absolute path in the environment variable, with a leading ~ expanded; None where it is unset or empty."""
    value = environ.get(variable)
    if not value:
        return None
    # os.path.expanduser leaves an unknown ~name as it is, where Path.expanduser raises.
    return Path(os.path.expanduser(value)).absolute()
