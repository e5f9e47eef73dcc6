"""The workbench: all explorers around one selection, one run or two side by side.

May import: core, ipywidgets, the parts of panels. Explorers are found by their public names, and made when first looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape
from typing import Any

import ipywidgets as widgets

from ..core.evaluator import Evaluator
from ..core.states import Layout, check_run
from ..views.theme import style_sheet
from .base import Explorer, parts_of
from .sharing import SELECTION, Member
from .workbench_bar import Bar
from .workbench_files import WorkbenchFiles
from .workbench_making import Given


class Workbench(WorkbenchFiles):
    """Paths, layers, weights, surface and training around one selection: what is chosen in one is seen in all.

    Parameters
    ----------
    evaluator : Evaluator or dict of str to Evaluator
        One for each split, of one model.
    run : Run or dict of str to Run
        Of several, two can stand side by side, with one selection.
    recorder : Recorder, optional
        Of a training that goes on, for the monitor of the first run.
    train, data : optional
        Your training as a function, and its data, as for `PreliminaryStudy`: a tab with preliminary experiments. Without them
        there is none; what needs no training is ``nv.PreliminaryStudy(evaluator, run=run)``.
    **settings
        Initial values of the traits below.

    Attributes
    ----------
    scope : None, str, or (str, index)
        Which weights: the model, a layer, a tensor, or a single weight.
    kind : {"linear", "quadratic", "both"}
    alpha : float
        How far along the path.
    start, mid, end : int
        Indices of checkpoints: the ends of the path, and what the quadratic one, the plane and the scan of weights go through.
    epoch : float or None
        Of the checkpoint that is marked on the training curve, in the monitor, and on the way over the surface up to it.
    split : str
    point : (float, float) or None
        Of the plane: where the model of the first run is asked. Another mid checkpoint is another plane.
    tab : str
        Which explorer is in front.
    compare : str or None
        The run that stands beside the first one.
    explorers : dict of (str, str) to Explorer
        Those that have been made, by tab and run.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> nv.Workbench(demo.evaluator, demo.run)
    Workbench(tab='Paths', scope=None, kind='both', split='test', compare=None; run: 5 checkpoints)
    """

    def __init__(self, evaluator: Any, run: Any, *, recorder: Any = None, train: Any = None, data: Any = None, **settings: Any):
        self.evaluators: dict[str, Evaluator] = (
            dict(evaluator) if isinstance(evaluator, Mapping) else {getattr(evaluator, "name", "test"): evaluator}
        )
        for name, one in self.evaluators.items():
            if not isinstance(one, Evaluator):
                raise TypeError(f"evaluator: an Evaluator or {{split: Evaluator}}, received {type(one).__name__} for {name!r}")
        self.runs: dict[str, Any] = dict(run) if isinstance(run, Mapping) else {"run": run}
        for one in self.runs.values():
            if len(check_run(one)) < 2:
                raise ValueError(f"run: a path needs two checkpoints, and this run holds {len(one)}")
        self._tensors: Layout = next(iter(self.evaluators.values())).layout
        self.explorers: dict[tuple[str, str], Explorer] = {}
        self._members: dict[tuple[str, str], Member] = {}
        self._waiting: dict[tuple[str, str], dict[str, Any]] = {}
        self._unrestored: list[Exception] = []
        self._excuses: dict[tuple[str, str], widgets.HTML] = {}  # in place of explorers that cannot be made
        self._given = Given(self.evaluators, self.runs, recorder, train, data)
        self._given.check()
        self._source: Member | None = None
        self._held, self._moved = 0, False
        for name in settings:
            if name not in self.SETTINGS:
                raise TypeError(f"Workbench has no setting {name!r}; settings: {', '.join(self.SETTINGS)}")
        first = self._first
        self._panes = {
            tab: widgets.Box(layout=widgets.Layout(flex_flow="row wrap", width="100%", grid_gap="12px 20px")) for tab in self.tabs
        }
        super().__init__()
        self.add_class("nnvis-workbench")
        with self._together():
            defaults = {
                "mid": first.mid_index if len(first) > 2 else 0,
                "end": len(first) - 1,
                "kind": "both" if len(first) > 2 else "linear",
                "split": "test" if "test" in self.evaluators else next(iter(self.evaluators)),
            }
            for name, value in {**defaults, **settings}.items():
                setattr(self, name, value)
            self._moved = False
        self.bar = Bar(self)
        self._tabs = widgets.Tab(list(self._panes.values()), titles=list(self._panes), selected_index=self.tabs.index(self.tab))
        self._tabs.observe(self._tab_chosen, "selected_index")
        self.observe(lambda _change: self._another_plane(), "mid")
        self.observe(lambda _change: self._spread(), list(SELECTION))
        self.observe(lambda _change: self._show(), ["tab", "compare"])
        self.children = [style_sheet(), self.bar, self._tabs]
        self._show()

    # ---- what there is

    @property
    def shown(self) -> list[Explorer]:
        """The explorers in front: one, or one for each of two runs."""
        return [self.explorers[key] for key in self._in_front() if key in self.explorers]

    def _in_front(self) -> list[tuple[str, str]]:
        # preliminary experiments train anew: they are of no run
        beside = [] if self.compare is None or self.tab == "Preliminary" else [self.compare]
        names = [next(iter(self.runs)), *beside]
        return [(self.tab, name) for name in names]

    # ---- one selection

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Spread several changes of the selection at once."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            if not self._held and self._moved:
                self._moved = False
                self._spread()

    def _spread(self) -> None:
        """Let the explorers in front follow; those behind do so when they come to the front."""
        if self._held:
            self._moved = True
            return
        source, refused = self._source, []
        for key in self._in_front():
            member = self._members.get(key)
            if member is not None and member is not source:
                refused += member.follow(self.selection)
        self.bar.update(self._unrestored + refused)
        self._unrestored = []

    def _chosen(self, member: Member, told: dict[str, Any]) -> None:
        """Take over what was chosen in an explorer."""
        before, self._source = self._source, member
        try:
            with self._together():
                for name, value in told.items():
                    if getattr(self, name) != value:
                        setattr(self, name, value)
            member.selection = self.selection
        finally:
            self._source = before

    def _another_plane(self) -> None:
        """A point of one plane means nothing on another."""
        with self._together():
            self.point = None

    # ---- tabs

    def _tab_chosen(self, change: Any) -> None:
        self.tab = self.tabs[change.new]

    def _show(self) -> None:
        self._tabs.selected_index = self.tabs.index(self.tab)
        pane = self._panes[self.tab]
        shown = [self._column(key) for key in self._in_front()]
        if list(pane.children) != shown:
            pane.children = shown
        self._spread()

    def _column(self, key: tuple[str, str]) -> widgets.Widget:
        try:
            explorer = self._explorer(key)
        except Exception as error:  # a run that is too short for one explorer is long enough for another
            if key not in self._excuses:
                self._excuses[key] = widgets.HTML().add_class("nnvis")
            excuse = self._excuses[key]
            excuse.value = f'<span class="nnvis-error">{escape(str(error))}</span>'
            return excuse
        if len(self.runs) == 1:
            explorer.layout.flex, explorer.layout.min_width = "1 1 540px", "0"
            return explorer
        known = getattr(explorer, "_workbench_column", None)
        if known is None:
            name = widgets.HTML(escape(key[1])).add_class("nnvis-title")
            known = widgets.VBox([name, explorer], layout=widgets.Layout(flex="1 1 540px", min_width="0"))
            explorer._workbench_column = known
        return known

    def _explorer(self, key: tuple[str, str]) -> Explorer:
        if key not in self.explorers:
            explorer = self._given.make(*key, self.open_scope)
            if key in self._waiting:
                try:
                    explorer.restore(self._waiting.pop(key))
                except Exception as error:
                    self._unrestored.append(error)
            run, first = self.runs[key[1]], self._first
            epochs = None if run is first else (first.epochs, run.epochs)
            self.explorers[key], self._members[key] = explorer, Member(explorer, self._chosen, epochs)
            settings = [name for name in explorer.snapshot() if explorer.has_trait(name)]
            explorer.observe(lambda _change: self.bar.forget(), settings)
        return self.explorers[key]

    # ---- buttons, as methods

    def open_scope(self, scope: Any) -> None:
        """Show the paths of some weights."""
        with self._together():
            self.scope = scope
            self.tab = "Paths"

    def cancel(self) -> None:
        """Stop what is computed in the explorers in front."""
        for explorer in self.shown:
            explorer.cancel()

    def compute(self) -> None:
        """Measure what the explorers in front ask for and do not know yet."""
        for explorer in self.shown:
            explorer.compute()

    async def done(self) -> None:
        """Return when no explorer computes anything or waits to."""
        for explorer in list(self.explorers.values()):
            await explorer.done()

    def close(self) -> None:
        """Close every explorer, and remove the widget."""
        if self._closed:
            return
        self._closed = True
        for explorer in getattr(self, "explorers", {}).values():
            explorer.close()
        self.unobserve_all()
        for part in list(parts_of(self, {id(self)})):
            part.close()
        super().close()
