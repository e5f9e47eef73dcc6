"""How faithful paths are to a training: distances to held-out checkpoints in three spaces, on several clocks, with controls.

May import: results.base, results.faithful_words, numpy. pandas and matplotlib are imported by the methods that need them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .base import NAN, Result, caption, new_axes
from .faithful_words import sentence_of

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

SPACES = {
    "weights": "distance in weight space, over that from start to end",
    "log_loss": "|difference of the log of the mean loss|",
    "loss": "|difference of the mean loss|",
    "kl": "divergence of the predictions",
    "disagreement": "share of the samples that are classified otherwise",
}
SHORT = {"weights": "weights", "log_loss": "log loss", "loss": "loss", "kl": "predictions", "disagreement": "classes"}
COLOURS = {"epochs": "#0072B2", "arc length": "#D55E00", "progress": "#009E73", "free": "#CC79A7"}
MARKERS = {"epochs": "o", "arc length": "s", "progress": "^", "free": "D"}


@dataclass(frozen=True, repr=False, eq=False)
class FaithfulnessReport(Result):
    """How far P paths are from H held-out checkpoints of one run, on C clocks.

    All distances are means over the held-out checkpoints, so they depend on which were recorded. Their intervals are of the
    samples (a paired bootstrap of `n`), not of other trainings: this is one run. A path that is nearer than the samples can tell
    has an interval that may not reach down to 0; compare two paths by their `difference`, where that noise is the same for both.

    Attributes
    ----------
    paths, clocks : list of str
    checkpoints, epochs : ndarray, shape (H,)
        The held-out ones: indices in the run, and epochs. None is a knot of any of the paths.
    times : ndarray, shape (C, H)
        Where the clocks stand at them (of "free", which is a path's own: on the quadratic one).
    alphas, path_loss : ndarray, shape (P, C, H)
        The points of the paths that these were compared with, and the mean loss there.
    run_loss : ndarray, shape (H,)
    knots : ndarray, shape (P, C)
        Where on a path its mid knot lies; NaN for none, or where a clock does not tell it from an end.
    weights : ndarray, shape (P, C, H)
        Distances in weight space, over that from start to end; these are exact.
    per_checkpoint : dict of str to ndarray, shape (P, C, H)
        Distances in the other spaces: "log_loss", "loss", "kl", "disagreement"; `SPACES` says what these are.
    draws : dict of str to ndarray of float32, shape (P, C, B)
        Means over the checkpoints, in each resample of the samples; the same resamples throughout.
    frechet : ndarray, shape (P,)
        Discrete Frechet distance, in weight space over that from start to end, of a path and the straight ways between
        checkpoints: the largest distance on the best of all clocks.
    mid, mid_by_distance : int
        Indices of the mid checkpoint, and of that at half of the way travelled.
    rho, eta, rho_by_distance, eta_by_distance : float
        Share of the straight way that each had covered, and how far it lay beside it.
    origins, control_alphas, control_loss : list of str, ndarray (A,), ndarray (O, A)
        The loss on straight lines from the true start ("initial") and from others to the trained weights.
    rise_draws : ndarray, shape (O, B)
        Their largest rise in each resample.
    n, fraction, seeds, provenance
        Samples; share of the work that is done; trainings that were looked at, 1.
    """

    _shares_axes: ClassVar[bool] = False

    paths: list[str]
    clocks: list[str]
    checkpoints: np.ndarray
    epochs: np.ndarray
    times: np.ndarray
    alphas: np.ndarray
    path_loss: np.ndarray
    run_loss: np.ndarray
    knots: np.ndarray
    weights: np.ndarray
    per_checkpoint: dict[str, np.ndarray]
    draws: dict[str, np.ndarray]
    frechet: np.ndarray
    mid: int
    mid_by_distance: int
    rho: float
    eta: float
    rho_by_distance: float
    eta_by_distance: float
    origins: list[str]
    control_alphas: np.ndarray
    control_loss: np.ndarray
    rise_draws: np.ndarray
    n: int
    fraction: float = 1.0
    seeds: int = 1
    provenance: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def blank(cls, paths: list[str], clocks: list[str], mid: int, fraction: float) -> FaithfulnessReport:
        """Return the report of a measurement that has just begun."""
        p, c = len(paths), len(clocks)
        none = np.zeros((p, c, 0))
        spaces = [space for space in SPACES if space != "weights"]
        return cls(
            paths, clocks, np.zeros(0, dtype=int), np.zeros(0), np.zeros((c, 0)), none, none, np.zeros(0), np.full((p, c), NAN),
            none, dict.fromkeys(spaces, none), dict.fromkeys(spaces, none), np.full(p, NAN), mid, -1, NAN, NAN, NAN, NAN, [],
            np.zeros(0), np.zeros((0, 0)), np.zeros((0, 0)), 0, fraction,
        )  # fmt: skip

    def __repr__(self) -> str:
        part = "" if self.fraction == 1.0 else f", {self.fraction:.0%} done"
        ranges = ""
        if self.n:
            values = self.distances("log_loss")[0]
            finite = values[np.isfinite(values)]
            ranges = f"; |log loss| {finite.min():.3g} to {finite.max():.3g}" if finite.size else "; |log loss| not finite"
        return (
            f"FaithfulnessReport({len(self.paths)} paths x {len(self.clocks)} clocks, {len(self.checkpoints)} held-out checkpoints"
            f"{ranges}; n = {self.n}, one run, {self.provenance.get('split', '')}{part})"
        )

    def distances(self, space: str = "log_loss") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return mean distances in a space and the ends of their 95 % intervals, shape (P, C) each; "weights" has no width."""
        values = _mean(self._single(space))
        if space == "weights":
            return values, values, values
        return values, *_interval(values, self.draws[space], least=0.0)

    def difference(self, one: tuple[str, str], other: tuple[str, str], space: str = "log_loss") -> tuple[float, float, float]:
        """Return by how much one path is farther from the training than another, with its paired 95 % interval.

        Parameters
        ----------
        one, other : (path, clock)
            Such as ("speed-only", "epochs") and ("quadratic", "epochs").
        space : str
        """
        a, b = cell_of(self, *one), cell_of(self, *other)
        values = _mean(self._single(space))
        gap = float(values[a] - values[b])
        if space == "weights":
            return gap, gap, gap
        low, high = _interval(np.array(gap), self.draws[space][a] - self.draws[space][b])
        return gap, float(low), float(high)

    def skill(self, space: str = "log_loss") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return 1 - D / D0 with its 95 % interval, shape (P, C) each.

        D0 is the distance of the linear path on the first clock, as it is usually drawn: 0 is as far, 1 is on the training.
        """
        values = _mean(self._single(space))
        with np.errstate(invalid="ignore", divide="ignore"):
            skill = 1 - values / values[0, 0]
            if space == "weights":
                return skill, skill, skill
            return skill, *_interval(skill, 1 - self.draws[space] / self.draws[space][:1, :1], most=1.0)

    def rises(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the largest rise of the loss on the line from each origin, with its 95 % interval, shape (O,) each.

        0 means that it falls monotonically on the grid.
        """
        rise = highest_rise(self.control_loss) if self.origins else np.zeros(0)
        return rise, *_interval(rise, self.rise_draws, least=0.0)

    @property
    def sentence(self) -> str:
        """What was found, in one sentence."""
        return sentence_of(self)

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row for each path and clock: knot, distances, their intervals and skills in every space, n."""
        import pandas

        p, c = (index.reshape(-1) for index in np.indices((len(self.paths), len(self.clocks))))
        columns: dict[str, Any] = {
            "path": [self.paths[i] for i in p], "clock": [self.clocks[i] for i in c], "knot": self.knots[p, c],
        }  # fmt: skip
        for space in SPACES:
            for name, values in zip(("", "_low", "_high"), self.distances(space), strict=True):
                columns[f"{space}{name}"] = values[p, c]
            for name, values in zip(("", "_low", "_high"), self.skill(space), strict=True):
                columns[f"{space}_skill{name}"] = values[p, c]
        columns |= {"frechet": self.frechet[p], "rho": self.rho, "eta": self.eta, "checkpoints": len(self.checkpoints)}
        return pandas.DataFrame({**columns, "n": self.n, "seeds": self.seeds})

    def controls_to_pandas(self) -> pandas.DataFrame:
        """Return one row for each origin: the loss at both ends of the straight line, its largest rise and that one's interval."""
        import pandas

        rise, low, high = self.rises()
        ends = {"loss_at_origin": self.control_loss[:, 0], "loss_at_end": self.control_loss[:, -1]} if self.origins else {}
        return pandas.DataFrame({"origin": self.origins, **ends, "rise": rise, "rise_low": low, "rise_high": high, "n": self.n})

    def plot(self, ax: Axes | None = None, space: str = "log_loss", clocks: list[str] | None = None) -> Axes:
        """Draw how far each path is from the training on each clock, with 95 % intervals; returns the axes.

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
        values, low, high = self.distances(space)
        shown = self.clocks if clocks is None else clocks
        for place, clock in enumerate(shown):
            c = index_of("clock", clock, self.clocks)
            y = np.arange(len(self.paths)) + 0.16 * (place - (len(shown) - 1) / 2)
            error = np.maximum(np.stack([values[:, c] - low[:, c], high[:, c] - values[:, c]]), 0.0)
            axes.errorbar(
                values[:, c], y, xerr=error, fmt=MARKERS.get(clock, "o"), color=COLOURS.get(clock), markersize=5, capsize=2,
                linestyle="none", label=clock,
            )  # fmt: skip
        axes.set_yticks(np.arange(len(self.paths)), self.paths)
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.set_xlabel(f"mean {SPACES[space]}")
        axes.legend(title="clock", fontsize="small", title_fontsize="small")
        axes.set_title(
            f"{len(self.checkpoints)} held-out checkpoints of one run; {caption(self.provenance, self.n)}", fontsize="small"
        )
        return axes

    def _single(self, space: str) -> np.ndarray:
        if space == "weights":
            return self.weights
        if space not in self.per_checkpoint:
            raise KeyError(f"space: one of {', '.join(map(repr, SPACES))}; received {space!r}")
        return self.per_checkpoint[space]


def cell_of(report: Any, path: str, clock: str) -> tuple[int, int]:
    """Return where the numbers of a path by a clock are in a report's arrays."""
    return index_of("path", path, report.paths), index_of("clock", clock, report.clocks)


def index_of(what: str, name: str, known: list[str]) -> int:
    """Return the place of a name; refuse one that is not there, with those that are."""
    if name not in known:
        raise KeyError(f"{what}: one of {', '.join(map(repr, known))}; received {name!r}")
    return known.index(name)


def highest_rise(losses: np.ndarray) -> np.ndarray:
    """Return how far losses (..., K) rise at most, in order, above any that came before: 0 where none is above (Lucas, 2021).

    Examples
    --------
    >>> highest_rise(np.array([3.0, 1.0, 2.0, 0.5, 0.75])).item()
    1.0
    """
    return (losses - np.minimum.accumulate(losses, axis=-1)).max(axis=-1)


def _mean(values: np.ndarray) -> np.ndarray:
    return values.mean(-1) if values.shape[-1] else np.full(values.shape[:-1], NAN)


def _interval(values: np.ndarray, draws: np.ndarray, least: float = -np.inf, most: float = np.inf) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of 95 % intervals, given the same from resamples (..., B): the basic bootstrap's (Davison and Hinkley, 1997).

    Noise makes a distance larger, never smaller, and that of resampling comes on top of that of sampling: as the resamples lie
    above the value, the value lies above the truth. So their quantiles are taken to its other side.
    """
    if not draws.shape[-1]:
        return np.full(draws.shape[:-1], NAN), np.full(draws.shape[:-1], NAN)
    low, high = np.quantile(draws.astype(float), [0.025, 0.975], axis=-1)
    # what is equal in every resample but for their single precision has no width
    still = np.isclose(low, values, rtol=1e-6, atol=1e-12) & np.isclose(high, values, rtol=1e-6, atol=1e-12)
    low, high = np.where(still, values, 2 * values - high), np.where(still, values, 2 * values - low)
    return np.clip(low, least, most), np.clip(high, least, most)
