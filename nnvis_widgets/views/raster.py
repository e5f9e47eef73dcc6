"""A picture made of pixels, under the other marks of a figure.

May import: bqplot, ipywidgets, numpy, ground, plot.
"""

from __future__ import annotations

import time

import bqplot as bq
import ipywidgets as widgets
import numpy as np

from .ground import png
from .plot import assign

_LOADING = 20.0  # seconds in which a page may still ask for a picture that it was told of


class Raster:
    """The picture under the other marks of a figure.

    bqplot draws only a *new* image widget, so each picture is one. The one before it is not closed at once: a page that is
    loading was told of it, and what it asks for must still be there.

    Attributes
    ----------
    mark : bqplot.Image
    """

    def __init__(self, scales: dict[str, bq.Scale], **style):
        nothing = png(np.zeros((1, 1, 4), np.uint8))
        self.mark = bq.Image(image=widgets.Image(value=nothing), scales=scales, **style)
        self._replaced: list[tuple[float, widgets.Image]] = []

    def show(self, pixels: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
        """Draw pixels, (H, W, 4) of uint8, the uppermost row first, from x[0] to x[-1] and from y[0] to y[-1]."""
        value = png(pixels)
        if self.mark.image.value != value:
            now = time.monotonic()
            self._replaced.append((now, self.mark.image))
            self.mark.image = widgets.Image(value=value)
            while now - self._replaced[0][0] > _LOADING:
                _, old = self._replaced.pop(0)
                old.layout.close()
                old.close()
        assign(self.mark, True, x=x, y=y)

    @property
    def unshown(self) -> list[widgets.Widget]:
        """The pictures that were replaced and are not closed yet."""
        return [image for _, image in self._replaced]
