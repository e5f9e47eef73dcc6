"""Both curves of many weights as small pictures, grouped by pattern, a page at a time in a single figure.

May import: results, bqplot, bqplot_image_gl, ipywidgets, numpy, pattern_looks, plot, theme. All curves of a page are two lines with
gaps, so that a page of any scan costs the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import bqplot as bq
import ipywidgets as widgets
import numpy as np
from bqplot_image_gl.interacts import MouseInteraction

from ..results import ParameterScan
from .pattern_looks import LOOKS, ORDER
from .plot import NOTHING, assign
from .theme import FAINT, INK, KIND_COLOURS, KIND_DASHES

COLUMNS = 6
ROWS = 5.4  # of a page of so many columns, in heights of a cell
_MOST_ROWS = 9.0
_LEAST_WIDTH, _LETTER, _GAP = 108, 6, 14  # pixels of a cell with a name, of a letter of it, and between names
_HEADING = 0.34
_PIXELS = 104  # height of a cell
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.05, 0.95, 0.2, 0.93  # of the curves within their cell


@dataclass(frozen=True)
class Cell:
    """Where a weight (its row in the scan) is drawn: the left upper corner, in columns and in heights from the top."""

    row: int
    x: int
    y: float


@dataclass(frozen=True)
class Page:
    """Headings (y, pattern, first cell of it on this page, cells of it altogether) and cells."""

    headings: tuple[tuple[float, str, int, int], ...]
    cells: tuple[Cell, ...]
    height: float
    columns: int = COLUMNS


def columns_in(pixels: int, letters: int = 0) -> int:
    """Return how many small pictures with names of so many letters fit beside each other.

    Examples
    --------
    >>> columns_in(1250), columns_in(700), columns_in(345), columns_in(700, letters=26)
    (6, 6, 3, 4)
    """
    return min(max(pixels // max(_LEAST_WIDTH, _LETTER * letters + _GAP), 2), COLUMNS)


def letters_in(scan: ParameterScan) -> int:
    """Return how long the longest name of a weight is, as it is written above its picture."""
    short = len({tensor for tensor, _ in scan.index}) == 1
    return max((len(_name(scan, row, short)) + 2 for row in range(len(scan))), default=0)


def paginate(groups: Sequence[tuple[str, Sequence[int]]], columns: int = COLUMNS, rows: float | None = None) -> list[Page]:
    """Return the pages that show groups of weights (pattern, rows of the scan) one under the other.

    Examples
    --------
    >>> [len(page.cells) for page in paginate([("bump", range(8)), ("wave", range(30))], columns=6, rows=4.0)]
    [14, 18, 6]
    """
    rows = min(ROWS * COLUMNS / columns, _MOST_ROWS) if rows is None else rows
    pages: list[Page] = []
    headings: list[tuple[float, str, int, int]] = []
    cells: list[Cell] = []
    y = 0.0

    def turn() -> None:
        nonlocal y
        if cells:
            pages.append(Page(tuple(headings), tuple(cells), y, columns))
        headings.clear()
        cells.clear()
        y = 0.0

    for name, members in groups:
        for first in range(0, len(members), columns):
            fresh = first == 0
            if y + 1.0 + (_HEADING if fresh else 0.0) > rows:
                turn()
                fresh = True
            if fresh:
                headings.append((y, name, first, len(members)))
                y += _HEADING
            cells += [Cell(int(row), at, y) for at, row in enumerate(members[first : first + columns])]
            y += 1.0
    turn()
    return pages


def grouped(scan: ParameterScan, keys: np.ndarray, only: str | None = None) -> list[tuple[str, list[int]]]:
    """Return the rows of each pattern that occurs, the largest key first; `only` one pattern if named."""
    order = np.argsort(-np.where(np.isfinite(keys), keys, -np.inf), kind="stable").tolist()
    names = [name for name in ORDER if only is None or name == only]
    groups = [(name, [row for row in order if scan.pattern[row] == name]) for name in names]
    return [(name, rows) for name, rows in groups if rows]


class MultiplesView(widgets.VBox):
    """One page of small pictures; `on_pick` is called with the row of the weight that is clicked.

    Attributes
    ----------
    figure : bqplot.Figure
    page : Page or None
        What is drawn.
    """

    def __init__(self, on_pick: Callable[[int], None]):
        self._on_pick = on_pick
        self.page: Page | None = None
        self._x, self._y = bq.LinearScale(min=0.0, max=float(COLUMNS)), bq.LinearScale(min=-ROWS, max=0.0)
        scales = {"x": self._x, "y": self._y}

        def line(**style) -> bq.Lines:
            return bq.Lines(x=NOTHING, y=NOTHING, scales=scales, visible=False, **style)

        def text(**style) -> bq.Label:
            return bq.Label(x=NOTHING[:1], y=NOTHING[:1], text=[""], scales=scales, visible=False, align="start", **style)

        def pair(opacity: float) -> dict[str, bq.Lines]:
            return {
                kind: line(colors=[KIND_COLOURS[kind]], line_style=KIND_DASHES[kind], stroke_width=1.8, opacities=[opacity])
                for kind in ("linear", "quadratic")
            }

        self.lines = {"sure": pair(1.0), "uncertain": pair(0.6)}
        self.guides = line(colors=[FAINT], stroke_width=0.7, opacities=[0.5])
        self.frame = line(colors=[INK], stroke_width=1.6)
        self.names = text(default_size=10, font_weight="normal", colors=[INK])
        self.headings = text(default_size=13, font_weight="bold", colors=[INK])
        mouse = MouseInteraction(x_scale=self._x, y_scale=self._y, events=["click"])
        mouse.on_msg(self._clicked)
        self.figure = bq.Figure(
            marks=[self.guides, *self.lines["uncertain"].values(), *self.lines["sure"].values(), self.frame, self.names,
                   self.headings],
            axes=[], interaction=mouse, animation_duration=0, padding_x=0, padding_y=0,
            fig_margin={"top": 0, "bottom": 0, "left": 0, "right": 0},
            layout=widgets.Layout(width="100%", height="300px", min_width="300px"),
        )  # fmt: skip
        self.figure.add_class("nnvis-multiples")
        super().__init__([self.figure], layout=widgets.Layout(width="100%"))

    def show(self, scan: ParameterScan, page: Page | None, selected: int | None, shared: bool) -> None:
        """Draw a page of a scan.

        Parameters
        ----------
        scan : ParameterScan
        page : Page or None
            None: nothing to draw.
        selected : int or None
            Row of the weight that is framed.
        shared : bool
            One scale of the loss for all pictures of the page; else each has its own.
        """
        self.page = page
        if page is None:
            for mark in self.figure.marks:
                mark.visible = False
            return
        height = f"{round(_PIXELS * page.height)}px"
        if self.figure.layout.height != height:
            self.figure.layout.height = height
        with self._y.hold_sync():
            self._y.min, self._y.max = -page.height, 0.0
        if self._x.max != page.columns:
            self._x.max = float(page.columns)
        rows = [cell.row for cell in page.cells]
        limits = _limits(scan, rows, shared)
        doubtful = scan.uncertain
        for name, marks in self.lines.items():
            cells = [
                (cell, span) for cell, span in zip(page.cells, limits, strict=True) if doubtful[cell.row] == (name == "uncertain")
            ]
            for kind, mark in marks.items():
                _draw(mark, scan.alphas, [(cell, getattr(scan, kind)[cell.row], span) for cell, span in cells])
        low, high = scan.alphas.min(), scan.alphas.max()
        ends = [cell.x + _LEFT + (_RIGHT - _LEFT) * (a - low) / (high - low) for cell in page.cells for a in (0.0, 1.0)]
        down = [-cell.y for cell in page.cells for _ in (0, 1)]
        _segments(self.guides, ends, [y - _TOP for y in down], [y - _BOTTOM for y in down])
        short = len({tensor for tensor, _ in scan.index}) == 1
        texts = [_name(scan, row, short) + (" ?" if doubtful[row] else "") for row in rows]
        self._write(self.names, [cell.x + _LEFT for cell in page.cells], [-cell.y - 0.15 for cell in page.cells], texts)
        turned = Counter(scan.pattern[row] for row in rows if scan.mirrored[row])
        heads = [
            f"{LOOKS[name].icon} {LOOKS[name].words} ({count})"
            + (", continued" if first else "")
            + (f"; {turned[name]} here mirrored (rho < 1/2): read right to left" if turned[name] else "")
            for _, name, first, count in page.headings
        ]
        self.headings.colors = [LOOKS[name].colour for _, name, _, _ in page.headings] or [INK]
        self._write(self.headings, [_LEFT] * len(heads), [-y - 0.25 for y, *_ in page.headings], heads)
        self.select(selected)

    def select(self, row: int | None) -> None:
        """Frame the picture of a weight, where it is on the page."""
        found = [cell for cell in self.page.cells if cell.row == row] if self.page is not None else []
        if found:
            x, y = found[0].x, -found[0].y
            left, right, top, bottom = x + 0.015, x + 0.985, y - 0.02, y - 0.985
            assign(self.frame, True, x=np.array([left, right, right, left, left]), y=np.array([top, top, bottom, bottom, top]))
        else:
            self.frame.visible = False

    def pick(self, x: float, y: float) -> None:
        """Choose the weight at a place of the picture, as a click does."""
        for cell in self.page.cells if self.page is not None else ():
            if cell.x <= x < cell.x + 1 and -cell.y - 1 <= y < -cell.y:
                self._on_pick(cell.row)
                return

    def _clicked(self, _widget, content: dict, _buffers) -> None:
        if content.get("event") == "click":
            self.pick(content["domain"]["x"], content["domain"]["y"])

    def _write(self, mark: bq.Label, x: Sequence[float], y: Sequence[float], texts: Sequence[str]) -> None:
        with mark.hold_sync():
            assign(mark, bool(texts), x=np.array(x, float), y=np.array(y, float), text=np.array(texts))


def _name(scan: ParameterScan, row: int, short: bool) -> str:
    tensor, index = scan.index[row]
    place = f"[{', '.join(map(str, index))}]"
    return place if short else f"{tensor}{place}"


def _limits(scan: ParameterScan, rows: Sequence[int], shared: bool) -> list[tuple[float, float]]:
    """Lowest and highest loss of each small picture; a curve without a range stays in the middle, and so does noise."""
    both = np.stack([scan.linear[rows], scan.quadratic[rows]], axis=1).reshape(len(rows), -1)
    both = np.where(np.isfinite(both), both, np.nan)
    if shared:
        both = np.broadcast_to(both.reshape(1, -1), (len(rows), both.size))
    spans = []
    for values in both:
        seen = values[np.isfinite(values)]
        low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
        least = max(np.nan_to_num(scan.noise_floor), 1e-12 * max(abs(high), 1.0))
        if high - low < 2 * least:
            low, high = (low + high) / 2 - least, (low + high) / 2 + least
        spans.append((low, high))
    return spans


def _draw(mark: bq.Lines, alphas: np.ndarray, curves: Sequence[tuple[Cell, np.ndarray, tuple[float, float]]]) -> None:
    """Draw curves, each in its cell, as one line with gaps."""
    order = np.argsort(alphas, kind="stable")
    along = _LEFT + (_RIGHT - _LEFT) * (alphas[order] - alphas.min()) / np.ptp(alphas)
    x, y = [], []
    for cell, values, (low, high) in curves:
        share = (values[order] - low) / (high - low)
        inside = np.isfinite(share) & (share > -0.01) & (share < 1.01)
        x += [cell.x + along, [cell.x + along[-1]]]
        y += [np.where(inside, -cell.y - _BOTTOM + (_BOTTOM - _TOP) * share, np.nan), [np.nan]]
    _with_gaps(mark, np.concatenate(x) if x else NOTHING[:0], np.concatenate(y) if y else NOTHING[:0])


def _segments(mark: bq.Lines, x: Sequence[float], top: Sequence[float], bottom: Sequence[float]) -> None:
    """Draw upright strokes as one line with gaps."""
    heights = np.stack([np.array(top, float), np.array(bottom, float), np.full(len(x), np.nan)], 1)
    _with_gaps(mark, np.repeat(np.array(x, float), 3), heights.ravel())


def _with_gaps(mark: bq.Lines, x: np.ndarray, y: np.ndarray) -> None:
    # bqplot puts an invisible name at a line's last point, which has to be one
    known = np.flatnonzero(np.isfinite(y))
    end = known[-1] + 1 if len(known) > 1 else 0
    with mark.hold_sync():
        assign(mark, end > 0, x=x[:end], y=y[:end])
