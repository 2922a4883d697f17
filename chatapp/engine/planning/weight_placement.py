"""How many bytes a model's weights take on each device, as llama.cpp will log it, before a weight is loaded.

On a GPU they are copied as they are. On the host they stay in the mapped file, but for those that the CPU can
multiply faster in a layout of its own: ggml copies these into a buffer beside it (CPU_REPACK and the like). Which
ones depends on the machine, so ggml itself is asked (chatapp.engine.native.cpu_layouts).
"""

import re
from collections.abc import Mapping, Sequence

from chatapp.engine.native.cpu_layouts import CpuLayouts
from chatapp.engine.native.gguf import GgufMeta, Tensor, parts
from chatapp.protocol.values import HOST

_LAYER = re.compile(r"blk\.(\d+)\.")


def by_device(meta: GgufMeta, placed: Sequence[str]) -> dict[str, int]:
    """Bytes by device, where the layers are `placed` so and the output behind them (llama-model.cpp, load_tensors).

    The host's are those of the mapped part of the file, and of the copies in the CPU's own layouts beside it. What
    tokens are looked up in is the host's always; a tied output matrix is a second copy of it where the output is not.
    """
    files = parts(meta)
    tied = not any("output.weight" in file.tensors for file in files)
    output_here = not placed or placed[-1] == HOST
    layouts, sizes = CpuLayouts(), {HOST: 0}
    for file in files:
        here: dict[str, Tensor] = {}
        for name, tensor in file.tensors.items():
            devices = _devices_of(name, placed, tied)
            for device in devices - {HOST}:
                sizes[device] = sizes.get(device, 0) + tensor.size_bytes
            if HOST in devices:
                here[name] = tensor
        sizes[HOST] += _host_bytes(here, layouts, tied and output_here)
    return sizes


def _devices_of(name: str, placed: Sequence[str], tied: bool) -> set[str]:
    """Where a tensor goes to."""
    layer = _LAYER.match(name)
    if layer is not None:
        return {placed[int(layer[1])]} if int(layer[1]) < len(placed) else {HOST}
    output = placed[-1] if placed else HOST
    if name.startswith("output"):
        return {output}
    return {HOST, output} if tied and name == "token_embd.weight" else {HOST}


def _host_bytes(tensors: Mapping[str, Tensor], layouts: CpuLayouts, tied: bool) -> int:
    mapped: list[Tensor] = []
    copied = 0
    for name, tensor in tensors.items():
        # A tied embedding is also the output matrix: mapped for the one, perhaps copied for the other.
        embeds = name == "token_embd.weight"
        size = layouts.copy_bytes(tensor) if _multiplies(name, tensor) and (not embeds or tied) else 0
        copied += size
        if embeds or not size:
            mapped.append(tensor)
    if not mapped:
        return copied
    first = min(tensor.offset for tensor in mapped)
    return copied + max(tensor.offset + tensor.size_bytes for tensor in mapped) - first


def _multiplies(name: str, tensor: Tensor) -> bool:
    """Whether a tensor is a matrix that tokens are multiplied by: only those have other layouts."""
    return name.endswith(".weight") and tensor.shape[1] > 1
