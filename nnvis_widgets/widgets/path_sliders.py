"""The two sliders of a path explorer: hands on `alpha` and on `alpha_range`, which follow when a script moves these.

May import: ipywidgets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets

if TYPE_CHECKING:
    from .path_explorer import PathExplorer

# A browser adds its steps up to 0.15000000000000002. Answering with 0.15 would set the handle back to where it was when the
# kernel read it, under a hand that has moved on: quick keys would be lost.
_NOISE = 1e-9


class AlphaSlider(widgets.FloatSlider):
    """Moves the cursor between the ends of the range."""

    def __init__(self, explorer: PathExplorer):
        self._explorer = explorer
        self._before: float | None = None
        low, high = explorer.alpha_range
        super().__init__(
            min=low, max=high, step=0.01, value=explorer.alpha, description="alpha", readout_format=".2f",
            layout=widgets.Layout(flex="1 1 300px"), style={"description_width": "40px"},
        )  # fmt: skip
        self.add_class("nnvis-alpha")
        explorer.observe(lambda _change: self._follow(), ["alpha", "alpha_range"])
        self._follow()
        self.observe(lambda change: self._choose(change.new), "value")

    def _choose(self, value: float) -> None:
        if abs(value - self._explorer.alpha) <= _NOISE:  # it was told so by _follow
            return
        if self._before is not None and abs(value - self._before) <= _NOISE:
            # no hand: the browser, told of another range, rounds its handle to the new steps and reports that, once or twice and
            # perhaps after a script has moved alpha
            self._follow()
            return
        self._before = None
        low, high = self._explorer.alpha_range
        # a hand may still be moving in a range that has just become shorter
        self._explorer.alpha = min(max(round(value, 10), low), high)
        self._follow()

    def _follow(self) -> None:
        alpha = self._explorer.alpha
        low, high = self._explorer.alpha_range
        low, high = min(low, alpha), max(high, alpha)
        if (low, high) != (self.min, self.max):
            self._before = self.value
        with self.hold_sync(), self.hold_trait_notifications():  # one message, so that the browser rounds once
            if low > self.max:
                self.max, self.min = high, low
            else:
                self.min, self.max = low, high
            if abs(self.value - alpha) > _NOISE:
                self.value = alpha


class RangeSlider(widgets.FloatRangeSlider):
    """Chooses where the path begins and ends."""

    def __init__(self, explorer: PathExplorer):
        self._explorer = explorer
        super().__init__(
            min=-1.0, max=2.0, step=0.05, value=explorer.alpha_range, description="alpha", continuous_update=False,
            readout_format=".2f", layout=widgets.Layout(width="auto", min_width="0"), style={"description_width": "40px"},
        )  # fmt: skip
        self.add_class("nnvis-range")
        explorer.observe(lambda _change: self._follow(), "alpha_range")
        self._follow()
        self.observe(lambda change: self._choose(*change.new), "value")

    def _choose(self, low: float, high: float) -> None:
        if high - low > _NOISE:
            self._explorer.alpha_range = low, high
        else:  # one handle was moved onto the other
            self._follow()

    def _follow(self) -> None:
        low, high = self._explorer.alpha_range
        with self.hold_trait_notifications():
            self.min, self.max = min(self.min, low), max(self.max, high)
            if max(abs(self.value[0] - low), abs(self.value[1] - high)) > _NOISE:
                self.value = low, high
