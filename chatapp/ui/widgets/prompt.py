"""Where a person types: several lines, history, slash commands, and pastes of any size."""

import re
from collections.abc import Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.strip import Strip
from textual.timer import Timer
from textual.widgets import Static

from chatapp.text import one_line, visible
from chatapp.ui.action_table import Action, bindings, completions
from chatapp.ui.widgets.folding_text_area import FoldingTextArea

FORECAST_WAIT_S = 0.3
MAX_COMPLETIONS = 8


class Prompt(FoldingTextArea):
    """The text area. Its actions are those of the registry whose place is the prompt."""

    BINDINGS = bindings("prompt")
    HELP = (
        "Type a message here. Enter sends it; Shift+Enter, Alt+Enter or Ctrl+J starts a new line. "
        "Up on the first line and Down on the last go through your earlier messages. "
        "A message sent during a reply is queued; Up in an empty prompt takes it back."
    )

    class Sent(Message):
        """The person pressed Enter on `text`, which is not empty."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Drafted(Message):
        """The draft has not changed for a moment."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class TakeBack(Message):
        """The person wants the last queued message back."""

    class Page(Message):
        """The person scrolls the transcript by `pages`."""

        def __init__(self, pages: int) -> None:
            super().__init__()
            self.pages = pages

    class Completing(Message):
        """The completions to show, and which one is selected, if any."""

        def __init__(self, offered: Sequence[Action], index: int | None) -> None:
            super().__init__()
            self.offered = offered
            self.index = index

    def __init__(self) -> None:
        super().__init__(id="prompt", placeholder="Write a message…")
        self._history: list[str] = []
        self._at: int | None = None
        """Where in the history the draft came from; None if the person typed it."""
        self._own_draft = ""
        """What the person had typed before going back, its pastes folded."""
        self._before_edit: str | None = None
        """The text that an edited message has replaced, its pastes folded."""
        self._offering = False
        self._closed_for = ""
        """The text whose list of slash commands the person has closed."""
        self._chosen: tuple[str, int | None] = ("", None)
        """The text that slash commands were offered for, and which of them is selected."""
        self._wait: Timer | None = None
        self.queued = 0
        """How many messages are queued; Up in an empty prompt takes the last one back."""

    def render_line(self, y: int) -> Strip:
        """See TextArea. Textual 8.2.8 cannot wrap a placeholder in a width of zero."""
        return super().render_line(y) if self.content_size.width else Strip.blank(0)

    # ----------------------------------------------------------------------- the draft

    @property
    def unsent(self) -> str:
        """What would be lost with the program: the draft, and one that an earlier message or an edit has replaced."""
        draft = self.draft
        if self._at is not None:
            draft = _joined("" if draft == self._history[self._at] else draft, self.pastes.unfold(self._own_draft))
        return draft if self._before_edit is None else _joined(draft, self.pastes.unfold(self._before_edit))

    def replace_draft(self, text: str) -> None:
        """Put a text in place of the draft, of which nothing is kept."""
        self._at = self._before_edit = None
        self._fill("")
        self.pastes.forget_all_but("")
        self._fill(self.folded(text))

    def remember(self, texts: Sequence[str]) -> None:
        """Set the history to go back through, newest last."""
        self._history = list(texts)

    def put(self, text: str) -> None:
        """Put a text before the draft."""
        rest = self.text
        self._fill(self.folded(text) + ("\n" + rest if rest else ""))

    def begin_edit(self, text: str) -> None:
        """Replace the draft with an earlier message."""
        self._before_edit = self.text
        self._fill(self.folded(text))
        self.focus()

    def end_edit(self) -> None:
        """Restore the draft."""
        if self._before_edit is not None:
            self._fill(self._before_edit)
            self._before_edit = None

    def _fill(self, text: str) -> None:
        self.load_text(text)
        self.move_cursor(self.document.end)

    def get_line(self, line_index: int) -> Text:
        """The line as it is drawn: a control character that was pasted or remembered is shown as its symbol."""
        return Text(visible(self.document.get_line(line_index)), end="", no_wrap=True)

    # ----------------------------------------------------------------------- keys

    def action_send(self) -> None:
        """Send the draft, or the selected slash command. A bare slash is not one yet."""
        if self.text == "/" and self._offered and self._offer is None:
            return
        if self._offered and not any(self.text[1:] in action.slash for action in self._offered):
            self._fill(f"/{self._offered[self._offer or 0].slash[0]}")
        text = self.draft
        if not text.strip():
            return
        if not self._history or self._history[-1] != text:
            self._history.append(text)
        self._at = None
        self._fill("")
        self.pastes.forget_all_but(self._before_edit or "")
        self.post_message(self.Sent(text))

    def action_newline(self) -> None:
        """Start a new line."""
        self.type_in("\n")

    def action_complete(self) -> None:
        """Complete the selected slash command, with a space if it takes an argument."""
        action = self._offered[self._offer or 0]
        self._fill(f"/{action.slash[0]}{' ' if action.argument else ''}")

    def action_close_list(self) -> None:
        """Close the list of slash commands, until something else is typed."""
        self._closed_for = self.text
        self._choose(None)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Tab and Escape act on the list of slash commands if it is open; else they do what they do anywhere."""
        return bool(self._offered) if action in ("complete", "close_list") else True

    def action_page_up(self) -> None:
        """Scroll the transcript."""
        self.post_message(self.Page(-1))

    def action_page_down(self) -> None:
        """Scroll the transcript."""
        self.post_message(self.Page(1))

    def action_cursor_up(self, select: bool = False) -> None:
        """Up: the completion above, a line up, the last queued message, or an earlier message."""
        if self._offered:
            self._choose((self._offer or 0) - 1)
        elif select or not self.navigator.is_first_wrapped_line(self.cursor_location):
            super().action_cursor_up(select)
        elif self.queued and not self.text:
            self.post_message(self.TakeBack())
        else:
            self._go_back(-1)

    def action_cursor_down(self, select: bool = False) -> None:
        """Down: the completion below, a line down, or a later message."""
        if self._offered:
            self._choose(0 if self._offer is None else self._offer + 1)
        elif select or not self.navigator.is_last_wrapped_line(self.cursor_location):
            super().action_cursor_down(select)
        else:
            self._go_back(1)

    def _go_back(self, step: int) -> None:
        at = len(self._history) if self._at is None else self._at
        to = at + step
        if not 0 <= to <= len(self._history):
            return
        if self._at is None:
            self._own_draft = self.text
        self._at = None if to == len(self._history) else to
        self._fill(self._own_draft if self._at is None else self.folded(self._history[to]))

    # ----------------------------------------------------------------------- completions and forecast

    def on_text_area_changed(self) -> None:
        """Offer slash commands; request a forecast when the person pauses."""
        if self.text != self._closed_for:
            self._closed_for = ""
        if self._offered or self._offering:
            self._choose(self._offer)
        if self._wait is not None:
            self._wait.stop()
        self._wait = self.set_timer(FORECAST_WAIT_S, self.tell_draft)

    @property
    def _offered(self) -> list[Action]:
        """The slash commands that the text may become, computed when needed.

        Textual reports a change of the text only after the keys that came with it: if `/usr/bin` and Enter came at
        once, Enter would select the first command that was offered for `/`.
        """
        return completions(self.text) if self._at is None and self._closed_for != self.text else []

    @property
    def _offer(self) -> int | None:
        """Which of them is selected: the first one, until the person selects another; none for a bare slash."""
        text, index = self._chosen
        if text == self.text and index is not None:
            return index
        return None if self.text == "/" else 0

    def _choose(self, index: int | None) -> None:
        offered = self._offered
        self._chosen = (self.text, index % len(offered) if offered and index is not None else None)
        self._offering = bool(offered)
        self.post_message(self.Completing(offered, self._offer))

    def tell_draft(self) -> None:
        """Report the draft, for a forecast."""
        draft = self.draft
        self.post_message(self.Drafted("" if re.match(r"/[A-Za-z]", draft) else draft))


class PromptBox(Vertical):
    """The prompt with what belongs to it: the queue and the completions above, the forecast in its border."""

    def __init__(self) -> None:
        super().__init__(id="prompt-box")
        self.prompt = Prompt()
        self._name = self._forecast = self._hint = self._aside = ""
        self._queue = Static(id="queue")
        self._offers = Static(id="completions")
        self._queue.display = self._offers.display = False

    def compose(self) -> ComposeResult:
        yield self._queue
        yield self._offers
        yield self.prompt

    def show_queue(self, queue: Sequence[str]) -> None:
        """Show the queued messages, a line each."""
        self.prompt.queued = len(queue)
        lines = [f"queued  {_line(text)}" for text in queue]
        self._queue.update(Content("\n".join(lines)))
        self._queue.display = bool(queue)

    def show_name(self, name: str | None) -> None:
        """Show the name of the conversation."""
        self._name = one_line(name or "")
        self.prompt.border_title = Content(self._name)

    def show_editing(self, turn: int | None, text: str) -> None:
        """Edit the message of a turn; None ends the edit."""
        if turn is None:
            self.prompt.end_edit()
            self.prompt.border_title = Content(self._name)
        else:
            self.prompt.begin_edit(text)
            self.prompt.border_title = Content(f"Editing turn {turn} · Esc cancels")

    def show_forecast(self, text: str) -> None:
        """Show what sending the draft would do."""
        self._forecast = text
        self._show_subtitle()

    def show_hint(self, hint: str, aside: str = "") -> None:
        """Show what single keys do, while they do something; `aside` is shown while there is no forecast either."""
        if (hint, aside) != (self._hint, self._aside):  # called with every snapshot
            self._hint, self._aside = hint, aside
            self._show_subtitle()

    def _show_subtitle(self) -> None:
        self.prompt.border_subtitle = Content(self._hint or self._forecast or self._aside)

    def on_prompt_completing(self, event: Prompt.Completing) -> None:
        """Draw the completions."""
        event.stop()
        self._offers.display = bool(event.offered)
        index = event.index or 0
        width = max((len(_usage(action)) + 2 for action in event.offered), default=0)
        first = max(0, min(index - MAX_COMPLETIONS + 1, len(event.offered) - MAX_COMPLETIONS))
        lines: list[Content] = []
        for number, action in enumerate(event.offered[first : first + MAX_COMPLETIONS], first):
            mark = "▸" if number == event.index else " "
            lines.append(
                Content.assemble(
                    f"{mark} ", (f"{_usage(action):<{width}}", "bold"), (action.title, "" if mark == "▸" else "dim")
                )
            )
        self._offers.update(Content("\n").join(lines))


def _usage(action: Action) -> str:
    """ "/rename NAME"."""
    return f"/{action.slash[0]} {action.argument}".rstrip()


def _joined(*texts: str) -> str:
    return "\n".join(filter(None, texts))


def _line(text: str) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(visible(text[:400]).split())
    return line if len(line) <= 200 else f"{line[:199]}…"
