"""The sliders of a parameter explorer: hands on `what_if` and on `alpha_range`, which follow when a script moves these.

May import: views, ipywidgets, path_sliders.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import numpy as np

from ..views.phase import RHO
from .path_sliders import RangeSlider

if TYPE_CHECKING:
    from .parameter_explorer import ParameterExplorer

_STEP = 0.005
_ECHO = 2.0  # seconds in which a browser may still report what it was told


class RhoSlider(widgets.FloatSlider):
    """Moves the dot of the selected weight sideways; stands at what was measured until a hand moves it."""

    def __init__(self, explorer: ParameterExplorer):
        self._explorer = explorer
        self._told: deque[tuple[float, float]] = deque(maxlen=16)
        super().__init__(
            min=RHO[0], max=RHO[1], step=_STEP, description="what if: rho", readout_format=".3f",
            layout=widgets.Layout(flex="1 1 280px"), style={"description_width": "80px"},
        )  # fmt: skip
        self.add_class("nnvis-whatif")
        self.observe(self._moved, "value")

    @property
    def _present(self) -> float | None:
        """The rho of the selected weight as measured, or where it has been dragged to."""
        explorer = self._explorer
        if explorer.what_if is not None:
            return explorer.what_if
        scan, row = explorer.scan, explorer.row
        return float(scan.rho[row]) if scan is not None and row is not None and np.isfinite(scan.rho[row]) else None

    def follow(self) -> None:
        """Stand where the dot of the selected weight is."""
        rho = self._present
        self.disabled = rho is None
        if rho is not None and abs(self.value - _nearest(rho)) > _STEP / 2:
            self._told += [(time.monotonic(), self.value), (time.monotonic(), _nearest(rho))]
            self.value = _nearest(rho)

    def _moved(self, change: Any) -> None:
        rho, now = self._present, time.monotonic()
        if rho is None or abs(change.new - _nearest(rho)) <= _STEP / 2:
            return
        if any(now - then < _ECHO and abs(change.new - told) <= _STEP / 2 for then, told in self._told):
            self.follow()  # no hand: the browser reports where it was told to go, when that is over already
            return
        self._told.clear()
        self._explorer.what_if = float(change.new)


class WideRange(RangeSlider):
    """A range of alpha that always holds 0 and 1: patterns are told from there."""

    def _choose(self, low: float, high: float) -> None:
        super()._choose(min(low, 0.0), max(high, 1.0))
        self._follow()


def _nearest(rho: float) -> float:
    """Return the nearest place of the slider: a browser would round to it, and report that as if a hand had moved it."""
    low, high = RHO
    return low + _STEP * round((min(max(rho, low), high) - low) / _STEP)
