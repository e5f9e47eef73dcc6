"""Operations within rows that a CPU does faster another way: with the rows side by side, or as a maximum with its place.

May import: torch. A row of ten classes is shorter than a vector register, and torch then goes through it number by number.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

aten = torch.ops.aten

BY_ROWS = (aten._log_softmax.default, aten._softmax.default, aten.argmax.default)
SAME_BITS = (aten.argmax.default,)
_REGISTER = {"AVX512": 64, "AVX2": 32}.get(torch.backends.cpu.get_cpu_capability(), 16)  # bytes


def hasten(graph: fx.Graph) -> None:
    """Replace operations that a recording has marked, where the other way is faster."""
    for node in graph.nodes:
        if node.op != "call_function" or not node.meta.get("quick"):
            continue
        source: Any = node.args[0]
        shape, dtype = source.meta.get("shape"), source.meta.get("dtype")
        along = node.args[1] if len(node.args) > 1 else None
        if not shape or len(shape) < 2 or dtype is None or not isinstance(along, int):
            continue
        if node.target is aten.argmax.default:
            if len(node.args) == 2 and not node.kwargs:
                node.target = place_of_largest
        elif _last(node, along) and shape[-1] * dtype.itemsize < _REGISTER and dtype.is_floating_point and node.args[2] is False:
            node.target = {aten._log_softmax.default: log_softmax, aten._softmax.default: softmax}[node.target]
            node.args = (source,)


def _last(node: fx.Node, along: int) -> bool:
    # with the points before all other dimensions, the recorded shape has one less
    return along == -1 or along == len(node.meta["shape"]) - 1 + node.meta.get("points", 0)


def place_of_largest(values: Tensor, along: int) -> Tensor:
    """Return ``values.argmax(along)``: the first place, that of a value that is not a number before all others."""
    return values.max(along)[1]


def log_softmax(values: Tensor) -> Tensor:
    """Return the logarithms of the softmax of each row, rows side by side in memory."""
    return torch.log_softmax(values.transpose(-1, -2), -2).transpose(-1, -2)


def softmax(values: Tensor) -> Tensor:
    """Return the softmax of each row, rows side by side in memory."""
    return torch.softmax(values.transpose(-1, -2), -2).transpose(-1, -2)
