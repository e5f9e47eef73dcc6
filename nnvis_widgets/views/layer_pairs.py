"""Every two layers as a matrix: what both lose beyond the sum of each, what both lose, and what one alone loses.

May import: results, ipywidgets, numpy, matplotlib's colour maps, layer_rows. It is a table: its numbers
can be read aloud, and copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import ipywidgets as widgets
import numpy as np

from .layer_rows import icon, interval

WRITTEN = 8  # layers up to which the intervals stand in the cells
_UPRIGHT = 6  # layers from which on their names stand upright above the columns
_LONG = 16  # letters of a name
_LEAST = 0.05  # end of the colours at least: what is smaller is nearly white


@dataclass(frozen=True, eq=False)
class PairScene:
    """Everything that a `PairsView` draws, of L layers.

    Attributes
    ----------
    layers, labels : sequence of str
        And the label of each alone.
    criticality, low, high : ndarray, shape (L, L)
        Of both; on the diagonal of one alone.
    interaction, interaction_low, interaction_high : ndarray, shape (L, L)
    chosen : sequence of int
        Layers whose pairs are framed.
    """

    layers: Sequence[str]
    labels: Sequence[str]
    criticality: np.ndarray
    low: np.ndarray
    high: np.ndarray
    interaction: np.ndarray
    interaction_low: np.ndarray
    interaction_high: np.ndarray
    chosen: Sequence[int] = ()

    def sure(self, row: int, column: int) -> int:
        """Return 1 or -1 where an interaction is surely above or below 0, else 0."""
        return int(self.interaction_low[row, column] > 0) - int(self.interaction_high[row, column] < 0)


class PairsView(widgets.VBox):
    """The matrix, and above it what its colours and signs mean. A click on a cell arrives as that of a ``data-cell``.

    Attributes
    ----------
    key, table : ipywidgets.HTML
    """

    def __init__(self) -> None:
        self.key = widgets.HTML().add_class("nnvis-small").add_class("nnvis-pairs-key")
        self.table = widgets.HTML(layout=widgets.Layout(width="100%", overflow="auto hidden"))
        super().__init__([self.key, self.table], layout=widgets.Layout(width="100%"))
        self.add_class("nnvis-rows")

    def show(self, scene: PairScene) -> None:
        """Draw a scene; only what differs reaches the browser."""
        most = max(float(np.nanmax(np.abs(scene.interaction), initial=0.0)), _LEAST)
        for line, text in ((self.key, _key(most)), (self.table, _table(scene, most))):
            if line.value != text:
                line.value = text


def told(scene: PairScene, row: int, column: int) -> str:
    """Return in words what both layers lose beyond the sum of each."""
    values = (float(part[row, column]) for part in (scene.interaction, scene.interaction_low, scene.interaction_high))
    meaning = {
        1: "surely above 0: each can stand in for the other", -1: "surely below 0: what one loses, the other would lose as well",
        0: "may be 0",
    }  # fmt: skip
    return f"both minus the sum of each {interval(*values, '+.2f')}, {meaning[scene.sure(row, column)]}"


def _key(most: float) -> str:
    stops = ",".join(_rgb(share) for share in np.linspace(-1, 1, 7))
    style = f"display:inline-block;width:140px;height:10px;background:linear-gradient(90deg,{stops})"
    bar = f'<span role="img" aria-label="colours from purple over white to orange" style="{style}"></span>'
    items = [
        f"below the diagonal: κ of both minus the sum of each &minus;{most:.2f} {bar} +{most:.2f}",
        "<b>bold*</b> surely not 0, of all pairs at once", '<span class="nnvis-maybe">&ensp;hatched&ensp;</span> may be 0',
        "on the diagonal: κ of one alone", "above it: κ of both",
    ]  # fmt: skip
    return "".join(f'<span class="item">{item}</span>' for item in items)


def _table(scene: PairScene, most: float) -> str:
    count, called = len(scene.layers), _called(scene.layers)
    longest = max(map(len, called))
    upright = ' class="upright"' if count >= _UPRIGHT and longest > 6 else ""
    pairs = zip(scene.layers, called, strict=True)
    heads = "".join(f'<th scope="col"{upright} title="{escape(name)}"><span>{escape(short)}</span></th>' for name, short in pairs)
    rows = "".join(
        f'<tr><th scope="row" title="{escape(name)}">{icon(scene.labels[row])} {escape(called[row])}</th>'
        + "".join(_cell(scene, row, column, most) for column in range(count))
        + "</tr>"
        for row, name in enumerate(scene.layers)
    )
    head = 32 + 8 * longest
    kind = "nnvis-pairs" if count <= WRITTEN else "nnvis-pairs dense"
    return (
        f'<table class="{kind}" style="max-width:{head + 100 * count}px" aria-label="interactions of every two layers">'
        f'<thead><tr><td style="width:{head}px"></td>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    )


def _called(names: Sequence[str]) -> list[str]:
    """Return names without the modules that all of them lie in; of long ones their beginning and their end."""
    parts = [name.split(".") for name in names]
    common = 0
    while all(len(part) > common + 1 and part[common] == parts[0][common] for part in parts):
        common += 1
    short = [".".join(part[common:]) for part in parts]
    half = _LONG // 2
    return [name if len(name) <= _LONG else f"{name[:half]}…{name[1 - half :]}" for name in short]


def _cell(scene: PairScene, row: int, column: int, most: float) -> str:
    below, alone = column < row, column == row
    parts = (
        (scene.interaction, scene.interaction_low, scene.interaction_high) if below else (scene.criticality, scene.low, scene.high)
    )
    value, low, high = (float(part[row, column]) for part in parts)
    sure = scene.sure(row, column) if below else 0
    known = np.isfinite(value)
    spec = "+.2f" if below and len(scene.layers) <= WRITTEN else ".2f"
    number = f"{_short(value, spec)}{'*' if sure else ''}" if known else "&ndash;"
    ends = f"<small>{_short(low, '.2f')}, {_short(high, '.2f')}</small>" if known and len(scene.layers) <= WRITTEN else ""
    called = scene.layers[row] if alone else f"{scene.layers[row]} + {scene.layers[column]}"
    hint = told(scene, row, column) if below else f"κ {interval(value, low, high)}"
    framed = not alone and row in scene.chosen and column in scene.chosen
    kind = " ".join(
        name for name, there in (
            ("alone", alone), ("both", not below and not alone), ("more", below), ("sure", bool(sure)),
            ("nnvis-maybe", below and known and not sure), ("framed", framed),
        ) if there
    )  # fmt: skip
    style = f' style="{_ground(value / most)}"' if below and known else ""
    return f'<td data-cell="{row},{column}" class="{kind}"{style} title="{escape(called)}: {escape(hint)}">{number}{ends}</td>'


def _ground(share: float) -> str:
    """Return the colour of a cell, and that of the letters on it."""
    red, green, blue = (int(part) for part in _rgb(share)[4:-1].split(","))
    light = 0.299 * red + 0.587 * green + 0.114 * blue > 125
    return f"background-color:{_rgb(share)};color:{'#000000' if light else '#FFFFFF'}"


def _rgb(share: float) -> str:
    """Return the colour of an interaction, from -1, purple, over white to 1, orange."""
    from matplotlib import colormaps

    # not to the ends: letters stand on it
    return "rgb({},{},{})".format(*colormaps["PuOr_r"](0.5 + 0.4 * float(np.clip(share, -1, 1)), bytes=True)[:3])


def _short(value: float, spec: str) -> str:
    """Return a number without the zero before its point, and with no negative zero."""
    text = format(round(value, 2) + 0.0, spec)
    return text.replace("0.", ".", 1) if abs(value) < 0.995 else text
