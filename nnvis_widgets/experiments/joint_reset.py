"""Several layers of a trained model put back, or drawn anew, at once: harm does not add up.

May import: core, results, numpy. The joint reset is one more scope in the sweep of the single ones, so all are paired.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..core.evaluator import Evaluator
from ..core.redraw import Initializer
from ..core.states import RunLike
from ..results import JointReset
from .replacing import Plan, Replacement
from .shared import answer


def iter_joint_reset(
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
) -> Iterator[JointReset]:
    """Yield partial results of `measure_joint_reset`, after each batch of samples; the last one is the answer.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> growing = [joint.n for joint in nv.iter_joint_reset(demo.evaluator, demo.run, ["fc2", "fc3"])]
    >>> growing == sorted(growing), growing[-1]
    (True, 450)
    """
    plan = Replacement(kind, at, unit, part, draws, seed, initializer).plan(evaluator, run, layers, joint=True)
    evaluator.covered(samples)
    return _measured(evaluator, plan, evaluator.policy(plan.family.scope, batchnorm), samples)


def _measured(evaluator: Evaluator, plan: Plan, policy: str, samples: int | None) -> Iterator[JointReset]:
    mixture = plan.mixture()
    mixture = np.vstack([mixture, mixture[0] - mixture[1:].sum(0)])
    for found, about in plan.lost(evaluator, mixture, policy, samples):
        mean, low, high = found.criticality.mean, found.criticality.low, found.criticality.high
        yield JointReset(
            **about,
            layers=[scope.name for scope in plan.scopes[1:]],
            criticality=float(mean[0]),
            low=float(low[0]),
            high=float(high[0]),
            single=mean[1:-1],
            single_low=low[1:-1],
            single_high=high[1:-1],
            sum_of_singles=float(mean[1:-1].sum()),
            interaction=float(mean[-1]),
            interaction_low=float(low[-1]),
            interaction_high=float(high[-1]),
            accuracy_drop=float(found.drop.mean[0]),
            loss_rise=float(found.rise.mean[0]),
            draws=plan.draws,
        )


def measure_joint_reset(
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
) -> JointReset:
    """Return what happens when several layers are put back, or drawn anew, at once, beside each of them alone.

    Several ambient layers together may be anything but: the sum of the single criticalities is shown beside the joint one.

    Parameters
    ----------
    evaluator : Evaluator
    run : Run
    layers : sequence, optional
        Which of them. Default: all; the joint reset is then the model of the checkpoint, with the trained model's buffers or with
        recalibrated ones.
    kind, at, unit, part, draws, seed, initializer, samples
        As in `measure_layers`. A draw of all layers together consists of their draws alone.
    batchnorm : str, optional
        In place of the evaluator's own policy.

    Returns
    -------
    JointReset

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> nv.measure_joint_reset(demo.evaluator, demo.run, ["conv1", "fc2"])
    JointReset(conv1 + fc2: criticality ..., sum of singles ..., interaction ...; n = 450, test)
    """
    return answer(
        iter_joint_reset(
            evaluator, run, layers, kind=kind, at=at, unit=unit, part=part, draws=draws, seed=seed, initializer=initializer,
            samples=samples, batchnorm=batchnorm,
        )
    )  # fmt: skip
