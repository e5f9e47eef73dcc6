"""``python -m nnvis_widgets faithfulness``: are the paths faithful to the training? A table, two figures, the result."""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

from ..core.evaluator import Evaluator
from ..demo.network import seeded_lenet
from ..experiments.faithful_runs import compare_faithfulness
from ..experiments.faithfulness import iter_faithfulness
from ..export.faithfulness import faithfulness_figure, origins_figure
from ..results import FaithfulnessAgreement, FaithfulnessReport
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
    if options.seeds is not None and options.demo is None:
        raise Refused(
            "argument --seeds: only with --demo; the training of a recorded run is over (nv.compare_faithfulness takes several)"
        )
    if options.seeds is not None and options.seed is not None:
        raise Refused(f"argument --seeds: it says which seeds, received --seed {options.seed} too; give one of them")
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
            if options.seeds is None:
                found: FaithfulnessReport | FaithfulnessAgreement = _one(options, output, recorded, "faithfulness")
            else:
                found = _several(options, output)
            output.doing = "drawing"
            output.figure("faithfulness", faithfulness_figure(found))
            if isinstance(found, FaithfulnessReport) and found.origins:
                output.figure("origins", origins_figure(found))
            if not options.quiet:
                print(found.sentence)

        return carry_out(folder, options, work)


def _one(options: argparse.Namespace, output: Output, recorded: Any, stem: str) -> FaithfulnessReport:
    """Train or open one run, measure it, and write what was found."""
    output.doing = "training the demo"
    with progress_bar("training", 1, options.quiet) as bar:
        evaluator, run = recorded or open_demo(options, lambda epoch, epochs: bar.show(epoch / epochs))
    output.doing = "measuring paths and checkpoints"
    began = time.perf_counter()
    with progress_bar("measuring", 1, options.quiet) as bar:
        report = bar.drain(_results(options, evaluator, run))
    output.result(stem, report)
    if report.origins:
        output.table(stem.replace("faithfulness", "origins"), report.controls_to_pandas())
    output.summed_up(_summary(report, time.perf_counter() - began, f"{stem}.safetensors"))
    return report


def _several(options: argparse.Namespace, output: Output) -> FaithfulnessAgreement:
    """The same for each seed, and what holds over them."""
    reports, names = [], []
    for seed in options.seeds:
        each = argparse.Namespace(**{**vars(options), "seed": seed})
        names.append(f"seed {seed}")
        reports.append(_one(each, output, None, f"faithfulness-seed{seed}"))
        if not options.quiet:
            print(f"{names[-1]}: {reports[-1].sentence}")
    agreement = compare_faithfulness(reports, names)
    output.result("faithfulness", agreement)
    output.table("runs", agreement.runs_to_pandas())
    if agreement.origins:
        output.table("origins", agreement.controls_to_pandas())
    return agreement


def _results(options: argparse.Namespace, evaluator: Evaluator, run: Run) -> Any:
    origins = () if options.no_origins else ("unrelated", "noise", "zero")
    # of the demo other initial weights can be had; of a recorded run those that it has, in another order
    other = seeded_lenet((options.seed or 0) + 1).state_dict() if options.demo is not None and origins else None
    return iter_faithfulness(
        evaluator, run, mid=mid_index(options.mid, run), mid_at=options.mid_at, origins=origins, unrelated=other
    )  # fmt: skip


def _summary(report: FaithfulnessReport, seconds: float, file: str) -> dict[str, Any]:
    about = report.provenance
    return {
        "sentence": report.sentence, "mid": report.mid, "rho": report.rho, "eta": report.eta,
        "mid_by_distance": report.mid_by_distance, "rho_by_distance": report.rho_by_distance,
        "eta_by_distance": report.eta_by_distance, "checkpoints": len(report.checkpoints), "n": report.n, "seeds": report.seeds,
        "split": about["split"], "batchnorm": about["batchnorm"], "device": about["device"], "seconds": seconds,
        "file": file,
    }  # fmt: skip
