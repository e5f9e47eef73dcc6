"""A layer map without a mouse: names of its controls for screen readers, and what keys do on the picture.

May import: nothing of ours at run time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .layer_map import LayerMap

LABELS = {
    ".nnvis-at select": "reset the layers to this checkpoint",
    ".nnvis-draws input": "number of re-randomisations",
    ".nnvis-rows-of select": "what one row is",
    ".nnvis-margin input": "ambient below this drop, in points",
    ".nnvis-above input": "critical above this criticality",
    ".nnvis-across select": "what the layers are held against",
}
KEYS = ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "Home", "End", "Enter", " ", "o", "m", "h", "p", "Escape"]
ORDERS = ["network", "rank", "distance"]
_STEPS = {"ArrowUp": (-1, 0), "ArrowDown": (1, 0), "ArrowLeft": (0, -1), "ArrowRight": (0, 1)}


def press(explorer: LayerMap, key: str, _shift: bool) -> None:
    """Do what a key does.

    Up, down, Home, End choose a row; left, right the checkpoint that layers are put back to; Enter opens the explorers at the row,
    space takes it into the joint set or out of it; o order, m metric, h the map of layers by epochs, p the matrix of pairs; Escape
    cancels. In the matrix the arrows go from cell to cell.
    """
    if explorer.view == "pairs" and key in _STEPS:
        explorer.walk_pairs(*_STEPS[key])
    elif key in ("ArrowUp", "ArrowDown", "Home", "End"):
        explorer.walk({"ArrowUp": -1, "ArrowDown": 1, "Home": -len(explorer.layers), "End": len(explorer.layers)}[key])
    elif key in ("ArrowLeft", "ArrowRight") and explorer.study is not None:
        explorer.at = min(max(explorer.at + (1 if key == "ArrowRight" else -1), 0), len(explorer.study.run) - 1)
    elif key == "Enter":
        explorer.explore()
    elif key == " ":
        explorer.toggle_joint()
    elif key == "o":
        explorer.order = ORDERS[(ORDERS.index(explorer.order) + 1) % len(ORDERS)]
    elif key == "m":
        explorer.metric = "loss" if explorer.metric == "criticality" else "criticality"
    elif key in ("h", "p"):
        wanted = {"h": "history", "p": "pairs"}[key]
        explorer.view = "layers" if explorer.view == wanted else wanted
    elif key == "Escape":
        explorer.cancel()
