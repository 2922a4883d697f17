"""How everything in this folder is compiled: once for each machine, kept on disk, without the interpreter's lock.

Importing this folder imports Numba, which takes half a second: `kernels.fast` does it on the first call.

Sums may be taken in any order and a multiplication joined with an addition (`reassoc`, `contract`, `nsz`): without that
nothing runs in parallel lanes. NaN and infinity keep their meaning: a NaN in a key shows in the output. Each function
names its flags, because one without any takes those of its caller.
"""

import hashlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])

NUMBERS_A_THREAD = 2**18
"""Numbers that are worth a thread: some 30 µs of reading, 10 of multiplying."""

ORDERED = {"contract"}
REORDERED = {"reassoc", "contract", "nsz"}
NO_NAN = {*REORDERED, "nnan"}


def compiled(function: F) -> F:
    """A function of one thread, for others in this folder to call."""
    return _kept(function, fastmath=REORDERED)


def inlined(function: F) -> F:
    """The same for a small one that is called for every row: it becomes part of its caller.

    An array that is handed to a function is counted in and out, by instructions that lock the memory they count in.
    Within one function LLVM strikes most counts out: float16 rows load in a third of the time.
    """
    return _kept(function, fastmath=REORDERED, inline="always")


def exact(function: F) -> F:
    """The same for what holds only in the order written: rounding by adding and subtracting a large number."""
    return _kept(function, fastmath=ORDERED)


def no_nan(function: F) -> F:
    """The same for comparisons that NaN may pass through unseen: only so does a largest value run in lanes."""
    return _kept(function, fastmath=NO_NAN)


def parallel(function: F) -> F:
    """A kernel: its `prange` runs on all threads."""
    return _kept(function, fastmath=REORDERED, parallel=True)


@contextmanager
def threads_for(work: int) -> Generator[None]:
    """Kernels that read `work` numbers, or multiply as many, run on as many threads as this is worth.

    Waking a thread costs some microseconds, and one that has just worked spins for a while, next to llama.cpp's.
    """
    before = numba.get_num_threads()
    numba.set_num_threads(max(1, min(before, work // NUMBERS_A_THREAD)))
    try:
        yield
    finally:
        numba.set_num_threads(before)


def digest() -> str:
    """Of all the sources in this folder."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def _kept(function: F, **options: Any) -> F:
    """Compiled on first use and kept on disk; only compiled where no folder can be written."""
    try:
        dispatcher: Any = numba.njit(nogil=True, cache=True, **options)(function)
    except RuntimeError:
        return cast(F, numba.njit(nogil=True, **options)(function))
    # Left alone, Numba looks at the function's own file, and runs old code when one changes that it calls.
    dispatcher._cache._cache_file._source_stamp = _DIGEST
    return cast(F, dispatcher)


_DIGEST = digest()
