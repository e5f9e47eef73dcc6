"""Scores become sums: the loop of every sweep, whoever computes its pieces.

May import: core.data, core.tally, core.worker.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from .data import Samples
from .tally import Book, Sweep
from .worker import Piece


def entered(
    pieces: Iterable[Piece | None],
    book: Book,
    samples: Samples,
    rows: int,
    work: dict[str, Any],
    heartbeat: float,
    point_major: bool,
) -> Iterator[Sweep]:
    """Yield what is in the book after each batch, and every `heartbeat` seconds.

    Parameters
    ----------
    pieces : iterable of Piece or None
        In order: batch by batch, or point by point where `point_major`. None where there is nothing new yet.
    """
    done, total, last = 0, rows * len(samples), time.monotonic()
    complete = number = 0
    for piece in pieces:
        if piece is not None:
            number = piece.number
            book.note(piece.rows, piece.scores, piece.weights)
            done += len(piece.rows)
        ended, late = piece is not None and piece.last, time.monotonic() - last > heartbeat
        size = samples.size(number)
        # in later batches the points that come first would be ahead of the others
        if ended or (late and number == 0 and not point_major):
            book.enter(number, size)
        if point_major:
            if ended and (late or number == len(samples) - 1):
                yield Sweep(book.tallies, samples.n, done / total, len(samples), work)
                last = time.monotonic()
            continue
        if ended:
            complete += size
            book.forget(number)
            number += 1
        if ended or late:
            yield Sweep(book.tallies, complete or size, done / total, max(number, 1), work)
            last = time.monotonic()
