"""How a sweep reaches the workers of an executor that the user has made: threads, processes, a dask cluster.

May import: core.worker, core.parcels, core.remote, core.cluster. A channel carries; what is carried, in which order, and what
happens when a worker is lost is decided in core.executors.
"""

from __future__ import annotations

import concurrent.futures
import os
import shutil
import sys
import tempfile
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import CancelledError, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

from .cluster import Cluster
from .parcels import ExecutorError, Leaf, as_bytes, kit_as_bytes, removed
from .remote import remote
from .worker import Kit, Reply, Stopped, Tile, compute


class Threads:
    """A pool of threads: nothing travels."""

    kind = "threads"
    travels = False  # whether anything is sent to other processes
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

    def submit(self, job: Any, background: Any, buffers: Any, tile: Tile, signal: Any) -> Any:
        """Return a future of a tile."""
        return self._executor.submit(_in_thread, self.kit, job, background, buffers, tile, signal)

    def ready(self, future: Any, seconds: float) -> bool:
        """Return whether a tile is done, after some seconds at most."""
        if not future.done():
            concurrent.futures.wait([future], seconds)
        return future.done()  # one that was cancelled as its pool shut down is done, though wait() never counts it

    def result(self, future: Any) -> Any:
        """Return the answer of a tile that is ready."""
        return future.result()

    def stop(self, futures: Sequence[Any], signal: Any) -> None:
        """Drop the tiles that wait, and let those that run end at their next point."""
        signal.set()
        for future in futures:
            future.cancel()


def _in_thread(kit: Kit, job: Any, background: Any, buffers: Any, tile: Tile, signal: threading.Event) -> Reply | None:
    try:
        return compute(kit, job, background, buffers, tile, signal.is_set)
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
        self.travels = True
        named = isinstance(executor, ProcessPoolExecutor) or "loky" in type(executor).__module__
        self.kind = "processes" if named else type(executor).__name__
        blob = kit_as_bytes(kit)
        self._folder = tempfile.mkdtemp(prefix="nnvis_widgets-")  # mode 0700
        self._close = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self.kit = Leaf(self._folder, "kit", blob)

    def publish(self, kind: str, what: Any) -> Leaf:
        """Return a file that holds it."""
        return Leaf(self._folder, kind, as_bytes(what))

    def retract(self, what: Leaf) -> None:
        """Remove the file."""
        what.drop()

    def signal(self, job: Leaf) -> Any:
        """Return the words by which a worker knows that its sweep is over: its file is gone."""
        return "file", job.path

    def submit(self, job: Any, background: Any, buffers: Any, tile: Tile, signal: Any) -> Any:
        """Return a future of a tile."""
        found = None if buffers is None else buffers.path
        return self._executor.submit(remote, self.kit.path, job.path, background.path, found, tile, signal, self.workers)

    def result(self, future: Any) -> Any:
        """Return the answer of a tile that is ready."""
        reply = future.result()
        if reply is None:
            raise ExecutorError(
                "executor: its workers must see the files of this machine, and one found none; for workers on other machines pass "
                "a dask.distributed Client"
            )
        return reply

    def stop(self, futures: Sequence[Any], signal: Any) -> None:
        """Drop the tiles that wait; those that run see that their file is gone."""
        removed(signal[1])
        for future in futures:
            future.cancel()


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
