"""The main screen: it shows a chat and carries what the person does to it.

State changes only in message handlers; slow work (opening the store, finding a model) runs in workers that post a
message when they are done. Nothing of the engine or the store is touched, or even imported, before the first paint.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Container, Horizontal, Vertical

from chatapp.errors import SwachatError
from chatapp.ui.action_table import bindings, parse_slash, unslash
from chatapp.ui.actions.conversation import ChatActions
from chatapp.ui.actions.messages import ModelFound, ModelMissing, StoreFailed, StoreOpened
from chatapp.ui.bridge import EngineEnded, EngineSaid
from chatapp.ui.widgets.inspector.side import Side
from chatapp.ui.widgets.prompt import Prompt, PromptBox
from chatapp.ui.widgets.status import ProgressLine, Status, StatusBar
from chatapp.ui.widgets.transcript.transcript import Transcript

if TYPE_CHECKING:
    from textual.widgets import Markdown

    from chatapp.chat.controller import Chat
    from chatapp.chat.conversation import Said
    from chatapp.ui.widgets.inspector.cell_grid import TurnChosen

SAVE_EVERY_S = 0.25
STOP_TIMEOUT_S = 2.0
"""How long the end waits for a reply to stop, so that its cache can be written."""
SAVE_TIMEOUT_S = 15.0
"""How long the end waits for the cache to be written."""
SETTLE_AFTER_S = 1.0
"""When a reply has ended and is drawn, nobody is likely to see that nothing moves for 60 ms."""
HISTORY = 500
WELCOME = """swachat

Long conversations with a local model.
What leaves its window is shown, never hidden.

Enter sends · Shift+Enter new line
F1 help · Ctrl+P everything"""


class ChatScreen(ChatActions):
    """See the module. It is the `View` of `chatapp.chat.controller`."""

    BINDINGS = bindings("screen")
    AUTO_FOCUS = "#prompt"

    def __init__(self, *, model: str | None, resume: bool, session: str | None) -> None:
        """`resume` goes on with the last conversation; `session` with the one of that name, or begins it."""
        super().__init__()
        self.chat: Chat | None = None
        self.model = model
        self._resume, self._session = resume, session
        self._early: list[str] = []
        """What was sent before there was a store."""
        self._opening = False
        self._phase_shown = asyncio.Event()
        self._told: str | None = None
        """The last trouble with the store that was told: the same one is not told four times a second."""

    def compose(self) -> ComposeResult:
        ui = self.app.config.ui
        with Horizontal(id="main"):
            with Vertical(id="chat"):
                yield Transcript(markdown=ui.markdown, show_stats=ui.show_stats)
                yield ProgressLine()
                yield PromptBox()
            yield Side(id="side")
        yield Container(id="inspector-line")
        yield StatusBar()

    def on_mount(self) -> None:
        """Paint first; then begin."""
        self.query_one(Transcript).welcome(WELCOME)
        self.restore_layout()
        self.call_after_refresh(self._begin)

    def on_resize(self) -> None:
        """Another width may show other figures, and has other room for the inspector."""
        self.fit_inspector()
        self.call_after_refresh(self.show_phase)

    # ----------------------------------------------------------------------- the beginning

    def _begin(self) -> None:
        from chatapp.presentation.host_reading import EVERY_S

        self.begin_inspecting()
        self.app.after_first_paint()
        self.set_interval(SAVE_EVERY_S, self.save)
        self.set_interval(EVERY_S, self.reread_memory)
        self.open_store()

    def open_store(self) -> None:
        """Open the store, unless that is being done."""
        if not self._opening:
            self._opening = True
            self._open_store()

    @work(thread=True, group="store")
    def _open_store(self) -> None:
        """Open the store, and read what is to be resumed."""
        from chatapp.chat.conversation import Conversation

        try:
            store = self.app.services.store()
            session = store.last_session() if self._resume else None
            if self._session is not None:
                session = store.find_session(self._session)
            resumed = None if session is None else Conversation.resumed(store, session)
            self.post_message(StoreOpened(store, store.recent_prompts(HISTORY), resumed))
        except SwachatError as error:
            self.post_message(StoreFailed(error))

    @on(StoreFailed)
    def _store_failed(self, event: StoreFailed) -> None:
        self._opening = False
        self.show_notice("error", f"{event.error} Send again to try again; nothing is sent that cannot be stored.")
        self.query_one(StatusBar).show(Status("no store", style="$text-error"))
        early, self._early = self._early, []
        if early:
            self.give_back("\n".join(early))

    @on(StoreOpened)
    def _store_opened(self, event: StoreOpened) -> None:
        from chatapp.chat.controller import Chat
        from chatapp.config import cache_settings, engine_settings, sampling

        config = self.app.config
        self.app.keep_store(event.store)
        for notice in event.store.notices:
            self.show_notice("warning", notice)
        self.query_one(Prompt).remember(event.history)
        if event.resumed is None:
            conversation = self.new_conversation(event.store, self._session)
        else:
            conversation = event.resumed
            self.model = self.model or conversation.model or None
        saved = self.app.services.saved
        self.chat = Chat(
            self,
            conversation,
            cache=cache_settings(config),
            engine=engine_settings(config, watched=True),
            sampling=sampling(config),
            saved=saved(config.sessions.saved_caches) if saved is not None else None,
        )
        self.query_one(PromptBox).show_name(conversation.name)
        if event.resumed is not None:
            self.show_conversation()
        self.restart_engine()
        self.find_model(self.model or config.model, chosen=False)
        early, self._early = self._early, []
        for text in early:
            self.submit(text)

    @work(thread=True, exclusive=True, group="model")
    def find_model(self, spec: str | None, chosen: bool) -> None:
        """From a model's name to its file."""
        try:
            name, path = self.app.services.resolve(spec)
            self.post_message(ModelFound(name, path, chosen))
        except SwachatError as error:
            self.post_message(ModelMissing(error, chosen))

    @on(ModelFound)
    def _model_found(self, event: ModelFound) -> None:
        if self.chat is None:
            return
        self.model = event.spec
        self.guarded(partial(self.chat.conversation.use_model, event.spec))
        if event.chosen:
            self.restart_engine()
        self.chat.use_model(str(event.path))

    @on(ModelMissing)
    def _model_missing(self, event: ModelMissing) -> None:
        if event.chosen:
            self.show_notice("error", str(event.error))
        elif self.chat is not None:
            self.chat.no_model(event.error)

    # ----------------------------------------------------------------------- the engine

    def restart_engine(self) -> None:
        """See View.restart_engine. The old one, if any, is ended first."""
        if self.chat is not None:
            self.chat.attach(self.app.start_engine(self).post)

    @on(EngineSaid)
    def _engine_said(self, event: EngineSaid) -> None:
        if self.chat is None or event.engine is not self.app.engine:
            return
        from chatapp.presentation.visibility import Standings
        from chatapp.protocol.events import Loaded, Snapshot, TurnDone

        self.inspect_event(event.event)
        self.guarded(partial(self.chat.handle, event.event))
        if isinstance(event.event, Snapshot):
            transcript = self.query_one(Transcript)
            transcript.show_standings(Standings(event.event))
            if transcript.chosen is not None:
                transcript.tell_choice()
        elif isinstance(event.event, Loaded):
            self.app.services.settle()
            if self.model is not None:
                self.app.services.remember(self.model)
        elif isinstance(event.event, TurnDone):
            self.set_timer(SETTLE_AFTER_S, self._settle)

    def _settle(self) -> None:
        """Not in the next reply: behind that one it comes anyway."""
        if self.chat is None or not self.chat.busy:
            self.app.services.settle()

    @on(EngineEnded)
    def _engine_ended(self, event: EngineEnded) -> None:
        if self.chat is not None and event.engine is self.app.engine:
            self.chat.handle_end(event.why)

    # ----------------------------------------------------------------------- the prompt

    @on(Prompt.Sent)
    def _sent(self, event: Prompt.Sent) -> None:
        try:
            slash = parse_slash(event.text)
        except SwachatError as error:
            self.show_notice("warning", str(error))
            self.give_back(event.text)
            return
        if slash is None:
            self.submit(unslash(event.text))
        else:
            self.run_slash(*slash)

    def submit(self, text: str) -> None:
        """Send a message, or queue it."""
        if self.chat is None:
            self._early.append(text)
            self.open_store()
        else:
            self.guarded(partial(self.chat.submit, text))

    @on(Prompt.Drafted)
    def _drafted(self, event: Prompt.Drafted) -> None:
        if self.chat is not None:
            self.chat.forecast(event.text)

    @on(Prompt.TakeBack)
    def _take_back(self) -> None:
        if self.chat is not None and (text := self.chat.take_back()) is not None:
            self.give_back(text)

    @on(Prompt.Page)
    def _page(self, event: Prompt.Page) -> None:
        transcript = self.query_one(Transcript)
        if event.pages < 0:
            transcript.scroll_page_up(animate=False)
        else:
            transcript.scroll_page_down(animate=False)

    def on_turn_chosen(self, event: "TurnChosen") -> None:
        """A turn was chosen in the picture of the cache."""
        self.query_one(Transcript).choose(event.turn)

    def on_markdown_link_clicked(self, event: "Markdown.LinkClicked") -> None:
        """Say where the link leads."""
        event.stop()
        self.ask_link(event.href)

    # ----------------------------------------------------------------------- the view of a chat

    def show_phase(self) -> None:
        """See View."""
        self._phase_shown.set()
        from chatapp.ui.screens.status_text import progress, status

        shown = self.query_one(ProgressLine)
        if self.chat is None:
            return
        line = progress(self.chat, self.model)
        if line is None:
            shown.hide()
        else:
            shown.show(*line)
        shows_line = self.has_class("-narrow") and self.has_class("-inspect")
        self.query_one(StatusBar).show(status(self.chat, self.model, cache_elsewhere=shows_line))

    def show_message(self, said: "Said") -> None:
        """See View."""
        self.query_one(Transcript).add(said)

    def show_growth(self, text: str) -> None:
        """See View."""
        reply = None if self.chat is None else self.chat.conversation.reply
        view = None if reply is None else self.query_one(Transcript).view_of(reply)
        if view is not None and self.chat is not None:
            from chatapp.ui.frame_pace import decodes_here

            view.grow(text, sparing=decodes_here(self.chat.loaded))

    def show_end(self, said: "Said") -> None:
        """See View."""
        view = self.query_one(Transcript).view_of(said)
        if view is not None:
            view.end()
        self.save()

    def show_without(self, gone: "list[Said]") -> None:
        """See View."""
        self.query_one(Transcript).drop(gone)

    def show_notice(self, level: str, text: str, key: str | None = None) -> None:
        """See View."""
        self.query_one(Transcript).add_notice(level, text, key)

    def show_queue(self) -> None:
        """See View."""
        if self.chat is not None:
            self.query_one(PromptBox).show_queue(self.chat.queue)

    def give_back(self, text: str) -> None:
        """See View."""
        self.query_one(Prompt).put(text)

    def show_editing(self, turn: int | None, text: str = "") -> None:
        """See View."""
        self.query_one(PromptBox).show_editing(turn, text)

    def show_forecast(self, text: str) -> None:
        """See View."""
        self.query_one(PromptBox).show_forecast(text)
        self.inspect_draft(text)

    def show_conversation(self) -> None:
        """The whole conversation anew."""
        if self.chat is not None:
            self.query_one(Transcript).show(self.chat.conversation.messages)
            self.query_one(PromptBox).show_name(self.chat.conversation.name)
            self.show_queue()

    # ----------------------------------------------------------------------- the store

    async def save_cache(self) -> None:
        """Have the cache written to disk, so that going on with the conversation needs no prefill.

        A reply that is being made is stopped first: only between two turns is there a cache to go on with.
        """
        if self.chat is None:
            return
        from chatapp.chat.view import Phase

        chat = self.chat
        if chat.busy:
            chat.stop()
            await self._until(lambda: not chat.busy, STOP_TIMEOUT_S)
        if chat.save_cache():
            await self._until(lambda: chat.phase is not Phase.SAVING, SAVE_TIMEOUT_S)

    async def _until(self, so: Callable[[], bool], timeout_s: float) -> None:
        """Wait until the phase is such, or for as long as that may take at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not so():
                    self._phase_shown.clear()
                    await self._phase_shown.wait()

    def save(self) -> None:
        """Write what the reply has grown by. Trouble is told once, and tried again the next time."""
        if self.chat is None:
            return
        try:
            self.chat.conversation.flush()
        except SwachatError as error:
            if str(error) != self._told:
                self._told = str(error)
                self.show_notice("error", f"The reply is not stored yet: {error}")
        else:
            self._told = None
