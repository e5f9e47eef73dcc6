"""What a parameter explorer draws: its pictures and words, all from one scan and the settings.

May import: results, views, ipywidgets, the other rooms of the parameter explorer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets
import numpy as np

from ..results import ParameterScan
from ..views.multiples import MultiplesView, Page
from ..views.phase import PhaseView
from ..views.theme import style_sheet
from ..views.weight_detail import WeightDetail
from ..views.weight_line import WeightLine
from .assist import Assist
from .openings import Maker, Openings
from .parameter_controls import ParameterControls
from .parameter_hands import ParameterHands
from .parameter_keys import KEYS, LABELS, press
from .parameter_preview import Lines, WhatIf
from .parameter_scene import detail_of, pages_of
from .parameter_settings import RULES
from .parameter_study import follows
from .parameter_words import detail_words, legend, state_line, summary, table, what_if_words
from .parts import beside, fill


class ParameterDrawing(ParameterHands):
    """Between what hands do and `ParameterExplorer`, which says what is measured."""

    _filed = False  # what is shown comes from a file

    def _follow_rules(self) -> None:
        """Label a preview anew; measure again what cannot tell its confidences under other conventions."""
        raise NotImplementedError

    def _build(self, settings: dict[str, Any], explorers: Mapping[str, Maker] | None) -> None:
        self._lines: Lines | None = None
        self._pixels = 0
        self._preview: ParameterScan | None = None
        self._ruled: tuple[ParameterScan, ParameterScan] | None = None  # as measured, and under other conventions
        self._measured: tuple[Any, ParameterScan] | None = None  # the last whole scan and its choice
        self.phase = PhaseView(self._picked, self._dragged)
        self.detail, self.line = WeightDetail(self._go_along), WeightLine()
        self.multiples = MultiplesView(self._clicked)
        super().__init__(**settings)
        self.controls = ParameterControls(self)
        self.legend = widgets.HTML().add_class("nnvis-legend")
        self.readout = widgets.HTML().add_class("nnvis-read")
        self.what_if_line = widgets.HTML().add_class("nnvis-small").add_class("nnvis-whatif-words")
        self.state_line = widgets.HTML().add_class("nnvis-state")
        self.table = widgets.HTML().add_class("nnvis-table")
        self.openings = Openings(explorers, lambda error: self.status.say(error))
        spread = widgets.Layout(justify_content="space-between", align_items="flex-start", width="100%", min_height="52px")
        self.legend.layout.flex, self.legend.layout.min_width = "1 1 0", "0"
        top = widgets.Box([self.legend, self.status], layout=spread)
        self._place = widgets.VBox(layout=widgets.Layout(width="100%"))
        large = widgets.VBox([self.controls.over, self._place], layout=widgets.Layout(flex="1 1 420px", min_width="320px"))
        pair = widgets.Box([self.phase, large], layout=widgets.Layout(flex_flow="row wrap", width="100%"))
        plots = widgets.VBox(
            [pair, self.controls.cursor_row, self.what_if_line, self.readout, self.controls.list_row, self.multiples]
        )
        picture = [top, self.status.error, plots.add_class("nnvis-curves"), self.state_line, self.table]
        self._assist = Assist(
            LABELS, KEYS, lambda key, shift: press(self, key, shift), measured=".nnvis-multiples", on_width=self._fit_columns
        )  # fmt: skip
        columns = beside(self.controls.panel if self.study is not None else None, picture)
        self.children = [style_sheet(), self._assist, columns, self.openings]

    # ---- what there is

    @property
    def scan(self) -> ParameterScan | None:
        """The scan of the picture, which may be a preview of another mid checkpoint; None before the first one."""
        found = self._preview or self.results.get("scan")
        return found if isinstance(found, ParameterScan) and len(found) else None

    @property
    def row(self) -> int | None:
        """Row in the scan of the weight that is shown large."""
        scan = self.scan
        if scan is None:
            return None
        if self.selected in scan.index:
            return scan.index.index(self.selected)
        order = self.order
        return order[0] if order else 0

    @property
    def order(self) -> list[int]:
        """Rows of the scan in the order in which they are shown, of all pages."""
        return [cell.row for page in self.pages for cell in page.cells]

    @property
    def pages(self) -> list[Page]:
        """The pages of small pictures."""
        return pages_of(self.scan, self.sort, self.only, self._columns(self._pixels)) if self.scan is not None else []

    @property
    def imagined(self) -> WhatIf | None:
        """The selected weight with its dot where it has been dragged; None where it has not been."""
        row = self.row
        if self.what_if is None or row is None or self._lines is None:
            return None
        return self._lines.what_if(row, self.what_if)

    # ---- what is drawn

    @property
    def _pictures(self) -> list[widgets.Widget]:
        return [self.phase, self.detail, self.line, self.multiples]

    def _draw(self) -> None:
        for part in self._pictures:
            part.remove_class("nnvis-stale")
        result = self.results.get("scan")
        if isinstance(result, ParameterScan):
            result = self.results["scan"] = self._by_rules(result)
        if self._preview is None and isinstance(result, ParameterScan) and (self._lines is None or self._lines.scan is not result):
            self._lines = Lines(result)
            if self.study is not None and result.fraction == 1.0:
                self._measured = self.choice.key, result
        self.controls.follow_counts()
        scan = self.scan
        self.legend.value, self.state_line.value = legend(self), state_line(self)
        self._draw_pages()
        if scan is not None:
            shown = np.array([self.only in ("all", name) for name in scan.pattern], bool)
            self.phase.show(scan, shown)
        self._draw_selected()
        self.table.value = table(self)

    def _by_rules(self, scan: ParameterScan) -> ParameterScan:
        """Return a scan with the labels that the present conventions give it."""
        rules, known = self.rules, self._ruled
        if known is not None and scan is known[1]:
            scan = known[0]  # what was lost under other conventions is there again under the old ones
        if not len(scan) or follows(scan, rules):
            return scan
        if known is None or known[0] is not scan or not follows(known[1], rules):
            self._ruled = known = scan, scan.relabelled(**rules)
        return known[1]

    def _draw_pages(self) -> None:
        scan, pages = self.scan, self.pages
        at = min(self.page, max(len(pages) - 1, 0))
        self.controls.follow_page(at, pages)
        if scan is not None:
            self.multiples.show(scan, pages[at] if pages else None, self.row, self.shared_scale)

    def _draw_selected(self) -> None:
        scan, row = self.scan, self.row
        large = self.detail if self.over == "alpha" else self.line
        detail = detail_of(scan, row, self.imagined, self.band, self._lines) if scan is not None and row is not None else None
        large.show(detail)
        self.detail.move_cursor(self.alpha if detail is not None else None)
        fill(self._place, [large])
        self.controls.follow_selected()
        self.readout.value, self.what_if_line.value = detail_words(self), what_if_words(self)
        self._assist.summary = summary(self)
        if scan is not None:
            self.phase.mark(scan, row, self.what_if)
            self.multiples.select(row)

    def _restyle(self, name: str) -> None:
        if name == "selected":
            self.what_if = None
            self._turn_to_selected()
            self._draw_selected()
            self._follow_explorers()
        elif name in ("what_if", "band", "over", "alpha"):
            self.legend.value = legend(self)
            self._draw_selected()
        elif name in ("page", "shared_scale"):
            self._draw_pages()
        else:
            self._draw()
            if name in RULES:
                self._follow_rules()

    @property
    def unshown(self) -> list[widgets.Widget]:
        """Widgets of ours that are in no container now."""
        return [*self.controls.unshown, self.detail, self.line]
