"""Four small figures of a training that is running: losses, other metrics, movement of the layers, the way through weight space.

May import: bqplot, ipywidgets, numpy, views.plot, views.theme. Marks are made once and changed under `hold_sync`; nothing here
computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import bqplot as bq
import ipywidgets as widgets
import numpy as np
from bqplot_image_gl.interacts import MouseInteraction

from .plot import NOTHING, assign
from .theme import CROSSING, FAINT, INK, QUADRATIC, SERIES

CHARTS = ("losses", "metrics", "movement")
FEW = 200  # points of a chart that are shown as dots, too
_HEIGHT, _ASPECT = 240, 2.0  # of a figure, and width to height of the one whose axes have one scale
_MARGIN = {"top": 8, "bottom": 44, "left": 62, "right": 14}


@dataclass(frozen=True)
class Series:
    """One line: what is not finite is a gap. `colour` is a place in the cycle of `SERIES`."""

    name: str
    x: np.ndarray
    y: np.ndarray
    colour: int


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
    """What a `MonitorView` draws: charts by the names of `CHARTS`, the way, the epochs of the bookmarks, and a marked one."""

    charts: Mapping[str, Chart]
    way: Way = field(default_factory=Way)
    bookmarks: Sequence[float] = ()
    epoch: float | None = None


class MonitorView(widgets.Box):
    """The four figures of a training monitor.

    Parameters
    ----------
    on_epoch : callable, optional
        ``on_epoch(epoch)``: a place of a figure is clicked; on the way the nearest dot's.

    Attributes
    ----------
    figures : dict of str to bqplot.Figure
        "losses", "metrics", "movement" and "way".
    """

    def __init__(self, on_epoch: Callable[[float], None] = lambda _epoch: None) -> None:
        self._x = bq.LinearScale(min=0.0, max=1.0)
        self._charts = {name: _ChartPlot(name, self._x, on_epoch) for name in CHARTS}
        self._way = _WayPlot(on_epoch)
        plots = {**self._charts, "way": self._way}
        self.figures = {name: plot.figure for name, plot in plots.items()}
        self._cells = {name: widgets.VBox([plot.caption, plot.figure]) for name, plot in plots.items()}
        for cell in self._cells.values():
            cell.layout.flex, cell.layout.min_width = "1 1 480px", "300px"
        super().__init__(list(self._cells.values()), layout=widgets.Layout(flex_flow="row wrap", width="100%"))
        self.add_class("nnvis-curves")

    def show(self, scene: MonitorScene) -> None:
        """Draw a scene; only what differs reaches the browser. A chart that it has not is left out."""
        cells = [cell for name, cell in self._cells.items() if name == "way" or name in scene.charts]
        if list(self.children) != cells:
            self.children = cells
        last = max((float(s.x[-1]) for chart in scene.charts.values() for s in chart.series if len(s.x)), default=1.0)
        first = min((float(s.x[0]) for chart in scene.charts.values() for s in chart.series if len(s.x)), default=0.0)
        last = max(last, first + 1.0)
        pad = 0.02 * (last - first)
        _limit(self._x, first - pad, last + pad)
        for plot in self._charts.values():
            _round_ticks(plot.epochs, 8)
        for name, plot in self._charts.items():
            plot.show(scene.charts.get(name, Chart()), scene.bookmarks, scene.epoch)
        self._way.show(scene.way, scene.epoch)

    @property
    def unshown(self) -> list[widgets.Widget]:
        """Widgets of ours that are in no container now."""
        return list(self._cells.values())


class _ChartPlot:
    def __init__(self, name: str, x: bq.LinearScale, on_epoch: Callable[[float], None]):
        self._y, unit = bq.LinearScale(min=0.0, max=1.0), bq.LinearScale(min=0.0, max=1.0)
        scales = {"x": x, "y": self._y}
        self.caption = _caption(name)
        # dots by the lines themselves: a scatter of several colours paints what is added later black
        self._lines = bq.Lines(x=NOTHING, y=NOTHING, scales=scales, visible=False, stroke_width=2, marker="circle", marker_size=16)
        self._bookmarks = bq.Lines(
            x=NOTHING, y=NOTHING, scales={"x": x, "y": unit}, visible=False, stroke_width=1, line_style="dashed", colors=[CROSSING]
        )
        self._chosen = bq.Lines(x=NOTHING, y=NOTHING, scales={"x": x, "y": unit}, visible=False, stroke_width=1.2, colors=[FAINT])
        self._axis = bq.Axis(scale=self._y, orientation="vertical", grid_lines="none", label_offset="46px", label_color=INK)
        self.epochs = bq.Axis(scale=x, label="epoch", grid_lines="none", label_offset="32px", label_color=INK)
        self.figure = _figure(name, [self._bookmarks, self._lines, self._chosen], [self.epochs, self._axis])
        self.figure.interaction = _clicks(x, self._y, lambda at, _: on_epoch(at))

    def show(self, chart: Chart, bookmarks: Sequence[float], epoch: float | None) -> None:
        _say(self.caption, chart.caption)
        series = [s for s in ((s, _drawn(s.y, chart.log)) for s in chart.series) if np.isfinite(s[1]).any()]
        label = f"log10 {chart.label}" if chart.log and chart.label else chart.label
        if self._axis.label != label:
            self._axis.label = label
        with ExitStack() as held:
            for mark in (self._lines, self._bookmarks, self._chosen):
                held.enter_context(mark.hold_sync())
            self._draw_lines(series)
            marks = np.repeat(np.array(bookmarks, dtype=float)[:, None], 2, axis=1)
            assign(self._bookmarks, len(bookmarks) > 0, x=marks, y=np.tile([0.0, 1.0], (len(marks), 1)))
            shown = epoch is not None and len(series) > 0
            assign(self._chosen, shown, x=np.array([epoch, epoch] if shown else NOTHING, dtype=float), y=NOTHING)
        if series:
            values = np.concatenate([y[np.isfinite(y)] for _, y in series])
            low, high = float(values.min()), float(values.max())
            pad = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
            _limit(self._y, low - pad, high + pad)
            _round_ticks(self._axis, 5)

    def _draw_lines(self, series: Sequence[tuple[Series, np.ndarray]]) -> None:
        parts = [part for one, values in series for part in _parts(one, values)]
        width = max((len(x) for x, _, _ in parts), default=0)
        if not width:
            assign(self._lines, False)
            return
        # a shorter part repeats its last point; bqplot takes no single one
        width = max(width, 2)
        x, y = (np.array([np.pad(part[i], (0, width - len(part[i])), mode="edge") for part in parts]) for i in (0, 1))
        assign(self._lines, True, x=x, y=y)
        colours = [SERIES[colour] for _, _, colour in parts]
        marker = "circle" if sum(len(x) for x, _, _ in parts) <= FEW else None
        for name, value in (("colors", colours), ("marker", marker)):
            if getattr(self._lines, name) != value:
                setattr(self._lines, name, value)


class _WayPlot:
    def __init__(self, on_epoch: Callable[[float], None]) -> None:
        self._on_epoch = on_epoch
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
        self._chosen = dots(INK, marker="circle", default_size=170, fill=False, stroke_width=2)
        self._axes = [
            bq.Axis(scale=self._x, label="distance in the plane", grid_lines="none", label_offset="32px", label_color=INK),
            bq.Axis(scale=self._y, orientation="vertical", grid_lines="none"),
        ]
        self.figure = _figure("way", [self._line, self._dots, self._marked, self._start, self._now, self._chosen], self._axes)
        for mark in (self._dots, self._marked, self._start, self._now):
            mark.on_element_click(lambda _mark, event: self._clicked(event))
        self.figure.min_aspect_ratio = self.figure.max_aspect_ratio = _ASPECT

    def _clicked(self, event: dict) -> None:
        point = event.get("data", {}).get("name")
        if point is not None:
            self._on_epoch(float(point))

    def show(self, way: Way, epoch: float | None) -> None:
        _say(self.caption, way.caption)
        xy, names = way.xy, np.array([f"{epoch:.4g}" for epoch in way.epochs])
        some = len(xy) > 1
        chosen = [] if epoch is None or not some else [int(np.argmin(np.abs(way.epochs - epoch)))]
        parts = {
            self._dots: range(len(xy)),
            self._marked: list(way.marked),
            self._start: [0],
            self._now: [-1],
            self._chosen: chosen,
        }
        with ExitStack() as held:
            for mark in (self._line, *parts):
                held.enter_context(mark.hold_sync())
            assign(self._line, some, x=xy[:, 0], y=xy[:, 1])
            for mark, at in parts.items():
                rows = np.array(at, dtype=int)
                shown = some and len(rows) > 0
                assign(mark, shown, **({"x": xy[rows, 0], "y": xy[rows, 1], "names": names[rows]} if shown else {}))
        if some:
            # one scale for both axes: what looks farther is farther
            inner = (_ASPECT * _HEIGHT - _MARGIN["left"] - _MARGIN["right"]) / (_HEIGHT - _MARGIN["top"] - _MARGIN["bottom"])
            low, high = xy.min(0), xy.max(0)
            span = 1.15 * max(high[0] - low[0], inner * (high[1] - low[1])) or 1.0
            for scale, middle, width in zip((self._x, self._y), (low + high) / 2, (span, span / inner), strict=True):
                _limit(scale, middle - width / 2, middle + width / 2)
            for axis, count in zip(self._axes, (7, 5), strict=True):
                _round_ticks(axis, count)


def _clicks(x: bq.LinearScale, y: bq.LinearScale, act: Callable[[float, float], None]) -> MouseInteraction:
    mouse = MouseInteraction(x_scale=x, y_scale=y, events=["click"], cursor="pointer")

    def heard(_widget: object, content: dict, _buffers: object) -> None:
        if content.get("event") == "click":
            act(content["domain"]["x"], content["domain"]["y"])

    mouse.on_msg(heard)
    return mouse


def _drawn(values: np.ndarray, log: bool) -> np.ndarray:
    """Return values as drawn: what has no place in the picture is NaN, a gap."""
    values = np.where(np.isfinite(values), values, np.nan)
    with np.errstate(invalid="ignore"):
        return np.log10(np.where(values > 0, values, np.nan)) if log else values


def _parts(series: Series, values: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """Return the stretches of a line between its gaps, and its colour."""
    good = np.isfinite(values)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]]).astype(int)))
    return [(series.x[a:b], values[a:b], series.colour) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _limit(scale: bq.LinearScale, low: float, high: float) -> None:
    if (scale.min, scale.max) != (low, high):
        with scale.hold_sync():
            scale.min, scale.max = float(low), float(high)


def _round_ticks(axis: bq.Axis, count: int) -> None:
    """Put at most so many ticks at round numbers: those of bqplot are too many for a small figure."""
    low, high = axis.scale.min, axis.scale.max
    raw = (high - low) / count
    base = 10.0 ** np.floor(np.log10(raw))
    step = base * next(factor for factor in (1, 2, 5, 10) if factor * base >= raw * (1 - 1e-9))
    ticks = step * np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) + 0.0
    if not np.array_equal(axis.tick_values, ticks):
        with axis.hold_sync():
            axis.tick_values, axis.tick_format = ticks, f".{max(0, -int(np.floor(np.log10(step) + 1e-9)))}f"


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
