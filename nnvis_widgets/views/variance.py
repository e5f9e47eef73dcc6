"""How much of a run's variance each principal component explains, beside what a random walk would show.

May import: bqplot, ipywidgets, numpy.
"""

from __future__ import annotations

import bqplot as bq
import ipywidgets as widgets
import numpy as np

from .plot import round_numbers
from .theme import INK, SERIES, swatch

_MOST = 8


class VarianceView(widgets.VBox):
    """Two bars for each component: the run's share of the variance, and a long random walk's."""

    def __init__(self) -> None:
        x, self._y = bq.OrdinalScale(), bq.LinearScale(min=0.0, max=1.0)
        self._bars = bq.Bars(x=[1], y=np.zeros((2, 1)), scales={"x": x, "y": self._y}, type="grouped",
                             colors=[SERIES[0], "#8A8A8A"], padding=0.25)  # fmt: skip
        self._axis = bq.Axis(scale=self._y, orientation="vertical", tick_format=".0%", grid_lines="none",
                             label="share of the variance", label_color=INK, label_offset="44px")  # fmt: skip
        axes = [bq.Axis(scale=x, label="principal component", grid_lines="none", label_color=INK, label_offset="30px"), self._axis]
        self.figure = bq.Figure(
            marks=[self._bars],
            axes=axes,
            animation_duration=0,
            fig_margin={"top": 8, "bottom": 44, "left": 58, "right": 8},
            layout=widgets.Layout(width="420px", height="200px", min_width="0"),
        )
        self.figure.add_class("nnvis-variance")
        self._words = widgets.HTML().add_class("nnvis-small")
        super().__init__([self._words, self.figure], layout=widgets.Layout(width="auto"))

    def show(self, spectrum: np.ndarray, null: np.ndarray) -> None:
        """Draw the shares of the first components of a run and of a random walk."""
        count = min(len(spectrum), len(null), _MOST)
        shares = np.stack([np.asarray(spectrum, dtype=float)[:count], np.asarray(null, dtype=float)[:count]])
        with self._bars.hold_sync():
            self._bars.x = [str(number + 1) for number in range(count)]
            self._bars.y = np.nan_to_num(shares)
        self._y.max = float(min(1.0, 1.1 * shares.max()))
        self._axis.tick_values = round_numbers(0.0, self._y.max, 5)
        two, walk = shares[0, :2].sum(), shares[1, :2].sum()
        self._words.value = (
            f"{swatch(SERIES[0])}this run, {two:.0%} in two components &nbsp; {swatch('#8A8A8A')}a long random walk, {walk:.0%}: "
            "a large share alone does not say that training keeps to a plane"
        )
