"""Other explorers, opened below a picture at what is chosen in it.

May import: ipywidgets, widgets.exploration. Explorers know nothing of each other: who opens some is given what makes them, or finds
them under their public names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from html import escape
from typing import Any

import ipywidgets as widgets

from .exploration import Exploration

Maker = Callable[[Any, Any, Any], widgets.Widget]


class Openings(Exploration):
    """Explorers at a scope, made when something is first opened and moved to another scope afterwards.

    Parameters
    ----------
    makers : dict of str to callable, optional
        Title, and what makes a widget of (evaluators, run, scope); default: the path explorer.
    on_error : callable
        Called with the exception when an explorer cannot be made after a click on its tab.
    """

    def __init__(self, makers: Mapping[str, Maker] | None, on_error: Callable[[Exception], None]):
        self._makers = makers
        self._made: dict[str, widgets.Widget] = {}
        super().__init__(on_error)

    @property
    def shown(self) -> bool:
        """Whether something is open."""
        return bool(self.children)

    def visit(self, words: str, evaluators: Mapping[str, Any], run: Any, scope: Any, split: str) -> widgets.Widget:
        """Show the explorers at a scope of a run, on a split; return the one in front."""
        title = f"<b>{escape(words)}</b>"
        self._at = scope, split
        if not self.shown:
            self._made.clear()
            makers = _path_explorer() if self._makers is None else self._makers
            return self.show(title, {name: partial(self._make, name, make, evaluators, run) for name, make in makers.items()})
        self.children[0].value = title
        for made in self._made.values():
            self._move(made)
        _, tabs = self.children
        return tabs.children[tabs.selected_index].children[0]

    def _make(self, name: str, make: Maker, evaluators: Mapping[str, Any], run: Any) -> widgets.Widget:
        made = self._made[name] = make(evaluators, run, self._at[0])
        self._move(made)
        return made

    def _move(self, made: widgets.Widget) -> None:
        for trait, value in zip(("scope", "split"), self._at, strict=True):
            if made.has_trait(trait):
                setattr(made, trait, value)


def _path_explorer() -> dict[str, Maker]:
    import nnvis_widgets

    return {"Paths": lambda evaluators, run, scope: nnvis_widgets.PathExplorer(evaluators, run, scope=scope)}
