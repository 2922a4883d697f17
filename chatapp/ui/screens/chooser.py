"""A list to choose from, with a line to search in: conversations, models, themes."""

from collections.abc import Callable, Sequence

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from chatapp.text import visible
from chatapp.ui.services import Choice

Search = Callable[[str], Sequence[Choice]]


class Chooser(ModalScreen[str | None]):
    """Dismissed with the chosen value, or None.

    `search` gives the choices for what is typed ("" for all). With `free` true what is typed can be taken itself.
    `preview` is told of each choice that is highlighted.
    """

    BINDINGS = [
        Binding("escape", "leave", "Close", show=False),
        Binding("up", "move(-1)", "Up", show=False, priority=True),
        Binding("down", "move(1)", "Down", show=False, priority=True),
    ]

    def __init__(
        self,
        title: str,
        search: Search,
        *,
        hint: str = "",
        selected: str | None = None,
        free: bool = False,
        preview: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__()
        self._title, self._search, self._hint = title, search, hint
        self._selected, self._free, self._preview = selected, free, preview
        self._values: list[str] = []

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content(self._title), classes="title")
            yield Input(placeholder="type to search", id="search")
            yield OptionList(id="choices", markup=False)
            yield Static(Content(self._hint or "Enter takes it · Esc closes"), classes="hint")

    def on_mount(self) -> None:
        """All choices, and the present one highlighted."""
        self._show(self._search(""))
        choices = self.query_one(OptionList)
        if self._selected in self._values:
            choices.highlighted = self._values.index(self._selected)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self._show(self._search(event.value))

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        highlighted = self.query_one(OptionList).highlighted
        if highlighted is not None:
            self.dismiss(self._values[highlighted])
        elif self._free and event.value.strip():
            self.dismiss(event.value.strip())

    @on(OptionList.OptionSelected)
    def _taken(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._values[event.option_index])

    @on(OptionList.OptionHighlighted)
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        if self._preview is not None and event.option_index < len(self._values):
            self._preview(self._values[event.option_index])

    def action_move(self, step: int) -> None:
        """Up and Down move in the list while the search line keeps the focus."""
        choices = self.query_one(OptionList)
        if choices.option_count:
            choices.highlighted = ((choices.highlighted or 0) + step) % choices.option_count

    def action_leave(self) -> None:
        """Choose nothing."""
        self.dismiss(None)

    def _show(self, found: Sequence[Choice]) -> None:
        self._values = [choice.value for choice in found]
        choices = self.query_one(OptionList)
        choices.clear_options()
        choices.add_options([Option(_row(choice)) for choice in found])
        choices.highlighted = 0 if found else None


def containing(found: Sequence[Choice]) -> Search:
    """A search in a short list: every word typed occurs in the title or the note."""

    def search(text: str) -> Sequence[Choice]:
        words = text.casefold().split()
        return [choice for choice in found if all(word in f"{choice.title} {choice.note}".casefold() for word in words)]

    return search


def _row(choice: Choice) -> Content:
    title, note = visible(choice.title), visible(choice.note)
    return Content.assemble(title, (f"\n{note}", "dim")) if note else Content(title)
