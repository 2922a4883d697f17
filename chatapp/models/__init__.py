"""Models: resolving what the user names to a GGUF on this machine, and downloading from the Hub.

    resolve(spec)       the checked file that a path, a name or hf:org/repo[:file] means
    default_model()     the last model that still resolves, else "starter"
    remember(spec)      record it as the last model; last_used() reads it back
    known()             every named model
    name_of(file)       the name that a model has wherever it is shown
    pull(spec)          download from the Hub: resumed, verified, with progress
    unfinished()        partial files of interrupted pulls
    removal(spec)       the files that `swachat models rm` deletes, and remove(files) does it

Importing this imports the standard library only: the Hub's client is imported by the first pull.
"""

from chatapp.models.download import Progress, pull
from chatapp.models.find import ModelFile, default_model, known, resolve, unfinished
from chatapp.models.gguf import check_gguf
from chatapp.models.last import last_used, remember
from chatapp.models.names import name_of
from chatapp.models.remove import removal, remove

__all__ = [
    "ModelFile",
    "Progress",
    "check_gguf",
    "default_model",
    "known",
    "last_used",
    "name_of",
    "pull",
    "remember",
    "removal",
    "remove",
    "resolve",
    "unfinished",
]
