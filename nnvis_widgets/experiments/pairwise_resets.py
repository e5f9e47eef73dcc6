"""Every two layers of a trained model put back, or drawn anew, at once: which of them can stand in for each other.

May import: core, results, numpy. All pairs and all single layers are scopes of one sweep, so everything is paired.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from ..core.evaluator import Evaluator
from ..core.redraw import Initializer
from ..core.states import RunLike
from ..core.units import units_of
from ..results import PairwiseReset
from .replacing import Plan, Replacement
from .shared import answer, check_evaluator

MOST = 16  # layers: 120 pairs


def iter_pairwise_resets(
    evaluator: Evaluator,
    run: RunLike,
    layers: Sequence[Any] | None = None,
    *,
    kind: str = "reinit",
    at: int = 0,
    unit: str = "module",
    part: str = "all",
    draws: int = 10,
    seed: int = 0,
    initializer: Initializer | None = None,
    samples: int | None = None,
    batchnorm: str | None = None,
) -> Iterator[PairwiseReset]:
    """Yield partial results of `measure_pairwise_resets`, after each batch of samples; the last one is the answer.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> first = next(nv.iter_pairwise_resets(demo.evaluator, demo.run, ["fc1", "fc2", "fc3"]))
    >>> first.interaction.shape, first.fraction < 1
    ((3, 3), True)
    """
    replacement = Replacement(kind, at, unit, part, draws, seed, initializer)
    check_evaluator(evaluator)
    names = [scope.name for scope in units_of(evaluator.model, evaluator.layout, unit, part, layers)]
    if not 2 <= len(names) <= MOST:
        raise ValueError(
            f"layers: 2 to {MOST} of them, such as those that do most harm alone (measure_layers); received {len(names)}: "
            f"{', '.join(names[:6])}{' ...' if len(names) > 6 else ''}"
        )
    plan = replacement.plan(evaluator, run, layers, joint="pairs")
    evaluator.covered(samples)
    return _measured(evaluator, plan, evaluator.policy(plan.family.scope, batchnorm), samples)


def _measured(evaluator: Evaluator, plan: Plan, policy: str, samples: int | None) -> Iterator[PairwiseReset]:
    mixture = plan.mixture()
    count = int((np.sqrt(8 * len(mixture) + 1) - 1) / 2)  # layers, before all of their pairs
    pairs = np.array(list(combinations(range(count), 2)))
    mixture = np.vstack([mixture, mixture[count:] - mixture[pairs[:, 0]] - mixture[pairs[:, 1]]])

    def matrix(values: np.ndarray, diagonal: np.ndarray | float) -> np.ndarray:
        square = np.zeros((count, count))
        square[pairs[:, 0], pairs[:, 1]] = square[pairs[:, 1], pairs[:, 0]] = values
        square[np.diag_indices(count)] = diagonal
        return square

    for found, about in plan.lost(evaluator, mixture, policy, samples):
        mean, low, high = found.criticality.mean, found.criticality.low, found.criticality.high
        both, more = slice(count, count + len(pairs)), slice(count + len(pairs), None)
        yield PairwiseReset(
            **about,
            layers=[scope.name for scope in plan.scopes[:count]],
            criticality=matrix(mean[both], mean[:count]),
            low=matrix(low[both], low[:count]),
            high=matrix(high[both], high[:count]),
            interaction=matrix(mean[more], np.nan),
            interaction_low=matrix(low[more], np.nan),
            interaction_high=matrix(high[more], np.nan),
            draws=plan.draws,
        )


def measure_pairwise_resets(
    evaluator: Evaluator,
    run: RunLike,
    layers: Sequence[Any] | None = None,
    *,
    kind: str = "reinit",
    at: int = 0,
    unit: str = "module",
    part: str = "all",
    draws: int = 10,
    seed: int = 0,
    initializer: Initializer | None = None,
    samples: int | None = None,
    batchnorm: str | None = None,
) -> PairwiseReset:
    """Return what happens when every two layers are put back, or drawn anew, at once, beside each of them alone.

    The interaction of two layers is the criticality of both minus those of each. Above 0: each can stand in for the other, and
    nothing for both. Below 0: what one of them loses, the other would have lost as well.

    Parameters
    ----------
    evaluator : Evaluator
    run : Run
    layers : sequence, optional
        2 to 16 of them. Default: all.
    kind, at, unit, part, draws, seed, initializer, samples
        As in `measure_layers`. A draw of two layers consists of their draws alone.
    batchnorm : str, optional
        In place of the evaluator's own policy.

    Returns
    -------
    PairwiseReset

    Raises
    ------
    ValueError
        Fewer than two layers, or more than sixteen; what `measure_layers` refuses.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> nv.measure_pairwise_resets(demo.evaluator, demo.run, ["conv1", "conv2", "fc2"])
    PairwiseReset(3 layers, 3 pairs: strongest interaction ...; n = 450, test)
    """
    return answer(
        iter_pairwise_resets(
            evaluator, run, layers, kind=kind, at=at, unit=unit, part=part, draws=draws, seed=seed, initializer=initializer,
            samples=samples, batchnorm=batchnorm,
        )
    )  # fmt: skip
