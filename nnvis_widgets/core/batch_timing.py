"""Which batch size this machine is fastest with, by trying.

May import: torch, core.data, core.replica.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from .data import Samples
from .replica import Replica

_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)  # times the size of the rule
_ROUNDS = 3
_WORTH = 0.05  # a larger gain than this moves the size away from the rule


def quickest_size(
    samples: Samples, replica: Replica, state: Mapping[str, Tensor], clock: Callable[[], float] = time.perf_counter
) -> tuple[int, dict[int, float]]:
    """Return the batch size with the fastest forward passes, and the seconds a sample of each that was tried.

    The sizes are a quarter to four times that of the rule (`Samples.batch_size`). They take turns, three rounds after one to warm
    up, each with as many samples as the largest one; the shortest time counts. A size that the model or the memory refuses is left
    out. The rule's own size wins where nothing is faster by a twentieth.
    """
    rule = samples.batch_size
    sizes = sorted({min(max(int(rule * factor), 1), samples.n) for factor in _FACTORS} | {rule})
    most, buffers = sizes[-1], replica.buffers(state)
    seconds: dict[int, float] = {}
    for turn in range(_ROUNDS + 1):
        for size in list(sizes):
            try:
                batch = samples.first(size)
                began = clock()
                for _ in range(-(-most // size)):
                    replica(state, buffers, batch)
                _wait(replica.device)
            except RuntimeError:  # out of memory is one of these
                sizes.remove(size)
                seconds.pop(size, None)
                continue
            if turn:
                per_sample = (clock() - began) / (-(-most // size) * size)
                seconds[size] = min(seconds.get(size, per_sample), per_sample)
    best = min(seconds, key=seconds.__getitem__, default=rule)
    if rule in seconds and seconds[best] > (1 - _WORTH) * seconds[rule]:
        best = rule
    return best, seconds


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
