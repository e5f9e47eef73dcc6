"""Figures of paths: loss and metrics side by side, all layers in one plot, how far each has moved.

May import: anything of ours but `cli`; uses `matplotlib.figure.Figure` directly, so neither a display nor pyplot's global state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from ..results import COLOURS, MovementTable, PathResult, caption
from .files import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DASHES = ("-", "--", ":", "-.")
_PANEL = (5.4, 4.4)


def path_figure(results: Sequence[PathResult], training: PathResult | None = None) -> Figure:
    """Return the paths of one scope, the loss and each metric side by side.

    Parameters
    ----------
    results : sequence of PathResult
        Of one scope, e.g. the linear and the quadratic path; bands are two standard errors of the paired difference to
        alpha = 1.
    training : PathResult, optional
        Of kind "training": drawn as black dots, with the epochs on a second axis.

    Returns
    -------
    matplotlib.figure.Figure
        A scope whose weights did not move gets the words in place of a curve.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> from nnvis_widgets.export import path_figure
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> path = nv.QuadraticPath(demo.run.initial, demo.run.mid, demo.run.final)
    >>> results = nv.measure_paths(demo.evaluator, [path], ["fc1"], [0, 0.5, 1])
    >>> [axes.get_ylabel() for axes in path_figure(list(results.values())).axes]
    ['loss', 'accuracy']
    """
    first = _one_scope(results)
    shown = [*results, *([] if training is None else [training])]
    figure, panels = _panels("path_figure(results[:-1], results[-1])" if training is not None else "path_figure(results)", shown)
    for axes, quantity in panels:
        drawn = [result for result in results if moved(result)]
        for result in drawn:
            result.plot(axes, quantity)
        if not drawn:
            value = first.values(quantity)[0][-1]
            axes.text(
                0.5, 0.5, f"did not move\n{quantity} {value:.4g} at every alpha", transform=axes.transAxes, ha="center", va="center"
            )
        if training is not None:
            _training_dots(axes, training, quantity)
        _finish(axes, results, quantity)
    relative = f" ({first.relative_distance:.3g} times the length of the start)" if np.isfinite(first.relative_distance) else ""
    figure.suptitle(f"{first.scope}: distance travelled {first.distance:.4g}{relative}")
    figure.supxlabel(_caption(results), fontsize="small")
    return figure


def overview_figure(results: Sequence[PathResult]) -> Figure:
    """Return the paths of many scopes in one plot: the whole model in black, each layer in a colour of its own.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> from nnvis_widgets.export import overview_figure
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> path = nv.LinearPath(demo.run.initial, demo.run.final)
    >>> results = nv.measure_paths(demo.evaluator, [path], [None, "conv1", "fc1"], [0, 0.5, 1])
    >>> figure = overview_figure(list(results.values()))
    >>> [line.get_label().partition(" ")[0] for line in figure.axes[0].lines]
    ['model', 'conv1', 'fc1']
    """
    _one_kind(results)
    figure, panels = _panels("overview_figure(results)", results)
    hues: dict[str, tuple[str, str]] = {}
    for result in results:
        if result.scope != "model":
            turn, hue = divmod(len(hues), len(_HUES))
            hues[result.scope] = (_HUES[hue], _DASHES[turn % len(_DASHES)])
    for axes, quantity in panels:
        for result in results:
            colour, dash = hues.get(result.scope, (COLOURS["training"], "-"))
            order = np.argsort(result.alphas, kind="stable")
            still = "" if moved(result) else ", did not move"
            axes.plot(
                result.alphas[order], result.values(quantity)[0][order], dash, color=colour,
                linewidth=2.2 if result.scope == "model" else 1.4, label=f"{result.scope} ({result.distance:.3g}{still})",
            )  # fmt: skip
        _finish(axes, results, quantity, legend=False)
    panels[-1][0].legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), fontsize="small", title="scope (distance)")
    figure.suptitle(f"{results[0].kind} path of each scope, all other weights at the end of the path")
    figure.supxlabel(_caption(results, bands=False), fontsize="small")
    return figure


def scopes_figure(results: Sequence[PathResult]) -> Figure:
    """Return the paths of several scopes, each with scales of its own: a column for each, a row for the loss and for each metric.

    Parameters
    ----------
    results : sequence of PathResult
        Such as the linear and the quadratic path of every layer; the scopes stand in the order in which they come.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> from nnvis_widgets.export import scopes_figure
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> both = [nv.LinearPath(demo.run.initial, demo.run.final), nv.QuadraticPath(demo.run.initial, demo.run.mid, demo.run.final)]
    >>> results = nv.measure_paths(demo.evaluator, both, ["conv1", "fc1"], [0, 0.5, 1])
    >>> figure = scopes_figure(list(results.values()))
    >>> len(figure.axes)  # two layers, loss and accuracy
    4
    """
    scopes = list(dict.fromkeys(result.scope for result in results))
    if not scopes:
        raise ValueError("results: at least one path, received none")
    quantities = ["loss", *results[0].metrics]
    size = 1.0 + 2.5 * len(scopes), 0.9 + 2.3 * len(quantities)
    figure = Picture("scopes_figure(results)", results, figsize=size, layout="constrained")
    grid = figure.subplots(len(quantities), len(scopes), squeeze=False, sharex=True)
    for column, scope in enumerate(scopes):
        own = [result for result in results if result.scope == scope]
        for line, quantity in enumerate(quantities):
            axes = grid[line, column]
            for result in own:
                result.plot(axes, quantity)
            _finish(axes, own, quantity, legend=False)
            axes.set(xlabel="alpha" if line == len(quantities) - 1 else "", ylabel="" if column else quantity)
        grid[0, column].set_title(f"{scope} (distance {own[0].distance:.3g})", fontsize="medium")
    grid[0, -1].legend(fontsize="small")
    figure.suptitle("each scope alone, all other weights at the end of the path; scales differ", fontsize="medium")
    figure.supxlabel(_caption(results), fontsize="small")
    return figure


def movement_figure(table: MovementTable) -> Figure:
    """Return the distance travelled by each scope as bars."""
    figure = Picture("movement_figure(*results)", [table], figsize=(7.0, 1.2 + 0.28 * len(table.scopes)), layout="constrained")
    table.plot(figure.add_subplot())
    return figure


def moved(result: PathResult) -> bool:
    """Return whether there is a curve to show: the ends differ, or the path leaves its ends and comes back to them."""
    return result.distance > 0 or not np.array_equal(result.loss, np.full_like(result.loss, result.loss[0]), equal_nan=True)


def _one_scope(results: Sequence[PathResult]) -> PathResult:
    scopes = list(dict.fromkeys(result.scope for result in results))
    if len(scopes) != 1:
        raise ValueError(
            f"results: at least one path, all of one scope; received {scopes or 'none'}. overview_figure draws several scopes"
        )
    return results[0]


def _one_kind(results: Sequence[PathResult]) -> None:
    kinds = list(dict.fromkeys(result.kind for result in results))
    if len(kinds) != 1:
        raise ValueError(f"results: at least one path, all of one kind; received {kinds or 'none'}. Draw a figure for each kind")


def _panels(drawn: str, results: Sequence[PathResult]) -> tuple[Figure, list[tuple[Axes, str]]]:
    quantities = ["loss", *results[0].metrics]
    figure = Picture(drawn, results, figsize=(_PANEL[0] * len(quantities), _PANEL[1]), layout="constrained")
    return figure, list(zip(figure.subplots(1, len(quantities), squeeze=False)[0], quantities, strict=True))


def _training_dots(axes: Axes, training: PathResult, quantity: str) -> None:
    training.plot(axes, quantity)
    if training.epochs is None or training.epochs[-1] == training.epochs[0]:
        return
    first, span = float(training.epochs[0]), float(training.epochs[-1] - training.epochs[0])
    second = axes.secondary_xaxis(
        "top", functions=(lambda alpha: first + np.asarray(alpha) * span, lambda epoch: (np.asarray(epoch) - first) / span)
    )
    second.set_xlabel("epoch of the recorded training (dots)")


def _finish(axes: Axes, results: Sequence[PathResult], quantity: str, legend: bool = True) -> None:
    low, high = min(r.alphas.min() for r in results), max(r.alphas.max() for r in results)
    for start, stop in ((low, 0.0), (1.0, high)):
        if start < stop:
            axes.axvspan(start, stop, color="0.92", zorder=0)
    margin = 0.02 * (high - low) or 0.02
    axes.set_xlim(low - margin, high + margin)
    axes.set_title("")
    axes.set_xlabel("alpha (shaded: extrapolation)" if low < 0 or high > 1 else "alpha")
    axes.set_ylabel(quantity)
    if legend and axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small")


def _caption(results: Sequence[PathResult], bands: bool = True) -> str:
    lost = sum(int((~np.isfinite(result.loss)).sum()) for result in results)
    parts = [caption(results[0].provenance, results[0].n)]
    if bands:
        parts.append("bands: two standard errors of the paired difference to alpha = 1")
    if lost:
        parts.append(f"{lost} points are not finite and not drawn")
    return "; ".join(parts)
