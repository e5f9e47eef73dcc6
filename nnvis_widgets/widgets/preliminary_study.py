"""Before an experiment: how many epochs, training samples, test samples, and samples for a difference, in tabs.

May import: results, views, ipywidgets, and the panels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets
import traitlets

from ..core.states import check_run
from ..experiments.asking import Train, offered, pool_of, splits_of
from ..results import Result, ResultSet
from ..views.static import static_bundle
from ..views.theme import style_sheet
from .assist import Assist
from .base import parts_of
from .keeping import Keeping, mapping_of
from .naming import OneLine
from .parts import Files
from .preliminary_measured import SamplesPanel, TestSizePanel
from .preliminary_panels import Panel, Source
from .preliminary_trained import EpochsPanel, TrainingSizePanel
from .status import Status

PANELS: dict[str, type[Panel]] = {panel.NAME: panel for panel in (EpochsPanel, TrainingSizePanel, TestSizePanel, SamplesPanel)}
TITLES = {"epochs": "Epochs", "training size": "Training size", "test size": "Test size", "samples": "How many samples?"}
NO_TRAIN = (
    "This needs your training as a function, to call it with several seeds and subsets:<br><code>nv.PreliminaryStudy(evaluator, "
    "train, data)</code> with<br><code>def train(*, subset, epochs, seed): ... yield epoch, model</code><br>"
    '<span class="nnvis-small">The other tabs need none. To look around: <code>demo = nv.load_demo_training("digits")</code>, then '
    "<code>nv.PreliminaryStudy(demo.evaluators, demo.train, demo.data)</code>.</span>"
)
NO_RUN = (
    "This compares two checkpoints of a run, and needs one: <code>nv.PreliminaryStudy(evaluator, run=run)</code>. Without one, "
    "<code>nv.samples_needed</code> takes the losses of any two models on the same samples."
)
STATE = "settings: what snapshot() of a PreliminaryStudy returned, or the path of a .json file that holds it"
LABELS = {
    ".nnvis-start": "Start", ".nnvis-cancel": "Stop the work; what is finished stays", ".nnvis-delta input": "Tolerance",
    ".nnvis-epoch-curves svg": "Loss by epoch", ".nnvis-epoch-bound svg": "Bounds above the lowest loss by epoch",
    ".nnvis-training-size svg": "Loss by training size", ".nnvis-test-size svg": "Means of subsets by their size",
    ".nnvis-samples-needed svg": "Samples by the size of the difference",
}  # fmt: skip


class PreliminaryStudy(Keeping, OneLine, widgets.VBox):
    """What an experiment needs before it begins, with your training and your data, in four tabs.

    "Epochs" and "Training size" train when their button is pressed, epoch by epoch in the background; what is finished is kept,
    also when it is stopped. "Test size" and "How many samples?" measure at once.

    Parameters
    ----------
    evaluator : Evaluator or dict of "train", "validation", "test" to Evaluator
        What is chosen on is "validation"; a single evaluator, or "test" alone, plays its part, and the study says what that costs.
    train : callable, optional
        Your training, as for `preliminary_epochs`. Without one, its two tabs say how to give it.
    data : DataLoader, Dataset, tuple of tensors, labels, or int, optional
        With `train`: the training data, or how many samples they are.
    run : Run, optional
        Its checkpoints are what differences are between, and its end what "Test size" measures; else the model as it is.
    folder, settings : optional
        Keep finished trainings in a folder, as for `preliminary_epochs`. Without one they are kept as long as the widget.
    tab : str, optional
        "epochs", "training size", "test size" or "samples": which is in front.

    Attributes
    ----------
    tab : str
    panels : dict of str to Panel
        The tabs that have been opened; their settings are traits: ``study.panel("epochs").seeds = 3``.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo_training("digits")
    >>> nv.PreliminaryStudy(demo.evaluators, demo.train, demo.data)
    PreliminaryStudy(tab='epochs'; no run)
    """

    tab = traitlets.Enum(list(PANELS))
    _closed = False

    def __init__(
        self,
        evaluator: Any,
        train: Train | None = None,
        data: Any = None,
        *,
        run: Any = None,
        folder: Any = None,
        settings: Mapping[str, Any] | None = None,
        tab: str | None = None,
    ):
        names: frozenset[str] = frozenset()
        if train is not None:
            names = frozenset(offered(train))
            if data is None:
                raise ValueError("data: with train, the training data (or their labels, or how many samples they are)")
            pool_of(data)
        elif data is not None or folder is not None or settings is not None:
            raise ValueError("train: data, folder and settings are of a training; give it too, or leave them out")
        run = None if run is None else check_run(run)
        source = Source(splits_of(evaluator), train, data, run, folder, settings, names)
        self._build(source, tab or ("test size" if train is None else "epochs"), {})

    @classmethod
    def from_result(cls, result: Result) -> PreliminaryStudy:
        """Return a study that shows saved results; nothing can be trained or measured."""
        found = result.results.values() if isinstance(result, ResultSet) else [result]
        kinds = {panel.KIND: name for name, panel in PANELS.items()}
        named = {kinds[type(one)]: one for one in found if type(one) in kinds}
        if not named:
            raise TypeError(f"result: of a preliminary study, or what save_result wrote; received {type(result).__name__}")
        self = cls.__new__(cls)
        self._build(None, next(iter(named)), named)
        return self

    def _build(self, source: Source | None, tab: str, saved: dict[str, Result]) -> None:
        self.source, self._saved = source, saved
        self.panels: dict[str, Panel] = {}
        self._display_id = ""
        self._panes = {name: widgets.VBox() for name in PANELS if source is not None or name in saved}
        self._tabs = widgets.Tab(list(self._panes.values()), titles=[TITLES[name] for name in self._panes])
        self.status = Status(self.cancel)  # of what belongs to no panel: a file that cannot be opened
        self.files = Files(self, "preliminary", self.open_result)  # type: ignore[arg-type]
        self._assist = Assist(LABELS, [], lambda _key, _shift: None)
        super().__init__([style_sheet(), self._assist, self._tabs, widgets.HBox([self.files, self.status.error])])
        self.add_class("nnvis").add_class("nnvis-preliminary")
        self._tabs.observe(self._turned, "selected_index")
        self.observe(self._turn, "tab")
        self.tab = tab
        self._turn()

    # ---- what a user calls

    def panel(self, name: str) -> Panel:
        """Return a tab's panel, made where it has not been: its settings are traits, its work has methods.

        Raises
        ------
        ValueError
            There is no such tab, or what it works with was not given.
        """
        if name not in self._panes:
            raise ValueError(f"panel: one of {', '.join(map(repr, self._panes))}, received {name!r}")
        if name not in self.panels:
            missing = self._missing(name)
            if missing:
                raise ValueError(f"panel: {name!r} needs {missing}: nv.PreliminaryStudy(evaluator, train, data, run=run)")
            self.panels[name] = made = PANELS[name](self.source)
            made.on_success = self._update_picture
            if name in self._saved:
                made.open_result(self._saved[name])
        return self.panels[name]

    @property
    def results(self) -> dict[str, Result]:
        """What the tabs show, by their names."""
        shown = {name: result for panel in self.panels.values() for name, result in panel.results.items()}
        return {name: found for name in PANELS if (found := shown.get(name, self._saved.get(name))) is not None}

    def compute(self) -> None:
        """Train or measure what the tab in front asks for."""
        self.panel(self.tab).compute()

    def cancel(self) -> None:
        """Stop the work of all tabs; what is finished stays."""
        for panel in self.panels.values():
            panel.cancel()

    async def done(self) -> None:
        """Return when no tab is working."""
        for panel in list(self.panels.values()):
            await panel.done()

    def save_result(self, path: Any) -> None:
        """Write what the tabs show to one file; `nnvis_widgets.load` and `from_result` read it."""
        if not self.results:
            raise ValueError("there is no result yet: call compute() first, or wait with await study.done()")
        ResultSet(self.results).save(path)

    def open_result(self, result: Result) -> None:
        """Show saved results in their tabs."""
        found = result.results.values() if isinstance(result, ResultSet) else [result]
        for one in found:
            for name, panel in PANELS.items():
                if isinstance(one, panel.KIND):
                    self.panel(name).open_result(one)
                    self.tab = name

    def snapshot(self) -> dict[str, Any]:
        """Return the settings of the opened tabs as a dictionary that `restore` takes."""
        return {"tab": self.tab, "panels": {name: panel.snapshot() for name, panel in self.panels.items()}}

    def restore(self, settings: Any) -> None:
        """Set what `snapshot` returned, also after a trip through JSON; all of it or, when a part is refused, nothing."""
        tab, wanted = self._checked(settings)
        before, opened = self.snapshot(), set(self.panels)
        try:
            for name, own in wanted.items():
                self.panel(name).restore(own)
            self.tab = tab
        except Exception:
            for name, own in before["panels"].items():
                self.panels[name].restore(own)
            for name in set(self.panels) - opened:
                self.panels.pop(name).close()
            raise

    def _checked(self, settings: Any) -> tuple[str, dict[str, Any]]:
        """Return a tab and the settings of panels, or refuse what is no state of this widget."""
        state = mapping_of(settings, STATE)
        for name in state:
            if name not in ("tab", "panels"):
                raise TypeError(f"{STATE}; it has no {name!r}, only tab, panels")
        panels, tab = state.get("panels", {}), state.get("tab", self.tab)
        if not isinstance(panels, Mapping) or not all(isinstance(own, Mapping) for own in panels.values()):
            raise TypeError(f"{STATE}; its 'panels' are {{tab: {{setting: value}}}}, received {panels!r:.60}")
        for name in (tab, *panels):
            if name not in self._panes:
                raise ValueError(f"{STATE}; its tabs are {', '.join(map(repr, self._panes))}, received {name!r:.60}")
        return tab, dict(panels)

    def made(self, run: str = "run") -> list[str]:
        """Return the lines that make it again from an `evaluator`, `train`, `data` and a run under this name."""
        if self.source is None:
            return ['study = nv.PreliminaryStudy.from_result(nv.load("what save_result wrote"))']
        given = ["evaluator"] if self.source.train is None else ["evaluator", "train", "data"]
        given += [] if self.source.run is None else [f"run={run}"]
        given += [f"{name}={name}" for name in ("folder", "settings") if getattr(self.source, name) is not None]
        return [f"study = nv.PreliminaryStudy({', '.join(given)})", f"study.restore({self.snapshot()!r})"]

    def close(self) -> None:
        """Cancel the work, and remove the widget with everything in it."""
        if self._closed:
            return
        self._closed = True
        if hasattr(self, "_panes"):  # construction got as far as having something to close
            for panel in self.panels.values():
                panel.close()
            for part in list(parts_of(self, {id(self)})):
                part.unobserve_all()
                part.close()
        super().close()

    @property
    def unshown(self) -> list[widgets.Widget]:
        """Widgets of ours that are in no container now."""
        return [*self._panes.values(), self.status]

    # ---- tabs

    def _missing(self, name: str) -> str:
        if self.source is None:
            return ""
        if name in ("epochs", "training size") and self.source.train is None:
            return "train"
        return "run" if name == "samples" and self.source.run is None else ""

    def _turned(self, change: Any) -> None:
        if change.new is not None:
            self.tab = list(self._panes)[change.new]

    def _turn(self, _change: Any = None) -> None:
        if self.tab not in self._panes:
            return
        missing = self._missing(self.tab)
        if missing:
            self._panes[self.tab].children = [widgets.HTML(NO_TRAIN if missing == "train" else NO_RUN).add_class("nnvis-why-not")]
        elif self.panel(self.tab) not in self._panes[self.tab].children:
            # not before: figures in a hidden tab draw themselves with a negative size
            self._panes[self.tab].children = [self.panels[self.tab]]
        self._tabs.selected_index = list(self._panes).index(self.tab)

    # ---- a picture for where widgets cannot run

    def _ipython_display_(self) -> None:
        """Display the widget and, beside it, a static picture that only a saved notebook without a kernel shows."""
        from IPython.display import display

        display(dict(super()._repr_mimebundle_()), raw=True)
        handle = display(static_bundle(self.still()), raw=True, display_id=True)
        self._display_id = "" if handle is None else handle.display_id

    def _update_picture(self) -> None:
        if self._display_id:
            from IPython.display import update_display

            update_display(static_bundle(self.still()), raw=True, display_id=self._display_id)
