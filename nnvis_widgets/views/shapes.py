"""Shapes of the solid view: triangles, lines, tubes and how they grow, as arrays.

May import: numpy, contourpy and matplotlib's colour maps (inside functions). A place is (x, height, y): ipyvolume's vertical axis
is its second one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_SIDES = 8  # of a tube


def triangles(there: np.ndarray) -> np.ndarray:
    """Return two triangles a cell of a grid, without those that touch a vertex which is not there.

    Parameters
    ----------
    there : ndarray of bool, shape (Y, X)

    Returns
    -------
    ndarray of uint32, shape (M, 3)
        Numbers of vertices, row by row.

    Examples
    --------
    >>> triangles(np.array([[True, True], [True, False]]))
    array([[0, 1, 2]], dtype=uint32)
    """
    number = np.arange(there.size, dtype=np.uint32).reshape(there.shape)
    a, b, c, d = (part.ravel() for part in (number[:-1, :-1], number[:-1, 1:], number[1:, :-1], number[1:, 1:]))
    found = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    return found[there.ravel()[found].all(axis=1)]


def grid_lines(there: np.ndarray, step: int = 1) -> np.ndarray:
    """Return the edges of a grid's wireframe, every `step`-th row and column and the last ones. Shape (M, 2)."""
    number = np.arange(there.size, dtype=np.uint32).reshape(there.shape)
    rows, columns = (sorted({*range(0, size, step), size - 1}) for size in there.shape)
    along = [np.stack([number[rows, :-1].ravel(), number[rows, 1:].ravel()], 1)]
    along.append(np.stack([number[:-1, columns].ravel(), number[1:, columns].ravel()], 1))
    found = np.concatenate(along)
    return found[there.ravel()[found].all(axis=1)]


def isolines(values: np.ndarray, x: np.ndarray, y: np.ndarray, levels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return points (N, 3) of the isolines and the pairs of them (M, 2) that are joined."""
    import contourpy

    generator = contourpy.contour_generator(x, y, np.ma.masked_invalid(values))
    points, pairs, count = [np.empty((0, 3))], [np.empty((0, 2), np.uint32)], 0
    for level in levels:
        for line in generator.lines(level):
            points.append(np.column_stack([line[:, 0], np.full(len(line), level), line[:, 1]]))
            pairs.append(chain(len(line)) + count)
            count += len(line)
    return np.concatenate(points), np.concatenate(pairs)


def chain(count: int) -> np.ndarray:
    """Return the pairs of neighbours among so many points, shape (count - 1, 2)."""
    first = np.arange(max(count - 1, 0), dtype=np.uint32)
    return np.stack([first, first + 1], 1)


def tube_triangles(count: int) -> np.ndarray:
    """Return the triangles of a tube through so many points; its vertices lie point by point."""
    ring = np.arange(_SIDES)
    first, after = ring, (ring + 1) % _SIDES
    one = np.concatenate([np.stack([first, first + _SIDES, after], 1), np.stack([after, first + _SIDES, after + _SIDES], 1)])
    return (one + _SIDES * np.arange(max(count - 1, 0))[:, None, None]).reshape(-1, 3).astype(np.uint32)


def tube_offsets(points: np.ndarray, radius: float, unit: np.ndarray) -> np.ndarray:
    """Return where a tube's vertices lie from its points, shape (N, sides, 3).

    Parameters
    ----------
    points : ndarray, shape (N, 3)
    radius : float
        In the units in which the tube is round.
    unit : ndarray, shape (3,)
        How much of each axis is one such unit.
    """
    drawn = points / unit
    along = np.gradient(drawn, axis=0) if len(points) > 1 else np.array([[1.0, 0.0, 0.0]] * len(points))
    along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-12)
    up = np.where(np.abs(along[:, 1:2]) > 0.9, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    side = np.cross(along, up)
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-12)
    over = np.cross(side, along)
    angle = 2 * np.pi * np.arange(_SIDES) / _SIDES
    around = np.cos(angle)[None, :, None] * side[:, None] + np.sin(angle)[None, :, None] * over[:, None]
    return radius * around * unit


def frame_epochs(epochs: Sequence[np.ndarray], most: int = 160) -> np.ndarray:
    """Return the epochs that are played: all checkpoints of all runs and places between them, at most about `most`.

    Examples
    --------
    >>> frame_epochs([np.array([0.0, 1.0]), np.array([1.0, 3.0])], most=5).tolist()
    [0.0, 0.5, 1.0, 2.0, 3.0]
    """
    known = np.unique(np.concatenate([np.asarray(e, float) for e in epochs])) if epochs else np.zeros(1)
    parts = max(1, min(8, (most - 1) // max(len(known) - 1, 1)))
    return np.interp(np.arange((len(known) - 1) * parts + 1) / parts, np.arange(len(known)), known)


def along(points: np.ndarray, epochs: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the places on a line at epochs; before its first and after its last point it stands still. Shape (F, 3)."""
    return np.stack([np.interp(at, epochs, points[:, axis]) for axis in range(3)], axis=1)


def growing(points: np.ndarray, epochs: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return a line's points in each frame, shape (F, N, 3): what is not reached yet waits at the line's present end."""
    ends = along(points, epochs, at)
    return np.where(epochs[None, :, None] <= at[:, None, None], points[None], ends[:, None])


def colours(values: np.ndarray, limits: tuple[float, float], name: str) -> np.ndarray:
    """Return red, green and blue in [0, 1] of values on a colour map, shape (N, 3)."""
    import matplotlib

    share = (np.nan_to_num(values.ravel(), nan=limits[0]) - limits[0]) / (limits[1] - limits[0])
    return matplotlib.colormaps[name](np.clip(share, 0, 1))[:, :3].astype(np.float32)


def rgb(colour: str) -> np.ndarray:
    """Return red, green and blue in [0, 1] of "#rrggbb"."""
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.float32) / 255
