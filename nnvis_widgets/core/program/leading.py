"""A piece of a forward pass for several points at once: the operations, with a dimension for the points before all others.

May import: torch. It is what ``torch.vmap`` does, for the few operations that follow a linear layer in most models, without its
detours: one matrix product for all points, results that can be written over, and nothing to import at the first call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

aten = torch.ops.aten

_LANES = 16  # matrix products with fewer columns are slower than with so few rows

_ELEMENTWISE_NAMES = """
    relu gelu silu mish sigmoid tanh hardtanh hardswish hardsigmoid leaky_relu elu softplus clamp clamp_min clone detach alias neg
    exp log log1p abs pow sqrt rsqrt add sub rsub mul div maximum minimum where eq ne lt le gt ge _to_copy
"""
_ELEMENTWISE = {getattr(aten, name) for name in _ELEMENTWISE_NAMES.split() if hasattr(aten, name)}
_ALONG = {
    aten._log_softmax: 0,
    aten._softmax: 0,
    aten.squeeze: -1,
    aten.unsqueeze: 1,
    aten.argmax: -1,
}  # and what they do to the rank


def leading(graph: fx.Graph, ranks: Mapping[fx.Node, int], moving: set[fx.Node]) -> fx.Graph | None:
    """Return the graph for several points; None where it holds an operation that is not known here.

    Parameters
    ----------
    graph : torch.fx.Graph
    ranks : mapping of Node to int
        Dimensions of each placeholder, at one point.
    moving : set of Node
        Placeholders that will have a dimension for the points before these.
    """
    result, copies = fx.Graph(), {}
    rank = dict(ranks)
    led = set(moving)
    for node in graph.nodes:
        if node.op == "placeholder":
            copies[node] = result.placeholder(node.name)
        elif node.op == "output":
            if not set(node.all_input_nodes) <= led:
                return None
            result.output(fx.map_arg(node.args[0], copies.__getitem__))
            return result
        else:
            rewritten = _rewritten(node, rank, led)
            if rewritten is None:
                return None
            target, args, rank[node] = rewritten
            copies[node] = result.call_function(target, *fx.map_arg((args, node.kwargs), copies.__getitem__))
            led.add(node)
            copies[node].meta["points"] = 1
        copies[node].meta.update(node.meta)
    return None


def _rewritten(node: fx.Node, rank: dict[fx.Node, int], led: set[fx.Node]) -> tuple[Any, tuple[Any, ...], int] | None:
    packet: Any = getattr(node.target, "overloadpacket", None)
    args: tuple[Any, ...] = node.args
    given = node.all_input_nodes
    if any(argument not in rank for argument in given) or not led.intersection(given):
        return None
    if packet in _ELEMENTWISE:
        highest = max(rank[argument] for argument in given)
        # a value of lower rank would meet the dimension of the points where it has to be repeated
        return None if any(rank[a] < highest for a in given if a in led) else (node.target, args, highest)
    if packet is aten.addmm and not node.kwargs and args[1] in led and not led.intersection((args[0], args[2])):
        return rows_times, args, 2
    if packet is aten.gather and args[0] in led and args[2] not in led and rank[args[0]] == rank[args[2]]:
        return picked, (args[0], _later(args[1]), args[2]), rank[args[0]]
    if (
        packet in _ALONG
        and args[0] in led
        and len(args) > 1
        and isinstance(args[1], int)
        and not (packet is aten.argmax and args[2:])
    ):
        return node.target, (args[0], _later(args[1]), *args[2:]), rank[args[0]] + _ALONG[packet]
    return None


def _later(dim: int) -> int:
    return dim + 1 if dim >= 0 else dim


def rows_times(shift: Tensor, values: Tensor, weights: Tensor) -> Tensor:
    """Return ``shift + values @ weights`` for values of shape (points, n, in)."""
    inside, outside = weights.shape
    if inside == 1:
        return torch.addcmul(shift, values, weights[0].contiguous())  # a column of the layer's weights has gaps
    flat = values.reshape(-1, inside)
    if shift.ndim != 1:
        return torch.mm(flat, weights).unflatten(0, values.shape[:2]).add_(shift)
    if outside < _LANES:
        flat = torch.addmm(shift[:, None], weights.t(), flat.t()).t()
    else:
        flat = torch.addmm(shift, flat, weights)
    return flat.unflatten(0, values.shape[:2])


def picked(values: Tensor, dim: int, index: Tensor) -> Tensor:
    """Return ``values.gather(dim, index)`` with one index for all points."""
    return values.gather(dim, index.expand(len(values), *index.shape))
