"""Clocks of a training run, and how its checkpoints can be laid along a path: arithmetic on a few inner products.

May import: torch, numpy, core.distances, core.scope, core.states. A clock says for every checkpoint how far the run had
come, from 0 to 1. Distances between mixtures of anchors need the anchors' Gram matrix and no weights.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .distances import distances
from .scope import Scope
from .states import Layout, RunLike, State

Rows = Callable[[np.ndarray], np.ndarray]  # places on a path (K,) -> rows of coefficients (K, anchors)

CLOCKS = ("epochs", "arc length", "progress")
_COLUMNS = 2**16  # of the anchors at a time, in float64
_FINER = 100  # places between two of the grid, once it is known between which


@dataclass(frozen=True, eq=False)
class Travel:
    """What the clocks show at every recorded checkpoint of a run, shape (T,) each, and how far the run went in all.

    Attributes
    ----------
    clocks : dict of str to ndarray
        "epochs", "arc length" (share of the way between recorded checkpoints), "progress" (share of the straight way
        ``<theta_t - start, D> / |D|^2``, as an ascending sequence within 0 and 1 that is nearest to it in squares).
    eta : ndarray
        Distance of each checkpoint from the straight line, over |D|.
    progress : ndarray
        Share of the straight way as it is, which may run back or beyond its ends.
    distance : float
        |D|.
    """

    clocks: dict[str, np.ndarray]
    progress: np.ndarray
    eta: np.ndarray
    distance: float


def travel(run: RunLike, layout: Layout, scope: Scope) -> Generator[float, None, Travel]:
    """Yield the share of the checkpoints that have been read; the generator's return value is the `Travel` of a run."""
    count = len(run)
    start, end = (scope.take(layout.check(run[k].state, f"checkpoint {k}")) for k in (0, count - 1))
    steps, progress, eta = np.zeros(count), np.zeros(count), np.zeros(count)
    before = start
    for k in range(count):
        here = scope.take(layout.check(run[k].state, f"checkpoint {k}"))
        steps[k] = distances(before, here)["distance"]
        moved = distances(start, end, here)
        progress[k], eta[k] = moved["rho"], moved["eta"]
        before = here
        yield (k + 1) / count
    epochs = np.asarray(run.epochs, dtype=float)
    way = np.cumsum(steps)
    with np.errstate(invalid="ignore", divide="ignore"):
        clocks = {"epochs": (epochs - epochs[0]) / (epochs[-1] - epochs[0]), "arc length": way / way[-1]}
    clocks["progress"] = ascending(progress)
    return Travel(clocks, progress, eta, moved["distance"])


def ascending(values: np.ndarray) -> np.ndarray:
    """Return the ascending sequence from 0 to 1 that is nearest to `values` in the sum of squares.

    Examples
    --------
    >>> ascending(np.array([0.0, 0.6, 0.4, 1.2, 1.0])).round(2).tolist()
    [0.0, 0.5, 0.5, 1.0, 1.0]
    """
    if not np.isfinite(values).all():
        return np.full(len(values), np.nan)
    pools: list[tuple[float, int]] = []  # mean and size; neighbours in the wrong order become one
    for value in values.tolist():
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            (late, many), (early, some) = pools.pop(), pools.pop()
            pools.append(((early * some + late * many) / (some + many), some + many))
    found = np.clip(np.repeat([mean for mean, _ in pools], [size for _, size in pools]), 0.0, 1.0)
    found[0], found[-1] = 0.0, 1.0
    return found


def gram(anchors: Sequence[State], scope: Scope) -> np.ndarray:
    """Return the inner products of the anchors' differences to the first one, float64, shape (anchors, anchors)."""
    total = np.zeros((len(anchors), len(anchors)))
    parts = [scope.take(anchor) for anchor in anchors]
    for tensors in zip(*parts, strict=True):
        flat = [_real(tensor) for tensor in tensors]
        for first in range(0, flat[0].numel(), _COLUMNS):
            block = torch.stack([one[first : first + _COLUMNS].double() for one in flat]).numpy()
            block = block - block[0]
            total += block @ block.T
    return total


def _real(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().resolve_conj().cpu()
    return (torch.view_as_real(tensor) if tensor.is_complex() else tensor).reshape(-1)


def apart(one: np.ndarray, other: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Return Euclidean distances between mixtures of anchors, given by their rows of coefficients, shape (..., anchors)."""
    difference = one - other
    return np.sqrt(np.maximum(np.einsum("...i,ij,...j->...", difference, products, difference), 0.0))


def laid_along(rows: Rows, points: np.ndarray, products: np.ndarray, grid: int = 201) -> np.ndarray:
    """Return ascending places on a path at which it is, in the mean, as close to points in this order as it can be.

    Parameters
    ----------
    rows : callable
        alphas (K,) -> rows of coefficients (K, anchors) of the path.
    points : ndarray, shape (H, anchors)
        Rows of the points that are laid along the path.
    products : ndarray
        See `gram`.
    grid : int
        Places among which the ascending ones are chosen; between its neighbours each is then found a hundred times finer.
    """
    alphas = np.linspace(0.0, 1.0, grid)
    far = apart(points[:, None], rows(alphas)[None], products)
    best = np.zeros_like(far)
    came = np.zeros(far.shape, dtype=int)
    best[0] = far[0]
    for h in range(len(points)):
        if h:
            came[h] = np.maximum.accumulate(np.where(_lowest_so_far(best[h - 1]), np.arange(grid), 0))
            best[h] = far[h] + best[h - 1][came[h]]
    places = np.zeros(len(points), dtype=int)
    places[-1] = int(np.argmin(best[-1]))
    for h in range(len(points) - 1, 0, -1):
        places[h - 1] = came[h][places[h]]
    return np.maximum.accumulate([_finer(rows, point, products, alphas, k) for point, k in zip(points, places, strict=True)])


def _lowest_so_far(values: np.ndarray) -> np.ndarray:
    before = np.concatenate([[np.inf], np.minimum.accumulate(values)[:-1]])
    return values < before


def _finer(rows: Rows, point: np.ndarray, products: np.ndarray, alphas: np.ndarray, k: int) -> float:
    near = np.linspace(alphas[max(k - 1, 0)], alphas[min(k + 1, len(alphas) - 1)], 2 * _FINER + 1)
    near = np.append(near, alphas[k])  # never farther than on the grid
    return float(near[np.argmin(apart(point, rows(near), products))])


def frechet(one: np.ndarray, other: np.ndarray, products: np.ndarray) -> float:
    """Return the discrete Frechet distance of two sequences of points, given by rows of coefficients of the same anchors.

    The shortest leash with which one goes along `one` and a dog along `other`, neither of them ever back (Alt and Godau, 1995).
    """
    far = apart(one[:, None], other[None], products)
    leash = np.maximum.accumulate(far[0])
    for row in far[1:]:
        # min(up, diagonal) first, then along the row: leash[j] = max(row[j], min(arrival[j], leash[j - 1]))
        arrival = np.minimum(leash, np.concatenate([[np.inf], leash[:-1]]))
        found = np.empty_like(leash)
        last = np.inf
        for j, (here, come) in enumerate(zip(row.tolist(), arrival.tolist(), strict=True)):
            last = max(here, min(come, last))
            found[j] = last
        leash = found
    return float(leash[-1])
