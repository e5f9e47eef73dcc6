"""What can be said on the command line. Imports nothing heavy, so that ``--help`` answers at once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .. import __version__
from .groups import (
    faithful_options,
    layer_options,
    measuring_options,
    output_options,
    plane_options,
    port,
    preliminary_options,
    selection_options,
    source_options,
    thesis_options,
    weight_options,
)

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
  python -m nnvis_widgets faithfulness --demo digits --seeds 0,1,2,3,4 --out results
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

_THESIS = """\
What our measurements say to the statements of the thesis that this tool began with: numbers with intervals, run by run, and
verdicts that follow from rules. Writes tables (CSV, Markdown, HTML), a picture and the result. Trainings and studies are stored
in the user's cache, and made where they are missing."""
_THESIS_EXAMPLES = """\
examples:
  python -m nnvis_widgets thesis --demo digits --out results
  python -m nnvis_widgets thesis --demo mnist --root ../data --seeds 0,1,2 --out results
"""


class Refused(ValueError):
    """Input that cannot work, found before the work starts; the message names the argument."""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options; what argparse can see to be wrong ends in ``SystemExit(2)`` with a message on stderr."""
    options = _parser().parse_args(argv)
    options.said = list(sys.argv[1:] if argv is None else argv)
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m nnvis_widgets", description="Look into the training of a neural network.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"nnvis_widgets {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary, description, examples, groups in (
        ("run", "measure paths and write tables and figures", _RUN, _EXAMPLES,
         (source_options, selection_options, measuring_options)),
        ("surface", "measure planes and write tables, figures and animations", _SURFACE, _SURFACE_EXAMPLES,
         (source_options, plane_options)),
        ("preliminary", "how many epochs, training samples and test samples", _PRELIMINARY, _PRELIMINARY_EXAMPLES,
         (preliminary_options,)),
        ("layers", "measure how much the model needs each layer", _LAYERS, _LAYERS_EXAMPLES, (source_options, layer_options)),
        ("parameters", "measure single weights and tell their patterns", _PARAMETERS, _PARAMETERS_EXAMPLES,
         (source_options, weight_options)),
        ("faithfulness", "compare paths with the recorded training", _FAITHFULNESS, _FAITHFULNESS_EXAMPLES,
         (source_options, faithful_options)),
        ("thesis", "judge the thesis's statements", _THESIS, _THESIS_EXAMPLES, (thesis_options,)),
    ):  # fmt: skip
        command = commands.add_parser(
            name, help=summary, description=description, epilog=examples, allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        for add in (*groups, output_options):
            add(command)
    notebook = commands.add_parser(
        "notebook", help="open JupyterLab on the notebooks", allow_abbrev=False,
        description="Copy the notebooks to a folder of yours and open JupyterLab on them; what is there is not overwritten.",
    )  # fmt: skip
    notebook.add_argument("--folder", default="nnvis_notebooks", metavar="FOLDER", help="where to (default: ./nnvis_notebooks)")
    notebook.add_argument("--port", type=port, metavar="PORT", help="of the server (default: JupyterLab's choice)")
    notebook.add_argument("--no-browser", action="store_true", help="start the server and print its address")
    return parser
