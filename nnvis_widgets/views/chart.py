"""A bqplot figure whose marks have names: made once, changed in place, drawn only where they have something to show.

May import: bqplot, ipywidgets, numpy, views.plot, views.theme.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import bqplot as bq
import ipywidgets as widgets
import numpy as np

from .plot import assign, round_numbers
from .theme import INK

_LEAST = 1e-12
_NOTHING = np.array([1.0, 2.0])  # that a hidden mark keeps; it has a place on logarithmic axes, too


class Chart:
    """One figure with an x and a y axis.

    Parameters
    ----------
    name : str
        Of its style class.
    x_label, y_label : str
    log_x, log_y : bool
        Logarithmic axes; what is not above 0 has no place on them.
    forms : (str, str)
        How the numbers at the axes are written.

    Attributes
    ----------
    figure : bqplot.Figure
    marks : dict of str to Mark
    """

    def __init__(
        self,
        name: str,
        x_label: str,
        y_label: str,
        *,
        log_x: bool = False,
        log_y: bool = False,
        forms: tuple[str, str] = ("~g", "~g"),
    ):
        self._log = log_x, log_y
        self.x, self.y = (bq.LogScale(min=0.1, max=1.0) if log else bq.LinearScale(min=0.0, max=1.0) for log in (log_x, log_y))
        common = {"grid_lines": "none", "label_color": INK}
        self.x_axis = bq.Axis(scale=self.x, label=x_label, label_offset="34px", **common)
        self.y_axis = bq.Axis(scale=self.y, label=y_label, label_offset="58px", orientation="vertical", **common)
        self.marks: dict[str, bq.Mark] = {}
        self._own_ticks = False
        self.x_axis.tick_format, self.y_axis.tick_format = forms
        self._seen: list[tuple[np.ndarray, np.ndarray]] = []
        self.figure = bq.Figure(
            axes=[self.x_axis, self.y_axis],
            animation_duration=0,
            padding_x=0,
            padding_y=0,
            fig_margin={"top": 12, "bottom": 50, "left": 76, "right": 16},
            layout=widgets.Layout(flex="1 1 360px", min_width="300px", height="330px"),
        )
        self.figure.add_class(f"nnvis-{name}")

    def line(self, name: str, colour: str, dash: str = "solid", width: float = 2.0, opacity: float = 1.0) -> None:
        """Make a line, or several of one style."""
        self.marks[name] = bq.Lines(
            x=_NOTHING, y=_NOTHING, scales={"x": self.x, "y": self.y}, visible=False, colors=[colour], line_style=dash,
            stroke_width=width, opacities=[opacity],
        )  # fmt: skip

    def dots(self, name: str, colour: str, size: int = 40, marker: str = "circle", opacity: float = 1.0, fill: bool = True) -> None:
        """Make a set of dots."""
        tip = bq.Tooltip(fields=["x", "y"], labels=[self.x_axis.label, self.y_axis.label], formats=[".5~g", ".4g"])
        self.marks[name] = bq.Scatter(
            x=_NOTHING, y=_NOTHING, scales={"x": self.x, "y": self.y}, visible=False, colors=[colour], default_size=size,
            marker=marker, opacities=[opacity], fill=fill, stroke_width=1.5, tooltip=tip,
        )  # fmt: skip

    def complete(self) -> bq.Figure:
        """Put the marks that have been made into the figure."""
        self.figure.marks = list(self.marks.values())
        return self.figure

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Change marks together; those that are not put are hidden, and the axes follow what is drawn."""
        self._seen, put = [], set[str]()
        self._put = put
        with ExitStack() as held:
            for mark in self.marks.values():
                held.enter_context(mark.hold_sync())
            yield
            for name, mark in self.marks.items():
                if name not in put:
                    assign(mark, False)
        self._fit()

    def put(self, name: str, x: Sequence[np.ndarray] | np.ndarray, y: Sequence[np.ndarray] | np.ndarray, fit: bool = True) -> None:
        """Draw a mark: one line or set of dots, or of a line several (lists of arrays). What is not finite is left out."""
        many = isinstance(y, (list, tuple))
        pairs = [self._shown(*pair) for pair in (zip(x, y, strict=True) if many else [(x, y)])]
        pairs = [(a, b) for a, b in pairs if len(a) > (isinstance(self.marks[name], bq.Lines))]
        if not pairs:
            return
        self._put.add(name)
        self._seen += pairs if fit else []
        if not many:
            assign(self.marks[name], True, x=pairs[0][0], y=pairs[0][1])
            return
        width = max(len(a) for a, _ in pairs)
        # a shorter line repeats its last point
        padded = [np.stack([np.pad(pair[i], (0, width - len(pair[i])), mode="edge") for pair in pairs]) for i in (0, 1)]
        mark = self.marks[name]
        if len(mark.colors) != len(pairs):
            mark.colors, mark.opacities = mark.colors[:1] * len(pairs), mark.opacities[:1] * len(pairs)
        assign(mark, True, x=padded[0], y=padded[1])

    def _shown(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        keep = np.isfinite(x) & np.isfinite(y)
        for values, log in ((x, self._log[0]), (y, self._log[1])):
            keep &= (values > _LEAST) | (not log)
        return x[keep], y[keep]

    def _fit(self) -> None:
        for at, (scale, axis) in enumerate(((self.x, self.x_axis), (self.y, self.y_axis))):
            values = np.concatenate([pair[at] for pair in self._seen]) if self._seen else np.array([0.1, 1.0])
            low, high = float(values.min()), float(values.max())
            if self._log[at]:
                part = max(1.12, (high / low) ** 0.05)
                low, high = low / part, high * part
            else:
                pad = 0.04 * (high - low) or 0.05 * abs(high) or 0.05
                low, high = low - pad, high + pad
            with scale.hold_sync():
                scale.min, scale.max = low, high
            if axis is self.y_axis or not self._own_ticks:
                _write(axis, _powers(low, high) if self._log[at] else round_numbers(low, high, 6))

    def ticks(self, values: np.ndarray) -> None:
        """Write these values below the x axis, and no others."""
        self._own_ticks = True
        _write(self.x_axis, np.asarray(values))


def _write(axis: bq.Axis, values: np.ndarray) -> None:
    if axis.tick_values is None or not np.array_equal(axis.tick_values, values):
        axis.tick_values = values


def _powers(low: float, high: float, most: int = 8) -> np.ndarray:
    """Return round numbers for a logarithmic axis: 1, 2, 5, or powers of ten, or fewer.

    Examples
    --------
    >>> _powers(0.08, 3.0).tolist()
    [0.1, 0.2, 0.5, 1.0, 2.0]
    """
    exponents = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for factors, step in (((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), 2), ((1,), 3)):
        values = np.array([float(f"{factor}e{int(e)}") for e in exponents[::step] for factor in factors])
        values = values[(values >= low) & (values <= high)]
        if len(values) <= most:
            break
    return values
