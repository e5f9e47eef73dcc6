"""The scores of a sweep, piece by piece: here or by workers, and a preview where a compiler has to be waited for.

May import: torch, numpy, core except the evaluator.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from .batchnorm import BatchNorm
from .data import Samples
from .executors import Crew
from .family import Families, WeightFamily
from .loop import entered
from .program.recordings import Recordings
from .program.statistics import Statistics
from .replica import Replica
from .scoring import Scorer
from .tally import Book, Sweep
from .worker import Job, Piece, Reasons, Station, points_of

SERIAL = {"executor": "serial", "workers": 1}


@dataclass(frozen=True, eq=False)
class Work:
    """Scores that somebody computes while they are asked for.

    Attributes
    ----------
    pieces : generator of Piece or None
    total : int
        How much work it is: points times batches, and steps of their calibration.
    about : dict
        Who does it, for the provenance of results.
    """

    pieces: Generator[Piece | None, None, None]
    total: int
    about: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Workshop:
    """The instruments of one evaluator, and its workers where it has any."""

    replica: Replica
    batchnorm: BatchNorm
    scorer: Scorer
    recordings: Recordings
    statistics: Statistics
    samples: Samples
    crew: Crew | None

    def sweep(
        self,
        family: WeightFamily | Families,
        rows: np.ndarray,
        order: list[int],
        policy: str,
        batches: int,
        books: tuple[Book, Book],
        heartbeat: float,
    ) -> Iterator[Sweep]:
        """Yield what has been measured so far: first of a preview, where there is one, then of the work itself.

        Parameters
        ----------
        family, rows, order, policy
            See `Evaluator.sweep`.
        batches : int
            How many of the samples' batches are measured.
        books : (Book, Book)
            Of the preview and of the work; no sum of the first goes into the second.
        heartbeat : float
            Seconds between two of them, about.
        """
        point_major = not isinstance(family.anchors, list)
        work = None
        try:
            work = self.preview(family, rows, order, policy)
            if work is not None:
                for sweep in entered(work.pieces, books[0], self.samples, work.total, work.about, heartbeat, point_major, batches):
                    yield replace(sweep, fraction=0.0)
            work = self.work(family, rows, order, policy, batches)
            yield from entered(work.pieces, books[1], self.samples, work.total, work.about, heartbeat, point_major, batches)
        except torch.OutOfMemoryError as error:
            size = self.samples.batch_size
            error.add_note(f"Evaluator: one point takes more memory than there is; batch_size={max(size // 2, 1)} would take half")
            raise
        finally:
            if work is not None:
                work.pieces.close()

    def work(self, family: WeightFamily | Families, rows: np.ndarray, order: list[int], policy: str, batches: int) -> Work:
        """Return the scores of a sweep over the first batches; points are visited in an order, checkpoints on disk in turn."""
        together = isinstance(family.anchors, list)
        steps = self.batchnorm.steps(policy)
        total = len(rows) * (batches + steps)
        if together and self.crew is not None:
            checks = self.recordings.checks.copy(), self.statistics.checks.copy()
            job = Job(family.trimmed(), rows, order, policy, Reasons.of(self.recordings, self.statistics), checks, batches)
            shift = self.crew.shift(job, family.background, steps, lambda: self._station(family, rows, policy), self._adopt)
            return Work(shift.pieces(), total, shift.about)
        station = self._station(family, rows, policy)
        numbers = range(batches)
        tiles = ((number, order) for number in numbers) if together else ((number, [k]) for k in order for number in numbers)
        return Work((piece for tile in tiles for piece in station.pieces(*tile)), total, SERIAL)

    def preview(self, family: WeightFamily | Families, rows: np.ndarray, order: list[int], policy: str) -> Work | None:
        """Return the scores of the first batch without a compiler; None where there is none to wait for.

        Nothing of it goes into later results. With workers, or where points have to be calibrated first, it would take as long
        as it spares.
        """
        if self.crew is not None or not isinstance(family.anchors, list) or self.batchnorm.steps(policy):
            return None
        recordings = self.recordings.eager(policy, family.scope.name, rows.shape[1])
        if recordings is None:
            return None
        about = {**SERIAL, "compiled": False, "engine": recordings.used(policy)}
        pieces = self._station(family, rows, policy, recordings).pieces(0, order)
        return Work((piece for piece in pieces), len(rows), about)

    def _station(
        self, family: WeightFamily | Families, rows: np.ndarray, policy: str, recordings: Recordings | None = None
    ) -> Station:
        recordings = recordings or self.recordings
        return Station(points_of(family, rows, policy, self.replica, self.batchnorm, self.scorer, recordings), self.samples)

    def _adopt(self, reasons: Reasons) -> None:
        reasons.tell(self.recordings, self.statistics)
