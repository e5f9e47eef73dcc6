"""What is done with the layers of a map: choosing rows and pairs, resetting several together, opening their paths.

May import: ipywidgets, results, what a layer map is made of. Clicks, keys and buttons end here, and scripts can do the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from ..results import PairwiseReset
from .layer_controls import LayerControls
from .layer_pictures import LayerPictures
from .layer_settings import LayerSettings
from .layer_study import LayerWork
from .openings import Openings


class LayerHands(LayerSettings):
    """A layer map as hands and scripts move it; what is measured and drawn: `LayerMap`."""

    study: LayerWork | None
    pictures: LayerPictures
    controls: LayerControls
    openings: Openings
    _on_open: Callable[[Any], None] | None

    @property
    def layer_pairs(self) -> PairwiseReset | None:
        """The matrix of every two layers; None while there is none."""
        found = self.results.get("pairs")
        return found if isinstance(found, PairwiseReset) else None

    # ---- clicks

    def _clicked(self, row: int, second: bool) -> None:
        """Choose a row of the picture and open it; the second way of clicking takes it into the joint set or out of it."""
        names = self._rows()
        if not 0 <= row < len(names):
            return
        if second:
            self.toggle_joint(names[row])
            return
        self.selected = names[row]
        if self.study is not None:
            self._try(self.explore)

    def _picked(self, row: int, checkpoint: int) -> None:
        names = self._rows()
        with self.together():
            if row < len(names):
                self.selected = names[row]
            if self.study is not None:
                self.at = checkpoint

    def _chose(self, name: str) -> None:
        self._clicked(self._rows().index(name), False)

    def _rows(self) -> list[str]:
        return self.pictures.rows(self)

    def _try(self, act: Callable[[], Any]) -> None:
        try:
            act()
        except Exception as error:
            self.status.say(error)

    # ---- buttons, as methods

    def walk(self, step: int) -> None:
        """Choose the row so many rows below the present one."""
        names = self._rows()
        if names:
            at = names.index(self.selected) if self.selected in names else -1 if step > 0 else len(names)
            self.selected = names[min(max(at + step, 0), len(names) - 1)]

    def walk_pairs(self, down: int, across: int) -> None:
        """Choose the pair whose cell lies so many rows below and columns beside that of the present one, in the matrix of pairs."""
        names = self.layer_pairs.layers if self.layer_pairs is not None else []
        at = [names.index(name) for name in self.joint if name in names]
        if len(at) != 2:
            self.pair(1, 0)
            return
        row, column = (at[0], at[1]) if self.selected == names[at[0]] else (at[1], at[0])
        row, column = row + down, column + across
        if row == column:  # over the diagonal
            row, column = row + down, column + across
        self.pair(row, column)

    def toggle_joint(self, layer: str | None = None) -> None:
        """Take a layer, default the chosen one, into the set that is reset together, or out of it."""
        name = layer or self.selected
        if name is not None:
            self.joint = tuple(one for one in self.joint if one != name) if name in self.joint else (*self.joint, name)

    def pair(self, first: int, second: int) -> None:
        """Reset two layers of the matrix of pairs together, by their numbers in it; the same number twice chooses that layer."""
        names = self.layer_pairs.layers if self.layer_pairs is not None else []
        if not (0 <= first < len(names) and 0 <= second < len(names)):
            return
        with self.together():
            self.selected = names[first]
            if first != second:
                self.joint = (names[first], names[second])

    def clear_joint(self) -> None:
        """Forget which layers were reset together."""
        self.joint = ()

    def explore(self, layer: str | None = None) -> widgets.Widget | None:
        """Open the path explorer at a layer, default the chosen one, below; or hand its scope to `on_open`.

        Raises
        ------
        ValueError
            No layer is chosen, or this is a saved result without a model.
        """
        name = layer or self.selected
        if self.study is None or name is None:
            why = "a saved result holds no model" if self.study is None else "choose a layer first"
            raise ValueError(f"explore: {why}")
        scope = self.study.scope(name, self.unit, self.part)
        if self._on_open is not None:
            self._on_open(scope)
            return None
        front = self.openings.visit(f"Paths of {name}", self.study.evaluators, self.study.run, scope, self.split)
        self.controls.follow()
        return front

    def close_explorers(self) -> None:
        """Close what `explore` has opened."""
        self.openings.clear()
        self.controls.follow()
