"""Pictures of experiments, written by Matplotlib without a display; the same numbers give the same file."""

# Matplotlib's own types leave most keyword arguments unknown.
# pyright: reportUnknownMemberType=false

import io
import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chatapp.errors import UserError
from chatapp.files import write_asked_for
from chatapp.lab.mask import SINK, Mask
from chatapp.lab.memory import Memory
from chatapp.lab.reach import LabReach
from chatapp.lab.ring import Ring
from chatapp.lab.sinks import SinkVariants

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

BLUE, ORANGE, GREEN, PURPLE, RED, SKY = "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9"
"""The colours of Okabe and Ito, which colour-blind people can tell apart."""
INK, GREY, PALE = "#222222", "#b8b8b8", "#ececec"
SERIES: Final = (BLUE, ORANGE, GREEN, PURPLE, RED, SKY, INK)
FORMATS: Final = ("png", "svg")
PNG_DOTS_PER_INCH: Final = 150
MOST_LABELLED: Final = 40
"""Most tokens of a mask that are drawn as squares with names."""
MOST_CELLS: Final = 64
"""Most cells, and most steps, of a ring that fit in a picture."""
SMALLEST_SHARE: Final = 1e-300
"""Below this an axis would begin at 0."""
STYLE: Final[dict[Any, Any]] = {
    "svg.hashsalt": "swachat",  # ids would be random
    "svg.fonttype": "none",  # text stays text: it can be searched and read aloud
    "text.parse_math": False,  # a dollar in someone's text is a dollar
    "figure.constrained_layout.use": True,
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "legend.frameon": False,
}


Experiment = Mask | LabReach | SinkVariants | Ring | Memory


def check(path: Path) -> None:
    """UserError where `path` has no supported suffix, or where Matplotlib is not installed."""
    if _format(path) not in FORMATS:
        raise UserError(f"--out {path} is not a supported picture format.", "Use a name that ends in .png or .svg.")
    try:
        import_module("matplotlib")
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise UserError("--out needs Matplotlib, which is not installed.", "Install the extra: swachat[lab].") from None


def write(experiment: Experiment, path: Path) -> None:
    """Draw `experiment` into `path`, a PNG or SVG by its name. UserError where it cannot be drawn or written."""
    import matplotlib
    from matplotlib.figure import Figure

    drawn = io.BytesIO()
    # No matplotlibrc is read, and pyplot, which would look for a display, is not used.
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = Figure()
        _draw(experiment, figure)
        svg = _format(path) == "svg"
        metadata = {"Date": None} if svg else {"Software": None}
        figure.savefig(drawn, format=_format(path), dpi=72 if svg else PNG_DOTS_PER_INCH, metadata=metadata)
    try:
        write_asked_for(path, drawn.getvalue(), replace=True)
    except OSError as error:
        raise UserError(f"The picture {path} cannot be written: {error.strerror}.", "Name another file.") from error


def _format(path: Path) -> str:
    return path.suffix.removeprefix(".").lower()


def _draw(experiment: Experiment, figure: "Figure") -> None:
    match experiment:
        case Mask():
            _mask(experiment, figure)
        case LabReach():
            _reach(experiment, figure)
        case SinkVariants():
            _sinks(experiment, figure)
        case Ring():
            _ring(experiment, figure)
        case Memory():
            _memory(experiment, figure)


def _mask(mask: Mask, figure: "Figure") -> None:
    """A square for each pair of query and key."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    kinds, names = mask.kinds(), mask.names()
    figure.set_size_inches(5.2, 4.4)
    axes = figure.add_subplot()
    axes.set_title(mask.title)
    colours = ListedColormap(["white", PALE, BLUE, ORANGE])
    if len(names) <= MOST_LABELLED:
        axes.pcolormesh(kinds, cmap=colours, vmin=0, vmax=3, edgecolors="white", linewidth=1.0)
        axes.invert_yaxis()
        middles = np.arange(len(names)) + 0.5
        axes.set_yticks(middles, names)
        axes.set_xticks(middles, names, rotation=90 if max(map(len, names)) > 2 else 0)
        axes.tick_params(length=0)
    else:
        axes.imshow(kinds, cmap=colours, vmin=0, vmax=3, interpolation="none")
    axes.set_aspect("equal")
    axes.spines[:].set_visible(False)
    axes.set_xlabel("key")
    axes.set_ylabel("query")
    marks = [Patch(color=BLUE, label="seen"), Patch(color=PALE, label="not seen")]
    if (kinds == SINK).any():
        marks.insert(1, Patch(color=ORANGE, label="seen: a sink"))
    axes.legend(handles=marks, loc="upper right")


def _reach(reach: LabReach, figure: "Figure") -> None:
    """The exact tail beside its formula, and the range by depth."""
    both = len(reach.depths) > 1
    figure.set_size_inches(8.4 if both else 6.4, 3.8)
    figure.suptitle(reach.title, fontsize=10)
    _tail(reach, figure.add_subplot(1, 1 + both, 1))
    if both:
        _depths(reach, figure.add_subplot(1, 2, 2))


def _tail(reach: LabReach, axes: "Axes") -> None:
    curve = reach.curve
    axes.plot(curve.distances, curve.exact, color=BLUE, lw=2, label="exact")
    if curve.windows_only is not None:
        axes.plot(curve.distances, curve.windows_only, color=GREEN, label="if all layers had windows")
    if reach.formula is not None:
        name, shares = reach.formula
        axes.plot(curve.distances, shares, color=ORANGE, ls="--", label=name)
    axes.axhline(reach.eps, color=GREY, lw=0.8)
    axes.axvline(reach.exact_tokens, color=GREY, lw=0.8)
    axes.text(reach.exact_tokens, 1.0, f"{reach.exact_tokens:,} ", ha="right", va="top", color=INK)
    if reach.alpha > 0 and 0 < reach.eps < 1:
        axes.set_yscale("log")
        axes.set_ylim(max(reach.eps / 100, SMALLEST_SHARE), 1.5)
        axes.yaxis.set_major_formatter(lambda share, _: f"{share:g}")
    axes.set_xlabel("distance in tokens")
    axes.set_ylabel("influence from this distance or beyond")
    axes.legend()


def _depths(reach: LabReach, axes: "Axes") -> None:
    axes.plot(*zip(*reach.depths, strict=True), "o-", color=BLUE, label="exact", ms=4)
    if reach.exponential_tokens is not None:
        axes.axhline(reach.exponential_tokens, color=ORANGE, ls="--", label="exponential")
    axes.set_xlim(0)
    axes.set_ylim(0)
    axes.set_xlabel("layers")
    axes.set_ylabel("range in tokens")
    axes.legend(loc="lower right")


def _sinks(sinks: SinkVariants, figure: "Figure") -> None:
    """The weights of each variant, and below them the content that each token takes in."""
    from matplotlib.colors import PowerNorm

    figure.set_size_inches(10, 5.6)
    parts: list[SubFigure] = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 1.25))[:, 0].tolist()
    first: Axes | None = None
    for number, variant in enumerate(sinks.variants, start=1):
        axes = parts[0].add_subplot(1, len(sinks.variants), number, sharey=first)
        gap = np.full(sinks.n_token, np.nan)
        shown = np.column_stack([variant.elsewhere, gap, variant.weights])
        axes.imshow(shown, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="none", aspect="auto")
        axes.set_title(variant.name)
        axes.set_xticks([0, 2 + sinks.n_token // 2], ["else", "text"])
        axes.tick_params(length=0, labelleft=first is None)
        first = first or axes
    parts[0].supylabel("query", fontsize=9)
    parts[0].supxlabel("key (else: not a token of the text); dark is 1, small weights are exaggerated", fontsize=9)
    axes = parts[1].add_subplot()
    for number, (variant, colour) in enumerate(zip(sinks.variants, SERIES, strict=True)):
        dashes = "-" if number < 2 else (0, (3, 1 + number))  # several coincide
        axes.plot(variant.takes_in, color=colour, label=variant.name, lw=2, ls=dashes)
    if sinks.window < sinks.n_token:
        axes.axvline(sinks.window - 0.5, color=GREY, lw=0.8)
        axes.text(sinks.window, 0.9, " the first token is out of the window", va="center")
    axes.set_ylim(0, max(1.1, *(variant.takes_in.max() for variant in sinks.variants)))
    axes.set_xlabel("token")
    axes.set_ylabel("content taken in")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def _ring(ring: Ring, figure: "Figure") -> None:
    """A row for each step, a column for each cell."""
    from matplotlib.patches import Rectangle

    n_cell = ring.n_sink + ring.window
    if max(n_cell, len(ring.steps)) > MOST_CELLS:
        raise UserError(
            f"A picture of {len(ring.steps)} steps and {n_cell} cells would be illegible.",
            f"Use at most {MOST_CELLS} tokens and cells.",
        )
    figure.set_size_inches(max(4.2, 1.4 + 0.75 * n_cell), max(2.0, 0.9 + 0.3 * len(ring.steps)))
    axes = figure.add_subplot()
    axes.set_title(ring.title)
    for row, step in enumerate(ring.steps):
        for slot, position in enumerate(step.cells):
            new, is_sink = slot == step.slot, slot < ring.n_sink
            fill = PALE if position is None else ORANGE if is_sink else BLUE
            faint = 1.0 if new or position is None else 0.3
            axes.add_patch(Rectangle((slot, row), 1, 1, fc=fill, alpha=faint, ec="white"))
            if position is not None:
                ink = "white" if new and not is_sink else INK
                axes.text(slot + 0.5, row + 0.5, ring.words[position], ha="center", va="center", color=ink)
    axes.set_xlim(0, n_cell)
    axes.set_ylim(len(ring.steps), 0)
    axes.set_xticks(np.arange(n_cell) + 0.5, [str(slot) for slot in range(n_cell)])
    steps = [f"{ring.words[step.position]}  {step.position}" for step in ring.steps]
    axes.set_yticks(np.arange(len(steps)) + 0.5, steps)
    axes.set_xlabel("cell")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _memory(memory: Memory, figure: "Figure") -> None:
    """Both axes in powers of two; a colour for each model."""
    figure.set_size_inches(7.6, 4.4)
    axes = figure.add_subplot()
    for number, growth in enumerate(memory.growths):
        for column in memory.columns(growth):
            dashes = {"every token": "--" if growth.slides else "-", "windows pruned": "-"}.get(column.name, ":")
            gib = [size / 2**30 for size in column.sizes]
            colour = SERIES[number % len(SERIES)]
            axes.plot(memory.contexts, gib, color=colour, ls=dashes, label=f"{growth.shape.name}: {column.name}")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xticks(memory.contexts, [f"{context:,}" for context in memory.contexts], rotation=45)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("tokens in the conversation")
    axes.set_ylabel("KV cache in GiB")
    axes.grid(color=PALE, lw=0.6)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
