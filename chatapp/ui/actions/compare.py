"""Comparing two policies or windows: parses the command's argument and opens the dialog that measures."""

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from chatapp.errors import SwachatError, UserError
from chatapp.ui.actions.host import ChatHost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatapp.chat.conversation import ChatMessage
    from chatapp.protocol.events import Loaded
    from chatapp.ui.dialogs.compare import Pair


def compare(host: ChatHost, words: str = "") -> None:
    """Compare two policies or windows on a text: `A B FILE`, of which A and B, or FILE, may be omitted."""
    from chatapp.ui.dialogs.compare import Comparison

    chat = host.chat
    if chat is None or chat.loaded is None:
        host.show_notice("warning", "No model is loaded yet.")
        return
    if chat.tell_busy():
        return

    def failed(error: SwachatError) -> None:
        host.show_notice("warning", str(error))

    # The file may be long, or on a slow disk.
    read = partial(pair_of, words, chat.loaded, tuple(chat.conversation.messages))
    host.in_thread(read, lambda pair: host.show_dialog(Comparison(pair)), group="compare", failed=failed)


def pair_of(words: str, loaded: "Loaded", said: "Sequence[ChatMessage]") -> "Pair":
    """The comparison that the command's argument asks for; without a file the text is what was `said`.

    Raises UserError if the argument cannot be understood.
    """
    from chatapp.compare.side import ComparedCache
    from chatapp.compare.text import read_text
    from chatapp.ui.dialogs.compare import Pair

    try:
        named = shlex.split(words)
    except ValueError as error:
        raise UserError(f"{words!r} cannot be read: {error}.", "Close the quotation mark.") from error
    given = len(named) > 1
    sides = named[:2] if given else [f"{loaded.policy}:{loaded.n_ctx}", f"window:{loaded.n_ctx}"]
    file = named[2:] if given else named
    if len(file) > 1:
        raise UserError(f"{' '.join(file)!r} names more than one file.", "Use /compare sinks:512 window:512 FILE.")
    text = read_text(Path(file[0]).expanduser()) if file else _conversation(said)
    return Pair(Path(loaded.model.path), text, (ComparedCache.parse(sides[0]), ComparedCache.parse(sides[1])))


def _conversation(said: "Sequence[ChatMessage]") -> str:
    """The conversation so far. Raises UserError if it is empty."""
    texts = [message.text for message in said]
    if not any(texts):
        raise UserError(
            "This conversation is empty, so there is no text to compare on.",
            "Name a text file: /compare sinks:512 window:512 FILE.",
        )
    return "\n\n".join(texts)
