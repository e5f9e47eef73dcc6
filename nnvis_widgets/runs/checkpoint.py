"""One recorded moment of a run, whose weights stay on disk until they are asked for.

May import: torch, core.pieces, core.states.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from ..core.pieces import Piece, cut
from ..core.states import State, digest

Read = Callable[[], State]
Pieces = Callable[[Sequence[Piece]], list[Tensor]]


class Checkpoint:
    """One recorded moment of a run.

    Attributes
    ----------
    index : int
    epoch : float
        Steps within an epoch have fractional epochs.
    step : int or None
        Number of ``recorder.step()`` calls before it.
    metrics : dict of str to float
    state : dict of str to Tensor
        Read from disk at each use.
    """

    def __init__(
        self, index: int, epoch: float, step: int | None, metrics: Mapping[str, float], read: Read, pieces: Pieces | None = None
    ):
        self.index, self.epoch, self.step, self.metrics = index, epoch, step, dict(metrics)
        self._read, self._pieces = read, pieces
        self._digest: str | None = None

    @property
    def state(self) -> dict[str, Tensor]:
        """The weights and buffers, read from disk at each use."""
        return dict(self._read())

    def pieces(self, wanted: Sequence[Piece]) -> list[Tensor]:
        """Return neighbouring elements of some tensors as vectors, without reading the rest of a file."""
        return cut(self._read(), wanted) if self._pieces is None else self._pieces(wanted)

    @property
    def digest(self) -> str:
        """32 hexadecimal digits that identify the weights; computed once."""
        if self._digest is None:
            self._digest = digest(self._read())
        return self._digest

    def __repr__(self) -> str:
        return f"Checkpoint({self.index}, epoch {self.epoch:g})"


def fill_epochs(epochs: Sequence[float | None]) -> list[float]:
    """Return an epoch for each checkpoint: recorded steps (None) get their share of the epoch that they lie in.

    The first is an epoch. An unfinished epoch is taken to be as long as the one before; where none has been finished, nobody
    knows how long one is, and steps count as thousandths.
    """
    known = [index for index, epoch in enumerate(epochs) if epoch is not None]
    places, values = [0, *known], [0.0, *(float(epochs[index]) for index in known)]  # type: ignore[arg-type]
    if known and known[0] == 0:
        places, values = places[1:], values[1:]
    filled: list[float] = []
    for number, (start, value) in enumerate(zip(places, values, strict=True)):
        if number + 1 < len(places):
            step = (values[number + 1] - value) / (places[number + 1] - start)
            filled += [value + step * i for i in range(places[number + 1] - start)]
            continue
        length = start - places[number - 1] if number else 0
        step = (value - values[number - 1]) / length if length > 1 else 0.0
        filled += [value + i * (step or 1e-3) for i in range(len(epochs) - start)]
    return filled
