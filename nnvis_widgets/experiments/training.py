"""Loss and metrics at the recorded checkpoints of a run.

May import: core, results, numpy. The anchors are the checkpoints, read from disk one by one; each row has a single 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from ..core.distances import distances
from ..core.evaluator import Evaluator
from ..core.family import WeightFamily
from ..core.scope import Scope
from ..core.states import RunLike, check_run, digest
from ..results import PathResult
from .shared import SAMPLE_BYTES, answer, arrays, check_evaluator, sample_losses


def iter_training(evaluator: Evaluator, run: RunLike, *, samples: int | None = None) -> Iterator[PathResult]:
    """Yield partial results of `measure_training`: checkpoint by checkpoint, those to come NaN."""
    check_evaluator(evaluator)
    anchors = _Checkpoints(evaluator, check_run(run))
    last = anchors[len(run) - 1]
    epochs = np.array(run.epochs, dtype=float)
    span = epochs[-1] - epochs[0]
    family = WeightFamily(evaluator.layout, Scope.parse(None, evaluator.layout), anchors, last)
    moved = distances(family.scope.take(anchors[0]), family.scope.take(last))

    def results() -> Iterator[PathResult]:
        provenance = None
        rows, last_row = np.eye(len(run)), len(run) - 1
        for sweep in evaluator.sweep(family, rows, reference=last_row, policy="stored", keep=SAMPLE_BYTES, samples=samples):
            provenance = provenance or evaluator.provenance(family, sweep, policy="stored")
            values = arrays(sweep, slice(None))
            partly = sweep.tallies["loss"].batches < sweep.batches
            for entry in values.values():
                for array in entry.values() if isinstance(entry, dict) else [entry]:
                    array[partly] = np.nan
            yield PathResult(
                alphas=(epochs - epochs[0]) / span if span else np.zeros(len(run)),
                epochs=epochs,
                kind="training",
                scope="model",
                distance=moved["distance"],
                relative_distance=moved["relative_distance"],
                positions=np.array([]),
                n=sweep.n,
                fraction=sweep.fraction,
                provenance={**provenance, "weights": anchors.digests()},
                sample_losses=sample_losses(sweep, slice(None)),
                **values,
            )

    return results()


def measure_training(evaluator: Evaluator, run: RunLike, *, samples: int | None = None) -> PathResult:
    """Return loss and metrics of every recorded checkpoint on the evaluator's own samples, each with its own buffers.

    Parameters
    ----------
    evaluator : Evaluator
    run : Run
        Checkpoints are read one by one.
    samples : int, optional
        Measure on the first batches that hold at least so many of the evaluator's samples. Default: all.

    Returns
    -------
    PathResult
        Of kind "training": ``epochs``, and ``alphas`` = share of the epochs that had passed.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> training = nv.measure_training(demo.evaluator, demo.run)
    >>> training.epochs.tolist(), bool(training.loss[-1] < training.loss[0])
    ([0.0, 1.0, 2.0, 3.0, 4.0], True)
    """
    return answer(iter_training(evaluator, run, samples=samples))


class _Checkpoints(Sequence):
    """The states of a run as anchors, each read and checked when it is needed."""

    def __init__(self, evaluator: Evaluator, run: RunLike):
        if len(run) < 1:
            raise ValueError("run: it holds no checkpoints")
        self._evaluator, self._run = evaluator, run
        self._digests = [""] * len(run)
        self._last: tuple[int, dict[str, Tensor]] | None = None

    def __len__(self) -> int:
        return len(self._run)

    def __getitem__(self, index):
        # one is kept: the weights and the buffers of a point are asked for one after the other
        if self._last is None or self._last[0] != index:
            state = self._evaluator.layout.check(self._run[index].state, f"checkpoint {index} of the run")
            self._digests[index] = self._digests[index] or digest(state)
            self._last = (index, state)
        return self._last[1]

    def digests(self) -> list[str]:
        """Return the digest of each checkpoint that has been read; "" for those to come."""
        return list(self._digests)
