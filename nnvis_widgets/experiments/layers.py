"""What becomes of a trained model when one layer is put back to a checkpoint, or drawn anew.

May import: core, results, numpy. Re-initialisation is a family with the anchors checkpoint and final weights, and the row (1, 0)
for the scope of each layer; re-randomisation one with the draws as anchors. All layers share one pass over the samples.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..core.evaluator import Evaluator
from ..core.redraw import Initializer
from ..core.resampling import kendall
from ..core.states import RunLike
from ..results import LayerAgreement, LayerStudy
from .replacing import Plan, Replacement
from .shared import answer


def iter_layers(
    evaluator: Evaluator,
    run: RunLike,
    *,
    kind: str = "reinit",
    at: int = 0,
    unit: str = "module",
    part: str = "all",
    draws: int = 10,
    seed: int = 0,
    initializer: Initializer | None = None,
    layers: Sequence[Any] | None = None,
    samples: int | None = None,
    batchnorm: str | None = None,
) -> Iterator[LayerStudy]:
    """Yield partial results of `measure_layers`, after each batch of samples; the last one is the answer.

    Within the first batch, layers that have not been reached yet are NaN; with BatchNorm the policies follow each other.
    Parameters, errors: see `measure_layers`.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> for study in nv.iter_layers(demo.evaluator, demo.run):
    ...     if study.n >= 200:  # precise enough for a first look
    ...         break
    >>> study
    LayerStudy(each module put back to epoch 0: 5 modules, ...; n = 2..., test, ...% done)
    """
    plan = Replacement(kind, at, unit, part, draws, seed, initializer).plan(evaluator, run, layers)
    evaluator.covered(samples)
    return _measured(evaluator, plan, shown_policies(evaluator, plan, batchnorm), unit, part, samples)


def shown_policies(evaluator: Evaluator, plan: Plan, batchnorm: str | None) -> list[str]:
    """Return the BatchNorm policies to measure under: the one that counts, and those that show whether it matters."""
    own = evaluator.policy(plan.family.scope, batchnorm)
    if own == "none":
        return [own]
    wanted = [own, "final"]
    with contextlib.suppress(ValueError):  # running statistics of another kind of module than torch's own
        wanted.append(evaluator.policy(plan.family.scope, "recalibrate"))
    return list(dict.fromkeys(wanted))


def _measured(
    evaluator: Evaluator, plan: Plan, policies: list[str], unit: str, part: str, samples: int | None
) -> Iterator[LayerStudy]:
    shown: dict[str, np.ndarray] = {}
    study: LayerStudy | None = None
    mixture, unknown = plan.mixture(), np.array([scope.name in plan.problems for scope in plan.scopes])

    def masked(values: np.ndarray) -> np.ndarray:
        return np.where(unknown if values.ndim == 1 else unknown[:, None], np.nan, values)

    for turn, policy in enumerate(policies):
        for found, about in plan.lost(evaluator, mixture, policy, samples):
            fraction = (turn + about["fraction"]) / len(policies)
            if policy != "none":
                shown[policy] = masked(found.criticality.mean)
            if turn:
                assert study is not None
                study = replace(study, policies=dict(shown), fraction=fraction)
                yield study
                continue
            each = plan.by_draw(found.row_criticality)
            study = LayerStudy(
                **{**about, "fraction": fraction, "provenance": {**about["provenance"], "critical": found.drop.critical}},
                layers=[scope.name for scope in plan.scopes],
                unit=unit,
                part=part,
                criticality=masked(found.criticality.mean),
                low=masked(found.criticality.low),
                high=masked(found.criticality.high),
                rank_low=np.where(unknown, 0, found.rank_low),
                rank_high=np.where(unknown, 0, found.rank_high),
                accuracy_drop=masked(found.drop.mean),
                accuracy_drop_low=masked(found.drop.low),
                accuracy_drop_high=masked(found.drop.high),
                loss_rise=masked(found.rise.mean),
                loss_rise_low=masked(found.rise.low),
                loss_rise_high=masked(found.rise.high),
                distance=masked(plan.distance),
                relative_distance=masked(plan.relative_distance),
                parameter_count=np.array([scope.count(evaluator.layout) for scope in plan.scopes]),
                moved=np.array([bool(anchors) for anchors in plan.anchors]),
                draws_criticality=masked(each),
                draws_loss_rise=masked(plan.by_draw(found.row_rise)),
                draw_sd=masked(each.std(1, ddof=1) if each.shape[1] > 1 else np.full(len(each), np.nan)),
                policies=dict(shown),
                problems=plan.problems,
            )
            yield study


def measure_layers(
    evaluator: Evaluator,
    run: RunLike,
    *,
    kind: str = "reinit",
    at: int = 0,
    unit: str = "module",
    part: str = "all",
    draws: int = 10,
    seed: int = 0,
    initializer: Initializer | None = None,
    layers: Sequence[Any] | None = None,
    samples: int | None = None,
    batchnorm: str | None = None,
) -> LayerStudy:
    """Return how much the trained model (the run's last checkpoint) needs each of its layers.

    Parameters
    ----------
    evaluator : Evaluator
    run : Run
    kind : {"reinit", "rerandomise"}
        "reinit": one layer at a time goes back to its weights at checkpoint `at`, all others stay. "rerandomise": it gets fresh
        draws from its own initialiser, with a private generator.
    at : int
        Index of a checkpoint, for "reinit"; 0 is the initial one.
    unit : {"module", "block", "tensor"}
        What is a layer: each module that owns parameters; a residual block or an encoder layer as one; each tensor.
    part : {"all", "weights", "biases"}
    draws, seed : int
        For "rerandomise".
    initializer : callable, optional
        ``initializer(module, generator)`` fills a copy of the module that owns a layer, where its ``reset_parameters`` is missing
        or is not what the training started from.
    layers : sequence, optional
        Some of them by name, or any scopes; a list among them is put back as one, such as ``["conv1", "bn1"]``.
    samples : int, optional
        Measure on the first batches that hold at least so many of the evaluator's samples. Default: all.
    batchnorm : str, optional
        The policy that counts, in place of the evaluator's own; "final" and "recalibrate" are shown beside it.

    Returns
    -------
    LayerStudy
        Its intervals are about the samples, and hold for all layers at once; draws are shown one by one, and other seeds of the
        training are other studies (`compare_layer_studies`).

    Raises
    ------
    ValueError
        An unknown option, layer or checkpoint, a checkpoint with NaN, no layer that can be drawn anew.

    Notes
    -----
    Zhang, Bengio and Singer (2019), "Are all layers created equal?".

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> study = nv.measure_layers(demo.evaluator, demo.run)
    >>> study
    LayerStudy(each module put back to epoch 0: 5 modules, criticality ... to ...; n = 450, test)
    >>> study.layers
    ['conv1', 'conv2', 'fc1', 'fc2', 'fc3']
    """
    return answer(
        iter_layers(
            evaluator, run, kind=kind, at=at, unit=unit, part=part, draws=draws, seed=seed, initializer=initializer, layers=layers,
            samples=samples, batchnorm=batchnorm,
        )
    )  # fmt: skip


def compare_layer_studies(studies: Sequence[LayerStudy], names: Sequence[str] | None = None) -> LayerAgreement:
    """Return what the studies of several training runs agree on: the order of the layers, and their labels.

    Parameters
    ----------
    studies : sequence of LayerStudy
        At least two, of the same layers, replaced in the same way.
    names : sequence of str, optional
        What the runs are called. Default: "run 1", "run 2", ...

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demos = [nv.load_demo("digits", epochs=4, seed=seed) for seed in (0, 1)]
    >>> nv.compare_layer_studies([nv.measure_layers(demo.evaluator, demo.run) for demo in demos])
    LayerAgreement(...)
    """
    studies = list(studies)
    for study in studies:
        if not isinstance(study, LayerStudy):
            raise TypeError(f"studies: layer studies, as measure_layers returns them; received {study!r} among them")
    if len(studies) < 2:
        raise ValueError(f"studies: at least two layer studies, received {len(studies)}")
    first = studies[0]
    for study in studies[1:]:
        for name in ("layers", "kind", "unit", "part", "metric"):
            if getattr(study, name) != getattr(first, name):
                raise ValueError(
                    f"studies: of the same layers, replaced in the same way; one has {name} {getattr(first, name)!r}, another "
                    f"{getattr(study, name)!r}"
                )
    called = [f"run {number}" for number in range(1, len(studies) + 1)] if names is None else [str(name) for name in names]
    if len(called) != len(studies) or len(set(called)) < len(called):
        raise ValueError(f"names: {len(studies)} different ones, one for each study; received {called}")
    criticality = np.array([study.criticality for study in studies])
    return LayerAgreement(
        layers=first.layers,
        runs=called,
        kendall=kendall(criticality),
        labels=[study.label for study in studies],
        criticality=criticality,
        n=[study.n for study in studies],
    )
