"""The marks of the flat view: made once, changed by what a scene holds.

May import: bqplot, numpy, ground, plot, raster, surface_scene, theme.
"""

from __future__ import annotations

from collections.abc import Sequence

import bqplot as bq
import numpy as np

from . import ground
from .plot import NOTHING, assign
from .raster import Raster
from .surface_scene import SurfaceScene, Track
from .theme import KIND_COLOURS, KIND_DASHES, OTHER

_HALO, _PAPER = "#000000", "#FFFFFF"
_PATHS = ("linear", "quadratic")


class FlatMarks:
    """Image, isolines, paths, runs and marked points, in the order in which they are drawn."""

    def __init__(self, scales: dict[str, bq.Scale]):
        def line(**style) -> bq.Lines:
            return bq.Lines(x=NOTHING, y=NOTHING, scales=scales, visible=False, **style)

        def text(**style) -> bq.Label:
            return bq.Label(x=NOTHING[:1], y=NOTHING[:1], text=[""], scales=scales, visible=False, align="middle",
                            font_weight="bold", **style)  # fmt: skip

        self.raster = Raster(scales, visible=False)
        self._isolines = line(stroke_width=0.9)
        self._halo = line(colors=[_HALO], stroke_width=5.5, opacities=[0.85])
        self._runs = line(stroke_width=2.5)
        # a dashed way needs no black line beneath it: the gaps would close
        self._ways = {kind: line(colors=[KIND_COLOURS[kind]], line_style=KIND_DASHES[kind], stroke_width=3) for kind in _PATHS}
        self._ways["other"] = line(colors=[OTHER], line_style="dash_dotted", stroke_width=3)
        self._underlay = line(colors=[_PAPER], stroke_width=5, opacities=[0.75])
        self._between = [
            line(colors=[_HALO], stroke_width=4.5, opacities=[0.7]),
            line(colors=[_PAPER], stroke_width=2, line_style="dotted"),
        ]
        size = bq.LinearScale(min=0.0, max=1.0)
        dots = {"scales": scales, "visible": False, "marker": "circle", "stroke": _HALO}
        self._dots = bq.Scatter(
            x=NOTHING, y=NOTHING, **{**dots, "scales": {**scales, "size": size}}, size=NOTHING, default_size=64, stroke_width=1.2
        )
        self._starts = bq.Scatter(x=NOTHING, y=NOTHING, **dots, default_size=150, stroke_width=2.5)
        self._ends = text(default_size=26)
        self._along = bq.Scatter(x=NOTHING, y=NOTHING, **{**dots, "marker": "diamond"}, default_size=130, stroke_width=1.5)
        self._places = bq.Scatter(x=NOTHING, y=NOTHING, **dots, colors=[_PAPER], default_size=300, stroke_width=2)
        self._letters = text(default_size=13, colors=[_HALO])

    def all(self) -> list[bq.Mark]:
        """Return every mark, in the order of drawing."""
        below = [self.raster.mark, self._isolines, self._underlay]
        lines = [self._halo, self._runs, *self._ways.values(), *self._between]
        return [*below, *lines, self._dots, self._starts, self._ends, self._along, self._places, self._letters]

    def paint(self, scene: SurfaceScene, size: tuple[int, int]) -> None:
        """Draw colours, so many pixels wide and high, and isolines."""
        surface = scene.surface
        self.raster.show(ground.pixels(scene, *size), surface.x[[0, -1]].astype(float), surface.y[[0, -1]].astype(float))
        lines = ground.isolines(scene)
        inks = [ground.ink(scene, level) for level, _ in lines]
        self._isolines.colors = [colour for colour, _ in inks] or [_HALO]
        self._isolines.opacities = [opacity for _, opacity in inks]
        _draw_lines(self._isolines, [piece for _, piece in lines])

    def draw(self, scene: SurfaceScene) -> None:
        """Draw what lies on the ground."""
        self._draw_ways(scene)
        self._draw_runs(scene)
        _draw_points(self._along, [np.array([place]) for place in scene.along.values()], [KIND_COLOURS[k] for k in scene.along])
        self._draw_points(scene)

    def _draw_ways(self, scene: SurfaceScene) -> None:
        for kind, mark in self._ways.items():
            own = [way for name, way in scene.paths.items() if name == kind or (kind == "other" and name not in _PATHS)]
            _draw_lines(mark, own)
        _draw_lines(self._underlay, list(scene.paths.values()))

    def _draw_runs(self, scene: SurfaceScene) -> None:
        tracks = [track for track in scene.tracks if len(track.xy)]
        lines = [_line(track, scene.epoch) for track in tracks]
        self._runs.colors = [track.colour for track in tracks] or [_PAPER]
        _draw_lines(self._halo, lines)
        _draw_lines(self._runs, lines)
        counts = [reached(track, scene.epoch) for track in tracks]
        places = [track.xy[:count] for track, count in zip(tracks, counts, strict=True)]
        # area falls with what the projection hides; a checkpoint outside the plane altogether is still seen
        sizes = [1 - 0.85 * np.clip(np.nan_to_num(t.off_plane[:n]), 0, 1) for t, n in zip(tracks, counts, strict=True)]
        colours = [track.colour for track, count in zip(tracks, counts, strict=True) for _ in range(count)]
        _draw_points(self._dots, places, colours, size=np.concatenate(sizes) if sizes else NOTHING)
        own = [track.colour for track in tracks]
        _draw_points(self._starts, [track.xy[:1] for track in tracks], own)
        _draw_points(self._ends, [line[-1:] for line in lines], own, text=np.array(["★"] * len(tracks)))

    def _draw_points(self, scene: SurfaceScene) -> None:
        places = [np.array([place], dtype=float) for place in scene.points.values()]
        _draw_points(self._places, places)
        _draw_points(self._letters, places, text=np.array(list(scene.points)))
        both = [np.array([scene.points["A"], scene.points["B"]], dtype=float)] if {"A", "B"} <= set(scene.points) else []
        for mark in self._between:
            _draw_lines(mark, both)


def reached(track: Track, epoch: float | None) -> int:
    """How many checkpoints of a track are drawn; the first one always is."""
    return len(track.xy) if epoch is None else max(1, int((track.epochs <= epoch + 1e-9).sum()))


def _line(track: Track, epoch: float | None) -> np.ndarray:
    """The way of a run up to an epoch, between two checkpoints straight."""
    count = reached(track, epoch)
    line = track.xy[:count]
    if epoch is not None and count < len(track.xy) and epoch > track.epochs[count - 1]:
        share = (epoch - track.epochs[count - 1]) / (track.epochs[count] - track.epochs[count - 1])
        line = np.vstack([line, (1 - share) * track.xy[count - 1] + share * track.xy[count]])
    return line


def _draw_lines(mark: bq.Lines, lines: Sequence[np.ndarray]) -> None:
    """Several lines as one mark: bqplot wants a table, so a shorter line repeats its last point."""
    width = max((len(line) for line in lines), default=0)
    if not width:
        mark.visible = False
        return
    width = max(width, 2)
    table = np.stack([np.pad(np.asarray(line, dtype=float), ((0, width - len(line)), (0, 0)), mode="edge") for line in lines])
    x, y = (table[..., axis] if len(lines) > 1 else table[0, :, axis] for axis in (0, 1))
    assign(mark, True, x=x, y=y)


def _draw_points(mark: bq.Mark, places: Sequence[np.ndarray], colours: Sequence[str] = (), **arrays: np.ndarray) -> None:
    if not sum(map(len, places)):
        mark.visible = False
        return
    if colours:
        mark.colors = list(colours)
    xy = np.concatenate(places)
    assign(mark, True, x=xy[:, 0], y=xy[:, 1], **arrays)
