"""The conversation on the screen: part of it is drawn, the rest follows a page at a time.

A thousand messages as widgets take seconds to mount, and every key would lay them all out, so at most `MOST` are
drawn at once: items[first:last]. `items` holds the whole conversation.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from chatapp.presentation.format import plural
from chatapp.presentation.remark import Remark
from chatapp.ui.action_table import bindings, do
from chatapp.ui.widgets.transcript.choosing import Choosing
from chatapp.ui.widgets.transcript.message import MessageView, NoticeView
from chatapp.ui.widgets.transcript.thoughts import Shown

if TYPE_CHECKING:
    from chatapp.chat.conversation import ChatMessage
    from chatapp.presentation.visibility import TurnVisibility

PAGE = 12
MOST = 36
LATEST_S = 1.0
"""How long to wait for a refresh of the screen."""


class Transcript(Choosing):
    """See the module. The scroll position follows the end only while the person is at the end."""

    BINDINGS = bindings("transcript")
    HELP = (
        "The conversation. The left edge of a message shows how much of it the model still sees: a solid bar is in the "
        "window, a dashed one is partly evicted, a thin one is evicted; sinks and pinned messages have a double bar, "
        "recalled ones a heavy one. ‹2/3› beside a name is the second of three alternatives, each on its own branch. "
        "Older messages appear when you scroll to the top. After F8, single keys act on the selected message, until "
        "Esc; anything else you type goes to the prompt."
    )

    def __init__(self, *, markdown: bool, show_stats: bool, thoughts: Shown = "folded") -> None:
        super().__init__(id="transcript", classes="empty")
        # Only Remark is tested for by class here: importing ChatMessage would bring in the store and the protocol.
        self.items: list[ChatMessage | Remark] = []
        self.first = self.last = 0
        self._views: dict[int, MessageView | NoticeView] = {}
        self._markdown, self._show_stats = markdown, show_stats
        self._thoughts: Shown = thoughts
        self._visibility_of: TurnVisibility | None = None
        self._older, self._newer = Static(id="older"), Static(id="newer")
        self._older.display = self._newer.display = False
        self._moving = False
        self._then: list[Callable[[], None]] = []
        """Called when the page that is being drawn is there."""

    def compose(self) -> ComposeResult:
        yield self._older
        yield Static(id="welcome")
        yield self._newer

    def welcome(self, text: str) -> None:
        """Set the text of an empty transcript."""
        self.query_one("#welcome", Static).update(Content(text))

    # ----------------------------------------------------------------------- messages

    def show(self, messages: "Sequence[ChatMessage]") -> None:
        """Show another conversation, or none. Notices from before the first message stay: they are about the start."""
        told = [] if any(not isinstance(item, Remark) for item in self.items) else self.items
        self.items = [*messages, *told]
        self._draw(len(self.items) - PAGE, len(self.items))
        self.anchor(bool(self.items))

    def show_exactly(self, items: "Sequence[ChatMessage | Remark]") -> None:
        """Show exactly these items. The beginning that they share with the shown ones is not drawn again."""
        kept = 0
        while kept < min(len(items), len(self.items)) and items[kept] is self.items[kept]:
            kept += 1
        if kept == 0 or len(items) - kept > PAGE:
            self.items = list(items)
            self._draw(len(items) - PAGE, len(items))
            self.anchor(bool(items))
            return
        self.drop(self.items[kept:])
        for item in items[kept:]:
            self._insert(len(self.items), item)

    def add(self, said: "ChatMessage") -> None:
        """Add a message at the end, and scroll to it if it is the person's."""
        self._insert(len(self.items), said)
        if said.role == "user":
            self.follow()

    def add_notice(self, level: str, text: str, key: str | None = None) -> None:
        """Add a notice at the end, before a growing reply; or replace the one before if it has the same key."""
        index = len(self.items)
        if index and not isinstance(last := self.items[-1], Remark) and last.state == "growing":
            index -= 1
        before = self.items[index - 1] if index else None
        if key is None or not isinstance(before, Remark) or before.key != key:
            self._insert(index, Remark(level, text, key))
            return
        before.text = text
        view = self._views.get(id(before))
        if isinstance(view, NoticeView):
            view.say(text)

    def drop(self, gone: "Sequence[ChatMessage | Remark]") -> None:
        """Remove these items from the conversation."""
        for said in gone:
            index = next((i for i, item in enumerate(self.items) if item is said), None)
            if index is not None:
                del self.items[index]
                self.first -= index < self.first
                self.last -= index < self.last
                self._remove(said)
        self._changed()

    def view_of(self, said: "ChatMessage") -> MessageView | None:
        """The widget of a message; None if it is not drawn."""
        view = self._views.get(id(said))
        return view if isinstance(view, MessageView) else None

    def show_visibility(self, visibility: "TurnVisibility") -> None:
        """Colour the edge of every message that is drawn."""
        self._visibility_of = visibility
        for view in self._views.values():
            if isinstance(view, MessageView):
                view.show_visibility(visibility.of(view.said.turn, view.said.role))

    # ----------------------------------------------------------------------- moving

    def follow(self) -> None:
        """Scroll to the end and follow it."""
        if self.last < len(self.items):
            self._draw(len(self.items) - PAGE, len(self.items))
        self.anchor()

    def go_to_start(self) -> None:
        """Scroll to the first message."""
        self.release_anchor()
        if self.first > 0:
            self._draw(0, 2 * PAGE)
        self.call_after_refresh(self.scroll_home, animate=False)

    def choose(self, turn: int, role: str = "user") -> None:
        """Select a message, wherever it is."""
        index = next(
            (i for i, item in enumerate(self.items)
             if not isinstance(item, Remark) and (item.turn, item.role) == (turn, role)),
            None,
        )  # fmt: skip
        if index is None:
            return
        self.release_anchor()
        if not self.first <= index < self.last:
            self._draw(index - PAGE, index + PAGE)
        self.call_after_refresh(self.take, self._views.get(id(self.items[index])))

    def show_older(self, then: Callable[[], None] | None = None) -> None:
        """Draw the previous page without moving what the person reads; `then` is called when it is there."""
        first = max(0, self.first - PAGE)
        self._move(first, min(self.last, first + MOST), then)

    def show_newer(self, then: Callable[[], None] | None = None) -> None:
        """Draw the next page, likewise."""
        last = min(len(self.items), self.last + PAGE)
        self._move(max(self.first, last - MOST), last, then)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Draw another page at either end."""
        super().watch_scroll_y(old_value, new_value)
        if new_value <= 0 < old_value and self.first > 0:
            self.show_older()
        elif new_value >= self.max_scroll_y > 0 and new_value > old_value and self.last < len(self.items):
            self.show_newer()

    def on_click(self) -> None:
        """Draw another page for a click on one of the two lines that stand for more messages."""
        if self._older.mouse_hover:
            self.show_older()
        elif self._newer.mouse_hover:
            self.show_newer()

    # ----------------------------------------------------------------------- selecting

    def choose_by_keys(self) -> bool:
        """Have single keys act on the selected message: the last one, unless another is selected; False without any.

        Asked for once more, it goes to the last one.
        """
        if self.chosen is None or self.takes_keys:
            self.follow()
            views = self._message_views()
            self.take(views[-1] if views else None)
        if self.chosen is not None:
            self.take_keys()
        return self.chosen is not None

    def action_choose_previous(self) -> None:
        """Select the previous message; at the oldest one drawn, draw older ones."""
        views = self._message_views()
        index = views.index(self.chosen) if self.chosen in views else len(views)
        if index > 0:
            self.take(views[index - 1])
        elif self.first > 0:
            self.show_older(self.action_choose_previous)

    def action_choose_next(self) -> None:
        """Select the next message; after the last one, follow the end again."""
        views = self._message_views()
        index = views.index(self.chosen) + 1 if self.chosen in views else len(views)
        if index < len(views):
            self.take(views[index])
        elif self.last < len(self.items):
            self.show_newer(self.action_choose_next)
        else:
            self.follow()

    async def action_pin_chosen(self) -> None:
        """Pin or unpin the selected message's turn."""
        if self.chosen is not None:
            turn = self.chosen.said.turn
            pinned = any(not isinstance(item, Remark) and item.turn == turn and item.pinned for item in self.items)
            await self.screen.run_action(do("unpin" if pinned else "pin"))

    # ----------------------------------------------------------------------- drawing

    def _message_views(self) -> list[MessageView]:
        return [view for item in self.items[self.first : self.last] if not isinstance(item, Remark)
                and (view := self.view_of(item)) is not None]  # fmt: skip

    def _insert(self, index: int, item: "ChatMessage | Remark") -> None:
        """Insert an item; it is drawn if its place is."""
        shown = index <= self.last
        after = self._views.get(id(self.items[index])) if index < len(self.items) else None
        self.items.insert(index, item)
        if shown:
            self.last += 1
            self.mount(self._make(item), before=after or self._newer)
        if len(self.items) == 1:
            self.anchor()
        self._changed()
        if len(self._views) > MOST:
            self.call_after_refresh(self._prune)

    def _prune(self) -> None:
        """Remove the oldest widgets, unless the person has scrolled up to them."""
        if self.is_vertical_scroll_end and self.last == len(self.items) and not self._moving:
            keep = max(self.first, self.last - PAGE)
            for item in self.items[self.first : keep]:
                self._remove(item)
            self.first = keep
            self._changed()

    def _draw(self, first: int, last: int) -> None:
        """Draw exactly items[first:last], as far as they exist."""
        self.take(None)
        for view in self._views.values():
            view.remove()
        self._views.clear()
        self.first, self.last = max(0, first), min(len(self.items), max(0, last))
        self.mount_all([self._make(item) for item in self.items[self.first : self.last]], before=self._newer)
        self._changed()

    def _move(self, first: int, last: int, then: Callable[[], None] | None) -> None:
        if then is not None:
            self._then.append(then)
        if (first, last) != (self.first, self.last) and not self._moving:
            self._moving = True
            self.call_next(self._move_now, first, last)

    async def _move_now(self, first: int, last: int) -> None:
        """Draw another range that overlaps this one, without moving what the person reads."""
        kept = [view for item in self.items[max(first, self.first) : min(last, self.last)]
                if (view := self._views.get(id(item))) is not None]  # fmt: skip
        pivot = next((view for view in kept if view.virtual_region.bottom > self.scroll_y), kept[-1] if kept else None)
        offset = pivot.virtual_region.y - self.scroll_y if pivot is not None else 0
        for item in (*self.items[self.first : first], *self.items[last : self.last]):
            self._remove(item)
        above, below = self.items[first : self.first], self.items[self.last : last]
        self.first, self.last = first, last
        await self.mount_all([self._make(item) for item in above], before=kept[0] if kept else self._newer)
        await self.mount_all([self._make(item) for item in below], before=self._newer)
        self._changed()

        settled = False

        def settle() -> None:
            nonlocal settled
            if settled:
                return
            settled, self._moving = True, False
            if pivot is not None:
                self.scroll_to(y=pivot.virtual_region.y - offset, animate=False, force=True, immediate=True)
            waiting, self._then = self._then, []
            for then in waiting:
                then()

        self.call_after_refresh(settle)
        # Textual 8.2.8 has the topmost screen call back, and never does where that is a dialog that closes just then.
        self.set_timer(LATEST_S, settle)

    def _make(self, item: "ChatMessage | Remark") -> MessageView | NoticeView:
        if isinstance(item, Remark):
            view: MessageView | NoticeView = NoticeView(item.level, item.text)
        else:
            view = MessageView(item, markdown=self._markdown, show_stats=self._show_stats, thoughts=self._thoughts)
            if self._visibility_of is not None:
                view.show_visibility(self._visibility_of.of(item.turn, item.role))
        self._views[id(item)] = view
        return view

    def _remove(self, item: "ChatMessage | Remark") -> None:
        view = self._views.pop(id(item), None)
        if view is not None:
            if view is self.chosen:
                self.take(None)
            view.remove()

    def _changed(self) -> None:
        self.query_one("#welcome").display = not self.items
        self.set_class(not self.items, "empty")
        self._older.display = self.first > 0
        self._older.update(Content(f"▲ {plural(self.first, 'older message')}"))
        below = len(self.items) - self.last
        self._newer.display = below > 0
        self._newer.update(Content(f"▼ {plural(below, 'newer message')}"))
