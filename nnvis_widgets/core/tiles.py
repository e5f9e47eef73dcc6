"""Points and tiles: the order in which they are visited, and what is kept of each point between two batches.

May import: torch, numpy, the rest of core except the evaluator.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from .batchnorm import BatchNorm
from .family import WeightFamily
from .replica import Replica

_KEEP_BYTES = 512 * 2**20


class Points:
    """The weights and buffers of each row on the device; kept when they fit, made again for each batch otherwise."""

    def __init__(self, replica: Replica, batchnorm: BatchNorm, family: WeightFamily, rows: np.ndarray, policy: str):
        self._replica, self._batchnorm, self._family, self._rows, self._policy = replica, batchnorm, family, rows, policy
        lazy = not isinstance(family.anchors, list)
        self._placed = family if lazy else family.on(replica.device, replica.dtypes)
        size = sum(family.layout.shapes[name].numel() for name in family.scope.tensors) * 4
        self._room = 1 if lazy else len(rows) if size * len(rows) <= _KEEP_BYTES else 0
        self._weights: dict[int, dict[str, Tensor]] = {}
        self._buffers: dict[int, dict[str, Tensor]] = {}

    def outputs(self, k: int, batch: Any) -> tuple[Any, Any]:
        """Return outputs and targets of a batch at row `k`."""
        parameters = self._weights.get(k)
        if parameters is None:
            moved = self._placed.moved(self._rows[k])
            parameters = {name: moved.get(name, self._placed.background[name]) for name in self._family.layout.shapes}
            parameters = {name: tensor.to(self._replica.device) for name, tensor in parameters.items()}
            if self._room == 1:
                self._weights.clear()
                self._buffers.clear()
            if self._room:
                self._weights[k] = parameters
        if k not in self._buffers:
            self._buffers[k] = self._batchnorm.buffers(self._policy, self._family, self._rows[k], parameters)
        return self._batchnorm.outputs(self._policy, parameters, self._buffers[k], batch)


def coarse_to_fine(points: int, first: int | None = None) -> list[int]:
    """Return 0..points-1 in an order whose every prefix is spread over the range; `first`, if given, comes first.

    Examples
    --------
    >>> coarse_to_fine(5)
    [0, 4, 2, 1, 3]
    """
    order = dict.fromkeys([] if first is None else [first])
    order.update(dict.fromkeys((0, points - 1)))
    step = float(points - 1)
    while step > 1:
        half = step / 2
        order.update(dict.fromkeys(round(half + i * step) for i in range(round((points - 1) / step))))
        step = half
    order.update(dict.fromkeys(range(points)))
    return [k for k in order if 0 <= k < points]


def nested_grids(height: int, width: int, center: tuple[int, int] = (0, 0)) -> list[int]:
    """Return the cells 0..height*width-1 of a grid, row by row numbered, so that coarse grids come first.

    A coarse grid has every 16th, 8th, 4th, ... row and column, counted from the row and column of `center`, so each holds the
    one before: of 33 x 33 cells around the middle 3 x 3, 5 x 5, 9 x 9, 17 x 17. Within a grid, from the centre outwards.

    Examples
    --------
    >>> nested_grids(3, 3, (1, 1))[:5]
    [4, 1, 3, 5, 7]
    """
    rows, columns = np.indices((height, width)) - np.array(center)[:, None, None]
    step = 1
    while 2 * step < max(height, width):
        step *= 2
    order: dict[int, None] = {}
    while step:
        on = np.flatnonzero((rows % step == 0) & (columns % step == 0))
        far = rows.reshape(-1)[on] ** 2 + columns.reshape(-1)[on] ** 2
        order.update(dict.fromkeys(on[np.argsort(far, kind="stable")].tolist()))
        step //= 2
    return list(order)
