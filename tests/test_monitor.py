"""A monitor hears what is recorded, draws seldom enough, costs little, and never harms the training."""

import asyncio
import json
import re
import threading
import time
import warnings

import factories
import ipywidgets
import numpy as np
import pytest
import torch

import nnvis_widgets as nv
from nnvis_widgets.runs.run import INDEX, RunError
from nnvis_widgets.views.monitor import CHARTS
from nnvis_widgets.widgets import training_monitor as module
from nnvis_widgets.widgets.monitor_keys import press
from nnvis_widgets.widgets.monitor_study import Budget, MonitorStudy


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def recorder(model, tmp_path):
    return nv.Recorder(model, tmp_path / "run")


@pytest.fixture
def clock(monkeypatch):
    """The clock of every monitor that is made afterwards; drawing and weighing take no time on it."""
    clock = Clock()
    monkeypatch.setattr(module, "_clock", clock)
    real = MonitorStudy.__init__
    monkeypatch.setattr(MonitorStudy, "__init__", lambda self, recorder: real(self, recorder, clock))
    return clock


def move(recorder, size=0.1):
    with torch.no_grad():
        for number, parameter in enumerate(recorder._model.parameters()):
            rng = torch.Generator().manual_seed(int(parameter.sum() * 1e4) % 10**6 + number)
            parameter.add_(torch.randn(parameter.shape, generator=rng) * size)


def train(recorder, epochs, **metrics):
    for _ in range(epochs):
        move(recorder)
        recorder.record(**metrics)


class TestListeners:
    def test_hear_of_everything_that_is_written(self, recorder):
        heard = []
        recorder.subscribe(heard.append)
        with recorder:
            move(recorder)
            recorder.step(loss=3)
            recorder.record(accuracy=0.5)  # at the weights of the step
            move(recorder)
            recorder.record(loss=np.nan)
            recorder.bookmark()
        assert [notice.kind for notice in heard] == ["start", *["checkpoint"] * 3, "bookmark", "end"]
        assert [notice.index for notice in heard] == [0, 1, 1, 2, 2, 2]
        assert [notice.epoch for notice in heard] == [0, None, 1, 2, 2, 2]
        assert [dict(notice.metrics) for notice in heard[1:3]] == [{"loss": 3}, {"loss": 3, "accuracy": 0.5}]
        run = nv.Run.open(recorder.folder)
        assert all(factories.same(notice.state, run[notice.index].state) for notice in heard[:4])

    def test_are_told_when_the_file_is_complete(self, recorder):
        lengths = []
        recorder.subscribe(lambda notice: lengths.append(len(nv.Run.open(recorder.folder))))
        with recorder:
            train(recorder, 2)
        assert lengths == [1, 2, 3, 3]

    def test_of_a_resumed_run_hear_its_last_checkpoint(self, model, recorder):
        with recorder:
            train(recorder, 3)
        heard, again = [], nv.Recorder(model, recorder.folder, resume=True)
        again.subscribe(heard.append)
        with again:
            pass
        assert [(notice.kind, notice.index) for notice in heard] == [("start", 3), ("end", 3)]
        assert factories.same(heard[0].state, nv.Run.open(recorder.folder).final)

    @pytest.mark.parametrize("action", ["default", "error"])
    def test_that_raise_are_dropped_and_the_training_goes_on(self, recorder, action):
        calls, others = [], []

        def broken(notice):
            calls.append(notice)
            raise ZeroDivisionError("of the listener")

        recorder.subscribe(broken)
        recorder.subscribe(others.append)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter(action)
            with recorder:
                train(recorder, 3)
        assert len(calls) == 1
        assert len(others) == 5
        assert len(nv.Run.open(recorder.folder)) == 4
        if action == "default":
            assert ["listener failed and is called no more" in str(w.message) for w in caught] == [True]
            assert "ZeroDivisionError: of the listener" in str(caught[0].message)

    def test_that_are_interrupted_interrupt_the_training(self, recorder):
        def interrupted(notice):
            if notice.index == 2:
                raise KeyboardInterrupt

        recorder.subscribe(interrupted)
        with pytest.raises(KeyboardInterrupt), recorder:
            train(recorder, 5)
        assert len(nv.Run.open(recorder.folder)) == 3

    def test_can_leave_at_any_time(self, recorder):
        heard = []
        leave = recorder.subscribe(heard.append)
        recorder.subscribe(heard.append)
        with recorder:
            leave()
            leave()
            train(recorder, 1)
        assert [notice.kind for notice in heard] == ["start", "start", "checkpoint", "end"]

    def test_that_cannot_be_called_are_refused(self, recorder):
        with pytest.raises(TypeError, match="listener: a callable that takes a Notice, received str 'print'"):
            recorder.subscribe("print")


class TestBookmarks:
    def test_are_read_back_and_survive_a_resumption(self, model, recorder):
        with recorder:
            recorder.bookmark("start")
            train(recorder, 2)
            recorder.bookmark()
            recorder.bookmark()
            assert recorder.run.bookmarks == [(0, "start"), (2, None)]
            train(recorder, 1)
        with nv.Recorder(model, recorder.folder, resume=True) as again:
            train(again, 1)
            again.bookmark("späť")
        assert nv.Run.open(recorder.folder).bookmarks == [(0, "start"), (2, None), (4, "späť")]

    def test_an_index_of_before_there_were_any_still_opens_and_can_be_continued(self, model, recorder):
        with recorder:
            train(recorder, 1)
        index = json.loads((recorder.folder / INDEX).read_text())
        del index["bookmarks"]
        (recorder.folder / INDEX).write_text(json.dumps(index))
        assert nv.Run.open(recorder.folder).bookmarks == []
        with nv.Recorder(model, recorder.folder, resume=True) as again:
            again.bookmark("now")
        assert nv.Run.open(recorder.folder).bookmarks == [(1, "now")]

    def test_other_runs_have_none(self, run):
        assert run.bookmarks == []

    def test_need_a_text_and_an_open_recorder(self, recorder):
        with pytest.raises(RunError, match="use it in a with block"):
            recorder.bookmark()
        with recorder, pytest.raises(RunError, match="label: a text or None, received int 3"):
            recorder.bookmark(3)

    def test_from_another_thread_lose_nothing(self, recorder):
        with recorder:
            done = threading.Event()

            def click():
                number = 0
                while not done.is_set():
                    recorder.bookmark(str(number))
                    number += 1

            thread = threading.Thread(target=click)
            thread.start()
            train(recorder, 8)
            done.set()
            thread.join()
        run = nv.Run.open(recorder.folder)
        assert len(run) == 9
        assert [int(label) for _, label in run.bookmarks] == list(range(len(run.bookmarks)))
        assert all(checkpoint.state for checkpoint in run)


def test_a_stop_request_is_a_flag_that_a_loop_reads(recorder):
    with recorder:
        for epoch in range(1, 100):
            recorder.record(epoch=epoch)
            if epoch == 3:
                recorder.request_stop()
            if recorder.stop_requested:
                break
    assert recorder.stop_requested
    assert len(recorder.run) == 4
    with nv.Recorder(recorder._model, recorder.folder, resume=True) as again:
        assert not again.stop_requested


class TestBudget:
    def test_work_waits_until_its_usual_price_is_earned(self):
        clock = Clock()
        budget = Budget(clock, share=0.1)
        assert budget.wait("drawing") == 0
        budget.begin()
        with budget.paid("drawing"):
            clock.now += 1.0
        # half of 10 % is for drawing: after the second that was spent, and for another one
        assert budget.wait("drawing") == pytest.approx(2 / (0.95 * 0.05) - 1)
        assert budget.wait("weights") == 0
        clock.now += 42
        assert budget.wait("drawing") == 0
        assert budget.share == pytest.approx(1 / 43)

    def test_one_expensive_exception_does_not_set_the_price(self):
        clock = Clock()
        budget = Budget(clock)
        budget.begin()
        for price in (0.001, 0.001, 0.5, 0.001):
            with budget.paid("weights"):
                clock.now += price
        assert budget.wait("weights") == pytest.approx((0.503 + 0.001) / (0.95 * 0.01) - 0.503)

    def test_what_comes_after_the_end_costs_the_training_nothing(self):
        clock = Clock()
        budget = Budget(clock)
        budget.begin()
        clock.now += 10
        budget.end()
        with budget.paid("drawing"):
            clock.now += 5
        assert (budget.elapsed, budget.spent, budget.wait("drawing")) == (10, 0, 0)

    def test_weights_for_which_there_is_no_time_are_left_out_and_counted(self, recorder, monkeypatch):
        clock = Clock()
        study = MonitorStudy(recorder, clock)
        weigh = study._weigh

        def dear(*arguments):
            clock.now += 1.0
            weigh(*arguments)

        monkeypatch.setattr(study, "_weigh", dear)
        recorder.subscribe(study.hear)
        with recorder:
            for _ in range(30):
                clock.now += 20
                train(recorder, 1)
        assert study.budget.share <= 0.02
        assert 4 <= len(study.weighed) < 10
        assert study.weighed[0] == 0
        assert study.weighed[-1] == 30  # read again after the end: the trained weights belong into the picture
        assert sorted(study.weighed + study.skipped) == list(range(31))
        assert study.frame.keys == tuple(study.weighed)


class TestStudy:
    @pytest.fixture
    def study(self, recorder):
        study = MonitorStudy(recorder, Clock())
        recorder.subscribe(study.hear)
        return study

    def test_movement_is_the_relative_distance_of_each_layer(self, study, recorder):
        with recorder:
            train(recorder, 4)
        run = recorder.run
        assert list(study.moved) == ["conv1", "bn1", "conv2", "fc1", "fc2"]
        for layer, values in study.moved.items():
            flat = [torch.cat([c.state[f"{layer}.{part}"].flatten().double() for part in ("weight", "bias")]) for c in run]
            assert values == pytest.approx([float((one - flat[0]).norm() / flat[0].norm()) for one in flat])

    def test_its_frame_is_the_principal_plane_of_the_run(self, study, recorder):
        with recorder:
            for _ in range(3):
                move(recorder)
                recorder.step()
                train(recorder, 1)
        plane = nv.pca_plane(recorder.run)
        expected = plane.project(recorder.run).xy
        left, _, right = np.linalg.svd(study.frame.xy.T @ expected)
        assert study.frame.xy @ (left @ right) == pytest.approx(expected, abs=1e-5 * np.abs(expected).max())
        assert study.frame.explained == pytest.approx(plane.explained, rel=1e-5)
        assert study.epochs == pytest.approx(recorder.run.epochs)

    def test_numbers_are_grouped_by_their_names(self, study, recorder):
        with recorder:
            recorder.record(train_loss=1, val_nll=2, test_accuracy=0.5, f1_score=0.4, lr=0.1)
            recorder.record(top5=0.9)
        assert study.names("losses") == ["train_loss", "val_nll"]
        assert study.names("metrics") == ["test_accuracy", "f1_score", "top5"]
        assert study.names("rest") == ["lr"]
        assert [array.tolist() for array in study.series("top5")] == [[2], [0.9]]

    def test_a_run_that_goes_on_is_looked_back_on(self, model, study, recorder):
        with recorder:
            train(recorder, 3, loss=1.0)
            recorder.bookmark("b")
        again = nv.Recorder(model, recorder.folder, resume=True)
        other = MonitorStudy(again, Clock())
        again.subscribe(other.hear)
        with again:
            train(again, 2, loss=2.0)
        assert other.weighed == [0, 1, 2, 3, 4, 5]
        assert other.series("loss")[1].tolist() == [1, 1, 1, 2, 2]
        assert other.bookmarks == [(3, "b")]
        assert other.frame.xy.shape == (6, 2)

    def test_seconds_of_an_epoch(self, study, recorder):
        with recorder:
            assert np.isnan(study.epoch_seconds)
            for seconds in (9, 2, 2, 50, 2, 2):
                study._clock.now += seconds
                train(recorder, 1)
        assert study.epoch_seconds == 2


class TestWidget:
    def test_waits_with_the_line_of_code_that_it_waits_for(self, recorder):
        monitor = nv.TrainingMonitor(recorder)
        assert "waiting for the first record" in monitor.status_line.value
        assert "recorder.record(epoch=epoch, train_loss=..., test_accuracy=...)" in monitor.status_line.value
        assert not any(mark.visible for figure in monitor.view.figures.values() for mark in figure.marks)

    def test_draws_what_was_recorded(self, recorder, clock):
        monitor = nv.TrainingMonitor(recorder)
        with recorder:
            for epoch in range(1, 6):
                move(recorder)
                recorder.record(train_loss=1 / epoch, test_loss=2 / epoch, test_accuracy=1 - 1 / epoch)
        lines = {name: monitor.view.figures[name].marks[1] for name in CHARTS}
        assert lines["losses"].x.tolist() == [[1, 2, 3, 4, 5]] * 2
        assert lines["losses"].y == pytest.approx(np.array([[1, 1 / 2, 1 / 3, 1 / 4, 1 / 5], [2, 1, 2 / 3, 1 / 2, 2 / 5]]))
        assert lines["metrics"].y == pytest.approx(np.array([0, 1 / 2, 2 / 3, 3 / 4, 4 / 5]).reshape(lines["metrics"].y.shape))
        assert lines["movement"].y == pytest.approx(np.array(list(monitor.study.moved.values())))
        way = monitor.view.figures["way"].marks[0]
        assert np.column_stack([way.x, way.y]) == pytest.approx(monitor.results["trajectory"].xy)
        assert monitor.results["trajectory"].epochs.tolist() == [0, 1, 2, 3, 4, 5]
        assert "ended at epoch 5" in monitor.status_line.value
        assert "seeds: 1" in monitor.status_line.value
        assert "(random walk of 6 points: " in monitor.scene().way.caption

    def test_redraws_five_times_a_second_at_most_and_the_last_record_always(self, recorder, clock):
        monitor = nv.TrainingMonitor(recorder)
        drawn, show = [], monitor._show
        monitor._show = lambda: (drawn.append(clock.now), show())
        with recorder:
            for _ in range(100):
                clock.now += 0.03
                train(recorder, 1, loss=1.0)
        assert np.diff(drawn[1:-1]).min() >= 0.2
        assert 12 <= len(drawn) <= 17
        assert monitor.scene().charts["losses"].series[0].x[-1] == 100

    def test_redraws_less_often_where_drawing_is_dear(self, recorder, clock):
        monitor = nv.TrainingMonitor(recorder)
        show = monitor._show

        def dear():
            clock.now += 0.05
            show()

        monitor._show = dear
        with recorder:
            for _ in range(100):
                clock.now += 1.0
                train(recorder, 1, loss=1.0)
        assert 0.005 < monitor.study.budget.share < 0.011

    def test_with_an_event_loop_a_delayed_picture_comes_by_itself(self, recorder):
        async def main():
            monitor = nv.TrainingMonitor(recorder)
            with recorder:
                train(recorder, 1, loss=1.0)
                train(recorder, 1, loss=2.0)
                seen = []
                for _ in range(200):
                    await asyncio.sleep(0.05)
                    seen = monitor.view.figures["losses"].marks[1].y.ravel().tolist()
                    if seen == [1, 2]:
                        break
                monitor.close()
                return seen

        assert asyncio.run(main()) == [1, 2]

    def test_a_training_in_a_thread_changes_widgets_only_on_the_event_loop(self, recorder):
        async def main():
            monitor = nv.TrainingMonitor(recorder)
            threads, show = set(), monitor._show
            monitor._show = lambda: (threads.add(threading.get_ident()), show())

            def work():
                with recorder:
                    for _ in range(200):
                        train(recorder, 1, loss=1.0)
                        time.sleep(0.005)
                        if recorder.stop_requested:
                            return

            task = asyncio.get_running_loop().run_in_executor(None, work)
            while len(monitor.study) < 6:
                await asyncio.sleep(0.01)
            assert not monitor.starved
            monitor.controls.stop.click()
            await task
            await asyncio.sleep(0.1)
            assert "ended at epoch" in monitor.status_line.value
            assert len(recorder.run) < 200
            assert threads == {threading.get_ident()}
            monitor.close()

        asyncio.run(main())

    def test_says_when_no_click_can_arrive(self, recorder, clock):
        async def main():
            monitor = nv.TrainingMonitor(recorder)
            with recorder:
                for _ in range(3):
                    clock.now += 1
                    train(recorder, 1, loss=1.0)
                assert monitor.starved
                assert "keeps the kernel busy" in monitor.notes.value
                await asyncio.sleep(0)
                clock.now += 1
                train(recorder, 1, loss=1.0)
                assert not monitor.starved
                assert "busy" not in monitor.notes.value
            monitor.close()

        asyncio.run(main())

    def test_a_loss_that_is_not_a_number_is_a_gap_and_a_line_of_text(self, recorder):
        monitor = nv.TrainingMonitor(recorder)
        with recorder:
            for loss in (1.0, np.nan, 0.5, np.inf, 0.4):
                move(recorder)
                recorder.record(train_loss=loss)
        mark = monitor.view.figures["losses"].marks[1]
        # three lines of one colour, each of one point
        assert mark.x.tolist() == [[1, 1], [3, 3], [5, 5]]
        assert mark.y.tolist() == [[1, 1], [0.5, 0.5], [0.4, 0.4]]
        assert len(set(mark.colors)) == 1
        assert "train_loss is not finite</b> at epoch 2" in monitor.notes.value

    def test_weights_that_diverged_are_named_and_end_the_way(self, recorder, clock):
        monitor = nv.TrainingMonitor(recorder)
        with recorder:
            train(recorder, 3)
            move(recorder, np.nan)
            recorder.record(train_loss=np.nan)
        assert "Weights are NaN or infinite</b> at epoch 4" in monitor.notes.value
        assert monitor.study.frame.keys == (0, 1, 2, 3)
        assert "is not finite" in monitor.notes.value
        assert not monitor.status.error.value

    def test_without_numbers_it_says_what_to_write(self, recorder):
        monitor = nv.TrainingMonitor(recorder)
        with recorder:
            train(recorder, 2)
        assert "No numbers recorded yet: <code>recorder.record(epoch=epoch" in monitor.notes.value

    def test_a_picture_that_fails_does_not_end_the_training(self, recorder):
        monitor = nv.TrainingMonitor(recorder)
        monitor.view.show = lambda scene: 1 / 0
        with recorder:
            train(recorder, 3)
        assert len(recorder.run) == 4
        assert "ZeroDivisionError" in monitor.status.error.value

    def test_bookmark_and_stop_are_methods_and_buttons(self, recorder):
        monitor = nv.TrainingMonitor(recorder)
        assert monitor.controls.bookmark.disabled
        with recorder:
            train(recorder, 2)
            monitor.bookmark("by hand")
            train(recorder, 1)
            monitor.controls.label.value = " a label "
            monitor.controls.bookmark.click()
            monitor.controls.stop.click()
            assert recorder.stop_requested
            assert "Stop requested" in monitor.notes.value
        assert recorder.run.bookmarks == [(2, "by hand"), (3, "a label")]
        assert "epoch 2 (by hand), epoch 3 (a label)" in monitor.status_line.value
        assert monitor.controls.bookmark.disabled
        assert monitor.controls.stop.disabled
        monitor.controls.bookmark.click()
        assert "use it in a with block" in monitor.status.error.value

    def test_made_late_it_shows_what_there_is(self, recorder):
        with recorder:
            train(recorder, 2, loss=1.0)
            monitor = nv.TrainingMonitor(recorder)
            assert monitor.scene().charts["losses"].series[0].y.tolist() == [1, 1]
            train(recorder, 1, loss=0.5)
        assert monitor.scene().charts["losses"].series[0].y.tolist() == [1, 1, 0.5]
        assert "ended at epoch 3" in nv.TrainingMonitor(recorder).status_line.value

    def test_explore_needs_an_evaluator_and_two_checkpoints(self, recorder, evaluator):
        with pytest.raises(ValueError, match=r"explore: needs an evaluator: nv.TrainingMonitor\(recorder, evaluator\)"):
            nv.TrainingMonitor(recorder).explore()
        monitor = nv.TrainingMonitor(recorder, evaluator)
        assert monitor.controls.explore.disabled
        with pytest.raises(ValueError, match="explore: needs two checkpoints"):
            monitor.explore()
        with recorder:
            train(recorder, 1)
        assert not monitor.controls.explore.disabled

    def test_explore_opens_an_explorer_on_the_run_so_far(self, recorder, evaluator):
        made = []

        def maker(one, run):
            made.append((one, len(run)))
            return ipywidgets.HTML("explorer")

        monitor = nv.TrainingMonitor(recorder, evaluator, explorers={"One": maker, "Two": maker})
        with recorder:
            train(recorder, 2)
            first = monitor.explore()
            train(recorder, 1)
            second = monitor.explore()
            assert made == [(evaluator, 3), (evaluator, 4)]
            train(recorder, 1)
        tabs = monitor.exploration.children[1]
        assert list(tabs.titles) == ["One", "Two"]
        assert [pane.children for pane in tabs.children] == [(second,), ()]
        tabs.selected_index = 1
        assert made[2:] == [(evaluator, 4)]
        tabs.selected_index = 0
        assert len(made) == 3
        assert first.comm is None
        other = tabs.children[1].children[0]
        monitor.close()
        assert second.comm is None
        assert other.comm is None

    def test_by_default_those_of_this_package(self, recorder, evaluator):
        monitor = nv.TrainingMonitor(recorder, evaluator)
        with recorder:
            train(recorder, 3)
        made = monitor.explore()
        assert isinstance(made, nv.PathExplorer)
        assert made.end == 3
        monitor.exploration.children[1].selected_index = 1
        surface = monitor.exploration.children[1].children[1].children[0]
        assert isinstance(surface, nv.SurfaceExplorer)
        monitor.close()
        assert made.comm is None
        assert surface.comm is None

    def test_closed_it_hears_no_more_and_leaves_nothing(self, recorder):
        before = set(ipywidgets.widgets.widget._instances)
        monitor = nv.TrainingMonitor(recorder)
        with recorder:
            train(recorder, 2)
            monitor.close()
            monitor.close()
            train(recorder, 1)
        assert len(monitor.study) == 3
        assert set(ipywidgets.widgets.widget._instances) <= before

    def test_a_run_that_is_over_shows_what_was_recorded(self, recorder):
        with recorder:
            train(recorder, 3, train_loss=1.0, test_accuracy=0.5)
            recorder.bookmark("best")
        monitor = nv.TrainingMonitor(nv.Run.open(recorder.folder))
        assert "ended at epoch 3" in monitor.status_line.value
        assert "bookmarks: epoch 3 (best)" in monitor.status_line.value
        assert monitor.view.figures["losses"].marks[1].x.tolist() == [1, 2, 3]
        assert not {monitor.controls.stop, monitor.controls.bookmark} & {*monitor.controls.children}  # nothing to stop or to mark
        monitor.controls.picture.click()
        assert {"PNG", "SVG"} <= {*re.findall(r">([A-Z]{3})<", monitor.controls.link.value)}
        assert monitor.view.figures["way"].marks[1].x.shape == (4,)
        live = nv.TrainingMonitor(recorder)
        assert live.still() == monitor.still()
        press(monitor, "s")  # there is nothing to stop
        assert not monitor.status.error.value
        memory = nv.TrainingMonitor(nv.Run.from_states([checkpoint.state for checkpoint in recorder.run]))
        assert len(memory.view.children) == 2  # movement and way: nothing else was recorded
        assert "No numbers were recorded" in memory.notes.value
        for one in (monitor, live, memory):
            one.close()

    def test_a_click_or_a_key_marks_the_nearest_checkpoint(self, recorder):
        with recorder:
            train(recorder, 4, loss=1.5)
        monitor = nv.TrainingMonitor(recorder)
        figure = monitor.view.figures["metrics"]
        figure.interaction._handle_custom_msg({"event": "click", "domain": {"x": 2.4, "y": 0.3}}, [])
        assert monitor.epoch == 2.0
        assert [line.x.tolist() for line in (monitor.view.figures[name].marks[-1] for name in ("losses", "movement"))] == [
            [2, 2]
        ] * 2
        assert not figure.marks[-1].visible  # nothing is drawn there
        assert "epoch <b>2</b>" in monitor.readout.value
        assert "loss <b>1.5</b>" in monitor.readout.value
        press(monitor, "ArrowRight")
        press(monitor, "ArrowRight")
        press(monitor, "ArrowRight")
        assert monitor.epoch == 4.0
        monitor.view.figures["way"].marks[1]._handle_custom_msg({"event": "element_click", "data": {"name": "1"}}, [])
        assert monitor.epoch == 1.0
        press(monitor, "Escape")
        assert monitor.epoch is None
        assert "Click a figure" in monitor.readout.value
        monitor.close()

    def test_settings(self, recorder):
        monitor = nv.TrainingMonitor(recorder, log_loss=True)
        with recorder:
            train(recorder, 1, loss=10.0)
            monitor.live = False
            train(recorder, 1, loss=0.0)
            train(recorder, 1, loss=100.0)
        mark = monitor.view.figures["losses"].marks[1]
        assert mark.y.tolist() == [[1, 1], [2, 2]]  # 0 has no logarithm
        assert monitor.snapshot() == {"log_loss": True, "live": False, "epoch": None}
        monitor.restore({"log_loss": False})
        assert mark.y.ravel().tolist() == [10, 0, 100]
        with pytest.raises(TypeError, match="has no setting 'log_los'; did you mean log_loss"):
            nv.TrainingMonitor(recorder, log_los=True)
        with pytest.raises(TypeError, match=r"recorder: an nv.Recorder\(model, folder\) or an nv.Run, received a str"):
            nv.TrainingMonitor("runs/lenet")

    def test_no_name_of_ours_covers_one_of_ipywidgets(self, recorder):
        ours = {name for cls in nv.TrainingMonitor.__mro__ if cls.__module__.startswith("nnvis_widgets") for name in vars(cls)}
        monitor, plain = nv.TrainingMonitor(recorder), ipywidgets.VBox()
        assert {n for n in ours if not n.startswith("_") and hasattr(ipywidgets.VBox, n)} <= {"close"}
        assert not set(vars(monitor)) & (set(dir(ipywidgets.VBox)) - set(vars(plain)))
