"""What can be chosen in a parameter explorer: traits, checked at the border.

May import: core.scope, results, traitlets, widgets.base.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import traitlets

from ..core.scope import Scope
from ..results.patterns import PATTERNS, WINDOW, PatternRules
from .base import Explorer
from .parameter_study import Choice, ParameterStudy
from .path_settings import canonical

RULES = ("plateau_length", "plateau", "noise")  # the conventions of the labels that one tries out
SORTS = ("distance", "effect", "confidence")


class ParameterSettings(Explorer):
    """The traits of `ParameterExplorer`, documented there."""

    scope = traitlets.Any(None, allow_none=True)
    choose = traitlets.Enum(["distance", "effect", "random", "list"], "distance")
    weights = traitlets.Any(())
    count = traitlets.Int(48, min=1, max=500)
    seed = traitlets.Int(0, min=0)
    mid = traitlets.Int(0)
    alpha_range = traitlets.Tuple(traitlets.Float(), traitlets.Float(), default_value=WINDOW)
    points = traitlets.Int(41, min=5, max=401)
    split = traitlets.Unicode("test")
    samples = traitlets.Int(None, allow_none=True, min=2)
    selected = traitlets.Any(None, allow_none=True)
    what_if = traitlets.Float(None, allow_none=True)
    sort = traitlets.Enum(SORTS, "distance")
    only = traitlets.Enum(["all", *PATTERNS], "all")
    page = traitlets.Int(0, min=0)
    shared_scale = traitlets.Bool(False)
    band = traitlets.Bool(True)
    alpha = traitlets.Float(None, allow_none=True)
    over = traitlets.Enum(["alpha", "u"], "alpha")
    plateau_length = traitlets.Float(PatternRules().plateau_length)
    plateau = traitlets.Float(PatternRules().plateau)
    noise = traitlets.Float(PatternRules().noise)

    RECOMPUTE: ClassVar = ("scope", "choose", "weights", "count", "seed", "mid", "alpha_range", "points", "split", "samples")
    RESTYLE: ClassVar = ("selected", "what_if", "sort", "only", "page", "shared_scale", "band", "alpha", "over", *RULES)

    study: ParameterStudy | None

    @property
    def choice(self) -> Choice:
        """Which weights are measured, and how, under the present settings."""
        return Choice(
            self.split, self.scope, self.choose, self.weights, self.count, self.seed, self.alpha_range, self.points, self.samples
        )

    @traitlets.observe("mid")
    def _forget_what_if(self, _change: Any) -> None:
        self.what_if = None

    @property
    def rules(self) -> dict[str, float]:
        """The conventions of the labels."""
        return {name: getattr(self, name) for name in RULES}

    # ---- settings at the border

    @traitlets.validate(*RULES)
    def _valid_rule(self, proposal: Any) -> float:
        value, name = proposal.value, proposal.trait.name
        PatternRules.of(None, **{name: value})
        return round(float(value), 9)

    @traitlets.validate("scope")
    def _valid_scope(self, proposal: Any) -> Any:
        value = canonical(proposal.value)
        if self.study is not None:
            Scope.parse(value, self.study.layout)
        return value

    @traitlets.validate("weights")
    def _valid_weights(self, proposal: Any) -> tuple:
        value = proposal.value
        if isinstance(value, str) or not isinstance(value, (list, tuple)):
            raise ValueError(f"weights: a list such as [('fc1.weight', (0, 3))], received {value!r}")
        return tuple(self._weight(entry, "weights") for entry in value)

    @traitlets.validate("selected")
    def _valid_selected(self, proposal: Any) -> Any:
        return None if proposal.value is None else self._weight(proposal.value, "selected")

    def _weight(self, entry: Any, name: str) -> tuple[str, tuple[int, ...]]:
        """Return one weight as (tensor, index), refused with words where there is none."""
        value = canonical(tuple(entry) if isinstance(entry, (list, tuple)) else entry)
        if not (isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], tuple)):
            raise ValueError(f"{name}: single weights such as ('fc1.weight', (0, 3)), received {entry!r}")
        if self.study is not None and Scope.parse(value, self.study.layout).level != "element":
            raise ValueError(f"{name}: single weights such as ('fc1.weight', (0, 3)), received {entry!r}")
        return value

    @traitlets.validate("what_if")
    def _valid_what_if(self, proposal: Any) -> float | None:
        value = proposal.value
        if value is not None and not np.isfinite(value):
            raise ValueError(f"what_if: None or a finite share of the way (rho), received {value}")
        return None if value is None else round(float(value), 10)

    @traitlets.validate("mid")
    def _valid_mid(self, proposal: Any) -> int:
        if self.study is None:
            return proposal.value
        size = len(self.study.run)
        if size < 3:
            return 0
        if not (-size <= proposal.value < size and 0 < proposal.value % size < size - 1):
            raise ValueError(f"mid: a checkpoint between the first and the last, 1 to {size - 2}, received {proposal.value}")
        return proposal.value % size

    @traitlets.validate("split")
    def _valid_split(self, proposal: Any) -> str:
        if self.study is not None and proposal.value not in self.study.evaluators:
            raise ValueError(f"split: one of {', '.join(map(repr, self.study.evaluators))}, received {proposal.value!r}")
        return proposal.value

    @traitlets.validate("alpha_range")
    def _valid_range(self, proposal: Any) -> tuple[float, float]:
        low, high = proposal.value
        if not (np.isfinite([low, high]).all() and low <= 0.0 and high >= 1.0):
            raise ValueError(
                f"alpha_range: from 0 or less to 1 or more, since patterns are told from there; received {proposal.value}"
            )
        return round(float(low), 10), round(float(high), 10)
