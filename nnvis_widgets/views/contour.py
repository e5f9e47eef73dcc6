"""A surface as a flat picture: colours, isolines, runs, paths and marked points; clicks come back in coordinates of the plane.

May import: bqplot, bqplot_image_gl (its mouse, nothing that needs WebGL), ipywidgets, numpy, flat_marks, ground,
plot, surface_scene, theme. Marks are made once and changed under `hold_sync`; what has not changed is not sent.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from html import escape

import bqplot as bq
import ipywidgets as widgets
import numpy as np
from bqplot_image_gl.interacts import MouseInteraction

from . import ground
from .flat_marks import FlatMarks, reached
from .plot import round_numbers
from .surface_scene import SurfaceScene
from .theme import INK, KIND_COLOURS, KIND_DASHES, OTHER, swatch

_MARGIN = {"top": 16, "bottom": 48, "left": 66, "right": 10}
_AREA, _WIDTHS, _HEIGHTS = 420.0**2, (260, 560), (240, 460)  # pixels of the ground
_BESIDE = 146  # pixels left and right of the ground, with the bar of colours
_REACH = 8.0  # pixels: how near to a dot a click means the dot


class ContourView(widgets.VBox):
    """The flat picture of a surface.

    Parameters
    ----------
    on_click : callable
        ``on_click(x, y, second)``: a click on the ground, in coordinates of the plane. `second` is true with Ctrl, Alt or Cmd
        held down, which means the second of two points; bqplot's mouse does not report Shift.
    on_checkpoint : callable
        ``on_checkpoint(name of the track, index)``: a click within 8 pixels of a checkpoint; it is no click on the ground.
    on_hover : callable, optional
        ``on_hover(x, y)``: the mouse has moved, at most ten times a second.

    Attributes
    ----------
    figure : bqplot.Figure
    room : int
        Width of the place of this view in pixels, which it keeps to when it is drawn next; 0 if that is not known.
    labels : tuple of str
        What is written at the two axes.
    """

    def __init__(
        self,
        on_click: Callable[[float, float, bool], None],
        on_checkpoint: Callable[[str, int], None],
        on_hover: Callable[[float, float], None] | None = None,
    ):
        self._on_click, self._on_checkpoint, self._on_hover = on_click, on_checkpoint, on_hover
        self._scene: SurfaceScene | None = None
        self._painted: tuple | None = None
        self.room = 0
        self._size = (int(_AREA**0.5), int(_AREA**0.5))
        self._x, self._y = bq.LinearScale(min=0.0, max=1.0), bq.LinearScale(min=0.0, max=1.0)
        self._marks = FlatMarks({"x": self._x, "y": self._y})
        mouse = MouseInteraction(
            x_scale=self._x,
            y_scale=self._y,
            events=["click", "mousemove"] if on_hover else ["click"],
            move_throttle=100,
            cursor="crosshair",
        )
        mouse.on_msg(self._heard)
        self._axes = [
            bq.Axis(scale=self._x, grid_lines="none", label_color=INK, label_offset="34px"),
            bq.Axis(scale=self._y, grid_lines="none", label_color=INK, label_offset="46px", orientation="vertical"),
        ]
        self.figure = bq.Figure(
            marks=self._marks.all(),
            axes=self._axes,
            interaction=mouse,
            animation_duration=0,
            padding_x=0,
            padding_y=0,
            fig_margin=_MARGIN,
        )  # fmt: skip
        self.figure.add_class("nnvis-contour")
        self._bar_title = widgets.HTML().add_class("nnvis-small")
        self._bar = widgets.HTML(layout=widgets.Layout(margin=f"{_MARGIN['top']}px 0 0 2px", overflow="visible"))
        self._legend = widgets.HTML().add_class("nnvis-legend")
        self._message = widgets.HTML().add_class("nnvis-small").add_class("nnvis-message")
        picture = widgets.HBox([self.figure, self._bar], layout=widgets.Layout(align_items="flex-start", overflow="visible"))
        self._resize(self._size)
        self.labels = ("x", "y")
        super().__init__([self._bar_title, picture, self._message, self._legend], layout=widgets.Layout(flex="0 0 auto"))
        self.clear("")

    @property
    def labels(self) -> tuple[str, str]:
        """What is written at the two axes."""
        return self._axes[0].label, self._axes[1].label

    @labels.setter
    def labels(self, labels: tuple[str, str]) -> None:
        for axis, label in zip(self._axes, labels, strict=True):
            axis.label = label

    def show(self, scene: SurfaceScene) -> None:
        """Draw a scene; only what differs reaches the browser."""
        self._scene = scene
        self._message.layout.display = "none"
        self._frame(scene)
        with ExitStack() as held:
            for mark in self.figure.marks:
                held.enter_context(mark.hold_sync())
            self._paint(scene)
            self._marks.draw(scene)
        self._legend.value = _legend(scene)

    def clear(self, message: str) -> None:
        """Show empty axes and a line of text: there is no surface yet."""
        self._scene = self._painted = None
        for mark in self.figure.marks:
            mark.visible = False
        self._bar.value = self._bar_title.value = self._legend.value = ""
        self._message.value = escape(message)
        self._message.layout.display = None

    def click(self, x: float, y: float, second: bool = False) -> None:
        """Do what a click at a place of the plane does: a checkpoint, if one is near, else the ground."""
        if self._scene is None:
            return
        found = self.checkpoint_at(x, y)
        if found is not None:
            self._on_checkpoint(*found)
        elif self._inside(x, y):
            self._on_click(float(x), float(y), second)

    def checkpoint_at(self, x: float, y: float) -> tuple[str, int] | None:
        """Return name of the track and index of the nearest checkpoint that is drawn within 8 pixels; None where there is none."""
        if self._scene is None:
            return None
        pixels = np.array([self._size[0] / (self._x.max - self._x.min), self._size[1] / (self._y.max - self._y.min)])
        best, answer = _REACH, None
        for track in self._scene.tracks:
            seen = track.xy[: reached(track, self._scene.epoch)]
            away = np.hypot(*((seen - [x, y]) * pixels).T)
            if np.isfinite(away).any() and np.nanmin(away) <= best:
                best, answer = float(np.nanmin(away)), (track.name, int(np.nanargmin(away)))
        return answer

    @property
    def unshown(self) -> list[widgets.Widget]:
        """Pictures that were shown before and are not closed yet."""
        return self._marks.raster.unshown

    def _heard(self, _widget, content: dict, _buffers) -> None:
        place = content.get("domain")
        if self._scene is None or place is None:
            return
        if content["event"] == "click":
            self.click(place["x"], place["y"], any(content.get(key) for key in ("shiftKey", "ctrlKey", "altKey", "metaKey")))
        elif content["event"] == "mousemove" and self._on_hover is not None and self._inside(place["x"], place["y"]):
            self._on_hover(place["x"], place["y"])

    def _inside(self, x: float, y: float) -> bool:
        return self._x.min <= x <= self._x.max and self._y.min <= y <= self._y.max

    def _frame(self, scene: SurfaceScene) -> None:
        """One unit of length is as long along both axes, where the room allows it."""
        surface = scene.surface
        for scale, grid in ((self._x, surface.x), (self._y, surface.y)):
            low, high = float(grid[0]), float(grid[-1])
            if low == high:
                low, high = low - 0.5, high + 0.5
            with scale.hold_sync():
                scale.min, scale.max = low, high
        for axis, scale, room in zip(self._axes, (self._x, self._y), self._size, strict=True):
            ticks = round_numbers(scale.min, scale.max, max(3, room // 60))
            axis.tick_format = f".{max(0, -int(np.floor(np.log10(ticks[1] - ticks[0]) + 1e-9)))}f" if len(ticks) > 1 else ".3g"
            if not np.array_equal(axis.tick_values, ticks):
                axis.tick_values = ticks
        lengths = surface.plane.get("lengths") or (1.0, 1.0)
        aspect = (self._x.max - self._x.min) * lengths[0] / ((self._y.max - self._y.min) * lengths[1])
        widths = _WIDTHS[0], int(np.clip((self.room or 10000) - _BESIDE, *_WIDTHS))
        width = np.clip((_AREA * aspect) ** 0.5, *widths)
        height = np.clip(width / aspect, *_HEIGHTS)
        self._resize((int(np.clip(height * aspect, *widths)), int(height)))

    def _resize(self, size: tuple[int, int]) -> None:
        self._size = size
        width, height = size[0] + _MARGIN["left"] + _MARGIN["right"], size[1] + _MARGIN["top"] + _MARGIN["bottom"]
        for words in (self._legend, self._message):
            words.layout.max_width = f"{width + 60}px"  # not wider than the picture with its bar
        layout = self.figure.layout
        layout.width = layout.min_width = f"{width}px"
        layout.height = layout.min_height = f"{height}px"

    def _paint(self, scene: SurfaceScene) -> None:
        painted = (scene.surface, scene.quantity, scene.scale, scene.colours, scene.levels, self._size)
        if painted == self._painted:
            return
        self._painted = painted
        self._marks.paint(scene, self._size)
        self._bar.value = ground.colour_bar(scene, self._size[1])
        self._bar_title.value = f'<div style="padding-left:{_MARGIN["left"]}px">{escape(_title(scene))}</div>'


def _title(scene: SurfaceScene) -> str:
    return f"{scene.quantity}{' (logarithmic colours)' if scene.logarithmic else ''}"


def _legend(scene: SurfaceScene) -> str:
    items = [(swatch(track.colour, "haloed"), track.name) for track in scene.tracks]
    if scene.tracks:
        items += [("○", "start"), ("★", "end" if scene.epoch is None else f"epoch {scene.epoch:.3g}")]
        if any(np.nanmax(track.off_plane, initial=0.0) > 0.01 for track in scene.tracks):
            items.append(("●•", "the smaller a dot, the farther from the plane"))
    for name in scene.paths:
        items.append((swatch(KIND_COLOURS.get(name, OTHER), KIND_DASHES.get(name, "dash_dotted")), f"{name} path"))
    if scene.along:
        items.append(("◆", "alpha on each path"))
    waiting = int((~scene.measured).sum())
    if waiting:
        items.append(("▒", f"pale: {waiting} points not measured yet"))
    if scene.diverged:
        items.append(("▨", f"grey: {scene.diverged} points not finite"))
    return "".join(f'<span class="item">{mark} {escape(text)}</span>' for mark, text in items)
