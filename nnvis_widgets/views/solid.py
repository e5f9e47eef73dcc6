"""The surface as a landscape that can be turned, in ipyvolume.

May import: results, ipywidgets, traitlets, numpy; ipyvolume and pythreejs when a landscape is first shown (that takes seconds).
Marks are made once and changed under `hold_sync`. ipyvolume's vertical axis is y; the plane's second axis is its z, reversed, so
that the landscape seen from above is the flat picture.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import ipywidgets as widgets
import numpy as np
import traitlets

from . import shapes
from .solid_marks import Marks
from .surface_scene import SurfaceScene
from .webgl import BrowserFacts

HEIGHT = 0.6  # of the box, as a share of its width, at exaggeration 1
CAMERAS = {"corner": (-1.05, 0.85, 1.45), "top": (0.0, 2.0, 0.02), "front": (0.0, 0.35, 2.0), "side": (2.0, 0.35, 0.0)}
_PICK = 33  # dots a side, at most
_FRAME_MS = 60


class SolidView(widgets.VBox):
    """The surface as a landscape, in ipyvolume (a bare Figure).

    Parameters
    ----------
    on_point : callable
        Called with x and y of the plane when a dot of the grid is clicked.
    on_checkpoint : callable
        Called with the name of a track and the number of its checkpoint when that is clicked.

    Attributes
    ----------
    exaggeration : float
        Factor on the height.
    wireframe, isolines : bool
        Lines on the surface.
    opacity : float
        Of the surface.
    picking : bool
        Whether the surface carries dots that answer clicks.
    playing : bool
    epoch : float
        Where the tracks end.
    player : ipywidgets.Box
        Play button and epoch slider; they move the tracks without the kernel.
    figure : ipyvolume.Figure or None
        None until something is shown.
    facts : BrowserFacts
        Whether the browser has WebGL, and the colour of the page.
    """

    exaggeration = traitlets.Float(1.0)
    wireframe = traitlets.Bool(False)
    isolines = traitlets.Bool(True)
    opacity = traitlets.Float(1.0)
    picking = traitlets.Bool(True)
    playing = traitlets.Bool(False)
    epoch = traitlets.Float(0.0)

    def __init__(self, on_point: Callable[[float, float], None], on_checkpoint: Callable[[str, int], None]) -> None:
        self._on_point, self._on_checkpoint = on_point, on_checkpoint
        self._scene: SurfaceScene | None = None
        self._marks: Marks | None = None
        self._frames = np.zeros(1)
        self._pick_xy = np.empty((0, 2))
        self.figure: Any = None
        self.facts = BrowserFacts()
        self._play = widgets.Play(value=0, min=0, max=0, interval=_FRAME_MS, show_repeat=False)
        self._slider = widgets.SelectionSlider(
            options=[("0", 0.0)], description="epoch", continuous_update=True, layout=widgets.Layout(width="360px")
        ).add_class("nnvis-solid-epoch")
        self._links = [widgets.jslink((self._play, "value"), (self._slider, "index"))]
        self.player = widgets.HBox([self._play, self._slider])
        super().__init__([self.facts])
        self.add_class("nnvis-solid")
        self._slider.observe(self._slid, "index")
        self._play.observe(self._played, "playing")
        self.facts.observe(self._restyle, "background")
        self.observe(self._redraw, ["exaggeration", "wireframe", "isolines", "opacity", "picking"])
        self.observe(self._epoch_set, "epoch")
        self.observe(lambda change: self.play(change.new), "playing")

    def show(self, scene: SurfaceScene) -> None:
        """Draw a scene; only what differs reaches the browser."""
        first = self._marks is None
        if first:
            self._marks = Marks(tuple(CAMERAS["corner"]))
            self.figure = self._marks.figure
            self._marks.pick.observe(self._picked, "clicked_index")
            self.children = [self.facts, self.figure]
        old, self._scene = self._scene, scene
        frames = shapes.frame_epochs([track.epochs for track in scene.tracks])
        if not np.array_equal(frames, self._frames) or first:
            self._frames = frames
            self._new_frames()
        if scene.epoch is not None and (old is None or scene.epoch != old.epoch):
            self.epoch = float(scene.epoch)
        elif old is None or (scene.epoch is None and old.epoch is not None):
            self.epoch = float(frames[-1])
        self._redraw()
        if first:
            self._restyle()

    def camera(self, preset: str) -> None:
        """Look from "corner", "top", "front" or "side"."""
        if preset not in CAMERAS:
            raise ValueError(f"preset: one of {', '.join(CAMERAS)} is needed, not {preset!r}")
        if self.figure is not None:
            self.figure.camera.position = CAMERAS[preset]
            self.figure.controls.exec_three_obj_method("update")  # draws, and turns the lens to the middle

    def caption(self) -> str:
        """Return what the vertical axis shows and how much it is stretched."""
        if self._scene is None:
            return ""
        low, high = (10.0**v if self._scene.logarithmic else v for v in self._span())
        return (
            f"vertical scale: {self._scene.label}, {high:.3g} to {low:.3g}, drawn × {HEIGHT * self.exaggeration:.3g} of the width"
        )

    def play(self, on: bool) -> None:
        """Play the training along its path, from the beginning when it is at its end; or stop."""
        if on and not self._play.playing and self._play.value >= self._play.max:
            self._slider.index = self._play.value = 0
        self._play.playing = on
        self.playing = on

    # ---- drawing

    def _heights(self) -> list[np.ndarray]:
        """Return the heights of each track's checkpoints on the picture's scale."""
        answer = []
        for track in self._scene.tracks:
            ground = self._scene.height(track.xy)
            true = ground if track.values is None else self._scene.shown(track.values)
            answer.append(np.where(np.isfinite(true), true, ground))
        return answer

    def _span(self) -> tuple[float, float]:
        """Return the lowest and the highest value that is drawn."""
        seen = np.concatenate([self._scene.values.ravel(), *self._heights()])
        seen = seen[np.isfinite(seen)]
        low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
        return (low, high) if high > low else (low - 0.5, low + 0.5)

    def _redraw(self, *_: Any) -> None:
        if self._marks is None or self._scene is None:
            return
        scene, marks, surface = self._scene, self._marks, self._scene.surface
        low, high = self._span()
        pad = 0.02 * (high - low)
        spans = np.array([np.ptp(surface.x), high - low, np.ptp(surface.y)])
        sides = np.array([spans[0], 0.0, spans[2]]) / max(spans[0], spans[2])
        sides = np.clip(sides, 0.4, 1.0)  # a strip would be too thin to see
        sides[1] = HEIGHT * self.exaggeration
        unit = spans / sides
        grid = scene.filled()
        with ExitStack() as held:
            for mark in marks.all():
                held.enter_context(mark.hold_sync())
            marks.box(surface, (low - pad, high + pad), sides, scene.label)
            marks.surface(scene, grid, low, self.opacity)
            marks.lines_on_it(scene, grid, low, self.wireframe, self.isolines, lift=0.004 * unit[1])
            self._pick_xy = marks.pickable(scene, grid, self.picking, _PICK)
            for name, mark in marks.tracks(scene, self._heights(), self._frames, unit, self._slider.index or 0):
                self._link(name, mark)
            marks.paths(scene, unit)
            marks.points(scene, unit)
        marks.attach()

    def _link(self, name: str, track: Any) -> None:
        """Let the slider move a new track in the browser, and its dots answer clicks."""
        for mark in track.moving():
            self._links.append(widgets.jslink((self._slider, "index"), (mark, "sequence_index")))

        def clicked(change: Any) -> None:
            if change.new is not None:
                self._on_checkpoint(name, int(change.new))
                track.dots.clicked_index = None  # so that the same dot can be clicked again

        track.dots.observe(clicked, "clicked_index")

    def _picked(self, change: Any) -> None:
        if change.new is not None and change.new < len(self._pick_xy):
            x, y = self._pick_xy[change.new]
            self._marks.pick.clicked_index = None
            self._on_point(float(x), float(y))

    def _restyle(self, *_: Any) -> None:
        if self._marks is not None:
            self._marks.style(self.facts.background, self.facts.dark)

    # ---- playing

    def _new_frames(self) -> None:
        index = int(np.abs(self._frames - self.epoch).argmin())
        self._slider.options = [(f"{epoch:.2f}", float(epoch)) for epoch in self._frames]
        self._play.max = len(self._frames) - 1
        self._slider.index = self._play.value = index

    def _slid(self, change: Any) -> None:
        if change.new is not None and change.new < len(self._frames):
            self.epoch = float(self._frames[change.new])

    def _epoch_set(self, change: Any) -> None:
        index = int(np.abs(self._frames - change.new).argmin())
        if index != self._slider.index:
            self._slider.index = self._play.value = index
        for track in self._marks.known.values() if self._marks is not None else ():
            for mark in track.moving():
                mark.sequence_index = index

    def _played(self, change: Any) -> None:
        self.playing = bool(change.new)
