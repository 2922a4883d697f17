"""How many bytes a model's weights will take on each device, as llama.cpp will log it.

On a GPU they are copied unchanged. On the host they stay in the mapped file, except those that the CPU multiplies
faster in another layout: ggml copies these into a separate buffer (CPU_REPACK and the like). Which ones depends on
the machine, so ggml itself is asked (chatapp.engine.native.cpu_layouts).
"""

import re
from collections.abc import Mapping, Sequence

from chatapp.engine.native.cpu_layouts import CpuLayouts
from chatapp.engine.native.gguf import GgufMeta, TensorInfo, parts
from chatapp.protocol.values import HOST

_LAYER = re.compile(r"blk\.(\d+)\.")


def by_device(meta: GgufMeta, placed: Sequence[str]) -> dict[str, int]:
    """Bytes by device; `placed` has the device of each layer and last of the output (llama-model.cpp, load_tensors).

    The host has the mapped part of the file, and the copies in the CPU's own layouts. Token embeddings are always on
    the host; a tied output matrix is a second copy of them where the output is elsewhere.
    """
    files = parts(meta)
    tied = not any("output.weight" in file.tensors for file in files)
    output_here = not placed or placed[-1] == HOST
    layouts, sizes = CpuLayouts(), {HOST: 0}
    for file in files:
        here: dict[str, TensorInfo] = {}
        for name, tensor in file.tensors.items():
            devices = _devices_of(name, placed, tied)
            for device in devices - {HOST}:
                sizes[device] = sizes.get(device, 0) + tensor.size_bytes
            if HOST in devices:
                here[name] = tensor
        sizes[HOST] += _host_bytes(here, layouts, tied and output_here)
    return sizes


def _devices_of(name: str, placed: Sequence[str], tied: bool) -> set[str]:
    """The devices that get a tensor."""
    layer = _LAYER.match(name)
    if layer is not None:
        return {placed[int(layer[1])]} if int(layer[1]) < len(placed) else {HOST}
    output = placed[-1] if placed else HOST
    if name.startswith("output"):
        return {output}
    return {HOST, output} if tied and name == "token_embd.weight" else {HOST}


def _host_bytes(tensors: Mapping[str, TensorInfo], layouts: CpuLayouts, tied: bool) -> int:
    mapped: list[TensorInfo] = []
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


def _multiplies(name: str, tensor: TensorInfo) -> bool:
    """True for a matrix that tokens are multiplied by: only those have other layouts."""
    return name.endswith(".weight") and tensor.shape[1] > 1
