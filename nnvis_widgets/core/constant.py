"""What the best constant answer achieves on the samples: the majority class, the shares of the classes, the mean target.

May import: torch, numpy, core.calling, core.data, core.replica, core.scoring, core.states. The scale of what a model has learnt.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .calling import default_forward
from .data import Samples
from .replica import Replica
from .scoring import Scorer, is_classification
from .states import State

_SURE = 1e-7  # of a mean of zeros and ones, the logit is taken so far from the ends


def constant_scores(replica: Replica, scorer: Scorer, samples: Samples, batches: int, state: State) -> dict[str, np.ndarray]:
    """Return the loss and the metrics of each sample, (n,), for the best constant answer to the first batches.

    Among classes the output is the logarithm of their shares, whose argmax is the most frequent one; for numbers it is the mean
    target, or its logit where that fares better. Empty where targets are neither; a mean of each batch stands for its samples.
    The model is called for the form of its output, and where only its forward function knows the targets.
    """
    targets = _Targets(replica, samples, state)
    output = targets.output
    if not isinstance(output, Tensor) or not isinstance(targets.of(0), Tensor):
        return {}
    if is_classification(output, targets.of(0)):
        candidates = _of_classes(targets, batches, output.shape[1])
    elif output.is_floating_point() and targets.of(0).is_floating_point() and output.shape == targets.of(0).shape:
        candidates = _of_numbers(targets, batches, samples.count(batches))
    else:
        return {}
    best: dict[str, np.ndarray] = {}
    for constant in candidates:
        found = _scored(constant.to(output.dtype), targets, replica, scorer, batches)
        if found and (not best or not best["loss"].mean() <= found["loss"].mean()):
            best = found
    return best


class _Targets:
    def __init__(self, replica: Replica, samples: Samples, state: State):
        self._replica, self._samples, self._state = replica, samples, state
        self.output, self._first = self._called(0)

    def _called(self, number: int) -> tuple[Any, Any]:
        return self._replica(self._state, self._replica.buffers(self._state), self._samples.there(number))

    def of(self, number: int) -> Any:
        if number == 0:
            return self._first
        return self._samples.there(number)[1] if self._replica.forward is default_forward else self._called(number)[1]

    def size(self, number: int) -> int:
        return self._samples.size(number)


def _of_classes(targets: _Targets, batches: int, classes: int) -> list[Tensor]:
    counts = torch.zeros(classes)
    for number in range(batches):
        labels = targets.of(number).reshape(-1).long()
        counts += torch.bincount(labels[(labels >= 0) & (labels < classes)], minlength=classes).cpu()
    if not counts.sum():
        return []
    shares = (counts / counts.sum()).clamp(min=0.5 / float(counts.sum()))  # of a class without samples nothing is asked
    return [shares.log(), shares]


def _of_numbers(targets: _Targets, batches: int, n: int) -> list[Tensor]:
    total, low, high = torch.zeros(targets.of(0).shape[1:], dtype=torch.float64), math.inf, -math.inf
    for number in range(batches):
        target = targets.of(number)
        if target.shape[1:] != total.shape:
            return []
        total += target.double().sum(0).cpu()
        low, high = min(low, float(target.min())), max(high, float(target.max()))
    mean = total / n
    return [mean, torch.logit(mean, eps=_SURE)] if low >= 0 and high <= 1 else [mean]


def _scored(constant: Tensor, targets: _Targets, replica: Replica, scorer: Scorer, batches: int) -> dict[str, np.ndarray]:
    columns: dict[str, list[np.ndarray]] = {name: [] for name in scorer.names}
    constant = constant.to(replica.device)
    for number in range(batches):
        target, n = targets.of(number), targets.size(number)
        classes = is_classification(targets.output, targets.of(0))
        shape = (n, len(constant), *target.shape[1:]) if classes else target.shape
        padded = constant.reshape(1, -1, *[1] * (len(shape) - 2)) if classes else constant[None]
        try:
            with replica.quiet():
                scores = scorer(padded.expand(shape), target, n)
        except Exception:  # a user's metric may want more of an output than numbers
            return {}
        for name, values in zip(scorer.names, scores, strict=True):
            columns[name].append(values.double().expand(n).cpu().numpy())
    return {name: np.concatenate(parts) for name, parts in columns.items()}
