"""A layer's weights drawn anew from its own initialiser, and from nobody's random state but a private one.

May import: torch, core.states. ``reset_parameters`` draws from torch's global generator, which is the user's. Here it runs on a
copy of the module while every random operation that reaches torch's dispatcher is given a private generator instead, so the
global one is not even read. The dispatcher's modes belong to the calling thread: other threads notice nothing.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from .states import Layout, unwrap

Initializer = Callable[[nn.Module, torch.Generator], Any]
RESETS = ("reset_parameters", "_reset_parameters")  # the second is what torch calls it in attention and transformers
_LIKE = {"rand_like": "uniform_", "randn_like": "normal_"}  # without an overload that takes a generator before torch 2.9
_REMEDY = "give initializer=, a function (module, generator) that fills a copy of the module"


class RedrawError(ValueError):
    """A layer that cannot be drawn anew."""


class _Private(TorchDispatchMode):
    """Gives each random operation a generator of its own, or refuses it."""

    def __init__(self, generator: torch.Generator):
        super().__init__()
        self._generator = generator

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = dict(kwargs or {})
        if torch.Tag.nondeterministic_seeded not in func.tags or _generator_in(func, args, kwargs) is not None:
            return func(*args, **kwargs)
        kwargs["generator"] = self._generator
        if _place(func) is not None:
            return func(*args[: _place(func)], **kwargs)
        packet, which = func.overloadpacket, func._overloadname
        for overload in ("generator",) if which == "default" else (f"{which}_generator", which.replace("_", "_generator_", 1)):
            if overload in packet.overloads():
                return getattr(packet, overload)(*args, **kwargs)
        if packet.__name__ in _LIKE:
            del kwargs["generator"]
            return getattr(torch.empty_like(*args, **kwargs), _LIKE[packet.__name__])(generator=self._generator)
        raise RedrawError(f"it draws with torch's {packet.__name__!r}, which takes no private generator; {_REMEDY}")


def _place(func: Any) -> int | None:
    """Return where among its arguments an operation takes a generator; None where it takes none."""
    return next((i for i, argument in enumerate(func._schema.arguments) if argument.name == "generator"), None)


def _generator_in(func: Any, args: tuple, kwargs: dict) -> Any:
    place = _place(func)
    return kwargs.get("generator") if place is None or place >= len(args) else args[place]


class Redraw:
    """Draws parameters of one model anew.

    Parameters
    ----------
    model : torch.nn.Module
        Read, never written.
    layout : Layout
    initializer : callable, optional
        ``initializer(module, generator)`` fills a copy of the module that owns the weights. Default: its ``reset_parameters``.
    seed : int
    """

    def __init__(self, model: nn.Module, layout: Layout, initializer: Initializer | None = None, seed: int = 0):
        if initializer is not None and not callable(initializer):
            raise TypeError(
                f"initializer: a function (module, generator) that fills the module's weights, received {initializer!r}"
            )
        self._modules = dict(unwrap(model).named_modules(remove_duplicate=False))
        self._initializer, self._seed = initializer, seed
        self._owner = {name: layer for layer, names in layout.layers.items() for name in names}

    def problem(self, names: Iterable[str]) -> str:
        """Return why some parameters cannot be drawn anew; empty where they can."""
        try:
            one, other = self.draw(names := list(names)), self.draw(names)
        except RedrawError as error:
            return str(error)
        if not all(torch.equal(one[name], other[name]) for name in names):
            return f"two draws with one seed differ, so it draws from another generator than torch's; {_REMEDY}"
        return ""

    def draw(self, names: Iterable[str], number: int = 0) -> dict[str, Tensor]:
        """Return fresh tensors for some parameters, on the CPU: those of a seed and a number, whichever others are asked for.

        Raises
        ------
        RedrawError
            A module without ``reset_parameters``, or whose ``reset_parameters`` fails or leaves one of them as it was.
        """
        owned: dict[str, list[str]] = {}
        for name in names:
            owned.setdefault(self._owner[name], []).append(name)
        return {name: tensor for layer, own in owned.items() for name, tensor in self._of(layer, own, number).items()}

    def _of(self, layer: str, names: list[str], number: int) -> dict[str, Tensor]:
        module = self._modules[layer]
        kind, reset = type(module).__name__, next((name for name in RESETS if callable(getattr(module, name, None))), None)
        if reset is None and self._initializer is None:
            raise RedrawError(f"a {kind} has no reset_parameters, so what it was drawn from is not known; {_REMEDY}")
        own = {name: name[len(layer) + 1 :] if layer else name for name in names}
        with torch.no_grad():
            twin = copy.deepcopy(module).to("cpu")
            parameters = dict(twin.named_parameters(remove_duplicate=False))
            for inside in own.values():
                parameters[inside].fill_(float("nan"))  # what is left of it was not drawn
            key = hashlib.blake2b(f"{self._seed}/{number}/{layer}".encode(), digest_size=8).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(key, "little") >> 1)
            try:
                with _Private(generator):
                    if self._initializer is not None:
                        self._initializer(twin, generator)
                    else:
                        getattr(twin, reset or "")()
            except RedrawError:
                raise
            except Exception as error:
                raise RedrawError(f"initialising a {kind} failed ({type(error).__name__}: {error})"[:300]) from error
            parameters = dict(twin.named_parameters(remove_duplicate=False))
        for inside in own.values():
            if bool(torch.isnan(parameters[inside]).any()):
                how = "initializer" if self._initializer is not None else reset
                raise RedrawError(f"{how} of a {kind} does not draw its {inside!r}" + ("" if self._initializer else f"; {_REMEDY}"))
        return {name: parameters[inside].detach() for name, inside in own.items()}
