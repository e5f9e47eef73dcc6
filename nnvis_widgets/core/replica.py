"""A private copy of the user's model, called as a function of its weights.

May import: torch, core.states, core.data, core.exact. The user's model is read once and never written; every call gets weights and
buffers as arguments.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from .calling import Caller, Forward, default_forward
from .data import DataError, leaves, move
from .exact import exact_kernels
from .states import Layout, StateError, raw_bytes, refuse_split, unwrap


class Replica:
    """The user's forward pass on one device, in eval mode.

    Attributes
    ----------
    layout : Layout
    norms : dict of str to Module
        Normalisation layers that keep running statistics, by name.
    untracked : bool
        Whether there is a BatchNorm that keeps none.
    """

    def __init__(self, model: nn.Module, forward: Forward | None, device: torch.device, grad: bool, compiled: bool = False):
        model = unwrap(model)
        self.layout = Layout.of(model)
        refuse_split(model)
        try:
            replica = copy.deepcopy(model)
        except RuntimeError as error:
            raise StateError(
                f"model: it cannot be copied ({error}). Old-style weight_norm keeps a computed tensor in the module; "
                "torch.nn.utils.parametrizations.weight_norm does not"
            ) from error
        for parameter in replica.parameters():
            parameter.grad = None
        self._model = replica.to(device).eval().requires_grad_(False)
        self.device = device
        self._caller = Caller(self._model, forward or default_forward)
        # weights are put into one module for the time of a call: two threads in it would mix theirs up
        self._lock = threading.RLock()
        self._written: frozenset[str] = frozenset()
        self.grad, self.compiled = grad, compiled
        self._call = torch.compile(self._plain_call) if compiled else self._plain_call
        self.norms = {
            name: module
            for name, module in self._model.named_modules()
            if isinstance(module, _NormBase) and module.running_mean is not None
        }
        self._statistics = frozenset(
            f"model.{name}.{tail}" for name in self.norms for tail in ("running_mean", "running_var", "num_batches_tracked")
        )
        self._calls = dict.fromkeys(self.norms, 1)
        # without running statistics a BatchNorm normalises by the measured batch, in eval mode too
        self.untracked = any(isinstance(m, _BatchNorm) and m.running_mean is None for m in self._model.modules())
        self.dtypes = {name: p.dtype for name, p in self._model.named_parameters()}
        persistent = set(self.layout.buffers)
        self._buffers = {name: b.dtype for name, b in self._model.named_buffers() if name in persistent}

    def __reduce__(self) -> tuple[Any, ...]:
        given = (self._model, self._caller._forward, self.device, self.grad, self.compiled)
        return _remade, (given, self._written, self._caller.output_is, self._calls)

    def twin(self) -> Replica:
        """Return a copy for another thread, which must not share the module that weights are put into."""
        with self._lock:
            return _remade(*self.__reduce__()[1])

    @property
    def buffer_names(self) -> Collection[str]:
        """Names of the buffers that a state holds, each once."""
        return self._buffers.keys()

    @property
    def written(self) -> Collection[str]:
        """Names of the parameters and buffers that a forward pass writes into."""
        return self._written

    @contextmanager
    def alone(self) -> Iterator[nn.Module]:
        """Yield the module that every pass goes through, which holds the model as "model", while no other thread calls it."""
        with self._lock:
            yield self._caller

    @property
    def forward(self) -> Forward:
        """The function from a batch to outputs and targets: the user's own, or the usual one."""
        return self._caller._forward

    @property
    def output_is(self) -> str:
        """What is taken as the model's output: "all" of it, or the first of several."""
        return self._caller.output_is

    def buffers(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a state's buffers on this device, each once, in the model's types."""
        return {name: state[name].to(self.device, dtype) for name, dtype in self._buffers.items()}

    def __call__(self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], batch: Any) -> tuple[Any, Any]:
        """Return outputs and targets of a batch that is on this device, with these weights."""
        tensors = {f"model.{name}": parameters[name].to(self.device, dtype) for name, dtype in self.dtypes.items()}
        tensors.update({f"model.{name}": buffer for name, buffer in buffers.items()})
        tensors.update({name: tensors[name].clone() for name in self._written})
        with self._lock, self.exact(), self.quiet():
            return self._call(tensors, batch)

    def call(self, tensors: dict[str, Tensor], batch: Any) -> tuple[Any, Any]:
        """Return outputs and targets for tensors that are the replica's own: names with "model." before them."""
        with self._lock:
            return functional_call(self._caller, tensors, (batch,))

    def _plain_call(self, tensors: dict[str, Tensor], batch: Any) -> tuple[Any, Any]:
        return functional_call(self._caller, tensors, (batch,))

    def batch_statistics(self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], batch: Any) -> tuple[Any, Any]:
        """Return outputs and targets with the normalisation layers using the batch's own mean and variance."""
        with self.training(None):
            return self(parameters, {name: b.clone() for name, b in buffers.items()}, batch)

    def recalibrated(
        self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], batches: Iterable[Any]
    ) -> dict[str, Tensor]:
        """Return buffers whose running statistics are cumulative averages over `batches` with these weights.

        The same number as ``torch.optim.swa_utils.update_bn`` leaves in a model.
        """
        *_, fresh = self.recalibrating(parameters, buffers, batches)
        return fresh

    def recalibrating(
        self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], batches: Iterable[Any]
    ) -> Iterator[dict[str, Tensor]]:
        """Yield the buffers of `recalibrated` as they are after each batch, always the same tensors."""
        fresh = {name: buffer.clone() for name, buffer in buffers.items()}
        for name in self.norms:
            fresh[f"{name}.running_mean"].zero_()
            fresh[f"{name}.running_var"].fill_(1)
            if f"{name}.num_batches_tracked" in fresh:
                fresh[f"{name}.num_batches_tracked"].zero_()
        for number, batch in enumerate(batches):
            with self.training(1.0 / (number + 1)), self._counting(number):
                self(parameters, fresh, move(batch, self.device))
            yield fresh

    @contextmanager
    def _counting(self, passes: int) -> Iterator[None]:
        """Let the layers that one pass enters several times average over all of their inputs."""
        uses = {norm: passes * self._calls[name] for name, norm in self.norms.items() if self._calls[name] > 1}

        def count(norm: Any, _inputs: Any) -> None:
            uses[norm] += 1
            norm.momentum = 1.0 / uses[norm]

        hooks = [norm.register_forward_pre_hook(count) for norm in uses]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def call_order(self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], batch: Any) -> list[str]:
        """Return module names in the order in which one forward pass enters them, repeats included."""
        order: list[str] = []
        given = {f"model.{name}": parameters[name].to(self.device, dtype, copy=True) for name, dtype in self.dtypes.items()}
        given.update({f"model.{name}": buffer.clone() for name, buffer in buffers.items()})
        before = {name: tensor.clone() for name, tensor in given.items()}
        hooks = [
            module.register_forward_pre_hook(lambda _m, _i, name=name: order.append(name))
            for name, module in self._model.named_modules()
        ]
        try:
            with self.exact(), self.quiet():
                functional_call(self._caller, given, (batch,))
        finally:
            for hook in hooks:
                hook.remove()
        self._calls = {name: order.count(name) for name in self.norms}
        # a forward pass that counts its calls in a buffer, or renormalises a weight, would write into the user's states
        self._written = frozenset(name for name, tensor in given.items() if raw_bytes(tensor) != raw_bytes(before[name]))
        return order

    def probe(self, state: Mapping[str, Tensor], batch: Any) -> tuple[Any, Any, list[str]]:
        """Return outputs and targets of a batch and the order of the modules; refuse a model that is random."""
        buffers = self.buffers(state)
        before = torch.get_rng_state()
        try:
            order = self.call_order(state, buffers, batch)
        except (StateError, DataError, torch.OutOfMemoryError):
            raise
        except (RuntimeError, ValueError, IndexError) as error:
            raise DataError(self._why_not(batch, error)) from error
        output, target = self(state, buffers, batch)
        again, _ = self(state, buffers, batch)
        if not torch.equal(before, torch.get_rng_state()):
            torch.set_rng_state(before)
            raise StateError(
                "model: its forward pass draws from torch's global random state even in eval mode, so points could not be "
                "compared and your random state would move. Give it fixed noise through forward=lambda model, batch: ..."
            )
        if isinstance(output, Tensor) and not torch.allclose(output, again, rtol=1e-4, atol=1e-6, equal_nan=True):
            raise StateError("model: two passes over the same batch with the same weights differ, so points could not be compared")
        return output, target, order

    def _why_not(self, batch: Any, error: Exception) -> str:
        """Return the words for a batch that does not go through the model, with torch's own at the end."""
        tensors = [leaf for leaf in leaves(batch) if isinstance(leaf, Tensor)]
        holds = ", ".join(f"{_short(tensor.dtype)} {tuple(tensor.shape)}" for tensor in tensors) or f"a {type(batch).__name__}"
        name, shape = next(iter(self.layout.shapes.items()))
        own = next(iter(self.layout.dtypes.values()))
        other = [t.dtype for t in tensors if t.is_floating_point() and t.dtype not in self.layout.dtypes.values()]
        hint = f" Inputs of the model's type work: inputs.to({own}), or model.to({other[0]})." if other else ""
        return (
            f"data: the first batch cannot be passed through the model. It holds {holds}; the model's weights are {_short(own)}, "
            f"the first of them {name!r} with shape {tuple(shape)}.{hint} torch says: {error}"
        )

    @contextmanager
    def training(self, momentum: float | None) -> Iterator[None]:
        """Let the normalisation layers use, and with a momentum collect, the statistics of the batch."""
        with self._lock:
            kept = {name: norm.momentum for name, norm in self.norms.items()}
            written, self._written = self._written, self._written if momentum is None else self._written - self._statistics
            for norm in self.norms.values():
                norm.train()
                norm.momentum = norm.momentum if momentum is None else momentum
            try:
                yield
            finally:
                self._written = written
                for name, norm in self.norms.items():
                    norm.eval()
                    norm.momentum = kept[name]

    def quiet(self) -> AbstractContextManager:
        """Return a context without gradients, unless losses or the model differentiate inside."""
        return torch.enable_grad() if self.grad else torch.inference_mode()

    def exact(self) -> AbstractContextManager:
        """Full float32 products and repeatable kernels on CUDA, where cuDNN would round to TF32 by default."""
        return exact_kernels() if self.device.type == "cuda" else nullcontext()


def _remade(given: tuple[Any, ...], written: frozenset[str], output_is: str, calls: dict[str, int]) -> Replica:
    # without a probe: that reads torch's global random state, which the user's own thread may be drawing from
    replica = Replica(*given)
    replica._written, replica._caller.output_is, replica._calls = written, output_is, calls
    return replica


def find_device(wanted: str | torch.device) -> torch.device:
    """Return the device that "auto" or a name stands for; refuse one that is not there."""
    if str(wanted) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
        if device.type == "meta":
            raise ValueError("it holds no values")
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        there = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        reason = str(error).splitlines()[0]
        raise ValueError(f"device: 'auto' or one of {', '.join(there)}; received {str(wanted)!r} ({reason})") from None
    return device


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
