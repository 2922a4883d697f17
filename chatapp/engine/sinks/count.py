"""How many sinks a model needs: as set, or measured once for each model and stored on disk.

`chatapp.cache.sink_count` decides and `trials` measures; this module decides when to measure, and says why not.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
from msgspec import structs

from chatapp import paths
from chatapp.cache.sink_count import CANDIDATES, TOLERANCE_NATS, fewest
from chatapp.engine.interrupts import CancelledError
from chatapp.engine.kv import state_file
from chatapp.engine.native.llama import Model
from chatapp.engine.planning.load_plan import MEMORY_MARGIN, Prepared
from chatapp.engine.sinks import trials
from chatapp.engine.sinks.trials import Measurement, UnmeasurableError
from chatapp.errors import UserError
from chatapp.protocol.values import CacheSettings, Sinks, SinkTrial
from chatapp.units import size

DEFAULT = CacheSettings().sinks
MEASURED = ("sinks", "slide")
"""The policies under which a measurement can be made."""
FLOAT_BYTES = 4


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A measurement on disk, and what it belongs to."""

    method: str
    model: str
    policy: str
    sinks: Sinks


def settle(
    prepared: Prepared,
    free_bytes: int,
    model: Callable[[], AbstractContextManager[Model]],
    *,
    on_progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> Sinks:
    """The sinks of this model: as set, else as measured, else the default with the reason.

    `model` provides the loaded model for a `with`; it is called only where a measurement is needed and none is on disk.
    A measurement that is cancelled gives the default, so that nobody has to wait for it.
    """
    if prepared.asked.sinks is not None:
        return _as_set(prepared, prepared.asked.sinks)
    if reason := _reason(prepared):
        return _unmeasured(reason)
    if (stored := _read(prepared.path, prepared.capability.policy)) is not None:
        return stored
    try:
        _check_memory(prepared, free_bytes)
        with model() as loaded:
            measurement = trials.measure(
                loaded,
                prepared.engine,
                n_swa=prepared.model.n_swa,
                renumbers=prepared.capability.policy == "sinks",
                on_progress=on_progress,
                cancelled=cancelled,
            )
            sinks = _measured(measurement, has_bos=loaded.bos is not None)
    except UnmeasurableError as error:
        return _unmeasured(str(error))
    except CancelledError:
        return _unmeasured("the measurement was stopped")
    _write(prepared.path, prepared.capability.policy, sinks)
    return sinks


def _as_set(prepared: Prepared, n: int) -> Sinks:
    """As many as were requested, with an earlier measurement of this model, so that too few are noticed."""
    own = prepared.capability.policy
    known = (_read(prepared.path, policy) for policy in sorted(MEASURED, key=lambda policy: policy != own))
    try:
        found = (
            next((sinks for sinks in known if sinks is not None), None) if any(paths.sinks_dir().iterdir()) else None
        )
    except (UserError, OSError):  # a home that is not writable is no reason not to load
        found = None
    return structs.replace(found or Sinks(n=n, why=""), n=n, why="From settings.")


def _reason(prepared: Prepared) -> str | None:
    """Why this model is not measured under this policy, None where it is."""
    can, facts = prepared.capability, prepared.model
    if not can.evict.ok:
        return f"nothing can be evicted. {can.evict.why}"
    if facts.learned_sinks:
        return "the model has learned sinks, which take no cell"
    if can.policy == "rebuild":
        return "under `rebuild` the kept tokens are processed again, and the first of them become the sinks"
    if can.policy == "dense":
        return "under `dense` nothing is evicted"
    if can.policy == "window":
        return "under `window` the first tokens are evicted like all others"
    need_tok = trials.positions(facts.n_swa)
    if need_tok > facts.n_ctx_train > 0:
        return f"it takes {need_tok} tokens, and the model was trained for {facts.n_ctx_train}"
    return None


def _check_memory(prepared: Prepared, free_bytes: int) -> None:
    """UnmeasurableError where a measurement would take more memory than a plan may."""
    facts = prepared.model
    logits = trials.N_OUTPUTS * facts.n_vocab * FLOAT_BYTES
    need = logits + prepared.takes(
        trials.settings(facts.n_swa), n_outputs=trials.N_OUTPUTS, n_sequences=trials.N_SEQUENCES
    )
    if need > int(free_bytes * MEMORY_MARGIN):
        raise UnmeasurableError(f"it takes {size(need)}, and {size(free_bytes)} is free")


def _unmeasured(reason: str) -> Sinks:
    return Sinks(n=DEFAULT, why=f"Not measured: {reason.removesuffix('.')}. {DEFAULT} is the default.")


def _measured(found: Measurement, *, has_bos: bool) -> Sinks:
    n = fewest(found.trials)
    why = f"Measured: the fewest whose loss is within {TOLERANCE_NATS} nats of the best of {_counts(found)}."
    if has_bos and n == 0:
        n, why = 1, f"{why} None is needed, but BOS always stays."
    return Sinks(
        n=n,
        why=why,
        trials=[
            SinkTrial(n_sink=trial.n_sink, loss_nats=trial.loss, excess_nats=trial.excess, error_nats=trial.error)
            for trial in found.trials
        ],
        scored_tokens=found.scored_tok,
        outliers=found.outliers,
    )


def _counts(found: Measurement) -> str:
    *most, last = sorted(trial.n_sink for trial in found.trials)
    return f"{', '.join(map(str, most))} and {last}"


def _read(model: Path, policy: str) -> Sinks | None:
    """The stored measurement of this model by this method; None where it is missing, damaged or from another method."""
    try:
        stored = msgspec.json.decode(_file(model, policy).read_bytes(), type=_Stored)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return stored.sinks if stored.sinks.n in CANDIDATES and stored == _stored(model, policy, stored.sinks) else None


def _write(model: Path, policy: str, sinks: Sinks) -> None:
    """Store it. Where that fails, the next start measures again."""
    file = _file(model, policy)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        part.write_bytes(msgspec.json.encode(_stored(model, policy, sinks)))
        part.replace(file)
    except OSError:
        part.unlink(missing_ok=True)


def _file(model: Path, policy: str) -> Path:
    return paths.sinks_dir() / f"{state_file.model_digest(model)[:32]}-{policy}.json"


def _stored(model: Path, policy: str, sinks: Sinks) -> _Stored:
    return _Stored(method=trials.method(), model=state_file.model_digest(model), policy=policy, sinks=sinks)
