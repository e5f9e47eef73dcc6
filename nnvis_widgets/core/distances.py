"""How far a selection of weights has moved between states.

May import: torch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def distances(start: Sequence[Tensor], end: Sequence[Tensor], mid: Sequence[Tensor] | None = None) -> dict[str, float]:
    """Return how far a selection of weights has moved from `start` to `end`.

    Parameters
    ----------
    start, end, mid : sequence of Tensor
        The same tensors of the selection in each state.

    Returns
    -------
    dict
        ``distance`` |D| with D = end - start; ``relative_distance`` |D| / |start|; ``rms`` |D| / sqrt(number of weights);
        ``cosine`` of the angle between start and end. With `mid`: ``rho`` = <mid - start, D> / |D|^2, the share of
        the straight way covered at the mid checkpoint, and ``eta`` = |mid - start - rho D| / |D|, how far it lies off it.
        What is undefined (nothing moved, a start of zeros) is NaN.
    """
    moved = dot = start2 = end2 = along = 0.0
    count = 0
    for index, (first, last) in enumerate(zip(start, end, strict=True)):
        a, b = _double(first), _double(last)
        delta = b - a
        count += a.numel()
        moved += _inner(delta, delta)
        dot, start2, end2 = dot + _inner(a, b), start2 + _inner(a, a), end2 + _inner(b, b)
        if mid is not None:
            along += _inner(_double(mid[index]) - a, delta)
    nan = float("nan")
    distance = moved**0.5
    answer = {
        "distance": distance,
        "relative_distance": distance / start2**0.5 if start2 else nan,
        "rms": (moved / count) ** 0.5 if count else nan,
        "cosine": max(-1.0, min(1.0, dot / (start2**0.5 * end2**0.5))) if start2 and end2 else nan,
    }
    if mid is not None:
        answer["rho"] = rho = along / moved if moved else nan
        off2 = 0.0  # a second pass: |mid - start|^2 - rho^2 |D|^2 would cancel
        for first, last, between in zip(start, end, mid, strict=True):
            a, b = _double(first), _double(last)
            rest = _double(between) - a - rho * (b - a)
            off2 += _inner(rest, rest)
        answer["eta"] = (off2 / moved) ** 0.5 if moved else nan
    return answer


def _double(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu()
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64).reshape(-1)


def _inner(a: Tensor, b: Tensor) -> float:
    return float(torch.vdot(a, b).real) if a.is_complex() else float(torch.dot(a, b))
