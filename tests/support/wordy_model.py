"""A tiny model that speaks in words, and counts as the scripted engine does: a word is a token, all markup is marks.

Its two words are the only ones that it knows as tokens when they are read, too; a text for it is made of them.
"""

from pathlib import Path
from typing import Final

import numpy as np

from tests.support.tiny_gguf import N_VOCAB, TinyWriter, vocabulary

WORDS: Final = ("a", "I")
TEMPLATE: Final = (
    "{% if messages[0].role != 'system' %}<|im_start|><|im_start|><|im_start|>{% endif %}"
    "{% for message in messages %}"
    "{% if message.role == 'system' %}<|im_start|><|im_start|>{{ message.content }}"
    "{% elif message.role == 'user' %}<|im_start|>{{ message.content }}"
    "{% else %}<|im_end|>{{ message.content }}<|im_end|>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_end|>{% endif %}"
)
"""As many marks as tests.support.fake_engine.llama writes; llama.cpp's BOS is the first of them."""
EOS: Final = 2
N_EMBD: Final = 64
N_LAYER: Final = 2
LOUD: Final = 8.0
"""The first number of every embedding: it stays positive through all layers, so that the head can prefer some words."""
PREFERRED, ENDS = 5.0, 4.3


def wordy(path: Path) -> Path:
    """Write it there. It ends a reply now and then; the likeliest token is always a word."""
    writer = TinyWriter(path, "llama", "wordy", TEMPLATE)
    writer.keys(
        block_count=N_LAYER,
        context_length=8192,
        embedding_length=N_EMBD,
        feed_forward_length=N_EMBD,
        attention__layer_norm_rms_epsilon=1e-5,
        attention__head_count=1,
        attention__head_count_kv=1,
        attention__key_length=N_EMBD,
        attention__value_length=N_EMBD,
        rope__dimension_count=N_EMBD,
        vocab_size=N_VOCAB,
    )
    rng = np.random.default_rng(1)
    embedding = rng.standard_normal((N_VOCAB, N_EMBD))
    embedding[:, 0] = LOUD
    head = rng.standard_normal((N_VOCAB, N_EMBD)) / 4
    head[:, 0] = -PREFERRED
    spellings = [spelling for spelling, _ in vocabulary()]
    head[[spellings.index(f"▁{word}") for word in WORDS], 0] = PREFERRED
    head[EOS, 0] = ENDS
    writer.values("token_embd.weight", embedding)
    writer.values("output.weight", head)
    writer.norm("output_norm.weight", N_EMBD)
    for layer in range(N_LAYER):
        block = f"blk.{layer}"
        for name in ("attn_norm", "ffn_norm"):
            writer.norm(f"{block}.{name}.weight", N_EMBD)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
            writer.random(f"{block}.{name}.weight", N_EMBD, N_EMBD)
    writer.write()
    return path
