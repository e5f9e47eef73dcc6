"""One weight in detail: its two curves over alpha with errors and noise floor, and how far it has gone at each alpha.

May import: results, bqplot, ipywidgets, numpy, plot, theme. Marks are made once and changed under `hold_sync`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

import bqplot as bq
import ipywidgets as widgets
import numpy as np
from bqplot_image_gl.interacts import MouseInteraction

from .plot import NOTHING, assign
from .theme import CROSSING, FAINT, INK, KIND_COLOURS, KIND_DASHES, PIN

_KINDS = ("linear", "quadratic")


@dataclass(frozen=True, eq=False)
class Detail:
    """What is drawn of one weight; arrays over alpha, shape (K,), not finite: not drawn.

    Attributes
    ----------
    alphas : ndarray
    loss, error, u : dict of str to ndarray
        By kind. `error` is the half-width of the band, NaN where there is none.
    before : dict of str to ndarray
        "loss" and "u" of the measured quadratic path, where `loss` and `u` show another one.
    line : (ndarray, ndarray)
        The loss wherever it is known: u, ascending, and the loss there by interpolation.
    ends : (float, float)
        Values of the weight at the start and at the end.
    u_star : float
    u_star_range : (float, float)
        Where resamples of the samples have it.
    turn : (float, float)
        Where the quadratic path turns round: alpha and u.
    level, tolerance : float
        What differs from `level`, the loss at alpha 1, by less than `tolerance` is flat.
    band : bool
    """

    alphas: np.ndarray
    loss: dict[str, np.ndarray]
    error: dict[str, np.ndarray]
    u: dict[str, np.ndarray]
    before: dict[str, np.ndarray]
    line: tuple[np.ndarray, np.ndarray]
    ends: tuple[float, float]
    u_star: float
    u_star_range: tuple[float, float]
    turn: tuple[float, float]
    level: float
    tolerance: float
    band: bool = True


class WeightDetail(widgets.VBox):
    """Two figures over the same alpha: loss, and u.

    Parameters
    ----------
    on_alpha : callable, optional
        ``on_alpha(alpha)``: a place of a figure is clicked.

    Attributes
    ----------
    figures : dict of str to bqplot.Figure
        "loss" and "u".
    lines, bands, shares : dict of str to bqplot.Lines
    before : dict of str to bqplot.Lines
    """

    def __init__(self, on_alpha: Callable[[float], None] = lambda _alpha: None) -> None:
        x, self._loss, self._u, unit = (bq.LinearScale(min=0.0, max=1.0) for _ in range(4))
        self._x = x
        upper, lower, across = {"x": x, "y": self._loss}, {"x": x, "y": self._u}, {"x": x, "y": unit}

        def line(scales: dict[str, bq.Scale], **style) -> bq.Lines:
            return bq.Lines(x=NOTHING, y=NOTHING, scales=scales, visible=False, **style)

        def kinds(scales: dict[str, bq.Scale]) -> dict[str, bq.Lines]:
            return {
                kind: line(scales, colors=[KIND_COLOURS[kind]], line_style=KIND_DASHES[kind], stroke_width=2.5) for kind in _KINDS
            }

        self.lines, self.shares = kinds(upper), kinds(lower)
        self.bands = {
            kind: line(upper, fill="between", fill_colors=[KIND_COLOURS[kind]], fill_opacities=[0.2], opacities=[0, 0])
            for kind in _KINDS
        }
        self.before = {"loss": line(upper, colors=[PIN], stroke_width=1.5), "u": line(lower, colors=[PIN], stroke_width=1.5)}
        self.floor = line(upper, fill="between", fill_colors=["#888888"], fill_opacities=[0.25], opacities=[0, 0])
        self.minimum = line(lower, colors=[CROSSING], line_style="dotted", stroke_width=2)
        self.turn = bq.Scatter(x=NOTHING, y=NOTHING, scales=lower, visible=False, colors=[INK], default_size=60, fill=False,
                               stroke_width=1.8, marker="circle")  # fmt: skip
        outside = {"fill": "bottom", "fill_colors": ["#888888"], "fill_opacities": [0.11], "opacities": [0]}
        self.cursors = [line(across, colors=[FAINT], stroke_width=1.2) for _ in range(2)]
        self._outside = [[line(across, **outside) for _ in range(2)] for _ in range(2)]

        def figure(name: str, marks: list[bq.Mark], y: bq.Scale, label: str, height: str, bottom: str | None) -> bq.Figure:
            axes = [
                bq.Axis(scale=x, label=bottom or "", grid_lines="none", label_color=INK, label_offset="30px", tick_format=".1f"),
                bq.Axis(scale=y, orientation="vertical", label=label, grid_lines="none", label_color=INK, label_offset="62px",
                        num_ticks=4),
            ]  # fmt: skip
            made = bq.Figure(
                marks=marks, axes=axes, animation_duration=0, padding_x=0, padding_y=0,
                fig_margin={"top": 8, "bottom": 44 if bottom else 22, "left": 80, "right": 12},
                layout=widgets.Layout(width="100%", height=height, min_width="300px"),
            )  # fmt: skip
            mouse = MouseInteraction(x_scale=x, y_scale=y, events=["click"], cursor="crosshair")
            mouse.on_msg(lambda _w, content, _b: on_alpha(content["domain"]["x"]) if content.get("event") == "click" else None)
            made.interaction = mouse
            return made.add_class(f"nnvis-{name}")

        loss = [*self._outside[0], self.floor, *self.bands.values(), self.before["loss"], *self.lines.values(), self.cursors[0]]
        share = [*self._outside[1], self.minimum, self.before["u"], *self.shares.values(), self.turn, self.cursors[1]]
        self.figures = {
            "loss": figure("loss", loss, self._loss, "loss", "250px", None),
            "u": figure("u", share, self._u, "u: share of the way", "170px", "alpha"),
        }
        super().__init__(list(self.figures.values()), layout=widgets.Layout(width="100%"))

    def show(self, detail: Detail | None) -> None:
        """Draw one weight; None: nothing."""
        marks = [mark for figure in self.figures.values() for mark in figure.marks]
        if detail is None:
            for mark in marks:
                mark.visible = False
            return
        x = detail.alphas
        low, high = float(x.min()), float(x.max())
        with self._x.hold_sync():
            self._x.min, self._x.max = low - 0.02 * (high - low), high + 0.02 * (high - low)
        with ExitStack() as held:
            for mark in marks:
                held.enter_context(mark.hold_sync())
            self._draw_loss(detail)
            self._draw_u(detail)
            for pair in self._outside:
                for mark, span in zip(pair, ((low, min(0.0, high)), (max(1.0, low), high)), strict=True):
                    assign(mark, span[0] < span[1], x=np.array(span), y=np.ones(2))

    def move_cursor(self, alpha: float | None) -> None:
        """Draw a vertical line in both figures; None draws none."""
        for cursor in self.cursors:
            assign(cursor, alpha is not None, x=np.array([alpha, alpha], dtype=float), y=NOTHING)

    def _draw_loss(self, detail: Detail) -> None:
        x, seen = detail.alphas, []
        detail, origin = readable(detail)
        self.figures["loss"].axes[1].label = "loss" if not origin else f"loss \N{MINUS SIGN} {origin:.6g}"
        for kind in _KINDS:
            y = np.asarray(detail.loss.get(kind, np.full(len(x), np.nan)), float)
            keep = np.isfinite(y)
            # what is not known lies at the ends of the window: a curve has no gap within
            assign(self.lines[kind], keep.sum() > 1, x=x[keep], y=y[keep])
            error = np.asarray(detail.error.get(kind, np.full(len(x), np.nan)), float)
            sure = keep & np.isfinite(error)
            bounds = np.array([y - error, y + error])[:, sure]
            assign(self.bands[kind], detail.band and sure.sum() > 1, x=x[sure], y=bounds)
            seen += [y[keep], bounds.ravel() if detail.band else y[:0]]
        _draw_before(self.before["loss"], x, detail.before.get("loss"), seen)
        level = np.array([[detail.level - detail.tolerance] * 2, [detail.level + detail.tolerance] * 2])
        known = bool(np.isfinite(level).all())
        assign(self.floor, known, x=x[[0, -1]], y=level)
        if known:
            seen.append(level.ravel())
        fit(self._loss, self.figures["loss"].axes[1], seen)

    def _draw_u(self, detail: Detail) -> None:
        x, seen = detail.alphas, [np.array([0.0, 1.0])]
        for kind in _KINDS:
            y = np.asarray(detail.u.get(kind, np.full(len(x), np.nan)), float)
            keep = np.isfinite(y)
            assign(self.shares[kind], keep.sum() > 1, x=x[keep], y=y[keep])
            seen.append(y[keep])
        _draw_before(self.before["u"], x, detail.before.get("u"), seen)
        assign(self.minimum, np.isfinite(detail.u_star), x=x[[0, -1]], y=np.array([detail.u_star] * 2))
        if np.isfinite(detail.u_star):
            seen.append(np.array([detail.u_star]))
        inside = bool(np.isfinite(detail.turn).all()) and x.min() <= detail.turn[0] <= x.max()
        assign(self.turn, inside, x=np.array(detail.turn[:1]), y=np.array(detail.turn[1:]))
        fit(self._u, self.figures["u"].axes[1], seen)


def readable(detail: Detail) -> tuple[Detail, float]:
    """Return a detail whose losses can be written beside an axis, and what was taken off: of a flat curve, the loss at alpha 1."""
    seen = np.concatenate([np.ravel(values) for values in detail.loss.values()])
    span = float(np.ptp(seen[np.isfinite(seen)])) if np.isfinite(seen).any() else 0.0
    if not np.isfinite(detail.level) or max(span, detail.tolerance) > 2e-4:
        return detail, 0.0
    level = detail.level

    def lowered(curves: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: np.asarray(values) - level for name, values in curves.items()}

    before = {**detail.before, **lowered({k: v for k, v in detail.before.items() if k == "loss"})}
    line = detail.line[0], detail.line[1] - level
    return replace(detail, loss=lowered(detail.loss), before=before, line=line, level=0.0), level


def _draw_before(mark: bq.Lines, x: np.ndarray, y: np.ndarray | None, seen: list[np.ndarray]) -> None:
    keep = np.isfinite(y) if y is not None else np.zeros(len(x), bool)
    if y is None or keep.sum() < 2:
        mark.visible = False
        return
    assign(mark, True, x=x[keep], y=y[keep])
    seen.append(y[keep])


def fit(scale: bq.LinearScale, axis: bq.Axis, seen: list[np.ndarray]) -> None:
    """Show everything, with enough decimals to tell neighbouring ticks of a flat curve apart."""
    values = np.concatenate([np.ravel(part) for part in seen]) if seen else np.empty(0)
    if not values.size:
        return
    low, high = float(values.min()), float(values.max())
    pad = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    decimals = int(1 - np.floor(np.log10(high - low + 2 * pad)))
    axis.tick_format = f".{max(decimals, 1)}f" if decimals < 6 else ".1e"
    with scale.hold_sync():
        scale.min, scale.max = low - pad, high + pad
