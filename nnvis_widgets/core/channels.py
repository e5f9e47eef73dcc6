"""How a sweep reaches the workers of an executor that the user has made: threads, processes, a dask cluster.

May import: core.worker, core.remote; distributed only where the user has passed a Client. A channel carries; what is carried, in
which order, and what happens when a worker is lost is decided in core.executors.
"""

from __future__ import annotations

import concurrent.futures
import os
import pickle
import shutil
import sys
import tempfile
import threading
import warnings
import weakref
from collections.abc import Sequence
from concurrent.futures import CancelledError, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any
from uuid import uuid4

from .remote import ExecutorError, remote
from .worker import Kit, Reply, Stopped, Tile, compute, packed

_RETRIES = 2
# what dask workers are to be started with: by default each operation gives its memory back and asks for it again
ROOMY = {"MALLOC_TRIM_THRESHOLD_": "268435456", "MALLOC_MMAP_THRESHOLD_": "33554432"}

try:  # by value, what is defined in a notebook
    import cloudpickle as pickler
except ImportError:
    pickler = pickle


class Threads:
    """A pool of threads: nothing travels."""

    kind = "threads"
    lost: tuple[type[BaseException], ...] = (concurrent.futures.BrokenExecutor, CancelledError)

    def __init__(self, executor: Executor, kit: Kit):
        self._executor = executor
        self.kit: Any = kit
        self.workers = getattr(executor, "_max_workers", None) or os.cpu_count() or 1

    def publish(self, kind: str, what: Any) -> Any:
        """Return what workers find `what` by."""
        return what

    def retract(self, what: Any) -> None:
        """Let workers forget it."""

    def signal(self, job: Any) -> Any:
        """Return what workers are told to stop a sweep by."""
        return threading.Event()

    def submit(self, job: Any, buffers: Any, tile: Tile, signal: Any) -> Any:
        """Return a future of a tile."""
        return self._executor.submit(_in_thread, self.kit, job, buffers, tile, signal)

    def ready(self, future: Any, seconds: float) -> bool:
        """Return whether a tile is done, after some seconds at most."""
        return bool(concurrent.futures.wait([future], seconds).done)

    def result(self, future: Any) -> Any:
        """Return the answer of a tile that is ready."""
        return future.result()

    def stop(self, futures: Sequence[Any], signal: Any) -> None:
        """Drop the tiles that wait, and let those that run end at their next point."""
        signal.set()
        for future in futures:
            future.cancel()


def _in_thread(kit: Kit, job: Any, buffers: Any, tile: Tile, signal: threading.Event) -> Reply | None:
    try:
        return compute(kit, job, buffers, tile, signal.is_set)
    except Stopped:
        return None


class Processes(Threads):
    """A pool of processes on this machine: what travels lies in files that only this user can read."""

    def __init__(self, executor: Executor, kit: Kit):
        context = getattr(executor, "_mp_context", None)
        if context is not None and context.get_start_method() == "fork":
            raise ExecutorError(
                "executor: a pool that forks copies torch's locks in whatever state they are in, and may hang; received a "
                f"{type(executor).__name__} with start method 'fork'. ProcessPoolExecutor(mp_context="
                "multiprocessing.get_context('spawn')) works"
            )
        super().__init__(executor, kit)
        named = isinstance(executor, ProcessPoolExecutor) or "loky" in type(executor).__module__
        self.kind = "processes" if named else type(executor).__name__
        blob = _blob(kit)
        self._folder = tempfile.mkdtemp(prefix="nnvis_widgets-")  # mode 0700
        self._close = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self.kit = self._written("kit", blob)

    def publish(self, kind: str, what: Any) -> str:
        """Return the path of a file that holds it."""
        return self._written(kind, packed(what, pickler))

    def _written(self, kind: str, blob: bytes) -> str:
        path = os.path.join(self._folder, f"{kind}-{uuid4().hex}")
        with open(path, "wb") as file:
            file.write(blob)
        return path

    def retract(self, what: Any) -> None:
        """Remove the file."""
        if what is not None and os.path.exists(what):
            os.remove(what)

    def signal(self, job: Any) -> Any:
        """Return the words by which a worker knows that its sweep is over: its file is gone."""
        return "file", job

    def submit(self, job: Any, buffers: Any, tile: Tile, signal: Any) -> Any:
        """Return a future of a tile."""
        tokens: Any = tuple(os.path.basename(path or "") for path in (self.kit, job, buffers))
        return self._executor.submit(remote, tokens, self.kit, job, buffers, tile, signal, self.workers)

    def stop(self, futures: Sequence[Any], signal: Any) -> None:
        """Drop the tiles that wait; those that run see that their file is gone."""
        self.retract(signal[1])
        for future in futures:
            future.cancel()


class Cluster:
    """A dask cluster: what travels is scattered to every worker, and dask retries what a lost worker had in hand."""

    kind = "dask"

    def __init__(self, client: Any, kit: Kit):
        from distributed.client import FutureCancelledError

        if client.asynchronous:
            raise ExecutorError("executor: a Client made with asynchronous=True; received one. Client(address) without it works")
        self.lost: tuple[type[BaseException], ...] = (FutureCancelledError, CancelledError)
        self._client = client
        self._sent: dict[str, str] = {}
        if not self.workers:
            raise ExecutorError(
                "executor: a dask Client whose cluster has workers; this one has none. client.wait_for_workers(1) waits for one"
            )
        if any(trim is not None and int(trim) < 2**20 for trim in client.run(os.environ.get, "MALLOC_TRIM_THRESHOLD_").values()):
            warnings.warn(
                "executor: dask starts its workers with MALLOC_TRIM_THRESHOLD_=65536, and torch is up to three times slower so. "
                "Before they are started: dask.config.set({'distributed.nanny.pre-spawn-environ': "
                f"{ROOMY | {'OMP_NUM_THREADS': 1}}}})",
                RuntimeWarning,
                stacklevel=2,
            )
        self.kit: Any = self._scattered("kit", _blob(kit))

    @property
    def workers(self) -> int:
        """How many threads the cluster has at this moment."""
        return sum(self._client.nthreads().values())

    def publish(self, kind: str, what: Any) -> Any:
        """Return a future of its bytes, which every worker has."""
        return self._scattered(kind, packed(what, pickler))

    def _scattered(self, kind: str, blob: bytes) -> Any:
        future = self._client.scatter([blob], broadcast=True, hash=False)[0]
        self._sent[future.key] = f"{kind}-{uuid4().hex}"
        return future

    def retract(self, what: Any) -> None:
        """Let the workers drop the bytes."""
        if what is not None:
            self._sent.pop(what.key, None)
            what.release()

    def signal(self, job: Any) -> Any:
        """Return the name of the event that ends a sweep."""
        return "event", f"nnvis-{uuid4().hex}"

    def submit(self, job: Any, buffers: Any, tile: Tile, signal: Any) -> Any:
        """Return a future of a tile."""
        tokens = tuple("" if what is None else self._sent[what.key] for what in (self.kit, job, buffers))
        given = (tokens, self.kit, job, buffers, tile, signal, 0)
        return self._client.submit(remote, *given, pure=False, retries=_RETRIES)

    def ready(self, future: Any, seconds: float) -> bool:
        """Return whether a tile is done, after some seconds at most."""
        from distributed import wait

        try:
            wait([future], timeout=seconds)
        except TimeoutError:
            return False
        return True

    def result(self, future: Any) -> Any:
        """Return the answer of a tile that is ready; where a worker was lost since, after it is made again."""
        from distributed import KilledWorker

        try:
            return future.result()
        except KilledWorker as error:
            raise ExecutorError(
                f"executor: dask gave a tile up, since the workers that tried it died ({error}). A smaller batch_size= needs less "
                "memory; the workers' logs say more"
            ) from error

    def stop(self, futures: Sequence[Any], signal: Any) -> None:
        """Drop the tiles that wait, and let those that run end at their next point."""
        from distributed import Event

        if futures and self._client.status == "running":
            Event(signal[1], client=self._client).set()
            self._client.cancel(list(futures))


def channel_to(executor: Any, kit: Kit) -> Any:
    """Return the channel for an executor; refuse what is none."""
    if type(executor) is ThreadPoolExecutor:
        return Threads(executor, kit)
    if isinstance(executor, Executor):
        return Processes(executor, kit)
    distributed = sys.modules.get("distributed")
    if distributed is not None and isinstance(executor, distributed.Client):
        return Cluster(executor, kit)
    raise ExecutorError(
        "executor: a concurrent.futures.Executor (threads, or processes with the start method 'spawn') or a dask.distributed "
        f"Client, received {type(executor).__name__}"
    )


def _blob(kit: Kit) -> bytes:
    """Return the kit as bytes, or say which of the user's arguments cannot travel."""
    try:
        return packed(kit, pickler)
    except Exception as error:
        model, forward = kit.replica.__reduce__()[1][0][:2]
        metrics = {f"metrics: {name!r}": metric for name, metric in kit.scorer.metrics.items()}
        given = {"model": model, "forward": forward, **metrics, "loss": kit.scorer, "data": kit.samples}
        culprit = next((name for name, what in given.items() if not _travels(what)), "calibration")
        what = given.get(culprit)
        kind = kit.scorer.loss_name if culprit == "loss" else getattr(what, "__qualname__", type(what).__name__)
        more = "" if pickler is not pickle else ", or anything of a notebook once cloudpickle is installed (nnvis_widgets[cluster])"
        raise ExecutorError(
            f"{culprit}: worker processes need a copy of it, and {kind} cannot be pickled ({type(error).__name__}: {error}). What "
            f"is defined at the top level of a module works{more}; a ThreadPoolExecutor needs no copy"
        ) from error


def _travels(what: Any) -> bool:
    try:
        packed(what, pickler)
    except Exception:
        return False
    return True
