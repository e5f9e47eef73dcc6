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
    faithful = traitlets.Bool(False)
    alpha = traitlets.Float(1.0)
    epoch = traitlets.Float(None, allow_none=True)
    metric = traitlets.Unicode(None, allow_none=True)
    log_loss = traitlets.Bool(False)
    band = traitlets.Bool(True)
    crossings = traitlets.Bool(True)

    RECOMPUTE: ClassVar = (
        "scope", "level", "view", "kind", "start", "mid", "end", "knot", "alpha_range", "points", "background", "split",
        "count", "training", "faithful",
    )  # fmt: skip
    RESTYLE: ClassVar = ("alpha", "epoch", "metric", "log_loss", "band", "crossings")

    study: PathStudy | None
    _remembered: dict[str, Any]
    _ranges: dict[str, tuple[float, float]]

    # ---- settings at the border

    @traitlets.validate("scope")
    def _valid_scope(self, proposal: Any) -> Any:
        value = canonical(proposal.value)
        if self.study is not None:
            Scope.parse(value, self.study.layout)
        return value

    @traitlets.validate("alpha")
    def _valid_alpha(self, proposal: Any) -> float:
        low, high = self.alpha_range
        if not low <= proposal.value <= high:
            raise ValueError(f"alpha: within alpha_range, {low:g} to {high:g}, received {proposal.value}")
        return proposal.value

    @traitlets.validate("metric")
    def _valid_metric(self, proposal: Any) -> str | None:
        known = [name for name in next(iter(self.study.evaluators.values())).quantities if name != "loss"] if self.study else None
        if proposal.value is not None and known is not None and proposal.value not in known:
            raise ValueError(f"metric: None or one of {', '.join(map(repr, known))}, received {proposal.value!r}")
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
        return round(float(low), 10), round(float(high), 10)  # a slider of steps of 0.05 sends 1.2000000000000002

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
            self.scope = self._back_to(change.new)

    def _back_to(self, level: str) -> Any:
        """Return what was shown at a level before; of the weights only one of the layer that is chosen now."""
        before = self._remembered.get(level)
        layer = self._remembered.get("layer")
        if level not in self._remembered or (
            level == "parameter" and layer is not None and before[0] not in Scope.parse(layer, self.study.layout).tensors
        ):
            return self._first_scope(level)
        return before

    @traitlets.observe("alpha_range")
    def _remember_range(self, change: Any) -> None:
        self._ranges[self.level] = change.new
        low, high = change.new
        if not low <= self.alpha <= high:
            self.alpha = min(max(self.alpha, low), high)

    def _first_scope(self, level: str) -> Any:
        """Return what a level shows when nothing has been chosen there yet."""
        raise NotImplementedError


def canonical(spec: Any) -> Any:
    """Return a scope in the one form that the controls read: indices as tuples of int, a list of one as that one.

    Examples
    --------
    >>> canonical(["fc1.weight", [0, 3]])
    ('fc1.weight', (0, 3))
    """
    if not isinstance(spec, (list, tuple)):
        return spec
    if len(spec) == 1:
        return canonical(spec[0])
    if len(spec) == 2 and isinstance(spec[0], str) and not isinstance(spec[1], str):
        index = spec[1].tolist() if isinstance(spec[1], np.ndarray) else spec[1]
        if isinstance(index, (int, np.integer)):
            index = [index]
        if isinstance(index, (list, tuple)) and all(isinstance(i, (int, np.integer)) for i in index):
            return spec[0], tuple(int(i) for i in index)
    return tuple(canonical(part) for part in spec)
