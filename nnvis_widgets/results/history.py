"""How much a trained model needs each of its layers to be later than a checkpoint.

May import: results.base, results.layer_labels, numpy. pandas and matplotlib are imported by the methods that need them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .base import NAN, caption, new_axes
from .layer_labels import ONE_RUN, Labelled, labels_of

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes


@dataclass(frozen=True, repr=False, eq=False)
class LayerHistory(Labelled):
    """The criticality of each layer when it is put back to each checkpoint: since when the model could do with what it had.

    Attributes
    ----------
    layers : list of str
    epochs : ndarray, shape (T,)
    criticality, low, high : ndarray, shape (T, L)
        As in `LayerStudy`; the intervals hold simultaneously for all layers and checkpoints. Exactly 0 at the last checkpoint.
    accuracy_drop, accuracy_drop_high, loss_rise : ndarray, shape (T, L)
    parameter_count : ndarray of int, shape (L,)
    moved : ndarray of bool, shape (T, L)
        Whether the layer differs from its final weights at a checkpoint.
    unit, part, metric, reference, chance, learned, margin, critical_above, n, fraction, provenance
        As in `LayerStudy`. Checkpoints that are not measured yet are NaN.
    checkpoints : list of int
        Their indices in the run.
    """

    epochs: np.ndarray
    criticality: np.ndarray
    low: np.ndarray
    high: np.ndarray
    accuracy_drop: np.ndarray
    accuracy_drop_high: np.ndarray
    loss_rise: np.ndarray
    parameter_count: np.ndarray
    moved: np.ndarray
    checkpoints: list[int] = field(default_factory=list)

    def __repr__(self) -> str:
        known = self.criticality[np.isfinite(self.criticality)]
        span = f"criticality {known.min():.2f} to {known.max():.2f}" if known.size else "criticality undefined"
        return (
            f"LayerHistory({len(self.layers)} {self.unit}s x {len(self.epochs)} checkpoints, {span}; "
            f"{self._told(', too few to show a layer to be harmless' if self.too_few else '')})"
        )

    @property
    def label(self) -> np.ndarray:
        """The class of each layer at each checkpoint, words of shape (T, L)."""
        return labels_of(
            self.metric, self.low, self.high, self.accuracy_drop_high, self.moved,
            margin=self.margin, critical_above=self.critical_above,
        )  # fmt: skip

    @property
    def replaceable_since(self) -> np.ndarray:
        """The first epoch from which on putting a layer back does no harm, shape (L,); of the last at the latest."""
        harmless = np.isin(self.label, ("ambient", "not moved"))
        since = np.logical_and.accumulate(harmless[::-1], axis=0)[::-1]
        return np.where(since.any(0), self.epochs[since.argmax(0)], NAN)

    @property
    def shown_since(self) -> np.ndarray:
        """Of `replaceable_since` what the samples show, shape (L,): NaN where only the trained weights themselves do no harm."""
        since, trivial = self.replaceable_since, ~self.moved[-1] & np.isfinite(self.criticality[-1])
        return np.where(trivial & (since == self.epochs[-1]), NAN, since)

    @property
    def unshown(self) -> str:
        """Why no layer at all has a checkpoint from which on it is shown to do no harm; empty where one has."""
        if self.fraction < 1.0 or np.isfinite(self.shown_since).any() or not np.isfinite(self.criticality).any():
            return ""
        if self.too_few:
            return f"n = {self.n} is too small to show harmlessness to within {self.margin:.2%}"
        return "of no layer is harmlessness shown before the end"

    @property
    def notes(self) -> list[str]:
        """What a reader of the map must know: why nothing is defined, or nothing harmless before the last checkpoint."""
        return [
            *self._common_notes(),
            *([f"{self.too_few}; so only a layer that no longer moves counts as replaceable"] if self.too_few else []),
            ONE_RUN,
        ]

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row for each layer at each checkpoint."""
        import pandas

        count, layers = self.criticality.shape
        columns = {"epoch": np.repeat(self.epochs, layers), "layer": self.layers * count, "label": self.label.ravel()}
        for name in ("criticality", "low", "high", "accuracy_drop", "loss_rise", "moved"):
            columns[name] = getattr(self, name).ravel()
        return pandas.DataFrame(columns | {"n": self.n})

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw a map, one row for each layer and one column for each checkpoint; a white tick is where harm is shown to end."""
        axes = new_axes(ax)
        shown = np.ma.masked_invalid(self.criticality.T)
        finite = shown.compressed()
        top = max(1.0, float(np.percentile(finite, 98))) if finite.size else 1.0
        axes.set_facecolor("0.85")
        drawn = axes.pcolormesh(shown, cmap="cividis", vmin=0, vmax=top, edgecolors="face")
        if axes.figure is not None:
            axes.figure.colorbar(drawn, ax=axes, label="criticality (0: no harm, 1: chance)", extend="max")
        since = self.shown_since
        for row in np.flatnonzero(np.isfinite(since)):
            column = int(np.flatnonzero(self.epochs == since[row])[0])
            axes.plot([column, column], [row + 0.1, row + 0.9], color="white", linewidth=2)
        step = max(1, len(self.epochs) // 12)
        axes.set_xticks(np.arange(len(self.epochs))[::step] + 0.5, [f"{epoch:g}" for epoch in self.epochs[::step]])
        axes.set_yticks(np.arange(len(self.layers)) + 0.5, self.layers)
        axes.invert_yaxis()
        axes.set_xlabel("put back to epoch")
        ticks = (
            "white tick: no harm from there on" if np.isfinite(since).any() else self.unshown and f"no white ticks: {self.unshown}"
        )
        said = [caption(self.provenance, self.n), *filter(None, [ticks])]
        axes.set_title("\n".join(said), fontsize="small")
        return axes
