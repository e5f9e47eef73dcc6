"""Which weights an experiment moves: the whole model, a layer, a tensor, single weights, or a union of these.

May import: torch, core.states.
"""

from __future__ import annotations

import difflib
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .states import Layout, State


class ScopeError(ValueError):
    """A scope that names nothing, or more than one thing, of the model."""


@dataclass(frozen=True)
class Scope:
    """A selection of weights.

    Attributes
    ----------
    name : str
        Canonical description, e.g. ``"model"``, ``"fc1"``, ``"conv1.weight[0, 0, 1, 2]"``, ``"fc1 + fc2"``.
    level : str
        ``"model"``, ``"layer"`` (one module, or all below it), ``"tensor"``, ``"element"`` or ``"union"``.
    tensors : dict of str to (Tensor or None)
        Parameter names; None for the whole tensor, else the flat indices (int64, ascending) that are selected.
    """

    name: str
    level: str
    tensors: dict[str, Tensor | None]

    @classmethod
    def parse(cls, spec: Any, layout: Layout) -> Scope:
        """Return the scope that `spec` means for a model with this layout.

        Parameters
        ----------
        spec : None, str, (str, index) or a list of these
            None: every parameter. ``"fc1"``: the parameters that this module itself owns. ``"layer4.*"``: all below it.
            ``"fc1.weight"``: one tensor. ``("conv1.weight", (0, 0, 1, 2))``: one weight. A list: the union.

        Raises
        ------
        ScopeError
            Unknown or ambiguous name (close names are listed), index out of range, or weights that cannot be interpolated.
        """
        if isinstance(spec, Scope):
            return _of_this_model(spec, layout)
        if spec is None:
            floating = {name: None for name in layout.shapes if _is_floating(layout.dtypes[name])}
            return cls("model", "model", dict(floating))
        if isinstance(spec, str):
            return _named(spec, layout)
        if isinstance(spec, tuple) and len(spec) == 2 and isinstance(spec[0], str) and not isinstance(spec[1], str):
            return _element(spec[0], spec[1], layout)
        if isinstance(spec, (list, tuple, set, frozenset)):
            if not spec:
                raise ScopeError("scope: an empty list selects nothing; None selects the whole model")
            return _union([cls.parse(part, layout) for part in spec])
        raise ScopeError(
            f"scope: expected None, a name such as 'fc1' or 'fc1.weight', ('fc1.weight', (0, 3)), or a list of these; "
            f"received {spec!r}"
        )

    def count(self, layout: Layout) -> int:
        """Return how many single weights are selected."""
        return sum(layout.shapes[name].numel() if index is None else len(index) for name, index in self.tensors.items())

    def shared_with(self, other: Scope) -> str | None:
        """Return the name of a tensor of which both hold a weight, if there is one."""
        for name in self.tensors.keys() & other.tensors.keys():
            one, two = self.tensors[name], other.tensors[name]
            if one is None or two is None or bool(torch.isin(one, two).any()):
                return name
        return None

    def take(self, state: State) -> list[Tensor]:
        """Return the selected weights of a state: whole tensors, or 1-D tensors of single weights."""
        return [
            state[name] if index is None else state[name].reshape(-1)[index.to(state[name].device)]
            for name, index in self.tensors.items()
        ]


def _of_this_model(scope: Scope, layout: Layout) -> Scope:
    for name, index in scope.tensors.items():
        if name not in layout.shapes:
            raise _unknown(name, layout)
        if index is not None and int(index.max()) >= layout.shapes[name].numel():
            raise ScopeError(
                f"scope: {scope.name!r} was made for another model; here {name!r} has shape {tuple(layout.shapes[name])}"
            )
    return scope


def _is_floating(dtype: torch.dtype) -> bool:
    return dtype.is_floating_point or dtype.is_complex


def _named(spec: str, layout: Layout) -> Scope:
    spec_name = layout.aliases.get(spec, spec)
    layers = layout.layers
    if spec == "*":
        return Scope.parse(None, layout)
    if spec.endswith(".*"):
        prefix = spec[:-1]
        below = [name for name in layout.shapes if name.startswith(prefix)]
        if not below:
            _refuse_tied(spec[:-2], layout)
        return _whole(spec, "layer", below, layout)
    if spec_name in layout.shapes:
        return _whole(spec_name, "tensor", [spec_name], layout)
    if spec in layers:
        # a layer that is called "model" must not pass for the whole model
        return _whole("layer model" if spec == "model" else spec, "layer", layers[spec], layout)
    below = [name for name in layout.shapes if name.startswith(f"{spec}.")]
    if below:
        raise ScopeError(
            f"scope: the module {spec!r} owns no parameters itself; {spec + '.*'!r} selects all {len(below)} tensors below it"
        )
    _refuse_tied(spec, layout)
    if spec in layout.buffers:
        raise ScopeError(f"scope: {spec!r} is a buffer; buffers follow the evaluator's BatchNorm policy, not a path")
    raise _unknown(spec, layout)


def _refuse_tied(module: str, layout: Layout) -> None:
    tied = sorted({name for alias, name in layout.aliases.items() if alias.startswith(f"{module}.")})
    if tied:
        raise ScopeError(f"scope: all parameters of {module!r} are tied to {tied}: name those")


def _unknown(spec: str, layout: Layout) -> ScopeError:
    known = [*layout.layers, *layout.shapes]
    close = difflib.get_close_matches(spec, known, n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(map(repr, close))}?" if close else f"layers: {', '.join(map(repr, layout.layers))}"
    return ScopeError(f"scope: the model has no layer or parameter {spec!r}; {hint}")


def _whole(name: str, level: str, tensors: Iterable[str], layout: Layout) -> Scope:
    tensors = list(tensors)
    if not tensors:
        raise _unknown(name, layout)
    for tensor in tensors:
        if not _is_floating(layout.dtypes[tensor]):
            raise ScopeError(f"scope: {tensor!r} has type {layout.dtypes[tensor]}, which cannot be interpolated")
    return Scope(name, level, dict.fromkeys(tensors))


def _element(name: str, index: Any, layout: Layout) -> Scope:
    tensor = layout.aliases.get(name, name)
    if tensor not in layout.shapes:
        if name in layout.layers:
            raise ScopeError(
                f"scope: a single weight needs its tensor, one of {', '.join(map(repr, layout.layers[name]))}; "
                f"received the layer {name!r}"
            )
        raise _unknown(name, layout)
    _whole(tensor, "tensor", [tensor], layout)
    shape = layout.shapes[tensor]
    try:
        # operator.index: int() would quietly cut 0.7 down to 0
        position = tuple(operator.index(i) for i in index) if isinstance(index, Iterable) else (operator.index(index),)
    except TypeError:
        raise ScopeError(f"scope: the index of a weight is a tuple of whole numbers; received {index!r}") from None
    if len(position) != len(shape) or not all(0 <= i < size for i, size in zip(position, shape, strict=True)):
        last = tuple(size - 1 for size in shape)
        raise ScopeError(
            f"scope: {tensor!r} has shape {tuple(shape)}, so its indices run from {(0,) * len(shape)} to {last}; "
            f"received {position}"
        )
    flat = 0
    for i, size in zip(position, shape, strict=True):
        flat = flat * size + i
    return Scope(f"{tensor}[{', '.join(map(str, position))}]", "element", {tensor: torch.tensor([flat])})


def _union(parts: list[Scope]) -> Scope:
    if len(parts) == 1:
        return parts[0]
    tensors: dict[str, Tensor | None] = {}
    for part in parts:
        for name, index in part.tensors.items():
            have = tensors.get(name, index)
            both = None if have is None or index is None else torch.unique(torch.cat([have, index]))
            tensors[name] = both
    return Scope(" + ".join(part.name for part in parts), "union", tensors)


def movable_layers(layout: Layout) -> dict[str, tuple[str, ...]]:
    """Return what can be moved layer by layer: the name of a scope, and the parameters that it holds.

    Every name is one that `Scope.parse` takes. A layer whose parameters are all of a floating type stands under its module
    path. The root module has no path, and a layer that owns integers too cannot be moved whole: their floating parameters
    stand under their own names. Layers without any are left out.

    Examples
    --------
    >>> movable_layers(Layout.of(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())))
    {'0': ('0.weight', '0.bias')}
    """
    movable: dict[str, tuple[str, ...]] = {}
    for layer, names in layout.layers.items():
        floating = tuple(name for name in names if _is_floating(layout.dtypes[name]))
        if layer and floating == names:
            movable[layer] = names
        else:
            movable.update({name: (name,) for name in floating})
    return movable


def element_index(flat: int, shape: Sequence[int]) -> tuple[int, ...]:
    """Return the index of the `flat`-th weight of a tensor of this shape, row-major.

    Examples
    --------
    >>> element_index(11, (2, 3, 4))
    (0, 2, 3)
    """
    position = []
    for size in reversed(shape):
        flat, i = divmod(flat, size)
        position.append(i)
    return tuple(reversed(position))
