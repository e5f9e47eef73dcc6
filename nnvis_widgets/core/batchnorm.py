"""Running statistics of normalisation layers as a function of the coefficients: one policy, recorded in every result.

May import: torch, core.family, core.replica, core.data.

=============  ====================================================================================================
policy         running statistics at the coefficients c
=============  ====================================================================================================
final          those of the background (usually the trained model)
interpolate    ``sum_k c_k statistics_k``; variances not below the smallest of the anchors' (quadratic coefficients are
               negative inside [0, 1] and would give a negative variance)
recalibrate    reset, then averaged over calibration batches with the weights at c
batch          those of the measured batch itself; the numbers then depend on the batch size
stored         those of the anchor itself (recorded checkpoints; not for a user to choose)
=============  ====================================================================================================

``auto`` is recalibrate where the scope lies before a normalisation layer, and final otherwise. Integer and other buffers
always come from the background.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .data import Samples
from .family import WeightFamily
from .replica import Replica
from .scope import Scope
from .states import Layout

POLICIES = ("auto", "final", "interpolate", "recalibrate", "batch")


class BatchNorm:
    """The policy of one evaluator.

    Parameters
    ----------
    policy : str
    replica : Replica
    calibration : Samples
        What "recalibrate" averages over.
    order : list of str
        Module names in the order in which a forward pass enters them.
    """

    def __init__(self, policy: str, replica: Replica, calibration: Samples, order: Sequence[str]):
        if policy not in POLICIES:
            raise ValueError(f"batchnorm: one of {', '.join(map(repr, POLICIES))}; received {policy!r}")
        self.policy = policy
        self._replica = replica
        self._calibration = calibration
        self._order = list(order)

    def resolve(self, scope: Scope | None) -> str:
        """Return the policy in force for a scope: "auto" decided, and "none" for a model without running statistics."""
        if not self._replica.layout.statistics:
            return "none"
        if self.policy != "auto":
            return self.policy
        return "recalibrate" if scope is None or self._upstream(scope) else "final"

    def buffers(self, policy: str, family: WeightFamily, row: Sequence[float], parameters: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the buffers of the model at one row of coefficients, on the replica's device."""
        if policy == "stored":
            anchor = family.anchors[int(np.argmax(row))]
            return self._replica.buffers({**family.background, **anchor})
        buffers = self._replica.buffers(family.background)
        if policy == "interpolate":
            buffers.update(self._replica.buffers({**family.background, **interpolated(family, row)}))
        elif policy == "recalibrate":
            batches = (self._calibration.batch(number) for number in self._full_batches())
            return self._replica.recalibrated(parameters, buffers, batches)
        return buffers

    def outputs(self, policy: str, parameters: dict[str, Tensor], buffers: dict[str, Tensor], batch: Any) -> tuple[Any, Any]:
        """Return outputs and targets of a batch under the policy."""
        if policy == "batch":
            return self._replica.batch_statistics(parameters, buffers, batch)
        return self._replica(parameters, buffers, batch)

    def describe(self, policy: str, own_data: bool) -> str:
        """Return the words for the state line of a picture."""
        if policy == "none":
            return "no BatchNorm"
        if policy == "recalibrate":
            source = "the measured data" if own_data else "training data"
            return f"recalibrated on {len(self._full_batches()) * self._calibration.batch_size} samples of {source}"
        return {"batch": "of each batch", "stored": "of each checkpoint"}.get(policy, policy)

    def _full_batches(self) -> list[int]:
        # a shorter last batch would weigh as much as a full one, and a batch of one sample has no variance
        samples = self._calibration
        return [number for number in range(len(samples)) if samples.size(number) == samples.batch_size]

    def _upstream(self, scope: Scope) -> bool:
        layers = {name: layer for layer, names in self._replica.layout.layers.items() for name in names}
        entered: dict[str, int] = {}
        for position, name in enumerate(self._order):
            entered.setdefault(name, position)
        norms = [position for position, name in enumerate(self._order) if name in self._replica.norms]
        if not norms:
            return False
        # a module that is never entered (its weights are used by another) may lie anywhere
        return min(entered.get(layers[name], -1) for name in scope.tensors) < max(norms)


def interpolated(family: WeightFamily, row: Sequence[float]) -> dict[str, Tensor]:
    """Return the running statistics at a row: affine like the weights, variances not below the anchors' smallest."""
    layout: Layout = family.layout
    answer = {}
    for name, kind in layout.statistics.items():
        values = torch.stack([anchor[name].double() for anchor in family.anchors])
        total = torch.einsum("k,k...->...", torch.tensor(list(row), dtype=torch.float64), values)
        answer[name] = torch.maximum(total, values.min(0).values) if kind == "var" else total
    return answer
