"""Rows as they are in the file, checked column by column: the one place where what was stored is believed.

A database is data like any other: a cell may hold bad UTF-8, a BLOB, a word for a number, or NULL where that cannot be.
What cannot be read is replaced by something harmless, and `damage` of the row names its columns.
"""

import json
import math
from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec

from chatapp.store.rows import Grown, Hit, Place, Role, SessionInfo, State, StoredMessage

T = TypeVar("T")

_Turn = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
_Time = Annotated[float, msgspec.Meta(ge=0, lt=253_402_300_800)]
"""Unix seconds up to the year 9999: what calendars can show."""
_Flag = Literal[0, 1]
_TITLE_CHARACTERS = 80
_TOKEN_BYTES = 4
_MOST_TOKENS_BYTES = 16 << 20
"""Four million tokens: no window has as many cells."""
_LONGEST_DIGEST = 256


class DamagedText(str):
    """Text that is not valid UTF-8 in the file; each bad byte is U+FFFD."""

    __slots__ = ()


def text_factory(stored: bytes) -> str:
    """For sqlite3: the text of a cell; never raises."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return DamagedText(stored.decode(errors="replace"))


class _Row:
    """The columns of one row, and which of them are damaged."""

    def __init__(self) -> None:
        self.damage: list[str] = []

    def take(self, column: str, stored: object, kind: Any, otherwise: T) -> T:
        try:
            return msgspec.convert(stored, kind)
        except msgspec.ValidationError:
            return self.bad(column, otherwise)

    def text(self, column: str, stored: object) -> str:
        if type(stored) is str:
            return stored
        return self.bad(column, plain(stored))

    def optional(self, column: str, stored: object) -> str | None:
        return None if stored is None else self.text(column, stored)

    def json(self, column: str, stored: object) -> dict[str, Any]:
        try:
            # Not with msgspec: it refuses a lone half of a surrogate pair, which a settings file may hold.
            found = json.loads(self.text(column, stored), parse_float=_finite, parse_constant=_finite)
            return msgspec.convert(found, dict[str, Any])
        except (msgspec.ValidationError, ValueError, RecursionError):
            return {} if column in self.damage else self.bad(column, {})

    def bad(self, column: str, otherwise: T) -> T:
        self.damage.append(column)
        return otherwise


def _finite(written: str) -> float:
    number = float(written)
    if not math.isfinite(number):
        raise ValueError(written)
    return number


def plain(stored: object) -> str:
    """Any cell as text."""
    if isinstance(stored, bytes):
        return stored.decode(errors="replace")
    return "" if stored is None else str(stored)


def session(row: tuple[Any, ...]) -> SessionInfo:
    """A row of `queries.SESSION`. A head that is not there is replaced by the last message."""
    id, name, model, system, settings, created_at, updated_at, head_id, head_there, last_id, n_messages, first = row
    read = _Row()
    head = None
    if head_id is not None:
        head = head_there if head_there is not None else read.bad("head_id", last_id)
    return SessionInfo(
        id=id,
        name=read.optional("name", name),
        title=" ".join((first or b"").decode(errors="ignore").split())[:_TITLE_CHARACTERS],
        model=read.text("model", model),
        system=read.optional("system", system),
        settings=read.json("settings", settings),
        created_at=read.take("created_at", created_at, _Time, None),
        updated_at=read.take("updated_at", updated_at, _Time, None),
        n_messages=n_messages,
        head_id=head,
        damage=tuple(read.damage),
    )


def _known_tokens(tokens: object, model: object) -> tuple[bytes, str]:
    """The tokens of a reply and the digest of their model; both empty where they are not whole, or too many.

    That is no damage to tell of: the text says the same.
    """
    if not isinstance(tokens, bytes) or type(model) is not str or not model:
        return b"", ""
    if len(tokens) % _TOKEN_BYTES or not 0 < len(tokens) <= _MOST_TOKENS_BYTES or len(model) > _LONGEST_DIGEST:
        return b"", ""
    return tokens, model


def messages(rows: Iterable[tuple[tuple[Any, ...], Grown, bool]]) -> list[StoredMessage]:
    """Rows of `queries.MESSAGE` of one conversation, by ascending id; each with what has grown and who writes it.

    One that is growing elsewhere, or was when a process died, reads as stopped. A parent that is no earlier message of
    these becomes none, and a turn before its parent's is counted from that.
    """
    found: dict[int, StoredMessage] = {}
    for row, grown, growing_here in rows:
        id, session_id, parent_id, turn, role, text, state, stats, created_at, pinned, tokens, model, reasoning = row
        read = _Row()
        parent = found.get(parent_id) if isinstance(parent_id, int) else None
        if parent_id is not None and parent is None:
            read.bad("parent_id", None)
        after: Role = "user" if parent is None or parent.role == "assistant" else "assistant"
        said: Role = role if role in get_args(Role) else read.bad("role", after)
        counted: int = read.take("turn", turn, _Turn, 0)
        if parent is not None and 0 < counted < parent.turn:
            counted = read.bad("turn", 0)
        if not counted:
            counted = (parent.turn if parent is not None else 0) + (said == "user" or parent is None)
        known, known_to = _known_tokens(tokens, model) if said == "assistant" else (b"", "")
        stands: State = state if state in get_args(State) else read.bad("state", "done")
        found[id] = StoredMessage(
            id=id,
            session_id=session_id,
            parent_id=None if parent is None else parent.id,
            turn=counted,
            role=said,
            text=read.text("text", text) + grown.text,
            state="stopped" if stands == "growing" and not growing_here else stands,
            stats=None if stats is None else read.json("stats", stats),
            created_at=read.take("created_at", created_at, _Time, None),
            pinned=bool(read.take("pinned", pinned, _Flag, 0)),
            tokens=known,
            model=known_to,
            reasoning=read.text("reasoning", reasoning) + grown.reasoning,
            damage=tuple(read.damage),
        )
    return list(found.values())


def hit(row: tuple[Any, ...]) -> Hit:
    """A row of a search."""
    session_id, name, message_id, turn, role, snippet, created_at = row
    read = _Row()
    return Hit(
        session_id=session_id,
        session_name=None if name is None else plain(name),
        message_id=message_id,
        turn=read.take("turn", turn, _Turn, 1),
        role=role if role in get_args(Role) else "user",
        snippet=" ".join(plain(snippet).split()),
        created_at=read.take("created_at", created_at, _Time, None),
    )


def place(parent_id: object, role: object) -> Place:
    """A message's place in the tree."""
    return (
        parent_id if isinstance(parent_id, int) else None,
        "assistant" if role == "assistant" else "user",
    )
