"""What can be chosen in a layer map: traits, checked at the border.

May import: traitlets, core.batchnorm, core.units, results, widgets.base, widgets.layer_study.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import traitlets

from ..core.batchnorm import POLICIES
from ..core.units import PARTS, UNITS
from ..results.layers import AGAINST
from .base import Explorer
from .layer_study import LayerChoice, LayerWork

SAMPLES = (250, 500, 1000, 2500, 5000)


class LayerSettings(Explorer):
    """The traits of `LayerMap`, documented there."""

    kind = traitlets.Enum(["reinit", "rerandomise"], "reinit")
    at = traitlets.Int(0)
    draws = traitlets.Int(10)
    seed = traitlets.Int(0, min=0)
    unit = traitlets.Enum(list(UNITS), "module")
    part = traitlets.Enum(list(PARTS), "all")
    split = traitlets.Unicode("test")
    samples = traitlets.Int(None, allow_none=True)
    batchnorm = traitlets.Unicode(None, allow_none=True)
    view = traitlets.Enum(["layers", "history", "pairs"], "layers")
    joint = traitlets.Tuple()

    metric = traitlets.Enum(["criticality", "loss"], "criticality")
    margin = traitlets.Float(0.01)
    critical_above = traitlets.Float(0.25)
    order = traitlets.Enum(["network", "rank", "distance"], "network")
    against = traitlets.Enum(list(AGAINST), "relative_distance")
    selected = traitlets.Unicode(None, allow_none=True)

    RECOMPUTE: ClassVar = ("kind", "at", "draws", "seed", "unit", "part", "split", "samples", "batchnorm", "view", "joint")
    RESTYLE: ClassVar = ("metric", "margin", "critical_above", "order", "against", "selected")

    study: LayerWork | None

    @property
    def choice(self) -> LayerChoice:
        """What is reset, and on which samples it is measured."""
        return LayerChoice(
            self.kind, self.at, self.draws, self.seed, self.unit, self.part, self.split, self.samples, self.batchnorm
        )

    @property
    def layers(self) -> list[str]:
        """The names that `selected` and `joint` may hold, in the order of the network."""
        if self.study is not None:
            try:
                return self.study.layers(self.unit, self.part)
            except ValueError:  # no layer has this part: a computation says so in words
                return []
        found: Any = next((self.results[name] for name in ("layers", "history", "pairs") if name in self.results), None)
        return [] if found is None else list(found.layers)

    # ---- settings at the border

    @traitlets.validate("at")
    def _valid_at(self, proposal: Any) -> int:
        if self.study is None:
            return proposal.value
        size = len(self.study.run)
        if not -size <= proposal.value < size:
            raise ValueError(f"at: an index from 0 to {size - 1} of a checkpoint, received {proposal.value}")
        return proposal.value % size

    @traitlets.validate("draws")
    def _valid_draws(self, proposal: Any) -> int:
        if not 1 <= proposal.value <= 200:
            raise ValueError(f"draws: 1 to 200, received {proposal.value}")
        return proposal.value

    @traitlets.validate("split")
    def _valid_split(self, proposal: Any) -> str:
        if self.study is not None and proposal.value not in self.study.evaluators:
            raise ValueError(f"split: one of {', '.join(map(repr, self.study.evaluators))}, received {proposal.value!r}")
        return proposal.value

    @traitlets.validate("samples")
    def _valid_samples(self, proposal: Any) -> int | None:
        if proposal.value is not None and proposal.value < 2:
            raise ValueError(f"samples: None for all, or at least 2, received {proposal.value}")
        return proposal.value

    @traitlets.validate("batchnorm")
    def _valid_batchnorm(self, proposal: Any) -> str | None:
        if proposal.value is not None and proposal.value not in POLICIES:
            known = ", ".join(map(repr, POLICIES))
            raise ValueError(f"batchnorm: None (the evaluator's own) or one of {known}, received {proposal.value!r}")
        return proposal.value

    @traitlets.validate("margin")
    def _valid_margin(self, proposal: Any) -> float:
        if not (math.isfinite(proposal.value) and proposal.value > 0):
            raise ValueError(f"margin: a positive number, such as 0.01 for one point of accuracy, received {proposal.value}")
        if proposal.value >= 1:
            raise ValueError(f"margin: a share of 0 to 1: 0.05 is five points; received {proposal.value:g}")
        return proposal.value

    @traitlets.validate("critical_above")
    def _valid_threshold(self, proposal: Any) -> float:
        if not 0 < proposal.value < 1:
            raise ValueError(f"critical_above: between 0 (no harm) and 1 (chance), such as 0.25, received {proposal.value}")
        return proposal.value

    @traitlets.validate("selected")
    def _valid_selected(self, proposal: Any) -> str | None:
        if proposal.value is not None:
            self._check_layer("selected", proposal.value)
        return proposal.value

    @traitlets.validate("joint")
    def _valid_joint(self, proposal: Any) -> tuple[str, ...]:
        for name in proposal.value:
            self._check_layer("joint", name)
        known = self.layers
        return tuple(name for name in known if name in proposal.value)  # one order, so that one set is one setting

    def _check_layer(self, trait: str, name: Any) -> None:
        if name not in self.layers:
            raise ValueError(f"{trait}: one of {', '.join(map(repr, self.layers[:8]))} ..., received {name!r}")

    @traitlets.observe("unit", "part")
    def _other_rows(self, _change: Any) -> None:
        """Names of one unit mean nothing in another."""
        if self.study is None:
            return
        known = self.layers
        with self.together():
            self.joint = tuple(name for name in self.joint if name in known)
            if self.selected not in known:
                self.selected = None
