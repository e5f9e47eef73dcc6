"""Which plane and which surface on it are wanted, and what of it matters: the keys of a surface explorer's cache.

May import: core.plane, numpy.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from ..core.plane import Plane

LINE = np.linspace(0.0, 1.0, 101)
KINDS = ("three-point", "pca", "random", "hessian", "runs")


@dataclass(frozen=True)
class PlaneChoice:
    """Which plane is wanted: one of `KINDS`, or the name of a plane of the user's."""

    kind: str
    run: str
    mid: int = 0
    normalize: str | None = "filter"
    seed: int = 0
    ignore_1d: bool = True
    split: str = ""

    @property
    def key(self) -> Hashable:
        """What of it matters for its kind: the seed of a random plane does not change a principal one."""
        matters: dict[str, tuple] = {
            "three-point": (self.mid,),
            "random": (self.normalize, self.seed, self.ignore_1d),
            "hessian": (self.seed, self.split),
        }
        return self.kind, self.run, *matters.get(self.kind, ())


@dataclass(frozen=True)
class GridChoice:
    """Where a surface is measured, and how."""

    split: str
    resolution: int = 33
    span: float | None = None
    widen: float = 1.0
    samples: int | None = None
    batchnorm: str | None = None

    @property
    def key(self) -> Hashable:
        """What determines the cells and their values."""
        return self.resolution, self.span, self.widen, *self.measured

    @property
    def measured(self) -> tuple[Hashable, ...]:
        """What has to agree for two surfaces of one plane to share cells."""
        return self.split, self.samples, self.batchnorm


def paths_on(plane: Plane, alphas: Sequence[float] | np.ndarray = LINE) -> dict[str, np.ndarray]:
    """Return points of the linear and the quadratic path in a three-point plane, shape (K, 2); of other planes none.

    The three-point plane holds both without projection error, outside of [0, 1] as well.
    """
    points = plane.about.get("points")
    if plane.kind != "three points" or points is None:
        return {}
    corners = np.array([points[name] for name in "abc"])
    a = np.asarray(alphas, dtype=float)[:, None]
    basis = np.hstack([2 * (a - 0.5) * (a - 1), 4 * a * (1 - a), 2 * a * (a - 0.5)])
    return {"linear": (1 - a) * corners[0] + a * corners[2], "quadratic": basis @ corners}
