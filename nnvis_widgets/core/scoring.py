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
Weigh = Callable[[Any], Tensor]

_TRANSPOSE = "forward=lambda model, batch: (model(batch[0]).transpose(1, 2), batch[1])"


class Scorer:
    """Returns the values of the loss and of each metric for a batch: shape (n,), or a scalar where a mean is all there is."""

    def __init__(self, loss: Score | None, metrics: Mapping[str, Score] | None, output: Any, target: Any, n: int):
        self._weigh: Weigh | None = None
        self.loss_is = "per sample"
        classes = is_classification(output, target)
        if loss is None:
            if not classes or _ambiguous(output):
                raise DataError(_why_no_cross_entropy(output, target))
            self._loss: Score = _cross_entropy
            self.loss_name = "cross_entropy"
        else:
            self._loss, self._weigh = _per_sample(loss, output, target, n)
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
        self.metrics = dict(metrics)
        self.names = ("loss", *self.metrics)
        # the default loss of a label that the model has no output for
        self._classes = output.shape[1] if loss is None else None

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
    return _rows((output.argmax(1) == target).float())


def _cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    # half precision keeps three digits of a loss; the outputs hold more than that
    output = output.float() if output.dtype in (torch.float16, torch.bfloat16) else output
    return _rows(F.cross_entropy(output, target.long(), reduction="none"))


def _scored(name: str, score: Score, output: Any, target: Any, n: int) -> Tensor:
    value = score(output, target)
    if not isinstance(value, Tensor) or value.shape not in ((n,), ()):
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"{name}: expected one value per sample, shape ({n},), or a scalar mean; received {shape}")
    return value


def _rows(values: Tensor) -> Tensor:
    return values.reshape(len(values), -1).mean(1) if values.ndim > 1 else values


def _per_sample(loss: Score, output: Any, target: Any, n: int) -> tuple[Score, Weigh | None]:
    """Return a loss that gives (n,), and the samples' weights, where that equals the user's mean; else the loss as it is."""
    value = _checked(loss, n, output, target)
    if value.ndim:
        return partial(_rows_of, loss), None
    unreduced = _without_reduction(loss)
    if unreduced is None:
        return loss, None
    rows = unreduced(output, target)
    if not isinstance(rows, Tensor) or not rows.ndim or rows.shape[0] != n:
        return loss, None
    same = partial(torch.isclose, value.double(), rtol=1e-4 if value.dtype.itemsize > 2 else 1e-2, atol=1e-7, equal_nan=True)
    weigh = class_weights(loss, output, target)
    if weigh is not None:
        ratio: Score = partial(_per_weight, unreduced, weigh)
        weights = weigh(target)
        if same((ratio(output, target) * weights).sum() / weights.sum()):
            return ratio, weigh
    total = rows.double().sum()
    rows = _rows(rows)
    # a loss with a normalisation of its own: the user's number is another one than the mean over samples
    if not same(rows.double().mean()):
        if same(total):
            raise ValueError(
                "loss: it sums over the samples of a batch, so its value would depend on the batch size; "
                "use reduction='mean' or reduction='none'"
            )
        return loss, None
    return partial(_counting_all, unreduced, getattr(loss, "ignore_index", None)), None


# functions of the module with their arguments bound, since closures cannot travel to another process


def _rows_of(loss: Score, output: Any, target: Any) -> Tensor:
    return _rows(loss(output, target))


def _counting_all(unreduced: Score, ignored: int | None, output: Any, target: Any) -> Tensor:
    if ignored is not None and isinstance(target, Tensor) and bool((target == ignored).any()):
        raise DataError(
            f"loss: label {ignored}, which the loss ignores, is in some batches only, so its mean per batch is no mean "
            "over samples. Pass a loss that returns one value per sample, shape (n,)"
        )
    return _rows(unreduced(output, target))


def _per_weight(unreduced: Score, weigh: Weigh, output: Any, target: Any) -> Tensor:
    """Return each sample's loss per weight: the mean over samples with those weights is then torch's ratio of sums."""
    rows = _rows(unreduced(output, target).double())
    weights = weigh(target)
    return torch.where(weights > 0, rows / weights, rows)


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


def class_weights(loss: Score, output: Any, target: Any) -> Weigh | None:
    """Return a function from targets to the weight of each sample, for torch's losses of classes; else None.

    Their mean is ``sum_i w[y_i] l_i / sum_i w[y_i]`` without the ignored labels: a ratio of sums over the whole data, which
    a mean of the ratios of batches is not.
    """
    if isinstance(loss, (nn.CrossEntropyLoss, nn.NLLLoss)):
        options: Mapping[str, Any] = vars(loss) | dict(loss.named_buffers())
    elif loss in (F.cross_entropy, F.nll_loss):
        options = {}
    elif isinstance(loss, partial) and loss.func in (F.cross_entropy, F.nll_loss) and not loss.args:
        options = loss.keywords
    else:
        return None
    if not isinstance(target, Tensor) or target.is_floating_point() or options.get("reduction", "mean") != "mean":
        return None
    weight, ignored = options.get("weight"), options.get("ignore_index", -100)
    if weight is not None and options.get("label_smoothing", 0.0) and bool((weight == 0).any()):
        raise ValueError(
            "loss: label smoothing gives a sample a loss even where its class has weight 0, so there is no value per sample; "
            "give every class a weight above 0, or pass a loss that returns one value per sample, shape (n,)"
        )
    return partial(_weigh, weight, ignored)


def _weigh(weight: Tensor | None, ignored: int, labels: Tensor) -> Tensor:
    kept = labels != ignored
    if weight is None:
        weights = kept.double()
    else:
        weights = weight.detach().double().to(labels.device)[torch.where(kept, labels, 0).long()] * kept
    return _rows(weights)  # of pixels or tokens: their mean, as for the loss


def _without_reduction(loss: Score) -> Score | None:
    if isinstance(loss, nn.Module):
        weighted = getattr(loss, "weight", None) is not None and not isinstance(loss, (nn.CrossEntropyLoss, nn.NLLLoss))
        if getattr(loss, "reduction", None) not in ("mean", "sum") or weighted:
            return None
        with torch.inference_mode(False):  # class weights that were made in it could not be differentiated with
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


def _ambiguous(output: Any) -> bool:
    """Whether classes may lie on axis 1, as torch has it, or on axis 2, as a sequence model gives them."""
    return isinstance(output, Tensor) and output.ndim == 3 and output.shape[1] == output.shape[2]


def _why_no_cross_entropy(output: Any, target: Any) -> str:
    """Return the words for what the default loss cannot be taken of, with what to write instead."""
    given = f"this model gives {_describe(output)} for {_describe(target)}"
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
