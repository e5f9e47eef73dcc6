"""``python -m nnvis_widgets preliminary``: how many epochs, training samples and test samples, as tables, figures and results."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..core.fingerprint import fingerprint
from ..core.states import State
from ..demo import load_demo_training
from ..experiments.asking import Asked, offered, pool_of, splits_of, started, taken
from ..experiments.preliminary import iter_preliminary_epochs
from ..experiments.sample_size import iter_preliminary_test_size
from ..experiments.samples_needed import iter_samples_needed
from ..experiments.training_size import iter_preliminary_training_size
from ..export import preliminary_figure
from .groups import PRELIMINARY
from .options import Refused
from .output import Output, carry_out, checked_folder, progress_bar
from .plan import refusing
from .sources import called, importable

TRAININGS = "trainings"  # the folder in --out that finished trainings are kept in


def preliminary(options: argparse.Namespace) -> int:
    """Check everything, then work; return the exit code."""
    folder = checked_folder(options)
    wanted = [name for name in PRELIMINARY if not options.what or name in options.what]
    with importable(os.getcwd()):
        evaluators, train, data = _source(options)
        total, _ = pool_of(data)
        sizes = sorted({size for k in range(options.halvings + 1) if (size := total // 2**k) >= 2})
        _, unreadable = fingerprint(train)
        kept: dict[str, Any] = {} if unreadable else {"folder": folder / TRAININGS}
        if unreadable and not options.quiet:
            print(f"finished trainings are not kept: what {unreadable[0]} holds cannot be told", file=sys.stderr)
        makers = {
            "epochs": lambda: iter_preliminary_epochs(
                train, evaluators, data, epochs=options.epochs, seeds=options.seeds, delta=options.delta, **kept
            ),
            "training-size": lambda: iter_preliminary_training_size(
                train, evaluators, data, epochs=options.epochs, sizes=sizes, subsets=options.subsets, seeds=options.seeds, **kept
            ),
        }  # fmt: skip
        judge = evaluators.get("test", list(evaluators.values())[-1])

        def work(output: Output) -> None:
            found: list[str] = []

            def tell(name: str, result: Any) -> None:
                output.result(name, result)
                output.figure(name, preliminary_figure(result))
                found.extend([name, *(f"  {line}" for line in result.explain()), ""])
                output.file("findings.txt", lambda path: path.write_text("\n".join(found), encoding="utf-8"))

            with progress_bar("preliminary experiments", len(wanted), options.quiet) as bar:
                for name in [name for name in wanted if name in makers]:
                    output.doing = f"training for {name}"
                    tell(name, bar.drain(makers[name]()))
                if "test-size" in wanted:
                    output.doing = "training the model that test samples are measured with"
                    states = _last_two(train, total, options.epochs)
                    output.doing = "measuring how far test samples reach"
                    tell("test-size", bar.drain(iter_preliminary_test_size(judge, state=states[-1], repeats=options.repeats)))
                    if len(states) == 2:
                        tell("samples-needed", _last(iter_samples_needed(judge, states)))
            if not options.quiet:
                print("\n".join(found))

        code = carry_out(folder, options, work)
        if code == 130 and kept and not options.quiet:
            print(f"finished trainings are in {folder / TRAININGS}: the same command with --force goes on from there")
        return code


def _source(options: argparse.Namespace) -> tuple[dict[str, Any], Any, Any]:
    if options.demo is not None:
        device = "cpu" if options.no_cuda else options.device or "auto"
        more = {} if options.optimizer is None else {"optimizer": options.optimizer}
        with refusing("--demo"):
            try:
                demo = load_demo_training(options.demo, samples=options.train_samples, root=options.root, device=device, **more)
            except RuntimeError as error:
                raise Refused(f"argument {'--root' if options.root else '--demo'}: {str(error).partition(': ')[2]}") from error
        return demo.evaluators, demo.train, demo.data
    for name in ("root", "optimizer", "train_samples", "device", "no_cuda"):
        if getattr(options, name):
            raise Refused(f"argument --{name.replace('_', '-')}: only with --demo; {options.source} has its own")
    made = called(options.source)
    rule = f"{options.source}() returns (evaluator or {{split: evaluator}}, train, data)"
    if not (isinstance(made, tuple) and len(made) == 3):
        raise Refused(f"argument --source: {rule}, received {type(made).__name__}")
    try:
        evaluators = splits_of(made[0])
        offered(made[1])
        pool_of(made[2])
    except (TypeError, ValueError) as error:
        raise Refused(f"argument --source: {rule}; {error}") from error
    return evaluators, made[1], made[2]


def _last_two(train: Any, total: int, epochs: int) -> list[State]:
    """Return the weights after the last two epochs of one training on all samples."""
    asked = Asked(np.arange(total), epochs, 0)
    came: list[int] = []
    states: list[State] = []
    for yielded in started(train, asked):
        epoch, state, _ = taken(yielded, came, asked)
        came.append(epoch)
        states = [*states[-1:], state]
    return states


def _last(results: Iterator[Any]) -> Any:
    for result in results:
        final = result
    return final
