"""A static picture of results, for readers of a saved notebook where widgets cannot run.

May import: results, views.theme, matplotlib, numpy.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..results import (
    EpochStudy,
    LayerHistory,
    LayerStudy,
    ParameterScan,
    PathResult,
    Result,
    SamplesNeeded,
    SurfaceResult,
    TestSizeStudy,
    TrainingSizeStudy,
    caption,
)
from .theme import CROSSING, QUADRATIC, SERIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .monitor import MonitorScene

STUDIES = (EpochStudy, TrainingSizeStudy, TestSizeStudy, SamplesNeeded)


def picture(results: Mapping[str, Result]) -> bytes | None:
    """Return a PNG of what the results show, of paths and surfaces the loss and the first metric; None when there is nothing."""
    surface = results.get("surface")
    if isinstance(surface, SurfaceResult):
        return _surface_picture(surface) if surface.n.any() else None
    layers = results.get("layers", results.get("history"))
    if isinstance(layers, (LayerStudy, LayerHistory)):
        return _layer_picture(layers)
    scan = results.get("scan")
    if isinstance(scan, ParameterScan):
        return _scan_picture(scan) if len(scan) else None
    paths = {name: result for name, result in results.items() if isinstance(result, PathResult) and result.n}
    if not paths:
        return _studies_picture([result for result in results.values() if isinstance(result, STUDIES) and result.n])
    metrics = dict.fromkeys(name for result in paths.values() for name in result.metrics)
    quantities = ["loss", *list(metrics)[:1]]
    figure = _figure(4.6 * len(quantities))
    for axes, quantity in zip(figure.subplots(1, len(quantities), squeeze=False)[0], quantities, strict=True):
        for name, result in paths.items():
            if quantity in ("loss", *result.metrics):
                # an overview shows many scopes: one colour for all of them would tell nothing apart
                style = {} if name in ("linear", "quadratic", "lagrange", "training") else {"color": None, "linewidth": 1.2}
                result.plot(axes, quantity=quantity, label=name, band=not style, **style)
        axes.set_title(quantity, fontsize="medium")
    axes.legend(fontsize="x-small")
    scopes = dict.fromkeys(result.scope for result in paths.values() if result.kind != "training")
    first = next(iter(paths.values()))
    label = ", ".join(list(scopes)[:3]) + (" ..." if len(scopes) > 3 else "")
    figure.suptitle(f"{label or 'training'}: {caption(first.provenance, first.n)}", fontsize="small")
    return _png(figure)


def _studies_picture(studies: list[Any]) -> bytes | None:
    if not studies:
        return None
    figure = _figure(4.6 * len(studies))
    for axes, study in zip(figure.subplots(1, len(studies), squeeze=False)[0], studies, strict=True):
        study.plot(axes)
    return _png(figure)


def _surface_picture(surface: SurfaceResult) -> bytes:
    quantities = ["loss", *list(surface.metrics)[:1]]
    figure = _figure(4.6 * len(quantities))
    for axes, quantity in zip(figure.subplots(1, len(quantities), squeeze=False)[0], quantities, strict=True):
        surface.plot(axes, quantity)
        axes.set_title(quantity, fontsize="medium")
    kind = surface.plane.get("kind", "")
    figure.suptitle(f"{kind} plane: {caption(surface.provenance, int(surface.n.max()))}", fontsize="small")
    return _png(figure)


def _layer_picture(layers: LayerStudy | LayerHistory) -> bytes:
    figure = _figure(8.0, 1.4 + 0.3 * len(layers.layers))
    layers.plot(figure.subplots())
    return _png(figure)


def _scan_picture(scan: ParameterScan) -> bytes:
    figure = _figure(8.0, 4.2)
    scan.plot(figure.subplots())
    return _png(figure)


def monitor_picture(scene: MonitorScene) -> bytes:
    """Return a PNG of the figures of a training monitor."""
    charts = {name: chart for name, chart in scene.charts.items() if chart.series}
    rows = -(-(len(charts) + 1) // 2)
    figure = _figure(9.2, 3.2 * rows)
    panels = list(figure.subplots(rows, 2, squeeze=False).flat)
    for axes, (name, chart) in zip(panels, charts.items(), strict=False):
        for series in chart.series:
            axes.plot(series.x, series.y, ".-", color=SERIES[series.colour], linewidth=1.4, markersize=4, label=series.name)
        if chart.log:
            axes.set_yscale("log")
        if scene.epoch is not None:
            axes.axvline(scene.epoch, color="0.5", linewidth=1)
        for epoch in scene.bookmarks:
            axes.axvline(epoch, color=CROSSING, linewidth=1, linestyle="--")
        axes.set(title=name, xlabel="epoch", ylabel=chart.label)
        axes.legend(fontsize="x-small")
    for axes in panels[len(charts) + 1 :]:
        axes.remove()
    axes, way = panels[len(charts)], scene.way
    axes.plot(way.xy[:, 0], way.xy[:, 1], ".-", color="0.4", linewidth=1.2)
    if len(way.xy):
        axes.plot(*way.xy[0], "o", color="k", fillstyle="none", label="start")
        axes.plot(*way.xy[-1], "D", color=QUADRATIC, label=f"epoch {way.epochs[-1]:g}")
        axes.legend(fontsize="x-small")
    axes.set(title="way through weight space", xlabel="distance in the plane of the principal components", aspect="equal")
    axes.set_adjustable("datalim")
    return _png(figure)


def _figure(width: float, height: float = 3.4) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()


def static_bundle(png: bytes | None) -> dict[str, Any]:
    """Return an output that is invisible wherever the live widget is on the page, and the picture anywhere else.

    A second output, because updating the widget's own one would make JupyterLab render it twice.
    """
    if png is None:
        return {"text/html": "", "text/plain": ""}
    encoded = base64.b64encode(png).decode()
    hide = "<style>body:has(.nnvis) .nnvis-static { display: none }</style>"
    return {
        "text/html": f'{hide}<img class="nnvis-static" alt="what the explorer showed" src="data:image/png;base64,{encoded}">',
        "image/png": encoded,
        "text/plain": "a static picture of the explorer",
    }
