"""Alt+Enter starts a new line in every terminal.

A terminal without a keyboard protocol of its own sends ESC CR for Alt+Enter. Textual 8.2.8 reads that as a plain Enter,
which would send a message in the middle; its table of key sequences is private, and there is no other way to add one.
It can be removed when Textual reads ESC CR as alt+enter.
"""

from typing import cast

from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual.keys import Keys


def install() -> None:
    """Have Textual read it as Ctrl+J, which starts a new line everywhere."""
    cast("dict[str, tuple[Keys, ...]]", ANSI_SEQUENCES_KEYS)["\x1b\r"] = (Keys.ControlJ,)
