"""The widget of preliminary experiments: tabs, work in the background, what is kept, what is said where something is missing."""

import asyncio
import itertools
import json

import ipywidgets
import numpy as np
import pytest
import traitlets
from test_preliminary import POOL, Known, evaluator_of, simple

import nnvis_widgets as nv
from nnvis_widgets.views.chart import Chart
from nnvis_widgets.widgets.preliminary_study import PreliminaryStudy


@pytest.fixture
def run(walk):
    return nv.Run.from_states(walk)


@pytest.fixture
def known():
    return Known(lambda epoch, n, seed, made: 0.2 + 1 / (made + n) + 0.001 * seed)


@pytest.fixture
def study(known):
    made = PreliminaryStudy({"train": evaluator_of(), "validation": evaluator_of(0.1)}, known.train, POOL)
    with made.panel("epochs").together():
        made.panel("epochs").epochs, made.panel("epochs").seeds = 4, 2
    yield made
    made.close()


def marks(panel, chart=0):
    return {name: mark for name, mark in panel._view.charts[chart].marks.items() if mark.visible}


def test_nothing_is_trained_before_the_button_and_then_what_the_settings_ask_for(study, known):
    assert known.calls == []
    panel = study.panel("epochs")
    assert "4 trainings of 4 epochs" in panel._offer_line.value
    panel._button.click()
    assert len(known.calls) == 4
    result = study.results["epochs"]
    expected = nv.preliminary_epochs(known.train, study.source.evaluators, POOL, epochs=4, seeds=2)
    assert result.to_pandas().equals(expected.to_pandas())
    drawn = marks(panel)
    assert np.array_equal(drawn["0 validation"].y, result.mean(0))
    assert np.array_equal(drawn["0 validation"].x, [1, 2, 3, 4])
    assert drawn["1 each"].y.shape == (2, 4)
    assert "epochs are enough" in panel._words.value


def test_what_is_finished_is_not_trained_again(study, known):
    panel = study.panel("epochs")
    study.compute()
    panel.seeds = 3
    assert "nnvis-stale" in panel._view._dom_classes
    assert len(known.calls) == 4
    study.compute()
    assert len(known.calls) == 6
    panel.seeds = 2  # known: shown at once
    assert len(known.calls) == 6
    assert "nnvis-stale" not in panel._view._dom_classes
    assert len(study.results["epochs"].arm) == 4


def test_delta_and_quantity_change_the_picture_and_train_nothing(study, known):
    study.compute()
    panel = study.panel("epochs")
    calls = len(known.calls)
    panel.delta = 1e-9
    assert "no plateau within 4 epochs: the loss is lowest at the last one; train longer" in panel._words.value
    assert marks(panel).keys().isdisjoint({"0 chosen", "1 chosen"})
    before = panel._words.value
    panel.delta = 0.9
    assert "1 epochs are enough" in panel._words.value
    assert panel._words.value != before
    panel.quantity = "half"
    assert np.array_equal(marks(panel)["0 validation"].y, study.results["epochs"].mean(0, "half"))
    panel.quantity, panel.log_loss = "loss", True
    assert panel._view.charts[1].figure in panel._view._row.children
    assert len(known.calls) == calls
    with pytest.raises(ValueError, match="delta: above 0"):
        panel.delta = 0


def test_in_the_background_partial_pictures_arrive_and_cancel_keeps_what_is_finished(known):
    async def scenario():
        study = PreliminaryStudy(evaluator_of(), known.train, POOL)
        panel = study.panel("epochs")
        with panel.together():
            panel.epochs, panel.seeds = 30, 3
        study.compute()
        assert panel._button.disabled
        while len(known.calls) < 3:
            await asyncio.sleep(0.01)
        study.cancel()
        await study.done()
        assert not panel._button.disabled
        partial = study.results["epochs"]
        assert 0 < partial.fraction < 1
        assert "cancelled" in panel.status.text.value
        assert "so far, 1 of 3 seeds" in panel._words.value
        before = len(known.calls)
        study.compute()
        await study.done()
        assert study.results["epochs"].fraction == 1.0
        assert len(known.calls) - before == 6 - (before - 1)  # the one that was stopped is made again
        study.close()

    asyncio.run(scenario())


def test_training_size(study, known):
    study.tab = "training size"
    panel = study.panel("training size")
    with panel.together():
        panel.epochs, panel.halvings, panel.subsets, panel.seeds = 2, 3, 2, 1
    assert "14 trainings on 15, 30, 60, 120 samples" in panel._offer_line.value
    study.compute()
    result = study.results["training size"]
    assert result.sizes.tolist() == [15, 30, 60, 120]
    assert np.allclose(marks(panel)["0 mean"].y, result.mean[0])
    assert np.array_equal(panel._view.charts[0].x_axis.tick_values, result.sizes)


def test_a_training_that_fails_says_why_and_the_button_works_again(study):
    def broken(*, subset, epochs, seed):
        yield from itertools.islice(simple(subset=subset, epochs=epochs, seed=seed), epochs - 1)

    failing = PreliminaryStudy(evaluator_of(), broken, POOL)
    failing.compute()
    panel = failing.panel("epochs")
    assert "asked for 15 epochs" in panel.status.error.value
    assert not panel._button.disabled
    failing.close()


def test_without_a_training_there_are_two_tabs_and_the_others_say_why(evaluator, run):
    study = PreliminaryStudy(evaluator, run=run)
    assert study.tab == "test size"
    study.compute()
    assert study.results["test size"].mean["loss"] == pytest.approx(evaluator.measure(run[-1].state).loss)
    study.tab = "samples"
    study.compute()
    needed = study.results["samples"]
    assert needed.difference == pytest.approx(evaluator.measure(run[4].state).loss - evaluator.measure(run[3].state).loss, rel=1e-4)
    panel = study.panel("samples")
    panel.delta = needed.delta / 2
    assert panel._shown().paired == pytest.approx(4 * needed.paired)
    assert marks(panel)["paired dot"].y[0] == pytest.approx(4 * needed.paired)
    for tab in ("epochs", "training size"):
        study.tab = tab
        assert "def train(*, subset, epochs, seed)" in study._panes[tab].children[0].value
        with pytest.raises(ValueError, match="needs train"):
            study.panel(tab)
    bare = PreliminaryStudy(evaluator, tab="samples")
    assert "run=run" in bare._panes["samples"].children[0].value
    bare.close()
    study.close()


def test_saved_results_are_shown_without_a_model_and_settings_survive_json(study, tmp_path):
    study.compute()
    study.save_result(tmp_path / "study")
    saved = PreliminaryStudy.from_result(nv.load(tmp_path / "study"))
    assert saved.results.keys() == {"epochs"}
    assert marks(saved.panel("epochs"))["0 validation"].y.shape == (4,)
    with pytest.raises(ValueError, match="panel: one of 'epochs'"):
        saved.panel("samples")
    saved.close()
    with pytest.raises(TypeError, match="of a preliminary study"):
        PreliminaryStudy.from_result(nv.MovementTable(*[[]] * 2, *[np.zeros(1)] * 9, 1))
    settings = json.loads(json.dumps(study.snapshot()))
    other = PreliminaryStudy(evaluator_of(), simple, POOL)
    other.restore(settings)
    assert other.panel("epochs").seeds == 2
    assert other.snapshot() == study.snapshot()
    before = other.snapshot()
    for wrong, kind, words in (
        (None, TypeError, "settings: what snapshot.* of a PreliminaryStudy returned.*; received None"),
        ({"alpha": 3}, TypeError, "it has no 'alpha', only tab, panels"),
        ({"panels": {"epochs": 3}}, TypeError, "received {'epochs': 3}"),
        ({"tab": "epoch"}, ValueError, "its tabs are 'epochs', .*received 'epoch'"),
        ({"panels": {"epochs": {"seeds": 4}, "test size": {}, "samples": {}}}, ValueError, "'samples' needs run"),
        ({"panels": {"test size": {}, "epochs": {"seeds": 4, "sedes": 3}}}, TypeError, "no setting 'sedes', only epochs, seeds"),
    ):
        with pytest.raises(kind, match=words):
            other.restore(wrong)
        assert other.snapshot() == before
    other.close()


def test_what_does_not_fit_together_is_refused(evaluator):
    for arguments, words in (
        ({"train": simple}, "data: with train"),
        ({"data": 5}, "train: data, folder and settings"),
        ({"train": 3, "data": 5}, "train: a function"),
        ({"tab": "epoch"}, "tab"),
    ):
        with pytest.raises((ValueError, TypeError, traitlets.TraitError), match=words):
            PreliminaryStudy(evaluator, **arguments)


def test_nothing_of_ipywidgets_is_overwritten_and_closing_leaves_no_widget_open(known):
    def opened():
        return dict(ipywidgets.widgets.widget._instances)

    before = opened()
    study = PreliminaryStudy(evaluator_of(), known.train, POOL)
    ours = {name for kind in PreliminaryStudy.__mro__ if kind.__module__.startswith("nnvis") for name in vars(kind)}
    assert {n for n in ours if not n.startswith("_") and hasattr(ipywidgets.VBox, n)} <= {"close"}
    study.panel("epochs").seeds = 1
    study.compute()
    study.close()
    left = [one for key, one in opened().items() if key not in before]
    assert not [one for one in left if isinstance(one, ipywidgets.DOMWidget)], [type(one).__name__ for one in left]


class TestChart:
    def test_what_is_not_put_is_hidden_and_what_is_not_finite_left_out(self):
        chart = Chart("chart", "x", "y", log_y=True)
        chart.line("a", "#000000")
        chart.dots("b", "#000000")
        chart.complete()
        with chart.drawing():
            chart.put("a", np.arange(4), np.array([1.0, np.nan, 0.0, 10.0]))
            chart.put("b", np.arange(2), np.array([np.inf, -1.0]))
        assert chart.marks["a"].y.tolist() == [1.0, 10.0]
        assert not chart.marks["b"].visible
        assert chart.y.min < 1.0 < 10.0 < chart.y.max
        with chart.drawing():
            chart.put("b", np.arange(2), np.array([1.0, 2.0]))
        assert not chart.marks["a"].visible

    def test_lines_of_different_lengths_repeat_their_last_point(self):
        chart = Chart("chart", "x", "y")
        chart.line("a", "#000000")
        with chart.drawing():
            chart.put("a", [np.arange(3), np.arange(3)], [np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, np.nan])])
        assert chart.marks["a"].y.tolist() == [[1, 2, 3], [4, 5, 5]]
        assert chart.marks["a"].x.tolist() == [[0, 1, 2], [0, 1, 1]]


def test_the_default_training_makes_a_study_at_once():
    demo = nv.load_demo_training("digits", samples=40, device="cpu")
    study = PreliminaryStudy(demo.evaluators, demo.train, demo.data)
    panel = study.panel("epochs")
    with panel.together():
        panel.epochs, panel.seeds = 1, 1
    study.compute()
    assert study.results["epochs"].arms == ["decayed", "constant"]
    assert "varied" in panel._locked[-1].description
    study.close()
