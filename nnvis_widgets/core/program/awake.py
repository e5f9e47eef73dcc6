"""A unit that answers some samples alike at every point leaves them where they are: the pass goes on with the others.

May import: torch, core.program. Behind a rectifier many a unit is silent for half of the samples. What it gives the next layer is
then the same number at every point, and so are the scores of the sample, to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, fx

from .affine import Kind
from .split import Piece, cut

if TYPE_CHECKING:
    from .anchors import Anchors

_MOST = 2**24  # numbers that the change of a unit may have, over all points of a batch
_FEW = 0.9  # of the samples: with more of them awake, picking them out is not repaid


@dataclass(frozen=True, eq=False)
class Stages:
    """A suffix in two: `waking` gives the change of the unit, and `after` the scores from it."""

    waking: Piece
    after: Piece
    change: fx.Node

    def repaid(self, anchors: Anchors) -> bool:
        """Whether looking for samples to leave out takes less than it saves: not where a device is idle between operations."""
        size = len(anchors.rows) * math.prod(self.change.meta["shape"])
        return size <= _MOST and all(tensor.device.type == "cpu" for tensor in anchors.weights[0].values())


def stages(graph: fx.Graph, kinds: Mapping[fx.Node, Kind], scores: Sequence[fx.Node], change: fx.Node | None) -> Stages | None:
    """Return a suffix cut where its unit meets the others; None where samples cannot be taken apart there."""
    if change is None or not scores or kinds[change] is not Kind.MOVING:
        return None
    shape = tuple(change.meta.get("shape") or ())
    if len(shape) != 2 or any(node.meta.get("shape") != shape[:1] for node in scores):
        return None
    still = [node for node, kind in kinds.items() if kind in (Kind.FIXED, Kind.BATCH, Kind.UNIT)]
    heads = [node for node, kind in kinds.items() if kind is Kind.HEAD]
    moving = {node for node, kind in kinds.items() if kind in (Kind.HEAD, Kind.WEIGHT, Kind.MOVING)}
    try:
        after = cut(graph, scores, still, [change])
        waking = cut(graph, [change], still, heads)
    except KeyError:  # what is moving is needed past the change, too
        return None
    if moving.intersection(after.inputs) != {change} or not waking.mixed or moving.intersection(waking.inputs) != set(waking.mixed):
        return None
    return Stages(waking, after, change)


class Awake:
    """The scores of one batch for one unit, with only those samples visited whose scores change.

    Parameters
    ----------
    stages : Stages
    count : int
        Rows.
    known : callable
        ``known(node)``: a value that all rows share.
    stacked : callable
        ``stacked(node, rows)``: an affine value at several rows.
    batch : mapping
        The values that depend on the samples.
    """

    def __init__(
        self,
        stages: Stages,
        count: int,
        known: Callable[[fx.Node], Any],
        stacked: Callable[[fx.Node, Sequence[int]], Tensor],
        batch: Mapping[fx.Node, Any],
    ):
        self._after, change = stages.after, stages.change
        rows = range(count)
        waking = [stacked(node, rows) if node in stages.waking.mixed else known(node) for node in stages.waking.inputs]
        (self._change,) = stages.waking.together(waking)
        samples = self._change.shape[1]
        whole = [self._change[:1] if node is change else known(node) for node in self._after.inputs]
        first = self._change[0]
        # not a number is not equal to itself: such a sample is awake
        moves = (self._change != first).flatten(2).any(2).any(0)
        awake = moves.nonzero()[:, 0]
        self._picked: Tensor | None = None
        if len(awake) < _FEW * samples:
            self._picked = awake
            self._asleep = [scores[0] for scores in self._after.together(whole)]
            self._change = self._change.index_select(1, awake)

        def some(node: fx.Node) -> Any:
            value = known(node)
            if self._picked is None or node not in batch or not isinstance(value, Tensor):
                return value
            return value.index_select(0, awake) if value.ndim and len(value) == samples else value

        self._inputs = [None if node is change else some(node) for node in self._after.inputs]

    def scores(self, ks: Sequence[int]) -> list[Tensor]:
        """Return the scores at some rows, each (len(ks), n)."""
        change = self._change[list(ks)]
        if self._picked is None:
            return list(self._after.together([change if value is None else value for value in self._inputs]))
        whole = [scores.expand(len(ks), -1).clone() for scores in self._asleep]
        if len(self._picked):
            there = self._after.together([change if value is None else value for value in self._inputs])
            for scores, moved in zip(whole, there, strict=True):
                scores.index_copy_(1, self._picked, moved)
        return whole
