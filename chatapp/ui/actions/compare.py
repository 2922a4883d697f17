"""What is done to compare two policies or windows: what the words of the command mean, and the dialog that measures."""

import shlex
from pathlib import Path

from textual import work

from chatapp.errors import SwachatError, UserError
from chatapp.ui.actions.window import WindowActions
from chatapp.ui.dialogs.compare import Comparison, Pair


class ComparingActions(WindowActions):
    """A part of ChatActions."""

    def action_compare(self, words: str = "") -> None:
        """Compare two windows on a text: `A B FILE`, each of which may be left out."""
        if self.chat is None or self.chat.loaded is None:
            self.show_notice("warning", "There is no model to compare with yet.")
        elif not self.chat.tell_busy():
            self._read_pair(words)

    @work(thread=True, exclusive=True, group="compare")
    def _read_pair(self, words: str) -> None:
        """The file may be long, or on a slow disk."""
        try:
            pair = self._pair_of(words)
        except SwachatError as error:
            self.app.call_from_thread(self.show_notice, "warning", str(error))
        else:
            self.app.call_from_thread(self.app.push_screen, Comparison(pair))

    def _pair_of(self, words: str) -> Pair:
        """What the words behind the command mean. Raises UserError where they mean nothing."""
        from chatapp.compare.side import Side
        from chatapp.compare.text import read_text

        chat = self.chat
        assert chat is not None
        assert chat.loaded is not None
        try:
            named = shlex.split(words)
        except ValueError as error:
            raise UserError(f"{words!r} has no end: {error}.", "Close the quotation mark.") from error
        sides = (
            named[:2]
            if len(named) > 1
            else [f"{chat.loaded.policy}:{chat.loaded.n_ctx}", f"window:{chat.loaded.n_ctx}"]
        )
        file = named[2:] if len(named) > 1 else named
        if len(file) > 1:
            raise UserError(f"{' '.join(file)!r} is more than one file.", "/compare sinks:512 window:512 FILE")
        text = read_text(Path(file[0]).expanduser()) if file else self._conversation()
        return Pair(Path(chat.loaded.model.path), text, (Side.parse(sides[0]), Side.parse(sides[1])))

    def _conversation(self) -> str:
        """What was said so far. Raises UserError where that is nothing."""
        said = [] if self.chat is None else [message.text for message in self.chat.conversation.messages]
        if not any(said):
            raise UserError(
                "Nothing was said that could be compared.", "Name a text: /compare sinks:512 window:512 FILE"
            )
        return "\n\n".join(said)
