"""How a sweep reaches the workers of a dask cluster.

May import: core.parcels, core.remote, core.worker; distributed only where the user has passed a Client. Nothing here waits for the
cluster without an end: a worker, the scheduler or the network may go at any moment.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import CancelledError
from typing import Any
from uuid import uuid4

from .parcels import ExecutorError, Parcel, as_bytes, kit_as_bytes
from .remote import remote
from .worker import Kit, Tile

_RETRIES = 2
_OVER = ("closing", "closed")  # of a client
_ANSWER = 5.0  # seconds that the scheduler may take to answer
_ASK = 1.0  # seconds between two questions whether there are workers
PATIENCE = 15.0  # seconds without any worker before they are given up: a nanny starts a new one in a few
# what dask workers are to be started with: by default each operation gives its memory back and asks for it again
ROOMY = {"MALLOC_TRIM_THRESHOLD_": "268435456", "MALLOC_MMAP_THRESHOLD_": "33554432"}


class Deserted(Exception):
    """A cluster without workers."""


class Cluster:
    """A dask cluster.

    What travels is a task of its own: each worker fetches it when it first needs it, from whoever has it, and where the last one
    that had it is lost dask runs the task again. Scattered data would be lost with its worker, and scattering to all workers waits
    for ever for one that dies meanwhile.
    """

    kind = "dask"
    travels = True

    def __init__(self, client: Any, kit: Kit):
        if client.asynchronous:
            raise ExecutorError("executor: a Client made with asynchronous=True; received one. Client(address) without it works")
        self.lost: tuple[type[BaseException], ...] = (CancelledError, asyncio.CancelledError, Deserted)
        self._client = client
        self._asked, self._alone_since = 0.0, float("inf")
        if not self._threads():
            raise ExecutorError(
                "executor: a dask Client whose cluster has workers; this one has none. client.wait_for_workers(1) waits for one"
            )
        self._warn_of_slow_memory()
        self.kit: Any = self._sent("kit", kit_as_bytes(kit))

    @property
    def workers(self) -> int:
        """How many threads the cluster has at this moment, one at least."""
        return max(1, self._threads())

    def _threads(self) -> int:
        if self._client.status in _OVER:
            return 0
        try:
            return sum(self._client.nthreads(callback_timeout=_ANSWER).values())
        except (OSError, TimeoutError, RuntimeError):
            return 0

    def _warn_of_slow_memory(self) -> None:
        try:
            trims = self._client.run(os.environ.get, "MALLOC_TRIM_THRESHOLD_", on_error="return", callback_timeout=_ANSWER).values()
        except (OSError, TimeoutError):  # a worker that has just died
            return
        if any(int(trim) < 2**20 for trim in trims if isinstance(trim, str)):
            warnings.warn(
                "executor: dask starts its workers with MALLOC_TRIM_THRESHOLD_=65536, and torch is up to three times slower so. "
                "Before they are started: dask.config.set({'distributed.nanny.pre-spawn-environ': "
                f"{ROOMY | {'OMP_NUM_THREADS': 1}}}})",
                RuntimeWarning,
                stacklevel=6,
            )

    def publish(self, kind: str, what: Any) -> Any:
        """Return a future of a parcel that holds it."""
        return self._sent(kind, as_bytes(what))

    def _sent(self, kind: str, blob: bytes) -> Any:
        import dask

        # it goes to the scheduler once, which is what dask's warning of large graphs asks for
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": 2**60}):
            # made there: dask keeps a log of small messages, and what lies in this one stays unopened
            return self._submitted(Parcel, blob, key=f"nnvis_{kind}-{uuid4().hex}")

    def _submitted(self, *given: Any, key: str) -> Any:
        try:
            return self._client.submit(*given, key=key, retries=_RETRIES)
        except Exception as error:
            if self._client.status in _OVER:
                raise Deserted(f"the client is {self._client.status}") from error
            raise

    def retract(self, what: Any) -> None:
        """Let the cluster forget it; dask does so in its own time."""
        what.release()

    def signal(self, job: Any) -> tuple[str, str]:
        """Return the words by which a worker knows that a tile is not wanted any more: it has been cancelled."""
        return "task", ""

    def submit(self, job: Any, background: Any, buffers: Any, tile: Tile, signal: Any) -> Any:
        """Return futures of a tile, and of its answer here."""
        task = self._submitted(remote, self.kit, job, background, buffers, tile, signal, 0, key=f"nnvis_tile-{uuid4().hex}")
        # asked for at once, so that it is here when its turn comes
        answer = self._client.gather(task, asynchronous=True)
        return task, asyncio.run_coroutine_threadsafe(answer, self._client.loop.asyncio_loop)

    def ready(self, future: Any, seconds: float) -> bool:
        """Return whether a tile is done, after some seconds at most; `Deserted` where nobody is left to do it."""
        if concurrent.futures.wait([future[1]], seconds).done:
            return True
        self._look_around()
        return False

    def _look_around(self) -> None:
        now = time.monotonic()
        if self._client.status in _OVER:
            raise Deserted(f"the client is {self._client.status}")
        if now - self._asked < _ASK:
            return
        self._asked = now
        self._alone_since = float("inf") if self._threads() else min(self._alone_since, now)
        if now - self._alone_since > PATIENCE:
            raise Deserted(f"the cluster has had no worker for {PATIENCE:g} seconds")

    def result(self, future: Any) -> Any:
        """Return the answer of a tile that is ready; None where its worker has put it down."""
        from distributed import KilledWorker

        try:
            return future[1].result()
        except KilledWorker as error:
            raise ExecutorError(
                f"executor: dask gave a tile up, since the workers that tried it died ({error}). A smaller batch_size= needs less "
                "memory; the workers' logs say more"
            ) from error

    def stop(self, futures: Sequence[Any], signal: Any) -> None:
        """Drop the tiles that wait, and let those that run end at their next point."""
        # released and not cancelled: that would wait for the scheduler, and other sweeps may share what is being fetched
        for task, _ in futures:
            task.release()
