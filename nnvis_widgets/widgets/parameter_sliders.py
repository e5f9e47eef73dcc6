"""The sliders of a parameter explorer: hands on `what_if`, `mid` and `alpha_range`, which follow when a script moves these.

May import: views, ipywidgets, path_sliders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import numpy as np

from ..views.phase import RHO
from .path_sliders import RangeSlider

if TYPE_CHECKING:
    from .parameter_explorer import ParameterExplorer

_STEP = 0.005


class _Reported(widgets.DOMWidget):
    """Knows what comes from a browser.

    A browser reports a handle's place late: what it holds back while the kernel works, and what it has made of a place that it
    was told (it rounds in its own way). So a report counts only once the browser shows where the handle was put last.
    """

    _explorer: ParameterExplorer
    _reported = False

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what a browser reports."""
        self._reported = True
        try:
            super().set_state(sync_data)
        finally:
            self._reported = False

    @property
    def _late(self) -> bool:
        return self._reported and not self._explorer._assist.shown


class RhoSlider(_Reported, widgets.FloatSlider):
    """Moves the dot of the selected weight sideways; stands at what was measured until a hand moves it."""

    def __init__(self, explorer: ParameterExplorer):
        self._explorer = explorer
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
        if rho is not None and not _same(self.value, rho):
            self.value = _nearest(rho)
            self._explorer._assist.ask()

    def _moved(self, change: Any) -> None:
        rho = self._present
        if rho is None or _same(change.new, rho):
            return
        if self._late:
            self.follow()
        else:
            self._explorer.what_if = float(change.new)


class MidSlider(_Reported, widgets.SelectionSlider):
    """Moves the mid checkpoint."""

    def __init__(self, explorer: ParameterExplorer):
        self._explorer = explorer
        study = explorer.study
        assert study is not None
        epochs = [(f"epoch {epoch:g}", at) for at, epoch in enumerate(study.run.epochs)][1:-1]
        super().__init__(
            options=epochs, value=explorer.mid, description="mid", layout=widgets.Layout(flex="1 1 280px"),
            style={"description_width": "40px"},
        )  # fmt: skip
        self.add_class("nnvis-mid")
        explorer.observe(lambda _change: self._follow(), "mid")
        self.observe(self._moved, "value")

    def _follow(self) -> None:
        if self.value != self._explorer.mid:
            self.value = self._explorer.mid
            self._explorer._assist.ask()

    def _moved(self, change: Any) -> None:
        if self._late:
            self._follow()
        else:
            self._explorer.mid = change.new


class RuleSlider(widgets.FloatSlider):
    """A hand on a convention of the labels, in units of its own."""

    def __init__(self, explorer: ParameterExplorer, rule: str, words: str, low: float, high: float, step: float, unit: float = 1.0):
        super().__init__(
            min=low, max=high, step=step, description=words, continuous_update=False, readout_format=".3g",
            layout=widgets.Layout(width="auto", min_width="0"), style={"description_width": "96px"},
        )  # fmt: skip
        self.add_class(f"nnvis-{rule}")
        self._explorer, self._rule, self._unit = explorer, rule, unit
        explorer.observe(lambda _change: self._follow(), rule)
        self._follow()
        self.observe(self._moved, "value")

    def _follow(self) -> None:
        value = getattr(self._explorer, self._rule) / self._unit
        with self.hold_trait_notifications():
            self.min, self.max = min(self.min, value), max(self.max, value)
            if abs(self.value - value) > 1e-9:
                self.value = value

    def _moved(self, change: Any) -> None:
        if abs(change.new * self._unit - getattr(self._explorer, self._rule)) > 1e-9:
            setattr(self._explorer, self._rule, change.new * self._unit)


class WideRange(RangeSlider):
    """A range of alpha that always holds 0 and 1: patterns are told from there."""

    def _choose(self, low: float, high: float) -> None:
        super()._choose(min(low, 0.0), max(high, 1.0))
        self._follow()


def _same(place: float, rho: float) -> bool:
    return abs(place - _nearest(rho)) <= _STEP / 2


def _nearest(rho: float) -> float:
    """Return the nearest place of the slider."""
    low, high = RHO
    return low + _STEP * round((min(max(rho, low), high) - low) / _STEP)
