"""What the model answers to each sample at one or many points: the loop's second verb.

May import: torch, numpy, core.data, core.points, core.scoring, core.family, core.batchnorm, core.replica, core.program.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .batchnorm import BatchNorm
from .data import Samples
from .family import WeightFamily
from .points import Points
from .program.recordings import Engine, Recordings
from .replica import Replica
from .scoring import Scorer, is_classification


@dataclass(frozen=True, eq=False)
class Observed:
    """The answers to one batch, on the CPU.

    Attributes
    ----------
    number : int
        Of the batch.
    samples : ndarray of int, shape (n,)
        Indices into the user's data.
    outputs, targets : Tensor, or what else the forward function returns
    scores : list of Tensor, shape (1, n) or (1,)
        The loss and the metrics, as `Points.scores` gives them for one row.
    weights : Tensor, shape (n,), or None
        Of the samples' losses.
    labels : Tensor, shape (n,), or None
        Class labels, -1 for one that the loss ignores; None where outputs are no scores of classes, (n, C).
    """

    number: int
    samples: np.ndarray
    outputs: Any
    targets: Any
    scores: list[Tensor]
    weights: Tensor | None
    labels: Tensor | None


def observed(points: Points, samples: Samples, scorer: Scorer, batches: int) -> Iterator[Observed]:
    """Yield the answers at the only row of some points to the first batches."""
    for number in range(batches):
        points.load(samples.there(number), samples.size(number))
        output, target, scores, weights = points.observed(0)
        labels = scorer.labels(output, target)
        yield Observed(
            number,
            samples.indices(number),
            _here(output),
            _here(target),
            [score.cpu()[None] for score in scores],
            _here(weights),
            _here(labels),
        )


class Answering:
    """A scorer whose last score is the output itself, so that answers come from wherever scores do.

    Attributes
    ----------
    kind : str
        What answers are: "classes" (scores of classes on axis 1), "numbers", or "" where they are no tensor of numbers.
    """

    def __init__(self, scorer: Scorer):
        self._scorer, self.kind = scorer, ""
        self.names = (*scorer.names, "answers")
        self.weights, self.check_labels = scorer.weights, scorer.check_labels

    def __call__(self, output: Any, target: Any, n: int) -> list[Tensor]:
        """Return the loss and the metrics, and the outputs, (n, ...), where these are numbers."""
        scores = self._scorer(output, target, n)
        if not (isinstance(output, Tensor) and output.is_floating_point() and output.ndim and len(output) == n):
            return scores
        self.kind = "classes" if is_classification(output, target) and output.shape[1] > 1 else "numbers"
        return [*scores, output.detach()]


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers to one batch at one row, on the CPU.

    Attributes
    ----------
    number, row : int
    n : int
        Samples in the batch.
    loss : Tensor, shape (n,) or ()
    weights : Tensor, shape (n,), or None
        Of the samples' losses.
    kind : str
        See `Answering`.
    outputs : Tensor, shape (n, ...), or None
    last : bool
        Whether it is the last row of the batch.
    engine : dict
        How it was computed.
    """

    number: int
    row: int
    n: int
    loss: Tensor
    weights: Tensor | None
    kind: str
    outputs: Tensor | None
    last: bool
    engine: dict[str, Any]


def answered(
    replica: Replica, batchnorm: BatchNorm, scorer: Scorer, engine: Engine, samples: Samples,
    family: WeightFamily, rows: np.ndarray, policy: str, batches: int,
) -> Iterator[Answers | None]:  # fmt: skip
    """Yield the answers to the first batches at many rows: all rows of a batch in their order, then the next batch.

    None where there is nothing new yet: steps of a calibration.
    """
    asking = Answering(scorer)
    # by themselves: with as many anchors as there are checkpoints, what is affine would be kept once for each of them
    recordings = Recordings(replica, asking, replace(engine, head=False, compile=False))  # type: ignore[arg-type]
    points = Points(replica, batchnorm, asking, recordings, family, rows, policy)  # type: ignore[arg-type]
    for number in range(batches):
        n = samples.size(number)
        points.load(samples.there(number), n)
        for ks, _ in points.groups(range(len(rows))):
            if not ks:
                yield None
                continue
            scores, weights = points.scores(ks)
            outputs = scores[-1].cpu() if asking.kind else None
            loss, here = scores[0].cpu(), _here(weights)
            for place, k in enumerate(ks):
                answer = None if outputs is None else outputs[place]
                last = k == len(rows) - 1
                yield Answers(number, k, n, loss[place], here, asking.kind, answer, last, recordings.used(policy))


def joined(batches: Iterable[Observed]) -> tuple[Tensor, Tensor]:
    """Return the outputs and the targets of all batches."""
    parts = []
    for batch in batches:
        answer = batch.outputs, batch.targets
        if not all(isinstance(part, Tensor) for part in answer):
            kinds = ", ".join(type(part).__name__ for part in answer)
            raise TypeError(f"observe: outputs and targets must be tensors, received {kinds}; say which with forward=")
        parts.append(answer)
    return torch.cat([output for output, _ in parts]), torch.cat([target for _, target in parts])


def _here(value: Any) -> Any:
    return value.detach().cpu() if isinstance(value, Tensor) else value
