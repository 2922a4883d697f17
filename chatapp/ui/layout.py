"""How a person has arranged the inspector: kept between runs, in a small file in the state folder.

Only what was changed by hand is kept; the rest follows the config, whose `ui.inspector` and `ui.inspector_width` apply
until then.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

from chatapp.errors import UserError

LEAST_WIDTH = 24
"""Columns below which no panel can be read."""
CHAT_WIDTH = 60
"""Columns that the chat keeps beside the inspector."""
STEP = 4
"""Columns that one key press adds or takes."""

T = TypeVar("T")
PanelView = Mapping[str, str]
"""What a panel remembers of its view, such as which of two maps it shows, in the panel's own terms."""


@dataclass(frozen=True)
class Layout:
    """What was arranged by hand; None, or no entry, if nothing was."""

    shown: bool | None = None
    width: int | None = None
    """Columns that were asked for; see `fitting` for how many it gets."""
    folded: Mapping[str, bool] = field(default_factory=dict[str, bool])
    """By the section's name."""
    views: Mapping[str, PanelView] = field(default_factory=dict[str, PanelView])
    """By the section's name."""


def fitting(wanted: int, columns: int, *, over: bool) -> int:
    """The inspector's width on a screen of `columns`, beside the chat or `over` it."""
    most = columns if over else columns - CHAT_WIDTH
    return max(min(wanted, most), min(LEAST_WIDTH, columns))


class LayoutFile:
    """Where the layout is kept."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def load(self) -> tuple[Layout, str]:
        """The layout, and what is wrong with the file, if anything: it is set aside then, and the layout is reset."""
        try:
            text = self._file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return Layout(), ""
        except (OSError, ValueError) as error:
            return Layout(), self._put_aside(str(error))
        try:
            return from_json(text), ""
        except (ValueError, RecursionError) as error:
            return Layout(), self._put_aside(str(error))

    def keep(self, layout: Layout) -> None:
        """Write it. If it cannot be written it is not kept: a read-only home must not disturb a chat."""
        from chatapp.files import write_whole

        with suppress(OSError, UserError):
            write_whole(self._file, to_json(layout))

    def _put_aside(self, why: str) -> str:
        aside = self._file.with_name(f"{self._file.name}.broken")
        try:
            self._file.replace(aside)
        except OSError:
            aside = self._file
        return f"The inspector's layout could not be read and was reset: {why}. The file is kept as {aside}."


def to_json(layout: Layout) -> str:
    """The layout as text."""
    return json.dumps(
        {
            "shown": layout.shown,
            "width": layout.width,
            "folded": dict(layout.folded),
            "views": {name: dict(view) for name, view in layout.views.items()},
        },
        indent=1,
    )


def from_json(text: str) -> Layout:
    """The layout in a text that `to_json` made. Unknown keys are a later version's, and are ignored.

    Raises ValueError, with the reason, for any other text.
    """
    kept = _mapping("the file", json.loads(text))
    return Layout(
        shown=_maybe("shown", kept.get("shown"), bool),
        width=_maybe("width", kept.get("width"), int),
        folded={name: _sure(name, value, bool) for name, value in _mapping("folded", kept.get("folded", {})).items()},
        views={
            name: {key: _sure(key, value, str) for key, value in _mapping(name, view).items()}
            for name, view in _mapping("views", kept.get("views", {})).items()
        },
    )


def _mapping(name: str, value: object) -> dict[str, object]:
    """The keys of a JSON object are always text."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not a JSON object")
    return cast(dict[str, object], value)


def _maybe(name: str, value: object, kind: type[T]) -> T | None:
    return None if value is None else _sure(name, value, kind)


def _sure(name: str, value: object, kind: type[T]) -> T:
    # Not isinstance: in Python, true is an int.
    if type(value) is not kind:
        raise ValueError(f"{name} is {value!r}")
    return value
