"""The layer map: which layers of a trained network can be put back to where they were, and which cannot.

May import: core, experiments, results, views, ipywidgets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import ipywidgets as widgets

from ..jobs import Step
from ..results import LayerHistory, LayerStudy, Result
from ..views.static import Still, still_of
from ..views.theme import style_sheet
from .assist import Assist
from .layer_controls import LayerControls
from .layer_hands import LayerHands
from .layer_keys import KEYS, LABELS, press
from .layer_pictures import KINDS, LayerPictures, results_in
from .layer_study import LayerWork
from .layer_words import TERMS, legend, readout, state_line, summary
from .openings import Maker, Openings
from .parts import beside, fill


class LayerMap(LayerHands):
    """Layer robustness, live: the harm done by resetting each layer, its interval, its rank, and its label.

    Parameters
    ----------
    evaluator : Evaluator or dict of str to Evaluator
        One for each split, of one model.
    run : Run
    initializer : callable, optional
        As in `nnvis_widgets.measure_layers`: for modules that cannot initialise themselves.
    explorers : dict of str to callable, optional
        Title, and what makes a widget of (evaluator, run, scope), for `explore`; default: the path explorer.
    on_open : callable, optional
        Called with the scope of the row that is opened, in place of opening anything below.
    **settings
        Initial values of the traits below.

    Attributes
    ----------
    kind : {"reinit", "rerandomise"}
        Layers are put back to a checkpoint, or drawn anew from their initial distribution.
    at : int
        The checkpoint.
    draws, seed : int
        Of the re-randomisation.
    unit : {"module", "block", "tensor"}
        What one row is.
    part : {"all", "weights", "biases"}
    split : str
    samples : int or None
        Measured on the first so many samples, stratified by class; None takes all.
    batchnorm : str or None
        Policy for running statistics; None is the evaluator's own.
    view : {"layers", "history", "pairs"}
        The dot plot; the map of layers by epochs, or the matrix of every two layers (of many, the 16 that do most harm alone),
        which are measured when they are first asked for.
    joint : tuple of str
        Layers that are reset together, too, when there are two or more.
    metric : {"criticality", "loss"}
        What the axis shows: κ, or the rise of the loss.
    margin, critical_above : float
        The labels: ambient where the drop is surely smaller than the margin, critical where κ is surely above the other.
    order : {"network", "rank", "distance"}
        Of the rows; "distance" draws points in their place, against what `against` says.
    against : {"relative_distance", "distance", "parameter_count"}
    selected : str or None
        The layer that is chosen.
    results : dict of str to Result
        "layers": the study; "joint"; once they were measured also "history", "pairs" and "draws", a re-randomisation of the same
        rows.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> nv.LayerMap(demo.evaluator, demo.run)
    LayerMap(view='layers', kind='reinit', unit='module', split='test'; run: 5 checkpoints)
    """

    def __init__(
        self,
        evaluator: Any,
        run: Any,
        *,
        initializer: Callable[..., Any] | None = None,
        explorers: Mapping[str, Maker] | None = None,
        on_open: Callable[[Any], None] | None = None,
        **settings: Any,
    ):
        self.study: LayerWork | None = LayerWork(evaluator, run, initializer)
        self._on_open = on_open
        self._build({**self.study.defaults(settings), **settings}, explorers)
        self._recompute_when_live()

    @classmethod
    def from_result(cls, result: Result) -> LayerMap:
        """Return a layer map that shows a saved study; what needs the model and the data is switched off."""
        results = results_in(result)
        self = cls.__new__(cls)
        self.study, self._on_open = None, None
        study = results.get("layers")
        shown = {"margin": study.margin, "critical_above": study.critical_above} if isinstance(study, LayerStudy) else {}
        self._build(shown, None)
        self._show(results)
        return self

    def _build(self, settings: dict[str, Any], explorers: Mapping[str, Maker] | None) -> None:
        self.pictures = LayerPictures(self._picked, self._chose)
        self.chart, self.history_view = self.pictures.chart, self.pictures.history
        self.openings = Openings(explorers, lambda error: self.status.say(error))
        super().__init__(**settings)
        self.controls = LayerControls(self)
        self.legend = widgets.HTML().add_class("nnvis-legend")
        self.terms = widgets.HTML(TERMS).add_class("nnvis-small").add_class("nnvis-terms")
        self.readout = widgets.HTML().add_class("nnvis-read")
        self.state_line = widgets.HTML().add_class("nnvis-state")
        self.place = widgets.VBox(layout=widgets.Layout(width="100%")).add_class("nnvis-curves").add_class("nnvis-rowspace")
        self.legend.layout.flex, self.legend.layout.min_width = "1 1 0", "0"
        spread = widgets.Layout(justify_content="space-between", align_items="flex-start", width="100%", min_height="36px")
        top = widgets.Box([self.legend, self.status], layout=spread)
        columns = beside(self.controls.panel, [
            top, self.place, self.readout, self.controls.chosen_row, self.terms, self.state_line, self.status.error,
        ])  # fmt: skip
        self._assist = Assist(LABELS, KEYS, lambda key, shift: press(self, key, shift), self._clicked, on_cell=self.pair)
        self.children = [style_sheet(), self._assist, self.controls.toolbar, columns, self.openings]
        self._draw()

    def _sources(self, run: str) -> list[str]:
        own = self.study is not None and self.study.initializer is not None
        return [*super()._sources(run), *(["initializer=initializer"] if own else [])]

    def sketch(self) -> Still | None:
        """Return the picture of the view in front, not yet drawn; None while it is not measured."""
        found = self._found(self.view)
        return None if found is None else still_of({self.view: found})

    # ---- what is measured

    @property
    def layer_study(self) -> LayerStudy | None:
        """The study of the picture; None before the first one."""
        return self._found("layers")

    @property
    def layer_history(self) -> LayerHistory | None:
        """The map over checkpoints; None while there is none."""
        return self._found("history")

    def _found(self, name: str) -> Any:
        found = self.results.get(name)
        return found if isinstance(found, KINDS[name]) else None

    def _steps(self) -> list[Step]:
        if self.study is None:
            return []
        choice = replace(self.choice, kind="reinit") if self.view == "history" else self.choice
        self.study.check(choice)
        history = self.study.history_step(choice)
        if self.view == "history":
            return [history]
        steps = [self.study.layers_step("layers", choice)]
        pairs = self.study.pairs_step(choice, self._cache)
        if self.view == "pairs":
            steps.append(pairs)
        if len(self.joint) > 1:
            steps.append(self.study.joint_step(choice, self.joint))
        # what is known of the same rows stands beside them
        redrawn = self.study.layers_step("draws", replace(choice, kind="rerandomise"))
        beside = [history, redrawn] if choice.kind == "reinit" else [history]
        if self.view != "pairs":
            beside.append(pairs)
        return steps + [step for step in beside if all(key in self._cache for key in step.keys.values())]

    # ---- what is drawn

    def _stale(self) -> None:
        self.place.add_class("nnvis-stale")

    def _draw(self) -> None:
        thresholds = {"margin": self.margin, "critical_above": self.critical_above}
        for name, found in self.results.items():
            if isinstance(found, (LayerStudy, LayerHistory)) and any(
                getattr(found, key) != value for key, value in thresholds.items()
            ):
                self.results[name] = replace(found, **thresholds)
        self.place.remove_class("nnvis-stale")
        fill(self.place, self.pictures.draw(self))
        self.legend.value, self.state_line.value = legend(self), state_line(self)
        self.readout.value, self._assist.summary = readout(self), summary(self)

    def _show(self, results: dict[str, Result]) -> None:
        """Draw results that were not measured here, and let no setting that follows them start a measurement."""
        self.cancel()
        self.results = dict(results)
        together = getattr(results.get("joint"), "layers", ())
        with self.together():
            self.selected = None
            self.joint = tuple(together) if set(together) <= set(self.layers) else ()
            self.view = next(name for name in KINDS if name in results)
            self._wanted = False
        self.controls.follow()
        self._draw()

    def open_result(self, result: Result) -> None:
        """Show a saved study in place of the present one, until a setting changes."""
        self._show(results_in(result))

    @property
    def unshown(self) -> list[widgets.Widget]:
        """Widgets of ours that are in no container now."""
        return self.pictures.all

    def close(self) -> None:
        """Cancel the work, close what was opened, and remove the widget with everything in it."""
        if not self._closed and hasattr(self, "openings"):
            self.openings.clear()
        super().close()
