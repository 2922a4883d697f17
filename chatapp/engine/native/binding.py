"""llama_cpp, and its shared libraries for calls that it does not bind: each loaded once, and named in errors."""

import ctypes
import os
from functools import cache
from pathlib import Path

# A failed assertion would otherwise attach a debugger to print a backtrace, which takes seconds.
os.environ.setdefault("GGML_NO_BACKTRACE", "1")

import llama_cpp as lib

from chatapp.errors import BuildError


@cache  # each CDLL creates classes, which only a full garbage collection frees
def library(name: str) -> ctypes.CDLL:
    """One of "llama", "ggml", "ggml-base" and "ggml-cpu".

    The file that is loaded already, libllama by llama_cpp and the others by libllama. A wheel has no symbolic links:
    `libggml.so` and `libggml.so.0` are two files, and the other one would be a second ggml with its own devices.
    """
    folder = Path(lib.__file__).parent / "lib"
    versioned = [*folder.glob(f"lib{name}.so.*"), *folder.glob(f"lib{name}.*.dylib")]
    plain = [folder / file for file in (f"lib{name}.so", f"lib{name}.dylib", f"{name}.dll")]
    by_libllama = sorted(versioned, key=lambda file: len(file.name))
    files = plain if name == "llama" else [*by_libllama, *plain]
    found = next((file for file in files if file.exists()), None)
    if found is None:
        raise unknown_build(f"has no library {name}")
    return ctypes.CDLL(str(found))


def library_versions() -> tuple[str, str]:
    """Of llama-cpp-python and of llama.cpp; the latter is "?" where this build does not tell."""
    return lib.__version__, lib.llama_version().decode() if hasattr(lib, "llama_version") else "?"


@cache
def strlen_address() -> int:
    """Where the C library's strlen is, for what asks a question without Python."""
    address = ctypes.cast(ctypes.CDLL(None).strlen, ctypes.c_void_p).value
    assert address is not None
    return address


def unknown_build(what: str) -> BuildError:
    """The error for an unsupported llama.cpp; `what` continues "llama.cpp VERSION ..."."""
    python, cpp = library_versions()
    return BuildError(
        f"llama.cpp {cpp} (llama-cpp-python {python}) {what}.",
        "Install the llama-cpp-python that this version of swachat is made for (in its folder: make install).",
    )
