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
}
KEYS = ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "Home", "End", "Enter", " ", "o", "m", "h", "Escape"]


def press(explorer: LayerMap, key: str, _shift: bool) -> None:
    """Do what a key does.

    Up, down, Home, End choose a row; left, right the checkpoint that layers are put back to; Enter opens the explorers at the row,
    space takes it into the joint set or out of it; o order, m metric, h the map of layers by epochs; Escape cancels.
    """
    if key in ("ArrowUp", "ArrowDown", "Home", "End"):
        explorer.walk({"ArrowUp": -1, "ArrowDown": 1, "Home": -len(explorer.layers), "End": len(explorer.layers)}[key])
    elif key in ("ArrowLeft", "ArrowRight") and explorer.study is not None:
        explorer.at = min(max(explorer.at + (1 if key == "ArrowRight" else -1), 0), len(explorer.study.run) - 1)
    elif key == "Enter":
        explorer.explore()
    elif key == " ":
        explorer.toggle_joint()
    elif key == "o":
        explorer.order = "rank" if explorer.order == "network" else "network"
    elif key == "m":
        explorer.metric = "loss" if explorer.metric == "criticality" else "criticality"
    elif key == "h":
        explorer.view = "layers" if explorer.view == "history" else "history"
    elif key == "Escape":
        explorer.cancel()
