"""A recorded forward pass cut in pieces: what is fixed, what only the samples change, the affine head, and the rest.

May import: torch, core.program.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from .affine import Kind
from .leading import leading
from .lean import lean, pool_quickly

if TYPE_CHECKING:
    from .awake import Stages

Values = dict[fx.Node, Tensor]


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of a graph as a function of the values that it needs; those that are `mixed` are affine in the coefficients."""

    inputs: tuple[fx.Node, ...]
    outputs: tuple[fx.Node, ...]
    graph: fx.Graph
    mixed: tuple[fx.Node, ...] = ()

    def __call__(self, *values: dict[fx.Node, Any]) -> dict[fx.Node, Any]:
        """Return the outputs, given dictionaries that hold the inputs among other things."""
        return dict(zip(self.outputs, self._lean(*[_find(node, values) for node in self.inputs]), strict=True))

    def at(self, row: Sequence[float], inputs: Sequence[Any]) -> Sequence[Any]:
        """Return the outputs at one row of coefficients, for the inputs in order: those that are mixed at each anchor."""
        return self._mixing(row, *inputs)

    def together(self, inputs: Sequence[Any], moving: Collection[fx.Node] = ()) -> Sequence[Any]:
        """Return the outputs at several points; the inputs in order, the mixed and the `moving` ones with the points first."""
        many = None if moving else self._many(inputs)
        if many is not None:
            return many(*inputs)
        axes = tuple(0 if node in self.mixed or node in moving else None for node in self.inputs)
        with batched_only():
            return torch.vmap(lambda *values: tuple(self._plain.forward(*values)), in_dims=axes)(*inputs)

    def _many(self, inputs: Sequence[Any]) -> Callable[..., Sequence[Any]] | None:
        if "_led" not in vars(self):
            own = [node for node in self.graph.nodes if node.op == "placeholder"]
            led = {node for node, origin in zip(own, self.inputs, strict=True) if origin in self.mixed}
            pairs = zip(own, inputs, strict=True)
            ranks = {node: value.ndim - (node in led) for node, value in pairs if isinstance(value, Tensor)}
            graph = leading(self.graph, ranks, led)
            vars(self)["_led"] = None if graph is None else fx.GraphModule(torch.nn.Module(), lean(graph)).forward
        return vars(self)["_led"]

    @cached_property
    def compiled(self) -> Callable[..., Sequence[Any]]:
        """The same function of its inputs through ``torch.compile``: made once, weights and samples are arguments."""
        return torch.compile(self._plain, dynamic=False)

    @cached_property
    def _plain(self) -> fx.GraphModule:
        return fx.GraphModule(torch.nn.Module(), self.graph)

    @cached_property
    def _lean(self) -> Callable[..., Sequence[Any]]:
        return fx.GraphModule(torch.nn.Module(), lean(self.graph)).forward if self.outputs else lambda *_: ()

    @cached_property
    def _mixing(self) -> Callable[..., Sequence[Any]]:
        places = {node: place for place, node in enumerate(self.inputs)}
        own = [node for node in self.graph.nodes if node.op == "placeholder"]
        return fx.GraphModule(torch.nn.Module(), lean(self.graph, [own[places[node]] for node in self.mixed])).forward


def _find(node: fx.Node, values: Sequence[dict[fx.Node, Any]]) -> Any:
    for known in values:
        if node in known:
            return known[node]
    raise KeyError(node)


def cut(graph: fx.Graph, outputs: Iterable[fx.Node], given: Iterable[fx.Node], mixed: Iterable[fx.Node] = ()) -> Piece:
    """Return the part of a graph that computes `outputs` from those of the `given` and `mixed` values that it needs."""
    outputs, mixed = tuple(dict.fromkeys(outputs)), set(mixed)
    given = mixed.union(given)
    needed: set[fx.Node] = set()
    waiting = list(outputs)
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            if node not in given:
                waiting.extend(node.all_input_nodes)
    piece, copies = fx.Graph(), {}
    inputs = tuple(node for node in graph.nodes if node in needed and node in given)
    for node in inputs:
        copies[node] = piece.placeholder(node.name)
        copies[node].meta.update(node.meta)
    for node in graph.nodes:
        if node in needed and node not in given:
            if node.op in ("placeholder", "get_attr"):
                raise KeyError(f"{node} is needed and not given")
            copies[node] = piece.node_copy(node, copies.__getitem__)
    piece.output([copies[node] for node in outputs])
    pool_quickly(piece)
    return Piece(inputs, outputs, piece, tuple(node for node in inputs if node in mixed))


@dataclass(frozen=True, eq=False)
class Split:
    """The parts of a forward pass for one scope.

    Attributes
    ----------
    fixed : Piece
        Computed once: from weights that stay.
    prefix : Piece
        Computed once for each batch: from these and the samples.
    unit : Piece
        Computed once for each batch and unit, where the scope is a part of one unit.
    head : Piece
        Computed once for each batch and each anchor: affine in the coefficients.
    suffix : Piece
        Computed for each point.
    weights : tuple of Node
        Moving weights that the suffix needs itself.
    widest : int
        Size of the largest value in the suffix.
    stages : awake.Stages or None
        The suffix in two, where a unit is followed and samples can be left out between them.
    """

    fixed: Piece
    prefix: Piece
    unit: Piece
    head: Piece
    suffix: Piece
    weights: tuple[fx.Node, ...]
    widest: int
    stages: Stages | None = None


def split(
    graph: fx.Graph, kinds: dict[fx.Node, Kind], outputs: Sequence[fx.Node], *, also: Sequence[fx.Node] = (), head: bool = True
) -> Split:
    """Return the parts of a graph.

    Parameters
    ----------
    graph : torch.fx.Graph
    kinds : dict
        What each value depends on.
    outputs : sequence of Node
        What is wanted of each point.
    also : sequence of Node
        What is wanted of each batch.
    head : bool
        False computes for each point what is affine too.
    """
    if not head:
        kinds = {node: Kind.MOVING if kind is Kind.HEAD else kind for node, kind in kinds.items()}
    done = {kind: [node for node, k in kinds.items() if k is kind] for kind in Kind}
    given = {kind: [node for node in nodes if node.op in ("placeholder", "get_attr")] for kind, nodes in done.items()}
    shared = [*done[Kind.FIXED], *done[Kind.BATCH]]
    moving = [*given[Kind.WEIGHT], *given[Kind.MOVING]]
    # what is cheap to form again from the weights of a point, such as a transposed view, is not kept for each anchor
    suffix = cut(graph, outputs, [*shared, *done[Kind.UNIT], *moving], done[Kind.HEAD])
    heads = cut(graph, _of(Kind.HEAD, kinds, suffix.inputs), [*shared, *done[Kind.UNIT], *given[Kind.WEIGHT]])
    units = cut(graph, _of(Kind.UNIT, kinds, suffix.inputs, heads.inputs), [*shared, *given[Kind.UNIT]])
    needed = _of(Kind.BATCH, kinds, suffix.inputs, heads.inputs, units.inputs, also)
    prefix = cut(graph, needed, [*done[Kind.FIXED], *given[Kind.BATCH]])
    needed = _of(Kind.FIXED, kinds, *(piece.inputs for piece in (suffix, heads, units, prefix)))
    return Split(
        fixed=cut(graph, needed, given[Kind.FIXED]),
        prefix=prefix,
        unit=units,
        head=heads,
        suffix=suffix,
        weights=tuple(node for node in suffix.inputs if node in moving),
        widest=max((math.prod(node.meta.get("shape") or ()) for node in done[Kind.MOVING]), default=1),
    )


def _of(kind: Kind, kinds: dict[fx.Node, Kind], *groups: Iterable[fx.Node]) -> list[fx.Node]:
    return [node for group in groups for node in group if kinds[node] is kind]


@contextmanager
def batched_only() -> Iterator[None]:
    """Let an operation that ``vmap`` would run point by point, with a warning on stderr for each, raise an error."""
    functorch: Any = torch._C._functorch
    before = functorch._is_vmap_fallback_enabled()
    functorch._set_vmap_fallback_enabled(False)
    try:
        yield
    finally:
        functorch._set_vmap_fallback_enabled(before)
