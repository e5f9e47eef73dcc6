"""What a surface explorer measures: planes, grids, trajectories and single points turned into named steps of work.

May import: core, experiments, results, jobs, numpy; no widgets. It is what is left of the explorer when the screen is taken away.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..core.directions import covering, random_plane, three_point_plane
from ..core.evaluator import Evaluator
from ..core.hessian import iter_hessian_plane
from ..core.plane import Plane
from ..core.principal import iter_pca_plane
from ..core.states import Layout
from ..experiments.grids import grids
from ..experiments.inspection import inspect_point, inspect_state
from ..experiments.lines import iter_line
from ..experiments.surfaces import iter_surface
from ..experiments.training import iter_training
from ..jobs import Step
from ..results import Inspection, Result, SurfaceResult, Trajectory
from .surface_choice import KINDS, GridChoice, PlaneChoice

SAMPLES = 1000  # that a surface is measured on unless more are asked for
SLICES = 6
_SLICE_RESOLUTION = 17
_KEPT = 12  # planes with their trajectories, and surfaces that finer ones may take cells from


class SurfaceStudy:
    """Runs, evaluators of one model, and the planes through it.

    Attributes
    ----------
    evaluators : dict of str to Evaluator
        By split.
    runs : dict of str to Run
    planes : dict of str to Plane
        The user's own.
    layout : Layout
    """

    def __init__(
        self,
        evaluator: Evaluator | Mapping[str, Evaluator],
        run: Any,
        planes: Mapping[str, Plane] | None = None,
    ):
        self.evaluators = dict(evaluator) if isinstance(evaluator, Mapping) else {getattr(evaluator, "name", ""): evaluator}
        for name, one in self.evaluators.items():
            if not isinstance(one, Evaluator):
                raise TypeError(f"evaluator: an Evaluator or {{split: Evaluator}}, received {type(one).__name__} for {name!r}")
        self.runs = dict(run) if isinstance(run, Mapping) else {"run": run}
        self.layout: Layout = next(iter(self.evaluators.values())).layout
        for name, one in self.evaluators.items():
            if one.layout.shapes != self.layout.shapes:
                raise ValueError(f"evaluator: the model of {name!r} has other parameters than {next(iter(self.evaluators))!r}'s")
        for name, one in self.runs.items():
            if not hasattr(one, "epochs") or len(one) < 1:
                raise TypeError(f"run: a Run or {{name: Run}} with checkpoints in it, received {type(one).__name__} for {name!r}")
            self.layout.check(one[len(one) - 1].state, f"the last checkpoint of {name!r}")
        self.planes = dict(planes or {})
        for name, plane in self.planes.items():
            if not isinstance(plane, Plane) or name in KINDS:
                raise TypeError(f"planes: {{name: Plane}} with names of your own, received {type(plane).__name__} as {name!r}")
        self._made: dict[Hashable, tuple[Plane, dict[str, Trajectory]]] = {}
        self._surfaces: dict[Hashable, SurfaceResult] = {}

    def defaults(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return what an explorer shows where its settings do not say: the plane of the paths, on not too many samples."""
        name = settings.get("run", next(iter(self.runs)))
        split = "test" if "test" in self.evaluators else next(iter(self.evaluators))
        one, size = self.runs.get(name), self.evaluators[settings.get("split", split)].n
        found = {"run": name, "plane_kind": "random", "split": split, "samples": SAMPLES if size > SAMPLES else None}
        if one is not None and len(one) > 2:
            found.update(plane_kind="three-point", mid=one.mid_index)
        return found

    # ---- planes

    def refusal(self, kind: str, run: str) -> str:
        """Return why there is no plane of this kind, or nothing where there is one."""
        count = len(self.runs[run])
        if kind in self.planes or kind in ("random", "hessian"):
            return ""
        if kind == "runs":
            return (
                "" if len(self.runs) > 1 else "the plane of two runs needs a second run: nv.SurfaceExplorer(evaluator, {name: run})"
            )
        if kind in ("three-point", "pca"):
            what = "three checkpoints" if kind == "three-point" else "at least three checkpoints"
            return "" if count > 2 else f"a {kind} plane needs {what}, and {run!r} holds {count}; take plane_kind='random'"
        return f"one of {', '.join(map(repr, [*KINDS, *self.planes]))}"

    def available(self, run: str) -> list[str]:
        """Return the kinds of plane that there are for a run."""
        return [kind for kind in (*KINDS, *self.planes) if not self.refusal(kind, run)]

    def plane(self, choice: PlaneChoice) -> Plane:
        """Return a plane, made where it has not been."""
        for _ in self.iter_plane(choice):
            pass
        return self._made[choice.key][0]

    def trajectories(self, choice: PlaneChoice) -> dict[str, Trajectory]:
        """Return where every run lies in a plane."""
        self.plane(choice)
        return self._made[choice.key][1]

    def known(self, choice: PlaneChoice) -> tuple[Plane, dict[str, Trajectory]] | None:
        """Return a plane and the runs in it if it has been made; nothing is computed."""
        return self._made.get(choice.key)

    def iter_plane(self, choice: PlaneChoice) -> Iterator[float]:
        """Make a plane and project every run on it, yielding shares of the work."""
        if choice.key in self._made:
            return
        plane = yield from self._making(choice)
        found = {}
        for name, run in self.runs.items():
            found[name] = yield from plane.iter_project(run)
        while len(self._made) >= _KEPT:
            self._made.pop(next(iter(self._made)))
        self._made[choice.key] = plane, found

    def _making(self, choice: PlaneChoice) -> Generator[float, None, Plane]:
        if choice.kind in self.planes:
            return self.planes[choice.kind]
        run, model = self.runs[choice.run], next(iter(self.evaluators.values())).model
        final = run[len(run) - 1].state
        yield 0.0
        if choice.kind == "three-point":
            return three_point_plane(run[0].state, run[choice.mid].state, final, model=model)
        if choice.kind == "pca":
            return (yield from iter_pca_plane(run, model=model))
        if choice.kind == "random":
            return random_plane(
                final, normalize=choice.normalize, seed=choice.seed, ignore_1d=choice.ignore_1d, model=model
            )  # fmt: skip
        if choice.kind == "hessian":
            return (yield from iter_hessian_plane(self.evaluators[choice.split], final, seed=choice.seed))
        other = next(name for name in self.runs if name != choice.run)
        return three_point_plane(self.runs[other][len(self.runs[other]) - 1].state, run[0].state, final, model=model)

    def extent(self, choice: PlaneChoice) -> tuple[float, float, float, float]:
        """Return what a surface covers of itself: the plane's own extent, and every run where the plane was made from one."""
        plane, tracks = self._made[choice.key]
        if choice.kind not in ("three-point", "pca", "runs"):
            return plane.extent
        around = covering(np.vstack([track.xy for track in tracks.values()]))
        low, high = np.minimum(plane.extent, around), np.maximum(plane.extent, around)
        return float(low[0]), float(high[1]), float(low[2]), float(high[3])

    def grid(self, choice: PlaneChoice, where: GridChoice) -> tuple[np.ndarray, np.ndarray]:
        """Return the coordinates of a surface along x and y; a factor of two in `widen` keeps every second one."""
        x, y = grids(self.extent(choice), None, None, where.resolution, where.span)
        return x * where.widen, y * where.widen

    # ---- work

    def steps(self, choice: PlaneChoice, where: GridChoice, *, slices: bool, training: bool) -> list[Step]:
        """Return the steps that measure a surface, the checkpoints themselves, and other random slices beside it."""
        steps = [Step({"surface": ("surface", choice.key, where.key)}, lambda _names: self._surface(choice, where))]
        if training:
            for name in self.runs:
                key = ("training", name, where.split, where.samples)
                steps.append(Step({f"training {name}": key}, lambda names, name=name: self._training(names[0], name, where)))
        if slices:
            for number in range(SLICES):
                other = replace(choice, kind="random", seed=choice.seed + number)
                coarse = replace(where, resolution=min(where.resolution, _SLICE_RESOLUTION))
                key = ("surface", other.key, coarse.key)
                steps.append(
                    Step({f"slice {other.seed}": key}, lambda names, o=other, c=coarse: self._surface(o, c, names[0]))
                )  # fmt: skip
        return steps

    def _surface(self, choice: PlaneChoice, where: GridChoice, name: str = "surface") -> Iterator[Mapping[str, Result]]:
        for _ in self.iter_plane(choice):
            yield {}
        plane, tracks = self._made[choice.key]
        x, y = self.grid(choice, where)
        known = self._like(choice, where, x, y)
        evaluator = self.evaluators[where.split]
        for surface in iter_surface(
            evaluator, plane, x=x, y=y, known=known, samples=self._samples(where), batchnorm=where.batchnorm
        ):  # fmt: skip
            yield {name: _named(where.split, surface.with_trajectory(tracks[choice.run]))}
        while len(self._surfaces) >= _KEPT:
            self._surfaces.pop(next(iter(self._surfaces)))
        self._surfaces[choice.key, where.key, where.measured] = surface

    def _samples(self, where: GridChoice) -> int | None:
        return None if where.samples is None else min(where.samples, self.evaluators[where.split].n)

    def _like(self, choice: PlaneChoice, where: GridChoice, x: np.ndarray, y: np.ndarray) -> SurfaceResult | None:
        """Return the measured surface of the same plane and samples that has most cells in common with a grid."""

        def shared(surface: SurfaceResult) -> int:
            return int(np.isin(x, surface.x).sum() * np.isin(y, surface.y).sum())

        same = [s for (plane, _, how), s in self._surfaces.items() if plane == choice.key and how == where.measured]
        best = max(same, key=shared, default=None)
        return best if best is not None and shared(best) else None

    def _training(self, label: str, name: str, where: GridChoice) -> Iterator[Mapping[str, Result]]:
        for result in iter_training(self.evaluators[where.split], self.runs[name], samples=self._samples(where)):
            yield {label: replace(_named(where.split, result), sample_losses=None)}

    # ---- single points

    def questions(
        self,
        choice: PlaneChoice,
        where: GridChoice,
        points: Mapping[str, tuple[float, float]],
        checkpoint: tuple[str, int] | None,
    ) -> list[Step]:
        """Return the steps that ask the model at marked points, at the trained weights, and at a checkpoint and its projection.

        Between two points the straight line is measured too.
        """
        how = (choice.key, where.measured)

        def ask(name: str, point: tuple[float, float]) -> Step:
            return Step({name: ("point", how, point)}, lambda _names: iter([{name: self._at(choice, where, point)}]))

        steps = [ask("trained", (0.0, 0.0)), *(ask(name, point) for name, point in points.items())]
        if checkpoint is not None:
            run, index = checkpoint
            known = self.known(choice)
            if known is None:
                raise ValueError("checkpoint: the plane has not been made yet; wait for the surface (await explorer.done())")
            x, y = known[1][run].xy[index]
            key = ("checkpoint", run, index, where.measured)
            steps.append(Step({"checkpoint": key}, lambda _names: iter([{"checkpoint": self._stored(run, index, where)}])))
            steps.append(ask("projection", (float(x), float(y))))
        if len(points) == 2:
            a, b = points.values()
            if a != b:
                steps.append(Step({"profile": ("line", how, a, b)}, lambda _names: self._line(choice, where, a, b)))
        return steps

    def _at(self, choice: PlaneChoice, where: GridChoice, point: tuple[float, float]) -> Inspection:
        evaluator, plane = self.evaluators[where.split], self.plane(choice)
        found = inspect_point(evaluator, plane, *point, batchnorm=where.batchnorm, samples=self._samples(where))
        return _named(where.split, found)

    def _stored(self, run: str, index: int, where: GridChoice) -> Inspection:
        state = self.runs[run][index].state
        return _named(where.split, inspect_state(self.evaluators[where.split], state, samples=self._samples(where)))

    def _line(
        self, choice: PlaneChoice, where: GridChoice, a: tuple[float, float], b: tuple[float, float]
    ) -> Iterator[Mapping[str, Result]]:  # fmt: skip
        evaluator, plane = self.evaluators[where.split], self.plane(choice)
        for result in iter_line(evaluator, plane, a, b, batchnorm=where.batchnorm, samples=self._samples(where)):
            yield {"profile": replace(_named(where.split, result), sample_losses=None)}

    def pictures(self, split: str, positions: Sequence[int]) -> Any:
        """Return the inputs of samples at places of an inspection's arrays."""
        return self.evaluators[split].inputs(np.asarray(positions, dtype=int))


def _named(split: str, result: Any) -> Any:
    """Return a result under the name that the user gave the split here."""
    return replace(result, provenance={**result.provenance, "split": split})
