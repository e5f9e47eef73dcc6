"""How certain a number measured on n samples is, and how many a difference takes.

May import: results.base, numpy. pandas and matplotlib are imported by the methods that need them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .base import Result, new_axes

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

SPREAD, ERROR = "#0072B2", "#D55E00"
Z95 = 1.959963984540054
NONE_AT_ALL = (
    "The difference in the pilot may be none at all (its interval holds 0): the numbers are for one as large as was seen. Give "
    "delta=, the smallest difference that would matter to you."
)


@dataclass(frozen=True, repr=False, eq=False)
class TestSizeStudy(Result):
    """What a mean over n of N test samples is worth, for K sizes n.

    Attributes
    ----------
    sizes : ndarray of int, shape (K,)
    mean, sd : dict of str to float
        Of each quantity over all samples: mean, and S, the standard deviation of single samples.
    error : dict of str to ndarray, shape (K,)
        S / sqrt(n): how far the mean lies from that of the population which the samples are drawn from.
    spread : dict of str to ndarray, shape (K,)
        S / sqrt(n) sqrt(1 - n / N): how far the means of random subsets lie from the mean of these N samples. It is 0 at n = N,
        where all subsets are the same; the error is not.
    observed : dict of str to ndarray, shape (K,)
        Standard deviation of the means of `repeats` random subsets about the mean of all.
    means : dict of str to ndarray, shape (repeats, K)
        These means.
    population : int
        N.
    repeats : int
    n : int
        Samples measured so far.
    notes : list of str
    fraction : float
    provenance : dict
    """

    _shares_axes: ClassVar[bool] = False
    __test__: ClassVar[bool] = False  # it is no test, whatever pytest makes of the name

    sizes: np.ndarray
    mean: dict[str, float]
    sd: dict[str, float]
    error: dict[str, np.ndarray]
    spread: dict[str, np.ndarray]
    observed: dict[str, np.ndarray]
    means: dict[str, np.ndarray]
    population: int
    repeats: int
    n: int
    notes: list[str] = field(default_factory=list)
    fraction: float = 1.0
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def quantities(self) -> list[str]:
        """What was measured: "loss" and the metrics."""
        return sorted(self.mean, key=lambda name: (name != "loss", name))

    def needed(self, half_width: float, quantity: str = "loss") -> float:
        """Return how many samples a 95 % interval of mean +- half_width takes: (1.96 S / half_width)^2."""
        return float((Z95 * self.sd[quantity] / half_width) ** 2)

    def explain(self) -> list[str]:
        """Return in sentences what was found."""
        words = []
        for name in self.quantities:
            last = self.error[name][-1]
            words.append(
                f"{name}: {self.mean[name]:.4g} on all {self.population} samples, known to ± {Z95 * last:.2g} (95 %). A random "
                f"subset of {self.sizes[0]} lies within ± {Z95 * self.spread[name][0]:.2g} of that, and within "
                f"± {Z95 * self.error[name][0]:.2g} of the truth."
            )
        return [
            *words,
            "Repeats on subsets of one test set share samples: towards n = N they agree more and more, and at n = N entirely, "
            "however few samples there are. No spread is not no error.",
            *self.notes,
        ]

    def __repr__(self) -> str:
        worth = ", ".join(f"{name} {self.mean[name]:.4f} ± {self.error[name][-1]:.2g}" for name in self.quantities)
        return f"TestSizeStudy({len(self.sizes)} sizes up to {self.population}, {self.repeats} repeats; {worth}; n = {self.n})"

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row for each quantity and size."""
        import pandas

        tables = [
            pandas.DataFrame(
                {
                    "quantity": name, "n": self.sizes, "mean": self.mean[name], "error": self.error[name],
                    "spread": self.spread[name], "observed": self.observed[name],
                }
            )
            for name in self.quantities
        ]  # fmt: skip
        return pandas.concat(tables, ignore_index=True)

    def plot(self, ax: Axes | None = None, quantity: str = "loss") -> Axes:
        """Draw the means of random subsets as dots, their spread, and the error about the population's mean; returns the axes."""
        axes = new_axes(ax)
        mean, grid = self.mean[quantity], np.geomspace(self.sizes[0], self.population, 200)
        error = Z95 * self.sd[quantity] / np.sqrt(grid)
        spread = error * np.sqrt(1 - grid / self.population)
        axes.plot(np.tile(self.sizes, self.repeats), self.means[quantity].ravel(), ".", color="#666666", markersize=3, alpha=0.4)
        for width, colour, style, label in (
            (error, ERROR, "--", "error: ± 1.96 S / √n"),
            (spread, SPREAD, "-", "spread of subsets: × √(1 − n/N)"),
        ):
            axes.plot(grid, mean + width, style, color=colour, label=label)
            axes.plot(grid, mean - width, style, color=colour)
        axes.set(xscale="log", xlabel="test samples", ylabel=quantity)
        split = self.provenance.get("split", "data")
        axes.set_title(f"{split}, N = {self.population}, {self.repeats} random subsets of each size", fontsize="small")
        axes.legend(fontsize="small")
        return axes


@dataclass(frozen=True, repr=False, eq=False)
class SamplesNeeded(Result):
    """How many samples a difference between two models takes, as a pilot of n samples tells.

    Attributes
    ----------
    quantity : str
    difference, difference_se : float
        Second minus first in the pilot, and its paired standard error.
    delta : float
        The difference that is to be resolved.
    delta_is : str
        "given" or "observed": that of the pilot, itself uncertain.
    paired, unpaired : float
        Samples for an interval of +- delta: (z s / delta)^2, s the standard deviation of the single differences where both models
        are measured on the same samples, else sqrt(s_first^2 + s_second^2), for each model.
    paired_low, paired_high : float
        Interval of `paired`: the pilot knows s only so well.
    paired_power, unpaired_power : float
        Samples with which a true difference of delta is found with probability `power`: z + z_power in place of z. With `paired`
        of them it is found half of the time.
    sd_paired, sd_first, sd_second, correlation : float
        Standard deviations of the differences and of both models' values; the correlation of these.
    confidence, power : float
    available : float
        Samples there are; NaN where not known.
    n : int
        Samples of the pilot.
    notes : list of str
    fraction : float
    provenance : dict
    """

    _shares_axes: ClassVar[bool] = False

    quantity: str
    difference: float
    difference_se: float
    delta: float
    delta_is: str
    paired: float
    paired_low: float
    paired_high: float
    unpaired: float
    paired_power: float
    unpaired_power: float
    sd_paired: float
    sd_first: float
    sd_second: float
    correlation: float
    confidence: float
    power: float
    available: float
    n: int
    notes: list[str] = field(default_factory=list)
    fraction: float = 1.0
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def gain(self) -> float:
        """How many times fewer samples the paired comparison takes."""
        return self.unpaired / self.paired if self.paired > 0 else float("nan")

    def with_delta(self, delta: float) -> SamplesNeeded:
        """Return the same pilot for another difference; nothing is measured."""
        if not np.isfinite(delta) or delta <= 0:
            raise ValueError(f"delta: a finite number above 0, received {delta!r}")
        names = ("paired", "paired_low", "paired_high", "unpaired", "paired_power", "unpaired_power")
        numbers: dict[str, Any] = {name: float(getattr(self, name) * (self.delta / delta) ** 2) for name in names}
        notes = [note for note in self.notes if note not in (self._too_many, NONE_AT_ALL)]
        other = replace(self, delta=float(delta), delta_is="given", notes=notes, **numbers)
        return replace(other, notes=[*notes, other._too_many]) if numbers["paired"] > self.available else other

    @property
    def _too_many(self) -> str:
        return f"There are {self.available:.0f} samples: this difference cannot be resolved on them even when paired."

    def explain(self) -> list[str]:
        """Return in sentences what was found."""
        if not np.isfinite(self.paired):
            return list(self.notes)
        return [
            f"A difference of {self.delta:.3g} in {self.quantity} takes {_count(self.paired)} samples "
            f"[{_count(self.paired_low)}, {_count(self.paired_high)}] where both models are measured on the same ones, and "
            f"{_count(self.unpaired)} each where they are not.",
            f"To find it with probability {self.power:.0%}: {_count(self.paired_power)} and {_count(self.unpaired_power)}; with "
            "the smaller numbers it is found half of the time.",
            *self.notes,
        ]

    def __repr__(self) -> str:
        return (
            f"SamplesNeeded({self.quantity} difference {self.delta:.3g}: {_count(self.paired)} paired, {_count(self.unpaired)} "
            f"unpaired; with power {self.power:.0%} {_count(self.paired_power)} and {_count(self.unpaired_power)}; "
            f"pilot n = {self.n})"
        )

    def to_pandas(self) -> pandas.DataFrame:
        """Return two rows: paired and unpaired."""
        import pandas

        rows = [
            {"design": "paired", "sd": self.sd_paired, "n": self.paired, "n_low": self.paired_low, "n_high": self.paired_high,
             "n_power": self.paired_power},
            {"design": "unpaired", "sd": float(np.hypot(self.sd_first, self.sd_second)), "n": self.unpaired, "n_low": np.nan,
             "n_high": np.nan, "n_power": self.unpaired_power},
        ]  # fmt: skip
        return pandas.DataFrame(rows).assign(quantity=self.quantity, delta=self.delta, pilot=self.n)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the samples that differences of any size take, paired and unpaired; returns the axes."""
        axes = new_axes(ax)
        if np.isfinite(self.paired):
            deltas = self.delta * np.geomspace(0.1, 10, 100)
            for number, colour, style, name in ((self.paired, SPREAD, "-", "paired"), (self.unpaired, ERROR, "--", "unpaired")):
                axes.plot(deltas, number * (self.delta / deltas) ** 2, style, color=colour, label=name)
                axes.plot([self.delta], [number], "o", color=colour)
            if np.isfinite(self.available):
                axes.axhline(self.available, color="#666666", linestyle=":", label=f"there are {self.available:.0f}")
            axes.legend(fontsize="small")
        axes.set(xscale="log", yscale="log", xlabel=f"difference in {self.quantity}", ylabel="samples")
        split = self.provenance.get("split", "data")
        axes.set_title(f"{split}, pilot of n = {self.n}, {self.confidence:.0%}", fontsize="small")
        return axes


def _count(number: float) -> str:
    return "?" if not np.isfinite(number) else f"{int(np.ceil(number - 1e-9)):,}".replace(",", "\u202f")
