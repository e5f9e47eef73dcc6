"""What the keys do on the figures of a training monitor, and what its controls are called for screen readers.

May import: nothing of ours but the types.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .training_monitor import TrainingMonitor

KEYS = ["b", "s", "e", "ArrowLeft", "ArrowRight", "Escape"]
LABELS = {
    ".nnvis-bookmark": "Bookmark the last checkpoint", ".nnvis-stop": "Ask the training to stop",
    ".nnvis-explore": "Open the explorers on the run so far", ".nnvis-label input": "Label of the bookmark",
}  # fmt: skip


def press(monitor: TrainingMonitor, key: str) -> None:
    """Do what a key stands for: b bookmarks, s stops, e explores; arrows walk over the checkpoints, Escape marks none."""
    acts = {
        "b": monitor.bookmark, "s": monitor.stop, "e": monitor.explore, "Escape": partial(monitor.choose, None),
        "ArrowLeft": partial(monitor.walk, -1), "ArrowRight": partial(monitor.walk, 1),
    }  # fmt: skip
    if key in acts and not (key in ("b", "s") and monitor.over):
        monitor.attempt(acts[key])
