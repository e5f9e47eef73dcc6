"""The card that says whether the paths of the whole model are faithful to the training: one sentence, and its numbers folded below.

May import: results, ipywidgets.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import ipywidgets as widgets
import numpy as np
import traitlets

from ..results import FaithfulnessReport

if TYPE_CHECKING:
    from .path_explorer import PathExplorer

CLOCKS = ("epochs", "arc length")  # of those that there are, what the sentence speaks of
_QUESTION = "Between the checkpoints that a path passes, is it near the training? On its own clock, or only with another?"
_NOTE = (
    "Mean distances from the training, with 95 % intervals of the samples. arc length: timed by the way travelled; speed-only: the "
    "quadratic path's timing on the straight line; by distance: with its mid checkpoint at half of the way."
)
_ORIGINS = (
    "Controls: where the loss falls as well from weights that this training did not start from, that it falls says little about "
    "the training. initial: the true start; unrelated: its weights in another order; noise: normal, as large."
)
_SPACES = {"log_loss": "log loss", "kl": "predictions (KL)", "weights": "weights"}


class FaithCard(widgets.HBox):
    """A hand on the explorer's `faithful`, and what its report says; `show` hides the card where it has nothing to say."""

    def __init__(self, explorer: PathExplorer):
        self._explorer = explorer
        self.text = widgets.HTML(layout=widgets.Layout(flex="1 1 420px", min_width="0", max_width="100%")).add_class(
            "nnvis-faith-text"
        )
        parts: list[widgets.Widget] = [self.text]
        if explorer.study is not None:
            layout = widgets.Layout(width="130px", flex="0 0 auto")
            self.toggle = widgets.ToggleButton(
                description="Faithful?", icon="balance-scale", layout=layout,
                tooltip="compare the paths and their controls with the checkpoints that they do not pass",
            )  # fmt: skip
            traitlets.link((explorer, "faithful"), (self.toggle, "value"))
            parts = [self.toggle.add_class("nnvis-faithful"), self.text]
        super().__init__(parts, layout=widgets.Layout(width="100%", flex_flow="row wrap", grid_gap="0 10px"))
        self.add_class("nnvis-faith")

    def show(self) -> None:
        """Show the report that the explorer has, or the question."""
        explorer = self._explorer
        report = explorer.results.get("faithfulness")
        if isinstance(report, FaithfulnessReport):
            self.layout.display, self.text.value = None, _words(report)
        else:
            self.layout.display = None if explorer.comparable else "none"
            self.text.value = f'<span class="nnvis-small">{"measuring ..." if explorer.faithful else _QUESTION}</span>'


def _words(report: FaithfulnessReport) -> str:
    if not report.n:
        return '<span class="nnvis-small">measuring ...</span>'
    soon = "" if report.fraction == 1.0 else f"So far ({report.fraction:.0%}): "
    where = ", ".join(f"{epoch:g}" for epoch in report.epochs)
    notes = f"{_NOTE}<br>held out: epochs {where}; &rho; = {report.rho:.2f}, &eta; = {report.eta:.2f}; seeds: {report.seeds}"
    numbers = f"{_table(report)}{notes}{_origins(report)}"
    return f"{html.escape(soon + report.sentence)}<details><summary>the numbers</summary>{numbers}</details>"


def _table(report: FaithfulnessReport) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("path", "clock", *_SPACES.values()))
    values = {space: report.distances(space) for space in _SPACES}
    rows = []
    for p, path in enumerate(report.paths):
        for c, clock in enumerate(report.clocks):
            cells = [_cell(*(part[p, c] for part in values[space])) for space in _SPACES]
            rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in (html.escape(path), clock, *cells)) + "</tr>")
    return f'<table class="nnvis-table"><tr>{head}</tr>{"".join(rows)}</table>'


def _origins(report: FaithfulnessReport) -> str:
    """Return how the loss goes on straight lines from other weights to the trained ones."""
    if not report.origins:
        return ""
    rows = [
        f"<tr><td>{html.escape(name)}</td><td>{start:.3f}</td><td>{_cell(*rise)}</td></tr>"
        for name, start, rise in zip(report.origins, report.control_loss[:, 0], np.transpose(report.rises()), strict=True)
    ]
    head = "<tr><th>straight line from</th><th>loss there</th><th>largest rise on the way</th></tr>"
    return f'<br>{_ORIGINS}<table class="nnvis-table">{head}{"".join(rows)}</table>'


def _cell(value: float, low: float, high: float) -> str:
    if not np.isfinite(value):
        return "-"
    return f"{value:.3f}" if not high > low else f"{value:.3f} <span>[{low:.3f}, {high:.3f}]</span>"
