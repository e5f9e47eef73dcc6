"""A forward pass written down as a graph of tensor operations.

May import: torch. The operations are those that torch's dispatcher sees below autograd (the same that ``make_fx`` records,
without the two seconds that its imports take): python's control flow, hooks, containers and modules are gone, so any model
whose operations do not depend on the values of its inputs can be recorded. Operations that write in place are recorded as
ones that return a new value: here where no other view of the memory is used afterwards, else by ``torch.func.functionalize``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map


class Unrecordable(Exception):
    """A forward pass that depends on values, writes into its inputs, or draws random numbers: the message says which."""


class _Writes(Exception):
    """Memory that was written in place is seen through another tensor, so the pass has to be recorded without side effects."""


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
    """Return the graph of ``function(*inputs)``, a function that returns a sequence of tensors and may write into its inputs.

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
    with torch.no_grad(), _Reader(recorder), recorder:
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
        self._views: dict[int, set[int]] = {}  # of a tensor: all that may show the same memory
        self._stale: dict[int, str] = {}  # and those whose memory was written through another one
        self.inputs = [self._name(tensor, self.graph.placeholder(f"input_{i}")) for i, tensor in enumerate(inputs)]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its compiler, which takes seconds

    def knows(self, tensor: Any) -> bool:
        """Return whether a tensor is an input or was computed from one."""
        return id(tensor) in self._nodes

    def node_of(self, tensor: Tensor) -> fx.Node:
        """Return the node of a tensor; one that no input had a part in becomes a constant."""
        if id(tensor) in self._stale:
            raise _Writes(self._stale[id(tensor)])
        if id(tensor) not in self._nodes:
            name = f"constant_{len(self.constants)}"
            self.constants[name] = tensor.detach()
            self._name(tensor, self.graph.create_node("get_attr", name))
        return self._nodes[id(tensor)]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        dependent = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, Tensor) and self.knows(t)]
        if dependent and func is torch.ops.aten._local_scalar_dense.default:
            raise Unrecordable("it reads the value of a tensor in python (.item(), float(), if tensor: ...)")
        if torch.Tag.nondeterministic_seeded in func.tags and _draws(func, args, kwargs):
            raise Unrecordable(f"it draws random numbers ({func})")
        if not dependent:
            return func(*args, **kwargs)
        if torch.Tag.dynamic_output_shape in func.tags and _counts(func, args):
            raise Unrecordable(f"the values of a tensor say how many are selected ({func})")
        if func._schema.is_mutable:
            return self._write(func, args, kwargs)
        out = func(*args, **kwargs)
        node = self._call(func, args, kwargs)
        base = next((args[0] for result in func._schema.returns if result.alias_info is not None), None)
        if isinstance(out, Tensor):
            self._name(out, node, base)
        else:
            for i, part in enumerate(out):
                if isinstance(part, Tensor):
                    self._name(part, self.graph.call_function(operator.getitem, (node, i)), base)
        return out

    def _write(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        """Record an operation that writes into its first argument as one that returns what it leaves there."""
        pure, into = _without_writing(func), args[0]
        if pure is None or not self.knows(into):
            raise _Writes(str(func))
        node = self._call(pure, args, kwargs)
        dtype = pure(*args, **kwargs).dtype
        func(*args, **kwargs)
        if dtype != into.dtype:
            node = self.graph.call_function(torch.ops.aten._to_copy.default, (node,), {"dtype": into.dtype})
        self._stale.update(dict.fromkeys(self._views[id(into)] - {id(into)}, str(func)))
        self._name(into, node, into)
        return into

    def _call(self, func: Any, args: Any, kwargs: Any) -> fx.Node:
        return self.graph.call_function(func, *tree_map(lambda x: self.node_of(x) if isinstance(x, Tensor) else x, (args, kwargs)))

    def _name(self, tensor: Tensor, node: fx.Node, base: Any = None) -> fx.Node:
        self._nodes[id(tensor)] = node
        self._kept.append(tensor)
        self._views[id(tensor)] = self._views.get(id(base), set())
        self._views[id(tensor)].add(id(tensor))
        node.meta["shape"], node.meta["dtype"] = tuple(tensor.shape), tensor.dtype
        return node


class _Reader(TorchFunctionMode):
    """Sees what the dispatcher does not: python that takes the values out of a tensor, or steps around autograd."""

    def __init__(self, recorder: _Recorder):
        super().__init__()
        self._recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _READS and self._recorder.knows(args[0]):
            raise Unrecordable("it reads the values of a tensor in python (.numpy(), .tolist(), numpy.asarray(tensor))")
        if func == _DATA:
            return args[0].detach()
        return func(*args, **(kwargs or {}))


_READS = (Tensor.numpy, Tensor.tolist, Tensor.__array__)
_DATA = Tensor.data.__get__  # type: ignore[attr-defined]


def _draws(func: Any, args: Any, kwargs: Any) -> bool:
    """Return whether an operation that can be random is; attention and dropout are not, where nothing is dropped."""
    given = {argument.name: argument.default_value for argument in func._schema.arguments}
    given.update(zip(given, args, strict=False))
    given.update(kwargs)
    return not (given.get("dropout_p") == 0.0 or given.get("train") is False or given.get("training") is False)


def _counts(func: Any, args: Any) -> bool:
    """Return whether the shape of what comes out depends on values; of an index with whole numbers it does not."""
    return func is not torch.ops.aten.index.Tensor or any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])


def _without_writing(func: Any) -> Any:
    """Return the operation that returns what `func` writes into its first argument; None where there is none."""
    name = func._schema.name.removeprefix("aten::")
    written = [argument.name for argument in func._schema.arguments if argument.alias_info and argument.alias_info.is_write]
    if name.startswith("__") or not name.endswith("_") or written != [func._schema.arguments[0].name]:
        return None
    overload = "int" if name == "transpose_" else func._overloadname
    pure = getattr(getattr(torch.ops.aten, name[:-1], None), overload, None)
    return None if pure is None or pure._schema.is_mutable else pure
