"""Which of several trained models is good enough: bounds of how much worse each is than the best, whichever that is.

May import: numpy, core.resampling.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .resampling import bootstrap_weights

_ROOM = 2**22  # differences that are looked at together


@dataclass(frozen=True, eq=False)
class Excess:
    """How much worse than the best each of E models is.

    Attributes
    ----------
    mean, high : ndarray, shape (E,)
        Estimate of ``L(e) - min L``, and its upper bound, for all e at once; infinite where the loss is.
    critical : float
        How many standard errors the bounds lie away; NaN where there is nothing to resample.
    """

    mean: np.ndarray
    high: np.ndarray
    critical: float


def excess(
    means: np.ndarray, samples: np.ndarray | None = None, *, confidence: float = 0.95, draws: int = 1000, seed: int = 0
) -> Excess:
    """Return simultaneous upper bounds of ``L(e) - min L``, L the loss that is expected over seeds and samples.

    ``L(e) - min L = max_k (L(e) - L(k))``, so the bound of e is the largest of the upper bounds of its differences to all others
    (multiple comparisons with the best; Hsu, 1984): which of them is best need not be known. All E (E - 1) differences are bounded
    together by the quantile of their largest standardised deviation, with two sources of it: the samples, resampled with
    replacement, and the seeds, whose deviations are combined with normal weights and stretched as Student's t is.

    Parameters
    ----------
    means : ndarray, shape (S, E)
        Mean loss of each of S seeds at each of E epochs. With one seed the bounds hold for that seed only.
    samples : ndarray, shape (E, n), optional
        Loss of each sample, averaged over the seeds. Without it the bounds hold for these samples only.
    confidence : float
    draws, seed : int
        Of the resampling.
    """
    means = np.asarray(means, dtype=float)
    value = means.mean(axis=0)
    finite = np.isfinite(value)
    mean, high = np.full(len(value), np.inf), np.full(len(value), np.inf)
    critical = np.nan
    if finite.any():
        deviations, covariance = _resampled(means[:, finite], None if samples is None else samples[finite], draws, seed)
        difference = value[finite][:, None] - value[finite][None, :]
        variance = np.diag(covariance)
        error = np.sqrt(np.maximum(variance[:, None] + variance[None, :] - 2 * covariance, 0.0))
        error[error < 1e-9 * np.sqrt(max(variance.max(), 1e-300))] = 0.0  # models that are one and the same
        critical = _quantile(deviations, error, confidence)
        mean[finite] = difference.max(axis=1)
        high[finite] = (difference + (error * critical if np.isfinite(critical) else 0.0)).max(axis=1)
    return Excess(mean, high, critical)


def _resampled(means: np.ndarray, samples: np.ndarray | None, draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return deviations of the E means, shape (draws, E), and their covariance as it is estimated, (E, E)."""
    seeds, epochs = means.shape
    deviations, covariance = np.zeros((draws, epochs)), np.zeros((epochs, epochs))
    if samples is not None and samples.shape[1] > 1:
        n = samples.shape[1]
        centred = (samples - samples.mean(axis=1, keepdims=True)).astype(np.float64)
        deviations += bootstrap_weights(n, draws, seed) @ centred.T.astype(np.float32)
        covariance += centred @ centred.T / (n * (n - 1))
    if seeds > 1:
        rng = np.random.default_rng([seed, seeds])
        centred = (means - means.mean(axis=0)) / np.sqrt(seeds * (seeds - 1))
        stretch = np.sqrt((seeds - 1) / rng.chisquare(seeds - 1, size=(draws, 1)))
        deviations += stretch * (rng.standard_normal((draws, seeds)) @ centred)
        covariance += centred.T @ centred
    return deviations, covariance


def _quantile(deviations: np.ndarray, error: np.ndarray, confidence: float) -> float:
    rows, columns = np.nonzero(np.triu(error > 0))
    if not len(rows):
        return np.nan
    largest = np.zeros(len(deviations))
    step = max(_ROOM // len(deviations), 1)
    for start in range(0, len(rows), step):
        one, other = rows[start : start + step], columns[start : start + step]
        standard = np.abs(deviations[:, one] - deviations[:, other]) / error[one, other]
        np.maximum(largest, standard.max(axis=1), out=largest)
    return float(np.quantile(largest, confidence))
