"""A small SentencePiece vocabulary without weights, which puts a space in front, as Llama 2's does."""

from collections.abc import Sequence
from pathlib import Path

import gguf

from tests.support.tiny_gguf import vocabulary


def write_vocabulary(file: Path, control: Sequence[str] = ()) -> Path:
    """Written to `file`; with `<s>`, `</s>` and `control` as control tokens, and a BOS that is expected first."""
    tokens = [(spelling, kind) for spelling, kind in vocabulary() if not spelling.startswith("<|")]
    tokens += [(spelling, gguf.TokenType.CONTROL) for spelling in control]
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_tokenizer_model("llama")
    writer.add_token_list([spelling for spelling, _ in tokens])
    writer.add_token_types([int(kind) for _, kind in tokens])
    writer.add_token_scores([-float(i) for i in range(len(tokens))])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file
