"""What is a number worth that was measured on n test samples?

May import: core, results, numpy. Each sample is measured once, in one pass; subsets are drawn from its values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..core.evaluator import Evaluator
from ..core.states import State, snapshot
from ..results import TestSizeStudy
from .asking import whole
from .shared import answer
from .single_values import WEIGHED, Pass, Values, moments

_SIZES = 12


def iter_preliminary_test_size(
    source: Any,
    *,
    state: State | None = None,
    sizes: Sequence[int] | None = None,
    repeats: int = 100,
    seed: int = 0,
) -> Iterator[TestSizeStudy]:
    """Yield partial results of `preliminary_test_size`: of the samples measured so far, as if these were all."""
    repeats, seed = whole("repeats", repeats), whole("seed", seed, 0)
    if isinstance(source, Evaluator):
        chosen = _checked_sizes(sizes, source.n)
        pass_ = Pass(source, [snapshot(source.model) if state is None else state])
        return _test_sizes(pass_.results(), chosen, repeats, seed, pass_.provenance)
    if state is not None:
        raise ValueError("state: only with an evaluator; losses are those of some model already")
    values = _given(source)
    chosen = _checked_sizes(sizes, len(next(iter(values.values()))[0]))
    return _test_sizes(iter([(values, None, 1.0)]), chosen, repeats, seed, dict)


def preliminary_test_size(
    source: Any,
    *,
    state: State | None = None,
    sizes: Sequence[int] | None = None,
    repeats: int = 100,
    seed: int = 0,
) -> TestSizeStudy:
    """Return what the mean over n of N test samples is worth: in closed form, and of random subsets.

    With S the standard deviation of single samples, the mean of n lies S / sqrt(n) from that of the population. Means of random
    subsets of N given samples lie S / sqrt(n) sqrt(1 - n / N) from the mean of all N: less, and nothing at n = N.

    Parameters
    ----------
    source : Evaluator, array_like of shape (N,), or dict of str to array_like
        What measures the samples, once; or the loss of each sample; or several quantities, such as loss and accuracy.
    state : mapping of str to Tensor, optional
        With an evaluator: the weights. Default: the model's.
    sizes : sequence of int, optional
        Default: twelve from 10 to N, evenly spaced as ratios.
    repeats : int
        Random subsets of each size; those of one repeat are nested.
    seed : int
        Of the subsets.

    Returns
    -------
    TestSizeStudy

    Examples
    --------
    >>> import numpy as np
    >>> import nnvis_widgets as nv
    >>> study = nv.preliminary_test_size(np.arange(100.0), sizes=[25, 100])
    >>> study.spread["loss"].round(3).tolist()
    [5.025, 0.0]
    >>> study.error["loss"].round(3).tolist()
    [5.802, 2.901]
    """
    return answer(iter_preliminary_test_size(source, state=state, sizes=sizes, repeats=repeats, seed=seed))


def _given(source: Any) -> dict[str, np.ndarray]:
    given = source if isinstance(source, dict) else {"loss": source}
    values = {str(name): np.asarray(part, dtype=float) for name, part in given.items()}
    shapes = {part.shape for part in values.values()}
    if (
        len(shapes) != 1
        or len(shape := shapes.pop()) != 1
        or shape[0] < 2
        or not all(np.isfinite(v).all() for v in values.values())
    ):
        raise ValueError(
            "source: an evaluator, or finite values of each sample, shape (N,), of one or several quantities of the same samples; "
            f"received {', '.join(f'{name}: shape {part.shape}' for name, part in values.items()) or 'nothing'}"
        )
    return {name: part[None] for name, part in values.items()}


def _checked_sizes(sizes: Sequence[int] | None, population: int) -> np.ndarray | None:
    if population < 2:
        raise ValueError(f"source: at least 2 samples, received {population}")
    if sizes is None:
        return None
    chosen = np.array([whole("sizes", size) for size in sizes])
    if not len(chosen) or chosen.max() > population or (np.diff(chosen) <= 0).any():
        raise ValueError(f"sizes: ascending whole numbers up to {population} (the samples), received {list(sizes)}")
    return chosen


def _test_sizes(passes: Values, sizes: np.ndarray | None, repeats: int, seed: int, about: Any) -> Iterator[TestSizeStudy]:
    provenance: dict[str, Any] | None = None
    for values, weights, fraction in passes:
        population = next(iter(values.values())).shape[1]
        if population < 2:
            continue
        provenance = about() if provenance is None else provenance
        grid = np.unique(np.geomspace(min(10, population), population, _SIZES).round().astype(int)) if sizes is None else sizes
        grid = grid[grid <= population]
        if not len(grid):
            continue
        means = _subset_means(values, weights, grid, repeats, seed)
        mean, sd = {}, {}
        for name, rows in values.items():
            mean[name], sd[name] = moments(rows[0], weights if name == "loss" else None)
        error = {name: sd[name] / np.sqrt(grid) for name in values}
        yield TestSizeStudy(
            sizes=grid,
            mean=mean,
            sd=sd,
            error=error,
            spread={name: error[name] * np.sqrt(1 - grid / population) for name in values},
            observed={name: np.sqrt(np.mean((means[name] - mean[name]) ** 2, axis=0)) for name in values},
            means=means,
            population=population,
            repeats=repeats,
            n=population,
            notes=[] if weights is None else [WEIGHED],
            fraction=fraction,
            provenance=provenance,
        )


def _subset_means(
    values: dict[str, np.ndarray], weights: np.ndarray | None, sizes: np.ndarray, repeats: int, seed: int
) -> dict[str, np.ndarray]:
    population = next(iter(values.values())).shape[1]
    means = {name: np.empty((repeats, len(sizes))) for name in values}
    rng = np.random.default_rng(seed)
    for repeat in range(repeats):
        order = rng.permutation(population)
        for name, rows in values.items():
            w = weights if weights is not None and name == "loss" else None
            centre, _ = moments(rows[0], w)
            away = rows[0] - centre if w is None else w * (rows[0] - centre)
            below = sizes if w is None else np.cumsum(w[order])[sizes - 1]
            with np.errstate(invalid="ignore", divide="ignore"):  # a subset in which no sample counts
                means[name][repeat] = centre + np.cumsum(away[order])[sizes - 1] / below
            means[name][repeat, sizes == population] = centre  # and not what the order of summing makes of it
    return means
