"""The selected message of the transcript, and the keys that act on it.

While a message is selected, single letters act on it; otherwise what is typed here goes to the prompt.
"""

from textual import events
from textual.containers import VerticalScroll
from textual.geometry import Size
from textual.message import Message
from textual.reactive import Reactive

from chatapp.ui.action_table import do
from chatapp.ui.widgets.prompt import Prompt
from chatapp.ui.widgets.transcript.message import MessageView, NoticeView

FOR_CHOSEN = frozenset({
    "copy_chosen", "copy_chosen_code", "pin_chosen", "recall_chosen", "edit_chosen", "branch_chosen",
    "alternative_before", "alternative_after",
})  # fmt: skip


class Choosing(VerticalScroll):
    """A part of Transcript."""

    virtual_size = Reactive(Size(0, 0), layout=False)
    """See `steady`: a scrollbar that appears or disappears requests a layout itself."""
    chosen: MessageView | None = None
    """The selected message."""

    class Choice(Message):
        """Another message is selected, or none."""

        def __init__(self, view: MessageView | None) -> None:
            super().__init__()
            self.view = view

    def take(self, view: MessageView | NoticeView | None) -> None:
        """Select this message, or none."""
        if self.chosen is None and view is None:
            return
        if self.chosen is not None:
            self.chosen.remove_class("chosen")
        self.chosen = view if isinstance(view, MessageView) else None
        if self.chosen is not None:
            self.chosen.add_class("chosen")
            self.scroll_to_widget(self.chosen, animate=False)
        self.tell_choice()

    def tell_choice(self) -> None:
        """Post the message that the keys act on; None without the focus."""
        self.post_message(self.Choice(self.chosen if self.has_focus else None))

    def on_focus(self) -> None:
        """The transcript has the focus."""
        self.tell_choice()

    def on_blur(self) -> None:
        """The focus is elsewhere."""
        self.tell_choice()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Single letters are keys only while a message is selected."""
        return self.chosen is not None or action not in FOR_CHOSEN

    def on_key(self, event: events.Key) -> None:
        """Pass on to the prompt what is typed here and is not a key."""
        if event.is_printable and event.character and event.key not in self.screen.active_bindings:
            event.stop()
            self.take(None)
            prompt = self.screen.query_one(Prompt)
            prompt.focus()
            prompt.insert(event.character)

    def on_message_view_chosen(self, event: MessageView.Chosen) -> None:
        """A click selects a message; a second click deselects it."""
        self.take(None if event.view is self.chosen else event.view)

    def action_back(self) -> None:
        """Return to the prompt."""
        self.take(None)
        self.screen.query_one(Prompt).focus()

    async def action_copy_chosen(self) -> None:
        """Copy the selected message."""
        await self.screen.run_action(do("copy"))

    async def action_copy_chosen_code(self) -> None:
        """Copy the last code block of the selected message."""
        await self.screen.run_action(do("copy_code"))

    async def action_recall_chosen(self) -> None:
        """Recall the selected message's turn."""
        if self.chosen is not None:
            await self.screen.run_action(do("recall", str(self.chosen.said.turn)))

    async def action_edit_chosen(self) -> None:
        """Edit the message of the selected turn."""
        await self.screen.run_action(do("edit"))
        self.take(None)

    async def action_branch_chosen(self) -> None:
        """Continue from the selected turn as a new branch."""
        await self.screen.run_action(do("branch"))

    async def action_alternative_before(self) -> None:
        """Show the previous alternative."""
        await self.screen.run_action(do("previous_alternative"))

    async def action_alternative_after(self) -> None:
        """Show the next alternative."""
        await self.screen.run_action(do("next_alternative"))
