"""Loss and metrics on a plane through weight space.

May import: core, results, numpy. A plane is a family of three anchors, the centre and two directions; the rows are (1, x, y).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..core.evaluator import Evaluator, Sweep
from ..core.family import WeightFamily
from ..core.plane import Plane
from ..core.tally import Tally
from ..core.tiles import nested_grids
from ..results import SurfaceResult
from .grids import grids
from .planes import on_plane
from .reuse import Known, known_cells
from .shared import answer, arrays


def measure_surface(
    evaluator: Evaluator,
    plane: Plane,
    *,
    x: Any = None,
    y: Any = None,
    resolution: int | tuple[int, int] = 33,
    span: float | tuple[float, float] | None = None,
    scope: Any = None,
    known: SurfaceResult | None = None,
    samples: int | None = None,
    batchnorm: str | None = None,
) -> SurfaceResult:
    """Return loss and metrics on a grid of a plane, with paired standard errors to its centre.

    Parameters
    ----------
    evaluator : Evaluator
    plane : Plane
        Of `random_plane`, `pca_plane` or `three_point_plane`.
    x, y : array_like, shape (X,) and (Y,), optional
        Ascending coordinates. Where 0 is not among both, the centre is measured beside the grid, for the paired errors and
        ``center_loss``, and is no cell of it.
    resolution : int or (int, int), optional
        Points along x and y where these are not given. Those of 9 are among those of 17, these among those of 33, and so on.
    span : float or (float, float), optional
        Half the width of the grid, which then has the centre in its middle. Default: 1 for a normalised random plane; what
        covers the trajectory or the three points for the others. A grid made here always has a point at 0, the centre.
    scope : optional
        As in `measure_path`: only these weights move, the others stay those of the centre.
    known : SurfaceResult, optional
        A surface of this plane, scope and policy, measured with such an evaluator on the same samples: its cells that have the
        coordinates of cells of this one, and were measured on as many samples, are taken over and not measured again. So
        a finer grid costs its new cells only: a resolution of 17 after one of 9. A wider one too, where its points hold the
        old ones: twice the span at twice the points minus one, or coordinates x and y of one's own.
        ``provenance["reused"]`` says how many cells were taken over.
    samples : int, optional
        Measure on the first batches that hold at least so many of the evaluator's samples. Default: all.
    batchnorm : str, optional
        Another BatchNorm policy than the evaluator's, for this surface.

    Returns
    -------
    SurfaceResult
        The row of an array is y, its column x.

    Raises
    ------
    ValueError
        Coordinates that are no ascending vector, a plane of another model or one that would move a buffer, a scope in which
        it moves nothing, the BatchNorm policy "interpolate" (a direction has no running statistics), a known surface of
        other weights, samples or policy, more samples than there are.

    Notes
    -----
    Random, filter-normalised slices and trajectories on them: Li et al. (2018).

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> surface = nv.measure_surface(demo.evaluator, nv.random_plane(demo.model), resolution=5)
    >>> surface
    SurfaceResult(random plane: 5 x 5 points, x -1 to 1, y -1 to 1, loss 0... to ...; n = 450, test)
    >>> bool(surface.loss[2, 2] == surface.center_loss)
    True
    """
    return answer(
        iter_surface(
            evaluator,
            plane,
            x=x,
            y=y,
            resolution=resolution,
            span=span,
            scope=scope,
            known=known,
            samples=samples,
            batchnorm=batchnorm,
        )
    )


def iter_surface(
    evaluator: Evaluator,
    plane: Plane,
    *,
    x: Any = None,
    y: Any = None,
    resolution: int | tuple[int, int] = 33,
    span: float | tuple[float, float] | None = None,
    scope: Any = None,
    known: SurfaceResult | None = None,
    samples: int | None = None,
    batchnorm: str | None = None,
) -> Iterator[SurfaceResult]:
    """Yield partial results of `measure_surface`; the last one is the answer.

    On the first batch of samples coarse grids come first (9 x 9 cells of 33 x 33 before the next 17 x 17); cells that have
    not been reached are NaN, with n = 0. Cells of a `known` surface are there from the first result on. Closing the generator
    stops the work; what was yielded stays valid over its n.
    """
    # not itself a generator function: bad input is refused when it is called, not at the first step
    family, policy = on_plane(evaluator, plane, batchnorm, scope)
    grid = grids(plane.extent, x, y, resolution, span)
    there = known_cells(evaluator, family, policy, plane, grid, samples, known)
    return _results(evaluator, plane, family, grid, policy, there, samples)


def _results(
    evaluator: Evaluator,
    plane: Plane,
    family: WeightFamily,
    grid: tuple[np.ndarray, np.ndarray],
    policy: str,
    there: Known,
    samples: int | None,
) -> Iterator[SurfaceResult]:
    x, y = grid
    about: dict[str, Any] = {"x": x, "y": y, "plane": plane.numbers()}
    reused = {"reused": int(there.taken.sum())}
    if there.taken.all() and there.center_loss is not None:
        yield SurfaceResult(**about, **there.arrays, center_loss=there.center_loss, provenance={**there.provenance, **reused})
        return
    rows, order = _rows(x, y, there.taken)
    missing = slice(int((~there.taken).sum()))
    if reused["reused"]:  # what is known was measured on all samples
        reused |= {name: there.provenance[name] for name in ("n", "data")}
    provenance: dict[str, Any] | None = None
    for sweep in evaluator.sweep(family, rows, reference=order[0], policy=policy, order=order, samples=samples):
        provenance = evaluator.updated(provenance, sweep) if provenance else evaluator.provenance(family, sweep, policy=policy)
        loss = sweep.tallies["loss"]
        measured = arrays(sweep, missing) | {"n": _samples(loss, sweep, provenance["batch_size"])[missing]}
        yield SurfaceResult(
            **about,
            **there.with_measured(measured),
            center_loss=float(loss.mean[order[0]]) if there.center_loss is None else there.center_loss,
            fraction=sweep.fraction,
            provenance={**provenance, **reused},
        )


def _rows(x: np.ndarray, y: np.ndarray, taken: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Return the rows of the cells that are not taken, and in which order they are measured: first the centre.

    Where that is no cell, or is taken already, it is one row more, after those of the cells.
    """
    cells = np.flatnonzero(~taken)
    rows = np.stack([np.ones(taken.shape), *np.meshgrid(x, y)], axis=-1).reshape(-1, 3)[cells]
    nearest = int(np.argmin(np.abs(y))), int(np.argmin(np.abs(x)))
    number = {int(cell): row for row, cell in enumerate(cells)}
    order = [number[cell] for cell in nested_grids(len(y), len(x), nearest) if cell in number]
    if not order or rows[order[0], 1:].any():
        rows = np.vstack([rows, [1.0, 0.0, 0.0]])
        order = [len(cells), *order]
    return rows, order


def _samples(tally: Tally, sweep: Sweep, batch_size: int) -> np.ndarray:
    """Return how many samples are behind each row: all that are covered, or those of the batches that it has seen."""
    seen = tally.batches.astype(int)
    return np.where(seen == sweep.batches, sweep.n, seen * batch_size)
