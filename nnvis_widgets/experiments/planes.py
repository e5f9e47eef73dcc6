"""A plane as the family of an evaluator's model, with a BatchNorm policy: what surfaces, lines and single points start from.

May import: torch, core.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from ..core.evaluator import Evaluator
from ..core.family import WeightFamily
from ..core.plane import Plane, PlaneError
from ..core.scope import Scope
from ..core.states import Layout
from .shared import check_evaluator


def on_plane(evaluator: Evaluator, plane: Plane, batchnorm: str | None, scope: Any = None) -> tuple[WeightFamily, str]:
    """Return the weights at rows (1, x, y) of a plane and the BatchNorm policy there, or refuse what does not fit."""
    check_evaluator(evaluator)
    if not isinstance(plane, Plane):
        raise TypeError(f"plane: as nv.random_plane, nv.pca_plane or nv.three_point_plane give it, received {type(plane).__name__}")
    parsed = _movable(plane, evaluator.layout, Scope.parse(scope, evaluator.layout))
    policy = evaluator.policy(parsed, batchnorm)
    if policy == "interpolate":
        raise ValueError(
            "batchnorm: 'interpolate' mixes the running statistics of checkpoints, and the directions of a plane have none; "
            "take batchnorm='recalibrate', 'final' or 'batch'"
        )
    return plane.family(evaluator.layout, parsed), policy


def point_of(name: str, value: Any) -> tuple[float, float]:
    """Return the two coordinates of a point as numbers, or refuse them."""
    try:
        point = tuple(float(coordinate) for coordinate in value)
    except (TypeError, ValueError):
        point = ()
    if len(point) != 2 or not all(map(math.isfinite, point)):
        raise ValueError(f"{name}: two finite numbers, where in the plane; received {value!r}")
    return point[0], point[1]


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
