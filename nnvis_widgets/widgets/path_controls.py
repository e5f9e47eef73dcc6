"""The controls of a path explorer: each one is a hand on a trait, and follows the trait when a script moves it.

May import: core.scope, views, ipywidgets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from ..core.scope import Scope, movable_layers
from .parts import Files, button, check, dropdown, settings_panel, title, toggle, wide
from .path_sliders import AlphaSlider, RangeSlider
from .weight_picker import WeightPicker

if TYPE_CHECKING:
    from .path_explorer import PathExplorer


class PathControls:
    """Builds the panel beside the plots.

    Attributes
    ----------
    toolbar : widgets.Box
        Level, view and kind: what is changed most, above everything else.
    panel : widgets.VBox
        Of a live explorer: a saved result has nothing to choose.
    cursor_row : widgets.HBox
        The alpha slider and what acts on the plots.
    """

    def __init__(self, explorer: PathExplorer):
        self._explorer = explorer
        self._following = False
        self.cursor_row = self._cursor()
        if explorer.study is None:
            self.toolbar = widgets.Box()
            return
        self.toolbar = self._choices()
        self.picker = WeightPicker(explorer)
        self.files = Files(explorer, "nnvis_path", explorer.open_result)
        self.panel = settings_panel([*self._what(), self.picker], self._path(), [self._display(), self.files])
        explorer.observe(self._follow, ["scope", "level", "start", "mid", "end", "view"])
        self._follow(None)

    # ---- what follows the path

    def _choices(self) -> widgets.Box:
        explorer = self._explorer
        self.level = toggle([("Model", "model"), ("Layer", "layer"), ("Parameter", "parameter")], "nnvis-level")
        traitlets.link((explorer, "level"), (self.level, "value"))
        self.view = toggle([("This path", "path"), ("All layers", "layers"), ("Many weights", "weights")], "nnvis-view")
        traitlets.link((explorer, "view"), (self.view, "value"))
        self.kind = toggle([("Linear", "linear"), ("Quadratic", "quadratic"), ("Both", "both")], "nnvis-kind")
        traitlets.link((explorer, "kind"), (self.kind, "value"))
        toolbar = widgets.Box([self.level, self.view, self.kind], layout=widgets.Layout(flex_flow="row wrap", width="100%"))
        return toolbar.add_class("nnvis-toolbar")

    def _what(self) -> list[widgets.Widget]:
        self.search = widgets.Text(placeholder="search layers and tensors", layout=wide()).add_class("nnvis-search")
        self.layers = widgets.Select(rows=8, layout=wide()).add_class("nnvis-layers")
        self.search.observe(lambda _change: self._list_layers(), "value")
        self.layers.observe(self._choose_layer, "value")
        self._list_title = title("Layers: weights, distance, relative")
        return [self._list_title, self.search, self.layers]

    def _rows(self) -> list[tuple[str, str]]:
        """Return labels and scopes of the layers, each followed by its tensors when it has several."""
        assert self._explorer.study is not None
        rows = []
        for layer, names in movable_layers(self._explorer.study.layout).items():
            rows.append((layer, layer))
            rows += [(f"  {name.removeprefix(f'{layer}.')}", name) for name in names] if len(names) > 1 else []
        return rows

    def _list_distances(self) -> None:
        """Put how far each scope has moved into the list; in a thread where there is a loop, for ResNets take a second or two."""
        study, ends, rows = self._explorer.study, self._explorer.ends, self._rows()
        assert study is not None

        def measure() -> list[dict[str, float]]:
            return [study.movement(scope, ends) for _, scope in rows]

        def arrived(measured: asyncio.Future) -> None:
            # of checkpoints that are no longer chosen, or for a list that is closed
            if measured.cancelled() or self._explorer._closed or ends != self._explorer.ends:
                return
            if error := measured.exception():
                self._explorer.status.say(error)
            else:
                self._all_entries = self._entries(rows, measured.result())
                self._list_layers()

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._all_entries = self._entries(rows, measure())
        else:
            self._all_entries = self._entries(rows, [None] * len(rows))
            loop.run_in_executor(None, measure).add_done_callback(arrived)

    def _entries(self, rows: list[tuple[str, str]], moves: Sequence[dict[str, float] | None]) -> list[tuple[str, str | None]]:
        study = self._explorer.study
        assert study is not None
        width = max(len(label) for label, _ in rows)
        entries: list[tuple[str, str | None]] = []
        for (label, scope), moved in zip(rows, moves, strict=True):
            count = Scope.parse(scope, study.layout).count(study.layout)
            far = "..." if moved is None else f"{moved['distance']:.3g}"
            share = f"{moved['relative_distance']:.0%}" if moved is not None and moved["relative_distance"] < 100 else ""
            entries.append((f"{label:<{width}} {count:>9,} {far:>8} {share:>7}".replace(" ", "\u00a0"), scope))
        return entries

    def _list_layers(self) -> None:
        """Fill the list: name, number of weights, distance travelled, the same relative to the start."""
        wanted = self.search.value.strip().lower()
        entries = [entry for entry in self._all_entries if wanted in str(entry[1]).lower()]
        self._following = True
        self.layers.options = entries or [("nothing of that name", None)]
        scopes = [scope for _, scope in entries]
        self.layers.value = self._listed_scope() if self._listed_scope() in scopes else None
        self._following = False

    def _listed_scope(self) -> str | None:
        scope = self._explorer.scope
        return scope[0] if self._explorer.level == "parameter" else scope if isinstance(scope, str) else None

    def _choose_layer(self, change: Any) -> None:
        explorer = self._explorer
        if self._following or change.new is None or explorer.study is None:
            return
        if explorer.level == "parameter":
            tensor = next(iter(Scope.parse(change.new, explorer.study.layout).tensors))
            explorer.scope = tensor, explorer.study.largest(tensor, explorer.ends, 1)[0]
        else:
            explorer.scope = change.new

    # ---- the path

    def _path(self) -> list[widgets.Widget]:
        explorer, study = self._explorer, self._explorer.study
        assert study is not None
        epochs = [(f"epoch {epoch:g}", index) for index, epoch in enumerate(study.run.epochs)]
        self.ends = {}
        for name in ("start", "mid", "end"):
            self.ends[name] = widgets.Dropdown(
                options=epochs, description=name, layout=wide(), style={"description_width": "40px"}
            ).add_class(f"nnvis-{name}")
            traitlets.link((explorer, name), (self.ends[name], "value"))
        self.knot = dropdown([("mid drawn at 0.5", "half"), ("mid drawn at its epoch", "epoch")], "nnvis-knot")
        traitlets.link((explorer, "knot"), (self.knot, "value"))
        self.background = dropdown(
            [("rest of the model: end", "final"), ("rest of the model: start", "initial")], "nnvis-background"
        )
        traitlets.link((explorer, "background"), (self.background, "value"))
        self.range = RangeSlider(explorer)
        self.points = widgets.BoundedIntText(
            min=2, max=1001, description="points", layout=wide(), style={"description_width": "40px"}
        )
        self.points.add_class("nnvis-points")
        traitlets.link((explorer, "points"), (self.points, "value"))
        self.split = dropdown([(f"data: {name} (n = {one.n})", name) for name, one in study.evaluators.items()], "nnvis-split")
        traitlets.link((explorer, "split"), (self.split, "value"))
        three = widgets.VBox(list(self.ends.values()), layout=wide())
        return [title("Path"), three, self.knot, self.range, self.points, self.background, self.split]

    # ---- what is seen

    def _cursor(self) -> widgets.HBox:
        explorer = self._explorer
        self.alpha = AlphaSlider(explorer)
        self.zoom = widgets.ToggleButton(description="Zoom", icon="search-plus", layout=widgets.Layout(width="90px"),
                                         tooltip="drag the plots, zoom with the wheel").add_class("nnvis-zoom")  # fmt: skip
        self.zoom.observe(lambda change: explorer.zoom(change.new), "value")
        reset = button("Reset", "home", explorer.reset_zoom, "nnvis-reset")
        pin = button("Pin", "thumb-tack", explorer.pin, "nnvis-pin")
        unpin = button("Unpin", "eraser", explorer.unpin, "nnvis-unpin")
        return widgets.HBox(
            [self.alpha, self.zoom, reset, pin, unpin],
            layout=widgets.Layout(flex_flow="row wrap", align_items="center", width="100%"),
        )

    def _display(self) -> widgets.Widget:
        explorer = self._explorer
        labels = {"log_loss": "log loss", "band": "error band", "training": "training curve", "crossings": "crossings"}
        boxes = [check(explorer, name, label) for name, label in labels.items()]
        self.count = widgets.BoundedIntText(min=1, max=200, description="weights in 'Many weights'", layout=wide(),
                                            style={"description_width": "170px"}).add_class("nnvis-count")  # fmt: skip
        traitlets.link((explorer, "count"), (self.count, "value"))
        rows: list[widgets.Widget] = [
            title("Picture"),
            widgets.HBox(boxes, layout=widgets.Layout(flex_flow="row wrap")),
            self.count,
        ]
        metrics = [name for name in next(iter(explorer.study.evaluators.values())).quantities if name != "loss"]
        if len(metrics) > 1:
            self.metric = dropdown([(f"second plot: {name}", name) for name in metrics], "nnvis-metric-choice")
            traitlets.link((explorer, "metric"), (self.metric, "value"))
            rows.append(self.metric)
        return widgets.VBox(rows, layout=wide())

    # ---- following the traits

    def _follow(self, change: Any) -> None:
        explorer = self._explorer
        if change is None or change.name in ("start", "mid", "end"):
            self._list_distances()
        if change is None or change.name in ("scope", "level", "start", "mid", "end"):
            self._list_layers()
            shown = None if explorer.level != "model" else "none"
            for part in (self._list_title, self.search, self.layers):
                part.layout.display = shown
            self.panel.children[0].layout.display = shown  # an empty column would keep its place
            self.picker.follow()
