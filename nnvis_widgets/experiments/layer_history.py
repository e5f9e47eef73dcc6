"""Each layer of a trained model put back to each checkpoint: since when could the model do with what the layer was then?

May import: core, results, numpy. Checkpoints are read from disk one by one; as many as fit into some memory are the anchors of one
pass over the samples, so that what they have in common is computed once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..core.evaluator import Evaluator
from ..core.scope import Scope
from ..core.states import RunLike
from ..core.units import units_of
from ..results import LayerHistory
from .harm import harm
from .replacing import Plan, check_arguments, check_index, replaced, states_of
from .shared import answer

ANCHOR_BYTES = 256 * 2**20  # of weights that are in memory at a time


def iter_layer_history(
    evaluator: Evaluator,
    run: RunLike,
    *,
    unit: str = "module",
    part: str = "all",
    layers: Sequence[Any] | None = None,
    checkpoints: Sequence[int] | None = None,
    samples: int | None = None,
    batchnorm: str | None = None,
) -> Iterator[LayerHistory]:
    """Yield partial results of `measure_layer_history`, after each batch of samples; what is not measured yet is NaN.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> first = next(nv.iter_layer_history(demo.evaluator, demo.run, layers=["conv1", "fc1"]))
    >>> first.epochs.tolist(), first.criticality.shape, first.fraction < 1
    ([0.0, 1.0, 2.0, 3.0, 4.0], (5, 2), True)
    """
    check_arguments(evaluator, run, "reinit", 1, 0, None)
    if checkpoints is not None and (isinstance(checkpoints, (str, int)) or not len(checkpoints)):
        raise ValueError(f"checkpoints: a list of indices such as [0, 1, -1], received {checkpoints!r}")
    wanted = range(len(run)) if checkpoints is None else checkpoints
    indices = sorted({check_index(run, "checkpoints", index) for index in wanted})
    scopes = units_of(evaluator.model, evaluator.layout, unit, part, layers)
    evaluator.covered(samples)
    policy = evaluator.policy(Scope.parse(scopes, evaluator.layout), batchnorm)
    return _measured(evaluator, run, scopes, indices, policy, samples, {"unit": unit, "part": part})


def _measured(
    evaluator: Evaluator,
    run: RunLike,
    scopes: list[Scope],
    indices: list[int],
    policy: str,
    samples: int | None,
    about: dict[str, Any],
) -> Iterator[LayerHistory]:
    (final,) = states_of(evaluator, run, len(run) - 1)
    size = sum(final[name].numel() * final[name].element_size() for name in evaluator.layout.shapes)
    step = max(1, ANCHOR_BYTES // size - 1)
    groups = [indices[first : first + step] for first in range(0, len(indices), step)]
    constant = evaluator.constant(samples)
    names = ("criticality", "low", "high", "accuracy_drop", "accuracy_drop_high", "loss_rise")
    arrays: dict[str, Any] = {name: np.full((len(indices), len(scopes)), np.nan) for name in names}
    moved = np.ones((len(indices), len(scopes)), dtype=bool)
    digests: list[str] = []
    provenance: dict[str, Any] = {}
    criticals: dict[int, float] = {}  # of the groups in which something moved
    done = 0
    for turn, group in enumerate(groups):
        plan = replaced(evaluator, scopes, states_of(evaluator, run, *group), final, {})
        own = slice(done, done + len(group))
        cells, mixture = _cells(plan, len(group))
        moved[own] = cells
        began = False
        for sweep in plan.sweep(evaluator, policy, samples):
            if not began:
                one = plan.provenance(evaluator, sweep, policy)
                digests, began = [*digests, *one["weights"][:-1]], True
                provenance = {**(provenance or one), "weights": digests}
            provenance = evaluator.updated(provenance, sweep)
            found = harm(sweep, mixture, constant, tests=len(groups))
            if cells.any():
                criticals[turn] = found.drop.critical
            bands = found.criticality, found.drop, found.rise
            values = (bands[0].mean, bands[0].low, bands[0].high, bands[1].mean, bands[1].high, bands[2].mean)
            for name, value in zip(names, values, strict=True):
                arrays[name][own] = value.reshape(len(group), -1)
            yield LayerHistory(
                layers=[scope.name for scope in scopes],
                epochs=np.array(run.epochs, dtype=float)[indices],
                **arrays,
                **about,
                parameter_count=np.array([scope.count(evaluator.layout) for scope in scopes]),
                moved=moved,
                **found.scale,
                checkpoints=indices,
                n=sweep.n,
                fraction=1.0 if turn == len(groups) - 1 and sweep.fraction == 1.0 else (turn + sweep.fraction) / len(groups),
                provenance={**provenance, "critical": min(criticals.values(), default=np.nan)},
            )
        done += len(group)


def _cells(plan: Plan, checkpoints: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where a layer moved, (checkpoints, L), and the row of each of these cells."""
    moved = np.zeros((checkpoints, len(plan.scopes)), dtype=bool)
    mixture = np.zeros((checkpoints, len(plan.scopes), 1 + sum(map(len, plan.anchors))))
    for layer, (anchors, rows) in enumerate(zip(plan.anchors, plan.rows, strict=True)):
        moved[anchors, layer] = True
        mixture[anchors, layer, rows] = 1.0
    return moved, mixture.reshape(checkpoints * len(plan.scopes), -1)


def measure_layer_history(
    evaluator: Evaluator,
    run: RunLike,
    *,
    unit: str = "module",
    part: str = "all",
    layers: Sequence[Any] | None = None,
    checkpoints: Sequence[int] | None = None,
    samples: int | None = None,
    batchnorm: str | None = None,
) -> LayerHistory:
    """Return the criticality of each layer when it is put back to each checkpoint of a run.

    Parameters
    ----------
    evaluator : Evaluator
    run : Run
    unit, part, layers, samples
        As in `measure_layers`.
    checkpoints : sequence of int, optional
        Their indices. Default: all.
    batchnorm : str, optional
        One policy for the whole map, in place of the evaluator's own.

    Returns
    -------
    LayerHistory
        Its intervals hold for all layers and checkpoints at once.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> history = nv.measure_layer_history(demo.evaluator, demo.run, checkpoints=[0, 2, 4])
    >>> history.criticality.shape, bool((abs(history.criticality[-1]) < 1e-6).all())  # put back to the end, nothing changes
    ((3, 5), True)
    """
    return answer(
        iter_layer_history(
            evaluator, run, unit=unit, part=part, layers=layers, checkpoints=checkpoints, samples=samples, batchnorm=batchnorm
        )
    )
