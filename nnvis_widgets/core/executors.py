"""A sweep on many workers, in the order of the sweep on one: so every sum is the same, bit for bit.

May import: core.worker, core.states, core.parcels, core.remote, core.channels, core.cluster. The executor is the user's: it is
never made, resized or shut down here, and no thread or process is started. A bounded number of tiles is under way; their scores
are entered batch by batch, as they would be without an executor, whoever is first to be ready.
"""

from __future__ import annotations

import math
import warnings
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import BrokenExecutor
from dataclasses import replace
from typing import Any

import torch

from .channels import channel_to
from .cluster import Deserted
from .parcels import ExecutorError
from .remote import Failure
from .states import State, digest
from .tiles import cuts_of
from .worker import Job, Kit, Piece, Reasons, Station, Tile, unpacked

_WAIT = 0.1  # seconds until whoever reads a sweep may drop it
_REPLY = 32 * 2**20  # bytes of one answer, about
_AHEAD = 4  # tiles under way for each worker
_BACKGROUNDS = 2  # kept by the workers of an evaluator: two ends of a path are often measured in turn


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
        self._backgrounds: OrderedDict[Any, Any] = OrderedDict()
        self.proven = False  # whether any tile has come back

    def shift(
        self, job: Job, background: State, steps: int, here: Callable[[], Station], adopt: Callable[[Reasons], None]
    ) -> Shift:
        """Return one sweep's work.

        Parameters
        ----------
        job : Job
        background : State
            Of its family.
        steps : int
            Work of calibrating one row, in batches.
        here : callable
            Makes its points in this process.
        adopt : callable
            Is told why the fastest way is not taken.
        """
        return Shift(self, job, background, steps, here, adopt)

    def background(self, state: State) -> Any:
        """Return what workers find a background by; the same tensors travel once."""
        if not self.channel.travels:
            return state
        # operations may take another way through the same values in another order of memory
        key = digest(state), tuple((name, tensor.stride()) for name, tensor in state.items())
        if key not in self._backgrounds:
            self._backgrounds[key] = self.channel.publish("background", dict(state))
        self._backgrounds.move_to_end(key)
        while len(self._backgrounds) > _BACKGROUNDS:
            self._backgrounds.popitem(last=False)
        return self._backgrounds[key]

    def tiles(self, rows: int, workers: int, batches: int) -> list[Tile]:
        """Return the tiles of a sweep over some batches, in order."""
        widest = max(map(self._samples.size, range(batches)))
        least = math.ceil(rows * widest * 8 * self._quantities / _REPLY)
        cuts = cuts_of(batches, rows, workers, max(least, _AHEAD * workers), least)
        return [Tile(number, part, parts) for number, parts in enumerate(cuts) for part in range(parts)]

    def agree(self, number: int, digest: str) -> None:
        """Refuse a batch of other samples than this process has."""
        self._samples.agree(number, digest)


class Shift:
    """One sweep on the workers. `about` says who has done it, for the provenance of results."""

    def __init__(
        self,
        crew: Crew,
        job: Job,
        background: State,
        steps: int,
        here: Callable[[], Station],
        adopt: Callable[[Reasons], None],
    ):
        self._crew, self._channel, self._job, self._adopt = crew, crew.channel, job, adopt
        self._background, self._steps, self._make_here = background, steps, here
        self._ahead = 0  # steps that were counted before the rows that they belong to
        self._station: Station | None = None
        workers = self._channel.workers
        self.about: dict[str, Any] = {"executor": self._channel.kind, "workers": workers}
        self._waiting = deque(crew.tiles(len(job.order), workers, job.batches))
        self._under_way: deque[tuple[Tile, Any]] = deque()
        self._window = _AHEAD * workers
        self._sent: tuple[Any, Any] | None = None  # what workers find the job and its background by
        self._signal: Any = None
        self._buffers: dict[int, Any] = {}
        self._shared_buffers: Any = None
        self._broken = False

    def pieces(self) -> Generator[Piece | None, None, None]:
        """Yield the scores of each batch in the order of a serial sweep, and None now and then while there are none."""
        left = set(self._job.order)
        try:
            while self._waiting or self._under_way:
                self._fill()
                if not self._under_way:
                    self._under_way.append((self._waiting.popleft(), None))
                tile, future = self._under_way[0]
                for piece in self._scores(tile, future):
                    if piece is None or not piece.rows:
                        yield self._towards(piece)
                        continue
                    # a recording that one worker has given up cuts the rows in other groups there than elsewhere
                    picked = [i for i, k in enumerate(piece.rows) if k in left]
                    left.difference_update(piece.rows)
                    if picked:
                        yield _part(piece, picked, not left, self._owed(len(picked)) if not tile.number else 0)
                self._under_way.popleft()
                if tile.part == tile.parts - 1:
                    if left:
                        rest = self._here().pieces(tile.number, [k for k in self._job.order if k in left])
                        for piece in rest:
                            owed = self._owed(len(piece.rows)) if not tile.number else 0
                            yield replace(piece, steps=owed) if piece.rows else self._towards(piece)
                    left = set(self._job.order)
        finally:
            self._end()

    def _end(self) -> None:
        """Let the workers drop what they have of this sweep."""
        if self._sent is not None:
            self._channel.stop([future for _, future in self._under_way if future is not None], self._signal)
            self._channel.retract(self._sent[0])
        if self._shared_buffers is not None:
            self._channel.retract(self._shared_buffers)
        self._under_way.clear()
        self._sent = self._shared_buffers = self._station = None

    def _towards(self, piece: Piece | None) -> Piece | None:
        """Return work towards the next rows of the first batch; None where that is not known, or has been counted."""
        if piece is None or piece.number or not piece.steps:
            return None
        self._ahead += piece.steps
        return piece

    def _owed(self, rows: int) -> int:
        """Return the steps of calibrating rows of the first batch that have not been counted yet."""
        owed = self._steps * rows
        told = min(owed, self._ahead)
        self._ahead -= told
        return owed - told

    def _fill(self) -> None:
        """Keep some tiles under way for each worker."""
        channel = self._channel
        while self._waiting and len(self._under_way) < self._window and not self._broken:
            tile = self._waiting[0]
            if tile.number and self._steps and self._shared_buffers is None and self._under_way:
                return  # each point is recalibrated once, by whoever measures it on the first batch
            try:
                if self._sent is None:
                    self._sent = channel.publish("job", self._job), self._crew.background(self._background)
                    self._signal = channel.signal(self._sent[0])
                if tile.number and self._buffers and self._shared_buffers is None:
                    self._shared_buffers = channel.publish("buffers", self._buffers)
            except channel.lost as error:
                self._lose(error)
                return
            try:
                future = channel.submit(*self._sent, self._shared_buffers, tile, self._signal)
            except (RuntimeError, *channel.lost) as error:  # broken, or shut down
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
        if reply is not None:
            self._check(tile, reply)
        if reply is None:
            yield from self._here().pieces(tile.number, self._job.order, tile.part, tile.parts)
        else:
            yield from reply.unpacked(tile)

    def _check(self, tile: Tile, reply: Any) -> None:
        if isinstance(reply, Failure):
            raise reply.raised()
        self._crew.proven = True
        self._crew.agree(tile.number, reply.digest)
        self._adopt(reply.reasons)
        self.about["threads"] = reply.threads
        if reply.buffers:
            self._buffers.update(unpacked(reply.buffers))

    def _lose(self, error: BaseException) -> None:
        """Go on in this process; a pool that has never worked is an error."""
        if not self._crew.proven and not isinstance(error, Deserted):
            raise ExecutorError(
                f"executor: its workers were lost before they had measured anything ({type(error).__name__}: {error}). A pool that "
                "is broken or shut down has to be made anew; a script that makes processes needs `if __name__ == '__main__':`"
            ) from error
        if not self._broken:
            self._broken = True
            self.about["lost"] = f"{type(error).__name__}: the rest was measured in the main process"
            kinds = {BrokenExecutor: "is broken", Deserted: "has no workers"}
            kind = next((words for known, words in kinds.items() if isinstance(error, known)), "has stopped")
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


def _part(piece: Piece, picked: list[int], last: bool, steps: int = 0) -> Piece:
    if len(picked) == len(piece.rows):
        return replace(piece, last=last, steps=steps)
    index = torch.tensor(picked)
    rows, scores = [piece.rows[i] for i in picked], [s[index.to(s.device)] for s in piece.scores]
    return replace(piece, rows=rows, scores=scores, last=last, steps=steps)
