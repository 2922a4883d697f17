"""What llama.cpp says that it allocated, read from the log of one load."""

import re
from dataclasses import dataclass

from chatapp.engine.protocol import Memory

_MIB = 2**20
_WEIGHTS = re.compile(r"load_tensors: *(\S+) +model buffer size = +([\d.]+) MiB")
_KV = re.compile(r"llama_kv_cache: size = +([\d.]+) MiB \( *(\d+) cells")
_COMPUTE = re.compile(r"sched_reserve: *(\S+) +compute buffer size = +([\d.]+) MiB")
_SWA = "creating     SWA KV cache"


@dataclass(frozen=True, slots=True)
class Measured:
    """`memory` in bytes (the log rounds to a hundredth of a MiB); `swa_cells` where there is a second cache."""

    memory: Memory
    swa_cells: int | None
    on_gpu: bool


def read(log: str) -> Measured:
    """Sizes from the log; a component that the log does not name is None."""
    kv = kv_swa = 0.0
    cells: int | None = None
    before, found, after = log.partition(_SWA)
    for match in _KV.finditer(before):
        kv += float(match[1])
    for match in _KV.finditer(after):
        kv_swa += float(match[1])
        cells = int(match[2])
    weights = [(name, float(size)) for name, size in _WEIGHTS.findall(log)]
    compute = [float(size) for _, size in _COMPUTE.findall(log)]
    return Measured(
        memory=Memory(
            weights_bytes=_bytes(sum(size for _, size in weights)) if weights else None,
            kv_bytes=_bytes(kv) if _KV.search(before) else None,
            kv_swa_bytes=_bytes(kv_swa) if found else None,
            compute_bytes=_bytes(sum(compute)) if compute else None,
        ),
        swa_cells=cells,
        on_gpu=any(not name.startswith("CPU") for name, _ in weights),
    )


def _bytes(mib: float) -> int:
    return round(mib * _MIB)
