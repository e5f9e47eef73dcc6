"""``python -m nnvis_widgets faithfulness``: are the paths faithful to the training? A table, two figures, the result."""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

from ..core.evaluator import Evaluator
from ..experiments.faithfulness import iter_faithfulness
from ..export.faithfulness import faithfulness_figure, origins_figure
from ..runs.run import Run
from .groups import EPOCHS
from .options import Refused
from .output import Output, carry_out, checked_folder, progress_bar
from .plan import check_mid, mid_index
from .sources import blank_demo, check_source, importable, open_demo, open_recorded

LEAST = 5  # checkpoints: two ends, two knots, and one to compare with


def faithfulness(options: argparse.Namespace) -> int:
    """Check everything, then work; return the exit code."""
    folder = checked_folder(options)
    check_source(options)
    if not 0 < options.mid_at < 1:
        raise Refused(f"argument --mid-at: between 0 and 1, received {options.mid_at:g}")
    with importable(os.getcwd()):
        recorded = open_recorded(options) if options.demo is None else None
        checkpoints = len(recorded[1]) if recorded else (options.epochs or EPOCHS) + 1
        if checkpoints < LEAST:
            argument = "--run" if recorded else "--epochs"
            raise Refused(f"argument {argument}: {LEAST} checkpoints are needed, and this run holds {checkpoints}")
        check_mid(options.mid, checkpoints)
        if recorded:
            _results(options, *recorded)
        else:
            blank_demo(options)

        def work(output: Output) -> None:
            output.doing = "training the demo"
            with progress_bar("training", 1, options.quiet) as bar:
                evaluator, run = recorded or open_demo(options, lambda epoch, epochs: bar.show(epoch / epochs))
            output.doing = "measuring paths and checkpoints"
            began = time.perf_counter()
            with progress_bar("measuring", 1, options.quiet) as bar:
                report = bar.drain(_results(options, evaluator, run))
            output.result("faithfulness", report)
            if report.origins:
                output.table("origins", report.controls_to_pandas())
            output.summed_up(_summary(report, time.perf_counter() - began))
            output.doing = "drawing"
            output.figure("faithfulness", faithfulness_figure(report))
            if report.origins:
                output.figure("origins", origins_figure(report))
            if not options.quiet:
                print(report.sentence)

        return carry_out(folder, options, work)


def _results(options: argparse.Namespace, evaluator: Evaluator, run: Run) -> Any:
    origins = () if options.no_origins else ("unrelated", "noise", "zero")
    return iter_faithfulness(evaluator, run, mid=mid_index(options.mid, run), mid_at=options.mid_at, origins=origins)


def _summary(report: Any, seconds: float) -> dict[str, Any]:
    about = report.provenance
    return {
        "sentence": report.sentence, "mid": report.mid, "rho": report.rho, "eta": report.eta,
        "mid_by_distance": report.mid_by_distance, "rho_by_distance": report.rho_by_distance,
        "eta_by_distance": report.eta_by_distance, "checkpoints": len(report.checkpoints), "n": report.n, "seeds": report.seeds,
        "split": about["split"], "batchnorm": about["batchnorm"], "device": about["device"], "seconds": seconds,
        "file": "faithfulness.safetensors",
    }  # fmt: skip
