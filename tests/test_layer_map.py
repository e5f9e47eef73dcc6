"""The layer map without a browser: traits, results, relabelling, words, and bqplot marks as data."""

import asyncio
import re
from dataclasses import replace

import factories
import ipywidgets
import numpy as np
import pytest
import torch
from ipywidgets.widgets.widget import _instances
from torch import nn

import nnvis_widgets as nv
from nnvis_widgets.views.layer_chart import LayerChart, LayerScene
from nnvis_widgets.views.layer_pairs import PairScene, PairsView
from nnvis_widgets.views.layer_rows import ROW, Row, Together
from nnvis_widgets.views.layer_scatter import ScatterScene
from nnvis_widgets.views.static import rendered, still_of
from nnvis_widgets.widgets.layer_keys import KEYS, press
from nnvis_widgets.widgets.layer_scenes import history_scene
from nnvis_widgets.widgets.layer_study import most_harmful


class Net(nn.Module):
    """Three layers with names; the last one has no bias."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = nn.Linear(6, 9), nn.Linear(9, 7), nn.Linear(7, 3, bias=False)

    def forward(self, x):
        return self.three(torch.tanh(self.two(torch.tanh(self.one(x)))))


def learn(model, parameters):
    """Return data of three clouds, and four checkpoints of a model that learns them."""
    centres = 2 * torch.randn(3, 6)
    y = torch.arange(120) % 3
    x = centres[y] + torch.randn(120, 6)
    optimizer = torch.optim.SGD(parameters, lr=0.5)
    states = [{k: v.clone() for k, v in model.state_dict().items()}]
    for _ in range(3):
        for _ in range(8):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        states.append({k: v.clone() for k, v in model.state_dict().items()})
    return (x, y), nv.Run.from_states(states)


@pytest.fixture(scope="module")
def trained():
    """A net whose second layer was not trained, with its data and its run."""
    torch.manual_seed(0)
    model = Net()
    return model, *learn(model, [*model.one.parameters(), *model.three.parameters()])


@pytest.fixture
def explorer(trained):
    model, data, run = trained
    explorer = nv.LayerMap(nv.Evaluator(model, data, device="cpu"), run, draws=4)
    yield explorer
    explorer.close()


def drawn(chart):
    """Return the visible dots of a chart as {name: (x, y)}."""
    return {
        str(name): (float(x), float(y))
        for mark in chart.dots.values()
        if mark.visible
        for name, x, y in zip(mark.names, mark.x, mark.y, strict=True)
    }


class TestStudy:
    def test_is_that_of_measure_layers_and_its_rows_are_drawn_from_the_top(self, explorer, trained):
        model, data, run = trained
        explorer.compute()
        assert not explorer.status.error.value
        alone = nv.measure_layers(nv.Evaluator(model, data, device="cpu"), run)
        study = explorer.results["layers"]
        np.testing.assert_array_equal(study.criticality, alone.criticality)
        np.testing.assert_array_equal(study.high, alone.high)
        assert drawn(explorer.chart) == {
            name: (pytest.approx(value), 2.5 - row)
            for row, (name, value) in enumerate(zip(study.layers, study.criticality, strict=True))
        }
        for label, mark in explorer.chart.whiskers.items():
            rows = [row for row, word in enumerate(study.label) if word == label]
            assert mark.visible == bool(rows)
            if rows:
                np.testing.assert_array_equal(np.reshape(mark.x, (-1, 2)), np.stack([study.low, study.high], axis=1)[rows])

    def test_a_layer_that_did_not_move_is_said_not_shown_as_harmless(self, explorer):
        explorer.compute()
        assert explorer.results["layers"].label[1] == "not moved"
        np.testing.assert_array_equal(explorer.chart.dots["not moved"].x, [0.0])
        assert "did not move" in explorer.legend.value

    def test_order_by_rank_puts_most_harm_on_top(self, explorer):
        explorer.compute()
        study, before = explorer.results["layers"], explorer._worker.started
        explorer.order = "rank"
        places = drawn(explorer.chart)
        assert sorted(places, key=lambda name: -places[name][1]) == [study.layers[i] for i in np.argsort(-study.criticality)]
        assert explorer._worker.started == before

    def test_other_thresholds_label_anew_without_a_measurement(self, explorer):
        explorer.compute()
        before, study = explorer._worker.started, explorer.results["layers"]
        first = int(np.argmax(study.criticality))
        assert study.label[first] == "critical"
        zone = explorer.chart.zones["ambient"].x[1]
        explorer.critical_above = float(min(study.criticality[first], 0.99))
        assert explorer.results["layers"].label[first] != "critical"
        explorer.margin = 0.02
        assert explorer.chart.zones["ambient"].x[1] == pytest.approx(2 * zone)
        assert explorer.chart.zones["critical"].x[0] == explorer.critical_above
        span = study.reference["accuracy"] - study.chance
        assert zone == pytest.approx(0.01 / span)
        assert explorer._worker.started == before

    def test_the_metric_loss_shows_rises_without_zones(self, explorer):
        explorer.compute()
        explorer.metric = "loss"
        study = explorer.results["layers"]
        assert {name: x for name, (x, _) in drawn(explorer.chart).items()} == dict(
            zip(study.layers, map(pytest.approx, study.loss_rise), strict=True)
        )
        assert not any(mark.visible for mark in explorer.chart.zones.values())
        assert "loss" in explorer.chart.figure.axes[0].label
        assert "no upper end" in explorer.state_line.value

    def test_part_and_unit_change_the_rows_and_forget_names_that_are_gone(self, explorer):
        explorer.compute()
        explorer.selected, explorer.joint = "three", ("one", "three")
        explorer.part = "biases"
        assert explorer.results["layers"].layers == ["one", "two"]
        assert (explorer.selected, explorer.joint) == (None, ("one",))
        with explorer.together():
            explorer.unit, explorer.part = "tensor", "all"
        assert "three.weight" in drawn(explorer.chart)

    def test_at_the_last_checkpoint_nothing_is_replaced(self, explorer):
        explorer.at = -1
        explorer.compute()
        assert explorer.at == 3
        assert set(explorer.results["layers"].label) == {"not moved"}
        assert "epoch 3" in explorer.state_line.value


class TestDraws:
    def test_are_dots_on_the_axis_and_later_small_ones_beside_it(self, explorer):
        explorer.kind = "rerandomise"
        explorer.compute()
        study = explorer.results["layers"]
        assert study.draws_criticality.shape == (3, 4)
        np.testing.assert_allclose(sorted(explorer.chart.draws.x), sorted(study.draws_criticality.ravel()))
        assert all(abs(y - round(y - 0.5) - 0.5) < 0.5 for y in explorer.chart.draws.y)
        assert "4 draws" in explorer.state_line.value
        explorer.kind = "reinit"
        explorer.compute()
        assert not explorer.chart.draws.visible
        assert explorer.chart.cells.value.count("<circle") == 12
        assert explorer.results["draws"] is not None

    def test_their_number_and_seed_are_part_of_what_is_known(self, explorer):
        explorer.kind = "rerandomise"
        explorer.compute()
        before = explorer.results["layers"].draws_criticality
        explorer.seed = 1
        assert not np.array_equal(explorer.results["layers"].draws_criticality, before)
        started = explorer._worker.started
        explorer.seed = 0
        np.testing.assert_array_equal(explorer.results["layers"].draws_criticality, before)
        assert explorer._worker.started == started


class TestHistory:
    def test_is_measured_when_it_is_asked_for_and_gives_the_rows_their_small_lines(self, explorer, trained):
        explorer.compute()
        assert "history" not in explorer.results
        assert "<polyline" not in explorer.chart.cells.value
        explorer.view, explorer.selected = "history", "one"
        history, view = explorer.results["history"], explorer.history_view
        model, data, run = trained
        alone = nv.measure_layer_history(nv.Evaluator(model, data, device="cpu"), run)
        np.testing.assert_array_equal(history.criticality, alone.criticality)
        assert history.criticality.shape == (4, 3)
        assert "120 samples cannot show a layer to be harmless to within 1.00% of accuracy" in explorer.state_line.value
        explorer.margin = 0.2
        assert "cannot show" not in explorer.state_line.value
        explorer.margin = 0.01
        written = {
            (x, y): text
            for mark in view.counts.values()
            if mark.visible
            for x, y, text in zip(mark.x, mark.y, mark.text, strict=True)
        }
        assert len(written) == 12
        assert written[0.5, 2.5] == f"{history.criticality[0, 0]:.2f}".replace("0.", ".", 1)
        np.testing.assert_allclose(view.curve.y, history.criticality[:, 0])
        assert view.profile in view._place.children
        # 120 samples show no harmlessness: only of the layer that never moved it is known, and drawn
        np.testing.assert_array_equal(history.shown_since, [np.nan, 0.0, np.nan])
        assert view.since.visible
        np.testing.assert_array_equal(np.ravel(view.since.x), [0.0, 0.0])
        np.testing.assert_allclose(np.ravel(view.since.y), [1.08, 1.92])
        assert "white line: from here on" in view.bar.value
        view.show(replace(history_scene(explorer), since=np.full(3, np.nan), unshown="n = 120 is too small"))
        assert not view.since.visible
        assert "no white lines: n = 120 is too small" in view.bar.value
        before = explorer._worker.started
        explorer.view = "layers"
        assert explorer.chart.cells.value.count("<polyline") == 3
        assert explorer._worker.started == before

    def test_a_click_on_a_cell_chooses_layer_and_checkpoint(self, explorer):
        explorer.view = "history"
        explorer.compute()
        before = explorer._worker.started
        explorer.history_view.pick(x=2.3, y=0.4)
        assert (explorer.selected, explorer.at) == ("three", 2)
        np.testing.assert_array_equal(explorer.history_view.frame.x, [2, 3, 3, 2, 2])
        np.testing.assert_array_equal(explorer.history_view.frame.y, [0, 0, 1, 1, 0])
        assert "put back to epoch 2" in explorer.readout.value
        assert explorer._worker.started == before
        explorer.history_view.pick(x=17.0, y=0.4)
        assert explorer.at == 2


class TestPairs:
    def test_are_measured_when_they_are_asked_for_and_a_cell_resets_its_two_layers(self, explorer, trained):
        explorer.view = "pairs"
        explorer.compute()
        model, data, run = trained
        alone = nv.measure_pairwise_resets(nv.Evaluator(model, data, device="cpu"), run)
        pairs, view = explorer.results["pairs"], explorer.pictures.pairs
        np.testing.assert_array_equal(pairs.interaction, alone.interaction)
        cells = dict(re.findall(r'<td data-cell="([\d,]+)" class="[^"]*"[^>]*>([^<]*)<', view.table.value))
        assert len(cells) == 9
        for row, column in np.ndindex(3, 3):
            shown, part = cells[f"{row},{column}"], pairs.interaction if column < row else pairs.criticality
            assert float(shown.rstrip("*")) == pytest.approx(part[row, column], abs=0.0051)
            assert shown.endswith("*") == (column < row and pairs.established[row, column])
        assert view.table.value.count("nnvis-maybe") == 3 - pairs.established.sum() // 2
        assert "framed" not in view.table.value
        explorer.pair(2, 0)
        assert (explorer.selected, explorer.joint) == ("three", ("one", "three"))
        joint = explorer.results["joint"]
        assert view.table.value.count("framed") == 2
        assert list(explorer.place.children) == [view, explorer.chart]
        assert "view='pairs'" in nv.recipe_of(explorer.picture())["code"]
        assert explorer.still() == rendered({"": still_of({"pairs": pairs})})
        np.testing.assert_allclose(explorer.chart.joint.x, [joint.criticality])
        assert sorted(drawn(explorer.chart)) == ["one", "three"]
        sure = "surely" if "*" in cells["2,0"] else "may be 0"
        for words in (f"κ of both {pairs.criticality[2, 0]:.2f}", "both minus the sum of each", sure):
            assert words in explorer.readout.value
        assert "simultaneous over 3 pairs, their interactions and 3 layers" in explorer.state_line.value
        assert explorer._assist.summary.startswith("Interactions of pairs, strongest first: one and three: both minus")
        explorer.pair(1, 1)
        assert (explorer.selected, explorer.joint) == ("two", ("one", "three"))
        for key, joint in [("ArrowUp", ("one", "two")), ("ArrowRight", ("two", "three")), ("p", ("two", "three"))]:
            press(explorer, key, False)
            assert explorer.joint == joint
        assert explorer.view == "layers"

    def test_of_many_layers_those_are_paired_that_do_most_harm_and_can_be_drawn(self, explorer, monkeypatch):
        explorer.compute()
        study = explorer.results["layers"]
        monkeypatch.setattr("nnvis_widgets.widgets.layer_study.MOST", 2)
        assert most_harmful(study) == ["one", "three"]  # the second never moved
        assert most_harmful(replace(study, problems={"one": "cannot be drawn"})) == ["two", "three"]
        explorer.view = "pairs"
        assert explorer.results["pairs"].layers == ["one", "three"]
        assert "of 3 rows the 2 that do most harm alone" in explorer.state_line.value


def test_a_large_matrix_has_short_names_and_no_intervals_in_its_cells():
    view, count = PairsView(), 9
    names = [f"net.body.block{k}.a_rather_long_module" for k in range(count)]
    values = np.arange(count * count).reshape(count, count) / 100.0
    nothing = np.zeros((count, count))
    view.show(
        PairScene(names, ["ambient"] * count, values, nothing, nothing, values, values - 0.005, values + 0.005, chosen=(2, 1))
    )
    assert "<small>" not in view.table.value
    heads = re.findall(r'title="([^"]*)"><span>([^<]*)</span>', view.table.value)
    assert [full for full, _ in heads] == names
    assert [short for _, short in heads] == [f"block{k}.a…_module" for k in range(count)]
    assert re.findall(r'data-cell="([\d,]+)" class="[^"]*framed', view.table.value) == ["1,2", "2,1"]
    assert re.search(r'data-cell="8,0"[^>]*>\.72\*<', view.table.value)


class TestAgainstDistance:
    def test_points_stand_where_the_layer_moved_to_and_are_linked_like_rows(self, trained):
        model, data, run = trained
        opened = []
        explorer = nv.LayerMap(nv.Evaluator(model, data, device="cpu"), run, on_open=opened.append, order="distance")
        explorer.compute()
        study, view = explorer.results["layers"], explorer.pictures.scatter
        assert list(explorer.place.children) == [view]
        places = zip(study.layers, study.relative_distance, study.criticality, strict=True)
        expected = {name: (pytest.approx(x), pytest.approx(y)) for name, x, y in places}
        assert drawn(view) == expected
        assert sorted(text for mark in view.words.values() if mark.visible for text in mark.text) == sorted(study.layers)
        critical = next(mark for label, mark in view.dots.items() if mark.visible and label == "critical")
        view._heard(critical, {"data": {"index": 0}})
        assert (explorer.selected, opened) == (critical.names[0], [critical.names[0]])
        assert (view.picked.x[0], view.picked.y[0]) == expected[critical.names[0]]
        assert "nnvis-picked" in view.cells.value
        explorer._clicked(1, True)
        assert explorer.joint == ("two",)
        explorer.against, explorer.metric = "parameter_count", "loss"
        assert drawn(view)["two"] == (pytest.approx(study.parameter_count[1]), pytest.approx(study.loss_rise[1]))
        scene = ScatterScene([Row("a", "critical", 0.5), Row("b", "ambient", 0.0)], np.array([1.0, 300.0]), zones=(0.01, 0.25))
        view.show(scene)
        assert {name: x for name, (x, _) in drawn(view).items()} == {"a": 0.0, "b": pytest.approx(np.log10(300))}
        assert view.figure.axes[0].tick_labels["2"] == "100"
        crowd = [Row(f"a_rather_long_name_{k}", "ambient", 0.001 * k) for k in range(30)]
        view.show(ScatterScene(crowd, np.linspace(1.0, 1.1, 30), zones=(0.01, 0.25), picked=crowd[3].name))
        named = [text for mark in view.words.values() if mark.visible for text in mark.text]
        assert crowd[3].name in named
        assert len(named) < 15  # the others are told by pointing at them, and in the table
        explorer.view = "history"
        assert (explorer.controls.row_order.value, explorer.order) == ("network", "distance")
        explorer.close()


class TestTogether:
    def test_two_layers_are_reset_together_beside_the_sum_of_the_single_ones(self, explorer, trained):
        explorer.compute()
        explorer.selected = "three"
        explorer.toggle_joint()
        assert "joint" not in explorer.results
        explorer.toggle_joint("one")
        assert explorer.joint == ("one", "three")
        model, data, run = trained
        alone = nv.measure_joint_reset(nv.Evaluator(model, data, device="cpu"), run, ["one", "three"])
        found = explorer.results["joint"]
        assert found.criticality == alone.criticality
        chart = explorer.chart
        np.testing.assert_allclose(chart.joint.x, [alone.criticality])
        np.testing.assert_allclose(chart.total.x, [alone.sum_of_singles])
        np.testing.assert_allclose(chart.joint_gap.x, [alone.sum_of_singles, alone.criticality])
        assert "together minus sum" in chart.cells.value
        assert drawn(chart)["one"][1] == 3.5
        explorer.clear_joint()
        assert not chart.joint.visible
        assert drawn(chart)["one"][1] == 2.5


class TestHands:
    def test_a_click_chooses_and_opens_and_the_second_way_collects(self, trained):
        model, data, run = trained
        opened = []
        explorer = nv.LayerMap(nv.Evaluator(model, data, device="cpu"), run, on_open=opened.append)
        explorer.compute()
        explorer._clicked(2, False)
        assert (explorer.selected, opened) == ("three", ["three"])
        explorer._clicked(0, True)
        explorer._clicked(2, True)
        assert (explorer.selected, explorer.joint, opened) == ("three", ("one", "three"), ["three"])
        explorer.order = "rank"
        explorer._clicked(0, False)
        assert explorer.selected == explorer.results["layers"].layers[int(np.argmax(explorer.results["layers"].criticality))]
        explorer._clicked(7, False)
        explorer.part = "weights"
        explorer.explore("one")
        assert opened[-1] == "one.weight"
        explorer.close()

    def test_explore_opens_paths_once_and_moves_them_afterwards(self, trained):
        model, data, run = trained
        splits = {"train": nv.Evaluator(model, data, device="cpu", name="train"), "test": nv.Evaluator(model, data, device="cpu")}
        explorer = nv.LayerMap(splits, run, split="train")
        explorer.compute()
        with pytest.raises(ValueError, match="choose a layer first"):
            explorer.explore()
        paths = explorer.explore("two")
        assert (type(paths), paths.scope, paths.split) == (nv.PathExplorer, "two", "train")
        explorer.selected = "three"
        assert explorer.explore() is paths
        assert paths.scope == "three"
        explorer.unit = "tensor"
        explorer.explore("one.bias")
        assert paths.scope == "one.bias"
        explorer.close_explorers()
        assert paths._closed
        assert not explorer.openings.shown
        explorer.explore("one.bias")
        explorer.close()

    def test_on_a_workbench_a_row_chooses_the_weights_that_it_stands_for(self, trained):
        model, data, run = trained
        bench = nv.Workbench(nv.Evaluator(model, data, device="cpu"), run, tab="Layers")
        layers = next(one for one in bench.explorers.values() if isinstance(one, nv.LayerMap))
        layers.compute()
        layers.part = "weights"
        layers.selected = "one"
        assert bench.scope == "one.weight"
        bench.scope = ("three.weight", (0, 1))
        assert layers.selected == "three"
        layers._clicked(1, False)
        assert (bench.scope, bench.tab) == ("two.weight", "Paths")
        bench.close()

    def test_keys(self, explorer):
        explorer.compute()
        for key, chosen in [("ArrowDown", "one"), ("ArrowDown", "two"), ("End", "three"), ("ArrowDown", "three"), ("Home", "one")]:
            press(explorer, key, False)
            assert explorer.selected == chosen
        press(explorer, " ", False)
        assert explorer.joint == ("one",)
        for key, trait, value in [("o", "order", "rank"), ("m", "metric", "loss"), ("ArrowRight", "at", 1), ("ArrowLeft", "at", 0),
                                  ("ArrowLeft", "at", 0), ("h", "view", "history")]:  # fmt: skip
            press(explorer, key, False)
            assert getattr(explorer, trait) == value
        press(explorer, "Enter", False)
        assert explorer.openings.shown
        press(explorer, "Escape", False)
        assert len(KEYS) == len(set(KEYS))

    def test_controls_are_hands_on_traits_both_ways(self, explorer):
        controls = explorer.controls
        explorer.compute()
        controls.margin.value, controls.above.value = 2.5, 0.5
        assert (explorer.margin, explorer.critical_above) == (0.025, 0.5)
        explorer.margin = 0.03
        assert controls.margin.value == 3
        controls.at.value, controls.part.value, controls.unit.value = 2, "weights", "tensor"
        assert (explorer.at, explorer.part, explorer.unit) == (2, "weights", "tensor")
        explorer.kind = "rerandomise"
        assert controls.at.layout.display == "none"
        assert controls.kind.value == "rerandomise"
        explorer.draws = 2
        assert controls.draws.value == 2

    def test_all_samples_is_an_entry_of_the_list_like_any_other(self, trained):
        model, _, run = trained
        data = torch.randn(600, 6), torch.randint(0, 3, (600,))
        explorer = nv.LayerMap(nv.Evaluator(model, data, device="cpu"), run)
        control = explorer.controls.samples
        assert (control.options[control.index][0], explorer.samples) == ("all samples", None)
        control.index = 0
        assert explorer.samples == 250
        control.index = len(control.options) - 1
        assert (explorer.samples, control.index) == (None, len(control.options) - 1)
        explorer.samples = 77
        assert control.options[control.index][0] == "n = 77"
        explorer.compute()
        assert 77 <= explorer.results["layers"].n < 600
        explorer.close()


class TestWords:
    def test_the_terms_are_always_there_and_the_strip_says_what_was_measured(self, explorer):
        assert "robust" in explorer.terms.value
        assert explorer.state_line.value == "nothing measured yet"
        explorer.compute()
        for words in ("n = 120 of 120", "test", "BatchNorm", "simultaneous", "1 seed", "epoch 0", "chance 0.3333"):
            assert words in explorer.state_line.value

    def test_the_read_out_and_the_summary_tell_of_the_chosen_layer(self, explorer):
        explorer.compute()
        assert "Click a row" in explorer.readout.value
        explorer.selected = "one"
        study = explorer.results["layers"]
        for words in (f"κ {study.criticality[0]:.2f}", f"{-100 * study.accuracy_drop[0]:+.1f} points", "rank", "63 weights"):
            assert words in explorer.readout.value
        assert explorer._assist.summary.startswith(f"one: {study.label[0]}, criticality {study.criticality[0]:.2f} [")

    def test_a_run_of_one_checkpoint_says_what_is_possible(self, trained):
        model, data, run = trained
        explorer = nv.LayerMap(nv.Evaluator(model, data, device="cpu"), nv.Run.from_states([run.final]), draws=2)
        assert explorer.kind == "rerandomise"
        explorer.compute()
        assert explorer.results["layers"].draws_criticality.shape == (3, 2)
        explorer.kind = "reinit"
        assert "no initial checkpoint" in explorer.status.error.value
        assert "rerandomise" in explorer.status.error.value
        explorer.kind = "rerandomise"
        assert not explorer.status.error.value

    def test_a_model_that_has_not_learnt_has_no_criticality(self, trained):
        model, (x, _), run = trained
        y = torch.randint(0, 3, (120,), generator=torch.Generator().manual_seed(3))
        explorer = nv.LayerMap(nv.Evaluator(model, (x, y), device="cpu"), run)
        explorer.compute()
        assert "has not learnt" in explorer.state_line.value
        assert not drawn(explorer.chart)
        explorer.metric = "loss"
        assert drawn(explorer.chart)
        explorer.close()

    def test_of_a_regression_criticality_is_about_the_loss(self, trained):
        model, (x, y), run = trained
        targets = nn.functional.one_hot(y, 3) * 6.0 - 2.0
        evaluator = nv.Evaluator(model, (x, targets), loss=lambda out, t: ((out - t) ** 2).mean(1), metrics={}, device="cpu")
        explorer = nv.LayerMap(evaluator, run)
        explorer.compute()
        assert explorer.results["layers"].metric == "loss"
        assert explorer.controls.metric.options[0][0] == "Loss (κ)"
        assert explorer.chart.zones["ambient"].x[1] == 0.01
        assert "κ surely below 0.01" in explorer.legend.value
        explorer.selected = "one"
        assert "accuracy" not in explorer.readout.value
        explorer.close()

    def test_a_module_that_cannot_initialise_itself_is_grey_and_says_so(self):
        class Scale(nn.Module):
            def __init__(self):
                super().__init__()
                self.factor = nn.Parameter(torch.ones(6))

            def forward(self, x):
                return x * self.factor

        torch.manual_seed(0)
        model = nn.Sequential(Scale(), nn.Linear(6, 3))
        x = torch.randn(90, 6)
        states = factories.states(model, 2)
        model.load_state_dict(states[1])
        data = x, model(x).argmax(1)
        explorer = nv.LayerMap(nv.Evaluator(model, data, device="cpu"), nv.Run.from_states(states), kind="rerandomise", draws=2)
        explorer.compute()
        assert list(explorer.results["layers"].problems) == ["0"]
        assert "grey: 0: " in explorer.state_line.value
        assert explorer.chart.names.value.count("nnvis-grey") == 1
        assert list(drawn(explorer.chart)) == ["1"]
        explorer.study.initializer = lambda module, generator: module.factor.data.fill_(2.0)
        explorer.kind = "reinit"  # where nothing is drawn, what draws has no part in it
        explorer.compute()
        assert not explorer.status.error.value
        assert explorer.results["layers"].kind == "reinit"
        explorer.close()


class TestNormalised:
    def test_both_policies_are_marks(self):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.Tanh(), nn.Linear(9, 3))
        data, run = learn(model, model.parameters())
        explorer = nv.LayerMap(nv.Evaluator(model, data, device="cpu"), run)
        explorer.compute()
        study = explorer.results["layers"]
        assert set(study.policies) == {"final", "recalibrate"}
        assert explorer.chart.others.visible
        assert "◯ BatchNorm" in explorer.legend.value
        drawn_x = dict(zip(explorer.chart.others.names, explorer.chart.others.x, strict=True))
        other = next(values for values in study.policies.values() if not np.array_equal(values, study.criticality, equal_nan=True))
        assert drawn_x == {name: pytest.approx(value) for name, value in zip(study.layers, other, strict=True)}
        explorer.results["layers"] = replace(study, policies={"recalibrate": study.criticality, "final": np.full(3, 0.9)})
        explorer.margin = 0.02
        unharmed = [name for name, label in zip(study.layers, study.label, strict=True) if label != "critical"]
        assert unharmed
        assert f"no longer fit what is reset: {unharmed[0]}" in explorer.state_line.value
        # what lies within the interval of the policy in force is no other finding
        wide = replace(study, policies={"recalibrate": study.criticality, "final": np.full(3, 0.9)}, high=np.full(3, 0.95))
        explorer.results["layers"] = wide
        explorer.margin = 0.03
        assert "no longer fit" not in explorer.state_line.value
        explorer.batchnorm = "batch"
        assert "batch" in explorer.state_line.value
        explorer.close()


class TestFiles:
    def test_a_saved_map_shows_the_same_and_can_be_labelled_anew(self, explorer, tmp_path):
        with pytest.raises(ValueError, match="no result yet"):
            explorer.save_result(tmp_path / "x")
        explorer.compute()
        explorer.joint = ("one", "three")
        explorer.margin = 0.05
        explorer.save_result(tmp_path / "layers.safetensors")
        loaded = nv.load(tmp_path / "layers.safetensors")
        shown = nv.LayerMap.from_result(loaded)
        assert (shown.margin, shown.joint) == (0.05, ("one", "three"))
        assert drawn(shown.chart) == drawn(explorer.chart)
        np.testing.assert_array_equal(shown.chart.joint.x, explorer.chart.joint.x)
        shown.critical_above = 0.9
        assert shown.results["layers"].critical_above == 0.9
        shown.selected = "one"
        with pytest.raises(ValueError, match="holds no model"):
            shown.explore()
        shown.compute()
        assert drawn(shown.chart)
        single = nv.LayerMap.from_result(loaded.results["layers"])
        assert drawn(single.chart)
        with pytest.raises(TypeError, match="LayerStudy"):
            nv.LayerMap.from_result(loaded.results["joint"])
        assert rendered({"": still_of(loaded.results)}).startswith(b"\x89PNG")

    def test_a_file_that_is_opened_stays_until_a_setting_changes(self, explorer, tmp_path):
        explorer.view = "history"
        explorer.compute()
        history = replace(explorer.results["history"], n=7)
        explorer.view = "layers"
        before = explorer._worker.started
        explorer.open_result(history)
        assert (explorer.view, explorer.results["history"].n) == ("history", 7)
        assert explorer._worker.started == before
        explorer.view = "layers"
        assert explorer.results["layers"].n == 120

    def test_snapshot_and_restore(self, explorer):
        explorer.unit, explorer.margin, explorer.selected, explorer.joint = "tensor", 0.03, "one.bias", ("one.bias", "two.bias")
        kept = explorer.snapshot()
        explorer.unit, explorer.margin = "module", 0.01
        explorer.restore(kept)
        assert explorer.snapshot() == kept


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("kind", "prune", "reinit"), ("at", 4, "0 to 3"), ("draws", 0, "1 to 200"), ("split", "validation", "'test'"),
        ("samples", 1, "at least 2"), ("batchnorm", "frozen", "recalibrate"), ("margin", 0.0, "positive"),
        ("margin", 5.0, "0.05 is five points; received 5"),
        ("margin", float("nan"), "positive"), ("critical_above", 1.0, "between 0"), ("selected", "four", "'one'"),
        ("joint", ("one", "four"), "'four'"), ("metric", "accuracy", "criticality"),
    ],
)  # fmt: skip
def test_bad_settings_are_refused_and_nothing_changes(explorer, name, value, words):
    before = explorer.snapshot()
    with pytest.raises(Exception, match=words):
        setattr(explorer, name, value)
    assert explorer.snapshot() == before


def test_wrong_arguments_are_refused(trained):
    model, data, run = trained
    evaluator = nv.Evaluator(model, data, device="cpu")
    with pytest.raises(TypeError, match="evaluator: an Evaluator"):
        nv.LayerMap(model, run)
    with pytest.raises(TypeError, match="run: a Run"):
        nv.LayerMap(evaluator, model.state_dict())
    with pytest.raises(TypeError, match="critical_above"):
        nv.LayerMap(evaluator, run, criticalabove=0.3)


def test_cancel_keeps_the_rows_with_their_n(trained):
    model, _, run = trained
    data = torch.randn(6000, 6), torch.randint(0, 3, (6000,))

    async def main():
        explorer = nv.LayerMap(nv.Evaluator(model, data, device="cpu", batch_size=20), run, samples=None, view="history")
        while not explorer.results or not np.isfinite(explorer.results["history"].loss_rise).any():
            await asyncio.sleep(0.005)
        explorer.cancel()
        await explorer.done()
        await asyncio.sleep(0.05)
        explorer.close()
        return explorer

    explorer = asyncio.run(main())
    assert "cancelled" in explorer.status.text.value
    assert explorer.results["history"].fraction < 1


def test_no_name_of_ours_covers_one_of_ipywidgets():
    ours = {name for cls in nv.LayerMap.__mro__ if cls.__module__.startswith("nnvis_widgets") for name in vars(cls)}
    ours |= {
        "results",
        "study",
        "chart",
        "history_view",
        "pictures",
        "openings",
        "controls",
        "legend",
        "terms",
        "readout",
        "state_line",
        "picture",
    }
    meant = {"close", "_ipython_display_"}
    assert {name for name in ours if not name.startswith("_") and hasattr(ipywidgets.VBox, name)} <= meant


def test_closing_closes_every_widget_that_was_made(trained):
    model, data, run = trained
    before = set(_instances)
    explorer = nv.LayerMap(nv.Evaluator(model, data, device="cpu"), run)
    explorer.compute()
    explorer.view, explorer.selected = "history", "one"
    explorer.explore()
    explorer.close()
    assert [type(_instances[key]).__name__ for key in _instances.keys() - before] == []


class TestChart:
    """The view alone, given rows."""

    def test_what_is_not_measured_yet_is_not_drawn(self):
        chart = LayerChart()
        rows = [Row("a", "critical", 0.5, 0.4, 0.6), Row("b"), Row("c", "ambient", -0.01, np.nan, np.nan)]
        chart.show(LayerScene(rows, zones=(0.01, 0.25), picked="c"))
        assert drawn(chart) == {"a": (0.5, 2.5), "c": (-0.01, 0.5)}
        assert chart.whiskers["critical"].visible
        assert not chart.whiskers["ambient"].visible
        np.testing.assert_array_equal(chart.picked.y, [[0, 0], [1, 1]])
        assert chart.figure.layout.height == f"{3 * ROW + 76}px"
        chart.show(LayerScene())
        assert drawn(chart) == {}

    def test_wide_intervals_do_not_squeeze_the_picture(self):
        chart = LayerChart()
        chart.show(LayerScene([Row("a", "undefined", 0.5, -40.0, 40.0)], zones=(0.01, 0.25)))
        assert (chart._x.min, chart._x.max) == (pytest.approx(-0.688), pytest.approx(1.688))
        np.testing.assert_allclose(np.ravel(chart.whiskers["undefined"].x), [chart._x.min, chart._x.max])

    def test_the_joint_reset_is_measured_later_than_it_is_asked_for(self):
        chart = LayerChart()
        chart.show(LayerScene([Row("a", "critical", 0.5)], together=Together("2 together", *[np.nan] * 4, "measuring ...")))
        assert not chart.joint.visible
        assert "measuring" in chart.cells.value
        assert drawn(chart)["a"][1] == 1.5

    def test_names_are_text_not_markup(self):
        chart = LayerChart()
        chart.show(LayerScene([Row("<b>x</b>", "critical", 0.5)], picked="<b>x</b>"))
        assert "<b>x" not in chart.names.value
        assert "<b>x" not in chart.cells.value

    def test_what_has_not_changed_is_not_sent(self):
        chart = LayerChart()
        scene = LayerScene([Row("a", "critical", 0.5, 0.4, 0.6, draws=np.array([0.4, 0.6]))], zones=(0.01, 0.25))
        chart.show(scene)
        sent = []
        for widget in (*chart.marks(), chart.figure, chart.names, chart.cells, chart._x, chart._y):
            widget.observe(lambda change: sent.append((change.owner, change.name)))
        chart.show(scene)
        assert sent == []
