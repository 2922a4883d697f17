"""The gate of a mixture of experts: which few feed-forward networks each token goes through, and in what proportion.

Mixtral (arXiv 2401.04088, section 2.1): top 2 of 8 experts, softmax over the chosen two; gpt-oss: top 4 of 32 or 128.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kernels import checks
from kernels.arrays import AnyFloats, Floats, Ints


@dataclass(frozen=True)
class Gate:
    """The choice for each token, the best expert first."""

    experts: Ints
    """Their numbers: `(n_token, n_used)`."""
    weights: Floats
    """Their shares, summing to 1 for each token: `(n_token, n_used)`."""


def top_k_gate(logits: AnyFloats, n_used: int) -> Gate:
    """The `n_used` experts with the largest `logits (n_token, n_expert)`, weighted by a softmax over these alone.

    A softmax over all of them, cut to the chosen and made to sum to 1 again (llama.cpp for Mixtral), is the same. Of
    equal logits the expert with the lower number goes first. ValueError for logits of another shape, or fewer experts.

    >>> gate = top_k_gate(np.log([[1.0, 6.0, 3.0, 2.0]]), n_used=2)
    >>> gate.experts.tolist(), gate.weights.round(6).tolist()
    ([[1, 2]], [[0.666667, 0.333333]])
    """
    checks.floats("logits", logits)
    checks.fits("logits", logits.shape, n_token=None, n_expert=None)
    n_used = checks.count("n_used", n_used, 1, logits.shape[1])
    experts = np.argsort(-logits, axis=-1, kind="stable")[:, :n_used]
    chosen = np.take_along_axis(logits.astype(np.float64), experts, axis=-1)
    exp = np.exp(chosen - chosen.max(axis=-1, keepdims=True))
    return Gate(experts=experts, weights=exp / exp.sum(axis=-1, keepdims=True))


def mix(x: AnyFloats, gate: Gate, experts: Sequence[Callable[[Floats], Floats]]) -> Floats:
    """Each token `x (n_token, dim)` through its own experts, their outputs weighted and summed: `(n_token, dim_out)`.

    An expert gets all its tokens at once, as rows. Without tokens the first one gets none, for only an expert knows
    dim_out. ValueError for a gate that does not fit, and for experts whose outputs are no rows of one length.

    >>> gate = Gate(experts=np.array([[0, 1], [1, 0]]), weights=np.array([[0.75, 0.25], [1.0, 0.0]]))
    >>> mix(np.array([[1.0], [2.0]]), gate, [lambda x: 10 * x, lambda x: -x]).tolist()
    [[7.25], [-2.0]]
    """
    checks.floats("x", x)
    checks.fits("x", x.shape, n_token=None, dim=None)
    chosen = _chosen(gate, len(experts), n_token=len(x))
    checks.floats("gate.weights", gate.weights)
    checks.fits("gate.weights", gate.weights.shape, n_token=len(x), n_used=chosen.shape[1])
    wide = x.astype(np.float64)
    outputs: list[Floats] = []
    tokens: list[Ints] = []
    for expert in np.unique(chosen).tolist() or [0]:
        token, place = np.nonzero(chosen == expert)
        output = experts[expert](wide[token])
        checks.floats(f"the output of expert {expert}", output)
        dim_out = outputs[0].shape[1] if outputs else None
        checks.fits(f"the output of expert {expert}", output.shape, n_token=len(token), dim_out=dim_out)
        outputs.append(gate.weights[token, place][:, np.newaxis] * output)
        tokens.append(token)
    mixed = np.zeros((len(x), outputs[0].shape[1]))
    np.add.at(mixed, np.concatenate(tokens), np.concatenate(outputs))
    return mixed


def expert_load(gate: Gate, n_expert: int) -> Floats:
    """Each expert's share of all choices, `(n_expert,)`, summing to 1: 1 / n_expert each when the load is even.

    ValueError for a gate of no tokens, where no shares sum to 1, and for one that chose an expert that does not exist.

    >>> expert_load(Gate(experts=np.array([[0, 1], [0, 2]]), weights=np.full((2, 2), 0.5)), n_expert=4).tolist()
    [0.5, 0.25, 0.25, 0.0]
    """
    chosen = _chosen(gate, checks.count("n_expert", n_expert, 1), n_token=None)
    checks.require(len(chosen) > 0, "gate.experts must be the choices of one token or more, not of none")
    counts = np.bincount(chosen.ravel(), minlength=n_expert)
    return counts / counts.sum()


def _chosen(gate: Gate, n_expert: int, n_token: int | None) -> Ints:
    """The experts of the gate, each one of `n_expert`; ValueError where there is another."""
    chosen = checks.integers("gate.experts", gate.experts, n_token=n_token, n_used=None)
    checks.require(n_expert > 0, "experts must be one or more, not none")
    checks.require(
        chosen.shape[1] > 0, f"gate.experts must be (n_token, n_used) with n_used at least 1, not {chosen.shape}"
    )
    wrong = chosen[(chosen < 0) | (chosen >= n_expert)]
    if wrong.size:
        raise ValueError(f"gate.experts must be numbers from 0 to {n_expert - 1}, not {wrong[0]}")
    return chosen
