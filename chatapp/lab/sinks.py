"""Where unneeded attention goes: the variants of papers and models, side by side on the same task.

The task: a token needs nothing in particular. All content scores alike, `score` below the place that the model has
learned for the unneeded weight, which carries no content (a value of 0). A good variant then takes in as little content
as full attention does; one without such a place takes in all of it.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from rich.text import Text

from chatapp.errors import UserError
from kernels.arrays import Floats
from kernels.attention import Attended, attend
from kernels.masks import causal, sliding_window
from kernels.rope import Rope
from kernels.sinks import attend_sigmoid, attend_streaming, attend_with_bias, attend_with_sink_token

MOST_TOKENS: Final = 512
SHADES: Final = "·░▒▓█"
HEADINGS: Final = "  takes in  on the text  elsewhere  "


@dataclass(frozen=True)
class Variant:
    """One variant and its result: `weights (n, n)` on tokens, `elsewhere (n,)` on anything but tokens of the text."""

    name: str
    where: str
    """Where the unneeded weight goes."""
    weights: Floats
    elsewhere: Floats
    takes_in: Floats
    """The content that each token takes in: the weight on tokens that carry content, `(n,)`."""


@dataclass(frozen=True)
class SinkVariants:
    """All variants on the same text of `n_token` tokens."""

    n_token: int
    window: int
    n_sink: int
    score: float
    variants: list[Variant]

    def numbers(self) -> dict[str, Any]:
        """Where the last token's attention goes, and what every token takes in."""
        return {
            "tokens": self.n_token,
            "window": self.window,
            "sinks": self.n_sink,
            "score": self.score,
            "variants": [
                {
                    "name": variant.name,
                    "weights": variant.weights[-1].tolist(),
                    "on_text": float(variant.weights[-1].sum()),
                    "elsewhere": float(variant.elsewhere[-1]),
                    "takes_in": variant.takes_in.tolist(),
                }
                for variant in self.variants
            ],
        }

    def lines(self, room: int) -> list[Text]:
        """A line for each variant: the last token's weights, and what it takes in."""
        width = max(len(variant.name) for variant in self.variants)
        fitting = max(2, room - width - len(HEADINGS))
        heading = f"a window of {self.window}; a place for unneeded weight scores {self.score:g} above the rest"
        lines = [Text(f"{self.n_token} tokens, {heading}"), Text()]
        lines.append(Text(f"{'':<{width}}{HEADINGS}the last token's weights on the text", "bold"))
        for variant in self.variants:
            marks = "".join(SHADES[math.ceil(min(w, 1.0) * (len(SHADES) - 1))] for w in variant.weights[-1])
            if len(marks) > fitting:
                marks = marks[: fitting // 2 - 1] + "…" + marks[-fitting // 2 :]
            line = Text(f"{variant.name:<{width}}  {variant.takes_in[-1]:>8.3f}  {variant.weights[-1].sum():>11.3f}")
            lines.append(line.append(f"  {variant.elsewhere[-1]:>9.3f}  ").append(marks, "blue"))
        lines += [
            Text(),
            Text("Takes in: weight on content that the token does not need. Elsewhere: not on a token of the text."),
        ]
        lines += [Text(), Text("Where the unneeded weight goes", "bold")]
        return lines + [Text(f"{variant.name:<{width}}  {variant.where}") for variant in self.variants]


def sinks(n_token: int, *, window: int, n_sink: int, score: float) -> SinkVariants:
    """Every variant over `n_token` tokens. UserError for more than can be shown."""
    if n_token > MOST_TOKENS:
        raise UserError(f"--tokens {n_token} is too many to show.", f"Use at most {MOST_TOKENS}.")
    place = np.arange(n_token)
    first = np.where(place == 0, 1.0, 0.0)
    everything, recent = causal(place, place), sliding_window(place, place, window)
    q = _keys(np.ones(n_token))
    # Some models have learned to use the first token, others a dedicated place.
    k_first, v_first = _keys(score * first), _values(1 - first)
    k, v = _keys(np.zeros(n_token)), _values(np.ones(n_token))
    its_key, its_value = np.array([[0.0, 0.0, score]]), np.zeros((1, 1))

    full = attend(q, k_first, v_first, everything, scale=1.0)
    window_only = attend(q, k_first, v_first, recent, scale=1.0)
    kept = attend_streaming(q, k_first, v_first, window=window, n_sink=n_sink, rope=Rope(n_rot=2), scale=1.0)
    token = attend_with_sink_token(q, k, v, recent, sink_key=its_key, sink_value=its_value, scale=1.0)
    token = Attended(output=token.output, weights=token.weights[..., 1:], sink=token.weights[..., 0])
    logit = attend(q, k, v, recent, scale=1.0, sink_logits=np.array([score]))
    bias = attend_with_bias(q, k, v, recent, key_bias=its_key, value_bias=its_value, scale=1.0)
    # A sigmoid weighs each score against 0, so unneeded content scores below it.
    sigmoid = attend_sigmoid(q, _keys(np.full(n_token, -score)), v, recent, scale=1.0)

    return SinkVariants(
        n_token,
        window,
        n_sink,
        score,
        [
            _variant("full attention", "to the first token, which no window hides", full),
            _variant("window alone", "to content, once the first token is out of the window", window_only),
            _variant(
                "kept tokens",
                f"to the first {'token' if n_sink == 1 else f'{n_sink} tokens'}, kept and renumbered (StreamingLLM)",
                kept,
            ),
            _variant("sink token", "to a token trained for it, before all others (StreamingLLM)", token),
            _variant("learned logit", "out of the row, which sums to less than 1 (gpt-oss)", logit),
            _variant("k/v bias", "to a learned key and value of the layer (Sun et al.)", bias),
            _variant("sigmoid", "there is none: weights need not sum to 1 (Gu et al.)", sigmoid),
        ],
    )


def _keys(scores: Floats) -> Floats:
    """Keys that a query of 1 meets with these scores, `(1, n, 3)`; what RoPE rotates is 0: distance plays no role."""
    return np.column_stack([np.zeros_like(scores), np.zeros_like(scores), scores])[np.newaxis]


def _values(says: Floats) -> Floats:
    """Values that carry 1 or nothing: `(1, n, 1)`."""
    return says.reshape(1, -1, 1)


def _variant(name: str, where: str, seen: Attended) -> Variant:
    return Variant(name, where, seen.weights[0], seen.sink[0], seen.output[0, :, 0])
