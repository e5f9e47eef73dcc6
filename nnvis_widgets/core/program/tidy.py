"""Operations of a recorded forward pass replaced by faster ones with the same values.

May import: torch. Max-pooling on a CPU also finds where each maximum was; as maxima of shifted slices it takes a fifth of the
time. ReLU and max-pooling commute, and after the pooling there is less to do. None of this changes a bit, but for a log-softmax
of log-probabilities, which is left out, since it returns them up to rounding.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from torch import fx

from .crop import crop
from .rows import BY_ROWS, SAME_BITS

aten = torch.ops.aten


def tidy(graph: fx.Graph, channels_last: bool, slices: bool = True, rounding: bool = True) -> None:
    """Rewrite a recorded graph in place.

    Parameters
    ----------
    graph : torch.fx.Graph
    channels_last : bool
        Whether images will run through it channels-last: what was a view of them then has to be allowed to copy.
    slices : bool
        Whether maxima of slices are faster than max-pooling, and some other ways within rows (see `rows`): on a CPU.
    rounding : bool
        Whether last bits may differ.
    """
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        if channels_last and node.target in (aten.view.default, aten._unsafe_view.default):
            node.target = aten.reshape.default
        elif slices and node.target is aten.max_pool2d_with_indices.default:
            _pool(graph, node)
        elif node.target is aten.nll_loss_forward.default:
            _pick(graph, node)
        elif node.target is aten.copy.default:
            _copy(graph, node)
        elif (
            node.target is aten._log_softmax.default
            and node.args[0].target is node.target
            and node.args[0].args[1:] == node.args[1:]
        ):
            node.replace_all_uses_with(node.args[0])  # a loss that takes logits, after a model that ends in log-probabilities
        elif slices and node.target in BY_ROWS and (rounding or node.target in SAME_BITS):
            node.meta["quick"] = True
    graph.eliminate_dead_code()
    crop(graph)


def _is_twice(node: fx.Node) -> bool:
    before, *how = node.args
    return isinstance(before, fx.Node) and before.target is node.target and list(before.args[1:]) == how


def _copy(graph: fx.Graph, node: fx.Node) -> None:
    """Replace what was written over a whole tensor by what was written: this has a batching rule and stays affine."""
    into, source = node.all_input_nodes[0], node.args[1]
    if not isinstance(source, fx.Node) or "dtype" not in source.meta or "dtype" not in into.meta:
        return
    with graph.inserting_before(node):
        result = source
        if source.meta["shape"] != into.meta["shape"]:
            result = graph.call_function(aten.expand.default, (result, list(into.meta["shape"])))
            result.meta.update(shape=into.meta["shape"], dtype=source.meta["dtype"])
        if source.meta["dtype"] != into.meta["dtype"]:
            result = graph.call_function(aten._to_copy.default, (result,), {"dtype": into.meta["dtype"]})
            result.meta.update(into.meta)
    node.replace_all_uses_with(result)


def _pool(graph: fx.Graph, pool: fx.Node) -> None:
    taken = [user for user in pool.users if user.target is operator.getitem]
    if len(taken) != len(pool.users) or any(user.args[1] != 0 and user.users for user in taken):
        return  # somebody wants the indices
    values = next((user for user in taken if user.args[1] == 0), None)
    source, window, stride, padding, dilation, ceil = _pool_arguments(pool)
    shape = values.meta.get("shape") if values is not None else None
    if values is None or shape is None or padding != (0, 0) or dilation != (1, 1) or ceil or max(window) > 3:
        return
    relu = source if source.target is aten.relu.default and len(source.users) == 1 else None
    with graph.inserting_before(values):
        result = source if relu is None else source.all_input_nodes[0]
        dims = len(shape) - 2, len(shape) - 1
        if window == (2, 2):
            # four slices at once: of an affine value they are affine too, so that the maxima are of what is contiguous
            corners = [_slice(graph, result, dims, first, stride, shape[-2:]) for first in product((0, 1), (0, 1))]
            for first, corner in zip(product((0, 1), (0, 1)), corners, strict=True):
                corner.meta["corner"] = first
            result = _largest(graph, corners)
        else:
            for axis in (0, 1):
                parts = [
                    _slice(graph, result, dims[axis : axis + 1], (first,), stride[axis : axis + 1], shape[dims[axis] :])
                    for first in range(window[axis])
                ]
                result = _largest(graph, parts)
        if relu is not None:
            result = graph.call_function(aten.relu.default, (result,))
        result.meta.update(values.meta)
    values.replace_all_uses_with(result)


def _pick(graph: fx.Graph, loss: fx.Node) -> None:
    """Take each sample's own entry by its label: what depends on the labels is then the same at all points.

    The loss itself has no rule for several points at once but a decomposition whose imports take longer than most paths.
    """
    scores, labels, weight, reduction, ignored = loss.args
    taken = [user for user in loss.users if user.target is operator.getitem and user.args[1] == 0]
    rows = taken[0].meta.get("shape") if len(taken) == 1 else None
    if reduction != 0 or rows is None or len(rows) != 1 or any(user.users for user in loss.users if user not in taken):
        return
    with graph.inserting_before(taken[0]):
        kept = graph.call_function(aten.ne.Scalar, (labels, ignored))
        safe = graph.call_function(aten.where.ScalarOther, (kept, labels, 0))
        index = graph.call_function(aten.unsqueeze.default, (safe, 1))
        result = graph.call_function(aten.gather.default, (scores, 1, index))
        result = graph.call_function(aten.neg.default, (graph.call_function(aten.squeeze.dim, (result, 1)),))
        if weight is not None:
            result = graph.call_function(
                aten.mul.Tensor, (result, graph.call_function(aten.index_select.default, (weight, 0, safe)))
            )
        result = graph.call_function(aten.where.ScalarOther, (kept, result, 0))
        result.meta.update(taken[0].meta)
    taken[0].replace_all_uses_with(result)


def _slice(
    graph: fx.Graph, source: fx.Node, dims: Sequence[int], firsts: Sequence[int], strides: Sequence[int], sizes: Sequence[int]
) -> fx.Node:
    """Return every `strides`-th entry along some dimensions, `sizes` of them from `firsts` on."""
    for dim, first, stride, size in zip(dims, firsts, strides, sizes, strict=False):
        shape = source.meta["shape"]
        meta = {**source.meta, "shape": (*shape[:dim], size, *shape[dim + 1 :])}
        source = graph.call_function(aten.slice.Tensor, (source, dim, first, first + stride * (size - 1) + 1, stride))
        source.meta.update(meta)
    return source


def _largest(graph: fx.Graph, parts: Sequence[fx.Node]) -> fx.Node:
    result = parts[0]
    for part in parts[1:]:
        result = graph.call_function(aten.maximum.default, (result, part))
        result.meta.update(part.meta)
    return result


def _pool_arguments(pool: fx.Node) -> tuple[fx.Node, tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int], bool]:
    names = ("self", "kernel_size", "stride", "padding", "dilation", "ceil_mode")
    given = {**dict(zip(names, pool.args, strict=False)), **pool.kwargs}

    def pair(value: Any, default: tuple[int, int]) -> tuple[int, int]:
        value = tuple(value) if isinstance(value, (list, tuple)) else (value,)
        return default if not value or value == (None,) else (value[0], value[-1])

    window = pair(given["kernel_size"], (1, 1))
    return (  # type: ignore[return-value]
        given["self"], window, pair(given.get("stride"), window), pair(given.get("padding"), (0, 0)),
        pair(given.get("dilation"), (1, 1)), bool(given.get("ceil_mode", False)),
    )  # fmt: skip
