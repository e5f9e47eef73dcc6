"""A forward pass written down as a graph of tensor operations.

May import: torch. The operations are those that torch's dispatcher sees below autograd (the same that ``make_fx`` records,
without the two seconds that its imports take): python's control flow, hooks, containers and modules are gone, so any model
whose operations do not depend on the values of its inputs can be recorded.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map


class Unrecordable(Exception):
    """A forward pass that depends on values, writes into its inputs, or draws random numbers: the message says which."""


class _Writes(Exception):
    """An operation wrote in place, so the pass has to be recorded once more without side effects."""


@dataclass(frozen=True)
class Recording:
    """A recorded function of tensors.

    Attributes
    ----------
    graph : torch.fx.Graph
        Placeholders, operations, one output node with the flat list of results.
    inputs : list of torch.fx.Node
        The placeholders, one for each input.
    outputs : list of torch.fx.Node
        One for each tensor that the function returned, in order.
    constants : dict of str to Tensor
        What the pass computed without its inputs, under the names of the ``get_attr`` nodes.
    """

    graph: fx.Graph
    inputs: list[fx.Node]
    outputs: list[fx.Node]
    constants: dict[str, Tensor]


def record(function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor]) -> Recording:
    """Return the graph of ``function(*inputs)``, a function that returns a sequence of tensors.

    Raises
    ------
    Unrecordable
        The operations depend on the values of the inputs, or there are none that could be recorded.
    """
    # one tensor given twice must be two placeholders
    seen: set[int] = set()
    distinct = []
    for tensor in inputs:
        distinct.append(tensor.view_as(tensor) if id(tensor) in seen else tensor)
        seen.add(id(tensor))
    try:
        try:
            return _record(function, distinct)
        except _Writes:
            return _record(torch.func.functionalize(function), distinct)
    except _Writes as error:
        raise Unrecordable(f"{error} writes in place where that cannot be undone") from None


def _record(function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor]) -> Recording:
    recorder = _Recorder(inputs)
    with torch.no_grad(), recorder:
        results = function(*inputs)
    outputs = [recorder.node_of(tensor) for tensor in results]
    recorder.graph.output(outputs)
    return Recording(recorder.graph, recorder.inputs, outputs, recorder.constants)


class _Recorder(TorchDispatchMode):
    def __init__(self, inputs: Sequence[Tensor]):
        super().__init__()
        self.graph = fx.Graph()
        self.constants: dict[str, Tensor] = {}
        self._nodes: dict[int, fx.Node] = {}
        self._kept: list[Tensor] = []  # an id means a tensor only as long as that lives
        self.inputs = [self._name(tensor, self.graph.placeholder(f"input_{i}")) for i, tensor in enumerate(inputs)]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its compiler, which takes seconds

    def node_of(self, tensor: Tensor) -> fx.Node:
        """Return the node of a tensor; one that no input had a part in becomes a constant."""
        if id(tensor) not in self._nodes:
            name = f"constant_{len(self.constants)}"
            self.constants[name] = tensor.detach()
            self._name(tensor, self.graph.create_node("get_attr", name))
        return self._nodes[id(tensor)]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        dependent = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, Tensor) and id(t) in self._nodes]
        if dependent and func is torch.ops.aten._local_scalar_dense.default:
            raise Unrecordable("it reads the value of a tensor in python (.item(), float(), if tensor: ...)")
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise Unrecordable(f"it draws random numbers ({func})")
        if dependent and func._schema.is_mutable:
            raise _Writes(str(func))
        out = func(*args, **kwargs)
        if not dependent:
            return out
        node = self.graph.call_function(func, *tree_map(lambda x: self.node_of(x) if isinstance(x, Tensor) else x, (args, kwargs)))
        if isinstance(out, Tensor):
            self._name(out, node)
        else:
            for i, part in enumerate(out):
                if isinstance(part, Tensor):
                    self._name(part, self.graph.call_function(operator.getitem, (node, i)))
        return out

    def _name(self, tensor: Tensor, node: fx.Node) -> fx.Node:
        self._nodes[id(tensor)] = node
        self._kept.append(tensor)
        node.meta["shape"], node.meta["dtype"] = tuple(tensor.shape), tensor.dtype
        return node
