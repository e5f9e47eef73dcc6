"""Figures of surfaces: colours or relief, with the runs that lie there.

May import: export.landscape, results.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from ..results import SurfaceResult, Trajectory
from .landscape import END, OWN, Landscape, dot_sizes, halo, run_hues


def surface_figure(
    surface: SurfaceResult,
    quantity: str = "loss",
    *,
    runs: Mapping[str, Trajectory] | None = None,
    log: bool | None = None,
    levels: int = 24,
) -> Figure:
    """Return a surface as filled contours, with the runs on it.

    Parameters
    ----------
    surface : SurfaceResult
        With a run on it, where it was made so (`SurfaceResult.with_trajectory`). On a plane through three states the linear
        and the quadratic path are drawn too, unless other runs are given.
    quantity : str
        "loss" or the name of a metric.
    runs : mapping of str to Trajectory, optional
        Further runs, each in a colour of its own, e.g. ``{"adam": plane.project(other_run)}``.
    log : bool, optional
        Colours by the logarithm. Default: for a loss that is positive everywhere and spans more than a factor of 20.
    levels : int
        Of the contours.

    Returns
    -------
    matplotlib.figure.Figure
        The smaller a checkpoint's dot, the larger the share of its distance from the centre that is off the plane. Ring: start;
        star: end. Cells that are not finite or not measured are hatched. The caption says samples, split, BatchNorm policy,
        cosine of the directions, and for a principal plane its shares of the variance beside those of a random walk.

    Raises
    ------
    KeyError
        An unknown quantity.
    ValueError
        ``log=True`` for a quantity that is not positive everywhere.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> plane = nv.pca_plane(demo.run, model=demo.model)
    >>> surface = nv.measure_surface(demo.evaluator, plane, resolution=5).with_trajectory(plane.project(demo.run))
    >>> nv.surface_figure(surface, "accuracy").get_suptitle()
    "accuracy on the plane of the run's principal components"
    """
    return _drawn(surface, quantity, runs, "2d", None, log, levels)


def surface_figure_3d(
    surface: SurfaceResult,
    quantity: str = "loss",
    *,
    runs: Mapping[str, Trajectory] | None = None,
    losses: np.ndarray | None = None,
    log: bool | None = None,
    levels: int = 24,
) -> Figure:
    """Return a surface as a relief, the height being the quantity on the scale that its axis states.

    Parameters
    ----------
    surface, quantity, runs, log, levels
        As in `surface_figure`.
    losses : array_like, shape (T,), optional
        The quantity at the checkpoints of the surface's own run, as in ``nv.measure_training(evaluator, run).loss``: the dots
        are drawn there, with stems to the surface. Default: on the surface, where the projections lie.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> surface = nv.measure_surface(demo.evaluator, nv.random_plane(demo.model), resolution=5)
    >>> nv.surface_figure_3d(surface).axes[0].name
    '3d'
    """
    return _drawn(surface, quantity, runs, "3d", losses, log, levels)


def own_run(surface: SurfaceResult) -> Trajectory | None:
    """Return the run that a surface carries."""
    if surface.trajectory is None or surface.off_plane is None or surface.epochs is None:
        return None
    return Trajectory(surface.trajectory, surface.off_plane, None, surface.epochs)


def checked_losses(losses: object, count: int) -> np.ndarray | None:
    """Return losses as an array of one number for each checkpoint, or refuse them."""
    if losses is None:
        return None
    values = np.asarray(losses, dtype=float)
    if values.shape != (count,):
        raise ValueError(
            f"losses: one for each of the {count} checkpoints, such as nv.measure_training(evaluator, run).loss; received shape "
            f"{values.shape}"
        )
    return values


def _drawn(
    surface: SurfaceResult,
    quantity: str,
    runs: Mapping[str, Trajectory] | None,
    view: str,
    losses: np.ndarray | None,
    log: bool | None,
    levels: int,
) -> Figure:
    own = own_run(surface) if isinstance(surface, SurfaceResult) else None
    everything = ({OWN: own} if own else {}) | dict(runs or {})
    values = checked_losses(losses, len(own.xy) if own else 0)
    ground = Landscape(surface, quantity, everything, view, log, levels)
    axes = ground.axes
    for (name, run), hue in zip(everything.items(), run_hues(everything), strict=True):
        height = values if name == OWN else None
        at, feet = ground.place(run.xy, height), ground.place(run.xy)
        if height is not None:
            for point, foot in zip(np.transpose(at), np.transpose(feet), strict=True):
                axes.plot(*np.transpose([foot, point]), color=hue, linewidth=0.7, alpha=0.7, zorder=2.5)
        axes.plot(*at, color=hue, linewidth=1.1, zorder=3, path_effects=halo(2.3))
        more = {} if ground.flat else {"depthshade": False}
        axes.scatter(*at, s=dot_sizes(run.off_plane), color=hue, edgecolors="white", linewidths=0.6, zorder=4, **more)
        first, last = ([part[:1] for part in at], [part[-1:] for part in at])
        axes.plot(*first, "o", markersize=9, markerfacecolor="none", markeredgecolor=hue, markeredgewidth=1.8, zorder=5,
                  path_effects=halo(3.4))  # fmt: skip
        axes.plot(*last, "*", markersize=14, color=END if len(everything) == 1 else hue, markeredgecolor="white", zorder=6)
    if not everything:
        axes.plot(*ground.place(np.zeros((1, 2))), "*", markersize=14, color=END, markeredgecolor="white", zorder=6)
    return ground.figure
