"""The gate of a mixture of experts: which few feed-forward networks each token goes through, and in what proportion.

Mixtral (arXiv 2401.04088, section 2.1): top 2 of 8 experts, softmax over the chosen two; gpt-oss: top 4 of 32 or 128.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kernels.arrays import AnyFloats, Floats, Ints, require


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
    equal logits the expert with the lower number goes first.

    >>> gate = top_k_gate(np.log([[1.0, 6.0, 3.0, 2.0]]), n_used=2)
    >>> gate.experts.tolist(), gate.weights.round(6).tolist()
    ([[1, 2]], [[0.666667, 0.333333]])
    """
    n_expert = logits.shape[-1]
    require(1 <= n_used <= n_expert, f"{n_used} of {n_expert} experts cannot be chosen")
    experts = np.argsort(-logits, axis=-1, kind="stable")[:, :n_used]
    chosen = np.take_along_axis(logits.astype(np.float64), experts, axis=-1)
    exp = np.exp(chosen - chosen.max(axis=-1, keepdims=True))
    return Gate(experts=experts, weights=exp / exp.sum(axis=-1, keepdims=True))


def mix(x: AnyFloats, gate: Gate, experts: Sequence[Callable[[Floats], Floats]]) -> Floats:
    """Each token `x (n_token, dim)` through its own experts, their outputs weighted and summed: `(n_token, dim_out)`.

    An expert gets all its tokens at once, as rows.

    >>> gate = Gate(experts=np.array([[0, 1], [1, 0]]), weights=np.array([[0.75, 0.25], [1.0, 0.0]]))
    >>> mix(np.array([[1.0], [2.0]]), gate, [lambda x: 10 * x, lambda x: -x]).tolist()
    [[7.25], [-2.0]]
    """
    wide = x.astype(np.float64)
    outputs: list[Floats] = []
    tokens: list[Ints] = []
    for expert in np.unique(gate.experts):
        token, place = np.nonzero(gate.experts == expert)
        outputs.append(gate.weights[token, place][:, np.newaxis] * experts[int(expert)](wide[token]))
        tokens.append(token)
    mixed = np.zeros((len(x), outputs[0].shape[-1]))
    np.add.at(mixed, np.concatenate(tokens), np.concatenate(outputs))
    return mixed


def expert_load(gate: Gate, n_expert: int) -> Floats:
    """Each expert's share of all choices, `(n_expert,)`, summing to 1: 1 / n_expert each when the load is even.

    >>> expert_load(Gate(experts=np.array([[0, 1], [0, 2]]), weights=np.full((2, 2), 0.5)), n_expert=4).tolist()
    [0.5, 0.25, 0.25, 0.0]
    """
    counts = np.bincount(gate.experts.ravel(), minlength=n_expert)
    require(len(counts) == n_expert, f"the gate chose expert {len(counts) - 1}, and there are {n_expert}")
    return counts / counts.sum()
