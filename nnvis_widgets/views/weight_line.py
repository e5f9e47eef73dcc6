"""One weight over its own line: the loss over how far it has gone, and above it at which alphas each path is there.

May import: results, bqplot, ipywidgets, numpy, plot, theme, weight_detail. Both curves of a weight are one function read at two
speeds; here the function is seen, and the speeds beside it. Marks are made once and changed under `hold_sync`.
"""

from __future__ import annotations

from contextlib import ExitStack

import bqplot as bq
import ipywidgets as widgets
import numpy as np

from .plot import NOTHING, assign, in_browser, round_numbers
from .theme import CROSSING, FAINT, INK, KIND_COLOURS, KIND_DASHES, PIN
from .weight_detail import Detail, fit, readable

_KINDS = ("linear", "quadratic")
_MARKERS = {"linear": "circle", "quadratic": "diamond"}
_NAMED = (-0.5, 0.0, 0.5, 1.0, 1.5)  # alphas that have a dot on each path


class WeightLine(widgets.VBox):
    """Two figures over the same u: alpha on each path, and the loss.

    Attributes
    ----------
    figures : dict of str to bqplot.Figure
        "way" and "line".
    ways, stops, points : dict of str to bqplot.Mark
        By kind: alpha over u, its dots at round alphas, and the measured losses.
    curve : bqplot.Lines
        The loss between the measured points.
    before : bqplot.Lines
        The way of the measured quadratic path, where another one is shown.
    """

    def __init__(self) -> None:
        x, alpha, loss, unit = (bq.LinearScale(min=0.0, max=1.0) for _ in range(4))
        self._x, self._alpha, self._loss = x, alpha, loss
        upper, lower, across = {"x": x, "y": alpha}, {"x": x, "y": loss}, {"x": x, "y": unit}

        def line(scales: dict[str, bq.Scale], **style) -> bq.Lines:
            return bq.Lines(x=NOTHING, y=NOTHING, scales=scales, visible=False, **style)

        def dots(scales: dict[str, bq.Scale], kind: str, **style) -> bq.Scatter:
            return bq.Scatter(x=NOTHING, y=NOTHING, scales=scales, visible=False, colors=[KIND_COLOURS[kind]],
                              marker=_MARKERS[kind], display_names=False, **style)  # fmt: skip

        self.ways = {
            kind: line(upper, colors=[KIND_COLOURS[kind]], line_style=KIND_DASHES[kind], stroke_width=2.5) for kind in _KINDS
        }
        tip = {"fields": ["y", "x"], "labels": ["alpha", "u"], "formats": [".2f", ".3f"]}
        self.stops = {kind: dots(upper, kind, default_size=46, tooltip=bq.Tooltip(**tip)) for kind in _KINDS}
        self.before = line(upper, colors=[PIN], stroke_width=1.5)
        self.turn = bq.Scatter(x=NOTHING, y=NOTHING, scales=upper, visible=False, colors=[INK], default_size=60, fill=False,
                               stroke_width=1.8, marker="circle")  # fmt: skip
        self.curve = line(lower, colors=[INK], stroke_width=1.5)
        tip = {"fields": ["x", "y"], "labels": ["u", "loss"], "formats": [".3f", ".5g"]}
        self.points = {kind: dots(lower, kind, default_size=28, tooltip=bq.Tooltip(**tip)) for kind in _KINDS}
        self.floor = line(lower, fill="between", fill_colors=["#888888"], fill_opacities=[0.25], opacities=[0, 0])
        self.minima = [line(across, colors=[CROSSING], line_style="dotted", stroke_width=2) for _ in range(2)]
        spread = {"fill": "bottom", "fill_colors": [CROSSING], "fill_opacities": [0.13], "opacities": [0]}
        self.spreads = [line(across, **spread) for _ in range(2)]
        self._ends = [line(across, colors=[FAINT], line_style="dashed", stroke_width=1, opacities=[0.7]) for _ in range(2)]

        def axis(scale: bq.Scale, label: str, **style) -> bq.Axis:
            return bq.Axis(scale=scale, label=label, grid_lines="none", label_color=INK, **style)

        def figure(name: str, marks: list[bq.Mark], axes: list[bq.Axis], height: str, top: int, bottom: int) -> bq.Figure:
            made = bq.Figure(
                marks=marks, axes=axes, animation_duration=0, padding_x=0, padding_y=0,
                fig_margin={"top": top, "bottom": bottom, "left": 80, "right": 12},
                layout=widgets.Layout(width="100%", height=height, min_width="300px"),
            )  # fmt: skip
            return made.add_class(f"nnvis-{name}")

        self._values = axis(x, "value of the weight", side="top", label_offset="32px")
        upright = {"orientation": "vertical", "label_offset": "62px", "num_ticks": 5}
        self._alphas = axis(alpha, "alpha", tick_format=".1f", **upright)
        way = [self._ends[0], self.spreads[0], self.minima[0], self.before, *self.ways.values(), *self.stops.values(), self.turn]
        below = [self._ends[1], self.spreads[1], self.floor, self.minima[1], self.curve, *self.points.values()]
        self.figures = {
            "way": figure("way", way, [self._values, self._alphas], "196px", 50, 6),
            "line": figure(
                "line", below,
                [axis(x, "u: share of the way (0 start, 1 end)", label_offset="30px", tick_format=".2~f"),
                 axis(loss, "loss", **upright)],
                "224px", 6, 44,
            ),
        }  # fmt: skip
        super().__init__(list(self.figures.values()), layout=widgets.Layout(width="100%"))

    def show(self, detail: Detail | None) -> None:
        """Draw one weight; None: nothing."""
        marks = [mark for figure in self.figures.values() for mark in figure.marks]
        if detail is None:
            for mark in marks:
                mark.visible = False
            return
        seen = np.concatenate([np.ravel(part) for part in (*detail.u.values(), detail.line[0], [0.0, 1.0, detail.turn[1]])])
        seen = seen[np.isfinite(seen)]
        low, high = float(seen.min()), float(seen.max())
        for scale, span in ((self._x, (low, high)), (self._alpha, (float(detail.alphas.min()), float(detail.alphas.max())))):
            pad = 0.03 * (span[1] - span[0])
            with scale.hold_sync():
                scale.min, scale.max = span[0] - pad, span[1] + pad
        ticks = np.array([alpha for alpha in _NAMED if self._alpha.min <= alpha <= self._alpha.max])
        if not np.array_equal(self._alphas.tick_values, ticks):
            self._alphas.tick_values = ticks
        self._name_values(detail.ends, low, high)
        with ExitStack() as held:
            for mark in marks:
                held.enter_context(mark.hold_sync())
            self._draw_way(detail)
            self._draw_loss(detail, low, high)
            self._draw_places(detail)

    def _name_values(self, ends: tuple[float, float], low: float, high: float) -> None:
        """Write round values of the weight above the u at which it has them."""
        way = ends[1] - ends[0]
        self._values.visible = bool(np.isfinite(way)) and way != 0
        if not self._values.visible:
            return
        rounds = round_numbers(*sorted((ends[0] + low * way, ends[0] + high * way)), 6)
        places = ((rounds - ends[0]) / way).round(9) + 0.0
        digits = max(0, -int(np.floor(np.log10(np.diff(rounds).min())))) if len(rounds) > 1 else 3
        labels = {in_browser(place): f"{value:.{digits}f}" for place, value in zip(places, rounds, strict=True)}
        if labels != self._values.tick_labels:
            self._values.tick_labels = labels
            self._values.tick_values = np.sort(places)

    def _draw_way(self, detail: Detail) -> None:
        for kind in _KINDS:
            at = np.asarray(detail.u.get(kind, np.full(len(detail.alphas), np.nan)), float)
            keep = np.isfinite(at)
            assign(self.ways[kind], keep.sum() > 1, x=at[keep], y=detail.alphas[keep])
            named = keep & np.isin(detail.alphas, _NAMED)
            assign(self.stops[kind], bool(named.any()), x=at[named], y=detail.alphas[named])
        before = detail.before.get("u")
        assign(self.before, before is not None, x=NOTHING if before is None else before, y=detail.alphas)
        turns = bool(np.isfinite(detail.turn).all()) and detail.alphas.min() <= detail.turn[0] <= detail.alphas.max()
        assign(self.turn, turns, x=np.array(detail.turn[1:]), y=np.array(detail.turn[:1]))

    def _draw_loss(self, detail: Detail, low: float, high: float) -> None:
        detail, origin = readable(detail)
        self.figures["line"].axes[1].label = "loss" if not origin else f"loss \N{MINUS SIGN} {origin:.6g}"
        at, loss = detail.line
        assign(self.curve, len(at) > 1, x=at, y=loss)
        seen = [loss]
        for kind in _KINDS:
            y = np.asarray(detail.loss.get(kind, np.full(len(detail.alphas), np.nan)), float)
            x = np.asarray(detail.u.get(kind, y), float)
            keep = np.isfinite(x) & np.isfinite(y)
            assign(self.points[kind], bool(keep.any()), x=x[keep], y=y[keep])
            seen.append(y[keep])
        level = np.array([[detail.level - detail.tolerance] * 2, [detail.level + detail.tolerance] * 2])
        known = bool(np.isfinite(level).all())
        assign(self.floor, known, x=np.array([low, high]), y=level)
        fit(self._loss, self.figures["line"].axes[1], [*seen, level.ravel()] if known else seen)

    def _draw_places(self, detail: Detail) -> None:
        """Draw the start and the end, the lowest loss, and where resamples of the samples have it."""
        for ends, minimum, spread in zip(self._ends, self.minima, self.spreads, strict=True):
            assign(ends, True, x=np.array([[0.0, 0.0], [1.0, 1.0]]), y=np.array([[0.0, 1.0], [0.0, 1.0]]))
            assign(minimum, bool(np.isfinite(detail.u_star)), x=np.array([detail.u_star] * 2), y=np.array([0.0, 1.0]))
            assign(
                spread, detail.band and bool(np.isfinite(detail.u_star_range).all()), x=np.array(detail.u_star_range), y=np.ones(2)
            )
