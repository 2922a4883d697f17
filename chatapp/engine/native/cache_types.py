"""The types of keys and values in the cache: ggml_type values that llama.cpp's own tools accept for K and V."""

from typing import Final

from chatapp.errors import UserError

CACHE_TYPES: Final = {
    "f32": 0,
    "f16": 1,
    "bf16": 30,
    "q8_0": 8,
    "q5_1": 7,
    "q5_0": 6,
    "q4_1": 3,
    "q4_0": 2,
    "iq4_nl": 20,
}


def cache_type(name: str) -> int:
    """The ggml_type of a cache type; UserError for an unknown one."""
    if name not in CACHE_TYPES:
        raise UserError(f"Unknown cache type {name!r}.", f"Use one of {', '.join(CACHE_TYPES)}.")
    return CACHE_TYPES[name]
