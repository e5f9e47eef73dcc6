"""The order in which points are visited.

May import: numpy.
"""

from __future__ import annotations


def coarse_to_fine(points: int, first: int | None = None) -> list[int]:
    """Return 0..points-1 in an order whose every prefix is spread over the range; `first`, if given, comes first.

    Examples
    --------
    >>> coarse_to_fine(5)
    [0, 4, 2, 1, 3]
    """
    order = dict.fromkeys([] if first is None else [first])
    order.update(dict.fromkeys((0, points - 1)))
    step = float(points - 1)
    while step > 1:
        half = step / 2
        order.update(dict.fromkeys(round(half + i * step) for i in range(round((points - 1) / step))))
        step = half
    order.update(dict.fromkeys(range(points)))
    return [k for k in order if 0 <= k < points]


def in_groups(points: list[int], size: int) -> list[list[int]]:
    """Return the points in order, in lists of at most `size`.

    Examples
    --------
    >>> in_groups([4, 0, 2, 1, 3], 2)
    [[4, 0], [2, 1], [3]]
    """
    return [points[first : first + size] for first in range(0, len(points), size)]
