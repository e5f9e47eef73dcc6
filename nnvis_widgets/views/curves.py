"""Curves over alpha, two quantities side by side on one x axis: results in, bqplot marks out.

May import: results, bqplot, ipywidgets, numpy. Marks are made once and changed under `hold_sync`; nothing here computes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import bqplot as bq
import ipywidgets as widgets
import numpy as np

from ..results import PathResult
from .theme import CROSSING, FAINT, INK, KIND_COLOURS, KIND_DASHES, PIN

# bqplot writes broken SVG for empty and for NaN data: a mark with nothing to show is hidden and keeps these points
_NOTHING = np.array([0.0, 1.0])


@dataclass(frozen=True)
class Curve:
    """One line of an overview or a pinned one: a result and how to draw it."""

    result: PathResult
    label: str
    colour: str
    opacity: float = 1.0


@dataclass(frozen=True)
class Scene:
    """Everything that a `CurvesView` draws.

    Attributes
    ----------
    paths : dict of str to PathResult
        By kind: "linear", "quadratic", "lagrange", "training".
    curves : sequence of Curve
        An overview's lines.
    pinned : sequence of Curve
    alpha_range : (float, float)
    alpha : float
    epochs : (float, float)
        Epochs at alpha 0 and 1, for the upper axis.
    metric : str or None
        What the second plot shows.
    log, band, crossings : bool
    """

    paths: Mapping[str, PathResult]
    curves: Sequence[Curve] = ()
    pinned: Sequence[Curve] = ()
    alpha_range: tuple[float, float] = (0.0, 1.0)
    alpha: float = 1.0
    epochs: tuple[float, float] | None = None
    metric: str | None = "accuracy"
    log: bool = False
    band: bool = True
    crossings: bool = True


@dataclass
class _Plot:
    """One figure and its marks."""

    figure: bq.Figure
    y: bq.LinearScale
    y_axis: bq.Axis
    lines: dict[str, bq.Lines]
    bands: dict[str, bq.Lines]
    training: bq.Scatter
    crossings: bq.Scatter
    points: dict[str, bq.Scatter]
    many: dict[str, bq.Lines]
    pinned: bq.Lines
    cursor: bq.Lines
    outside: list[bq.Lines] = field(default_factory=list)

    def marks(self) -> list[bq.Mark]:
        return [*self.outside, *self.bands.values(), self.pinned, *self.many.values(), *self.lines.values(),
                *self.points.values(), self.training, self.crossings, self.cursor]  # fmt: skip


class CurvesView(widgets.Box):
    """The two plots of a path explorer.

    Attributes
    ----------
    figures : dict of str to bqplot.Figure
        "loss" and "metric".
    """

    def __init__(self) -> None:
        self._x = bq.LinearScale(min=0.0, max=1.0)
        self._epoch = bq.LinearScale(min=0.0, max=1.0)
        self._plots = {name: self._plot(name) for name in ("loss", "metric")}
        self._zoom = False
        self._limits: dict[str, tuple[float, float]] = {}
        self.figures = {name: plot.figure for name, plot in self._plots.items()}
        super().__init__(list(self.figures.values()), layout=widgets.Layout(flex_flow="row wrap", width="100%"))
        self.add_class("nnvis-curves")

    def show(self, scene: Scene) -> None:
        """Draw a scene; only what differs reaches the browser."""
        low, high = scene.alpha_range
        pad = 0.02 * (high - low)
        if not self._zoom:
            self._x.min, self._x.max = low - pad, high + pad
        epochs = scene.epochs
        if epochs is not None:
            start, span = epochs[0], epochs[1] - epochs[0]
            if not self._zoom:
                with self._epoch.hold_sync():
                    self._epoch.min, self._epoch.max = start + span * (low - pad), start + span * (high + pad)
        for name, plot in self._plots.items():
            self._draw(plot, "loss" if name == "loss" else scene.metric, scene, epochs is not None)

    def move_cursor(self, alpha: float) -> None:
        """Move the vertical line of both plots."""
        for plot in self._plots.values():
            plot.cursor.x = np.array([alpha, alpha])

    def zoom(self, on: bool) -> None:
        """Let the mouse drag and the wheel zoom the plots, or not."""
        for plot in self._plots.values():
            pan = bq.PanZoom(scales={"x": [self._x, self._epoch], "y": [plot.y]}) if on else None
            plot.figure.interaction = pan
        self._zoom = on

    def reset(self, scene: Scene) -> None:
        """Return to the range that shows everything."""
        zoomed, self._zoom = self._zoom, False
        for scale in (self._x, self._epoch, *(plot.y for plot in self._plots.values())):
            # when the browser's zoom has not reached the kernel, the same number again would not be sent
            scale.min, scale.max = 0.0, 1.0
        self.show(scene)
        self._zoom = zoomed

    def _plot(self, name: str) -> _Plot:
        y, unit = bq.LinearScale(min=0.0, max=1.0), bq.LinearScale(min=0.0, max=1.0)
        scales, flat = {"x": self._x, "y": y}, {"x": self._x, "y": unit}

        def line(**style) -> bq.Lines:
            return bq.Lines(x=_NOTHING, y=_NOTHING, scales=scales, visible=False, **style)

        def dots(**style) -> bq.Scatter:
            return bq.Scatter(x=_NOTHING, y=_NOTHING, scales=scales, visible=False, **style)

        def tip(x: str, y: str, point: str | None = None) -> bq.Tooltip:
            named = [("name", point, "")] if point else []
            fields, labels, formats = zip(*named, ("x", x, ".3f"), ("y", y, ".5g"), strict=True)
            return bq.Tooltip(fields=list(fields), labels=list(labels), formats=list(formats))

        kinds = ("linear", "quadratic", "lagrange")
        plot = _Plot(
            figure=None,
            y=y,
            y_axis=bq.Axis(scale=y, orientation="vertical", label=name, grid_lines="none", label_offset="44px", label_color=INK),
            lines={k: line(colors=[KIND_COLOURS[k]], line_style=KIND_DASHES[k], stroke_width=2.5, labels=[k]) for k in kinds},
            bands={
                k: line(colors=[KIND_COLOURS[k]], fill="between", fill_colors=[KIND_COLOURS[k]], fill_opacities=[0.22], opacities=[0, 0])
                for k in kinds
            },
            training=dots(colors=[INK], default_size=36, marker="circle", display_names=False, tooltip=tip("share of epochs", name, "epoch")),
            crossings=dots(colors=[CROSSING], default_size=170, marker="circle", fill=False, stroke_width=2),
            points={k: dots(colors=[KIND_COLOURS[k]], default_size=13, marker="circle", tooltip=tip("alpha", name)) for k in kinds},
            many={k: line(line_style=KIND_DASHES[k], stroke_width=2) for k in kinds[:2]},
            pinned=line(colors=[PIN], stroke_width=1.5, opacities=[0.9]),
            cursor=bq.Lines(x=np.array([1.0, 1.0]), y=np.array([0.0, 1.0]), scales=flat, colors=[FAINT], stroke_width=1.2),
            outside=[
                bq.Lines(x=_NOTHING, y=_NOTHING, scales=flat, fill="bottom", fill_colors=["#888888"], fill_opacities=[0.13], opacities=[0], visible=False)
                for _ in range(2)
            ],
        )  # fmt: skip
        plot.figure = bq.Figure(
            marks=plot.marks(),
            axes=[
                bq.Axis(scale=self._x, label="alpha", grid_lines="none", label_color=INK),
                plot.y_axis,
                bq.Axis(scale=self._epoch, side="top", label="epoch", grid_lines="none", label_color=INK, visible=False),
            ],
            animation_duration=0,
            fig_margin={"top": 42, "bottom": 44, "left": 62, "right": 14},
            layout=widgets.Layout(flex="1 1 330px", min_width="300px", height="330px"),
        )
        plot.figure.add_class(f"nnvis-{name}")
        return plot

    def _draw(self, plot: _Plot, quantity: str | None, scene: Scene, epochs: bool) -> None:
        plot.figure.layout.display = None if quantity else "none"
        if quantity is None:
            return
        transform = _transform(quantity, scene)
        plot.y_axis.label = f"log10 {quantity}" if transform is _log10 else quantity
        plot.figure.axes[2].visible = epochs
        seen: list[np.ndarray] = []
        with ExitStack() as held:
            for mark in plot.marks():
                held.enter_context(mark.hold_sync())
            self._draw_paths(plot, quantity, scene, transform, seen)
            self._draw_many(plot, quantity, scene, transform, seen)
            _set(plot.cursor, True, x=np.array([scene.alpha, scene.alpha]))
            for mark, span in zip(plot.outside, _outside(scene.alpha_range), strict=True):
                _set(mark, span is not None, x=np.array(span or _NOTHING), y=np.ones(2))
        low, high = _limits(seen)
        if not self._zoom:
            plot.y_axis.tick_format = _tick_format(high - low)
            with plot.y.hold_sync():
                plot.y.min, plot.y.max = low, high

    def _draw_paths(self, plot: _Plot, quantity: str, scene: Scene, transform, seen: list[np.ndarray]) -> None:
        for kind, mark in plot.lines.items():
            result = scene.paths.get(kind)
            if result is None or quantity not in ("loss", *result.metrics):
                mark.visible = plot.bands[kind].visible = plot.points[kind].visible = False
                continue
            x, y, error = _drawn(result, quantity, transform)
            _set(mark, len(x) > 1, x=x, y=y)
            bounds = transform(np.array([_back(y, transform) - 2 * error, _back(y, transform) + 2 * error]))
            clear = np.isfinite(bounds).all(axis=0)
            _set(plot.bands[kind], scene.band and clear.sum() > 1, x=x[clear], y=bounds[:, clear])
            seen += [y, bounds[:, clear]] if scene.band else [y]
            _set(plot.points[kind], len(x) > 0, x=x, y=y)
        training = scene.paths.get("training")
        crossings = np.empty(0)
        if training is not None and quantity in ("loss", *training.metrics):
            x, y, _ = _drawn(training, quantity, transform)
            _set(plot.training, len(x) > 0, x=x, y=y)
            seen.append(y)
            _set(plot.training, len(x) > 0, names=np.array([f"{epoch:g}" for epoch in np.interp(x, training.alphas, training.epochs)]))
            paths = [scene.paths[kind] for kind in plot.lines if kind in scene.paths]
            found = [(at, path.at(at, quantity)) for path in paths for at in path.crossings(training, quantity, tolerance=_tolerance(training, quantity))]
            # the ends are shared by construction; marking them would say nothing
            crossings = np.array([pair for pair in found if 0.0 < pair[0] < 1.0]).reshape(-1, 2)
        else:
            plot.training.visible = False
        show = scene.crossings and len(crossings) > 0
        _set(plot.crossings, show, x=crossings[:, 0] if show else _NOTHING, y=transform(crossings[:, 1]) if show else _NOTHING)

    def _draw_many(self, plot: _Plot, quantity: str, scene: Scene, transform, seen: list[np.ndarray]) -> None:
        groups = {kind: [c for c in scene.curves if c.result.kind == kind] for kind in plot.many}
        for mark, curves in (*((plot.many[kind], group) for kind, group in groups.items()), (plot.pinned, list(scene.pinned))):
            curves = [c for c in curves if quantity in ("loss", *c.result.metrics)]
            if not curves:
                mark.visible = False
                continue
            drawn = [_drawn(c.result, quantity, transform)[:2] for c in curves]
            keep = [row for row, (alphas, _) in enumerate(drawn) if len(alphas) > 1]
            curves, drawn = [curves[row] for row in keep], [drawn[row] for row in keep]
            width = max((len(alphas) for alphas, _ in drawn), default=0)
            # a shorter curve repeats its last point
            x, y = (np.array([np.pad(pair[i], (0, width - len(pair[i])), mode="edge") for pair in drawn]) for i in (0, 1))
            _set(mark, len(drawn) > 0, x=x if drawn else _NOTHING, y=y if drawn else _NOTHING)
            mark.colors, mark.opacities = [c.colour for c in curves], [c.opacity for c in curves]
            mark.labels = [c.label for c in curves]
            seen.append(y)


def _set(mark: bq.Mark, visible: bool, **arrays: np.ndarray) -> None:
    """Assign only what has changed (an equal array would still be sent), and nothing to a mark that is hidden."""
    visible = bool(visible)
    if visible:
        for name, array in arrays.items():
            if not np.array_equal(getattr(mark, name), array):
                setattr(mark, name, array)
    if mark.visible != visible:
        mark.visible = visible


def _drawn(result: PathResult, quantity: str, transform) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return alphas, values as drawn, and paired errors of the points that have a place in the picture, by alpha."""
    values, error = result.values(quantity)
    order = np.argsort(result.alphas, kind="stable")
    alphas, values, error = result.alphas[order], transform(values[order].astype(float)), error[order]
    keep = np.isfinite(values)
    return alphas[keep], values[keep], np.nan_to_num(error[keep], nan=0.0, posinf=0.0)


def _back(values: np.ndarray, transform) -> np.ndarray:
    return 10.0**values if transform is _log10 else values


def _transform(quantity: str, scene: Scene):
    """Logarithm of a loss, or nothing."""
    return _log10 if scene.log and quantity == "loss" else _identity


def _identity(values: np.ndarray) -> np.ndarray:
    return values


def _log10(values: np.ndarray) -> np.ndarray:
    """Values that have no logarithm are left out of the picture, not moved."""
    with np.errstate(invalid="ignore"):
        return np.log10(np.where(values > 0, values, np.nan))


def _tolerance(result: PathResult, quantity: str) -> float:
    """Two curves cross where they part by at least a hundredth of the range on both sides; smaller wiggles are not marked."""
    values = result.values(quantity)[0]
    values = values[np.isfinite(values)]
    return 0.01 * float(np.ptp(values)) if values.size else 0.0


def _tick_format(span: float) -> str:
    """Enough decimals to tell neighbouring ticks apart: a flat curve's axis must not read 0.04, 0.04, 0.04."""
    return f".{max(0, min(12, 1 - int(np.floor(np.log10(span)))))}f" if span > 0 else ".3f"


def _outside(alpha_range: tuple[float, float]) -> list[tuple[float, float] | None]:
    low, high = alpha_range
    return [(low, min(0.0, high)) if low < 0 else None, (max(1.0, low), high) if high > 1 else None]


def _limits(seen: Sequence[np.ndarray]) -> tuple[float, float]:
    values = np.concatenate([part.ravel() for part in seen]) if seen else np.empty(0)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    pad = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    return low - pad, high + pad
