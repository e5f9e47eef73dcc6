"""Several surfaces side by side as small pictures with one colour scale: how much a picture owes to its slice.

May import: results, ground, surface_scene, ipywidgets, numpy and Pillow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import ipywidgets as widgets
import numpy as np
from PIL import Image, ImageDraw

from ..results import SurfaceResult
from . import ground
from .surface_scene import SurfaceScene

_SIDE = 180  # pixels
_LEVELS = 8


class SlicesView(widgets.VBox):
    """Small pictures with a button each; `on_choose` gets the name of the one that is wanted large."""

    def __init__(self, on_choose: Callable[[str], None]):
        self._on_choose = on_choose
        self._words = widgets.HTML().add_class("nnvis-small")
        self._row = widgets.Box(layout=widgets.Layout(flex_flow="row wrap"))
        self._tiles: dict[str, tuple[widgets.Image, widgets.Button]] = {}
        self._drawn: dict[str, tuple] = {}
        super().__init__([self._words, self._row], layout=widgets.Layout(display="none"))
        self.add_class("nnvis-slices")

    def show(
        self, surfaces: Mapping[str, SurfaceResult], quantity: str, colours: str, curvatures: Mapping[str, tuple[float, float]]
    ) -> None:
        """Draw the surfaces, partial ones too, all with the colours of the widest range among them."""
        scenes = {name: SurfaceScene(one, quantity, colours=colours, levels=_LEVELS) for name, one in surfaces.items()}
        logarithmic = all(scene.logarithmic for scene in scenes.values())
        if not logarithmic:
            scenes = {name: SurfaceScene(one, quantity, "linear", _LEVELS, colours) for name, one in surfaces.items()}
        limits = [scene.limits for scene in scenes.values()]
        span = min(pair[0] for pair in limits), max(pair[1] for pair in limits)
        for name, scene in scenes.items():
            if name not in self._tiles:
                self._tiles[name] = self._tile(name)
            # of six, mostly one is being measured
            wanted = scene.surface, scene.quantity, scene.scale, scene.colours, span
            if self._drawn.get(name) != wanted:
                self._drawn[name] = wanted
                self._tiles[name][0].value = picture(replace(scene, span=span))
        if [box.children[0] for box in self._row.children] != [self._tiles[name][0] for name in surfaces]:
            for box in self._row.children:
                box.layout.close()
                box.close()
            self._row.children = [widgets.VBox(self._tiles[name]) for name in surfaces]
        values = np.array([pair for pair in curvatures.values() if np.isfinite(pair).all()])
        label = f"log10 {quantity}" if logarithmic else quantity
        spread = f"; curvature at the centre {values.min():.3g} to {values.max():.3g} over these directions" if values.size else ""
        self._words.value = (
            f"{len(surfaces)} random slices through one model, one colour scale ({label}, {span[0]:.3g} to {span[1]:.3g}){spread}. "
            "What differs between them is the slice, not the model."
        )

    def _tile(self, name: str) -> tuple[widgets.Image, widgets.Button]:
        image = widgets.Image(format="png", layout=widgets.Layout(width=f"{_SIDE}px", height=f"{_SIDE}px", margin="2px 6px"))
        button = widgets.Button(description=f"seed {name.removeprefix('slice ')}", layout=widgets.Layout(width=f"{_SIDE}px"))
        button.tooltip = "show this slice large"
        button.on_click(lambda _button: self._on_choose(name))
        return image, button


def picture(scene: SurfaceScene) -> bytes:
    """Return a surface as a PNG of 180 x 180 pixels: colours, isolines, the centre; grey where not finite."""
    size = 2 * _SIDE  # drawn at twice the size, so that lines are smooth
    image = Image.fromarray(ground.pixels(scene, size, size)).convert("RGBA")
    draw = ImageDraw.Draw(image)
    x, y = scene.surface.x, scene.surface.y

    def place(points: np.ndarray) -> list[tuple[float, float]]:
        right = (points[:, 0] - x[0]) / (x[-1] - x[0]) * size
        down = (y[-1] - points[:, 1]) / (y[-1] - y[0]) * size
        return list(zip(right.tolist(), down.tolist(), strict=True))

    for level, piece in ground.isolines(scene):
        draw.line(place(piece), fill=ground.ink(scene, level)[0], width=1)
    ((right, down),) = place(np.zeros((1, 2)))
    draw.ellipse([right - 6, down - 6, right + 6, down + 6], outline="#000000", fill="#FFFFFF", width=2)
    return ground.png(np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)))
