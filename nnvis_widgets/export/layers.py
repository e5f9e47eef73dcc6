"""Figures of layer studies: which layers the model needs, and since when it has them.

May import: results. Figures are made without pyplot.
"""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..results import LayerHistory, LayerStudy, caption
from ..results.layers import COLOURS, MARKERS, TERMS
from .files import Picture

_ROW = 0.36  # inches


def layer_figure(study: LayerStudy) -> Figure:
    """Return one row for each layer: its criticality with interval and draws, between what is harmless and what is critical.

    Parameters
    ----------
    study : LayerStudy

    Returns
    -------
    matplotlib.figure.Figure
        Beside the dots: how many weights a layer has, how far what was put in its place lies from its final weights (in lengths of
        that), by how much the loss rises. Under a model with running
        statistics a bar marks each of the other BatchNorm policies. The caption says samples, split, policy, and what the numbers
        do not hold for.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> figure = nv.layer_figure(nv.measure_layers(demo.evaluator, demo.run))
    >>> [tick.get_text().split()[0] for tick in figure.axes[0].get_yticklabels()]
    ['conv1', 'conv2', 'fc1', 'fc2', 'fc3']
    """
    _check(study, LayerStudy, "nv.measure_layers")
    count = len(study.layers)
    figure = Picture("layer_figure(*results)", [study], figsize=(10.5, 2.6 + _ROW * count), layout="constrained")
    axes, columns = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    study.plot(axes)
    others = {
        policy: values for policy, values in study.policies.items() if not np.array_equal(values, study.criticality, equal_nan=True)
    }
    for (policy, values), style in zip(others.items(), ("|", "_", "x"), strict=False):
        axes.plot(values, np.arange(count), style, color="black", markersize=10, label=f"BatchNorm: {policy}", zorder=5)
    axes.set_title("")
    _columns(columns, study)
    words = [word for word in COLOURS if word in study.label]
    handles: list[Line2D | Patch] = [
        Line2D([], [], linestyle="", marker=MARKERS[word], markerfacecolor="none" if word == "not moved" else COLOURS[word],
               markeredgecolor="0.2", label=word) for word in words
    ]  # fmt: skip
    if study.draws_criticality.shape[1] > 1:
        handles.append(Line2D([], [], linestyle="", marker="o", color="0.45", markersize=3, label="one draw"))
    handles += [Patch(facecolor="#56B4E9", alpha=0.15, label="harmless"), Patch(facecolor="#D55E00", alpha=0.08, label="harmful")]
    handles += [line for line in axes.lines if str(line.get_label()).startswith("BatchNorm")]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), fontsize="small", frameon=False)
    figure.suptitle(study.what, x=0.01, ha="left")
    _finish(figure, [caption(study.provenance, study.n), "intervals: 95 %, for all layers at once", *study.notes, TERMS])
    return figure


def layer_history_figure(history: LayerHistory) -> Figure:
    """Return the map of layers and checkpoints: how much is lost when a layer goes back to what it was then.

    A white tick stands where putting a layer back is shown to do no harm from there on; the numbers are written into maps that have
    room for them.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> figure = nv.layer_history_figure(nv.measure_layer_history(demo.evaluator, demo.run))
    >>> [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    ['0', '1', '2', '3', '4']
    """
    _check(history, LayerHistory, "nv.measure_layer_history")
    count, layers = history.criticality.shape
    figure = Picture(
        "layer_history_figure(*results)",
        [history],
        figsize=(max(7.0, 2.4 + 0.52 * count), 2.4 + _ROW * layers),
        layout="constrained",
    )
    axes = history.plot(figure.add_subplot())
    axes.set_title("")
    if count <= 24:
        for (column, row), value in np.ndenumerate(history.criticality):
            if np.isfinite(value):
                shown = "0" if abs(value) < 0.005 else f"{value:.2f}"
                axes.text(column + 0.5, row + 0.5, shown, ha="center", va="center", fontsize=7,
                          color="black" if value > 0.55 else "white")  # fmt: skip
    figure.suptitle(f"each {history.unit} put back to each checkpoint, all others at the end")
    ticks = np.isfinite(history.shown_since).any()
    notes = ["white tick: no harm from there on"] if ticks else [f"no white ticks: {history.unshown}"] * bool(history.unshown)
    _finish(figure, [caption(history.provenance, history.n), *notes, *history.notes])
    return figure


def _columns(axes: Axes, study: LayerStudy) -> None:
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    titles = ("weights", "distance", "loss rises by")
    for x, title in zip((0.22, 0.5, 0.95), titles, strict=True):
        axes.text(x, -0.75, title, ha="right", va="bottom", fontsize="small", color="0.35")
    for row in range(len(study.layers)):
        relative, rise = study.relative_distance[row], study.loss_rise[row]
        margin = (study.loss_rise_high[row] - study.loss_rise_low[row]) / 2
        known = np.isfinite(rise) and np.isfinite(margin)
        texts = (
            f"{study.parameter_count[row]:,}".replace(",", " "),
            f"{relative:.2f} x" if np.isfinite(relative) else f"{study.distance[row]:.3g}",
            f"{rise:.3g} ± {margin:.2g}" if known else f"{rise:.3g}",
        )
        for x, text in zip((0.22, 0.5, 0.95), texts, strict=True):
            axes.text(x, row, text, ha="right", va="center", fontsize="small")


def _finish(figure: Figure, parts: list[str]) -> None:
    width = int(figure.get_figwidth() * 16)
    figure.supxlabel("\n".join(textwrap.wrap("; ".join(parts), width)), fontsize=8, x=0.01, ha="left")


def _check(result: object, kind: type, source: str) -> None:
    if not isinstance(result, kind):
        raise TypeError(f"{kind.__name__}: as {source} returns it, received a {type(result).__name__}")
