"""What the model answers to each sample at one point: the loop's second verb.

May import: torch, numpy, core.data, core.points, core.scoring.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .data import Samples
from .points import Points
from .scoring import Scorer


@dataclass(frozen=True, eq=False)
class Observed:
    """The answers to one batch, on the CPU.

    Attributes
    ----------
    number : int
        Of the batch.
    samples : ndarray of int, shape (n,)
        Indices into the user's data.
    outputs, targets : Tensor, or what else the forward function returns
    scores : list of Tensor, shape (1, n) or (1,)
        The loss and the metrics, as `Points.scores` gives them for one row.
    weights : Tensor, shape (n,), or None
        Of the samples' losses.
    labels : Tensor, shape (n,), or None
        Class labels, -1 for one that the loss ignores; None where outputs are no scores of classes, (n, C).
    """

    number: int
    samples: np.ndarray
    outputs: Any
    targets: Any
    scores: list[Tensor]
    weights: Tensor | None
    labels: Tensor | None


def observed(points: Points, samples: Samples, scorer: Scorer, batches: int) -> Iterator[Observed]:
    """Yield the answers at the only row of some points to the first batches."""
    for number in range(batches):
        points.load(samples.there(number), samples.size(number))
        output, target, scores, weights = points.observed(0)
        labels = scorer.labels(output, target)
        yield Observed(
            number,
            samples.indices(number),
            _here(output),
            _here(target),
            [score.cpu()[None] for score in scores],
            _here(weights),
            _here(labels),
        )


def joined(batches: Iterable[Observed]) -> tuple[Tensor, Tensor]:
    """Return the outputs and the targets of all batches."""
    parts = []
    for batch in batches:
        answer = batch.outputs, batch.targets
        if not all(isinstance(part, Tensor) for part in answer):
            kinds = ", ".join(type(part).__name__ for part in answer)
            raise TypeError(f"observe: outputs and targets must be tensors, received {kinds}; say which with forward=")
        parts.append(answer)
    return torch.cat([output for output, _ in parts]), torch.cat([target for _, target in parts])


def _here(value: Any) -> Any:
    return value.detach().cpu() if isinstance(value, Tensor) else value
