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


def in_growing_groups(points: list[int], first: int) -> list[list[int]]:
    """Return the points in order, in lists that double in size.

    What the points of a list share is computed as often as there are lists: ``log2(K / first)`` times for K points, while
    the first list, and with it a first picture, is done soon.

    Examples
    --------
    >>> in_growing_groups([0, 6, 3, 1, 5, 2, 4], 2)
    [[0, 6], [3, 1, 5, 2], [4]]
    """
    groups = []
    while points:
        groups.append(points[:first])
        points, first = points[first:], 2 * first
    return groups
