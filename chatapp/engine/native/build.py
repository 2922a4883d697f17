"""What is read of llama.cpp beyond its interface, and whether this build supports it."""

from chatapp.engine.native import tensor_layout
from chatapp.engine.native.binding import unknown_build
from chatapp.engine.native.scheduler_hook import can_watch
from chatapp.engine.native.symbols import GET_SCHEDULER, LOADING, PROBING, not_bound, not_exported
from chatapp.errors import BuildError
from chatapp.protocol.values import Answer


def check() -> None:
    """BuildError where no model can be loaded with this build."""
    error = _functions()
    if error is not None:
        raise error


def reads() -> dict[str, Answer]:
    """What works, by name: "functions" are those that loading needs, "tensors" and "scheduler" observe a decode."""
    return {"functions": _answer(_functions()), "tensors": _answer(tensors()), "scheduler": _answer(_scheduler())}


def tensors() -> BuildError | None:
    """Why tensors cannot be read, None where they can."""
    missing = [name for name in not_exported(PROBING) if name != GET_SCHEDULER]
    return _without(missing) or tensor_layout.problem()


def _functions() -> BuildError | None:
    return _without(not_bound() + not_exported(LOADING))


def _scheduler() -> BuildError | None:
    return None if can_watch() else _without([GET_SCHEDULER])


def _without(names: list[str]) -> BuildError | None:
    return unknown_build(f"has no {', '.join(names)}") if names else None


def _answer(error: BuildError | None) -> Answer:
    return Answer(ok=error is None, why="" if error is None else error.what)
