"""Many single weights on their lines: two curves each, what they rest on, and their labels.

May import: results, numpy. pandas and matplotlib are imported by the methods that need them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .base import NAN, caption, new_axes
from .labelling import classify_many, votes_of
from .of_weights import OfWeights
from .patterns import PATTERNS, PatternRules, expected_pattern

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

# Okabe and Ito's colours and a marker of its own for each: never colour alone
PATTERN_STYLES = {
    "descending-convex": ("#0072B2", "o"),
    "ascending-concave": ("#D55E00", "^"),
    "flat-region": ("#009E73", "s"),
    "bump": ("#CC79A7", "D"),
    "wave": ("#E69F00", "v"),
    "no-effect": ("#999999", "."),
    "not-moved": ("#999999", "x"),
    "coincident": ("#56B4E9", "P"),
    "complex": ("#000000", "*"),
}


@dataclass(frozen=True, repr=False, eq=False)
class ParameterScan(OfWeights):
    """The linear and the quadratic path of P single weights, each with its label; K points on each path.

    Attributes
    ----------
    index : list of (str, tuple of int)
        Tensor and position of each weight.
    alphas : ndarray, shape (K,)
    linear, quadratic : ndarray, shape (P, K)
        Mean loss over `n` samples; the quadratic one is NaN where the run has no mid checkpoint. NaN: not measured yet.
    linear_diff_se, quadratic_diff_se : ndarray, shape (P, K)
        Standard errors of ``loss(alpha) - loss(1)`` over the same samples.
    u : ndarray, shape (P, K)
        Share of its way that each weight has gone on the quadratic path; on the linear one that is alpha itself.
    start, mid, final : ndarray, shape (P,)
        Values of each weight at the checkpoints.
    distance, relative_distance : ndarray, shape (P,)
        |final - start|, and the same over the root mean square of its layer's.
    effect : ndarray, shape (P,)
        gradient * (final - start) at the end, which is the slope of the linear path there: to first order, what the loss falls by
        when the weight is taken back. NaN where there is no derivative. On all samples, or where weights were chosen by it, on
        others than those that they were chosen by.
    rho, alpha_turn, u_turn : ndarray, shape (P,)
        Share of the way at the mid checkpoint; where the quadratic path turns round, and how far the weight is there.
    u_star, u_star_low, u_star_high : ndarray, shape (P,)
        Where on its line the measured loss is lowest (0: start, 1: end), and 95 % of the resamples' places.
    u_star_edge : ndarray of int, shape (P,)
        -1 or 1 where that is the lowest or highest u measured: the true minimum lies at it or beyond. Else 0.
    pattern : list of str
        Shape of these data's curves, one of `PATTERNS`; "" where nothing has been measured.
    mirrored : ndarray of bool, shape (P,)
        The pattern is that of the curves read from alpha 1 to 0 (rho below 1/2).
    sequence : list of str
        Extrema of the quadratic curve, m and M, in the direction of the pattern.
    votes : ndarray, shape (P, 9)
        Share of the resamples of the samples that gave each of `PATTERNS`; NaN without resamples.
    population : list of str
        The label that holds beyond these samples: "no-effect" where `q_value` is above the false-discovery rate, "complex" where
        there is an effect and its shape is not settled.
    p_value, q_value : ndarray, shape (P,)
        Of "nowhere on its line does this weight matter", paired, over all points; and adjusted for the number of weights.
    half_width : ndarray, shape (P,)
        Of the simultaneous 95 % band of ``loss(alpha) - loss(1)``, at its widest within [0, 1].
    rounding, noise_floor : float
        Deviation of the rounding noise of one mean; the multiple of it that counts as a difference.
    tolerance, persistence : ndarray, shape (P,)
        Heights in force for each weight; height of the bump of its quadratic curve, 0 without one.
    rules : dict of str to float
        The conventions in force, see `nnvis_widgets.core.patterns.PatternRules`.
    choose, scope : str
        How the weights were chosen, and among which.
    scanned : int
        How many they were chosen from.
    n : int
    resampled : ndarray of float32, shape (P, resamples, 2 K), or None
        ``loss(alpha) - loss(1)`` of each resample, linear then quadratic; where all of them take at most 32 MiB.
    provenance : dict
    fraction : float
    """

    _shares_axes = False

    index: list[tuple[str, tuple[int, ...]]]
    alphas: np.ndarray
    linear: np.ndarray
    quadratic: np.ndarray
    linear_diff_se: np.ndarray
    quadratic_diff_se: np.ndarray
    u: np.ndarray
    start: np.ndarray
    mid: np.ndarray
    final: np.ndarray
    distance: np.ndarray
    relative_distance: np.ndarray
    effect: np.ndarray
    rho: np.ndarray
    alpha_turn: np.ndarray
    u_turn: np.ndarray
    u_star: np.ndarray
    u_star_low: np.ndarray
    u_star_high: np.ndarray
    u_star_edge: np.ndarray
    p_value: np.ndarray
    q_value: np.ndarray
    half_width: np.ndarray
    votes: np.ndarray
    rounding: float
    choose: str
    scope: str
    scanned: int
    n: int
    provenance: dict[str, Any] = field(default_factory=dict)
    fraction: float = 1.0
    rules: dict[str, float] = field(default_factory=lambda: asdict(PatternRules()))
    resampled: np.ndarray | None = None
    pattern: list[str] = field(default_factory=list)
    population: list[str] = field(default_factory=list)
    sequence: list[str] = field(default_factory=list)
    mirrored: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    tolerance: np.ndarray = field(default_factory=lambda: np.zeros(0))
    persistence: np.ndarray = field(default_factory=lambda: np.zeros(0))
    noise_floor: float = NAN

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.counts().items() if count)
        part = "" if self.fraction == 1.0 else f", {self.fraction:.0%} done"
        return (
            f"ParameterScan({len(self)} of {self.scanned} weights of {self.scope} by {self.choose}: "
            f"{counts or 'none measured yet'}; "
            f"alpha {self.alphas.min():g} to {self.alphas.max():g}, n = {self.n}, {self.provenance.get('split', '')}{part})"
        )

    @property
    def confidence(self) -> np.ndarray:
        """Share of the resamples that agree with each label, shape (P,); NaN without resamples."""
        codes = [PATTERNS.index(name) if name else 0 for name in self.pattern]
        return np.where([bool(name) for name in self.pattern], self.votes[np.arange(len(self)), codes], np.nan)

    @property
    def second(self) -> list[str]:
        """The label that most of the other resamples gave; "" where all agree."""
        others = np.nan_to_num(self.votes, nan=0.0)
        for row, name in enumerate(self.pattern):
            if name:
                others[row, PATTERNS.index(name)] = 0.0
        return [PATTERNS[int(row.argmax())] if row.any() else "" for row in others]

    @property
    def uncertain(self) -> np.ndarray:
        """Which labels fewer of the resamples agree with than the rules ask for, shape (P,)."""
        return self.confidence < self.rules["confidence"]

    @property
    def established(self) -> np.ndarray:
        """Which weights have an effect beyond these samples, at the rules' false-discovery rate, shape (P,)."""
        return self.q_value <= self.rules["false_discovery"]

    def counts(self) -> dict[str, int]:
        """Return how many weights have each pattern, in the order of `PATTERNS`."""
        found = Counter(self.pattern)
        return {name: found[name] for name in PATTERNS}

    def relabelled(self, **rules: float) -> ParameterScan:
        """Return the same measurement under other conventions, such as ``plateau_length=0.2``; nothing is measured again.

        Raises
        ------
        ValueError
            An unknown convention, or a value that is no positive number.
        """
        chosen = PatternRules.of(self.rules, **rules)
        labelled = self.labelled(chosen)
        if self.resampled is None:
            return replace(labelled, votes=np.full_like(self.votes, np.nan))
        few = range(0, len(self), 16)  # at once, so that what is in between stays small
        votes = [self._votes(slice(row, row + 16), labelled.noise_floor, chosen) for row in few]
        return replace(labelled, votes=np.concatenate([np.zeros((0, len(PATTERNS))), *votes]))

    def labelled(self, rules: PatternRules) -> ParameterScan:
        """Return this measurement with the labels of its mean curves, and the shares of the resamples as they are."""
        floor = rules.noise * self.rounding
        # at once: below the noise floor, and within the band of what could be beyond these samples
        linear, quadratic, rho = (np.concatenate([values, values]) for values in (self.linear, self.quadratic, self.rho))
        tolerance = np.concatenate([np.full(len(self), floor), np.fmax(floor, self.half_width)])
        both = classify_many(self.alphas, linear, quadratic, rho, tolerance, rules, np.tile(self.distance > 0, 2))
        here, beyond = both.of(slice(len(self))), both.of(slice(len(self), None)).pattern
        return replace(
            self,
            rules=asdict(rules),
            noise_floor=floor,
            pattern=here.pattern,
            population=[_settled(*pair, rules.false_discovery) for pair in zip(beyond, self.q_value.tolist(), strict=True)],
            sequence=here.sequence,
            mirrored=here.mirrored,
            tolerance=here.tolerance,
            persistence=here.persistence,
        )

    def _votes(self, rows: slice, floor: float, rules: PatternRules) -> np.ndarray:
        assert self.resampled is not None
        return votes_of(self.resampled[rows], self.alphas, self.rho[rows], floor, rules, self.distance[rows] > 0)

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row for each weight: where it is, how it moved, its labels and what they rest on."""
        import pandas

        alone = ("start", "mid", "final", "distance", "relative_distance", "effect", "rho", "alpha_turn", "u_star", "u_star_low")
        rest = ("pattern", "second", "confidence", "mirrored", "sequence", "population", "established", "p_value", "q_value")
        columns: dict[str, Any] = {"weight": self.names, "tensor": [tensor for tensor, _ in self.index]}
        columns |= {name: getattr(self, name) for name in (*alone, "u_star_high", "u_star_edge", *rest, "persistence", "tolerance")}
        return pandas.DataFrame(columns).assign(n=self.n)

    def curves_to_pandas(self) -> pandas.DataFrame:
        """Return one row for each weight and alpha: u on the quadratic path, both losses and their paired errors."""
        import pandas

        points = len(self.alphas)
        columns: dict[str, Any] = {"weight": np.repeat(self.names, points), "alpha": np.tile(self.alphas, len(self))}
        for name in ("u", "linear", "linear_diff_se", "quadratic", "quadratic_diff_se"):
            columns[name] = getattr(self, name).ravel()
        return pandas.DataFrame(columns).assign(n=self.n)

    def plot(self, ax: Axes | None = None, regions: bool = True) -> Axes:
        """Draw the phase diagram: each weight at its rho and the place of its minimum; returns the axes.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
        regions : bool
            Shade the patterns that the theory expects of a loss with one minimum.
        """
        axes = new_axes(ax)
        at, height = self.rho, np.clip(self.u_star, -3.0, 4.0)
        if regions:
            shade_regions(axes, PatternRules.of(self.rules))
        for name, count in self.counts().items():
            there = np.array([one == name for one in self.pattern]) & np.isfinite(at) & np.isfinite(height)
            if count:
                colour, marker = PATTERN_STYLES[name]
                axes.scatter(
                    at[there], height[there], s=26, color=colour, marker=marker, linewidths=0.8, label=f"{name} ({count})", zorder=3
                )
        axes.set(xlim=(-0.6, 1.6), ylim=(-3.1, 4.1), xlabel="rho: share of the way at the mid checkpoint")
        axes.set_ylabel("u*: where on its line the loss is lowest")
        axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
        axes.set_title(
            f"{len(self)} weights of {self.scope} by {self.choose}: {caption(self.provenance, self.n)}", fontsize="small"
        )
        return axes


def _settled(name: str, q_value: float, rate: float) -> str:
    """Return the label that holds beyond the samples; "" where that has not been asked."""
    if name in ("", "not-moved"):
        return name
    if np.isnan(q_value):
        return ""
    if q_value > rate:
        return "no-effect"
    return "complex" if name == "no-effect" else name


def shade_regions(
    axes: Axes, rules: PatternRules, rho: tuple[float, float] = (-0.6, 1.6), u: tuple[float, float] = (-3.1, 4.1)
) -> None:
    """Shade the regions of the phase diagram, lightly, with lines between them."""
    from matplotlib.colors import to_rgb

    x, y = np.linspace(*rho, 111), np.linspace(*u, 145)
    code = np.array([[PATTERNS.index(expected_pattern(a, b, rules)) for a in x] for b in y])
    tints = np.array([0.8 + 0.2 * np.array(to_rgb(PATTERN_STYLES[name][0])) for name in PATTERNS])
    axes.imshow(tints[code], extent=(*rho, *u), origin="lower", aspect="auto", zorder=0, interpolation="nearest")
    for value in (0.0, 1.0):
        axes.axhline(value, color="0.5", linewidth=0.6, linestyle=":")
    axes.axvline(0.5, color="0.5", linewidth=0.6, linestyle=":")
