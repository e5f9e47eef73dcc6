"""Layers of a trained model with something else in their place: the families of weights that all layer studies measure.

May import: core, numpy, torch, harm, shared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..core.distances import distances
from ..core.evaluator import Evaluator
from ..core.family import Families, WeightFamily, check_states
from ..core.redraw import Initializer, Redraw
from ..core.resampling import DRAWS
from ..core.scope import Scope
from ..core.states import RunLike, State, check_run
from ..core.tally import Sweep
from ..core.units import units_of
from .harm import Harm, harm
from .shared import check_evaluator

KEEP = 256 * 2**20  # bytes that the scores of single samples may take; without them, intervals are wider
KINDS = ("reinit", "rerandomise")
Together = bool | Literal["pairs"]
_ODD = 1.5  # ratio of the lengths of drawn and of recorded initial weights from which they are hardly drawn alike
_TELLING = 100  # weights, so that chance alone does not make such a ratio


@dataclass(frozen=True, eq=False)
class Plan:
    """Scopes of one model, and which anchors are put in their place.

    Attributes
    ----------
    family : WeightFamily
        All scopes together; the trained weights are its background and its last anchor.
    scopes : list of Scope
        One for each layer.
    anchors : list of list of int
        For each scope the anchors that replace it, each a row; none where they would change nothing.
    distance, relative_distance : ndarray, shape (L,)
        Between the final weights and those in their place, on average.
    about : dict
        What the results say of it: kind, at, epoch.
    problems : dict of str to str
        Scopes that nothing can be put in the place of, and why.
    notes : dict
        For the provenance.
    """

    family: WeightFamily
    scopes: list[Scope]
    anchors: list[list[int]]
    distance: np.ndarray
    relative_distance: np.ndarray
    about: dict[str, Any]
    problems: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> list[list[int]]:
        """The rows of each scope in a sweep; row 0 is the trained model."""
        ends = np.cumsum([1, *(len(anchors) for anchors in self.anchors)])
        return [list(range(start, start + len(anchors))) for start, anchors in zip(ends, self.anchors, strict=False)]

    def sweep(self, evaluator: Evaluator, policy: str, samples: int | None) -> Iterator[Sweep]:
        """Yield the sums over all rows, from one pass over the samples, paired to the trained model."""
        used = [(scope, anchors) for scope, anchors in zip(self.scopes, self.anchors, strict=True) if anchors]
        used = used or [(self.scopes[0], [])]
        members = [WeightFamily(self.family.layout, scope, self.family.anchors, self.family.background) for scope, _ in used]
        sizes = [len(anchors) for _, anchors in used]
        sizes[0] += 1
        one_hot = np.eye(len(self.family.anchors))
        rows = one_hot[[len(one_hot) - 1, *(anchor for _, anchors in used for anchor in anchors)]]
        family = members[0] if len(members) == 1 else Families(members, sizes)
        order = list(range(len(rows)))
        return evaluator.sweep(family, rows, reference=0, policy=policy, order=order, keep=KEEP, samples=samples)

    @property
    def draws(self) -> int:
        """How many anchors replace a scope at most."""
        return max(1, *map(len, self.anchors))

    def lost(
        self, evaluator: Evaluator, mixture: np.ndarray, policy: str, samples: int | None
    ) -> Iterator[tuple[Harm, dict[str, Any]]]:
        """Yield what is lost in each cell of a mixture of rows, after each batch, and what every result says besides."""
        constant = evaluator.constant(samples)
        provenance: dict[str, Any] = {}
        for sweep in self.sweep(evaluator, policy, samples):
            found = harm(sweep, mixture, constant)
            provenance = evaluator.updated(provenance, sweep) if provenance else self.provenance(evaluator, sweep, policy)
            about = {"n": sweep.n, "fraction": sweep.fraction, "provenance": provenance}
            yield found, {**self.about, **found.scale, **about}

    def mixture(self) -> np.ndarray:
        """Return the mean over the rows of each scope, shape (L, rows)."""
        weights = np.zeros((len(self.scopes), 1 + sum(map(len, self.anchors))))
        for cell, rows in enumerate(self.rows):
            weights[cell, rows] = 1 / max(len(rows), 1)
        return weights

    def by_draw(self, values: np.ndarray) -> np.ndarray:
        """Return values of rows, one line for each scope; 0 where nothing was replaced."""
        answer = np.zeros((len(self.scopes), max(1, *map(len, self.anchors))))
        for cell, rows in enumerate(self.rows):
            answer[cell, : len(rows)] = values[rows]
        return answer

    def provenance(self, evaluator: Evaluator, sweep: Sweep, policy: str) -> dict[str, Any]:
        """Return the provenance of a result."""
        whole = evaluator.provenance(self.family, sweep, policy=policy)
        known = sweep.samples is not None
        interval = f"simultaneous 95 %, max-t over {DRAWS} resamples" if known else "simultaneous 95 %, Bonferroni of paired errors"
        return {**whole, "interval": interval, **self.notes}


@dataclass(frozen=True)
class Replacement:
    """What is put in the place of layers: the arguments that studies of them have in common; `measure_layers` explains them."""

    kind: str
    at: int
    unit: str
    part: str
    draws: int
    seed: int
    initializer: Initializer | None

    def plan(self, evaluator: Evaluator, run: RunLike, layers: Sequence[Any] | None, joint: Together = False) -> Plan:
        """Return the plan of the layers; with `joint`, also of all of them together, or of each pair."""
        check_arguments(evaluator, run, self.kind, self.draws, self.seed, self.initializer)
        if self.kind == "reinit":
            return put_back(evaluator, run, self.at, self.unit, self.part, layers, joint)
        return drawn_anew(evaluator, run, self.unit, self.part, layers, self.draws, self.seed, self.initializer, joint)


def check_arguments(evaluator: Any, run: Any, kind: str, draws: Any, seed: Any, initializer: Any) -> None:
    """Refuse what no layer study can work with."""
    check_evaluator(evaluator)
    if len(check_run(run)) < 1:
        raise ValueError("run: it holds no checkpoints")
    if kind not in KINDS:
        raise ValueError(f"kind: one of {', '.join(map(repr, KINDS))}; received {kind!r}")
    for name, value, least in (("draws", draws, 1), ("seed", seed, 0)):
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name}: a whole number of at least {least}, received {value!r}")
    if initializer is not None and not callable(initializer):
        raise TypeError(f"initializer: a function (module, generator) that fills the module's weights, received {initializer!r}")
    if initializer is not None and kind == "reinit":
        raise ValueError("initializer: for kind='rerandomise'; kind='reinit' puts recorded weights back and draws none")


def check_index(run: RunLike, name: str, index: Any) -> int:
    """Return the number of a checkpoint of a run, counted from its start."""
    count = len(run)
    if not isinstance(index, (int, np.integer)) or isinstance(index, bool) or not -count <= index < count:
        raise ValueError(f"{name}: a checkpoint from 0 to {count - 1}, or from the end -1 to -{count}; received {index!r}")
    return int(index) % count


def states_of(evaluator: Evaluator, run: RunLike, *indices: int) -> list[dict[str, Tensor]]:
    """Return states of a run under the model's names; refuse NaN."""
    return [check_states(evaluator.layout, [run[index].state], "checkpoint", [index])[0] for index in indices]


def put_back(
    evaluator: Evaluator, run: RunLike, at: Any, unit: str, part: str, layers: Sequence[Any] | None, joint: Together
) -> Plan:
    """Return the plan in which each layer goes back to a checkpoint."""
    index = check_index(run, "at", at)
    scopes = _scopes(evaluator, unit, part, layers, joint)
    start, final = states_of(evaluator, run, index, len(run) - 1)
    about = {"kind": "reinit", "at": index, "epoch": float(run.epochs[index])}
    return replaced(evaluator, scopes, [start], final, about)


def replaced(
    evaluator: Evaluator, scopes: list[Scope], states: list[dict[str, Tensor]], final: dict[str, Tensor], about: dict[str, Any]
) -> Plan:
    """Return the plan in which each scope is replaced by what it is in each of some states."""
    anchors = [[k for k, state in enumerate(states) if _differ(scope, state, final)] for scope in scopes]
    far = [[distances(scope.take(state), scope.take(final)) for state in states] for scope in scopes]
    distance, relative = (
        np.array([[one[name] for one in row] for row in far]).mean(1) for name in ("distance", "relative_distance")
    )
    family = WeightFamily(evaluator.layout, _union(scopes, evaluator), [*states, final], final)
    return Plan(family, scopes, anchors, distance, relative, about)


def drawn_anew(
    evaluator: Evaluator,
    run: RunLike,
    unit: str,
    part: str,
    layers: Sequence[Any] | None,
    draws: int,
    seed: int,
    initializer: Initializer | None,
    joint: Together,
) -> Plan:
    """Return the plan in which each layer gets fresh draws."""
    scopes = _scopes(evaluator, unit, part, layers, joint)
    redraw = Redraw(evaluator.model, evaluator.layout, initializer, seed)
    problems = {scope.name: why for scope in scopes if (why := redraw.problem(scope.tensors))}
    if problems and (joint or layers is not None or len(problems) == len(scopes)):
        name = min((scope for scope in scopes if scope.name in problems), key=lambda scope: len(scope.tensors)).name
        leave = "; or leave it out, by layers=[...] of the others" if joint and layers is None else ""
        raise ValueError(f"kind: 'rerandomise' cannot draw {name!r} anew: {problems[name]}{leave}")
    able = [scope for scope in scopes if scope.name not in problems]
    (final,) = states_of(evaluator, run, len(run) - 1)
    names = [name for scope in able for name in scope.tensors]
    states = [{**final, **_placed(redraw.draw(names, number), final)} for number in range(draws)]
    about = {"kind": "rerandomise", "at": 0, "epoch": float(run.epochs[0])}
    plan = replaced(evaluator, scopes, states, final, about)
    notes = {"draws": draws, "draw_seed": seed, "initializer": _called(initializer), **_unlike(evaluator, run, states[0], able)}
    return Plan(**{**vars(plan), "problems": problems, "notes": notes})


def _scopes(evaluator: Evaluator, unit: str, part: str, layers: Sequence[Any] | None, joint: Together) -> list[Scope]:
    """Return the scopes of layers: with `joint` the union of all before them, or the union of each pair after them."""
    scopes = units_of(evaluator.model, evaluator.layout, unit, part, layers)
    if joint:
        _refuse_overlap(scopes)
    if joint == "pairs":
        return [*scopes, *(_union(list(pair), evaluator) for pair in combinations(scopes, 2))]
    return [_union(scopes, evaluator), *scopes] if joint else scopes


def _refuse_overlap(scopes: list[Scope]) -> None:
    """Refuse scopes of which two hold the same weight: its harm would be counted twice, and be taken for an interaction."""
    for one, other in combinations(scopes, 2):
        if name := one.shared_with(other):
            raise ValueError(
                f"layers: no weight in two of them, or its harm counts twice; received {one.name!r} and {other.name!r}, which "
                f"share {name!r}: leave one of the two out"
            )


def _union(scopes: list[Scope], evaluator: Evaluator) -> Scope:
    return Scope.parse(scopes, evaluator.layout)


def _differ(scope: Scope, one: State, other: State) -> bool:
    return not all(torch.equal(a, b) for a, b in zip(scope.take(one), scope.take(other), strict=True))


def _placed(drawn: dict[str, Tensor], final: State) -> dict[str, Tensor]:
    return {name: tensor.to(final[name].device, final[name].dtype) for name, tensor in drawn.items()}


def _called(initializer: Initializer | None) -> str:
    if initializer is None:
        return "reset_parameters"
    return getattr(initializer, "__qualname__", type(initializer).__qualname__)


def _unlike(evaluator: Evaluator, run: RunLike, drawn: State, scopes: list[Scope]) -> dict[str, Any]:
    """Return the tensors whose draws are of another size than those of the initial checkpoint: drawn in another way."""
    if float(run.epochs[0]) != 0.0:
        return {}
    initial = evaluator.layout.check(run[0].state, "checkpoint 0")
    found = []
    for name in dict.fromkeys(name for scope in scopes for name in scope.tensors):
        one, other = (float(state[name].double().norm()) for state in (initial, drawn))
        if drawn[name].numel() >= _TELLING and not other / _ODD <= one <= other * _ODD:
            found.append(name)
    return {"unlike_initial": found} if found else {}
