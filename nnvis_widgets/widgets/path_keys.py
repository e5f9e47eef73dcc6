"""A path explorer without a mouse: names of its controls for screen readers, and what keys do on the plots.

May import: nothing of ours at run time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .path_explorer import PathExplorer

LABELS = {
    ".nnvis-alpha .noUi-handle": "alpha: where the cursor stands",
    ".nnvis-range .noUi-handle-lower": "alpha range, lower end",
    ".nnvis-range .noUi-handle-upper": "alpha range, upper end",
    ".nnvis-search input": "search layers and tensors",
    ".nnvis-layers select": "layer or tensor",
    ".nnvis-index input": "index of the weight",
    ".nnvis-map": "map of the weights of the tensor, by distance travelled",
}
_KINDS = {"l": "linear", "q": "quadratic", "b": "both"}
KEYS = [*_KINDS, "g", "m", "n", "p", "Escape", "ArrowLeft", "ArrowRight"]


def press(explorer: PathExplorer, key: str, shift: bool) -> None:
    """Do what a key does: l, q, b kinds; g log; m mid; n next weight; p pin; arrows alpha (shift: ten times); Escape cancel."""
    if key in _KINDS:
        explorer.kind = _KINDS[key]
    elif key in ("ArrowLeft", "ArrowRight"):
        step = (0.1 if shift else 0.01) * (1 if key == "ArrowRight" else -1)
        low, high = explorer.alpha_range
        explorer.alpha = min(max(round(explorer.alpha + step, 10), low), high)
    elif key == "g":
        explorer.log_loss = not explorer.log_loss
    elif key == "m":
        explorer.alpha = explorer.mid_at
    elif key in ("n", "p", "Escape"):
        {"n": explorer.next_largest, "p": explorer.pin, "Escape": explorer.cancel}[key]()
