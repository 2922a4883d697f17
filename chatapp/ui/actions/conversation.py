"""Actions on a chat's conversation, its model and its engine, and on the part of the transcript that is shown."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from chatapp.presentation.format import nearest
from chatapp.text import visible
from chatapp.ui.action_table import BY_ID, shown_keys
from chatapp.ui.actions.host import ChatHost, Host
from chatapp.ui.actions.opening import go_on_with, open_session
from chatapp.ui.services import Choice
from chatapp.ui.widgets.transcript.message import last_code_block

if TYPE_CHECKING:
    from chatapp.chat.controller import Chat
    from chatapp.chat.conversation import ChatMessage, Conversation
    from chatapp.store import Store


def stop(host: ChatHost, _: str = "") -> None:
    """Leave the inspector if it has the focus or covers the chat; else stop the reply."""
    if not host.pane.leave() and host.chat is not None:
        host.chat.stop()


def regenerate(host: ChatHost, _: str = "") -> None:
    """Generate another reply."""
    if host.chat is not None:
        host.chat.regenerate()


def undo(host: ChatHost, _: str = "") -> None:
    """Undo the last turn."""
    if host.chat is not None:
        host.chat.undo()


def answer(host: ChatHost, _: str = "") -> None:
    """End the thoughts, so that the answer begins."""
    if host.chat is not None:
        host.chat.answer_now()


def thoughts(host: ChatHost, _: str = "") -> None:
    """Fold or unfold the thoughts of the selected message, or of the last reply that has some."""
    said = with_thoughts(host)
    view = None if said is None else host.transcript.view_of(said)
    if said is None:
        host.notify("No reply here has thoughts.", severity="warning", markup=False)
    elif view is None or view.thoughts is None:
        host.notify("Scroll to the reply, or select it (F8).", severity="warning", markup=False)
    else:
        view.thoughts.toggle()


def with_thoughts(host: ChatHost) -> "ChatMessage | None":
    """The selected message if it has thoughts, else the last reply that has some."""
    if host.chosen is not None and host.chosen.reasoning:
        return host.chosen
    messages = host.chat.conversation.messages if host.chat is not None else []
    return next((said for said in reversed(messages) if said.reasoning), None)


# --------------------------------------------------------------------------- conversations


def new(host: ChatHost, _: str = "") -> None:
    """Start a new conversation."""
    chat = host.chat
    if chat is not None and chat.conversation.messages:
        go_on_with(host, chat, new_conversation(host, chat.conversation.store))


def new_conversation(host: ChatHost, store: "Store", name: str | None = None) -> "Conversation":
    """A new conversation, stored with its first message."""
    from chatapp.chat.conversation import Conversation

    config = host.config
    settings = {"cache": config.cache.model_dump(), "sampling": config.sampling.model_dump()}
    return Conversation(store, model=host.model or "", system=config.system, settings=settings, name=name)


def resume(host: ChatHost, _: str = "") -> None:
    """Choose a stored conversation: the latest ones, or those with a message that matches what is typed."""
    from chatapp.ui.dialogs.chooser import Chooser
    from chatapp.ui.dialogs.sessions import SessionSearch

    chat = host.chat
    if chat is None:
        return

    def chosen(values: Sequence[str] | None) -> None:
        if values:
            open_session(host, int(values[0]))

    host.show_dialog(Chooser("Resume a conversation", SessionSearch(chat.conversation.store)), chosen)


def rename(host: ChatHost, name: str = "") -> None:
    """Give the conversation this name, or ask for one."""
    from chatapp.ui.dialogs.ask import AskLine

    chat = host.chat
    if chat is None:
        return

    def answered(line: str | None) -> None:
        if line is not None:
            _rename_to(host, chat, chat.conversation, line)

    if name:
        _rename_to(host, chat, chat.conversation, name)
    else:
        host.show_dialog(AskLine("Name of this conversation", chat.conversation.name or ""), answered)


def _rename_to(host: ChatHost, chat: "Chat", conversation: "Conversation", name: str) -> None:
    def renamed(kept: str) -> None:
        if chat.conversation is conversation:
            host.prompt.show_name(kept)
        host.show_notice("info", f'Renamed to "{kept}".')

    chat.aside(partial(conversation.rename, name), renamed)


# --------------------------------------------------------------------------- copying


def copy_or_stop(host: ChatHost, _: str = "") -> None:
    """Copy what is selected; without that stop what the model does; without that say how to quit."""
    chat, selected = host.chat, host.selected_text
    if selected:
        host.copy(selected, "the selection")
    elif chat is not None and (chat.busy or chat.queue or chat.done is not None):
        chat.stop()
    else:
        key = shown_keys(host.config.keys.get("quit", BY_ID["quit"].keys).split(",")[0])
        host.notify(f"{key} quits; the conversation is stored.", markup=False)


def copy(host: ChatHost, _: str = "") -> None:
    """Copy the selected message, or the last reply, as it was written."""
    said = _chosen_or_reply(host)
    _copy(host, None if said is None else said.text, "the message", "There is no message to copy.")


def copy_code(host: ChatHost, _: str = "") -> None:
    """Copy a message's last code block."""
    said = _chosen_or_reply(host)
    code = None if said is None else last_code_block(said.text)
    _copy(host, code, "the code block", "There is no code block to copy.")


def _chosen_or_reply(host: ChatHost) -> "ChatMessage | None":
    if host.chosen is not None:
        return host.chosen
    messages = host.chat.conversation.messages if host.chat is not None else []
    return next((said for said in reversed(messages) if said.role == "assistant"), None)


def _copy(host: ChatHost, text: str | None, what: str, none: str) -> None:
    if text is None:
        host.notify(none, severity="warning", markup=False)
    else:
        # Pasted into a shell, a control character in a reply would act.
        host.copy(visible(text), what)


def ask_about_link(host: ChatHost, address: str) -> None:
    """Show where a link leads before it is opened."""
    from chatapp.ui.dialogs.ask import AskLink

    def answered(answer: str | None) -> None:
        if answer == "open":
            host.open_link(address)
        elif answer == "copy":
            _copy(host, address, "the address", "")

    host.show_dialog(AskLink(address), answered)


# --------------------------------------------------------------------------- model and engine


def model(host: ChatHost, spec: str = "") -> None:
    """Load this model, or choose one."""
    if spec:
        host.find_model(spec, chosen=True)
    else:
        host.in_thread(host.services.models, partial(_choose_model, host), group="models")


def _choose_model(host: ChatHost, found: Sequence[Choice]) -> None:
    from chatapp.ui.dialogs.chooser import Chooser, containing

    def chosen(values: Sequence[str] | None) -> None:
        if values and host.chat is not None and not host.chat.tell_busy():
            host.find_model(values[0], chosen=True)

    hint = "Enter selects, or loads a typed path or hf:org/repo · Esc cancels"
    host.show_dialog(Chooser("Choose a model", containing(found), hint=hint, selected=host.model, free=True), chosen)


def restart(host: ChatHost, _: str = "") -> None:
    """Restart the engine."""
    if host.chat is not None:
        host.show_notice("info", "Restarting the engine.")
        host.restart_engine()


# --------------------------------------------------------------------------- themes and help


def theme(host: ChatHost, name: str = "") -> None:
    """Use this theme, or choose one with a preview of each."""
    names = host.themes.theme_names
    if not name:
        _choose_theme(host)
    elif name in names:
        host.themes.use_theme(name)
        _tell_theme(host, name)
    else:
        hint = nearest(name, names, f"Available: {', '.join(names)}.")
        host.show_notice("warning", f"There is no theme {name}. {hint}")


def _choose_theme(host: ChatHost) -> None:
    from chatapp.ui.dialogs.chooser import Chooser, containing

    before = host.themes.theme_name
    choices = [Choice(name, name) for name in host.themes.theme_names]

    def taken(chosen: Sequence[str] | None) -> None:
        host.themes.use_theme(chosen[0] if chosen else before)

    chooser = Chooser("Choose a theme", containing(choices), selected=before, preview=host.themes.use_theme)
    host.show_dialog(chooser, taken)


def next_theme(host: ChatHost, _: str = "") -> None:
    """Switch to the next theme."""
    _step_theme(host, 1)


def previous_theme(host: ChatHost, _: str = "") -> None:
    """Switch to the previous theme."""
    _step_theme(host, -1)


def _step_theme(host: Host, step: int) -> None:
    if (name := host.themes.step_theme(step)) is not None:
        _tell_theme(host, name)


def _tell_theme(host: Host, name: str) -> None:
    host.notify(f"Theme: {name}", timeout=2, markup=False)


def show_help(host: ChatHost, _: str = "") -> None:
    """Show all keys and commands."""
    from chatapp.ui.dialogs.help import Help

    host.show_dialog(Help(host.config.keys, host.focused_help))


async def leave_program(host: Host, _: str = "") -> None:
    """Quit the program."""
    await host.quit()


# --------------------------------------------------------------------------- scrolling


def choose(host: ChatHost, _: str = "") -> None:
    """Have single keys act on a message: the last one, unless another is selected."""
    if not host.transcript.choose_by_keys():
        host.notify("There is no message to select.", severity="warning", markup=False)


def top(host: ChatHost, _: str = "") -> None:
    """Scroll to the oldest message."""
    host.transcript.go_to_start()


def bottom(host: ChatHost, _: str = "") -> None:
    """Scroll to the end and focus the prompt."""
    host.transcript.follow()
    host.prompt.prompt.focus()


def older(host: ChatHost, _: str = "") -> None:
    """Show one more page of older messages."""
    host.transcript.show_older()
