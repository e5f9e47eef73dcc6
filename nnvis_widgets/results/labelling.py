"""Measured pairs of curves get their labels: extrema that rise above a tolerance, descriptors, rules. Many pairs at once.

May import: results.patterns, numpy. Curves enter as arrays (pairs, points); nothing loops over pairs, since each of them is
labelled again for every resample of the samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .patterns import PATTERNS, PatternRules

_HULL = 11  # points on [0, 1] that the convex hull is taken of
_SAME = 1e-12  # by which alphas may differ from their mirror images
_CODE = {name: code for code, name in enumerate(PATTERNS)}


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of M pairs of curves, with what they rest on.

    Attributes
    ----------
    code : ndarray of int, shape (M,)
        Position in `PATTERNS`; -1 where a curve has not been measured.
    mirrored : ndarray of bool
        Where rho is below 1/2: the pattern is that of the curves read from alpha 1 to 0.
    first, count : ndarray of int
        Of the quadratic curve's extrema, which take turns: 1 if the first is a minimum, 2 if a maximum; how many.
    persistence : ndarray
        Height of the highest maximum above the higher of the lowest points beside it; 0 without one.
    tolerance : ndarray
        In force: the given one, or the share of the curves' range that the rules name.
    plateau : ndarray
        Length of the longest stretch of [0, 1] over which the quadratic curve stays near its end.
    rise, fall : ndarray
        Largest rise and largest fall of the linear curve on [0, 1].
    """

    code: np.ndarray
    mirrored: np.ndarray
    first: np.ndarray
    count: np.ndarray
    persistence: np.ndarray
    tolerance: np.ndarray
    plateau: np.ndarray
    rise: np.ndarray
    fall: np.ndarray

    def of(self, rows: slice) -> Labels:
        """Return the labels of some of the pairs."""
        return Labels(**{name: values[rows] for name, values in vars(self).items()})

    @property
    def pattern(self) -> list[str]:
        """The labels as words; "" where a curve has not been measured."""
        return [PATTERNS[code] if code >= 0 else "" for code in self.code]

    @property
    def sequence(self) -> list[str]:
        """The extrema of the quadratic curves from left to right, m or M each; mirrored ones from right to left."""
        pairs = zip(self.first.tolist(), self.count.tolist(), strict=True)
        return [
            ("mM" if first == 1 else "Mm") * (count // 2) + ("" if count % 2 == 0 else "mM"[first - 1]) for first, count in pairs
        ]


@dataclass(frozen=True)
class Label:
    """The label of one pair of curves; attributes as in `Labels`."""

    pattern: str
    sequence: str
    mirrored: bool
    persistence: float
    tolerance: float
    plateau: float
    rise: float
    fall: float


def classify(
    alphas: Any, linear: Any, quadratic: Any, rho: float, tolerance: float = 0.0, rules: PatternRules | dict[str, Any] | None = None
) -> Label:
    """Return the label of one pair of curves; see `classify_many`.

    Examples
    --------
    >>> import numpy as np
    >>> from nnvis_widgets.core.patterns import u
    >>> alphas = np.linspace(-0.5, 1.5, 41)
    >>> classify(alphas, (alphas - 0.6) ** 2, (u(alphas, 0.95) - 0.6) ** 2, rho=0.95).pattern
    'bump'
    """
    line, curve = (np.atleast_2d(np.asarray(given, dtype=float)) for given in (linear, quadratic))
    labels = classify_many(alphas, line, curve, np.array([rho]), np.array([tolerance]), rules)
    numbers = {name: float(getattr(labels, name)[0]) for name in ("persistence", "tolerance", "plateau", "rise", "fall")}
    return Label(labels.pattern[0], labels.sequence[0], bool(labels.mirrored[0]), **numbers)


def classify_many(
    alphas: Any,
    linear: np.ndarray,
    quadratic: np.ndarray,
    rho: np.ndarray,
    tolerance: np.ndarray | float = 0.0,
    rules: PatternRules | dict[str, Any] | None = None,
    moved: np.ndarray | None = None,
) -> Labels:
    """Return the labels of M pairs of curves.

    Parameters
    ----------
    alphas : array_like, shape (K,)
        At least 5 points in any order, 0 and 1 among them; patterns are defined on [-1/2, 3/2].
    linear, quadratic : ndarray, shape (M, K)
        The loss, up to a constant and a positive factor (then the tolerance has that factor too). A quadratic curve that is NaN
        throughout has no mid checkpoint: its pair is "no-effect", "not-moved" or "complex".
    rho : ndarray, shape (M,)
        Shares of their way that the weights have gone at the mid checkpoint.
    tolerance : ndarray or float
        Absolute height that is told from nothing: the noise floor, or the half-width of a simultaneous band.
    rules : PatternRules or dict, optional
    moved : ndarray of bool, shape (M,), optional
        False: "not-moved", whatever its curves.

    Notes
    -----
    In this order: no range above the tolerance is "no-effect"; a quadratic path that does not turn round on the window, or
    equals the linear one, is "coincident". A rising linear curve is "ascending-concave" if the quadratic one has a maximum before
    any minimum, "wave" if a minimum comes first. A falling one with a long plateau, and no bump above the plateau's own height,
    is "flat-region"; a convex one with a minimum and then a maximum "bump"; a falling one with a single minimum
    "descending-convex". All else is "complex". Extrema count where the curve leaves them by more than the tolerance on both
    sides. "Convex" and "concave" of the quadratic curve mean a single minimum and a single maximum: losses that saturate are
    neither in the strict sense.
    """
    rules, grid = PatternRules.of(rules), check_grid(alphas)
    order = np.argsort(grid, kind="stable")
    grid, linear, quadratic = grid[order], np.asarray(linear, dtype=float)[:, order], np.asarray(quadratic, dtype=float)[:, order]
    rho = np.broadcast_to(np.asarray(rho, dtype=float), len(linear))
    given = np.broadcast_to(np.asarray(tolerance, dtype=float), len(linear))
    moved = np.ones(len(linear), dtype=bool) if moved is None else np.asarray(moved, dtype=bool)
    mirrored = rho < 0.5
    share = np.where(mirrored, 1.0 - rho, rho)
    flipped = 1.0 - grid[::-1]
    if np.allclose(flipped, grid, rtol=0.0, atol=_SAME):
        line, curve = (np.where(mirrored[:, None], curves[:, ::-1], curves) for curves in (linear, quadratic))
        return Labels(mirrored=mirrored, **_labelled(grid, line, curve, share, given, moved, rules))
    parts: dict[str, np.ndarray] = {}
    for at, turn, chosen in ((grid, slice(None), ~mirrored), (flipped, slice(None, None, -1), mirrored)):
        rows = np.flatnonzero(chosen)
        found = _labelled(at, linear[rows][:, turn], quadratic[rows][:, turn], share[rows], given[rows], moved[rows], rules)
        for name, values in found.items():
            parts.setdefault(name, np.zeros(len(linear), dtype=values.dtype))[rows] = values
    return Labels(mirrored=mirrored, **parts)


def check_grid(alphas: Any) -> np.ndarray:
    """Return the alphas of a pair of curves, or refuse those that no pattern can be read from."""
    grid = np.asarray(alphas, dtype=float)
    if grid.ndim != 1 or len(grid) < 5 or not np.isfinite(grid).all() or not {0.0, 1.0} <= set(grid.tolist()):
        listed = grid.ndim == 1 and len(grid) > 0
        what = f"{len(grid)} points from {grid.min():g} to {grid.max():g}" if listed else f"shape {grid.shape}"
        raise ValueError(
            "alphas: a vector of at least 5 numbers with 0 and 1 among them, such as numpy.linspace(-0.5, 1.5, 41); "
            f"received {what}"
        )
    return grid


def _labelled(
    grid: np.ndarray,
    linear: np.ndarray,
    quadratic: np.ndarray,
    rho: np.ndarray,
    given: np.ndarray,
    moved: np.ndarray,
    rules: PatternRules,
) -> dict[str, np.ndarray]:
    """Return the fields of `Labels` for curves whose rho is at least 1/2, or unknown."""
    inside = (grid >= 0.0) & (grid <= 1.0)
    line, curve = linear[:, inside], quadratic[:, inside]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        ranges = np.fmax(np.ptp(linear, axis=1), np.ptp(quadratic, axis=1))
        both = np.fmax(line.max(1), curve.max(1)) - np.fmin(line.min(1), curve.min(1))
        tolerance = np.fmax(given, rules.shape * both)
        rise = (line - np.minimum.accumulate(line, axis=1)).max(1)
        fall = (np.maximum.accumulate(line, axis=1) - line).max(1)
        net = line[:, -1] - line[:, 0]
        first, count, persistence = extrema(quadratic, tolerance)
        length = _plateau(grid[inside], curve, rules.plateau)
        allowed = rules.plateau * np.ptp(curve, axis=1)
        up, down = (fall <= tolerance) & (net > tolerance), (rise <= tolerance) & (net < -tolerance)
        turn = 0.5 + 0.5 / (4.0 * rho - 2.0)
        same = ~((turn >= grid[0]) & (turn <= grid[-1])) | (np.abs(quadratic - linear).max(1) <= tolerance)
        double = (first == 1) & (count >= 2)
    convex = np.zeros(len(linear), dtype=bool)
    convex[double] = _hull_distance(grid[inside], line[double]) <= rules.convexity * np.ptp(line[double], axis=1)
    finite, known = np.isfinite(linear).all(1), np.isfinite(quadratic).all(1)
    either = np.isfinite(linear).any(1)
    code = np.select(
        [
            ~moved, ~either, ~finite, ranges <= given, ~known, same, up & (first != 1), up & convex & double,
            down & (first != 2) & (length >= rules.plateau_length) & (persistence <= np.fmax(allowed, tolerance)),
            ~up & convex & double, down & (first != 2) & (count <= 1),
        ],
        [
            _CODE["not-moved"], -1, _CODE["complex"], _CODE["no-effect"], _CODE["complex"], _CODE["coincident"],
            _CODE["ascending-concave"], _CODE["wave"], _CODE["flat-region"], _CODE["bump"], _CODE["descending-convex"],
        ],
        _CODE["complex"],
    )  # fmt: skip
    return {
        "code": code, "first": first, "count": count, "persistence": persistence, "tolerance": tolerance, "plateau": length,
        "rise": rise, "fall": fall,
    }  # fmt: skip


def votes_of(
    resampled: np.ndarray,
    alphas: np.ndarray,
    rho: np.ndarray,
    floor: float,
    rules: PatternRules,
    moved: np.ndarray,
) -> np.ndarray:
    """Return the share of the resamples of each weight that give each of `PATTERNS`, (weights, 9); NaN where there are none.

    `resampled` has the shape (weights, resamples, 2 K): linear, then quadratic.
    """
    weights, draws, points = len(resampled), resampled.shape[1], len(alphas)
    curves = resampled.reshape(-1, 2 * points)
    many = np.repeat(rho, draws), floor, rules, np.repeat(moved, draws)
    codes = classify_many(alphas, curves[:, :points], curves[:, points:], *many).code.reshape(weights, draws)
    votes = np.array([np.bincount(row[row >= 0], minlength=len(PATTERNS)) / max(draws, 1) for row in codes])
    unknown = ~np.isfinite(resampled[:, :, :points]).all((1, 2))
    return np.where(unknown[:, None], np.nan, votes.reshape(weights, len(PATTERNS)))


def extrema(values: np.ndarray, tolerance: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the kind of the first extremum, how many there are, and the persistence of the highest maximum; see `Labels`.

    A curve's running minimum becomes an extremum when the curve has come down to it and has left it by more than the tolerance;
    a maximum likewise. Its ends are none.
    """
    low = high = valley = values[:, 0]
    going = np.zeros(len(values), dtype=int)
    first, count = going.copy(), going.copy()
    peak, best = np.full(len(values), np.nan), np.zeros(len(values))
    for k in range(1, values.shape[1]):
        here = values[:, k]
        low, high = np.minimum(low, here), np.maximum(high, here)
        up, down = (here > low + tolerance) & (going <= 0), (here < high - tolerance) & (going >= 0)
        for turned, before, kind in ((up, -1, 1), (down, 1, 2)):
            confirmed = turned & (going == before)
            first = np.where(confirmed & (first == 0), kind, first)
            count = count + confirmed
        best = np.where(up, np.fmax(best, peak - np.maximum(valley, low)), best)
        valley = np.where(up, low, valley)
        peak = np.where(down & (going == 1), high, np.where(up, np.nan, peak))
        high, low = np.where(up, here, high), np.where(down, here, low)
        going = np.where(up, 1, np.where(down, -1, going))
    return first, count, np.fmax(best, peak - np.maximum(valley, low))


def _plateau(grid: np.ndarray, curves: np.ndarray, share: float) -> np.ndarray:
    """Return the length of the longest stretch on which each curve is within a share of its range from its end value."""
    outside = np.abs(curves - curves[:, -1:]) - share * np.ptp(curves, axis=1)[:, None]
    longest = length = np.zeros(len(curves))
    for k, step in enumerate(np.diff(grid)):
        left, right = outside[:, k], outside[:, k + 1]
        cut = np.clip(left / np.where(left == right, 1.0, left - right), 0.0, 1.0)  # where a straight piece crosses the edge
        length = np.where(left <= 0, length + np.where(right <= 0, step, step * cut), np.where(right <= 0, step * (1 - cut), 0.0))
        longest = np.fmax(longest, length)
        length = np.where(right <= 0, length, 0.0)
    return longest


def _hull_distance(grid: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """Return how far each curve lies above its convex hull (its greatest convex minorant) at most."""
    keep = np.unique(np.linspace(0, len(grid) - 1, min(len(grid), _HULL)).round().astype(int))
    at, values = grid[keep], curves[:, keep].T
    worst = np.zeros(len(curves))
    for middle in range(1, len(at) - 1):
        hull = values[middle]
        for left in range(middle):
            shares = (at[middle] - at[left]) / (at[middle + 1 :] - at[left])
            chords = values[left] + shares[:, None] * (values[middle + 1 :] - values[left])
            hull = np.minimum(hull, chords.min(0))
        worst = np.maximum(worst, values[middle] - hull)
    return worst


def rounding_noise(probes: np.ndarray) -> float:
    """Return the deviation of a mean's rounding noise, from losses at a few points that all but coincide; NaN without any.

    `probes`, (curves, points): equal steps so small that the curves are straight there, and each rounds anew. Second differences
    have sqrt(6) times the noise; curves with a kink between two points are left out. (Differences along whole curves show more than
    noise: the kinks of ReLU and max-pooling, which are there in float64 too.)
    """
    with np.errstate(invalid="ignore", over="ignore"):
        squares = np.mean(np.diff(probes, n=2, axis=1) ** 2, axis=1) / 6.0
    squares = squares[np.isfinite(squares)]
    return float(np.sqrt(squares[squares <= 4 * np.median(squares)].mean())) if len(squares) else float("nan")
