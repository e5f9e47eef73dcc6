"""The points of one sweep: the weights and buffers of each row, and their scores on a batch.

May import: torch, numpy, the rest of core except the evaluator. A recorded program computes them where there is one that agrees
with the plain forward pass; else the plain forward pass does, without the modules that all points of a batch share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .batchnorm import BatchNorm
from .calibration import Found
from .family import WeightFamily
from .program.anchors import Anchors
from .program.checks import agree
from .program.modules import Modules
from .program.program import Program, Shared
from .program.recordings import Recorded, Recordings, form_of, in_short
from .program.turns import in_turn
from .replica import Replica
from .scoring import Scorer
from .tiles import in_groups, share

_KEEP_BYTES = 128 * 2**20
_CHECKS = 2  # batches: of the first one alone, a sample that leaves a layer silent says nothing of it


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
        shared: Shared | None = None,
    ):
        self._shared = shared
        self._replica, self._batchnorm, self._scorer, self._recordings = replica, batchnorm, scorer, recordings
        self._family, self._rows, self._policy = family, rows, policy
        self._lazy = not isinstance(family.anchors, list)
        self._placed = family if self._lazy else family.on(replica.device, replica.dtypes)
        self._anchors: Anchors | None = None
        self._programs: dict[Any, Program | None] = {}
        self._keys: dict[Program, Any] = {}
        self._now: Program | None = None
        self._unchecked = False
        self._batch: Any = None
        self._n, self._checked, self._loaded = 0, False, False
        self._kept: dict[int, dict[str, Tensor]] = {}
        self._buffers: dict[int, dict[str, Tensor]] = {}
        self._fixed_buffers = policy in ("none", "final", "batch")
        self._calibration = batchnorm.calibration(family, rows, self, shared) if policy == "recalibrate" else None
        # checkpoints on disk are visited point by point, so no two points follow each other on one batch
        spared = not self._lazy and not recordings.no_modules
        self._modules = Modules(replica, {*family.scope.tensors, *batchnorm.moving(policy, family.scope)}) if spared else None

    def load(self, batch: Any, n: int) -> None:
        """Take a batch of `n` samples that is on the device."""
        self._batch, self._n, self._checked = batch, n, False
        self._now, self._loaded = None, False
        self.unload()

    def unload(self) -> None:
        """Let go of what modules have given for the batch: with many families, that of each would add up."""
        if self._modules is not None:
            self._modules.forget()

    @property
    def _together(self) -> int:
        """How many rows of the loaded batch are computed in one call."""
        return 1 if self._now is None else self._now.together

    def groups(self, ks: Sequence[int], part: int = 0, parts: int = 1) -> Iterator[tuple[Sequence[int], int]]:
        """Yield the rows in order, in groups that are best asked for at once of the loaded batch, and the work done before.

        Without rows it is work towards the next ones: steps of their calibration. One of several parts consists of groups of
        the whole, since rows that are computed together share their last bits.
        """
        groups = self._grouped(ks)
        if parts > 1:
            # which operations move, and so how many rows go together, is known once a row has been calibrated
            yield from self._calibrating(share(ks, part, parts)[:1] or ks[:1])
            self._share()
            groups = list(share([few for some in groups for few in in_groups(some, self._together)], part, parts))
            for some in self._grouped([k for few in groups for k in few]):
                yield from self._calibrating(some)
        for some in groups:
            yield from self._calibrating(some)
            self._share()
            for few in in_groups(some, self._together):
                yield few, 0

    def in_turn(self, ks: Sequence[int]) -> Sequence[int]:
        """Return rows in the order in which they share most; the first of a picture, and calibrated ones, have one of their own."""
        return ks if self._lazy or self._calibration is not None else in_turn(self._rows, ks)

    def _grouped(self, ks: Sequence[int]) -> list[Sequence[int]]:
        return [ks] if self._calibration is None else self._calibration.groups(ks)

    def _calibrating(self, ks: Sequence[int]) -> Iterator[tuple[Sequence[int], int]]:
        for steps in () if self._calibration is None else self._calibration.run(ks):
            yield (), steps

    def _share(self) -> None:
        """Compute what the points of the loaded batch share, once the first of them have been calibrated."""
        if self._loaded:
            return
        self._loaded = True
        self._now = self._program(self._batch, self._n)
        if self._now is not None:
            self._unchecked = self._recordings.checks[self._keys[self._now]] < _CHECKS
            self._check_labels(self._now.target_in(self._batch))
            try:
                with torch.inference_mode(), self._replica.exact():
                    self._now.load(self._batch)
            except RuntimeError as error:
                self._give_up(error)

    def scores(self, ks: Sequence[int]) -> tuple[list[Tensor], Tensor | None]:
        """Return the loss and the metrics of the loaded batch at some rows, (rows, n) or (rows,), and its samples' weights."""
        self._share()
        if self._unchecked:
            self._check(ks)
        if self._now is not None:
            return self._recorded(ks), self._now.sample_weights
        several = [self._by_modules(k) for k in ks]
        return [torch.stack(values) for values in zip(*(scores for scores, _ in several), strict=True)], several[0][1]

    def observed(self, k: int) -> tuple[Any, Any, list[Tensor], Tensor | None]:
        """Return the outputs and targets of the loaded batch at a row, its scores, (n,) or scalar, and its samples' weights."""
        for _ in self._calibrating([k]):
            pass
        output, target = self._answers(k)
        return output, target, *self._scored(output, target)

    def calibrated(self, ks: Sequence[int]) -> dict[int, Found]:
        """Return the recalibrated statistics of those of the rows that have them; they are dear, and can be shared."""
        return {} if self._calibration is None else self._calibration.given(ks)

    def adopt(self, statistics: Mapping[int, Found]) -> None:
        """Take recalibrated statistics that another worker has found."""
        if self._calibration is not None:
            self._calibration.adopt(statistics)

    def _check_labels(self, target: Any) -> None:
        if target is not None and not self._checked:
            self._scorer.check_labels(target)
            self._checked = True

    # ---- weights and buffers of a row

    def moving(self, k: int, program: Program) -> dict[str, Tensor]:
        """Return the moving weights that the suffix needs at a row."""
        names = program.weights
        if not names:
            return {}
        if self._anchors is None:
            parameters = self.parameters(k)
            return {name: parameters[name].to(self._replica.dtypes[name]) for name in names}
        kept = self._kept.get(k, {})
        weights = {name: kept[name] if name in kept else self._anchors.weight(name, k) for name in names}
        size = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
        if size * len(self._rows) <= _KEEP_BYTES:
            self._kept[k] = {**kept, **weights}
        return weights

    def parameters(self, k: int) -> dict[str, Tensor]:
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
        if self._calibration:
            return self._calibration.buffers(k)
        key = 0 if self._fixed_buffers else k
        if key not in self._buffers:
            if self._lazy:
                self._buffers.clear()
            self._buffers[key] = self._batchnorm.buffers(self._policy, self._family, self._rows[k])
        return self._buffers[key]

    # ---- three ways to the scores

    def _recorded(self, ks: Sequence[int]) -> list[Tensor]:
        assert self._now is not None
        with torch.inference_mode(), self._replica.exact():
            return self._now.scores(ks, partial(self.moving, program=self._now), self._buffers_at(ks[0]))

    def _by_modules(self, k: int) -> tuple[list[Tensor], Tensor | None]:
        if self._modules is None:
            return self._plain(k)
        scores = self._modules.scores(partial(self._plain, k))
        if self._modules.done:
            self._recordings.no_modules = self._recordings.no_modules or self._modules.reason
            self._modules = None
        return scores

    def _plain(self, k: int, during: AbstractContextManager | None = None) -> tuple[list[Tensor], Tensor | None]:
        return self._scored(*self._answers(k, during))

    def _answers(self, k: int, during: AbstractContextManager | None = None) -> tuple[Any, Any]:
        parameters, buffers = self.parameters(k), self._buffers_at(k)
        with during or nullcontext():
            return self._batchnorm.outputs(self._policy, parameters, buffers, self._batch)

    def _scored(self, output: Any, target: Any) -> tuple[list[Tensor], Tensor | None]:
        self._check_labels(target)  # before a loss sees labels that it cannot take
        with self._replica.quiet():
            return self._scorer(output, target, self._n), self._scorer.weights(target)

    def _program(self, batch: Any, n: int) -> Program | None:
        if self._policy == "batch" or self._recordings.reason:
            return None
        form = form_of(batch) if self._shared is None else self._shared.form(batch)
        if form not in self._programs:
            recorded = self._recordings.of(batch, n, self._placed.background, self._replica.buffers(self._family.background))
            self._programs[form] = None if recorded is None else self._built(recorded, form)
        return self._programs[form]

    def build(self, recorded: Recorded, buffers: Mapping[str, Tensor], moving_buffers: Sequence[str] = ()) -> Program:
        """Return the program of a recorded pass for this family."""
        engine, dtypes = self._recordings.engine, self._replica.dtypes
        if self._anchors is None and not self._lazy:
            with torch.inference_mode():
                self._anchors = Anchors(self._placed, self._rows, dtypes, engine.channels_last)
        return Program(
            recorded,
            self._anchors,
            {name: self._placed.background[name].to(self._replica.device, dtype) for name, dtype in dtypes.items()},
            buffers,
            moving_weights=list(self._family.scope.tensors) if self._lazy else (),
            moving_buffers=moving_buffers,
            engine=engine,
            shared=self._shared,
        )

    def _built(self, recorded: Recorded, form: Any) -> Program | None:
        calibration = self._calibration
        program = self.build(
            recorded,
            self._replica.buffers(self._family.background) if calibration is None else calibration.common,
            self._batchnorm.moving(self._policy, self._family.scope) if calibration is None else calibration.moving,
        )
        self._keys[program] = form, program.outline
        return program

    def _check(self, ready: Sequence[int]) -> None:
        """Compare the program with the plain forward pass, at a stored state and between; give it up where they differ."""
        assert self._now is not None
        self._unchecked = False
        self._recordings.checks[self._keys[self._now]] += 1
        # checkpoints on disk are read once, in the order of the sweep
        there = ready[:1] if self._lazy else self._calibration.found if self._calibration else range(len(self._rows))
        used = [np.count_nonzero(self._rows[k]) for k in there]
        rows = list(dict.fromkeys([there[int(np.argmin(used))], there[int(np.argmax(used))]]))
        theirs = [self._plain(k)[0] for k in rows]
        try:
            mine = [self._recorded(ks) for ks in ([rows] if self._now.together > 1 else [[k] for k in rows])]
        except RuntimeError as error:
            self._give_up(error)
            return
        eps = max(torch.finfo(d).eps for d in self._replica.dtypes.values() if d.is_floating_point or d.is_complex)
        for q, name in enumerate(self._scorer.names):
            if not agree(torch.cat([scores[q] for scores in mine]), torch.stack([scores[q] for scores in theirs]), eps):
                self._give_up(f"recorded, it gives other values of {name!r} than the plain forward pass")
                return

    def _give_up(self, why: str | Exception) -> None:
        """Use no recording from now on; an operation may refuse the memory format, or the tensors, that a recording gives it."""
        if isinstance(why, torch.OutOfMemoryError):
            raise why
        self._recordings.reason = why if isinstance(why, str) else f"recorded, it does not run ({in_short(why)})"
        self._now, self._unchecked = None, False
        self._programs.clear()
