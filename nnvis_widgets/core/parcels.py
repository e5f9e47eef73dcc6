"""What travels to other processes: bytes that are unpacked once where they arrive, and go when nobody refers to them any more.

May import: core.worker. Nothing is unpacked that this package has not packed itself, in the same run, for its own workers.
"""

from __future__ import annotations

import os
import pickle
import threading
import weakref
from contextlib import suppress
from typing import Any
from uuid import uuid4

from .worker import Kit, packed, unpacked

try:  # by value, what is defined in a notebook
    import cloudpickle as pickler
except ImportError:
    pickler = pickle


class ExecutorError(RuntimeError):
    """An executor that cannot be used, or that lost its workers before it was of use."""


class Parcel:
    """Bytes in the memory of a cluster. What they hold lives in each worker for as long as the cluster keeps them there."""

    def __init__(self, blob: bytes):
        self._blob, self._lock = blob, threading.Lock()
        self._held: list[Any] = []

    def opened(self) -> Any:
        """Return what is in it, unpacked by whoever asks first."""
        with self._lock:
            if not self._held:
                self._held.append(unpacked(self._blob))
            return self._held[0]

    def __reduce__(self) -> tuple[Any, ...]:
        return Parcel, (self._blob,)

    def __sizeof__(self) -> int:
        # dask weighs a transfer against the work at the other end
        return object.__sizeof__(self) + len(self._blob)


class Leaf:
    """A file that only this user can read; it goes when nobody refers to it, or at once when it is dropped."""

    def __init__(self, folder: str, kind: str, blob: bytes):
        self.path = os.path.join(folder, f"{kind}-{uuid4().hex}")
        with open(self.path, "wb") as file:
            file.write(blob)
        self.drop = weakref.finalize(self, removed, self.path)


def removed(path: str) -> None:
    """Remove a file that may have gone."""
    with suppress(FileNotFoundError):
        os.remove(path)


def as_bytes(what: Any) -> bytes:
    """Return what a sweep sends, packed."""
    return packed(what, pickler)


def kit_as_bytes(kit: Kit) -> bytes:
    """Return the kit, packed, or say which of the user's arguments cannot travel."""
    try:
        return as_bytes(kit)
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
        as_bytes(what)
    except Exception:
        return False
    return True
