"""Templates for models that have none that works."""

from collections.abc import Sequence

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else 'user') + "
    "'\n' + m['content'] + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
PLAIN = (
    "{{ bos_token }}{% for m in messages %}{{ m['role'] | capitalize + ': ' }}{{ m['content'] | trim + '\n\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


def fallback(spellings: Sequence[str]) -> tuple[str, str]:
    """A template for a model that has none that works, chosen by its special tokens, and the template's name."""
    if "<|im_start|>" in spellings and "<|im_end|>" in spellings:
        return CHATML, "ChatML"
    if "<start_of_turn>" in spellings and "<end_of_turn>" in spellings:
        return GEMMA, "Gemma"
    return PLAIN, "plain text"
