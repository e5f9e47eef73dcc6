"""What single weights did while a network was trained: their recorded values.

May import: results.base, results.of_weights, numpy. pandas and matplotlib are imported by the methods that need them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .base import new_axes
from .of_weights import OfWeights

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes


@dataclass(frozen=True, repr=False, eq=False)
class WeightCourse(OfWeights):
    """The values of P single weights at the T recorded checkpoints of a run.

    Attributes
    ----------
    index : list of (str, tuple of int)
        Tensor and position of each weight.
    epochs : ndarray, shape (T,)
    values : ndarray, shape (P, T)
    """

    _shares_axes: ClassVar[bool] = False

    index: list[tuple[str, tuple[int, ...]]]
    epochs: np.ndarray
    values: np.ndarray

    def __repr__(self) -> str:
        turns = self.turns
        span = f", turned {turns.min()} to {turns.max()} times" if len(self) else ""
        return f"WeightCourse({len(self)} weights at {len(self.epochs)} checkpoints{span})"

    @property
    def turns(self) -> np.ndarray:
        """How often each weight turned back, from one recorded step to the next that moved, shape (P,)."""
        counts = []
        for steps in np.sign(np.diff(self.values, axis=1)):
            moved = steps[steps != 0]
            counts.append(int((moved[1:] != moved[:-1]).sum()))
        return np.array(counts, dtype=int)

    @property
    def tortuosity(self) -> np.ndarray:
        """The way that each weight went, over the distance between its ends: 1 never turned back, shape (P,)."""
        way = np.abs(np.diff(self.values, axis=1)).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return way / np.abs(self.values[:, -1] - self.values[:, 0])

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row for each weight and checkpoint: weight, epoch, value."""
        import pandas

        weights, times = self.values.shape
        return pandas.DataFrame({
            "weight": np.repeat(self.names, times), "epoch": np.tile(self.epochs, weights), "value": self.values.ravel(),
        })  # fmt: skip

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw each weight as the share of its way from start to end over the epochs; returns the axes."""
        axes = new_axes(ax)
        way = self.values[:, -1:] - self.values[:, :1]
        with np.errstate(divide="ignore", invalid="ignore"):
            axes.plot(self.epochs, ((self.values - self.values[:, :1]) / way).T, color="0.4", linewidth=0.8, alpha=0.5)
        axes.axhline(1.0, color="0.7", linewidth=0.8, linestyle=":")
        axes.set(xlabel="epoch", ylabel="share of its way gone")
        return axes
