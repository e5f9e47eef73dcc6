"""The (rho, u*) diagram: a dot for each weight over the regions in which theory expects each pattern; dots answer clicks and drags.

May import: results, bqplot, ipywidgets, numpy, grip, pattern_looks, phase_map, plot, raster, theme. Marks are made once.
"""

from __future__ import annotations

from collections.abc import Callable

import bqplot as bq
import ipywidgets as widgets
import numpy as np

from ..results import ParameterScan
from .grip import Grip
from .pattern_looks import LOOKS, ORDER
from .phase_map import regions
from .plot import NOTHING, assign
from .raster import Raster
from .theme import FAINT, INK

RHO = (-0.35, 1.4)
_HALF = (0.42, 0.58)  # only one half of the diagram is drawn while all dots lie beyond these
_LEAST = (-0.75, 2.0)  # of u*, always in view
_MOST = (-3.0, 4.0)
_SIZE = 64  # of a dot, in square pixels


class PhaseView(widgets.VBox):
    """The diagram.

    Parameters
    ----------
    on_pick : callable
        Gets the row of the weight whose dot is clicked.
    on_drag : callable
        Gets the row and the rho to which its dot is dragged. Dots move sideways only: u* is a property of the measured loss.

    Attributes
    ----------
    held : bool
        Whether a dot is being dragged.
    figure : bqplot.Figure
    rows : dict of str to ndarray of int
        By mark ("bump", "bump uncertain"): which weights its dots are.
    """

    def __init__(self, on_pick: Callable[[int], None], on_drag: Callable[[int, float], None]):
        self._on_pick, self._on_drag = on_pick, on_drag
        self._x, self._y = bq.LinearScale(min=RHO[0], max=RHO[1]), bq.LinearScale(min=_LEAST[0], max=_LEAST[1])
        scales = {"x": self._x, "y": self._y}
        self._raster = Raster(scales, visible=False)
        self._mapped: tuple | None = None
        self._names: dict[str, int] = {}
        self._reach: tuple[float, float] | None = None  # of rho, in the picture in which a dot was taken up
        self._shown: tuple[ParameterScan, np.ndarray] | None = None
        self._marked: tuple[ParameterScan, int | None, float | None] | None = None

        def text(**style) -> bq.Label:
            return bq.Label(x=NOTHING[:1], y=NOTHING[:1], text=[""], scales=scales, visible=False, align="middle", **style)

        def line(**style) -> bq.Lines:
            return bq.Lines(x=NOTHING, y=NOTHING, scales=scales, visible=False, **style)

        self.words = text(default_size=12, colors=[INK], opacities=[0.75])
        self.arrows = {
            way: text(default_size=14, colors=[INK], opacities=[0.6], y_offset=offset)
            for way, offset in (("↑", -9), ("↓", 20), ("←", -9), ("→", -9))
        }
        self.cross = line(colors=[FAINT], line_style="dotted", stroke_width=1)
        self.trace = line(colors=[INK], line_style="dashed", stroke_width=1.2)
        self.ring = bq.Scatter(x=NOTHING, y=NOTHING, scales=scales, visible=False, marker="circle", fill=False, colors=[INK],
                               default_size=260, stroke_width=2, interactions={}, names=np.array([""]))  # fmt: skip
        self.dots: dict[str, bq.Scatter] = {}
        self.rows: dict[str, np.ndarray] = {}
        for name in ORDER:
            for sure in (True, False):
                self._add(name, sure, scales)
        self.figure = bq.Figure(
            marks=[self._raster.mark, self.words, self.cross, self.trace, self.ring, *self.dots.values(), *self.arrows.values()],
            axes=[
                bq.Axis(scale=self._x, label="rho: share of its way done at the mid checkpoint",
                        grid_lines="none", label_color=INK, label_offset="32px", tick_format=".2~f"),
                bq.Axis(scale=self._y, orientation="vertical", label="u*: where on its line the loss is lowest (0 start, 1 end)",
                        grid_lines="none", label_color=INK, label_offset="38px", tick_format=".2~f"),
            ],
            animation_duration=0, padding_x=0, padding_y=0,
            fig_margin={"top": 12, "bottom": 48, "left": 56, "right": 12},
            layout=widgets.Layout(width="100%", height="420px", min_width="300px"),
        )  # fmt: skip
        self.figure.add_class("nnvis-phase")
        grip = Grip(self._picked, self._dragged)
        super().__init__([self.figure, grip], layout=widgets.Layout(flex="1 1 420px", min_width="320px"))
        self.add_class("nnvis-dots")

    def _add(self, name: str, sure: bool, scales: dict[str, bq.Scale]) -> None:
        look, key = LOOKS[name], name if sure else f"{name} uncertain"
        tip = bq.Tooltip(fields=["name", "x", "y"], labels=["weight", "rho", "u*"], formats=["", ".3f", ".3f"])
        mark = bq.Scatter(
            x=NOTHING, y=NOTHING, scales=scales, visible=False, marker=look.marker, colors=[look.colour], fill=sure,
            stroke=look.colour, stroke_width=1.6, default_size=_SIZE, display_names=False, tooltip=tip,
        )  # fmt: skip
        self.dots[key] = mark

    @property
    def held(self) -> bool:
        """Whether a dot is being dragged: it is moved by the browser then, and the picture stays as it is."""
        return self._reach is not None

    def show(self, scan: ParameterScan, shown: np.ndarray) -> None:
        """Draw the dots of the weights `shown`, shape (P,) of bool; those that have not moved have no place in the diagram."""
        self._shown, names = (scan, shown), scan.names
        self._names = {name: row for row, name in enumerate(names)}
        if self.held:
            return
        self._fit(scan, None)
        finite = np.isfinite(scan.rho) & np.isfinite(scan.u_star)
        x, y = self._place(scan)
        doubtful, labels = scan.uncertain, np.array(names)
        for name in ORDER:
            own = np.array([pattern == name for pattern in scan.pattern], bool) & finite & shown
            for sure in (True, False):
                key = name if sure else f"{name} uncertain"
                self.rows[key] = rows = np.flatnonzero(own & (doubtful != sure))
                with self.dots[key].hold_sync():
                    assign(self.dots[key], len(rows) > 0, x=x[rows], y=y[rows], names=labels[rows])
        self._show_arrows(scan, finite & shown)

    def _show_arrows(self, scan: ParameterScan, shown: np.ndarray) -> None:
        """Point to where the minimum lies beyond what was measured, or the dot beyond the picture."""
        x, y = self._place(scan)
        low, high = self._y.min, self._y.max
        beyond = {
            "↑": (scan.u_star_edge > 0) | (scan.u_star > high), "↓": (scan.u_star_edge < 0) | (scan.u_star < low),
            "←": scan.rho < RHO[0], "→": scan.rho > RHO[1],
        }  # fmt: skip
        for way, mark in self.arrows.items():
            rows = np.flatnonzero(shown & beyond[way])
            with mark.hold_sync():
                assign(mark, len(rows) > 0, x=x[rows], y=y[rows], text=np.array([way] * len(rows)))

    def mark(self, scan: ParameterScan, row: int | None, what_if: float | None) -> None:
        """Ring the dot of a weight; where it has been dragged, with a line from where it was measured."""
        self._marked = scan, row, what_if
        if row is None or not np.isfinite([scan.rho[row], scan.u_star[row]]).all():
            self.ring.visible = self.trace.visible = False
            return
        if not self.held:
            self._fit(scan, what_if)
        x, y = self._place(scan)
        at = float(x[row]) if what_if is None else float(np.clip(what_if, self._x.min, self._x.max))
        with self.ring.hold_sync():
            assign(self.ring, True, x=np.array([at]), y=y[[row]])
        with self.trace.hold_sync():
            assign(self.trace, what_if is not None, x=np.array([x[row], at]), y=y[[row, row]])
        x[row] = at
        for key, rows in self.rows.items():
            if len(rows) and not self.held:  # a dot that was in the hand before goes back
                assign(self.dots[key], True, x=x[rows])

    def _place(self, scan: ParameterScan) -> tuple[np.ndarray, np.ndarray]:
        """Return where dots are drawn: on the frame, where they lie beyond it."""
        return np.clip(scan.rho, self._x.min, self._x.max), np.clip(scan.u_star, self._y.min, self._y.max)

    def _fit(self, scan: ParameterScan, what_if: float | None) -> None:
        """Fit the diagram to the weights, in steps: a picture whose axes creep cannot be compared with the one before."""
        found = scan.u_star[np.isfinite(scan.u_star)]
        low, high = (float(found.min()), float(found.max())) if found.size else _LEAST
        low = float(max(_MOST[0], min(_LEAST[0], np.floor(4 * (low - 0.2)) / 4)))
        high = float(min(_MOST[1], max(_LEAST[1], np.ceil(4 * (high + 0.2)) / 4)))
        rho = np.append(scan.rho[np.isfinite(scan.rho)], [] if what_if is None else [what_if])
        left = _HALF[0] if rho.size and rho.min() > _HALF[0] else RHO[0]
        right = _HALF[1] if rho.size and rho.max() < _HALF[1] else RHO[1]
        wanted = (tuple(sorted(scan.rules.items())), left, right, low, high)
        if wanted == self._mapped:
            return
        self._mapped = wanted
        for scale, span in ((self._x, (left, right)), (self._y, (low, high))):
            with scale.hold_sync():
                scale.min, scale.max = span
        found_regions = regions(scan.rules, (left, right), (low, high))
        self._raster.show(found_regions.pixels(), np.array([left, right]), np.array([low, high]))
        places = found_regions.places
        with self.words.hold_sync():
            assign(self.words, bool(places), x=np.array([p[1] for p in places]), y=np.array([p[2] for p in places]),
                   text=np.array([f"{LOOKS[p[0]].icon} {LOOKS[p[0]].region}" for p in places]))  # fmt: skip
        across = np.array([[left, right], [left, right], [0.5, 0.5]])
        with self.cross.hold_sync():
            assign(self.cross, True, x=across, y=np.array([[0.0, 0.0], [1.0, 1.0], [low, high]]))

    @property
    def unshown(self) -> list[widgets.Widget]:
        """Pictures that were shown before and are not closed yet."""
        return self._raster.unshown

    # ---- hands

    def _picked(self, name: str) -> None:
        self._let_go()
        if name in self._names:
            self._on_pick(self._names[name])

    def _dragged(self, name: str, place: float, held: bool) -> None:
        if self._reach is None:
            self._reach = self._x.min, self._x.max
        low, high = self._reach
        rho = float(np.clip(low + place * (high - low), *RHO))
        if name in self._names:
            self._on_drag(self._names[name], rho)
        if not held:
            self._let_go()

    def _let_go(self) -> None:
        """Draw what came in while a dot was in the hand."""
        if not self.held:
            return
        self._reach = None
        if self._shown is not None:
            self.show(*self._shown)
        if self._marked is not None:
            self.mark(*self._marked)
