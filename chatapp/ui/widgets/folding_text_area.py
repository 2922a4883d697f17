"""A text area in which a long paste is a marker, and a marker is one unit for every edit.

Part of a marker would stand for nothing, and would be sent as the words that it is made of. So no edit cuts one, the
cursor is never inside one, and a selection has all of it or nothing. That holds for undo and redo without more: they
restore what was there before an edit, and there every marker was whole.
"""

from typing import TYPE_CHECKING

from textual import events
from textual.actions import SkipAction
from textual.widgets.text_area import Edit, EditResult, Location, Selection

from chatapp.ui.textual_fixes.keys_in_order import OrderedTextArea
from chatapp.ui.widgets.folded_pastes import FoldedPastes

if TYPE_CHECKING:
    from textual.app import App


class FoldingTextArea(OrderedTextArea):
    """See the module. `draft` is the text with every marker replaced by its paste."""

    app: "App[None]"  # pyright: ignore[reportIncompatibleMethodOverride] - a property there; only its type is narrowed

    def __init__(self, *, id: str, placeholder: str) -> None:
        self.pastes = FoldedPastes()
        super().__init__(
            id=id, soft_wrap=True, tab_behavior="focus", highlight_cursor_line=False, placeholder=placeholder
        )

    @property
    def draft(self) -> str:
        """The text with every paste unfolded."""
        return self.pastes.unfold(self.text)

    def folded(self, text: str) -> str:
        """`text`, or a new marker for it if it is long."""
        return self.pastes.fold(text, self.text)

    def type_in(self, text: str) -> None:
        """Replace the selection with `text`, a long one folded, as typing and pasting do."""
        self.replace(self.folded(text), *self.selection, maintain_selection_offset=False)

    def on_paste(self, event: events.Paste) -> None:
        """Line ends become \\n, whatever the terminal sends."""
        event.prevent_default()
        event.stop()
        self.type_in(event.text.replace("\r\n", "\n").replace("\r", "\n"))

    # ----------------------------------------------------------------------- markers are whole

    def edit(self, edit: Edit) -> EditResult:
        """See TextArea. An edit that would cut a marker takes all of it; what is inserted into one comes after it."""
        begin, end = self._marker_around(edit.top)[0], self._marker_around(edit.bottom)[1]
        edit.from_location, edit.to_location = (end if edit.top == edit.bottom else begin), end
        return super().edit(edit)

    def validate_selection(self, selection: Selection) -> Selection:
        """Textual calls this for each new selection: neither end of it is inside a marker."""
        before = self.selection
        return Selection(
            self._beside_marker(selection.start, before.start), self._beside_marker(selection.end, before.end)
        )

    def _beside_marker(self, to: Location, came_from: Location) -> Location:
        """`to`, or if that is inside a marker, its far end as seen from where the cursor came from."""
        begin, end = self._marker_around(to)
        return begin if came_from >= end else end

    def _marker_around(self, location: Location) -> tuple[Location, Location]:
        """The two ends of the marker that the location is inside of; outside of all of them, twice the location."""
        row, column = location
        if row < self.document.line_count:
            for begin, end in self.pastes.places(self.document.get_line(row)):
                if begin < column < end:
                    return (row, begin), (row, end)
        return location, location

    # ----------------------------------------------------------------------- the clipboard has the pastes themselves

    @property
    def selected_draft(self) -> str:
        """What is selected, with every paste unfolded."""
        return self.pastes.unfold(self.selected_text)

    def action_copy(self) -> None:
        """Copy the selection."""
        if self.selection.is_empty:
            raise SkipAction
        self.app.copy_to_clipboard(self.selected_draft)

    def action_cut(self) -> None:
        """Cut the selection, or without one the line."""
        start, end = sorted(self.selection)
        if start == end:
            row = start[0]
            last = row + 1 == self.document.line_count
            start, end = (row, 0), (row, len(self.document.get_line(row))) if last else (row + 1, 0)
        cut = self.pastes.unfold(self.get_text_range(start, end))
        if cut:
            self.delete(start, end, maintain_selection_offset=False)
            self.app.copy_to_clipboard(cut)

    def action_paste(self) -> None:
        """Insert what was copied last in this program."""
        self.type_in(self.app.clipboard)
