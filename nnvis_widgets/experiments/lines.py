"""The straight profile between two points of a plane.

May import: core, results, numpy. Its points are rows (1, x, y) of the plane's own family, so they are those of a surface's cells.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..core.distances import distances
from ..core.evaluator import Evaluator
from ..core.family import WeightFamily
from ..core.plane import Plane
from ..core.tiles import coarse_to_fine
from ..results import PathResult
from .planes import on_plane, point_of
from .shared import SAMPLE_BYTES, answer, arrays, sample_losses


def measure_line(
    evaluator: Evaluator,
    plane: Plane,
    a: tuple[float, float],
    b: tuple[float, float],
    *,
    points: int = 41,
    batchnorm: str | None = None,
    samples: int | None = None,
) -> PathResult:
    """Return loss and metrics on the straight line between two points of a plane, with paired standard errors to its end.

    Parameters
    ----------
    evaluator : Evaluator
    plane : Plane
    a, b : (float, float)
        x and y at alpha 0 and at alpha 1.
    points : int
        Equally spaced, both ends included.
    batchnorm : str, optional
        Another BatchNorm policy than the evaluator's: that of the surface on which the points were chosen.
    samples : int, optional
        Measure on the first batches that hold at least so many samples. Default: all.

    Returns
    -------
    PathResult
        Of kind "linear"; ``provenance["line"]`` has both points and the plane's digest.

    Raises
    ------
    ValueError
        Points that are not finite, or the same; a plane, a policy or a number of samples that `measure_surface` refuses.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> plane = nv.pca_plane(demo.run, model=demo.model)
    >>> nv.measure_line(demo.evaluator, plane, (0, 0), (1, 0.5), points=5)
    PathResult(linear path of model: 5 points, alpha 0 to 1, loss ... to ..., lowest at alpha ...; n = 450, test)
    """
    return answer(iter_line(evaluator, plane, a, b, points=points, batchnorm=batchnorm, samples=samples))


def iter_line(
    evaluator: Evaluator,
    plane: Plane,
    a: tuple[float, float],
    b: tuple[float, float],
    *,
    points: int = 41,
    batchnorm: str | None = None,
    samples: int | None = None,
) -> Iterator[PathResult]:
    """Yield partial results of `measure_line`, after each batch of samples; the last one is the answer."""
    # not itself a generator function: bad input is refused when it is called, not at the first step
    family, policy = on_plane(evaluator, plane, batchnorm)
    ends = point_of("a", a), point_of("b", b)
    if ends[0] == ends[1]:
        raise ValueError(f"b: another point than a, received {ends[1]} twice; nv.inspect_point asks the model at one point")
    try:
        count = operator.index(points)
    except TypeError:
        count = 0
    if count < 2:
        raise ValueError(f"points: a whole number of at least 2, received {points!r}")
    evaluator.covered(samples)
    start, end = (family.scope.take(plane.state_at(*point)) for point in ends)
    moved = distances(start, end)
    about = {
        "kind": "linear",
        "scope": family.scope.name,
        "distance": moved["distance"],
        "relative_distance": moved["relative_distance"],
    }
    line = {"from": list(ends[0]), "to": list(ends[1]), "plane": plane.digest}
    return _results(evaluator, family, policy, np.linspace(0.0, 1.0, count), ends, samples, about, line)


def _results(
    evaluator: Evaluator,
    family: WeightFamily,
    policy: str,
    alphas: np.ndarray,
    ends: tuple[tuple[float, float], tuple[float, float]],
    samples: int | None,
    about: dict[str, Any],
    line: dict[str, Any],
) -> Iterator[PathResult]:
    a, b = np.array(ends)
    # where both ends have a coordinate in common, so have all points, bit for bit
    rows = np.column_stack([np.ones(len(alphas)), a + alphas[:, None] * (b - a)])
    rows[-1, 1:] = b
    last = len(rows) - 1
    order = coarse_to_fine(len(rows), last)
    known: dict[str, Any] | None = None
    whole = slice(None)
    for sweep in evaluator.sweep(family, rows, reference=last, policy=policy, order=order, keep=SAMPLE_BYTES, samples=samples):
        known = evaluator.updated(known, sweep) if known else evaluator.provenance(family, sweep, policy=policy)
        yield PathResult(
            alphas=alphas,
            **arrays(sweep, whole),
            sample_losses=sample_losses(sweep, whole),
            n=sweep.n,
            fraction=sweep.fraction,
            provenance={**known, "line": line},
            **about,
        )
