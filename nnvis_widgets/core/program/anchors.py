"""The moving weights of a family as a program takes them: one set for each anchor, and the rows that combine them.

May import: torch, numpy, core.family, core.program.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ..family import KNOT_TOLERANCE, WeightFamily, combine
from .recordings import images_last
from .turns import Sums, fastest

_EXACT = (torch.float32, torch.float64, torch.complex64, torch.complex128)


class Anchors:
    """The moving weights of a family on the device, as they enter the first operation: one set for each anchor in use.

    Where the rows do not sum to one (a plane: centre and directions), what is affine also has a part that no anchor carries
    alone; it is found with all moving weights at zero, as the last of the sets. With a centre that is in every row, what an
    affine value has of a direction is its difference to that; else the zero set gets the coefficient ``1 - sum(row)``.

    Attributes
    ----------
    rows : ndarray, shape (K, sets that are combined)
    weights : list of dict of str to Tensor
    center : int or None
        The set that is in every row, where the others are directions.
    fast : int or None
        The set that is added last (see `turns.fastest`).
    """

    def __init__(self, family: WeightFamily, rows: np.ndarray, dtypes: Mapping[str, torch.dtype], channels_last: bool):
        used = np.flatnonzero(np.any(rows != 0.0, axis=0))
        self.rows = rows[:, used]
        rest = 1.0 - self.rows.sum(axis=1)
        sums_to_one = bool(np.all(np.abs(rest) <= KNOT_TOLERANCE))
        units = np.eye(rows.shape[1])[used]
        whole = np.flatnonzero(np.all(self.rows == 1.0, axis=0))
        self.center = int(whole[0]) if not sums_to_one and len(whole) else None
        if not sums_to_one:
            units = np.concatenate([units, np.zeros((1, rows.shape[1]))])
        if not sums_to_one and self.center is None:
            self.rows = np.concatenate([self.rows, np.where(np.abs(rest) <= KNOT_TOLERANCE, 0.0, rest)[:, None]], axis=1)
        form = images_last if channels_last else (lambda tensor: tensor)
        self.weights = [{name: form(tensor) for name, tensor in family.moved(unit).items()} for unit in units]
        self.still: dict[str, Tensor] = {}
        for name in family.scope.tensors:
            first, *others = [anchor[name] for anchor in self.weights]
            if sums_to_one and all(torch.equal(first, other) for other in others):
                self.still[name] = first.to(dtypes[name])
        self.moving = [name for name in family.scope.tensors if name not in self.still]
        # half precision rounds after the weights are combined, which is not affine
        self.affine = [name for name in self.moving if dtypes[name] in _EXACT]
        self._dtypes = dtypes
        self._index = family.scope.tensors
        self._masks: dict[str, Tensor | None] = {}
        self._stacks: dict[str, Tensor] = {}
        self.fast = fastest(self.rows)
        self._sums = Sums(self.rows, self.fast, self.weights[: self.rows.shape[1]], _combined)
        self.unit = self._unit(family)

    def _unit(self, family: WeightFamily) -> int | None:
        """Return the unit that all moving weights lead into: the row of their tensor; None where there are several."""
        index = family.scope.tensors[self.moving[0]] if len(self.moving) == 1 else None
        if index is None or self.moving != self.affine:
            return None
        shape = family.layout.shapes[self.moving[0]]
        units = torch.unique(index // max(math.prod(shape[1:]), 1))
        return int(units[0]) if len(units) == 1 and len(shape) else None

    def weight(self, name: str, k: int) -> Tensor:
        """Return a moving weight at row `k`, in the model's type."""
        first, (row, sets) = self.weights[0][name], self._sums.at(k)
        weight = _combined(row, [each[name] for each in sets])
        picked = self._picked(name, first)
        return (weight if picked is None else torch.where(picked, weight, first)).to(self._dtypes[name])

    def weights_at(self, name: str, ks: Sequence[int]) -> Tensor:
        """Return a moving weight at several rows, the rows first: one matrix product."""
        anchors = [anchor[name] for anchor in self.weights[: self.rows.shape[1]]]
        if name not in self._stacks:
            self._stacks[name] = torch.stack([anchor.reshape(-1) for anchor in anchors])
        stack = self._stacks[name]
        rows = torch.as_tensor(self.rows[list(ks)], dtype=stack.dtype, device=stack.device)
        weights = (rows @ stack).view(len(ks), *anchors[0].shape)
        picked = self._picked(name, anchors[0])
        return (weights if picked is None else torch.where(picked, weights, anchors[0])).to(self._dtypes[name])

    def _picked(self, name: str, like: Tensor) -> Tensor | None:
        """Return where the moving ones of a tensor's weights are: the others get no rounding noise; None for all."""
        if name not in self._masks:
            index = self._index[name]
            places = torch.arange(like.numel(), device=like.device).view(like.shape)
            self._masks[name] = None if index is None else torch.isin(places, index.to(like.device))
        return self._masks[name]


def _combined(row: Sequence[float], tensors: Sequence[Tensor]) -> Tensor:
    return combine([(c, tensor) for c, tensor in zip(row, tensors, strict=True) if c != 0.0], tensors[0])
