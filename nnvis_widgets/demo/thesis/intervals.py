"""Intervals that the claims need and no study has: of an association, of a median.

May import: numpy, scipy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

NAN = float("nan")


def percent(*shares: float) -> tuple[float, float, float]:
    """Return a share and the ends of its interval in per cent."""
    value, low, high = (100 * share for share in shares)
    return value, low, high


def quotient(above: tuple[float, float, float], below: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return one number over another, and the ends between which it lies where both lie in their intervals; NaN for a low of 0.

    Wider than a paired interval would be.

    Examples
    --------
    >>> quotient((1.0, -1.0, 2.0), (4.0, 2.0, 8.0))
    (0.25, -0.5, 1.0)
    """
    (value, low, high), (over, least, most) = above, below
    if not least > 0:
        return NAN, NAN, NAN
    return value / over, min(low / least, low / most), max(high / least, high / most)


def tau(pairs: Sequence[tuple[np.ndarray, np.ndarray]], draws: int = 1000) -> tuple[float, float, float]:
    """Return Kendall's tau-b, the mean over layers, and its 95 % interval from resampled weights; NaN where nothing varies."""
    rng = np.random.default_rng(0)
    values, resampled = [], []
    for x, y in pairs:
        signs = [np.sign(part[:, None] - part[None, :]) for part in (x, y)]
        if not all(sign.any() for sign in signs):
            continue
        drawn = rng.integers(len(x), size=(draws, len(x)))
        values.append(_agreement(*signs))
        resampled.append(np.array([_agreement(*(sign[np.ix_(d, d)] for sign in signs)) for d in drawn]))
    if not values:
        return NAN, NAN, NAN
    # a resample in which a layer does not vary says nothing about it
    drawn_values = np.array(resampled)
    counts = np.isfinite(drawn_values).sum(axis=0)
    means = np.nansum(drawn_values, axis=0)[counts > 0] / counts[counts > 0]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(np.mean(values)), float(low), float(high)


def _agreement(x: np.ndarray, y: np.ndarray) -> float:
    scale = math.sqrt(float((x * x).sum()) * float((y * y).sum()))
    return float((x * y).sum()) / scale if scale else NAN


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of a median from the order of the values (binomial); NaN for fewer than six."""
    if len(values) < 6:
        return NAN, NAN
    ordered = np.sort(values)
    at = int(stats.binom.ppf(0.025, len(ordered), 0.5)) - 1
    return float(ordered[max(at, 0)]), float(ordered[len(ordered) - 1 - max(at, 0)])
