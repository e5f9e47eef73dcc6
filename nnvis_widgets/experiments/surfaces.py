"""Loss and metrics on a plane through weight space.

May import: core, results, numpy. A plane is a family of three anchors, the centre and two directions; the rows are (1, x, y).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from ..core.evaluator import Evaluator, Sweep
from ..core.family import KNOT_TOLERANCE, WeightFamily
from ..core.plane import Plane, PlaneError
from ..core.scope import Scope
from ..core.states import Layout
from ..core.tally import Tally
from ..core.tiles import nested_grids
from ..results import SurfaceResult
from .shared import answer, check_evaluator


def measure_surface(
    evaluator: Evaluator,
    plane: Plane,
    *,
    x: Any = None,
    y: Any = None,
    resolution: int | tuple[int, int] = 33,
    span: float | tuple[float, float] | None = None,
    scope: Any = None,
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
        Points along x and y where these are not given.
    span : float or (float, float), optional
        Half the width of the grid, which then has the centre in its middle. Default: 1 for a normalised random plane; what
        covers the trajectory or the three points for the others. A grid made here always has a point at 0, the centre.
    scope : optional
        As in `measure_path`: only these weights move, the others stay those of the centre.

    Returns
    -------
    SurfaceResult
        The row of an array is y, its column x.

    Raises
    ------
    ValueError
        Coordinates that are no ascending vector, a plane of another model or one that would move a buffer, a scope in which
        it moves nothing, the BatchNorm policy "interpolate" (a direction has no running statistics).

    Notes
    -----
    Random, filter-normalised slices and trajectories on them: Li et al. (2018).
    """
    return answer(iter_surface(evaluator, plane, x=x, y=y, resolution=resolution, span=span, scope=scope))


def iter_surface(
    evaluator: Evaluator,
    plane: Plane,
    *,
    x: Any = None,
    y: Any = None,
    resolution: int | tuple[int, int] = 33,
    span: float | tuple[float, float] | None = None,
    scope: Any = None,
) -> Iterator[SurfaceResult]:
    """Yield partial results of `measure_surface`; the last one is the answer.

    On the first batch of samples coarse grids come first (9 x 9 cells of 33 x 33 before the next 17 x 17); cells that have
    not been reached are NaN, with n = 0. Closing the generator stops the work; what was yielded stays valid over its n.
    """
    # not itself a generator function: bad input is refused when it is called, not at the first step
    check_evaluator(evaluator)
    if not isinstance(plane, Plane):
        raise TypeError(f"plane: as nv.random_plane, nv.pca_plane or nv.three_point_plane give it, received {type(plane).__name__}")
    counts, spans = _pair("resolution", resolution), (None, None) if span is None else _pair("span", span)
    if span is not None and x is not None and y is not None:
        raise ValueError("span: x and y say already where the points are; leave it out")
    grid_x, grid_y = (
        _default(plane.extent[2 * i : 2 * i + 2], counts[i], spans[i]) if given is None else _checked("xy"[i], given)
        for i, given in enumerate((x, y))
    )
    parsed = _movable(plane, evaluator.layout, Scope.parse(scope, evaluator.layout))
    family = plane.family(evaluator.layout, parsed)
    policy = evaluator.policy(parsed)
    if policy == "interpolate":
        raise ValueError(
            "batchnorm: 'interpolate' mixes the running statistics of checkpoints, and the directions of a plane have none; "
            "take an Evaluator with batchnorm='recalibrate', 'final' or 'batch'"
        )
    return _results(evaluator, plane, family, grid_x, grid_y, policy)


def _results(
    evaluator: Evaluator, plane: Plane, family: WeightFamily, x: np.ndarray, y: np.ndarray, policy: str
) -> Iterator[SurfaceResult]:
    rows = np.stack([np.ones((len(y), len(x))), *np.meshgrid(x, y)], axis=-1).reshape(-1, 3)
    cells = len(rows)
    nearest = int(np.argmin(np.abs(y))), int(np.argmin(np.abs(x)))
    order = nested_grids(len(y), len(x), nearest)
    reference = order[0]
    if rows[reference, 1:].any():  # the centre is no point of the grid: one more row, which is not shown
        rows = np.vstack([rows, [1.0, 0.0, 0.0]])
        reference = cells
        order = [reference, *order]
    shape = len(y), len(x)
    about = plane.numbers()
    provenance: dict[str, Any] | None = None
    for sweep in evaluator.sweep(family, rows, reference=reference, policy=policy, order=order):
        provenance = evaluator.updated(provenance, sweep) if provenance else evaluator.provenance(family, sweep, policy=policy)
        loss = sweep.tallies["loss"]
        metrics = {name: tally for name, tally in sweep.tallies.items() if name != "loss"}
        yield SurfaceResult(
            x=x,
            y=y,
            loss=loss.mean[:cells].reshape(shape),
            loss_se=loss.se[:cells].reshape(shape),
            diff_se=loss.diff_se[:cells].reshape(shape),
            metrics={name: tally.mean[:cells].reshape(shape) for name, tally in metrics.items()},
            metrics_se={name: tally.se[:cells].reshape(shape) for name, tally in metrics.items()},
            metrics_diff_se={name: tally.diff_se[:cells].reshape(shape) for name, tally in metrics.items()},
            n=_samples(loss, sweep, provenance["batch_size"])[:cells].reshape(shape),
            plane=about,
            center_loss=float(loss.mean[reference]),
            fraction=sweep.fraction,
            provenance=provenance,
        )


def _samples(tally: Tally, sweep: Sweep, batch_size: int) -> np.ndarray:
    """Return how many samples are behind each row: all that are covered, or those of the batches that it has seen."""
    seen = tally.batches.astype(int)
    return np.where(seen == sweep.batches, sweep.n, seen * batch_size)


def _movable(plane: Plane, layout: Layout, scope: Scope) -> Scope:
    """Return the part of a scope that a plane moves in a model with this layout, or refuse the two."""
    layout.check(plane.center, "plane: its centre")
    first, second = plane.directions
    for name in plane.moved:
        own = layout.aliases.get(name, name)
        if own not in layout.shapes:
            raise PlaneError(
                f"plane: it moves {name!r}, which is a buffer of this model; make the plane with model=, so that it knows"
            )
        if own != name and not all(own in d and torch.equal(d[own], d[name]) for d in (first, second)):
            raise PlaneError(
                f"plane: {own!r} and {name!r} are one tied weight of the model and would part; make the plane with model="
            )
    moved = {name: index for name, index in scope.tensors.items() if name in plane.moved}
    if not moved:
        raise PlaneError(f"scope: the plane moves nothing in {scope.name!r}; it moves {', '.join(map(repr, plane.moved[:4]))}")
    return Scope(scope.name, scope.level, moved)


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


def _default(extent: tuple[float, ...], count: int, span: float | None) -> np.ndarray:
    """Return evenly spaced points that cover an interval around 0, one of them exactly 0."""
    low, high = (-span, span) if span is not None else extent
    before = min(max(round(-low / (high - low) * (count - 1)), 1), count - 2)
    step = max(-low / before, high / (count - 1 - before))
    return step * np.arange(-before, count - before)


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
