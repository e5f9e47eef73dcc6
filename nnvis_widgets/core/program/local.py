"""A recorded forward pass rewritten for one output unit or channel of one layer: only what that unit changes is computed again.

May import: torch, core.program. A single weight of a linear layer or a convolution changes one unit (channel) of its output;
element-wise operations, pooling and normalisation keep that to themselves. Where the next linear layer or convolution mixes the
units, its output changes by the product of the unit's change with the weights that leave it: a rank-one update for a linear
layer. So each value is its base, computed once a batch with the background's weights, and a part that moves.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

aten = torch.ops.aten

_ELEMENTWISE_NAMES = """
    relu gelu silu mish sigmoid tanh hardtanh hardswish hardsigmoid leaky_relu elu softplus relu6 clamp clamp_min clone detach
    alias neg exp abs pow sqrt rsqrt
"""
_ELEMENTWISE = {getattr(aten, name) for name in _ELEMENTWISE_NAMES.split() if hasattr(aten, name)}
_BINARY = {aten.add, aten.sub, aten.mul, aten.div, aten.maximum, aten.minimum}
_POOLS = {aten.max_pool2d_with_indices, aten.avg_pool2d, aten._adaptive_avg_pool2d, aten.avg_pool1d, aten.constant_pad_nd}


@dataclass(frozen=True)
class _Part:
    """What moves of a value: `node` stands in place of ``length`` entries of `axis` for each unit before it, from unit x length."""

    node: fx.Node
    axis: int
    length: int


@dataclass(frozen=True)
class Local:
    """The rewritten pass.

    Attributes
    ----------
    graph : torch.fx.Graph
    copies : dict of Node to Node
        The nodes of the recorded graph, as they are in the rewritten one at the background's weights.
    row : Node
        Placeholder: the weights that lead into the unit, one entry along axis 0.
    unit : Node
        Placeholder: the number of the unit.
    scores : list of Node
    change : Node or None
        By how much the unit differs from the background, where it meets the others; None where it meets them at several places.
    """

    graph: fx.Graph
    copies: dict[fx.Node, fx.Node]
    row: fx.Node
    unit: fx.Node
    scores: list[fx.Node]
    change: fx.Node | None


def localise(graph: fx.Graph, weight: fx.Node, scores: list[fx.Node]) -> Local:
    """Return a recorded graph in which one row of the placeholder `weight` moves and everything else is the background."""
    return _Rewriter(graph, weight).run(scores)


class _Rewriter:
    def __init__(self, graph: fx.Graph, weight: fx.Node):
        self._old, self._weight = graph, weight
        self._new = fx.Graph()
        self._base: dict[fx.Node, fx.Node] = {}
        self._parts: dict[fx.Node, _Part] = {}
        self._dense: dict[fx.Node, fx.Node] = {}
        self._ends: dict[int, tuple[fx.Node, fx.Node]] = {}
        self._changes: list[fx.Node] = []

    def run(self, scores: list[fx.Node]) -> Local:
        unit, row = self._new.placeholder("unit"), self._new.placeholder("row")
        self._unit = unit
        shape = self._weight.meta["shape"]
        row.meta.update(shape=(1, *shape[1:]), dtype=self._weight.meta["dtype"])
        for node in self._old.nodes:
            if node.op == "output":
                continue
            self._base[node] = self._new.node_copy(node, self._base.__getitem__)
            if node is self._weight:
                self._parts[node] = _Part(row, 0, 1)
            elif any(self._moves(given) for given in node.all_input_nodes):
                self._follow(node)
        results = [self._whole(node) if self._moves(node) else self._base[node] for node in scores]
        self._new.output(results)
        return Local(self._new, self._base, row, unit, results, self._changes[0] if len(self._changes) == 1 else None)

    # ---- values

    def _moves(self, value: Any) -> bool:
        return value in self._parts or value in self._dense

    def _call(self, like: fx.Node, target: Any, args: tuple, kwargs: dict | None = None, shape: tuple | None = None) -> fx.Node:
        node = self._new.call_function(target, args, kwargs or {})
        node.meta.update(shape=shape or like.meta.get("shape"), dtype=like.meta.get("dtype"))
        return node

    def _span(self, length: int) -> tuple[fx.Node, fx.Node]:
        """Return nodes for where the unit's entries begin and end."""
        if length not in self._ends:
            start = self._new.call_function(operator.mul, (self._unit, length))
            self._ends[length] = start, self._new.call_function(operator.add, (start, length))
        return self._ends[length]

    def _slice(self, node: fx.Node, axis: int, length: int) -> fx.Node:
        """Return the unit's entries of a value of the base."""
        shape = list(node.meta.get("shape") or ())
        if shape:
            shape[axis] = length
        return self._call(node, aten.slice.Tensor, (node, axis, *self._span(length)), shape=tuple(shape))

    def _whole(self, node: fx.Node) -> fx.Node:
        """Return a moving value with all of its entries."""
        if node not in self._dense:
            part = self._parts[node]
            self._dense[node] = self._call(
                node, aten.slice_scatter.default, (self._base[node], part.node, part.axis, *self._span(part.length))
            )
        return self._dense[node]

    def _change(self, node: fx.Node) -> fx.Node:
        part = self._parts[node]
        base = self._slice(self._base[node], part.axis, part.length)
        self._changes.append(self._call(part.node, aten.sub.Tensor, (part.node, base), shape=self._narrow(node, part)))
        return self._changes[-1]

    # ---- operations

    def _follow(self, node: fx.Node) -> None:
        dense = any(given in self._dense for given in node.all_input_nodes)
        if not dense and node.op == "call_function":
            rule = self._rule(node.target)
            if rule is not None and rule(node):
                return
        given = {n: self._whole(n) if self._moves(n) else self._base[n] for n in node.all_input_nodes}
        self._dense[node] = self._new.node_copy(node, given.__getitem__)

    def _rule(self, target: Any) -> Callable[[fx.Node], bool] | None:
        if target is operator.getitem:
            return self._getitem
        operation = target.overloadpacket
        if operation in _ELEMENTWISE or operation in _BINARY:
            return self._entries
        named = {
            aten.t: self._transposed, aten.addmm: self._addmm, aten.mm: self._mm, aten.convolution: self._convolution,
            aten.view: self._flattened, aten.reshape: self._flattened, aten.slice: self._space, aten.mean: self._space,
            aten.native_batch_norm: self._norm, aten._native_batch_norm_legit_no_training: self._norm,
        }  # fmt: skip
        return self._space if operation in _POOLS else named.get(operation)

    def _keep(self, node: fx.Node, part: fx.Node, axis: int, length: int) -> bool:
        self._parts[node] = _Part(part, axis, length)
        return True

    def _narrow(self, node: fx.Node, part: _Part) -> tuple:
        shape = list(node.meta.get("shape") or ())
        if len(shape) > part.axis:
            shape[part.axis] = part.length
        return tuple(shape)

    def _entries(self, node: fx.Node) -> bool:
        """Each entry of the result depends on the same entry of the arguments."""
        parts = [self._parts[n] for n in node.all_input_nodes if n in self._parts]
        first = parts[0]
        if any((p.axis, p.length) != (first.axis, first.length) for p in parts):
            return False
        if any(n.meta.get("shape") != node.meta.get("shape") for n in node.all_input_nodes):
            return False
        given = {
            n: self._parts[n].node if n in self._parts else self._slice(self._base[n], first.axis, first.length)
            for n in node.all_input_nodes
        }
        part = self._new.node_copy(node, given.__getitem__)
        part.meta["shape"] = self._narrow(node, first)
        return self._keep(node, part, first.axis, first.length)

    def _space(self, node: fx.Node) -> bool:
        """Works on the axes after the units."""
        args, operation = _arguments(node), _operation(node)
        source = args[0]
        if source not in self._parts or self._parts[source].axis != 1 or len(node.all_input_nodes) != 1:
            return False
        rank = len(source.meta["shape"])
        if operation in (aten.slice, aten.mean):
            dims = args[1] if len(args) > 1 else None
            fits = all(isinstance(dim, int) and dim % rank >= 2 for dim in (dims if isinstance(dims, (list, tuple)) else [dims]))
        elif operation is aten.constant_pad_nd:
            fits = len(args[1]) <= 2 * (rank - 2)
        else:  # pooling, of batches and not of single samples
            fits = rank == (3 if operation is aten.avg_pool1d else 4)
        if not fits:
            return False
        part = self._parts[source]
        moved = self._new.node_copy(node, lambda n: part.node)
        moved.meta["shape"] = self._narrow(node, part)
        return self._keep(node, moved, 1, part.length)

    def _getitem(self, node: fx.Node) -> bool:
        source, which = _arguments(node)
        part = self._parts[source]
        if which != 0:
            return False
        return self._keep(node, self._call(node, operator.getitem, (part.node, 0), shape=self._narrow(node, part)), 1, part.length)

    def _transposed(self, node: fx.Node) -> bool:
        part = self._parts[_arguments(node)[0]]
        moved = self._call(node, node.target, (part.node,), shape=part.node.meta["shape"][::-1])
        return self._keep(node, moved, 1 - part.axis, part.length)

    def _addmm(self, node: fx.Node) -> bool:
        bias, x, w = _arguments(node)[:3]
        if node.kwargs or len(node.args) > 3 or len(bias.meta["shape"]) != 1:
            return False
        if x in self._parts:
            return self._mixed(node, x, w) if bias not in self._parts and w not in self._parts else False
        own = self._parts.get(w) or self._parts.get(bias)
        if own is None or (w in self._parts and own.axis != 1):
            return False
        one, other = self._own(bias, 0, own.length), self._own(w, 1, own.length)
        rows = x.meta["shape"][0]
        return self._keep(node, self._call(node, node.target, (one, self._base[x], other), shape=(rows, own.length)), 1, own.length)

    def _mm(self, node: fx.Node) -> bool:
        x, w = _arguments(node)
        if x in self._parts:
            return w not in self._parts and self._mixed(node, x, w)
        own = self._parts[w]
        rows = x.meta["shape"][0]
        return own.axis == 1 and self._keep(
            node,
            self._call(node, node.target, (self._base[x], own.node), shape=(rows, own.length)),
            1,
            own.length,
        )

    def _own(self, node: Any, axis: int, length: int) -> fx.Node:
        return self._parts[node].node if node in self._parts else self._slice(self._base[node], axis, length)

    def _mixed(self, node: fx.Node, x: Any, w: Any) -> bool:
        """The base, and the change of the unit times the weights that leave it."""
        part = self._parts[x]
        if part.axis != 1:
            return False
        leaving = self._slice(self._base[w], 0, part.length)
        self._dense[node] = self._call(node, aten.addmm.default, (self._base[node], self._change(x), leaving))
        return True

    def _convolution(self, node: fx.Node) -> bool:
        x, w, bias, stride, padding, dilation, transposed, out_padding, groups = _arguments(node)
        if transposed or groups != 1:
            return False
        rest = (stride, padding, dilation, transposed, out_padding, groups)
        if x in self._parts:
            part = self._parts[x]
            if part.axis != 1 or w in self._parts or bias in self._parts:
                return False
            leaving = self._slice(self._base[w], 1, part.length)
            change = self._call(node, node.target, (self._change(x), leaving, None, *rest))
            self._dense[node] = self._call(node, aten.add.Tensor, (self._base[node], change))
            return True
        own = self._parts.get(w) or self._parts.get(bias)
        if own is None or own.axis != 0:
            return False
        one = None if bias is None else self._own(bias, 0, own.length)
        moved = self._call(node, node.target, (self._base[x], self._own(w, 0, own.length), one, *rest))
        moved.meta["shape"] = self._narrow(node, _Part(moved, 1, own.length))
        return self._keep(node, moved, 1, own.length)

    def _norm(self, node: fx.Node) -> bool:
        (x, *vectors), rest = _arguments(node)[:5], _arguments(node)[5:]
        if _operation(node) is aten.native_batch_norm and rest[0]:
            return False
        own = next(self._parts[n] for n in (x, *vectors) if n in self._parts)
        if own.axis != (1 if x in self._parts else 0):
            return False
        given = [self._own(x, 1, own.length), *(None if v is None else self._own(v, 0, own.length) for v in vectors)]
        return self._keep(node, self._call(node, node.target, (*given, *rest)), 1, own.length)

    def _flattened(self, node: fx.Node) -> bool:
        """Units in blocks: what follows them in a row becomes part of the block."""
        part = self._parts[_arguments(node)[0]]
        before, after = _arguments(node)[0].meta["shape"], node.meta["shape"]
        if part.axis != 1 or len(after) != 2 or len(before) < 2 or before[0] != after[0]:
            return False
        block = part.length * math.prod(before[2:])
        moved = self._call(node, aten.reshape.default, (part.node, [after[0], block]), shape=(after[0], block))
        return self._keep(node, moved, 1, block)


def _arguments(node: fx.Node) -> Any:
    return node.args


def _operation(node: fx.Node) -> Any:
    target: Any = node.target
    return target.overloadpacket
