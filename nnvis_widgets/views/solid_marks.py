"""The marks of the solid view: made once, changed by name.

May import: numpy; ipyvolume and pythreejs when `Marks` is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from . import shapes
from .surface_scene import SurfaceScene
from .theme import CROSSING, KIND_COLOURS, OTHER, SERIES

AXES = SERIES[0], SERIES[3]  # colours of the plane's two axes
_POINTS = {"A": CROSSING, "B": OTHER}
_START, _END = "#FFFFFF", "#FF5A36"
_RADIUS, _HALO = 0.007, 0.011
_CHECKPOINT, _END_POINT, _HEAD = 2.6, 4.2, 3.6  # sizes of balls, in percent of the box
_PIN = 0.12  # height of a marked point's stem above the surface
_NOWHERE = {"x": np.zeros(1), "y": np.zeros(1), "z": np.zeros(1)}


def assign(mark: Any, **values: Any) -> None:
    """Set what differs."""
    for name, value in values.items():
        old = getattr(mark, name)
        same = np.array_equal(old, value) if isinstance(value, np.ndarray) and old is not None else old is value or (
            not isinstance(value, np.ndarray) and not isinstance(old, np.ndarray) and old == value
        )  # fmt: skip
        if not same:
            setattr(mark, name, value)


def _places(points: np.ndarray) -> dict[str, np.ndarray]:
    """Split the last axis into what ipyvolume calls x, y, z; all before it but the first of a sequence is flattened."""
    points = points.astype(np.float32)
    return {name: np.ascontiguousarray(points[..., axis]) for axis, name in enumerate("xyz")}


class TrackMarks:
    """One run: a tube with a dark rim, a dot for each checkpoint, stems to the surface, a marker at its present end.

    What runs below the surface shines through it faintly: a checkpoint has often less loss than its place in the plane.
    """

    def __init__(self, make: Marks):
        self.tube, self.rim, self.ghost = make.mesh(make.matt()), make.mesh(make.matt(back=True)), make.mesh(make.ghost())
        self.stems = make.mesh(make.matt(), lines=True)
        self.dots, self.head = make.scatter(), make.scatter()

    def all(self) -> tuple[Any, ...]:
        """Return the marks that follow the epoch."""
        return *self.lines, *self.balls

    @property
    def balls(self) -> tuple[Any, ...]:
        """Marks that the browser moves to another frame at little cost."""
        return self.dots, self.head

    @property
    def lines(self) -> tuple[Any, ...]:
        """Marks for each frame of which ipyvolume compiles its shaders again."""
        return self.tube, self.rim, self.ghost, self.stems

    def draw(self, track: Any, points: np.ndarray, ground: np.ndarray, at: np.ndarray, unit: np.ndarray) -> None:
        """Draw a track through `points` (N, 3) over a surface of heights `ground` (N,), in each frame."""
        line = shapes.growing(points, track.epochs, at)
        count, joined = len(points), shapes.tube_triangles(len(points))
        for mark, radius, colour in (
            (self.tube, _RADIUS, track.colour), (self.rim, _HALO, "#101010"), (self.ghost, _RADIUS, track.colour),
        ):  # fmt: skip
            skin = line[:, :, None] + shapes.tube_offsets(points, radius, unit)[None]
            assign(
                mark,
                **_places(skin.reshape(len(at), -1, 3)),
                triangles=joined,
                color=np.tile(shapes.rgb(colour), (skin[0].size // 3, 1)),
            )
        reached = track.epochs[None] <= at[:, None] + 1e-9
        feet = np.stack([points[:, 0], np.where(np.isfinite(ground), ground, points[:, 1]), points[:, 2]], 1)
        ends = np.stack([points, feet], axis=1)[None].repeat(len(at), 0)
        ends = np.where(reached[:, :, None, None], ends, points[None, :, None])
        assign(
            self.stems, **_places(ends.reshape(len(at), -1, 3)), lines=np.arange(2 * count, dtype=np.uint32).reshape(-1, 2),
            color=np.tile(shapes.rgb("#303030"), (2 * count, 1)),
        )  # fmt: skip
        size = np.full(count, _CHECKPOINT)
        size[[0, -1]] = _END_POINT
        colour = np.tile(shapes.rgb(track.colour), (count, 1))
        colour[0], colour[-1] = shapes.rgb(_START), shapes.rgb(_END)
        assign(self.dots, **_places(points), size=np.where(reached, size, 0.0).astype(np.float32), color=colour)
        assign(self.head, **_places(shapes.along(points, track.epochs, at)[:, None]), size=_HEAD, color=shapes.rgb("#FFD23F")[None])

    def hide(self, make: Marks) -> None:
        """Take the track out of the picture."""
        for mark in self.all():
            make.show(mark, False)


class Marks:
    """A figure and all that stands in it."""

    def __init__(self, camera: tuple[float, float, float]):
        import ipyvolume
        import pythreejs

        self._ipv, self._three = ipyvolume, pythreejs
        lens = pythreejs.PerspectiveCamera(fov=45, position=camera, aspect=1, up=(0, 1, 0))
        # pythreejs 2.4 cannot send the shadow that a light makes by itself
        shadow = pythreejs.DirectionalLightShadow(camera=pythreejs.OrthographicCamera())
        self.figure = ipyvolume.Figure(
            animation=0.0, camera=lens, controls=pythreejs.OrbitControls(controlling=lens), camera_fov=45, width=720, height=500,
            lights=[
                pythreejs.AmbientLight(color="white", intensity=0.8),
                pythreejs.DirectionalLight(color="white", position=[-3, 6, 4], intensity=0.4, shadow=shadow),
            ],
        )  # fmt: skip
        self.ground = self.mesh(self.matt())
        self.wires, self.contours = self.mesh(self.matt(), lines=True), self.mesh(self.matt(), lines=True)
        self._shown: list[tuple[Any, bool]] = []
        self.known: dict[str, TrackMarks] = {}
        self.path_marks: dict[str, Any] = {}
        self.point_marks: dict[str, tuple[Any, Any]] = {}

    # ---- making

    def matt(self, back: bool = False) -> Any:
        """Return a material without highlights; `back`: only the far side is drawn, which gives what is inside a rim."""
        side = "FrontSide" if back else "DoubleSide"  # the reversed axis turns inside out
        return self._three.MeshPhongMaterial(side=side, shininess=8, specular="#202020", transparent=False)

    def ghost(self) -> Any:
        """Return a material that nothing hides."""
        return self._three.MeshLambertMaterial(side="DoubleSide", transparent=True, opacity=0.8, depthTest=False, depthWrite=False)

    def mesh(self, material: Any, lines: bool = False) -> Any:
        """Return an empty mesh or bundle of lines."""
        which = {"line_material": material} if lines else {"material": material}
        return self._ipv.Mesh(**_NOWHERE, color=np.zeros((1, 3), np.float32), visible=False, **which)

    def scatter(self) -> Any:
        """Return an empty bundle of balls."""
        # the defaults of color_selected and size_selected cannot be sent by ipyvolume 0.6.3
        empty = {**_NOWHERE, "color": np.zeros((1, 3), np.float32), "color_selected": "white", "size_selected": 1.0}
        return self._ipv.Scatter(geo="sphere", size=1.0, visible=False, **empty)

    def all(self) -> Iterator[Any]:
        """Yield every mark."""
        yield from (self.ground, self.wires, self.contours)
        for track in self.known.values():
            yield from track.all()
        yield from self.path_marks.values()
        for pair in self.point_marks.values():
            yield from pair

    def show(self, mark: Any, on: bool) -> None:
        """Show a mark or hide it, when the drawing is over."""
        self._shown.append((mark, on))

    def settle(self) -> None:
        """Show and hide what was asked for, and put marks that are new into the figure.

        After the drawing, not with it: a message that holds places and visibility stops ipyvolume 0.6.3.
        """
        for mark, on in self._shown:
            assign(mark, visible=on)
        self._shown.clear()
        marks = list(self.all())
        meshes, scatters = ([m for m in marks if isinstance(m, kind)] for kind in (self._ipv.Mesh, self._ipv.Scatter))
        if len(meshes) != len(self.figure.meshes):
            self.figure.meshes = meshes
        if len(scatters) != len(self.figure.scatters):
            self.figure.scatters = scatters

    # ---- drawing

    def box(self, low: np.ndarray, high: np.ndarray, sides: np.ndarray) -> None:
        """Set the axes: limits in the order x, height, y, and how long they are drawn."""
        for name, least, most in zip("xyz", low, high, strict=True):
            scale = self.figure.scales[name]
            scale.min, scale.max = float(least), float(most)
        assign(self.figure, box_size=[float(side) for side in sides])

    def style(self, background: str, dark: bool) -> None:
        """Follow the theme of the page."""
        ink = "#d8d8d8" if dark else "#303030"

        def axis(colour: str, numbers: str) -> dict[str, Any]:
            # ipyvolume's own names are as large as the landscape: the caption tells the axes by their colours
            return {"visible": True, "color": colour, "label": {"visible": False}, "ticklabel": {"color": numbers}}

        # its numbers are drawn paler than they are told to be
        numbers = ("#bfe1ff", "#ffd9ef", "#ffffff") if dark else ("#0b4a7a", "#86245f", "#101010")
        up = axis(ink, numbers[2])
        # black itself counts as "no colour" in ipyvolume 0.6.3
        self.figure.style = {
            "background-color": "#000001" if background == "#000000" else background,
            "axes": {**up, "x": axis(AXES[0], numbers[0]), "y": up, "z": axis(AXES[1], numbers[1])},
            "box": {"visible": True, "color": "#5a5a5a" if dark else "#b0b0b0"},
        }  # fmt: skip

    def surface(self, scene: SurfaceScene, grid: np.ndarray, low: float, opacity: float) -> None:
        """Draw the surface; what is not finite is a hole."""
        there = np.isfinite(grid)
        found = shapes.triangles(there)
        x, y = np.meshgrid(scene.surface.x, scene.surface.y)
        values = {
            "x": x.ravel().astype(np.float32), "y": np.where(there, grid, low).ravel().astype(np.float32),
            "z": y.ravel().astype(np.float32), "color": shapes.colours(grid, scene.limits, scene.colours),
        }  # fmt: skip
        if len(found):
            assign(self.ground, **values, triangles=found)
        self.show(self.ground, len(found) > 0)
        assign(self.ground.material, opacity=opacity, transparent=opacity < 1)

    def lines_on_it(self, scene: SurfaceScene, grid: np.ndarray, low: float, wires: bool, contours: bool, lift: float) -> None:
        """Draw the wireframe and the isolines."""
        there = np.isfinite(grid)
        x, y = np.meshgrid(scene.surface.x, scene.surface.y)
        vertices = np.stack([x, np.where(there, grid, low) + lift, y], -1).reshape(-1, 3)
        self._lines(self.wires, wires, vertices, shapes.grid_lines(there), "#1c1c1c")
        points, pairs = shapes.isolines(grid, scene.surface.x, scene.surface.y, scene.isolines) if contours else (vertices, [])
        self._lines(self.contours, contours, points + np.array([0.0, lift, 0.0]), pairs, "#181818")

    def _lines(self, mark: Any, on: bool, points: np.ndarray, pairs: np.ndarray, colour: str) -> None:
        on = on and len(pairs) > 0
        if on:
            assign(mark, **_places(points), lines=pairs, color=np.tile(shapes.rgb(colour), (len(points), 1)))
        self.show(mark, on)

    def tracks(
        self, scene: SurfaceScene, heights: list[np.ndarray], at: np.ndarray, unit: np.ndarray, frame: int
    ) -> list[TrackMarks]:
        """Draw the tracks and return those that are new."""
        new = []
        for track, height in zip(scene.tracks, heights, strict=True):
            if track.name not in self.known:
                self.known[track.name] = TrackMarks(self)
                new.append(self.known[track.name])
            marks = self.known[track.name]
            inside = np.where(np.isfinite(height), height, np.nanmax(height) if np.isfinite(height).any() else 0.0)
            marks.draw(track, np.column_stack([track.xy[:, 0], inside, track.xy[:, 1]]), scene.height(track.xy), at, unit)
            for mark in marks.all():
                assign(mark, sequence_index=frame)
                self.show(mark, True)
        for name in self.known.keys() - {track.name for track in scene.tracks}:
            self.known[name].hide(self)
        return new

    def paths(self, scene: SurfaceScene, unit: np.ndarray) -> None:
        """Lay paths of the plane on the surface."""
        for name in {*scene.paths, *self.path_marks}:
            if name not in self.path_marks:
                self.path_marks[name] = self.mesh(self.matt())
            mark = self.path_marks[name]
            points = _on_surface(scene, scene.paths.get(name, np.empty((0, 2))), 0.006 * unit[1])
            if len(points) > 1:
                skin = (points[:, None] + shapes.tube_offsets(points, 0.005, unit)).reshape(-1, 3)
                colour = np.tile(shapes.rgb(KIND_COLOURS.get(name, OTHER)), (len(skin), 1))
                assign(mark, **_places(skin), triangles=shapes.tube_triangles(len(points)), color=colour)
            self.show(mark, len(points) > 1)

    def points(self, scene: SurfaceScene, unit: np.ndarray) -> None:
        """Put pins into the marked places."""
        for name in {*scene.points, *self.point_marks}:
            if name not in self.point_marks:
                self.point_marks[name] = self.scatter(), self.mesh(self.matt(), lines=True)
            ball, stem = self.point_marks[name]
            place = scene.points.get(name)
            foot = _on_surface(scene, np.array([place]), 0.0) if place is not None else np.empty((0, 3))
            if len(foot):
                top, colour = foot + np.array([0.0, _PIN * unit[1], 0.0]), shapes.rgb(_POINTS.get(name, OTHER))
                assign(ball, **_places(top), size=3.4, color=colour[None])
                assign(stem, **_places(np.concatenate([foot, top])), lines=shapes.chain(2), color=np.tile(colour, (2, 1)))
            for mark in (ball, stem):
                self.show(mark, len(foot) > 0)


def _on_surface(scene: SurfaceScene, xy: np.ndarray, lift: float) -> np.ndarray:
    """Return points of the plane on the surface, shape (N, 3), without those outside the grid; lines get places between them."""
    xy = np.asarray(xy, float).reshape(-1, 2)
    if len(xy) > 1:
        fine = np.linspace(0, len(xy) - 1, max(len(xy), 81))
        xy = np.stack([np.interp(fine, np.arange(len(xy)), xy[:, axis]) for axis in (0, 1)], 1)
    height = scene.height(xy) if len(xy) else np.empty(0)
    keep = np.isfinite(height)
    return np.column_stack([xy[:, 0], height + lift, xy[:, 1]])[keep]
