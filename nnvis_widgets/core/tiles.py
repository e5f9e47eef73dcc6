"""The order in which points are visited.

May import: numpy.
"""

from __future__ import annotations

_BUSY = 0.8  # share of the time that all workers should have something to do


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


def share(things: list, part: int, parts: int) -> list:
    """Return one of `parts` neighbouring shares of nearly one length; empty where there are fewer things.

    Examples
    --------
    >>> [share([4, 0, 2, 1, 3], part, 2) for part in (0, 1)]
    [[4, 0], [2, 1, 3]]
    """
    return things[part * len(things) // parts : (part + 1) * len(things) // parts]


def parts_of(batches: int, rows: int, workers: int) -> int:
    """Return into how few parts the rows of each batch are cut so that workers rarely wait for the last of them.

    Examples
    --------
    >>> parts_of(batches=8, rows=41, workers=4), parts_of(batches=2, rows=41, workers=5)
    (1, 2)
    """

    def busy(parts: int) -> float:
        tiles = batches * parts
        return tiles / (-(-tiles // workers) * workers)

    for parts in range(1, rows + 1):
        if busy(parts) >= _BUSY:
            return parts
    return max(rows, 1)
