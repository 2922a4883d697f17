"""What the actions of the registry do on the main screen: one method each, for key, palette and slash command."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from textual import on, work
from textual.widget import Widget

from chatapp.errors import SwachatError
from chatapp.presentation.format import nearest
from chatapp.text import visible
from chatapp.ui.action_table import Action
from chatapp.ui.actions.compare import ComparingActions
from chatapp.ui.actions.inspector import InspectingActions
from chatapp.ui.actions.messages import ModelsListed, SessionRead
from chatapp.ui.services import Choice
from chatapp.ui.widgets.prompt import Prompt, PromptBox
from chatapp.ui.widgets.transcript.message import last_code_block
from chatapp.ui.widgets.transcript.transcript import Transcript

if TYPE_CHECKING:
    from chatapp.chat.conversation import Conversation, Said
    from chatapp.store import Store


class ChatActions(InspectingActions, ComparingActions):
    """The actions; ChatScreen is the rest of the screen."""

    model: str | None

    def find_model(self, spec: str | None, chosen: bool) -> object:
        """Look for a model's file; ModelFound or ModelMissing follows."""
        raise NotImplementedError

    def restart_engine(self) -> None:
        """End the engine and start another one."""
        raise NotImplementedError

    # ----------------------------------------------------------------------- what can be done, and how it is called

    def offers(self, action: Action) -> bool:
        """True where the palette should offer the action now."""
        chat = self.chat
        said = chat is not None and bool(chat.conversation.messages)
        match action.id:
            case "stop":
                return chat is not None and (chat.busy or bool(chat.queue))
            case "regenerate" | "undo":
                return said and chat is not None and not chat.busy
            case (
                "pin"
                | "unpin"
                | "recall"
                | "edit"
                | "branch"
                | "branches"
                | "next_alternative"
                | "previous_alternative"
            ):
                return chat is not None and self.offers_of_window(action.id, chat)
            case "copy" | "copy_code" | "choose" | "rename" | "new":
                return said
            case "older":
                return self.query_one(Transcript).first > 0
            case _:
                return action.place != "replay"

    def run_slash(self, action: Action, argument: str) -> None:
        """Do what a slash command says; an argument goes to the same action as a choice that is made already."""
        match action.id:
            case "rename" if argument:
                self._rename(argument)
            case "model" if argument:
                self.find_model(argument, chosen=True)
            case "theme" if argument:
                self._use_theme(argument)
            case _ if argument:
                self.guarded(partial(getattr(self, f"action_{action.id}"), argument))
            case _:
                self.run_worker(self.run_action(action.id), group="slash")

    # ----------------------------------------------------------------------- the conversation

    def action_stop(self) -> None:
        """Stop the reply; leave the inspector where the person is in it, or under it."""
        if not self.leave_inspector() and self.chat is not None:
            self.chat.stop()

    def action_regenerate(self) -> None:
        """Another reply."""
        if self.chat is not None:
            self.guarded(self.chat.regenerate)

    def action_undo(self) -> None:
        """Take the last turn back."""
        if self.chat is not None:
            self.guarded(self.chat.undo)

    def new_conversation(self, store: "Store", name: str | None = None) -> "Conversation":
        """One that is not stored before its first message."""
        from chatapp.chat.conversation import Conversation

        config = self.app.config
        settings = {"cache": config.cache.model_dump(), "sampling": config.sampling.model_dump()}
        return Conversation(store, model=self.model or "", system=config.system, settings=settings, name=name)

    def action_new(self) -> None:
        """Begin anew."""
        if self.chat is not None and self.chat.conversation.messages:
            self._go_on_with(self.new_conversation(self.chat.conversation.store))

    def _go_on_with(self, conversation: "Conversation") -> None:
        if self.chat is None:
            return
        chat = self.chat
        opened: list[bool] = []
        self.guarded(lambda: opened.append(chat.open(conversation)))
        if opened == [True]:
            self.show_conversation()

    def action_resume(self) -> None:
        """Choose a stored conversation: the latest ones, or those where a message matches what is typed."""
        from chatapp.ui.dialogs.chooser import Chooser
        from chatapp.ui.dialogs.sessions import search_sessions

        if self.chat is None:
            return
        search = partial(search_sessions, self.chat.conversation.store)
        self.app.push_screen(Chooser("Resume a conversation", search, slow=True), self._read_session)

    def _read_session(self, chosen: Sequence[str] | None) -> None:
        if chosen and self.chat is not None:
            self._session_worker(self.chat.conversation.store, int(chosen[0]))

    @work(thread=True, exclusive=True, group="session")
    def _session_worker(self, store: "Store", key: int) -> None:
        from chatapp.chat.conversation import Conversation

        try:
            self.post_message(SessionRead(Conversation.resumed(store, store.session(key))))
        except SwachatError as error:
            self.app.call_from_thread(self.show_notice, "error", str(error))

    @on(SessionRead)
    def _session_read(self, event: SessionRead) -> None:
        self._go_on_with(event.conversation)

    def action_rename(self) -> None:
        """Ask for a name."""
        from chatapp.ui.dialogs.ask import AskLine

        if self.chat is not None:
            name = self.chat.conversation.name or ""
            self.app.push_screen(AskLine("Name of this conversation", name), self._rename)

    def _rename(self, name: str | None) -> None:
        if name is not None and self.chat is not None:
            self.guarded(partial(self._rename_to, self.chat.conversation, name))

    def _rename_to(self, conversation: "Conversation", name: str) -> None:
        kept = conversation.rename(name)
        self.query_one(PromptBox).show_name(kept)
        self.show_notice("info", f"This conversation is called {kept}.")

    # ----------------------------------------------------------------------- copying

    def action_copy(self) -> None:
        """Copy a message as the model or the person wrote it."""
        said = self._chosen_or_reply()
        self._copy(None if said is None else said.text, "the message", "There is no message to copy.")

    def action_copy_code(self) -> None:
        """Copy a message's last code block."""
        said = self._chosen_or_reply()
        self._copy(
            None if said is None else last_code_block(said.text), "the code block", "There is no code block to copy."
        )

    def _chosen_or_reply(self) -> "Said | None":
        chosen = self.query_one(Transcript).chosen
        if chosen is not None:
            return chosen.said
        messages = self.chat.conversation.messages if self.chat is not None else []
        return next((said for said in reversed(messages) if said.role == "assistant"), None)

    def _copy(self, text: str | None, what: str, none: str) -> None:
        if text is None:
            self.app.notify(none, severity="warning", markup=False)
        else:
            # Pasted into a shell, a control character in a reply would act.
            self.app.copy_to_clipboard(visible(text))
            self.app.notify(f"Copied {what}: {len(text):,} characters.", markup=False)

    def ask_link(self, address: str) -> None:
        """Show where a link leads before it is opened."""
        from chatapp.ui.dialogs.ask import AskLink

        def answered(answer: str | None) -> None:
            if answer == "open":
                self.app.open_url(address)
            elif answer == "copy":
                self._copy(address, "the address", "")

        self.app.push_screen(AskLink(address), answered)

    # ----------------------------------------------------------------------- model and engine

    def action_model(self) -> None:
        """Choose another model."""
        self._list_models()

    @work(thread=True, exclusive=True, group="models")
    def _list_models(self) -> None:
        try:
            self.post_message(ModelsListed(self.app.services.models()))
        except SwachatError as error:
            self.app.call_from_thread(self.show_notice, "error", str(error))

    @on(ModelsListed)
    def _models_listed(self, event: ModelsListed) -> None:
        from chatapp.ui.dialogs.chooser import Chooser, containing

        hint = "Enter takes it, or a path or hf:org/repo that you type · Esc closes"
        chooser = Chooser("Choose a model", containing(event.found), hint=hint, selected=self.model, free=True)
        self.app.push_screen(chooser, self._model_chosen)

    def _model_chosen(self, chosen: Sequence[str] | None) -> None:
        if chosen and self.chat is not None and not self.chat.tell_busy():
            self.find_model(chosen[0], chosen=True)

    def action_restart(self) -> None:
        """Start the engine again."""
        if self.chat is not None:
            self.show_notice("info", "The engine is being started again.")
            self.restart_engine()

    # ----------------------------------------------------------------------- looks

    def action_theme(self) -> None:
        """Choose a theme and see each one at once."""
        from chatapp.ui.dialogs.chooser import Chooser, containing

        before = self.app.theme
        choices = [Choice(name, name) for name in self.app.theme_names]

        def taken(chosen: Sequence[str] | None) -> None:
            self.app.theme = chosen[0] if chosen else before

        chooser = Chooser(
            "Choose a theme",
            containing(choices),
            selected=before,
            preview=lambda name: setattr(self.app, "theme", name),
        )
        self.app.push_screen(chooser, taken)

    def action_next_theme(self) -> None:
        """The next theme."""
        self._step_theme(1)

    def action_previous_theme(self) -> None:
        """The theme before."""
        self._step_theme(-1)

    def _step_theme(self, step: int) -> None:
        if (name := self.app.step_theme(step)) is not None:
            self._tell_theme(name)

    def _use_theme(self, name: str) -> None:
        if name in self.app.theme_names:
            self.app.theme = name
            self._tell_theme(name)
        else:
            hint = nearest(name, self.app.theme_names, f"There are: {', '.join(self.app.theme_names)}.")
            self.show_notice("warning", f"There is no theme {name}. {hint}")

    def _tell_theme(self, name: str) -> None:
        self.app.notify(f"Theme: {name}", timeout=2, markup=False)

    def action_help(self) -> None:
        """F1."""
        from chatapp.ui.dialogs.help import Help

        self.app.push_screen(Help(self.app.config.keys, _help_of(self.focused)))

    # ----------------------------------------------------------------------- moving

    def action_choose(self) -> None:
        """Into the transcript, at its last message."""
        transcript = self.query_one(Transcript)
        transcript.focus()
        transcript.choose_last()

    def action_top(self) -> None:
        """To the oldest message."""
        self.query_one(Transcript).go_to_start()

    def action_bottom(self) -> None:
        """To the end."""
        self.query_one(Transcript).follow()
        self.query_one(Prompt).focus()

    def action_older(self) -> None:
        """One page more."""
        self.query_one(Transcript).show_older()

    async def action_quit(self) -> None:
        """Leave."""
        await self.app.action_quit()


def _help_of(widget: Widget | None) -> str:
    """The help text of the focused widget, else that of the nearest one around it that has one."""
    while widget is not None:
        text = getattr(widget, "HELP", None)
        if isinstance(text, str):
            return text
        widget = widget.parent if isinstance(widget.parent, Widget) else None
    return ""
