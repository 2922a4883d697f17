"""What is done to compare two policies or windows: what the words of the command mean, and the dialog that measures."""

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
    """Compare two windows on a text: `A B FILE`, each of which may be left out."""
    from chatapp.ui.dialogs.compare import Comparison

    chat = host.chat
    if chat is None or chat.loaded is None:
        host.show_notice("warning", "There is no model to compare with yet.")
        return
    if chat.tell_busy():
        return

    def failed(error: SwachatError) -> None:
        host.show_notice("warning", str(error))

    # The file may be long, or on a slow disk.
    read = partial(pair_of, words, chat.loaded, tuple(chat.conversation.messages))
    host.in_thread(read, lambda pair: host.show_dialog(Comparison(pair)), group="compare", failed=failed)


def pair_of(words: str, loaded: "Loaded", said: "Sequence[ChatMessage]") -> "Pair":
    """What the words behind the command mean; without a file the text is what was `said`.

    Raises UserError where they mean nothing.
    """
    from chatapp.compare.side import ComparedCache
    from chatapp.compare.text import read_text
    from chatapp.ui.dialogs.compare import Pair

    try:
        named = shlex.split(words)
    except ValueError as error:
        raise UserError(f"{words!r} has no end: {error}.", "Close the quotation mark.") from error
    given = len(named) > 1
    sides = named[:2] if given else [f"{loaded.policy}:{loaded.n_ctx}", f"window:{loaded.n_ctx}"]
    file = named[2:] if given else named
    if len(file) > 1:
        raise UserError(f"{' '.join(file)!r} is more than one file.", "/compare sinks:512 window:512 FILE")
    text = read_text(Path(file[0]).expanduser()) if file else _conversation(said)
    return Pair(Path(loaded.model.path), text, (ComparedCache.parse(sides[0]), ComparedCache.parse(sides[1])))


def _conversation(said: "Sequence[ChatMessage]") -> str:
    """What was said so far. Raises UserError where that is nothing."""
    texts = [message.text for message in said]
    if not any(texts):
        raise UserError("Nothing was said that could be compared.", "Name a text: /compare sinks:512 window:512 FILE")
    return "\n\n".join(texts)
