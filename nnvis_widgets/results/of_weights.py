"""What results about single weights share: where these are, and what they are called.

May import: results.base.
"""

from __future__ import annotations

from .base import Result


class OfWeights(Result):
    """A result about P single weights; its first field is `index`, tensor and position of each."""

    index: list[tuple[str, tuple[int, ...]]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", [(tensor, tuple(position)) for tensor, position in self.index])  # a file holds lists
        super().__post_init__()

    def __len__(self) -> int:
        return len(self.index)

    @property
    def names(self) -> list[str]:
        """The weights, as ``fc1.weight[3, 17]``."""
        return [f"{tensor}[{', '.join(map(str, position))}]" for tensor, position in self.index]
