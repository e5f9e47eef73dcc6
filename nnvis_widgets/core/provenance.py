"""What it takes to repeat a measurement: data, weights, policy, numerics and versions.

May import: torch, core.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Any

import torch

from .. import __version__
from .batchnorm import BatchNorm
from .data import Samples
from .family import WeightFamily
from .program.recordings import Recordings
from .replica import Replica
from .scoring import Scorer
from .states import digest
from .tally import Sweep


@dataclass(frozen=True, eq=False)
class Provenance:
    """The provenance of whatever one evaluator measures."""

    samples: Samples
    seed: int
    replica: Replica
    scorer: Scorer
    batchnorm: BatchNorm
    own_data: bool
    recordings: Recordings

    def of(self, family: WeightFamily, sweep: Sweep, policy: str) -> dict[str, Any]:
        """Return the provenance of a sweep over one family."""
        anchors = family.anchors
        return {
            "n": sweep.n,
            "samples": self.samples.n,
            "seed": self.seed,
            "stratified": self.samples.stratified,
            "batchnorm": self.batchnorm.describe(policy, self.own_data),
            "loss": self.scorer.loss_name,
            "loss_is": self.scorer.loss_is,
            "output": self.replica.output_is,
            "scope": family.scope.name,
            "dtype": ", ".join(sorted({str(d).removeprefix("torch.") for d in self.replica.dtypes.values()})),
            "device": str(self.replica.device),
            "batch_size": self.samples.batch_size,
            **self._engine(policy),
            "threads": torch.get_num_threads(),
            **sweep.work,
            "data": self.samples.digest(sweep.batches),
            "calibration": self.batchnorm.calibration_digest() if policy == "recalibrate" else "",
            "weights": [digest(anchor) for anchor in anchors] if isinstance(anchors, list) else [],
            "background": digest(family.background),
            "versions": {"nnvis_widgets": __version__, "torch": torch.__version__, "python": platform.python_version()},
        }

    def updated(self, known: dict[str, Any], sweep: Sweep) -> dict[str, Any]:
        """Return the provenance of more of the same sweep: the samples covered differ, and who has measured them."""
        policy = "" if known["engine"]["program"] == "recorded" else "batch"  # given up once, it is not taken up again
        return {**known, **self._engine(policy), "n": sweep.n, "data": self.samples.digest(sweep.batches), **sweep.work}

    def _engine(self, policy: str) -> dict[str, Any]:
        return {"compiled": self.recordings.engine.compile, "engine": self.recordings.used(policy)}
