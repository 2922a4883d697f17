"""Which model was used last."""

import json
from pathlib import Path
from typing import Any

from chatapp.errors import UserError
from chatapp.files import write_whole
from chatapp.models.spec import as_path


def remember(spec: str) -> None:
    """Record `spec` (a path, a name or hf:...) as the last model used; does nothing where that cannot be written."""
    path = as_path(spec)
    try:
        write_whole(_file(), json.dumps({"model": spec if path is None else str(path)}))
    except (OSError, UserError):
        # A read-only home must not end a chat: the next start then opens the starter model.
        return


def last_used() -> str | None:
    """The model recorded by `remember`; None where there is none, or where its file cannot be read."""
    try:
        kept: Any = json.loads(_file().read_text(encoding="utf-8"))
        spec: object = kept["model"]
    except (OSError, UserError, ValueError, LookupError, TypeError):
        return None
    return spec if isinstance(spec, str) and spec else None


def _file() -> Path:
    from chatapp.paths import state_dir

    return state_dir() / "last-model.json"
