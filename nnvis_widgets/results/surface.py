"""Loss and metrics on a plane through weight space, and where a run lies in it.

May import: results.base, numpy. pandas and matplotlib are imported by the methods that need them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .base import NAN, Result, caption, new_axes

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

LOG_FROM = 20.0  # ratio of the largest to the smallest value from which a positive quantity is drawn in logarithms


@dataclass(frozen=True, repr=False, eq=False)
class Trajectory(Result):
    """Where the checkpoints of a run lie in a plane.

    Attributes
    ----------
    xy : ndarray, shape (T, 2)
        Nearest points of the plane.
    off_plane : ndarray, shape (T,)
        Share of a checkpoint's distance from the centre that is outside the plane: 0 lies in it, 1 is perpendicular to it.
    explained : ndarray, shape (2,), or None
        Shares of the variance of the run along the two directions, for the principal plane of this run.
    epochs : ndarray, shape (T,)
    """

    xy: np.ndarray
    off_plane: np.ndarray
    explained: np.ndarray | None
    epochs: np.ndarray

    def __repr__(self) -> str:
        share = "" if self.explained is None else f", {self.explained.sum():.1%} of the variance in the plane"
        return f"Trajectory({len(self.xy)} checkpoints, off the plane by up to {self.off_plane.max():.0%}{share})"

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row for each checkpoint: epoch, x, y, off_plane."""
        import pandas

        return pandas.DataFrame({"epoch": self.epochs, "x": self.xy[:, 0], "y": self.xy[:, 1], "off_plane": self.off_plane})

    def plot(self, ax: Axes | None = None, label: str | None = None) -> Axes:
        """Draw the checkpoints and the way between them; the more of one lies off the plane, the paler it is."""
        axes = new_axes(ax)
        axes.plot(self.xy[:, 0], self.xy[:, 1], color="black", linewidth=1, alpha=0.6, zorder=3, label=label)
        near = 1 - 0.8 * np.clip(np.nan_to_num(self.off_plane, nan=1.0), 0, 1)
        axes.scatter(self.xy[:, 0], self.xy[:, 1], color=[(0, 0, 0, a) for a in near], s=14, zorder=4)
        if ax is None:
            axes.set(xlabel="x", ylabel="y")
        return axes


@dataclass(frozen=True, repr=False, eq=False)
class SurfaceResult(Result):
    """Loss and metrics on a grid of a plane; the row of an array is y, its column x.

    Attributes
    ----------
    x, y : ndarray, shape (X,) and (Y,)
    loss, loss_se : ndarray, shape (Y, X)
        Mean over the samples behind each cell and its standard error; NaN where nothing was measured yet. What diverged stays
        infinite or NaN.
    diff_se : ndarray, shape (Y, X)
        Standard error of ``loss(x, y) - loss(0, 0)`` over the same samples.
    metrics, metrics_se, metrics_diff_se : dict of str to ndarray, shape (Y, X)
    n : ndarray of int, shape (Y, X)
        Samples behind each cell; in a partial result they may differ.
    plane : dict
        What the plane is, in numbers, and its digest.
    center_loss : float
        At (0, 0), whether that is a point of the grid or not.
    trajectory, off_plane, epochs : ndarray or None
        A run in this plane, see `with_trajectory`: shapes (T, 2), (T,), (T,).
    fraction : float
        Share of the work that is done; 1 in a complete result.
    provenance : dict
    """

    _shares_axes: ClassVar[bool] = False

    x: np.ndarray
    y: np.ndarray
    loss: np.ndarray
    loss_se: np.ndarray
    diff_se: np.ndarray
    metrics: dict[str, np.ndarray]
    n: np.ndarray
    plane: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)
    metrics_se: dict[str, np.ndarray] = field(default_factory=dict)
    metrics_diff_se: dict[str, np.ndarray] = field(default_factory=dict)
    center_loss: float = NAN
    trajectory: np.ndarray | None = None
    off_plane: np.ndarray | None = None
    epochs: np.ndarray | None = None
    fraction: float = 1.0

    def __repr__(self) -> str:
        finite = self.loss[np.isfinite(self.loss)]
        span = f"{finite.min():.4g} to {finite.max():.4g}" if finite.size else "not finite"
        odd = self._words()
        part = "" if self.fraction == 1.0 else f", {self.fraction:.0%} done"
        return (
            f"SurfaceResult({self.plane.get('kind', '')} plane: {len(self.y)} x {len(self.x)} points, x {self.x[0]:g} to "
            f"{self.x[-1]:g}, y {self.y[0]:g} to {self.y[-1]:g}, loss {span}{odd}; n = {self.n.max()}, "
            f"{self.provenance.get('split', '')}{part})"
        )

    def _words(self, values: np.ndarray | None = None) -> str:
        values = self.loss if values is None else values
        missing = int((self.n == 0).sum())
        diverged = int((~np.isfinite(values)).sum()) - missing
        odd = f", {diverged} cells not finite" if diverged else ""
        return odd + (f", {missing} not measured" if missing else "")

    def values(self, quantity: str = "loss") -> tuple[np.ndarray, np.ndarray]:
        """Return the values of the loss or of a metric, and the standard errors of their paired differences to the centre."""
        if quantity == "loss":
            return self.loss, self.diff_se
        if quantity not in self.metrics:
            raise KeyError(f"quantity: 'loss' or one of {sorted(self.metrics)}, received {quantity!r}")
        return self.metrics[quantity], self.metrics_diff_se.get(quantity, np.full(self.loss.shape, NAN))

    def with_trajectory(self, trajectory: Trajectory) -> SurfaceResult:
        """Return the same surface with a run on it, as ``plane.project(run)`` gives it."""
        if not isinstance(trajectory, Trajectory):
            raise TypeError(f"trajectory: as plane.project(run) returns it, received a {type(trajectory).__name__}")
        return replace(self, trajectory=trajectory.xy, off_plane=trajectory.off_plane, epochs=trajectory.epochs)

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row for each cell, x running fastest: y, x, loss, its errors, each metric and its errors, n."""
        import pandas

        y, x = np.meshgrid(self.y, self.x, indexing="ij")
        columns = {"y": y, "x": x, "loss": self.loss, "loss_se": self.loss_se, "loss_diff_se": self.diff_se}
        unknown = np.full(self.loss.shape, NAN)
        for name, values in self.metrics.items():
            errors, paired = self.metrics_se.get(name, unknown), self.metrics_diff_se.get(name, unknown)
            columns |= {name: values, f"{name}_se": errors, f"{name}_diff_se": paired}
        return pandas.DataFrame({name: values.reshape(-1) for name, values in (columns | {"n": self.n}).items()})

    def plot(self, ax: Axes | None = None, quantity: str = "loss", levels: int = 24, log: bool | None = None) -> Axes:
        """Draw filled contours with the centre, and the trajectory where there is one; returns the axes.

        Cells that are not finite or not measured are hatched in grey and counted in the title. Colours run from the 2nd to
        the 98th percentile of what is finite.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Default: a new figure's.
        quantity : str
            "loss" or the name of a metric.
        levels : int
        log : bool, optional
            Colours by the logarithm, for a quantity that is positive everywhere. Default: where it spans more than a
            factor of 20.
        """
        axes = new_axes(ax)
        values, _ = self.values(quantity)
        finite = values[np.isfinite(values)]
        positive = bool(finite.size) and finite.min() > 0
        if log and not positive:
            raise ValueError(f"log: only for a quantity that is positive everywhere; {quantity} is not, take log=False")
        log = log if log is not None else positive and finite.max() > LOG_FROM * finite.min()
        edges = self.x[0], self.y[0], self.x[-1] - self.x[0], self.y[-1] - self.y[0]
        from matplotlib.patches import Rectangle

        ground = Rectangle(edges[:2], *edges[2:], facecolor="0.85", edgecolor="0.6", hatch="///", linewidth=0, zorder=0)
        axes.add_patch(ground)
        if finite.size:
            shown = np.ma.masked_invalid(np.log10(np.where(np.isfinite(values), values, 1.0)) if log else values)
            shown = np.ma.masked_where(~np.isfinite(values), shown)
            low, high = np.percentile(shown.compressed(), [2, 98])
            if not high > low:
                low, high = low - 0.5 * (abs(low) or 1.0), low + 0.5 * (abs(low) or 1.0)
            # corner_mask: next to a cell that is not finite, the triangles that it is no corner of are drawn
            drawn = axes.contourf(
                self.x, self.y, shown, np.linspace(low, high, levels), cmap="viridis", extend="both", corner_mask=True, zorder=1
            )
            if axes.figure is not None:
                axes.figure.colorbar(drawn, ax=axes, label=f"log10 {quantity}" if log else quantity)
        if self.trajectory is not None and self.off_plane is not None and self.epochs is not None:
            Trajectory(self.trajectory, self.off_plane, None, self.epochs).plot(axes)
        axes.plot([0], [0], marker="*", markersize=12, color="#D55E00", markeredgecolor="white", linestyle="", zorder=5)
        axes.set(xlim=(self.x[0], self.x[-1]), ylim=(self.y[0], self.y[-1]), xlabel="x", ylabel="y")
        axes.set_title(caption(self.provenance, int(self.n.max())) + self._words(values), fontsize="small")
        return axes
