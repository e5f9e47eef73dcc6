"""The theory of a single weight's two curves: one function, read at two speeds.

May import: numpy. With D the way of a weight from start to end, rho the share of it at the mid checkpoint, and f(u) the loss where
the weight has gone the share u (all others at their end), the linear path shows f(alpha) and the quadratic one f(u(alpha)). So what
the pair looks like depends on rho and on u_star, the place of f's minimum: the phase diagram. For rho below 1/2 everything is the
mirror image: alpha, u and rho become 1 - alpha, 1 - u and 1 - rho. How measured curves get their labels is in `labelling`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

PATTERNS = (
    "descending-convex", "ascending-concave", "flat-region", "bump", "wave", "no-effect", "not-moved", "coincident", "complex",
)  # fmt: skip
SHAPES = PATTERNS[:5]  # those of Nemcova (2021, section 6.4), in her order
WINDOW = (-0.5, 1.5)


@dataclass(frozen=True)
class PatternRules:
    """The conventions behind the labels; each can be changed, and stability under change is part of a finding.

    Attributes
    ----------
    noise : float
        The noise floor is so many times the rounding noise.
    shape : float
        What counts as a rise or a fall of these data's curves: this share of their range on [0, 1], at least the noise floor.
    plateau, plateau_length : float
        A flat region: the quadratic curve stays within this share of its range on [0, 1] around its end, for this length of alpha.
    convexity : float
        A linear curve is convex if it lies at most this share of its range above its convex hull.
    confidence : float
        A label that fewer of the resamples agree with is uncertain.
    false_discovery : float
        Share of false calls among the weights whose effect is called established.
    """

    noise: float = 6.0
    shape: float = 1e-3
    plateau: float = 0.05
    plateau_length: float = 0.4
    convexity: float = 0.05
    confidence: float = 0.8
    false_discovery: float = 0.05

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not (math.isfinite(value) and value > 0):
                raise ValueError(f"rules: {entry.name} is a positive number, such as {entry.default}; received {value!r}")

    @classmethod
    def of(cls, rules: PatternRules | dict[str, Any] | None = None, **changed: Any) -> PatternRules:
        """Return the conventions given, some of them changed.

        Raises
        ------
        ValueError
            An unknown name, or a value that is no positive number.
        """
        if isinstance(rules, PatternRules) and not changed:
            return rules
        values = {**(asdict(rules) if isinstance(rules, PatternRules) else rules or {}), **changed}
        known = [entry.name for entry in fields(cls)]
        for name in values:
            if name not in known:
                raise ValueError(f"rules: conventions are {', '.join(known)}; received {name!r}")
        return cls(**values)


def u(alpha: Any, rho: Any) -> Any:
    """Return the share of its way that a weight has gone on the quadratic path at `alpha`; shapes are broadcast.

    ``u(alpha) = alpha + 4 alpha (1 - alpha) (rho - 1/2)``: 0, rho and 1 at alpha 0, 1/2 and 1.

    Examples
    --------
    >>> u([0.0, 0.5, 1.0], 0.9).tolist()
    [0.0, 0.9, 1.0]
    """
    alpha, rho = np.asarray(alpha, dtype=float), np.asarray(rho, dtype=float)
    return alpha + 4.0 * alpha * (1.0 - alpha) * (rho - 0.5)


def turning_point(rho: Any) -> tuple[Any, Any]:
    """Return where the quadratic path turns round: ``(alpha, u)`` with u'(alpha) = 0; infinite for rho = 1/2, which never does.

    Above 1/2 the weight then lies at or beyond its end, ``u >= 1`` with equality at rho = 3/4; below, at or before its start.

    Examples
    --------
    >>> [float(x) for x in turning_point(0.75)]
    [1.0, 1.0]
    """
    c = 4.0 * np.asarray(rho, dtype=float) - 2.0
    with np.errstate(divide="ignore", invalid="ignore"):
        alpha = np.where(c == 0.0, np.inf, 0.5 + 0.5 / c)
        return alpha, np.where(c == 0.0, np.inf, (1.0 + c) ** 2 / (4.0 * c))


def turns_within(rho: Any, window: tuple[float, float] = WINDOW) -> Any:
    """Return whether the quadratic path turns round inside a range of alpha: for [-1/2, 3/2], where ``|rho - 1/2| >= 1/8``."""
    alpha, _ = turning_point(rho)
    return (alpha >= window[0]) & (alpha <= window[1])


def expected_pattern(rho: float, u_star: float, rules: PatternRules | dict[str, Any] | None = None) -> str:
    """Return the region of the phase diagram: the pattern on [-1/2, 3/2] of a loss with one minimum, at `u_star`.

    Parameters
    ----------
    rho : float
        Share of its way that the weight has gone at the mid checkpoint.
    u_star : float
        Where on its line the loss is lowest: 0 at the start, 1 at the end.
    rules : PatternRules or dict, optional

    Returns
    -------
    str
        One of the five shapes, or "coincident" where the quadratic path does not turn round on [-1/2, 3/2] (it is the linear
        one at another speed, without a shape of its own).

    Notes
    -----
    With u_v = u at the turning point, for rho > 1/2: a minimum beyond u_v is reached once, at the turning point
    ("descending-convex"); before u_v it is passed twice, with a bump at the turning point between ("bump"); near u_v the curve is
    flat ("flat-region"). A minimum before the start leaves a rising linear curve: "wave" where the window still reaches it,
    "ascending-concave" where not. The width of the flat region is that of ``f = (u - u_star)^2`` under the rules.

    Examples
    --------
    >>> [expected_pattern(1.0, at) for at in (-3.0, -1.0, 0.5, 1.1, 2.0)]
    ['ascending-concave', 'wave', 'bump', 'flat-region', 'descending-convex']
    """
    if not (math.isfinite(rho) and not math.isnan(u_star)):
        return "complex"
    if rho < 0.5:
        rho, u_star = 1.0 - rho, 1.0 - u_star
    if not turns_within(rho):
        return "coincident"
    low = float(u(WINDOW[0], rho))
    if u_star <= low:
        return "ascending-concave"
    if u_star < 0.0:
        return "wave"
    if u_star >= 1.0 and _flat(rho, u_star, PatternRules.of(rules)):
        return "flat-region"
    return "bump" if u_star < float(turning_point(rho)[1]) else "descending-convex"


def _flat(rho: float, u_star: float, rules: PatternRules) -> bool:
    """Return whether ``f = (u - u_star)^2`` gives a flat region on [0, 1]: a long plateau, and at most a bump as low as it."""
    if math.isinf(u_star):
        return False
    turn, top = (float(value) for value in turning_point(rho))
    c = 4.0 * rho - 2.0
    inside = turn <= 1.0  # the quadratic path turns round before its end
    highest = u_star**2
    lowest = 0.0 if u_star <= (top if inside else 1.0) else (u_star - (top if inside else 1.0)) ** 2
    allowed = rules.plateau * (highest - lowest)
    if (top - u_star if u_star < top else 0.0) ** 2 > allowed:
        return False

    def crossing(level: float, right: bool = False) -> float:
        """Return the alpha at which q passes a level that it has before (or after) the turning point, f falling there."""
        root = math.sqrt(max(top - (u_star - math.sqrt(max(level, 0.0))), 0.0) / c)
        return turn + root if right else turn - root

    end = (1.0 - u_star) ** 2
    begins = max(crossing(end + allowed), 0.0)
    if not inside or end - (u_star - top) ** 2 * (u_star > top) <= allowed:
        return 1.0 - begins >= rules.plateau_length
    # the curve leaves the band around its end and comes back: the longer of the two parts
    return max(crossing(end - allowed) - begins, 1.0 - crossing(end - allowed, right=True)) >= rules.plateau_length


def line_minimum(shares: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where a loss along its line is lowest, by a parabola through three neighbours; and -1 or 1 where that is an edge.

    Parameters
    ----------
    shares : ndarray, shape (M,)
        u of each point, in any order; not finite: no point.
    losses : ndarray, shape (..., M)
    """
    keep = np.flatnonzero(np.isfinite(shares))
    keep = keep[np.unique(shares[keep], return_index=True)[1]]
    at, values = shares[keep], losses[..., keep]
    if len(at) < 3:
        return np.full(values.shape[:-1], np.nan), np.zeros(values.shape[:-1], dtype=int)
    known = np.isfinite(values).any(-1)
    low = np.where(np.isfinite(values), values, np.inf).argmin(-1)
    middle = np.clip(low, 1, len(at) - 2)
    x0, x1, x2 = at[middle - 1], at[middle], at[middle + 1]
    y0, y1, y2 = (np.take_along_axis(values, (middle + step)[..., None], -1)[..., 0] for step in (-1, 0, 1))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        left, right = (y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)
        vertex = (x0 + x1) / 2 - left * (x2 - x0) / (2 * (right - left))
    inside = (low > 0) & (low < len(at) - 1)
    best = np.where(inside & np.isfinite(vertex), np.clip(vertex, x0, x2), at[low])
    edge = np.where(low == 0, -1, np.where(low == len(at) - 1, 1, 0))
    return np.where(known, best, np.nan), np.where(known, edge, 0)
