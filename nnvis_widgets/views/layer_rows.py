"""The rows of a layer map: what each one holds, and the words, small dots and small lines beside the plot, as HTML.

May import: results, numpy, theme. The plot itself is in `layer_chart`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

from ..results.layers import COLOURS, ICONS
from .theme import FAINT

ROW, HEAD = 26, 30  # pixels: height of a row, and of what stands above the first one
_STRIP, _HIGH = 60, 18  # pixels of the small pictures


@dataclass(frozen=True)
class Row:
    """One layer.

    Attributes
    ----------
    name, label : str
        The label is one of `results.layers.ICONS`.
    value, low, high : float
        Where its dot and its interval stand; NaN where nothing is measured.
    others : sequence of float
        The value under other BatchNorm policies.
    draws : ndarray
        One value for each draw, on the axis of the plot.
    count : int
        Of its parameters.
    moved : float
        |end - start| / |start|.
    rank : str
        Interval of its rank in words; 1 does most harm.
    strip : ndarray
        Criticality of single re-randomisations, for the small dots beside the plot.
    spark : ndarray
        Criticality of the reset to each checkpoint, for the small line.
    chosen : bool
        Part of the joint set.
    note : str
        Why there is nothing to see.
    """

    name: str
    label: str = "undefined"
    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    others: Sequence[float] = ()
    draws: np.ndarray = field(default_factory=lambda: np.empty(0))
    count: int = 0
    moved: float = np.nan
    rank: str = ""
    strip: np.ndarray = field(default_factory=lambda: np.empty(0))
    spark: np.ndarray = field(default_factory=lambda: np.empty(0))
    chosen: bool = False
    note: str = ""


@dataclass(frozen=True)
class Together:
    """The joint reset of several layers: its value and interval, the sum of the single ones, and their difference in words."""

    name: str
    value: float
    low: float
    high: float
    total: float
    words: str


def icon(label: str) -> str:
    """Return the coloured icon of a label, as HTML."""
    return f'<span style="color:{COLOURS[label]}">{ICONS[label]}</span>'


def names(rows: Sequence[Row], picked: str | None, together: Together | None) -> str:
    """Return the column on the left of the plot: what is in the joint set, icon and name."""
    lines = [f'<div style="height:{HEAD}px" class="nnvis-head" title="tick layers to reset them together">&#9745; layer</div>']
    for number, row in enumerate(rows):
        box, said = ("&#9745;", "true") if row.chosen else ("&#9744;", "false")
        state = f"nnvis-row{' nnvis-picked' if row.name == picked else ''}{' nnvis-grey' if row.note else ''}"
        lines.append(
            f'<div class="{state}" style="height:{ROW}px" data-row="{number}" title="{escape(row.note or row.name)}">'
            f'<span data-check role="checkbox" aria-checked="{said}" aria-label="{escape(row.name)} in the joint set">{box}</span> '
            f"{icon(row.label)} {escape(row.name)}</div>"
        )
    if together is not None:
        lines.append(f'<div class="nnvis-row nnvis-joint" style="height:{ROW}px">&#9632; {escape(together.name)}</div>')
    return "".join(lines)


def cells(rows: Sequence[Row], picked: str | None, together: Together | None, quantity: str) -> str:
    """Return the table on the right of the plot."""
    strips, sparks = any(row.strip.size for row in rows), any(row.spark.size for row in rows)
    titles = ["label", f"{quantity} [95 %]", "rank", "weights", "moved"]
    titles += ["draws"] * strips + ["by epoch"] * sparks
    hints = {
        "rank": "95 % interval of the rank; 1 does most harm", "moved": "|end - start| / |start|",
        "draws": "each dot: one re-randomisation, from no harm (left) to chance (right)",
        "by epoch": "reset to each checkpoint, from the first (left) to the last: no harm (below) to chance (above)",
    }  # fmt: skip
    top = "".join(f'<th scope="col" title="{hints.get(title, "")}">{escape(title)}</th>' for title in titles)
    head = f'<tr style="height:{HEAD}px"><th scope="col" class="nnvis-name">layer</th>{top}</tr>'
    spec = ".2f" if quantity == "κ" else ".3g"
    body = "".join(_cells(number, row, row.name == picked, strips, sparks, spec) for number, row in enumerate(rows))
    if together is not None:
        body += (
            f'<tr style="height:{ROW}px" class="nnvis-joint"><th scope="row" class="nnvis-name">{escape(together.name)}</th>'
            f'<td colspan="{len(titles)}">{escape(together.words)}</td></tr>'
        )
    return f'<table class="nnvis-cells"><thead>{head}</thead><tbody>{body}</tbody></table>'


def _cells(number: int, row: Row, picked: bool, strips: bool, sparks: bool, spec: str) -> str:
    moved = "" if not np.isfinite(row.moved) else f"{row.moved:.0%}" if row.moved < 100 else f"x {row.moved:.3g}"
    parts = [row.label, interval(row.value, row.low, row.high, spec), row.rank, f"{row.count:,}", moved]
    line = "".join(f"<td>{part}</td>" for part in parts)
    line += f"<td>{_dots(row.strip)}</td>" if strips else ""
    line += f"<td>{_line(row.spark)}</td>" if sparks else ""
    state = f"{'nnvis-picked ' if picked else ''}{'nnvis-grey' if row.note else ''}".strip()
    return (
        f'<tr style="height:{ROW}px" data-row="{number}" class="{state}">'
        f'<th scope="row" class="nnvis-name">{icon(row.label)} {escape(row.name)}</th>{line}</tr>'
    )


def interval(value: float, low: float, high: float, spec: str = ".2f") -> str:
    """Return a number with its interval; a dash where nothing is measured."""
    if not np.isfinite(value):
        return "–"
    ends = f" [{_short(low, spec)}, {_short(high, spec)}]" if np.isfinite(low) and np.isfinite(high) else ""
    return _short(value, spec) + ends


def _short(value: float, spec: str) -> str:
    """Return a number as text; no negative zero."""
    text = format(value, spec)
    return format(0.0, spec) if float(text) == 0 else text


def _dots(values: np.ndarray) -> str:
    values = values[np.isfinite(values)]
    circles = "".join(f'<circle cx="{_place(v, _STRIP):.1f}" cy="{_HIGH / 2}" r="2.5" fill-opacity="0.5"/>' for v in values)
    ground = f'<line x1="4" x2="{_STRIP - 4}" y1="{_HIGH / 2}" y2="{_HIGH / 2}" stroke="{FAINT}" stroke-opacity="0.4"/>'
    title = f"<title>{len(values)} draws, {values.min():.2f} to {values.max():.2f}</title>" if values.size else ""
    return f'<svg class="nnvis-strip" width="{_STRIP}" height="{_HIGH}" fill="currentColor">{title}{ground}{circles}</svg>'


def _line(values: np.ndarray) -> str:
    known = np.flatnonzero(np.isfinite(values))
    if not known.size:
        return ""
    across = 4 + known / max(len(values) - 1, 1) * (_STRIP - 8)
    down = _HIGH - 3 - np.clip(values[known], 0.0, 1.0) * (_HIGH - 6)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, down, strict=True))
    return (
        f'<svg class="nnvis-spark" width="{_STRIP}" height="{_HIGH}" fill="none" stroke="currentColor" stroke-width="1.5">'
        f"<title>{values[known[0]]:.2f} to {values[known[-1]]:.2f}</title>"
        f'<polyline points="{points}"/></svg>'
    )


def _place(value: float, width: int) -> float:
    return 4 + float(np.clip(value, -0.1, 1.1) + 0.1) / 1.2 * (width - 8)
