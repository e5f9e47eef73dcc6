"""What clicks, keys and buttons do in a parameter explorer, as methods that a script can call.

May import: results, views, ipywidgets, parameter_settings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
import numpy as np

from ..results import ParameterScan
from ..views.multiples import COLUMNS, Page, columns_in, letters_in
from ..views.phase import RHO
from .openings import Openings
from .parameter_settings import ParameterSettings


class ParameterHands(ParameterSettings):
    """Between the traits and `ParameterExplorer`, which says what there is."""

    openings: Openings
    controls: Any
    _on_open: Callable[[Any], None] | None
    _pixels: int  # for small pictures; 0 while it is not known

    @property
    def scan(self) -> ParameterScan | None:
        """The scan of the picture."""
        raise NotImplementedError

    @property
    def row(self) -> int | None:
        """Row in the scan of the weight that is shown large."""
        raise NotImplementedError

    @property
    def order(self) -> list[int]:
        """Rows of the scan in the order in which they are shown."""
        raise NotImplementedError

    @property
    def pages(self) -> list[Page]:
        """The pages of small pictures."""
        raise NotImplementedError

    @property
    def page_count(self) -> int:
        """How many pages of small pictures there are."""
        return len(self.pages)

    def _draw_pages(self) -> None:
        raise NotImplementedError

    # ---- on the pictures

    def _select_row(self, row: int) -> None:
        if self.scan is not None and row < len(self.scan):
            self.selected = self.scan.index[row]

    def _go_along(self, alpha: float) -> None:
        """Mark an alpha, to a hundredth, within what was measured."""
        low, high = self.alpha_range
        self.alpha = round(min(max(alpha, low), high), 2) + 0.0

    def _picked(self, row: int) -> None:
        self._select_row(row)

    def _dragged(self, row: int, rho: float) -> None:
        self._select_row(row)
        self.what_if = rho
        self.controls.follow_selected()

    def _clicked(self, row: int) -> None:
        self._select_row(row)
        if self.study is not None:
            self._try_explore()

    def _try_explore(self) -> None:
        try:
            self.explore()
        except Exception as error:
            self.status.say(error)

    def _turn_to_selected(self) -> None:
        row = self.row
        for at, page in enumerate(self.pages):
            if any(cell.row == row for cell in page.cells):
                self.page = at
                return

    def _fit_columns(self, pixels: int) -> None:
        if pixels > 0:
            before, self._pixels = self._columns(self._pixels), pixels
            if self._columns(pixels) != before:
                self._draw_pages()

    def _columns(self, pixels: int) -> int:
        """Return how many small pictures stand beside each other in so many pixels."""
        return columns_in(pixels, letters_in(self.scan)) if pixels and self.scan is not None else COLUMNS

    # ---- buttons, as methods

    def explore(self, weight: Any = None) -> widgets.Widget | None:
        """Open the path explorer at a weight, default the one shown large, below; or hand it to `on_open`.

        Raises
        ------
        ValueError
            Nothing has been measured, or this is a saved result without a model.
        """
        if weight is not None:
            self.selected = weight
        row, scan = self.row, self.scan
        if self.study is None or row is None or scan is None:
            why = "a saved result holds no model" if self.study is None else "wait until weights have been measured"
            raise ValueError(f"explore: {why}")
        if self._on_open is not None:
            self._on_open(scan.index[row])
            return None
        front = self._visit()
        self.controls.follow_selected()
        return front

    def close_explorers(self) -> None:
        """Close what `explore` has opened."""
        self.openings.clear()
        self.controls.follow_selected()

    def _visit(self) -> widgets.Widget:
        study, scan, row = self.study, self.scan, self.row
        assert study is not None
        assert scan is not None
        assert row is not None
        front = self.openings.visit(f"Paths of {scan.names[row]}", study.evaluators, study.run, scan.index[row], self.split)
        if len(study.run) > 2 and front.has_trait("mid"):
            front.mid = self.mid  # type: ignore[attr-defined]
        return front

    def _follow_explorers(self) -> None:
        if self.openings.shown and self.row is not None:
            self._visit()

    def step_selection(self, step: int) -> None:
        """Select the next weight in the present order, or the one before."""
        order = self.order
        if order and self.row in order:
            self._select_row(order[(order.index(self.row) + step) % len(order)])

    def step_mid(self, step: int) -> None:
        """Move the mid checkpoint by so many."""
        if self.study is not None and 0 < self.mid + step < len(self.study.run) - 1:
            self.mid += step

    def turn_page(self, step: int) -> None:
        """Show the next page of small pictures, or the one before."""
        last = max(self.page_count - 1, 0)
        self.page = min(max(min(self.page, last) + step, 0), last)

    def shift_rho(self, step: float) -> None:
        """Move the dot of the selected weight sideways."""
        if self.scan is None or self.row is None or not np.isfinite(self.scan.rho[self.row]):
            return
        at = float(self.scan.rho[self.row]) if self.what_if is None else self.what_if
        self.what_if = float(np.clip(at + step, *RHO))

    def mid_half_way(self) -> None:
        """Take the checkpoint nearest to half of the way that the weights have travelled as the mid checkpoint."""
        if self.study is not None and len(self.study.run) > 2:
            self.mid = self.study.run.index_by_distance(0.5)
