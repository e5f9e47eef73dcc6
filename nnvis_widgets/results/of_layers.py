"""What all results share that are about layers of a trained model with something else in their place.

May import: results.base.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from .base import NAN, Result


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class OfLayers(Result):
    """Which layers, and the scale of their criticality: what the trained model achieves, and what a constant answer does."""

    _shares_axes: ClassVar[bool] = False

    layers: list[str]
    metric: str = "accuracy"
    reference: dict[str, float] = field(default_factory=dict)
    chance: float = NAN
    learned: bool = True
    n: int
    fraction: float = 1.0
    provenance: dict[str, Any] = field(default_factory=dict)

    def _told(self, remark: str = "") -> str:
        """Return the end of a repr: on how many samples of which split, and how much of it is done."""
        part = "" if self.fraction == 1.0 else f", {self.fraction:.0%} done"
        return f"n = {self.n}{remark}, {self.provenance.get('split', '')}{part}"


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Replaced(OfLayers):
    """What was put in the place of the layers: their weights at checkpoint `at`, or fresh draws."""

    kind: str
    at: int
    epoch: float

    def _done(self, draws: int) -> str:
        """Return in words what was done to a layer."""
        return f"put back to epoch {self.epoch:g}" if self.kind == "reinit" else f"drawn anew ({draws} draw{'s' * (draws != 1)})"
