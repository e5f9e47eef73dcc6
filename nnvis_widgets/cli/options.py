"""What can be said on the command line. Imports nothing heavy, so that ``--help`` answers at once."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

from .. import __version__

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

_RUN = """\
Measure the loss and the metrics along linear and quadratic paths from the initial to the final weights of a training run:
of the whole model, of layers, of single weights. Writes tables, figures and results into a folder."""
_EXAMPLES = """\
examples:
  python -m nnvis_widgets run --demo digits --out results
  python -m nnvis_widgets run --demo digits --out results --everything
  python -m nnvis_widgets run --demo mnist --root ../data --out results --layer fc1 --parameter conv1.weight 0,0,1,2
  python -m nnvis_widgets run --run runs/lenet --source mymodule:model_and_data --out results --layer all --path linear
"""

_SURFACE = """\
Measure the loss and the metrics on planes through the trained weights, with the recorded training on them. Writes results,
tables, figures and, with --animate, the training being drawn over the surface."""
_SURFACE_EXAMPLES = """\
examples:
  python -m nnvis_widgets surface --demo digits --out results
  python -m nnvis_widgets surface --demo digits --optimizer adam --plane pca --animate gif --out results
  python -m nnvis_widgets surface --run runs/lenet --source mymodule:model_and_data --plane random --plane-seed 3 --out results
"""
_FAITHFULNESS = """\
Is a path faithful to the training? The linear and the quadratic path of a run and their controls against its held-out
checkpoints, in weights, losses and predictions. Writes a table, figures, the result, and one sentence on what was found."""
_FAITHFULNESS_EXAMPLES = """\
examples:
  python -m nnvis_widgets faithfulness --demo digits --out results
  python -m nnvis_widgets faithfulness --demo digits --schedule constant --mid distance --out results
  python -m nnvis_widgets faithfulness --run runs/lenet --source mymodule:model_and_data --out results
"""
_PRELIMINARY = """\
Before an experiment: how many epochs, how many training samples, how many test samples? Trains several times, with other seeds and
on random subsets. Writes results, tables, figures and findings.txt; finished trainings are kept and not made again (--force goes on
in the same folder)."""
_PRELIMINARY_EXAMPLES = """\
examples:
  python -m nnvis_widgets preliminary --demo digits --out results
  python -m nnvis_widgets preliminary --demo mnist --root ../data --train-samples 5000 --epochs 15 --seeds 5 --out results
  python -m nnvis_widgets preliminary --source mymodule:my_training --what epochs --out results
"""

_LAYERS = """\
Put each layer of the trained model back to a checkpoint, or draw it anew from its own initialiser, and measure what is lost.
Writes results, tables and figures: one row a layer with intervals, and a map of layers and checkpoints."""
_LAYERS_EXAMPLES = """\
examples:
  python -m nnvis_widgets layers --demo digits --out results
  python -m nnvis_widgets layers --demo mnist --root ../data --kind rerandomise --draws 20 --out results
  python -m nnvis_widgets layers --run runs/resnet --source mymodule:model_and_data --unit block --joint fc layer4.1 --out results
"""

_PARAMETERS = """\
Measure the linear and the quadratic path of many single weights of a training run, and tell the pattern that each pair makes.
Writes results, tables and figures: small multiples by pattern, and the phase diagram."""
_PARAMETERS_EXAMPLES = """\
examples:
  python -m nnvis_widgets parameters --demo digits --layer fc1 --count 32 --out results
  python -m nnvis_widgets parameters --demo mnist --root ../data --choose effect --samples 2000 --out results
  python -m nnvis_widgets parameters --run runs/lenet --source mymodule:model_and_data --choose random --count 200 --out results
"""

_MID = "half|distance|INDEX"
_MIDS = "nearest to half of the epochs (default), nearest to half of the way travelled, or the index of a checkpoint"


class Refused(ValueError):
    """Input that cannot work, found before the work starts; the message names the argument."""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options; what argparse can see to be wrong ends in ``SystemExit(2)`` with a message on stderr."""
    return _parser().parse_args(argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m nnvis_widgets", description="Look into the training of a neural network.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"nnvis_widgets {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run", help="measure paths and write tables and figures", description=_RUN, epilog=_EXAMPLES, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    _source_options(run)
    _selection_options(run)
    _measuring_options(run)
    _output_options(run)
    surface = commands.add_parser(
        "surface", help="measure planes and write tables, figures and animations", description=_SURFACE, epilog=_SURFACE_EXAMPLES,
        allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    _source_options(surface)
    _plane_options(surface)
    _output_options(surface)
    before = commands.add_parser(
        "preliminary", help="how many epochs, training samples and test samples", description=_PRELIMINARY,
        epilog=_PRELIMINARY_EXAMPLES, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    _preliminary_options(before)
    _output_options(before)
    layers = commands.add_parser(
        "layers", help="measure how much the model needs each layer", description=_LAYERS, epilog=_LAYERS_EXAMPLES,
        allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    _source_options(layers)
    _layer_options(layers)
    _output_options(layers)
    weights = commands.add_parser(
        "parameters", help="measure single weights and tell their patterns", description=_PARAMETERS, epilog=_PARAMETERS_EXAMPLES,
        allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    _source_options(weights)
    _weight_options(weights)
    _output_options(weights)
    faithful = commands.add_parser(
        "faithfulness", help="compare paths with the recorded training", description=_FAITHFULNESS, epilog=_FAITHFULNESS_EXAMPLES,
        allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    _source_options(faithful)
    _faithful_options(faithful)
    _output_options(faithful)
    notebook = commands.add_parser(
        "notebook", help="open JupyterLab on the notebooks", allow_abbrev=False,
        description="Copy the notebooks to a folder of yours and open JupyterLab on them; what is there is not overwritten.",
    )  # fmt: skip
    notebook.add_argument("--folder", default="nnvis_notebooks", metavar="FOLDER", help="where to (default: ./nnvis_notebooks)")
    notebook.add_argument("--port", type=_port, metavar="PORT", help="of the server (default: JupyterLab's choice)")
    notebook.add_argument("--no-browser", action="store_true", help="start the server and print its address")
    return parser


def _source_options(run: argparse.ArgumentParser) -> None:
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


def _selection_options(run: argparse.ArgumentParser) -> None:
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


def _measuring_options(run: argparse.ArgumentParser) -> None:
    group = run.add_argument_group("how")
    group.add_argument("--path", choices=("linear", "quadratic", "both"), default="both", help="default: both")
    group.add_argument(
        "--mid", default="half", metavar=_MID, help=f"the checkpoint that the quadratic path passes at alpha 0.5: {_MIDS}"
    )  # fmt: skip
    group.add_argument(
        "--alpha", type=_finite, nargs=2, metavar=("LOW", "HIGH"), help="default: 0 1, and -0.5 1.5 for single weights"
    )
    group.add_argument("--points", type=_whole(2), default=41, metavar="N", help="on each path (default: 41)")
    _evaluator_options(group)


def _weight_options(weights: argparse.ArgumentParser) -> None:
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
    _evaluator_options(group)


def _layer_options(layers: argparse.ArgumentParser) -> None:
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
    group = layers.add_argument_group("how")
    _evaluator_options(group)


def _plane_options(surface: argparse.ArgumentParser) -> None:
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
    _evaluator_options(group)


def _preliminary_options(before: argparse.ArgumentParser) -> None:
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


def _faithful_options(faithful: argparse.ArgumentParser) -> None:
    group = faithful.add_argument_group("how")
    group.add_argument("--mid", default="half", metavar=_MID, help=f"the checkpoint that the quadratic path passes: {_MIDS}")
    group.add_argument(
        "--mid-at", type=_finite, default=0.5, metavar="ALPHA", help="where on the path it is drawn over epochs (default: 0.5)"
    )
    group.add_argument("--no-origins", action="store_true", help="leave out the lines from unrelated, noise and zero weights")
    _evaluator_options(group)


def _evaluator_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--samples", type=_whole(1), metavar="N", help="measure on N of the samples (default: all)")
    group.add_argument("--batchnorm", choices=BATCHNORM, help="running statistics away from the recorded weights (default: auto)")
    group.add_argument("--device", metavar="DEVICE", help="auto (default: CUDA when there is one), cpu, cuda, cuda:1, ...")
    group.add_argument("--no-cuda", action="store_true", help="the same as --device cpu")


def _output_options(run: argparse.ArgumentParser) -> None:
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


def _port(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"a whole number from 1 to 65535, received {text!r}")
    return int(text)
