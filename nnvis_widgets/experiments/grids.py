"""The coordinates of a surface: evenly spaced around the centre, nested in those of a finer grid, or as they are given.

May import: core.family, numpy.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from ..core.family import KNOT_TOLERANCE

NESTED = 8  # intervals of the grid that those of 16, 32, 64, ... are refinements of


def grids(
    extent: tuple[float, ...], x: Any, y: Any, resolution: int | tuple[int, int], span: float | tuple[float, float] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the coordinates along x and y that `measure_surface` is asked for, or refuse them.

    Parameters
    ----------
    extent : tuple of four floats
        x from, x to, y from, y to, where nothing is said.
    x, y, resolution, span
        See `measure_surface`.
    """
    counts, spans = _pair("resolution", resolution), (None, None) if span is None else _pair("span", span)
    if span is not None and x is not None and y is not None:
        raise ValueError("span: x and y say already where the points are; leave it out")
    along_x, along_y = (
        around_zero(extent[2 * i : 2 * i + 2], counts[i], spans[i]) if given is None else _checked("xy"[i], given)
        for i, given in enumerate((x, y))
    )
    return along_x, along_y


def around_zero(extent: tuple[float, ...], count: int, span: float | None = None) -> np.ndarray:
    """Return evenly spaced points that cover an interval around 0, one of them exactly 0.

    The points of 9, 17, 33, 65, ... are each the same numbers, bit for bit, among the next: how many of them lie below 0 is
    chosen for 9, and a step that is halved is exactly half. So are those of 9 points among 17 over twice the span.

    Examples
    --------
    >>> around_zero((-1.0, 3.0), 9).tolist()
    [-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    """
    low, high = (-span, span) if span is not None else extent
    intervals = count - 1
    finer = intervals // NESTED if intervals >= NESTED and intervals & (intervals - 1) == 0 else 1
    coarse = intervals // finer
    before = min(max(round(-low / (high - low) * coarse), 1), coarse - 1)
    step = max(-low / before, high / (coarse - before)) / finer
    return step * np.arange(-before * finer, (coarse - before) * finer + 1)


def places(wanted: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return where each of some ascending coordinates is among others, bit for bit; -1 where it is not."""
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[at] == wanted, at, -1)


def _pair(name: str, value: Any) -> tuple[Any, Any]:
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    whole = name == "resolution"
    try:
        numbers = tuple(operator.index(v) if whole else float(v) for v in pair)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != 2 or not all(v >= 3 if whole else 0 < v < math.inf for v in numbers):
        what = "a whole number of at least 3" if whole else "a positive number"
        raise ValueError(f"{name}: {what}, or two of them for x and y; received {value!r}")
    return numbers


def _checked(name: str, given: Any) -> np.ndarray:
    try:
        values = np.array(given, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: a vector of numbers, received {given!r}") from None
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(
            f"{name}: a vector of at least two coordinates (a line is a path: nv.measure_path), received shape {values.shape}"
        )
    if not (np.isfinite(values).all() and (np.diff(values) > 0).all()):
        raise ValueError(f"{name}: finite numbers in ascending order, received {values.tolist()}"[:300])
    values[np.abs(values) <= KNOT_TOLERANCE * max(1.0, np.abs(values).max())] = 0.0
    return values
