"""The flat and the solid view of one surface, side by side: both take the same scene, and one player moves both.

May import: views, ipywidgets.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import ipywidgets as widgets

from ..views.contour import ContourView
from ..views.solid import SolidView
from ..views.surface_scene import SurfaceScene

_NO_WEBGL = "This browser shows no WebGL: the flat view stands alone."
_PREPARING = "preparing the 3-D view ..."
_SOLID, _ROW = 448, 960  # pixels: what the solid view needs beside the flat one, and from which width both share a row


class SurfacePictures(widgets.Box):
    """Both views; the solid one only where it is wanted and the browser can draw it.

    Parameters
    ----------
    on_click : callable
        ``on_click(x, y, second)``: a place of the plane.
    on_checkpoint : callable
        ``on_checkpoint(name of the track, index)``
    on_epoch : callable
        ``on_epoch(epoch)``: the player of the solid view has moved.

    Attributes
    ----------
    flat : ContourView
    solid : SolidView or None
        None until `furnish`.
    words : widgets.HTML
        The vertical scale, or why there is no solid view.
    """

    def __init__(
        self,
        on_click: Callable[[float, float, bool], None],
        on_checkpoint: Callable[[str, int], None],
        on_epoch: Callable[[float], None],
    ):
        self._on = on_click, on_checkpoint, on_epoch
        self.flat = ContourView(on_click, on_checkpoint)
        self.solid: SolidView | None = None
        self.words = widgets.HTML().add_class("nnvis-small")
        self._scene: SurfaceScene | None = None
        self._wanted = True
        self._importing: asyncio.Future | None = None
        super().__init__([self.flat], layout=widgets.Layout(flex_flow="row wrap", width="100%"))
        self.add_class("nnvis-curves")

    def furnish(self) -> None:
        """Build the solid view beside the flat one."""
        on_click, on_checkpoint, on_epoch = self._on
        self.solid = SolidView(on_click, on_checkpoint)
        self.children = [self.flat, self.solid]
        self.solid.observe(lambda change: on_epoch(change.new), "epoch")
        self.solid.facts.observe(self._fit, "row")
        self.solid.facts.observe(lambda _change: self.want_solid(self._wanted), "available")

    @property
    def has_solid(self) -> bool:
        """Whether the solid view is shown."""
        return self._wanted and self.solid is not None and self.solid.facts.available is not False

    def show(self, scene: SurfaceScene, labels: tuple[str, str]) -> None:
        """Draw a scene in both views."""
        self._scene = scene
        self.flat.labels = labels
        self.flat.show(scene)
        self._show_solid()

    def walk(self, epoch: float | None, last: float) -> None:
        """Draw the tracks up to an epoch; None is the last."""
        if self._scene is not None:
            self._scene = replace(self._scene, epoch=epoch)
            self.flat.show(self._scene)
        if self.solid is not None:
            self.solid.epoch = last if epoch is None else epoch

    def go_along(self, along: Mapping[str, tuple[float, float]]) -> None:
        """Mark how far one has gone along each path."""
        if self._scene is not None:
            self._scene = replace(self._scene, along=along)
            self.flat.show(self._scene)

    def _fit(self, *_: Any) -> None:
        row = self.solid.facts.row if self.solid is not None else 0
        room = row - _SOLID if self.has_solid and row >= _ROW else row
        if room != self.flat.room:
            self.flat.room = room
            if self._scene is not None:
                self.flat.show(self._scene)

    def want_solid(self, wanted: bool) -> None:
        """Show the solid view, or not."""
        self._wanted = wanted
        if self.solid is None:
            return
        # where the browser has not said yet what it can, the widget that asks it is in there
        self.solid.layout.display = self.solid.player.layout.display = None if self.has_solid else "none"
        self._fit()
        self._show_solid()

    def _show_solid(self) -> None:
        if self.solid is None:
            return
        if not self.has_solid:
            self.words.value = _NO_WEBGL if self._wanted else ""
            return
        if self._scene is None:
            return
        if not self._imported():
            self.words.value = _PREPARING
            return
        self.solid.show(self._scene, self.flat.labels)
        self.words.value = self.solid.caption()

    def _imported(self) -> bool:
        """Return whether ipyvolume is there; otherwise it is imported beside the work, since that takes seconds."""
        if "ipyvolume" in sys.modules and (self._importing is None or self._importing.done()):
            return True
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return True  # nothing waits: the view imports it itself
        if self._importing is None:
            self._importing = loop.run_in_executor(None, importlib.import_module, "ipyvolume")
            self._importing.add_done_callback(self._arrived)
        return False

    def _arrived(self, done: asyncio.Future) -> None:
        if done.cancelled() or self.comm is None:
            return
        if error := done.exception():
            self._wanted = False
            self.words.value = f"The 3-D view cannot be loaded ({error}); the flat view stands alone."
        else:
            self._show_solid()
