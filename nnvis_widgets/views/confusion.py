"""A confusion matrix that can be clicked: colours by row, counts as text where there is room.

May import: bqplot, bqplot_image_gl's mouse, ipywidgets, numpy, matplotlib's colour maps, plot, raster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import bqplot as bq
import ipywidgets as widgets
import numpy as np
from bqplot_image_gl.interacts import MouseInteraction
from matplotlib import colormaps

from .plot import assign
from .raster import Raster
from .theme import INK

WRITTEN = 12  # classes up to which counts are written into the cells
_NAMED = 20  # classes up to which every one has its name at the axes


class ConfusionView(widgets.VBox):
    """Targets downwards, predictions to the right; `on_pick` gets the target and the prediction of a cell that is clicked."""

    def __init__(self, on_pick: Callable[[int, int], None]):
        self._on_pick, self._classes = on_pick, 1
        self._x, self._y = bq.LinearScale(min=-0.5, max=0.5), bq.LinearScale(min=-0.5, max=0.5)
        scales = {"x": self._x, "y": self._y}
        self._raster = Raster(scales, pixelated=True)
        words = {"x": np.zeros(1), "y": np.zeros(1), "text": [""], "scales": scales, "visible": False, "align": "middle"}
        # one mark for each of two inks: a label has one colour
        self._counts = {ink: bq.Label(colors=[ink], default_size=11, **words) for ink in ("#FFFFFF", "#000000")}
        self._frame = bq.Scatter(x=np.zeros(1), y=np.zeros(1), scales=scales, marker="square", fill=False, colors=["#D55E00"],
                                 stroke_width=3, default_size=200, visible=False)  # fmt: skip
        mouse = MouseInteraction(x_scale=self._x, y_scale=self._y, events=["click"], cursor="pointer")
        mouse.on_msg(self._heard)
        self._axes = [
            bq.Axis(scale=self._x, grid_lines="none", label="predicted", label_color=INK, label_offset="30px"),
            bq.Axis(scale=self._y, grid_lines="none", label="target", label_color=INK, label_offset="32px", orientation="vertical"),
        ]
        self.figure = bq.Figure(
            marks=[self._raster.mark, *self._counts.values(), self._frame],
            axes=self._axes,
            interaction=mouse,
            animation_duration=0,
            padding_x=0,
            padding_y=0,
            fig_margin={"top": 6, "bottom": 42, "left": 48, "right": 6},
            layout=widgets.Layout(width="320px", height="314px", min_width="0"),
        )
        self.figure.add_class("nnvis-confusion")
        self._title = widgets.HTML().add_class("nnvis-small")
        super().__init__([self._title, self.figure], layout=widgets.Layout(width="auto"))

    def show(self, counts: np.ndarray, names: Sequence[str] | None, title: str, picked: tuple[int, int] | None) -> None:
        """Draw a matrix of counts, row = target; colours are shares of each row.

        Parameters
        ----------
        counts : ndarray of int, shape (C, C)
        names : sequence of str, optional
            Of the classes; default: their numbers.
        title : str
        picked : (int, int), optional
            Target and prediction of the cell that is framed.
        """
        self._classes = len(counts)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        pixels = colormaps["cividis"](shares, bytes=True)
        edges = np.array([-0.5, self._classes - 0.5])
        for scale in (self._x, self._y):
            with scale.hold_sync():
                scale.min, scale.max = float(edges[0]), float(edges[1])
        self._raster.show(pixels, edges, edges)
        self._write(counts, shares)
        size = 314 / self._classes
        self._frame.default_size = int(max(size, 4) ** 2 * 0.5)
        assign(self._frame, picked is not None, x=np.array([float(picked[1])]) if picked else np.zeros(1),
               y=np.array([self._height(picked[0])]) if picked else np.zeros(1))  # fmt: skip
        ticks = np.arange(self._classes) if self._classes <= _NAMED else np.arange(0, self._classes, 10)
        for axis, places in zip(self._axes, (ticks.astype(float), self._height(ticks)), strict=True):
            called = [str(names[tick]) if names is not None else str(tick) for tick in ticks]
            axis.tick_labels = {f"{place:g}": name for place, name in zip(places, called, strict=True)}
            axis.tick_values = places
        self._title.value = f"{escape(title)}; colours are shares of a row. Click a cell to see its samples."

    @property
    def unshown(self) -> list[widgets.Widget]:
        """Pictures that were shown before and are not closed yet."""
        return self._raster.unshown

    def _height(self, target: np.ndarray | int) -> np.ndarray:
        """Where a target's row lies: the first one is uppermost, as in a table."""
        return self._classes - 1.0 - target

    def _write(self, counts: np.ndarray, shares: np.ndarray) -> None:
        rows, columns = np.nonzero(counts)
        light = shares[rows, columns] < 0.5
        for ink, chosen in (("#FFFFFF", light), ("#000000", ~light)):
            mark, there = self._counts[ink], self._classes <= WRITTEN and bool(chosen.any())
            with mark.hold_sync():
                if there:
                    mark.text = [str(count) for count in counts[rows[chosen], columns[chosen]]]
                assign(mark, there, x=columns[chosen].astype(float), y=self._height(rows[chosen]))

    def pick(self, x: float, y: float) -> None:
        """Choose the cell at a place of the picture, as a click does."""
        target, predicted = round(self._height(y)), round(x)
        if 0 <= target < self._classes and 0 <= predicted < self._classes:
            self._on_pick(target, predicted)

    def _heard(self, _widget: object, content: dict, _buffers: object) -> None:
        if content.get("event") == "click":
            place = content["domain"]
            self.pick(place["x"], place["y"])
