"""A parameter explorer without a mouse: names of its controls for screen readers, and what keys do on the plots.

May import: nothing of ours at run time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .parameter_explorer import ParameterExplorer

LABELS = {
    ".nnvis-search input": "search layers and tensors",
    ".nnvis-layers select": "layer or tensor whose weights are scanned",
    ".nnvis-mid .noUi-handle": "mid checkpoint",
    ".nnvis-whatif .noUi-handle": "what if: share of the way at the mid checkpoint (rho)",
    ".nnvis-plateau_length .noUi-handle": "how long a flat region is at least, in alpha",
    ".nnvis-plateau .noUi-handle": "within which share of its range a curve is flat, in per cent",
    ".nnvis-noise .noUi-handle": "how many times the rounding noise counts as a difference",
    ".nnvis-list textarea": "weights to be scanned, one a line, such as fc1.weight 0, 3",
    ".nnvis-phase": "diagram of rho and u star with a dot for each weight",
    ".nnvis-multiples": "small pictures of both curves of each weight, grouped by pattern",
    ".nnvis-loss": "loss of the selected weight along both paths",
    ".nnvis-u": "share of the way of the selected weight along both paths",
    ".nnvis-way": "alpha on both paths over the share of the way of the selected weight",
    ".nnvis-line": "loss of the selected weight over the share of its way",
}
KEYS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "PageUp", "PageDown", "Enter", "r", "u", "Escape"]


def press(explorer: ParameterExplorer, key: str, shift: bool) -> None:
    """Do what a key does.

    Left and right: the weight before or after (shift: the what-if rho, by 0.01); up and down: the mid checkpoint; Page keys: the
    pages; Enter: the paths of the weight; r: back to what was measured; u: over alpha or over the weight's line; Escape: cancel.
    """
    if key in ("ArrowLeft", "ArrowRight"):
        step = 1 if key == "ArrowRight" else -1
        if shift:
            explorer.shift_rho(0.01 * step)
        else:
            explorer.step_selection(step)
    elif key in ("ArrowUp", "ArrowDown"):
        explorer.step_mid(1 if key == "ArrowUp" else -1)
    elif key in ("PageUp", "PageDown"):
        explorer.turn_page(1 if key == "PageDown" else -1)
    elif key == "Enter":
        explorer.explore()
    elif key == "r":
        explorer.what_if = None
    elif key == "u":
        explorer.over = "alpha" if explorer.over == "u" else "u"
    elif key == "Escape":
        explorer.cancel()
