"""What a surface explorer measures, without a screen."""

from __future__ import annotations

from dataclasses import replace

import factories
import numpy as np
import pytest
import torch

import nnvis_widgets as nv
from nnvis_widgets.jobs import stepwise
from nnvis_widgets.widgets.surface_choice import GridChoice, PlaneChoice, paths_on
from nnvis_widgets.widgets.surface_study import SLICES, SurfaceStudy


@pytest.fixture
def study():
    torch.manual_seed(3)
    model = factories.ConvNet(norm=False)
    states = [factories.ConvNet(norm=False).state_dict() for _ in range(5)]
    data = torch.randn(37, 1, factories.HEIGHT, factories.WIDTH), torch.randint(0, factories.CLASSES, (37,))
    evaluators = {
        "test": nv.Evaluator(model, data, device="cpu", batch_size=10),
        "train": nv.Evaluator(model, data, device="cpu", batch_size=10, samples=20),
    }
    runs = {"sgd": nv.Run.from_states(states[:4]), "adam": nv.Run.from_states([states[0], states[2], states[4]])}
    return SurfaceStudy(evaluators, runs)


def drained(study, choice, where, known=None, **options):
    known = {} if known is None else known
    *_, (results, fraction) = stepwise(study.steps(choice, where, **{"slices": False, "training": False, **options}), known)
    assert fraction == 1.0
    return results


THREE, WHERE = PlaneChoice("three-point", "sgd", mid=1), GridChoice("test", resolution=9)


def test_a_finer_and_a_wider_surface_measure_only_what_is_new(study):
    first = drained(study, THREE, WHERE)["surface"]
    finer = drained(study, THREE, replace(WHERE, resolution=17))["surface"]
    assert finer.provenance["reused"] == 81
    assert np.array_equal(finer.loss[::2, ::2], first.loss)
    wider = drained(study, THREE, replace(WHERE, resolution=17, widen=2.0))["surface"]
    inside = np.isin(wider.x, finer.x).sum() * np.isin(wider.y, finer.y).sum()
    assert wider.provenance["reused"] == inside == 81  # every second cell of the old grid, and no other
    coarse = drained(study, THREE, replace(WHERE, resolution=9))["surface"]
    assert coarse.provenance["reused"] == 81
    other = drained(study, THREE, replace(WHERE, samples=11))["surface"]
    assert other.provenance["reused"] == 0
    assert other.n.max() == 20  # whole batches


def test_a_surface_is_that_of_the_plane_and_holds_every_run(study):
    found = drained(study, THREE, WHERE, training=True)
    run = study.runs["sgd"]
    plane = nv.three_point_plane(run[0].state, run[1].state, run[3].state, model=study.evaluators["test"].model)
    surface = found["surface"]
    assert surface.plane["digest"] == plane.digest
    assert surface.x[0] < 0 < surface.x[-1]
    for name in ("sgd", "adam"):
        xy = study.trajectories(THREE)[name].xy
        assert np.allclose(xy, plane.project(study.runs[name]).xy)
        assert (xy[:, 0] >= surface.x[0]).all()
        assert (xy[:, 0] <= surface.x[-1]).all()
        assert (xy[:, 1] >= surface.y[0]).all()
        assert (xy[:, 1] <= surface.y[-1]).all()
        expected = nv.measure_training(study.evaluators["test"], study.runs[name])
        assert np.array_equal(found[f"training {name}"].loss, expected.loss)


def test_every_kind_of_plane_goes_through_the_trained_model(study):
    trained = study.evaluators["test"].measure(study.runs["adam"].final).loss
    for kind in study.available("adam"):
        surface = drained(study, PlaneChoice(kind, "adam", mid=1, split="test"), replace(WHERE, resolution=3))["surface"]
        row, column = int(np.argmin(np.abs(surface.y))), int(np.argmin(np.abs(surface.x)))
        assert surface.x[column] == surface.y[row] == 0
        assert surface.loss[row, column] == pytest.approx(trained, rel=1e-6), kind


def test_what_does_not_matter_for_a_plane_is_not_in_its_key():
    assert THREE.key == replace(THREE, seed=5, normalize=None, split="train").key
    assert THREE.key != replace(THREE, mid=2).key
    random = replace(THREE, kind="random")
    assert random.key == replace(random, mid=2).key
    assert len({random.key, replace(random, seed=1).key, replace(random, normalize=None).key}) == 3


def test_slices_are_random_planes_with_following_seeds(study):
    found = drained(study, replace(THREE, seed=4), replace(WHERE, resolution=3), slices=True)
    names = [name for name in found if name.startswith("slice ")]
    assert names == [f"slice {seed}" for seed in range(4, 4 + SLICES)]
    assert [found[name].plane["seed"] for name in names] == list(range(4, 4 + SLICES))


def test_questions_are_answered_by_the_model_itself(study):
    drained(study, THREE, WHERE)
    steps = study.questions(THREE, WHERE, {"A": (0.5, -0.25), "B": (1.0, 2.0)}, ("adam", 1))
    *_, (found, _) = stepwise(steps, {})
    plane, evaluator = study.plane(THREE), study.evaluators["test"]
    assert found["A"].loss == pytest.approx(evaluator.measure(plane.state_at(0.5, -0.25)).loss, rel=1e-5)
    assert found["trained"].loss == pytest.approx(evaluator.measure(study.runs["sgd"].final).loss, rel=1e-5)
    state = study.runs["adam"][1].state
    assert found["checkpoint"].loss == pytest.approx(evaluator.measure(state).loss, rel=1e-5)
    assert found["projection"].point == pytest.approx(plane.coordinates(state))
    profile = found["profile"]
    assert profile.loss[[0, -1]] == pytest.approx([found["A"].loss, found["B"].loss], rel=1e-5)


def test_both_paths_lie_on_the_three_point_plane(study):
    plane, run = study.plane(THREE), study.runs["sgd"]
    lines = paths_on(plane)
    for kind, path in (
        ("linear", nv.LinearPath(run.initial, run.final)),
        ("quadratic", nv.QuadraticPath(run.initial, run[1].state, run.final)),
    ):
        for row in (0, 30, 73, 100):
            state = path.state_at(row / 100)
            assert plane.coordinates(state) == pytest.approx(tuple(lines[kind][row]), abs=1e-5)
            assert row == 100 or plane.off_plane(state) < 1e-5
    assert paths_on(study.plane(replace(THREE, kind="random"))) == {}


def test_what_cannot_be_is_refused_with_the_reason(study):
    short = SurfaceStudy(study.evaluators, nv.Run.from_states([study.runs["sgd"].initial, study.runs["sgd"].final]))
    assert "holds 2" in short.refusal("pca", "run")
    assert short.available("run") == ["random", "hessian"]
    assert "one of" in short.refusal("pcs", "run")
    with pytest.raises(TypeError, match="evaluator"):
        SurfaceStudy("no evaluator", study.runs)
    with pytest.raises(TypeError, match="planes"):
        SurfaceStudy(study.evaluators, study.runs, {"pca": study.plane(THREE)})
