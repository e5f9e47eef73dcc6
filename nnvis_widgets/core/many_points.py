"""The points of several families as one: each family's in turn, and what they share of a batch computed once.

May import: torch, numpy, core.points, core.family, core.program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from .calibration import Found
from .family import Families, WeightFamily
from .points import Points
from .program.program import Shared


class ManyPoints:
    """The points of several families, one below the other: what they share of a batch is computed once."""

    def __init__(self, families: Families, make: Callable[[WeightFamily, slice, Shared], Points]):
        ends = np.cumsum(families.sizes)
        self._starts = ends - families.sizes
        self._of = np.repeat(np.arange(len(ends)), families.sizes)
        shared = Shared()
        self._members = [
            make(family, slice(end - size, end), shared)
            for family, end, size in zip(families.members, ends, families.sizes, strict=True)
        ]
        self._loaded = -1
        self._batch: Any = None
        self._n = 0

    def load(self, batch: Any, n: int) -> None:
        """Take a batch of `n` samples that is on the device."""
        self._batch, self._n, self._loaded = batch, n, -1

    def in_turn(self, ks: Sequence[int]) -> Sequence[int]:
        """Return rows in an order, as `Points.in_turn` does: these stay family by family."""
        return ks

    def groups(self, ks: Sequence[int], part: int = 0, parts: int = 1) -> Iterator[tuple[Sequence[int], int]]:
        """Yield the rows family by family, as `Points.groups` does; a part has its share of every family."""
        own: dict[int, list[int]] = {}
        for k, member in zip(ks, self._of[list(ks)].tolist(), strict=True):
            own.setdefault(member, []).append(k - int(self._starts[member]))
        for member, rows in own.items():
            self._members[member].load(self._batch, self._n)
            self._loaded = member
            start = int(self._starts[member])
            for group, steps in self._members[member].groups(rows, part, parts):
                yield [k + start for k in group], steps
            self._members[member].unload()

    def scores(self, ks: Sequence[int]) -> tuple[list[Tensor], Tensor | None]:
        """Return the scores of a group, as `Points.scores` does."""
        member = int(self._of[ks[0]])
        if member != self._loaded:
            self._members[member].load(self._batch, self._n)
            self._loaded = member
        return self._members[member].scores([k - int(self._starts[member]) for k in ks])

    def calibrated(self, ks: Sequence[int]) -> dict[int, Found]:
        """Return the recalibrated statistics of rows, as `Points.calibrated` does."""
        found: dict[int, Found] = {}
        for start, own, member in self._split(ks):
            found.update({k + start: named for k, named in member.calibrated(own).items()})
        return found

    def adopt(self, statistics: Mapping[int, Found]) -> None:
        """Take recalibrated statistics, as `Points.adopt` does."""
        for start, own, member in self._split(list(statistics)):
            member.adopt({k: statistics[k + start] for k in own})

    def _split(self, ks: Sequence[int]) -> Iterator[tuple[int, list[int], Points]]:
        """Yield each family's first row, its own numbers of the rows, and its points."""
        for number, (start, member) in enumerate(zip(self._starts.tolist(), self._members, strict=True)):
            own = [k - start for k in ks if self._of[k] == number]
            if own:
                yield start, own, member
