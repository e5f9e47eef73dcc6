"""Points of a grid share all coefficients but one with their neighbours, and what those add up to is added up once.

May import: torch, numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor


def fastest(rows: np.ndarray) -> int | None:
    """Return which coefficient is added last: that of the first direction of a plane around a centre; None where there is none.

    It does not depend on which of the plane's points are asked for, so neither do the last bits of their values.

    Examples
    --------
    >>> fastest(np.array([[1, x, y] for y in range(5) for x in range(6)]))
    1
    """
    centers = np.flatnonzero(np.all(rows == 1.0, axis=0))
    return int(centers[0] == 0) if len(centers) and rows.shape[1] >= 3 else None


def in_turn(rows: np.ndarray, ks: Sequence[int]) -> Sequence[int]:
    """Return the numbers of some rows in an order in which those that differ in the coefficient added last are neighbours.

    Examples
    --------
    >>> in_turn(np.array([[1, x, y] for x in range(5) for y in range(4)]), [0, 1, 4, 5, 8, 9, 2])
    [0, 4, 8, 1, 5, 9, 2]
    """
    fast = fastest(rows)
    if fast is None:
        return ks
    some = rows[list(ks)]
    order = np.lexsort((some[:, fast], *np.delete(some, fast, axis=1).T))
    return [ks[i] for i in order.tolist()]


class Sums:
    """Coefficients and the sets of tensors that they belong to, in two terms where rows share all coefficients but one.

    The sum is the same to the last bit in whatever order rows are asked for.

    Parameters
    ----------
    rows : ndarray, shape (K, sets)
    fast : int or None
        See `fastest`.
    sets : sequence of mapping to Tensor
    add : callable
        ``add(row, tensors)``: how tensors of one name are combined.
    """

    def __init__(
        self,
        rows: np.ndarray,
        fast: int | None,
        sets: Sequence[Mapping[Any, Tensor]],
        add: Callable[[Sequence[float], Sequence[Tensor]], Tensor],
    ):
        self._rows, self._fast, self._sets, self._add = rows, fast, sets, add
        self._latest: _Sum | None = None

    def at(self, k: int) -> tuple[Sequence[float], Sequence[Mapping[Any, Tensor]]]:
        """Return coefficients and sets whose combination is that of row `k`."""
        row = self._rows[k].tolist()
        if self._fast is None or not self._sets:
            return row, self._sets
        own, others = row.pop(self._fast), [each for i, each in enumerate(self._sets) if i != self._fast]
        if self._latest is None or self._latest.row != row:
            self._latest = _Sum(row, others, self._add)
        return (1.0, own), (self._latest, self._sets[self._fast])


class _Sum(dict[Any, Tensor]):
    """The sets of one row added up, each name when it is first asked for."""

    def __init__(self, row: Sequence[float], sets: Sequence[Mapping[Any, Tensor]], add: Callable[..., Tensor]):
        super().__init__()
        self.row, self._sets, self._add = row, sets, add

    def __missing__(self, name: Any) -> Tensor:
        self[name] = self._add(self.row, [each[name] for each in self._sets])
        return self[name]
