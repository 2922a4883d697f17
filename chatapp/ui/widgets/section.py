"""A foldable part of the inspector whose title keeps the main figure.

Textual's Collapsible lays the whole screen out anew whenever its title changes. These titles change with every frame,
and beside a long transcript that costs more than everything else that the inspector does: this one only repaints.
"""

from typing import ClassVar, Protocol, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from chatapp.ui.widgets.observed import Observed


class Body(Protocol):
    """What a section holds: a widget that can do this."""

    def look(self, observed: Observed) -> None:
        """Draw what is observed now."""
        ...

    def summary(self, observed: Observed) -> str:
        """The main figure, for the title."""
        ...


class SectionTitle(Widget, can_focus=True):
    """One line: a triangle, the section's name, its main figure. Enter, space or a click folds, `?` explains."""

    DEFAULT_CSS = """
    SectionTitle {
        width: 1fr; height: 1; background: $panel; text-wrap: nowrap; text-overflow: ellipsis;
        &:hover { background: $block-hover-background; }
        &:focus { background: $block-cursor-background; color: $block-cursor-foreground; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "press", "Fold or unfold", show=False),
        Binding("question_mark", "press(True)", "What this shows", show=False),
    ]

    class Pressed(Message):
        """The person wants the section folded or unfolded or, `help_wanted`, its help shown or hidden."""

        def __init__(self, help_wanted: bool) -> None:
            super().__init__()
            self.help_wanted = help_wanted

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
        """ "▾ Memory  251 MB"."""
        return Content.assemble("▸ " if self._folded else "▾ ", (self._label, "bold"), f"  {self._figure}")

    def action_press(self, help_wanted: bool = False) -> None:
        """Ask the section to fold or unfold, or for its help."""
        self.post_message(self.Pressed(help_wanted))

    def on_click(self, event: events.Click) -> None:
        """Ask the section to fold or unfold."""
        event.stop()
        self.action_press()


class Section(Vertical):
    """A title and a body. A folded section draws nothing but its title."""

    DEFAULT_CSS = """
    Section { width: 1fr; height: auto; }
    Section > Static { text-style: italic; padding: 0 1 0 0; }
    """

    class Toggled(Message):
        """The section was folded, or unfolded and may be out of date."""

    def __init__(self, name: str, body: Widget) -> None:
        """`body` is a widget that is also a `Body`; its `HELP` is the title's tooltip, and shown at the key `?`."""
        super().__init__()
        self._title = SectionTitle(name)
        self._title.tooltip = Content(body.HELP or "")
        self._help = Static(body.HELP or "", markup=False)
        self._help.display = False
        self._widget = body
        self._body = cast(Body, body)

    @property
    def folded(self) -> bool:
        """True while only the title is shown."""
        return not self._widget.display

    def compose(self) -> ComposeResult:
        """Title, help and body."""
        yield self._title
        yield self._help
        yield self._widget

    def look(self, observed: Observed) -> None:
        """Draw the title, and the body where it is unfolded."""
        self._title.show_title(self._body.summary(observed), folded=self.folded)
        if not self.folded:
            self._body.look(observed)

    def on_section_title_pressed(self, event: SectionTitle.Pressed) -> None:
        """Fold or unfold, or show the help."""
        event.stop()
        if event.help_wanted:
            self._help.display = not self._help.display
        else:
            self._widget.display = self.folded
            self.post_message(self.Toggled())
