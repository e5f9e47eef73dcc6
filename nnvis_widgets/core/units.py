"""Which weights stand for a layer: modules, blocks or tensors; all of them, weights or biases alone.

May import: torch, core.scope, core.states.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from torch import nn

from .scope import Scope, ScopeError, movable_layers
from .states import Layout, unwrap

UNITS = ("module", "block", "tensor")
PARTS = ("all", "weights", "biases")
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def units_of(model: nn.Module, layout: Layout, unit: str, part: str, layers: Sequence[Any] | None = None) -> list[Scope]:
    """Return the layers of a model as scopes, in the order in which it registers them.

    Parameters
    ----------
    model : torch.nn.Module
    layout : Layout
    unit : str
        "module": each module that owns parameters; "block": a residual block, an encoder layer and the like as one, other modules
        as they are; "tensor": each parameter.
    part : str
        "all", "weights" (what is not called a bias), "biases". Layers without such a part are left out.
    layers : sequence, optional
        Some of them by name, or any scopes; a list among them is a union.

    Raises
    ------
    ValueError
        An unknown unit or part, a layer that is none or that is named twice, or nothing left.
    """
    for name, value, known in (("unit", unit, UNITS), ("part", part, PARTS)):
        if value not in known:
            raise ValueError(f"{name}: one of {', '.join(map(repr, known))}; received {value!r}")
    whole = _all(model, layout, unit)
    if layers is not None:
        if isinstance(layers, (str, Scope)) or not isinstance(layers, (list, tuple)) or not layers:
            raise ValueError(f"layers: a list of names such as {list(whole)[:2]}, received {layers!r}")
        chosen = [whole[spec] if isinstance(spec, str) and spec in whole else _parsed(spec, layout, list(whole)) for spec in layers]
        whole = {scope.name: scope for scope in chosen}
        if len(whole) < len(chosen):
            names = [scope.name for scope in chosen]
            raise ValueError(f"layers: each once; received {next(name for name in names if names.count(name) > 1)!r} twice")
    found = [kept for scope in whole.values() if (kept := _part(scope, part)) is not None]
    if not found:
        raise ValueError(f"part: none of the layers has {part}; received {part!r}, and 'all' works")
    return found


def is_bias(name: str) -> bool:
    """Return whether a parameter is called a bias.

    Examples
    --------
    >>> is_bias("fc1.bias"), is_bias("rnn.bias_ih_l0"), is_bias("attention.in_proj_bias"), is_bias("unbiased.weight")
    (True, True, True, False)
    """
    return "bias" in name.rpartition(".")[2].split("_") or ".parametrizations.bias." in name


def blocks_of(model: nn.Module) -> list[str]:
    """Return the paths of the modules that are taken as one: the outermost ones that are no mere lists of others.

    A module is looked into where it is the model itself, a container, or where it holds a list of modules of one class that
    themselves hold modules, as an encoder holds its layers. One of several of its class beside each other is a block.

    Examples
    --------
    >>> import torch
    >>> inner = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    >>> blocks_of(torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.TransformerEncoder(inner, 2)))
    ['0', '1.layers.0', '1.layers.1']
    """
    found: list[str] = []

    def visit(path: str, module: nn.Module, repeated: bool) -> None:
        children = list(module.named_children())
        inside = [type(child) for _, child in children if list(child.children())]
        open_it = bool(inside or not repeated) if isinstance(module, _CONTAINERS) else not repeated and _holds_a_list(module)
        if children and (not path or open_it):
            for name, child in children:
                beside = isinstance(module, _CONTAINERS) and (repeated or inside.count(type(child)) > 1)
                visit(f"{path}.{name}" if path else name, child, beside)
        elif any(True for _ in module.parameters()):
            found.append(path)

    visit("", unwrap(model), False)
    return found


def _holds_a_list(module: nn.Module) -> bool:
    for inner in module.modules():
        if isinstance(inner, _CONTAINERS):
            kinds = [type(child) for child in inner.children() if list(child.children())]
            if any(kinds.count(kind) > 1 for kind in set(kinds)):
                return True
    return False


def _all(model: nn.Module, layout: Layout, unit: str) -> dict[str, Scope]:
    layers = movable_layers(layout)
    if unit == "module":
        return {name: Scope.parse(name, layout) for name in layers}
    if unit == "tensor":
        return {name: Scope.parse(name, layout) for names in layers.values() for name in names}
    blocks = sorted(blocks_of(model), key=len, reverse=True)
    grouped: dict[str, list[str]] = {}
    for layer, names in layers.items():
        block = next((block for block in blocks if layer == block or layer.startswith(f"{block}.")), layer)
        grouped.setdefault(block, []).extend(names)
    return {block: Scope(block, "layer", dict.fromkeys(names)) for block, names in grouped.items()}


def _parsed(spec: Any, layout: Layout, known: list[str]) -> Scope:
    try:
        return Scope.parse(spec, layout)
    except ScopeError as error:
        close = [] if not isinstance(spec, str) else difflib.get_close_matches(spec, known, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(map(repr, close))}?" if close else f"layers: {', '.join(map(repr, known[:8]))}"
        words = str(error).removeprefix("scope: ").partition("; ")[0]
        raise ValueError(f"layers: {words}; {hint}") from None


def _part(scope: Scope, part: str) -> Scope | None:
    if part == "all":
        return scope
    kept = {name: index for name, index in scope.tensors.items() if is_bias(name) == (part == "biases")}
    return Scope(scope.name, scope.level, kept) if kept else None
