"""How far the weights have travelled: the model, each layer, each tensor.

May import: core, results, numpy.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from ..core.distances import distances
from ..core.scope import Scope, movable_layers
from ..core.states import Layout, RunLike, check_run
from ..results import MovementTable

COLUMNS = ("distance", "relative_distance", "rms", "arc_length", "tortuosity", "cosine", "rho", "eta")


def iter_movement(
    run: RunLike,
    scopes: Sequence[Any] | None = None,
    *,
    layout: Layout | None = None,
    start: int = 0,
    mid: int | None = None,
    end: int = -1,
) -> Generator[float, None, MovementTable]:
    """Yield the share of the checkpoints that have been read; the generator's return value is the `MovementTable`."""
    # not itself a generator function: bad input is refused when it is called, not at the first step
    check_run(run)
    if len(run) < 2:
        raise ValueError(f"run: movement is measured between two checkpoints, and this run holds {len(run)}")
    layout = layout or run.layout  # type: ignore[attr-defined]
    first, last = _index(run, "start", start), _index(run, "end", end)
    middle = None if mid is None else _index(run, "mid", mid)
    if last <= first:
        raise ValueError(f"start, end: two checkpoints in the order of training, received {start} and {end} of {len(run)}")
    layers = movable_layers(layout).items()
    # dict.fromkeys: a parameter of the root module is its own layer, and is listed once
    wanted: list[Any] = [None, *dict.fromkeys(name for layer, names in layers for name in (layer, *names))]
    parsed = [Scope.parse(scope, layout) for scope in (wanted if scopes is None else scopes)]
    if not parsed:
        raise ValueError("scopes: at least one, received an empty list")
    return _walk(run, parsed, layout, first, middle, last)


def _walk(
    run: RunLike, parsed: list[Scope], layout: Layout, first: int, mid: int | None, last: int
) -> Generator[float, None, MovementTable]:
    kept = {first, last, first if mid is None else mid}
    states = {index: layout.check(run[index].state, f"checkpoint {index}") for index in kept}
    arcs = np.zeros(len(parsed))
    before = states[first]
    for index in range(first + 1, last + 1):
        state = layout.check(run[index].state, f"checkpoint {index}")
        for row, scope in enumerate(parsed):
            arcs[row] += distances(scope.take(before), scope.take(state))["distance"]
        before = state
        yield (index - first) / (last - first)
    columns: dict[str, list[float]] = {name: [] for name in COLUMNS}
    for row, scope in enumerate(parsed):
        middle = scope.take(states[mid]) if mid is not None else None
        moved = distances(scope.take(states[first]), scope.take(states[last]), middle)
        moved["arc_length"] = float(arcs[row])
        moved["tortuosity"] = arcs[row] / moved["distance"] if moved["distance"] else np.nan
        for name in COLUMNS:
            columns[name].append(moved.get(name, np.nan))
    return MovementTable(
        scopes=[scope.name for scope in parsed],
        levels=[scope.level for scope in parsed],
        parameter_count=np.array([scope.count(layout) for scope in parsed]),
        checkpoints=last - first + 1,
        **{name: np.array(values) for name, values in columns.items()},
    )


def measure_movement(
    run: RunLike,
    scopes: Sequence[Any] | None = None,
    *,
    layout: Layout | None = None,
    start: int = 0,
    mid: int | None = None,
    end: int = -1,
) -> MovementTable:
    """Return how far each scope has travelled between two checkpoints of a run.

    Parameters
    ----------
    run : Run
    scopes : sequence, optional
        Default: the model, each layer, each tensor.
    layout : Layout, optional
        ``evaluator.layout``; default: as far as the run knows it.
    start, end : int
        Indices of checkpoints.
    mid : int, optional
        With it, rho and eta of the mid checkpoint are given (METHODS: timing and excursion).

    Returns
    -------
    MovementTable
        ``arc_length`` is summed over the recorded checkpoints, so it depends on how often they were recorded.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> table = nv.measure_movement(demo.run, ["conv1", "fc1"], mid=2)
    >>> table.to_pandas()[["scopes", "parameter_count"]].values.tolist()
    [['conv1', 60], ['fc1', 69240]]
    """
    steps = iter_movement(run, scopes, layout=layout, start=start, mid=mid, end=end)
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            return finished.value


def _index(run: RunLike, name: str, index: int) -> int:
    if not -len(run) <= index < len(run):
        raise ValueError(f"{name}: a checkpoint from 0 to {len(run) - 1}, or from the end -1 to -{len(run)}; received {index}")
    return index % len(run)
