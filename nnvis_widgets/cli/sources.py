"""What a command measures: the demo, or a recorded run with the user's own model and data."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..core.evaluator import Evaluator
from ..demo import Demo, LeNet, load_demo
from ..runs.run import Run
from .groups import TRAINING
from .options import Refused

TEST_IMAGES = {"digits": 450, "mnist": 10_000, "fashion-mnist": 10_000}


def check_source(options: argparse.Namespace) -> None:
    """Refuse options that contradict each other."""
    if options.run is not None:
        for name in TRAINING:
            if getattr(options, name) is not None:
                raise Refused(f"argument --{name}: only with --demo; the training of --run {options.run} is over")
        if options.source is None:
            raise Refused(
                "argument --source: --run needs it, since a run holds weights and no model; "
                "MODULE:FUNCTION where FUNCTION() returns (model, data) or an Evaluator"
            )
    elif options.source is not None:
        raise Refused(f"argument --source: only with --run; --demo {options.demo} has its own model and data")
    elif options.root is not None and options.demo == "digits":
        raise Refused(
            "argument --root: the digits are part of scikit-learn and need no folder; only with --demo mnist or fashion-mnist"
        )
    if options.no_cuda and options.device not in (None, "cpu"):
        raise Refused(f"argument --no-cuda: it means --device cpu, received --device {options.device} too; give one of them")


def blank_demo(options: argparse.Namespace) -> Evaluator:
    """Return an evaluator like the demo's on empty images: it refuses what the demo's would refuse, before any training."""
    with torch.device("meta"):
        model: nn.Module = LeNet()
    model = model.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    count = TEST_IMAGES[options.demo]
    images, labels = torch.zeros(1).expand(count, 1, 32, 32), torch.zeros(count, dtype=torch.long)
    return _evaluator(model, (images, labels), options, "test", "--demo")


def open_demo(options: argparse.Namespace, progress: Callable[[int, int], Any]) -> tuple[Evaluator, Run]:
    """Train the demo or take it from the cache; the evaluator is on its test images."""
    told = {name: getattr(options, name) for name in TRAINING if getattr(options, name) is not None}
    try:
        demo: Demo = load_demo(options.demo, device=_device(options), progress=progress, **told)
    except RuntimeError as error:
        about, _, rest = str(error).partition(": ")
        if about != "data":
            raise
        raise Refused(f"argument {'--root' if options.root else '--demo'}: {rest}") from error
    return _evaluator(demo.model, demo.test, options, "test", "--demo", calibration=demo.train), demo.run


def open_recorded(options: argparse.Namespace) -> tuple[Evaluator, Run]:
    """Return the evaluator that the user's function gives, and the run; refuse them where they do not fit each other."""
    try:
        run = Run.open(options.run)
        states = {"first": run.initial, "last": run.final}
    except (ValueError, KeyError, OSError) as error:
        raise Refused(f"argument --run: {error}") from error
    made = called(options.source)
    if isinstance(made, Evaluator):
        for name in ("samples", "batchnorm", "device", "no_cuda"):
            if getattr(options, name):
                raise Refused(
                    f"argument --{name.replace('_', '-')}: {options.source} returns an Evaluator, which has its own; "
                    "set it there, or return (model, data)"
                )
        evaluator = made
    elif isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], nn.Module):
        evaluator = _evaluator(made[0], made[1], options, "data", "--source")
    else:
        inside = f" of {', '.join(type(part).__name__ for part in made)}" if isinstance(made, tuple) else ""
        raise Refused(
            f"argument --source: {options.source}() returns (model, data) or an Evaluator, received {type(made).__name__}{inside}"
        )
    for which, state in states.items():
        try:
            evaluator.layout.check(state, f"the {which} checkpoint of {options.run}")
        except ValueError as error:
            raise Refused(f"argument --run: {error}") from error
    return evaluator, run


@contextmanager
def importable(folder: str) -> Iterator[None]:
    """Make the modules in a folder importable."""
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def called(source: str) -> Any:
    """Return what the user's function MODULE:FUNCTION returns; refuse what cannot be imported, and a function that raises."""
    module, _, name = source.partition(":")
    if not module or not name.isidentifier():
        raise Refused(f"argument --source: MODULE:FUNCTION, such as mymodule:model_and_data; received {source!r}")
    try:
        home = importlib.import_module(module)
    except Exception as error:  # whatever the user's module raises
        raise Refused(
            f"argument --source: {module!r} cannot be imported from {os.getcwd()}: {type(error).__name__}: {error}"
        ) from error
    function = getattr(home, name, None)
    if not callable(function):
        there = [n for n, value in vars(home).items() if callable(value) and not n.startswith("_") and value.__module__ == module]
        raise Refused(f"argument --source: {module!r} has no function {name!r}; it has {', '.join(there) or 'none'}")
    try:
        return function()
    except Exception as error:  # whatever the user's function raises
        raise Refused(f"argument --source: {source}() raised {type(error).__name__}: {error}") from error


def _device(options: argparse.Namespace) -> str:
    return "cpu" if options.no_cuda else options.device or "auto"


def _evaluator(
    model: nn.Module, data: Any, options: argparse.Namespace, split: str, source: str, calibration: Any = None
) -> Evaluator:
    try:
        return Evaluator(
            model, data, name=split, device=_device(options), samples=options.samples, batchnorm=options.batchnorm or "auto",
            calibration=calibration,
        )  # fmt: skip
    except Exception as error:  # the first pass of the user's model over the user's data may raise anything
        about, _, rest = str(error).partition(": ")
        if about in ("samples", "device", "batchnorm"):
            raise Refused(f"argument --{about}: {rest}") from error
        raise Refused(f"argument {source}: {type(error).__name__}: {error}") from error
