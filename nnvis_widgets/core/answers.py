"""How far apart the answers of two models to the same inputs are: function space, sample by sample.

May import: torch.
"""

from __future__ import annotations

import torch
from torch import Tensor

KINDS = {  # by the kind of answers, see `nnvis_widgets.core.observing.Answering`
    "classes": "Kullback-Leibler divergence from the training's to the path's class probabilities, in nats",
    "numbers": "half the squared difference of the outputs (of normal distributions of variance 1 it is the divergence)",
    "": "not defined for these outputs",
}


def comparable(kind: str, output: Tensor) -> Tensor:
    """Return outputs in the form that is compared, in float64: log-probabilities with the classes on axis 1, or numbers."""
    output = output.double()
    if kind == "numbers":
        return output.reshape(len(output), -1)
    # of log-probabilities the log-softmax is themselves; of probabilities it would be something else
    already = bool((output >= 0).all()) and bool(torch.isclose(output.sum(1), output.new_ones(()), atol=1e-4).all())
    return output.log() if already else output.log_softmax(1)


def divergence(kind: str, real: Tensor, other: Tensor) -> Tensor:
    """Return how far answers are from the real ones, shape (n,), as `KINDS` says; of several positions of a sample the mean."""
    if kind == "numbers":
        return (real - other).square().sum(1) / 2
    weight = real.exp()
    terms = torch.where(weight > 0, weight * (real - other), 0.0)  # what the real model excludes costs nothing
    return _rows(terms.sum(1)).clamp(min=0.0)  # never negative but for rounding


def disagreement(real: Tensor, other: Tensor) -> Tensor:
    """Return 1 where the most probable classes differ, else 0, shape (n,); of several positions of a sample the mean."""
    return _rows((real.argmax(1) != other.argmax(1)).double())


def _rows(values: Tensor) -> Tensor:
    return values.reshape(len(values), -1).mean(1)
