"""Losses sample by sample: torch's own without their reduction, with their class weights and ignored labels, on a device.

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

from .data import DataError, convert

Score = Callable[[Any, Any], Tensor]
Weigh = Callable[[Any], Tensor]


def placed(score: Score, device: torch.device | None) -> Score:
    """Return a loss or a metric whose own tensors, such as class weights, are on a device: a copy where they are elsewhere.

    What a function has closed over cannot be seen, and stays.
    """
    if isinstance(score, nn.Module):
        own = [*score.parameters(), *score.buffers()]
        if device is None or all(tensor.device == device for tensor in own):
            return score
        with torch.inference_mode(False):
            return copy.deepcopy(score).to(device)
    if isinstance(score, partial):
        args, keywords = convert((score.args, score.keywords), lambda tensor: tensor.to(device or tensor.device))
        return partial(placed(score.func, device), *args, **keywords)
    return score


def rows_of(values: Tensor) -> Tensor:
    """Return one value for each sample: of pixels or tokens their mean."""
    return values.reshape(len(values), -1).mean(1) if values.ndim > 1 else values


_A_SUM = (
    "loss: it sums over the samples of a batch, so its value would depend on the batch size; use reduction='mean' or "
    "reduction='none'"
)


def per_sample(loss: Score, output: Any, target: Any, n: int) -> tuple[Score, Weigh | None]:
    """Return a loss that gives (n,), and the samples' weights, where that equals the user's mean; else the loss as it is."""
    value = _checked(loss, n, output, target)
    if value.ndim:
        return partial(_mean_rows, loss), None
    unreduced = _without_reduction(loss)
    if unreduced is None:
        if _doubles(loss, output, target, value):
            raise ValueError(_A_SUM)
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
    rows = rows_of(rows)
    # a loss with a normalisation of its own: the user's number is another one than the mean over samples
    if not same(rows.double().mean()):
        if same(total):
            raise ValueError(_A_SUM)
        return loss, None
    return partial(_counting_all, unreduced, getattr(loss, "ignore_index", None)), None


def _doubles(loss: Score, output: Any, target: Any, value: Tensor) -> bool:
    """Return whether a loss is twice as large where every sample is there twice: no mean is."""
    if not (isinstance(output, Tensor) and isinstance(target, Tensor) and output.ndim and target.ndim and bool(value)):
        return False
    try:
        twice = loss(torch.cat([output, output]), torch.cat([target, target]))
    except Exception:  # one that is made for batches of this size
        return False
    return bool(torch.isclose(twice.double(), 2 * value.double(), rtol=1e-4 if value.dtype.itemsize > 2 else 1e-2))


# functions of the module with their arguments bound, since closures cannot travel to another process


def _mean_rows(loss: Score, output: Any, target: Any) -> Tensor:
    return rows_of(loss(output, target))


def _counting_all(unreduced: Score, ignored: int | None, output: Any, target: Any) -> Tensor:
    if ignored is not None and isinstance(target, Tensor) and bool((target == ignored).any()):
        raise DataError(
            f"loss: label {ignored}, which the loss ignores, is in some batches only, so its mean per batch is no mean "
            "over samples. Pass a loss that returns one value per sample, shape (n,)"
        )
    return rows_of(unreduced(output, target))


def _per_weight(unreduced: Score, weigh: Weigh, output: Any, target: Any) -> Tensor:
    """Return each sample's loss per weight: the mean over samples with those weights is then torch's ratio of sums."""
    rows = rows_of(unreduced(output, target).double())
    weights = weigh(target)
    return torch.where(weights > 0, rows / weights, rows)


def _checked(loss: Score, n: int, output: Any, target: Any) -> Tensor:
    value: Any = loss(output, target)
    if not isinstance(value, Tensor) or (value.ndim and value.shape[0] != n):
        raise ValueError(f"loss: a tensor, scalar or one value per sample ({n}); received {describe(value)}")
    if value.dtype == torch.bool or not (value.is_floating_point() or value.dtype in (torch.int64, torch.int32)):
        raise ValueError(f"loss: real numbers, received {describe(value)}")
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
    return rows_of(weights)  # of pixels or tokens: their mean, as for the loss


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


def describe(value: Any) -> str:
    """Return the words for what a model, a loss or a data set gave."""
    return (
        f"a {str(value.dtype).removeprefix('torch.')} tensor {tuple(value.shape)}"
        if isinstance(value, Tensor)
        else f"a {type(value).__name__}"
    )
