"""Where swachat keeps its files: the XDG folders, each of which an environment variable can move.

| Function            | Default on Linux                  | Moved by (the first that is set)  |
|---------------------|-----------------------------------|-----------------------------------|
| `config_file()`     | ~/.config/swachat/config.yaml     | SWACHAT_CONFIG, XDG_CONFIG_HOME   |
| `user_themes_dir()` | ~/.config/swachat/themes          | XDG_CONFIG_HOME                   |
| `store_file()`      | ~/.local/share/swachat/swachat.db | SWACHAT_DATA_DIR, XDG_DATA_HOME   |
| `models_dir()`      | ~/.local/share/swachat/models     | SWACHAT_DATA_DIR, XDG_DATA_HOME   |
| `state_dir()`       | ~/.local/state/swachat            | SWACHAT_STATE_DIR, XDG_STATE_HOME |
| `cache_dir()`       | ~/.cache/swachat                  | SWACHAT_CACHE_DIR, XDG_CACHE_HOME |

Paths that are only read (`config_file`, `user_themes_dir`, `data_dir`) are named, never created. A folder that is
written to is created when its function is called, readable by its owner alone. The environment is read on each call, so
a test can redirect everything with `monkeypatch.setenv`.
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
    """The user's config file, which need not exist. SWACHAT_CONFIG is looked up in `environ`."""
    return _override("SWACHAT_CONFIG", environ) or Path(_DIRS.user_config_path, "config.yaml")


def user_themes_dir() -> Path:
    """The folder of the user's own themes, which need not exist."""
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
    """The folder of what is kept between runs but may be lost without harm: the engine's log, the last model used."""
    return private_folder(_override("SWACHAT_STATE_DIR") or _DIRS.user_state_path)


def cache_dir() -> Path:
    """The folder of what can be regenerated: assembled models, saved caches."""
    return private_folder(_override("SWACHAT_CACHE_DIR") or _DIRS.user_cache_path)


def saved_caches_dir() -> Path:
    """The folder of saved KV caches. They hold the text of their conversations."""
    return private_folder(cache_dir() / "conversations")


def sinks_dir() -> Path:
    """The folder of sink measurements, one per model."""
    return private_folder(cache_dir() / "sinks")


def private_folder(folder: Path) -> Path:
    """`folder`, created with its missing parents at mode 0700. An existing one keeps its mode, as it may be shared.

    Raises UserError where it cannot be created.
    """
    try:
        missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        for parent in reversed(missing):
            # Not `mkdir(parents=True)`: that gives the mode to the last folder only.
            parent.mkdir(mode=0o700, exist_ok=True)
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "a file has that name")
    except OSError as error:
        raise UserError(
            f"The folder {folder} cannot be created: {error.strerror}.",
            "Free that path, or choose another folder: see the environment variables in docs/reference/config.md.",
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
