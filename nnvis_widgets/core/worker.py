"""One tile of a sweep, here or in a worker: some rows of coefficients on one batch, with instruments that are built once.

May import: torch, numpy, and of core what `Points` is made of. Nothing here knows who asked for a tile or how it got there.
"""

from __future__ import annotations

import io
import pickle
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from .batchnorm import BatchNorm
from .data import Samples
from .family import Families, WeightFamily
from .many_points import ManyPoints
from .points import Points
from .program.program import Shared
from .program.recordings import Engine, Recordings
from .program.statistics import Statistics
from .replica import Replica
from .scoring import Scorer
from .states import State


class Stopped(Exception):
    """The sweep is not wanted any more."""


@dataclass(frozen=True)
class Piece:
    """Scores of some rows on a batch; `last` where it completes the tile, which for a sweep's own loop is the batch.

    Without rows it is work towards the next ones: `steps` of their calibration.
    """

    number: int
    rows: Sequence[int]
    scores: list[Tensor]
    weights: Tensor | None
    last: bool
    steps: int = 0


class Station:
    """The points of one sweep in one thread; a batch is loaded once, however many parts it is cut into."""

    def __init__(self, points: Points | ManyPoints, samples: Samples):
        self.points, self._samples = points, samples
        self._loaded: int | None = None

    def pieces(self, number: int, rows: Sequence[int], part: int = 0, parts: int = 1) -> Iterator[Piece]:
        """Yield the scores of batch `number` at a part of the rows, as many at a time as are best computed together."""
        if parts == 1 or self._loaded != number:
            self._loaded = None
            self.points.load(self._samples.there(number), self._samples.size(number))
            self._loaded = number
        rows = self.points.in_turn(rows) if number else rows  # the first batch is drawn as it is measured
        left: set[int] = set(rows) if parts == 1 else set()  # of a part nobody asks where it ends
        for some, steps in self.points.groups(rows, part, parts):
            left.difference_update(some)
            scores, weights = self.points.scores(some) if some else ([], None)
            yield Piece(number, some, scores, weights, bool(some) and not left, steps)


def points_of(
    family: WeightFamily | Families,
    rows: np.ndarray,
    policy: str,
    replica: Replica,
    batchnorm: BatchNorm,
    scorer: Scorer,
    recordings: Recordings,
) -> Points | ManyPoints:
    """Return the points of a family's rows, or of several families' rows, one below the other."""

    def make(one: WeightFamily, own: slice, shared: Shared | None = None) -> Points:
        return Points(replica, batchnorm, scorer, recordings, one, rows[own], policy, shared)

    return ManyPoints(family, make) if isinstance(family, Families) else make(family, slice(None))


@dataclass(eq=False)
class Kit:
    """What an evaluator computes points with; it travels once to each worker, and every thread builds its own from it."""

    replica: Replica
    scorer: Scorer
    samples: Samples
    calibration: Samples
    policy: str
    order: list[str]
    engine: Engine
    benches: Any = field(default_factory=threading.local)

    def bench(self) -> Bench:
        """Return this thread's own instruments."""
        if not hasattr(self.benches, "bench"):
            self.benches.bench = Bench(self)
        return self.benches.bench

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "benches": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, benches=threading.local())


@dataclass(frozen=True)
class Reasons:
    """Why points are computed in slower ways than they might be; empty where they are not."""

    recordings: str = ""
    modules: str = ""
    statistics: str = ""

    @classmethod
    def of(cls, recordings: Recordings, statistics: Statistics) -> Reasons:
        """Return what is known by now."""
        return cls(recordings.reason, recordings.no_modules, statistics.reason)

    def tell(self, recordings: Recordings, statistics: Statistics) -> None:
        """Let others know, who need not find it out again."""
        recordings.reason = recordings.reason or self.recordings
        recordings.no_modules = recordings.no_modules or self.modules
        statistics.reason = statistics.reason or self.statistics


@dataclass(frozen=True, eq=False)
class Job:
    """One sweep: weights, rows of coefficients in the order in which they are visited, and what is known of the recordings.

    It goes over the first `batches` batches. The background of the family travels by itself: one sweep's is often that of the next.
    """

    family: WeightFamily | Families
    rows: np.ndarray
    order: list[int]
    policy: str
    reasons: Reasons
    checks: tuple[Counter[Any], Counter[Any]]
    batches: int


class Bench:
    """The instruments of one thread: a replica of its own, what was recorded of it, and the points of the latest sweep."""

    def __init__(self, kit: Kit):
        # not the kit, which has this bench: a worker that does nothing may not look for circles for a long time
        self._samples, self._scorer, self._replica = kit.samples, kit.scorer, kit.replica.twin()
        self.recordings = Recordings(self._replica, kit.scorer, kit.engine)
        self.statistics = Statistics(self._replica, kit.scorer, kit.engine)
        self._batchnorm = BatchNorm(kit.policy, self._replica, kit.calibration, kit.order, self.statistics)
        self._latest: WeakKeyDictionary[Job, Station] = WeakKeyDictionary()

    def station(self, job: Job, background: State) -> Station:
        """Return the points of a sweep; those of the one before are dropped, and its own when it ends."""
        if job not in self._latest:
            self._latest.clear()
            job.reasons.tell(self.recordings, self.statistics)
            self.recordings.checks |= job.checks[0]
            self.statistics.checks |= job.checks[1]
            instruments = self._replica, self._batchnorm, self._scorer, self.recordings
            points = points_of(job.family.upon(background), job.rows, job.policy, *instruments)
            self._latest[job] = Station(points, self._samples)
        return self._latest[job]


@dataclass(frozen=True)
class Tile:
    """Batch `number` at part `part` of `parts` of the rows."""

    number: int
    part: int
    parts: int


@dataclass(frozen=True)
class Reply:
    """The scores of a tile.

    Attributes
    ----------
    pieces : list of (rows, scores)
    weights : ndarray or None
    digest : str
        Of the samples that were read.
    reasons : Reasons
    threads : int
        torch's threads.
    buffers : bytes
        Recalibrated statistics of the rows, packed; of the first batch only.
    """

    pieces: list[tuple[list[int], list[np.ndarray]]]
    weights: np.ndarray | None
    digest: str
    reasons: Reasons
    threads: int
    buffers: bytes

    def unpacked(self, tile: Tile) -> Iterator[Piece]:
        """Yield the pieces as the sweep's own loop would have made them."""
        weights = None if self.weights is None else torch.from_numpy(self.weights)
        for place, (rows, scores) in enumerate(self.pieces, 1):
            yield Piece(tile.number, rows, [torch.from_numpy(s) for s in scores], weights, place == len(self.pieces))


def compute(kit: Kit, job: Job, background: State, buffers: Any, tile: Tile, stopped: Callable[[], bool]) -> Reply:
    """Return the scores of a tile, with the instruments of this thread; `Stopped` where they are not wanted any more."""
    if stopped():
        raise Stopped
    bench = kit.bench()
    station = bench.station(job, background)
    station.points.adopt(buffers or {})
    pieces: list[tuple[list[int], list[np.ndarray]]] = []
    weights = None
    for piece in station.pieces(tile.number, job.order, tile.part, tile.parts):
        if piece.rows:
            pieces.append((list(piece.rows), [_array(scores) for scores in piece.scores]))
            weights = piece.weights
        if stopped():
            raise Stopped
    found = station.points.calibrated([k for rows, _ in pieces for k in rows]) if not tile.number else {}
    return Reply(
        pieces,
        None if weights is None else _array(weights),
        kit.samples.digest_of(tile.number),
        Reasons.of(bench.recordings, bench.statistics),
        torch.get_num_threads(),
        packed(found) if found else b"",
    )


def _array(values: Tensor) -> np.ndarray:
    # numpy has no bfloat16; its values are float32 values
    half = values.dtype in (torch.float16, torch.bfloat16)
    return (values.detach().float() if half else values.detach()).cpu().numpy()


def packed(what: Any, pickler: Any = pickle) -> bytes:
    """Return anything as bytes; tensors that share memory still do when they are unpacked."""
    file = io.BytesIO()
    torch.save(what, file, pickle_module=pickler)
    return file.getvalue()


def unpacked(where: str | bytes) -> Any:
    """Return what was packed into bytes or a file of our own; both hold pickles, and must come from ourselves."""
    return torch.load(io.BytesIO(where) if isinstance(where, bytes) else where, weights_only=False)
