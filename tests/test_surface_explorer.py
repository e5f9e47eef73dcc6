"""The surface explorer without a browser: traits, results, points, words, and what the views are given."""

import asyncio
import json

import ipywidgets
import numpy as np
import pytest
import torch
from torch import nn

import nnvis_widgets as nv
from nnvis_widgets.widgets.base import parts_of
from nnvis_widgets.widgets.surface_keys import press
from nnvis_widgets.widgets.surface_words import curvatures


def small_model():
    return nn.Sequential(nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 3))


def recorded(model, data, lr):
    x, y = data
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    states = [{k: v.clone() for k, v in model.state_dict().items()}]
    for _ in range(4):
        for _ in range(5):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        states.append({k: v.clone() for k, v in model.state_dict().items()})
    return nv.Run.from_states(states)


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    data = torch.randn(90, 7), torch.randint(0, 3, (90,))
    model, other = small_model(), small_model()
    other.load_state_dict(model.state_dict())
    return model, data, {"slow": recorded(model, data, 0.1), "fast": recorded(other, data, 0.5)}


@pytest.fixture
def explorer(trained):
    model, data, runs = trained
    explorer = nv.SurfaceExplorer(nv.Evaluator(model, data, batch_size=20), runs, resolution=9, solid=False)
    yield explorer
    explorer.close()


def test_compute_measures_what_measure_surface_measures(explorer, trained):
    explorer.compute()
    surface = explorer.surface
    again = nv.measure_surface(explorer.study.evaluators["test"], explorer.plane, x=surface.x, y=surface.y)
    np.testing.assert_array_equal(surface.loss, again.loss)
    assert list(explorer.results) == ["surface", "training slow", "training fast"]
    assert surface.plane["kind"] == "three points"
    np.testing.assert_allclose(surface.trajectory, explorer.plane.project(trained[2]["slow"]).xy)


def test_the_scene_has_true_heights_both_paths_and_every_run(explorer, trained):
    explorer.compute()
    scene = explorer.scene()
    assert [track.name for track in scene.tracks] == ["slow", "fast"]
    for track in scene.tracks:
        expected = nv.measure_training(explorer.study.evaluators["test"], trained[2][track.name]).loss
        np.testing.assert_array_equal(track.values, expected)
    assert set(scene.paths) == {"linear", "quadratic"}
    explorer.quantity = "accuracy"
    assert explorer.scene().raw.max() <= 1
    explorer.trajectory = explorer.paths = False
    assert not explorer.scene().tracks
    assert not explorer.scene().paths
    explorer.plane_kind = "random"
    explorer.paths = True
    assert not explorer.scene().paths  # they do not lie in this plane


def test_each_kind_of_plane_and_what_is_known_is_not_measured_again(explorer):
    explorer.compute()
    digests = {explorer.surface.plane["digest"]}
    for kind in ("pca", "random", "hessian", "runs"):
        explorer.plane_kind = kind
        digests.add(explorer.surface.plane["digest"])
        assert explorer.status.error.value == ""
    assert len(digests) == 5
    started = explorer._worker.started
    explorer.plane_kind = "pca"
    assert explorer._worker.started == started
    explorer.seed = 3  # of no matter for a principal plane
    assert explorer._worker.started == started
    explorer.resolution = 17
    assert explorer.surface.provenance["reused"] == 81


def test_a_click_asks_the_model_itself(explorer):
    explorer.compute()
    explorer._clicked(0.3, -0.2, False)
    found = explorer.inspector.results["A"]
    state = explorer.plane.state_at(0.3, -0.2)
    assert found.loss == pytest.approx(explorer.study.evaluators["test"].measure(state).loss, rel=1e-5)
    assert explorer.point == (0.3, -0.2)
    assert f"loss {found.loss:.4g}" in explorer.inspector._words.value
    explorer._clicked(0.1, 0.4, True)
    assert explorer.other == (0.1, 0.4)
    profile = explorer.inspector.results["profile"]
    assert profile.loss[[0, -1]] == pytest.approx([found.loss, explorer.inspector.results["B"].loss], rel=1e-5)
    assert explorer.scene().points == {"A": (0.3, -0.2), "B": (0.1, 0.4)}
    explorer._clicked(0.0, 0.0, False)  # the next click begins anew
    assert explorer.other is None
    assert "B" not in explorer.inspector.results
    explorer.clear_points()
    assert explorer.inspector.results == {}


def test_a_click_on_a_checkpoint_offers_itself_and_its_projection(explorer, trained):
    explorer.compute()
    explorer._picked("fast", 1)
    found, state = explorer.inspector.results, trained[2]["fast"][1].state
    measured = explorer.study.evaluators["test"].measure
    assert found["checkpoint"].loss == pytest.approx(measured(state).loss, rel=1e-5)
    at = explorer.plane.coordinates(state)
    assert found["projection"].loss == pytest.approx(measured(explorer.plane.state_at(*at)).loss, rel=1e-4)
    words = explorer.inspector._words.value
    assert "epoch 1 of fast itself" in words
    assert "projection of epoch 1 of fast" in words


def test_a_cell_of_the_confusion_matrix_shows_its_samples(explorer):
    explorer.compute()
    explorer._clicked(0.5, 0.5, False)
    found = explorer.inspector.results["A"]
    target, predicted = np.unravel_index(found.confusion().argmax(), (3, 3))
    explorer.inspector._pick(int(target), int(predicted))
    places = explorer.inspector._places(found, explorer.inspector.results["trained"])
    assert len(places) == min(12, found.confusion().max())
    assert (found.target[places] == target).all()
    assert (found.predicted[places] == predicted).all()
    assert f"target {target}, predicted {predicted}" in explorer.inspector._cards.value
    explorer.inspector._pick(int(target), int(predicted))
    assert explorer.inspector.cell is None


def test_points_of_one_plane_are_not_taken_to_another(explorer):
    explorer.compute()
    explorer._clicked(0.3, -0.2, False)
    explorer.plane_kind = "random"
    assert explorer.point is None
    explorer._clicked(0.3, -0.2, False)
    explorer.resolution = 17  # the same plane
    assert explorer.point == (0.3, -0.2)


def test_the_words_say_n_split_policy_plane_and_what_is_outside(explorer):
    explorer.compute()
    for words in ("n = 90", "test", "no BatchNorm", "seeds: 1"):
        assert words in explorer.state_line.value
    assert "three-point plane" in explorer.heading.value
    explorer.plane_kind = "random"
    assert "seed 0, filter-normalised" in explorer.heading.value
    assert "outside this plane" in explorer.state_line.value
    explorer.plane_kind = "pca"
    assert "a random walk: 61% + 15%" in explorer.heading.value


def test_six_slices(explorer):
    explorer.plane_kind, explorer.slices = "random", True
    explorer.compute()
    names = [name for name in explorer.results if name.startswith("slice")]
    assert names == [f"slice {seed}" for seed in range(6)]
    assert len(explorer.slices_view._row.children) == 6
    explorer._choose_slice("slice 4")
    assert explorer.seed == 4


def test_curvatures_of_a_bowl_are_its_own():
    x, y = np.linspace(-1, 2, 7), np.linspace(-2, 2, 5)
    loss = 1 + 3 * x[None] ** 2 - 0.5 * y[:, None] ** 2
    flat = np.zeros_like(loss)
    surface = nv.SurfaceResult(x=x, y=y, loss=loss, loss_se=flat, diff_se=flat, metrics={}, n=flat.astype(int) + 1, plane={})
    assert curvatures(surface) == pytest.approx((6, -1))


def test_samples_limit_the_surface_and_the_checkpoints(explorer):
    explorer.samples = 30
    explorer.compute()
    assert explorer.surface.n.max() == 40  # whole batches of 20
    assert explorer.results["training slow"].n == 40


def test_save_load_and_from_result_show_the_same_surface(explorer, tmp_path):
    explorer.compute()
    explorer.save_result(tmp_path / "surface.safetensors")
    shown = nv.SurfaceExplorer.from_result(nv.load(tmp_path / "surface.safetensors"))
    np.testing.assert_array_equal(shown.scene().raw, explorer.scene().raw)
    np.testing.assert_allclose(shown.scene().tracks[0].xy, explorer.scene().tracks[0].xy)
    shown._clicked(0.0, 0.0, False)  # nobody to ask
    assert shown.point is None
    shown.scale = "log10"
    shown.compute()
    np.testing.assert_array_equal(shown.scene().raw, explorer.scene().raw)
    shown.close()
    with pytest.raises(TypeError, match="SurfaceResult"):
        nv.SurfaceExplorer.from_result(explorer.results["training slow"])


def test_snapshots_survive_json_and_a_refused_one_changes_nothing(explorer):
    explorer.compute()
    explorer.plane_kind, explorer.scale, explorer.point = "pca", "log10", (0.5, 0.25)
    kept = json.loads(json.dumps(explorer.snapshot()))
    explorer.restore({**explorer.snapshot(), "plane_kind": "random", "scale": "auto", "point": None})
    explorer.restore(kept)
    assert json.loads(json.dumps(explorer.snapshot())) == kept
    with pytest.raises(Exception, match="plane_kind"):
        explorer.restore({"scale": "linear", "plane_kind": "pcs"})
    assert json.loads(json.dumps(explorer.snapshot())) == kept


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("plane_kind", "pcs", "'pca'"),
        ("split", "validation", "'test'"),
        ("run", "adam", "'fast'"),
        ("mid", 4, "1 to 3"),
        ("span", -1.0, "positive"),
        ("widen", 0.0, "positive"),
        ("samples", 0, "at least 1"),
        ("batchnorm", "interpolate", "no running"),
        ("quantity", "acuracy", "'accuracy'"),
        ("resolution", 2, "3 to 257"),
        ("point", (float("nan"), 0.0), "finite"),
        ("checkpoint", ("slow", 9), "index"),
        ("scale", "cubic", "log10"),
    ],
)
def test_bad_settings_are_refused_and_nothing_changes(explorer, name, value, words):
    before = explorer.snapshot()
    with pytest.raises(Exception, match=words):
        setattr(explorer, name, value)
    assert explorer.snapshot() == before


def test_a_run_of_two_checkpoints_has_random_planes(trained):
    model, data, runs = trained
    run = nv.Run.from_states([runs["slow"].initial, runs["slow"].final])
    explorer = nv.SurfaceExplorer(nv.Evaluator(model, data), run, resolution=3, solid=False)
    explorer.compute()
    assert explorer.plane_kind == "random"
    with pytest.raises(Exception, match="holds 2"):
        explorer.plane_kind = "three-point"
    explorer.close()


def test_a_plane_of_the_users(trained):
    model, data, runs = trained
    directions = nv.random_plane(runs["slow"].final, seed=8).directions
    own = nv.Plane(runs["slow"].final, directions)
    explorer = nv.SurfaceExplorer(
        nv.Evaluator(model, data), runs, planes={"mine": own}, plane_kind="mine", resolution=5, solid=False
    )
    explorer.compute()
    assert explorer.surface.plane["digest"] == own.digest
    explorer.close()


def test_no_name_of_ours_covers_one_of_ipywidgets():
    ours = {name for cls in nv.SurfaceExplorer.__mro__ if cls.__module__.startswith("nnvis_widgets") for name in vars(cls)}
    ours |= {"results", "study", "pictures", "controls", "heading", "state_line", "status", "inspector"}
    meant = {"close", "_ipython_display_"}
    assert {name for name in ours if not name.startswith("_") and hasattr(ipywidgets.VBox, name)} <= meant


def test_a_closed_explorer_leaves_no_widget_and_does_not_compute(trained):
    import ipyvolume  # noqa: F401  it makes a few widgets of its own

    model, data, runs = trained
    before = set(ipywidgets.widgets.widget._instances)
    explorer = nv.SurfaceExplorer(nv.Evaluator(model, data), runs, resolution=5)
    explorer.compute()
    explorer._clicked(0.1, 0.1, False)
    explorer.close()
    started = explorer._worker.started
    explorer.compute()
    assert explorer._worker.started == started
    left = [w for name, w in ipywidgets.widgets.widget._instances.items() if name not in before]
    assert sorted(type(w).__name__ for w in left) == []


def test_in_a_loop_a_click_answers_while_the_surface_is_measured(trained):
    model, _, runs = trained
    data = torch.randn(3000, 7), torch.randint(0, 3, (3000,))

    async def main():
        explorer = nv.SurfaceExplorer(nv.Evaluator(model, data, batch_size=20), runs, solid=False, samples=None, training=False)
        while explorer.surface is None:
            await asyncio.sleep(0.005)
        partial = explorer.surface.fraction
        explorer._clicked(0.2, 0.1, False)
        await explorer.inspector.done()
        answered, meanwhile = "A" in explorer.inspector.results, explorer.surface.fraction
        explorer.cancel()
        await explorer.done()
        explorer.close()
        return partial, answered, meanwhile, explorer

    partial, answered, meanwhile, explorer = asyncio.run(main())
    assert partial < 1
    assert answered
    assert meanwhile < 1
    state = explorer.study.plane(explorer.plane_choice).state_at(0.2, 0.1)
    assert explorer.inspector.results["A"].loss == pytest.approx(nv.Evaluator(model, data).measure(state).loss, rel=1e-5)


def test_keys_move_the_same_traits_as_the_controls(explorer):
    explorer.compute()
    surface = explorer.surface
    press(explorer, "ArrowRight", False)
    assert explorer.point == pytest.approx((surface.x[1] - surface.x[0], 0.0))
    press(explorer, "ArrowUp", True)
    assert explorer.other == pytest.approx((surface.x[1] - surface.x[0], surface.y[1] - surface.y[0]))
    press(explorer, "-", False)
    assert explorer.widen == 2.0
    press(explorer, "0", False)
    press(explorer, "+", False)
    assert explorer.widen == 0.5
    press(explorer, "g", False)
    assert explorer.scale == "log10"
    press(explorer, "n", False)
    assert (explorer.plane_kind, explorer.seed) == ("random", 0)
    press(explorer, "n", False)
    assert explorer.seed == 1


def test_the_epoch_slider_follows_the_trait_and_moves_it(explorer):
    explorer.compute()
    explorer.controls.epoch.value = 2
    assert explorer.epoch == 2.0
    explorer.controls.epoch.value = 4
    assert explorer.epoch is None
    explorer.epoch = 1.0
    assert explorer.controls.epoch.value == 1


def test_both_views_share_a_row_that_is_wide_enough(explorer):
    flat, facts = explorer.pictures.flat, explorer.pictures.solid.facts
    for row, solid, room in ((1103, True, 655), (1103, False, 1103), (800, True, 800)):
        facts.row, explorer.solid = row, solid
        assert flat.room == room


def test_where_the_browser_cannot_draw_in_3d_the_flat_view_stands_alone_and_says_why(trained):
    model, data, runs = trained
    explorer = nv.SurfaceExplorer(nv.Evaluator(model, data, batch_size=20), runs, resolution=9)
    explorer.compute()
    solid = explorer.pictures.solid
    assert solid.layout.display is None
    assert "drawn ×" in explorer.pictures.words.value
    solid.facts.available = False
    assert not explorer.pictures.has_solid
    assert solid.layout.display == "none"
    assert "WebGL" in explorer.pictures.words.value
    assert explorer.surface.fraction == 1.0
    explorer.close()


def test_in_a_notebook_the_first_picture_waits_for_nothing_that_it_does_not_need(trained):
    model, data, runs = trained
    later = {"Dropdown", "FileUpload", "Play", "ConfusionView", "SolidView", "SurfaceInspector"}

    def shown(explorer):
        return {type(part).__name__ for part in parts_of(explorer, set())}

    async def look():
        explorer = nv.SurfaceExplorer(nv.Evaluator(model, data, batch_size=20), runs, resolution=9, solid=False)
        assert "Figure" in shown(explorer)
        assert not later & shown(explorer)
        await explorer.done()
        assert explorer.surface.fraction == 1.0
        assert later <= shown(explorer)
        assert explorer.controls.resolution.index == 0
        explorer.close()
        closed = nv.SurfaceExplorer(nv.Evaluator(model, data, batch_size=20), runs, resolution=9)
        closed.close()
        closed._furnish()
        assert closed.pictures.solid is None

    asyncio.run(look())
