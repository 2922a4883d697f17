"""The `View` of a chat: the widgets that show a conversation."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from chatapp.ui.inspector_pane import InspectorPane
from chatapp.ui.widgets.prompt import PromptBox
from chatapp.ui.widgets.status import ProgressLine, StatusBar
from chatapp.ui.widgets.transcript.transcript import Transcript

if TYPE_CHECKING:
    from chatapp.chat.controller import Chat
    from chatapp.chat.conversation import ChatMessage
    from chatapp.config.models import UiConfig


class ChatView:
    """See the module. The screen composes `transcript`, `progress`, `prompt` and `status`."""

    chat: "Chat | None" = None
    """The chat that is shown; None before the store is open."""

    def __init__(
        self,
        ui: "UiConfig",
        pane: InspectorPane,
        *,
        save: Callable[[], None],
        save_soon: Callable[[], None],
        restart: Callable[[], None],
    ) -> None:
        """`save` stores the conversation, `save_soon` in a moment; `restart` restarts the engine."""
        self.transcript = Transcript(markdown=ui.markdown, show_stats=ui.show_stats, thoughts=ui.thoughts)
        self.progress = ProgressLine()
        self.prompt = PromptBox()
        self.status = StatusBar()
        self.model: str | None = None
        """The model as the person named it; None for the default."""
        self._pane, self._save, self._save_soon, self._restart = pane, save, save_soon, restart
        self._phase_shown = asyncio.Event()

    async def until(self, so: Callable[[], bool], timeout_s: float) -> None:
        """Wait until `so` is true, for at most `timeout_s`; checked whenever the phase is shown."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not so():
                    self._phase_shown.clear()
                    await self._phase_shown.wait()

    def show_conversation(self) -> None:
        """Show the whole conversation again."""
        if self.chat is not None:
            conversation = self.chat.conversation
            self.transcript.show(conversation.messages)
            notes = (conversation.name, "read-only" if conversation.read_only else None)
            self.prompt.show_name(" · ".join(filter(None, notes)))
            self.show_queue()
            if self.chat.conversation.damage:
                self.show_notice("warning", self.chat.conversation.damage)
                self.chat.conversation.damage = ""

    # ----------------------------------------------------------------------- see chatapp.chat.view

    def show_phase(self) -> None:
        """See View."""
        self._phase_shown.set()
        from chatapp.ui.screens.status_text import progress, status

        if self.chat is None:
            return
        line = progress(self.chat, self.model)
        if line is None:
            self.progress.hide()
        else:
            self.progress.show(*line)
        self.status.show(status(self.chat, self.model, cache_elsewhere=self._pane.as_line))

    def show_message(self, said: "ChatMessage") -> None:
        """See View."""
        self.transcript.add(said)

    def show_growth(self, text: str) -> None:
        """See View."""
        self._save_soon()
        reply = None if self.chat is None else self.chat.conversation.reply
        view = None if reply is None else self.transcript.view_of(reply)
        if view is not None and self.chat is not None:
            from chatapp.ui.frame_pace import decodes_here

            view.grow(text, sparing=decodes_here(self.chat.loaded))

    def show_end(self, said: "ChatMessage") -> None:
        """See View."""
        view = self.transcript.view_of(said)
        if view is not None:
            view.end()
        self._save()

    def show_without(self, gone: "list[ChatMessage]") -> None:
        """See View."""
        self.transcript.drop(gone)

    def show_notice(self, level: str, text: str, key: str | None = None) -> None:
        """See View."""
        self.transcript.add_notice(level, text, key)

    def show_queue(self) -> None:
        """See View."""
        if self.chat is not None:
            self.prompt.show_queue(self.chat.queue)

    def give_back(self, text: str) -> None:
        """See View."""
        self.prompt.prompt.put(text)

    def show_editing(self, turn: int | None, text: str = "") -> None:
        """See View."""
        self.prompt.show_editing(turn, text)

    def show_forecast(self, text: str) -> None:
        """See View."""
        self.prompt.show_forecast(text)
        self._pane.show_draft(text)

    def restart_engine(self) -> None:
        """See View."""
        self._restart()
