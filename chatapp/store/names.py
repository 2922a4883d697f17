"""Names, ids and other text from users and models, made fit for the database."""

from chatapp.errors import StoreError
from chatapp.text import close_names

_LONGEST = 80


def clean_name(name: str) -> str:
    """`name` without surrounding white space; StoreError where it cannot name a conversation."""
    name = name.strip()
    problem = (
        "is empty" if not name
        else f"is longer than {_LONGEST} characters" if len(name) > _LONGEST
        else "contains characters that cannot be displayed" if not name.isprintable()
        else "is a number and would be mistaken for an id" if name.isdecimal()
        else None
    )  # fmt: skip
    if problem is not None:
        raise StoreError(f"The name of a conversation {problem}: {name[:_LONGEST]!a}.", "Choose another one.")
    return name


def hint(name: str, names: list[str]) -> str:
    """What to do about a name that is unknown: the names most like it, or where to see them all."""
    close = close_names(name, names, 3)
    if not close:
        return "`swachat sessions list` shows all."
    return "Did you mean " + " or ".join(f'"{found}"' for found in close) + "?"


def storable(text: str) -> str:
    """`text` as UTF-8 can hold it: each lone half of a surrogate pair becomes U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def id_of(key: int | str) -> int | None:
    """`key` as an id; None where it cannot be one (SQLite's are below 2**63)."""
    if isinstance(key, int):
        return key if 0 < key < 2**63 else None
    return int(key) if key.isascii() and key.isdecimal() and len(key) <= 18 else None
