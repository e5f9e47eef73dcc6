"""Running sums over samples: means, standard errors, and paired standard errors against a reference point.

May import: numpy. Sums add, so tallies of different samples can be merged in any order.
"""

from __future__ import annotations

import numpy as np


class Tally:
    """Sums of one quantity at K points over weighted observations.

    An observation is a sample (weight 1), or a batch mean (weight: its size) when the user's loss returns only that.
    """

    def __init__(self, points: int):
        self.weight, self.weight2, self.count = (np.zeros(points) for _ in range(3))
        self._x, self._wx, self._x2 = (np.zeros(points) for _ in range(3))
        self._dx, self._wdx, self._dx2 = (np.zeros(points) for _ in range(3))

    def add(self, values: np.ndarray, weights: np.ndarray, reference: np.ndarray | None, rows: slice = slice(None)) -> None:
        """Add observations: values of shape (points in `rows`, m), weights (m,), the reference point's values (m,)."""
        with np.errstate(invalid="ignore", over="ignore"):
            w2 = weights**2
            self.count[rows] += len(weights)
            self.weight[rows] += weights.sum()
            self.weight2[rows] += w2.sum()
            self._x[rows] += values @ weights
            self._wx[rows] += values @ w2
            self._x2[rows] += values**2 @ w2
            if reference is not None:
                differences = values - reference
                self._dx[rows] += differences @ weights
                self._wdx[rows] += differences @ w2
                self._dx2[rows] += differences**2 @ w2

    @property
    def mean(self) -> np.ndarray:
        """Weighted mean at each point, shape (K,); NaN where nothing was measured."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self._x / self.weight

    @property
    def se(self) -> np.ndarray:
        """Standard error of the mean, shape (K,); NaN below two observations."""
        return self._error(self.mean, self._wx, self._x2)

    @property
    def diff_se(self) -> np.ndarray:
        """Standard error of the paired difference to the reference point, shape (K,)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self._error(self._dx / self.weight, self._wdx, self._dx2)

    def _error(self, mean: np.ndarray, wx: np.ndarray, x2: np.ndarray) -> np.ndarray:
        # sum w^2 (x - mean)^2 / W^2 * m / (m - 1); with unit weights this is s^2 / n
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = np.maximum(x2 - 2 * mean * wx + mean**2 * self.weight2, 0.0)
            return np.sqrt(spread / self.weight**2 * self.count / (self.count - 1))
