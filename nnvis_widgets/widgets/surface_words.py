"""The sentences of a surface explorer: what the picture shows, what it cannot show, and what a point answered.

May import: results, views. Nothing here changes anything.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.plane import Plane
from ..results import Inspection, SurfaceResult, Trajectory, caption
from ..views.surface_scene import SurfaceScene

if TYPE_CHECKING:
    from .surface_explorer import SurfaceExplorer

NAMES = {
    "three-point": "Through start, mid and end of the run: holds the linear and the quadratic path exactly.",
    "pca": "The two directions along which the checkpoints vary most, through the trained model.",
    "random": "Two random directions through the trained model: one slice of very many.",
    "hessian": "The eigenvectors of the largest and the smallest eigenvalue of the Hessian at the trained model.",
    "runs": "Through the ends of two runs and the start of the first.",
}
_SHOWN = {"three points": "three-point", "pca": "PCA", "hessian": "Hessian"}
FAR = 0.3  # share of a checkpoint's distance outside the plane from which a warning is worth a line


def heading(explorer: SurfaceExplorer) -> str:
    """Return what the plane is, in one sentence, with what may be turned into numbers of it."""
    surface = explorer.surface
    if surface is None:
        return ""
    about = surface.plane
    kind = str(about.get("kind", ""))
    parts = [f"<b>{html.escape(_SHOWN.get(kind, kind))} plane</b>"]
    if "seed" in about and kind == "random":
        scaled = f"{about['normalize']}-normalised" if about.get("normalize") else "not normalised"
        parts.append(f"seed {about['seed']}, {scaled}" + (", biases stay" if about.get("ignore_1d") else ""))
    if about.get("explained"):
        first, second = about["explained"]
        parts.append(f"explains {first:.0%} + {second:.0%} of the run's variance (a random walk: 61% + 15%)")
    if about.get("eigenvalues"):
        high, low = about["eigenvalues"]
        unsure = "" if about.get("converged", True) else ", not converged"
        parts.append(f"curvature {high:.3g} and {low:.3g}{unsure}")
    cosine = about.get("cosine", 0.0)
    parts.append("orthogonal directions" if abs(cosine) < 1e-6 else f"cos(x, y) = {cosine:.2g}")
    return "; ".join(parts)


def state_line(explorer: SurfaceExplorer) -> str:
    """Return the honesty strip: samples, split, BatchNorm policy, uncertainty, what is not finite, what is outside the plane."""
    surface = explorer.surface
    if surface is None:
        return ""
    error = _typical_error(surface, explorer.quantity)
    parts = [caption(surface.provenance, int(surface.n.max())), "seeds: 1"]
    if error is not None:
        parts.append(f"a difference to the centre is known to &plusmn;{2 * error:.2g} (median, two standard errors)")
    missing = int((surface.n == 0).sum())
    scene = explorer.scene()
    if missing:
        parts.append(f"{missing} of {surface.n.size} cells are still interpolated (paler)")
    if scene is not None and scene.diverged:
        parts.append(f"{scene.diverged} cells are not finite (grey)")
    zeros = surface.plane.get("zero_filters")
    if zeros:
        parts.append(f"{zeros} filters of zeros do not move")
    return "; ".join(parts) + _outside(explorer)


def _typical_error(surface: SurfaceResult, quantity: str) -> float | None:
    errors = surface.values(quantity)[1]
    errors = errors[np.isfinite(errors) & (errors > 0)]
    return float(np.median(errors)) if errors.size else None


def _outside(explorer: SurfaceExplorer) -> str:
    """Return the warning that most pictures of this kind lack: how much of the way is not in the plane."""
    surface = explorer.surface
    if surface is None or not explorer.trajectory or surface.off_plane is None or surface.epochs is None:
        return ""
    if surface.trajectory is None or not len(surface.trajectory):
        return ""
    off = np.nan_to_num(surface.off_plane, nan=1.0)
    distances = _outside_distances(surface.trajectory, off, surface.plane)
    far = np.flatnonzero(off >= FAR)
    if not far.size:
        return ""
    worst = int(far[np.argmax(distances[far])])
    return (
        f"<br><b>{off[worst]:.0%} of the distance of epoch {surface.epochs[worst]:g} to the centre is outside this plane</b>: "
        "the line is its shadow, and the surface below it is not the loss that training saw (smaller dots are farther away)."
    )


def _outside_distances(xy: np.ndarray, off: np.ndarray, plane: Mapping[str, Any]) -> np.ndarray:
    """Return how far from the plane checkpoints are, from where they lie in it and their shares outside."""
    (one, two), cosine = plane.get("lengths") or (1.0, 1.0), plane.get("cosine", 0.0)
    x, y = xy[:, 0] * one, xy[:, 1] * two
    inside = np.sqrt(np.maximum(x**2 + y**2 + 2 * x * y * cosine, 0.0))
    return inside * off / np.sqrt(np.maximum(1 - off**2, 1e-12))


def curvatures(surface: SurfaceResult, quantity: str = "loss") -> tuple[float, float]:
    """Return the second derivatives along x and y at the centre, from differences of neighbouring cells; NaN without a centre."""
    values = surface.values(quantity)[0]
    row, column = int(np.argmin(np.abs(surface.y))), int(np.argmin(np.abs(surface.x)))
    inside = 0 < row < len(surface.y) - 1 and 0 < column < len(surface.x) - 1
    if surface.x[column] or surface.y[row] or not inside:
        return float("nan"), float("nan")
    center = values[row, column]
    along_x = (values[row, column + 1] + values[row, column - 1] - 2 * center) / (surface.x[column + 1] - surface.x[column]) ** 2
    along_y = (values[row + 1, column] + values[row - 1, column] - 2 * center) / (surface.y[row + 1] - surface.y[row]) ** 2
    return float(along_x), float(along_y)


def axis_labels(plane: Plane | None, surface: SurfaceResult) -> tuple[str, str]:
    """Return what the two axes are, with their unit."""
    kind = surface.plane.get("kind")
    lengths = surface.plane.get("lengths") or [0.0, 0.0]
    if kind == "three points":
        return "from end to start (Euclidean distance)", "towards mid (Euclidean distance)"
    if kind == "pca":
        shares = surface.plane.get("explained") or [float("nan")] * 2
        return tuple(f"principal component {n + 1}, {share:.0%} (distance)" for n, share in enumerate(shares))  # type: ignore[return-value]
    if kind == "hessian":
        values = surface.plane.get("eigenvalues") or [float("nan")] * 2
        return f"eigenvector of {values[0]:.3g} (Euclidean distance)", f"eigenvector of {values[1]:.3g} (Euclidean distance)"
    if kind == "random" and surface.plane.get("normalize"):
        return "direction 1 (1 = length of the weights)", "direction 2 (1 = length of the weights)"
    unit = (
        "Euclidean distance" if all(abs(length - 1) < 1e-6 for length in lengths) else f"1 = {lengths[0]:.3g} and {lengths[1]:.3g}"
    )
    return f"direction 1 ({unit})", f"direction 2 ({unit})"


def point_words(name: str, found: Inspection, trained: Inspection | None) -> str:
    """Return what the model answered at a point: loss and metrics with intervals, and how far from the trained weights."""
    place = "" if found.point is None else f" ({found.point[0]:.4g}, {found.point[1]:.4g})"
    low, high = found.loss - 1.96 * found.loss_se, found.loss + 1.96 * found.loss_se
    items = [f"<b>{html.escape(name)}</b>{place}", f"loss {found.loss:.4g} [{low:.4g}, {high:.4g}]"]
    for metric, value in found.metrics.items():
        items.append(f"{html.escape(metric)} {value:.2%} [{found.metrics_low[metric]:.2%}, {found.metrics_high[metric]:.2%}]")
    if found.distance is not None:
        items.append(f"distance to the trained weights {found.distance:.4g}")
    if trained is not None and found.predicted is not None:
        items.append(f"{len(found.changed(trained))} of {found.n} predictions differ from the trained model's")
    return " ".join(f"<span class='item'>{item}</span>" for item in items)


def summary(explorer: SurfaceExplorer, scene: SurfaceScene | None, trajectories: Mapping[str, Trajectory]) -> str:
    """Return the picture in words, for screen readers."""
    surface = explorer.surface
    if surface is None or scene is None:
        return "no surface yet"
    values = scene.raw[np.isfinite(scene.raw)]
    span = f"from {values.min():.3g} to {values.max():.3g}" if values.size else "not finite"
    runs = f"; {len(trajectories)} training runs drawn on it" if trajectories else ""
    return f"{surface.plane.get('kind', '')} plane, {len(surface.y)} by {len(surface.x)} points, {scene.quantity} {span}{runs}"
