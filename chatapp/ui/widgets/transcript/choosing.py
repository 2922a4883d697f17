"""The selected message of the transcript, and the keys that act on it.

Single keys act on it only after the person has asked for that with F8, and until the focus moves on. A click selects
a message, too, for commands like /pin, but what is typed then goes to the prompt (see `screens/typing_target.py`).
"""

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
    takes_keys = False
    """Single keys act on the selected message."""

    class Choice(Message):
        """Another message is selected, or none, or single keys act on it now, or no longer."""

    def take(self, view: MessageView | NoticeView | None) -> None:
        """Select this message, or none."""
        if self.chosen is None and view is None:
            return
        if self.chosen is not None:
            self.chosen.show_chosen(False)
        self.chosen = view if isinstance(view, MessageView) else None
        if self.chosen is not None:
            self.chosen.show_chosen(True)
            self.scroll_to_widget(self.chosen, animate=False)
        self.post_message(self.Choice())

    def take_keys(self) -> None:
        """Take the focus, and have single keys act on the selected message from now on."""
        self.takes_keys = True
        self.screen.set_focus(self)
        self.post_message(self.Choice())

    def notice_focus(self) -> None:
        """The focus has moved: without it, single keys have to be asked for again."""
        self.takes_keys = self.takes_keys and self.screen.focused is self

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Single letters are keys only while a message is selected."""
        return self.chosen is not None or action not in FOR_CHOSEN

    def on_message_view_chosen(self, event: MessageView.Chosen) -> None:
        """A click selects a message; a second click deselects it. A drag has selected text."""
        if not self.screen.get_selected_text():
            self.take(None if event.view is self.chosen else event.view)

    def action_back(self) -> None:
        """Return to the prompt."""
        self.take(None)
        self.screen.set_focus(self.screen.query_one(Prompt))

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
