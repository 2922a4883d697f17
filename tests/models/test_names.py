"""The one name that a model has wherever it is shown."""

import pytest

from chatapp.models import known, name_of


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("/here/gemma-3-4b-it-Q4_K_M.gguf", "gemma-3-4b-it-Q4_K_M"),
        ("/here/llama-00001-of-00003.gguf", "llama"),
        ("mistral", "mistral"),
        ("/elsewhere/SmolLM2-135M-Instruct.Q4_1.gguf", "starter"),
        ("/elsewhere/gemma-3-270m-q4_k_m.gguf", "gemma3-270m"),
        ("hf:org/repo:Q4_K_M", "hf:org/repo:Q4_K_M"),
    ],
)
def test_a_model_is_named_by_its_file(asked: str, name: str) -> None:
    assert name_of(asked) == name


def test_it_is_the_name_that_the_list_has() -> None:
    """And what is in the list can be typed."""
    here = [model for model in known() if model.path is not None]
    assert here
    assert [name_of(str(model.path)) for model in here] == [model.name for model in here]
    assert [name_of(model.name) for model in here] == [model.name for model in here]
