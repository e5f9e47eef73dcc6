"""The surface as a landscape that can be turned, in ipyvolume.

May import: results, ipywidgets, traitlets, numpy; ipyvolume and pythreejs when a landscape is first shown (that takes seconds).
Marks are made once and changed under `hold_sync`. ipyvolume's vertical axis is y; the plane's second axis is its z, reversed, so
that the landscape seen from above is the flat picture.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import ipywidgets as widgets
import numpy as np
import traitlets

from . import shapes
from .picking import Lens, first_hit
from .solid_marks import AXES, Marks
from .surface_scene import SurfaceScene
from .theme import swatch
from .webgl import BrowserFacts

HEIGHT = 0.6  # of the box, as a share of its width, at exaggeration 1
CAMERAS = {"corner": (-0.82, 0.72, 1.12), "top": (0.0, 1.5, 0.015), "front": (0.0, 0.3, 1.6), "side": (1.6, 0.3, 0.0)}
_WIDEST, _HIGHEST = 900, 500  # pixels
_NEAR = 12.0  # pixels: a click this near to a checkpoint means it
_FRAME_MS = 60
_LINES_EVERY = 1.0  # seconds, while the training is played


class SolidView(widgets.VBox):
    """The surface as a landscape, in ipyvolume (a bare Figure).

    Parameters
    ----------
    on_point : callable
        Called with x and y of the plane when the surface is clicked, and whether Ctrl or Cmd was held.
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
    playing = traitlets.Bool(False)
    epoch = traitlets.Float(0.0)

    def __init__(self, on_point: Callable[[float, float, bool], None], on_checkpoint: Callable[[str, int], None]) -> None:
        self._on_point, self._on_checkpoint = on_point, on_checkpoint
        self._scene: SurfaceScene | None = None
        self._marks: Marks | None = None
        self._labels = ("direction 1", "direction 2")
        self._frames = np.zeros(1)
        self._low, self._span_of_box, self._sides = np.zeros(3), np.ones(3), np.ones(3)
        self.figure: Any = None
        self.facts = BrowserFacts()
        self._play = widgets.Play(value=0, min=0, max=0, interval=_FRAME_MS, show_repeat=False)
        self._slider = widgets.SelectionSlider(
            options=[("0", 0.0)], description="epoch", continuous_update=True, layout=widgets.Layout(width="360px")
        ).add_class("nnvis-solid-epoch")
        self._drawn_at = 0.0
        # a link begins with its first end's value
        self._links = [widgets.jslink((self._slider, "index"), (self._play, "value"))]
        self.player = widgets.HBox([self._play, self._slider])
        # as wide as its place, whatever the canvas in it: that follows
        super().__init__(
            [self.facts], layout=widgets.Layout(flex="1 1 440px", min_width="300px", max_width="100%", overflow="hidden")
        )
        self.add_class("nnvis-solid")
        self._slider.observe(self._slid, "index")
        self._play.observe(self._played, "playing")
        self.facts.observe(self._restyle, "background")
        self.facts.observe(self._page_is_there, "available")
        self.facts.observe(self._clicked, "click")
        self.facts.observe(self._resize, "room")
        self.observe(self._redraw, ["exaggeration", "wireframe", "isolines", "opacity"])
        self.observe(self._epoch_set, "epoch")
        self.observe(lambda change: self.play(change.new), "playing")

    def show(self, scene: SurfaceScene, labels: tuple[str, str] | None = None) -> None:
        """Draw a scene, whose axes have these names; only what differs reaches the browser."""
        self._labels = labels or self._labels
        first = self._marks is None
        if first:
            self._marks = Marks(tuple(CAMERAS["corner"]))
            self.figure = self._marks.figure
            self.children = [self.facts, self.figure]
        old, self._scene = self._scene, scene
        frames = shapes.frame_epochs([track.epochs for track in scene.tracks])
        if not np.array_equal(frames, self._frames) or first:
            at_end = self.epoch >= self._frames[-1]
            self._frames = frames
            self._new_frames()
            if at_end:  # a longer run is shown to its end, too
                self.epoch = float(frames[-1])
        if scene.epoch is not None and (old is None or scene.epoch != old.epoch):
            self.epoch = float(scene.epoch)
        elif old is None or (scene.epoch is None and old.epoch is not None):
            self.epoch = float(frames[-1])
        self._redraw()
        if first:
            self._restyle()
            self._resize()

    def camera(self, preset: str) -> None:
        """Look from "corner", "top", "front" or "side"."""
        if preset not in CAMERAS:
            raise ValueError(f"preset: one of {', '.join(CAMERAS)} is needed, not {preset!r}")
        if self.figure is not None:
            self.figure.camera.position = CAMERAS[preset]
            self.figure.controls.exec_three_obj_method("update")  # draws, and turns the lens to the middle

    def caption(self) -> str:
        """Return what the axes show, by their colours, and how much the vertical one is stretched, as HTML."""
        if self._scene is None:
            return ""
        low, high = (10.0**v if self._scene.logarithmic else v for v in self._span())
        names = "".join(
            f'<span class="item">{swatch(colour)}{name}</span>' for colour, name in zip(AXES, self._labels, strict=True)
        )
        return (
            f"{names}<br>up: {self._scene.label}, from {low:.3g} to {high:.3g}, drawn × {HEIGHT * self.exaggeration:.3g} of the"
            " width; a track has the value of its checkpoints, which may lie below the surface: what is hidden shines through"
        )

    def play(self, on: bool) -> None:
        """Play the training along its path, from the beginning when it is at its end; or stop."""
        if on and not self._play.playing and self._play.value >= self._play.max:
            self._slider.index = self._play.value = 0
        self._play.playing = on
        self.playing = on

    @property
    def unshown(self) -> list[widgets.Widget]:
        """What no container holds: links, the player, marks that are hidden."""
        marks = self._marks.all() if self._marks is not None else []
        return [*self._links, self.player, *marks]

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
            self._low = np.array([surface.x[0], low - pad, surface.y[-1]])
            self._span_of_box = np.array([surface.x[-1], high + pad, surface.y[0]]) - self._low
            self._sides = sides
            marks.box(self._low, self._low + self._span_of_box, sides)
            marks.surface(scene, grid, low, self.opacity)
            marks.lines_on_it(scene, grid, low, self.wireframe, self.isolines, lift=0.004 * unit[1])
            for mark in marks.tracks(scene, self._heights(), self._frames, unit, self._slider.index or 0):
                self._link(mark)
            marks.paths(scene, unit)
            marks.points(scene, unit)
        marks.settle()

    def _link(self, track: Any) -> None:
        """Let the slider move a new track in the browser."""
        for mark in track.balls:
            self._links.append(widgets.jslink((self._slider, "index"), (mark, "sequence_index")))

    # ---- clicks

    def _clicked(self, change: Any) -> None:
        if self._scene is None or self.figure is None or len(change.new) != 6:
            return
        u, v, width, height, second, _ = change.new
        camera = self.figure.camera
        lens = Lens(np.array(camera.position, float), np.array(self.figure.controls.target, float), np.array(camera.up, float),
                    camera.fov, width / height)  # fmt: skip
        pixels = np.array([width, height]) / 2
        nearest: tuple[float, str, int] = (_NEAR, "", 0)
        for track, heights in zip(self._scene.tracks, self._heights(), strict=True):
            points = self._in_box(np.column_stack([track.xy[:, 0], heights, track.xy[:, 1]]))
            away = np.linalg.norm((lens.project(points) - [u, v]) * pixels, axis=1)
            away[(track.epochs > self.epoch + 1e-9) | ~np.isfinite(away)] = np.inf
            if away.min() < nearest[0]:
                nearest = float(away.min()), track.name, int(away.argmin())
        if nearest[1]:
            self._on_checkpoint(*nearest[1:])
            return
        grid, surface = self._scene.filled(), self._scene.surface
        there = np.isfinite(grid)
        x, y = np.meshgrid(surface.x, surface.y)
        vertices = self._in_box(np.stack([x, np.where(there, grid, self._low[1]), y], -1).reshape(-1, 3))
        place = first_hit(lens.position, lens.ray(u, v), vertices, shapes.triangles(there))
        if place is not None:
            x, _, y = (place / self._sides + 0.5) * self._span_of_box + self._low
            self._on_point(float(x), float(y), bool(second))

    def _in_box(self, points: np.ndarray) -> np.ndarray:
        """Return points (N, 3) of the scene where ipyvolume draws them: in a box around the origin."""
        return ((points - self._low) / self._span_of_box - 0.5) * self._sides

    def _resize(self, *_: Any) -> None:
        width = int(np.clip(self.facts.room, 300, _WIDEST))
        if self.figure is not None and self.facts.room and width != self.figure.width:
            self.figure.width, self.figure.height = width, int(min(_HIGHEST, 0.75 * width))

    def _restyle(self, *_: Any) -> None:
        if self._marks is not None:
            self._marks.style(self.facts.background, self.facts.dark)

    # ---- playing

    def _new_frames(self) -> None:
        index = int(np.abs(self._frames - self.epoch).argmin())
        self._slider.options = [(f"{epoch:.2f}", float(epoch)) for epoch in self._frames]
        self._play.max = len(self._frames) - 1
        self._slider.index = self._play.value = index

    def _page_is_there(self, _change: Any) -> None:
        # a page of Voila that was loading while the work began has missed what changed meanwhile
        self._slider.send_state()
        self._play.send_state()

    def _slid(self, change: Any) -> None:
        if change.new is not None and change.new < len(self._frames):
            self.epoch = float(self._frames[change.new])

    def _epoch_set(self, change: Any) -> None:
        index = int(np.abs(self._frames - change.new).argmin())
        if index != self._slider.index:
            self._slider.index = self._play.value = index
        tracks = self._marks.known.values() if self._marks is not None else ()
        for track in tracks:
            for mark in track.balls:
                mark.sequence_index = index
        now = time.monotonic()
        if self.playing and now - self._drawn_at < _LINES_EVERY:
            return
        self._drawn_at = now
        for track in tracks:
            for mark in track.lines:
                mark.sequence_index = index

    def _played(self, change: Any) -> None:
        self.playing = bool(change.new)
        self._epoch_set(SimpleNamespace(new=self.epoch))  # with the lines
