"""The weights of one tensor as a map that can be clicked: brightness is the distance each one has travelled.

May import: bqplot, bqplot_image_gl, ipywidgets, numpy, matplotlib's colour maps and raster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import bqplot as bq
import ipywidgets as widgets
import numpy as np
from bqplot_image_gl.interacts import MouseInteraction

from .raster import Raster

_ASPECT = 1.55  # of the picture, width to height
MOST_CELLS = 400  # along one side; a larger tensor shows the largest weight of each block


class WeightMap(widgets.VBox):
    """A picture of a tensor; `on_pick` is called with the flat index of the weight that is clicked.

    Attributes
    ----------
    grid : ndarray of int, shape (rows, columns)
        Flat index of the weight that each cell shows; -1 for the gaps between filters.
    """

    def __init__(self, on_pick: Callable[[int], None]):
        self._on_pick = on_pick
        self.grid = np.zeros((1, 1), dtype=int)
        self._x, self._y = bq.LinearScale(min=0.0, max=1.0), bq.LinearScale(min=0.0, max=1.0)
        scales = {"x": self._x, "y": self._y}
        self._raster = Raster(scales, pixelated=True)
        self._mark = bq.Scatter(
            x=[0.0],
            y=[0.0],
            visible=False,
            scales=scales,
            marker="square",
            colors=["#D55E00"],
            fill=False,
            stroke_width=2.5,
            default_size=80,
        )
        mouse = MouseInteraction(x_scale=self._x, y_scale=self._y, events=["click"])
        mouse.on_msg(self._clicked)
        self.figure = bq.Figure(
            marks=[self._raster.mark, self._mark],
            axes=[],
            interaction=mouse,
            animation_duration=0,
            fig_margin={"top": 0, "bottom": 0, "left": 0, "right": 0},  # bqplot subtracts margins from a size that is 0 at first
            padding_x=0,
            padding_y=0,
            layout=widgets.Layout(width="auto", height="190px", min_width="200px"),
        )
        self.figure.add_class("nnvis-map")
        self._caption = widgets.HTML().add_class("nnvis-small")
        super().__init__([self.figure, self._caption], layout=widgets.Layout(width="100%"))

    def show(self, distances: np.ndarray, name: str) -> None:
        """Draw the distances |end - start| of a tensor, any shape."""
        self.grid, values = arrange(distances)
        rows, columns = self.grid.shape
        top = float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
        colours = _colours(values / top if top else np.zeros_like(values))
        self._raster.show(colours, np.array([0.0, columns]), np.array([0.0, rows]))
        # square cells: the side that has room is padded
        wide, tall = max(0.0, rows * _ASPECT - columns) / 2, max(0.0, columns / _ASPECT - rows) / 2
        for scale, size, pad in ((self._x, columns, wide), (self._y, rows, tall)):
            with scale.hold_sync():
                scale.min, scale.max = -pad, size + pad
        block = "" if self.grid.size >= distances.size else "; each cell is the largest of a block"
        self._caption.value = (
            f"{name} {'x'.join(map(str, distances.shape)) or 'scalar'}: distance travelled, 0 (dark) to {top:.3g} (bright){block}. "
            "Click a weight."
        )

    @property
    def unshown(self) -> list[widgets.Widget]:
        """Pictures that were shown before and are not closed yet."""
        return self._raster.unshown

    def mark(self, flat: int | None) -> None:
        """Frame the weight with this flat index."""
        at = np.argwhere(self.grid == flat) if flat is not None else []
        with self._mark.hold_sync():
            if len(at):
                row, column = at[0]
                self._mark.x, self._mark.y = np.array([column + 0.5]), np.array([self.grid.shape[0] - row - 0.5])
            self._mark.visible = bool(len(at))

    def pick(self, x: float, y: float) -> None:
        """Choose the weight at a place of the picture, as a click does."""
        rows, columns = self.grid.shape
        row, column = rows - 1 - int(np.floor(y)), int(np.floor(x))
        if 0 <= row < rows and 0 <= column < columns and self.grid[row, column] >= 0:
            self._on_pick(int(self.grid[row, column]))

    def _clicked(self, _widget, content: dict, _buffers) -> None:
        if content.get("event") == "click":
            place = content["domain"]
            self.pick(place["x"], place["y"])


def arrange(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return flat indices and values as a picture, rows downwards.

    A matrix is shown as it is. Filters (out, in, h, w) become a table of h x w tiles, one row for each output channel, with
    gaps between. Sides longer than 400 cells are reduced to the largest weight of each block.
    """
    shape: Sequence[int] = values.shape
    flat = np.arange(values.size).reshape(shape)
    if values.ndim >= 3:
        out, into = shape[0], shape[1]
        height = int(np.prod(shape[2:-1], dtype=int))
        width = shape[-1]
        tiles = flat.reshape(out, into, height, width)
        gap = 1 if height * width > 1 else 0
        # filters of a single input channel would make one thin column
        across = into if into > 1 else -(-out // max(1, round((out / _ASPECT) ** 0.5)))
        down = -(-out * into // across)
        cells = np.full((down * (height + gap) - gap, across * (width + gap) - gap), -1)
        for number, tile in enumerate(tiles.reshape(-1, height, width)):
            row, column = divmod(number, across)
            top, left = row * (height + gap), column * (width + gap)
            cells[top : top + height, left : left + width] = tile
    elif values.ndim == 2:
        cells = flat
    else:
        columns = min(values.size, 40)
        cells = np.full(-(-values.size // columns) * columns, -1)
        cells[: values.size] = flat.ravel()
        cells = cells.reshape(-1, columns)
    picture = np.where(cells >= 0, values.ravel()[cells], np.nan)
    for axis in (0, 1):
        cells, picture = _reduce(cells, picture, axis)
    return cells, picture


def _reduce(cells: np.ndarray, picture: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    step = -(-cells.shape[axis] // MOST_CELLS)
    if step == 1:
        return cells, picture
    starts = range(0, cells.shape[axis], step)
    kept_cells, kept_values = [], []
    for start in starts:
        part = picture.take(range(start, min(start + step, cells.shape[axis])), axis)
        best = np.where(np.isnan(part), -np.inf, part).argmax(axis)
        select = np.expand_dims(best, axis)
        kept_values.append(np.take_along_axis(part, select, axis))
        kept_cells.append(np.take_along_axis(cells.take(range(start, start + part.shape[axis]), axis), select, axis))
    return np.concatenate(kept_cells, axis), np.concatenate(kept_values, axis)


def _colours(values: np.ndarray) -> np.ndarray:
    from matplotlib import colormaps

    coloured = colormaps["cividis"](np.nan_to_num(values), bytes=True)
    coloured[np.isnan(values)] = (0, 0, 0, 0)
    return coloured
