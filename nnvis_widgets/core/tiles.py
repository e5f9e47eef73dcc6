"""The order in which points are visited, how many at a time, and how they are shared out.

May import: numpy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_BUSY = 0.95  # share of the time that all workers should have something to do


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


def nested_grids(height: int, width: int, center: tuple[int, int] = (0, 0)) -> list[int]:
    """Return the cells 0..height*width-1 of a grid, row by row numbered, so that coarse grids come first.

    A coarse grid has every 16th, 8th, 4th, ... row and column, counted from the row and column of `center`, so each holds the
    one before: of 33 x 33 cells around the middle 3 x 3, 5 x 5, 9 x 9, 17 x 17. Within a grid, from the centre outwards.

    Examples
    --------
    >>> nested_grids(3, 3, (1, 1))[:5]
    [4, 1, 3, 5, 7]
    """
    rows, columns = np.indices((height, width)) - np.array(center)[:, None, None]
    step = 1
    while 2 * step < max(height, width):
        step *= 2
    order: dict[int, None] = {}
    while step:
        on = np.flatnonzero((rows % step == 0) & (columns % step == 0))
        far = rows.reshape(-1)[on] ** 2 + columns.reshape(-1)[on] ** 2
        order.update(dict.fromkeys(on[np.argsort(far, kind="stable")].tolist()))
        step //= 2
    return list(order)


def in_growing_groups(points: Sequence[int], first: int) -> list[Sequence[int]]:
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


def in_groups(points: Sequence[int], size: int) -> list[Sequence[int]]:
    """Return the points in order, in lists of at most `size`.

    Examples
    --------
    >>> in_groups([4, 0, 2, 1, 3], 2)
    [[4, 0], [2, 1], [3]]
    """
    return [points[first : first + size] for first in range(0, len(points), size)]


def share(things: Sequence, part: int, parts: int) -> Sequence:
    """Return one of `parts` neighbouring shares of nearly one length; empty where there are fewer things.

    Examples
    --------
    >>> [share([4, 0, 2, 1, 3], part, 2) for part in (0, 1)]
    [[4, 0], [2, 1, 3]]
    """
    return things[part * len(things) // parts : (part + 1) * len(things) // parts]


def cuts_of(batches: int, rows: int, workers: int, first: int, least: int = 1) -> list[int]:
    """Return into how many parts the rows of each batch are cut so that workers rarely wait for the last of them.

    The first batch is cut finely, for a first picture. Of the others as many are left whole as all workers can take in turn, and
    the rest at the end is cut as far as it takes: each part has to load its batch.

    Parameters
    ----------
    batches, rows, workers : int
    first : int
        Parts of the first batch.
    least : int
        Parts of any other.

    Examples
    --------
    >>> cuts_of(batches=8, rows=41, workers=2, first=8)
    [8, 1, 1, 1, 1, 1, 1, 2]
    >>> cuts_of(batches=100, rows=5, workers=4, first=16)[:3], cuts_of(batches=100, rows=5, workers=4, first=16)[-1]
    ([5, 1, 1], 1)
    """
    odd = (batches - 1) % workers

    def busy(parts: int) -> float:
        whole = (batches - odd) / workers
        return batches / workers / (whole + math.ceil(odd * parts / workers) / parts)

    most = max(1, rows)
    parts = next((parts for parts in range(min(most, least), most + 1) if busy(parts) >= _BUSY), most)
    return [min(most, cut) for cut in (first, *[least] * (batches - 1 - odd), *[parts] * odd)]
