"""The controls of a layer map: each one is a hand on a trait, and follows the trait when a script moves it.

May import: core.batchnorm, views, ipywidgets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets
import traitlets

from .layer_pictures import CALLED, KINDS
from .layer_settings import SAMPLES
from .parts import Files, button, dropdown, listed, settings_panel, title, toggle, wide

if TYPE_CHECKING:
    from .layer_map import LayerMap

_UNITS = [("one row: a module", "module"), ("one row: a block", "block"), ("one row: a tensor", "tensor")]
_PARTS = [("weights and biases", "all"), ("weights only", "weights"), ("biases only", "biases")]
_AGAINST = [("|end - start| / |start|", "relative_distance"), ("distance moved", "distance"),
            ("number of weights", "parameter_count")]  # fmt: skip
_POLICIES = [("BatchNorm: the evaluator's", None), ("final statistics", "final"), ("recalibrated", "recalibrate"),
             ("of each batch", "batch")]  # fmt: skip


class LayerControls:
    """Builds the panel beside the picture.

    Attributes
    ----------
    toolbar : widgets.Box
        What is seen and what is done: what is changed most, above everything else.
    panel : widgets.Box
    chosen_row : widgets.HBox
        What can be done with the chosen layer.
    """

    def __init__(self, explorer: LayerMap):
        self._explorer = explorer
        self.toolbar = self._choices()
        self.chosen_row = self._chosen()
        groups = [self._labels()]
        if explorer.study is not None:
            groups = [self._reset(), [*groups[0], *self._data()]]
        self.panel = settings_panel(*groups, [*self._together(), Files(explorer, "nnvis_layers", explorer.open_result)])
        explorer.observe(lambda _change: self.follow(), ["kind", "view", "order", "selected", "joint"])
        self.follow()

    def _choices(self) -> widgets.Box:
        explorer = self._explorer
        self.view = toggle([("Layers", "layers"), ("Layers by epochs", "history"), ("Pairs", "pairs")], "nnvis-view")
        self.view.tooltips = list(CALLED.values())
        self.kind = toggle([("Re-initialise", "reinit"), ("Re-randomise", "rerandomise")], "nnvis-kind")
        self.metric = toggle([(f"{self._quantity()} (κ)", "criticality"), ("Loss rise", "loss")], "nnvis-metric")
        rows = [("Network order", "network"), ("Most harm first", "rank")]
        self.order = toggle([*rows, ("Against distance", "distance")], "nnvis-order")
        self.row_order = toggle(rows, "nnvis-row-order")  # of a picture that always has rows
        self.against = dropdown(_AGAINST, "nnvis-across")
        self.against.layout.width = "230px"
        tools = {"view": self.view, "kind": self.kind, "metric": self.metric, "order": self.order, "against": self.against}
        for name, control in tools.items():
            traitlets.link((explorer, name), (control, "value"))
        traitlets.link(
            (explorer, "order"),
            (self.row_order, "value"),
            (lambda order: "rank" if order == "rank" else "network", lambda order: order),
        )
        shown = [one for one in (*tools.values(), self.row_order) if explorer.study is not None or one is not self.kind]
        return widgets.Box(shown, layout=widgets.Layout(flex_flow="row wrap", width="100%")).add_class("nnvis-toolbar")

    def _quantity(self) -> str:
        """Return what criticality is about: accuracy where the data have classes, else the loss."""
        study, shown = self._explorer.study, self._explorer.layer_study
        if study is not None:
            return "Accuracy" if "accuracy" in next(iter(study.evaluators.values())).quantities else "Loss"
        return shown.metric.capitalize() if shown is not None else "Criticality"

    def _reset(self) -> list[widgets.Widget]:
        explorer, study = self._explorer, self._explorer.study
        epochs = [(f"back to epoch {epoch:g}", index) for index, epoch in enumerate(study.run.epochs)]
        self.at = dropdown(epochs, "nnvis-at")
        traitlets.link((explorer, "at"), (self.at, "value"))
        self.draws = self._number("draws", 1, 200, "draws")
        self.seed = self._number("seed", 0, 2**31, "seed")
        self._drawing = widgets.HBox([self.draws, self.seed], layout=wide())
        self.unit = dropdown(_UNITS, "nnvis-rows-of")
        self.part = dropdown(_PARTS, "nnvis-part")
        for name, control in (("unit", self.unit), ("part", self.part)):
            traitlets.link((explorer, name), (control, "value"))
        return [title("Reset"), self.at, self._drawing, self.unit, self.part]

    def _labels(self) -> list[widgets.Widget]:
        explorer = self._explorer
        self.margin = widgets.BoundedFloatText(
            min=0.01, max=1e6, step=0.25, description="ambient below, points", layout=wide(), style={"description_width": "150px"}
        ).add_class("nnvis-margin")  # fmt: skip
        traitlets.link(
            (explorer, "margin"), (self.margin, "value"), (lambda share: round(100 * share, 10), lambda points: points / 100)
        )
        self.above = widgets.BoundedFloatText(
            min=0.01, max=0.99, step=0.05, description="critical above, κ", layout=wide(), style={"description_width": "150px"}
        ).add_class("nnvis-above")  # fmt: skip
        traitlets.link((explorer, "critical_above"), (self.above, "value"))
        return [title("Labels"), self.margin, self.above]

    def _data(self) -> list[widgets.Widget]:
        explorer, study = self._explorer, self._explorer.study
        self.split = dropdown([(f"data: {name} (n = {one.n})", name) for name, one in study.evaluators.items()], "nnvis-split")
        traitlets.link((explorer, "split"), (self.split, "value"))
        most = max(one.n for one in study.evaluators.values())
        counts = [(f"n = {count}", count) for count in SAMPLES if count < most]
        self.samples = dropdown([*counts, ("all samples", None)], "nnvis-samples")
        listed(explorer, "samples", self.samples, "n = {}")
        rows = [title("Data"), self.split, self.samples]
        if study.normalised:
            self.batchnorm = dropdown(_POLICIES, "nnvis-batchnorm")
            listed(explorer, "batchnorm", self.batchnorm, "{}")
            rows.append(self.batchnorm)
        return rows

    def _number(self, name: str, low: int, high: int, words: str) -> widgets.BoundedIntText:
        box = widgets.BoundedIntText(min=low, max=high, description=words, layout=wide(), style={"description_width": "40px"})
        box.layout.flex = "1 1 0"
        traitlets.link((self._explorer, name), (box, "value"))
        return box.add_class(f"nnvis-{name}")

    def _together(self) -> list[widgets.Widget]:
        explorer = self._explorer
        self._set = widgets.HTML().add_class("nnvis-small").add_class("nnvis-set")
        self._clear = button("Clear", "eraser", explorer.clear_joint, "nnvis-clear-joint")
        return [title("Reset together"), self._set, self._clear] if explorer.study is not None else []

    def _chosen(self) -> widgets.HBox:
        explorer = self._explorer
        self._open = button("Open paths", "line-chart", explorer.explore, "nnvis-explore")
        self._add = button("Add to joint reset", "plus", explorer.toggle_joint, "nnvis-add")
        self._open.layout.width, self._add.layout.width = "120px", "180px"
        self._close = button("Close paths", "times", explorer.close_explorers, "nnvis-close")
        self._close.layout.width = "120px"
        parts = [self._open, self._add, self._close] if explorer.study is not None else []
        return widgets.HBox(parts, layout=widgets.Layout(flex_flow="row wrap"))

    def follow(self) -> None:
        """Show what has a meaning now."""
        explorer = self._explorer
        self._open.disabled = self._add.disabled = explorer.selected is None
        inside = explorer.selected in explorer.joint
        self._add.description = "Leave joint reset" if inside else "Add to joint reset"
        self._add.icon = "minus" if inside else "plus"
        self._close.layout.display = None if explorer.openings.shown else "none"
        history, layers = explorer.view == "history", explorer.view == "layers"
        for control, seen in (
            (self.view, explorer.study is not None or len(KINDS.keys() & explorer.results.keys()) > 1),
            (self.kind, not history), (self.metric, layers), (self.order, layers), (self.row_order, history),
            (self.against, layers and explorer.order == "distance"),
        ):  # fmt: skip
            control.layout.display = None if seen else "none"
        names = ", ".join(explorer.joint)
        self._set.value = names or "Tick two or more layers, Shift-click them, or click a cell of the pairs."
        self._clear.layout.display = None if explorer.joint else "none"
        if explorer.study is not None:
            redraw = explorer.kind == "rerandomise" and not history
            self.at.layout.display = "none" if redraw else None
            self._drawing.layout.display = None if redraw else "none"
