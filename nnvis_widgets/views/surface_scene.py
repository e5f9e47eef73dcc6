"""What a picture of a surface shows, in two or in three dimensions: values, colours, levels, trajectories, marked points.

May import: results, numpy, scipy. Nothing here draws: the flat and the solid view take the same scene, so that they agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.interpolate import griddata

from ..results import SurfaceResult
from ..results.surface import LOG_FROM

SCALES = ("auto", "linear", "log10", "clipped")
COLOURMAPS = ("cividis", "viridis")
_CLIP = (2.0, 98.0)  # percentiles that colours span: a few diverged cells must not take all of them


@dataclass(frozen=True)
class Track:
    """A run in the plane.

    Attributes
    ----------
    name : str
    xy : ndarray, shape (T, 2)
    off_plane : ndarray, shape (T,)
        Share of the distance from the centre that lies outside the plane.
    epochs : ndarray, shape (T,)
    values : ndarray, shape (T,), or None
        The quantity of the picture at the checkpoints themselves, not at their projections; None while it is not known.
    colour : str
    """

    name: str
    xy: np.ndarray
    off_plane: np.ndarray
    epochs: np.ndarray
    values: np.ndarray | None = None
    colour: str = "#FFFFFF"


@dataclass(frozen=True)
class SurfaceScene:
    """Everything that a view of a surface draws.

    Attributes
    ----------
    surface : SurfaceResult
        May be partial: cells that are not measured yet are NaN with n = 0.
    quantity : str
        "loss" or the name of a metric.
    scale : {"auto", "linear", "log10", "clipped"}
        "auto": logarithms of a positive quantity that spans more than a factor of 20. "clipped": colours, isolines and
        heights end at the 98th percentile.
    levels : int
        Number of isolines, at quantiles of what is shown; 0 for none.
    colours : {"cividis", "viridis"}
    tracks : sequence of Track
    paths : dict of str to ndarray, shape (K, 2)
        Lines that lie in the plane, such as "linear" and "quadratic".
    points : dict of str to (float, float)
        Marked places: "A", "B".
    along : dict of str to (float, float)
        How far one has gone along each path.
    epoch : float, optional
        The tracks are drawn up to here; None draws them whole.
    span : (float, float), optional
        What the colours span, on the scale of the picture; default: `limits` of its own.
    """

    surface: SurfaceResult
    quantity: str = "loss"
    scale: str = "auto"
    levels: int = 12
    colours: str = "cividis"
    tracks: tuple[Track, ...] = ()
    paths: Mapping[str, np.ndarray] = field(default_factory=dict)
    points: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    along: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    epoch: float | None = None
    span: tuple[float, float] | None = None

    @cached_property
    def raw(self) -> np.ndarray:
        """The quantity as it was measured, shape (Y, X)."""
        return self.surface.values(self.quantity)[0]

    @property
    def measured(self) -> np.ndarray:
        """Which cells have been reached, shape (Y, X), bool."""
        return self.surface.n > 0

    @property
    def diverged(self) -> int:
        """How many measured cells are not finite."""
        return int((self.measured & ~np.isfinite(self.raw)).sum())

    @cached_property
    def logarithmic(self) -> bool:
        """Whether values are drawn as their decimal logarithms."""
        finite = self.raw[np.isfinite(self.raw)]
        positive = bool(finite.size) and bool(finite.min() > 0)
        if self.scale == "auto":
            return positive and float(finite.max()) > LOG_FROM * float(finite.min())
        return self.scale == "log10" and positive

    def shown(self, values: np.ndarray) -> np.ndarray:
        """Return values of the quantity on the scale of the picture; what has no place on it is NaN."""
        values = np.asarray(values, dtype=float)
        values = np.where(np.isfinite(values), values, np.nan)
        if self.logarithmic:
            with np.errstate(invalid="ignore"):
                values = np.log10(np.where(values > 0, values, np.nan))
        return np.minimum(values, self.limits[1]) if self.scale == "clipped" else values

    @cached_property
    def limits(self) -> tuple[float, float]:
        """The values that the colours span: from the lowest to the 98th percentile, on the scale of the picture."""
        if self.span is not None:
            return self.span
        values = np.where(np.isfinite(self.raw), self.raw, np.nan)
        if self.logarithmic:
            values = np.log10(values)
        values = values[np.isfinite(values)]
        if not values.size:
            return 0.0, 1.0
        low, high = float(values.min()), float(np.percentile(values, _CLIP[1]))
        if self.quantity != "loss":  # of an accuracy the few best cells matter, and none diverges
            low, high = float(np.percentile(values, _CLIP[0])), float(values.max())
        if not high > low:
            half = 0.5 * (abs(low) or 1.0)
            return low - half, low + half
        return low, high

    @cached_property
    def values(self) -> np.ndarray:
        """What is drawn, shape (Y, X): the quantity on the scale of the picture; NaN where there is nothing to draw."""
        return self.shown(self.raw)

    @cached_property
    def isolines(self) -> np.ndarray:
        """Values at which isolines are drawn: quantiles of the picture, so that flat regions are not left empty."""
        finite = self.values[np.isfinite(self.values)]
        if not finite.size or not self.levels:
            return np.empty(0)
        places = np.quantile(finite, np.linspace(0, 1, self.levels + 2)[1:-1])
        return np.unique(places[(places > finite.min()) & (places < finite.max())])

    @property
    def label(self) -> str:
        """The name of what is drawn, with its scale."""
        name = f"log10 {self.quantity}" if self.logarithmic else self.quantity
        return f"{name}, clipped" if self.scale == "clipped" else name

    def filled(self) -> np.ndarray:
        """Return `values` with the cells that have not been reached interpolated from those that have; for heights and colours.

        Linear between the nearest measured cells, that of the nearest one at the edges; cells that diverged stay NaN.
        """
        return self._filled

    @cached_property
    def _filled(self) -> np.ndarray:
        return filled(self.values, self.measured, self.surface.x, self.surface.y)

    def height(self, xy: np.ndarray) -> np.ndarray:
        """Return the drawn surface at points of the plane, bilinear; NaN outside the grid. Shape (T,)."""
        return bilinear(self.filled(), self.surface.x, self.surface.y, np.atleast_2d(xy))


def filled(values: np.ndarray, measured: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return a grid whose unmeasured cells lie between their measured neighbours.

    Examples
    --------
    >>> grid = np.array([[0.0, np.nan, 4.0], [1.0, np.nan, 5.0]])
    >>> filled(grid, np.isfinite(grid), np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0]))
    array([[0., 2., 4.],
           [1., 3., 5.]])
    """
    known = measured & np.isfinite(values)
    if known.all() or not known.any():
        return values
    rows, columns = np.nonzero(known)
    wanted = np.argwhere(~measured)
    answer = np.where(known, values, np.nan)
    if not len(wanted):
        return answer
    there, places = np.stack([y[rows], x[columns]], axis=1), np.stack([y[wanted[:, 0]], x[wanted[:, 1]]], axis=1)
    scale = np.maximum([np.ptp(y), np.ptp(x)], 1e-300)
    between = np.full(len(wanted), np.nan)
    if len(np.unique(rows)) > 1 and len(np.unique(columns)) > 1:
        between = griddata(there / scale, values[known], places / scale, method="linear")
    outside = np.isnan(between)
    if outside.any():
        between[outside] = griddata(there / scale, values[known], places[outside] / scale, method="nearest")
    answer[~measured] = between
    return answer


def bilinear(grid: np.ndarray, x: np.ndarray, y: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Return a grid's values between its points, shape (T,); NaN outside and next to NaN.

    Examples
    --------
    >>> bilinear(np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([0.0, 1.0]), np.array([0.0, 2.0]), np.array([[0.5, 1.0]]))
    array([1.5])
    """
    inside = (xy[:, 0] >= x[0]) & (xy[:, 0] <= x[-1]) & (xy[:, 1] >= y[0]) & (xy[:, 1] <= y[-1])
    columns = np.clip(np.searchsorted(x, xy[:, 0], side="right") - 1, 0, len(x) - 2)
    rows = np.clip(np.searchsorted(y, xy[:, 1], side="right") - 1, 0, len(y) - 2)
    u = (xy[:, 0] - x[columns]) / (x[columns + 1] - x[columns])
    v = (xy[:, 1] - y[rows]) / (y[rows + 1] - y[rows])
    total = np.zeros(len(xy))
    for row, column, weight in ((0, 0, (1 - u) * (1 - v)), (0, 1, u * (1 - v)), (1, 0, (1 - u) * v), (1, 1, u * v)):
        corner = grid[rows + row, columns + column]
        total += np.where(weight == 0, 0.0, weight * corner)  # a corner of no weight may be NaN
    return np.where(inside, total, np.nan)
