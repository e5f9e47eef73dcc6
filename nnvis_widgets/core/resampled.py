"""Means over resampled samples, batch by batch: a bootstrap that does not keep the samples.

May import: numpy. Sample i comes into resample b as often as an independent Poisson variable of mean 1 says (Chamandy et al.,
2012), which for many samples is the multinomial bootstrap; sums over batches just add, so partial results have intervals too.
All quantities that are added with one batch's `counts` are resampled together, which makes their differences paired.
"""

from __future__ import annotations

import numpy as np


def poisson_counts(draws: int, n: int, seed: tuple[int, ...]) -> np.ndarray:
    """Return how often each of n samples comes into each resample, shape (1 + draws, n); the first row is the sample itself."""
    counts = np.ones((1 + draws, n))
    counts[1:] = np.random.default_rng(seed).poisson(1.0, (draws, n))
    return counts


class ResampledMeans:
    """Weighted means of one quantity at K points, over the samples and over each resample of them.

    Examples
    --------
    >>> means = ResampledMeans(1, 500)
    >>> values = np.arange(400.0)[None]
    >>> means.add(values, np.ones(400), poisson_counts(500, 400, (0,)))
    >>> float(means.values[0, 0]), bool(abs(means.values[0, 1:].std() / (values.std() / 20) - 1) < 0.1)
    (199.5, True)
    """

    def __init__(self, points: int, draws: int):
        self._sums = np.zeros((points, 1 + draws))
        self._weights = np.zeros(1 + draws)

    def add(self, values: np.ndarray, weights: np.ndarray, counts: np.ndarray) -> None:
        """Add a batch: values (K, m), weights (m,) of its observations, and how often each comes into each resample, (1 + B, m)."""
        used = np.where(weights > 0, values, 0.0) * weights  # what has no weight may be NaN
        # the sample itself in float64, and not as a part of the product of matrices, whose last bits depend on its shape
        self._sums[:, 0] += used.sum(axis=1)
        self._weights[0] += weights.sum()
        with np.errstate(invalid="ignore", over="ignore"):
            self._sums[:, 1:] += used @ counts[1:].T
        self._weights[1:] += counts[1:] @ weights

    @property
    def values(self) -> np.ndarray:
        """Means, shape (K, 1 + draws): over the samples first, then over each resample; NaN where nothing was added."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self._sums / self._weights
