"""The parameter explorer: many single weights, their patterns, and the diagram that explains them.

May import: core, experiments, results, views, ipywidgets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets
import numpy as np

from ..jobs import Step
from ..results import ParameterScan, Result, ResultSet
from ..views.multiples import COLUMNS, MultiplesView, Page
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
from .parameter_study import ParameterStudy
from .parameter_words import detail_words, legend, state_line, summary, table, what_if_words
from .parts import beside, fill


class ParameterExplorer(ParameterHands):
    """Both paths of many single weights, sorted by pattern, and why each has its pattern.

    Parameters
    ----------
    evaluator : Evaluator or dict of str to Evaluator
        One for each split, of one model.
    run : Run
    explorers : dict of str to callable, optional
        Title, and what makes a widget of (evaluators, run, scope), for `explore`; default: the path explorer.
    on_open : callable, optional
        Called with the weight that is opened, in place of opening anything below.
    **settings
        Initial values of the traits below.

    Attributes
    ----------
    scope : None, str, or (str, index)
        Among which weights is chosen: of the model (None), a layer, a tensor.
    choose : {"distance", "effect", "random", "list"}
        Those that moved most, that matter most, any, or those in `weights`.
    weights : tuple of (str, index)
    count, seed : int
    mid : int
        The checkpoint between the first and the last. While it moves, curves are read from what is measured already, and then
        measured.
    alpha_range : (float, float)
        Patterns are defined on (-0.5, 1.5).
    points : int
    split : str
    samples : int or None
    selected : (str, index) or None
        The weight that is shown large; None is the first in the present order.
    what_if : float or None
        The rho to which its dot is dragged: its curve with another value at the mid checkpoint, from the measured loss.
    sort : {"distance", "effect", "confidence"}
    only : str
        A pattern, or "all".
    page : int
    shared_scale : bool
        One scale of the loss for all small pictures of a page.
    band : bool
    alpha : float or None
        Marked on the curves of the weight that is shown large, with the losses there; a click on them chooses it.
    over : {"alpha", "u"}
        The weight that is shown large: its curves over alpha, or the one function behind them over u, its share of the way.
    plateau_length, plateau, noise : float
        Conventions of the labels: how long a flat region is, within which share of the range, and how many times the rounding
        noise is a difference. They label anew, and measure nothing.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> nv.ParameterExplorer(demo.evaluator, demo.run)
    ParameterExplorer(scope=None, choose='distance', split='test'; run: 5 checkpoints)
    """

    def __init__(
        self,
        evaluator: Any,
        run: Any,
        *,
        explorers: Mapping[str, Maker] | None = None,
        on_open: Callable[[Any], None] | None = None,
        **settings: Any,
    ):
        self._on_open = on_open
        self.study: ParameterStudy | None = ParameterStudy(evaluator, run)
        splits = self.study.evaluators
        defaults = {"mid": run.mid_index if len(run) > 2 else 0, "split": "test" if "test" in splits else next(iter(splits))}
        self._build({**defaults, **settings}, explorers)
        self._recompute_when_live()

    @classmethod
    def from_result(cls, result: Result) -> ParameterExplorer:
        """Return an explorer that shows a saved scan; what needs the model and the data is switched off."""
        self = cls.__new__(cls)
        self.study, self._on_open = None, None
        self._build({}, None)
        self.open_result(result)
        return self

    def _build(self, settings: dict[str, Any], explorers: Mapping[str, Maker] | None) -> None:
        self._lines: Lines | None = None
        self._columns = COLUMNS
        self._preview: ParameterScan | None = None
        self._ruled: tuple[ParameterScan, dict[str, float], ParameterScan] | None = (
            None  # a scan, other conventions, and its labels
        )
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
        return pages_of(self.scan, self.sort, self.only, self._columns) if self.scan is not None else []

    @property
    def imagined(self) -> WhatIf | None:
        """The selected weight with its dot where it has been dragged; None where it has not been."""
        row = self.row
        if self.what_if is None or row is None or self._lines is None:
            return None
        return self._lines.what_if(row, self.what_if)

    def _mid(self) -> int | None:
        return self.mid if self.study is not None and len(self.study.run) > 2 else None

    def _steps(self) -> list[Step]:
        if self.study is None:
            return []
        if self.choose == "list" and not self.weights:
            raise ValueError("weights: name the weights of a list, such as [('fc1.weight', (0, 3))]")
        return [self.study.scan_step(self.choice, self._mid())]

    # ---- work

    def _stale(self) -> None:
        """Show another mid checkpoint at once, as far as the measured losses reach; all else is only marked as old."""
        before = self._measured
        if before is None or self.study is None or before[0] != self.choice.key or self._mid() is None:
            self._preview = None
            for part in self._pictures:
                part.add_class("nnvis-stale")
            return
        self._preview = Lines(before[1]).moved_to(self.study.values(self.mid, before[1]))
        self._lines = Lines(before[1])
        self._draw()

    def _partial(self, delivered: tuple[dict[str, Result], float]) -> bool:
        if self._preview is None:
            return super()._partial(delivered)
        # the preview is of all samples, unlike what is coming in, and stays until that is complete
        self.results, fraction = delivered
        job = self._worker.job
        if job is not None and job.state == "running":
            self.status.advance(fraction, job.seconds)
        return True

    def _succeed(self, steps: Any) -> None:
        self._preview = None
        super()._succeed(steps)

    def _cancelled(self) -> None:
        super()._cancelled()
        if self._preview is not None:
            self._preview = None
            self._draw()

    def _fail(self, error: BaseException) -> None:
        if self._preview is not None:
            self._preview = None
            self._draw()
        super()._fail(error)

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
        rules = self.rules
        if not len(scan) or {name: scan.rules[name] for name in rules} == rules:
            return scan
        if self._ruled is None or self._ruled[0] is not scan or self._ruled[1] != rules:
            self._ruled = scan, rules, scan.relabelled(**rules)
        return self._ruled[2]

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

    # ---- files

    def open_result(self, result: Result) -> None:
        """Show a saved scan in place of the present one, until a setting changes."""
        results = result.results if isinstance(result, ResultSet) else {"scan": result}
        if not isinstance(results.get("scan"), ParameterScan):
            raise TypeError(f"result: a ParameterScan, or what save_result wrote; received {type(result).__name__}")
        self.cancel()
        self._preview = None
        self.results = {}
        for name in self.rules:  # its own conventions
            setattr(self, name, results["scan"].rules[name])
        self.results = dict(results)
        self._lines = Lines(results["scan"])
        self._draw()

    @property
    def unshown(self) -> list[widgets.Widget]:
        """Widgets of ours that are in no container now."""
        return [*self.controls.unshown, self.detail, self.line]

    def close(self) -> None:
        """Cancel the work, close what was opened, and remove the widget with everything in it."""
        if not self._closed and hasattr(self, "openings"):
            self.openings.clear()
        super().close()
