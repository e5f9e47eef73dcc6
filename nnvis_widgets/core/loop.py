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
    total: int,
    work: dict[str, Any],
    heartbeat: float,
    point_major: bool,
    batches: int,
) -> Iterator[Sweep]:
    """Yield what is in the book after each batch, and every `heartbeat` seconds.

    Parameters
    ----------
    pieces : iterable of Piece or None
        In order: batch by batch, or point by point where `point_major`. None where there is nothing new yet.
    total : int
        Work of the whole sweep: points times batches, and steps of their calibration.
    batches : int
        How many of the samples' batches are measured.
    """
    done, last = 0, time.monotonic() - heartbeat / 2  # the first picture is waited for
    complete = number = 0

    def enter() -> None:
        book.enter(number, samples.size(number), number * samples.batch_size)

    for piece in pieces:
        measured = piece is not None and bool(piece.rows)
        if piece is not None:
            number = piece.number
            done += len(piece.rows) + piece.steps
            if piece.rows:
                book.note(piece.rows, piece.scores, piece.weights)
        ends = piece is not None and piece.last  # of a batch: what has been noted of it is entered below, and is yielded then
        if time.monotonic() - last > heartbeat and not (point_major and measured) and not ends:
            # in later batches the points that come first would be ahead of the others
            if number == 0:
                enter()
            n = samples.count(batches) if point_major else complete or samples.size(0)
            yield book.sweep(n, done / total, batches if point_major else max(number, 1), work)
            last = time.monotonic()
        if not ends:
            continue
        enter()
        if point_major:
            if number == batches - 1 or time.monotonic() - last > heartbeat:
                yield book.sweep(samples.count(batches), done / total, batches, work)
                last = time.monotonic()
            continue
        complete += samples.size(number)
        book.forget(number)
        number += 1
        yield book.sweep(complete, done / total, number, work)
        last = time.monotonic()
