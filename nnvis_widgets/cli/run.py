"""``python -m nnvis_widgets run``: paths of a training run into tables, figures and results, each file as soon as it is known."""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

import numpy as np
import pandas

from ..core.evaluator import Evaluator
from ..core.scope import Scope
from ..experiments.movement import measure_movement
from ..experiments.parameters import iter_parameters
from ..experiments.paths import iter_path
from ..experiments.training import iter_training
from ..export import file_stem, movement_figure, overview_figure, path_figure
from ..results import PathResult
from ..runs.run import Run
from .groups import EPOCHS, LAYER_KINDS
from .layers import Wanted, studied
from .output import Output, carry_out, checked_folder, progress_bar
from .parameters import written
from .plan import Plan, largest_moved, refusing, unique
from .sources import blank_demo, check_source, importable, open_demo, open_recorded


def run(options: argparse.Namespace) -> int:
    """Check everything, then work; return the exit code."""
    folder = checked_folder(options)
    check_source(options)
    with importable(os.getcwd()):
        if options.demo is not None:
            plan = Plan.of(options, blank_demo(options).layout, (options.epochs or EPOCHS) + 1)
            recorded = None
        else:
            evaluator, training = recorded = open_recorded(options)
            plan = Plan.of(options, evaluator.layout, len(training))
            _check_states(plan, evaluator, training)

        def work(output: Output) -> None:
            output.doing = "training the demo"
            with progress_bar("training", 1, options.quiet) as bar:
                source = recorded or open_demo(options, lambda epoch, epochs: bar.show(epoch / epochs))
            output.doing = "measuring"
            _measure(plan, *source, output, options.quiet)

        return carry_out(folder, options, work)


def _measure(plan: Plan, evaluator: Evaluator, training: Run, output: Output, quiet: bool) -> None:
    scopes = plan.scopes
    if plan.everything:
        weights = [largest_moved(scope, training, evaluator.layout) for scope in scopes if scope.level in ("layer", "tensor")]
        scopes = unique([*scopes, *(weight for weight in weights if weight is not None)])
    paths = plan.paths(training)
    dots: PathResult | None = None
    layers: dict[str, list[PathResult]] = {kind: [] for kind in paths}
    whole = any(scope.level == "model" for scope in scopes)
    with progress_bar("measuring", len(scopes) * len(paths) + whole, quiet) as bar:
        if whole:
            output.doing = "measuring the recorded checkpoints"
            dots = bar.drain(iter_training(evaluator, training))
            output.result("training", dots)
            output.summed_up(_summary("training", dots, Scope.parse(None, evaluator.layout)))
        for scope in scopes:
            stem, results = file_stem(scope.name, scope.level), []
            for kind, path in paths.items():
                output.doing = f"measuring the {kind} path of {scope.name}"
                result = bar.drain(iter_path(evaluator, path, plan.alphas(scope), scope=scope))
                output.result(f"{stem}-{kind}", result)
                output.summed_up(_summary(f"{stem}-{kind}", result, scope))
                results.append(result)
                if scope.level in ("model", "layer"):
                    layers[kind].append(result)
            output.figure(f"{stem}-paths", path_figure(results, dots if scope.level == "model" else None))
    output.doing = "drawing all layers in one plot"
    for kind, results in layers.items():
        if sum(result.scope != "model" for result in results) > 1:
            output.figure(f"layer-overview-{kind}", overview_figure(results))
    output.doing = "measuring how far the weights moved"
    tensors = [Scope.parse(name, evaluator.layout) for scope in scopes if scope.level == "layer" for name in scope.tensors]
    table = measure_movement(
        training, unique([*scopes, *(tensors if plan.everything else [])]), layout=evaluator.layout, mid=plan.mid_index(training)
    )
    output.table("movement", table.to_pandas())
    if plan.everything:
        output.figure("layer-overview-movement", movement_figure(table))
        wanted = Wanted(list(LAYER_KINDS))
        kinds = wanted.possible(evaluator, training)
        with progress_bar("layer by layer", len(kinds), quiet) as bar:
            output.table("layers-summary", pandas.DataFrame(studied(wanted, kinds, evaluator, training, output, bar)))
        output.doing = "measuring single weights"
        with progress_bar("weight by weight", 1, quiet) as bar:
            began = time.perf_counter()
            scan = bar.drain(iter_parameters(evaluator, training, mid=plan.mid_index(training)))
            output.table("parameters-summary", pandas.DataFrame([written(scan, output, time.perf_counter() - began)]))


def _summary(stem: str, result: PathResult, scope: Scope) -> dict[str, Any]:
    lowest = int(np.nanargmin(result.loss)) if np.isfinite(result.loss).any() else None
    row: dict[str, Any] = {
        "scope": result.scope, "level": scope.level, "kind": result.kind, "moved": result.distance > 0, "distance": result.distance,
        "relative_distance": result.relative_distance, "rho": result.rho, "eta": result.eta, "points": len(result.alphas),
        "alpha_low": result.alphas.min(), "alpha_high": result.alphas.max(), "n": result.n,
        "lowest_loss": np.nan if lowest is None else result.loss[lowest],
        "lowest_loss_alpha": np.nan if lowest is None else result.alphas[lowest],
    }  # fmt: skip
    for quantity in ("loss", *result.metrics):
        values, _ = result.values(quantity)
        row |= {
            f"{quantity}_at_{end}": values[at[0]] if len(at := np.flatnonzero(result.alphas == end)) else np.nan for end in (0, 1)
        }
    about = result.provenance
    return row | {
        "split": about["split"],
        "batchnorm": about["batchnorm"],
        "device": about["device"],
        "file": f"{stem}.safetensors",
    }


def _check_states(plan: Plan, evaluator: Evaluator, training: Run) -> None:
    with refusing("--run"):
        for path in plan.paths(training).values():
            iter_path(evaluator, path, plan.alphas(plan.scopes[0]))
