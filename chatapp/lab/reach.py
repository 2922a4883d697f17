"""How far back a stack of windows sees: the exact recurrence beside the formulas that approximate it.

Every layer attends evenly to its window, and a residual of weight alpha passes a token on unchanged (kernels.reach).
This is the geometry of the mask; a trained model attends differently.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from rich.text import Text

from chatapp.lab.influence import influence
from chatapp.lab.shapes import Windows
from kernels import reach as kernel
from kernels.arrays import Floats

POINTS: Final = 120
"""Most points of a curve."""
DEPTHS: Final = 6
"""Most depths at which the exact range is reported."""
ROWS: Final = 14
BAR: Final = 30


@dataclass(frozen=True)
class Curve:
    """The share of the influence that comes from a distance or beyond. What does not apply is None."""

    distances: list[int]
    exact: list[float]
    exponential: list[float] | None
    """(1 - alpha)^(d / W): the bound with a residual, up to its constant."""
    gaussian: list[float] | None
    """The limit of the sum of many even steps, without a residual."""
    windows_only: list[float] | None
    """`exact`, if the global layers had windows too."""


@dataclass(frozen=True)
class LabReach:
    """Ranges in tokens. What does not apply is None."""

    name: str | None
    windows: Windows
    window: int | None
    alpha: float
    eps: float
    tokens: int | None
    """Tokens in the cache, where they bound the range."""
    reachable_tokens: int
    exact_tokens: int
    windows_only_tokens: int | None
    exponential_tokens: float | None
    gaussian_std_tokens: float | None
    curve: Curve
    depths: list[tuple[int, int]]
    """Exact ranges of stacks of windows only: (layers, tokens)."""

    def numbers(self) -> dict[str, Any]:
        """The ranges, and the curves that lead to them."""
        return {
            "model": self.name,
            "layers": len(self.windows),
            "global_layers": self.windows.count(None),
            "window": self.window,
            "alpha": self.alpha,
            "eps": self.eps,
            "tokens": self.tokens,
            "reachable_tokens": self.reachable_tokens,
            "exact_tokens": self.exact_tokens,
            "windows_only_tokens": self.windows_only_tokens,
            "exponential_tokens": self.exponential_tokens,
            "gaussian_std_tokens": self.gaussian_std_tokens,
            "curve": {
                "distance_tokens": self.curve.distances,
                "exact": self.curve.exact,
                "exponential": self.curve.exponential,
                "gaussian": self.curve.gaussian,
                "windows_only": self.curve.windows_only,
            },
            "depths": [{"layers": layers, "exact_tokens": tokens} for layers, tokens in self.depths],
        }

    def lines(self, room: int) -> list[Text]:
        """The ranges with the formula of each, and the curve as bars."""
        del room
        curve, formula = self.curve, self.formula
        lines = [Text(self.title), Text(), *self._ranges(), Text()]
        heading = f"{'distance':>13}  {'this far or beyond':>18}"
        lines.append(Text(heading if formula is None else f"{heading}  {formula[0]:>11}", "bold"))
        for place in range(0, len(curve.distances), -(-len(curve.distances) // ROWS)):
            line = Text(f"{curve.distances[place]:>13,}  {_percent(curve.exact[place]):>18}  ")
            if formula is not None:
                line.append(f"{_percent(formula[1][place]):>11}  ")
            line.append("█" * round(BAR * curve.exact[place]), "blue")
            line.rstrip()
            lines.append(line)
        if len(self.depths) > 1:
            (layers, tokens), *more = self.depths
            told = "".join(f", {tokens:,} with {layers}" for layers, tokens in more)
            lines += [Text(), Text(f"The exact range grows with depth: {tokens:,} tokens with {layers} layers{told}.")]
        return [
            *lines,
            Text(),
            Text("Alpha and even attention are assumptions: this is the geometry of the mask, not a measurement."),
        ]

    @property
    def formula(self) -> tuple[str, list[float]] | None:
        """The approximation for this alpha: its name and its curve."""
        if self.curve.exponential is not None:
            return "exponential", self.curve.exponential
        return None if self.curve.gaussian is None else ("Gaussian", self.curve.gaussian)

    @property
    def title(self) -> str:
        """What the reach is of."""
        n_global, layers = self.windows.count(None), len(self.windows)
        what = f"{self.name}: {layers} layers" if self.name else f"{layers} layers"
        what += f" ({n_global} global)" if 0 < n_global < layers else ""
        width = "no window" if self.window is None else f"window {self.window:,}"
        cached = "" if self.tokens is None else f", {self.tokens:,} tokens cached"
        return f"{what}, {width}{cached}; alpha {self.alpha:g}, eps {self.eps:g}"

    def _ranges(self) -> list[Text]:
        layers, share = len(self.windows), _percent(self.eps)
        any_at_all = "everything cached" if None in self.windows else "layers x (window - 1) + 1: any influence at all"
        middle = "" if self.window is None else f"{layers * (self.window - 1) / 2:,.0f}"
        told: list[tuple[str, float | None, str]] = [
            ("reachable", self.reachable_tokens, any_at_all),
            ("exact", self.exact_tokens, f"at most {share} of the influence comes from here or beyond"),
            ("windows only", self.windows_only_tokens, "the same, if the global layers had windows too"),
            ("exponential", self.exponential_tokens, "window x ln(eps) / ln(1 - alpha): the bound, at any depth"),
            (
                "Gaussian",
                self.gaussian_std_tokens,
                f"√(layers (window² - 1) / 12): spread around {middle}, no residual",
            ),
        ]
        return [self._range(name, tokens, how) for name, tokens, how in told if tokens is not None]

    def _range(self, name: str, tokens: float, how: str) -> Text:
        number = f"{tokens:,}" if isinstance(tokens, int) else f"{tokens:,.1f}"
        in_windows = "" if self.window is None else f"{tokens / self.window:.2f} W"
        return Text(f"{name:<13}{number:>11} tokens {in_windows:>10}  {how}")


def reach(
    windows: Windows,
    *,
    window: int | None,
    alpha: float,
    eps: float,
    tokens: int | None = None,
    name: str | None = None,
) -> LabReach:
    """How far back layers of `windows`, all `window` wide or global, see, down to a share of `eps`.

    `alpha` is the weight of the residual. `tokens` is the number of cached tokens: required where a layer is global;
    else None means no limit. UserError where it would take too long.
    """
    layers, has_global = len(windows), None in windows
    p = influence(windows, window, alpha, tokens)
    alone = None if window is None or not has_global else influence((window,) * layers, window, alpha, tokens)
    bounded = window if 0 < alpha < 1 else None
    endless = None if has_global else window
    return LabReach(
        name=name,
        windows=windows,
        window=window,
        alpha=alpha,
        eps=eps,
        tokens=tokens,
        reachable_tokens=_reachable(windows, window, tokens),
        exact_tokens=kernel.range_tokens(p, eps),
        windows_only_tokens=None if alone is None else kernel.range_tokens(alone, eps),
        exponential_tokens=None if bounded is None or eps == 0 else _exponential_tokens(bounded, alpha, eps),
        gaussian_std_tokens=None if window is None else kernel.gaussian_std_tokens(layers, window),
        curve=_curve(p, alone, layers, window, alpha, eps),
        depths=[] if endless is None else _depths(layers, endless, alpha, eps),
    )


def _exponential_tokens(window: int, alpha: float, eps: float) -> float:
    return abs(kernel.exponential_tokens(window, alpha, eps))  # eps 1 would give -0.0


def _depths(layers: int, window: int, alpha: float, eps: float) -> list[tuple[int, int]]:
    stacks = ((depth, influence((window,) * depth, window, alpha, None)) for depth in _spaced(layers, DEPTHS) if depth)
    return [(depth, kernel.range_tokens(p, eps)) for depth, p in stacks]


def _reachable(windows: Windows, window: int | None, tokens: int | None) -> int:
    if tokens is not None and None in windows:
        return tokens
    by_windows = kernel.reachable_tokens(len(windows), window or 1)
    return by_windows if tokens is None else min(by_windows, tokens)


def _curve(p: Floats, alone: Floats | None, layers: int, window: int | None, alpha: float, eps: float) -> Curve:
    """The tails at evenly spaced distances, up to where a hundredth of `eps` remains."""
    last = min(kernel.range_tokens(p, eps / 100), len(p) - 1)
    at = np.array(_spaced(last, POINTS))
    gaussian = None
    if window is not None and window > 1 and layers > 0 and alpha == 0 and alone is None:
        gaussian = _tail(kernel.gaussian(layers, window), at)
    bound = kernel.exponential(window, alpha, at.astype(np.float64)) if window is not None and 0 < alpha < 1 else None
    return Curve(
        distances=at.tolist(),
        exact=_tail(p, at),
        exponential=None if bound is None else bound.tolist(),
        gaussian=gaussian,
        windows_only=None if alone is None else _tail(alone, at),
    )


def _tail(p: Floats, at: "np.ndarray[Any, np.dtype[np.int64]]") -> list[float]:
    """How much of `p` lies at each of the distances `at` or beyond, summed from the far end."""
    return np.cumsum(p[::-1])[::-1][at].tolist()


def _spaced(last: int, most: int) -> list[int]:
    """0 to `last`, inclusive, in at most `most` even steps."""
    steps = max(1, min(last, most))
    return sorted({round(step * last / steps) for step in range(steps + 1)})


def _percent(share: float) -> str:
    """A share in readable form: 12.3%, 0.0012%, 1e-09%."""
    return f"{100 * share:.3g}%"
