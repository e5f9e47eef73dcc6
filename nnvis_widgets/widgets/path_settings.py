"""What can be chosen in a path explorer: traits, checked at the border, and how scope and level move each other.

May import: core.scope, traitlets, widgets.base.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import traitlets

from ..core.scope import Scope
from .base import Explorer
from .path_study import PathStudy

RANGES = {"model": (0.0, 1.0), "layer": (0.0, 1.0), "parameter": (-0.5, 1.5)}


class PathSettings(Explorer):
    """The traits of `PathExplorer`, documented there."""

    scope = traitlets.Any(None, allow_none=True)
    level = traitlets.Enum(["model", "layer", "parameter"], "model")
    view = traitlets.Enum(["path", "layers", "weights"], "path")
    kind = traitlets.Enum(["linear", "quadratic", "both"], "both")
    start = traitlets.Int(0)
    mid = traitlets.Int(0)
    end = traitlets.Int(0)
    knot = traitlets.Enum(["half", "epoch"], "half")
    alpha_range = traitlets.Tuple(traitlets.Float(), traitlets.Float(), default_value=(0.0, 1.0))
    points = traitlets.Int(41, min=2, max=1001)
    background = traitlets.Enum(["final", "initial"], "final")
    split = traitlets.Unicode("test")
    count = traitlets.Int(12, min=1, max=200)
    training = traitlets.Bool(True)
    alpha = traitlets.Float(1.0)
    metric = traitlets.Unicode(None, allow_none=True)
    log_loss = traitlets.Bool(False)
    band = traitlets.Bool(True)
    crossings = traitlets.Bool(True)

    RECOMPUTE: ClassVar = (
        "scope", "level", "view", "kind", "start", "mid", "end", "knot", "alpha_range", "points", "background", "split",
        "count", "training",
    )  # fmt: skip
    RESTYLE: ClassVar = ("alpha", "metric", "log_loss", "band", "crossings")

    study: PathStudy | None
    _remembered: dict[str, Any]
    _ranges: dict[str, tuple[float, float]]

    # ---- settings at the border

    @traitlets.validate("scope")
    def _valid_scope(self, proposal: Any) -> Any:
        if self.study is not None:
            Scope.parse(proposal.value, self.study.layout)
        return proposal.value

    @traitlets.validate("start", "mid", "end")
    def _valid_checkpoint(self, proposal: Any) -> int:
        if self.study is not None:
            size = len(self.study.run)
            if not -size <= proposal.value < size:
                raise ValueError(f"{proposal.trait.name}: an index from 0 to {size - 1} of a checkpoint, received {proposal.value}")
            return proposal.value % size
        return proposal.value

    @traitlets.validate("split")
    def _valid_split(self, proposal: Any) -> str:
        if self.study is not None and proposal.value not in self.study.evaluators:
            raise ValueError(f"split: one of {', '.join(map(repr, self.study.evaluators))}, received {proposal.value!r}")
        return proposal.value

    @traitlets.validate("alpha_range")
    def _valid_range(self, proposal: Any) -> tuple[float, float]:
        low, high = proposal.value
        if not (np.isfinite([low, high]).all() and low < high):
            raise ValueError(f"alpha_range: two ascending finite numbers, received {proposal.value}")
        return float(low), float(high)

    @traitlets.observe("scope")
    def _scope_to_level(self, change: Any) -> None:
        if self.study is None:
            return
        parsed = Scope.parse(change.new, self.study.layout)
        level = {"model": "model", "element": "parameter"}.get(parsed.level, "layer")
        self._remembered[level] = change.new
        with self.together():
            self.level = level
            self.alpha_range = self._ranges[level]

    @traitlets.observe("level")
    def _level_to_scope(self, change: Any) -> None:
        if self.study is None:
            return
        parsed = Scope.parse(self.scope, self.study.layout)
        if change.new != {"model": "model", "element": "parameter"}.get(parsed.level, "layer"):
            self.scope = self._remembered.get(change.new, self._first_scope(change.new))

    @traitlets.observe("alpha_range")
    def _remember_range(self, change: Any) -> None:
        self._ranges[self.level] = change.new

    def _first_scope(self, level: str) -> Any:
        """Return what a level shows when nothing has been chosen there yet."""
        raise NotImplementedError
