"""A tile in a process that is not the user's: what has travelled is unpacked once, and errors travel back as they are.

May import: torch, core.worker, core.parcels.
"""

from __future__ import annotations

import os
import pickle
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from .parcels import ExecutorError, Parcel
from .worker import Reply, Stopped, Tile, compute, unpacked

_KEPT = 2  # evaluators, sweeps and sets of buffers that a process of a pool remembers: two splits are often measured in turn

_shelf: OrderedDict[str, Any] = OrderedDict()
_shelf_lock = threading.Lock()


@dataclass(frozen=True)
class Failure:
    """What went wrong in another process, in a form that always travels."""

    error: bytes
    words: str
    trace: str

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """Return an exception as bytes where it can be rebuilt from them, and in words."""
        try:
            packed = pickle.dumps(error)
            pickle.loads(packed)  # some can be written and not read, and would take the whole pool with them
        except Exception:
            packed = b""
        trace = "".join(traceback.format_exception(error))
        return cls(packed, f"{type(error).__name__}: {error}", trace)

    def raised(self) -> Exception:
        """Return the exception, with the worker's traceback as its cause."""
        try:
            error = pickle.loads(self.error)
        except Exception:  # of a class that this process cannot import
            error = ExecutorError(f"a worker failed with {self.words}")
        error.__cause__ = _WorkerTraceback(f"\n{self.trace}")
        return error


class _WorkerTraceback(Exception):
    """The text of a traceback, shown above the error that it belongs to."""


def _taken(where: str | Parcel | None) -> Any:
    """Return what has travelled, unpacked once in each process."""
    if where is None:
        return None
    try:
        return where.opened() if isinstance(where, Parcel) else _from_shelf(where)
    except FileNotFoundError:
        raise Stopped from None
    except Exception as error:
        raise ExecutorError(
            "executor: a worker cannot load the model, the loss or the data. Their classes and functions must be in a "
            "module that the workers can import; with cloudpickle installed on both sides (pip install "
            f"'nnvis_widgets[cluster]') those of a notebook work too. It says: {type(error).__name__}: {error}"
        ) from error


def _from_shelf(path: str) -> Any:
    with _shelf_lock:
        # whoever sent it has no more use for it
        for gone in [other for other in _shelf if not os.path.exists(other)]:
            del _shelf[gone]
        if path not in _shelf:
            _shelf[path] = unpacked(path)
        _shelf.move_to_end(path)
        same = [other for other in _shelf if _kind(other) == _kind(path)]
        for old in same[:-_KEPT]:
            del _shelf[old]
        return _shelf[path]


def _kind(path: str) -> str:
    return os.path.basename(path).partition("-")[0]


def remote(
    kit: Any, job: Any, background: Any, buffers: Any, tile: Tile, stop: tuple[str, str], workers: int
) -> Reply | Failure | None:
    """Return the scores of a tile, what went wrong, or None where it was stopped.

    Parameters
    ----------
    kit, job, background, buffers : str, Parcel or None
        A file, or its contents.
    tile : Tile
    stop : tuple of str
        ("file", path): stop when it is gone; ("task", ""): when dask has cancelled this task.
    workers : int
        How many of them share the cores of this machine; 0 leaves torch's threads as they are.
    """
    before = torch.get_num_threads()
    # as many threads in each worker as there are cores would wait for one another
    threads = min(before, max(1, _cores() // workers)) if workers else before
    try:
        if threads != before:
            torch.set_num_threads(threads)
        stopped = _listener(*stop)
        if stopped():
            return None
        return compute(_taken(kit), _taken(job), _taken(background), _taken(buffers), tile, stopped)
    except Stopped:
        return None
    except Exception as error:
        return Failure.of(error)
    finally:
        if threads != before:
            torch.set_num_threads(before)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _listener(kind: str, name: str) -> Callable[[], bool]:
    """Return a function that says whether the tile is not wanted any more."""
    if kind == "file":
        return lambda: not os.path.exists(name)
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def cancelled() -> bool:
        task = worker.state.tasks.get(key)
        return task is None or task.state == "cancelled"

    return cancelled
