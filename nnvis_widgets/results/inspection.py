"""What a model answers at one point, sample by sample: losses, predictions, and how they differ from those at another point.

May import: results.base, numpy. pandas and matplotlib are imported by the methods that need them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .base import LINEAR, Result, caption, new_axes

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

WRITTEN = 12  # classes up to which the counts of a confusion matrix are written into it


@dataclass(frozen=True, repr=False, eq=False)
class Inspection(Result):
    """What a model answers at one point of weight space to each of n samples.

    Attributes
    ----------
    loss, loss_se : float
        Mean over the samples and its standard error. Where the loss weighs its samples (class weights, ignored labels) it is the
        weighted mean of `losses`.
    metrics, metrics_low, metrics_high : dict of str to float
        Means, and 95 % intervals: Wilson's for a metric that is 0 or 1 for each sample, mean +- 1.96 standard errors for others.
    n : int
    samples : ndarray of int, shape (n,)
        Indices into the user's data.
    losses : ndarray, shape (n,), or None
        Of each sample; None where the loss gives the mean of a batch only.
    predicted, target : ndarray of int, shape (n,), or None
        Classes; None where the outputs are no scores (n, C) of classes. A target of -1 is one that the loss ignores.
    probabilities : ndarray of float32, shape (n, C), or None
        Softmax of the outputs; outputs that are probabilities already are left as they are.
    classes : int or None
        C.
    point : (float, float) or None
        Where in a plane; None for a state that was given.
    distance : float or None
        Euclidean distance of the point from the plane's centre.
    provenance : dict
    """

    _shares_axes: ClassVar[bool] = False

    loss: float
    loss_se: float
    metrics: dict[str, float]
    metrics_low: dict[str, float]
    metrics_high: dict[str, float]
    n: int
    samples: np.ndarray
    losses: np.ndarray | None
    predicted: np.ndarray | None = None
    target: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    classes: int | None = None
    point: tuple[float, float] | None = None
    distance: float | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        where = "a state" if self.point is None else f"({self.point[0]:g}, {self.point[1]:g})"
        metrics = "".join(
            f", {name} {value:.4f} [{self.metrics_low[name]:.4f}, {self.metrics_high[name]:.4f}]"
            for name, value in self.metrics.items()
        )
        away = "" if self.distance is None else f", {self.distance:.4g} from the centre"
        return (
            f"Inspection({where}{away}: loss {self.loss:.4f} ± {self.loss_se:.4f}{metrics}; n = {self.n}, "
            f"{self.provenance.get('split', '')})"
        )

    @classmethod
    def _restored(cls, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> Result:
        back = super()._restored(arrays, about)
        assert isinstance(back, Inspection)
        return back if back.point is None else replace(back, point=(back.point[0], back.point[1]))  # JSON has lists only

    def confusion(self) -> np.ndarray:
        """Return how many samples of each class (row) were taken for each class (column), shape (C, C); without ignored ones.

        Raises
        ------
        ValueError
            The model tells no classes apart.
        """
        if self.predicted is None or self.target is None or self.classes is None:
            raise ValueError("confusion: the outputs of this model are no scores of classes, (n, C) with labels (n,)")
        counted = self.target >= 0
        counts = np.zeros((self.classes, self.classes), dtype=int)
        np.add.at(counts, (self.target[counted], self.predicted[counted]), 1)
        return counts

    def changed(self, reference: Inspection) -> np.ndarray:
        """Return which of the n samples are predicted differently than in another inspection, largest change of loss first.

        Places in the arrays of both, for ``evaluator.inputs``; none where there are no predictions.

        Raises
        ------
        ValueError
            The other one is of other samples.
        """
        order = self._by_change(reference)
        if self.predicted is None or reference.predicted is None:
            return order[:0]
        return order[(self.predicted != reference.predicted)[order]]

    def interesting(self, reference: Inspection, count: int = 12) -> np.ndarray:
        """Return which samples to look at first: those predicted differently than in another inspection, then the others.

        Within both, the largest change of loss comes first; of samples without a change, those that come first.
        """
        changed, order = self.changed(reference), self._by_change(reference)
        return np.concatenate([changed, order[~np.isin(order, changed)]])[:count]

    def _by_change(self, reference: Inspection) -> np.ndarray:
        if not isinstance(reference, Inspection):
            raise TypeError(f"reference: an Inspection, received {type(reference).__name__}")
        if not np.array_equal(self.samples, reference.samples):
            raise ValueError(
                f"reference: an inspection of the same samples (n = {self.n} here, {reference.n} there); inspect both with one "
                "evaluator and the same samples="
            )
        if self.losses is None or reference.losses is None:
            return np.arange(self.n)
        with np.errstate(invalid="ignore"):
            change = np.abs(self.losses - reference.losses)
        # what has diverged at one of the two points has changed most; at both, not at all
        both = (self.losses == reference.losses) | (np.isnan(self.losses) & np.isnan(reference.losses))
        change = np.where(both, 0.0, np.where(np.isnan(change), np.inf, change))
        return np.argsort(-change, kind="stable")

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row for each sample: its index in the data, its loss, and of a classification target, prediction, and the
        probabilities of both.
        """
        import pandas

        columns: dict[str, Any] = {"sample": self.samples}
        if self.losses is not None:
            columns["loss"] = self.losses
        if self.predicted is not None and self.target is not None and self.probabilities is not None:
            rows = np.arange(self.n)
            columns |= {"target": self.target, "predicted": self.predicted}
            columns["p_target"] = np.where(self.target >= 0, self.probabilities[rows, self.target], np.nan)
            columns["p_predicted"] = self.probabilities[rows, self.predicted]
        return pandas.DataFrame(columns)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the confusion matrix, each row as shares of its class; without classes, how the losses are distributed.

        Returns the axes. Up to twelve classes, the counts are written into the cells.
        """
        axes = new_axes(ax)
        if self.classes is None:
            finite = np.zeros(0) if self.losses is None else self.losses[np.isfinite(self.losses)]
            axes.hist(finite, bins=30, color=LINEAR)
            axes.set(xlabel="loss of a sample", ylabel="samples")
        else:
            counts = self.confusion()
            share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            axes.imshow(share, cmap="cividis", vmin=0, vmax=1)
            axes.set(xlabel="predicted", ylabel="target")
            if self.classes <= WRITTEN:
                axes.set(xticks=range(self.classes), yticks=range(self.classes))
                for (row, column), number in np.ndenumerate(counts):
                    colour = "black" if share[row, column] > 0.5 else "white"
                    axes.text(column, row, str(number), ha="center", va="center", color=colour, fontsize="small")
        axes.set_title(caption(self.provenance, self.n), fontsize="small")
        return axes
