"""The memory panel: bytes by component, as planned and as measured, the process, and every device."""

from textual.content import Content

from chatapp.engine.protocol import Device, Loaded, Memory
from chatapp.text import visible
from chatapp.ui import format
from chatapp.ui.widgets.observed import Observed
from chatapp.ui.widgets.panel import Panel, columns, labelled


class MemoryPanel(Panel):
    """Weights, KV cells, compute buffers; resident size of the engine's process; free memory of each device."""

    HELP = (
        "Planned is worked out from the model file and the settings before anything is loaded; measured is what"
        " llama.cpp reported in its load log. "
        "Process is the resident size of the engine's process, as the operating system counts it: weights that are"
        " mapped from the file count only as far as they were read. "
        "A device's figures come from its driver at the newest snapshot, and a dash is something that nobody measured."
    )

    def rows(self, observed: Observed, width: int) -> list[Content]:
        """The table, the process, the devices."""
        loaded = observed.loaded
        planned, measured = (loaded.planned, loaded.measured) if loaded is not None else (Memory(), Memory())
        table = [
            columns("", ["planned", "measured"], width).stylize("dim"),
            _component("weights", planned.weights_bytes, measured.weights_bytes, width),
            _component("KV cells", planned.kv_bytes, measured.kv_bytes, width),
        ]
        if loaded is not None and loaded.n_ctx_swa is not None:
            table.append(_component("KV slide", planned.kv_swa_bytes, measured.kv_swa_bytes, width))
        table.append(_component("compute", planned.compute_bytes, measured.compute_bytes, width))
        table.append(_component("sum", _total(planned, loaded), _total(measured, loaded), width))
        resident = observed.snapshot.resident_bytes if observed.snapshot is not None else None
        table.append(columns("process", ["", format.size(resident)], width))
        return [*table, *(_device(device) for device in observed.devices)]

    def summary(self, observed: Observed) -> str:
        """ "251 MB": the process."""
        return format.size(observed.snapshot.resident_bytes if observed.snapshot is not None else None)


def _component(name: str, planned: int | None, measured: int | None, width: int) -> Content:
    return columns(name, [format.size(planned), format.size(measured)], width)


def _total(memory: Memory, loaded: Loaded | None) -> int | None:
    """The sum of all components; None as soon as one of them is not known."""
    components = [memory.weights_bytes, memory.kv_bytes, memory.compute_bytes]
    if loaded is not None and loaded.n_ctx_swa is not None:
        components.append(memory.kv_swa_bytes)
    known = [component for component in components if component is not None]
    return sum(known) if len(known) == len(components) else None


def _device(device: Device) -> Content:
    free, total = format.size(device.free_bytes), format.size(device.total_bytes)
    return labelled(f"{visible(device.name)} ", f"{free} free of {total}")
