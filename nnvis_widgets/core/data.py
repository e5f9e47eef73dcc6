"""The samples of an evaluation, in one fixed order, read through the data set and never through a shuffling loader.

May import: torch, numpy, core.states, core.reading.
"""

from __future__ import annotations

import hashlib
import random
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .reading import DataError, Tensors, reader
from .states import raw_bytes

_LAYERS = 512  # times the inputs: what the values inside a network take of a GPU's memory, about
_MEGABYTE = 2**20
CACHE_BYTES = 2048 * _MEGABYTE
_SHARE = 4  # samples stay on a GPU where they take less than one in so many of its free bytes


class Samples:
    """`n` samples in batches, always the same ones in the same order.

    The order is a seeded random permutation, stratified by class where the labels can be read without reading the data:
    its first m samples are then a stratified subset for every m, so subsets are nested and partial sums are unbiased.
    """

    def __init__(
        self,
        data: Any,
        *,
        samples: int | None = None,
        seed: int = 0,
        batch_size: int | str = "auto",
        device: torch.device,
        at_most: int | None = None,
    ):
        before = _random_state()
        self._read, size, labels = reader(data)
        if size == 0:
            raise DataError("data: there are no samples in it")
        if samples is not None and not (_is_whole(samples) and 1 <= samples <= size):
            raise DataError(f"samples: a whole number from 1 to {size} (the size of the data), received {samples!r}")
        # with hardly a sample a class, such as the targets of a regression on whole numbers, there are no shares to keep
        labels = labels if labels is not None and len(np.unique(labels)) <= size / 10 else None
        self.stratified = labels is not None
        rng = np.random.default_rng(seed)
        order = rng.permutation(size) if labels is None else stratified_order(labels, rng)
        self.order = order[: at_most if samples is None else samples]
        self.n = len(self.order)
        probe = self._read(self.order[: min(self.n, 2)])
        self.batch_size = _batch_size(batch_size, _bytes(probe) // min(self.n, 2), self.n, device)
        self._cache: dict[int, Any] = {}
        self._cached = 0
        self.device = device
        self._there: dict[int, Any] = {}
        self._room: int | None = None
        self._digests: dict[int, str] = {}
        # worker threads share the samples, and few data sets can be read by two at once
        self._lock = threading.RLock()
        self.batch(0)
        if _digest(self._read(self.indices(0))) != self._digests[0]:
            # the transforms of the user's data have drawn; a refusal leaves everything as it was
            _set_random_state(before)
            raise DataError(
                "data: two reads of the same samples differ (random augmentation?), so points could not be compared. "
                "Pass the data set without random transforms, or the tensors of one read"
            )

    def __len__(self) -> int:
        # a last batch of one sample has no variance for BatchNorm to use: it joins the one before it
        tail = self.n > self.batch_size > 1 and self.n % self.batch_size == 1
        return -(-self.n // self.batch_size) - tail

    def covering(self, samples: int | None) -> int:
        """Return how many batches hold at least so many samples; all of them for None."""
        if samples is None:
            return len(self)
        if not (_is_whole(samples) and 1 <= samples <= self.n):
            raise DataError(f"samples: a whole number from 1 to {self.n} (those of the evaluator), received {samples!r}")
        return min(-(-int(samples) // self.batch_size), len(self))

    def count(self, batches: int) -> int:
        """Return how many samples the first so many batches hold."""
        return self.n if batches == len(self) else batches * self.batch_size

    def size(self, number: int) -> int:
        """Return how many samples batch `number` holds."""
        return len(self.indices(number))

    def inputs(self, positions: Any) -> Any:
        """Return the first part of a batch of chosen samples, on the CPU: what a model is usually given.

        A batch that is no list or tuple is returned whole.
        """
        chosen = np.asarray(positions)
        if chosen.ndim != 1 or not len(chosen) or chosen.dtype.kind not in "iu" or chosen.min() < 0 or chosen.max() >= self.n:
            raise DataError(f"positions: a list of whole numbers from 0 to {self.n - 1}, received {positions!r}"[:300])
        with self._lock:
            batch = self._read(self.order[chosen])
        return move(batch[0] if isinstance(batch, (list, tuple)) else batch, torch.device("cpu"))

    def batch(self, number: int) -> Any:
        """Return batch `number`, as collated, on the CPU or wherever the user's tensors are."""
        with self._lock:
            if number in self._cache:
                return self._cache[number]
            batch = self._read(self.indices(number))
            digest = _digest(batch)
            if self._digests.setdefault(number, digest) != digest:
                raise DataError(
                    f"data: samples {self.indices(number)[:3].tolist()}... changed between two reads; points measured before "
                    "and after could not be compared. Pass data that stays the same"
                )
            size = _bytes(batch)
            if self._cached + size <= CACHE_BYTES:
                self._cache[number] = batch
                self._cached += size
            return batch

    def first(self, count: int) -> Any:
        """Return the first samples as one batch, on the device."""
        with self._lock:
            return move(self._read(self.order[:count]), self.device)

    def rebatch(self, size: int) -> None:
        """Take batches of another size; what has been read is read again."""
        with self._lock:
            self.batch_size, self._cached, self._room = min(size, self.n), 0, None
            for known in (self._cache, self._there, self._digests):
                known.clear()
            self.batch(0)

    def there(self, number: int) -> Any:
        """Return batch `number` on the device, where it stays while there is room."""
        with self._lock:
            if number in self._there:
                return self._there[number]
            moved = move(self.batch(number), self.device)
            if self._room is None:
                self._room = free_bytes(self.device) // _SHARE
            if _bytes(moved) <= self._room:
                self._there[number] = moved
                self._room -= _bytes(moved)
            return moved

    def digest_of(self, number: int) -> str:
        """Return the digest of one batch; it is read where it has not been."""
        if number not in self._digests:
            self.batch(number)
        return self._digests[number]

    def agree(self, number: int, digest: str) -> None:
        """Take the digest of a batch that a worker has read; refuse one that is not of the same samples."""
        if self._digests.setdefault(number, digest) != digest:
            raise DataError(
                f"data: a worker read other samples for batch {number} than were read before, so points could not be compared. "
                "Pass data that is the same in every process, such as the tensors of one read"
            )

    def digest(self, batches: int) -> str:
        """Return a digest of the first `batches` batches; those that have not been read yet are read."""
        total = hashlib.blake2b(digest_size=16)
        for number in range(batches):
            total.update(self.digest_of(number).encode())
        return total.hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        state = {**vars(self), "_cache": {}, "_cached": 0, "_there": {}, "_room": None, "_lock": None}
        if isinstance(self._read, Tensors):  # of the samples that are measured, and of no others
            state["_read"] = Tensors([tensor.cpu() for tensor in self._read(self.order)])
            state["order"] = np.arange(self.n)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.RLock())

    def indices(self, number: int) -> np.ndarray:
        """Return which of the user's samples batch `number` holds."""
        end = self.n if number == len(self) - 1 else (number + 1) * self.batch_size
        return self.order[number * self.batch_size : end]


def stratified_order(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a random order whose every prefix holds the classes in nearly their shares."""
    key = np.empty(len(labels))
    by_label = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[by_label])) + 1
    for group in np.split(by_label, starts):
        members = rng.permutation(group)
        key[members] = (np.arange(len(members)) + rng.random(len(members))) / len(members)
    return np.argsort(key, kind="stable")


def move(batch: Any, device: torch.device) -> Any:
    """Return a batch with its tensors on the device; dictionaries, lists and tuples keep their type."""
    return convert(batch, lambda tensor: tensor.to(device, non_blocking=True))


def convert(batch: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a batch with each of its tensors changed; dictionaries, lists and tuples keep their type."""
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        changed = {key: convert(value, change) for key, value in batch.items()}
        return changed if type(batch) is dict else type(batch)(changed)  # type: ignore[call-arg]
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(convert(value, change) for value in batch))
    if isinstance(batch, (list, tuple)):
        return type(batch)(convert(value, change) for value in batch)
    return batch


def free_bytes(device: torch.device) -> int:
    """Return how much memory of a GPU is free; of a CPU, where samples need not be moved, nothing."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def _all_bytes(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).total_memory


def _batch_size(wanted: int | str, sample_bytes: int, n: int, device: torch.device) -> int:
    """A megabyte of inputs stays in a CPU's cache. A GPU waits for its next operation when batches are small.

    At least about eight batches on a CPU, for partial results; on a GPU there are enough of them within two.
    """
    if wanted != "auto":
        if not (_is_whole(wanted) and int(wanted) >= 1):
            raise DataError(f"batch_size: 'auto', 'measured', or a whole number of at least 1, received {wanted!r}")
        return min(int(wanted), n)
    if device.type == "cpu":
        room, most, parts = _MEGABYTE, 1024, 8
    else:
        room, most, parts = min(64 * _MEGABYTE, max(_all_bytes(device) // _LAYERS, _MEGABYTE)), 4096, 2
    fits = min(max(room // max(sample_bytes, 1), 1), most)
    size = min(fits, max(64, -(-n // parts)), n)
    # a shorter last batch is another form to record; a slightly smaller size that leaves none is as fast
    return next((smaller for smaller in range(size, size - size // 8, -1) if n % smaller == 0), size)


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def leaves(batch: Any, seen: tuple[int, ...] = ()):
    """Yield what a batch holds: containers are opened, and objects of other classes through their attributes."""
    if id(batch) in seen:
        return
    inside: Any = None
    if isinstance(batch, Mapping):
        inside = batch.values()
    elif isinstance(batch, (list, tuple)):
        inside = batch
    elif hasattr(batch, "__dict__") and not isinstance(batch, (Tensor, np.ndarray)) and not callable(batch):
        inside = vars(batch).values()
    if inside is None:
        yield batch
        return
    for part in inside:
        yield from leaves(part, (*seen, id(batch)))


def _bytes(batch: Any) -> int:
    return sum(leaf.numel() * leaf.element_size() for leaf in leaves(batch) if isinstance(leaf, Tensor))


def _digest(batch: Any) -> str:
    total = hashlib.sha256()  # which processors have an instruction for
    for leaf in leaves(batch):
        if isinstance(leaf, Tensor):
            total.update(f"{leaf.dtype}{tuple(leaf.shape)}".encode())
            total.update(raw_bytes(leaf))
        elif isinstance(leaf, np.ndarray) and not leaf.dtype.hasobject:
            total.update(f"{leaf.dtype}{leaf.shape}".encode())
            total.update(np.ascontiguousarray(leaf).tobytes())
        else:
            # where an object lies in memory is no property of the data
            total.update(re.sub(r"\b0x[0-9a-fA-F]+", "", repr(leaf)).encode())
    return total.hexdigest()[:32]


def _random_state() -> tuple[Any, ...]:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 - the user's own


def _set_random_state(state: tuple[Any, ...]) -> None:
    random.setstate(state[0])
    np.random.set_state(state[1])  # noqa: NPY002
    torch.set_rng_state(state[2])
