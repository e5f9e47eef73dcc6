"""Layers as rows: dots with intervals in zones of harm, names on the left, numbers on the right.

May import: results, bqplot, ipywidgets, numpy, layer_rows, plot, theme. Marks are made once and changed under `hold_sync`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import bqplot as bq
import ipywidgets as widgets
import numpy as np

from ..results.layers import COLOURS
from .layer_rows import HEAD, ROW, Row, Together, cells, names
from .plot import NOTHING, assign, round_numbers
from .theme import FAINT, INK, OTHER

_MARGIN = {"top": HEAD, "bottom": 46, "left": 10, "right": 12}
MARKERS = {
    "critical": "triangle-up", "intermediate": "diamond", "ambient": "circle", "not moved": "circle", "undefined": "cross",
}  # fmt: skip
_DOT = 110  # area of the largest dot: bqplot keeps so much room free at the ends of a scale that it fits
_INSET = (_DOT**0.5 / 2 + 1) / ROW  # that room, in rows
_WIDEST = (-0.6, 1.6)  # of criticality: the first intervals of a measurement may be wider than any picture


@dataclass(frozen=True)
class LayerScene:
    """Everything that a `LayerChart` draws.

    Attributes
    ----------
    rows : sequence of Row
        From the top.
    quantity, axis : str
        The head of its column, and what is written at the axis.
    zones : (float, float) or None
        Below the first everything is ambient, above the second critical; None where the axis knows no zones.
    picked : str or None
        The layer that is framed.
    together : Together or None
        The joint reset, below the layers.
    """

    rows: Sequence[Row] = ()
    quantity: str = "κ"
    axis: str = "criticality κ"
    zones: tuple[float, float] | None = None
    picked: str | None = None
    together: Together | None = None


class LayerChart(widgets.Box):
    """The dot plot of a layer map, between two columns of HTML whose rows are as high as its own.

    Attributes
    ----------
    figure : bqplot.Figure
    names, cells : ipywidgets.HTML
    """

    def __init__(self) -> None:
        self._x, self._y, self._unit = (bq.LinearScale(min=0.0, max=1.0) for _ in range(3))
        self._make_marks()
        self._axis = bq.Axis(scale=self._x, grid_lines="none", label_color=INK, label_offset="32px")
        self.figure = bq.Figure(
            marks=self.marks(), axes=[self._axis], animation_duration=0, padding_x=0, padding_y=0, fig_margin=dict(_MARGIN),
            layout=widgets.Layout(flex="1 1 260px", min_width="220px", height="120px"),
        )  # fmt: skip
        self.figure.add_class("nnvis-dots")
        self.names = widgets.HTML(layout=widgets.Layout(flex="0 0 auto")).add_class("nnvis-names")
        self.cells = widgets.HTML(layout=widgets.Layout(flex="0 0 auto", max_width="100%", overflow="auto hidden"))
        self.cells.add_class("nnvis-numbers")
        super().__init__([self.names, self.figure, self.cells], layout=widgets.Layout(width="100%", align_items="flex-start"))
        self.add_class("nnvis-rows")

    def _make_marks(self) -> None:
        scales, flat = {"x": self._x, "y": self._y}, {"x": self._x, "y": self._unit}

        def line(scales=scales, **style) -> bq.Lines:
            return bq.Lines(x=NOTHING, y=NOTHING, scales=scales, visible=False, **style)

        def dots(**style) -> bq.Scatter:
            return bq.Scatter(x=NOTHING, y=NOTHING, scales=scales, visible=False, display_names=False, **style)

        def words(align: str, colour: str) -> bq.Label:
            return bq.Label(x=NOTHING[:1], y=NOTHING[:1], text=[""], scales=flat, visible=False, align=align, y_offset=-8,
                            default_size=12, colors=[colour], apply_clip=False)  # fmt: skip

        ground = {"scales": flat, "fill": "bottom", "opacities": [0], "fill_opacities": [0.14]}
        self.zones = {name: line(fill_colors=[COLOURS[name]], **ground) for name in ("ambient", "critical")}
        self.zone_words = {"ambient": words("start", INK), "critical": words("end", INK)}
        self.picked = line(fill="between", fill_colors=["#888888"], fill_opacities=[0.2], opacities=[0, 0])
        self.guides = line(flat, colors=[FAINT], line_style="dashed", stroke_width=1, opacities=[0.7])
        self.stems = line(colors=[FAINT], stroke_width=1, opacities=[0.25])
        self.draws = dots(colors=[INK], marker="circle", default_size=16, opacities=[0.45])
        self.links = line(colors=[FAINT], stroke_width=1.5, line_style="dotted")
        tip = {"fields": ["name", "x"], "labels": ["layer", "value"], "formats": ["", ".4g"]}
        self.others = dots(colors=[INK], marker="circle", default_size=70, fill=False, stroke_width=1.5,
                           tooltip=bq.Tooltip(**{**tip, "labels": ["layer, other BatchNorm policy", "value"]}))  # fmt: skip
        self.whiskers = {label: line(colors=[colour], stroke_width=3) for label, colour in COLOURS.items()}
        self.dots = {
            label: dots(colors=[colour], marker=MARKERS[label], default_size=_DOT, fill=label != "not moved", stroke="#404040",
                        stroke_width=0.8 if label != "not moved" else 2, tooltip=bq.Tooltip(**tip))
            for label, colour in COLOURS.items()
        }  # fmt: skip
        self.joint_line = line(colors=[OTHER], stroke_width=3)
        self.joint_gap = line(colors=[OTHER], stroke_width=1.5, line_style="dotted")
        self.joint = dots(colors=[OTHER], marker="square", default_size=100, stroke="#404040", stroke_width=0.8,
                          tooltip=bq.Tooltip(**{**tip, "labels": ["reset together", "value"]}))  # fmt: skip
        self.total = dots(colors=[OTHER], marker="square", default_size=90, fill=False, stroke_width=2,
                          tooltip=bq.Tooltip(**{**tip, "labels": ["sum of the single resets", "value"]}))  # fmt: skip

    def marks(self) -> list[bq.Mark]:
        """Return every mark, in the order of drawing."""
        return [
            *self.zones.values(), self.picked, self.guides, self.stems, self.draws, self.links, *self.whiskers.values(),
            self.joint_gap, self.joint_line, self.others, *self.dots.values(), self.total, self.joint, *self.zone_words.values(),
        ]  # fmt: skip

    def show(self, scene: LayerScene) -> None:
        """Draw a scene; only what differs reaches the browser."""
        count = len(scene.rows) + (scene.together is not None)
        _say(self.names, names(scene.rows, scene.picked, scene.together))
        wide = any(row.strip.size or row.spark.size for row in scene.rows)
        (self.add_class if wide else self.remove_class)("nnvis-wide")  # from which room on the table stands below
        _say(self.cells, cells(scene.rows, scene.picked, scene.together, scene.quantity))
        height = f"{max(count, 1) * ROW + _MARGIN['top'] + _MARGIN['bottom']}px"
        if self.figure.layout.height != height:
            self.figure.layout.height = self.figure.layout.min_height = height
        low, high = limits(scene.rows, scene.zones, scene.together)
        for scale, ends in ((self._x, (low, high)), (self._y, (_INSET, max(count, 1) - _INSET))):
            if (scale.min, scale.max) != ends:
                with scale.hold_sync():
                    scale.min, scale.max = ends
        self._tick(scene.axis)
        y = count - 0.5 - np.arange(len(scene.rows))
        with ExitStack() as held:
            for mark in self.marks():
                held.enter_context(mark.hold_sync())
            self._draw_ground(scene, y)
            self._draw_rows(scene.rows, y)
            self._draw_together(scene.together)

    def _tick(self, label: str) -> None:
        ticks = round_numbers(self._x.min, self._x.max, 6)
        step = ticks[1] - ticks[0] if len(ticks) > 1 else 0.1
        if not np.array_equal(self._axis.tick_values, ticks) or self._axis.label != label:
            with self._axis.hold_sync():
                self._axis.tick_values, self._axis.label = ticks, label
                self._axis.tick_format = f".{max(0, -int(np.floor(np.log10(step) + 1e-9)))}f"

    def _draw_ground(self, scene: LayerScene, y: np.ndarray) -> None:
        low, high, top = self._x.min, self._x.max, np.ones(2)
        ends = {"ambient": (low, scene.zones[0]), "critical": (scene.zones[1], high)} if scene.zones else {}
        words = {"ambient": "● ambient", "critical": "critical ▲"}
        for name, mark in self.zones.items():
            span = ends.get(name)
            there = span is not None and low <= span[0] < span[1] <= high
            assign(mark, there, x=np.array(span if there else NOTHING), y=top)
            label = self.zone_words[name]
            if there and label.text[0] != words[name]:
                label.text = [words[name]]
            assign(label, there, x=np.array([span[0] if name == "ambient" else span[1]]) if there else top[:1], y=top[:1])
        guides = [place for place in ((0.0, 1.0) if scene.zones else (0.0,)) if low < place < high]
        assign(self.guides, bool(guides), x=np.repeat(np.array(guides)[:, None], 2, 1), y=np.tile([0.0, 1.0], (len(guides), 1)))
        at = [place for place, row in zip(y, scene.rows, strict=True) if row.name == scene.picked]
        band = np.array([[at[0] - 0.5] * 2, [at[0] + 0.5] * 2]) if at else NOTHING
        assign(self.picked, bool(at), x=np.array([low, high]), y=band)

    def _draw_rows(self, rows: Sequence[Row], y: np.ndarray) -> None:
        low, high = self._x.min, self._x.max
        assign(self.stems, len(y) > 0, x=np.tile([low, high], (len(y), 1)), y=np.repeat(y[:, None], 2, 1))
        value, below, above = (np.array([getattr(row, name) for row in rows], dtype=float) for name in ("value", "low", "high"))
        called = np.array([row.name for row in rows])
        labels = np.array([row.label for row in rows])
        for label, mark in self.dots.items():
            here = (labels == label) & np.isfinite(value)
            assign(mark, here.any(), x=value[here], y=y[here], names=called[here])
            ranged = here & np.isfinite(below) & np.isfinite(above)
            ends = np.clip(np.stack([below, above], axis=1)[ranged], low, high)
            assign(self.whiskers[label], ranged.any(), x=ends, y=np.repeat(y[ranged][:, None], 2, 1))
        self._draw_others(rows, value, y)
        points = [(v, place + _jitter(k)) for row, place in zip(rows, y, strict=True) for k, v in enumerate(row.draws)]
        points = np.array([point for point in points if np.isfinite(point[0])]).reshape(-1, 2)
        assign(self.draws, len(points) > 0, x=points[:, 0], y=points[:, 1])

    def _draw_others(self, rows: Sequence[Row], value: np.ndarray, y: np.ndarray) -> None:
        found = [(row.name, v, other, at) for row, v, at in zip(rows, value, y, strict=True) for other in row.others]
        found = [one for one in found if np.isfinite(one[2])]
        other, at = (np.array([one[i] for one in found], dtype=float) for i in (2, 3))
        assign(self.others, bool(found), x=other, y=at, names=np.array([one[0] for one in found]))
        linked = [(one[1], one[2], one[3]) for one in found if np.isfinite(one[1])]
        ends = np.array(linked, dtype=float).reshape(-1, 3)
        assign(self.links, bool(linked), x=ends[:, :2], y=np.repeat(ends[:, 2:], 2, 1))

    def _draw_together(self, together: Together | None) -> None:
        there = together is not None and np.isfinite(together.value)
        marks = (self.joint, self.joint_line, self.total, self.joint_gap)
        if not there:
            for mark in marks:
                assign(mark, False)
            return
        name, level = np.array([together.name]), np.array([0.5])
        assign(self.joint, True, x=np.array([together.value]), y=level, names=name)
        ends = np.clip([together.low, together.high], self._x.min, self._x.max)
        assign(self.joint_line, bool(np.isfinite(ends).all()), x=ends, y=np.repeat(level, 2))
        there = bool(np.isfinite(together.total))
        assign(self.total, there, x=np.array([together.total]), y=level, names=name)
        assign(self.joint_gap, there, x=np.array([together.total, together.value]), y=np.repeat(level, 2))


def limits(rows: Sequence[Row], zones: tuple[float, float] | None, together: Together | None = None) -> tuple[float, float]:
    """Return the ends of the axis: no harm and chance are always seen, and what is measured as far as that is sensible."""
    seen = [np.array([row.value, row.low, row.high, *row.others, *row.draws], dtype=float) for row in rows]
    if together is not None:
        seen.append(np.array([together.value, together.high, together.total]))
    values = np.concatenate([part[np.isfinite(part)] for part in seen]) if seen else np.empty(0)
    low, high = min([0.0, *values]), max([1.0 if zones else 1e-6, *values])
    if zones:
        widest = max([_WIDEST[1], *([together.value, together.total] if together is not None else ())])
        low, high = max(low, _WIDEST[0]), min(high, widest)
    pad = 0.04 * (high - low)
    return float(low - pad), float(high + pad)


def _jitter(number: int) -> float:
    """Return how far from the middle of its row a draw is drawn: neighbours apart, the same one always at the same place."""
    return 0.3 * ((number * 0.618034) % 1.0 - 0.5) * 2


def _say(line: widgets.HTML, text: str) -> None:
    if line.value != text:
        line.value = text
