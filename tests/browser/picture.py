"""What a plot shows, in the numbers of its own tick labels: taken from the drawn paths, as a reader does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

# the marks of one plot in the order in which they are drawn
MARKS = (
    "outside low", "outside high", "band linear", "band quadratic", "band lagrange", "pinned", "many linear", "many quadratic",
    "linear", "quadratic", "lagrange", "points linear", "points quadratic", "points lagrange", "training", "crossings", "cursor",
    "epoch",
)  # fmt: skip
PAIR = re.compile(r"(-?[\d.]+(?:e-?\d+)?),(-?[\d.]+(?:e-?\d+)?)")

READ = """figure => {
  const place = e => { const t = e.getAttribute('transform') || ''; return (t.match(/-?[\\d.]+(?:e-?\\d+)?/g) || ['0', '0']).map(Number) };
  const shown = e => getComputedStyle(e).display !== 'none';
  const ground = figure.querySelector('.plotarea_background');
  return {
    size: [+ground.getAttribute('width'), +ground.getAttribute('height')],
    axes: [...figure.querySelectorAll('.svg-background g.axis')].map(axis => ({
      shown: shown(axis.parentNode), label: (axis.querySelector('.axislabel') || {}).textContent || '',
      ticks: [...axis.querySelectorAll('.tick')].map(t => [t.textContent, ...place(t)]) })),
    marks: [...figure.querySelector('.svg-figure > g > g').children].filter(m => !m.classList.contains('g_legend')).map(mark => ({
      shown: shown(mark),
      curves: [...mark.querySelectorAll('.curve')].map(c => {
        const line = c.querySelector('.line'), style = getComputedStyle(line);
        return { d: line.getAttribute('d') || '', opacity: +style.opacity, colour: style.stroke, dash: style.strokeDasharray } }),
      dots: [...mark.querySelectorAll('.object_grp')].map(place) })),
  } }"""


@dataclass(frozen=True)
class Mark:
    """One mark as drawn, in the numbers of the axes: curves and dots of shape (n, 2)."""

    shown: bool
    curves: list[np.ndarray]
    dots: np.ndarray
    opacities: list[float]
    colours: list[str]
    dashes: list[str]


class Plot:
    """One of the two plots at one moment."""

    def __init__(self, found: dict[str, Any]):
        self.width, self.height = found["size"]
        x, y, epoch = found["axes"]
        self.x_label, self.y_label = x["label"], y["label"]
        self.epochs = [_number(text) for text, *_ in epoch["ticks"]] if epoch["shown"] else None
        self._x, self._y = _scale(x["ticks"], 0), _scale(y["ticks"], 1)
        self._epoch = _scale(epoch["ticks"], 0) if epoch["shown"] else None
        self.limits = tuple(self.data([[0.0, 0.0], [self.width, 0.0]])[:, 0])
        self.tolerance = 0.004 * abs(float(np.diff(self.data([[0.0, 0.0], [0.0, self.height]])[:, 1])[0]))
        assert len(found["marks"]) == len(MARKS), f"{len(found['marks'])} marks are drawn"
        self.marks = {name: self._mark(entry) for name, entry in zip(MARKS, found["marks"], strict=True)}

    def data(self, pixels: Any) -> np.ndarray:
        """Return numbers as the axes show them, from places in the plot."""
        pixels = np.asarray(pixels, dtype=float).reshape(-1, 2)
        return np.stack([np.polyval(self._x, pixels[:, 0]), np.polyval(self._y, pixels[:, 1])], axis=1)

    def epoch_at(self, alpha: float) -> float:
        """Return what the upper axis shows above an alpha."""
        assert self._epoch is not None, "there is no axis of epochs"
        return float(np.polyval(self._epoch, (alpha - self._x[1]) / self._x[0]))

    def __getitem__(self, name: str) -> Mark:
        return self.marks[name]

    def curve(self, name: str) -> np.ndarray:
        """Return the single curve of a mark that must be visible."""
        mark = self.marks[name]
        assert mark.shown, f"{name} is hidden"
        assert len(mark.curves) == 1, f"{name} has {len(mark.curves)} curves"
        return mark.curves[0]

    def at(self, name: str, alphas: Any) -> np.ndarray:
        """Return the drawn values at alphas."""
        curve = self.curve(name)
        return np.interp(alphas, curve[:, 0], curve[:, 1])

    @property
    def cursor(self) -> float:
        """The alpha at which the vertical line stands."""
        return float(self.curve("cursor")[0, 0])

    def _mark(self, entry: dict[str, Any]) -> Mark:
        curves = [self.data([(float(x), float(y)) for x, y in PAIR.findall(curve["d"])]) for curve in entry["curves"]]
        return Mark(
            entry["shown"], curves, self.data(entry["dots"]) if entry["dots"] else np.empty((0, 2)),
            [c["opacity"] for c in entry["curves"]], [c["colour"] for c in entry["curves"]], [c["dash"] for c in entry["curves"]],
        )  # fmt: skip


def _number(text: str) -> float:
    return float(text.replace("\u2212", "-").replace(",", ""))


def _scale(ticks: list, axis: int) -> np.ndarray:
    """Return slope and offset that turn places into the numbers on the tick labels."""
    assert len(ticks) > 1, "an axis without two ticks"
    # d3 moves its ticks by half a pixel, so that a hair line covers whole ones
    return np.polyfit([tick[1 + axis] - 0.5 for tick in ticks], [_number(tick[0]) for tick in ticks], 1)


def agree(plot, name, result, quantity="loss", transform=lambda values: values):
    """The drawn curve has the values of a result that was measured apart from it."""
    expected = transform(result.values(quantity)[0])
    # where a weight hardly matters, the axis shows differences that are below single precision
    assert plot.at(name, result.alphas) == pytest.approx(expected, abs=max(plot.tolerance, 1e-6))
