"""Four small figures of a training that is running: losses, other metrics, movement of the layers, the way through weight space.

May import: bqplot, ipywidgets, numpy, views.plot, views.theme. Marks are made once and changed under `hold_sync`; nothing here
computes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import bqplot as bq
import ipywidgets as widgets
import numpy as np

from .plot import NOTHING, assign
from .theme import CROSSING, FAINT, INK, QUADRATIC

CHARTS = ("losses", "metrics", "movement")
FEW = 150  # points of a chart: so many are shown as dots, of more only the last of each line
_HEIGHT, _ASPECT = 235, 1.55  # of a figure, and width to height of the one whose axes have one scale
_MARGIN = {"top": 8, "bottom": 40, "left": 62, "right": 14}


@dataclass(frozen=True)
class Series:
    """One line: what is not finite is a gap."""

    name: str
    x: np.ndarray
    y: np.ndarray
    colour: str


@dataclass(frozen=True)
class Chart:
    """Lines over epochs, and a line of HTML above them."""

    caption: str = ""
    label: str = ""
    series: Sequence[Series] = ()
    log: bool = False


@dataclass(frozen=True)
class Way:
    """The checkpoints in their principal plane, shape (T, 2), their epochs, and which of them are bookmarked."""

    caption: str = ""
    xy: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))
    epochs: np.ndarray = field(default_factory=lambda: np.empty(0))
    marked: Sequence[int] = ()


@dataclass(frozen=True)
class MonitorScene:
    """Everything that a `MonitorView` draws: charts by the names of `CHARTS`, the way, and the epochs of the bookmarks."""

    charts: Mapping[str, Chart]
    way: Way = field(default_factory=Way)
    bookmarks: Sequence[float] = ()


class MonitorView(widgets.Box):
    """The four figures of a training monitor.

    Attributes
    ----------
    figures : dict of str to bqplot.Figure
        "losses", "metrics", "movement" and "way".
    """

    def __init__(self) -> None:
        self._x = bq.LinearScale(min=0.0, max=1.0)
        self._charts = {name: _ChartPlot(name, self._x) for name in CHARTS}
        self._way = _WayPlot()
        plots = {**self._charts, "way": self._way}
        self.figures = {name: plot.figure for name, plot in plots.items()}
        cells = [widgets.VBox([plot.caption, plot.figure]) for plot in plots.values()]
        for cell in cells:
            cell.layout.flex, cell.layout.min_width = "1 1 400px", "300px"
        super().__init__(cells, layout=widgets.Layout(flex_flow="row wrap", width="100%"))
        self.add_class("nnvis-curves")

    def show(self, scene: MonitorScene) -> None:
        """Draw a scene; only what differs reaches the browser."""
        last = max((float(s.x[-1]) for chart in scene.charts.values() for s in chart.series if len(s.x)), default=1.0)
        first = min((float(s.x[0]) for chart in scene.charts.values() for s in chart.series if len(s.x)), default=0.0)
        pad = 0.02 * (last - first) or 0.05
        _limit(self._x, first - pad, last + pad)
        for name, plot in self._charts.items():
            plot.show(scene.charts.get(name, Chart()), scene.bookmarks)
        self._way.show(scene.way)


class _ChartPlot:
    def __init__(self, name: str, x: bq.LinearScale):
        self._y, unit = bq.LinearScale(min=0.0, max=1.0), bq.LinearScale(min=0.0, max=1.0)
        scales = {"x": x, "y": self._y}
        self.caption = _caption(name)
        self._lines = bq.Lines(x=NOTHING, y=NOTHING, scales=scales, visible=False, stroke_width=2, apply_clip=True)
        self._dots = bq.Scatter(
            x=NOTHING, y=NOTHING, scales=scales, visible=False, marker="circle", default_size=16, display_names=False,
            tooltip=bq.Tooltip(fields=["name", "x", "y"], labels=["", "epoch", ""], formats=["", ".3g", ".5g"]),
        )  # fmt: skip
        self._bookmarks = bq.Lines(
            x=NOTHING, y=NOTHING, scales={"x": x, "y": unit}, visible=False, stroke_width=1, line_style="dashed", colors=[CROSSING]
        )
        self._axis = bq.Axis(
            scale=self._y, orientation="vertical", grid_lines="none", num_ticks=5, label_offset="46px", label_color=INK
        )
        epochs = bq.Axis(scale=x, label="epoch", grid_lines="none", num_ticks=8, label_offset="28px", label_color=INK)
        self.figure = _figure(name, [self._bookmarks, self._lines, self._dots], [epochs, self._axis])

    def show(self, chart: Chart, bookmarks: Sequence[float]) -> None:
        _say(self.caption, chart.caption)
        series = [s for s in ((s, _drawn(s.y, chart.log)) for s in chart.series) if np.isfinite(s[1]).any()]
        label = f"log10 {chart.label}" if chart.log and chart.label else chart.label
        if self._axis.label != label:
            self._axis.label = label
        with ExitStack() as held:
            for mark in (self._lines, self._dots, self._bookmarks):
                held.enter_context(mark.hold_sync())
            self._draw_lines(series)
            self._draw_dots(series)
            marks = np.repeat(np.array(bookmarks, dtype=float)[:, None], 2, axis=1)
            assign(self._bookmarks, len(bookmarks) > 0, x=marks, y=np.tile([0.0, 1.0], (len(marks), 1)))
        if series:
            values = np.concatenate([y[np.isfinite(y)] for _, y in series])
            low, high = float(values.min()), float(values.max())
            pad = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
            form = f".{max(0, min(9, 1 - int(np.floor(np.log10(high - low + 2 * pad)))))}f"
            if self._axis.tick_format != form:
                self._axis.tick_format = form
            _limit(self._y, low - pad, high + pad)

    def _draw_lines(self, series: Sequence[tuple[Series, np.ndarray]]) -> None:
        width = max((len(y) for _, y in series), default=0)
        if width < 2:
            assign(self._lines, False)
            return
        # a shorter line repeats its last point
        x, y = (np.array([np.pad(row, (0, width - len(row)), mode="edge") for row in rows])
                for rows in ([s.x for s, _ in series], [y for _, y in series]))  # fmt: skip
        assign(self._lines, True, x=x, y=y)
        colours = [s.colour for s, _ in series]
        if self._lines.colors != colours:
            self._lines.colors = colours

    def _draw_dots(self, series: Sequence[tuple[Series, np.ndarray]]) -> None:
        few = sum(len(y) for _, y in series) <= FEW
        x, y, colours, names = [], [], [], []
        for one, values in series:
            at = np.flatnonzero(np.isfinite(values))
            at = at if few else at[-1:]
            x.append(one.x[at])
            y.append(values[at])
            colours += [one.colour] * len(at)
            names += [one.name] * len(at)
        if series and self._dots.colors != colours:
            self._dots.colors = colours
        if series:
            assign(self._dots, True, x=np.concatenate(x), y=np.concatenate(y), names=np.array(names))
        else:
            assign(self._dots, False)


class _WayPlot:
    def __init__(self) -> None:
        self._x, self._y = bq.LinearScale(min=0.0, max=1.0), bq.LinearScale(min=0.0, max=1.0)
        scales = {"x": self._x, "y": self._y}
        self.caption = _caption("way")
        self._line = bq.Lines(x=NOTHING, y=NOTHING, scales=scales, visible=False, stroke_width=1.5, colors=[FAINT])
        tip = bq.Tooltip(fields=["name", "x", "y"], labels=["epoch", "x", "y"], formats=["", ".3g", ".3g"])

        def dots(colour: str, **style) -> bq.Scatter:
            return bq.Scatter(
                x=NOTHING, y=NOTHING, scales=scales, visible=False, colors=[colour], display_names=False, tooltip=tip, **style
            )

        self._dots = dots(INK, marker="circle", default_size=14)
        self._marked = dots(CROSSING, marker="triangle-up", default_size=90)
        self._start = dots(INK, marker="circle", default_size=80, fill=False, stroke_width=2)
        self._now = dots(QUADRATIC, marker="diamond", default_size=110)
        axes = [
            bq.Axis(scale=self._x, label="distance in the plane", grid_lines="none", num_ticks=6, label_offset="28px",
                    label_color=INK, tick_format="~g"),
            bq.Axis(scale=self._y, orientation="vertical", grid_lines="none", num_ticks=5, tick_format="~g"),
        ]  # fmt: skip
        self.figure = _figure("way", [self._line, self._dots, self._marked, self._start, self._now], axes)
        self.figure.min_aspect_ratio = self.figure.max_aspect_ratio = _ASPECT

    def show(self, way: Way) -> None:
        _say(self.caption, way.caption)
        xy, names = way.xy, np.array([f"{epoch:.4g}" for epoch in way.epochs])
        some = len(xy) > 1
        parts = {self._dots: range(len(xy)), self._marked: list(way.marked), self._start: [0], self._now: [-1]}
        with ExitStack() as held:
            for mark in (self._line, *parts):
                held.enter_context(mark.hold_sync())
            assign(self._line, some, x=xy[:, 0], y=xy[:, 1])
            for mark, at in parts.items():
                chosen = np.array(at, dtype=int)
                shown = some and len(chosen) > 0
                assign(mark, shown, **({"x": xy[chosen, 0], "y": xy[chosen, 1], "names": names[chosen]} if shown else {}))
        if some:
            # one scale for both axes: what looks farther is farther
            inner = (_ASPECT * _HEIGHT - _MARGIN["left"] - _MARGIN["right"]) / (_HEIGHT - _MARGIN["top"] - _MARGIN["bottom"])
            low, high = xy.min(0), xy.max(0)
            span = 1.15 * max(high[0] - low[0], inner * (high[1] - low[1])) or 1.0
            for scale, middle, width in zip((self._x, self._y), (low + high) / 2, (span, span / inner), strict=True):
                _limit(scale, middle - width / 2, middle + width / 2)


def _drawn(values: np.ndarray, log: bool) -> np.ndarray:
    """Return values as drawn: what has no place in the picture is NaN, a gap."""
    values = np.where(np.isfinite(values), values, np.nan)
    with np.errstate(invalid="ignore"):
        return np.log10(np.where(values > 0, values, np.nan)) if log else values


def _limit(scale: bq.LinearScale, low: float, high: float) -> None:
    if (scale.min, scale.max) != (low, high):
        with scale.hold_sync():
            scale.min, scale.max = float(low), float(high)


def _say(line: widgets.HTML, text: str) -> None:
    if line.value != text:
        line.value = text


def _caption(name: str) -> widgets.HTML:
    # room for two lines: a figure that jumps when its legend grows cannot be watched
    return widgets.HTML(layout=widgets.Layout(min_height="44px")).add_class("nnvis-legend").add_class(f"nnvis-{name}-caption")


def _figure(name: str, marks: list[bq.Mark], axes: list[bq.Axis]) -> bq.Figure:
    figure = bq.Figure(
        marks=marks, axes=axes, animation_duration=0, padding_x=0, padding_y=0, fig_margin=dict(_MARGIN),
        layout=widgets.Layout(width="auto", height=f"{_HEIGHT}px", min_width="280px"),
    )  # fmt: skip
    figure.add_class(f"nnvis-{name}")
    return figure
