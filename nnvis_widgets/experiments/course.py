"""What single weights did during a training: their values at its checkpoints.

May import: core, results, numpy.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from ..core.states import RunLike, check_run
from ..results import WeightCourse
from .choosing import values_at


def iter_weight_course(run: RunLike, index: Sequence[Any]) -> Generator[float, None, WeightCourse]:
    """Yield the share of the checkpoints that have been read; the generator's return value is the `WeightCourse`."""
    # not itself a generator function: bad input is refused when it is called, not at the first step
    check_run(run)
    first = run[0].state
    chosen = []
    for one in index:
        try:
            tensor, position = one
            chosen.append((str(tensor), tuple(int(part) for part in position)))
            if len(chosen[-1][1]) != first[tensor].ndim:
                raise IndexError
            float(first[tensor][chosen[-1][1]])
        except (TypeError, ValueError, KeyError, IndexError):
            raise ValueError(
                f"index: pairs of a tensor's name and a position in it, such as ('fc1.weight', (3, 17)); received {one!r}"
            ) from None
    return _walk(run, chosen)


def _walk(run: RunLike, chosen: list[tuple[str, tuple[int, ...]]]) -> Generator[float, None, WeightCourse]:
    values = np.full((len(chosen), len(run)), np.nan)
    for number in range(len(run)):
        values[:, number] = values_at(run[number].state, chosen)
        yield (number + 1) / len(run)
    return WeightCourse(chosen, np.array(run.epochs, dtype=float), values)


def measure_weight_course(run: RunLike, index: Sequence[Any]) -> WeightCourse:
    """Return the values of single weights at each checkpoint of a run.

    Parameters
    ----------
    run : Run
    index : list of (str, tuple of int)
        Tensor and position of each weight, such as the ``index`` of a `ParameterScan`.

    Returns
    -------
    WeightCourse
    """
    steps = iter_weight_course(run, index)
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            return finished.value
