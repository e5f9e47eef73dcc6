"""What all results share: saving, loading, captions; one measurement; several results under one roof.

May import: store, numpy. pandas and matplotlib are imported by the methods that need them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import store

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

NAN = float("nan")
LINEAR = "#0072B2"


@dataclass(frozen=True, repr=False, eq=False)
class Result:
    """What all results share: saving, a repr that says what is inside, and arrays that cannot be written to.

    Two results are equal only where they are the same object; arrays have no single truth value.
    """

    _kinds: ClassVar[dict[str, type[Result]]] = {}
    _shares_axes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, np.ndarray):
                object.__setattr__(self, entry.name, _frozen(value))
            elif isinstance(value, dict) and any(isinstance(part, np.ndarray) for part in value.values()):
                frozen = {key: _frozen(part) if isinstance(part, np.ndarray) else part for key, part in value.items()}
                object.__setattr__(self, entry.name, frozen)

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


def _frozen(array: np.ndarray) -> np.ndarray:
    # a copy: the caller's own array stays as it was, and what is done to it later does not reach in
    if array.flags.writeable:
        array = array.copy()
        array.setflags(write=False)
    return array


def load(path: str | os.PathLike) -> Result:
    """Return a result that was written by its ``save`` method.

    Raises
    ------
    FileNotFoundError, nnvis_widgets.store.StoreError
        No such file; not a result of this package, cut short, or of a newer format.

    Examples
    --------
    >>> import tempfile
    >>> import nnvis_widgets as nv
    >>> demo, folder = nv.load_demo("digits", epochs=4), tempfile.TemporaryDirectory()
    >>> nv.measure_training(demo.evaluator, demo.run).save(f"{folder.name}/training.safetensors")
    >>> nv.load(f"{folder.name}/training.safetensors")
    PathResult(training path of model: 5 points, alpha 0 to 1, loss 0... to 2..., lowest at alpha ...; n = 450, test)
    >>> folder.cleanup()
    """
    arrays, about = store.read_arrays(path)
    return _known(about, path)._restored(arrays, about)


def _known(about: dict[str, Any], where: Any) -> type[Result]:
    kind = Result._kinds.get(str(about.get("class")))
    if kind is None:
        raise store.StoreError(f"{where} holds a {about.get('class')!r}, which this version does not know: upgrade nnvis_widgets")
    return kind


@dataclass(frozen=True, repr=False, eq=False)
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

    def plot(self, ax: Axes | None = None, label: str | None = None) -> Axes:
        """Draw the loss and the metrics as points with two standard errors; returns the axes."""
        axes = new_axes(ax)
        names = ["loss", *self.metrics]
        values = [self.loss, *self.metrics.values()]
        errors = [2 * self.loss_se, *(2 * self.metrics_se.get(name, NAN) for name in self.metrics)]
        axes.errorbar(names, values, yerr=errors, fmt="o", capsize=4, color=LINEAR if label is None else None, label=label)
        axes.set_title(caption(self.provenance, self.n), fontsize="small")
        return axes


@dataclass(frozen=True, repr=False, eq=False)
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
        """Draw all of them into one pair of axes; returns the axes.

        Raises
        ------
        TypeError
            They have no axes in common, such as a path and a measurement at one state.
        """
        kinds = sorted({type(result).__name__ for result in self.results.values()})
        if len(kinds) > 1 or not all(result._shares_axes for result in self.results.values()):
            first = next(iter(self.results))
            raise TypeError(
                "plot: only paths with paths, or measurements with measurements, share one pair of axes; this set holds "
                f"{', '.join(kinds)}. Draw them one by one: results.results[{first!r}].plot()"
            )
        axes = new_axes(ax)
        for name, result in self.results.items():
            result.plot(axes, label=name, **options)  # type: ignore[attr-defined]
        axes.legend(fontsize="small")
        return axes


def caption(provenance: dict[str, Any], n: int) -> str:
    """Return the line that stands under every picture: split, n, BatchNorm policy."""
    return f"{provenance.get('split', 'data')}, n = {n}, BatchNorm: {provenance.get('batchnorm', 'not recorded')}"


def new_axes(ax: Axes | None) -> Axes:
    """Return `ax`, or the axes of a new figure."""
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
