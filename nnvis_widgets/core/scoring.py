"""From outputs and targets to one number per sample: the loss and the metrics.

May import: torch, core.data, core.losses.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .data import DataError
from .losses import Score, Weigh, describe, per_sample, placed, rows_of

_TRANSPOSE = "forward=lambda model, batch: (model(batch[0]).transpose(1, 2), batch[1])"


class Scorer:
    """Returns the values of the loss and of each metric for a batch: shape (n,), or a scalar where a mean is all there is."""

    def __init__(
        self,
        loss: Score | None,
        metrics: Mapping[str, Score] | None,
        output: Any,
        target: Any,
        n: int,
        device: torch.device | None = None,
    ):
        self._weigh: Weigh | None = None
        self.loss_is = "per sample"
        classes = is_classification(output, target)
        if loss is None:
            if not classes or _ambiguous(output):
                raise DataError(_why_no_cross_entropy(output, target))
            self._loss: Score = _cross_entropy
            self.loss_name = "cross_entropy"
        else:
            loss = placed(loss, device)
            self._loss, self._weigh = per_sample(loss, output, target, n)
            # of a loss that only gives means, whoever reads the result must know that its number may depend on the batches
            self.loss_is = "per sample" if self._loss(output, target).ndim else "mean of each batch"
            self.loss_name = getattr(loss, "__qualname__", type(loss).__qualname__)
        if metrics is None:
            metrics = {"accuracy": accuracy} if classes else {}
        for name, metric in metrics.items():
            if name == "loss":
                raise ValueError("metrics: the name 'loss' is taken by the loss itself; call this metric something else")
            if not callable(metric):
                raise TypeError(f"metrics: {name!r} must be a function (output, target) -> (n,), received {metric!r}")
        self.metrics = {name: placed(metric, device) for name, metric in metrics.items()}
        self.names = ("loss", *self.metrics)
        # the default loss of a label that the model has no output for
        self._classes = output.shape[1] if loss is None else None

    @property
    def functions(self) -> dict[str, Score]:
        """The loss and the metrics, by name."""
        return {"loss": self._loss, **self.metrics}

    def __call__(self, output: Any, target: Any, n: int) -> list[Tensor]:
        """Return the loss and the metrics, each of shape (n,) or scalar."""
        scores = zip(self.names, (self._loss, *self.metrics.values()), strict=True)
        return [_scored(name, score, output, target, n).detach() for name, score in scores]

    def loss(self, output: Any, target: Any, n: int) -> Tensor:
        """Return the loss alone, shape (n,) or scalar, with its graph where gradients are recorded."""
        return _scored("loss", self._loss, output, target, n)

    def weights(self, target: Any) -> Tensor | None:
        """Return the weight of each sample's loss, shape (n,): 0 for an ignored label; None where all count alike."""
        return None if self._weigh is None else self._weigh(target)

    def labels(self, output: Any, target: Any) -> Tensor | None:
        """Return class labels, (n,), -1 for one that the loss ignores; None where outputs are no scores (n, C) of classes."""
        if not is_classification(output, target) or output.ndim != 2 or output.shape[1] < 2:
            return None
        ignored = self._weigh.args[1] if isinstance(self._weigh, partial) else -100  # torch's own, where nothing else is said
        labels = torch.where(target == ignored, -1, target.long())
        return labels if bool(((labels >= -1) & (labels < output.shape[1])).all()) else None

    def check_labels(self, target: Any) -> None:
        """Refuse class labels that the model has no output for; a GPU would otherwise only say 'device-side assert'."""
        if self._classes is not None and target.numel():
            low, high = int(target.min()), int(target.max())
            if low < 0 or high >= self._classes:
                raise DataError(
                    f"data: labels run from {low} to {high}, but the model has {self._classes} outputs "
                    f"(0 to {self._classes - 1}). Pass loss= if some labels are to be ignored"
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
    return rows_of((output.argmax(1) == target).float())


def _cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    # half precision keeps three digits of a loss; the outputs hold more than that
    output = output.float() if output.dtype in (torch.float16, torch.bfloat16) else output
    return rows_of(F.cross_entropy(output, target.long(), reduction="none"))


def _scored(name: str, score: Score, output: Any, target: Any, n: int) -> Tensor:
    value = score(output, target)
    if not isinstance(value, Tensor) or value.shape not in ((n,), ()):
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"{name}: expected one value per sample, shape ({n},), or a scalar mean; received {shape}")
    return value


def _ambiguous(output: Any) -> bool:
    """Whether classes may lie on axis 1, as torch has it, or on axis 2, as a sequence model gives them."""
    return isinstance(output, Tensor) and output.ndim == 3 and output.shape[1] == output.shape[2]


def _why_no_cross_entropy(output: Any, target: Any) -> str:
    """Return the words for what the default loss cannot be taken of, with what to write instead."""
    given = f"this model gives {describe(output)} for {describe(target)}"
    if isinstance(output, Mapping):
        keys = list(output)
        tensors = [key for key in keys if isinstance(output[key], Tensor)]
        return (
            f"loss: the model gives a dictionary with {', '.join(map(repr, keys))} and no 'logits'; say which is the output, e.g. "
            f"forward=lambda model, batch: (model(batch[0])[{(tensors or keys or ['out'])[0]!r}], batch[1])"
        )
    rule = "loss: cross-entropy needs outputs (n, classes, ...) and whole-number targets (n, ...)"
    if isinstance(output, Tensor) and isinstance(target, Tensor) and not target.is_floating_point():
        if _ambiguous(output) and target.shape == output.shape[:2]:
            return (
                f"{rule}; {given}, and axes 1 and 2 are equally long. Where the classes are on axis 2: {_TRANSPOSE}. "
                "Where they are on axis 1: loss=torch.nn.functional.cross_entropy"
            )
        if output.ndim == 3 and target.shape == output.shape[:2]:
            return f"{rule}; {given}. The classes belong on axis 1: {_TRANSPOSE}"
        if output.ndim == 2 and target.shape == (len(output), 1):
            return f"{rule}; {given}. Squeeze them: forward=lambda model, batch: (model(batch[0]), batch[1].squeeze(1))"
    return f"{rule}; {given}. Pass loss=, e.g. torch.nn.functional.mse_loss"
