"""The main screen: it shows a chat and passes on what the person does.

It is composed of parts: the view of the chat, the inspector's pane, the host of the actions, and the parts that open
the store and write to it. The actions themselves are in `chatapp.ui.actions`. State changes on the event loop only;
slow work runs in threads, and its results return there. Nothing of the engine or the store is touched, or even
imported, before the first paint.
"""

import time
from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Container, Horizontal, Vertical
from textual.widget import Widget

from chatapp.errors import SwachatError
from chatapp.ui.action_table import Action, bindings, parse_slash, unslash
from chatapp.ui.actions.conversation import ask_about_link
from chatapp.ui.actions.handlers import HANDLERS, available
from chatapp.ui.actions.inspector import ask_for_look, ask_for_words
from chatapp.ui.actions.window import ask_about_recall
from chatapp.ui.actions.window_text import take_window_text
from chatapp.ui.base_app import BaseApp
from chatapp.ui.bridge import EngineEnded, EngineSaid
from chatapp.ui.inspector_pane import InspectorPane, KeptLayout
from chatapp.ui.screens.chat_host import Owner, ScreenHost
from chatapp.ui.screens.chat_view import ChatView
from chatapp.ui.screens.saving import Saving
from chatapp.ui.screens.store_opening import StoreOpening
from chatapp.ui.screens.typing_target import TypingTarget
from chatapp.ui.textual_fixes.compositor import SparingScreen
from chatapp.ui.widgets.inspector.side import Side
from chatapp.ui.widgets.prompt import Prompt
from chatapp.ui.widgets.transcript.transcript import Transcript

if TYPE_CHECKING:
    from textual.widgets import Markdown

    from chatapp.chat.controller import Chat
    from chatapp.protocol.codec import AnyEvent
    from chatapp.ui.cpu_time import TurnCpuTime
    from chatapp.ui.widgets.inspector.cache_map import CacheMap
    from chatapp.ui.widgets.inspector.cell_grid import TurnChosen

SAVE_EVERY_S = 0.25
SETTLE_AFTER_S = 1.0
"""Once a reply has ended and is drawn, nobody is likely to notice a pause of 60 ms."""
WELCOME = """swachat

Long conversations with a local model.
Evictions are shown, never hidden.

Enter sends · Shift+Enter new line
F1 help · Ctrl+P commands"""


class ChatScreen(SparingScreen):
    """See the module. Its parts are made when it is composed."""

    BINDINGS = bindings("screen")
    AUTO_FOCUS = "#prompt"
    app: BaseApp  # pyright: ignore[reportIncompatibleMethodOverride] - a property there; only its type is narrowed
    _kept_layout: KeptLayout
    _layout_problem: str
    _pane: InspectorPane
    _view: ChatView
    _host: ScreenHost
    _store: StoreOpening
    _typing: TypingTarget
    _saving: Saving | None = None
    _drawing: "TurnCpuTime"

    def __init__(self, owner: Owner, *, model: str | None, resume: bool, session: str | None) -> None:
        """`resume` resumes the last conversation; `session` the one of that name, or starts it."""
        super().__init__()
        self._owner = owner
        self._model, self._resume, self._session = model, resume, session

    def compose(self) -> ComposeResult:
        ui = self.app.config.ui
        self._kept_layout = KeptLayout(self, self.app.services.layout)
        layout, self._layout_problem = self._kept_layout.load()
        self._pane = InspectorPane(self, ui, layout, home=Prompt, changed=self._kept_layout.change)
        self._view = view = ChatView(
            ui,
            self._pane,
            save=self.save,
            save_soon=self._save_soon,
            restart=lambda: self._host.restart_engine(),
        )
        view.model = self._model
        self._host = ScreenHost(self, self.app, self._owner, view, self._pane)
        self._saving = Saving(view)
        self._typing = TypingTarget(self, view, self._pane, self.app.config.keys)
        self._store = StoreOpening(
            self._host, view, self._saving, self._owner.keep_store, resume=self._resume, session=self._session
        )
        with Horizontal(id="main"):
            with Vertical(id="chat"):
                yield view.transcript
                yield view.progress
                yield view.prompt
            yield Side(id="side")
        yield Container(id="inspector-line")
        yield view.status

    def on_mount(self) -> None:
        """Paint first; then start everything else."""
        self._view.transcript.welcome(WELCOME)
        self._pane.apply_layout()
        self.call_after_refresh(self._begin)

    def on_resize(self) -> None:
        """Fit the figures and the inspector to the new width."""
        self._pane.fit()
        self.call_after_refresh(self._view.show_phase)

    def _begin(self) -> None:
        """Runs after the first paint: the inspector's drawing code is imported only now."""
        from chatapp.presentation.host_reading import EVERY_S
        from chatapp.ui.cpu_time import TurnCpuTime
        from chatapp.ui.widgets.inspector.inspector import Inspector
        from chatapp.ui.widgets.inspector.inspector_line import InspectorLine

        fps = self.app.config.ui.frames_per_second
        self._pane.fill(Inspector(frames_per_second=fps, layout=self._pane.layout), InspectorLine())
        self._drawing = TurnCpuTime(self.app.services.cpu_s)
        self.query_one(Side).mount(self._pane.inspector)
        self.query_one("#inspector-line").mount(self._pane.line)
        if self._layout_problem:
            self.show_notice("warning", self._layout_problem)
        self.watch(self, "focused", self._typing.show)
        self.watch(self, "maximized", self._typing.show, init=False)
        self._owner.after_first_paint()
        self.set_interval(SAVE_EVERY_S, self.save)
        self.set_interval(SAVE_EVERY_S, self._host.drafts.look)
        self.set_interval(SAVE_EVERY_S, self._tell_trouble)
        self.set_interval(EVERY_S, self._reread_memory)
        self._store.begin()

    # ----------------------------------------------------------------------- keys and focus

    def direct(self, event: events.Key | events.Paste) -> None:
        """Called before a key or a paste is handled: give the prompt the focus if it is for the prompt."""
        self._typing.direct(event)

    def get_focusable_widget_at(self, x: int, y: int) -> Widget | None:
        """See Screen: what a click gives the focus to. Only to the prompt, from which no click takes it."""
        found = super().get_focusable_widget_at(x, y)
        return found if isinstance(found, Prompt) else None

    # ----------------------------------------------------------------------- actions

    @property
    def chat(self) -> "Chat | None":
        """The chat that is shown; None before the store is open."""
        return self._view.chat

    def offers(self, action: Action) -> bool:
        """True if the palette should offer the action now."""
        return available(self._host, action.id)

    async def action_do(self, action_id: str, argument: str = "") -> None:
        """Carry out an action, for keys, the palette and the transcript."""
        rest = self._do(action_id, argument)
        if rest is not None:
            await rest

    def _do(self, action_id: str, argument: str) -> Awaitable[None] | None:
        rest = self._host.guarded(partial(HANDLERS[action_id], self._host, argument))
        self._typing.show()
        return rest

    @on(Prompt.Sent)
    def _sent(self, event: Prompt.Sent) -> None:
        try:
            slash = parse_slash(event.text)
        except SwachatError as error:
            self.show_notice("warning", str(error))
            self._view.give_back(event.text)
            return
        if slash is None:
            self.submit(unslash(event.text))
            return
        action, argument = slash
        rest = self._do(action.id, argument)
        if rest is not None:
            self.run_worker(rest, group="slash")  # it may wait for messages of this screen

    def submit(self, text: str) -> None:
        """Send the message, or queue it."""
        self._store.submit(text)
        self.call_later(self._host.drafts.look)

    # ----------------------------------------------------------------------- the engine

    @on(EngineSaid)
    def _engine_said(self, event: EngineSaid) -> None:
        if self.chat is None or event.engine is not self._owner.engine:
            return
        from chatapp.presentation.visibility import TurnVisibility
        from chatapp.protocol.events import (
            Loaded,
            Opened,
            Pinned,
            Recalled,
            RecallForeseen,
            RolledBack,
            Snapshot,
            TurnDone,
        )
        from chatapp.protocol.window_text import WindowShown

        self._inspect(event.event)
        self._host.guarded(partial(self.chat.handle, event.event))
        if isinstance(event.event, Snapshot):
            self._pane.inspector.show_pressure(self.chat.memory.pressure)
            transcript = self._view.transcript
            transcript.show_visibility(TurnVisibility(event.event))
            if transcript.chosen is not None:
                self._typing.show()
        elif isinstance(event.event, Loaded):
            self.app.services.settle()
            if self._view.model is not None:
                self.app.services.remember(self._view.model)
        elif isinstance(event.event, RecallForeseen):
            ask_about_recall(self._host, event.event)
        elif isinstance(event.event, WindowShown):
            take_window_text(self.app.screen_stack, event.event)
        elif isinstance(event.event, TurnDone):
            self.set_timer(SETTLE_AFTER_S, self._settle)
        if isinstance(event.event, Opened | Pinned | Recalled | RolledBack | TurnDone):
            # The cache has changed under the draft: ask for its forecast again.
            self._view.prompt.prompt.tell_draft()

    @on(EngineEnded)
    def _engine_ended(self, event: EngineEnded) -> None:
        if self.chat is not None and event.engine is self._owner.engine:
            self.chat.handle_end(event.why)

    def _inspect(self, event: "AnyEvent") -> None:
        self._pane.show(event)
        drawn_ms = self._drawing.take(event)
        if drawn_ms is not None:
            self._pane.inspector.show_drawn(drawn_ms)

    def _reread_memory(self) -> None:
        """Warn of low memory even while the engine is idle."""
        read = self.app.services.memory
        if self.chat is None or read is None or (reading := self.chat.read_memory(read, time.time())) is None:
            return
        self._pane.show_reading(reading)
        self._pane.inspector.show_pressure(self.chat.memory.pressure)

    def _tell_trouble(self) -> None:
        """Say that the chat is no longer recorded."""
        if (trouble := self.app.services.trouble()) is not None:
            self.show_notice("warning", trouble)

    def _settle(self) -> None:
        """Not during a reply: it is done after that one anyway."""
        if self.chat is None or not self.chat.busy:
            self.app.services.settle()

    # ----------------------------------------------------------------------- messages of its widgets

    @on(Prompt.Changed)
    def _draft_changed(self) -> None:
        self._typing.uncover()

    @on(Prompt.Drafted)
    def _drafted(self, event: Prompt.Drafted) -> None:
        if self.chat is not None:
            self.chat.forecast(event.text)

    @on(Prompt.TakeBack)
    def _take_back(self) -> None:
        if self.chat is not None and (text := self.chat.take_back()) is not None:
            self._view.give_back(text)

    @on(Prompt.Page)
    def _page(self, event: Prompt.Page) -> None:
        if event.pages < 0:
            self._view.transcript.scroll_page_up(animate=False)
        else:
            self._view.transcript.scroll_page_down(animate=False)

    @on(Transcript.Choice)
    def _message_chosen(self) -> None:
        self._typing.show()

    def on_markdown_link_clicked(self, event: "Markdown.LinkClicked") -> None:
        """Show where the link leads."""
        event.stop()
        ask_about_link(self._host, event.href)

    def on_turn_chosen(self, event: "TurnChosen") -> None:
        """A turn was selected on the cache map."""
        self._view.transcript.choose(event.turn)

    def on_side_sized(self, event: Side.Sized) -> None:
        """The inspector's edge was dragged."""
        event.stop()
        self._pane.take_width(event.width)

    def on_inspector_arranged(self) -> None:
        """A panel was folded, or switched to another view."""
        self._pane.take_panels()

    def on_cache_map_look_wanted(self) -> None:
        """The cache map needs a sample, and there is none."""
        if self.chat is not None:
            ask_for_look(self.chat)

    def on_cache_map_words_wanted(self, event: "CacheMap.WordsWanted") -> None:
        """The cache map needs the text under its cursor."""
        event.stop()
        if self.chat is not None:
            ask_for_words(self.chat, event.pos, event.n)

    # ----------------------------------------------------------------------- called by the program

    def show_notice(self, level: str, text: str) -> None:
        """Show a line in the transcript."""
        self._view.show_notice(level, text)

    def save(self) -> None:
        """Store the new text of the reply."""
        if self._saving is not None:
            self._saving.save()

    def _save_soon(self) -> None:
        if self._saving is not None:
            self._saving.save_soon()

    async def finish_store(self) -> None:
        """Store what is left; nothing is stored after that."""
        if self._saving is not None:
            await self._saving.finish()

    async def save_all(self) -> None:
        """Store everything that is still unwritten, and the cache: the program ends."""
        if self._saving is not None:
            self._saving.save()
            self._kept_layout.keep_now()
            await self._host.drafts.finish()  # before a reply is stopped, which may take a while
            await self._saving.save_cache()
            await self._host.drafts.finish()
