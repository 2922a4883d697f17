"""What llama.cpp says of a model and of what it allocated, read from the log of one load."""

import re
from dataclasses import dataclass

from chatapp.protocol.values import HOST, Buffers, Memory, host_first

MIB = 2**20
ROUNDING_BYTES = 0.0051 * MIB
"""Sizes in the log are rounded to a hundredth of a MiB."""
_WEIGHTS = re.compile(r"load_tensors: *(\S+) +model buffer size = +([\d.]+) MiB")
_KV = re.compile(r"llama_kv_cache: size = +([\d.]+) MiB \( *(\d+) cells")
_STATE = re.compile(r"llama_memory_recurrent: size = +([\d.]+) MiB")
_COMPUTE = re.compile(r"sched_reserve: *(\S+) +compute buffer size = +([\d.]+) MiB")
_CELLS = re.compile(r"llama_kv_cache: *(\S+) +KV buffer size = +([\d.]+) MiB")
_RECURRENT = re.compile(r"llama_memory_recurrent: *(\S+) +RS buffer size = +([\d.]+) MiB")
_SWA = "creating     SWA KV cache"
_INFO = re.compile(r"^print_info: (\S[^=\n]*?) *= (.*)$", re.MULTILINE)
_PLACED = re.compile(r"load_tensors: layer +(\d+) assigned to device (.*), is_swa = (\d)")
_CACHED = re.compile(r"llama_kv_cache: layer +(\d+): dev =")
_ROTATES = re.compile(r"attn_rot_k = (\d), n_embd_head_k_all = (-?\d+)")

# What tells of a failure, the most telling first; the listed metadata holds such words too.
_SIGNS = tuple(re.compile(rf"^(?!.* - kv ).*\b({words})\b") for words in ("error", "failed|requires|does not"))


@dataclass(frozen=True, slots=True)
class Measured:
    """`memory` in bytes (the log rounds to a hundredth of a MiB); `swa_cells` where there is a second cache."""

    memory: Memory
    swa_cells: int | None
    on_gpu: bool


def read(log: str) -> Measured:
    """Sizes from the log; a component that the log does not name is None. A recurrent state counts as KV."""
    before, found, after = log.partition(_SWA)
    fixed, sliding = list(_KV.finditer(before)), list(_KV.finditer(after))
    kv = [float(match[1]) for match in fixed] + [float(size) for size in _STATE.findall(log)]
    weights = [(name, float(size)) for name, size in _WEIGHTS.findall(log)]
    compute = [float(size) for _, size in _COMPUTE.findall(log)]
    return Measured(
        memory=Memory(
            weights_bytes=_bytes(sum(size for _, size in weights)) if weights else None,
            kv_bytes=_bytes(sum(kv)) if kv else None,
            kv_swa_bytes=_bytes(sum(float(match[1]) for match in sliding)) if found else None,
            compute_bytes=_bytes(sum(compute)) if compute else None,
        ),
        swa_cells=int(sliding[-1][2]) if sliding else None,
        on_gpu=any(not name.startswith("CPU") for name, _ in weights),
    )


def by_device(log: str) -> list[Buffers]:
    """What each device holds of weights, cells and computation; None where the log names nothing of a kind on it.

    Buffers that a GPU's driver keeps on the host ("CUDA_Host"), and weights that are mapped from the file
    ("CPU_Mapped") or stored in another order there ("CPU_REPACK"), are the host's. A device of another machine's has
    that one's address behind its name ("RPC0[10.0.0.2:50052]"), which ggml's list of devices has not.
    """
    before, _, after = log.partition(_SWA)
    found = {
        "weights_bytes": _on_devices(_WEIGHTS.findall(log)),
        "kv_bytes": _on_devices(_CELLS.findall(before) + _RECURRENT.findall(log)),
        "kv_swa_bytes": _on_devices(_CELLS.findall(after)),
        "compute_bytes": _on_devices(_COMPUTE.findall(log)),
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
    """The hyperparameters that llama.cpp prints of a model, by its own names."""
    return {match[1]: match[2] for match in _INFO.finditer(log)}


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


def placed(log: str) -> list[str]:
    """The device that each layer was assigned to, by layer; behind them that of the output (debug lines)."""
    return [match[2] for match in _placements(log)]


def _placements(log: str) -> list[re.Match[str]]:
    return sorted(_PLACED.finditer(log), key=lambda match: int(match[1]))


def cached(log: str) -> tuple[list[int], list[int]]:
    """The layers with cells in the global cache, and in that of the sliding layers (debug lines)."""
    before, _, after = log.partition(_SWA)
    return [int(layer) for layer in _CACHED.findall(before)], [int(layer) for layer in _CACHED.findall(after)]


def rotates_keys(log: str) -> bool:
    """True where all caches store quantized keys under a Hadamard rotation, which a shift undoes and applies again."""
    return all(rotates == "1" for rotates, head_dim in _ROTATES.findall(log) if head_dim != "0")  # 0: it has no layers


def reason(log: str) -> str:
    """The most telling line of a load that failed."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    told = next((line for sign in _SIGNS for line in lines if sign.search(line)), lines[-1] if lines else "")
    return told.partition(": ")[2] or told or "no reason given"


def _bytes(mib: float) -> int:
    return round(mib * MIB)
