"""Layers as points: the harm of resetting each against how far it has moved, or how many weights it has.

May import: results, bqplot, ipywidgets, numpy, layer_chart, layer_rows, plot, theme. Marks are made once and changed
under `hold_sync`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import bqplot as bq
import ipywidgets as widgets
import numpy as np

from ..results.layers import COLOURS
from .layer_chart import MARKERS, limits
from .layer_rows import Row, Together, cells, names
from .plot import NOTHING, assign, in_browser, round_numbers
from .theme import FAINT, INK, OTHER

_LOGARITHMIC = 20  # ratio of the largest to the smallest from which on the axis is one
_WIDE, _HIGH = 480, 260  # pixels of the plot, roughly: names are placed for these
_LETTER, _LINE = 6.6, 14  # pixels of a letter of a name, and of its height
_CROWDED = 120  # square pixels of a name that may lie over others
_PLACES = {"right": (12, -9, "start"), "left": (-12, -9, "end"), "below": (12, 9, "start"), "before": (-12, 9, "end")}


@dataclass(frozen=True)
class ScatterScene:
    """Everything that a `LayerScatter` draws.

    Attributes
    ----------
    rows : sequence of Row
        In the order of the table.
    against : ndarray
        Where each stands along the axis; NaN where it has no place.
    quantity, axis, across : str
        The head of the column of values, and what is written at the upright and at the other axis.
    zones : (float, float) or None
    picked : str or None
    together : Together or None
    """

    rows: Sequence[Row]
    against: np.ndarray
    quantity: str = "κ"
    axis: str = "criticality κ"
    across: str = ""
    zones: tuple[float, float] | None = None
    picked: str | None = None
    together: Together | None = None


class LayerScatter(widgets.Box):
    """The plot, beside it the rows of the layers.

    Parameters
    ----------
    on_pick : callable
        ``on_pick(name)``: a point is clicked.

    Attributes
    ----------
    figure : bqplot.Figure
    names, cells : ipywidgets.HTML
    """

    def __init__(self, on_pick: Callable[[str], None]):
        self._on_pick = on_pick
        self._x, self._y, self._unit = (bq.LinearScale(min=0.0, max=1.0) for _ in range(3))
        self._make_marks()
        common = {"grid_lines": "none", "label_color": INK}
        self._across = bq.Axis(scale=self._x, label_offset="32px", **common)
        self._axis = bq.Axis(scale=self._y, label_offset="44px", orientation="vertical", tick_format=".2~f", **common)
        self.figure = bq.Figure(
            marks=self.marks(), axes=[self._across, self._axis], animation_duration=0, padding_x=0, padding_y=0,
            fig_margin={"top": 10, "bottom": 48, "left": 62, "right": 14},
            layout=widgets.Layout(flex="1 1 380px", min_width="280px", height="330px"),
        )  # fmt: skip
        self.figure.add_class("nnvis-against")
        self.names = widgets.HTML(layout=widgets.Layout(flex="0 0 auto")).add_class("nnvis-names")
        self.cells = widgets.HTML(layout=widgets.Layout(flex="0 1 auto", overflow="auto hidden")).add_class("nnvis-numbers")
        table = widgets.Box([self.names, self.cells], layout=widgets.Layout(flex="0 1 auto", align_items="flex-start"))
        layout = widgets.Layout(width="100%", flex_flow="row wrap", align_items="flex-start")
        super().__init__([self.figure, table.add_class("nnvis-rows").add_class("nnvis-besides")], layout=layout)

    def _make_marks(self) -> None:
        scales, across = {"x": self._x, "y": self._y}, {"x": self._unit, "y": self._y}

        def line(scales=scales, **style) -> bq.Lines:
            return bq.Lines(x=NOTHING, y=NOTHING, scales=scales, visible=False, **style)

        def dots(**style) -> bq.Scatter:
            return bq.Scatter(x=NOTHING, y=NOTHING, scales=scales, visible=False, display_names=False, **style)

        ground = {"scales": across, "fill": "between", "opacities": [0, 0], "fill_opacities": [0.14]}
        self.zones = {name: line(fill_colors=[COLOURS[name]], **ground) for name in ("ambient", "critical")}
        self.guides = line(across, colors=[FAINT], line_style="dashed", stroke_width=1, opacities=[0.7])
        self.whiskers = {label: line(colors=[colour], stroke_width=3) for label, colour in COLOURS.items()}
        self.chosen = dots(colors=[OTHER], marker="square", default_size=330, fill=False, stroke_width=2)
        self.picked = dots(colors=[INK], marker="circle", default_size=330, fill=False, stroke_width=2)
        tip = {"fields": ["name", "x", "y"], "labels": ["layer", "across", "value"], "formats": ["", ".3g", ".4g"]}
        self.dots = {
            label: dots(colors=[colour], marker=MARKERS[label], default_size=110, fill=label != "not moved", stroke="#404040",
                        stroke_width=0.8 if label != "not moved" else 2, tooltip=bq.Tooltip(**tip))
            for label, colour in COLOURS.items()
        }  # fmt: skip
        for mark in self.dots.values():
            mark.on_element_click(self._heard)
        self.words = {
            place: bq.Label(x=NOTHING[:1], y=NOTHING[:1], text=[""], scales=scales, visible=False, x_offset=x, y_offset=y,
                            align=align, default_size=12, font_weight="normal", colors=[INK])
            for place, (x, y, align) in _PLACES.items()
        }  # fmt: skip

    def marks(self) -> list[bq.Mark]:
        """Return every mark, in the order of drawing."""
        return [*self.zones.values(), self.guides, *self.whiskers.values(), self.chosen, self.picked, *self.words.values(),
                *self.dots.values()]  # fmt: skip

    def show(self, scene: ScatterScene) -> None:
        """Draw a scene; only what differs reaches the browser."""
        for line, text in (
            (self.names, names(scene.rows, scene.picked, scene.together)),
            (self.cells, cells(scene.rows, scene.picked, scene.together, scene.quantity)),
        ):
            if line.value != text:
                line.value = text
        place = np.asarray(scene.against, dtype=float)
        value, low, high = (np.array([getattr(row, name) for row in scene.rows], float) for name in ("value", "low", "high"))
        seen = np.isfinite(place) & np.isfinite(value)
        logarithmic = bool(seen.any() and (place[seen] > 0).all() and place[seen].max() > _LOGARITHMIC * place[seen].min())
        x = np.log10(np.where(place > 0, place, 1.0)) if logarithmic else place
        self._fit(scene, x[seen], logarithmic)
        bottom, top = self._y.min, self._y.max
        with ExitStack() as held:
            for mark in self.marks():
                held.enter_context(mark.hold_sync())
            ends = {"ambient": (bottom, scene.zones[0]), "critical": (scene.zones[1], top)} if scene.zones else {}
            for name, mark in self.zones.items():
                start, stop = ends.get(name, (0.0, 0.0))
                assign(mark, bottom <= start < stop <= top, x=NOTHING, y=np.array([[start] * 2, [stop] * 2]))
            guides = np.array([level for level in ((0.0, 1.0) if scene.zones else (0.0,)) if bottom < level < top])
            assign(self.guides, guides.size > 0, x=np.tile(NOTHING, (len(guides), 1)), y=np.repeat(guides[:, None], 2, 1))
            called, labels = np.array([row.name for row in scene.rows]), np.array([row.label for row in scene.rows])
            for label, mark in self.dots.items():
                here = seen & (labels == label)
                assign(mark, here.any(), x=x[here], y=value[here], names=called[here])
                ranged = here & np.isfinite(low) & np.isfinite(high)
                spans = np.clip(np.stack([low, high], axis=1)[ranged], bottom, top)
                assign(self.whiskers[label], ranged.any(), x=np.repeat(x[ranged][:, None], 2, 1), y=spans)
            for mark, here in (
                (self.picked, seen & (called == scene.picked)),
                (self.chosen, seen & np.array([row.chosen for row in scene.rows], bool)),
            ):
                assign(mark, here.any(), x=x[here], y=value[here])
            self._name(called[seen], x[seen], value[seen], scene.picked)

    def _fit(self, scene: ScatterScene, x: np.ndarray, logarithmic: bool) -> None:
        start, stop = (float(x.min()), float(x.max())) if x.size else (0.0, 1.0)
        if not logarithmic:
            start = min(start, 0.0)
        room = 0.1 * (stop - start) or 0.1 * abs(stop) or 0.1
        for scale, (low, high) in (
            (self._x, (start - room * (logarithmic or start < 0), stop + room)),
            (self._y, limits(scene.rows, scene.zones)),
        ):
            if (scale.min, scale.max) != (low, high):
                with scale.hold_sync():
                    scale.min, scale.max = low, high
        if logarithmic:
            powers = np.arange(np.floor(self._x.min), np.ceil(self._x.max) + 1)
            factors = (1, 2, 5) if self._x.max - self._x.min < 2 else (1,)
            shown = np.array([float(f"{factor}e{int(power)}") for power in powers for factor in factors])
            ticks = np.log10(shown).round(9)
            kept = (self._x.min <= ticks) & (ticks <= self._x.max)
            ticks, shown = ticks[kept], shown[kept]
        else:
            ticks = shown = round_numbers(self._x.min, self._x.max, 6)
        # bqplot takes labels in only before the values
        labels = {
            in_browser(tick): f"{value:g}" if value < 1e3 else f"{value:,.0f}" for tick, value in zip(ticks, shown, strict=True)
        }
        for axis, label in ((self._across, scene.across), (self._axis, scene.axis)):
            if axis.label != label:
                axis.label = label
        if labels != self._across.tick_labels:
            self._across.tick_labels = labels
            self._across.tick_values = ticks
        levels = round_numbers(self._y.min, self._y.max, 6)
        if not np.array_equal(self._axis.tick_values, levels):
            self._axis.tick_values = levels

    def _name(self, called: np.ndarray, x: np.ndarray, y: np.ndarray, picked: str | None) -> None:
        """Write each name beside its point, those of the most harmful layers first; none over another name or point."""
        wide, high = self._x.max - self._x.min, self._y.max - self._y.min
        across, down = (x - self._x.min) / wide * _WIDE, (self._y.max - y) / high * _HIGH
        taken = [(a - 6, b - 6, a + 6, b + 6) for a, b in zip(across, down, strict=True)]
        found: dict[str, list[int]] = {place: [] for place in _PLACES}
        for number in np.lexsort((down, called != picked)):
            boxes = {place: _box(place, across[number], down[number], len(called[number])) for place in _PLACES}
            hidden = {place: sum(_overlap(box, other) for other in taken) + _outside(box) for place, box in boxes.items()}
            best = min(hidden, key=hidden.__getitem__)
            if hidden[best] <= _CROWDED or called[number] == picked:
                found[best].append(int(number))
                taken.append(boxes[best])
        for place, mark in self.words.items():
            here = found[place]
            text = [str(called[number]) for number in here]
            if here and list(mark.text) != text:
                mark.text = text
            assign(mark, bool(here), x=x[here], y=y[here])

    def _heard(self, mark: bq.Mark, content: dict) -> None:
        place = content.get("data", {}).get("index")
        if place is not None and 0 <= int(place) < len(mark.names):
            self._on_pick(str(mark.names[int(place)]))


def _box(place: str, x: float, y: float, letters: int) -> tuple[float, float, float, float]:
    across, down, align = _PLACES[place]
    left = x + across - (letters * _LETTER if align == "end" else 0)
    return left, y + down - _LINE / 2, left + letters * _LETTER, y + down + _LINE / 2


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return max(0.0, min(one[2], other[2]) - max(one[0], other[0])) * max(0.0, min(one[3], other[3]) - max(one[1], other[1]))


def _outside(box: tuple[float, ...]) -> float:
    return _LINE * (max(0.0, -box[0]) + max(0.0, box[2] - _WIDE)) + 100 * (max(0.0, -box[1]) + max(0.0, box[3] - _HIGH))
