"""What experiments return: frozen objects with arrays, their coordinates, n, errors and provenance.

May import: store, numpy. pandas and matplotlib are imported by the methods that need them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from . import store

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

NAN = float("nan")
# Okabe and Ito's colours, told apart by colour-blind readers; the same hue means the same thing in every picture.
COLOURS = {"linear": "#0072B2", "quadratic": "#D55E00", "lagrange": "#CC79A7", "training": "#000000"}
LINES = {"linear": "-", "quadratic": "--", "lagrange": "-.", "training": "o"}


@dataclass(frozen=True, repr=False)
class Result:
    """What all results share: saving, and a repr that says what is inside."""

    _kinds: ClassVar[dict[str, type[Result]]] = {}

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        Result._kinds[cls.__name__] = cls

    def save(self, path: str | os.PathLike) -> None:
        """Write the result to one file (safetensors with a JSON header, no pickle); `nnvis_widgets.load` reads it."""
        store.write_arrays(path, *self._taken_apart())

    def _taken_apart(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays: dict[str, np.ndarray] = {}
        about: dict[str, Any] = {"class": type(self).__name__, "plain": {}}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, dict) and value and all(isinstance(v, (np.ndarray, float)) for v in value.values()):
                arrays.update({f"{entry.name}/{key}": np.asarray(v) for key, v in value.items()})
            elif isinstance(value, (np.ndarray, float)):
                arrays[entry.name] = np.asarray(value)
            else:
                about["plain"][entry.name] = value
        return arrays, about

    @classmethod
    def _restored(cls, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> Result:
        values: dict[str, Any] = dict(about["plain"])
        for name, array in arrays.items():
            value = float(array) if array.ndim == 0 else array
            if "/" in name:
                group, key = name.split("/", 1)
                values.setdefault(group, {})[key] = value
            else:
                values[name] = value
        return cls(**values)


def load(path: str | os.PathLike) -> Result:
    """Return a result that was written by its ``save`` method.

    Raises
    ------
    FileNotFoundError, nnvis_widgets.store.StoreError
        No such file; not a result of this package, cut short, or of a newer format.
    """
    arrays, about = store.read_arrays(path)
    return _known(about, path)._restored(arrays, about)


def _known(about: dict[str, Any], where: Any) -> type[Result]:
    kind = Result._kinds.get(str(about.get("class")))
    if kind is None:
        raise store.StoreError(f"{where} holds a {about.get('class')!r}, which this version does not know: upgrade nnvis_widgets")
    return kind


@dataclass(frozen=True, repr=False)
class Measurement(Result):
    """Loss and metrics at one state.

    Attributes
    ----------
    loss, loss_se : float
        Mean over `n` samples and its standard error s / sqrt(n).
    metrics, metrics_se : dict of str to float
    n : int
    provenance : dict
    """

    loss: float
    loss_se: float
    metrics: dict[str, float]
    n: int
    provenance: dict[str, Any] = field(default_factory=dict)
    metrics_se: dict[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        metrics = "".join(f", {k} {v:.4f}" for k, v in self.metrics.items())
        return f"Measurement(loss {self.loss:.4f} ± {self.loss_se:.4f}{metrics}; n = {self.n}, {self.provenance.get('split', '')})"

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row: loss, loss_se, each metric and its error, n."""
        import pandas

        errors = {f"{k}_se": v for k, v in self.metrics_se.items()}
        return pandas.DataFrame([{"loss": self.loss, "loss_se": self.loss_se, **self.metrics, **errors, "n": self.n}])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the loss and the metrics as points with two standard errors; returns the axes."""
        axes = _axes(ax)
        names = ["loss", *self.metrics]
        values = [self.loss, *self.metrics.values()]
        errors = [2 * self.loss_se, *(2 * self.metrics_se.get(name, NAN) for name in self.metrics)]
        axes.errorbar(names, values, yerr=errors, fmt="o", capsize=4, color=COLOURS["linear"])
        axes.set_title(caption(self.provenance, self.n), fontsize="small")
        return axes


@dataclass(frozen=True, repr=False)
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
        for left, right in zip(clear[:-1], clear[1:], strict=True):
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

    def plot(self, ax: Axes | None = None, quantity: str = "loss", label: str | None = None, band: bool = True, **style: Any) -> Axes:
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
        axes = _axes(ax)
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


@dataclass(frozen=True, repr=False)
class MovementTable(Result):
    """How far the weights of each scope have travelled; one row a scope.

    Attributes
    ----------
    scopes, levels : list of str
    parameter_count : ndarray
    distance : ndarray
        Euclidean |D|, D = end - start.
    relative_distance, rms : ndarray
        |D| / |start| and |D| / sqrt(number of weights).
    arc_length, tortuosity : ndarray
        Sum of the distances between the `checkpoints` recorded checkpoints, and the same over |D|.
    cosine : ndarray
        Of the angle between start and end.
    rho, eta : ndarray
        Of the mid checkpoint: <mid - start, D> / |D|^2, and its distance from the line over |D|; NaN without one.
    """

    scopes: list[str]
    levels: list[str]
    parameter_count: np.ndarray
    distance: np.ndarray
    relative_distance: np.ndarray
    rms: np.ndarray
    arc_length: np.ndarray
    tortuosity: np.ndarray
    cosine: np.ndarray
    rho: np.ndarray
    eta: np.ndarray
    checkpoints: int

    def __repr__(self) -> str:
        return f"MovementTable({len(self.scopes)} scopes over {self.checkpoints} checkpoints; model {self.distance[0]:.4g})"

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row for each scope."""
        import pandas

        return pandas.DataFrame({e.name: getattr(self, e.name) for e in fields(self) if e.name != "checkpoints"})

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the distance of each scope as a bar; returns the axes."""
        axes = _axes(ax)
        axes.barh(self.scopes[::-1], self.distance[::-1], color=COLOURS["linear"])
        axes.set_xlabel("distance travelled (Euclidean)")
        return axes


@dataclass(frozen=True, repr=False)
class ResultSet(Result):
    """Several results under one roof, such as the linear path, the quadratic path and the training curve of one picture.

    Attributes
    ----------
    results : dict of str to Result
    """

    results: dict[str, Result]

    def __repr__(self) -> str:
        return f"ResultSet({', '.join(f'{name}: {result!r}' for name, result in self.results.items())})"

    def save(self, path: str | os.PathLike) -> None:
        """Write all of them to one file."""
        arrays: dict[str, np.ndarray] = {}
        parts: dict[str, Any] = {}
        for name, result in self.results.items():
            own, parts[name] = result._taken_apart()
            arrays.update({f"{name}\t{key}": array for key, array in own.items()})
        store.write_arrays(path, arrays, {"class": "ResultSet", "plain": {}, "parts": parts})

    @classmethod
    def _restored(cls, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> ResultSet:
        results = {}
        for name, part in about["parts"].items():
            own = {key.split("\t", 1)[1]: array for key, array in arrays.items() if key.startswith(f"{name}\t")}
            results[name] = _known(part, name)._restored(own, part)
        return cls(results)

    def to_pandas(self) -> pandas.DataFrame:
        """Return the tables of all results, one under the other."""
        import pandas

        tables = {name: result.to_pandas() for name, result in self.results.items()}  # type: ignore[attr-defined]
        return pandas.concat(tables, names=["result"]).reset_index("result").reset_index(drop=True)

    def plot(self, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw all of them into one pair of axes; returns the axes."""
        axes = _axes(ax)
        for name, result in self.results.items():
            result.plot(axes, label=name, **options)  # type: ignore[attr-defined]
        axes.legend(fontsize="small")
        return axes


def caption(provenance: dict[str, Any], n: int) -> str:
    """Return the line that stands under every picture: split, n, BatchNorm policy."""
    return f"{provenance.get('split', 'data')}, n = {n}, BatchNorm: {provenance.get('batchnorm', 'not recorded')}"


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    from matplotlib.figure import Figure

    pyplot: Callable[[], Any] | None = None
    try:
        from matplotlib import pyplot as module

        pyplot = module.figure
    except ImportError:  # a matplotlib without a usable backend still draws into files
        pass
    figure = pyplot() if pyplot else Figure()
    return figure.add_subplot()
