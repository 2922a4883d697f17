"""The one name that a model has wherever it is shown."""

from pathlib import PurePath

from chatapp.models.gguf import stem
from chatapp.models.shipped import GEMMA_FILE, STARTER_FILE
from chatapp.models.spec import is_hub

_SHIPPED = {STARTER_FILE: "starter", GEMMA_FILE: "gemma3-270m"}


def name_of(model: str) -> str:
    """What to call a model, by its file or by what was asked for: the name under which `swachat models list` has it.

    That is the name of a shipped model, else the file's name without `.gguf`. The file need not be on this machine: it
    may be one of a trace. `hf:org/repo[:file]` stays as it is, until the file that it means is known.
    """
    if is_hub(model):
        return model
    file = PurePath(model).name
    return _SHIPPED.get(file) or stem(file)
