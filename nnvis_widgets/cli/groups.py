"""Groups of options that commands have in common or alone. Imports nothing heavy."""

from __future__ import annotations

import argparse
import math

DEMOS = ("digits", "mnist", "fashion-mnist")
OPTIMIZERS = ("sgd", "momentum", "adam")
SCHEDULES = ("step", "constant")
BATCHNORM = ("auto", "final", "interpolate", "recalibrate", "batch")
FORMATS = ("csv", "png", "pdf")
PLANES = ("random", "pca", "three-point", "hessian")
NORMALIZATIONS = ("filter", "layer", "none")
FILMS = ("gif", "mp4")
CHOICES = ("distance", "effect", "random")
PRELIMINARY = ("epochs", "training-size", "test-size")
LAYER_KINDS = ("reinit", "rerandomise", "history")
UNITS = ("module", "block", "tensor")
PARTS = ("all", "weights", "biases")
EPOCHS = 15  # of a demo that is not told otherwise
TRAINING = ("epochs", "seed", "schedule", "optimizer", "root")  # what only a demo can be told

_MID = "half|distance|INDEX"
_MIDS = "nearest to half of the epochs (default), nearest to half of the way travelled, or the index of a checkpoint"


def source_options(run: argparse.ArgumentParser) -> None:
    """Add the options that say what is measured."""
    group = run.add_argument_group("what is measured (--demo, or --run with --source)")
    which = group.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--demo", choices=DEMOS, help="the thesis's LeNet, trained now or taken from the cache; digits needs no download"
    )
    which.add_argument("--run", metavar="FOLDER", help="a run that nnvis_widgets.Recorder has recorded")
    group.add_argument(
        "--source", metavar="MODULE:FUNCTION",
        help="with --run: FUNCTION() returns (model, data) or an Evaluator; the current directory is importable",
    )  # fmt: skip
    group.add_argument("--root", metavar="FOLDER", help="where torchvision keeps mnist and fashion-mnist (downloaded when missing)")
    group.add_argument("--epochs", type=_whole(1), metavar="N", help=f"of the demo's training (default: {EPOCHS})")
    group.add_argument("--seed", type=_whole(0), metavar="N", help="of the demo's training (default: 0)")
    group.add_argument("--schedule", choices=SCHEDULES, help="the demo's learning rate (default: step)")
    group.add_argument("--optimizer", choices=OPTIMIZERS, help="of the demo's training (default: sgd)")


def selection_options(run: argparse.ArgumentParser) -> None:
    """Add the options that say which weights follow paths."""
    group = run.add_argument_group("which weights (default: the whole model)")
    group.add_argument("--whole-model", action="store_true", help="all weights together; with the recorded training curve")
    group.add_argument(
        "--layer", action="append", default=[], metavar="NAME",
        help="a layer such as fc1, all below a module such as 'layer4.*', a tensor such as fc1.weight, or all; repeatable",
    )  # fmt: skip
    group.add_argument(
        "--parameter", action="append", nargs=2, default=[], metavar=("TENSOR", "INDEX"),
        help="a single weight such as conv1.weight 0,0,1,2; repeatable",
    )  # fmt: skip
    group.add_argument(
        "--everything", action="store_true",
        help="the whole model, all layers, also in one plot, the largest-moved weight of each, the movement of every tensor, "
        "how much the model needs each layer, and the patterns of the 32 weights that moved most",
    )  # fmt: skip


def measuring_options(run: argparse.ArgumentParser) -> None:
    """Add the options that say how paths are measured."""
    group = run.add_argument_group("how")
    group.add_argument("--path", choices=("linear", "quadratic", "both"), default="both", help="default: both")
    group.add_argument(
        "--mid", default="half", metavar=_MID, help=f"the checkpoint that the quadratic path passes at alpha 0.5: {_MIDS}"
    )  # fmt: skip
    group.add_argument(
        "--alpha", type=_finite, nargs=2, metavar=("LOW", "HIGH"), help="default: 0 1, and -0.5 1.5 for single weights"
    )
    group.add_argument("--points", type=_whole(2), default=41, metavar="N", help="on each path (default: 41)")
    evaluator_options(group)


def weight_options(weights: argparse.ArgumentParser) -> None:
    """Add the options that say which weights are scanned."""
    group = weights.add_argument_group("which weights, and how")
    group.add_argument(
        "--layer", action="append", default=[], metavar="NAME",
        help="among those of a layer such as fc1, of a tensor such as fc1.weight, or all: of each layer; repeatable "
        "(default: of the whole model)",
    )  # fmt: skip
    group.add_argument("--count", type=_whole(1), default=32, metavar="N", help="of each (default: 32)")
    group.add_argument(
        "--choose", choices=CHOICES, default="distance", help="those that moved most (default), that matter most at the end, or any"
    )
    group.add_argument(
        "--choice-seed", type=_whole(0), default=0, metavar="N", help="of the random choice and the resamples (default: 0)"
    )
    group.add_argument(
        "--mid", default="half", metavar=_MID, help=f"the checkpoint that the quadratic path passes at alpha 0.5: {_MIDS}"
    )
    evaluator_options(group)


def layer_options(layers: argparse.ArgumentParser) -> None:
    """Add the options that say which layers are reset."""
    group = layers.add_argument_group("which layers, and what is put in their place")
    group.add_argument(
        "--kind", action="append", choices=LAYER_KINDS, default=[],
        help="back to a checkpoint, or fresh draws; repeatable, default: both, and the map of layers and checkpoints",
    )  # fmt: skip
    group.add_argument("--at", type=int, metavar="INDEX", help="of the checkpoint for reinit (default: 0, the initial weights)")
    group.add_argument("--unit", choices=UNITS, default="module", help="what a layer is (default: module)")
    group.add_argument("--part", choices=PARTS, default="all", help="of each layer (default: all)")
    group.add_argument("--draws", type=_whole(1), metavar="N", help="for rerandomise (default: 10)")
    group.add_argument("--draw-seed", type=_whole(0), metavar="N", help="of the draws (default: 0)")
    group.add_argument("--joint", nargs="+", default=[], metavar="NAME", help="also these layers together, put back at once")
    group.add_argument("--pairs", nargs="*", metavar="NAME", help="also every two of these layers at once (default: of all)")
    group = layers.add_argument_group("how")
    evaluator_options(group)


def plane_options(surface: argparse.ArgumentParser) -> None:
    """Add the options that say which planes are measured."""
    group = surface.add_argument_group("which planes (all through the final weights)")
    group.add_argument(
        "--plane", action="append", choices=PLANES, default=[],
        help="repeatable; default: random, and pca and three-point where the run allows them; hessian only when asked for",
    )  # fmt: skip
    group.add_argument("--normalize", choices=NORMALIZATIONS, help="of the random plane (default: filter)")
    group.add_argument("--plane-seed", type=_whole(0), metavar="N", help="of the random and the hessian plane (default: 0)")
    group.add_argument("--mid", metavar=_MID, help=f"the checkpoint that the three-point plane holds beside the ends: {_MIDS}")
    group = surface.add_argument_group("how")
    group.add_argument("--resolution", type=_whole(3), default=33, metavar="N", help="points along each axis (default: 33)")
    group.add_argument(
        "--span", type=_positive, metavar="S", help="half the width of the grid (default: 1 for random, else what covers the run)"
    )
    group.add_argument("--animate", choices=FILMS, help="also the training being drawn over each surface; mp4 needs imageio")
    group.add_argument("--view", choices=("2d", "3d"), help="with --animate: a map (default) or a relief")
    evaluator_options(group)


def preliminary_options(before: argparse.ArgumentParser) -> None:
    """Add the options that say which preliminary experiments are made."""
    group = before.add_argument_group("what is trained")
    which = group.add_mutually_exclusive_group(required=True)
    which.add_argument("--demo", choices=DEMOS, help="the thesis's LeNet; digits needs no download")
    which.add_argument(
        "--source", metavar="MODULE:FUNCTION",
        help="FUNCTION() returns (evaluator or {split: evaluator}, train, data), as nv.preliminary_epochs takes them",
    )  # fmt: skip
    group.add_argument("--root", metavar="FOLDER", help="where torchvision keeps mnist and fashion-mnist (downloaded when missing)")
    group.add_argument("--optimizer", choices=OPTIMIZERS, help="of the demo (default: sgd)")
    group.add_argument("--train-samples", type=_whole(10), metavar="N", help="train the demo on N images at most (default: all)")
    group.add_argument("--device", metavar="DEVICE", help="of the demo's measurements: auto (default), cpu, cuda, cuda:1, ...")
    group.add_argument("--no-cuda", action="store_true", help="the same as --device cpu")
    group = before.add_argument_group("which experiments, and how large")
    group.add_argument("--what", action="append", choices=PRELIMINARY, default=[], help="repeatable (default: all)")
    group.add_argument("--epochs", type=_whole(1), default=10, metavar="N", help="of each training (default: 10)")
    group.add_argument("--seeds", type=_whole(1), default=3, metavar="N", help="independent trainings (default: 3; better 5)")
    group.add_argument("--delta", type=_positive, default=0.01, metavar="D", help="how far above the lowest loss is enough (0.01)")
    group.add_argument("--subsets", type=_whole(1), default=3, metavar="N", help="random subsets of each size (default: 3)")
    group.add_argument("--halvings", type=_whole(1), default=4, metavar="N", help="training sizes: all, 1/2, 1/4, ... (default: 4)")
    group.add_argument("--repeats", type=_whole(1), default=100, metavar="N", help="random test subsets (default: 100)")


def thesis_options(thesis: argparse.ArgumentParser) -> None:
    """Add the options that say on which trainings the thesis's statements are judged."""
    group = thesis.add_argument_group("which trainings")
    group.add_argument("--demo", choices=DEMOS, required=True, help="the thesis's LeNet, trained now or taken from the cache")
    group.add_argument("--root", metavar="FOLDER", help="where torchvision keeps mnist and fashion-mnist (downloaded when missing)")
    group.add_argument(
        "--seeds", type=_seeds(1), default=[0], metavar="0,1,2", help="a training each, with every schedule (default: 0)"
    )
    group.add_argument(
        "--schedules", type=lambda text: text.split(","), default=["step", "constant"], metavar="step,constant",
        help="of the learning rate (default: both)",
    )  # fmt: skip
    group.add_argument("--no-preliminary", action="store_true", help="leave out the preliminary experiments: many short trainings")
    group.add_argument("--again", action="store_true", help="measure again what is stored")
    group.add_argument("--device", metavar="DEVICE", help="of the measurements: auto (default), cpu, cuda, cuda:1, ...")
    group.add_argument("--no-cuda", action="store_true", help="the same as --device cpu")


def faithful_options(faithful: argparse.ArgumentParser) -> None:
    """Add the options that say how faithfulness is measured."""
    group = faithful.add_argument_group("how")
    group.add_argument("--mid", default="half", metavar=_MID, help=f"the checkpoint that the quadratic path passes: {_MIDS}")
    group.add_argument(
        "--mid-at", type=_finite, default=0.5, metavar="ALPHA", help="where on the path it is drawn over epochs (default: 0.5)"
    )
    group.add_argument("--no-origins", action="store_true", help="leave out the lines from unrelated, noise and zero weights")
    group.add_argument(
        "--seeds", type=_seeds(2), metavar="N,N,...",
        help="train the demo with each of these seeds, and tell what holds over them; five or more are better",
    )  # fmt: skip
    evaluator_options(group)


def evaluator_options(group: argparse._ArgumentGroup) -> None:
    """Add the options that say samples, BatchNorm and device."""
    group.add_argument("--samples", type=_whole(1), metavar="N", help="measure on N of the samples (default: all)")
    group.add_argument("--batchnorm", choices=BATCHNORM, help="running statistics away from the recorded weights (default: auto)")
    group.add_argument("--device", metavar="DEVICE", help="auto (default: CUDA when there is one), cpu, cuda, cuda:1, ...")
    group.add_argument("--no-cuda", action="store_true", help="the same as --device cpu")


def output_options(run: argparse.ArgumentParser) -> None:
    """Add the options that say where results go."""
    group = run.add_argument_group("results")
    group.add_argument(
        "--out", required=True, metavar="FOLDER", help="made when missing; one that holds files is refused without --force"
    )
    group.add_argument(
        "--force", action="store_true", help="write into a folder that holds files; those of equal name are replaced"
    )
    group.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS), help="default: csv png pdf")
    group.add_argument("--quiet", action="store_true", help="no progress and no list of files; errors are still told")


def _whole(least: int):
    def whole(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"a whole number of at least {least}, received {text!r}")
        return number

    return whole


def _seeds(least: int):
    rule = "different whole numbers" if least == 1 else "at least two different whole numbers"

    def seeds(text: str) -> list[int]:
        parts = text.split(",")
        if not all(part.strip().isdecimal() for part in parts) or len(set(map(int, parts))) < max(len(parts), least):
            raise argparse.ArgumentTypeError(f"{rule} joined by commas, such as 0,1,2; received {text!r}")
        return [int(part) for part in parts]

    return seeds


def _finite(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"a finite number such as -0.5, received {text!r}")
    return number


def _positive(text: str) -> float:
    number = _finite(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(f"a positive number, received {text!r}")
    return number


def port(text: str) -> int:
    """Return a port from its text."""
    if not (text.isdecimal() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"a whole number from 1 to 65535, received {text!r}")
    return int(text)
