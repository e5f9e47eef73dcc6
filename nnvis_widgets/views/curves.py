"""Curves over alpha, two quantities side by side on one x axis: results in, bqplot marks out.

May import: results, bqplot, ipywidgets, numpy. Marks are made once and changed under `hold_sync`; nothing here computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import bqplot as bq
import ipywidgets as widgets
import numpy as np

from ..results import PathResult
from .plot import NOTHING, Plot, assign


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
    epoch : float or None
        Of the training's dot that has a ring around it.
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
    epoch: float | None = None
    metric: str | None = "accuracy"
    log: bool = False
    band: bool = True
    crossings: bool = True


class CurvesView(widgets.Box):
    """The two plots of a path explorer.

    Parameters
    ----------
    on_epoch : callable, optional
        ``on_epoch(epoch)``: a dot of the training is clicked.

    Attributes
    ----------
    figures : dict of str to bqplot.Figure
        "loss" and "metric".
    """

    def __init__(self, on_epoch: Callable[[float], None] = lambda _epoch: None) -> None:
        self._x = bq.LinearScale(min=0.0, max=1.0)
        self._plots = {name: Plot.make(name, self._x) for name in ("loss", "metric")}
        for plot in self._plots.values():
            plot.training.on_element_click(lambda _mark, event: on_epoch(float(event["data"]["name"])))
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
        for name, plot in self._plots.items():
            self._draw(plot, "loss" if name == "loss" else scene.metric, scene)

    def move_cursor(self, alpha: float) -> None:
        """Move the vertical line of both plots."""
        for plot in self._plots.values():
            plot.cursor.x = np.array([alpha, alpha])

    def zoom(self, on: bool) -> None:
        """Let the mouse drag and the wheel zoom the plots, or not."""
        for plot in self._plots.values():
            pan = bq.PanZoom(scales={"x": [self._x], "y": [plot.y]}) if on else None
            plot.figure.interaction = pan
        self._zoom = on

    def reset(self, scene: Scene) -> None:
        """Return to the range that shows everything."""
        zoomed, self._zoom = self._zoom, False
        for scale in (self._x, *(plot.y for plot in self._plots.values())):
            # when the browser's zoom has not reached the kernel, the same number again would not be sent
            scale.min, scale.max = 0.0, 1.0
        self.show(scene)
        self._zoom = zoomed

    def _draw(self, plot: Plot, quantity: str | None, scene: Scene) -> None:
        plot.figure.layout.display = None if quantity else "none"
        if quantity is None:
            return
        transform = _transform(quantity, scene)
        plot.y_axis.label = f"log10 {quantity}" if transform is _log10 else quantity
        plot.show_epochs(scene.epochs, scene.alpha_range)
        seen: list[np.ndarray] = []
        with ExitStack() as held:
            for mark in plot.marks():
                held.enter_context(mark.hold_sync())
            self._draw_paths(plot, quantity, scene, transform, seen)
            self._draw_many(plot, quantity, scene, transform, seen)
            assign(plot.cursor, True, x=np.array([scene.alpha, scene.alpha]))
            for mark, span in zip(plot.outside, _outside(scene.alpha_range), strict=True):
                assign(mark, span is not None, x=np.array(span or NOTHING), y=np.ones(2))
        low, high = _limits(seen)
        if not self._zoom:
            plot.y_axis.tick_format = _tick_format(high - low)
            with plot.y.hold_sync():
                plot.y.min, plot.y.max = low, high

    def _draw_paths(self, plot: Plot, quantity: str, scene: Scene, transform, seen: list[np.ndarray]) -> None:
        for kind, mark in plot.lines.items():
            result = scene.paths.get(kind)
            if result is None or quantity not in ("loss", *result.metrics):
                mark.visible = plot.bands[kind].visible = plot.points[kind].visible = False
                continue
            x, y, error = _drawn(result, quantity, transform)
            assign(mark, len(x) > 1, x=x, y=y)
            bounds = transform(np.array([_back(y, transform) - 2 * error, _back(y, transform) + 2 * error]))
            clear = np.isfinite(bounds).all(axis=0)
            assign(plot.bands[kind], scene.band and clear.sum() > 1, x=x[clear], y=bounds[:, clear])
            seen += [y, bounds[:, clear]] if scene.band else [y]
            assign(plot.points[kind], len(x) > 0, x=x, y=y)
        training = scene.paths.get("training")
        crossings = np.empty(0)
        if training is not None and quantity in ("loss", *training.metrics):
            x, y, _ = _drawn(training, quantity, transform)
            assign(plot.training, len(x) > 0, x=x, y=y)
            seen.append(y)
            assign(
                plot.training,
                len(x) > 0,
                names=np.array([f"{epoch:g}" for epoch in np.interp(x, training.alphas, training.epochs)]),
            )
            at = (
                len(x)
                if scene.epoch is None
                else int(np.abs(np.interp(x, training.alphas, training.epochs) - scene.epoch).argmin())
            )
            assign(plot.chosen, at < len(x), x=x[at : at + 1], y=y[at : at + 1])
            paths = [scene.paths[kind] for kind in plot.lines if kind in scene.paths]
            found = [
                (at, path.at(at, quantity))
                for path in paths
                for at in path.crossings(training, quantity, tolerance=_tolerance(training, quantity))
            ]
            # the ends are shared by construction; marking them would say nothing
            crossings = np.array([pair for pair in found if 0.0 < pair[0] < 1.0]).reshape(-1, 2)
        else:
            plot.training.visible = plot.chosen.visible = False
        show = scene.crossings and len(crossings) > 0
        assign(plot.crossings, show, x=crossings[:, 0] if show else NOTHING, y=transform(crossings[:, 1]) if show else NOTHING)

    def _draw_many(self, plot: Plot, quantity: str, scene: Scene, transform, seen: list[np.ndarray]) -> None:
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
            assign(mark, len(drawn) > 0, x=x if drawn else NOTHING, y=y if drawn else NOTHING)
            mark.colors, mark.opacities = [c.colour for c in curves], [c.opacity for c in curves]
            mark.labels = [c.label for c in curves]
            seen.append(y)


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
    pad = 0.03 * (high - low) or 0.05 * abs(high) or 0.05
    return low - pad, high + pad
