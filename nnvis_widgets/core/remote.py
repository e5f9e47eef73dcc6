"""A tile in a process that is not the user's: what has travelled is unpacked once, and errors travel back as they are.

May import: torch, core.worker. Nothing is unpacked that this package has not packed itself, in the same run, for its own workers.
"""

from __future__ import annotations

import os
import pickle
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from .worker import Reply, Stopped, Tile, compute, unpacked

_KEPT = 2  # evaluators, sweeps and sets of buffers that a worker process remembers: two splits are often measured in turn
_LISTEN = 0.2  # seconds between two questions over the network whether to stop

_shelf: OrderedDict[str, Any] = OrderedDict()
_shelf_lock = threading.Lock()


class ExecutorError(RuntimeError):
    """An executor that cannot be used, or that lost its workers before it was of use."""


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


def _taken(token: str, where: str | bytes | None) -> Any:
    """Return what travels under a token, unpacked once in each process."""
    if where is None:
        return None
    with _shelf_lock:
        if token not in _shelf:
            try:
                _shelf[token] = unpacked(where)
            except FileNotFoundError:
                raise Stopped from None
            except Exception as error:
                raise ExecutorError(
                    "executor: a worker cannot load the model, the loss or the data. Their classes and functions must be in a "
                    "module that the workers can import; with cloudpickle installed on both sides (pip install "
                    f"'nnvis_widgets[cluster]') those of a notebook work too. It says: {type(error).__name__}: {error}"
                ) from error
        _shelf.move_to_end(token)
        kind = token.partition("-")[0]
        same = [other for other in _shelf if other.partition("-")[0] == kind]
        for old in same[:-_KEPT]:
            del _shelf[old]
        return _shelf[token]


def remote(
    tokens: tuple[str, str, str], kit: Any, job: Any, buffers: Any, tile: Tile, stop: tuple[str, str], workers: int
) -> Reply | Failure | None:
    """Return the scores of a tile, what went wrong, or None where it was stopped.

    Parameters
    ----------
    tokens : tuple of str
        Of the kit, the job and the buffers.
    kit, job, buffers : str, bytes or None
        A file, or its contents.
    tile : Tile
    stop : tuple of str
        ("file", path): stop when it is gone; ("event", name): when that event of the cluster is set.
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
        things = [_taken(token, where) for token, where in zip(tokens, (kit, job, buffers), strict=True)]
        return compute(things[0], things[1], things[2], tile, stopped)
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
    asked = time.monotonic()

    def set_on_the_cluster() -> bool:
        nonlocal asked
        if time.monotonic() - asked < _LISTEN:
            return False
        from distributed import Event

        asked = time.monotonic()
        try:
            return bool(Event(name).is_set())
        except (OSError, TimeoutError, ValueError):  # the cluster is closing: whoever wants the tile will find out
            return False

    return set_on_the_cluster
