"""``python -m nnvis_widgets parameters``: single weights and their patterns, as tables, figures and results."""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

import numpy as np

from ..core.states import Layout
from ..experiments.choosing import Pool
from ..experiments.parameters import iter_parameters
from ..export import file_stem, phase_figure, scan_figure
from ..results import ParameterScan
from .groups import EPOCHS
from .options import Refused
from .output import Output, carry_out, checked_folder, progress_bar
from .plan import check_mid, layer_scopes, mid_index, refusing
from .sources import blank_demo, check_source, importable, open_demo, open_recorded


def parameters(options: argparse.Namespace) -> int:
    """Check everything, then work; return the exit code."""
    folder = checked_folder(options)
    check_source(options)
    with importable(os.getcwd()):
        recorded = open_recorded(options) if options.demo is None else None
        if recorded is None:
            _check(options, blank_demo(options).layout, (options.epochs or EPOCHS) + 1)
        else:
            _check(options, recorded[0].layout, len(recorded[1]))

        def work(output: Output) -> None:
            output.doing = "training the demo"
            with progress_bar("training", 1, options.quiet) as bar:
                evaluator, run = recorded or open_demo(options, lambda epoch, epochs: bar.show(epoch / epochs))
            mid = None if len(run) < 3 else mid_index(options.mid, run)
            scopes = _scopes(options, evaluator.layout)
            with progress_bar("measuring", len(scopes), options.quiet) as bar:
                for scope in scopes:
                    output.doing = f"measuring the weights of {scope or 'the model'}"
                    began = time.perf_counter()
                    generator = iter_parameters(
                        evaluator, run, scope, count=options.count, choose=options.choose, mid=mid, seed=options.choice_seed
                    )
                    scan = bar.drain(generator)
                    output.summed_up(written(scan, output, time.perf_counter() - began))

        return carry_out(folder, options, work)


def written(scan: ParameterScan, output: Output, seconds: float) -> dict[str, Any]:
    """Write a scan with its tables and figures, and return the row that sums it up."""
    stem = f"parameters-{file_stem(scan.scope)}"
    output.result(stem, scan)
    output.table(f"{stem}-curves", scan.curves_to_pandas())
    output.doing = f"drawing the weights of {scan.scope}"
    output.figure(f"{stem}-curves", scan_figure(scan))
    output.figure(f"{stem}-phases", phase_figure(scan))
    about = scan.provenance
    return {
        "scope": scan.scope, "choose": scan.choose, "weights": len(scan), "scanned": scan.scanned,
        **{name.replace("-", "_"): count for name, count in scan.counts().items()},
        "uncertain": int(scan.uncertain.sum()), "established": int(scan.established.sum()),
        "rho_median": float(np.nanmedian(scan.rho)) if np.isfinite(scan.rho).any() else np.nan, "noise_floor": scan.noise_floor,
        "n": scan.n, "split": about["split"], "batchnorm": about["batchnorm"], "device": about["device"], "seconds": seconds,
        "file": f"{stem}.safetensors",
    }  # fmt: skip


def _check(options: argparse.Namespace, layout: Layout, checkpoints: int) -> None:
    if checkpoints < 2:
        raise Refused(f"argument --run: a path needs two checkpoints, and this run holds {checkpoints}")
    if options.mid != "half":
        check_mid(options.mid, checkpoints)
    for name in _scopes(options, layout):
        with refusing("--layer"):
            Pool(name, layout)


def _scopes(options: argparse.Namespace, layout: Layout) -> list[str | None]:
    """Return the scopes that are asked for, each once."""
    names: list[str | None] = []
    for name in options.layer or [None]:
        names += [scope.name for scope in layer_scopes(layout)] if name == "all" else [name]
    return list(dict.fromkeys(names))
