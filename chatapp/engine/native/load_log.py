"""Facts about a model and its allocations, parsed from llama.cpp's log of one load."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from chatapp.engine.native.binding import unknown_build
from chatapp.errors import BuildError
from chatapp.protocol.values import HOST, Buffers, Memory, host_first

MIB = 2**20
ROUNDING_BYTES = 0.0051 * MIB
"""Sizes in the log are rounded to a hundredth of a MiB."""
_BY_LAYER = re.compile(r"-?\d+|\[-?\d+(, -?\d+)*\]")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of llama.cpp's log that is parsed: `tells` is what it says, `sample` an example."""

    pattern: re.Pattern[str]
    tells: str
    sample: str


LINES: Final = {
    "weights": Line(
        re.compile(r"load_tensors: *(\S+) +model buffer size = +([\d.]+) MiB"),
        "the size of the weights",
        "load_tensors: CPU model buffer size = 1.00 MiB",
    ),
    "cells": Line(
        re.compile(r"llama_kv_cache: size = +([\d.]+) MiB \( *(\d+) cells"),
        "the size of the cache",
        "llama_kv_cache: size = 1.00 MiB ( 256 cells",
    ),
    "state": Line(
        re.compile(r"llama_memory_recurrent: size = +([\d.]+) MiB"),
        "the size of the recurrent state",
        "llama_memory_recurrent: size = 1.00 MiB",
    ),
    "compute": Line(
        re.compile(r"sched_reserve: *(\S+) +compute buffer size = +([\d.]+) MiB"),
        "the size of the compute buffers",
        "sched_reserve: CPU compute buffer size = 1.00 MiB",
    ),
    "cells by device": Line(
        re.compile(r"llama_kv_cache: *(\S+) +KV buffer size = +([\d.]+) MiB"),
        "the size of each device's part of the cache",
        "llama_kv_cache: CPU KV buffer size = 1.00 MiB",
    ),
    "state by device": Line(
        re.compile(r"llama_memory_recurrent: *(\S+) +RS buffer size = +([\d.]+) MiB"),
        "the size of each device's part of the recurrent state",
        "llama_memory_recurrent: CPU RS buffer size = 1.00 MiB",
    ),
    "sliding cells": Line(
        re.compile(r"creating +SWA KV cache"), "which cache is that of the sliding layers", "creating     SWA KV cache"
    ),
    "hyperparameter": Line(
        re.compile(r"^print_info: (\S[^=\n]*?) *= (.*)$", re.MULTILINE),
        "the model's hyperparameters",
        "print_info: n_layer_all = 30",
    ),
    "layer": Line(
        re.compile(r"load_tensors: layer +(\d+) assigned to device (.*), is_swa = (\d)"),
        "where each layer goes, and whether its window slides",
        "load_tensors: layer 0 assigned to device CPU, is_swa = 0",
    ),
    "cached layer": Line(
        re.compile(r"llama_kv_cache: layer +(\d+): dev ="),
        "which layers have cells",
        "llama_kv_cache: layer 0: dev = CPU",
    ),
    "rotation": Line(
        re.compile(r"attn_rot_k = (\d), n_embd_head_k_all = (-?\d+)"),
        "whether quantized keys are rotated",
        "attn_rot_k = 0, n_embd_head_k_all = 64",
    ),
}
"""Every line that is parsed, except graphs (chatapp.engine.native.rope_in_graph)."""
HYPERPARAMETERS: Final = (
    *("n_layer_all", "n_head", "n_head_kv", "n_embd_k_gqa", "n_embd_v_gqa"),
    *("n_embd_head_k", "n_embd_head_v", "is_swa_any"),
)
"""The hyperparameters that are read and that llama.cpp prints for every model."""
SLIDING_HYPERPARAMETERS: Final = ("n_embd_head_k_swa", "n_embd_head_v_swa")
"""Those that it prints only where the model has a sliding window."""

# Signs of a failure, the most specific first; the metadata in the log has such words too.
_SIGNS = tuple(re.compile(rf"^(?!.* - kv ).*\b({words})\b") for words in ("error", "failed|requires|does not"))


@dataclass(frozen=True, slots=True)
class LoadReport:
    """`memory` in bytes (the log rounds to a hundredth of a MiB); `swa_cells` where there is a second cache."""

    memory: Memory
    swa_cells: int | None
    on_gpu: bool


def _pattern(line: str) -> re.Pattern[str]:
    return LINES[line].pattern


def _parts(log: str) -> tuple[str, str]:
    """The log up to the creation of the sliding layers' cache, and from there on; "" where there is none."""
    found = _pattern("sliding cells").search(log)
    return (log[: found.start()], log[found.start() :]) if found else (log, "")


def check(log: str, *lines: str) -> None:
    """BuildError where `log` does not have each of these `LINES`: another llama.cpp words them differently."""
    for line in lines:
        if not _pattern(line).search(log):
            raise unread(LINES[line].tells, LINES[line].sample)


def unread(tells: str, sample: str) -> BuildError:
    """The error for a log line of another form than `sample`."""
    return unknown_build(f"does not log {tells} in the form that this version of swachat expects ({sample!r})")


def read(log: str) -> LoadReport:
    """Sizes from the log; a component that the log does not name is None. A recurrent state counts as KV."""
    before, after = _parts(log)
    fixed, sliding = list(_pattern("cells").finditer(before)), list(_pattern("cells").finditer(after))
    kv = [float(match[1]) for match in fixed] + [float(size) for size in _pattern("state").findall(log)]
    weights = [(name, float(size)) for name, size in _pattern("weights").findall(log)]
    compute = [float(size) for _, size in _pattern("compute").findall(log)]
    return LoadReport(
        memory=Memory(
            weights_bytes=_bytes(sum(size for _, size in weights)) if weights else None,
            kv_bytes=_bytes(sum(kv)) if kv else None,
            kv_swa_bytes=_bytes(sum(float(match[1]) for match in sliding)) if after else None,
            compute_bytes=_bytes(sum(compute)) if compute else None,
        ),
        swa_cells=int(sliding[-1][2]) if sliding else None,
        on_gpu=any(not name.startswith("CPU") for name, _ in weights),
    )


def by_device(log: str) -> list[Buffers]:
    """Weights, cells and compute buffers of each device; None for a kind that the log does not name there.

    Buffers that a GPU's driver keeps on the host ("CUDA_Host"), and weights that are mapped from the file
    ("CPU_Mapped") or copied into another layout ("CPU_REPACK"), count for the host. A device of another machine has
    an address after its name ("RPC0[10.0.0.2:50052]"), which ggml's list of devices does not have.
    """
    before, after = _parts(log)
    found = {
        "weights_bytes": _on_devices(_pattern("weights").findall(log)),
        "kv_bytes": _on_devices(_pattern("cells by device").findall(before) + _pattern("state by device").findall(log)),
        "kv_swa_bytes": _on_devices(_pattern("cells by device").findall(after)),
        "compute_bytes": _on_devices(_pattern("compute").findall(log)),
    }
    names = sorted({name for sizes in found.values() for name in sizes}, key=host_first)
    return [Buffers(device=name, memory=Memory(**{kind: found[kind].get(name) for kind in found})) for name in names]


def _on_devices(found: list[tuple[str, str]]) -> dict[str, int]:
    sizes: dict[str, float] = {}
    for name, size in found:
        on_host = name.startswith("CPU") or name.endswith("_Host")
        device = HOST if on_host else name.partition("[")[0].removesuffix("_Mapped")
        sizes[device] = sizes.get(device, 0.0) + float(size)
    return {device: _bytes(size) for device, size in sizes.items()}


def info(log: str) -> dict[str, str]:
    """The hyperparameters that llama.cpp prints, by its own names. BuildError where one that is needed is missing."""
    found = {match[1]: match[2] for match in _pattern("hyperparameter").finditer(log)}
    slides = [name for name in SLIDING_HYPERPARAMETERS if name in found]
    for name in (*HYPERPARAMETERS, *(SLIDING_HYPERPARAMETERS if slides else ())):
        if name not in found:
            raise unread(f"the hyperparameter {name}", f"print_info: {name} = ...")
    return found


def number(values: Mapping[str, str], name: str) -> int:
    """A hyperparameter that is one whole number. BuildError where it is not."""
    if not values[name].strip().isdecimal():
        raise unread(f"the hyperparameter {name} as a number", f"print_info: {name} = 30")
    return int(values[name])


def by_layer(values: Mapping[str, str], name: str, n_layer: int) -> list[int]:
    """A hyperparameter of each layer. BuildError where there are not `n_layer` numbers."""
    numbers = per_layer(values[name], n_layer)
    if len(numbers) != n_layer or not _BY_LAYER.fullmatch(values[name]):
        raise unread(f"the hyperparameter {name} of {n_layer} layers", f"print_info: {name} = [4, 0, ...]")
    return numbers


def per_layer(value: str, n_layer: int) -> list[int]:
    """A hyperparameter of each layer: one number where all are equal, else a list.

    >>> per_layer("4", 2), per_layer("[4, 0]", 2)
    ([4, 4], [4, 0])
    """
    numbers = [int(number) for number in re.findall(r"-?\d+", value)]
    return numbers if value.startswith("[") else numbers * n_layer


def sliding(log: str) -> list[bool]:
    """Whether each layer's window slides, by layer (debug lines)."""
    return [match[3] == "1" for match in _placements(log)]


def placed(log: str, n_layer: int) -> list[str]:
    """The device of each layer, and last of the output (debug lines). BuildError where it is not logged for `n_layer`
    layers and the output.
    """
    found = _placements(log)
    if len(found) != n_layer + 1:
        raise unread(LINES["layer"].tells, LINES["layer"].sample)
    return [match[2] for match in found]


def _placements(log: str) -> list[re.Match[str]]:
    return sorted(_pattern("layer").finditer(log), key=lambda match: int(match[1]))


def cached(log: str) -> tuple[list[int], list[int]]:
    """The layers with cells in the global cache, and in that of the sliding layers (debug lines)."""
    before, after = _parts(log)
    fixed, sliding = ([int(layer) for layer in _pattern("cached layer").findall(part)] for part in (before, after))
    return fixed, sliding


def rotates_keys(log: str) -> bool:
    """True where all caches store quantized keys with a Hadamard rotation, which a shift undoes and applies again."""
    found = _pattern("rotation").findall(log)
    return all(rotates == "1" for rotates, head_dim in found if head_dim != "0")  # 0: a cache without layers


def reason(log: str) -> str:
    """The line that best explains a failed load."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    told = next((line for sign in _SIGNS for line in lines if sign.search(line)), lines[-1] if lines else "")
    return told.partition(": ")[2] or told or "no reason given"


def _bytes(mib: float) -> int:
    return round(mib * MIB)
