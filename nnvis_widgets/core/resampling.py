"""What holds beyond these samples: simultaneous intervals, ranks, shares, false discoveries, agreement.

May import: numpy, scipy. Nothing here touches a global random generator.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

Z95 = 1.959963984540054  # of the normal distribution: 95 % lie within so many standard deviations
DRAWS = 1000
_BLOCK = 2**22  # weights of one block of draws
_LEAST_SPREAD = 1 / 3  # of the error within a resample: one that misses all of a few large values would divide by nothing
_ENOUGH = 10  # samples that changed, for the distribution of a mean of -1, 0 and 1 to be told from resamples


@dataclass(frozen=True, eq=False)
class Band:
    """Means of L rows with intervals that hold for all rows at once.

    Attributes
    ----------
    mean, se, low, high : ndarray, shape (L,)
    critical : float
        The intervals reach so many standard errors to both sides, where they are symmetric.
    """

    mean: np.ndarray
    se: np.ndarray
    low: np.ndarray
    high: np.ndarray
    critical: float


def bootstrap_weights(n: int, draws: int, seed: int = 0) -> np.ndarray:
    """Return multinomial counts over n, shape (draws, n), float32: ``weights @ values`` are the means of resamples."""
    return np.concatenate(list(_blocks(n, draws, seed)))


def _blocks(n: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    if draws * n <= _BLOCK:
        yield _small(n, draws, seed)
        return
    rng = np.random.default_rng(seed)
    for first in range(0, draws, size := max(1, _BLOCK // n)):
        yield _drawn(rng, n, min(size, draws - first))


@functools.lru_cache(maxsize=2)
def _small(n: int, draws: int, seed: int) -> np.ndarray:
    # the bands, the ranks and the interaction of one picture ask for the same weights
    weights = _drawn(np.random.default_rng(seed), n, draws)
    weights.setflags(write=False)
    return weights


def _drawn(rng: np.random.Generator, n: int, draws: int) -> np.ndarray:
    picked = rng.integers(0, n, (draws, n)) + np.arange(draws)[:, None] * n
    return (np.bincount(picked.ravel(), minlength=draws * n).reshape(draws, n) / n).astype(np.float32)


def simultaneous(
    differences: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    confidence: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Band:
    """Return the means of L rows of paired differences, with intervals that hold for all of them at once.

    Parameters
    ----------
    differences : array_like, shape (L, n)
        One column for each sample.
    weights : array_like, shape (n,), optional
        Of the samples, such as those of their classes; the mean is then ``sum w d / sum w``.
    confidence : float
        That no row's interval misses.
    draws, seed : int
        Resamples of the n samples, with replacement, the same for all rows.

    Returns
    -------
    Band
        ``mean +- critical * se``. A row without any spread has an interval of no width and no say in the critical value; one
        that is not finite has none.

    Notes
    -----
    The critical value is a quantile of the largest studentised deviation among the rows (max-t). Each resample is divided by
    its own standard error, which keeps what is promised for skewed losses; the rows stay paired, so it is smaller than
    Bonferroni's where they go up and down together.
    """
    values, given = _checked(differences, weights)
    _check_confidence(confidence, draws)
    mean, residuals, se = _centred(values, given)
    spread = np.isfinite(se) & (se > 0)
    critical = normal_critical(confidence)
    if spread.any():
        critical = max(critical, float(np.quantile(_deviations(residuals[spread], se[spread], draws, seed), confidence)))
    return Band(mean, se, mean - critical * se, mean + critical * se, critical)


def standard_errors(values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the standard error of the mean of each row, (L,); 0 where a row has no spread. Arguments as in `simultaneous`."""
    return _centred(*_checked(values, weights))[2]


def _centred(values: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the means, the distances of single samples to them (of a ratio: what each adds), and standard errors."""
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        if weights is None:
            counted = values.shape[1]
            mean = values.mean(1)
            residuals = values - mean[:, None]
        else:
            counted = np.count_nonzero(weights)
            mean = (values * weights).sum(1) / weights.sum()
            residuals = np.where(weights > 0, (values - mean[:, None]) * (weights / weights.mean()), 0.0)
        same = (values.max(1) == values.min(1)) if weights is None else (np.abs(residuals).max(1) == 0.0)
        mean = np.where(same & np.isfinite(values[:, 0]), values[:, 0], mean)  # and not what rounding made of it
        se = np.sqrt((residuals**2).sum(1) / values.shape[1] ** 2 * counted / (counted - 1)) if counted > 1 else mean * np.nan
        return mean, residuals, np.where(same & np.isfinite(mean), 0.0, se)


def _deviations(residuals: np.ndarray, se: np.ndarray, draws: int, seed: int, studentised: bool = True) -> np.ndarray:
    """Return the largest deviation of each resample, in errors of its own or in those of the samples, shape (draws,)."""
    n = residuals.shape[1]
    # in units of each row's error, so that float32 has room for all of them
    scaled = (residuals / (se[:, None] * math.sqrt(n))).T.astype(np.float32)
    squares = scaled**2
    largest = []
    for block in _blocks(n, draws, seed):
        shift = block @ scaled
        own = np.sqrt(np.maximum(block @ squares - shift**2, _LEAST_SPREAD**2)) if studentised else np.ones_like(shift)
        largest.append((np.abs(shift) * math.sqrt(n) / own).max(1))
    return np.concatenate(largest)


def normal_critical(confidence: float = 0.95, rows: int = 1) -> float:
    """Return how many standard errors a normal interval reaches to both sides, if `rows` of them are to hold (Bonferroni)."""
    return float(special.ndtri(1 - (1 - confidence) / (2 * max(rows, 1))))


def paired_shares(differences: np.ndarray, *, confidence: float = 0.95, draws: int = DRAWS, seed: int = 0) -> Band:
    """Return the means of rows of -1, 0 and 1, such as right before minus right after, with simultaneous intervals.

    Tango's score interval (1998): unlike mean +- se it has a width where no sample has changed, since others might. How many
    standard errors it reaches is found from resamples of all rows in which at least ten samples changed (max-t); of the others
    these say little, and they get Bonferroni's.

    Parameters
    ----------
    differences : array_like, shape (L, n)
    confidence, draws, seed
        See `simultaneous`.
    """
    values, _ = _checked(differences, None)
    _check_confidence(confidence, draws)
    known = np.isfinite(values).all(1)
    if not np.isin(values[known], (-1.0, 0.0, 1.0)).all():
        raise ValueError("differences: of shares they are -1, 0 and 1; use simultaneous() for other numbers")
    mean, residuals, se = _centred(values, None)
    many = known & (np.count_nonzero(values, axis=1) >= _ENOUGH) & (se > 0)
    rows, chance = int(known.sum()), 1 - confidence
    critical = np.full(len(values), normal_critical(confidence, rows))
    if many.any() and rows > 1:
        # each kind of row takes its share of the errors that may happen
        own = _deviations(residuals[many], se[many], draws, seed, studentised=False)
        found = float(np.quantile(own, 1 - chance * many.sum() / rows))
        critical[many] = min(max(found, normal_critical(confidence)), critical[0])
    low, high = np.full((2, len(values)), np.nan)
    low[known], high[known] = _tango((values[known] > 0).sum(1), (values[known] < 0).sum(1), values.shape[1], critical[known])
    return Band(mean, se, low, high, float(critical.max(initial=normal_critical(confidence))))


def _tango(fewer: np.ndarray, more: np.ndarray, n: int, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the differences d that ``(fewer - more) / n`` lies z standard errors of d from, below and above."""

    def score(d: np.ndarray) -> np.ndarray:
        a, b, c = 2.0 * n, -fewer - more + (2 * n - fewer + more) * d, -more * d * (1 - d)
        q = (np.sqrt(np.maximum(b**2 - 4 * a * c, 0.0)) - b) / (2 * a)  # the likeliest share of `more` at this difference
        variance = n * np.maximum(2 * q + d * (1 - d), 1e-300)
        return (fewer - more - n * d) / np.sqrt(variance)

    middle = (fewer - more) / n

    def root(away: np.ndarray, target: np.ndarray) -> np.ndarray:
        near = middle.astype(float)
        for _ in range(50):
            halfway = (near + away) / 2
            inside = np.abs(score(halfway)) < target
            near, away = np.where(inside, halfway, near), np.where(inside, away, halfway)
        return (near + away) / 2

    return root(np.full(len(middle), -1.0), z), root(np.full(len(middle), 1.0), z)


def rank_intervals(
    values: np.ndarray, weights: np.ndarray | None = None, *, confidence: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest rank that each row's mean takes in resamples of the samples; 1 is the largest mean.

    Parameters
    ----------
    values : array_like, shape (L, n)
    weights, draws, seed
        See `simultaneous`.
    confidence : float
        Share of the resamples, for each row by itself.

    Returns
    -------
    low, high : ndarray of int, shape (L,)
        Rows that tie span the ranks they share; those that are not finite have rank 0.
    """
    given, w = _checked(values, weights)
    _check_confidence(confidence, draws)
    known = np.isfinite(given).all(1)
    low, high = np.zeros(len(given), dtype=int), np.zeros(len(given), dtype=int)
    if not known.any():
        return low, high
    _, residuals, _ = _centred(given[known], w)
    mean = given[known].mean(1) if w is None else (given[known] * w).sum(1) / w.sum()
    columns = residuals.T.astype(np.float32)
    means = np.concatenate([block @ columns for block in _blocks(given.shape[1], draws, seed)]).astype(float) + mean
    means[:, np.abs(residuals).max(1) == 0.0] = mean[np.abs(residuals).max(1) == 0.0]
    best = stats.rankdata(-means, method="min", axis=1)
    worst = stats.rankdata(-means, method="max", axis=1)
    tail = (1 - confidence) / 2
    low[known] = np.floor(np.quantile(best, tail, axis=0, method="lower")).astype(int)
    high[known] = np.ceil(np.quantile(worst, 1 - tail, axis=0, method="higher")).astype(int)
    return low, high


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of n samples: the p with ``|share - p| <= z sqrt(p (1 - p) / n)`` (Wilson, 1927).

    Unlike mean +- z standard errors it stays within 0 and 1, and has a width where all samples agree.

    Examples
    --------
    >>> [round(bound, 4) for bound in wilson(1.0, 57)]
    [0.9369, 1.0]
    """
    z2 = Z95**2 / n
    middle = (share + z2 / 2) / (1 + z2)
    half = math.sqrt(z2 * (share * (1 - share) + z2 / 4)) / (1 + z2)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def false_discovery(p: np.ndarray) -> np.ndarray:
    """Return the q-values of p-values: calling all with q <= 0.05 significant, 5 % of the calls are false on average.

    Benjamini and Hochberg (1995). NaN stays NaN and is not counted as a test.

    Examples
    --------
    >>> false_discovery([0.01, 0.04, 0.03, float("nan")]).round(3).tolist()
    [0.03, 0.04, 0.04, nan]
    """
    given = np.asarray(p, dtype=float)
    if given.ndim != 1 or ((given < 0) | (given > 1)).any():
        raise ValueError(f"p: a vector of numbers from 0 to 1, received {p!r}"[:300])
    q = np.full(len(given), np.nan)
    tested = np.flatnonzero(~np.isnan(given))
    falling = tested[np.argsort(-given[tested], kind="stable")]
    ranks = np.arange(len(falling), 0, -1)
    q[falling] = np.minimum(np.minimum.accumulate(given[falling] * len(falling) / ranks), 1.0) if len(falling) else []
    return q


def kendall(values: np.ndarray) -> np.ndarray:
    """Return Kendall's tau-b between every two of S orders of the same L things, shape (S, S), from values of shape (S, L).

    1: the same order; 0: none in common; -1: the opposite one. NaN where one of the two is constant. Things that are NaN in
    one of the two are left out.
    """
    rows = np.asarray(values, dtype=float)
    if rows.ndim != 2:
        raise ValueError(f"values: shape (orders, things), received {rows.shape}")
    answer = np.full((len(rows), len(rows)), np.nan)
    for i, one in enumerate(rows):
        for j, other in enumerate(rows[: i + 1]):
            both = np.isfinite(one) & np.isfinite(other)
            if both.sum() > 1:
                answer[i, j] = answer[j, i] = stats.kendalltau(one[both], other[both]).statistic
    return answer


def _checked(values: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    rows = np.asarray(values, dtype=float)
    if rows.ndim != 2 or rows.shape[1] < 1:
        raise ValueError(f"differences: shape (rows, samples), received {rows.shape}")
    if weights is None:
        return rows, None
    given = np.asarray(weights, dtype=float)
    if given.shape != rows.shape[1:] or not np.isfinite(given).all() or (given < 0).any() or not given.sum() > 0:
        raise ValueError(
            f"weights: one number of at least 0 for each of the {rows.shape[1]} samples, not all 0; received shape {given.shape}"
        )
    return rows, given


def _check_confidence(confidence: float, draws: int) -> None:
    if not 0.5 <= confidence < 1:
        raise ValueError(f"confidence: from 0.5 to below 1, such as 0.95; received {confidence!r}")
    if not (isinstance(draws, (int, np.integer)) and draws >= 100):
        raise ValueError(f"draws: a whole number of at least 100, since a tail is read from them; received {draws!r}")
