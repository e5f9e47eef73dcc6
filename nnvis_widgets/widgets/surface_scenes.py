"""What the pictures of a surface explorer are given, as data.

May import: core, results, views. Nothing here changes anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.plane import Plane
from ..results import PathResult, Trajectory
from ..views.surface_scene import SurfaceScene, Track
from ..views.theme import SERIES
from .surface_choice import paths_on

if TYPE_CHECKING:
    from .surface_explorer import SurfaceExplorer


def scene_of(explorer: SurfaceExplorer) -> SurfaceScene | None:
    """Return everything that the pictures show; None before the first surface."""
    surface = explorer.surface
    if surface is None:
        return None
    quantity = explorer.quantity if explorer.quantity in ("loss", *surface.metrics) else "loss"
    plane = plane_with_paths(explorer)
    points = {name: point for name, point in (("A", explorer.point), ("B", explorer.other)) if point is not None}
    return SurfaceScene(
        surface=surface, quantity=quantity, scale=explorer.scale, levels=explorer.levels, colours=explorer.colours,
        tracks=_tracks(explorer, quantity) if explorer.trajectory else (), paths=paths_on(plane) if plane is not None else {},
        points=points, along=along(explorer), epoch=explorer.epoch,
    )  # fmt: skip


def plane_with_paths(explorer: SurfaceExplorer) -> Plane | None:
    """Return the plane if both paths lie in it and are to be seen."""
    known = explorer.study.known(explorer.plane_choice) if explorer.study is not None else None
    return known[0] if known is not None and explorer.paths and explorer.plane_kind == "three-point" else None


def along(explorer: SurfaceExplorer) -> dict[str, tuple[float, float]]:
    """Return how far one has gone along each path."""
    plane = plane_with_paths(explorer)
    if plane is None or explorer.alpha is None:
        return {}
    return {kind: (float(at[0, 0]), float(at[0, 1])) for kind, at in paths_on(plane, [explorer.alpha]).items()}


def trajectories(explorer: SurfaceExplorer) -> dict[str, Trajectory]:
    """Return the runs on the plane of the picture."""
    surface = explorer.surface
    if surface is None:
        return {}
    known = explorer.study.known(explorer.plane_choice) if explorer.study is not None else None
    if known is not None and known[0].digest == surface.plane.get("digest"):
        return known[1]
    if surface.trajectory is None or surface.off_plane is None or surface.epochs is None:
        return {}
    return {"run": Trajectory(surface.trajectory, surface.off_plane, None, surface.epochs)}


def _tracks(explorer: SurfaceExplorer, quantity: str) -> tuple[Track, ...]:
    tracks, found = [], trajectories(explorer)
    for number, (name, trajectory) in enumerate(found.items()):
        measured = explorer.results.get(f"training {name}")
        values = None
        if isinstance(measured, PathResult) and quantity in ("loss", *measured.metrics):
            values = measured.values(quantity)[0]
        colour = "#FFFFFF" if len(found) == 1 else SERIES[(number + 1) % len(SERIES)]
        tracks.append(Track(name, trajectory.xy, trajectory.off_plane, trajectory.epochs, values, colour))
    return tuple(tracks)
