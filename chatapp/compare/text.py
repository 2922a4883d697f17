"""Reading the text to score."""

from pathlib import Path

from chatapp.errors import UserError


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without a byte order mark. Raises UserError where it cannot be read or decoded."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.", "Name a text file.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not valid UTF-8 (byte {error.start}).", "Convert it to UTF-8.") from error
