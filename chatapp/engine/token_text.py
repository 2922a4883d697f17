"""From tokens to text in pieces, so that special tokens can be told from text that only spells them."""

import codecs
from collections.abc import Callable, Sequence

from chatapp.protocol.window_text import TextPiece


class TokenText:
    """Reads tokens in order. Bytes of a character that is not whole yet wait for the next tokens."""

    def __init__(self, spell: Callable[[int], bytes], special: Callable[[int], bool]) -> None:
        """`spell(id)` gives the bytes that a token stands for, a special one too; `special(id)` whether it is one."""
        self._spell, self._special = spell, special
        self._known: dict[int, tuple[bytes, bool]] = {}
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def read(self, tokens: Sequence[int]) -> list[TextPiece]:
        """The text of these tokens."""
        pieces: list[TextPiece] = []
        data = bytearray()

        def add(text: str, *, special: bool = False) -> None:
            if text:
                pieces.append(TextPiece(text=text, special=special))

        for token in tokens:
            if token not in self._known:
                self._known[token] = self._spell(token), self._special(token)
            piece, special = self._known[token]
            if special:
                add(self._decoder.decode(bytes(data), final=True))
                add(piece.decode(errors="replace"), special=True)
                data.clear()
            else:
                data += piece
        add(self._decoder.decode(bytes(data)))
        return pieces

    def end(self) -> list[TextPiece]:
        """Nothing follows: a replacement character, where a character is not whole."""
        text = self._decoder.decode(b"", final=True)
        return [TextPiece(text=text)] if text else []
