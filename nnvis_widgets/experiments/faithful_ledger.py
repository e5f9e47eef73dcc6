"""What all points of all paths answered, batch by batch, becomes distances to held-out checkpoints, with resamples of each.

May import: core, results, numpy, torch. Of a batch the outputs of the checkpoints are kept, and of nothing else.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from ..core.answers import comparable, disagreement, divergence
from ..core.observing import Answers
from ..core.resampled import ResampledMeans, poisson_counts
from ..results.faithfulness import highest_rise
from .faithful_paths import FaithfulPlan


class Ledger:
    """Loss, divergence and disagreement of every row, and of every resample, batch by batch."""

    def __init__(self, planned: FaithfulPlan, draws: int, seed: int):
        self._plan, self._draws, self._seed = planned, draws, seed
        defined = planned.at >= 0
        where = np.broadcast_to(np.arange(len(planned.held)), planned.at.shape)
        pairs, self._of = np.unique(np.stack([planned.at[defined], where[defined]], 1), axis=0, return_inverse=True)
        # checkpoints come first, but a path may stand still at its start: a pair is compared when the second of the two is known
        self._rows, self._real = pairs[:, 0], planned.held[pairs[:, 1]]
        complete = np.maximum(self._rows, self._real)
        self._pairs = [np.flatnonzero(complete == row) for row in range(len(planned.rows))]
        self._defined = defined
        self._loss = ResampledMeans(len(planned.rows), draws)
        self._apart = {name: ResampledMeans(len(pairs), draws) for name in ("kl", "disagreement")}
        self._outputs: dict[int, Tensor] = {}
        self._losses: list[np.ndarray] = []
        self._values: dict[str, np.ndarray] = {}
        self.kind = ""

    def note(self, answers: Answers) -> None:
        """Keep what is needed of one row's answers to a batch: numbers of samples, and the real outputs."""
        if answers.row == 0:
            self.kind = answers.kind
            self._losses, self._outputs = [], {}
            self._values = {name: np.full((len(self._rows), answers.n), np.nan) for name in self._apart}
        self._losses.append(answers.loss.double().reshape(-1).numpy())
        if answers.outputs is None:
            return
        mine = self._pairs[answers.row]
        first = answers.row <= self._plan.held.max()
        if not len(mine) and not first:
            return
        output = comparable(self.kind, answers.outputs)
        if first:
            self._outputs[answers.row] = output
        for pair in mine:
            real = self._outputs[int(self._real[pair])]
            other = output if self._rows[pair] == answers.row else self._outputs[int(self._rows[pair])]
            self._values["kl"][pair] = divergence(self.kind, real, other).numpy()
            if self.kind == "classes":
                self._values["disagreement"][pair] = disagreement(real, other).numpy()

    def enter(self, answers: Answers) -> None:
        """Add the batch, all rows of which have been noted."""
        losses, size = np.stack(self._losses), answers.n
        weights = np.ones(size) if answers.weights is None else answers.weights.double().numpy()
        counts = poisson_counts(self._draws, size, (self._seed, answers.number))
        if losses.shape[1] != size:  # the loss gives the mean of a batch only, so that batches are resampled
            weights = np.array([float(size)])
            batch = poisson_counts(self._draws, 1, (self._seed, answers.number, 1))
            self._loss.add(losses, weights, batch)
        else:
            self._loss.add(losses, weights, counts)
        for name, means in self._apart.items():
            means.add(self._values[name], np.ones(size), counts)

    def found(self) -> dict[str, Any]:
        """Return distances, their resamples and what they are made of, under the names that the report has for them."""
        planned, loss = self._plan, self._loss.values
        with np.errstate(invalid="ignore", divide="ignore"):
            logarithm = np.where(loss > 0, np.log(loss), np.nan)
        gone = planned.at < 0
        single = {
            name: np.where(gone[..., None], np.nan, np.abs(values[planned.at] - values[planned.held]))
            for name, values in (("log_loss", logarithm), ("loss", loss))
        }
        for name, means in self._apart.items():
            single[name] = np.full((*planned.at.shape, loss.shape[1]), np.nan)
            single[name][self._defined] = means.values[self._of]
        means_over = {name: values.mean(2) for name, values in single.items()}
        controls = loss[planned.controls]
        return {
            "per_checkpoint": {name: values[..., 0] for name, values in single.items()},
            "draws": {name: values[..., 1:].astype(np.float32) for name, values in means_over.items()},
            "run_loss": loss[planned.held, 0],
            "path_loss": np.where(gone, np.nan, loss[planned.at, 0]),
            "control_loss": controls[..., 0],
            "rise_draws": highest_rise(np.moveaxis(controls, 1, -1))[:, 1:],
        }
