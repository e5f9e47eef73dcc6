"""What each value of a recorded forward pass depends on, and which values are affine in the coefficients.

May import: torch. Weights are affine in the coefficients; an operation that is linear in the one argument that moves, or adds
what moves, passes this on. So the output of the first moving linear or convolution, of an embedding, and of a moving scale
and shift of normalised inputs is affine too, and need not be computed for every point.
"""

from __future__ import annotations

import enum
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx

aten = torch.ops.aten


class Kind(enum.IntEnum):
    """What a value depends on; the coefficients are in the last three."""

    FIXED = 0  # weights that stay, constants
    BATCH = 1  # these and the samples
    UNIT = 2  # these and which unit is looked at
    WEIGHT = 3  # affine in the coefficients, without the samples
    HEAD = 4  # affine in the coefficients, given the samples
    MOVING = 5


AFFINE = (Kind.WEIGHT, Kind.HEAD)
_EXACT = (torch.float32, torch.float64, torch.complex64, torch.complex128)

# linear in the first argument, whatever the other arguments are
_LINEAR_NAMES = """
    t transpose permute view reshape _unsafe_view _reshape_alias expand squeeze unsqueeze slice select clone detach alias neg
    sum mean flip roll unbind split split_with_sizes contiguous constant_pad_nd avg_pool1d avg_pool2d avg_pool3d
    _adaptive_avg_pool2d _adaptive_avg_pool3d upsample_nearest2d upsample_bilinear2d cumsum diagonal unfold im2col
    lift_fresh narrow flatten movedim index_select index gather
"""
_LINEAR = {getattr(aten, name) for name in _LINEAR_NAMES.split() if hasattr(aten, name)}
_ADD = {aten.add, aten.sub, aten.rsub}
_PRODUCT = {aten.mm, aten.bmm, aten.mv, aten.dot, aten.mul, aten.matmul, aten.linear, aten.outer}
_JOIN = {aten.cat, aten.stack}
_NORMS = {aten.native_batch_norm, aten._native_batch_norm_legit_no_training, aten.native_layer_norm, aten.native_group_norm}


def kinds_of(graph: fx.Graph, inputs: Mapping[fx.Node, Kind]) -> dict[fx.Node, Kind]:
    """Return the kind of every value of a graph, given those of its placeholders."""
    kinds: dict[fx.Node, Kind] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            kinds[node] = inputs[node]
        elif node.op == "get_attr":
            kinds[node] = Kind.FIXED
        elif node.op == "call_function":
            kinds[node] = _kind(node, kinds)
    return kinds


def _kind(node: fx.Node, kinds: Mapping[fx.Node, Kind]) -> Kind:
    given = [kinds[n] for n in node.all_input_nodes]
    top = max(given, default=Kind.FIXED)
    if top <= Kind.UNIT:
        return top
    if top is Kind.MOVING or not _is_affine(node, kinds):
        return Kind.MOVING
    return Kind.WEIGHT if all(kind in (Kind.FIXED, Kind.WEIGHT) for kind in given) else Kind.HEAD


def _is_affine(node: fx.Node, kinds: Mapping[fx.Node, Kind]) -> bool:
    """Return whether an operation with affine arguments has an affine result."""

    def moves(value: Any) -> bool:
        if isinstance(value, (list, tuple)):
            return any(map(moves, value))
        return isinstance(value, fx.Node) and kinds[value] in AFFINE

    target: Any = node.target
    if target is operator.getitem:
        return True
    operation, args = target.overloadpacket, node.args
    arg: Callable[[int], Any] = lambda i: args[i] if i < len(args) else None  # noqa: E731 - optional arguments
    dtype = node.meta.get("dtype")
    if dtype is not None and dtype not in _EXACT:
        return False
    if operation in _JOIN:
        return True
    if operation in _LINEAR:
        return moves(arg(0)) and not any(moves(a) for a in (*args[1:], *node.kwargs.values()))
    if operation in _ADD:
        return True
    if operation is aten._to_copy:
        return node.all_input_nodes[0].meta.get("dtype") in _EXACT
    if operation is aten.div:
        return moves(arg(0)) and not moves(arg(1))
    if operation in _PRODUCT:
        return not (moves(arg(0)) and moves(arg(1)))
    if operation in (aten.addmm, aten.baddbmm, aten.convolution):
        # bias, two factors; a convolution has its bias last
        return not (moves(arg(0)) and moves(arg(1))) if operation is aten.convolution else not (moves(arg(1)) and moves(arg(2)))
    if operation is aten.embedding:
        return not moves(arg(1))
    if operation in _NORMS:
        return _is_affine_norm(operation, args, moves)
    return False


def _is_affine_norm(operation: Any, args: tuple, moves: Callable[[Any], bool]) -> bool:
    if operation in (aten.native_layer_norm, aten.native_group_norm):
        # the statistics are those of the input
        return not moves(args[0])
    if operation is aten.native_batch_norm and args[5]:
        return False
    if moves(args[3]) or moves(args[4]):
        return False
    return not (moves(args[0]) and moves(args[1]))
