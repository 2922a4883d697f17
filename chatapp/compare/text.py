"""Reading the text to score."""

from pathlib import Path

from chatapp.errors import UserError
from chatapp.files import text_of


def read_text(path: Path) -> str:
    """The text of a UTF-8 file. Raises UserError where it cannot be read or decoded."""
    try:
        return text_of(path.read_bytes(), str(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.", "Name a text file.") from error
