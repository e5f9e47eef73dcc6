"""The faithfulness of paths over several trainings as a table for a notebook: distances, skills with intervals, the closest marked.

May import: results.statement_words, numpy.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .statement_words import SMALL, html_table

if TYPE_CHECKING:
    from .faithful_runs import FaithfulnessAgreement

CLOSEST, AS_CLOSE = "●", "○"


def table_of(found: FaithfulnessAgreement, spaces: dict[str, str], pm: Callable[[float, float], str]) -> str:
    """Return HTML: a row for each path and clock, a column for each space.

    Parameters
    ----------
    found : FaithfulnessAgreement
    spaces : dict of str to str
        What each space is called.
    pm : callable
        A mean and a spread in words.
    """
    best = {space: found.best(space) for space in spaces}
    rows = []
    for p, path in enumerate(found.paths):
        for c, clock in enumerate(found.clocks):
            cells = [html.escape(path), html.escape(clock)]
            for space in spaces:
                mean, sd = float(found.mean(space)[p, c]), float(found.sd(space)[p, c])
                skill, low, high = (float(part[p, c]) for part in found.skill(space))
                first = best[space]
                mark = ""
                if first is not None:
                    cell = (path, clock)
                    mark = CLOSEST if cell == (first.path, first.clock) else AS_CLOSE if cell in first.as_close else ""
                known = f"skill {skill:.2f} [{low:.2f}, {high:.2f}]" if np.isfinite(skill) else ""
                value = f"{pm(mean, sd)} {mark}" if np.isfinite(mean) else "–"
                cells.append(f"<span style='white-space:nowrap'>{value}<div style='{SMALL}'>{known}</div></span>")
            rows.append(cells)
    seeds = len(found.runs)
    legend = (
        f"{found.sentence} Mean distance to the held-out checkpoints ± SD over {seeds} runs; skill: 1 is on the training, 0 as far "
        f"from it as {found.paths[0]} ({found.clocks[0]}), with its 95 % interval over runs; n = {found.n}. {CLOSEST} closest, "
        f"{AS_CLOSE} not clearly farther, among the clocks that do not look at where a checkpoint's own weights lie."
    )
    heads = ["path", "clock", *spaces.values()]
    return html_table(heads, rows, [7, 6, *(9 for _ in spaces)]) + f"<p style='{SMALL}'>{html.escape(legend)}</p>"
