"""How much a trained model needs each of its layers.

May import: results.base, results.layer_labels, results.of_layers, numpy. pandas and matplotlib are imported by the methods that
need them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .base import NAN, caption, new_axes
from .layer_labels import ONE_RUN, Labelled, labels_of
from .of_layers import Replaced

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

# Okabe and Ito's colours; the icon and the word say the same without them
COLOURS = {
    "critical": "#D55E00", "intermediate": "#E69F00", "ambient": "#56B4E9", "not moved": "#7F7F7F", "undefined": "#7F7F7F",
}  # fmt: skip
ICONS = {"critical": "▲", "intermediate": "◆", "ambient": "●", "not moved": "○", "undefined": "?"}
MARKERS = {"critical": "^", "intermediate": "D", "ambient": "o", "not moved": "o", "undefined": "x"}
AGAINST = {
    "relative_distance": "distance moved, of the length of the weights put back", "distance": "distance moved",
    "parameter_count": "number of weights",
}  # fmt: skip
TERMS = "'critical' is what the thesis of 2021 calls 'robust'; 'ambient' is Zhang, Bengio and Singer's word for 'robust'"


@dataclass(frozen=True, repr=False, eq=False)
class LayerStudy(Labelled, Replaced):
    """What becomes of a trained model when one layer is put back to a checkpoint, or drawn anew; one row a layer.

    Attributes
    ----------
    layers : list of str
        In the order of the model: modules, blocks or tensors, according to `unit`.
    kind : str
        "reinit": back to checkpoint `at`, of epoch `epoch`; "rerandomise": fresh draws from the layer's own initialiser.
    unit, part : str
        "module", "block" or "tensor"; "all", "weights" or "biases".
    metric : str
        What the criticality is about: "accuracy", else "loss".
    reference : dict of str to float
        Loss and metrics of the trained model.
    chance : float
        The accuracy of always answering the most frequent class; the loss of always answering the mean target; NaN if unknown.
    criticality, low, high : ndarray, shape (L,)
        ``(A_f - A_l) / (A_f - A_chance)`` with a simultaneous 95 % interval: 0 does no harm, 1 is as good as chance; it may be
        below 0 or above 1. The mean over the draws.
    rank_low, rank_high : ndarray of int, shape (L,)
        Ranks in resamples, 1 is the most critical; 0 where there is none.
    accuracy_drop, accuracy_drop_low, accuracy_drop_high : ndarray, shape (L,)
        Of the trained model minus that without the layer, 0.01 is a point; simultaneous. NaN where there is no accuracy.
    loss_rise, loss_rise_low, loss_rise_high : ndarray, shape (L,)
    distance, relative_distance : ndarray, shape (L,)
        Between the layer's final weights and those put in their place (the mean over draws), and that over the latter's length.
    parameter_count : ndarray of int, shape (L,)
    moved : ndarray of bool, shape (L,)
        Whether anything was replaced by something else.
    draws_criticality, draws_loss_rise : ndarray, shape (L, R)
        Of each draw; one for "reinit".
    draw_sd : ndarray, shape (L,)
        Their standard deviation: not an error of the data, and not in the interval. NaN for one draw.
    policies : dict of str to ndarray, shape (L,)
        The criticality under each BatchNorm policy, for models with running statistics.
    problems : dict of str to str
        Layers that could not be measured, and why.
    learned : bool
        Whether the trained model is better than chance beyond doubt; the criticality is undefined (NaN) where it is not.
    margin, critical_above : float
        The thresholds of `label`.
    n : int
    fraction : float
        Share of the work that is done; rows that are not measured yet are NaN.
    provenance : dict
    """

    criticality: np.ndarray
    low: np.ndarray
    high: np.ndarray
    rank_low: np.ndarray
    rank_high: np.ndarray
    accuracy_drop: np.ndarray
    accuracy_drop_low: np.ndarray
    accuracy_drop_high: np.ndarray
    loss_rise: np.ndarray
    loss_rise_low: np.ndarray
    loss_rise_high: np.ndarray
    distance: np.ndarray
    relative_distance: np.ndarray
    parameter_count: np.ndarray
    moved: np.ndarray
    draws_criticality: np.ndarray
    draws_loss_rise: np.ndarray
    draw_sd: np.ndarray
    policies: dict[str, np.ndarray] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        known = self.criticality[np.isfinite(self.criticality)]
        span = f"criticality {known.min():.2f} to {known.max():.2f}" if known.size else "criticality undefined"
        counts = {word: self.label.count(word) for word in COLOURS if word in self.label}
        words = ", ".join(f"{count} {word}" for word, count in counts.items())
        return f"LayerStudy({self.what}: {len(self.layers)} {self.unit}s, {span}, {words}; {self._told()})"

    @property
    def what(self) -> str:
        """What was done to each layer, in words."""
        each = f"each {self.unit}" if self.part == "all" else f"the {self.part} of each {self.unit}"
        return f"{each} {self._done(self.draws_criticality.shape[1])}"

    @property
    def label(self) -> list[str]:
        """The class of each layer: "critical", "intermediate", "ambient", "not moved" or "undefined"."""
        words = labels_of(
            self.metric, self.low, self.high, self.accuracy_drop_high, self.moved,
            margin=self.margin, critical_above=self.critical_above,
        )  # fmt: skip
        unknown = np.array([layer in self.problems for layer in self.layers], dtype=bool)
        return np.where(unknown, "undefined", words).tolist()

    @property
    def notes(self) -> list[str]:
        """What a reader of the numbers must know: why some are undefined, and what they hold for."""
        found = [*(f"{layer}: {why}" for layer, why in self.problems.items()), *self._common_notes()]
        if self.fraction == 1.0 and np.isfinite(self.criticality).any():
            found += [
                f"with BatchNorm {policy!r} the trained model is not better than chance, so there is no criticality"
                for policy, values in self.policies.items()
                if not np.isfinite(values).any()
            ]
        if self.too_few:
            found.append(self.too_few)
        if odd := self.provenance.get("unlike_initial"):
            found.append(
                f"draws of {', '.join(odd)} are of another size than the initial weights of the run, so training started from "
                "another initialiser: give it as initializer="
            )
        return [*found, ONE_RUN]

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row for each layer."""
        import pandas

        columns: dict[str, Any] = {"layer": self.layers, "label": self.label}
        for name in (
            "criticality", "low", "high", "rank_low", "rank_high", "accuracy_drop", "accuracy_drop_low", "accuracy_drop_high",
            "loss_rise", "loss_rise_low", "loss_rise_high", "draw_sd", "distance", "relative_distance", "parameter_count", "moved",
        ):  # fmt: skip
            columns[name] = getattr(self, name)
        columns |= {f"criticality_{policy}": values for policy, values in self.policies.items()}
        return pandas.DataFrame(columns | {"n": self.n})

    def plot(self, ax: Axes | None = None, *, zones: bool = True, against: str | None = None) -> Axes:
        """Draw one row for each layer: criticality with its interval, every draw as a dot, and the label in words.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Default: a new figure's.
        zones : bool
            Shade what is harmless, and what is critical.
        against : {"relative_distance", "distance", "parameter_count"}, optional
            Draw one point for each layer instead, criticality against this: is a layer needed because it has moved far?
        """
        axes = new_axes(ax)
        if against is not None:
            return self._scatter(axes, against, zones)
        rows = np.arange(len(self.layers))
        if zones:
            self._zones(axes.axvspan)
        axes.axvline(0, color="0.5", linewidth=0.8, zorder=1)
        axes.axvline(1, color="0.5", linewidth=0.8, linestyle=":", zorder=1)
        for row, word in zip(rows, self.label, strict=True):
            middle, low, high = self.criticality[row], self.low[row], self.high[row]
            if self.draws_criticality.shape[1] > 1:
                axes.plot(self.draws_criticality[row], np.full(self.draws_criticality.shape[1], row), "o", color="0.45",
                          markersize=3, alpha=0.7, zorder=2)  # fmt: skip
            if np.isfinite(low) and np.isfinite(high):
                axes.plot([low, high], [row, row], color=COLOURS[word], linewidth=2, zorder=3)
            inside = "none" if word == "not moved" else COLOURS[word]
            axes.plot([middle], [row], MARKERS[word], color=inside, markersize=7, markeredgecolor="0.2", markeredgewidth=0.6,
                      zorder=4)  # fmt: skip
        axes.set_xlim(*self._span())
        axes.set_yticks(rows, [f"{layer}   {ICONS[word]} {word}" for layer, word in zip(self.layers, self.label, strict=True)])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel("criticality (0: no harm, 1: chance)")
        axes.set_title(caption(self.provenance, self.n), fontsize="small")
        return axes

    def _scatter(self, axes: Axes, against: str, zones: bool) -> Axes:
        if against not in AGAINST:
            raise ValueError(f"against: one of {', '.join(map(repr, AGAINST))}; received {against!r}")
        x = getattr(self, against).astype(float)
        shown = np.isfinite(x) & np.isfinite(self.criticality)
        if zones:
            self._zones(axes.axhspan)
        for y, style in ((0, "-"), (1, ":")):
            axes.axhline(y, color="0.5", linewidth=0.8, linestyle=style, zorder=1)
        for row in np.flatnonzero(shown):
            word = self.label[row]
            if np.isfinite(self.low[row]) and np.isfinite(self.high[row]):
                axes.plot([x[row]] * 2, [self.low[row], self.high[row]], color=COLOURS[word], linewidth=2, zorder=3)
            inside = "none" if word == "not moved" else COLOURS[word]
            axes.plot([x[row]], [self.criticality[row]], MARKERS[word], color=inside, markersize=7, markeredgecolor="0.2",
                      markeredgewidth=0.6, zorder=4)  # fmt: skip
            axes.annotate(self.layers[row], (x[row], self.criticality[row]), xytext=(7, 4), textcoords="offset points",
                          fontsize="small")  # fmt: skip
        if (x[shown] > 0).all() and shown.any() and x[shown].max() > 20 * x[shown].min():
            axes.set_xscale("log")
        axes.margins(x=0.12)
        axes.set_ylim(*self._span())
        axes.set(xlabel=AGAINST[against], ylabel="criticality (0: no harm, 1: chance)")
        axes.set_title(f"{self.what}; {caption(self.provenance, self.n)}", fontsize="small")
        return axes

    def _zones(self, shade: Any) -> None:
        room = self.reference.get("accuracy", NAN) - self.chance
        harmless = self.margin / room if self.metric == "accuracy" and room > 0 else self.margin
        shade(-10, harmless, color="#56B4E9", alpha=0.15, linewidth=0, zorder=0)
        shade(self.critical_above, 10, color="#D55E00", alpha=0.08, linewidth=0, zorder=0)

    def _span(self) -> tuple[float, float]:
        known = np.concatenate([self.low, self.high, self.draws_criticality.ravel(), [0.0, 1.0]])
        known = known[np.isfinite(known)]
        return float(known.min() - 0.06), float(known.max() + 0.06)
