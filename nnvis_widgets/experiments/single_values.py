"""The values of single samples, from one pass over them.

May import: core, numpy. Subsets are drawn from these; nothing is measured again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..core.evaluator import Evaluator
from ..core.states import State

WEIGHED = "The loss weighs its samples: its mean is a ratio of sums, whose errors are those of its linearisation."

# values of each quantity (points, n) so far, weights of the losses (n,) or None, share of the work
Values = Iterator[tuple[dict[str, np.ndarray], np.ndarray | None, float]]


class Pass:
    """One pass of an evaluator over its samples, at one or two states, that keeps the values of every sample."""

    def __init__(self, evaluator: Evaluator, states: list[State], samples: int | None = None):
        self._evaluator, self._samples = evaluator, samples
        self._families = [evaluator.family(None, [state], background=state) for state in states]

    def results(self) -> Values:
        """Yield the values of the samples so far, batch by batch."""
        names, total, n = self._evaluator.quantities, self._evaluator.covered(self._samples), 0
        kept: list[list[np.ndarray]] = [[] for _ in names]
        weights: list[np.ndarray] = []
        walks = [self._evaluator.observe_at(family, [1.0], policy="stored", samples=self._samples) for family in self._families]
        for batches in zip(*walks, strict=True):
            for name, place, scores in zip(names, kept, zip(*(batch.scores for batch in batches), strict=True), strict=True):
                if any(score.ndim < 2 for score in scores):
                    raise ValueError(
                        f"{name}: it is known for whole batches only, so what a part of them would give is not; pass a loss that "
                        "returns one value per sample, shape (n,)"
                    )
                place.append(np.stack([score[0].double().numpy() for score in scores]))
            if batches[0].weights is not None:
                weights.append(batches[0].weights.double().numpy())
            n += len(batches[0].samples)
            values = {name: np.concatenate(place, axis=1) for name, place in zip(names, kept, strict=True)}
            yield values, np.concatenate(weights) if weights else None, n / total

    def provenance(self) -> dict[str, Any]:
        """Return what it takes to repeat the pass."""
        return self._evaluator.promised(self._families[0], policy="stored", samples=self._samples)


def moments(values: np.ndarray, weights: np.ndarray | None) -> tuple[float, float]:
    """Return the mean and S; of a weighted mean what each sample adds to it has S, up to terms of second order."""
    if weights is None:
        return float(values.mean()), float(values.std(ddof=1))
    mean = float((weights * values).sum() / weights.sum())
    return mean, float((weights * (values - mean) / weights.mean()).std(ddof=1))
