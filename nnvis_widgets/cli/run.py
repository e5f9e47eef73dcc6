"""``python -m nnvis_widgets run``: paths of a training run into tables, figures and results, each file as soon as it is known."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from matplotlib.figure import Figure
from tqdm import tqdm

from ..core.evaluator import Evaluator
from ..core.scope import Scope
from ..experiments.movement import measure_movement
from ..experiments.paths import iter_path
from ..experiments.training import iter_training
from ..export import file_stem, movement_figure, overview_figure, path_figure, save_figure, save_table
from ..results import PathResult
from ..runs.run import Run
from .options import EPOCHS, Refused
from .plan import Plan, largest_moved, refusing, unique
from .sources import blank_demo, check_source, importable, open_demo, open_recorded


def run(options: argparse.Namespace) -> int:
    """Check everything, then work; return the exit code."""
    folder = _checked_folder(options)
    check_source(options)
    with importable(os.getcwd()):
        if options.demo is not None:
            plan = Plan.of(options, blank_demo(options).layout, (options.epochs or EPOCHS) + 1)
            recorded = None
        else:
            evaluator, training = recorded = open_recorded(options)
            plan = Plan.of(options, evaluator.layout, len(training))
            _check_states(plan, evaluator, training)
        new = not folder.exists()
        with refusing("--out"):
            folder.mkdir(parents=True, exist_ok=True)
        output = _Output(folder, options.formats)
        doing = "training the demo"
        try:
            with _bar("training", 1, options.quiet) as bar:
                evaluator, training = recorded or open_demo(options, lambda epoch, epochs: bar.show(epoch / epochs))
            doing = "measuring"
            _measure(plan, evaluator, training, output, options.quiet)
        except Refused:
            if new:
                folder.rmdir()
            raise
        except (Exception, KeyboardInterrupt) as error:
            if not isinstance(error, KeyboardInterrupt):
                traceback.print_exc()
            kept = f"complete in {folder}: {', '.join(output.names)}" if output.names else f"nothing was complete in {folder}"
            what = "interrupted" if isinstance(error, KeyboardInterrupt) else f"failed ({type(error).__name__}: {error})"
            print(f"{what} while {output.doing or doing}; {kept}", file=sys.stderr)
            return 130 if isinstance(error, KeyboardInterrupt) else 1
    if not options.quiet:
        print(f"{len(output.names)} files in {folder}, such as {', '.join(output.names[-3:])}")
    return 0


def _measure(plan: Plan, evaluator: Evaluator, training: Run, output: _Output, quiet: bool) -> None:
    scopes = plan.scopes
    if plan.everything:
        weights = [largest_moved(scope, training, evaluator.layout) for scope in scopes if scope.level in ("layer", "tensor")]
        scopes = unique([*scopes, *(weight for weight in weights if weight is not None)])
    paths = plan.paths(training)
    dots: PathResult | None = None
    layers: dict[str, list[PathResult]] = {kind: [] for kind in paths}
    whole = any(scope.level == "model" for scope in scopes)
    with _bar("measuring", len(scopes) * len(paths) + whole, quiet) as bar:
        if whole:
            output.doing = "measuring the recorded checkpoints"
            dots = bar.drain(iter_training(evaluator, training))
            output.result("training", dots, Scope.parse(None, evaluator.layout))
        for scope in scopes:
            stem, results = file_stem(scope.name, scope.level), []
            for kind, path in paths.items():
                output.doing = f"measuring the {kind} path of {scope.name}"
                result = bar.drain(iter_path(evaluator, path, plan.alphas(scope), scope=scope))
                output.result(f"{stem}-{kind}", result, scope)
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


class _Output:
    """The folder that results go to, and the names of what is complete in it."""

    def __init__(self, folder: Path, formats: list[str]):
        self._folder, self._formats = folder, formats
        self._rows: list[dict[str, Any]] = []
        self.names: list[str] = []
        self.doing = ""

    def result(self, stem: str, result: PathResult, scope: Scope) -> None:
        """Write a result, its table, and the summary of all so far."""
        result.save(self._folder / f"{stem}.safetensors")
        self._done(f"{stem}.safetensors")
        self.table(stem, result.to_pandas())
        self._rows.append(_summary(stem, result, scope))
        self.table("summary", pandas.DataFrame(self._rows))

    def table(self, stem: str, table: pandas.DataFrame) -> None:
        if "csv" in self._formats:
            save_table(table, self._folder / f"{stem}.csv")
            self._done(f"{stem}.csv")

    def figure(self, stem: str, figure: Figure) -> None:
        for ending in self._formats:
            if ending != "csv":
                save_figure(figure, self._folder / f"{stem}.{ending}")
                self._done(f"{stem}.{ending}")

    def _done(self, name: str) -> None:
        if name not in self.names:
            self.names.append(name)


class _Progress:
    """A bar over tasks, each of which knows its own fraction."""

    def __init__(self, bar: tqdm):
        self._bar, self._before = bar, 0

    def show(self, fraction: float) -> None:
        self._bar.n = round(self._before + fraction, 3)
        self._bar.refresh()

    def drain(self, results: Iterator[PathResult]) -> PathResult:
        for result in results:
            self.show(result.fraction)
        self._before += 1
        return result


@contextmanager
def _bar(what: str, total: int, quiet: bool) -> Iterator[_Progress]:
    layout = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
    with tqdm(total=total, desc=what, file=sys.stderr, disable=quiet, bar_format=layout, leave=False) as bar:
        yield _Progress(bar)


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


def _checked_folder(options: argparse.Namespace) -> Path:
    folder = Path(options.out)
    if folder.exists() and not folder.is_dir():
        raise Refused(f"argument --out: a folder, received the file {folder}")
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if there and not options.force:
        more = ", ..." if len(there) > 3 else ""
        raise Refused(f"argument --out: {folder} holds {', '.join(there[:3])}{more}; name an empty or a new folder, or add --force")
    return folder


def _check_states(plan: Plan, evaluator: Evaluator, training: Run) -> None:
    with refusing("--run"):
        for path in plan.paths(training).values():
            iter_path(evaluator, path, plan.alphas(plan.scopes[0]))
