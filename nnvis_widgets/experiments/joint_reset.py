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
from .harm import harm
from .replacing import Plan, check_arguments, drawn_anew, put_back
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
    """Yield partial results of `measure_joint_reset`, after each batch of samples; the last one is the answer."""
    check_arguments(evaluator, run, kind, draws, seed, initializer)
    if kind == "reinit":
        plan = put_back(evaluator, run, at, unit, part, layers, joint=True)
    else:
        plan = drawn_anew(evaluator, run, unit, part, layers, draws, seed, initializer, joint=True)
    evaluator.covered(samples)
    return _measured(evaluator, plan, evaluator.policy(plan.family.scope, batchnorm), samples)


def _measured(evaluator: Evaluator, plan: Plan, policy: str, samples: int | None) -> Iterator[JointReset]:
    constant = evaluator.constant(samples)
    mixture = plan.mixture()
    mixture = np.vstack([mixture, mixture[0] - mixture[1:].sum(0)])
    provenance: dict[str, Any] = {}
    for sweep in plan.sweep(evaluator, policy, samples):
        found = harm(sweep, mixture, constant)
        provenance = evaluator.updated(provenance, sweep) if provenance else plan.provenance(evaluator, sweep, policy)
        mean, low, high = found.criticality.mean, found.criticality.low, found.criticality.high
        yield JointReset(
            layers=[scope.name for scope in plan.scopes[1:]],
            **plan.about,
            metric=found.metric,
            reference=found.reference,
            chance=found.chance,
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
            learned=found.learned,
            draws=max(1, *map(len, plan.anchors)),
            n=sweep.n,
            fraction=sweep.fraction,
            provenance=provenance,
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
