"""Pictures of preliminary experiments: results in, bqplot marks out.

May import: results, bqplot, ipywidgets, numpy, views.chart, views.theme.
"""

from __future__ import annotations

import ipywidgets as widgets
import numpy as np

from ..results import EpochStudy, SamplesNeeded, TestSizeStudy, TrainingSizeStudy
from .chart import Chart
from .theme import FAINT, INK, PIN, SERIES, swatch

ARMS = ((SERIES[0], "circle"), (SERIES[4], "square"), (SERIES[2], "triangle-up"), (SERIES[3], "diamond"))
LOOKS = {"train": ("dashed", 1.8), "validation": ("solid", 2.8), "test": ("dash_dotted", 2.2)}
SPREAD, ERROR = SERIES[0], SERIES[4]
Z95 = 1.959963984540054


class _View(widgets.VBox):
    """Charts side by side where there is room, and a legend above them."""

    def __init__(self, *charts: Chart):
        self.charts = charts
        self.legend = widgets.HTML().add_class("nnvis-legend")
        for chart in charts:
            chart.complete()
        self._row = widgets.Box(layout=widgets.Layout(flex_flow="row wrap", width="100%"))
        super().__init__([self.legend, self._row], layout=widgets.Layout(width="100%"))
        self.add_class("nnvis-curves")

    def _place(self, *charts: Chart) -> None:
        """Show these charts: a figure that is hidden instead would be drawn with a negative size."""
        figures = tuple(chart.figure for chart in charts)
        if self._row.children != figures:
            self._row.children = figures

    @property
    def unshown(self) -> list[widgets.Widget]:
        """Figures that are in no container now."""
        return [chart.figure for chart in self.charts if chart.figure not in self._row.children]

    def _legend(self, *items: tuple[str, str, str]) -> None:
        self.legend.value = "".join(f'<span class="item">{swatch(colour, dash)}{text}</span>' for colour, dash, text in items)


class EpochsView(_View):
    """Loss or a metric of every training by epoch, and how far above the lowest each epoch may lie."""

    def __init__(self) -> None:
        self._curves = Chart("epoch-curves", "epoch", "loss")
        self._log_curves = Chart("epoch-curves-log", "epoch", "loss", log_y=True)
        self._bound = Chart("epoch-bound", "epoch", "bound above the lowest loss", log_y=True)
        for chart in (self._curves, self._log_curves):
            for number, (colour, _) in enumerate(ARMS):
                chart.line(f"{number} each", colour, width=1, opacity=0.35)
                for split, (dash, width) in LOOKS.items():
                    chart.line(f"{number} {split}", colour, dash, width)
                chart.dots(f"{number} chosen", colour, 140, "diamond", fill=False)
        for number, (colour, marker) in enumerate(ARMS):
            self._bound.line(f"{number}", colour, width=2)
            self._bound.dots(f"{number} dots", colour, 40, marker)
            self._bound.dots(f"{number} chosen", colour, 140, "diamond", fill=False)
        self._bound.line("delta", FAINT, "dashed", 1.5)
        super().__init__(self._curves, self._log_curves, self._bound)

    def show(self, study: EpochStudy, quantity: str = "loss", log: bool = False) -> None:
        """Draw a study; `log` is for losses."""
        log = log and quantity == "loss"
        chart = self._log_curves if log else self._curves
        bounded = np.isfinite(study.excess_high).any()
        self._place(chart, *([self._bound] if bounded else []))
        chart.y_axis.label = quantity
        with chart.drawing():
            for number in range(min(len(study.arms), len(ARMS))):
                self._arm(chart, study, number, quantity)
        if bounded:
            self._show_bound(study)
        arms = [(ARMS[number][0], "solid", name) for number, name in enumerate(study.arms[: len(ARMS)])]
        splits = [(INK, LOOKS[split][0], split) for split in study.splits]
        each = f"thin: each of {len(study.arm)} trainings ({study.judged})"
        self._legend(*arms, *splits, (FAINT, "solid", each), (FAINT, "dashed", f"delta {study.delta:.3g}"))

    def _show_bound(self, study: EpochStudy) -> None:
        with self._bound.drawing():
            low, high = study.epochs.min(), study.epochs.max()
            known = study.excess_high[np.isfinite(study.excess_high)]
            # an epoch that is the lowest for certain is drawn at the foot: it has no logarithm
            foot = min([study.delta, *known[known > 0]]) / 3
            for number in range(min(len(study.arms), len(ARMS))):
                bound = np.where(study.excess_high[number] <= 0, foot, study.excess_high[number])
                self._bound.put(f"{number}", study.epochs, bound)
                self._bound.put(f"{number} dots", study.epochs, bound)
                at = study.epochs == study.chosen[number]
                self._bound.put(f"{number} chosen", study.epochs[at], bound[at])
            self._bound.put("delta", np.array([low, high]), np.full(2, study.delta))

    def _arm(self, chart: Chart, study: EpochStudy, number: int, quantity: str) -> None:
        runs = np.flatnonzero(study.arm == number)
        judged = study.values(quantity)
        chart.put(f"{number} each", [study.epochs] * len(runs), [judged[run] for run in runs])
        for split in study.splits:
            chart.put(f"{number} {split}", study.epochs, study.mean(number, quantity, split))
        at = study.epochs == study.chosen[number]
        chart.put(f"{number} chosen", study.epochs[at], study.mean(number, quantity)[at])


class TrainingSizeView(_View):
    """Loss or a metric by the number of training samples, for equal epochs and for equal steps."""

    def __init__(self) -> None:
        self._chart = Chart("training-size", "training samples", "loss", log_x=True)
        for number, (colour, marker) in enumerate(ARMS[:2]):
            self._chart.dots(f"{number} each", colour, 16, marker, opacity=0.4)
            self._chart.line(f"{number} bars", colour, width=1.8)
            self._chart.line(f"{number} law", colour, "dashed" if number else "solid", 1.8)
            self._chart.dots(f"{number} mean", colour, 70, marker)
        super().__init__(self._chart)

    def show(self, study: TrainingSizeStudy, quantity: str = "loss") -> None:
        """Draw a study."""
        chart, items = self._chart, []
        self._place(chart)
        chart.y_axis.label = f"{study.judged} {quantity}"
        chart.ticks(study.sizes)
        grid = np.geomspace(study.sizes.min(), study.sizes.max(), 80)
        with chart.drawing():
            for number, name in enumerate(study.arms[:2]):
                values = study.values(quantity)[number]
                x = study.sizes * 1.03 ** (number - (len(study.arms) - 1) / 2)
                chart.put(f"{number} each", np.repeat(x, values[0].size), values.reshape(-1))
                means = study.mean[number] if quantity == "loss" else np.array([_mean(row) for row in values])
                chart.put(f"{number} mean", x, means)
                if quantity == "loss":
                    bars = [np.array(pair) for pair in zip(study.low[number], study.high[number], strict=True)]
                    whole = [k for k, bar in enumerate(bars) if np.isfinite(bar).all()]
                    known = values[np.isfinite(values)]
                    room = 0.3 * np.ptp(known) if len(known) else 0.0  # bars of two subsets would leave no room for the rest
                    ends = [np.clip(bars[k], known.min() - room, known.max() + room) for k in whole]
                    chart.put(f"{number} bars", [np.full(2, x[k]) for k in whole], ends)
                    chart.put(f"{number} law", grid, study.curve(grid, number))
                items.append((ARMS[number][0], "solid" if number == 0 else "dashed", name))
        law = "line: power law" if not all(study.unidentified) else "no power law"
        self._legend(*items, (FAINT, "dot", f" small: each training; bars: {study.confidence:.0%} of the mean; {law}"))


class TestSizeView(_View):
    """Means of random subsets by their size, their spread, and the error that the spread hides."""

    __test__ = False

    def __init__(self) -> None:
        self._chart = Chart("test-size", "test samples", "loss", log_x=True)
        self._chart.dots("means", PIN, 9, opacity=0.3)
        self._chart.line("mean", INK, width=1)
        for name, colour, dash in (("error", ERROR, "dashed"), ("spread", SPREAD, "solid")):
            self._chart.line(name, colour, dash, 2.2)
        super().__init__(self._chart)

    def show(self, study: TestSizeStudy, quantity: str = "loss") -> None:
        """Draw a study."""
        chart = self._chart
        self._place(chart)
        chart.y_axis.label = quantity
        ticks = [size for size in study.sizes if size < 0.7 * study.population] or [study.sizes[0]]
        chart.ticks(np.unique([*ticks[:: max(len(ticks) // 5, 1)], study.population]))
        mean, grid = study.mean[quantity], np.geomspace(study.sizes[0], study.population, 120)
        error = Z95 * study.sd[quantity] / np.sqrt(grid)
        spread = error * np.sqrt(np.maximum(1 - grid / study.population, 0.0))
        with chart.drawing():
            means = study.means[quantity][:60]  # a cloud of 60 looks like one of 400, and weighs less
            chart.put("means", np.tile(study.sizes, len(means)), means.ravel(), fit=False)
            chart.put("mean", grid[[0, -1]], np.full(2, mean))
            for name, width in (("error", error), ("spread", spread)):
                chart.put(name, [grid, grid], [mean - width, mean + width])
        self._legend(
            (SPREAD, "solid", "95 % of random subsets: S/√n · √(1 − n/N)"),
            (ERROR, "dashed", "95 % error about the truth: S/√n"),
            (PIN, "dot", f" means of {study.repeats} random subsets"),
        )


class SamplesView(_View):
    """Samples that a difference takes, paired and unpaired, by the size of the difference."""

    def __init__(self) -> None:
        self._chart = Chart("samples-needed", "difference", "samples", log_x=True, log_y=True, forms=("~g", "~s"))
        for name, colour, dash, marker in (("paired", SPREAD, "solid", "circle"), ("unpaired", ERROR, "dashed", "square")):
            self._chart.line(name, colour, dash, 2.4)
            self._chart.dots(f"{name} dot", colour, 90, marker)
        self._chart.line("available", FAINT, "dash_dotted", 1.5)
        super().__init__(self._chart)

    def show(self, needed: SamplesNeeded) -> None:
        """Draw what is needed."""
        chart = self._chart
        self._place(chart)
        chart.x_axis.label = f"difference in {needed.quantity}"
        with chart.drawing():
            if np.isfinite(needed.paired):
                deltas = needed.delta * np.geomspace(0.1, 10, 60)
                for name, number in (("paired", needed.paired), ("unpaired", needed.unpaired)):
                    chart.put(name, deltas, number * (needed.delta / deltas) ** 2)
                    chart.put(f"{name} dot", np.array([needed.delta]), np.array([number]))
                chart.put("available", deltas[[0, -1]], np.full(2, needed.available))
        items = [(SPREAD, "solid", "both models on the same samples"), (ERROR, "dashed", "each on its own")]
        if np.isfinite(needed.available):
            items.append((FAINT, "dash_dotted", f"there are {needed.available:.0f}"))
        self._legend(*items)


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
