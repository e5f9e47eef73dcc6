"""The pictures of a layer map: which of them are seen, and which rows they have.

May import: results, views, ipywidgets, layer_scenes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import ipywidgets as widgets

from ..results import JointReset, LayerHistory, LayerStudy, PairwiseReset, Result, ResultSet
from ..views.layer_chart import LayerChart
from ..views.layer_history import HistoryView
from ..views.layer_pairs import PairsView
from ..views.layer_scatter import LayerScatter
from .layer_scenes import history_scene, layer_scene, pair_scene, scatter_scene

if TYPE_CHECKING:
    from .layer_map import LayerMap

KINDS = {"layers": LayerStudy, "history": LayerHistory, "pairs": PairwiseReset}  # what each view shows
CALLED = {"layers": "layers one by one", "history": "layers by epochs", "pairs": "pairs of layers"}


class LayerPictures:
    """Dots, points against a distance, a map of layers by checkpoints, and a matrix of pairs; each is made once.

    Parameters
    ----------
    on_cell : callable
        ``on_cell(row, checkpoint)``: a cell of the map by checkpoints is clicked.
    on_name : callable
        ``on_name(layer)``: a point is clicked.
    """

    def __init__(self, on_cell: Callable[[int, int], None], on_name: Callable[[str], None]):
        self.chart, self.scatter = LayerChart(), LayerScatter(on_name)
        self.history, self.pairs = HistoryView(on_cell), PairsView()
        self.message = widgets.HTML().add_class("nnvis-small")

    @property
    def all(self) -> list[widgets.Widget]:
        """Every picture, seen or not."""
        return [self.chart, self.scatter, self.history, self.pairs, self.message]

    def draw(self, explorer: LayerMap) -> list[widgets.Widget]:
        """Draw what the settings of a layer map ask for, and return what is to be seen of it."""
        drawn = {"layers": self._layers, "history": self._history, "pairs": self._pairs}[explorer.view](explorer)
        if drawn:
            return drawn
        waiting = explorer.study is not None
        self.message.value = "measuring ..." if waiting else f"This file holds no {CALLED[explorer.view]}."
        return [self.message] if waiting is (explorer.view != "layers") else []

    def _layers(self, explorer: LayerMap) -> list[widgets.Widget]:
        if explorer.order == "distance":
            points = scatter_scene(explorer)
            if points is not None:
                self.scatter.show(points)
            return [self.scatter] if points is not None else []
        scene = layer_scene(explorer)
        if scene is not None:
            self.chart.show(scene)
        return [self.chart] if scene is not None else []

    def _history(self, explorer: LayerMap) -> list[widgets.Widget]:
        scene = history_scene(explorer)
        if scene is not None:
            self.history.show(scene)
        return [self.history] if scene is not None else []

    def _pairs(self, explorer: LayerMap) -> list[widgets.Widget]:
        """Return the matrix, and below it the rows of the layers that are reset together."""
        matrix = pair_scene(explorer)
        if matrix is None:
            return []
        self.pairs.show(matrix)
        scene = layer_scene(explorer, explorer.joint) if len(explorer.joint) > 1 else None
        if scene is not None:
            self.chart.show(scene)
        return [self.pairs, self.chart] if scene is not None else [self.pairs]

    def rows(self, explorer: LayerMap) -> list[str]:
        """Return the layers of the rows that are seen, from the top."""
        if explorer.view == "history":
            scene = history_scene(explorer)
        else:
            scene = layer_scene(explorer, explorer.joint if explorer.view == "pairs" else None)
        return [] if scene is None else [row.name for row in scene.rows]


def results_in(result: Result) -> dict[str, Result]:
    """Return the results of a saved layer map by their names in it, or refuse what it cannot show."""
    names = {kind: name for name, kind in KINDS.items()}
    results = result.results if isinstance(result, ResultSet) else {names.get(type(result), "other"): result}
    if not (KINDS.keys() & results.keys() and all(isinstance(one, (*names, JointReset)) for one in results.values())):
        kinds = ", ".join(f"a {kind.__name__}" for kind in names)
        raise TypeError(f"result: {kinds}, or what save_result wrote; received {type(result).__name__}")
    return dict(results)
