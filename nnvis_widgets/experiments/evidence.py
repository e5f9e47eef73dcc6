"""What the samples say of a weight's two curves beyond their means: resampled curves, a simultaneous band, a p-value.

May import: core, results, numpy. One matrix product a weight; of the losses of single samples only those of one pass are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import special

from ..core.resampling import bootstrap_weights

RESAMPLES = 300
_LEVEL = 0.95
_BLOCK_BYTES = 32 * 2**20  # of the resamples' weights
_LEAST_SPREAD = 1 / 3  # of the error within a resample: one that misses all of a few large values would divide by nothing


class Resamples:
    """The same resamples of n samples for every weight, in blocks that fit into memory."""

    def __init__(self, n: int, seed: int, draws: int = RESAMPLES):
        self._n, self._seed = n, seed
        size = max(1, min(draws, _BLOCK_BYTES // (4 * n)))
        self._sizes = [min(size, draws - first) for first in range(0, draws, size)]
        self._only = bootstrap_weights(n, draws, seed) if len(self._sizes) == 1 else None

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield weights of resamples, (draws, n), float32."""
        if self._only is not None:
            yield self._only
            return
        for number, size in enumerate(self._sizes):
            yield bootstrap_weights(self._n, size, self._seed + number)


@dataclass(frozen=True, eq=False)
class Evidence:
    """Of several weights, R rows of differences each.

    Attributes
    ----------
    curves : ndarray of float32, shape (weights, draws, R)
        Means of the differences in each resample.
    se : ndarray, shape (weights, R)
    critical, p_value : ndarray, shape (weights,)
        So many standard errors hold 95 % for all rows at once; of "all differences are 0". NaN where nothing differs.
    """

    curves: np.ndarray
    se: np.ndarray
    critical: np.ndarray
    p_value: np.ndarray


def evidence(differences: list[np.ndarray], resamples: Resamples, weights: np.ndarray | None = None) -> Evidence:
    """Return what paired differences, (R, n) for each weight, say beyond their samples.

    Parameters
    ----------
    differences : list of ndarray, shape (R, n)
        To the loss at the end of the path.
    resamples : Resamples
    weights : ndarray, shape (n,), optional
        Of the samples, those of their classes; of a ratio of sums, what each sample adds is resampled.

    Notes
    -----
    The band is the max-t bootstrap, studentised within each resample. Its tail ends with the number of resamples; p-values beyond
    it go on as those of as many independent normal tests as have the same 95 % value. So hundreds of weights can be told apart.
    """
    centred = [_centred(rows, weights) for rows in differences]
    curves: list[list[np.ndarray]] = [[] for _ in differences]
    largest: list[list[np.ndarray]] = [[] for _ in differences]
    for block in resamples.blocks():
        for k, (mean, residuals, se) in enumerate(centred):
            shift = block @ residuals.T
            curves[k].append(mean.astype(np.float32) + shift)
            varied = se > 0
            if not varied.any():
                continue
            n = residuals.shape[1]
            unit = se[varied] * np.sqrt(n)
            moved = shift[:, varied] / unit
            spread = (block @ (residuals[varied] / unit[:, None]).astype(np.float32).T ** 2) - moved**2
            largest[k].append((np.abs(moved) * np.sqrt(n) / np.sqrt(np.maximum(spread, _LEAST_SPREAD**2))).max(1))
    critical, p_value = np.full(len(centred), np.nan), np.full(len(centred), np.nan)
    for k, (mean, _, se) in enumerate(centred):
        if largest[k]:
            varied = se > 0
            found = np.concatenate(largest[k])
            critical[k] = max(float(np.quantile(found, _LEVEL)), float(special.ndtri((1 + _LEVEL) / 2)))
            p_value[k] = _p_value(float(np.max(np.abs(mean[varied]) / se[varied])), found, critical[k])
    return Evidence(
        np.array([np.concatenate(parts) for parts in curves], dtype=np.float32),
        np.array([se for _, _, se in centred]),
        critical,
        p_value,
    )


def _p_value(largest: float, found: np.ndarray, critical: float) -> float:
    if not np.isfinite(largest):
        return float("nan")
    if largest < critical:
        return max((1 + int((found >= largest).sum())) / (1 + len(found)), 1 - _LEVEL)
    return float(min(special.ndtr(-largest) / special.ndtr(-critical) * (1 - _LEVEL), 1 - _LEVEL))


def _centred(rows: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return means, what each sample adds to its distance from them (float32), and standard errors."""
    n = rows.shape[1]
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        if weights is None:
            counted, mean = n, rows.mean(1, dtype=float)
            residuals = rows - mean.astype(rows.dtype)[:, None]
        else:
            counted, mean = int(np.count_nonzero(weights)), (rows * weights).sum(1) / weights.sum()
            residuals = np.where(weights > 0, (rows - mean[:, None]) * (weights / weights.mean()), 0.0).astype(np.float32)
        se = np.sqrt(np.einsum("ij,ij->i", residuals, residuals, dtype=float)) / n
        return mean, residuals, se * np.sqrt(counted / (counted - 1)) if counted > 1 else se * np.nan
