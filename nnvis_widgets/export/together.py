"""Figures of several things in one plot: trainings, the weights of a layer, what weights did beside what their curves look like.

May import: results, numpy, matplotlib.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from ..results import COLOURS, ParameterScan, PathResult, WeightCourse, caption
from .files import Picture

_HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKS = ("o", "s", "^", "D", "v", "P")
_FAINTEST = 0.08


def training_figure(runs: Mapping[str, PathResult]) -> Figure:
    """Return the recorded loss and metrics of several trainings over their epochs.

    Parameters
    ----------
    runs : dict of str to PathResult
        Of kind "training", as `measure_training` returns them, by the name that each is shown with.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> from nnvis_widgets.export import training_figure
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> figure = training_figure({"decaying rate": nv.measure_training(demo.evaluator, demo.run)})
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['loss', 'accuracy']
    """
    if not runs or any(run.kind != "training" for run in runs.values()):
        kinds = ", ".join(run.kind for run in runs.values()) or "none"
        raise ValueError(f"runs: at least one result of measure_training, received {kinds}")
    quantities = ["loss", *next(iter(runs.values())).metrics]
    figure = Picture(
        f"training_figure(dict(zip({list(runs)!r}, results)))",
        runs.values(),
        figsize=(5.4 * len(quantities), 3.6),
        layout="constrained",
    )
    for axes, quantity in zip(figure.subplots(1, len(quantities), squeeze=False)[0], quantities, strict=True):
        for number, (name, run) in enumerate(runs.items()):
            values, _ = run.values(quantity)
            epochs = run.alphas if run.epochs is None else run.epochs
            axes.plot(epochs, values, "-", marker=_MARKS[number % 6], color=_HUES[number % 6], markersize=4, label=name)
        axes.set(xlabel="epoch", ylabel=quantity)
        if quantity == "loss" and all((run.loss > 0).all() for run in runs.values()):
            axes.set_yscale("log")
    axes.legend(fontsize="small")
    first = next(iter(runs.values()))
    figure.supxlabel(caption(first.provenance, first.n), fontsize="x-small")
    return figure


def opacity_figure(scan: ParameterScan) -> Figure:
    """Return the paths of all weights of a scan in one plot, linear and quadratic, the more opaque the farther a weight went.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> from nnvis_widgets.export import opacity_figure
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> scan = nv.measure_parameters(demo.evaluator, demo.run, "fc3", count=4, choose="random")
    >>> [axes.get_title() for axes in opacity_figure(scan).axes]
    ['fc3: linear path', 'fc3: quadratic path']
    """
    figure = Picture("opacity_figure(*results)", [scan], figsize=(10.8, 3.8), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    end = int(np.argmin(np.abs(scan.alphas - 1)))
    far = np.max(scan.distance, initial=0.0)
    shares = scan.distance / far if far > 0 else np.ones(len(scan))
    for axes, kind in zip(panels, ("linear", "quadratic"), strict=True):
        for loss, share in zip(getattr(scan, kind), shares, strict=True):
            axes.plot(scan.alphas, loss - loss[end], color=COLOURS[kind], alpha=max(_FAINTEST, float(share)), linewidth=1.3)
        for start, stop in ((scan.alphas.min(), 0.0), (1.0, scan.alphas.max())):
            if start < stop:
                axes.axvspan(start, stop, color="0.92", zorder=0)
        axes.set(
            title=f"{scan.scope}: {kind} path", xlabel="alpha (shaded: extrapolation)", xlim=(scan.alphas.min(), scan.alphas.max())
        )
    panels[0].set_ylabel("loss, minus that at alpha 1")
    figure.supxlabel(
        f"{len(scan)} weights of {scan.scope} by {scan.choose}: {caption(scan.provenance, scan.n)}; opacity: distance, at most "
        f"{far:.3g}", fontsize="x-small",
    )  # fmt: skip
    return figure


def course_figure(course: WeightCourse, scan: ParameterScan) -> Figure:
    """Return what weights did during training beside what their curves look like: turns against extrema.

    Parameters
    ----------
    course : WeightCourse
    scan : ParameterScan
        Of the same weights.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> from nnvis_widgets.export import course_figure
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> scan = nv.measure_parameters(demo.evaluator, demo.run, "fc3", count=4, choose="random")
    >>> figure = course_figure(nv.measure_weight_course(demo.run, scan.index), scan)
    >>> figure.axes[1].get_ylabel()
    'turns during training'
    """
    if course.index != scan.index:
        raise ValueError(
            f"course, scan: of the same weights, as measure_weight_course(run, scan.index) gives them; received {len(course)} and "
            f"{len(scan)} weights"
        )
    figure = Picture("course_figure(*results)", [course, scan], figsize=(10.8, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    course.plot(left)
    left.set(title="what the weights did", ylim=(-0.6, 2.2))
    extrema, turns = np.array([len(sequence) for sequence in scan.sequence]), course.turns
    pairs, counts = np.unique(np.stack([extrema, turns], axis=1), axis=0, return_counts=True)
    right.scatter(pairs[:, 0], pairs[:, 1], s=28 * counts, color=COLOURS["linear"], alpha=0.7, edgecolors="0.2", linewidths=0.6)
    right.set(title="and how that goes with their curves", xlabel="extrema of the quadratic curve", ylabel="turns during training")
    right.set(xticks=range(int(extrema.max(initial=1)) + 1), xlim=(-0.5, int(extrema.max(initial=1)) + 0.5))
    dots = "a dot's area is the number of weights"
    figure.supxlabel(f"{len(scan)} weights of {scan.scope} by {scan.choose}; {dots}", fontsize="x-small")
    return figure
