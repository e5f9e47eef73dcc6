"""``python -m nnvis_widgets layers``: how much the trained model needs each of its layers, as tables, figures and results."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..core.evaluator import Evaluator
from ..core.units import units_of
from ..experiments.joint_reset import iter_joint_reset
from ..experiments.layer_history import iter_layer_history
from ..experiments.layers import iter_layers
from ..experiments.pairwise_resets import iter_pairwise_resets
from ..export import layer_figure, layer_history_figure
from ..results import JointReset, LayerHistory, LayerStudy, PairwiseReset
from ..runs.run import Run
from .groups import EPOCHS, LAYER_KINDS
from .options import Refused
from .output import Output, Progress, carry_out, checked_folder, progress_bar
from .sources import blank_demo, check_source, importable, open_demo, open_recorded

ARGUMENTS = {"layers": "--joint", "kind": "--kind", "initializer": "--kind"}  # what the library calls otherwise


@dataclass(frozen=True)
class Wanted:
    """Which layer studies to make.

    Attributes
    ----------
    kinds : list of str
        Of "reinit", "rerandomise", "history".
    strict : bool
        Whether all of them were asked for by name.
    """

    kinds: list[str]
    strict: bool = False
    at: int = 0
    unit: str = "module"
    part: str = "all"
    draws: int = 10
    seed: int = 0
    joint: tuple[str, ...] = ()
    pairs: tuple[str, ...] | None = None

    @classmethod
    def of(cls, options: argparse.Namespace) -> Wanted:
        """Return what the options ask for, or refuse what contradicts itself."""
        kinds = list(dict.fromkeys(options.kind)) or list(LAYER_KINDS)
        for name, value, kind in (("--at", options.at, "reinit"), ("--draws", options.draws, "rerandomise"),
                                  ("--draw-seed", options.draw_seed, "rerandomise")):  # fmt: skip
            if value is not None and kind not in kinds:
                raise Refused(f"argument {name}: only with --kind {kind}; received --kind {' '.join(kinds)}")
        return cls(
            kinds, bool(options.kind), options.at or 0, options.unit, options.part, options.draws or 10, options.draw_seed or 0,
            tuple(options.joint), None if options.pairs is None else tuple(options.pairs),
        )  # fmt: skip

    def generator(self, kind: str, evaluator: Evaluator, run: Run) -> Iterator[Any]:
        """Return the partial results of one study; what it cannot do is refused here."""
        common: dict[str, Any] = {"unit": self.unit, "part": self.part}
        if kind == "history":
            return iter_layer_history(evaluator, run, **common)
        if kind == "joint":
            return iter_joint_reset(evaluator, run, list(self.joint), at=self.at, **common)
        if kind == "pairs":
            return iter_pairwise_resets(evaluator, run, list(self.pairs or ()) or None, at=self.at, **common)
        return iter_layers(evaluator, run, kind=kind, at=self.at, draws=self.draws, seed=self.seed, **common)

    def possible(self, evaluator: Evaluator, run: Run) -> list[str]:
        """Return what can be made of it; what was not asked for by name may be impossible, which is told."""
        made = []
        for kind in [*self.kinds, *(["joint"] if self.joint else []), *(["pairs"] if self.pairs is not None else [])]:
            try:
                self.generator(kind, evaluator, run).close()  # type: ignore[attr-defined]
            except ValueError as error:
                about, _, rest = str(error).partition(": ")
                if self.strict or kind != "rerandomise" or about != "kind":
                    option = "--pairs" if (kind, about) == ("pairs", "layers") else ARGUMENTS.get(about, f"--{about}")
                    raise Refused(f"argument {option}: {rest}") from error
                print(f"no study of draws: {rest}", file=sys.stderr)
                continue
            made.append(kind)
        return made


def layers(options: argparse.Namespace) -> int:
    """Check everything, then work; return the exit code."""
    folder = checked_folder(options)
    check_source(options)
    wanted = Wanted.of(options)
    with importable(os.getcwd()):
        recorded = open_recorded(options) if options.demo is None else None
        if recorded is None:
            _check_demo(wanted, blank_demo(options), (options.epochs or EPOCHS) + 1)
        known = wanted.possible(*recorded) if recorded else None

        def work(output: Output) -> None:
            output.doing = "training the demo"
            with progress_bar("training", 1, options.quiet) as bar:
                evaluator, run = recorded or open_demo(options, lambda epoch, epochs: bar.show(epoch / epochs))
            kinds = wanted.possible(evaluator, run) if known is None else known
            with progress_bar("measuring", len(kinds), options.quiet) as bar:
                for row in studied(wanted, kinds, evaluator, run, output, bar):
                    output.summed_up(row)

        return carry_out(folder, options, work)


def studied(
    wanted: Wanted, kinds: list[str], evaluator: Evaluator, run: Run, output: Output, bar: Progress
) -> Iterator[dict[str, Any]]:
    """Make the studies, write each with its table and figure, and yield what sums it up."""
    for kind in kinds:
        output.doing = f"measuring the layers ({kind})"
        began = time.perf_counter()
        result = bar.drain(wanted.generator(kind, evaluator, run))
        seconds = time.perf_counter() - began
        stem = f"layers-{kind}"
        output.result(stem, result)
        output.doing = f"drawing the layers ({kind})"
        if isinstance(result, LayerStudy):
            output.figure(stem, layer_figure(result))
            for note in result.problems.items():
                print(": ".join(note), file=sys.stderr)
        elif isinstance(result, LayerHistory):
            output.figure(stem, layer_history_figure(result))
        elif isinstance(result, JointReset):
            from matplotlib.figure import Figure

            figure = Figure(figsize=(7.0, 2.2 + 0.35 * len(result.layers)), layout="constrained")
            result.plot(figure.add_subplot())
            output.figure(stem, figure)
        elif isinstance(result, PairwiseReset):
            from matplotlib.figure import Figure

            side = 2.5 + 0.55 * len(result.layers)
            figure = Figure(figsize=(side + 1.6, side), layout="constrained")
            result.plot(figure.add_subplot())
            output.figure(stem, figure)
        yield _summary(wanted, kind, result, seconds, f"{stem}.safetensors")


def _check_demo(wanted: Wanted, blank: Evaluator, checkpoints: int) -> None:
    if not -checkpoints <= wanted.at < checkpoints:
        raise Refused(f"argument --at: a checkpoint from 0 to {checkpoints - 1}, or from the end; received {wanted.at}")
    for name, layers in (("--part", None), ("--joint", list(wanted.joint) or None), ("--pairs", list(wanted.pairs or ()) or None)):
        try:
            units_of(blank.model, blank.layout, wanted.unit, wanted.part, layers)
        except ValueError as error:
            raise Refused(f"argument {name}: {str(error).partition(': ')[2]}") from error


def _summary(wanted: Wanted, kind: str, result: Any, seconds: float, file: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "study": kind, "unit": wanted.unit, "part": wanted.part, "layers": len(result.layers), "metric": result.metric,
        "reference": result.reference.get(result.metric), "chance": result.chance, "learned": result.learned,
    }  # fmt: skip
    if isinstance(result, LayerStudy):
        row |= {word.replace(" ", "_"): result.label.count(word) for word in ("critical", "intermediate", "ambient", "not moved")}
        row["order"] = " > ".join(name for _, name in sorted(zip(-result.criticality, result.layers, strict=True)))
    elif isinstance(result, JointReset):
        row |= {"criticality": result.criticality, "sum_of_singles": result.sum_of_singles, "order": " + ".join(result.layers)}
    elif isinstance(result, PairwiseReset):
        first, second = result.strongest
        row |= {"interaction": result.interaction[first, second], "order": f"{result.layers[first]} + {result.layers[second]}"}
    about = result.provenance
    return row | {
        "n": result.n, "split": about["split"], "batchnorm": about["batchnorm"], "device": about["device"], "seconds": seconds,
        "file": file,
    }  # fmt: skip
