"""The ground that trajectories are drawn on: colours and heights of a surface, in two and in three dimensions, with its words.

May import: export.scale, results. Trajectories themselves: export.surfaces (still) and export.animation (moving).
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import MaxNLocator
from scipy.interpolate import RegularGridInterpolator

from ..results import COLOURS, LINES, SurfaceResult, Trajectory, caption
from .files import Picture
from .scale import Scale

CMAP = "cividis"
OWN = "recorded run"
HUES = ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#0072B2")
END = "#D55E00"
_WIDTH, _RATIOS = 5.0, (1 / 3, 1.4)
_UNITS = "Euclidean distance in weight space"
_SHARES = 6 / np.pi**2 * np.array([1.0, 0.25])  # of a long random walk (Antognini and Sohl-Dickstein, 2018)


class Landscape:
    """A figure with all that stands still: the surface, its centre, the paths of a three-point plane, title, caption, legend.

    Parameters
    ----------
    surface : SurfaceResult
    quantity : str
    runs : mapping of str to Trajectory
        Named in legend and caption; not drawn.
    view : {"2d", "3d"}
    log : bool, optional
    levels : int
    """

    def __init__(
        self, surface: SurfaceResult, quantity: str, runs: Mapping[str, Trajectory], view: str, log: bool | None, levels: int
    ):
        if not isinstance(surface, SurfaceResult):
            raise TypeError(f"surface: as nv.measure_surface returns it, received a {type(surface).__name__}")
        if view not in ("2d", "3d"):
            raise ValueError(f"view: '2d' or '3d', received {view!r}")
        self.surface, self.flat, self.runs = surface, view == "2d", dict(runs)
        self.scale = Scale.of(surface, quantity, log)
        values, _ = surface.values(quantity)
        self._heights = self.scale.heights(values)
        width, height = np.ptp(surface.x), np.ptp(surface.y)
        # distances are to be seen as they are, unless the picture would become a ribbon
        self._true = bool(_RATIOS[0] <= height / width <= _RATIOS[1])
        # where other runs are compared, the three points are theirs and not those of two paths
        self._paths = {} if set(runs) - {OWN} else three_point_paths(surface.plane)
        lines, handles = textwrap.wrap("; ".join(self._caption(values)), 96), self._legend()
        # inches, laid out by hand: what a layout engine finds changes with every title
        columns = 3 if len(handles) < 8 else 4
        words = 0.14 + 0.155 * len(lines)
        under = words + 0.21 * math.ceil(len(handles) / columns)
        below = under + (0.54 if self.flat else 0.06)
        tall = (_WIDTH * (height / width if self._true else 0.8)) if self.flat else 5.2
        whole, left = below + tall + 0.66, 0.8 if self.flat else 0.3
        wide = left + _WIDTH + (1.1 if self.flat else 1.2)
        called = f"surface_figure{'' if self.flat else '_3d'}(*results, {quantity!r}, log={log!r}, levels={levels!r})"
        self.figure = Picture(called, [surface], figsize=(wide, whole))
        place = (left / wide, below / whole, (_WIDTH if self.flat else wide - 2 * left) / wide, tall / whole)
        self.axes: Any = self.figure.add_axes(place, projection=None if self.flat else "3d")
        self._bar = ((left + _WIDTH + 0.15) / wide, place[1], 0.18 / wide, place[3])
        (self._draw_flat if self.flat else self._draw_solid)(levels)
        title = f"{self.scale.quantity} on the {plane_words(surface.plane)}"
        self.figure.suptitle(title, fontsize="large", y=1 - 0.1 / whole)
        self.figure.text(0.5, 0.08 / whole, "\n".join(lines), fontsize="small", color="0.25", ha="center", va="bottom")
        self.figure.legend(
            handles=handles, fontsize="small", frameon=False, ncols=min(columns, len(handles)), loc="upper center",
            bbox_to_anchor=(0.5, under / whole), borderaxespad=0.0,
        )  # fmt: skip

    def place(self, xy: np.ndarray, values: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        """Return coordinates for the axes of points of the plane: x, y, and in three dimensions the height.

        The height is that of `values` where they are given, else that of the surface; NaN outside of the grid.
        """
        x, y = np.asarray(xy, dtype=float).T
        if self.flat:
            return x, y
        if values is None:
            heights = RegularGridInterpolator((self.surface.y, self.surface.x), self._heights, bounds_error=False)(xy[:, ::-1])
        else:
            heights = np.where(self._inside(xy), self.scale.heights(values), np.nan)
        return x, y, heights

    def _draw_flat(self, levels: int) -> None:
        axes, surface, scale = self.axes, self.surface, self.scale
        edges = (surface.x[0], surface.y[0]), np.ptp(surface.x), np.ptp(surface.y)
        axes.add_patch(Rectangle(*edges, facecolor="0.85", edgecolor="0.6", hatch="///", linewidth=0, zorder=0))
        if np.isfinite(self._heights).any():
            shown, steps = np.ma.masked_invalid(self._heights), np.linspace(scale.low, scale.high, max(levels, 3))
            ends = {"cmap": CMAP, "extend": "max"} if scale.cut is not None else {"cmap": CMAP}
            drawn = axes.contourf(surface.x, surface.y, shown, steps, zorder=1, **ends)
            axes.contour(surface.x, surface.y, shown, steps[1:-1], colors="black", linewidths=0.4, alpha=0.45, zorder=1.5)
            places, labels = scale.ticks()
            bar = self.figure.colorbar(drawn, cax=self.figure.add_axes(self._bar), label=scale.words())
            bar.set_ticks(places, labels=labels)
            bar.ax.minorticks_off()
        if self._true:
            axes.set_aspect("equal")
        axes.set(xlim=(surface.x[0], surface.x[-1]), ylim=(surface.y[0], surface.y[-1]), xlabel=self._label("x"), ylabel="y")
        for kind, xy in self._paths.items():
            axes.plot(*xy.T, LINES[kind], color=COLOURS[kind], linewidth=1.8, zorder=2, path_effects=halo(3.4))

    def _draw_solid(self, levels: int) -> None:
        axes, surface, scale = self.axes, self.surface, self.scale
        axes.computed_zorder = False  # lines over the surface stay in sight
        grid = np.meshgrid(surface.x, surface.y)
        if np.isfinite(self._heights).any():
            axes.plot_surface(
                *grid, np.ma.masked_invalid(self._heights).filled(np.nan), cmap=CMAP, norm=Normalize(scale.low, scale.high),
                rcount=len(surface.y), ccount=len(surface.x), linewidth=0.15, edgecolor=(0, 0, 0, 0.35), antialiased=True, zorder=1,
            )  # fmt: skip
        floor = scale.low - 0.25 * (scale.high - scale.low)
        if np.isfinite(self._heights).any():
            axes.contour(
                *grid, np.ma.masked_invalid(self._heights), np.linspace(scale.low, scale.high, max(levels // 2, 3)),
                zdir="z", offset=floor, cmap=CMAP, linewidths=0.7, zorder=0.5,
            )  # fmt: skip
        axes.set(xlim=(surface.x[0], surface.x[-1]), ylim=(surface.y[0], surface.y[-1]), zlim=(floor, scale.high))
        axes.set(xlabel=self._label("x", short=True), ylabel="y")
        axes.set_zlabel(scale.words())
        places, labels = scale.ticks()
        axes.set_zticks(places, labels=labels)
        axes.set_box_aspect((4, 4, 3), zoom=0.94)
        axes.view_init(elev=32, azim=-58)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5))
            axis.labelpad = 8
        for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
            axis.pane.set_facecolor((0.97, 0.97, 0.97, 1.0))
            axis._axinfo["grid"].update(color=(0, 0, 0, 0.12), linewidth=0.5)
        for kind, xy in self._paths.items():
            axes.plot(*self.place(xy), LINES[kind], color=COLOURS[kind], linewidth=1.8, zorder=2, path_effects=halo(3.4))

    def _label(self, name: str, short: bool = False) -> str:
        plane = self.surface.plane
        if plane.get("kind") == "random":
            units = "1: as large as the weights" if plane.get("normalize") else "1: one standard normal number a weight"
        elif np.allclose(plane.get("lengths", [0, 0]), 1.0, rtol=1e-3):
            units = "distance" if short else _UNITS
        else:
            units = "lengths of the directions"
        axes = "" if self._true or not self.flat else "; the axes have different scales"
        return f"{name} ({units}{axes})"

    def _caption(self, values: np.ndarray) -> list[str]:
        surface = self.surface
        parts = [caption(surface.provenance, int(surface.n.max())) + surface._words(values)]
        if surface.fraction < 1:
            parts.append(f"{surface.fraction:.0%} of the work done")
        if surface.plane.get("cosine") is not None:
            parts.append(f"cos(x, y) = {abs(surface.plane['cosine']):.4f}")
        if surface.plane.get("explained") is not None:
            one, two = (f"{share:.1%}" for share in surface.plane["explained"])
            parts.append(f"the axes hold {one} + {two} of the run's variance (a random walk: {_SHARES[0]:.0%} + {_SHARES[1]:.0%})")
        for name, run in self.runs.items():
            about = "" if name == OWN else f"{name}: "
            off, most = run.off_plane[0], np.nanmax(run.off_plane)
            parts.append(f"{about}off the plane is {off:.0%} of the start's distance to the centre, at most {most:.0%}")
            outside = int((~self._inside(run.xy)).sum())
            if outside:
                parts.append(f"{about}{outside} of {len(run.xy)} checkpoints outside of the picture")
        return parts

    def _inside(self, xy: np.ndarray) -> np.ndarray:
        x, y = self.surface.x, self.surface.y
        return (xy[:, 0] >= x[0]) & (xy[:, 0] <= x[-1]) & (xy[:, 1] >= y[0]) & (xy[:, 1] <= y[-1])

    def _legend(self) -> list[Line2D]:
        handles = []
        for (name, run), hue in zip(self.runs.items(), run_hues(self.runs), strict=True):
            handles.append(Line2D([], [], color=hue, marker="o", markersize=5, label=f"{name} ({len(run.xy)} checkpoints)"))
        if self.runs:
            dot: dict[str, Any] = {"linestyle": "", "markeredgecolor": "white", "markeredgewidth": 0.6}
            near, far = dot_sizes(np.array([0.0, 1.0])) ** 0.5
            ring: dict[str, Any] = {"markerfacecolor": "white", "markeredgecolor": "black", "markersize": 8, "markeredgewidth": 1.6}
            handles.append(Line2D([], [], marker="o", color="black", markersize=near, label="in the plane", **dot))
            handles.append(Line2D([], [], marker="o", color="black", markersize=far, label="far off the plane", **dot))
            handles.append(Line2D([], [], marker="o", linestyle="", label="start", **ring))
        handles.append(Line2D([], [], color=END, marker="*", markersize=12, label="end" if self.runs else "centre", **_EDGE))
        for kind in self._paths:
            dash: Any = LINES[kind]
            handles.append(Line2D([], [], color=COLOURS[kind], linestyle=dash, label=f"{kind} path"))

        return handles


_EDGE: dict[str, Any] = {"linestyle": "", "markeredgecolor": "white"}


def run_hues(runs: Mapping[str, Any]) -> list[str]:
    """Return a colour for each run: black for one, Okabe and Ito's for several."""
    return ["black"] if len(runs) == 1 else [HUES[i % len(HUES)] for i in range(len(runs))]


def dot_sizes(off_plane: np.ndarray) -> np.ndarray:
    """Return areas of dots, in points squared: the more of a checkpoint's distance lies off the plane, the smaller."""
    return 9.0 + 39.0 * (1 - np.clip(np.nan_to_num(off_plane, nan=1.0), 0, 1)) ** 2


def halo(width: float) -> list[Any]:
    """Return path effects that keep a line readable on any ground."""
    return [Stroke(linewidth=width, foreground="white"), Normal()]


def three_point_paths(plane: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the linear path from a to c and the quadratic path through b, points (101, 2) each; of other planes none."""
    if plane.get("kind") != "three points" or "points" not in plane:
        return {}
    points = np.array([plane["points"][name] for name in "abc"])
    alphas = np.linspace(0.0, 1.0, 101)[:, None]
    parabola = np.hstack([2 * (alphas - 0.5) * (alphas - 1), 4 * alphas * (1 - alphas), 2 * alphas * (alphas - 0.5)])
    return {"linear": np.hstack([1 - alphas, 0 * alphas, alphas]) @ points, "quadratic": parabola @ points}


def plane_words(plane: Mapping[str, Any]) -> str:
    """Return what a plane is, in a few words."""
    kind = plane.get("kind", "")
    if kind == "random":
        normalize = plane.get("normalize")
        return f"random plane ({f'{normalize}-normalised' if normalize else 'not normalised'}, seed {plane.get('seed')})"
    return {"pca": "plane of the run's principal components", "three points": "plane through three states"}.get(
        kind, f"{kind} plane"
    )
