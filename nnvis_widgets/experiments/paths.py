"""Loss and metrics along paths through weight space, and at the recorded checkpoints.

May import: core, results, numpy. A path is a family whose anchors are its checkpoints; the rows are its basis at each alpha.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ..core.distances import distances
from ..core.evaluator import Evaluator, Sweep
from ..core.family import LagrangePath, WeightFamily, check_alphas, check_states
from ..core.scope import Scope
from ..core.states import RunLike, State, check_run, digest
from ..results import PathResult

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
    """
    # not itself a generator function: bad input is refused when it is called, not at the first step
    _check_evaluator(evaluator)
    if not isinstance(path, LagrangePath):
        raise TypeError(f"path: a LinearPath, QuadraticPath or LagrangePath, received {type(path).__name__}")
    parsed = Scope.parse(scope, evaluator.layout)
    states = check_states(evaluator.layout, path.states, "state")
    if alphas is None:
        low, high = ELEMENT_ALPHAS if parsed.level == "element" else MODEL_ALPHAS
        alphas = np.linspace(low, high, POINTS)
    grid = check_alphas(alphas, path.positions)
    rows = np.array([path.coefficients(alpha) for alpha in [*grid, 1.0]])
    family = evaluator.family(parsed, states, states[-1] if background is None else background)
    middle = parsed.take(states[1]) if len(states) == 3 else None
    moved = distances(parsed.take(states[0]), parsed.take(states[-1]), middle)
    about = {
        "kind": path.kind,
        "scope": parsed.name,
        "distance": moved["distance"],
        "relative_distance": moved["relative_distance"],
        "rho": moved.get("rho", np.nan),
        "eta": moved.get("eta", np.nan),
        "positions": np.array(path.positions),
    }
    together = Scope.parse([parsed, *compared], evaluator.layout)
    return _results(evaluator, family, rows, grid, about, evaluator.policy(together))


def _results(
    evaluator: Evaluator, family: WeightFamily, rows: np.ndarray, grid: np.ndarray, about: dict[str, Any], policy: str
) -> Iterator[PathResult]:
    at_end = np.flatnonzero(grid == 1.0)
    reference = int(at_end[0]) if len(at_end) else len(grid)
    rows = rows[: len(grid)] if len(at_end) else rows
    keep = slice(0, len(grid))
    provenance: dict[str, Any] | None = None
    for sweep in evaluator.sweep(family, rows, reference=reference, policy=policy):
        provenance = evaluator.updated(provenance, sweep) if provenance else evaluator.provenance(family, sweep, policy=policy)
        yield PathResult(alphas=grid, provenance=provenance, n=sweep.n, fraction=sweep.fraction, **_arrays(sweep, keep), **about)


def _arrays(sweep: Sweep, keep: slice | np.ndarray) -> dict[str, Any]:
    metrics = {name: tally for name, tally in sweep.tallies.items() if name != "loss"}
    loss = sweep.tallies["loss"]
    return {
        "loss": loss.mean[keep],
        "loss_se": loss.se[keep],
        "diff_se": loss.diff_se[keep],
        "metrics": {name: tally.mean[keep] for name, tally in metrics.items()},
        "metrics_se": {name: tally.se[keep] for name, tally in metrics.items()},
        "metrics_diff_se": {name: tally.diff_se[keep] for name, tally in metrics.items()},
    }


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
    """
    return _last(iter_path(evaluator, path, alphas, scope=scope, background=background, compared=compared))


def iter_paths(
    evaluator: Evaluator, path: LagrangePath, scopes: Sequence[Any], alphas: Any = None, *, background: State | None = None
) -> Iterator[dict[str, PathResult]]:
    """Yield the paths of several scopes, by scope name, growing as each one is measured; the last is complete.

    Parameters and errors: see `measure_path`; every scope is checked before the first is measured.
    """
    scopes = list(scopes)
    generators = [iter_path(evaluator, path, alphas, scope=scope, background=background, compared=scopes) for scope in scopes]
    if not generators:
        raise ValueError("scopes: at least one, received an empty list")

    def run() -> Iterator[dict[str, PathResult]]:
        done: dict[str, PathResult] = {}
        for generator in generators:
            for result in generator:
                done[result.scope] = result
                yield dict(done)

    return run()


def iter_training(evaluator: Evaluator, run: RunLike) -> Iterator[PathResult]:
    """Yield partial results of `measure_training`: checkpoint by checkpoint, those to come NaN."""
    _check_evaluator(evaluator)
    anchors = _Checkpoints(evaluator, check_run(run))
    last = anchors[len(run) - 1]
    epochs = np.array(run.epochs, dtype=float)
    span = epochs[-1] - epochs[0]
    family = WeightFamily(evaluator.layout, Scope.parse(None, evaluator.layout), anchors, last)
    moved = distances(family.scope.take(anchors[0]), family.scope.take(last))

    def results() -> Iterator[PathResult]:
        provenance = None
        for sweep in evaluator.sweep(family, np.eye(len(run)), reference=len(run) - 1, policy="stored"):
            provenance = provenance or evaluator.provenance(family, sweep, policy="stored")
            arrays = _arrays(sweep, slice(None))
            partly = sweep.tallies["loss"].batches < sweep.batches
            for entry in arrays.values():
                for values in entry.values() if isinstance(entry, dict) else [entry]:
                    values[partly] = np.nan
            yield PathResult(
                alphas=(epochs - epochs[0]) / span if span else np.zeros(len(run)),
                epochs=epochs,
                kind="training",
                scope="model",
                distance=moved["distance"],
                relative_distance=moved["relative_distance"],
                positions=np.array([]),
                n=sweep.n,
                fraction=sweep.fraction,
                provenance={**provenance, "weights": anchors.digests()},
                **arrays,
            )

    return results()


def measure_training(evaluator: Evaluator, run: RunLike) -> PathResult:
    """Return loss and metrics of every recorded checkpoint on the evaluator's own samples, each with its own buffers.

    Parameters
    ----------
    evaluator : Evaluator
    run : Run
        Checkpoints are read one by one.

    Returns
    -------
    PathResult
        Of kind "training": ``epochs``, and ``alphas`` = share of the epochs that had passed.
    """
    return _last(iter_training(evaluator, run))


class _Checkpoints(Sequence):
    """The states of a run as anchors, each read and checked when it is needed."""

    def __init__(self, evaluator: Evaluator, run: RunLike):
        if len(run) < 1:
            raise ValueError("run: it holds no checkpoints")
        self._evaluator, self._run = evaluator, run
        self._digests = [""] * len(run)
        self._last: tuple[int, dict[str, Tensor]] | None = None

    def __len__(self) -> int:
        return len(self._run)

    def __getitem__(self, index):
        # one is kept: the weights and the buffers of a point are asked for one after the other
        if self._last is None or self._last[0] != index:
            state = self._evaluator.layout.check(self._run[index].state, f"checkpoint {index} of the run")
            self._digests[index] = self._digests[index] or digest(state)
            self._last = (index, state)
        return self._last[1]

    def digests(self) -> list[str]:
        """Return the digest of each checkpoint that has been read; "" for those to come."""
        return list(self._digests)


def _check_evaluator(evaluator: Any) -> None:
    if not isinstance(evaluator, Evaluator):
        raise TypeError(f"evaluator: the first argument is an nv.Evaluator(model, data), received {type(evaluator).__name__}")


def _last(results: Iterator[PathResult]) -> PathResult:
    for result in results:
        final = result
    return final
