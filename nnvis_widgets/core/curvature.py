"""The third verb of the loop, *differentiate*: gradients and Hessian-vector products of the mean loss at one state.

May import: torch, core.data, core.exact, core.replica, core.scope, core.scoring, core.states. The samples are those of the
evaluator, batch by batch, as in a measurement; nothing is kept between two calls, and no mode is held between two batches.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from .data import Samples, convert
from .exact import plain_attention
from .replica import Replica
from .scope import Scope
from .scoring import Scorer
from .states import State, StateError

_NO_DERIVATIVE = (
    "model: an operation of it, or of the loss, has no derivative of the order that is asked for. Fused and hand-written "
    "operations often have a first one only: say them with torch's elementary ones; recurrent layers of cuDNN are "
    "differentiated with device='cpu'. torch says: "
)


class CurvatureError(ValueError):
    """A loss that cannot be differentiated, or not twice."""


class Curvature:
    """First and second derivatives of the mean loss at a state, by the weights of a scope.

    Made by `Evaluator.differentiate`. The loss is the mean over the samples that `Evaluator.measure` has too, class weights and
    ignored labels included (of a loss that only gives means: the mean of the batches' by their sizes). The model is in eval mode
    with the state's own buffers: running statistics are constants, whatever the evaluator's BatchNorm policy. A batch is
    differentiated in the model's precision, and batches are added up in float64. Of ReLU and its kin the second derivative is the
    one that they have almost everywhere, 0.

    Attributes
    ----------
    names : tuple of str
        The parameters that are differentiated by, tied ones once.
    size : int
        Number of their (selected) elements; a complex number counts as two.
    n : int
        Samples that the mean is taken over, in whole batches.

    Examples
    --------
    >>> from nnvis_widgets.core.evaluator import Evaluator
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> data = torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.zeros(2, 1)
    >>> evaluator = Evaluator(model, data, loss=torch.nn.functional.mse_loss, device="cpu")
    >>> evaluator.differentiate().product({"weight": torch.tensor([[1.0, 1.0]])})  # H = 2 X'X / n
    {'weight': tensor([[1., 9.]], dtype=torch.float64)}
    """

    def __init__(self, replica: Replica, scorer: Scorer, samples: Samples, state: State, scope: Scope, limit: int | None = None):
        self._replica, self._scorer, self._samples, self._scope = replica, scorer, samples, scope
        self._batches = _batches(samples, limit)
        self.n = sum(samples.size(number) for number in range(self._batches))
        self.names = tuple(scope.tensors)
        for name in self.names:
            if replica.dtypes[name].itemsize < (8 if replica.dtypes[name].is_complex else 4):
                raise CurvatureError(
                    f"model: {name!r} is {str(replica.dtypes[name]).removeprefix('torch.')}, and derivatives of that precision are "
                    "mostly rounding; take nv.Evaluator(copy.deepcopy(model).float(), ...) with inputs in float32"
                )
        with _recording():  # copies, which a graph may hold, and which stay where the user trains on between two batches
            self._at = {name: state[name].detach().to(replica.device, dtype, copy=True) for name, dtype in replica.dtypes.items()}
            with replica.alone() as module:
                self._fixed = {name: buffer.detach().clone() for name, buffer in module.named_buffers()}
            self._fixed.update({f"model.{name}": buffer.clone() for name, buffer in replica.buffers(state).items()})
        self._shapes = [_real(part).shape for part in scope.take(self._at)]
        self._sizes = [shape.numel() for shape in self._shapes]
        self.size = sum(self._sizes)
        self._checked = False

    def gradient(self) -> dict[str, Tensor]:
        """Return the gradient of the mean loss, float64 tensors on the CPU under the names of the parameters."""
        return self.state(drained(self.iter_gradient())[1])

    def product(self, direction: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the Hessian of the mean loss times a direction, float64 tensors on the CPU.

        Parameters
        ----------
        direction : mapping of str to Tensor
            Parameters of the scope that are not named count as zero; elements outside the scope do not count.

        Raises
        ------
        CurvatureError
            An operation of the model or the loss has no second derivative in torch.
        """
        return self.state(drained(self.iter_product(self.vector(direction)))[1])

    def iter_gradient(self) -> Generator[float, None, tuple[float, Tensor]]:
        """Yield the share of the batches that are done; the return value is the mean loss, and the gradient as a vector."""
        return self._mean(lambda loss, leaves: _derivative(loss, leaves, False))

    def iter_product(self, vector: Tensor) -> Generator[float, None, tuple[float, Tensor]]:
        """Yield the share of the batches that are done; the return value is the mean loss, and H times the vector.

        Vectors are float64, of `size` elements in the order of `names`.
        """
        if vector.shape != (self.size,):
            raise CurvatureError(f"vector: shape ({self.size},), one number a weight; received {tuple(vector.shape)}")
        with _recording():
            known = _plain(vector)
        return self._mean(lambda loss, leaves: self._twice(loss, leaves, known))

    def vector(self, state: Mapping[str, Tensor]) -> Tensor:
        """Return the elements of the scope as one float64 vector; parameters that are not named are zero."""
        unknown = [name for name in state if name not in self._at]
        if unknown:
            raise StateError(f"direction: {unknown[0]!r} is no parameter of the model; its parameters are {', '.join(self._at)}")
        given = {name: state.get(name, torch.zeros((), dtype=at.dtype).expand(at.shape)) for name, at in self._at.items()}
        for name, tensor in given.items():
            if tensor.shape != self._at[name].shape:
                shapes = tuple(tensor.shape), tuple(self._at[name].shape)
                raise StateError(f"direction: {name!r} has shape {shapes[0]}, the model's has {shapes[1]}")
        parts = [part.to(self._at[name].dtype) for name, part in zip(self.names, self._scope.take(given), strict=True)]
        return torch.cat([_real(part.detach().cpu()).reshape(-1).double() for part in parts])

    def state(self, vector: Tensor) -> dict[str, Tensor]:
        """Return a vector as tensors under the names of the parameters; elements outside the scope are zero."""
        found = {}
        pieces = zip(self._scope.tensors.items(), vector.split(self._sizes), self._shapes, strict=True)
        for (name, index), piece, shape in pieces:
            like = self._at[name]
            part = piece.reshape(shape)
            part = torch.view_as_complex(part.contiguous()) if like.is_complex() else part
            whole = torch.zeros(like.numel(), dtype=part.dtype)
            whole[slice(None) if index is None else index] = part.reshape(-1)
            found[name] = whole.reshape(like.shape)
        return found

    def _mean(self, differentiate: Callable[[Tensor, list[Tensor]], list[Tensor]]) -> Generator[float, None, tuple[float, Tensor]]:
        with _recording():
            total = torch.zeros(self.size, dtype=torch.float64)
        loss = weight = 0.0
        for number in range(self._batches):
            value, weighs, parts = self._batch(number, differentiate)
            # one addition a tensor, in the order of the batches: the same bits whoever waits for them
            for into, part in zip(total.split(self._sizes), parts, strict=True):
                into += part
            loss, weight = loss + value, weight + weighs
            yield (number + 1) / self._batches
        if not weight:
            raise CurvatureError(f"loss: none of the {self.n} samples counts, all of their labels are ignored")
        return loss / weight, total / weight

    def _batch(
        self, number: int, differentiate: Callable[[Tensor, list[Tensor]], list[Tensor]]
    ) -> tuple[float, float, list[Tensor]]:
        size = self._samples.size(number)
        with _recording(), self._replica.exact():
            leaves = [_real(part).detach().clone().requires_grad_() for part in self._scope.take(self._at)]
            with plain_attention(), _Elementary():
                output, target = self._replica.call(self._tensors(leaves), convert(self._samples.there(number), _plain))
                values = self._scorer.loss(output, target, size)
            weights = self._scorer.weights(target)
            if values.ndim == 0:
                weights = torch.tensor(float(size))
            elif weights is None:
                weights = torch.ones(size)
            weights = weights.to("cpu", torch.float64)
            loss = (values.to("cpu", torch.float64) * weights).sum()
            if not loss.requires_grad:
                raise CurvatureError(
                    "loss: it does not depend on the weights by operations that torch records; leave detach(), no_grad(), numpy "
                    "and argmax out of the model, of forward= and of loss="
                )
            parts = differentiate(loss, leaves)
        return float(loss.detach()), float(weights.sum()), [part.detach().reshape(-1).to("cpu", torch.float64) for part in parts]

    def _tensors(self, leaves: list[Tensor]) -> dict[str, Tensor]:
        weights = dict(self._at)
        for (name, index), leaf in zip(self._scope.tensors.items(), leaves, strict=True):
            moved = torch.view_as_complex(leaf) if weights[name].is_complex() else leaf
            if index is not None:
                at = weights[name]
                moved = at.reshape(-1).index_put((_plain(index).to(at.device),), moved).reshape(at.shape)
            weights[name] = moved
        tensors = self._fixed | {f"model.{name}": tensor for name, tensor in weights.items()}
        tensors.update({name: tensors[name].clone() for name in self._replica.written})
        return tensors

    def _twice(self, loss: Tensor, leaves: list[Tensor], vector: Tensor) -> list[Tensor]:
        slopes = _derivative(loss, leaves, True)
        if not self._checked:
            _refuse_constant(slopes)
            self._checked = True
        parts = vector.split(self._sizes)
        along = [slope * part.to(slope.device, slope.dtype).reshape(slope.shape) for slope, part in zip(slopes, parts, strict=True)]
        return _derivative(torch.stack([part.sum() for part in along]).sum(), leaves, False)


def drained(steps: Generator[float, None, Any]) -> Any:
    """Return what a generator of shares returns at its end."""
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            return finished.value


def _derivative(value: Tensor, leaves: list[Tensor], again: bool) -> list[Tensor]:
    # a slope that is itself a variable, so that operations which can be differentiated once only leave a mark in the graph
    slope = torch.ones_like(value, requires_grad=again)
    try:
        return list(torch.autograd.grad(value, leaves, slope, create_graph=again, materialize_grads=True))
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, NotImplementedError) as error:
        raise CurvatureError(_NO_DERIVATIVE + str(error).splitlines()[0]) from error


def _refuse_constant(slopes: list[Tensor]) -> None:
    """Refuse slopes that torch takes for constants in part: it would give a Hessian without those parts, and say nothing."""
    waiting, seen = [slope.grad_fn for slope in slopes], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if node.name() == "torch::autograd::Error":
            raise CurvatureError(_NO_DERIVATIVE + "an autograd.Function of it is marked as once_differentiable")
        seen.add(node)
        waiting += [further for further, _ in node.next_functions]


class _Elementary(TorchFunctionMode):
    """Operations by their formulas, where torch's own kernels are differentiated twice wrongly or not at all (torch 2.14)."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        return _FORMULAS.get(func, func)(*args, **(kwargs or {}))


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    return v * (g / torch.norm_except_dim(v, 2, dim))  # the kernel takes the norms for constants


def _hardsigmoid(x: Tensor, inplace: bool = False) -> Tensor:
    value = F.relu6(x + 3) / 6
    return x.copy_(value) if inplace else value


_FORMULAS: dict[Any, Callable[..., Tensor]] = {torch._weight_norm: _weight_norm, F.hardsigmoid: _hardsigmoid}


@contextmanager
def _recording() -> Iterator[None]:
    """Record gradients, whatever mode the user is in."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def _plain(tensor: Tensor) -> Tensor:
    """Return a tensor that a graph may hold: those made in inference mode may not be."""
    return tensor.clone() if tensor.is_inference() else tensor.detach()


def _real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def _batches(samples: Samples, limit: int | None) -> int:
    """Return how many batches hold at least so many samples, or all of them."""
    if limit is None:
        return len(samples)
    try:
        wanted = operator.index(limit)
    except TypeError:
        wanted = 0
    if isinstance(limit, bool) or wanted < 1:
        raise ValueError(f"samples: a whole number of at least 1, or None for all; received {limit!r}")
    covered = 0
    for number in range(len(samples)):
        covered += samples.size(number)
        if covered >= wanted:
            return number + 1
    return len(samples)
