"""A list to choose from, with a search line: conversations, models, themes, branches, evicted turns."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from chatapp.text import one_line
from chatapp.ui.services import Choice

Search = Callable[[str], Sequence[Choice]]


class SlowSearch(Protocol):
    """A search that takes time: `find` is called in a thread, the rest on the event loop."""

    def find(self, text: str) -> Iterator[Sequence[Choice]]:
        """All that has been found so far, whenever it is more."""
        ...

    def stop(self) -> None:
        """End `find` soon: its text is out of date."""
        ...

    def close(self) -> None:
        """There will be no more searches."""
        ...


class Chooser(ModalScreen[Sequence[str]]):
    """Dismissed with the selected values: one, or with `several` any number; none if it was cancelled.

    `search` gives the choices for the typed text ("" for all). `text` is typed at first.
    With `free`, the typed text itself can be selected. `preview` is called with each choice that is highlighted.
    """

    BINDINGS = [
        Binding("escape", "leave", "Close", show=False),
        Binding("up", "move(-1)", "Up", show=False, priority=True),
        Binding("down", "move(1)", "Down", show=False, priority=True),
        Binding("tab", "mark", "Mark", show=False, priority=True),
    ]

    class Found(Message):
        """What a slow search has found for `text` so far, or with `whole` in all."""

        def __init__(self, text: str, choices: Sequence[Choice], *, whole: bool) -> None:
            super().__init__()
            self.text = text
            self.choices = choices
            self.whole = whole

    def __init__(
        self,
        title: str,
        search: Search | SlowSearch,
        *,
        hint: str = "",
        nothing: str = "",
        text: str = "",
        selected: str | None = None,
        free: bool = False,
        several: bool = False,
        preview: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__()
        self._title, self._search, self._hint, self._nothing, self._text = title, search, hint, nothing, text
        self._selected, self._free, self._preview = selected, free, preview
        self._several = several
        self._choices: Sequence[Choice] = ()
        self._shown_for: str | None = None
        """The typed text that the list was made for."""
        self._take_when_found = False
        self._marked: list[str] = []

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content(self._title), classes="title")
            yield Input(self._text, placeholder="type to search", id="search", select_on_focus=False)
            yield OptionList(id="choices", markup=False)
            yield Static(Content(self._nothing), classes="nothing")
            yield Static(Content(self._hint or "Enter selects · Esc cancels"), classes="hint")

    def on_mount(self) -> None:
        """Show all choices, with the current one highlighted."""
        self.query_one(".nothing").display = False
        self._find(self._text)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self._find(event.value)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        if self._shown_for != event.value:
            self._take_when_found = True
        else:
            self._take(event.value)

    def _take(self, typed: str) -> None:
        highlighted = self._highlighted_value
        if self._marked:
            self.dismiss(self._marked)
        elif highlighted is not None:
            self.dismiss([highlighted])
        elif self._free and typed.strip():
            self.dismiss([typed.strip()])

    @on(OptionList.OptionSelected)
    def _taken(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(list(dict.fromkeys([*self._marked, self._choices[event.option_index].value])))

    @on(OptionList.OptionHighlighted)
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        if self._preview is not None and event.option_index < len(self._choices):
            self._preview(self._choices[event.option_index].value)

    def action_move(self, step: int) -> None:
        """Move in the list while the search line keeps the focus."""
        choices = self.query_one(OptionList)
        if step > 0:
            choices.action_cursor_down()
        else:
            choices.action_cursor_up()

    def action_mark(self) -> None:
        """Mark or unmark the choice, and go to the next one."""
        index = self.query_one(OptionList).highlighted
        if index is None:
            return
        choice = self._choices[index]
        if choice.value in self._marked:
            self._marked.remove(choice.value)
        else:
            self._marked.append(choice.value)
        self.query_one(OptionList).replace_option_prompt_at_index(index, self._row(choice))
        self.action_move(1)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Tab marks only if several can be selected; else it moves the focus."""
        return self._several if action == "mark" else True

    def action_leave(self) -> None:
        """Select nothing."""
        self.dismiss([])

    @property
    def _highlighted_value(self) -> str | None:
        index = self.query_one(OptionList).highlighted
        return None if index is None else self._choices[index].value

    def on_unmount(self) -> None:
        """Nobody waits for what a search still finds."""
        if not callable(self._search):
            self._search.close()

    def _find(self, text: str) -> None:
        if callable(self._search):
            self._show(text, self._search(text))
        else:
            self._search.stop()
            self._find_in_thread(text, self._search)

    @work(thread=True, exclusive=True, group="search")
    def _find_in_thread(self, text: str, search: SlowSearch) -> None:
        found: Sequence[Choice] = ()
        for found in search.find(text):  # ends early where `stop` was called
            self.post_message(self.Found(text, found, whole=False))
        self.post_message(self.Found(text, found, whole=True))

    @on(Found)
    def _found(self, event: Found) -> None:
        if event.text != self.query_one(Input).value:
            return  # a newer search is under way
        if event.text == self._shown_for:
            self._selected = self._highlighted_value
        if event.choices or event.whole:
            self._show(event.text, event.choices)

    def _show(self, text: str, found: Sequence[Choice]) -> None:
        # Marked choices stay in the list, whatever is searched for.
        marked = [choice for choice in self._choices if choice.value in self._marked]
        self._choices = [*marked, *(choice for choice in found if choice.value not in self._marked)]
        choices = self.query_one(OptionList)
        choices.clear_options()
        choices.add_options([Option(self._row(choice), disabled=not choice.offered) for choice in self._choices])
        offered = [index for index, choice in enumerate(self._choices) if choice.offered]
        first = offered[0] if offered else None
        choices.highlighted = next((i for i in offered if self._choices[i].value == self._selected), first)
        self._selected = None
        self.query_one(".nothing").display = bool(self._nothing) and first is None
        self._shown_for = text
        if self._take_when_found:
            self._take_when_found = False
            self._take(text)

    def _row(self, choice: Choice) -> Content:
        title, note = one_line(choice.title), one_line(choice.note)
        mark = "" if not self._several or not choice.offered else "● " if choice.value in self._marked else "○ "
        return Content.assemble(mark, title, (f"\n{note}", "dim")) if note else Content(mark + title)


def containing(found: Sequence[Choice]) -> Search:
    """A search in a short list: every word typed occurs in the title or the note."""

    def search(text: str) -> Sequence[Choice]:
        words = text.casefold().split()
        return [choice for choice in found if all(word in f"{choice.title} {choice.note}".casefold() for word in words)]

    return search
