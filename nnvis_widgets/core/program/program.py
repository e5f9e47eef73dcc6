"""A forward pass at many points of one family: the prefix once a batch, the head once an anchor, the suffix at each point.

May import: torch, core.data, core.tiles, core.program.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from ..data import free_bytes
from ..tiles import in_groups
from .affine import Kind
from .anchors import Anchors
from .awake import Awake
from .lean import mixture
from .recordings import Engine, Recorded, form_of, images_last, tensors_of
from .split import Split
from .turns import Sums

_TOGETHER = 2**20  # numbers that go into one call for several points: they stay in a CPU's cache, and the calls are worth it
_COPIES = 8  # of the largest value that are in a GPU's memory at once, about
# points whose weights move, on a GPU: where a value of one of them is smaller than this, several take less time than one by one
_WAITING = 2**24
_BUSY = 2**26  # numbers in one call for several of these


@dataclass
class Shared:
    """What programs for different scopes of one background have in common: fixed values, and the prefix of one batch."""

    fixed: dict[Split, dict[fx.Node, Any]] = field(default_factory=dict)
    batch: Any = None
    prefixes: dict[Split, dict[fx.Node, Any]] = field(default_factory=dict)
    calibration: dict[int, Shared] = field(default_factory=dict)  # the same, for each batch of the calibration
    described: tuple[Any, Any] = (None, None)  # a batch, and its form

    def form(self, batch: Any) -> Any:
        """Return the form of a batch, see `form_of`: hundreds of families may ask for it."""
        if self.described[0] is not batch:
            self.described = batch, form_of(batch)
        return self.described[1]

    @property
    def size(self) -> int:
        """Bytes that the prefixes take."""
        return sum(map(_bytes, self.prefixes.values()))


class Program:
    """One recorded forward pass, split for one family."""

    def __init__(
        self,
        recorded: Recorded,
        anchors: Anchors | None,
        background: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        *,
        moving_weights: Sequence[str] = (),
        moving_buffers: Sequence[str] = (),
        engine: Engine,
        shared: Shared | None = None,
    ):
        if anchors is not None and anchors.unit is not None and engine.head and anchors.moving[0] in recorded.weights:
            recorded = recorded.of_unit(anchors.moving[0])
        self._anchors, self._engine = anchors, engine
        self._form = images_last if engine.channels_last else (lambda tensor: tensor)
        affine = set(anchors.affine) if anchors else set()
        if recorded.row is not None:
            affine.clear()  # the weights of other units are those of the background
        moving = set(moving_weights) | (set(anchors.moving) - set(anchors.affine) if anchors else set())
        still = {**background, **(anchors.still if anchors else {})}
        inputs = dict.fromkeys((node for node in recorded.batch), Kind.BATCH)
        fixed: dict[fx.Node, Tensor] = dict(recorded.constants)
        self._names: dict[fx.Node, tuple[str, str]] = {}
        for what, named, goes, values in (
            ("weight", recorded.weights, moving, still),
            ("buffer", recorded.buffers, set(moving_buffers), buffers),
        ):
            for name, node in named.items():
                inputs[node] = Kind.WEIGHT if what == "weight" and name in affine else Kind.MOVING if name in goes else Kind.FIXED
                if inputs[node] is Kind.FIXED:
                    fixed[node] = self._form(values[name])
                else:
                    self._names[node] = (what, name)
        for node in recorded.graph.nodes:  # placeholders of what the pass does not use
            if node.op == "placeholder":
                inputs.setdefault(node, Kind.FIXED)
        if recorded.row is not None and recorded.unit is not None and anchors is not None:
            inputs[recorded.row], inputs[recorded.unit] = Kind.WEIGHT, Kind.UNIT
            self._names[recorded.row] = "row", anchors.moving[0]
        self._parts = recorded.split(inputs, engine.head)
        self._recorded = recorded
        # where nothing but the background is fixed, another family with the same split computes the same; so it does where
        # buffers move: those that do not are the same for both
        self._shared = Shared() if shared is None or (anchors and anchors.still) else shared
        if self._parts not in self._shared.fixed:
            with torch.inference_mode():
                self._shared.fixed[self._parts] = {**fixed, **self._parts.fixed(fixed)}
        self._fixed: dict[fx.Node, Any] = self._shared.fixed[self._parts]
        self._heads: list[dict[fx.Node, Tensor]] = []
        self._sums: Sums | None = None
        self._batch: dict[fx.Node, Any] = {}
        self._stacks: dict[fx.Node, Tensor | None] = {}
        self._awake: Awake | None = None
        stages = self._parts.stages
        self._stages = stages if stages is not None and anchors is not None and stages.repaid(anchors) else None
        self._most = engine.together
        self._room: int | None = None

    @property
    def weights(self) -> list[str]:
        """Names of the weights that each point needs itself."""
        return [self._names[node][1] for node in self._parts.weights if self._names[node][0] != "buffer"]

    @property
    def outline(self) -> tuple:
        """What two programs share whose splits are the same, whatever the numbers."""
        anchors = None if self._anchors is None else len(self._anchors.weights)
        return anchors, *(tuple(str(node) for node in piece.inputs) for piece in (self._parts.suffix, self._parts.head))

    @property
    def sample_weights(self) -> Tensor | None:
        """Weights of the samples of the loaded batch; None where all count alike."""
        node = self._recorded.sample_weights
        return None if node is None else self._fixed.get(node, self._batch.get(node))

    def target_in(self, batch: Any) -> Tensor | None:
        """Return the targets where they are a tensor of the batch itself."""
        place = {node: i for i, node in enumerate(self._recorded.batch)}.get(self._recorded.target)  # type: ignore[arg-type]
        return None if place is None else tensors_of(batch)[place]

    @property
    def same(self) -> list[bool]:
        """Which of the scores are the same at every point, once a batch is loaded."""
        return [node in self._fixed or node in self._batch for node in self._recorded.scores]

    def beside(self, shared: Shared) -> Program:
        """Return a copy for another batch, whose prefix is kept in `shared`."""
        twin = copy.copy(self)
        twin._shared = Shared() if self._anchors and self._anchors.still else shared
        return twin

    @property
    def size(self) -> int:
        """Bytes that a loaded batch takes."""
        return sum(map(_bytes, (self._batch, *self._heads)))

    def load(self, batch: Any) -> None:
        """Compute what the points of a batch share."""
        if self._shared.batch is not batch:
            self._shared.batch = batch
            self._shared.prefixes.clear()
        if self._parts not in self._shared.prefixes:
            self._shared.prefixes[self._parts] = self._prefix(batch)
        self._batch = dict(self._shared.prefixes[self._parts])
        if self._recorded.unit is not None:
            self._batch[self._recorded.unit] = self._anchors.unit if self._anchors else None
            self._batch.update(self._parts.unit(self._fixed, self._batch))
        self._load_heads()

    def _prefix(self, batch: Any) -> dict[fx.Node, Any]:
        samples = {node: self._form(tensor) for node, tensor in zip(self._recorded.batch, tensors_of(batch), strict=True)}
        return {**samples, **self._parts.prefix(self._fixed, samples)}

    def _load_heads(self) -> None:
        self._heads, self._stacks, self._awake = [], {}, None
        if self._parts.head.outputs and self._anchors is not None:
            for anchor in self._anchors.weights:
                weights = {node: self._entering(node, anchor) for node in self._parts.head.inputs if node in self._names}
                self._heads.append({n: _dense(v) for n, v in self._parts.head(self._fixed, self._batch, weights).items()})
            if self._anchors.center is not None:
                *heads, rest = self._heads
                self._heads = [
                    head if i == self._anchors.center else {node: value - rest[node] for node, value in head.items()}
                    for i, head in enumerate(heads)
                ]
        if self._anchors is not None:
            self._sums = Sums(self._anchors.rows, self._anchors.fast, self._heads, mixture)

    def _entering(self, node: fx.Node, anchor: Mapping[str, Tensor]) -> Tensor:
        what, name = self._names[node]
        return anchor[name] if what == "weight" else anchor[name].narrow(0, self._anchors.unit, 1)  # type: ignore[union-attr, arg-type]

    @property
    def together(self) -> int:
        """How many points are computed in one call, once a batch is loaded."""
        if not self._heads or self._most == 1 or not self._stackable:
            return 1
        if self._room is None:
            head = next(iter(self._heads[0].values()))
            self._room = free_bytes(head.device) // (_COPIES * head.element_size()) or _TOGETHER
        room = min(self._room, _BUSY) if self._parts.weights else self._room
        return max(1, min(self._most, room // self._parts.widest))

    @property
    def _stackable(self) -> bool:
        """Whether the points can be computed together: no weights move in the suffix, or on a GPU, small and affine ones."""
        if not self._parts.weights:
            return True
        affine = self._anchors.affine if self._anchors is not None else []
        named = (self._names[node] for node in self._parts.weights)
        waits = _waits(next(iter(self._heads[0].values())).device) and self._parts.widest < _WAITING
        return waits and not self._engine.compile and all(what == "weight" and name in affine for what, name in named)

    def scores(
        self, ks: Sequence[int], weights: Callable[[int], Mapping[str, Tensor]], buffers: Mapping[str, Tensor]
    ) -> list[Tensor]:
        """Return the loss and the metrics of the loaded batch at some rows, each of shape (len(ks), n) or (len(ks),).

        Parameters
        ----------
        ks : sequence of int
            At most `together` rows.
        weights : callable
            Gives the weights that move in the suffix, at a row; asked only where rows are computed one by one.
        buffers : mapping of str to Tensor
            What else moves there; several rows have the same.
        """
        while self.together > 1:  # a last point alone too: all of a sweep go the same way
            try:
                return self._in_order(in_groups(ks, self.together), self._many if self._stages is None else self._of_awake)
            except torch.OutOfMemoryError:
                self._most = self.together // 2
            except RuntimeError:
                if self._stages is not None:
                    self._stages = self._awake = None  # an operation that wants all samples
                    continue
                self._most = 1  # the suffix holds an operation that does not take several points at once
        return self._in_order(ks, lambda k: self.at(k, weights(k), buffers))

    @staticmethod
    def _in_order(groups: Iterable[Any], scores: Callable[[Any], list[Tensor]]) -> list[Tensor]:
        return [torch.cat(values) for values in zip(*map(scores, groups), strict=True)]

    def at(self, k: int, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the loss and the metrics of the loaded batch at one row, each of shape (1, n) or (1,)."""
        row, heads = ((), ()) if self._sums is None else self._sums.at(k)
        given = [self._given(node, weights, buffers, heads) for node in self._parts.suffix.inputs]
        if not self._engine.compile:
            return [score[None] for score in self._parts.suffix.at(row, given)]
        mixed = self._parts.suffix.mixed
        pairs = zip(self._parts.suffix.inputs, given, strict=True)
        return [
            score[None].clone() for score in self._parts.suffix.compiled(*[mixture(row, v) if n in mixed else v for n, v in pairs])
        ]

    def _given(
        self, node: fx.Node, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], heads: Sequence[Mapping[fx.Node, Tensor]]
    ) -> Any:
        if node in self._fixed:
            return self._fixed[node]
        if node in self._batch:
            return self._batch[node]
        if node in self._names:
            what, name = self._names[node]
            return buffers[name] if what == "buffer" else self._entering(node, weights)
        return [head[node] for head in heads]

    def _of_awake(self, ks: Sequence[int]) -> list[Tensor]:
        assert self._anchors is not None
        assert self._stages is not None
        if self._awake is None:
            self._awake = Awake(self._stages, len(self._anchors.rows), self._known, self._stacked, self._batch)
        return self._awake.scores(ks)

    def _known(self, node: fx.Node) -> Any:
        return self._fixed.get(node, self._batch.get(node))

    def _many(self, ks: Sequence[int]) -> list[Tensor]:
        assert self._anchors is not None
        suffix, moving = self._parts.suffix, self._parts.weights
        weights = {node: self._anchors.weights_at(self._names[node][1], ks) for node in moving}
        known = (weights.get(node, self._known(node)) for node in suffix.inputs)
        values = [self._stacked(node, ks) if value is None else value for node, value in zip(suffix.inputs, known, strict=True)]
        return list(suffix.together(values, moving))

    def _stacked(self, node: fx.Node, ks: Sequence[int]) -> Tensor:
        """Return an affine value at several rows: one matrix product."""
        assert self._anchors is not None
        if node not in self._stacks:
            heads = torch.stack([head[node] for head in self._heads])
            # where an anchor has diverged, zero times infinity would spoil the rows that it has no part in
            self._stacks[node] = heads.flatten(1) if bool(torch.isfinite(heads).all()) else None
        stack = self._stacks[node]
        if stack is None:
            return torch.stack([mixture(self._anchors.rows[k].tolist(), [head[node] for head in self._heads]) for k in ks])
        rows = torch.as_tensor(self._anchors.rows[list(ks)], dtype=stack.dtype, device=stack.device)
        return (rows @ stack).unflatten(1, self._heads[0][node].shape)


def _waits(device: torch.device) -> bool:
    """Whether a device is idle between small operations, so that larger ones are free."""
    return device.type not in ("cpu", "meta")


def _dense(tensor: Tensor) -> Tensor:
    """Return a tensor without gaps in memory, in the order of its strides: every point reads it once more."""
    size = 1
    for stride, length in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if length > 1 and stride != size:
            return tensor.clone()
        size *= length
    return tensor


def _bytes(values: Mapping[fx.Node, Any]) -> int:
    return sum(value.numel() * value.element_size() for value in values.values() if isinstance(value, Tensor))
