"""What several layers do together, and what several training runs agree on.

May import: results.base, results.layers, results.of_layers, numpy. pandas and matplotlib are imported by the methods that need
them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .base import LINEAR, NAN, Result, caption, new_axes
from .layers import COLOURS, MARKERS
from .of_layers import Replaced

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

SERIES = ("#0072B2", "#CC79A7", "#009E73", "#666666", "#56B4E9", "#000000")  # of runs, on top of the colours of labels


@dataclass(frozen=True, repr=False, eq=False)
class JointReset(Replaced):
    """Several layers put back, or drawn anew, at once, beside each of them alone.

    Attributes
    ----------
    layers : list of str
    kind, at, epoch, metric, reference, chance, learned
        As in `LayerStudy`.
    criticality, low, high : float
        Of all together; the intervals hold simultaneously for the joint reset, the single ones and the interaction.
    single, single_low, single_high : ndarray, shape (L,)
        Of each layer alone.
    sum_of_singles : float
    interaction, interaction_low, interaction_high : float
        The joint criticality minus that sum: above 0, the layers can stand in for each other and not for both.
    accuracy_drop, loss_rise : float
        Of all together.
    draws : int
    n : int
    fraction : float
    provenance : dict
    """

    criticality: float
    low: float
    high: float
    single: np.ndarray
    single_low: np.ndarray
    single_high: np.ndarray
    sum_of_singles: float
    interaction: float
    interaction_low: float
    interaction_high: float
    accuracy_drop: float
    loss_rise: float
    draws: int = 1

    def __repr__(self) -> str:
        return (
            f"JointReset({' + '.join(self.layers)}: criticality {self.criticality:.2f} [{self.low:.2f}, {self.high:.2f}], sum of "
            f"singles {self.sum_of_singles:.2f}, interaction {self.interaction:.2f} [{self.interaction_low:.2f}, "
            f"{self.interaction_high:.2f}]; {self._told()})"
        )

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row for each layer alone, for the joint reset, and for the interaction."""
        import pandas

        rows = [*zip(self.layers, self.single, self.single_low, self.single_high, strict=True)]
        rows.append((" + ".join(self.layers), self.criticality, self.low, self.high))
        rows.append(("interaction", self.interaction, self.interaction_low, self.interaction_high))
        return pandas.DataFrame(rows, columns=["what", "criticality", "low", "high"]).assign(n=self.n)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw each layer and all together as bars, with a diamond at the sum of the single ones; returns the axes."""
        axes = new_axes(ax)
        names = [*self.layers, "together"]
        values = np.append(self.single, self.criticality)
        errors = np.abs(np.array([np.append(self.single_low, self.low), np.append(self.single_high, self.high)]) - values)
        colours = ["0.75"] * len(self.layers) + [LINEAR]
        axes.barh(names, values, xerr=errors, color=colours, ecolor="0.2", capsize=3, height=0.6)
        axes.plot([self.sum_of_singles], ["together"], "D", color="white", markeredgecolor="black", label="sum of the single ones")
        axes.invert_yaxis()
        axes.axvline(0, color="0.5", linewidth=0.8)
        axes.set_xlabel("criticality (0: no harm, 1: chance)")
        axes.legend(fontsize="small")
        axes.set_title(caption(self.provenance, self.n), fontsize="small")
        return axes


@dataclass(frozen=True, repr=False, eq=False)
class LayerAgreement(Result):
    """What the layer studies of several training runs agree on.

    Attributes
    ----------
    layers : list of str
    runs : list of str
        What each study is called.
    kendall : ndarray, shape (S, S)
        Kendall's tau-b between the orders of two runs: 1 is the same order, 0 none in common.
    labels : list of list of str, (S, L)
    criticality : ndarray, shape (S, L)
    n : list of int
        Samples of each study.
    """

    _shares_axes: ClassVar[bool] = False

    layers: list[str]
    runs: list[str]
    kendall: np.ndarray
    labels: list[list[str]]
    criticality: np.ndarray
    n: list[int] = field(default_factory=list)

    def __repr__(self) -> str:
        same = sum(self.unanimous)
        return (
            f"LayerAgreement({len(self.runs)} runs, {len(self.layers)} layers: Kendall tau {self.mean_tau:.2f} on average, "
            f"{self.min_tau:.2f} at least; {same} of {len(self.layers)} layers have one label in all runs)"
        )

    @property
    def taus(self) -> np.ndarray:
        """Kendall's tau of every two runs."""
        return self.kendall[np.triu_indices(len(self.kendall), 1)]

    @property
    def mean_tau(self) -> float:
        """The mean of them."""
        return float(np.nanmean(self.taus)) if np.isfinite(self.taus).any() else NAN

    @property
    def min_tau(self) -> float:
        """The smallest of them."""
        return float(np.nanmin(self.taus)) if np.isfinite(self.taus).any() else NAN

    @property
    def unanimous(self) -> list[bool]:
        """Whether a layer has the same label in all runs."""
        return [len(set(words)) == 1 for words in zip(*self.labels, strict=True)]

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row for each layer of each run: run, layer, label, criticality."""
        import pandas

        rows = [
            (run, layer, word, value)
            for run, words, values in zip(self.runs, self.labels, self.criticality, strict=True)
            for layer, word, value in zip(self.layers, words, values, strict=True)
        ]
        return pandas.DataFrame(rows, columns=["run", "layer", "label", "criticality"])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the criticality of each layer: a thin line a run, and on it the run's label of each layer; returns the axes."""
        axes = new_axes(ax)
        rows, count = np.arange(len(self.layers)), len(self.runs)
        for number, (run, words, values) in enumerate(zip(self.runs, self.labels, self.criticality, strict=True)):
            at = rows + 0.36 * ((number + 0.5) / count - 0.5)  # apart, so that runs that agree are all seen
            colour, dashes = SERIES[number % len(SERIES)], ("-", "--", ":", "-.")[number % 4]
            axes.plot(values, at, dashes, color=colour, linewidth=1.2, zorder=1, label=run)
            for row, (word, value) in enumerate(zip(words, values, strict=True)):
                axes.plot([value], [at[row]], MARKERS[word], color=COLOURS[word], markeredgecolor="0.2", markersize=7, zorder=2)
        for row in rows[:-1]:
            axes.axhline(row + 0.5, color="0.9", linewidth=0.8, zorder=0)
        axes.axvline(0, color="0.5", linewidth=0.8)
        axes.set_yticks(rows, self.layers)
        axes.invert_yaxis()
        axes.set_xlabel("criticality (0: no harm, 1: chance)")
        runs = axes.legend(title="run", fontsize="small", title_fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1.0))
        axes.add_artist(runs)
        seen = dict.fromkeys(word for words in self.labels for word in words)
        marks = [axes.plot([], [], MARKERS[word], color=COLOURS[word], markeredgecolor="0.2", label=word)[0] for word in seen]
        axes.legend(
            handles=marks, title="label", fontsize="small", title_fontsize="small", loc="lower left", bbox_to_anchor=(1.01, 0.0)
        )
        axes.set_title(
            f"{count} runs; Kendall's tau of their orders: {self.mean_tau:.2f} on average, {self.min_tau:.2f} at least; "
            f"{sum(self.unanimous)} of {len(self.layers)} layers have one label",
            fontsize="small",
        )
        return axes
