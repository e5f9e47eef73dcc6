"""How long an experiment would take, from its first partial results.

May import: nothing of ours.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

BUDGET = 0.5  # seconds that are spent between the first partial result and the estimate


def estimate_seconds(results: Iterator[Any], budget: float = BUDGET) -> float:
    """Return how many seconds an experiment would take, start and end included, on this machine as busy as it is now.

    A little of the work is done and thrown away: until the first partial result (0.2 seconds, or the time of one point on one
    batch where that is longer) and `budget` seconds more.

    Parameters
    ----------
    results : iterator
        What an ``iter_`` function returns; it is closed, and cannot be used afterwards.
    budget : float
        Seconds; more of them give a better estimate.

    Raises
    ------
    TypeError
        The iterator yields something that does not say how much of the work is done.

    Examples
    --------
    >>> import torch
    >>> model, data = torch.nn.Linear(3, 2), (torch.randn(5, 3), torch.zeros(5).long())
    >>> import nnvis_widgets as nv
    >>> nv.estimate_seconds(nv.iter_surface(nv.Evaluator(model, data, device="cpu"), nv.random_plane(model))) < 60
    True
    """
    start = time.monotonic()
    first: tuple[float, float] | None = None
    try:
        for result in results:
            now, fraction = time.monotonic(), getattr(result, "fraction", None)
            if fraction is None:
                raise TypeError(
                    f"results: what iter_path, iter_training or iter_surface returns; this yields a {type(result).__name__}, which "
                    "does not say how much of the work is done"
                )
            if fraction >= 1.0:
                return now - start
            if not fraction:  # a preview: a compiler comes first
                continue
            first = first or (now, fraction)
            if now - first[0] >= budget and fraction > first[1]:
                # the start, with its recording and checking, is not part of the rate
                return first[0] - start + (1.0 - first[1]) * (now - first[0]) / (fraction - first[1])
    finally:
        close = getattr(results, "close", None)
        if close is not None:
            close()
    raise ValueError("results: the iterator was at its end before it was given here; call the iter_ function again")
