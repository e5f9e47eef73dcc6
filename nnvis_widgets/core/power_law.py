"""The learning curve ``a + b n^-c``, with intervals where the data say what they are.

May import: numpy, scipy. For a given c the curve is linear in a and b; so everything is a scan over c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, stats

LOW, HIGH = 0.02, 6.0  # of the exponents that are tried
MISFIT = 0.01  # probability of so large a misfit where the law holds, below which it is given up
LEAST = 4  # sizes: three leave nothing to see whether the law holds
_SCAN = np.geomspace(LOW, HIGH, 1500)

Bounds = tuple[float, float, float]
NOTHING: Bounds = (np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class PowerLaw:
    """A fit of ``a + b n^-c``.

    Attributes
    ----------
    a, b, c : (value, low, high)
        The loss with endless data, the scale (at n = 1), and the exponent; NaN where not identified.
    doubling : (value, low, high)
        By how much the loss would fall with twice the largest n, where the law goes on to hold.
    identified : bool
    reason : str
        Why not.
    """

    a: Bounds = NOTHING
    b: Bounds = NOTHING
    c: Bounds = NOTHING
    doubling: Bounds = NOTHING
    identified: bool = False
    reason: str = ""


def power_law(sizes: Any, means: Any, errors: Any, dof: float, *, confidence: float = 0.95) -> PowerLaw:
    """Return the fit to mean losses at some sizes, by least squares with weights ``1 / errors^2``.

    An interval holds the values that no other choice of the two remaining parameters would make fit worse than the best one by more
    than the square of Student's t with `dof` degrees of freedom, times the mean square of what the best one leaves where that is
    more than 1 (profile likelihood; as if the sizes were independent). Where all errors are 0, they are what the fit leaves.

    Parameters
    ----------
    sizes, means, errors : array_like, shape (K,)
    dof : float
        Degrees of freedom that the errors were estimated with.
    confidence : float
    """
    n, y, se = (np.asarray(values, dtype=float) for values in (sizes, means, errors))
    usable = np.isfinite(y) & np.isfinite(se)
    n, y, se = n[usable], y[usable], se[usable]
    if len(np.unique(n)) < LEAST:
        return PowerLaw(reason=f"{len(np.unique(n))} sizes with repeats; a power law takes at least {LEAST}")
    largest, left = n.max(), len(n) - 3
    known = bool((se > 0).all())
    scan = _Scan(n / largest, y, 1 / se**2 if known else np.ones(len(n)))
    misfit = scan.solved(_SCAN).misfit
    near = int(np.argmin(misfit))
    span = _SCAN[max(near - 1, 0)], _SCAN[min(near + 1, len(_SCAN) - 1)]
    found = optimize.minimize_scalar(
        lambda c: scan.solved(np.array([c])).misfit[0], bounds=span, method="bounded", options={"xatol": 1e-9}
    )
    best, least = float(found.x), min(float(found.fun), float(misfit[near]))
    scale = max(1.0, least / left) if known else max(least / left, np.finfo(float).tiny)
    allowed = least + scale * stats.t.ppf((1 + confidence) / 2, dof if known else left) ** 2
    if known and dof > 0 and stats.f.sf(least / left, left, dof) < MISFIT:
        return PowerLaw(reason=f"the means miss the nearest one by {np.sqrt(least / left):.1f} of their errors")
    if scan.misfit_of_constant <= allowed:
        return PowerLaw(reason="the loss falls by no more than its errors: any exponent fits")
    accepted = np.append(_SCAN[misfit <= allowed], best)
    if accepted.min() <= LOW or accepted.max() >= HIGH:
        least_c = f"at least {accepted.min():.2g}" if accepted.min() > LOW else ""
        most_c = f"at most {accepted.max():.2g}" if accepted.max() < HIGH else ""
        return PowerLaw(reason=f"the exponent is not bounded by these sizes ({least_c or most_c or 'any fits'})")
    lines = scan.solved(accepted)
    if lines.b[-1] <= 0:
        return PowerLaw(reason="the loss does not fall with more data")
    nothing, once = np.zeros(len(accepted)), np.ones(len(accepted))
    return PowerLaw(
        a=lines.bounds(once, nothing, allowed),
        b=lines.bounds(nothing, largest**accepted, allowed),  # b belongs to n, the scan to n / largest
        c=(best, float(accepted.min()), float(accepted.max())),
        doubling=lines.bounds(nothing, 1 - 2.0**-accepted, allowed),
        identified=True,
    )


class _Scan:
    """Weighted least squares of ``a + b x^-c`` for many c."""

    def __init__(self, x: np.ndarray, y: np.ndarray, weights: np.ndarray):
        self._x, self._w, self._total = x, weights, weights.sum()
        self._mean = (weights * y).sum() / self._total
        self._y = y - self._mean
        self.misfit_of_constant = float((weights * self._y**2).sum())

    def solved(self, exponents: np.ndarray) -> _Lines:
        """Return the best a and b at each exponent."""
        powers = self._x ** -exponents[:, None]
        middle = powers @ self._w / self._total
        powers = powers - middle[:, None]
        squares = powers**2 @ self._w
        b = powers @ (self._w * self._y) / squares
        misfit = (self._y - b[:, None] * powers) ** 2 @ self._w
        return _Lines(self._mean - b * middle, b, misfit, middle, squares, self._total)


@dataclass(frozen=True, eq=False)
class _Lines:
    """a, b and their misfit at each exponent, (C,); the mean power, the sum of its squared deviations, the sum of the weights."""

    a: np.ndarray
    b: np.ndarray
    misfit: np.ndarray
    middle: np.ndarray
    squares: np.ndarray
    total: float

    def bounds(self, of_a: np.ndarray, of_b: np.ndarray, allowed: float) -> Bounds:
        """Return ``of_a a + of_b b`` at the last exponent, and its range over all exponents and all that is allowed at each."""
        value = of_a * self.a + of_b * self.b
        variance = of_a**2 / self.total + (of_b - of_a * self.middle) ** 2 / self.squares
        half = np.sqrt(np.maximum(allowed - self.misfit, 0.0) * variance)
        return float(value[-1]), float((value - half).min()), float((value + half).max())
