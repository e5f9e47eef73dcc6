"""A static picture of results: for readers of a saved notebook, where widgets cannot run, and to be taken away.

May import: results, views.recipe, views.theme, matplotlib, numpy.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..results import (
    EpochStudy,
    LayerHistory,
    LayerStudy,
    PairwiseReset,
    ParameterScan,
    PathResult,
    Result,
    SamplesNeeded,
    SurfaceResult,
    TestSizeStudy,
    TrainingSizeStudy,
    caption,
)
from .recipe import metadata
from .theme import CROSSING, QUADRATIC, SERIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure, FigureBase

    from .monitor import MonitorScene

STUDIES = (EpochStudy, TrainingSizeStudy, TestSizeStudy, SamplesNeeded)


@dataclass(frozen=True)
class Still:
    """A picture that has not been drawn yet.

    Attributes
    ----------
    size : (float, float)
        Inches.
    draw : callable
        ``draw(figure)``, or a part of one.
    """

    size: tuple[float, float]
    draw: Callable[[FigureBase], None]


def still_of(results: Mapping[str, Result], metric: str | None = None, *, log: bool = False, band: bool = True) -> Still | None:
    """Return the picture of what the results show; None when there is nothing.

    Parameters
    ----------
    results : dict of str to Result
    metric : str, optional
        Of paths and surfaces, beside the loss; default: the first.
    log, band : bool
        Of paths: the loss on a logarithmic scale; two standard errors around the curves.
    """
    surface = results.get("surface")
    if isinstance(surface, SurfaceResult):
        return _surface(surface, metric) if surface.n.any() else None
    layers = next((results[name] for name in ("layers", "history", "pairs") if name in results), None)
    if isinstance(layers, (LayerStudy, LayerHistory, PairwiseReset)):
        count = len(layers.layers)
        size = (2.6 + 0.6 * count, 1.6 + 0.5 * count) if isinstance(layers, PairwiseReset) else (8.0, 1.4 + 0.3 * count)
        return Still(size, lambda figure: _plotted(figure, [layers]))
    scan = results.get("scan")
    if isinstance(scan, ParameterScan):
        return Still((8.0, 4.2), lambda figure: _plotted(figure, [scan])) if len(scan) else None
    paths = {name: result for name, result in results.items() if isinstance(result, PathResult) and result.n}
    if paths:
        return _paths(paths, metric, log, band)
    studies: list[Any] = [result for result in results.values() if isinstance(result, STUDIES) and result.n]
    return Still((4.6 * len(studies), 3.4), lambda figure: _plotted(figure, studies)) if studies else None


def rendered(stills: Mapping[str, Still], kind: str = "png", recipe: Mapping[str, Any] | None = None) -> bytes:
    """Return pictures as one file, side by side; a name stands above its picture, unless it is empty.

    Parameters
    ----------
    stills : dict of str to Still
        At least one.
    kind : {"png", "svg", "pdf"}
    recipe : mapping, optional
        What `nnvis_widgets.recipe_of` is to find in it.
    """
    import matplotlib

    parts, head = list(stills.values()), 0.3 if any(stills) else 0.0
    tall = max(one.size[1] for one in parts)
    figure = _figure(sum(one.size[0] for one in parts), head + tall)
    if not head and len(parts) == 1:
        parts[0].draw(figure)
    else:
        widths, heights = [one.size[0] for one in parts], [head or 0.01, tall]
        names, below = figure.subfigures(2, len(parts), squeeze=False, width_ratios=widths, height_ratios=heights)
        for name, place, one, room in zip(stills, names, parts, below, strict=True):
            place.text(0.02, 0.5, name, va="center", weight="bold")
            one.draw(room)
    buffer = io.BytesIO()
    # equal pictures are equal files, and the words of an SVG or a PDF stay words
    with matplotlib.rc_context({"svg.hashsalt": "nnvis_widgets", "svg.fonttype": "none", "pdf.fonttype": 42}):
        figure.savefig(buffer, format=kind, dpi=90, metadata=metadata(recipe, kind))
    return buffer.getvalue()


def _paths(paths: Mapping[str, PathResult], metric: str | None, log: bool, band: bool) -> Still:
    metrics = dict.fromkeys(name for result in paths.values() for name in result.metrics)
    quantities = ["loss", *([metric] if metric in metrics else list(metrics)[:1])]

    def draw(figure: FigureBase) -> None:
        for axes, quantity in zip(figure.subplots(1, len(quantities), squeeze=False)[0], quantities, strict=True):
            for name, result in paths.items():
                if quantity in ("loss", *result.metrics):
                    # an overview shows many scopes: one colour for all of them would tell nothing apart
                    style = {} if name in ("linear", "quadratic", "lagrange", "training") else {"color": None, "linewidth": 1.2}
                    result.plot(axes, quantity=quantity, label=name, band=band and not style, **style)
            axes.set_title(quantity, fontsize="medium")
            if log and quantity == "loss":
                axes.set_yscale("log")
        axes.legend(fontsize="x-small")
        scopes = dict.fromkeys(result.scope for result in paths.values() if result.kind != "training")
        first = next(iter(paths.values()))
        label = ", ".join(list(scopes)[:3]) + (" ..." if len(scopes) > 3 else "")
        figure.suptitle(f"{label or 'training'}: {caption(first.provenance, first.n)}", fontsize="small")

    return Still((4.6 * len(quantities), 3.4), draw)


def _surface(surface: SurfaceResult, metric: str | None) -> Still:
    quantities = ["loss", *([metric] if metric in surface.metrics else list(surface.metrics)[:1])]

    def draw(figure: FigureBase) -> None:
        for axes, quantity in zip(figure.subplots(1, len(quantities), squeeze=False)[0], quantities, strict=True):
            surface.plot(axes, quantity)
            axes.set_title(quantity, fontsize="medium")
        kind = surface.plane.get("kind", "")
        figure.suptitle(f"{kind} plane: {caption(surface.provenance, int(surface.n.max()))}", fontsize="small")

    return Still((4.6 * len(quantities), 3.4), draw)


def _plotted(figure: FigureBase, results: Sequence[Any]) -> None:
    for axes, result in zip(figure.subplots(1, len(results), squeeze=False)[0], results, strict=True):
        result.plot(axes)


def monitor_still(scene: MonitorScene) -> Still:
    """Return the picture of the figures of a training monitor."""
    charts = {name: chart for name, chart in scene.charts.items() if chart.series}
    rows = -(-(len(charts) + 1) // 2)

    def draw(figure: FigureBase) -> None:
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

    return Still((9.2, 3.2 * rows), draw)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


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
