"""The points of one sweep: the weights and buffers of each row, and their scores on a batch.

May import: torch, numpy, the rest of core except the evaluator. A recorded program computes them where there is one that agrees
with the plain forward pass; else the plain forward pass does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .batchnorm import BatchNorm
from .family import WeightFamily
from .program.program import Anchors, Program
from .program.recordings import Recorded, Recordings, form_of
from .replica import Replica
from .scoring import Scorer

_KEEP_BYTES = 128 * 2**20


class Points:
    """Scores of a batch at each row of a family."""

    def __init__(
        self,
        replica: Replica,
        batchnorm: BatchNorm,
        scorer: Scorer,
        recordings: Recordings,
        family: WeightFamily,
        rows: np.ndarray,
        policy: str,
    ):
        self._replica, self._batchnorm, self._scorer, self._recordings = replica, batchnorm, scorer, recordings
        self._family, self._rows, self._policy = family, rows, policy
        self._lazy = not isinstance(family.anchors, list)
        self._placed = family if self._lazy else family.on(replica.device, replica.dtypes)
        self._anchors: Anchors | None = None
        self._programs: dict[Any, Program | None] = {}
        self._now: Program | None = None
        self._unchecked = False
        self._batch: Any = None
        self._n, self._checked = 0, False
        self._kept: dict[int, dict[str, Tensor]] = {}
        self._buffers: dict[int, dict[str, Tensor]] = {}
        self._fixed_buffers = policy in ("none", "final")

    def load(self, batch: Any, n: int) -> None:
        """Take a batch of `n` samples that is on the device; what its points share is computed now."""
        self._batch, self._n, self._checked = batch, n, False
        self._now = self._program(batch, n)
        if self._now is not None:
            self._check_labels(self._now.target_in(batch))
            with torch.inference_mode(), self._replica.exact():
                self._now.load(batch)

    @property
    def together(self) -> int:
        """How many rows of the loaded batch are best asked for at once."""
        return 1 if self._now is None else self._now.together

    def scores(self, ks: Sequence[int]) -> tuple[list[Tensor], Tensor | None]:
        """Return the loss and the metrics of the loaded batch at some rows, (rows, n) or (rows,), and its samples' weights."""
        if self._unchecked:
            self._check(ks[0])
        if self._now is not None:
            return self._recorded(ks), self._now.sample_weights
        several = [self._plain(k) for k in ks]
        return [torch.stack(values) for values in zip(*(scores for scores, _ in several), strict=True)], several[0][1]

    def calibrated(self, ks: Sequence[int]) -> dict[int, dict[str, Tensor]]:
        """Return the recalibrated buffers of those of the rows that have been measured; they are dear, and can be shared."""
        return {k: self._buffers[k] for k in ks if k in self._buffers} if self._policy == "recalibrate" else {}

    def adopt(self, buffers: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Take recalibrated buffers that another worker has found."""
        for k, named in buffers.items():
            self._buffers[k] = {name: buffer.to(self._replica.device) for name, buffer in named.items()}

    def _check_labels(self, target: Any) -> None:
        if target is not None and not self._checked:
            self._scorer.check_labels(target)
            self._checked = True

    # ---- weights and buffers of a row

    def _moving(self, k: int, program: Program) -> dict[str, Tensor]:
        """Return the moving weights that the suffix needs at a row."""
        names = program.weights
        if not names:
            return {}
        if self._anchors is None:
            parameters = self._parameters(k)
            return {name: parameters[name].to(self._replica.dtypes[name]) for name in names}
        if k in self._kept:
            return self._kept[k]
        weights = {name: self._anchors.weight(name, k) for name in names}
        size = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
        if size * len(self._rows) <= _KEEP_BYTES:
            self._kept[k] = weights
        return weights

    def _parameters(self, k: int) -> dict[str, Tensor]:
        """Return every parameter of the model at a row, on the device."""
        if self._lazy and k in self._kept:
            return self._kept[k]
        moved = self._placed.moved(self._rows[k])
        parameters = {name: moved.get(name, self._placed.background[name]) for name in self._family.layout.shapes}
        parameters = {name: tensor.to(self._replica.device) for name, tensor in parameters.items()}
        if self._lazy:  # read from disk once for all batches
            self._kept = {k: parameters}
        return parameters

    def _buffers_at(self, k: int) -> dict[str, Tensor]:
        key = 0 if self._fixed_buffers else k
        if key not in self._buffers:
            if self._lazy:
                self._buffers.clear()
            parameters = {} if self._fixed_buffers else self._parameters(k)
            self._buffers[key] = self._batchnorm.buffers(self._policy, self._family, self._rows[k], parameters)
        return self._buffers[key]

    def _moving_buffers(self) -> list[str]:
        if self._fixed_buffers:
            return []
        return list(self._replica.buffer_names if self._policy == "stored" else self._replica.layout.statistics)

    # ---- two ways to the scores

    def _recorded(self, ks: Sequence[int]) -> list[Tensor]:
        assert self._now is not None
        with torch.inference_mode(), self._replica.exact():
            return self._now.scores(ks, self._moving(ks[0], self._now), self._buffers_at(ks[0]))

    def _plain(self, k: int) -> tuple[list[Tensor], Tensor | None]:
        output, target = self._batchnorm.outputs(self._policy, self._parameters(k), self._buffers_at(k), self._batch)
        self._check_labels(target)  # before a loss sees labels that it cannot take
        with self._replica.quiet():
            return self._scorer(output, target, self._n), self._scorer.weights(target)

    def _program(self, batch: Any, n: int) -> Program | None:
        if self._policy == "batch" or self._recordings.reason:
            return None
        form = form_of(batch)
        if form not in self._programs:
            recorded = self._recordings.of(batch, n, self._placed.background, self._replica.buffers(self._family.background))
            self._programs[form] = None if recorded is None else self._built(recorded, form)
        return self._programs[form]

    def _built(self, recorded: Recorded, form: Any) -> Program | None:
        engine = self._recordings.engine
        if self._anchors is None and not self._lazy:
            with torch.inference_mode():
                self._anchors = Anchors(self._placed, self._rows, self._replica.dtypes, engine.channels_last)
        dtypes = self._replica.dtypes
        program = Program(
            recorded,
            self._anchors,
            {name: self._placed.background[name].to(self._replica.device, dtype) for name, dtype in dtypes.items()},
            self._replica.buffers(self._family.background),
            moving_weights=list(self._family.scope.tensors) if self._lazy else (),
            moving_buffers=self._moving_buffers(),
            engine=engine,
        )
        self._unchecked = (form, program.outline) not in self._recordings.checked
        self._recordings.checked.add((form, program.outline))
        return program

    def _check(self, first: int) -> None:
        """Compare the program with the plain forward pass, at a stored state and between; give it up where they differ."""
        assert self._now is not None
        self._unchecked = False
        used = np.count_nonzero(self._rows, axis=1)
        # checkpoints on disk are read once, in the order of the sweep
        rows = [first] if self._lazy else list(dict.fromkeys([int(used.argmin()), int(used.argmax())]))
        theirs = [self._plain(k)[0] for k in rows]
        mine = [self._recorded(ks) for ks in ([rows] if self.together > 1 else [[k] for k in rows])]
        for q, name in enumerate(self._scorer.names):
            if not _agree(torch.cat([scores[q] for scores in mine]), torch.stack([scores[q] for scores in theirs])):
                self._recordings.reason = f"recorded, it gives other values of {name!r} than the plain forward pass"
                self._now = None
                self._programs.clear()
                return


def _agree(mine: Tensor, theirs: Tensor) -> bool:
    """Return whether two vectors of scores are the same up to rounding; whole numbers may differ in a tie or two."""
    if mine.shape != theirs.shape:
        return False
    one, other = mine.double(), theirs.double()
    if bool((other == other.round()).all() and (one == one.round()).all()):
        return int((one != other).sum()) <= 1 + one.numel() // 50
    # accumulated over a deep network, the rounding of single operations grows by a few orders of magnitude
    tolerance = 2e3 * torch.finfo(theirs.dtype if theirs.dtype.is_floating_point else torch.float32).eps
    finite = other[torch.isfinite(other)]
    scale = float(finite.abs().max()) if finite.numel() else 1.0
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance * (scale or 1.0), equal_nan=True)
