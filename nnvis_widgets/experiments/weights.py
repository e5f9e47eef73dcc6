"""Single weights as families: the rows of coefficients that their paths need, and how finely the losses at them are known.

May import: core, results, torch, numpy. Rows are the same for every weight: which weight moves is the family's scope.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..core.evaluator import Evaluator
from ..core.family import Families, WeightFamily
from ..core.patterns import PatternRules, rounding_noise
from ..core.scope import Scope
from ..core.tally import Sweep
from ..results import ParameterScan
from .choosing import Pool

_PROBED, _PROBES, _STEP = 16, 7, 256  # weights and points that show the rounding noise, and their steps in units of precision


@dataclass(frozen=True, eq=False)
class Plan:
    """What is measured of every weight: rows of coefficients, and which of them are the points of its two paths.

    Attributes
    ----------
    states : list of State
        Start, (mid,) and end.
    rows : ndarray, shape (R, number of states)
    columns : ndarray of int, shape (K,) or (2 K,)
        Row of each point, linear and then quadratic; rows that both share are measured once.
    reference : int
        Row of alpha 1.
    """

    evaluator: Evaluator
    states: list[Any]
    rows: np.ndarray
    columns: np.ndarray
    reference: int
    alphas: np.ndarray
    pool: Pool
    count: int
    seed: int
    samples: int | None
    rules: PatternRules


def rows_of(paths: Sequence[Any], grid: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the rows of coefficients that some paths through the same ends need, the row of each point, and that of alpha 1."""
    size = max(len(path.positions) for path in paths)
    found: dict[bytes, int] = {}
    rows: list[np.ndarray] = []

    def number(path: Any, alpha: float) -> int:
        row = np.zeros(size)
        row[[0, *range(1, len(path.positions) - 1), size - 1]] = path.coefficients(alpha)
        if row.tobytes() not in found:
            found[row.tobytes()] = len(rows)
            rows.append(row)
        return found[row.tobytes()]

    reference = number(paths[0], 1.0)  # the first row: what all differences are taken to is measured first
    columns = [number(path, alpha) for path in paths for alpha in grid]
    return np.array(rows), np.array(columns), reference


def swept(plan: Plan, members: list[WeightFamily], rows: np.ndarray, reference: int, policy: str) -> Iterator[Sweep]:
    """Yield the sums of rows of several families, equally many of each, and what each sample's loss is there."""
    points = len(rows) // len(members)
    family = members[0] if len(members) == 1 else Families(members, [points] * len(members))
    return plan.evaluator.sweep(
        family,
        rows,
        reference=np.repeat(np.arange(len(members)) * points + reference, points).tolist(),
        policy=policy,
        order=list(range(len(rows))),
        keep=4 * len(rows) * plan.evaluator.covered(plan.samples),
        samples=plan.samples,
    )


def rounding_of(plan: Plan, waiting: ParameterScan, union: WeightFamily, policy: str) -> Generator[ParameterScan, None, float]:
    """Return the deviation of the rounding noise of a mean loss, from points next to each other half-way of a few weights.

    Not from evaluations of one point in several orders of the samples: means are added up in float64, so another order says next
    to nothing, and how a sample's own loss rounds is the same in every order. It is another at every point of a curve, though, and
    that is the noise which a curve shows. (1000 samples, a small convolutional network in float32: five orders have a deviation of
    2e-10, five orders with five batch sizes 4e-10, neighbouring points 1.6e-9.)
    """
    moved = np.flatnonzero(waiting.distance > 0)[:_PROBED]
    members, rows = [], []
    for number in moved.tolist():
        tensor, _ = index = waiting.index[number]
        members.append(replace(union, scope=Scope.parse(index, union.layout)))
        precision = torch.finfo(union.layout.dtypes[tensor]).eps * max(abs(waiting.start[number]), abs(waiting.final[number]))
        step = min(_STEP * precision / waiting.distance[number], 1e-3)
        for k in range(_PROBES):
            row = np.zeros(len(plan.states))
            row[0], row[-1] = 0.5 - k * step, 0.5 + k * step
            rows.append(row)
    if not members:
        return float("nan")
    losses = np.full(len(rows), np.nan)
    for sweep in swept(plan, members, np.array(rows), 0, policy):
        losses = sweep.tallies["loss"].mean
        yield waiting
    return rounding_noise(losses.reshape(len(members), _PROBES))
