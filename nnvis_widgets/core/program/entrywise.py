"""Operations that compute each entry of their result from the same entry of their arguments.

May import: torch.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import torch

aten = torch.ops.aten
Node: TypeAlias = Any  # an fx.Node, whose attributes have types that no use of them fits

_NAMES = """
    relu gelu silu mish sigmoid tanh hardtanh hardswish hardsigmoid leaky_relu elu softplus clamp clamp_min neg exp abs clone
    add sub mul div maximum minimum
"""
_ENTRYWISE = {getattr(aten, name) for name in _NAMES.split()}


def operation_of(node: Node) -> Any:
    """Return which operation of torch a node calls, whatever its overload; None where it calls none."""
    return getattr(node.target, "overloadpacket", None) if node.op == "call_function" else None


def is_entrywise(node: Node) -> bool:
    """Return whether a node computes entry by entry, from values of its own shape and type."""
    form = form_of(node)
    return operation_of(node) in _ENTRYWISE and None not in form and all(form_of(given) == form for given in node.all_input_nodes)


def form_of(node: Node) -> tuple[Any, Any]:
    """Return shape and type of a value, each None where it is not known."""
    return node.meta.get("shape"), node.meta.get("dtype")
