"""What single weights did during a training: their values at its checkpoints.

May import: core, results, numpy.
"""

from __future__ import annotations

import difflib
import operator
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from ..core.states import RunLike, State, check_run
from ..results import WeightCourse
from .choosing import values_at


def iter_weight_course(run: RunLike, index: Sequence[Any]) -> Generator[float, None, WeightCourse]:
    """Yield the share of the checkpoints that have been read; the generator's return value is the `WeightCourse`."""
    # not itself a generator function: bad input is refused when it is called, not at the first step
    check_run(run)
    first = run[0].state
    return _walk(run, [_checked(one, first) for one in index])


def _checked(one: Any, first: State) -> tuple[str, tuple[int, ...]]:
    try:
        tensor, position = one[0], tuple(operator.index(part) for part in one[1])
        valid = len(one) == 2 and isinstance(tensor, str)
    except (TypeError, IndexError, KeyError):
        valid = False
    if not valid:
        raise ValueError(f"index: pairs of a tensor's name and a position in it, such as ('fc1.weight', (3, 17)); received {one!r}")
    if tensor not in first:
        close = difflib.get_close_matches(tensor, list(first), n=3, cutoff=0.4) or list(first)[:6]
        raise ValueError(f"index: a tensor of the checkpoints, such as {', '.join(map(repr, close))}; received {tensor!r}")
    shape = tuple(first[tensor].shape)
    if len(position) != len(shape) or not all(-size <= part < size for part, size in zip(position, shape, strict=True)):
        ranges = ", ".join(f"0 to {size - 1}" for size in shape)
        rule = f"of {len(shape)} whole number{'s' * (len(shape) != 1)} ({ranges})" if shape else "that is empty, ()"
        raise ValueError(f"index: {tensor!r} has shape {shape}, so a position in it is one {rule}; received {position}")
    return tensor, position


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

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> nv.measure_weight_course(demo.run, [("fc3.weight", (0, 3)), ("conv1.bias", (2,))])
    WeightCourse(2 weights at 5 checkpoints, turned ... times)
    """
    steps = iter_weight_course(run, index)
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            return finished.value
