"""Figures of a faithfulness report: the losses at the held-out checkpoints, distances in three spaces, lines from other origins.

May import: anything of ours but `cli`; uses `matplotlib.figure.Figure` directly, so neither a display nor pyplot's global state.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from ..results import COLOURS, FaithfulnessAgreement, FaithfulnessReport, caption
from ..results.faithfulness import SHORT
from .files import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# path and clock, colour, dash: what the report's sentence speaks of
_CURVES = (
    ("linear", "epochs", COLOURS["linear"], "-"),
    ("quadratic", "epochs", COLOURS["quadratic"], "--"),
    ("speed-only", "epochs", COLOURS["lagrange"], "-."),
    ("linear", "arc length", "#56B4E9", ":"),
)
_ORIGINS = {"initial": ("#000000", "-"), "unrelated": ("#0072B2", "--"), "noise": ("#D55E00", "-."), "zero": ("#009E73", ":")}


def faithfulness_figure(report: FaithfulnessReport | FaithfulnessAgreement) -> Figure:
    """Return the distances in losses, weights and predictions; of one run the losses beside the training's, too.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> report = nv.measure_faithfulness(demo.evaluator, demo.run, samples=100, draws=100)
    >>> figure = nv.faithfulness_figure(report)
    >>> [axes.get_title() for axes in figure.axes]
    ['loss where each clock puts a checkpoint', 'log loss', 'weights', 'predictions']
    """
    if isinstance(report, FaithfulnessAgreement):
        return _agreement_figure(report)
    figure = Picture("faithfulness_figure(*results)", [report], figsize=(13.0, 8.2), layout="constrained")
    panels = figure.subplots(2, 2)
    _losses(panels[0, 0], report)
    for axes, space in zip(panels.flat[1:], ("log_loss", "weights", "kl"), strict=True):
        report.plot(axes, space)
        axes.set_title(SHORT[space], fontsize="medium")
        if space != "log_loss" and axes.get_legend() is not None:
            axes.get_legend().remove()
    figure.suptitle("\n".join(textwrap.wrap(report.sentence, 130, break_on_hyphens=False)), fontsize="medium")
    figure.supxlabel(f"{_where(report)}; bars: 95 % intervals of the samples", fontsize="small")
    return figure


def _agreement_figure(agreement: FaithfulnessAgreement) -> Figure:
    figure = Picture("faithfulness_figure(*results)", [agreement], figsize=(15.0, 5.4), layout="constrained")
    for axes, space in zip(figure.subplots(1, 3), ("log_loss", "weights", "kl"), strict=True):
        agreement.plot(axes, space)
        axes.set_title(SHORT[space], fontsize="medium")
        handles, names = axes.get_legend_handles_labels()
        axes.get_legend().remove()
        if space != "log_loss":
            axes.set_yticklabels([])
    figure.legend(handles, names, loc="outside right center", title="clock", fontsize="small", title_fontsize="small")
    figure.suptitle("\n".join(textwrap.wrap(agreement.sentence, 150, break_on_hyphens=False)), fontsize="medium")
    held = sorted(set(agreement.checkpoints))
    where = f"{'-'.join(map(str, held))} held-out checkpoints; {caption(agreement.provenance, agreement.n)}"
    figure.supxlabel(f"{len(agreement.runs)} runs (small); mean and SD over runs; {where}", fontsize="small")
    return figure


def origins_figure(report: FaithfulnessReport) -> Figure:
    """Return the loss on straight lines to the trained weights, from the true start and from others."""
    if not report.origins:
        raise ValueError("report: it was measured with origins=(), so there are no lines to draw; measure it with the default")
    figure = Picture("origins_figure(*results)", [report], figsize=(7.4, 4.6), layout="constrained")
    axes = figure.add_subplot()
    rise, low, high = report.rises()
    for o, name in enumerate(report.origins):
        colour, dash = _ORIGINS.get(name, ("0.5", "-"))
        label = f"{name}: largest rise {rise[o]:.2g} [{low[o]:.2g}, {high[o]:.2g}]"
        axes.plot(report.control_alphas, report.control_loss[o], dash, color=colour, label=label)
    axes.set_xlabel("alpha: from the origin (0) to the trained weights (1)")
    axes.set_ylabel("loss")
    axes.legend(fontsize="small", title="origin")
    figure.suptitle("Where the loss falls from every origin, its fall says little about the training", fontsize="medium")
    figure.supxlabel(_where(report), fontsize="small")
    return figure


def _losses(axes: Axes, report: FaithfulnessReport) -> None:
    for path, clock, colour, dash in _CURVES:
        if path in report.paths and clock in report.clocks:
            losses = report.path_loss[report.paths.index(path), report.clocks.index(clock)]
            if np.isfinite(losses).any():
                axes.plot(report.epochs, losses, dash, color=colour, marker=".", label=f"{path}, {clock}")
    axes.plot(report.epochs, report.run_loss, "o", color=COLOURS["training"], markersize=5, label="training")
    if (report.run_loss > 0).all() and not (report.path_loss <= 0).any():
        axes.set_yscale("log")
    axes.set_xlabel("epoch of a held-out checkpoint")
    axes.set_ylabel("loss")
    axes.legend(fontsize="small")
    axes.set_title("loss where each clock puts a checkpoint", fontsize="medium")


def _where(report: FaithfulnessReport) -> str:
    return f"{len(report.checkpoints)} held-out checkpoints of one run; {caption(report.provenance, report.n)}"
