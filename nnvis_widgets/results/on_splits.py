"""What studies of many trainings share: a loss and metrics on each split, one of which is judged.

May import: numpy.
"""

from __future__ import annotations

import itertools

import numpy as np

ARM_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
SPLITS = ("train", "validation", "test")


class OnSplits:
    """Losses by split, metrics by "split/metric", and the split that is judged; what the arrays run over is the study's own."""

    loss: dict[str, np.ndarray]
    metrics: dict[str, np.ndarray]
    judged: str

    @property
    def quantities(self) -> list[str]:
        """What was measured: "loss" and the metrics."""
        return ["loss", *sorted({name.partition("/")[2] for name in self.metrics})]

    @property
    def splits(self) -> list[str]:
        """The splits that were measured."""
        return [name for name in SPLITS if name in self.loss]

    def values(self, quantity: str = "loss", split: str | None = None) -> np.ndarray:
        """Return the loss, or a metric, of every training; `split` is the judged one where none is named."""
        split = self.judged if split is None else split
        table = self.loss if quantity == "loss" else self.metrics
        key = split if quantity == "loss" else f"{split}/{quantity}"
        if key not in table:
            raise ValueError(f"values: a quantity of {self.quantities} and a split of {self.splits}; got {quantity!r}, {split!r}")
        return table[key]

    def _columns(self) -> dict[str, np.ndarray]:
        """Return every quantity on every split as a column of a table."""
        pairs = itertools.product(self.splits, self.quantities)
        return {f"{split}/{quantity}": self.values(quantity, split).ravel() for split, quantity in pairs}
