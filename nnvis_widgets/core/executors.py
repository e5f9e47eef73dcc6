"""A sweep on many workers, in the order of the sweep on one: so every sum is the same, bit for bit.

May import: core.worker, core.remote, core.channels. The executor is the user's: it is never made, resized or shut down here, and
no thread or process is started. A bounded number of tiles is under way; their scores are entered batch by batch, as they would be
without an executor, whoever is first to be ready.
"""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import BrokenExecutor
from typing import Any

import torch

from .channels import channel_to
from .remote import ExecutorError, Failure
from .tiles import parts_of
from .worker import Job, Kit, Piece, Reasons, Reply, Station, Tile, unpacked

_WAIT = 0.1  # seconds until whoever reads a sweep may drop it
_REPLY = 32 * 2**20  # bytes of one answer, about
_AHEAD = 4  # tiles under way for each worker


class Crew:
    """The workers of one evaluator.

    Parameters
    ----------
    executor : concurrent.futures.Executor or dask.distributed.Client
    kit : Kit
        Travels now, once; so what cannot travel is refused before any work.
    """

    def __init__(self, executor: Any, kit: Kit):
        self.channel = channel_to(executor, kit)
        self._samples, self._quantities = kit.samples, len(kit.scorer.names)
        self.proven = False  # whether any tile has come back

    def shift(self, job: Job, here: Callable[[], Station], adopt: Callable[[Reasons], None]) -> Shift:
        """Return one sweep's work; `here` makes its points in this process, `adopt` is told why the fastest way is not taken."""
        return Shift(self, job, here, adopt)

    def tiles(self, rows: int, workers: int) -> list[Tile]:
        """Return the tiles of a sweep in order; the first batch is cut finely, for a first picture."""
        samples = self._samples
        widest = max(map(samples.size, range(len(samples))))
        parts = max(parts_of(len(samples), rows, workers), math.ceil(rows * widest * 8 * self._quantities / _REPLY))
        first = max(parts, min(rows, _AHEAD * workers))
        cut = [min(rows, first if not number else parts) for number in range(len(samples))]
        return [Tile(number, part, cut[number]) for number in range(len(samples)) for part in range(cut[number])]

    def agree(self, number: int, digest: str) -> None:
        """Refuse a batch of other samples than this process has."""
        self._samples.agree(number, digest)


class Shift:
    """One sweep on the workers. `about` says who has done it, for the provenance of results."""

    def __init__(self, crew: Crew, job: Job, here: Callable[[], Station], adopt: Callable[[Reasons], None]):
        self._crew, self._channel, self._job, self._adopt = crew, crew.channel, job, adopt
        self._make_here = here
        self._station: Station | None = None
        workers = self._channel.workers
        self.about: dict[str, Any] = {"executor": self._channel.kind, "workers": workers}
        self._waiting = deque(crew.tiles(len(job.order), workers))
        self._under_way: deque[tuple[Tile, Any]] = deque()
        self._window = _AHEAD * workers
        self._published: list[Any] = []
        self._buffers: dict[int, Any] = {}
        self._shared_buffers: Any = None
        self._broken = False

    def pieces(self) -> Generator[Piece | None, None, None]:
        """Yield the scores of each batch in the order of a serial sweep, and None now and then while there are none."""
        channel = self._channel
        where = self._publish("job", self._job)
        signal = channel.signal(where)
        left = set(self._job.order)
        try:
            while self._waiting or self._under_way:
                self._fill(where, signal)
                if not self._under_way:
                    self._under_way.append((self._waiting.popleft(), None))
                tile, future = self._under_way[0]
                for piece in self._scores(tile, future):
                    if piece is None or not piece.rows:  # waiting, or calibrating
                        yield None
                        continue
                    # a recording that one worker has given up cuts the rows in other groups there than elsewhere
                    picked = [i for i, k in enumerate(piece.rows) if k in left]
                    left.difference_update(piece.rows)
                    if picked:
                        yield _part(piece, picked, last=not left)
                self._under_way.popleft()
                if tile.part == tile.parts - 1:
                    if left:
                        rest = self._here().pieces(tile.number, [k for k in self._job.order if k in left])
                        yield from (piece if piece.rows else None for piece in rest)
                    left = set(self._job.order)
        finally:
            futures = [future for _, future in self._under_way if future is not None]
            channel.stop(futures, signal)
            for what in self._published:
                channel.retract(what)

    def _publish(self, kind: str, what: Any) -> Any:
        self._published.append(self._channel.publish(kind, what))
        return self._published[-1]

    def _fill(self, where: Any, signal: Any) -> None:
        """Keep some tiles under way for each worker."""
        while self._waiting and len(self._under_way) < self._window and not self._broken:
            tile = self._waiting[0]
            if tile.number and self._job.policy == "recalibrate" and self._shared_buffers is None:
                if self._under_way:
                    return  # each point is recalibrated once, by whoever measures it on the first batch
                self._shared_buffers = self._publish("buffers", self._buffers)
            try:
                future = self._channel.submit(where, self._shared_buffers, tile, signal)
            except RuntimeError as error:  # broken, or shut down
                self._lose(error)
                return
            self._under_way.append((self._waiting.popleft(), future))

    def _scores(self, tile: Tile, future: Any) -> Iterator[Piece | None]:
        reply = None
        if future is not None:
            try:
                while not self._channel.ready(future, _WAIT):
                    yield None
                reply = self._channel.result(future)
            except self._channel.lost as error:
                self._lose(error)
            else:
                self._check(tile, reply)
        if reply is None:
            yield from self._here().pieces(tile.number, self._job.order, tile.part, tile.parts)
        else:
            yield from reply.unpacked(tile)

    def _check(self, tile: Tile, reply: Any) -> None:
        if isinstance(reply, Failure):
            raise reply.raised()
        if not isinstance(reply, Reply):
            raise ExecutorError(
                "executor: its workers must see the files of this machine, and one found none; for workers on other machines pass "
                "a dask.distributed Client"
            )
        self._crew.proven = True
        self._crew.agree(tile.number, reply.digest)
        self._adopt(reply.reasons)
        self.about["threads"] = reply.threads
        if reply.buffers:
            self._buffers.update(unpacked(reply.buffers))

    def _lose(self, error: BaseException) -> None:
        """Go on in this process; a pool that has never worked is an error."""
        if not self._crew.proven:
            raise ExecutorError(
                f"executor: its workers were lost before they had measured anything ({type(error).__name__}: {error}). A pool that "
                "is broken or shut down has to be made anew; a script that makes processes needs `if __name__ == '__main__':`"
            ) from error
        if not self._broken:
            self._broken = True
            self.about["lost"] = f"{type(error).__name__}: the rest was measured in the main process"
            kind = "is broken" if isinstance(error, BrokenExecutor) else "has stopped"
            warnings.warn(
                f"executor: it {kind} ({type(error).__name__}: {error}); what is missing is measured in this process. Make a new "
                "executor and a new Evaluator for the next measurement",
                RuntimeWarning,
                stacklevel=2,
            )

    def _here(self) -> Station:
        if self._station is None:
            self._station = self._make_here()
            self._station.points.adopt(self._buffers)
        return self._station


def _part(piece: Piece, picked: list[int], last: bool) -> Piece:
    if len(picked) == len(piece.rows):
        return Piece(piece.number, piece.rows, piece.scores, piece.weights, last)
    index = torch.tensor(picked)
    return Piece(piece.number, [piece.rows[i] for i in picked], [s[index.to(s.device)] for s in piece.scores], piece.weights, last)
