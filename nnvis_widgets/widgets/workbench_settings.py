"""What can be chosen on a workbench: the selection that its explorers share, and what is in front; checked at the border.

May import: core, traitlets, ipywidgets, sharing.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import ipywidgets as widgets
import traitlets

from ..core.scope import Scope
from ..core.states import Layout
from .naming import OneLine
from .path_settings import canonical
from .sharing import SELECTION, Selection
from .workbench_making import Given


class WorkbenchSettings(OneLine, widgets.VBox):
    """The traits of `Workbench`, documented there."""

    scope = traitlets.Any(None, allow_none=True)
    kind = traitlets.Enum(["linear", "quadratic", "both"], "both")
    alpha = traitlets.Float(1.0)
    start = traitlets.Int(0)
    mid = traitlets.Int(0)
    end = traitlets.Int(0)
    epoch = traitlets.Float(None, allow_none=True)
    split = traitlets.Unicode("test")
    point = traitlets.Tuple(traitlets.Float(), traitlets.Float(), default_value=None, allow_none=True)
    tab = traitlets.Unicode("Paths")
    compare = traitlets.Unicode(None, allow_none=True)

    SETTINGS: ClassVar = (*SELECTION, "tab", "compare")
    _closed = False

    evaluators: dict[str, Any]
    runs: dict[str, Any]
    _tensors: Layout
    _given: Given

    @property
    def selection(self) -> Selection:
        """What is selected now."""
        return Selection(self._tensors, {name: getattr(self, name) for name in SELECTION})

    @property
    def tabs(self) -> tuple[str, ...]:
        """The names that `tab` may have."""
        return self._given.tabs

    @property
    def _first(self) -> Any:
        return next(iter(self.runs.values()))

    # ---- settings at the border

    @traitlets.validate("scope")
    def _valid_scope(self, proposal: Any) -> Any:
        value = canonical(proposal.value)
        Scope.parse(value, self._tensors)
        return value

    @traitlets.validate("start", "mid", "end")
    def _valid_checkpoint(self, proposal: Any) -> int:
        size = len(self._first)
        if not -size <= proposal.value < size:
            raise ValueError(f"{proposal.trait.name}: an index from 0 to {size - 1} of a checkpoint, received {proposal.value}")
        return proposal.value % size

    @traitlets.validate("epoch", "point")
    def _valid_number(self, proposal: Any) -> Any:
        values = proposal.value if isinstance(proposal.value, tuple) else (proposal.value,)
        if not all(value is None or math.isfinite(value) for value in values):
            raise ValueError(f"{proposal.trait.name}: finite, or None, received {proposal.value}")
        return proposal.value

    @traitlets.validate("split", "tab", "compare")
    def _valid_name(self, proposal: Any) -> str | None:
        name = proposal.trait.name
        known: tuple[Any, ...] = {"split": tuple(self.evaluators), "tab": self.tabs, "compare": (None, *list(self.runs)[1:])}[name]
        if proposal.value not in known:
            raise ValueError(f"{name}: one of {', '.join(map(repr, known))}, received {proposal.value!r}")
        return proposal.value
