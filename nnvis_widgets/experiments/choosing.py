"""Which single weights of a scope are looked at: those that moved most, that matter most, any, or given ones.

May import: core, numpy, torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.scope import Scope, ScopeError, element_index
from ..core.states import Layout, State

CHOICES = ("distance", "effect", "random")
Index = tuple[str, tuple[int, ...]]


class Pool:
    """The weights of a scope that a choice can be made among.

    Attributes
    ----------
    scope : Scope
    size : int
    """

    def __init__(self, scope: Any, layout: Layout):
        self.scope, self._layout = Scope.parse(scope, layout), layout
        for name in self.scope.tensors:
            if layout.dtypes[name].is_complex:
                raise ScopeError(f"scope: {name!r} holds complex numbers, and the patterns are those of real weights")
        self._sizes = [layout.shapes[name].numel() if index is None else len(index) for name, index in self.scope.tensors.items()]
        self.size = sum(self._sizes)

    def given(self, wanted: Any) -> list[Index]:
        """Return the weights of a list, checked: pairs (tensor, index), or indices alone where the scope is of one tensor."""
        if isinstance(wanted, (str, bytes)) or not isinstance(wanted, Sequence):
            choices = ", ".join(map(repr, CHOICES))
            raise ValueError(f"choose: {choices} or a list such as [('fc1.weight', (0, 3))], received {wanted!r}")
        if not len(wanted):
            raise ValueError("choose: at least one weight, received an empty list")
        found: dict[Index, None] = {}
        for entry in wanted:
            named = isinstance(entry, (tuple, list)) and len(entry) == 2 and isinstance(entry[0], str)
            if not named and len(self.scope.tensors) != 1:
                raise ValueError(
                    f"choose: an index such as {entry!r} needs its tensor, since {self.scope.name!r} has "
                    f"{len(self.scope.tensors)}: ({next(iter(self.scope.tensors))!r}, {entry!r})"
                )
            tensor, position = entry if named else (next(iter(self.scope.tensors)), entry)
            one = Scope.parse((tensor, tuple(position) if isinstance(position, list) else position), self._layout)
            (name, flat), *_ = one.tensors.items()
            assert flat is not None
            if not self._has(name, int(flat[0])):
                raise ValueError(f"choose: {one.name} is not among the weights of the scope {self.scope.name!r}")
            index = name, element_index(int(flat[0]), self._layout.shapes[name])
            if index in found:
                raise ValueError(f"choose: {one.name} is named twice")
            found[index] = None
        return list(found)

    def _has(self, name: str, flat: int) -> bool:
        if name not in self.scope.tensors:
            return False
        index = self.scope.tensors[name]
        return index is None or bool((index == flat).any())

    def random(self, count: int, seed: int) -> list[Index]:
        """Return weights drawn without replacement, all alike probable."""
        drawn = np.random.default_rng(seed).choice(self.size, min(count, self.size), replace=False, shuffle=True)
        ends = np.cumsum(self._sizes)
        names = list(self.scope.tensors)
        chosen = []
        for place in drawn.tolist():
            which = int(np.searchsorted(ends, place, side="right"))
            chosen.append(self._index(names[which], place - (int(ends[which]) - self._sizes[which])))
        return chosen

    def largest(self, count: int, size_of: Callable[[str], Tensor]) -> list[Index]:
        """Return the weights with the largest scores, from the largest on; `size_of` gives those of a whole tensor."""
        best: list[tuple[float, int, int]] = []
        names = list(self.scope.tensors)
        for which, name in enumerate(names):
            index = self.scope.tensors[name]
            scores = size_of(name).reshape(-1)
            picked = (scores if index is None else scores[index]).double().cpu().numpy()
            if len(picked) > count:  # the largest ones, and in a tie the first
                limit = np.partition(picked, -count)[-count]
                above = np.flatnonzero(picked > limit)
                places = np.concatenate([above, np.flatnonzero(picked == limit)[: count - len(above)]])
            else:
                places = np.arange(len(picked))
            best += [(-float(picked[place]), which, int(place)) for place in places]
        return [self._index(names[which], place) for _, which, place in sorted(best)[:count]]

    def _index(self, name: str, place: int) -> Index:
        index = self.scope.tensors[name]
        return name, element_index(place if index is None else int(index[place]), self._layout.shapes[name])


def moved_by(start: State, end: State) -> Callable[[str], Tensor]:
    """Return a function that gives how far each element of a tensor has moved."""
    return lambda name: (end[name].detach().double() - start[name].detach().double()).abs().cpu()


def values_at(state: State, chosen: Sequence[Index]) -> np.ndarray:
    """Return the values of chosen weights in a state, float64."""
    return np.array([float(state[tensor][position]) for tensor, position in chosen])


def layer_spread(layout: Layout, start: State, end: State, chosen: Sequence[Index]) -> np.ndarray:
    """Return the root mean square of the movement of each weight's layer."""
    owner = {name: layer for layer, names in layout.layers.items() for name in names}
    spread = {}
    for layer in {owner[tensor] for tensor, _ in chosen}:
        squares = [
            (end[name].detach().double() - start[name].detach().double()).square()
            for name in layout.layers[layer]
            if layout.dtypes[name].is_floating_point
        ]
        total, count = sum(float(square.sum()) for square in squares), sum(square.numel() for square in squares)
        spread[layer] = (total / count) ** 0.5
    return np.array([spread[owner[tensor]] for tensor, _ in chosen])


def scope_of(chosen: Sequence[Index], layout: Layout, name: str) -> Scope:
    """Return the union of chosen weights as a scope of this name."""
    places: dict[str, list[int]] = {}
    for tensor, position in chosen:
        places.setdefault(tensor, []).append(int(np.ravel_multi_index(position, layout.shapes[tensor])) if position else 0)
    return Scope(name, "union", {tensor: torch.tensor(sorted(flat)) for tensor, flat in places.items()})
