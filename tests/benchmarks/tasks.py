"""What we measure, through the public API alone. The one place to change when a name of the API does.

Each task function takes a problem, an evaluator and a task, and returns an `Answer`; `shift` moves the grid a little from call
to call, so that no call can be answered with the values of the one before.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import nn

import nnvis_widgets as nv
from benchmarks.problem import Problem, furthest

SHIFT = 1e-3


@dataclass(frozen=True)
class Task:
    """One row of the table.

    Attributes
    ----------
    kind : {"layer", "model", "weight", "surface"}
        Also what a peer is asked for.
    first, later : float
        The ratio to the fastest peer that is asked for; 0 where none is.
    options : dict
        For `nv.Evaluator`.
    """

    name: str
    kind: str
    scope: str | None = None
    points: int = 41
    first: float = 0.0
    later: float = 0.0
    aim: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Number of points in all: of a surface its square, of a weight both curves."""
        return {"surface": self.points**2, "weight": 2 * self.points}.get(self.kind, self.points)

    def smaller(self) -> Task:
        """Return the same with fewer points, for a quick look."""
        return replace(self, points=9 if self.kind == "surface" else 11)


@dataclass(frozen=True)
class Answer:
    """Values at rows of coefficients (see `Problem.state`): mean loss, number of correct answers."""

    scope: Any
    rows: np.ndarray
    loss: np.ndarray
    correct: np.ndarray
    how: dict[str, Any]


EAGER = {"compile": False}
_PASS = "1.5 forwards"
TASKS = [
    Task("fc1 path", "layer", "fc1", first=25, later=45, aim=_PASS),
    Task("fc2 path", "layer", "fc2", first=30, later=60, aim=_PASS),
    Task("fc3 path", "layer", "fc3", first=30, later=60, aim=_PASS),
    Task("one weight of fc1, linear and quadratic", "weight", "fc1.weight", first=60, later=110, aim=_PASS),
    Task("conv2 path", "layer", "conv2", first=5, later=8, aim="15x"),
    Task("conv1 path", "layer", "conv1", first=2.3, later=4.5, aim="8x"),
    Task("model path", "model", first=2.3, later=4.5, aim="8x"),
    Task("surface", "surface", points=33, first=4, later=5, aim="8x"),
    Task("conv1 path, no compiler", "layer", "conv1", first=2.5, later=2.5, aim="3x", options=EAGER),
    Task("model path, no compiler", "model", first=2.5, later=2.5, aim="3x", options=EAGER),
    Task("surface, no compiler", "surface", points=33, first=2.5, later=2.5, aim="3x", options=EAGER),
]
# final statistics: the plain loop that it is compared with recalibrates nothing
RESNET = Task("ResNet-18, layer4.1.conv2 path", "layer", "layer4.1.conv2", later=5, options={"batchnorm": "final"})


class NotThere(Exception):
    """A part of the API that this version does not have yet."""


def evaluator(problem: Problem, model: nn.Module, task: Task, workers: int = 0) -> nv.Evaluator:
    """Return the evaluator of a task; planning and tracing that it does at once are part of the first call."""
    options = dict(task.options)
    if workers and "executor" not in inspect.signature(nv.Evaluator).parameters:
        raise NotThere("nv.Evaluator(executor=...) is not there yet")
    if workers:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        options["executor"] = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    return nv.Evaluator(model, problem.data, device="cpu", **options)


def ready(task: Task) -> None:
    """Load the names that a task uses, so that importing them is no part of its time; raise `NotThere`."""
    names = ["Evaluator", "LinearPath", "QuadraticPath", "measure_path"]
    names += ["random_plane", "measure_surface", "iter_surface"] if task.kind == "surface" else []
    missing = [name for name in names if name not in nv.__all__ or getattr(nv, name) is None]
    if missing:
        raise NotThere(f"not there yet: {', '.join('nv.' + name for name in missing)}")


def run(problem: Problem, measuring: nv.Evaluator, task: Task, shift: float = 0.0) -> Answer:
    """Return what a task measures."""
    return {"surface": surface, "weight": weight}.get(task.kind, path)(problem, measuring, task, shift)


def grid(low: float, high: float, points: int, shift: float) -> np.ndarray:
    """Return coordinates from `low` to `high`, all shifted but for the last stored weights at 1."""
    alphas = np.linspace(low, high, points)
    return np.where(np.abs(alphas - 1) < 1e-9, 1.0, alphas + shift)


def path(problem: Problem, measuring: nv.Evaluator, task: Task, shift: float) -> Answer:
    """Measure a linear path of the model or of a layer."""
    initial, _, final = problem.states
    result = nv.measure_path(measuring, nv.LinearPath(initial, final), grid(0, 1, task.points, shift), scope=task.scope)
    a = result.alphas
    return _answer(task.scope, np.stack([1 - a, 0 * a, a], axis=1), result)


def weight(problem: Problem, measuring: nv.Evaluator, task: Task, shift: float) -> Answer:
    """Measure both curves of the weight that moved furthest."""
    initial, mid, final = problem.states
    scope = furthest(initial, final, task.scope or "")
    alphas = grid(-0.5, 1.5, task.points, shift)
    paths = [nv.LinearPath(initial, final), nv.QuadraticPath(initial, mid, final)]
    linear, quadratic = nv.measure_paths(measuring, paths, [scope], alphas).values()
    a = linear.alphas
    rows = np.concatenate([np.stack([1 - a, 0 * a, a], axis=1), [paths[1].coefficients(x) for x in quadratic.alphas]])
    one, other = _answer(scope, rows[: len(a)], linear), _answer(scope, rows[len(a) :], quadratic)
    return Answer(scope, rows, np.r_[one.loss, other.loss], np.r_[one.correct, other.correct], one.how)


def plane(problem: Problem) -> Any:
    """Return the plane of the surface: random, filter-normalised, through the final weights."""
    return nv.random_plane(problem.states[-1], seed=0)


def directions(problem: Problem) -> list[dict]:
    """Return the two directions of our plane, so that the peers walk on the same one."""
    kept = [dict(direction) for direction in plane(problem).directions]
    return [{k: v.float() for k, v in d.items() if v.is_floating_point()} for d in kept]


def surface(problem: Problem, measuring: nv.Evaluator, task: Task, shift: float) -> Answer:
    """Measure a square surface on [-1, 1]."""
    at = np.linspace(-1, 1, task.points) + shift
    return _surface(nv.measure_surface(measuring, plane(problem), x=at, y=at))


def pictures(problem: Problem, measuring: nv.Evaluator, task: Task, shift: float) -> Any:
    """Yield how many points of a surface can be drawn, after each partial result."""
    at = np.linspace(-1, 1, task.points) + shift
    for partial in nv.iter_surface(measuring, plane(problem), x=at, y=at):
        yield int(np.isfinite(partial.loss).sum())


def _surface(result: Any) -> Answer:
    x, y = np.meshgrid(result.x, result.y)
    rows = np.stack([x.ravel(), y.ravel()], axis=1)
    n = np.max(result.n)
    correct = np.rint(result.metrics["accuracy"].ravel() * n).astype(int)
    return Answer(None, rows, result.loss.ravel(), correct, _how(result.provenance))


def _answer(scope: Any, rows: np.ndarray, result: Any) -> Answer:
    correct = np.rint(result.metrics["accuracy"] * result.n).astype(int)
    return Answer(scope, rows, np.asarray(result.loss), correct, _how(result.provenance))


def _how(provenance: dict[str, Any]) -> dict[str, Any]:
    return {key: provenance.get(key) for key in ("compiled", "batch_size", "threads")}
