"""One bqplot figure of a quantity over alpha: its scales, axes and marks, all made once.

May import: bqplot, ipywidgets, numpy. What the marks show is decided in `curves`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import bqplot as bq
import ipywidgets as widgets
import numpy as np

from .theme import CROSSING, FAINT, INK, KIND_COLOURS, KIND_DASHES, PIN

# bqplot writes broken SVG for empty and for NaN data: a mark with nothing to show is hidden and keeps these points
NOTHING = np.array([0.0, 1.0])


@dataclass
class Plot:
    """One figure and its marks; the x scale is shared with the plot beside it."""

    figure: bq.Figure
    y: bq.LinearScale
    y_axis: bq.Axis
    epoch_axis: bq.Axis
    lines: dict[str, bq.Lines]
    bands: dict[str, bq.Lines]
    training: bq.Scatter
    crossings: bq.Scatter
    points: dict[str, bq.Scatter]
    many: dict[str, bq.Lines]
    pinned: bq.Lines
    cursor: bq.Lines
    chosen: bq.Scatter
    outside: list[bq.Lines] = field(default_factory=list)

    def show_epochs(self, epochs: tuple[float, float] | None, alpha_range: tuple[float, float]) -> None:
        """Write round epochs above their alphas, or nothing."""
        self.epoch_axis.visible = epochs is not None
        if epochs is None:
            return
        start, span = epochs[0], epochs[1] - epochs[0]
        rounds = round_numbers(*(start + span * alpha for alpha in alpha_range), 8)
        places = ((rounds - start) / span).round(9) + 0.0  # no negative zero
        # bqplot takes labels in only before the values
        labels = {in_browser(place): f"{epoch:g}" for place, epoch in zip(places, rounds, strict=True)}
        if labels != self.epoch_axis.tick_labels:
            self.epoch_axis.tick_labels = labels
            self.epoch_axis.tick_values = places

    def marks(self) -> list[bq.Mark]:
        """Return every mark, in the order of drawing."""
        return [*self.outside, *self.bands.values(), self.pinned, *self.many.values(), *self.lines.values(),
                *self.points.values(), self.training, self.crossings, self.cursor, self.chosen]  # fmt: skip

    @classmethod
    def make(cls, name: str, x_scale: bq.LinearScale) -> Plot:
        """Return a new figure over a shared alpha scale; every mark hidden."""
        y, unit = bq.LinearScale(min=0.0, max=1.0), bq.LinearScale(min=0.0, max=1.0)
        scales, flat = {"x": x_scale, "y": y}, {"x": x_scale, "y": unit}

        def line(**style) -> bq.Lines:
            return bq.Lines(x=NOTHING, y=NOTHING, scales=scales, visible=False, **style)

        def dots(**style) -> bq.Scatter:
            return bq.Scatter(x=NOTHING, y=NOTHING, scales=scales, visible=False, **style)

        def tip(x: str, y: str, point: str | None = None) -> bq.Tooltip:
            named = [("name", point, "")] if point else []
            fields, labels, formats = zip(*named, ("x", x, ".3f"), ("y", y, ".5g"), strict=True)
            return bq.Tooltip(fields=list(fields), labels=list(labels), formats=list(formats))

        kinds = ("linear", "quadratic", "lagrange")
        plot = cls(
            figure=None,
            y=y,
            y_axis=bq.Axis(scale=y, orientation="vertical", label=name, grid_lines="none", label_offset="54px", label_color=INK),
            # epochs are written on alpha's own scale: bqplot pads a scale only for marks, and epochs have none
            epoch_axis=bq.Axis(scale=x_scale, side="top", label="epoch", grid_lines="none", label_color=INK, visible=False),
            lines={k: line(colors=[KIND_COLOURS[k]], line_style=KIND_DASHES[k], stroke_width=2.5, labels=[k]) for k in kinds},
            bands={  # only the ground between: the edges themselves are not drawn
                k: line(fill="between", fill_colors=[KIND_COLOURS[k]], fill_opacities=[0.22], opacities=[0, 0])
                for k in kinds
            },
            training=dots(colors=[INK], default_size=36, marker="circle", display_names=False,
                          tooltip=tip("share of epochs", name, "epoch")),
            crossings=dots(colors=[CROSSING], default_size=170, marker="circle", fill=False, stroke_width=2),
            points={k: dots(colors=[KIND_COLOURS[k]], default_size=13, marker="circle", tooltip=tip("alpha", name)) for k in kinds},
            many={k: line(line_style=KIND_DASHES[k], stroke_width=2) for k in kinds[:2]},
            pinned=line(colors=[PIN], stroke_width=1.5, opacities=[0.9]),
            cursor=bq.Lines(x=np.array([1.0, 1.0]), y=np.array([0.0, 1.0]), scales=flat, colors=[FAINT], stroke_width=1.2),
            chosen=dots(colors=[INK], default_size=150, marker="circle", fill=False, stroke_width=2),
            outside=[
                bq.Lines(x=NOTHING, y=NOTHING, scales=flat, fill="bottom", visible=False,
                         fill_colors=["#888888"], fill_opacities=[0.13], opacities=[0])
                for _ in range(2)
            ],
        )  # fmt: skip
        plot.figure = bq.Figure(
            marks=plot.marks(),
            axes=[
                bq.Axis(scale=x_scale, label="alpha", grid_lines="none", label_color=INK, label_offset="32px"),
                plot.y_axis,
                plot.epoch_axis,
            ],
            animation_duration=0,
            padding_y=0,
            fig_margin={"top": 42, "bottom": 48, "left": 72, "right": 14},
            layout=widgets.Layout(flex="1 1 330px", min_width="300px", height="330px"),
        )
        plot.figure.add_class(f"nnvis-{name}")
        return plot


def in_browser(number: float) -> str:
    """Return what a browser makes of a number with up to nine decimals: bqplot looks the labels of ticks up by that.

    Examples
    --------
    >>> in_browser(1.0), in_browser(-1.363636364), in_browser(0.05)
    ('1', '-1.363636364', '0.05')
    """
    return f"{number + 0.0:.9f}".rstrip("0").rstrip(".")


def round_numbers(low: float, high: float, most: int) -> np.ndarray:
    """Return at most about so many round numbers from low to high, evenly spaced.

    Examples
    --------
    >>> round_numbers(-0.27, 1.5, 6).tolist()
    [0.0, 0.5, 1.0, 1.5]
    """
    raw = (high - low) / most
    base = 10.0 ** np.floor(np.log10(raw))
    step = base * next(factor for factor in (1, 2, 5, 10) if factor * base >= raw)
    return (step * np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1)).round(12) + 0.0


def assign(mark: bq.Mark, visible: bool, **arrays: np.ndarray) -> None:
    """Assign only what has changed (an equal array would still be sent), and nothing to a mark that is hidden."""
    visible = bool(visible)
    if visible:
        for name, array in arrays.items():
            if not np.array_equal(getattr(mark, name), array):
                setattr(mark, name, array)
    if mark.visible != visible:
        mark.visible = visible
