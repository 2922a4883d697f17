"""The chosen message of the transcript, and what letters do with it.

While a message is chosen, letters are keys for it; else what is typed here is meant for the prompt.
"""

from textual import events
from textual.containers import VerticalScroll
from textual.geometry import Size
from textual.message import Message
from textual.reactive import Reactive

from chatapp.ui.action_table import do
from chatapp.ui.widgets.prompt import Prompt
from chatapp.ui.widgets.transcript.message import MessageView, Notice

FOR_CHOSEN = frozenset({
    "copy_chosen", "copy_chosen_code", "pin_chosen", "recall_chosen", "edit_chosen", "branch_chosen",
    "alternative_before", "alternative_after",
})  # fmt: skip


class Choosing(VerticalScroll):
    """A part of Transcript."""

    virtual_size = Reactive(Size(0, 0), layout=False)
    """See `steady`: that the scrollbar comes or goes asks for a layout by itself."""
    chosen: MessageView | None = None
    """The message that the person has chosen."""

    class Choice(Message):
        """Another message is chosen, or none."""

        def __init__(self, view: MessageView | None) -> None:
            super().__init__()
            self.view = view

    def take(self, view: MessageView | Notice | None) -> None:
        """Choose this message, or none."""
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
        """Say what the keys act on; nothing while they go elsewhere."""
        self.post_message(self.Choice(self.chosen if self.has_focus else None))

    def on_focus(self) -> None:
        """The keys come here."""
        self.tell_choice()

    def on_blur(self) -> None:
        """The keys go elsewhere."""
        self.tell_choice()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Letters are keys only while a message is chosen."""
        return self.chosen is not None or action not in FOR_CHOSEN

    def on_key(self, event: events.Key) -> None:
        """What is typed here, and is no key, is meant for the prompt."""
        if event.is_printable and event.character and event.key not in self.screen.active_bindings:
            event.stop()
            self.take(None)
            prompt = self.screen.query_one(Prompt)
            prompt.focus()
            prompt.insert(event.character)

    def on_message_view_chosen(self, event: MessageView.Chosen) -> None:
        """A click chooses a message; another one lets go of it."""
        self.take(None if event.view is self.chosen else event.view)

    def action_back(self) -> None:
        """To the prompt."""
        self.take(None)
        self.screen.query_one(Prompt).focus()

    async def action_copy_chosen(self) -> None:
        """Copy it."""
        await self.screen.run_action(do("copy"))

    async def action_copy_chosen_code(self) -> None:
        """Copy its last code block."""
        await self.screen.run_action(do("copy_code"))

    async def action_recall_chosen(self) -> None:
        """Bring its turn back."""
        if self.chosen is not None:
            await self.screen.run_action(do("recall", str(self.chosen.said.turn)))

    async def action_edit_chosen(self) -> None:
        """Say its turn's message in another way."""
        await self.screen.run_action(do("edit"))
        self.take(None)

    async def action_branch_chosen(self) -> None:
        """Go on behind its turn."""
        await self.screen.run_action(do("branch"))

    async def action_alternative_before(self) -> None:
        """The alternative before it."""
        await self.screen.run_action(do("previous_alternative"))

    async def action_alternative_after(self) -> None:
        """The alternative after it."""
        await self.screen.run_action(do("next_alternative"))
