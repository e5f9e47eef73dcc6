"""Recalibrated running statistics at many points of one family: a first phase of a sweep, whose buffers are kept per point.

May import: torch, numpy, core.data, core.family, core.replica, core.tiles, core.program. The statistics of a batch are the
outputs of a recorded pass, split like any other: layers before the scope are computed once a batch for all points, and their
statistics are the same at all of them; the first moving operation is an affine head. Where the pass cannot be recorded, or
gives other statistics than the model itself, `Replica.recalibrated` is asked at each point.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from .data import DataError, Samples
from .program.program import Program, Shared
from .program.recordings import Recorded, form_of
from .program.statistics import Statistics
from .replica import Replica
from .tiles import in_growing_groups

FIRST = 5  # points that are calibrated first: the ends, the middle and the quarters of a path
HELD_BYTES = 256 * 2**20  # what points share of the calibration batches is kept from group to group up to this size
_TOLERANCE = 2e3  # roundings: accumulated over a deep network, those of single operations grow by orders of magnitude

Found = tuple[dict[str, Tensor], dict[str, Tensor]]  # statistics that all points share, and those of one


class Rows(Protocol):
    """The weights of a sweep's points."""

    def parameters(self, k: int) -> dict[str, Tensor]:
        """Return every parameter at a row."""

    def moving(self, k: int, program: Program) -> dict[str, Tensor]:
        """Return the weights that a program needs at a row."""

    def build(self, recorded: Recorded, buffers: Mapping[str, Tensor]) -> Program:
        """Return the program of a recorded pass for the family."""


class Calibration:
    """The recalibrated buffers of one sweep.

    Parameters
    ----------
    replica : Replica
    statistics : Statistics
        The evaluator's recordings, which outlive a sweep.
    samples : Samples
    numbers : sequence of int
        Batches of equal size; the statistics are the arithmetic means over them.
    buffers : mapping of str to Tensor
        The other buffers of the model, on the device.
    reached : collection of str
        Statistics that may differ between points.
    weights : Rows
    nonzero : ndarray
        How many anchors each row mixes.
    shared : Shared, optional
        What sweeps of several scopes have in common: there the prefixes of the calibration batches are kept too.
    """

    def __init__(
        self,
        replica: Replica,
        statistics: Statistics,
        samples: Samples,
        numbers: Sequence[int],
        buffers: Mapping[str, Tensor],
        reached: Collection[str],
        weights: Rows,
        nonzero: np.ndarray,
        shared: Shared | None = None,
    ):
        self._replica, self._statistics, self._samples, self._numbers = replica, statistics, samples, list(numbers)
        self._base, self._weights, self._nonzero = dict(buffers), weights, nonzero
        self._reached = [name for name in statistics.names if name in set(reached)]
        self._shared: dict[str, Tensor] = {}
        self._own: dict[int, dict[str, Tensor]] = {}
        self._programs: dict[Any, Program | None] = {}
        self._held: dict[int, Program] = {}
        self._held_bytes = 0
        self._common = shared

    @property
    def steps(self) -> int:
        """Work for one point: batches that its statistics are averaged over."""
        return len(self._numbers)

    @property
    def moving(self) -> list[str]:
        """Statistics that differ between points."""
        return [name for name in self._statistics.names if name not in self._shared]

    @property
    def common(self) -> dict[str, Tensor]:
        """Buffers with those statistics that are the same at all points."""
        return {**self._base, **self._shared}

    @property
    def found(self) -> list[int]:
        """Rows that have been calibrated."""
        return list(self._own)

    def groups(self, ks: Sequence[int]) -> list[Sequence[int]]:
        """Return rows in order, in groups that are calibrated together: small ones first, large ones to share more.

        What a group shares is computed for each group anew where it does not fit into `HELD_BYTES`. As sizes double, that is
        eight times for a thousand points, and never more than once for five of them.
        """
        return [[k] for k in ks] if self._statistics.reason else in_growing_groups(ks, FIRST)

    def buffers(self, k: int) -> dict[str, Tensor]:
        """Return all buffers at a row that has been calibrated."""
        return {**self._base, **self._shared, **self._own[k]}

    def given(self, ks: Sequence[int]) -> dict[int, Found]:
        """Return the statistics of those of the rows that have been calibrated."""
        return {k: (self._shared, self._own[k]) for k in ks if k in self._own}

    def adopt(self, statistics: Mapping[int, Found]) -> None:
        """Take the statistics of rows that were calibrated elsewhere."""
        device = self._replica.device
        for k in [k for k in statistics if k not in self._own]:
            shared, own = statistics[k]
            if not self._own:
                self._shared = {name: value.to(device) for name, value in shared.items()}
            # where one worker could record and another could not, they differ in what they know to be shared
            self._own[k] = {name: value.to(device) for name, value in {**shared, **own}.items() if name not in self._shared}
        if len(self._own) == len(self._nonzero):
            self._held.clear()

    def run(self, ks: Sequence[int]) -> Iterator[int]:
        """Calibrate rows that have not been; yield, after each batch of one or a few points, how many steps that was."""
        ks = [k for k in ks if k not in self._own]
        done = 0
        if ks and not self._statistics.reason:
            for steps in self._recorded(ks):
                done += steps
                yield steps
        for k in ks:
            if k not in self._own:
                # what was done in vain, before the recording turned out to be wrong, is not counted twice
                for steps in self._plain(k):
                    yield max(0, steps - done)
                    done = max(0, done - steps)

    def _recorded(self, ks: list[int]) -> Iterator[int]:
        sums: dict[int, Tensor] = {}
        first: Tensor | None = None
        program: Program | None = None
        own: list[int] = []
        for position in range(len(self._numbers)):
            program = self._loaded(position, ks)
            if program is None:
                return
            yield 0
            before, own = own, [i for i, same in enumerate(program.same) if not same]
            if position and own != before:
                self._statistics.reason = "its batches take different ways through the model"
                return
            for k in ks:
                with torch.inference_mode(), self._replica.exact():
                    values = [value[0] for value in program.at(k, self._weights.moving(k, program), {})]
                    vector = _joined([values[i] for i in own])
                    sums[k] = sums[k].add_(vector) if k in sums else vector
                    if k == ks[0] and not self._shared:
                        shared = _joined([values[i] for i in range(len(values)) if i not in own])
                        first = shared if first is None else first.add_(shared)
                yield 1
        assert program is not None
        names = self._statistics.names
        if first is not None:
            self._shared = self._split(first, [name for name, same in zip(names, program.same, strict=True) if same])
        moving = [name for name, same in zip(names, program.same, strict=True) if not same]
        for k, total in sums.items():
            self._own[k] = self._split(total, moving)
        if len(self._own) == len(self._nonzero):
            self._held.clear()

    def _split(self, total: Tensor, names: list[str]) -> dict[str, Tensor]:
        """Return named buffers, given the sums of all of them over the batches in one vector."""
        sizes = [self._base[name].numel() for name in names]
        # a copy made here is a tensor like any other, also for a model that differentiates inside
        parts = (total.clone() / len(self._numbers)).split(sizes)
        return {name: part.to(self._base[name].dtype).view_as(self._base[name]) for name, part in zip(names, parts, strict=True)}

    def _plain(self, k: int) -> Iterator[int]:
        batches = map(self._samples.batch, self._numbers)
        with enough_samples():
            for buffers in self._replica.recalibrating(self._weights.parameters(k), self._base, batches):
                fresh = buffers
                yield 1
        if not self._shared:
            self._shared = {name: fresh[name] for name in self._statistics.names if name not in self._reached}
        self._own[k] = {name: fresh[name] for name in self._statistics.names if name not in self._shared}

    # ---- programs

    def _loaded(self, position: int, ks: list[int]) -> Program | None:
        """Return the program with a batch loaded: kept from the last group, or computed now; None where there is none."""
        if position in self._held:
            return self._held[position]
        common = None if self._common is None else self._common.calibration
        shared = (common or {}).get(position, Shared())
        batch = shared.batch
        if batch is None:
            batch = self._samples.there(self._numbers[position])
        form = form_of(batch)
        if form not in self._programs:
            state = self._weights.parameters(ks[0])
            size = self._samples.size(self._numbers[position])
            recorded = self._statistics.of(batch, size, state, self._base)
            self._programs[form] = None if recorded is None else self._weights.build(recorded, self._base)
        program = self._programs[form]
        if program is None:
            return None
        program = program.beside(shared)
        with torch.inference_mode(), self._replica.exact():
            program.load(batch)
        if common is not None and sum(other.size for other in {**common, position: shared}.values()) <= HELD_BYTES:
            common[position] = shared
        check = (form, program.outline)
        if not self._statistics.checks[check]:
            if not self._agrees(program, batch, max(ks, key=lambda k: self._nonzero[k])):
                return None
            self._statistics.checks[check] += 1
        if len(ks) < len(self._nonzero) and self._held_bytes + program.size <= HELD_BYTES:
            self._held[position] = program
            self._held_bytes += program.size
        return program

    def _agrees(self, program: Program, batch: Any, k: int) -> bool:
        """Return whether a program leaves the statistics of one batch that the model itself does; if not, it is given up."""
        with torch.inference_mode(), self._replica.exact():
            mine = program.at(k, self._weights.moving(k, program), {})
        with enough_samples():
            theirs = self._replica.recalibrated(self._weights.parameters(k), self._base, [batch])
        for name, value in zip(self._statistics.names, mine, strict=True):
            if not _close(value[0], theirs[name]):
                self._statistics.reason = f"recorded, it gives another {name!r} than the model in training mode"
                self._programs.clear()
                self._held.clear()
                return False
        return True


@contextmanager
def enough_samples() -> Iterator[None]:
    """Say in words what torch says of a batch of one sample, which has no variance."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise DataError(
            "batchnorm: a batch of one sample has no variance, so its statistics cannot be used; measure at least two samples, "
            f"with batch_size of at least 2, or take batchnorm='final' ({error})"
        ) from error


def _joined(values: list[Tensor]) -> Tensor:
    """Return statistics as one float64 vector."""
    return torch.cat([value.double() for value in values]) if values else torch.zeros(0, dtype=torch.float64)


def _close(mine: Tensor, theirs: Tensor) -> bool:
    tolerance = _TOLERANCE * torch.finfo(theirs.dtype).eps
    finite = theirs[torch.isfinite(theirs)]
    scale = float(finite.abs().max()) if finite.numel() else 1.0
    return mine.shape == theirs.shape and torch.allclose(
        mine.to(theirs.dtype), theirs, rtol=tolerance, atol=tolerance * (scale or 1.0), equal_nan=True
    )
