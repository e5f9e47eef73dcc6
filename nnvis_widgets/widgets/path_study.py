"""What a path explorer measures: checkpoints, scopes and grids turned into named steps of work.

May import: core, experiments, results, numpy, jobs; no widgets. It is what is left of the explorer when the screen is taken away.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..core.evaluator import Evaluator
from ..core.family import LagrangePath, LinearPath, QuadraticPath
from ..core.scope import Scope, element_index
from ..core.states import Layout, State, distances
from ..experiments.faithfulness import iter_faithfulness
from ..experiments.paths import iter_paths
from ..experiments.training import iter_training
from ..jobs import Step
from ..results import PathResult, Result

ORIGINS = ("unrelated", "noise")  # from which the loss may fall as it does from the start: then that it falls says little


class PathStudy:
    """A run, evaluators of one model, and the paths between chosen checkpoints.

    Attributes
    ----------
    evaluators : dict of str to Evaluator
        By split.
    run : Run
    layout : Layout
    """

    def __init__(self, evaluator: Evaluator | Mapping[str, Evaluator], run: Any):
        self.evaluators = dict(evaluator) if isinstance(evaluator, Mapping) else {evaluator.name: evaluator}
        for name, one in self.evaluators.items():
            if not isinstance(one, Evaluator):
                raise TypeError(f"evaluator: an Evaluator or {{split: Evaluator}}, received {type(one).__name__} for {name!r}")
        self.run = run
        if len(run) < 2:
            raise ValueError(f"run: a path needs two checkpoints, and this run holds {len(run)}")
        self.layout: Layout = next(iter(self.evaluators.values())).layout
        for name, one in self.evaluators.items():
            if one.layout.shapes != self.layout.shapes:
                raise ValueError(
                    f"evaluator: the models of {name!r} and of {next(iter(self.evaluators))!r} have different parameters"
                )
        self._states: dict[int, State] = {}
        self._order: tuple[Any, np.ndarray] | None = None
        self._lock = threading.Lock()  # the worker reads states while the controls do

    def state(self, index: int) -> State:
        """Return checkpoint `index` under the model's names; the four last used are kept."""
        with self._lock:
            if index not in self._states:
                while len(self._states) >= 4:
                    self._states.pop(next(iter(self._states)))
                self._states[index] = self.layout.check(self.run[index].state, f"checkpoint {index} of the run")
            return self._states[index]

    def path(self, kind: str, start: int, mid: int | None, end: int, mid_at: float) -> LagrangePath:
        """Return the linear or the quadratic path between checkpoints."""
        if kind == "linear":
            return LinearPath(self.state(start), self.state(end))
        if mid is None:
            raise ValueError("kind: a quadratic path needs a checkpoint between start and end; record more, or use 'linear'")
        return QuadraticPath(self.state(start), self.state(mid), self.state(end), mid_at)

    def steps(
        self, split: str, scopes: Sequence[Any], kinds: Sequence[str], ends: tuple[int, int | None, int], mid_at: float,
        grid: np.ndarray, background: str, *, many: bool, training: bool,
    ) -> list[Step]:  # fmt: skip
        """Return the steps of work that measure every kind of path for every scope, then the training curve.

        All kinds of one scope are one step, and so are all single weights: what they share is computed once.
        """
        evaluator = self.evaluators[split]
        start, mid, end = ends
        behind = start if background == "initial" else end
        parsed = [Scope.parse(scope, self.layout) for scope in scopes]
        policy = evaluator.policy(Scope.parse(list(scopes), self.layout))
        weights = all(scope.level == "element" for scope in parsed)

        def step(some: Sequence[Scope]) -> Step:
            keys: dict[str, Hashable] = {}
            wanted: dict[str, tuple[Scope, str]] = {}
            for scope in some:
                for kind in kinds:
                    name = f"{kind} {scope.name}" if many else kind
                    used = (start, end) if kind == "linear" else (start, mid, end)
                    # one run, whose checkpoints do not change: their indices are their content, and nothing is hashed on the
                    # event loop
                    bend = mid_at if kind == "quadratic" else None
                    keys[name] = (split, policy, used, kind, bend, scope.level, scope.name, grid.tobytes(), behind)
                    wanted[name] = scope, kind

            def make(names: Sequence[str]) -> Iterator[Mapping[str, Result]]:
                chosen = [scope for scope in some if any(wanted[name][0] is scope for name in names)]
                paths = [self.path(kind, start, mid, end, mid_at) for kind in kinds if any(wanted[n][1] == kind for n in names)]
                by_key = {(wanted[name][0].name, wanted[name][1]): name for name in names}
                for results in iter_paths(evaluator, paths, chosen, grid, background=self.state(behind), compared=scopes):
                    yield {by_key[key]: _named(split, result) for key, result in results.items() if key in by_key}

            return Step(keys, make)

        def curve(names: Sequence[str]) -> Iterator[Mapping[str, Result]]:
            for result in iter_training(evaluator, self.run):
                yield {"training": _named(split, result)}

        steps = [step(parsed)] if weights else [step([scope]) for scope in parsed]
        return [*steps, Step({"training": (split, "training")}, curve)] if training else steps

    def faithfulness(self, split: str, mid: int, mid_at: float, clocks: Sequence[str]) -> Step:
        """Return the step of work that compares the paths of the whole model with the checkpoints of the run."""
        evaluator = self.evaluators[split]

        def report(names: Sequence[str]) -> Iterator[Mapping[str, Result]]:
            for result in iter_faithfulness(evaluator, self.run, mid=mid, mid_at=mid_at, clocks=clocks, origins=ORIGINS):
                yield {"faithfulness": replace(result, provenance={**result.provenance, "split": split})}

        return Step({"faithfulness": (split, "faithfulness", evaluator.policy(), mid, mid_at, tuple(clocks))}, report)

    def movement(self, scope: Any, ends: tuple[int, int | None, int]) -> dict[str, float]:
        """Return distances, rho and eta of a scope between the chosen checkpoints."""
        parsed = Scope.parse(scope, self.layout)
        start, mid, end = ends
        middle = parsed.take(self.state(mid)) if mid is not None else None
        return distances(parsed.take(self.state(start)), parsed.take(self.state(end)), middle)

    def travelled(self, tensor: str, ends: tuple[int, int | None, int]) -> np.ndarray:
        """Return |end - start| of each weight of a tensor, in the tensor's shape."""
        start, end = self.state(ends[0])[tensor], self.state(ends[2])[tensor]
        return (end - start).abs().double().numpy()

    def largest(self, tensor: str, ends: tuple[int, int | None, int], count: int | None = None) -> list[tuple[int, ...]]:
        """Return indices of the weights of a tensor that travelled farthest, in descending order."""
        shape = self.layout.shapes[self.layout.aliases.get(tensor, tensor)]
        return [element_index(int(flat), shape) for flat in self._farthest_first(tensor, ends)[:count]]

    def next_largest(self, tensor: str, index: tuple[int, ...], ends: tuple[int, int | None, int]) -> tuple[int, ...]:
        """Return the index of the weight that travelled next farthest after this one; after the last comes the first."""
        shape = self.layout.shapes[self.layout.aliases.get(tensor, tensor)]
        order = self._farthest_first(tensor, ends)
        place = int(np.flatnonzero(order == np.ravel_multi_index(index, tuple(shape)))[0]) if index else 0
        return element_index(int(order[(place + 1) % len(order)]), shape)

    def _farthest_first(self, tensor: str, ends: tuple[int, int | None, int]) -> np.ndarray:
        """Return flat indices by distance, descending; kept for the last tensor, because large ones take a second to sort."""
        if self._order is None or self._order[0] != (tensor, ends):
            self._order = (tensor, ends), np.argsort(-self.travelled(tensor, ends), axis=None, kind="stable")
        return self._order[1]

    def weight_value(self, scope: Any, kind: str, ends: tuple[int, int | None, int], mid_at: float, alpha: float) -> float | None:
        """Return the value of a single weight at alpha on a path; None for larger scopes."""
        parsed = Scope.parse(scope, self.layout)
        if parsed.level != "element":
            return None
        path = self.path(kind, *ends, mid_at)
        row = path.coefficients(alpha)
        values = [float(parsed.take(state)[0]) for state in path.states]
        return float(np.dot(row, values))


def _named(split: str, result: PathResult) -> PathResult:
    """Return a result under the name that the user gave the split here, without what no picture shows of it.

    Many results are kept while one looks around, and the losses of single samples take megabytes each.
    """
    return replace(result, provenance={**result.provenance, "split": split}, sample_losses=None)


def grid(alpha_range: tuple[float, float], points: int, knots: Sequence[float]) -> np.ndarray:
    """Return `points` equally spaced alphas and the knots that lie among them."""
    low, high = alpha_range
    return np.unique(np.concatenate([np.linspace(low, high, points), [k for k in knots if low <= k <= high]]).round(12))
