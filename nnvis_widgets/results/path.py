"""Loss and metrics along a path, as arrays with their coordinates and errors.

May import: results.base, numpy. pandas and matplotlib are imported by the methods that need them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .base import LINEAR, NAN, Result, caption, new_axes

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

# Okabe and Ito's colours, told apart by colour-blind readers; the same hue means the same thing in every picture.
COLOURS = {"linear": LINEAR, "quadratic": "#D55E00", "lagrange": "#CC79A7", "training": "#000000"}
LINES = {"linear": "-", "quadratic": "--", "lagrange": "-.", "training": "o"}


@dataclass(frozen=True, repr=False, eq=False)
class PathResult(Result):
    """Loss and metrics along a path, or at the recorded checkpoints (kind "training").

    Attributes
    ----------
    alphas : ndarray, shape (K,)
        Where the points lie on the path; for "training", the share of the epochs that had passed.
    loss, loss_se : ndarray, shape (K,)
        Mean over `n` samples and its standard error. What diverged stays infinite or NaN.
    diff_se : ndarray, shape (K,)
        Standard error of ``loss(alpha) - loss(1)`` over the same samples; much smaller than that of two independent means.
    metrics, metrics_se, metrics_diff_se : dict of str to ndarray, shape (K,)
    n : int
        Samples measured; smaller than asked for in a partial result.
    kind : str
        "linear", "quadratic", "lagrange" or "training".
    scope : str
    distance, relative_distance : float
        Euclidean length of end - start within the scope, and the same over the length of start. 0 means: did not move.
    rho, eta : float
        Of the mid checkpoint (METHODS: timing and off-line excursion); NaN for a path without one.
    positions : ndarray
        Alphas of the path's checkpoints.
    epochs : ndarray or None
        Epoch of each point, for "training".
    fraction : float
        Share of the work that is done; 1 in a complete result.
    sample_losses : ndarray of float32, shape (K, n), or None
        The loss of each sample, in the evaluator's order: of a complete result, where all of them take at most 64 MiB.
    provenance : dict
    """

    alphas: np.ndarray
    loss: np.ndarray
    loss_se: np.ndarray
    diff_se: np.ndarray
    metrics: dict[str, np.ndarray]
    n: int
    kind: str
    scope: str
    distance: float
    provenance: dict[str, Any] = field(default_factory=dict)
    metrics_se: dict[str, np.ndarray] = field(default_factory=dict)
    metrics_diff_se: dict[str, np.ndarray] = field(default_factory=dict)
    relative_distance: float = NAN
    rho: float = NAN
    eta: float = NAN
    positions: np.ndarray = field(default_factory=lambda: np.array([0.0, 1.0]))
    epochs: np.ndarray | None = None
    fraction: float = 1.0
    sample_losses: np.ndarray | None = None

    def __repr__(self) -> str:
        finite = self.loss[np.isfinite(self.loss)]
        span = f"{finite.min():.4g} to {finite.max():.4g}" if finite.size else "not finite"
        best = f", lowest at alpha {self.alphas[int(np.nanargmin(self.loss))]:.3g}" if finite.size else ""
        part = "" if self.fraction == 1.0 else f", {self.fraction:.0%} done"
        return (
            f"PathResult({self.kind} path of {self.scope}: {len(self.alphas)} points, alpha {self.alphas.min():g} to "
            f"{self.alphas.max():g}, loss {span}{best}; n = {self.n}, {self.provenance.get('split', '')}{part})"
        )

    def values(self, quantity: str = "loss") -> tuple[np.ndarray, np.ndarray]:
        """Return the values of the loss or of a metric, and the standard errors of their paired differences to alpha = 1."""
        if quantity == "loss":
            return self.loss, self.diff_se
        if quantity not in self.metrics:
            raise KeyError(f"quantity: 'loss' or one of {sorted(self.metrics)}, received {quantity!r}")
        return self.metrics[quantity], self.metrics_diff_se.get(quantity, np.full(len(self.alphas), NAN))

    def at(self, alpha: float, quantity: str = "loss") -> float:
        """Return the value at `alpha`, interpolated linearly between measured points; NaN outside of them."""
        values, _ = self.values(quantity)
        order = np.argsort(self.alphas, kind="stable")
        order = order[np.isfinite(values[order])]
        if not len(order):
            return NAN
        return float(np.interp(alpha, self.alphas[order], values[order], left=NAN, right=NAN))

    def crossings(self, other: PathResult, quantity: str = "loss", tolerance: float = 0.0) -> np.ndarray:
        """Return the alphas at which this curve passes from one side of another to the other side.

        Parameters
        ----------
        other : PathResult
            Both curves are taken as straight between their points.
        quantity : str
        tolerance : float
            Only where the two part by more than this on both sides; closer wiggles are no crossing.
        """
        grid = np.unique(np.concatenate([self.alphas, other.alphas]))
        gap = np.array([self.at(a, quantity) - other.at(a, quantity) for a in grid])
        keep = np.isfinite(gap)
        grid, gap = grid[keep], gap[keep]
        clear = np.flatnonzero(np.abs(gap) > tolerance)
        found = []
        for left, right in itertools.pairwise(clear):
            if gap[left] * gap[right] > 0:
                continue
            # the first sign change between the two clear places
            step = left + int(np.argmax(gap[left] * gap[left + 1 : right + 1] <= 0))
            share = gap[step] / (gap[step] - gap[step + 1])
            found.append(grid[step] + share * (grid[step + 1] - grid[step]))
        return np.array(found)

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row for each point: alpha, (epoch,) loss, its errors, each metric and its errors, n."""
        import pandas

        columns: dict[str, Any] = {"alpha": self.alphas}
        if self.epochs is not None:
            columns["epoch"] = self.epochs
        columns |= {"loss": self.loss, "loss_se": self.loss_se, "loss_diff_se": self.diff_se}
        for name, values in self.metrics.items():
            columns |= {name: values, f"{name}_se": self.metrics_se.get(name), f"{name}_diff_se": self.metrics_diff_se.get(name)}
        return pandas.DataFrame({"kind": self.kind, "scope": self.scope, **columns, "n": self.n})

    def plot(
        self, ax: Axes | None = None, quantity: str = "loss", label: str | None = None, band: bool = True, **style: Any
    ) -> Axes:
        """Draw the curve with a band of two paired standard errors; returns the axes.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Default: a new figure's.
        quantity : str
            "loss" or the name of a metric.
        label : str, optional
            In the legend; default: the kind.
        band : bool
        **style
            Passed to ``Axes.plot``.
        """
        axes = new_axes(ax)
        values, error = self.values(quantity)
        order = np.argsort(self.alphas, kind="stable")
        x, y, e = self.alphas[order], values[order], error[order]
        colour = style.pop("color", COLOURS.get(self.kind, COLOURS["lagrange"]))  # None: the next of matplotlib's own
        axes.plot(x, y, LINES.get(self.kind, "-"), color=colour, label=label or self.kind, markersize=4, **style)
        if band and self.kind != "training":
            axes.fill_between(x, y - 2 * e, y + 2 * e, color=colour, alpha=0.2, linewidth=0)
        axes.set_xlabel("alpha")
        axes.set_ylabel(quantity)
        axes.set_title(f"{self.scope}: {caption(self.provenance, self.n)}", fontsize="small")
        return axes
