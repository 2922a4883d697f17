"""The conversation on the screen: its end is drawn, older messages come a page at a time.

A thousand messages as widgets take seconds to mount and to lay out, so at most about a hundred are there at once:
`first` is the index of the oldest one drawn. Everything that was said stays in `items`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from chatapp.ui.commands import bindings
from chatapp.ui.conversation import Said
from chatapp.ui.format import plural
from chatapp.ui.standing import Standings
from chatapp.ui.widgets.message import MessageView, Notice

PAGE = 30
PRUNE_AT = 90


@dataclass(eq=False)
class Remark:
    """A notice as an item of the transcript."""

    level: str
    text: str
    key: str | None = None


class OlderMessages(Static):
    """The line at the top that stands for the messages that are not drawn."""

    def on_click(self) -> None:
        """Draw more of them."""
        self.screen.query_one(Transcript).show_older()


class Transcript(VerticalScroll):
    """See the module. The scroll position follows the end while the person is there, and only then."""

    BINDINGS = bindings("transcript")
    HELP = (
        "The conversation. The left edge of a message shows what the model still sees of it: a full bar is in the "
        "window, a dashed one has lost a part, a thin one has left; sinks and pinned messages are double. "
        "Older messages appear when you scroll to the top."
    )

    def __init__(self, *, markdown: bool, show_stats: bool) -> None:
        super().__init__(id="transcript")
        self.items: list[Said | Remark] = []
        self.first = 0
        self._views: dict[int, MessageView | Notice] = {}
        self._markdown, self._show_stats = markdown, show_stats
        self._standings: Standings | None = None
        self._chosen: MessageView | None = None
        self._older = OlderMessages(id="older")
        self._older.display = False
        self._loading_older = False

    def compose(self) -> ComposeResult:
        yield self._older
        yield Static(id="welcome")

    def on_mount(self) -> None:
        """Follow the end."""
        self.anchor()

    def welcome(self, text: str) -> None:
        """What stands there before anything is said."""
        self.query_one("#welcome", Static).update(Content(text))

    # ----------------------------------------------------------------------- what was said

    def show(self, messages: Sequence[Said]) -> None:
        """Another conversation, or none. Notices from before its first message stay: they are about the start."""
        self.chosen = None
        told = [] if any(isinstance(item, Said) for item in self.items) else self.items
        for view in self._views.values():
            view.remove()
        self._views.clear()
        self.items = [*messages, *told]
        self.first = max(0, len(self.items) - PAGE)
        self.mount_all([self._make(item) for item in self.items[self.first :]])
        self._changed()
        self.anchor()

    def add(self, said: Said) -> None:
        """A message at the end."""
        self.items.append(said)
        self.mount(self._make(said))
        if said.role == "user":
            self.anchor()
        self._changed()
        self._prune()

    def add_notice(self, level: str, text: str, key: str | None = None) -> None:
        """A notice at the end, before a reply that is growing; or in place of the one with the same key."""
        index = len(self.items)
        if index and isinstance(last := self.items[-1], Said) and last.state == "growing":
            index -= 1
        before = self.items[index - 1] if index else None
        if key is not None and isinstance(before, Remark) and before.key == key:
            before.text = text
            view = self._views.get(id(before))
            if isinstance(view, Notice):
                view.say(text)
            return
        remark = Remark(level, text, key)
        after = self._views.get(id(self.items[index])) if index < len(self.items) else None
        self.items.insert(index, remark)
        self.mount(self._make(remark), before=after)
        self._changed()

    def drop(self, gone: Sequence[Said]) -> None:
        """These messages are no longer part of the conversation."""
        self.chosen = None
        for said in gone:
            index = next((i for i, item in enumerate(self.items) if item is said), None)
            if index is None:
                continue
            del self.items[index]
            self.first -= index < self.first
            view = self._views.pop(id(said), None)
            if view is not None:
                view.remove()
        self._changed()

    def view_of(self, said: Said) -> MessageView | None:
        """The widget of a message; None where it is not drawn."""
        view = self._views.get(id(said))
        return view if isinstance(view, MessageView) else None

    def show_standings(self, standings: Standings) -> None:
        """Colour the edge of every message that is drawn."""
        self._standings = standings
        for view in self._views.values():
            if isinstance(view, MessageView):
                view.stand(standings.of(view.said.turn, view.said.role))

    # ----------------------------------------------------------------------- older messages

    def show_older(self, then: Callable[[], None] | None = None) -> None:
        """Draw the page before, without moving what the person looks at; `then` is called when it is there."""
        if self.first > 0 and not self._loading_older:
            self._loading_older = True
            self.call_next(self._mount_older, then)

    async def _mount_older(self, then: Callable[[], None] | None) -> None:
        begin = max(0, self.first - PAGE)
        page = self.items[begin : self.first]
        self.first = begin
        oldest = next((child for child in self.children if isinstance(child, MessageView | Notice)), None)
        height = self.virtual_size.height
        await self.mount_all([self._make(item) for item in page], before=oldest)
        self._changed()

        def settle() -> None:
            self._loading_older = False
            grown = self.virtual_size.height - height
            if not self._following:
                self.scroll_to(y=self.scroll_y + grown, animate=False, force=True, immediate=True)
            if then is not None:
                then()

        self.call_after_refresh(settle)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """At the top, older messages come by themselves."""
        super().watch_scroll_y(old_value, new_value)
        if new_value <= 0 < old_value and not self._following:
            self.show_older()

    @property
    def _following(self) -> bool:
        return self.is_vertical_scroll_end

    def _prune(self) -> None:
        """Take the oldest widgets away when there are many, but never from under a reader."""
        if len(self._views) <= PRUNE_AT or not self._following:
            return
        keep = len(self.items) - PAGE
        for item in self.items[self.first : keep]:
            view = self._views.pop(id(item), None)
            if view is self._chosen:
                self._chosen = None
            if view is not None:
                view.remove()
        self.first = keep
        self._changed()

    # ----------------------------------------------------------------------- choosing

    @property
    def chosen(self) -> MessageView | None:
        """The message that the person has chosen."""
        return self._chosen

    @chosen.setter
    def chosen(self, view: MessageView | None) -> None:
        if self._chosen is not None:
            self._chosen.remove_class("chosen")
        self._chosen = view
        if view is not None:
            view.add_class("chosen")
            self.scroll_to_widget(view, animate=False)

    def go_to_turn(self, turn: int) -> None:
        """Choose the first message of a turn, wherever it is."""
        said = next((item for item in self.items if isinstance(item, Said) and item.turn == turn), None)
        if said is None:
            return
        view = self.view_of(said)
        if view is not None:
            self.chosen = view
        else:
            self.show_older(lambda: self.go_to_turn(turn))

    def choose_last(self) -> None:
        """Choose the last message."""
        views = self._message_views()
        self.chosen = views[-1] if views else None

    def action_choose_previous(self) -> None:
        """The message before; at the oldest one drawn, older ones come."""
        views = self._message_views()
        index = views.index(self._chosen) if self._chosen in views else len(views)
        if index > 0:
            self.chosen = views[index - 1]
        else:
            self.show_older(self.action_choose_previous)

    def action_choose_next(self) -> None:
        """The message after; behind the last one the end is followed again."""
        views = self._message_views()
        index = views.index(self._chosen) + 1 if self._chosen in views else len(views)
        if index < len(views):
            self.chosen = views[index]
        else:
            self.anchor()

    async def action_copy_chosen(self) -> None:
        """Copy the chosen message."""
        await self.screen.run_action("copy")

    async def action_copy_chosen_code(self) -> None:
        """Copy the chosen message's last code block."""
        await self.screen.run_action("copy_code")

    def action_back(self) -> None:
        """To the prompt, and to the end."""
        self.chosen = None
        self.screen.query_one("#prompt").focus()

    def on_message_view_chosen(self, event: MessageView.Chosen) -> None:
        """A click chooses a message; another one lets go of it."""
        self.chosen = None if event.view is self._chosen else event.view

    # ----------------------------------------------------------------------- inside

    def _message_views(self) -> list[MessageView]:
        return [child for child in self.children if isinstance(child, MessageView) and id(child.said) in self._views]

    def _make(self, item: Said | Remark) -> MessageView | Notice:
        if isinstance(item, Remark):
            view: MessageView | Notice = Notice(item.level, item.text)
        else:
            view = MessageView(item, markdown=self._markdown, show_stats=self._show_stats)
            if self._standings is not None:
                view.stand(self._standings.of(item.turn, item.role))
        self._views[id(item)] = view
        return view

    def _changed(self) -> None:
        self.query_one("#welcome").display = not self.items
        self._older.display = self.first > 0
        self._older.update(Content(f"▲ {plural(self.first, 'older message')}"))
