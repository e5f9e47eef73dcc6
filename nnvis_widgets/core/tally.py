"""Running sums over samples: means, standard errors, and paired standard errors against a reference point.

May import: torch, numpy. Sums add, so samples may come in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

_BLOCK = 2**16  # values that are gone through together, so that they stay in the cache


class Tally:
    """Sums of one quantity at K points over weighted observations.

    An observation is a sample (weight 1, or that of its class, 0 for an ignored label), or a batch mean (weight: its size)
    when the user's loss returns only that. Observations of weight 0 do not count.
    """

    def __init__(self, points: int):
        self.weight, self.weight2, self.count, self.batches = (np.zeros(points) for _ in range(4))
        self._x, self._wx, self._x2 = (np.zeros(points) for _ in range(3))
        self._dx, self._wdx, self._dx2 = (np.zeros(points) for _ in range(3))
        # sums are taken of distances to each point's first value: squares of a large mean would swallow a small spread
        self._origin = np.full(points, np.nan)
        self._paired = np.zeros(points, dtype=bool)

    def add(
        self, values: np.ndarray, weights: np.ndarray, reference: np.ndarray | None, rows: np.ndarray | slice = slice(None)
    ) -> None:
        """Add observations: values of shape (points in `rows`, m), weights (m,), the reference point's values (m,).

        `rows` names each point at most once.
        """
        rows = np.arange(len(self._origin))[rows]
        unit = bool((weights == 1).all())
        w2 = weights if unit else weights**2
        self.batches[rows] += 1
        self.count[rows] += np.count_nonzero(weights)
        self.weight[rows] += weights.sum()
        self.weight2[rows] += w2.sum()
        if reference is not None:
            self._paired[rows] = True
        some = max(1, _BLOCK // values.shape[1])
        with np.errstate(invalid="ignore", over="ignore"):
            for begin in range(0, len(rows), some):
                own, block = rows[begin : begin + some], values[begin : begin + some]
                first = np.where(np.isfinite(block[:, 0]), block[:, 0], 0.0)
                self._origin[own] = np.where(np.isnan(self._origin[own]), first, self._origin[own])
                _add((self._x, self._wx, self._x2), own, block - self._origin[own][:, None], None if unit else weights)
                if reference is not None:
                    theirs = reference if reference.ndim == 1 else reference[begin : begin + some]
                    _add((self._dx, self._wdx, self._dx2), own, block - theirs, None if unit else weights)

    @property
    def mean(self) -> np.ndarray:
        """Weighted mean at each point, shape (K,); NaN where nothing was measured."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self._origin + self._x / self.weight

    @property
    def se(self) -> np.ndarray:
        """Standard error of the mean, shape (K,); NaN below two observations."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self._error(self._x / self.weight, self._wx, self._x2)

    @property
    def diff_se(self) -> np.ndarray:
        """Standard error of the paired difference to the reference point, shape (K,); NaN without a reference."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self._paired, self._error(self._dx / self.weight, self._wdx, self._dx2), np.nan)

    def _error(self, mean: np.ndarray, wx: np.ndarray, x2: np.ndarray) -> np.ndarray:
        # sum w^2 (x - mean)^2 / W^2 * m / (m - 1); with unit weights this is s^2 / n
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = np.maximum(x2 - 2 * mean * wx + mean**2 * self.weight2, 0.0)
            return np.sqrt(spread / self.weight**2 * self.count / (self.count - 1))


def _add(sums: tuple[np.ndarray, np.ndarray, np.ndarray], rows: np.ndarray, values: np.ndarray, weights: np.ndarray | None) -> None:
    """Add sums of ``w x``, ``w^2 x`` and ``w^2 x^2``; the values are written over."""
    # no matrix products: their last bits depend on how many rows are added at once, and that depends on the clock
    of_x, of_wx, of_x2 = sums
    if weights is None:
        total = values.sum(axis=1)
        of_x[rows] += total
        of_wx[rows] += total
        of_x2[rows] += np.square(values, out=values).sum(axis=1)
    else:
        w2 = weights**2
        of_x[rows] += (values * weights).sum(axis=1)
        of_wx[rows] += (values * w2).sum(axis=1)
        of_x2[rows] += (np.square(values, out=values) * w2).sum(axis=1)


@dataclass(frozen=True)
class Sweep:
    """What has been measured so far.

    Attributes
    ----------
    tallies : dict of str to Tally
        One for each quantity, over the rows asked for.
    n, batches : int
        Samples, and batches of them, that all rows have been measured on.
    fraction : float
        Of the work.
    work : dict
        Who did it.
    samples : dict of str to ndarray of float32, shape (rows, n), or None
        The values of each sample in the evaluator's order, NaN where they have not been measured yet: of those quantities that
        have one for each sample and for which there was room, the loss first. None where they were not asked for.
    sample_weights : ndarray, shape (n,), or None
        Of the samples' losses: 0 for an ignored label; None where all count alike, or no samples are kept.
    """

    tallies: dict[str, Tally]
    n: int
    fraction: float
    batches: int
    work: dict[str, Any] = field(default_factory=dict)
    samples: dict[str, np.ndarray] | None = None
    sample_weights: np.ndarray | None = None

    def at(self, row: int) -> dict[str, Any]:
        """Return loss, metrics, their errors and n at one row, under the names that results have for them."""
        metrics = {name: tally for name, tally in self.tallies.items() if name != "loss"}
        return {
            "loss": float(self.tallies["loss"].mean[row]),
            "loss_se": float(self.tallies["loss"].se[row]),
            "metrics": {name: float(tally.mean[row]) for name, tally in metrics.items()},
            "metrics_se": {name: float(tally.se[row]) for name, tally in metrics.items()},
            "n": self.n,
        }


class Book:
    """The tallies of several quantities over the same points, entered batch by batch.

    Parameters
    ----------
    names : sequence of str
    points : int
    reference : int, sequence of int, or None
        The point that paired differences are taken to: one for all points, or one for each.
    samples : int
        Keep the values of so many samples at each point, where they are known for each sample; 0 keeps sums only.
    keep : int
        Bytes that these may take.

    Attributes
    ----------
    samples, sample_weights
        See `Sweep`.
    """

    def __init__(
        self, names: Sequence[str], points: int, reference: int | Sequence[int] | None, samples: int = 0, keep: int | None = None
    ):
        self.tallies = {name: Tally(points) for name in names}
        self._reference = None if reference is None else np.broadcast_to(np.asarray(reference, dtype=int), (points,))
        self._kept: dict[int, dict[tuple[int, int], np.ndarray]] = {}
        self._pending: list[tuple[list[int], list[Tensor]]] = []
        self._weights: Tensor | None = None
        size = points * samples * 4
        room = len(self.tallies) if keep is None or not size else min(keep // size, len(self.tallies))
        self.samples = {name: np.full((points, samples), np.nan, np.float32) for name in [*names][:room]} if size and room else None
        self.sample_weights: np.ndarray | None = None
        self._samples = samples

    def note(self, points: Sequence[int], scores: list[Tensor], weights: Tensor | None = None) -> None:
        """Keep the values of each quantity at some points, (points, n) or (points,), until the batch is entered.

        `weights`, (n,), are those of the first quantity, the loss; they are the same at all points of a batch.
        """
        self._pending.append((list(points), scores))
        self._weights = weights

    def enter(self, batch: int, size: int, first: int = 0) -> None:
        """Add what was noted of a batch of `size` samples, of which the `first` is known by its number.

        A point is entered with or after the one it is compared with.
        """
        if not self._pending:
            return
        rows = np.array([point for points, _ in self._pending for point in points])
        for q, (name, tally) in enumerate(self.tallies.items()):
            values = torch.cat([scores[q] for _, scores in self._pending]).to("cpu", torch.float64).numpy()
            weights = np.ones(values.shape[1]) if values.ndim == 2 else np.array([float(size)])
            if q == 0 and self._weights is not None:
                weights = self._weights.to("cpu", torch.float64).numpy()
            self._keep(name, values, rows, first)
            if q == 0 and self._weights is not None and self.samples is not None:
                self.sample_weights = np.zeros(self._samples) if self.sample_weights is None else self.sample_weights
                self.sample_weights[first : first + size] = weights
            values = values.reshape(len(rows), -1)
            tally.add(values, weights, self._compared(batch, q, rows, values), rows)
        self._pending.clear()

    def _keep(self, name: str, values: np.ndarray, rows: np.ndarray, first: int) -> None:
        if self.samples is None or name not in self.samples:
            return
        if values.ndim == 2:
            self.samples[name][rows, first : first + values.shape[1]] = values
        else:
            del self.samples[name]

    def _compared(self, batch: int, quantity: int, rows: np.ndarray, values: np.ndarray) -> np.ndarray | None:
        """Return the values of the point that each row is compared with: one for all, (m,), or one each, (rows, m)."""
        if self._reference is None:
            return None
        wanted = self._reference[rows]
        kept = self._kept.setdefault(batch, {})
        kept.update({(quantity, int(rows[i])): values[i] for i in np.flatnonzero(rows == wanted)})
        different, place = np.unique(wanted, return_inverse=True)
        found = [kept[quantity, int(reference)] for reference in different]
        return found[0] if len(found) == 1 else np.stack(found)[place]

    def sweep(self, n: int, fraction: float, batches: int, work: dict[str, Any]) -> Sweep:
        """Return what has been entered so far, as `Sweep` has it."""
        return Sweep(self.tallies, n, fraction, batches, work, self.samples, self.sample_weights)

    def forget(self, batch: int) -> None:
        """Drop what was kept for comparison of a batch that is complete."""
        self._kept.pop(batch, None)
