"""How the loss depends on the number of training samples: what `preliminary_training_size` returns.

May import: results.base, results.on_splits, numpy. pandas and matplotlib are imported by the methods that need them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .base import Result, new_axes
from .on_splits import ARM_COLOURS, OnSplits

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

ARM_MARKS = ("o", "s", "^", "D")


@dataclass(frozen=True, repr=False, eq=False)
class TrainingSizeStudy(OnSplits, Result):
    """Loss and metrics at the end of trainings on K sizes of subsets: A arms, J nested subsets of each size, S seeds.

    Attributes
    ----------
    sizes : ndarray of int, shape (K,)
    arms : list of str
        "equal epochs": each training goes over its subset as often. "equal steps": each makes as many optimiser steps as the
        training on all samples does, so that sizes differ in data and not in compute.
    loss : dict of str to ndarray, shape (A, K, J, S)
        For each split; NaN for what is still to come, and for the further subsets of the largest size where that is all samples.
    metrics : dict of str to ndarray, shape (A, K, J, S)
        Named "split/metric".
    mean, low, high : ndarray, shape (A, K)
        Of the loss of the judged split: the mean over subsets and seeds, and its pointwise interval (Student's t over the means
        of the subsets; over seeds where there is one subset).
    subset_sd, seed_sd : ndarray, shape (A, K)
        Standard deviation over subsets (of their means over seeds), and over seeds within a subset.
    fits : dict of str to ndarray, shape (A, 3)
        "a", "b", "c" of the power law ``a + b n^-c``, and "doubling": how much the loss would fall with twice the largest size;
        value, low, high. NaN where the data do not say.
    unidentified : list of str
        For each arm why there is no power law; "" where there is one.
    steps : float
        Optimiser steps in the arm of equal steps; NaN without it.
    judged : str
    confidence : float
    n : int
        Samples of the split that is judged.
    notes : list of str
    fraction : float
    provenance : dict
    """

    _shares_axes: ClassVar[bool] = False

    sizes: np.ndarray
    arms: list[str]
    loss: dict[str, np.ndarray]
    metrics: dict[str, np.ndarray]
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    subset_sd: np.ndarray
    seed_sd: np.ndarray
    fits: dict[str, np.ndarray]
    unidentified: list[str]
    steps: float
    judged: str
    confidence: float
    n: int
    notes: list[str] = field(default_factory=list)
    fraction: float = 1.0
    provenance: dict[str, Any] = field(default_factory=dict)

    def curve(self, sizes: np.ndarray, arm: int = 0) -> np.ndarray:
        """Return the fitted power law of an arm at some sizes; NaN where it is not identified."""
        a, b, c = (self.fits[name][arm, 0] for name in "abc")
        return a + b * np.asarray(sizes, dtype=float) ** -c

    def explain(self) -> list[str]:
        """Return in sentences what was found, arm by arm, and what stands against reading more into it."""
        return [self._arm_in_words(arm) for arm in range(len(self.arms))] + list(self.notes)

    def _arm_in_words(self, arm: int) -> str:
        name = self.arms[arm]
        if self.unidentified[arm]:
            known = np.flatnonzero(np.isfinite(self.mean[arm]))
            seen = ""
            if len(known) > 1:
                one, other = known[-2:]
                fall = self.mean[arm, one] - self.mean[arm, other]
                seen = f" From {self.sizes[one]} to {self.sizes[other]} samples the {self.judged} loss falls by {fall:.2g}."
            return f"{name}: no power law, since {self.unidentified[arm]}.{seen}"
        (c, c_low, c_high), (a, a_low, a_high) = self.fits["c"][arm], self.fits["a"][arm]
        gain, low, high = self.fits["doubling"][arm]
        return (
            f"{name}: {self.judged} loss = a + b n^-c with c = {c:.2f} [{c_low:.2f}, {c_high:.2f}], a = {a:.3g} [{a_low:.3g}, "
            f"{a_high:.3g}]; twice as much data would lower it by {gain:.2g} [{low:.2g}, {high:.2g}], if the law goes on."
        )

    def __repr__(self) -> str:
        low, high = self.sizes.min(), self.sizes.max()
        repeats = "x".join(str(part) for part in next(iter(self.loss.values())).shape[2:])
        return (
            f"TrainingSizeStudy({len(self.arms)} arms x {len(self.sizes)} sizes {low} to {high} x {repeats} subsets and seeds; "
            f"{self.judged}, n = {self.n})"
        )

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row for each training that was made: arm, size, subset, seed, losses and metrics of each split."""
        import pandas

        arm, size, subset, seed = (index.ravel() for index in np.indices(self.values().shape))
        columns: dict[str, Any] = {
            "arm": [self.arms[a] for a in arm], "size": self.sizes[size], "subset": subset, "seed": seed,
        }  # fmt: skip
        return pandas.DataFrame(columns | self._columns()).dropna(how="all", subset=[f"{self.judged}/loss"]).reset_index(drop=True)

    def plot(self, ax: Axes | None = None, quantity: str = "loss") -> Axes:
        """Draw every training as a dot, the means with their intervals, and the power laws; returns the axes."""
        axes = new_axes(ax)
        grid = np.geomspace(self.sizes.min(), self.sizes.max(), 100)
        for arm, name in enumerate(self.arms):
            colour, mark = ARM_COLOURS[arm % len(ARM_COLOURS)], ARM_MARKS[arm % len(ARM_MARKS)]
            values = self.values(quantity)[arm]
            aside = 1.02 ** (arm - (len(self.arms) - 1) / 2)
            repeats = np.repeat(self.sizes * aside, values[0].size)
            axes.plot(repeats, values.reshape(-1), mark, color=colour, markersize=3, alpha=0.35)
            if quantity == "loss":
                error = np.stack([self.mean[arm] - self.low[arm], self.high[arm] - self.mean[arm]])
                axes.errorbar(
                    self.sizes * aside, self.mean[arm], yerr=np.nan_to_num(error), fmt=mark, color=colour, capsize=3, label=name
                )
                axes.plot(grid, self.curve(grid, arm), "--" if arm else "-", color=colour, linewidth=1)
            else:
                means = [np.nanmean(row) if np.isfinite(row).any() else np.nan for row in values]
                axes.plot(self.sizes * aside, means, mark, color=colour, linestyle="--" if arm else "-", label=name)
        axes.set_xscale("log")
        axes.set_xticks(self.sizes, [str(size) for size in self.sizes])
        axes.set_xticks([], minor=True)
        axes.set(xlabel="training samples", ylabel=f"{self.judged} {quantity}")
        axes.set_title(f"{self.judged}, n = {self.n}; dots: subsets and seeds; bars: {self.confidence:.0%}", fontsize="small")
        axes.legend(fontsize="small")
        return axes
