"""What is right: the definition evaluated in float64, and what a plain float32 loop makes of the same weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from benchmarks.problem import Problem, plain_loop

RELATIVE, ABSOLUTE = 1e-6, 1e-8  # what we promise: the mean loss is this close to float64
PEER_RELATIVE = 1e-5  # what a peer is allowed: float32 sums over all samples
TIE = 1e-5  # two best outputs closer than this may be told apart either way in float32


@dataclass(frozen=True)
class Value:
    """The truth at one point: float64 loss and counts, ties among the samples, and plain float32's loss."""

    loss: float
    correct: int
    ties: int
    plain: float


@dataclass(frozen=True)
class Verdict:
    """How far measured values are from the truth.

    Attributes
    ----------
    error, plain : float
        Largest error of ours and of a plain float32 loop, in units of the promise (1 is just within it).
    counts : bool
        Whether the numbers of correct answers agree except for ties.
    """

    error: float
    plain: float
    counts: bool

    @property
    def holds(self) -> bool:
        """Within the promise, or within twice what plain float32 itself is off; never for NaN."""
        return self.counts and (self.error <= 1 or self.error <= 2 * self.plain)

    def merge(self, other: Verdict) -> Verdict:
        """Return the worse of two."""
        return Verdict(max(self.error, other.error), max(self.plain, other.plain), self.counts and other.counts)


class Truth:
    """Values by definition, each computed once."""

    def __init__(self, problem: Problem, batch: int = 500):
        self.problem, self.batch = problem, batch
        self._known: dict[tuple, Value] = {}

    def at(self, scope: object, row: Sequence[float]) -> Value:
        """Return the truth at one row of coefficients (see `Problem.state`)."""
        row = tuple(float(c) for c in row)
        if (scope, row) not in self._known:
            self._known[scope, row] = self._measure(scope, row)
        return self._known[scope, row]

    def _measure(self, scope: object, row: tuple[float, ...]) -> Value:
        problem, state = self.problem, self.problem.state(scope, row)
        model = problem.model().double()
        model.load_state_dict(state)
        total, correct, ties = 0.0, 0, 0
        with torch.no_grad():
            for x, y in zip(problem.images.split(self.batch), problem.labels.split(self.batch), strict=True):
                output = model(x.double())
                total += float(F.cross_entropy(output, y, reduction="sum"))
                correct += int((output.argmax(1) == y).sum())
                best = output.topk(2, dim=1).values
                ties += int((best[:, 0] - best[:, 1] < TIE * (1 + best[:, 0].abs())).sum())
        single = problem.model({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
        plain = plain_loop(single, problem.images, problem.labels, self.batch)[0]
        return Value(total / len(problem.labels), correct, ties, plain)

    def check(self, scope: object, rows: Sequence[Sequence[float]], losses: Sequence[float], correct: Sequence[int]) -> Verdict:
        """Return how far our values at some rows are from the truth."""
        verdict = Verdict(0.0, 0.0, True)
        for row, loss, count in zip(rows, losses, correct, strict=True):
            value = self.at(scope, row)
            unit = RELATIVE * abs(value.loss) + ABSOLUTE
            error = abs(loss - value.loss) / unit
            same = abs(count - value.correct) <= value.ties
            # a NaN must not look small: max() would drop it
            verdict = verdict.merge(Verdict(error if error == error else float("inf"), abs(value.plain - value.loss) / unit, same))
        return verdict

    def relative(self, scope: object, rows: Sequence[Sequence[float]], losses: Sequence[float]) -> float:
        """Return the largest relative error of a peer's losses; infinite for NaN."""
        errors = [abs(loss / self.at(scope, row).loss - 1) for row, loss in zip(rows, losses, strict=True)]
        return max(error if error == error else float("inf") for error in errors)
