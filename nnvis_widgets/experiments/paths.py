"""Loss and metrics along paths through weight space.

May import: core, results, numpy. A path is a family whose anchors are its checkpoints; the rows are its basis at each alpha.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from ..core.distances import distances
from ..core.evaluator import Evaluator
from ..core.family import Families, LagrangePath, WeightFamily, check_alphas, check_states
from ..core.scope import Scope
from ..core.states import State
from ..core.tiles import coarse_to_fine
from ..results import PathResult
from .shared import SAMPLE_BYTES, answer, arrays, check_evaluator, sample_losses

MODEL_ALPHAS = (0.0, 1.0)
ELEMENT_ALPHAS = (-0.5, 1.5)
POINTS = 41


def iter_path(
    evaluator: Evaluator,
    path: LagrangePath,
    alphas: Any = None,
    *,
    scope: Any = None,
    background: State | None = None,
    compared: Sequence[Any] = (),
) -> Iterator[PathResult]:
    """Yield partial results of `measure_path`, after each batch of samples; the last one is the answer.

    Within the first batch, points that have not been reached yet are NaN. Closing the generator stops the work; what was
    yielded stays a valid result over its `n` samples. Parameters, errors: see `measure_path`.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> for partial in nv.iter_path(demo.evaluator, nv.LinearPath(demo.run.initial, demo.run.final), [0, 0.5, 1]):
    ...     if partial.n >= 128 and partial.fraction < 1:  # that many samples are enough to see it
    ...         break
    >>> partial.loss.shape
    (3,)
    """
    # not itself a generator function: bad input is refused when it is called, not at the first step
    check_evaluator(evaluator)
    if not isinstance(path, LagrangePath):
        raise TypeError(f"path: a LinearPath, QuadraticPath or LagrangePath, received {type(path).__name__}")
    plan = _plan(evaluator, [path], scope, alphas, background)
    together = Scope.parse([plan.family.scope, *compared], evaluator.layout)
    return (next(iter(results.values())) for results in _measured(evaluator, [plan], evaluator.policy(together)))


@dataclass(frozen=True)
class _Curve:
    """One curve to be: where its points are among the rows of its plan, and what is known before anything is measured."""

    rows: np.ndarray
    about: dict[str, Any]


@dataclass(frozen=True)
class _Plan:
    """Several paths at one scope, as rows of one family; rows that they share are measured once."""

    family: WeightFamily
    rows: np.ndarray
    reference: np.ndarray
    order: list[int]
    curves: list[_Curve]


def _plan(evaluator: Evaluator, paths: Sequence[LagrangePath], scope: Any, alphas: Any, background: State | None) -> _Plan:
    parsed = Scope.parse(scope, evaluator.layout)
    anchors: dict[int, State] = {id(state): state for path in paths for state in path.states}
    states = check_states(evaluator.layout, list(anchors.values()), "state")
    column = {key: k for k, key in enumerate(anchors)}
    if alphas is None:
        low, high = ELEMENT_ALPHAS if parsed.level == "element" else MODEL_ALPHAS
        alphas = np.linspace(low, high, POINTS)
    found: dict[bytes, int] = {}
    rows: list[np.ndarray] = []

    def number(path: LagrangePath, alpha: float) -> int:
        row = np.zeros(len(states))
        np.add.at(row, [column[id(state)] for state in path.states], path.coefficients(alpha))
        if row.tobytes() not in found:
            found[row.tobytes()] = len(rows)
            rows.append(row)
        return found[row.tobytes()]

    curves, orders, compared = [], [], {}
    for path in paths:
        grid = check_alphas(alphas, path.positions)
        at = np.array([number(path, alpha) for alpha in grid])
        end = number(path, 1.0)
        compared.update(dict.fromkeys([*at.tolist(), end], end))
        orders.append([end, *at[coarse_to_fine(len(grid))].tolist()])
        curves.append(_Curve(at, {"alphas": grid, **_about(path, parsed, [states[column[id(s)]] for s in path.states])}))
    last = states[column[id(paths[0].states[-1])]]
    family = evaluator.family(parsed, states, last if background is None else background)
    # the ends first, which all differences are taken to; then a point of each path in turn, so that all curves appear together
    turns = [k for turn in zip_longest(*orders) for k in turn if k is not None]
    order = list(dict.fromkeys([path_order[0] for path_order in orders] + turns))
    return _Plan(family, np.array(rows), np.array([compared[k] for k in range(len(rows))]), order, curves)


def _about(path: LagrangePath, scope: Scope, states: Sequence[State]) -> dict[str, Any]:
    middle = scope.take(states[1]) if len(states) == 3 else None
    moved = distances(scope.take(states[0]), scope.take(states[-1]), middle)
    return {
        "kind": path.kind,
        "scope": scope.name,
        "distance": moved["distance"],
        "relative_distance": moved["relative_distance"],
        "rho": moved.get("rho", np.nan),
        "eta": moved.get("eta", np.nan),
        "positions": np.array(path.positions),
    }


def _measured(evaluator: Evaluator, plans: list[_Plan], policy: str) -> Iterator[dict[tuple[str, str], PathResult]]:
    """Yield the curves of all plans, by scope and kind, from one pass over the samples."""
    starts = np.cumsum([0, *(len(plan.rows) for plan in plans)])
    family = plans[0].family if len(plans) == 1 else Families([p.family for p in plans], [len(p.rows) for p in plans])
    rows = np.concatenate([plan.rows for plan in plans])
    reference = np.concatenate([plan.reference + start for plan, start in zip(plans, starts, strict=False)])
    order = [int(k + start) for plan, start in zip(plans, starts, strict=False) for k in plan.order]
    known: list[dict[str, Any]] = []
    for sweep in evaluator.sweep(family, rows, reference=reference.tolist(), policy=policy, order=order, keep=SAMPLE_BYTES):
        if not known:
            known = [evaluator.provenance(plan.family, sweep, policy=policy) for plan in plans]
        results = {}
        for plan, start, provenance in zip(plans, starts, known, strict=False):
            about: dict[str, Any] = {"provenance": evaluator.updated(provenance, sweep), "n": sweep.n, "fraction": sweep.fraction}
            for curve in plan.curves:
                key = (curve.about["scope"], curve.about["kind"])
                own = curve.rows + start
                results[key] = PathResult(**arrays(sweep, own), sample_losses=sample_losses(sweep, own), **about, **curve.about)
        yield results


def measure_path(
    evaluator: Evaluator,
    path: LagrangePath,
    alphas: Any = None,
    *,
    scope: Any = None,
    background: State | None = None,
    compared: Sequence[Any] = (),
) -> PathResult:
    """Return loss and metrics along a path, with paired standard errors.

    Parameters
    ----------
    evaluator : Evaluator
    path : LinearPath, QuadraticPath or LagrangePath
    alphas : array_like, shape (K,), optional
        Default: 41 points on [0, 1]; on [-0.5, 1.5] for a single weight. Outside [0, 1] the path extrapolates.
    scope : None, str, (str, index) or list, optional
        Which weights follow the path: None is all; "fc1" the module's own; "layer4.*" all below it; "fc1.weight" one
        tensor; ("conv1.weight", (0, 0, 1, 2)) one weight; a list is their union.
    background : State, optional
        The weights outside the scope. Default: the path's end.
    compared : sequence of scopes, optional
        Scopes whose paths will stand beside this one: BatchNorm "auto" is decided once for all of them, so that curves of
        one picture end in one point.

    Returns
    -------
    PathResult

    Raises
    ------
    ValueError
        Unknown scope, states that do not fit the model, NaN in a checkpoint, alphas that are no finite vector.

    Notes
    -----
    Linear: Goodfellow, Vinyals and Saxe (2015). Layer by layer and quadratic: Nemcova (2021).

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> nv.measure_path(demo.evaluator, nv.LinearPath(demo.run.initial, demo.run.final), [0, 0.5, 1])
    PathResult(linear path of model: 3 points, alpha 0 to 1, loss 0... to 2..., lowest at alpha 1; n = 450, test)
    """
    return answer(iter_path(evaluator, path, alphas, scope=scope, background=background, compared=compared))


def iter_paths(
    evaluator: Evaluator,
    path: LagrangePath | Sequence[LagrangePath],
    scopes: Sequence[Any],
    alphas: Any = None,
    *,
    background: State | None = None,
    compared: Sequence[Any] = (),
) -> Iterator[dict[Any, PathResult]]:
    """Yield the paths of several scopes, growing as they are measured; the last one yielded is complete.

    What can be shared is: several paths at a scope take one sweep, and all single weights together one pass over the samples.

    Parameters
    ----------
    evaluator : Evaluator
    path : LagrangePath, or a sequence of these
        Of several paths (the linear and the quadratic one), each result stands under (scope name, kind); of a single one
        under the scope's name.
    scopes : sequence of scopes
        All are checked before the first is measured.
    alphas, background, compared
        See `measure_path`.
    """
    check_evaluator(evaluator)
    single = isinstance(path, LagrangePath)
    paths: list[LagrangePath] = [path] if isinstance(path, LagrangePath) else list(path)
    if not paths or not all(isinstance(one, LagrangePath) for one in paths) or len({one.kind for one in paths}) < len(paths):
        raise ValueError(f"path: a path, or several of different kinds; received {path!r}")
    plans = [_plan(evaluator, paths, scope, alphas, background) for scope in scopes]
    if not plans:
        raise ValueError("scopes: at least one, received an empty list")
    policy = evaluator.policy(Scope.parse([*(plan.family.scope for plan in plans), *compared], evaluator.layout))
    weights = [plan for plan in plans if plan.family.scope.level == "element"]
    passes = [*([plan] for plan in plans if plan not in weights), *([weights] if weights else [])]

    def run() -> Iterator[dict[Any, PathResult]]:
        done: dict[tuple[str, str], PathResult] = {}
        for together in passes:
            for results in _measured(evaluator, together, policy):
                done.update(results)
                shown = _in_order(done, plans)
                yield {scope: result for (scope, _), result in shown.items()} if single else shown

    return run()


def _in_order(done: dict[tuple[str, str], PathResult], plans: list[_Plan]) -> dict[tuple[str, str], PathResult]:
    keys = ((curve.about["scope"], curve.about["kind"]) for plan in plans for curve in plan.curves)
    return {key: done[key] for key in keys if key in done}


def measure_paths(
    evaluator: Evaluator,
    path: LagrangePath | Sequence[LagrangePath],
    scopes: Sequence[Any],
    alphas: Any = None,
    *,
    background: State | None = None,
    compared: Sequence[Any] = (),
) -> dict[Any, PathResult]:
    """Return the paths of several scopes: by scope name, or by (scope name, kind) for several paths. See `iter_paths`.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> line = nv.LinearPath(demo.run.initial, demo.run.final)
    >>> curve = nv.QuadraticPath(demo.run.initial, demo.run.mid, demo.run.final)
    >>> paths = nv.measure_paths(demo.evaluator, [line, curve], ["conv1", "fc3.weight"], [0, 0.5, 1])
    >>> list(paths)
    [('conv1', 'linear'), ('conv1', 'quadratic'), ('fc3.weight', 'linear'), ('fc3.weight', 'quadratic')]
    >>> len({round(float(path.loss[-1]), 6) for path in paths.values()})  # all of them end in the trained model
    1
    """
    return answer(iter_paths(evaluator, path, scopes, alphas, background=background, compared=compared))
