"""Explorers in tabs, each made when its tab is first chosen.

May import: ipywidgets. Two explorers made at once would compete for the machine, and figures in a hidden tab draw themselves with
a negative size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import ipywidgets as widgets


class Exploration(widgets.VBox):
    """A title and tabs, or nothing.

    Parameters
    ----------
    on_error : callable
        Called with the exception when an explorer cannot be made after a click on its tab.
    """

    def __init__(self, on_error: Callable[[Exception], None]):
        self._on_error = on_error
        super().__init__()

    def show(self, title: str, makers: Mapping[str, Callable[[], widgets.Widget]]) -> widgets.Widget:
        """Open tabs in place of those that are there; return what is in front, the first."""
        self.clear()
        tabs = widgets.Tab([widgets.VBox() for _ in makers], titles=list(makers), selected_index=0)

        def choose(at: int) -> widgets.Widget:
            pane = tabs.children[at]
            if not pane.children:
                pane.children = [list(makers.values())[at]()]
            return pane.children[0]

        def chosen(change) -> None:
            try:
                choose(change.new)
            except Exception as error:
                self._on_error(error)

        tabs.observe(chosen, "selected_index")
        self.children = [widgets.HTML(title), tabs]
        return choose(0)

    def clear(self) -> None:
        """Close what is open."""
        if not self.children:
            return
        title, tabs = self.children
        self.children = []
        for pane in tabs.children:
            for one in pane.children:
                one.close()
        for one in (*tabs.children, tabs, title):
            for part in (one.layout, getattr(one, "style", None), one):
                if part is not None:
                    part.close()

    def close(self) -> None:
        """Remove the widget with everything in it."""
        self.clear()
        super().close()
