"""Choose one weight of a tensor: click the map, type an index, or step to the next largest.

May import: core.scope, views, ipywidgets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets

from ..core.scope import Scope, ScopeError, element_index
from ..views.weight_map import WeightMap

if TYPE_CHECKING:
    from .path_explorer import PathExplorer


class WeightPicker(widgets.VBox):
    """Shown at parameter level; follows the explorer's scope and sets it."""

    def __init__(self, explorer: PathExplorer):
        self._explorer = explorer
        self._shown: tuple | None = None
        self.map = WeightMap(self.pick)
        self.index = widgets.Text(
            description="index",
            continuous_update=False,
            layout=widgets.Layout(flex="1 1 0", min_width="0", width="auto"),
            style={"description_width": "40px"},
        ).add_class("nnvis-index")
        self.index.observe(lambda change: self._typed(change.new), "value")
        self.next = widgets.Button(
            description="Next largest", icon="step-forward", layout=widgets.Layout(flex="0 0 128px", width="128px")
        )
        self.next.add_class("nnvis-next").on_click(lambda _button: explorer.next_largest())
        self._error = widgets.HTML().add_class("nnvis-error")
        self._parts = [self.map, widgets.HBox([self.index, self.next]), self._error]
        super().__init__([], layout=widgets.Layout(width="auto"))
        self.add_class("nnvis-picker")

    @property
    def unshown(self) -> list[widgets.Widget]:
        """Widgets of ours that are in no container at other levels."""
        return self._parts

    def follow(self) -> None:
        """Show the tensor and the weight of the explorer's scope, or nothing at other levels."""
        explorer = self._explorer
        # not merely hidden: bqplot cannot lay a figure out that has no size
        self.children = self._parts if explorer.level == "parameter" else []
        if explorer.level != "parameter" or explorer.study is None:
            return
        tensor, index = explorer.scope
        shown = (tensor, explorer.ends)
        if shown != self._shown:
            self.map.show(explorer.study.travelled(tensor, explorer.ends), tensor)
            self._shown = shown
        self.map.mark(int(Scope.parse(explorer.scope, explorer.study.layout).tensors[self._canonical(tensor)][0]))
        self._error.value = ""
        self.index.value = ", ".join(map(str, index))

    def pick(self, flat: int) -> None:
        """Choose the weight with this flat index, as a click on the map does."""
        explorer = self._explorer
        assert explorer.study is not None
        tensor = explorer.scope[0]
        explorer.scope = tensor, element_index(flat, explorer.study.layout.shapes[self._canonical(tensor)])

    def _typed(self, text: str) -> None:
        explorer = self._explorer
        try:
            index = tuple(int(part) for part in text.replace("(", "").replace(")", "").replace(",", " ").split())
        except ValueError:
            self._error.value = f"index: whole numbers such as 0, 3; received {text!r}"
            return
        if explorer.level != "parameter" or index == tuple(explorer.scope[1]):
            return
        try:
            explorer.scope = explorer.scope[0], index
        except ScopeError as error:
            self._error.value = str(error)

    def _canonical(self, tensor: str) -> str:
        assert self._explorer.study is not None
        return self._explorer.study.layout.aliases.get(tensor, tensor)
