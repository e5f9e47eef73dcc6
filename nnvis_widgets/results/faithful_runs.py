"""What the faithfulness reports of several trainings agree on: means, spreads over runs, and which path is best in which space.

May import: results.base, results.faithfulness, results.faithful_table, numpy. pandas and matplotlib are imported by the methods
that need them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .base import NAN, Result, caption, new_axes
from .faithful_table import table_of
from .faithfulness import COLOURS, MARKERS, SHORT, SPACES, cell_of, index_of

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

ENOUGH = 5  # runs; from fewer, a spread over runs is hardly known
JUDGED = ("log_loss", "kl", "weights")  # the spaces that words and figures speak of
FITTED = ("progress", "free")  # clocks that place a checkpoint by where its own weights lie


@dataclass(frozen=True)
class Best:
    """The path that is closest to the training in one space, in the mean over runs.

    Attributes
    ----------
    path, clock : str
    mean, sd : float
    wins : int
        In how many of the runs it is the closest one.
    as_close : list of (str, str)
        Paths and clocks that are not clearly farther: the 95 % interval over runs of the paired difference reaches 0.
    """

    path: str
    clock: str
    mean: float
    sd: float
    wins: int
    as_close: list[tuple[str, str]]


@dataclass(frozen=True, repr=False, eq=False)
class FaithfulnessAgreement(Result):
    """How far P paths are from the training on C clocks, in each of S runs.

    Intervals are Student's over runs: they say what holds for another run of the same kind on the same samples. What holds beyond
    the samples is in the single reports.

    Attributes
    ----------
    paths, clocks, runs : list of str
    distances : dict of str to ndarray, shape (S, P, C)
        Mean distance to the held-out checkpoints of each run, in the spaces "weights", "log_loss", "loss", "kl", "disagreement";
        NaN where a clock has no place for a path's knot.
    frechet : ndarray, shape (S, P)
    rho, eta, rho_by_distance, eta_by_distance : ndarray, shape (S,)
        Of both mid checkpoints of each run: share of the straight way, and distance beside it.
    checkpoints : list of int
        How many were held out in each run.
    origins : list of str
    rises : ndarray, shape (S, O)
        Largest rise of the loss on the straight line from each origin to the trained weights.
    critical : float
        Student's 97.5 % quantile for S - 1 degrees of freedom.
    n : int
        Samples, the same in all runs.
    provenance : dict
        What all runs have in common; "reports" has each run's own.
    """

    _shares_axes: ClassVar[bool] = False

    paths: list[str]
    clocks: list[str]
    runs: list[str]
    distances: dict[str, np.ndarray]
    frechet: np.ndarray
    rho: np.ndarray
    eta: np.ndarray
    rho_by_distance: np.ndarray
    eta_by_distance: np.ndarray
    checkpoints: list[int]
    origins: list[str]
    rises: np.ndarray
    critical: float
    n: int
    provenance: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        best = "; ".join(f"{SHORT[space]}: {found.path}, {found.clock}" for space in JUDGED if (found := self.best(space)))
        return (
            f"FaithfulnessAgreement({len(self.runs)} runs, {len(self.paths)} paths x {len(self.clocks)} clocks; closest in {best}; "
            f"n = {self.n}, {self.provenance.get('split', '')})"
        )

    def mean(self, space: str = "log_loss") -> np.ndarray:
        """Return mean distances over the runs, shape (P, C)."""
        return self._of(space).mean(axis=0)

    def sd(self, space: str = "log_loss") -> np.ndarray:
        """Return the standard deviations of the distances over the runs, shape (P, C)."""
        return _sd(self._of(space))

    def skill(self, space: str = "log_loss") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the mean over runs of 1 - D / D0 and the ends of its 95 % interval, shape (P, C) each.

        D0 is the same run's distance of the linear path on the first clock: 0 is as far as this, 1 is on the training.
        """
        return self._interval(self.skills(space))

    def skills(self, space: str = "log_loss") -> np.ndarray:
        """Return 1 - D / D0 of each run, shape (S, P, C)."""
        values = self._of(space)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(values[:, :1, :1] > 0, 1 - values / values[:, :1, :1], NAN)

    def difference(self, one: tuple[str, str], other: tuple[str, str], space: str = "log_loss") -> tuple[float, float, float]:
        """Return by how much one path is farther from the training than another, with its 95 % interval; paired by run.

        Parameters
        ----------
        one, other : (path, clock)
        space : str
        """
        a, b = cell_of(self, *one), cell_of(self, *other)
        values = self._of(space)
        gap, low, high = self._interval(values[:, a[0], a[1]] - values[:, b[0], b[1]])
        return float(gap), float(low), float(high)

    def best(self, space: str = "log_loss", clocks: tuple[str, ...] | None = None) -> Best | None:
        """Return the path and the clock with the smallest mean distance; None where no distance is finite.

        Parameters
        ----------
        space : str
        clocks : sequence of str, optional
            Among which. Default: all but "progress" and "free", which find the place of a checkpoint by its own weights, and are
            closest in weight space by construction.
        """
        wanted = [clock for clock in self.clocks if clock not in FITTED] or self.clocks if clocks is None else clocks
        columns = [index_of("clock", clock, self.clocks) for clock in wanted]
        values = self._of(space)[:, :, columns]
        flat = values.reshape(len(self.runs), -1)
        mean = np.where(np.isfinite(flat).all(axis=0), flat.mean(axis=0), np.inf)
        if not np.isfinite(mean).any():
            return None
        first = int(np.argmin(mean))
        names = [(path, clock) for path in self.paths for clock in wanted]
        with np.errstate(invalid="ignore"):
            low = self._interval(flat - flat[:, first : first + 1])[1]
        close = [names[k] for k in range(len(names)) if k != first and np.isfinite(mean[k]) and low[k] <= 0]
        least = np.where(np.isfinite(flat), flat, np.inf).min(axis=1)
        wins = int((flat[:, first] == least).sum())
        return Best(*names[first], float(mean[first]), float(_sd(flat[:, first])), wins, close)

    @property
    def sentence(self) -> str:
        """What was found, in a few sentences: linear against quadratic, timing, and which path is closest in which space."""
        clock = "epochs" if "epochs" in self.clocks else self.clocks[0]
        linear, quadratic, speed = ("linear", clock), ("quadratic", clock), ("speed-only", clock)
        space = "log_loss" if np.isfinite(self.difference(linear, quadratic)[0]) else "loss"
        few = f" ({ENOUGH} or more are better)" if len(self.runs) < ENOUGH else ""
        gap, low, high = self.difference(linear, quadratic, space)
        start = f"Over {len(self.runs)} runs{few}, by {SHORT[space]} at held-out checkpoints (n = {self.n}),"
        if not np.isfinite(gap):
            return f"{start} there is no telling: a loss is not finite."
        against = f"({self._said(quadratic, space)} against {self._said(linear, space)})"
        word = "closer to" if low > 0 else "farther from" if high < 0 else "not clearly closer to"
        parts = [f"{start} the quadratic path is {word} the training than the straight line {against}."]
        if low > 0:
            _, bend_low, bend_high = self.difference(speed, quadratic, space)
            without = f"without its bend it would be {{}} ({self._said(speed, space)})."
            parts.append("Its shape is part of it: " + without.format("farther") if bend_low > 0 else
                         "Its shape is against it: " + without.format("closer") if bend_high < 0 else
                         "Its timing does it: " + without.format("about as close"))  # fmt: skip
        told = [self._closest(name) for name in (space, *JUDGED[1:])]
        return " ".join([*parts, f"Closest of all: {'; '.join(filter(None, told))}."])

    def _closest(self, space: str) -> str:
        found = self.best(space)
        if found is None:
            return ""
        close = [f"{path} ({clock})" for path, clock in found.as_close]
        others = f", {' and '.join(close) if len(close) < 3 else f'{len(close)} others'} not clearly farther" if close else ""
        where = f"in {SHORT[space]} {found.path} ({found.clock})"
        return f"{where}: {_pm(found.mean, found.sd)}, best in {found.wins} of {len(self.runs)} runs{others}"

    def _said(self, cell: tuple[str, str], space: str) -> str:
        at = cell_of(self, *cell)
        return _pm(float(self.mean(space)[at]), float(self.sd(space)[at]))

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row for each path and clock: mean, SD over runs, skill and its interval in every space, and how many runs."""
        import pandas

        p, c = (index.reshape(-1) for index in np.indices((len(self.paths), len(self.clocks))))
        columns: dict[str, Any] = {"path": [self.paths[i] for i in p], "clock": [self.clocks[i] for i in c]}
        for space in SPACES:
            columns[space], columns[f"{space}_sd"] = self.mean(space)[p, c], self.sd(space)[p, c]
            for name, values in zip(("", "_low", "_high"), self.skill(space), strict=True):
                columns[f"{space}_skill{name}"] = values[p, c]
        columns |= {"frechet": self.frechet.mean(axis=0)[p], "frechet_sd": _sd(self.frechet)[p]}
        return pandas.DataFrame({**columns, "n": self.n, "seeds": len(self.runs)})

    def runs_to_pandas(self) -> pandas.DataFrame:
        """Return one row for each run, path and clock: distances and skills in every space, rho and eta of the mid checkpoint."""
        import pandas

        r, p, c = (index.reshape(-1) for index in np.indices((len(self.runs), len(self.paths), len(self.clocks))))
        columns: dict[str, Any] = {
            "run": [self.runs[i] for i in r], "path": [self.paths[i] for i in p], "clock": [self.clocks[i] for i in c],
        }  # fmt: skip
        for space in SPACES:
            columns[space], columns[f"{space}_skill"] = self._of(space)[r, p, c], self.skills(space)[r, p, c]
        columns |= {"frechet": self.frechet[r, p], "rho": self.rho[r], "eta": self.eta[r]}
        return pandas.DataFrame({**columns, "checkpoints": np.array(self.checkpoints)[r], "n": self.n})

    def controls_to_pandas(self) -> pandas.DataFrame:
        """Return one row for each origin: mean and SD over runs of the largest rise, and in how many runs there is none."""
        import pandas

        columns = {"origin": self.origins, "rise": self.rises.mean(axis=0), "rise_sd": _sd(self.rises)}
        none = (self.rises == 0).sum(axis=0)
        return pandas.DataFrame({**columns, "monotone_runs": none, "seeds": len(self.runs), "n": self.n})

    def _repr_html_(self) -> str:
        return table_of(self, {space: SHORT[space] for space in JUDGED}, _pm)

    def plot(self, ax: Axes | None = None, space: str = "log_loss", clocks: list[str] | None = None) -> Axes:
        """Draw how far each path is from the training: a small dot for each run, the mean with the SD over runs; returns the axes.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Default: a new figure's.
        space : str
            One of `SPACES`.
        clocks : list of str, optional
            Default: all that were measured.
        """
        axes = new_axes(ax)
        values, mean, sd = self._of(space), self.mean(space), self.sd(space)
        shown = self.clocks if clocks is None else clocks
        for place, clock in enumerate(shown):
            c = index_of("clock", clock, self.clocks)
            y = np.arange(len(self.paths)) + 0.18 * (place - (len(shown) - 1) / 2)
            marker, colour = MARKERS.get(clock, "o"), COLOURS.get(clock)
            axes.plot(values[:, :, c].T, y, marker, color=colour, markersize=4, alpha=0.6, markeredgewidth=0)
            axes.errorbar(
                mean[:, c], y, xerr=sd[:, c], fmt=marker, color=colour, markersize=6, markeredgecolor="0.15", capsize=3,
                linestyle="none", label=clock,
            )  # fmt: skip
        axes.set_yticks(np.arange(len(self.paths)), self.paths)
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.set_xlabel(f"mean {SPACES[space]}")
        axes.legend(title="clock", fontsize="small", title_fontsize="small")
        title = f"{len(self.runs)} runs (small), mean and SD over runs; {caption(self.provenance, self.n)}"
        axes.set_title(title, fontsize="small")
        return axes

    def _interval(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return means over the first axis and the ends of Student's 95 % intervals."""
        mean, half = values.mean(axis=0), self.critical * _sd(values) / np.sqrt(len(values))
        return mean, mean - half, mean + half

    def _of(self, space: str) -> np.ndarray:
        if space not in self.distances:
            raise KeyError(f"space: one of {', '.join(map(repr, SPACES))}; received {space!r}")
        return self.distances[space]


def _sd(values: np.ndarray) -> np.ndarray:
    """Return standard deviations over the first axis, with S - 1 in the denominator."""
    with np.errstate(invalid="ignore"):  # of what is infinite there is none
        return values.std(axis=0, ddof=1)


def _pm(mean: float, sd: float) -> str:
    """Return mean and spread with as many decimals as two digits of the spread have."""
    decimals = int(np.clip(2 - np.ceil(np.log10(sd)), 0, 6)) if sd > 0 and np.isfinite(sd) else 3
    return f"{mean:.{decimals}f} ± {sd:.{decimals}f}"
