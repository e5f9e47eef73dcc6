"""The path explorer without a browser: traits, results, caching, words, and bqplot marks as data."""

import asyncio
import html
import threading

import ipywidgets
import numpy as np
import pytest
import torch
from torch import nn

import nnvis_widgets as nv
from nnvis_widgets.widgets.path_keys import press
from nnvis_widgets.widgets.path_study import PathStudy, grid


def small_model(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 3))


@pytest.fixture(scope="module")
def trained():
    """A little net with five checkpoints, the last of which is the model's own state."""
    model = small_model()
    x, y = torch.randn(90, 7), torch.randint(0, 3, (90,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    states = [{k: v.clone() for k, v in model.state_dict().items()}]
    for _ in range(4):
        for _ in range(5):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        states.append({k: v.clone() for k, v in model.state_dict().items()})
    return model, (x, y), nv.Run.from_states(states)


@pytest.fixture
def explorer(trained):
    model, data, run = trained
    explorer = nv.PathExplorer(nv.Evaluator(model, data), run, points=9)
    yield explorer
    explorer.close()


def line(explorer, kind="linear", figure="loss"):
    return explorer.curves._plots[figure].lines[kind]


def test_compute_measures_what_measure_path_measures(explorer, trained):
    model, data, run = trained
    explorer.compute()
    linear = nv.measure_path(nv.Evaluator(model, data), nv.LinearPath(run.initial, run.final), np.linspace(0, 1, 9))
    assert list(explorer.results) == ["linear", "quadratic", "training"]
    np.testing.assert_array_equal(explorer.results["linear"].loss, linear.loss)
    np.testing.assert_array_equal(explorer.results["training"].epochs, [0, 1, 2, 3, 4])


def test_the_drawn_line_is_the_result(explorer):
    explorer.compute()
    drawn = line(explorer)
    np.testing.assert_array_equal(drawn.y, explorer.results["linear"].loss)
    np.testing.assert_array_equal(drawn.x, explorer.results["linear"].alphas)
    np.testing.assert_array_equal(line(explorer, "quadratic", "metric").y, explorer.results["quadratic"].metrics["accuracy"])


def test_kind_hides_the_other_line(explorer):
    explorer.compute()
    explorer.kind = "linear"
    assert line(explorer).visible
    assert not line(explorer, "quadratic").visible
    assert "quadratic" not in explorer.results


def test_scope_and_level_follow_each_other(explorer):
    explorer.scope = "2"
    assert explorer.level == "layer"
    explorer.scope = ("0.weight", (1, 4))
    assert (explorer.level, explorer.alpha_range) == ("parameter", (-0.5, 1.5))
    explorer.level = "layer"
    assert (explorer.scope, explorer.alpha_range) == ("2", (0.0, 1.0))
    explorer.scope = "0"
    explorer.level = "parameter"
    assert explorer.scope == ("0.weight", (1, 4))
    explorer.scope = "2"
    explorer.level = "parameter"
    assert explorer.scope[0] == "2.weight"
    explorer.level = "model"
    assert explorer.scope is None


def test_an_alpha_range_is_remembered_for_its_level(explorer):
    explorer.alpha_range = (0.0, 0.5)
    explorer.level = "layer"
    assert explorer.alpha_range == (0.0, 1.0)
    explorer.level = "model"
    assert explorer.alpha_range == (0.0, 0.5)


def test_settings_given_at_the_start_hold(trained):
    model, data, run = trained
    explorer = nv.PathExplorer(nv.Evaluator(model, data), run, alpha_range=(0.25, 0.75), scope=("2.bias", (1,)), kind="quadratic")
    assert explorer.alpha_range == (0.25, 0.75)
    assert explorer.level == "parameter"


def test_the_training_curve_is_drawn_at_model_level_only(explorer):
    explorer.compute()
    dots = explorer.curves._plots["loss"].training
    assert dots.visible
    np.testing.assert_array_equal(dots.y, explorer.results["training"].loss)
    assert explorer.curves.figures["loss"].axes[2].visible
    explorer.scope = "0"
    assert not dots.visible
    assert not explorer.curves.figures["loss"].axes[2].visible


def test_what_is_known_is_not_measured_again(explorer):
    explorer.compute()
    before = explorer._worker.started
    explorer.scope = "0"
    explorer.scope = None
    assert explorer._worker.started == before + 1
    explorer.alpha, explorer.log_loss, explorer.band = 0.3, True, False
    assert explorer._worker.started == before + 1


def sweeps(monkeypatch):
    """Return the list that grows by the rows of each sweep."""
    seen, sweep = [], nv.Evaluator.sweep
    monkeypatch.setattr(
        nv.Evaluator, "sweep", lambda self, family, rows, **more: seen.append(rows) or sweep(self, family, rows, **more)
    )
    return seen


def test_both_kinds_and_all_weights_take_one_pass_over_the_samples(explorer, trained, monkeypatch):
    seen = sweeps(monkeypatch)
    explorer.scope = "0"
    explorer.compute()
    assert len(seen) == 1
    assert len(seen[0]) == 9 + 9 - 3 + 1  # three knots lie on both paths, the middle one at a point of its own
    model, data, run = trained
    quadratic = nv.QuadraticPath(run.initial, run.mid, run.final)
    alone = nv.measure_path(nv.Evaluator(model, data), quadratic, np.linspace(0, 1, 9), scope="0")
    np.testing.assert_allclose(explorer.results["quadratic"].loss, alone.loss, rtol=1e-6)
    seen.clear()
    with explorer.together():
        explorer.scope, explorer.view, explorer.count = ("0.weight", (0, 0)), "weights", 6
    explorer.compute()
    assert len(seen) == 1
    assert len(explorer.results) == 12
    explorer.count = 9
    explorer.compute()
    assert len(seen) == 2  # the three that are new
    assert len(explorer.results) == 18


def test_knots_are_always_among_the_points():
    np.testing.assert_allclose(grid((-0.2, 1.1), 4, (0.0, 0.4, 1.0)), [-0.2, 0.0, 0.7 / 3, 0.4, 2 / 3, 1.0, 1.1], atol=1e-12)
    np.testing.assert_array_equal(grid((0.3, 0.9), 3, (0.0, 0.5, 1.0)), [0.3, 0.5, 0.6, 0.9])


def test_knot_at_its_epoch_moves_the_mid_checkpoint(explorer):
    explorer.mid = 1
    explorer.knot = "epoch"
    explorer.compute()
    assert explorer.mid_at == 0.25
    result = explorer.results["quadratic"]
    assert result.at(0.25) == pytest.approx(explorer.results["training"].loss[1], rel=1e-6)


def test_the_layer_overview_measures_every_layer_and_the_model(explorer):
    explorer.view = "layers"
    explorer.compute()
    assert {result.scope for result in explorer.results.values()} == {"model", "0", "2"}
    drawn = explorer.curves._plots["loss"].many["linear"]
    assert drawn.y.shape == (3, 9)
    np.testing.assert_array_equal(drawn.y[1], explorer.results["linear 0"].loss)


def test_the_weight_overview_shows_the_farthest_weights_and_the_farthest_is_opaque(explorer):
    explorer.scope = ("0.weight", (0, 0))
    explorer.count, explorer.view, explorer.kind = 4, "weights", "linear"
    explorer.compute()
    distances = [result.distance for result in explorer.results.values()]
    assert len(distances) == 4
    assert distances == sorted(distances, reverse=True)
    opacities = explorer.curves._plots["loss"].many["linear"].opacities
    assert opacities[0] == 1.0
    assert opacities == sorted(opacities, reverse=True)


def test_next_largest_walks_down_the_distances(explorer):
    explorer.level = "parameter"
    study, tensor = explorer.study, explorer.scope[0]
    order = study.largest(tensor, explorer.ends)
    assert explorer.scope[1] == order[0]
    explorer.next_largest()
    assert explorer.scope == (tensor, order[1])


def test_the_weight_map_and_the_index_box_pick_the_weight(explorer):
    explorer.scope = ("0.weight", (0, 0))
    picker = explorer.controls.picker
    rows, columns = picker.map.grid.shape
    assert (rows, columns) == (5, 7)
    picker.map.pick(x=3.5, y=rows - 2 - 0.5)
    assert explorer.scope == ("0.weight", (2, 3))
    assert picker.index.value == "2, 3"
    picker.index.value = "4, 6"
    assert explorer.scope == ("0.weight", (4, 6))
    picker.index.value = "5, 0"
    assert explorer.scope == ("0.weight", (4, 6))
    assert "(4, 6)" in picker._error.value
    picker.index.value = "four"
    assert "whole numbers" in picker._error.value


def test_read_outs_give_loss_metric_and_weight(explorer):
    explorer.scope = ("2.weight", (2, 4))
    explorer.compute()
    explorer.alpha = 0.5
    start, mid, end = (float(explorer.study.state(i)["2.weight"][2, 4]) for i in explorer.ends)
    assert f"{(start + end) / 2:.5g}" in explorer.readout.value
    assert f"{mid:.5g}" in explorer.readout.value
    assert f"{explorer.results['linear'].at(0.5):.4f}" in explorer.readout.value
    np.testing.assert_array_equal(explorer.curves._plots["loss"].cursor.x, [0.5, 0.5])


def test_the_state_line_says_n_split_and_policy(explorer):
    explorer.compute()
    for word in ("test", "n = 90 of 90", "BatchNorm", "float32", "distance travelled"):
        assert word in explorer.state_line.value


def test_a_layer_that_did_not_move_is_said_not_plotted_as_a_finding(trained):
    model, data, run = trained
    frozen = [{**run[i].state, "0.weight": run[0].state["0.weight"], "0.bias": run[0].state["0.bias"]} for i in range(3)]
    explorer = nv.PathExplorer(nv.Evaluator(model, data), nv.Run.from_states(frozen), points=5, scope="0")
    explorer.compute()
    assert "did not move" in explorer.state_line.value


def test_log_scale_draws_logarithms_of_the_loss_only(explorer):
    explorer.compute()
    explorer.log_loss = True
    np.testing.assert_allclose(line(explorer).y, np.log10(explorer.results["linear"].loss))
    assert explorer.curves._plots["loss"].y_axis.label == "log10 loss"
    np.testing.assert_array_equal(line(explorer, figure="metric").y, explorer.results["linear"].metrics["accuracy"])


def test_the_band_is_two_paired_errors_and_can_be_hidden(explorer):
    explorer.compute()
    band, result = explorer.curves._plots["loss"].bands["linear"], explorer.results["linear"]
    np.testing.assert_allclose(band.y, [result.loss - 2 * result.diff_se, result.loss + 2 * result.diff_se])
    explorer.band = False
    assert not band.visible


def test_extrapolation_has_a_ground_of_its_own(explorer):
    explorer.compute()
    assert not any(mark.visible for mark in explorer.curves._plots["loss"].outside)
    explorer.alpha_range = (-0.5, 1.25)
    left, right = explorer.curves._plots["loss"].outside
    np.testing.assert_array_equal(left.x, [-0.5, 0.0])
    np.testing.assert_array_equal(right.x, [1.0, 1.25])


def test_pinned_curves_stay_when_the_scope_changes(explorer):
    explorer.kind = "linear"
    explorer.compute()
    kept = explorer.results["linear"].loss
    explorer.pin()
    explorer.scope = "0"
    pinned = explorer.curves._plots["loss"].pinned
    np.testing.assert_array_equal(np.ravel(pinned.y), kept)
    explorer.unpin()
    assert not pinned.visible


def test_save_load_and_from_result_show_the_same_curve(explorer, tmp_path):
    explorer.compute()
    explorer.save_result(tmp_path / "paths.safetensors")
    loaded = nv.load(tmp_path / "paths.safetensors")
    shown = nv.PathExplorer.from_result(loaded)
    np.testing.assert_array_equal(line(shown).y, line(explorer).y)
    np.testing.assert_array_equal(shown.curves._plots["loss"].training.y, explorer.results["training"].loss)
    single = nv.PathExplorer.from_result(loaded.results["quadratic"])
    assert line(single, "quadratic").visible
    explorer.open_result(loaded)
    assert len(explorer._pinned) == 2


def test_saving_nothing_is_refused(explorer, tmp_path):
    with pytest.raises(ValueError, match="no result yet"):
        explorer.save_result(tmp_path / "x")


def test_snapshot_and_restore(explorer):
    explorer.scope, explorer.alpha, explorer.log_loss = ("0.weight", (1, 1)), 0.25, True
    kept = explorer.snapshot()
    explorer.scope, explorer.alpha, explorer.log_loss, explorer.kind = None, 1.0, False, "linear"
    explorer.restore(kept)
    assert explorer.snapshot() == kept
    with pytest.raises(TypeError, match="no setting 'scoop'"):
        explorer.restore({"scoop": None})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("scope", "0.weigth", "0.weight"),
        ("scope", ("0.weight", (5, 0)), r"\(4, 6\)"),
        ("split", "validation", "'test'"),
        ("mid", 5, "0 to 4"),
        ("alpha_range", (1.0, 0.0), "ascending"),
        ("alpha_range", (0.0, float("nan")), "finite"),
        ("kind", "cubic", "linear"),
    ],
)
def test_bad_settings_are_refused_and_nothing_changes(explorer, name, value, words):
    before = explorer.snapshot()
    with pytest.raises(Exception, match=words):
        setattr(explorer, name, value)
    assert explorer.snapshot() == before


def test_a_misspelt_keyword_is_refused_with_the_close_name(trained):
    model, data, run = trained
    with pytest.raises(TypeError, match="alpha_range"):
        nv.PathExplorer(nv.Evaluator(model, data), run, alpharange=(0, 1))


def test_an_error_keeps_the_last_good_picture(explorer):
    explorer.compute()
    good = line(explorer).y
    explorer.start = 4
    assert "runs forward" in explorer.status.error.value
    np.testing.assert_array_equal(line(explorer).y, good)
    explorer.start = 0
    assert explorer.status.error.value == ""


def test_two_splits(trained):
    model, data, run = trained
    splits = {"train": nv.Evaluator(model, data, name="train", samples=50), "test": nv.Evaluator(model, data)}
    explorer = nv.PathExplorer(splits, run, points=5)
    explorer.compute()
    assert explorer.results["linear"].n == 90
    explorer.split = "train"
    assert explorer.results["linear"].n == 50


def test_a_run_of_two_checkpoints_has_linear_paths_only(trained):
    model, data, run = trained
    explorer = nv.PathExplorer(nv.Evaluator(model, data), nv.Run.from_states([run.initial, run.final]), points=5)
    explorer.compute()
    assert list(explorer.results) == ["linear", "training"]
    explorer.kind = "both"
    assert "between start and end" in explorer.status.error.value


def test_no_name_of_ours_covers_one_of_ipywidgets():
    ours = {name for cls in nv.PathExplorer.__mro__ if cls.__module__.startswith("nnvis_widgets") for name in vars(cls)}
    ours |= {"results", "study", "curves", "controls", "legend", "state_line", "readout", "status"}
    meant = {"close", "_ipython_display_"}
    assert {name for name in ours if not name.startswith("_") and hasattr(ipywidgets.VBox, name)} <= meant
    private = {name for name in ours if name.startswith("_") and not name.startswith("__") and name in ipywidgets.VBox.__dict__}
    assert private <= {"_trait_default_generators", "_descriptors", "_instance_inits", "_traits", "_all_trait_default_generators",
                       "_static_immutable_initial_values"} | meant  # fmt: skip


def test_ten_quick_moves_start_at_most_two_computations_of_which_one_completes(trained):
    model, data, run = trained

    async def main():
        explorer = nv.PathExplorer(nv.Evaluator(model, data), run, points=401)
        await explorer.done()
        before, finished = explorer._worker.started, []
        succeed = explorer._succeed
        explorer._succeed = lambda steps: (finished.append(1), succeed(steps))
        for step in range(10):
            explorer.alpha_range = (0.0, 0.5 + 0.04 * step)
            await asyncio.sleep(0.004)
        await explorer.done()
        explorer.close()
        return explorer._worker.started - before, len(finished), explorer.results["linear"].alphas.max()

    started, completed, last = asyncio.run(main())
    assert started <= 2
    assert completed == 1
    assert last == pytest.approx(0.86)


def test_cancel_keeps_what_was_measured(trained):
    model, _, run = trained
    data = torch.randn(4000, 7), torch.randint(0, 3, (4000,))

    async def main():
        explorer = nv.PathExplorer(nv.Evaluator(model, data, batch_size=40), run, points=101, kind="linear", training=False)
        while not explorer.results or not 0 < explorer.results["linear"].n < 4000:
            await asyncio.sleep(0.005)
        explorer.cancel()
        await explorer.done()
        await asyncio.sleep(0.05)
        explorer.close()
        return explorer

    explorer = asyncio.run(main())
    assert 0 < explorer.results["linear"].n < 4000
    assert "cancelled" in explorer.status.text.value
    assert f"n = {explorer.results['linear'].n} of 4000" in explorer.state_line.value


def test_display_gives_the_widget_and_a_static_picture(explorer, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, **kwargs: shown.append(bundle))
    explorer._ipython_display_()
    assert "application/vnd.jupyter.widget-view+json" in shown[0]
    assert "image/png" not in shown[1]
    explorer.compute()
    explorer._ipython_display_()
    assert shown[3]["image/png"].startswith("iVBOR")


def test_keys_on_the_plots_move_the_same_traits_as_the_controls(explorer):
    explorer.compute()
    for key, name, value in [("l", "kind", "linear"), ("b", "kind", "both"), ("g", "log_loss", True), ("m", "alpha", 0.5)]:
        press(explorer, key, False)
        assert getattr(explorer, name) == value
    press(explorer, "ArrowRight", True)
    press(explorer, "ArrowLeft", False)
    assert explorer.alpha == pytest.approx(0.59)
    explorer.alpha = 0.995
    press(explorer, "ArrowRight", False)
    assert explorer.alpha == 1.0


def test_the_summary_for_screen_readers_names_the_values(explorer):
    explorer.compute()
    assert f"loss {explorer.results['linear'].loss[0]:.4f} at alpha 0" in explorer._assist.summary
    assert "test, n = 90" in explorer._assist.summary


def test_a_picture_of_earlier_settings_is_faded(trained):
    model, data, run = trained

    async def main():
        explorer = nv.PathExplorer(nv.Evaluator(model, data), run, points=5)
        await explorer.done()
        clear = "nnvis-stale" in explorer.curves._dom_classes
        explorer.scope = "0"
        faded = "nnvis-stale" in explorer.curves._dom_classes
        await explorer.done()
        explorer.close()
        return clear, faded, "nnvis-stale" in explorer.curves._dom_classes

    assert asyncio.run(main()) == (False, True, False)


def test_an_overview_draws_complete_curves_only(explorer):
    explorer.view = "layers"
    explorer.compute()
    assert len(explorer._overview()) == 6
    name = next(iter(explorer.results))
    part = explorer.results[name]
    explorer.results[name] = type(part)(**{**vars(part), "fraction": 0.5})
    assert len(explorer._overview()) == 5
    for name, result in explorer.results.items():  # all on the same samples, as single weights are in one pass
        explorer.results[name] = type(result)(**{**vars(result), "fraction": 0.5})
    assert len(explorer._overview()) == 6


def test_a_saved_result_stays_whatever_is_toggled(explorer, tmp_path):
    explorer.compute()
    explorer.save_result(tmp_path / "r.safetensors")
    shown = nv.PathExplorer.from_result(nv.load(tmp_path / "r.safetensors"))
    shown.kind = "linear"
    shown.compute()
    press(shown, "b", False)
    assert set(shown.results) == {"linear", "quadratic", "training"}
    assert line(shown).visible
    with pytest.raises(ValueError, match="holds no weights"):
        shown.next_largest()


def test_a_saved_overview_opens_with_its_curves(explorer, tmp_path):
    explorer.view = "layers"
    explorer.compute()
    explorer.save_result(tmp_path / "r.safetensors")
    shown = nv.PathExplorer.from_result(nv.load(tmp_path / "r.safetensors"))
    many = shown.curves._plots["loss"].many["linear"]
    assert many.visible
    np.testing.assert_array_equal(many.y[1], explorer.results["linear 0"].loss)


def test_a_closed_explorer_leaves_no_widget_and_does_not_compute(trained):
    model, data, run = trained
    before = set(ipywidgets.widgets.widget._instances)
    explorer = nv.PathExplorer(nv.Evaluator(model, data), run, points=5)
    explorer.level = "parameter"
    explorer.compute()
    explorer.close()
    started = explorer._worker.started
    explorer.points = 7
    explorer.compute()
    assert explorer._worker.started == started
    assert set(ipywidgets.widgets.widget._instances) - before == set()


def test_an_invalid_setting_during_a_job_stops_the_job(trained):
    model, _, run = trained
    data = torch.randn(3000, 7), torch.randint(0, 3, (3000,))

    async def main():
        explorer = nv.PathExplorer(nv.Evaluator(model, data, batch_size=30), run, points=101)
        while not explorer.results:
            await asyncio.sleep(0.005)
        explorer.start = 4
        shown = explorer.results
        await explorer.done()
        explorer.close()
        return explorer, shown

    explorer, shown = asyncio.run(main())
    assert explorer.results is shown
    assert "runs forward" in explorer.status.error.value
    assert explorer.status.text.value == ""


def test_cancel_then_done_returns_when_the_work_has_stopped(trained):
    model, _, run = trained
    data = torch.randn(3000, 7), torch.randint(0, 3, (3000,))

    async def main():
        explorer = nv.PathExplorer(nv.Evaluator(model, data, batch_size=30), run, points=101)
        while not explorer.results:
            await asyncio.sleep(0.005)
        explorer.cancel()
        await explorer.done()
        at_rest = explorer.results
        await asyncio.sleep(0.2)
        explorer.close()
        return at_rest is explorer.results, explorer._worker.active

    assert asyncio.run(main()) == (True, False)


def test_a_loop_that_ends_during_a_job_does_not_leave_done_waiting(trained):
    model, _, run = trained
    data = torch.randn(3000, 7), torch.randint(0, 3, (3000,))
    explorer = None

    async def first():
        nonlocal explorer
        explorer = nv.PathExplorer(nv.Evaluator(model, data, batch_size=30), run, points=101)
        await asyncio.sleep(0.05)

    async def second():
        await asyncio.wait_for(explorer.done(), 5)

    asyncio.run(first())
    asyncio.run(second())
    assert not explorer._worker.busy
    explorer.close()


@pytest.mark.parametrize(
    "spec", [("0.bias", 3), ["0.bias", [3]], [("0.bias", (3,))], ("0.bias", np.array([3])), ("0.bias", (np.int64(3),))], ids=repr
)
def test_every_way_to_name_a_weight_comes_to_the_same(explorer, spec):
    explorer.scope = spec
    assert explorer.scope == ("0.bias", (3,))
    assert explorer.controls.picker.index.value == "3"


def test_snapshots_survive_json_and_a_refused_one_changes_nothing(explorer):
    import json

    explorer.scope = ("0.weight", (1, 1))
    kept = explorer.snapshot()
    explorer.restore(json.loads(json.dumps(kept)))
    assert explorer.snapshot() == kept
    with pytest.raises(ValueError, match="split"):
        explorer.restore({"points": 7, "kind": "linear", "scope": "0", "split": "nope"})
    assert explorer.snapshot() == kept


def test_the_cursor_stays_within_the_range(explorer):
    explorer.alpha_range = (-0.5, 1.5)
    explorer.alpha = 1.4
    explorer.alpha_range = (0.0, 1.0)
    assert explorer.alpha == 1.0
    for value in (5.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="alpha_range"):
            explorer.alpha = value
    with pytest.raises(ValueError, match="'accuracy'"):
        explorer.metric = "recall"


def sent(widget, monkeypatch):
    """What the kernel tells a widget from now on, without echoes of what the widget itself said."""
    states = []
    monkeypatch.setattr(widget, "_send", lambda message, buffers=None: states.append((message["method"], message["state"])))
    return lambda: [state for method, state in states if method == "update"]


def test_the_kernel_does_not_set_a_handle_back_under_a_hand(explorer, monkeypatch):
    for control, said, name, trait in (
        (explorer.controls.alpha, 0.15000000000000002, "alpha", 0.15),
        (explorer.controls.range, [0.0, 1.2000000000000002], "alpha_range", (0.0, 1.2)),
    ):
        told = sent(control, monkeypatch)
        control.set_state({"value": said})
        assert getattr(explorer, name) == trait
        assert not told(), "an answer from the past would undo the keys that were pressed meanwhile"
        setattr(explorer, name, 0.3 if name == "alpha" else (-0.5, 1.5))
        assert control.value == getattr(explorer, name)


def test_a_browser_that_rounds_its_handle_to_another_range_does_not_undo_a_script(explorer):
    explorer.controls.alpha.set_state({"value": 0.06})
    explorer.level = "parameter"
    explorer.alpha = 0.5
    for said in (0.06000000000000005, 0.05999999999999994):
        explorer.controls.alpha.set_state({"value": said})
        assert explorer.alpha == explorer.controls.alpha.value == 0.5
    explorer.controls.alpha.set_state({"value": 0.07})
    assert explorer.alpha == 0.07, "a hand is heard"


def test_distances_are_listed_later_and_do_not_hold_up_the_loop(trained, monkeypatch):
    model, data, run = trained
    go = threading.Event()
    movement = PathStudy.movement
    monkeypatch.setattr(PathStudy, "movement", lambda *arguments: go.wait(30) and movement(*arguments))

    def listed(explorer):
        return [label.split()[2:] for label, _ in explorer.controls.layers.options]

    async def main():
        explorer = nv.PathExplorer(nv.Evaluator(model, data), run, points=9)
        assert {tuple(row) for row in listed(explorer)} == {("...",)}
        explorer.start, explorer.scope = 1, "2"  # a layer can be chosen meanwhile, and other checkpoints too
        go.set()
        while listed(explorer)[0] == ["..."]:
            await asyncio.sleep(0.01)
        await explorer.done()
        assert explorer.controls.layers.value == "2"
        after = listed(explorer)
        explorer.close()
        return after

    waited = asyncio.run(main())
    at_once = nv.PathExplorer(nv.Evaluator(model, data), run, points=9, start=1)
    assert waited == listed(at_once)
    at_once.close()


def test_a_handle_beyond_what_is_allowed_is_put_back(explorer):
    before = explorer.alpha_range
    explorer.controls.range.value = (1.0, 1.0)
    assert explorer.alpha_range == before
    assert explorer.controls.range.value == before
    explorer.controls.alpha.max = 1.5  # as in a browser that has not heard yet that the range became shorter
    explorer.controls.alpha.value = 1.4
    assert explorer.alpha == explorer.controls.alpha.value == explorer.controls.alpha.max == 1.0


def test_the_split_is_called_what_the_user_calls_it(trained):
    model, data, run = trained
    explorer = nv.PathExplorer({"train": nv.Evaluator(model, data), "held out": nv.Evaluator(model, data)}, run, points=5)
    explorer.split = "held out"
    explorer.compute()
    assert "held out, n = 90" in explorer.state_line.value
    assert explorer.results["linear"].provenance["split"] == "held out"


def test_one_path_that_fails_leaves_the_others(trained):
    model, data, run = trained
    states = [run[i].state for i in range(3)]
    states[1] = {name: torch.full_like(value, float("nan")) for name, value in states[1].items()}
    explorer = nv.PathExplorer(nv.Evaluator(model, data), nv.Run.from_states(states), points=5)
    explorer.compute()
    assert {"linear", "training"} <= set(explorer.results)
    assert "quadratic" not in explorer.results
    assert "NaN" in explorer.status.error.value


def test_integer_and_root_parameters_are_no_obstacle():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.shift = nn.Parameter(torch.zeros(3))
            self.table = nn.Parameter(torch.arange(3), requires_grad=False)
            self.fc = nn.Linear(7, 3)

        def forward(self, x):
            return self.fc(x)[:, self.table] + self.shift

    torch.manual_seed(0)
    first, last = Odd(), Odd()
    run = nv.Run.from_states([{k: v.clone() for k, v in m.state_dict().items()} for m in (first, last)])
    explorer = nv.PathExplorer(nv.Evaluator(last, (torch.randn(20, 7), torch.randint(0, 3, (20,)))), run, points=3, view="layers")
    explorer.compute()
    assert {r.scope for r in explorer.results.values()} == {"model", "shift", "fc"}


class TestFaithfulness:
    def test_the_card_asks_measures_and_says_what_the_library_says(self, explorer, trained, tmp_path):
        model, data, run = trained
        card = explorer.card
        explorer.compute()
        assert "is it near the training?" in card.text.value
        explorer.faithful, explorer.mid = True, 1
        explorer.compute()
        assert list(explorer.results) == ["linear", "quadratic", "training", "faithfulness"]
        clocks = ["epochs", "arc length"]
        expected = nv.measure_faithfulness(nv.Evaluator(model, data), run, mid=1, clocks=clocks, origins=["unrelated", "noise"])
        assert explorer.results["faithfulness"].to_pandas().equals(expected.to_pandas())
        assert expected.sentence in html.unescape(card.text.value)
        assert card.text.value.count("<tr>") == 11 + 4
        shown = explorer.results["faithfulness"].controls_to_pandas()
        assert shown.equals(expected.controls_to_pandas())
        assert f"<td>noise</td><td>{shown.loss_at_origin[2]:.3f}</td>" in card.text.value
        assert card.toggle.value
        explorer.save_result(tmp_path / "r.safetensors")
        shown = nv.PathExplorer.from_result(nv.load(tmp_path / "r.safetensors"))
        assert expected.sentence in html.unescape(shown.card.text.value)
        assert line(shown, "quadratic").visible
        explorer.open_result(nv.load(tmp_path / "r.safetensors"))
        assert len(explorer._pinned) == 2
        started = explorer._worker.started
        explorer.card.toggle.value = False
        assert not explorer.faithful
        assert "faithfulness" not in explorer.results
        explorer.faithful = True
        assert explorer.results["faithfulness"].mid == 1
        assert explorer._worker.started == started  # all of it was known

    def test_it_is_hidden_where_there_is_no_run_to_compare_with(self, explorer, trained):
        model, data, run = trained
        explorer.faithful = True
        explorer.compute()
        assert explorer.card.layout.display is None
        for name, value, back in (("level", "layer", "model"), ("view", "layers", "path"), ("end", 3, 4)):
            setattr(explorer, name, value)
            explorer.compute()
            assert explorer.card.layout.display == "none", name
            assert "faithfulness" not in explorer.results
            setattr(explorer, name, back)
        short = nv.PathExplorer(nv.Evaluator(model, data), nv.Run.from_states([run[k].state for k in range(4)]), points=5)
        short.faithful = True
        short.compute()
        assert short.card.layout.display == "none"
        assert set(short.results) == {"linear", "quadratic", "training"}
        short.close()

    def test_a_cancelled_report_stays_with_its_n(self, trained, monkeypatch):
        model, data, run = trained

        async def main():
            explorer = nv.PathExplorer(nv.Evaluator(model, data, batch_size=10), run, points=5)
            await explorer.done()
            explorer.faithful = True
            while not getattr(explorer.results.get("faithfulness"), "n", 0):
                await asyncio.sleep(0.01)
            explorer.cancel()
            await explorer.done()
            return explorer

        explorer = asyncio.run(main())
        report = explorer.results["faithfulness"]
        if report.fraction < 1.0:
            assert 0 < report.n < 90
            assert "So far" in explorer.card.text.value
            assert "cancelled" in explorer.status.text.value
        explorer.close()
