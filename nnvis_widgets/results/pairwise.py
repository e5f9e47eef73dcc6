"""What every two layers do together, beside what each does alone.

May import: results.base, results.of_layers, numpy. pandas and matplotlib are imported by the methods that need them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from .base import caption, new_axes
from .of_layers import Replaced

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes


@dataclass(frozen=True, repr=False, eq=False)
class PairwiseReset(Replaced):
    """Every two of L layers put back, or drawn anew, at once.

    Attributes
    ----------
    layers : list of str
    kind, at, epoch, metric, reference, chance, learned
        As in `LayerStudy`.
    criticality, low, high : ndarray, shape (L, L)
        Of both layers; on the diagonal, of one alone. The intervals hold for all of them and all interactions at once.
    interaction, interaction_low, interaction_high : ndarray, shape (L, L)
        The criticality of both minus those of each; NaN on the diagonal.
    draws : int
    n : int
    fraction : float
    provenance : dict
    """

    criticality: np.ndarray
    low: np.ndarray
    high: np.ndarray
    interaction: np.ndarray
    interaction_low: np.ndarray
    interaction_high: np.ndarray
    draws: int = 1

    def __repr__(self) -> str:
        strongest = ""
        if np.isfinite(self.interaction).any():
            a, b = self.strongest
            strongest = (
                f"strongest interaction {self.interaction[a, b]:+.2f} [{self.interaction_low[a, b]:.2f}, "
                f"{self.interaction_high[a, b]:.2f}] of {self.layers[a]} and {self.layers[b]}; "
            )
        return (
            f"PairwiseReset({len(self.layers)} layers, {len(self.pairs)} pairs: {strongest}{int(self.established.sum()) // 2} of "
            f"them established; {self._told()})"
        )

    @property
    def what(self) -> str:
        """What was done to the layers, in words."""
        return f"every two of {len(self.layers)} layers {self._done(self.draws)}"

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The numbers of the layers of each pair."""
        return list(combinations(range(len(self.layers)), 2))

    @property
    def strongest(self) -> tuple[int, int]:
        """The pair whose interaction is furthest from 0."""
        return max(self.pairs, key=lambda pair: abs(np.nan_to_num(self.interaction[pair])))

    @property
    def established(self) -> np.ndarray:
        """Which interactions are surely not 0, of all of them at once, shape (L, L)."""
        return (self.interaction_low > 0) | (self.interaction_high < 0)

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row for each pair: criticality of each and of both, and the interaction, with intervals."""
        import pandas

        names = ("criticality", "low", "high", "interaction", "interaction_low", "interaction_high", "established")
        rows = [
            {
                "first": self.layers[a], "second": self.layers[b], "first_alone": self.criticality[a, a],
                "second_alone": self.criticality[b, b], **{name: getattr(self, name)[a, b] for name in names},
            }
            for a, b in self.pairs
        ]  # fmt: skip
        return pandas.DataFrame(rows).assign(n=self.n)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the interactions below the diagonal, each layer alone on it, and both together above it; returns the axes."""
        axes = new_axes(ax)
        count, lower = len(self.layers), np.tril_indices(len(self.layers), -1)
        most = max(np.nanmax(np.abs(self.interaction), initial=0.0), 0.05)
        shown = np.full((count, count), np.nan)
        shown[lower] = self.interaction[lower]
        image = axes.imshow(shown, cmap="PuOr_r", vmin=-most, vmax=most)
        established = self.established
        for row in range(count):
            for column in range(count):
                value, below = (self.interaction if column < row else self.criticality)[row, column], column < row
                dark = below and abs(value) > 0.6 * most
                if below and np.isfinite(value) and not established[row, column]:
                    ends = [column - 0.5, column + 0.5], row - 0.5, row + 0.5
                    axes.fill_between(*ends, facecolor="none", edgecolor="0.75", hatch="///", linewidth=0)
                axes.text(
                    column, row, (f"{value:+.2f}" if below else f"{value:.2f}") if np.isfinite(value) else "", ha="center",
                    va="center", fontsize="small", color="white" if dark else "0.1" if below else "0.4",
                    fontweight="bold" if (below and established[row, column]) or row == column else "normal",
                )  # fmt: skip
        axes.set_xticks(range(count), self.layers, rotation=30, ha="right")
        axes.set_yticks(range(count), self.layers)
        bar = axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.04)
        bar.set_label("below the diagonal: both minus the sum of each")
        axes.set_title(
            "criticality of pairs (above), of one alone (diagonal)\nbold: surely not 0, hatched: may be 0\n"
            f"{caption(self.provenance, self.n)}",
            fontsize="small",
        )
        return axes
