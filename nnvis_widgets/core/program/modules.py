"""What a batch's points share where the forward pass cannot be recorded: the modules that run before a moving weight is used.

May import: torch, core.replica. The user's python runs at every point; only the modules that lie wholly before the first use of
a weight or a running statistic that moves give back what they gave at the first point of the batch. That is bit for bit what
they would compute, as nothing that they see has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from ..replica import Replica
from .checks import identical


class OrderError(RuntimeError):
    """The modules were called in another order than at the first point of the batch."""


@dataclass
class _Call:
    """One call of a module at the first point: `end` is the number of the first call after those inside it."""

    module: nn.Module
    end: int = 0
    kept: tuple[list[Any], Any] | None = None


class Modules:
    """Calls of one replica's modules at the points of a sweep.

    Parameters
    ----------
    replica : Replica
    moving : collection of str
        Parameters and buffers that differ from point to point.

    Attributes
    ----------
    done : bool
        Whether there is no use in asking again.
    reason : str
        Why it must not be used; empty where there was only nothing to leave out.
    """

    def __init__(self, replica: Replica, moving: Collection[str]):
        self.done, self.reason = False, ""
        self._replica = replica
        self._moving = frozenset(moving)
        self._calls: list[_Call] | None = None
        self._next = 0
        self._until = 0  # calls after this one are not looked at
        self._used: _FirstUse | None = None
        self._checked = False

    def scores(self, plain: Callable[..., tuple[list[Tensor], Any]]) -> tuple[list[Tensor], Any]:
        """Return the scores of a point, given what computes them with a context around the forward pass."""
        spared = self._calls is not None
        try:
            scores = plain(self.watching())
        except OrderError as error:
            self.done, self.reason = True, str(error)
            return plain()
        if not self._until:
            self.done = True  # the first module moves already
        elif spared and not self._checked:
            self._checked, expected = True, plain()
            if not all(map(identical, scores[0], expected[0])):
                self.done, self.reason = True, "without its first modules it gives other values"
                return expected
        return scores

    def forget(self) -> None:
        """Start anew, for another batch."""
        self._calls, self._until = None, 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Let one forward pass through the replica be written down, or, once one was, be spared what that has computed.

        Raises
        ------
        OrderError
            The pass calls other modules than the first one did, before a moving weight is used.
        """
        with self._replica.alone() as root:
            modules = [m for m in root.modules() if not isinstance(m, torch.jit.ScriptModule)]
            before = [(m, m.__dict__.get("forward")) for m in modules]
            first, self._next = self._calls is None, 0
            if first:
                self._calls, self._used = [], _FirstUse()
            changing = _seen_otherwise(root, self._replica.written)
            for module in modules:
                module.__dict__["forward"] = self._in_place_of(module, root, first, module in changing)
            try:
                with self._used if first and self._used is not None else nullcontext():
                    yield
            except BaseException:
                self.forget()
                raise
            finally:
                for module, forward in before:
                    if forward is None:
                        del module.__dict__["forward"]
                    else:
                        module.__dict__["forward"] = forward
                self._used = None
            if first:
                self._until = max((call.end for call in self._calls or () if call.kept is not None), default=0)

    def _in_place_of(self, module: nn.Module, root: nn.Module, first: bool, changing: bool) -> Callable[..., Any]:
        forward = module.forward

        def written_down(*args: Any, **kwargs: Any) -> Any:
            used, calls = self._used, self._calls
            if used is None or calls is None:
                return forward(*args, **kwargs)
            if module is root:
                used.look_for(root, self._moving)
            used.enter(module)
            if used.met:
                return forward(*args, **kwargs)
            call = _Call(module)
            calls.append(call)
            number = len(calls)
            output = forward(*args, **kwargs)
            call.end = len(calls)
            if not (used.met or changing):
                call.kept = _kept(output, (args, kwargs), module)
                if call.kept is not None:
                    for inside in calls[number:]:
                        inside.kept = None
            return output

        def given_back(*args: Any, **kwargs: Any) -> Any:
            if module is root:
                self._next = 0
            if self._calls is None or self._next >= self._until:
                return forward(*args, **kwargs)
            call = self._calls[self._next]
            if call.module is not module:
                raise OrderError("its modules are called in another order at another point")
            if call.kept is not None:
                self._next = call.end
                return _copy(call.kept)
            self._next += 1
            return forward(*args, **kwargs)

        return written_down if first else given_back


class _FirstUse(TorchDispatchMode):
    """Notes the first operation that takes a moving tensor, and the first module that owns one."""

    def __init__(self):
        super().__init__()
        self.met = False
        self._owners: set[int] = set()
        self._memory: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its compiler, which takes seconds

    def look_for(self, root: nn.Module, moving: Collection[str]) -> None:
        """Take the moving tensors from a module that holds them at this moment."""
        self._memory = set(map(_memory, _named(root, moving)))
        self._owners = {id(m) for m in root.modules() if any(_memory(t) in self._memory for t in _own(m))}

    def enter(self, module: nn.Module) -> None:
        """Note a module whose forward pass begins."""
        self.met = self.met or id(module) in self._owners

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self.met:
            given = tree_flatten((args, kwargs))[0]
            self.met = any(isinstance(t, Tensor) and _memory(t) in self._memory for t in given)
        return func(*args, **(kwargs or {}))


def _named(root: nn.Module, names: Collection[str]) -> list[Tensor]:
    wanted = {f"model.{name}" for name in names}
    named = (*root.named_parameters(remove_duplicate=False), *root.named_buffers(remove_duplicate=False))
    return [tensor for name, tensor in named if name in wanted]


def _own(module: nn.Module) -> list[Tensor]:
    return [tensor for tensor in (*module._parameters.values(), *module._buffers.values()) if tensor is not None]


def _seen_otherwise(root: nn.Module, written: Collection[str]) -> set[nn.Module]:
    """Return the modules of whose calls more is seen than what they return: hooks inside them, tensors that they write into."""
    marks = set(map(id, _named(root, written)))

    def marked(module: nn.Module) -> bool:
        return bool(module._forward_hooks or module._forward_pre_hooks) or any(id(tensor) in marks for tensor in _own(module))

    own = {module for module in root.modules() if marked(module)}
    return {module for module in root.modules() if any(inside in own for inside in module.modules())}


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata if tensor.layout is torch.strided else id(tensor)


def _kept(output: Any, given: Any, module: nn.Module) -> tuple[list[Any], Any] | None:
    """Return a copy of what a module gave; None where a copy would not do the same: views of other memory, unknown objects."""
    entries, spec = tree_flatten(output)
    if not all(entry is None or isinstance(entry, (Tensor, int, float, str)) for entry in entries):
        return None
    tensors = [entry for entry in entries if isinstance(entry, Tensor)]
    theirs = [t for t in (*tree_flatten(given)[0], *module.parameters(), *module.buffers()) if isinstance(t, Tensor)]
    memory = list(map(_memory, tensors))
    if len(set(memory)) < len(memory) or not set(memory).isdisjoint(map(_memory, theirs)):
        return None
    copies = [entry.clone() if isinstance(entry, Tensor) else entry for entry in entries]
    # a copy that lies otherwise in memory may be read by another kernel, which rounds otherwise
    if any(isinstance(e, Tensor) and e.stride() != c.stride() for e, c in zip(entries, copies, strict=True)):
        return None
    return copies, spec


def _copy(kept: tuple[list[Any], Any]) -> Any:
    entries, spec = kept
    return tree_unflatten([entry.clone() if isinstance(entry, Tensor) else entry for entry in entries], spec)
