"""Layers by checkpoints: how harmful it is to put each layer back to where it was then; a heat map, and one layer as a curve.

May import: results, bqplot, bqplot_image_gl's mouse, ipywidgets, numpy, matplotlib's colour maps, layer_rows, plot, raster, theme.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from html import escape

import bqplot as bq
import ipywidgets as widgets
import numpy as np
from bqplot_image_gl.interacts import MouseInteraction

from ..results.layers import COLOURS
from .layer_rows import HEAD, ROW, Row, names
from .plot import NOTHING, assign, round_numbers
from .raster import Raster
from .theme import FAINT, INK

WRITTEN = 20  # checkpoints up to which the values stand in the cells
_TICKS = 16  # checkpoints that are named at the axis
_LETTER = 11
_INSET = (_LETTER**0.5 / 2 + 1) / ROW  # in rows: the room that bqplot keeps free for letters at the ends of a scale
_MARGIN = {"top": HEAD, "bottom": 46, "left": 10, "right": 12}


@dataclass(frozen=True)
class HistoryScene:
    """Everything that a `HistoryView` draws.

    Attributes
    ----------
    rows : sequence of Row
        From the top.
    epochs : ndarray, shape (T,)
    values, low, high : ndarray, shape (L, T)
        In the order of the rows; NaN where nothing is measured.
    since : ndarray, shape (L,)
        The epoch from which on a row is shown to do no harm; NaN for none.
    picked : str or None
    at : int
        The column that is framed.
    zones : (float, float) or None
    unshown : str
        Why no row has such an epoch.
    """

    rows: Sequence[Row]
    epochs: np.ndarray
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    since: np.ndarray
    picked: str | None = None
    at: int = 0
    zones: tuple[float, float] | None = None
    unshown: str = ""


class HistoryView(widgets.VBox):
    """The heat map with the names of its rows, and below it the curve of the layer that is picked.

    Parameters
    ----------
    on_pick : callable
        ``on_pick(row, checkpoint)``: a cell is clicked.

    Attributes
    ----------
    figure, profile : bqplot.Figure
    names : ipywidgets.HTML
    """

    def __init__(self, on_pick: Callable[[int, int], None]):
        self._on_pick, self._shape = on_pick, (1, 1)
        self._x, self._y, self._unit = (bq.LinearScale(min=0.0, max=1.0) for _ in range(3))
        scales = {"x": self._x, "y": self._y}
        self.raster = Raster(scales, pixelated=True)
        words = {"x": np.zeros(1), "y": np.zeros(1), "text": [""], "scales": scales, "visible": False, "align": "middle"}
        self.counts = {ink: bq.Label(colors=[ink], default_size=_LETTER, **words) for ink in ("#FFFFFF", "#000000")}
        self.since = bq.Lines(x=NOTHING, y=NOTHING, scales=scales, visible=False, colors=["#FFFFFF"], stroke_width=2.5)
        self.frame = bq.Lines(x=NOTHING, y=NOTHING, scales=scales, visible=False, colors=["#D55E00"], stroke_width=3)
        mouse = MouseInteraction(x_scale=self._x, y_scale=self._y, events=["click"], cursor="pointer")
        mouse.on_msg(self._heard)
        self._axis = bq.Axis(scale=self._x, grid_lines="none", label="reset to epoch", label_color=INK, label_offset="32px")
        self.figure = bq.Figure(
            marks=[self.raster.mark, self.since, *self.counts.values(), self.frame], axes=[self._axis], interaction=mouse,
            animation_duration=0, padding_x=0, padding_y=0, fig_margin=dict(_MARGIN),
            layout=widgets.Layout(flex="1 1 260px", min_width="220px"),
        )  # fmt: skip
        self.figure.add_class("nnvis-history")
        self.names = widgets.HTML(layout=widgets.Layout(flex="0 0 auto")).add_class("nnvis-names")
        self.bar = widgets.HTML(_bar("")).add_class("nnvis-small").add_class("nnvis-bar")
        self.message = widgets.HTML().add_class("nnvis-small")
        self._make_profile()
        picture = widgets.Box([self.names, self.figure], layout=widgets.Layout(width="100%", align_items="flex-start"))
        super().__init__([self.message, self.bar, picture.add_class("nnvis-rows"), self._title, self._place])

    def _make_profile(self) -> None:
        self._epoch, self._value = bq.LinearScale(min=0.0, max=1.0), bq.LinearScale(min=0.0, max=1.0)
        scales, flat = {"x": self._epoch, "y": self._value}, {"x": self._unit, "y": self._value}

        def line(scales=scales, **style) -> bq.Lines:
            return bq.Lines(x=NOTHING, y=NOTHING, scales=scales, visible=False, **style)

        ground = {"scales": flat, "fill": "between", "opacities": [0, 0], "fill_opacities": [0.14]}
        self.zones = {name: line(fill_colors=[COLOURS[name]], **ground) for name in ("ambient", "critical")}
        self.band = line(fill="between", fill_colors=["#8A8A8A"], fill_opacities=[0.3], opacities=[0, 0])
        self.curve = line(colors=[INK], stroke_width=2, marker="circle", marker_size=20)
        self.here = line(colors=[FAINT], stroke_width=1.2)
        self._profile_axes = [
            bq.Axis(scale=self._epoch, grid_lines="none", label="reset to epoch", label_color=INK, label_offset="32px"),
            bq.Axis(scale=self._value, grid_lines="none", label="criticality κ", label_color=INK, orientation="vertical",
                    label_offset="40px", tick_format=".1f"),
        ]  # fmt: skip
        self.profile = bq.Figure(
            marks=[*self.zones.values(), self.here, self.band, self.curve], axes=self._profile_axes, animation_duration=0,
            padding_x=0, padding_y=0, fig_margin={"top": 8, "bottom": 46, "left": 62, "right": 14},
            layout=widgets.Layout(width="auto", height="210px", min_width="260px"),
        )  # fmt: skip
        self.profile.add_class("nnvis-profile")
        self._title = widgets.HTML().add_class("nnvis-small")
        self._place = widgets.VBox()  # a hidden bqplot figure would be drawn with a negative size

    @property
    def unshown(self) -> list[widgets.Widget]:
        """Widgets of ours that are in no container now, and pictures that are not closed yet."""
        return [self.profile, *self.raster.unshown]

    def show(self, scene: HistoryScene) -> None:
        """Draw a scene; only what differs reaches the browser."""
        rows, columns = max(len(scene.rows), 1), max(len(scene.epochs), 1)
        self._shape = rows, columns
        for line, text in ((self.names, names(scene.rows, scene.picked, None)), (self.bar, _bar(scene.unshown))):
            if line.value != text:
                line.value = text
        height = f"{rows * ROW + _MARGIN['top'] + _MARGIN['bottom']}px"
        if self.figure.layout.height != height:
            self.figure.layout.height = self.figure.layout.min_height = height
        for scale, ends in ((self._x, (0.0, float(columns))), (self._y, (_INSET, rows - _INSET))):
            if (scale.min, scale.max) != ends:
                with scale.hold_sync():
                    scale.min, scale.max = ends
        self._name_checkpoints(scene.epochs)
        self.raster.show(_pixels(scene.values), np.array([0.0, columns]), np.array([0.0, rows]))
        with ExitStack() as held:
            for mark in (self.since, *self.counts.values(), self.frame):
                held.enter_context(mark.hold_sync())
            self._write(scene.values, rows)
            self._end_of_harm(scene, rows)
            self._frame(scene, rows)
        self._show_profile(scene)

    def _name_checkpoints(self, epochs: np.ndarray) -> None:
        every = -(-len(epochs) // _TICKS)
        at = np.arange(0, len(epochs), max(every, 1))
        labels = {f"{place + 0.5:.9g}": f"{epochs[place]:g}" for place in at}
        if labels != self._axis.tick_labels:
            self._axis.tick_labels = labels
            self._axis.tick_values = at + 0.5

    def _write(self, values: np.ndarray, rows: int) -> None:
        few = values.shape[1] <= WRITTEN
        down, across = np.nonzero(np.isfinite(values)) if few else (np.empty(0, int), np.empty(0, int))
        light = values[down, across] < 0.5
        for ink, chosen in (("#FFFFFF", light), ("#000000", ~light)):
            mark, there = self.counts[ink], bool(chosen.any())
            if there:
                text = [f"{value + 0.0:.2f}".replace("0.", ".", 1) for value in values[down[chosen], across[chosen]].round(2)]
                if list(mark.text) != text:
                    mark.text = text
            assign(mark, there, x=across[chosen] + 0.5, y=rows - down[chosen] - 0.5)

    def _end_of_harm(self, scene: HistoryScene, rows: int) -> None:
        down = np.flatnonzero(np.isfinite(scene.since))
        across = np.searchsorted(scene.epochs, scene.since[down]).astype(float)
        there, below = down.size > 0, rows - down - 1.0
        assign(self.since, there, x=np.stack([across, across], axis=1), y=np.stack([below + 0.08, below + 0.92], axis=1))

    def _frame(self, scene: HistoryScene, rows: int) -> None:
        at = [number for number, row in enumerate(scene.rows) if row.name == scene.picked]
        there = bool(at) and 0 <= scene.at < len(scene.epochs)
        left, below = (float(scene.at), rows - at[0] - 1.0) if there else (0.0, 0.0)
        assign(self.frame, there, x=left + np.array([0.0, 1.0, 1.0, 0.0, 0.0]), y=below + np.array([0.0, 0.0, 1.0, 1.0, 0.0]))

    def _show_profile(self, scene: HistoryScene) -> None:
        at = next((number for number, row in enumerate(scene.rows) if row.name == scene.picked), None)
        good = np.isfinite(scene.values[at]) if at is not None else np.zeros(1, bool)
        shown = at is not None and good.sum() > 1
        self._title.value = "" if shown else "Click a row to see its curve."
        if shown != bool(self._place.children):
            self._place.children = [self.profile] if shown else []
        if not shown:
            return
        epochs, value = scene.epochs[good], scene.values[at][good]
        low, high = (np.where(np.isfinite(part[at][good]), part[at][good], value) for part in (scene.low, scene.high))
        ends = min(0.0, *low), max(1.0, *high)
        pad = 0.04 * (ends[1] - ends[0])
        for scale, (start, stop) in (
            (self._epoch, (float(epochs.min()), float(epochs.max()))),
            (self._value, (float(ends[0] - pad), float(ends[1] + pad))),
        ):
            if (scale.min, scale.max) != (start, stop):
                with scale.hold_sync():
                    scale.min, scale.max = start, stop
        for axis, count in zip(self._profile_axes, (10, 5), strict=True):
            ticks = round_numbers(axis.scale.min, axis.scale.max, count)
            if not np.array_equal(axis.tick_values, ticks):
                axis.tick_values = ticks
        self._title.value = (
            f"<b>{escape(scene.rows[at].name)}</b> put back to each checkpoint, the rest trained; band: 95 %, simultaneous"
        )
        with ExitStack() as held:
            for mark in self.profile.marks:
                held.enter_context(mark.hold_sync())
            below, above = scene.zones or (-np.inf, np.inf)
            for mark, (start, stop) in zip(self.zones.values(), ((self._value.min, below), (above, self._value.max)), strict=True):
                assign(mark, start < stop, x=NOTHING, y=np.array([[start] * 2, [stop] * 2]))
            assign(self.curve, True, x=epochs, y=value)
            assign(self.band, True, x=epochs, y=np.stack([low, high]))
            place = scene.epochs[min(max(scene.at, 0), len(scene.epochs) - 1)]
            assign(self.here, True, x=np.array([place, place]), y=np.array([self._value.min, self._value.max]))

    def pick(self, x: float, y: float) -> None:
        """Choose the cell at a place of the picture, as a click does."""
        row, column = self._shape[0] - 1 - int(np.floor(y)), int(np.floor(x))
        if 0 <= row < self._shape[0] and 0 <= column < self._shape[1]:
            self._on_pick(row, column)

    def _heard(self, _widget: object, content: dict, _buffers: object) -> None:
        if content.get("event") == "click":
            self.pick(content["domain"]["x"], content["domain"]["y"])


def _pixels(values: np.ndarray) -> np.ndarray:
    """Return colours from no harm (dark) to chance (bright); what is not measured is empty."""
    from matplotlib import colormaps

    pixels = colormaps["cividis"](np.clip(np.nan_to_num(values), 0.0, 1.0), bytes=True)
    pixels[~np.isfinite(values)] = (0, 0, 0, 0)
    return pixels


def _bar(unshown: str) -> str:
    from matplotlib import colormaps

    stops = ",".join("rgb({},{},{})".format(*colormaps["cividis"](share, bytes=True)[:3]) for share in np.linspace(0, 1, 6))
    style = f"display:inline-block;width:140px;height:10px;background:linear-gradient(90deg,{stops})"
    bar = f'<span role="img" aria-label="colours from dark to bright" style="{style}"></span>'
    line = f"no white lines: {unshown}" if unshown else "white line: from here on resetting is shown to do no harm"
    return f"κ: no harm 0 {bar} 1 chance; {line}"
