"""The text that is scored."""

from pathlib import Path

from chatapp.errors import UserError


def read_text(path: Path) -> str:
    """A file in UTF-8. Raises UserError where it cannot be read, or is none."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.", "Name a text file.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-8 text (byte {error.start}).", "Convert it.") from error
