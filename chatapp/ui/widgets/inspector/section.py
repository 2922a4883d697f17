"""A foldable part of the inspector whose title always shows the main figure.

Textual's Collapsible lays out the whole screen again whenever its title changes. These titles change with every frame,
and beside a long transcript that would cost more than everything else in the inspector: this one only repaints.
"""

from collections.abc import Mapping
from typing import ClassVar, Protocol, cast, runtime_checkable

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from chatapp.presentation.observed import Observed

HINT = "Enter fold · z zoom · ? explain"
TYPING_HINT = "Enter fold"
"""While letters go to the prompt."""
ZOOMED_HINT = "z close · j/k next panel · ? explain"


class Body(Protocol):
    """What a section holds: a widget with these methods."""

    def look(self, observed: Observed) -> None:
        """Draw what is observed now."""
        ...

    def summary(self, observed: Observed) -> str:
        """The main figure, for the title."""
        ...


@runtime_checkable
class Viewed(Protocol):
    """A body with several views; the present one is remembered between runs.

    It posts `ViewChanged` when a person has chosen another one.
    """

    @property
    def view(self) -> Mapping[str, str]:
        """The present view, in the body's own terms."""
        ...

    def use_view(self, view: Mapping[str, str]) -> None:
        """Show this view. Unknown terms are a later version's, and are ignored."""
        ...


@runtime_checkable
class Sometimes(Protocol):
    """A body that has something to show for some models only. Its section is hidden otherwise."""

    def applies(self, observed: Observed) -> bool:
        """True if it has something to show."""
        ...


class ViewChanged(Message):
    """A body has another view now."""


class SectionTitle(Widget, can_focus=True):
    """One line: a triangle, the section's name, its main figure; with the focus also the keys, if they fit."""

    DEFAULT_CSS = """
    SectionTitle {
        width: 1fr; height: 1; background: $panel; text-wrap: nowrap; text-overflow: ellipsis;
        &:hover { background: $block-hover-background; }
        &:focus { background: $block-cursor-background; color: $block-cursor-foreground; }
    }
    """

    class Pressed(Message):
        """The person wants the section folded or unfolded."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._label = name
        self._figure = ""
        self._folded = False

    def show_title(self, figure: str, *, folded: bool) -> None:
        """Draw this figure beside the name."""
        if (figure, folded) != (self._figure, self._folded):
            self._figure, self._folded = figure, folded
            self.refresh()

    def render(self) -> Content:
        """ "▾ Memory  239 MiB"."""
        title = Content.assemble("▸ " if self._folded else "▾ ", (self._label, "bold"), f"  {self._figure}")
        if self.parent is not None and self.parent.has_class("-maximized"):
            hint = ZOOMED_HINT
        else:
            hint = TYPING_HINT if self.screen.has_class("-typing") else HINT
        room = self.size.width - title.cell_length - cell_len(hint)
        return title + " " * room + hint if self.has_focus and room > 1 else title

    def on_click(self, event: events.Click) -> None:
        """Ask the section to fold or unfold."""
        event.stop()
        self.post_message(self.Pressed())


class Section(Vertical):
    """A title and a body. A folded section draws only its title; a zoomed one has the whole screen."""

    ALLOW_MAXIMIZE = True
    # If there is nothing to scroll, Textual passes the key on to the inspector's own binding.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "scroll_up", "Scroll up", show=False),
        Binding("down", "scroll_down", "Scroll down", show=False),
        Binding("pageup", "page_up", "Page up", show=False),
        Binding("pagedown", "page_down", "Page down", show=False),
    ]
    DEFAULT_CSS = """
    Section { width: 1fr; height: auto; }
    Section:focus-within > SectionTitle { text-style: underline; }
    Section.-maximized > SectionTitle { text-style: none; }
    Section > Static { text-style: italic; padding: 0 1 0 0; }
    Section.-maximized {
        height: 100%; overflow-y: auto; background: $surface;
        scrollbar-size-vertical: 1; scrollbar-color: $panel; scrollbar-background: $surface;
    }
    """

    class Toggled(Message):
        """A person has folded the section, or unfolded it, in which case it may be out of date."""

    def __init__(self, name: str, body: Widget) -> None:
        """`body` is a widget that is also a `Body`; its `HELP` is the title's tooltip, and what `explain` shows."""
        super().__init__()
        self.label = name
        self.body = body
        self.title = SectionTitle(name)
        self.title.tooltip = Content(body.HELP or "")
        self._help = Static(body.HELP or "", markup=False)
        self._help.display = False
        self._drawn = cast(Body, body)
        self._sometimes = body if isinstance(body, Sometimes) else None
        self.display = self._sometimes is None

    @property
    def folded(self) -> bool:
        """True while only the title is shown."""
        return not self.body.display

    @property
    def zoomed(self) -> bool:
        """True while it is zoomed to the whole screen."""
        return self.has_class("-maximized")

    def compose(self) -> ComposeResult:
        """Title, help and body."""
        yield self.title
        yield self._help
        yield self.body

    def turn_up(self, observed: Observed) -> None:
        """Show or hide, depending on whether the body has something to show for this model."""
        if self._sometimes is not None:
            self.display = self._sometimes.applies(observed)
            if self.zoomed and not self.display:
                self.screen.minimize()

    def look(self, observed: Observed) -> None:
        """Draw the title, and the body if it is unfolded."""
        self.title.show_title(self._drawn.summary(observed), folded=self.folded)
        if not self.folded:
            self._drawn.look(observed)

    def fold(self, folded: bool) -> None:
        """Show the title alone, or the body too. If the focused widget is folded away, the title takes the focus."""
        if folded != self.folded:
            if folded and self.body in (focused := self.screen.focused, *(focused.ancestors if focused else ())):
                self.screen.set_focus(self.title)
            self.body.display = not folded
            self.post_message(self.Toggled())

    def explain(self) -> None:
        """Show or hide the explanation: what the body shows and how it was measured."""
        self._help.display = not self._help.display

    def on_section_title_pressed(self, event: SectionTitle.Pressed) -> None:
        """Fold or unfold."""
        event.stop()
        self.fold(not self.folded)
