"""Whether the fast kernels can run here. Where they cannot, the reference is used, with one warning."""

import warnings
from functools import cache
from typing import Any, cast


class NumbaMissing(UserWarning):
    """A fast kernel was called, and the slow reference is used because Numba cannot be imported."""


def available() -> bool:
    """Whether the kernels run in Numba. The first call imports it, which takes about half a second."""
    return why() is None


@cache
def why() -> str | None:
    """Why the kernels do not run in Numba and what to do about it; None where they do."""
    try:
        import numba
    except ModuleNotFoundError as error:
        if error.name == "numba":
            return "Numba is not installed: pip install 'swachat[fast]'"
        return f"Numba cannot be imported ({error}): pip install 'swachat[fast]'"
    except (ImportError, OSError) as error:  # made for another NumPy; a library that does not load
        return f"Numba cannot be imported ({error}): pip install 'swachat[fast]'"
    if cast(Any, numba).config.DISABLE_JIT:
        return "Numba does not compile: unset NUMBA_DISABLE_JIT"
    return None


def fast_or_warn() -> bool:
    """As `available`; the first time that it is not, a NumbaMissing warning says why the reference is used."""
    problem = why()
    if problem is not None:
        _warn_once(problem)
    return problem is None


@cache
def _warn_once(problem: str) -> None:
    warnings.warn(f"the slow reference kernels are used. {problem}", NumbaMissing, stacklevel=4)


def forget() -> None:
    """Check and warn again on the next call: for installing Numba into a running program, and for tests."""
    why.cache_clear()
    _warn_once.cache_clear()
