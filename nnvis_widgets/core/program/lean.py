"""A piece of a forward pass as it is run: the same values from fewer passes over memory.

May import: torch, core.family, core.program.leading. On a CPU a pass over the values of a layer costs as much as its arithmetic. So
what is affine is mixed where it is first used, results are written over arguments that nobody else reads, maxima of windows are
taken of rows and then of columns, and a first convolution whose maxima are wanted gives the corners of each window as channels.
What is done within short rows goes another way (see `rows`).
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx

from ..family import KNOT_TOLERANCE
from .leading import rows_times
from .rows import hasten

aten = torch.ops.aten
Node: TypeAlias = Any  # an fx.Node, whose attributes have types that no use of them fits

_FEW = 32  # factors of one output of a convolution, below which its time is that of writing the output
_NAMES = "relu sigmoid tanh hardtanh hardsigmoid hardswish silu gelu leaky_relu elu clamp clamp_min exp neg sqrt add sub mul div"
_EITHER = {aten.maximum, aten.minimum}
_WRITING = {**{getattr(aten, name): getattr(aten, f"{name}_") for name in _NAMES.split()}, **{either: either for either in _EITHER}}
_NEW = {*_WRITING, aten.convolution, aten.addmm, aten.mm, aten.bmm, aten.baddbmm, aten.cat}
_NEW_FIRST = {aten.native_batch_norm, aten._native_batch_norm_legit_no_training, aten.native_layer_norm, aten.native_group_norm}


def mixture(row: Sequence[float], anchors: Sequence[Tensor]) -> Tensor:
    """Return a new tensor: what is affine at a row of coefficients, from its values at the anchors."""
    parts = [(c, tensor) for c, tensor in zip(row, anchors, strict=True) if c != 0.0]
    if len(parts) == 2 and abs(parts[0][0] + parts[1][0] - 1.0) <= KNOT_TOLERANCE:
        return torch.lerp(parts[0][1], parts[1][1], parts[1][0])
    if not parts:
        return torch.zeros_like(anchors[0])
    if len(parts) == 1:
        return parts[0][1] * parts[0][0] if parts[0][0] != 1.0 else parts[0][1].clone()
    if parts[0][0] == 1.0:
        total = torch.add(parts[0][1], parts[1][1], alpha=parts[1][0])
        rest = parts[2:]
    else:
        total, rest = parts[0][1] * parts[0][0], parts[1:]
    for c, tensor in rest:
        total.add_(tensor, alpha=c)
    return total


def pool_quickly(graph: fx.Graph) -> None:
    """Take the maxima of two by two windows in two steps, or of a convolution's channels, where a graph holds their source."""
    for source, corners in _corners(graph).items():
        largest = _largest(corners)
        values = _as_channels(graph, source, corners)
        if values is not None and largest is None:
            for place, corner in enumerate(corners):
                corner.replace_all_uses_with(_block(graph, values, corner, place, 1))
        elif largest is not None:
            with graph.inserting_before(largest):
                if values is not None:
                    pairs = _maximum(graph, _block(graph, values, corners[0], 0, 2), _block(graph, values, corners[0], 2, 2))
                    sides = [_block(graph, pairs, corner, place, 1) for place, corner in enumerate(corners[:2])]
                else:
                    rows = _maximum(graph, corners[0].args[0], corners[2].args[0])
                    sides = [graph.call_function(aten.slice.Tensor, (rows, *corner.args[1:])) for corner in corners[:2]]
                    for side in sides:
                        side.meta.update(corners[0].meta)
                largest.replace_all_uses_with(_maximum(graph, *sides))
    graph.eliminate_dead_code()


def _corners(graph: fx.Graph) -> dict[Node, list[Node]]:
    """Return the slices that are the corners of two by two windows, by what they are taken of, which the graph computes."""
    found: dict[Node, dict[tuple[int, int], Node]] = {}
    for node in graph.nodes:
        if "corner" in node.meta and node.op == "call_function":
            rows = node.args[0]
            if rows.op == "call_function" and rows.target is aten.slice.Tensor:
                found.setdefault(rows.args[0], {})[node.meta["corner"]] = node
    return {source: [corners[key] for key in sorted(corners)] for source, corners in found.items() if len(corners) == 4}


def _largest(corners: list[Node]) -> Node | None:
    """Return the node that has the maxima of the corners; None where the graph wants the corners themselves."""
    last = corners[0]
    for corner in corners[1:]:
        if len(last.users) != 1 or len(corner.users) != 1 or set(last.users) != set(corner.users):
            return None
        last = next(iter(last.users))
        if last.target is not aten.maximum.default:
            return None
    return last


def _as_channels(graph: fx.Graph, source: Node, corners: list[Node]) -> Node | None:
    """Return the convolution that gives the corners of its windows as blocks of channels; None where it would not be faster."""
    if source.target is not aten.convolution.default or not {user for row in source.users for user in row.users} <= set(corners):
        return None
    samples, weight, bias, stride, padding, dilation, transposed, *_, groups = source.args
    shape = weight.meta.get("shape") if isinstance(weight, fx.Node) else None
    if shape is None or len(shape) != 4 or transposed or groups != 1 or {*stride, *dilation} != {1}:
        return None
    if shape[1] * shape[2] * shape[3] > _FEW:
        return None
    with graph.inserting_before(source):
        padded = [graph.call_function(aten.constant_pad_nd.default, (weight, [j, 1 - j, i, 1 - i])) for i in (0, 1) for j in (0, 1)]
        kernels = graph.call_function(aten.cat.default, (padded,))
        shifts = None if bias is None else graph.call_function(aten.cat.default, ([bias] * 4,))
        return graph.call_function(aten.convolution.default, (samples, kernels, shifts, [2, 2], padding, [1, 1], False, [0, 0], 1))


def _block(graph: fx.Graph, values: Node, corner: Node, first: int, count: int) -> Node:
    """Return the channels of `count` corners."""
    batch, channels, *size = corner.meta["shape"]
    with graph.inserting_after(values):
        block = graph.call_function(aten.slice.Tensor, (values, 1, first * channels, (first + count) * channels))
    block.meta.update(shape=(batch, count * channels, *size), dtype=corner.meta["dtype"])
    return block


def _maximum(graph: fx.Graph, first: Node, second: Node) -> Node:
    result = graph.call_function(aten.maximum.default, (first, second))
    result.meta.update(shape=first.meta["shape"], dtype=first.meta["dtype"])
    return result


def lean(graph: fx.Graph, mixed: Sequence[Node] | None = None) -> fx.Graph:
    """Return a graph that writes results over what is read for the last time.

    Parameters
    ----------
    graph : torch.fx.Graph
    mixed : sequence of Node, optional
        Placeholders that get the values at each anchor. The graph then takes the row of coefficients as its first input, and mixes
        them where they are first used.
    """
    graph, names = copy.deepcopy(graph), [node.name for node in mixed or ()]
    inputs = {node.name: node for node in graph.nodes if node.op == "placeholder"}
    if mixed is not None:
        with graph.inserting_before(next(iter(graph.nodes))):
            row = graph.placeholder("coefficients")
    order = {node: place for place, node in enumerate(graph.nodes)}
    for name in names:
        anchors = inputs[name]
        with graph.inserting_before(min(anchors.users, key=order.__getitem__)):
            value = graph.call_function(mixture, (row, anchors))
        value.meta.update(anchors.meta)
        anchors.replace_all_uses_with(value, lambda user, value=value: user is not value)
    hasten(graph)
    over = [(node, into) for node in graph.nodes if (into := _spare(node)) is not None]
    for node, into in over:
        packet: Any = node.target.overloadpacket
        if packet in _EITHER:
            node.target, node.kwargs = packet.out, {"out": into}
        else:
            node.target = getattr(_WRITING[packet], node.target._overloadname)
    return graph


def _spare(node: Node) -> Node | None:
    """Return the argument that a result can be written over: memory of its own, of the same form, that nobody else reads."""
    packet: Any = getattr(node.target, "overloadpacket", None)
    if packet not in _WRITING or not hasattr(_WRITING[packet], node.target._overloadname):
        return None
    form = node.meta.get("shape"), node.meta.get("dtype")
    for value in node.args[: 2 if packet in _EITHER else 1]:
        alone = isinstance(value, fx.Node) and list(value.users) == [node] and node.args.count(value) == 1
        if alone and None not in form and (value.meta.get("shape"), value.meta.get("dtype")) == form and _is_new(value):
            return value
    return None


def _is_new(value: Node) -> bool:
    """Return whether a value is memory of its own, and no view of another one."""
    if value.target is operator.getitem:
        return getattr(value.all_input_nodes[0].target, "overloadpacket", None) in _NEW_FIRST and value.args[1] == 0
    return value.target in (mixture, rows_times) or getattr(value.target, "overloadpacket", None) in _NEW
