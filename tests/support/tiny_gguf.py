"""Writes small GGUFs: a vocabulary that can say anything, a ChatML-like template, and random weights from a seed."""

from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np
import numpy.typing as npt

TEMPLATE: Final = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WORDS: Final = (
    "the of and a to in is you that it he was for on are as with his they I at be this have from or one had by but not "
    "what all were we when your can said there use an each which she do how their if will up other about out many then "
    "user assistant system window cache token"
)


def vocabulary() -> list[tuple[str, gguf.TokenType]]:
    """Spellings and kinds by id: unknown, BOS, EOS, the turn marks, the 256 bytes, letters, a few words."""
    control = gguf.TokenType.CONTROL
    tokens = [("<unk>", gguf.TokenType.UNKNOWN), ("<s>", control), ("</s>", control)]
    tokens += [("<|im_start|>", control), ("<|im_end|>", control)]
    tokens += [(f"<0x{byte:02X}>", gguf.TokenType.BYTE) for byte in range(256)]
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,?!'"
    pieces = dict.fromkeys(["▁", *letters, *(f"▁{word}" for word in WORDS.split())])
    return tokens + [(piece, gguf.TokenType.NORMAL) for piece in pieces]


N_VOCAB: Final = len(vocabulary())


class TinyWriter:
    """One file on its way to disk. Keys go under the architecture's name; shapes are in ggml's order, fastest first."""

    def __init__(self, path: Path, arch: str, name: str, template: str = TEMPLATE) -> None:
        self._path = path
        self._arch = arch
        self._gguf = gguf.GGUFWriter(path, arch)
        self._random = np.random.default_rng(sum(name.encode()))
        self._gguf.add_name(f"tiny {name}")
        self._tokenizer(template)

    def keys(self, **values: Any) -> None:
        """`attention__head_count=2` is `ARCH.attention.head_count`; whole numbers are u32, lists arrays."""
        for key, value in values.items():
            full = f"{self._arch}.{key.replace('__', '.')}"
            match value:
                case bool():
                    self._gguf.add_bool(full, value)
                case int():
                    self._gguf.add_uint32(full, value)
                case float():
                    self._gguf.add_float32(full, value)
                case str():
                    self._gguf.add_string(full, value)
                case _:
                    self._gguf.add_array(full, value)

    def random(self, name: str, *shape: int, quantized: bool = False) -> None:
        """A weight that keeps the size of what it multiplies: normal, with variance 1 / (inputs)."""
        data = self._random.standard_normal(shape[::-1]) / np.sqrt(shape[0])
        self.values(name, data, quantized=quantized)

    def norm(self, name: str, width: int) -> None:
        """A norm's weight: near 1, and different for each element."""
        self.values(name, 1 + 0.1 * self._random.standard_normal(width))

    def values(self, name: str, data: npt.NDArray[np.float64], *, quantized: bool = False) -> None:
        """A tensor of these numbers, F32, or Q4_0."""
        array = data.astype(np.float32)
        if quantized:
            kind = gguf.GGMLQuantizationType.Q4_0
            self._gguf.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
        else:
            self._gguf.add_tensor(name, array)

    def write(self) -> None:
        """Put it on disk."""
        self._gguf.write_header_to_file()
        self._gguf.write_kv_data_to_file()
        self._gguf.write_tensors_to_file()
        self._gguf.close()

    def _tokenizer(self, template: str) -> None:
        tokens = vocabulary()
        self._gguf.add_tokenizer_model("llama")
        self._gguf.add_token_list([spelling for spelling, _ in tokens])
        self._gguf.add_token_types([int(kind) for _, kind in tokens])
        self._gguf.add_token_scores([-float(i) for i in range(len(tokens))])
        self._gguf.add_bos_token_id(1)
        self._gguf.add_eos_token_id(2)
        self._gguf.add_eot_token_id(4)
        self._gguf.add_unk_token_id(0)
        self._gguf.add_add_bos_token(True)
        self._gguf.add_add_space_prefix(False)
        self._gguf.add_chat_template(template)
