"""What the model answers at a point of a plane, or at a stored state, sample by sample.

May import: core, results, torch, numpy. A point is the row (1, x, y) of its plane's family.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.evaluator import Evaluator
from ..core.family import WeightFamily
from ..core.plane import Plane
from ..core.resampling import Z95, wilson
from ..core.states import State
from ..core.sweeping import SERIAL
from ..core.tally import Book, Sweep
from ..results import Inspection
from .planes import on_plane, point_of
from .shared import check_evaluator


def inspect_point(
    evaluator: Evaluator,
    plane: Plane,
    x: float,
    y: float,
    *,
    batchnorm: str | None = None,
    samples: int | None = None,
) -> Inspection:
    """Return what the model answers to each sample with the weights at a point of a plane.

    Parameters
    ----------
    evaluator : Evaluator
    plane : Plane
    x, y : float
    batchnorm : str, optional
        Another BatchNorm policy than the evaluator's: that of the surface on which the point was chosen.
    samples : int, optional
        Ask for the first batches that hold at least so many samples. Default: all.

    Returns
    -------
    Inspection
        Its loss is that of the cell of `measure_surface` at this point, up to rounding.

    Raises
    ------
    ValueError
        Coordinates that are not finite; a plane, a policy or a number of samples that `measure_surface` refuses.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> plane = nv.random_plane(demo.model)
    >>> nv.inspect_point(demo.evaluator, plane, 0.5, -0.25)
    Inspection((0.5, -0.25), ... from the centre: loss ..., accuracy ...; n = 450, test)
    """
    family, policy = on_plane(evaluator, plane, batchnorm)
    point = point_of("x, y", (x, y))
    one, two = (coordinate * length for coordinate, length in zip(point, plane.lengths, strict=True))
    distance = math.sqrt(max(one**2 + two**2 + 2 * one * two * plane.cosine, 0.0))
    return _inspected(evaluator, family, (1.0, *point), policy, samples, point=point, distance=distance)


def inspect_state(evaluator: Evaluator, state: State, *, samples: int | None = None) -> Inspection:
    """Return what the model answers to each sample at a stored state, with the state's own buffers.

    Parameters
    ----------
    evaluator : Evaluator
    state : mapping of str to Tensor
        A ``state_dict()`` of the model.
    samples : int, optional
        Ask for the first batches that hold at least so many samples. Default: all.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> nv.inspect_state(demo.evaluator, demo.run.final)
    Inspection(a state: loss ..., accuracy ...; n = 450, test)
    """
    check_evaluator(evaluator)
    family = evaluator.family(None, [state], background=state)
    return _inspected(evaluator, family, (1.0,), "stored", samples)


def _inspected(
    evaluator: Evaluator, family: WeightFamily, row: tuple[float, ...], policy: str, samples: int | None, **about: Any
) -> Inspection:
    book = Book(evaluator.quantities, 1, None)
    indices, outputs, labels = [], [], []
    scores: list[list[Tensor]] = []
    n = 0
    for batch in evaluator.observe_at(family, row, policy=policy, samples=samples):
        book.note([0], batch.scores, batch.weights)
        book.enter(batch.number, len(batch.samples))
        n += len(batch.samples)
        indices.append(batch.samples)
        scores.append(batch.scores)
        labels.append(batch.labels)
        if batch.labels is not None:  # others may be large, and nobody looks at them
            outputs.append(batch.outputs)
    sweep = Sweep(book.tallies, n, 1.0, len(indices), SERIAL)
    provenance = evaluator.provenance(family, sweep, policy=policy)
    provenance |= {"compiled": False, "engine": {**provenance["engine"], "program": "plain"}}
    numbers = sweep.at(0)
    single = dict(zip(evaluator.quantities, map(_joined, zip(*scores, strict=True)), strict=True))
    bounds = {name: _interval(single[name], mean, numbers["metrics_se"][name]) for name, mean in numbers["metrics"].items()}
    known = [label for label in labels if label is not None]
    return Inspection(
        **{name: numbers[name] for name in ("loss", "loss_se", "metrics", "n")},
        metrics_low={name: low for name, (low, _) in bounds.items()},
        metrics_high={name: high for name, (_, high) in bounds.items()},
        samples=np.concatenate(indices),
        losses=single["loss"],
        **(_classified(torch.cat(outputs), torch.cat(known)) if len(known) == len(labels) else {}),
        **about,
        provenance=provenance,
    )


def _joined(batches: tuple[Tensor, ...]) -> np.ndarray | None:
    """Return the values of single samples in float64; None where there are only those of batches."""
    if any(scores.ndim < 2 for scores in batches):
        return None
    return torch.cat([scores[0] for scores in batches]).to(torch.float64).numpy()


def _interval(values: np.ndarray | None, mean: float, error: float) -> tuple[float, float]:
    """Return the 95 % interval of a metric's mean."""
    if values is not None and np.isin(values, (0.0, 1.0)).all():
        return wilson(mean, len(values))
    return mean - Z95 * error, mean + Z95 * error


def _classified(outputs: Tensor, labels: Tensor) -> dict[str, Any]:
    outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
    # of log-probabilities the softmax is their exp, up to rounding; of probabilities it would be something else
    already = bool((outputs >= 0).all()) and bool(torch.isclose(outputs.sum(1), outputs.new_ones(()), atol=1e-4).all())
    probabilities = outputs if already else outputs.softmax(1)
    return {
        "predicted": outputs.argmax(1).numpy(),
        "target": labels.numpy(),
        "probabilities": probabilities.to(torch.float32).numpy(),
        "classes": outputs.shape[1],
    }
