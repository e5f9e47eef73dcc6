"""What the experiments have in common: the arguments that all of them take, and sums as the arrays of a result.

May import: core, numpy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..core.evaluator import Evaluator
from ..core.tally import Sweep

SAMPLE_BYTES = 64 * 2**20  # that the values of single samples may take, in one pass over the samples


def arrays(sweep: Sweep, keep: slice | np.ndarray) -> dict[str, Any]:
    """Return loss, metrics and their errors at some rows of a sweep, under the names that results have for them."""
    metrics = {name: tally for name, tally in sweep.tallies.items() if name != "loss"}
    loss = sweep.tallies["loss"]
    return {
        "loss": loss.mean[keep],
        "loss_se": loss.se[keep],
        "diff_se": loss.diff_se[keep],
        "metrics": {name: tally.mean[keep] for name, tally in metrics.items()},
        "metrics_se": {name: tally.se[keep] for name, tally in metrics.items()},
        "metrics_diff_se": {name: tally.diff_se[keep] for name, tally in metrics.items()},
    }


def sample_losses(sweep: Sweep, keep: slice | np.ndarray) -> np.ndarray | None:
    """Return the loss of each sample at some rows of a sweep that is complete; None where they were not kept."""
    values = sample_values(sweep, "loss", keep)
    return None if values is None or sweep.fraction < 1.0 else values.copy()


def sample_values(sweep: Sweep, quantity: str, keep: slice | np.ndarray = slice(None)) -> np.ndarray | None:
    """Return what has been measured of a quantity at some rows, sample by sample, (rows, n); None where it was not kept."""
    known = (sweep.samples or {}).get(quantity)
    return None if known is None else known[keep, : sweep.n]


def check_evaluator(evaluator: Any) -> None:
    """Refuse what is no evaluator."""
    if not isinstance(evaluator, Evaluator):
        raise TypeError(f"evaluator: the first argument is an nv.Evaluator(model, data), received {type(evaluator).__name__}")


def answer(results: Iterator[Any]) -> Any:
    """Return the last of the partial results."""
    for result in results:
        final = result
    return final
