"""The vocabulary of a model: from text to tokens and back."""

import ctypes
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from chatapp.engine.native.binding import lib

# enum llama_token_attr of llama.h
_UNKNOWN, _CONTROL, _USER_DEFINED, _LSTRIP, _RSTRIP = 1 << 0, 1 << 3, 1 << 4, 1 << 7, 1 << 8


def pointer(array: npt.NDArray[Any]) -> Any:
    """A C pointer to the elements of an array, valid as long as the array.

    A ctypes array would need a class for each length, and `data_as` refers to itself: both are freed only by a full
    garbage collection.
    """
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(np.ctypeslib.as_ctypes_type(array.dtype)))


class Vocabulary:
    """What a loaded model knows of text. It owns the llama_model."""

    n_vocab: int
    _vocab: Any
    """The llama_vocab pointer."""

    def _own(self, handle: Any) -> None:
        """Free this llama_model when its last user has finished: this object, or a thread that tokenizes."""
        self._handle, self._users, self._counting = handle, 1, threading.Lock()

    def close(self) -> None:
        """Free the weights, once no thread tokenizes any more. Close its contexts first."""
        self._release()

    def _release(self) -> None:
        with self._counting:
            self._users -= 1
            unused = not self._users
        if unused:
            lib.llama_model_free(self._handle)

    @property
    def handle(self) -> Any:
        """The llama_model pointer."""
        return self._handle

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Token ids of `text`; with `special`, the spelling of a special token becomes that token. BOS is not added.

        May be called from any thread: the vocabulary is only read.
        """
        with self._counting:
            if not self._users:  # a thread that nobody waits for any more, and that had not begun
                raise RuntimeError("the model was closed")
            self._users += 1
        try:
            data = text.encode()
            size = len(data) + 8
            while True:
                tokens = np.empty(size, np.int32)
                count = int(lib.llama_tokenize(self._vocab, data, len(data), pointer(tokens), size, False, special))
                if count >= 0:
                    return tokens[:count].tolist()
                size = -count
        finally:
            self._release()

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes that a token stands for; a control token stands for none, or with `special` for its spelling."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            count = int(lib.llama_token_to_piece(self._vocab, token, buffer, size, 0, special))
            if count >= 0:
                return buffer.raw[:count]
            size = -count

    def spelling(self, token: int) -> str:
        """How the vocabulary writes a token, control tokens too."""
        return lib.llama_vocab_get_text(self._vocab, token).decode(errors="replace")

    def is_special(self, token: int) -> bool:
        """True for a control or unknown token, and for a user-defined one that is not only white space."""
        attributes = lib.llama_vocab_get_attr(self._vocab, token)
        added = bool(attributes & _USER_DEFINED) and bool(self.piece(token).strip())
        return bool(attributes & (_UNKNOWN | _CONTROL)) or added

    def is_end(self, token: int) -> bool:
        """True for a token that ends a generation (llama_vocab_is_eog)."""
        return bool(lib.llama_vocab_is_eog(self._vocab, token))

    @property
    def bos(self) -> int | None:
        """The begin-of-sequence token, where the model expects one first."""
        return int(lib.llama_vocab_bos(self._vocab)) if lib.llama_vocab_get_add_bos(self._vocab) else None

    def named_token(self, which: str) -> str:
        """The spelling of "bos" or "eos", or "" where the vocabulary has none."""
        token = int(lib.llama_vocab_bos(self._vocab) if which == "bos" else lib.llama_vocab_eos(self._vocab))
        return self.spelling(token) if token >= 0 else ""

    def control_spellings(self) -> list[str]:
        """Spellings that `tokenize(special=True)` turns into control or unknown tokens."""
        return self._spellings(_UNKNOWN | _CONTROL)

    def user_defined_spellings(self) -> list[str]:
        """Spellings that `tokenize` turns into one token whatever `special` says: some models mark turns with them."""
        return self._spellings(_USER_DEFINED)

    def stripping_spellings(self) -> dict[str, tuple[bool, bool]]:
        """Spellings around which `tokenize(special=True)` drops white space: whether before the token, and after it."""
        before, after = self._spellings(_LSTRIP), self._spellings(_RSTRIP)
        return {spelling: (spelling in before, spelling in after) for spelling in {*before, *after}}

    def _spellings(self, mask: int) -> list[str]:
        return [
            text
            for token in range(self.n_vocab)
            if lib.llama_vocab_get_attr(self._vocab, token) & mask and (text := self.spelling(token))
        ]

    def chat_template(self) -> str | None:
        """The Jinja template in the GGUF, None where there is none."""
        template = lib.llama_model_chat_template(self._handle, None)
        return template.decode(errors="replace") if template else None
