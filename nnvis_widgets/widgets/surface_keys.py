"""A surface explorer without a mouse: names of its controls for screen readers, and what keys do on the pictures.

May import: nothing of ours at run time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .surface_explorer import SurfaceExplorer

LABELS = {
    ".nnvis-plane select": "plane",
    ".nnvis-epoch .noUi-handle": "the trajectory is drawn up to this checkpoint",
    ".nnvis-resolution select": "points along each side",
    ".nnvis-widen select": "width of the picture",
}
KEYS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "+", "-", "0", "g", "n", "t", "3", "Escape"]
_MOVES = {"ArrowLeft": (-1, 0), "ArrowRight": (1, 0), "ArrowUp": (0, 1), "ArrowDown": (0, -1)}
_WIDER = (0.25, 0.5, 1.0, 2.0, 4.0)


def press(explorer: SurfaceExplorer, key: str, shift: bool) -> None:
    """Do what a key does.

    Arrows move the marked point by a cell (shift: the second one); + and - change the width, 0 restores it; g logarithms; n
    another slice; t trajectory; 3 the 3-D view; Escape cancels.
    """
    if key in _MOVES:
        _move(explorer, *_MOVES[key], second=shift)
    elif key in ("+", "-"):
        ladder = [width for width in _WIDER if (width < explorer.widen if key == "+" else width > explorer.widen)]
        if ladder:
            explorer.widen = ladder[-1] if key == "+" else ladder[0]
    elif key == "0":
        explorer.widen = 1.0
    elif key == "g":
        explorer.scale = "linear" if explorer.scale == "log10" else "log10"
    elif key == "n":
        explorer.another_slice()
    elif key == "t":
        explorer.trajectory = not explorer.trajectory
    elif key == "3":
        explorer.solid = not explorer.solid
    elif key == "Escape":
        explorer.cancel()


def _move(explorer: SurfaceExplorer, right: int, up: int, second: bool) -> None:
    surface = explorer.surface
    if surface is None or explorer.study is None:
        return
    second = second and explorer.point is not None
    x, y = (explorer.other if second and explorer.other else explorer.point) or (0.0, 0.0)
    to = x + right * (surface.x[1] - surface.x[0]), y + up * (surface.y[1] - surface.y[0])
    setattr(explorer, "other" if second else "point", (float(to[0]), float(to[1])))
