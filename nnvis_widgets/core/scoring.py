"""From outputs and targets to one number per sample: the loss and the metrics.

May import: torch, core.data.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .data import DataError

Score = Callable[[Any, Any], Tensor]


class Scorer:
    """Returns the values of the loss and of each metric for a batch: shape (n,), or a scalar where a mean is all there is."""

    def __init__(self, loss: Score | None, metrics: Mapping[str, Score] | None, output: Any, target: Any, n: int):
        classes = is_classification(output, target)
        if loss is None:
            if not classes:
                raise DataError(
                    "loss: cross-entropy needs outputs (n, classes, ...) and whole-number targets (n, ...); this model gives "
                    f"{_describe(output)} for {_describe(target)}. Pass loss=, e.g. torch.nn.functional.mse_loss"
                )
            self._loss: Score = _cross_entropy
            self.loss_name = "cross_entropy"
        else:
            self._loss = _per_sample(loss, output, target, n)
            self.loss_name = getattr(loss, "__qualname__", type(loss).__qualname__)
        if metrics is None:
            metrics = {"accuracy": accuracy} if classes else {}
        for name, metric in metrics.items():
            if name == "loss":
                raise ValueError("metrics: the name 'loss' is taken by the loss itself; call this metric something else")
            if not callable(metric):
                raise TypeError(f"metrics: {name!r} must be a function (output, target) -> (n,), received {metric!r}")
        self.metrics = dict(metrics)
        self.names = ("loss", *self.metrics)
        self._checks_labels = loss is None

    def __call__(self, output: Any, target: Any, n: int) -> list[Tensor]:
        """Return the loss and the metrics, each of shape (n,) or scalar."""
        values = []
        for name, score in zip(self.names, (self._loss, *self.metrics.values()), strict=True):
            value = score(output, target)
            if not isinstance(value, Tensor) or value.shape not in ((n,), ()):
                shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise ValueError(f"{name}: expected one value per sample, shape ({n},), or a scalar mean; received {shape}")
            values.append(value.detach())
        return values

    def check_labels(self, output: Any, target: Tensor) -> None:
        """Refuse class labels that the model has no output for; a GPU would otherwise only say 'device-side assert'."""
        if self._checks_labels and target.numel():
            low, high = int(target.min()), int(target.max())
            if low < 0 or high >= output.shape[1]:
                raise DataError(
                    f"data: labels run from {low} to {high}, but the model has {output.shape[1]} outputs "
                    f"(0 to {output.shape[1] - 1}). Pass loss= if some labels are to be ignored"
                )


def is_classification(output: Any, target: Any) -> bool:
    """Return whether cross-entropy and accuracy apply: outputs (n, C, ...), whole-number targets (n, ...)."""
    return (
        isinstance(output, Tensor)
        and isinstance(target, Tensor)
        and output.is_floating_point()
        and output.ndim >= 2
        and target.dtype in (torch.int64, torch.int32, torch.int16, torch.uint8, torch.int8)
        and target.shape == output.shape[:1] + output.shape[2:]
    )


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Return the share of right predictions for each sample, shape (n,)."""
    right = (output.argmax(1) == target).float()
    return right.reshape(len(right), -1).mean(1)


def _cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    # half precision keeps three digits of a loss; the outputs hold more than that
    output = output.float() if output.dtype in (torch.float16, torch.bfloat16) else output
    return _rows(F.cross_entropy(output, target.long(), reduction="none"))


def _rows(values: Tensor) -> Tensor:
    return values.reshape(len(values), -1).mean(1) if values.ndim > 1 else values


def _per_sample(loss: Score, output: Any, target: Any, n: int) -> Score:
    """Return a loss that gives (n,) where that equals the user's mean; else the user's loss as it is."""
    value = _checked(loss, n, output, target)
    if value.ndim:
        return lambda o, t: _rows(loss(o, t))
    unreduced = _without_reduction(loss)
    if unreduced is None:
        return loss
    rows = unreduced(output, target)
    if not isinstance(rows, Tensor) or not rows.ndim or rows.shape[0] != n:
        return loss
    same = partial(torch.isclose, value.double(), rtol=1e-4 if value.dtype.itemsize > 2 else 1e-2, atol=1e-7, equal_nan=True)
    total = rows.double().sum()
    rows = _rows(rows)
    # class weights and ignored labels make the user's number another one than the mean over samples
    if not same(rows.double().mean()):
        if same(total):
            raise ValueError(
                "loss: it sums over the samples of a batch, so its value would depend on the batch size; "
                "use reduction='mean' or reduction='none'"
            )
        return loss
    ignored = getattr(loss, "ignore_index", None)

    def rows_of(o: Any, t: Any) -> Tensor:
        if ignored is not None and isinstance(t, Tensor) and bool((t == ignored).any()):
            raise DataError(
                f"loss: label {ignored}, which the loss ignores, is in some batches only, so its mean per batch is no mean "
                "over samples. Pass a loss that returns one value per sample, shape (n,)"
            )
        return _rows(unreduced(o, t))

    return rows_of


def _checked(loss: Score, n: int, output: Any, target: Any) -> Tensor:
    value: Any = loss(output, target)
    if not isinstance(value, Tensor) or (value.ndim and value.shape[0] != n):
        raise ValueError(f"loss: a tensor, scalar or one value per sample ({n}); received {_describe(value)}")
    if value.dtype == torch.bool or not (value.is_floating_point() or value.dtype in (torch.int64, torch.int32)):
        raise ValueError(f"loss: real numbers, received {_describe(value)}")
    if _broadcasts(loss, value, output, target):
        raise ValueError(
            f"loss: outputs {tuple(output.shape)} and targets {tuple(target.shape)} would broadcast against each other; "
            "give them one shape, e.g. forward=lambda model, batch: (model(batch[0]).squeeze(1), batch[1])"
        )
    return value


def _broadcasts(loss: Score, value: Tensor, output: Any, target: Any) -> bool:
    """Whether outputs (n, 1) have met targets (n,) as a table (n, n), of which only a mean or a sum is left."""
    if not (isinstance(output, Tensor) and isinstance(target, Tensor) and target.is_floating_point()):
        return False
    if output.shape == target.shape or output.numel() != target.numel():
        return False
    if value.ndim:
        return value.numel() > output.numel()
    # a function may put the shapes in order itself: then the mean of a few samples is the mean of each one alone
    few = min(len(output), 8)
    alone = [loss(output[i : i + 1], target[i : i + 1]).double() for i in range(few)]
    return not torch.allclose(torch.stack(alone).mean(), loss(output[:few], target[:few]).double(), rtol=1e-3, equal_nan=True)


def _without_reduction(loss: Score) -> Score | None:
    if isinstance(loss, nn.Module):
        if getattr(loss, "reduction", None) not in ("mean", "sum") or getattr(loss, "weight", None) is not None:
            return None
        twin = copy.deepcopy(loss)
        twin.reduction = "none"  # type: ignore[assignment]
        return twin
    try:
        if "reduction" in inspect.signature(loss).parameters:
            unreduced: Callable[..., Tensor] = loss
            return partial(unreduced, reduction="none")
    except (TypeError, ValueError):
        pass
    return None


def _describe(value: Any) -> str:
    return (
        f"a {str(value.dtype).removeprefix('torch.')} tensor {tuple(value.shape)}"
        if isinstance(value, Tensor)
        else f"a {type(value).__name__}"
    )
