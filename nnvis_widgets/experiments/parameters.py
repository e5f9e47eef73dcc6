"""Many single weights, each on its own line: the linear and the quadratic path, and the pattern that the two make.

May import: core, results, numpy. A weight's two paths are rows of one family, and the families of many weights go over the samples
together: in groups, so that the losses of single samples at all of their points take at most 64 MiB (or what one weight needs).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..core.curvature import CurvatureError
from ..core.evaluator import Evaluator
from ..core.family import LinearPath, QuadraticPath, check_alphas, check_states
from ..core.patterns import PatternRules, turning_point, u
from ..core.scope import Scope
from ..core.states import RunLike, State, check_run
from ..results import ParameterScan
from .choosing import CHOICES, Index, Pool, layer_spread, moved_by, scope_of, values_at
from .measured import Measured
from .paths import ELEMENT_ALPHAS, POINTS
from .replacing import check_index
from .shared import SAMPLE_BYTES, answer, check_evaluator
from .weights import Plan, rounding_of, rows_of, swept


def iter_parameters(
    evaluator: Evaluator,
    run: RunLike,
    scope: Any = None,
    *,
    count: int = 32,
    choose: Any = "distance",
    mid: int | None = None,
    alphas: Any = None,
    seed: int = 0,
    start: int = 0,
    end: int = -1,
    samples: int | None = None,
    rules: PatternRules | dict[str, float] | None = None,
) -> Iterator[ParameterScan]:
    """Yield partial results of `measure_parameters`; the last one is the answer.

    Weights appear group by group, and sharpen after each batch of samples; those that have not been reached yet are NaN and have
    no pattern. While weights are chosen by their effect, scans of no weights are yielded. Parameters, errors: see
    `measure_parameters`.
    """
    # not itself a generator function: bad input is refused when it is called, not at the first step
    check_evaluator(evaluator)
    check_run(run)
    pool = Pool(scope, evaluator.layout)
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
        raise ValueError(f"count: a whole number of at least 1, received {count!r}")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed: a whole number of at least 0, received {seed!r}")
    given = None if isinstance(choose, str) and choose in CHOICES else pool.given(choose)
    first, middle, last = _checkpoints(run, start, mid, end)
    numbers = [first, *([] if middle is None else [middle]), last]
    states = check_states(evaluator.layout, [run[number].state for number in numbers], "checkpoint", numbers)
    paths: list[Any] = [LinearPath(states[0], states[-1])]
    if middle is not None:
        paths.append(QuadraticPath(states[0], states[1], states[2]))
    grid = check_alphas(np.linspace(*ELEMENT_ALPHAS, POINTS) if alphas is None else alphas, paths[-1].positions)
    if not {0.0, 1.0} <= set(grid.tolist()) or len(grid) < 5:
        raise ValueError(
            "alphas: at least 5 points with 0 and 1 among them, since patterns are told from there; such as "
            f"numpy.linspace(-0.5, 1.5, 41); received {len(grid)} from {grid.min():g} to {grid.max():g}"
        )
    plan = Plan(evaluator, states, *rows_of(paths, grid), grid, pool, int(count), seed, samples, PatternRules.of(rules))
    known = {"checkpoints": numbers, "epochs": [float(run.epochs[number]) for number in numbers]}
    return _run(plan, choose if given is None else "list", given, known)


def _checkpoints(run: RunLike, start: int, mid: int | None, end: int) -> tuple[int, int | None, int]:
    """Return the three checkpoints; the middle one is None where there is none between the others."""
    for name, index in (("start", start), ("mid", mid), ("end", end)):
        if index is not None:
            check_index(run, name, index)
    first, last = start % len(run), end % len(run)
    if last <= first:
        raise ValueError(f"start, end: two checkpoints in the order of training, received {start} and {end} of {len(run)}")
    if mid is not None:
        if not first < mid % len(run) < last:
            raise ValueError(f"mid: a checkpoint between {first} and {last}, received {mid}")
        return first, mid % len(run), last
    between = np.arange(first + 1, last)
    epochs = np.asarray(run.epochs, dtype=float)
    half = (epochs[first] + epochs[last]) / 2
    return first, int(between[np.argmin(np.abs(epochs[between] - half))]) if len(between) else None, last


def _run(plan: Plan, choose: str, given: list[Index] | None, known: dict[str, Any]) -> Generator[ParameterScan, None, None]:
    evaluator, layout = plan.evaluator, plan.evaluator.layout
    n = evaluator.covered(plan.samples)
    fresh, slopes = 0, None
    if given is None and choose == "effect":
        given, fresh, slopes = yield from _by_effect(plan, n)
        if fresh >= n:
            known["no_effect"] = (
                f"the weights were chosen by it on all {n} samples, which are one batch: none are left to estimate it on, nor to "
                f"say what holds beyond them; an evaluator with batch_size={max(1, n // 2)} leaves half"
            )
    elif given is None:
        pool = plan.pool
        moved = moved_by(plan.states[0], plan.states[-1])
        given = pool.random(plan.count, plan.seed) if choose == "random" else pool.largest(plan.count, moved)
    scope = scope_of(given, layout, plan.pool.scope.name)
    policy = evaluator.policy(scope)
    union = evaluator.family(scope, plan.states, plan.states[-1])
    empty = _empty(plan, given, choose)
    if slopes is None:
        effect, unknown = yield from _effect(plan, empty, n)
        empty = replace(empty, effect=effect)
        known = {**known, **({"no_effect": unknown} if unknown else {})}
    rounding = yield from rounding_of(plan, empty, union, policy)
    empty = replace(empty, rounding=rounding).labelled(plan.rules)
    measured = Measured(empty, plan.columns, len(plan.rows), n, fresh, slopes, plan.seed)
    size = max(1, SAMPLE_BYTES // (4 * n * len(plan.rows)))
    provenance: dict[str, Any] = {}
    for begin in range(0, len(given), size):
        group = given[begin : begin + size]
        members = [replace(union, scope=Scope.parse(index, layout)) for index in group]
        for sweep in swept(plan, members, np.tile(plan.rows, (len(members), 1)), plan.reference, policy):
            if not provenance:
                selection = {"choose": choose, "seed": plan.seed, "samples": fresh or None, **known}
                provenance = {**evaluator.provenance(union, sweep, policy=policy), "selection": selection}
            measured.enter(begin, len(group), sweep)
            # before the last batch is entered a sweep may say that all of its work is done
            part = sweep.fraction if sweep.n == n else min(sweep.fraction, 0.999)
            share = (begin + part * len(group)) / len(given)
            yield measured.result(share, n if begin else sweep.n, evaluator.updated(provenance, sweep))


def _by_effect(plan: Plan, n: int) -> Generator[ParameterScan, None, tuple[list[Index], int, tuple[np.ndarray, np.ndarray]]]:
    """Choose by |gradient * way| on the first half of the samples; return that number, and the slopes on it and on all."""
    evaluator, (start, *_, end) = plan.evaluator, plan.states
    waiting = _empty(plan, [], "effect")
    half = evaluator.differentiate(end, scope=plan.pool.scope, samples=max(1, n // 2))
    gradient = yield from _gradient(half, waiting)
    way = {name: (end[name].double() - start[name].double()).cpu() for name in plan.pool.scope.tensors}
    chosen = plan.pool.largest(plan.count, lambda name: (gradient[name] * way[name]).abs())
    whole = evaluator.differentiate(end, scope=scope_of(chosen, evaluator.layout, "chosen"), samples=n)
    again = gradient if half.n >= n else (yield from _gradient(whole, waiting))
    slopes = [values_at({name: g[name] * way[name] for name in way if name in g}, chosen) for g in (gradient, again)]
    return chosen, half.n, (slopes[0], slopes[1])


def _effect(plan: Plan, waiting: ParameterScan, n: int) -> Generator[ParameterScan, None, tuple[np.ndarray, str]]:
    """Return gradient * way of chosen weights on all samples, from one pass; or NaN, and why there is none."""
    evaluator, chosen = plan.evaluator, waiting.index
    try:
        curvature = evaluator.differentiate(plan.states[-1], scope=scope_of(chosen, evaluator.layout, "chosen"), samples=n)
        gradient = yield from _gradient(curvature, waiting)
    except (CurvatureError, RuntimeError) as error:  # paths need no derivative, nor the memory of one: they go on without
        return np.full(len(chosen), np.nan), str(error)
    return values_at(gradient, chosen) * (waiting.final - waiting.start), ""


def _gradient(curvature: Any, waiting: ParameterScan) -> Generator[ParameterScan, None, State]:
    steps = curvature.iter_gradient()
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            return curvature.state(finished.value[1])
        yield waiting


def _empty(plan: Plan, chosen: list[Index], choose: str) -> ParameterScan:
    """Return a scan of chosen weights of which nothing has been measured."""
    start, *middle, end = plan.states
    first, last = values_at(start, chosen), values_at(end, chosen)
    between = values_at(middle[0], chosen) if middle else np.full(len(chosen), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = np.where(first == last, np.nan, (between - first) / (last - first))
        relative = np.abs(last - first) / layer_spread(plan.evaluator.layout, start, end, chosen)
    turn, top = turning_point(rho)
    nothing = np.full(len(chosen), np.nan)
    curves = np.full((len(chosen), len(plan.alphas)), np.nan)
    return ParameterScan(
        index=chosen, alphas=plan.alphas, linear=curves, quadratic=curves, linear_diff_se=curves, quadratic_diff_se=curves,
        u=u(plan.alphas, rho[:, None]), start=first, mid=between, final=last, distance=np.abs(last - first),
        relative_distance=relative, effect=nothing, rho=rho, alpha_turn=turn, u_turn=top, u_star=nothing, u_star_low=nothing,
        u_star_high=nothing, u_star_edge=np.zeros(len(chosen), dtype=int), p_value=nothing, q_value=nothing, half_width=nothing,
        votes=np.full((len(chosen), 9), np.nan), rounding=float("nan"), choose=choose, scope=plan.pool.scope.name,
        scanned=plan.pool.size, n=0, fraction=0.0,
    ).labelled(plan.rules)  # fmt: skip


def measure_parameters(
    evaluator: Evaluator,
    run: RunLike,
    scope: Any = None,
    *,
    count: int = 32,
    choose: Any = "distance",
    mid: int | None = None,
    alphas: Any = None,
    seed: int = 0,
    start: int = 0,
    end: int = -1,
    samples: int | None = None,
    rules: PatternRules | dict[str, float] | None = None,
) -> ParameterScan:
    """Return the linear and the quadratic path of many single weights, and the pattern that each pair makes.

    Parameters
    ----------
    evaluator : Evaluator
    run : Run
    scope : None, str, (str, index) or list, optional
        Among which weights; None: the whole model.
    count : int
        How many at most.
    choose : {"distance", "effect", "random"} or list
        Those that moved most; those whose gradient times their way is largest at the end; any; or given ones: pairs
        (tensor, index), or indices alone where the scope is one tensor.
    mid : int, optional
        Index of the checkpoint that the quadratic path passes at alpha 0.5. Default: nearest to half of the epochs.
    alphas : array_like, shape (K,), optional
        With 0 and 1 among them. Default: 41 points on [-0.5, 1.5], on which the patterns are defined.
    seed : int
        Of the random choice, and of the resamples.
    start, end : int
        Indices of the checkpoints that the paths run between.
    samples : int, optional
        Measure on the first batches that hold at least so many samples.
    rules : PatternRules or dict, optional
        Conventions of the labels; `ParameterScan.relabelled` changes them afterwards.

    Returns
    -------
    ParameterScan

    Raises
    ------
    ValueError
        Unknown scope, choice or rule; a weight that is not in the scope; checkpoints out of order; alphas without 0 and 1.

    Notes
    -----
    The patterns: Nemcova (2021, section 6.4); why there are these: `nnvis_widgets.core.patterns`. All other weights stay at the
    end. Weights that are chosen by their effect are chosen on the first half of the samples; their `effect` and what holds beyond
    the samples are estimated on the other half, since the largest of many estimates are too large (the winner's curse). Of weights
    that are chosen otherwise the effect is that on all samples. It is taken at the end with the end's own buffers, whatever the
    BatchNorm policy; of a model or loss without a derivative it is NaN, and ``provenance["selection"]["no_effect"]`` says why.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> scan = nv.measure_parameters(demo.evaluator, demo.run, "fc3", count=4, choose="random")
    >>> scan
    ParameterScan(4 of 850 weights of fc3 by random: ...; alpha -0.5 to 1.5, n = 450, test)
    >>> scan.linear.shape, len(scan.pattern)  # a loss for each weight and each alpha, a pattern for each weight
    ((4, 41), 4)
    """
    return answer(
        iter_parameters(
            evaluator, run, scope, count=count, choose=choose, mid=mid, alphas=alphas, seed=seed, start=start, end=end,
            samples=samples, rules=rules,
        )
    )  # fmt: skip
