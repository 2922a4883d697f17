"""The memory panel: bytes by component and device, planned and measured, over time, and what the window saves."""

import textwrap

from textual.content import Content
from textual.style import Style

from chatapp.presentation import format
from chatapp.presentation.memory_pressure import Severity
from chatapp.presentation.observed import Observed
from chatapp.presentation.savings import savings, sentences
from chatapp.presentation.time_series import MARKED, folded, marks
from chatapp.protocol.events import Loaded
from chatapp.protocol.values import Device, Memory
from chatapp.text import one_line
from chatapp.ui.widgets.inspector.panel import LABEL_WIDTH, Panel, columns, labelled
from chatapp.ui.widgets.inspector.sampled import noted

COLUMN_WIDTH = 9
"""A size, with a space before it."""
_TITLES = {Severity.LOW: "memory is low", Severity.CRITICAL: "memory is nearly full"}


class MemoryPanel(Panel):
    """Weights, KV cells, compute buffers; the engine's process; free memory of each device; what the window saves."""

    HELP = (
        "Planned is worked out from the model file, the settings and a dry run of llama.cpp before anything is loaded;"
        " measured is what llama.cpp reported in its load log; with several devices, both are shown for each of them;"
        " KV SWA is the cells of the sliding-window layers. "
        "Process is the resident size of the engine's process, which includes memory-mapped weights only as far as they"
        " were read; its bars are scaled from the lowest to the highest size of the whole conversation, with a ^ at"
        " each eviction. "
        "A device's figures come from its driver at the newest snapshot, those of the host respect the limits of its"
        " control groups, and a dash is a figure that was not measured."
    )

    def rows(self, observed: Observed, width: int) -> list[Content]:
        """The warning, if any, the table, the process, the devices, what the window saves."""
        return [
            *self._warning(observed, width),
            *_table(observed.loaded, width),
            *self._process(observed, width),
            *(row for device in observed.devices for row in _device(device, observed.loaded, width)),
            *_savings(observed, width),
        ]

    def summary(self, observed: Observed) -> str:
        """ "239 MiB": the process; "239 MiB · memory is low"."""
        resident = format.size(observed.resident_bytes)
        warning = _TITLES.get(observed.pressure.level)
        return f"{resident} · {warning}" if warning else resident

    def _warning(self, observed: Observed, width: int) -> list[Content]:
        """The warning, reversed so that it stands out without colour too."""
        if observed.pressure.level is Severity.NONE:
            return []
        words = f"{_TITLES[observed.pressure.level].capitalize()}: {observed.pressure.why}."
        red = Style(foreground=None if self.colours.plain else self.colours.colour("mismatch"), bold=True, reverse=True)
        return [Content.styled(f" {line}".ljust(width), red) for line in textwrap.wrap(words, max(12, width - 2))]

    def _process(self, observed: Observed, width: int) -> list[Content]:
        rows = [columns("process", ["", format.size(observed.resident_bytes)], width)]
        spans = folded(observed.resident.spans, width - LABEL_WIDTH - len(" 999 MiB–999 MiB"))
        if len(spans) > 1:
            values = [span.value for span in spans]
            style = Style() if self.colours.plain else Style(foreground=self.colours.colour("turn-a"))
            range_ = "–".join(dict.fromkeys((format.size(min(values)), format.size(max(values)))))
            rows.append(labelled("", Content.styled(format.levels(values), style), Content.styled(f" {range_}", "dim")))
            if any(span.evictions for span in spans):
                under = marks(span.evictions > 0 for span in spans)
                rows.append(labelled("", under, Content.styled(MARKED, "dim")))
        host = observed.host
        if host is not None and host.swapped_bytes:
            rows.append(columns("swapped", ["", format.size(host.swapped_bytes)], width))
        return rows


def _table(loaded: Loaded | None, width: int) -> list[Content]:
    """A row for each component; with several devices and enough width, two columns for each, planned and measured."""
    planned, measured = (loaded.planned, loaded.measured) if loaded is not None else (Memory(), Memory())
    held = _columns(loaded, width)
    memories = [planned, measured, *(memory for _, *both in held for memory in both)]
    slides = loaded is not None and loaded.n_ctx_swa is not None
    components = [
        ("weights", [memory.weights_bytes for memory in memories]),
        ("KV cells", [memory.kv_bytes for memory in memories]),
        *([("KV SWA", [memory.kv_swa_bytes for memory in memories])] if slides else []),
        ("compute", [memory.compute_bytes for memory in memories]),
    ]
    sums = [
        _sum(bytes_, strict=index < 2) for index, bytes_ in enumerate(zip(*(b for _, b in components), strict=True))
    ]
    over_devices = (word for device, *_ in held for word in ("planned", f"on {one_line(device)}"))
    names = ["planned", "measured", *over_devices]
    return [
        columns("", names, width).stylize("dim"),
        *(columns(name, [format.size(n) for n in bytes_], width) for name, bytes_ in components),
        columns("total", [format.size(n) for n in sums], width),
    ]


def _sum(components: tuple[int | None, ...], *, strict: bool) -> int | None:
    """The total; with `strict`, None if any component is not known. A device need not hold each of them."""
    known = [component for component in components if component is not None]
    return sum(known) if known and (not strict or len(known) == len(components)) else None


def _device(device: Device, loaded: Loaded | None, width: int) -> list[Content]:
    """The device's free memory and, with several devices but no columns for them, what the model takes there."""
    free, total = format.size(device.free_bytes), format.size(device.total_bytes)
    rows = [labelled(f"{one_line(device.name)} ", f"{free} of {total} free")]
    for name, planned, measured in [] if _columns(loaded, width) else _several(loaded):
        if name == device.name:
            rows.append(labelled("", f"model {format.size(_all(measured))}, plan {format.size(_all(planned))}"))
    return rows


def _columns(loaded: Loaded | None, width: int) -> list[tuple[str, Memory, Memory]]:
    """The devices with columns of their own: all, if there are several and all of them fit; else none."""
    several = _several(loaded)
    column = max([COLUMN_WIDTH, *(len(f" on {one_line(name)}") for name, *_ in several)])
    return several if width >= LABEL_WIDTH + column * (2 + 2 * len(several)) else []


def _several(loaded: Loaded | None) -> list[tuple[str, Memory, Memory]]:
    """With several devices, what was planned for each and measured on it; the host first.

    If the cells of the cache could not be placed, nothing is planned by device: a sum without them would be no plan.
    """
    if loaded is None:
        return []
    whole = loaded.planned_buffers
    if sum(each.memory.kv_bytes or 0 for each in whole) != loaded.planned.kv_bytes:
        whole = []
    planned, measured = ({each.device: each.memory for each in of} for of in (whole, loaded.buffers))
    names = list(dict.fromkeys([*measured, *planned]))
    return [(name, planned.get(name, Memory()), measured.get(name, Memory())) for name in names if len(names) > 1]


def _all(memory: Memory) -> int | None:
    """The total of the known components."""
    parts = (memory.weights_bytes, memory.kv_bytes, memory.kv_swa_bytes, memory.compute_bytes)
    return _sum(parts, strict=False)


def _savings(observed: Observed, width: int) -> list[Content]:
    if observed.loaded is None or observed.snapshot is None:
        return []
    saved = savings(observed.loaded, observed.snapshot)
    words = sentences(saved) if saved is not None else []
    return [row for index, each in enumerate(words) for row in noted("" if index else "window", each, width)]
