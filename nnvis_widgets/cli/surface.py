"""``python -m nnvis_widgets surface``: planes through the trained weights, as tables, figures and animations, one by one."""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import Any

import numpy as np
import pandas

from ..core.directions import random_plane, three_point_plane
from ..core.evaluator import Evaluator
from ..core.plane import Plane, PlaneError
from ..core.principal import pca_plane
from ..experiments.surfaces import iter_surface
from ..experiments.training import iter_training
from ..export import animate_trajectory, file_stem, surface_figure, surface_figure_3d
from ..export.animation import find_imageio
from ..results import PathResult, SurfaceResult, Trajectory
from ..runs.run import Run
from .groups import EPOCHS
from .options import Refused
from .output import Output, carry_out, checked_folder, progress_bar
from .plan import check_mid, mid_index
from .sources import blank_demo, check_source, importable, open_demo, open_recorded

LEAST = {"pca": 3, "three-point": 3}  # checkpoints


def surface(options: argparse.Namespace) -> int:
    """Check everything, then work; return the exit code."""
    folder = checked_folder(options)
    check_source(options)
    _check_pictures(options)
    with importable(os.getcwd()):
        recorded = open_recorded(options) if options.demo is None else None
        kinds = _kinds(options, len(recorded[1]) if recorded else (options.epochs or EPOCHS) + 1)
        planes: dict[str, Plane] = {}
        if recorded:
            planes = _planes(kinds, options, *recorded)
            _check_grid(options, recorded[0], next(iter(planes.values()), None))
        else:
            blank = blank_demo(options)
            _check_grid(options, blank, random_plane(blank.model, normalize=None))

        def work(output: Output) -> None:
            output.doing = "training the demo"
            with progress_bar("training", 1, options.quiet) as bar:
                evaluator, run = recorded or open_demo(options, lambda epoch, epochs: bar.show(epoch / epochs))
            output.doing = "choosing the planes"
            made = planes or _planes(kinds, options, evaluator, run)
            left = [kind for kind in kinds if kind in made or kind == "hessian"]
            with progress_bar("measuring", len(left) + 1, options.quiet) as bar:
                output.doing = "measuring the recorded checkpoints"
                dots = bar.drain(iter_training(evaluator, run))
                output.result("training", dots)
                for kind in left:
                    output.doing = f"choosing the {kind} plane"
                    plane = made.get(kind) or _plane(kind, options, evaluator, run)
                    output.doing = f"locating the run on the {kind} plane"
                    trajectory = plane.project(run)
                    output.table(f"{kind}-trajectory", _located(trajectory, dots))
                    output.doing = f"measuring the {kind} plane"
                    began = time.perf_counter()
                    result = bar.drain(iter_surface(evaluator, plane, resolution=options.resolution, span=options.span))
                    seconds = time.perf_counter() - began
                    result = result.with_trajectory(trajectory)
                    output.result(f"{kind}-surface", result)
                    output.summed_up(_summary(kind, plane, result, trajectory, seconds))
                    output.doing = f"drawing the {kind} plane"
                    _draw(kind, result, dots, output, options)

        return carry_out(folder, options, work)


def _draw(kind: str, result: SurfaceResult, dots: PathResult, output: Output, options: argparse.Namespace) -> None:
    for quantity in ("loss", *result.metrics):
        output.figure(f"{kind}-{file_stem(quantity)}", surface_figure(result, quantity))
    output.figure(f"{kind}-loss-3d", surface_figure_3d(result, losses=dots.loss))
    if options.animate:
        name = f"{kind}-training.{options.animate}"
        output.file(name, lambda path: animate_trajectory(result, path, losses=dots.loss, view=options.view or "2d"))


def _kinds(options: argparse.Namespace, checkpoints: int) -> list[str]:
    """Return which planes to measure, in the order of the work, or refuse what the run does not allow."""
    for kind in options.plane:
        if checkpoints < LEAST.get(kind, 1):
            raise Refused(
                f"argument --plane: {kind} needs {LEAST[kind]} checkpoints, and this run holds {checkpoints}; --plane random works"
            )
    kinds = list(dict.fromkeys(options.plane)) or [
        kind for kind in ("random", "pca", "three-point") if checkpoints >= LEAST.get(kind, 1)
    ]
    for name, value, those in (
        ("--normalize", options.normalize, ("random",)),
        ("--plane-seed", options.plane_seed, ("random", "hessian")),
        ("--mid", options.mid, ("three-point",)),
    ):
        if value is not None and not set(those) & set(kinds):
            raise Refused(f"argument {name}: only with --plane {' or '.join(those)}; received --plane {' '.join(kinds)}")
    if options.mid is not None:
        check_mid(options.mid, checkpoints)
    return kinds


def _planes(kinds: list[str], options: argparse.Namespace, evaluator: Evaluator, run: Run) -> dict[str, Plane]:
    """Return the planes that are made at once; one that was not asked for by name may be impossible, which is told."""
    made = {}
    for kind in kinds:
        if kind == "hessian":
            continue  # takes as long as a surface: when its turn comes
        try:
            made[kind] = _plane(kind, options, evaluator, run)
        except ValueError as error:
            if options.plane or not isinstance(error, PlaneError) or kind == "random":
                raise Refused(f"argument {'--plane' if options.plane else '--run'}: {kind}: {error}") from error
            print(f"no {kind} plane: {error}", file=sys.stderr)
    return made


def _plane(kind: str, options: argparse.Namespace, evaluator: Evaluator, run: Run) -> Plane:
    seed = options.plane_seed or 0
    if kind == "pca":
        return pca_plane(run, model=evaluator.model)
    if kind == "three-point":
        middle = run[mid_index(options.mid or "half", run)].state
        return three_point_plane(run.initial, middle, run.final, model=evaluator.model)
    if kind == "hessian":
        import nnvis_widgets

        return nnvis_widgets.hessian_plane(evaluator, run.final, seed=seed)
    normalize = None if options.normalize == "none" else options.normalize or "filter"
    return random_plane(run.final, normalize=normalize, seed=seed, model=evaluator.model)


def _check_grid(options: argparse.Namespace, evaluator: Evaluator, plane: Plane | None) -> None:
    if plane is None:
        return
    try:
        iter_surface(evaluator, plane, resolution=options.resolution, span=options.span)
    except ValueError as error:
        about, _, rest = str(error).partition(": ")
        if about == "batchnorm" and options.batchnorm:
            raise Refused(f"argument --batchnorm: {rest}") from error
        raise Refused(f"argument {'--source' if options.demo is None else '--demo'}: {error}") from error


def _check_pictures(options: argparse.Namespace) -> None:
    if options.view is not None and options.animate is None:
        raise Refused(f"argument --view: only with --animate gif or mp4; received --view {options.view}")
    if options.animate == "mp4":
        try:
            find_imageio()
        except ModuleNotFoundError as error:
            raise Refused(f"argument --animate: {str(error).partition(': ')[2]}") from error


def _located(trajectory: Trajectory, dots: PathResult) -> pandas.DataFrame:
    """Return where each checkpoint lies, with its own loss and metrics, not those of the point of the plane."""
    return trajectory.to_pandas().assign(loss=dots.loss, **dots.metrics)


def _summary(kind: str, plane: Plane, result: SurfaceResult, trajectory: Trajectory, seconds: float) -> dict[str, Any]:
    finite = result.loss[np.isfinite(result.loss)]
    explained, walk = plane.explained, plane.random_walk
    about = result.provenance
    return {
        "plane": kind, "normalize": plane.about.get("normalize"), "seed": plane.about.get("seed", ""), "cosine": plane.cosine,
        "loss_at_center": result.center_loss,
        "loss_min": finite.min() if finite.size else np.nan,
        "loss_max": finite.max() if finite.size else np.nan,
        "not_finite": int(result.loss.size - finite.size),
        "explained_x": np.nan if explained is None else explained[0],
        "explained_y": np.nan if explained is None else explained[1],
        "random_walk_x": np.nan if walk is None else walk[0],
        "random_walk_y": np.nan if walk is None else walk[1],
        "off_plane_at_start": trajectory.off_plane[0], "off_plane_max": np.nanmax(trajectory.off_plane),
        "x_low": result.x[0], "x_high": result.x[-1], "y_low": result.y[0], "y_high": result.y[-1],
        "points_x": len(result.x), "points_y": len(result.y), "n": int(result.n.max()),
        "split": about["split"], "batchnorm": about["batchnorm"], "device": about["device"],
        "seconds": seconds, "file": f"{kind}-surface.safetensors",
    }  # fmt: skip
