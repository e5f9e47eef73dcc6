"""Running statistics of normalisation layers as a function of the coefficients: one policy, recorded in every result.

May import: torch, core.family, core.replica, core.data, core.calibration, core.program.

=============  ====================================================================================================
policy         running statistics at the coefficients c
=============  ====================================================================================================
final          those of the background (usually the trained model)
interpolate    ``sum_k c_k statistics_k`` in the layers that lie in or downstream of the scope, the background's elsewhere;
               variances not below the smallest of the anchors' (quadratic coefficients are negative inside [0, 1] and
               would give a negative variance)
recalibrate    reset, then averaged over calibration batches with the weights at c
batch          those of the measured batch itself; the numbers then depend on the batch size
stored         those of the anchor itself (recorded checkpoints; not for a user to choose)
=============  ====================================================================================================

``auto`` is recalibrate where the scope lies before a normalisation layer, and final otherwise. Integer and other buffers
always come from the background.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .calibration import Calibration, Rows, enough_samples
from .data import DataError, Samples
from .family import Coefficients, WeightFamily
from .program.program import Shared
from .program.statistics import Statistics
from .replica import Replica
from .scope import Scope
from .states import Layout, State

CALIBRATION = 2048  # samples that "recalibrate" averages over, at most
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
    statistics : Statistics
        Recordings of the pass that collects statistics.
    """

    def __init__(self, policy: str, replica: Replica, calibration: Samples, order: Sequence[str], statistics: Statistics):
        self._replica = replica
        self._calibration = calibration
        self._order = list(order)
        self._statistics = statistics
        self.policy = self._checked(policy)

    def _checked(self, policy: str) -> str:
        if policy not in POLICIES:
            raise ValueError(f"batchnorm: one of {', '.join(map(repr, POLICIES))}; received {policy!r}")
        replica = self._replica
        tracked = {f"{name}.{tail}" for name in replica.norms for tail in ("running_mean", "running_var")}
        foreign = [name for name in replica.layout.statistics if name not in tracked and name in replica.buffer_names]
        if foreign and policy in ("recalibrate", "batch"):
            raise ValueError(
                f"batchnorm: {policy!r} works on torch's own normalisation layers, and {foreign[0]!r} belongs to another kind "
                "of module; use 'final' or 'interpolate'"
            )
        return policy

    def resolve(self, scope: Scope | None, policy: str | None = None) -> str:
        """Return the policy in force for a scope: "auto" decided, and "none" for a model without running statistics.

        Another `policy` than the evaluator's may be asked for; one that there is not, or that the model cannot follow, is refused.
        """
        policy = self.policy if policy is None else self._checked(policy)
        if not self._replica.layout.statistics:
            return "none"
        if policy != "auto":
            return policy
        return "recalibrate" if self._upstream(scope or Scope.parse(None, self._replica.layout)) else "final"

    @property
    def fallback(self) -> str:
        """Why statistics are recalibrated by calling the model at every point; empty where they are not."""
        return self._statistics.reason

    def moving(self, policy: str, scope: Scope) -> list[str]:
        """Return the buffers that may differ between the points of a scope."""
        if policy == "stored":
            return list(self._replica.buffer_names)
        return self._reached(scope) if policy in ("interpolate", "recalibrate") else []

    def buffers(self, policy: str, family: WeightFamily, row: Coefficients) -> dict[str, Tensor]:
        """Return the buffers of the model at one row of coefficients, on the replica's device.

        Those under "recalibrate" are found for many rows together: see `calibration`.
        """
        if policy == "stored":
            anchor = family.anchors[int(np.argmax(row))]
            return self._replica.buffers({**family.background, **anchor})
        moved = interpolated(family, row, self._reached(family.scope)) if policy == "interpolate" else {}
        return self._replica.buffers({**family.background, **moved})

    def calibration(self, family: WeightFamily, rows: np.ndarray, weights: Rows, shared: Shared | None = None) -> Calibration:
        """Return what finds the recalibrated buffers of a family's rows, given their weights."""
        return Calibration(
            self._replica,
            self._statistics,
            self._calibration,
            self._full_batches(),
            self._replica.buffers(family.background),
            self._reached(family.scope),
            weights,
            np.count_nonzero(rows, axis=1),
            shared,
        )

    def steps(self, policy: str) -> int:
        """Return the work of calibrating one point, in batches."""
        return len(self._full_batches()) if policy == "recalibrate" else 0

    def outputs(self, policy: str, parameters: dict[str, Tensor], buffers: dict[str, Tensor], batch: Any) -> tuple[Any, Any]:
        """Return outputs and targets of a batch under the policy."""
        if policy == "batch":
            with enough_samples():
                return self._replica.batch_statistics(parameters, buffers, batch)
        return self._replica(parameters, buffers, batch)

    def describe(self, policy: str, own_data: bool) -> str:
        """Return the words for the state line of a picture."""
        if not self._replica.layout.statistics:
            return "of each batch" if self._replica.untracked else "no BatchNorm"
        if policy == "recalibrate":
            source = "the measured data" if own_data else "training data"
            return f"recalibrated on {sum(map(self._calibration.size, self._full_batches()))} samples of {source}"
        return {"batch": "of each batch", "stored": "of each checkpoint"}.get(policy, policy)

    def calibration_digest(self) -> str:
        """Return a digest of the samples that "recalibrate" averages over."""
        return self._calibration.digest(len(self._full_batches()))

    def _full_batches(self) -> list[int]:
        # a shorter last batch would weigh as much as a full one, and a batch of one sample has no variance
        samples = self._calibration
        full = [number for number in range(len(samples)) if samples.size(number) >= samples.batch_size]
        return full[: max(1, CALIBRATION // samples.batch_size)]

    def _upstream(self, scope: Scope) -> bool:
        norms = [position for position, name in enumerate(self._order) if name in self._replica.norms]
        if not norms:
            return False
        first = self._entered(scope)
        return first is None or first < max(norms)

    def _reached(self, scope: Scope) -> list[str]:
        """Return the running statistics of the layers that lie in or downstream of a scope."""
        first = self._entered(scope)
        last = {name: position for position, name in enumerate(self._order)}
        # what is never entered may be read anywhere
        return [
            name
            for name in self._replica.layout.statistics
            if first is None or last.get(name.rpartition(".")[0], len(self._order)) >= first
        ]

    def _entered(self, scope: Scope) -> int | None:
        """Return where a forward pass first meets the scope; None where that is not known."""
        layout = self._replica.layout
        owners = {name: [layer] for layer, names in layout.layers.items() for name in names}
        for alias, name in layout.aliases.items():
            owners[name].append(alias.rpartition(".")[0])
        entered: dict[str, int] = {}
        for position, name in enumerate(self._order):
            entered.setdefault(name, position)
        used = [min(entered.get(layer, len(self._order)) for layer in owners[name]) for name in scope.tensors]
        # a module that is never entered (its weights are used by another) may lie anywhere
        return None if len(self._order) in used else min(used)


def calibration_of(data: Any, measured: Samples, replica: Replica, state: State, seed: int) -> Samples:
    """Return the samples that "recalibrate" averages over, at most 2048 of them; refuse what the model cannot read."""
    samples = Samples(data, seed=seed, batch_size=measured.batch_size, device=replica.device, at_most=CALIBRATION)
    try:
        replica(state, replica.buffers(state), samples.there(0))
    except (DataError, RuntimeError, TypeError, KeyError, IndexError) as error:
        raise DataError(
            "calibration: training samples in the form of `data`, since both go through the same forward function; "
            f"the first batch failed with: {error}"
        ) from error
    return samples


def interpolated(family: WeightFamily, row: Coefficients, names: Collection[str]) -> dict[str, Tensor]:
    """Return the named running statistics at a row: affine like the weights, variances not below the anchors' smallest."""
    layout: Layout = family.layout
    answer = {}
    for name in names:
        kind = layout.statistics[name]
        values = torch.stack([anchor[name].double() for anchor in family.anchors])
        total = torch.einsum("k,k...->...", torch.tensor(list(row), dtype=torch.float64), values)
        answer[name] = torch.maximum(total, values.min(0).values) if kind == "var" else total
    return answer
