"""A sweep on threads, processes and a dask cluster: the numbers of one thread, and nothing left behind."""

from __future__ import annotations

import gc
import glob
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import factories
import numpy as np
import pytest
import torch
from torch.nn import functional as F

import nnvis_widgets as nv
from nnvis_widgets.core import cluster as clusters
from nnvis_widgets.core import executors, parcels, remote
from nnvis_widgets.core.calibration import Calibration
from nnvis_widgets.core.parcels import ExecutorError
from nnvis_widgets.core.remote import Failure
from nnvis_widgets.core.tiles import cuts_of, in_groups, share
from nnvis_widgets.core.worker import Bench, Job, Kit, Station

# processes import torch first, which takes seconds
pytestmark = pytest.mark.slow

SPAWN = multiprocessing.get_context("spawn")
POLICIES = ("final", "recalibrate", "interpolate", "batch")


@pytest.fixture(scope="module")
def threads():
    with ThreadPoolExecutor(3) as pool:
        yield pool


@pytest.fixture(scope="module")
def processes():
    with ProcessPoolExecutor(2, mp_context=SPAWN) as pool:
        yield pool


@pytest.fixture(params=["threads", "processes"])
def pool(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def path(walk):
    return nv.QuadraticPath(walk[0], walk[2], walk[4])


def on(executor, model, data, **options):
    return nv.Evaluator(model, data, **{"device": "cpu", "batch_size": 16, **options}, executor=executor)


def equal(one, other):
    """Whether two results agree in every bit."""
    pairs = [(getattr(one, name), getattr(other, name)) for name in ("loss", "loss_se", "diff_se")]
    for kind in ("metrics", "metrics_se", "metrics_diff_se"):
        pairs += [(getattr(one, kind)[name], getattr(other, kind)[name]) for name in one.metrics]
    return all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)


def files():
    return set(glob.glob(os.path.join(tempfile.gettempdir(), "nnvis_widgets-*", "*")))


def slow_loss(output, target):
    time.sleep(0.02)
    return F.cross_entropy(output, target, reduction="none")


def hesitant(model, batch):
    """Look at a value, which no recording can."""
    output = model(batch[0])
    return output * float(output.isfinite().all()), batch[1]


class Mine(Exception):
    def __init__(self, number, word):
        super().__init__(f"{number} {word}")


def bad_loss(output, target):
    # only the last, shorter batch, so that the evaluator itself is made
    if len(target) == 9:
        raise KeyError("my own words")
    return F.cross_entropy(output, target, reduction="none")


def untravelled_loss(output, target):
    if len(target) == 9:
        raise Mine(3, "words")
    return F.cross_entropy(output, target, reduction="none")


def dies_once(output, target):
    """End the process in the midst of the last batch, where it is a worker."""
    if len(target) == 9 and multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return F.cross_entropy(output, target, reduction="none")


def dies(output, target):
    if multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return F.cross_entropy(output, target, reduction="none")


class Changing(torch.utils.data.Dataset):
    """Data that are others in every process."""

    def __init__(self):
        self.x, self.y = factories.images(20)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i] + (multiprocessing.parent_process() is not None), self.y[i]


class InPlace(Executor):
    """An executor of another making, which does the work when it is handed in."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


class TestTheSameBits:
    @pytest.mark.parametrize("batchnorm", POLICIES)
    @pytest.mark.parametrize("scope", [None, "conv1", "fc2"])
    def test_as_in_one_thread(self, pool, model, data, path, scope, batchnorm):
        options = {"batchnorm": batchnorm, "calibration": factories.images(40, seed=3)}
        expected = nv.measure_path(on(None, model, data, **options), path, scope=scope)
        got = nv.measure_path(on(pool, model, data, **options), path, scope=scope)
        assert equal(got, expected)
        assert np.isfinite(got.diff_se[:-1]).all()
        assert got.n == 57

    @pytest.mark.parametrize("engine", ["plain", {"together": 3}, {"head": False}])
    def test_with_every_engine(self, threads, model, data, path, engine):
        for scope in (None, "fc2"):
            expected = nv.measure_path(on(None, model, data, engine=engine, batchnorm="final"), path, scope=scope)
            got = nv.measure_path(on(threads, model, data, engine=engine, batchnorm="final"), path, scope=scope)
            assert equal(got, expected)
            assert got.provenance["engine"] == expected.provenance["engine"]

    @pytest.mark.parametrize("batch_size", [1, 7, 28, 57])
    def test_at_every_batch_size(self, threads, model, data, path, batch_size):
        expected = nv.measure_path(on(None, model, data, batch_size=batch_size, batchnorm="final"), path)
        assert equal(nv.measure_path(on(threads, model, data, batch_size=batch_size, batchnorm="final"), path), expected)

    def test_with_weighted_ignored_and_half_precision_scores(self, pool, model, data, path):
        loss = torch.nn.CrossEntropyLoss(torch.tensor([0.2, 1.0, 3.0]), ignore_index=1)
        expected = nv.measure_path(on(None, model, data, loss=loss), path)
        assert equal(nv.measure_path(on(pool, model, data, loss=loss), path), expected)
        half = model.bfloat16()
        states = [{name: t.bfloat16() if t.is_floating_point() else t for name, t in s.items()} for s in path.states]
        x, y = data
        given = (half, (x.bfloat16(), y))
        expected = nv.measure_path(on(None, *given, batchnorm="final"), nv.LinearPath(states[0], states[2]))
        assert equal(nv.measure_path(on(pool, *given, batchnorm="final"), nv.LinearPath(states[0], states[2])), expected)

    def test_of_a_subset_a_data_set_and_a_state(self, pool, model, data, path):
        for given in (data, torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data), batch_size=4, shuffle=True)):
            one, other = on(None, model, given, samples=40), on(pool, model, given, samples=40)
            assert equal(nv.measure_path(other, path), nv.measure_path(one, path))
            assert other.measure().loss == one.measure().loss
            assert other.measure().provenance["data"] == one.measure().provenance["data"]

    def test_of_tied_weights_and_of_a_loss_that_is_a_mean(self, pool):
        model = factories.made(factories.Tied)
        rng = torch.Generator().manual_seed(0)
        data = torch.randint(0, 11, (40,), generator=rng), torch.randint(0, 11, (40,), generator=rng)
        path = nv.LinearPath(*factories.states(model, 2))
        for loss in (None, lambda o, t: F.cross_entropy(o, t).square()):
            expected = nv.measure_path(on(None, model, data, loss=loss), path)
            assert equal(nv.measure_path(on(pool, model, data, loss=loss), path), expected)

    def test_several_sweeps_of_several_evaluators(self, processes, model, data, path):
        other = factories.images(33, seed=5)
        for given in (data, other, factories.images(20), data, other):
            ours, theirs = on(processes, model, given), on(None, model, given)
            for scope in ("fc1", "conv2"):
                assert equal(nv.measure_path(ours, path, scope=scope), nv.measure_path(theirs, path, scope=scope))

    @pytest.mark.parametrize("batchnorm", ["final", "recalibrate"])
    def test_of_several_scopes_in_one_pass(self, pool, model, data, path, batchnorm):
        scopes = ["conv1", "fc1", "fc2"]
        expected = nv.measure_paths(on(None, model, data, batchnorm=batchnorm), path, scopes)
        got = nv.measure_paths(on(pool, model, data, batchnorm=batchnorm), path, scopes)
        assert got.keys() == expected.keys()
        assert all(equal(got[key], expected[key]) for key in expected)

    @pytest.mark.parametrize("batchnorm", ["final", "recalibrate"])
    def test_of_a_surface(self, pool, model, data, batchnorm):
        plane = nv.random_plane(model)
        one, other = (
            nv.measure_surface(on(executor, model, data, batchnorm=batchnorm), plane, resolution=7) for executor in (None, pool)
        )
        assert np.array_equal(one.loss, other.loss)
        assert other.provenance["executor"] != "serial"

    def test_of_statistics_that_cannot_be_recorded(self, pool, model, data, path):
        options = {"batchnorm": "recalibrate", "forward": hesitant}
        expected = nv.measure_path(on(None, model, data, **options), path, scope="conv1")
        evaluator = on(pool, model, data, **options)
        assert equal(nv.measure_path(evaluator, path, scope="conv1"), expected)
        assert evaluator.fallback

    def test_each_point_is_recalibrated_once(self, model, data, path, monkeypatch):
        seen, real = [], Calibration._recorded
        monkeypatch.setattr(Calibration, "_recorded", lambda self, ks: (seen.extend(ks), real(self, ks))[1])
        with ThreadPoolExecutor(1) as one:
            nv.measure_path(on(one, model, data, batchnorm="recalibrate"), path, scope="conv1")
        assert len(seen) == len(set(seen)) > 10

    def test_on_an_executor_of_another_making(self, model, data, path):
        got = nv.measure_path(on(InPlace(), model, data), path)
        assert equal(got, nv.measure_path(on(None, model, data), path))
        assert got.provenance["executor"] == "InPlace"

    @pytest.mark.slow
    def test_on_loky(self, model, data, path):
        loky = pytest.importorskip("joblib.externals.loky")
        executor = loky.ProcessPoolExecutor(2)
        try:
            got = nv.measure_path(on(executor, model, data, loss=lambda o, t: F.cross_entropy(o, t, reduction="none")), path)
        finally:
            executor.shutdown(kill_workers=True)
        assert equal(got, nv.measure_path(on(None, model, data), path))
        assert got.provenance["executor"] == "processes"

    def test_checkpoints_read_one_by_one_stay_here(self, threads, model, data, run):
        got = nv.measure_training(on(threads, model, data), run)
        assert equal(got, nv.measure_training(on(None, model, data), run))
        assert got.provenance["executor"] == "serial"


class TestPartialResults:
    def test_flow_after_each_batch_in_order(self, pool, model, data, path, unhurried):
        results = list(nv.iter_path(on(pool, model, data), path))
        assert [r.n for r in results] == [16, 32, 48, 57]
        for one, other in zip(results, nv.iter_path(on(None, model, data), path), strict=True):
            assert equal(one, other)
            assert one.fraction == other.fraction

    @pytest.mark.parametrize("scopes", [["conv1"], ["conv1", "fc1", "fc2"]])
    def test_the_fraction_counts_recalibration(self, pool, model, data, path, scopes, monkeypatch):
        monkeypatch.setattr("nnvis_widgets.core.evaluator.HEARTBEAT", 0.0)
        evaluator = on(pool, model, data, batchnorm="recalibrate", calibration=factories.images(160, seed=3))
        fractions = [next(iter(results.values())).fraction for results in nv.iter_paths(evaluator, path, scopes)]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0
        # ten batches of calibration and four that are measured: progress is made within the first of these
        assert len({f for f in fractions if f < 11 / 14}) > 5

    def test_flow_while_a_worker_is_slow(self, threads, model, data, path):
        last, waits, samples = time.monotonic(), [], 0
        for result in nv.iter_path(on(threads, model, data, loss=slow_loss, engine="plain"), path):
            waits.append(time.monotonic() - last)
            last, samples = time.monotonic(), result.n
        assert max(waits) < 1.0  # 0.3 on a machine that has nothing else to do
        assert samples == 57
        assert len(waits) > 4

    def test_a_bounded_number_of_tiles_is_under_way(self, model, data, path):
        counted, most = [0], [0]

        class Counting(InPlace):
            def submit(self, fn, /, *args, **kwargs):
                counted[0] += 1
                most[0] = max(most[0], counted[0])
                return super().submit(fn, *args, **kwargs)

        evaluator = on(Counting(), model, data, batch_size=1)
        channel = evaluator._workshop.crew.channel
        channel.workers, result = 2, channel.result
        channel.result = lambda future: (counted.__setitem__(0, counted[0] - 1), result(future))[1]
        nv.measure_path(evaluator, path, scope="fc2")
        assert most[0] <= 8

    def test_provenance_says_who_measured(self, pool, model, data, path):
        got = nv.measure_path(on(pool, model, data), path).provenance
        assert (got["executor"], got["workers"]) == (("threads", 3) if isinstance(pool, ThreadPoolExecutor) else ("processes", 2))
        assert got["threads"] == 1
        assert nv.measure_path(on(None, model, data), path).provenance["executor"] == "serial"

    def test_the_first_reason_against_recording_is_known_here(self, processes, model, data, path):
        evaluator = on(processes, model, data, forward=lambda m, b: (m(b[0]) * float(m(b[0]).isfinite().all()), b[1]))
        got = nv.measure_path(evaluator, path)
        assert "value of a tensor" in evaluator.fallback
        assert got.provenance["engine"]["program"] == "modules"


class TestCancel:
    @pytest.mark.parametrize("wait", [False, True])
    def test_nothing_is_left(self, pool, model, data, path, wait):
        alive = threading.active_count()
        evaluator = on(pool, model, data, loss=slow_loss, engine="plain")
        kept = files()
        steps = nv.iter_path(evaluator, path)
        next(steps)
        if wait:
            next(steps)
        began = time.monotonic()
        steps.close()
        assert time.monotonic() - began < 1.0
        # beside the model and the data, which the evaluator still needs, what the next sweep will have in common with this one
        assert {os.path.basename(name).partition("-")[0] for name in files() - kept} <= {"background"}
        # the pool is free again long before the 164 points of the rest would be done
        assert pool.submit(os.getpid).result(timeout=3) > 0
        expected = nv.measure_path(on(None, model, data, engine="plain"), path, [0.0, 1.0])
        assert equal(nv.measure_path(evaluator, path, [0.0, 1.0]), expected)
        if isinstance(pool, ThreadPoolExecutor):
            assert threading.active_count() <= alive + 3

    def test_files_go_with_the_evaluator(self, processes, model, data, path):
        gc.collect()
        before = files()
        evaluator = on(processes, model, data)
        nv.measure_path(evaluator, path, scope="fc2")
        (left,) = {os.path.dirname(name) for name in files() - before}
        assert os.stat(left).st_mode & 0o077 == 0
        del evaluator
        gc.collect()
        assert not os.path.exists(left)

    def test_a_sweep_that_is_never_begun_costs_nothing(self, processes, model, data, path):
        evaluator = on(processes, model, data)
        before = files()
        nv.iter_path(evaluator, path).close()
        assert files() == before


class TestTravel:
    def test_a_background_travels_once(self, processes, model, data, path, walk, monkeypatch):
        sent = []
        real = parcels.Leaf.__init__
        monkeypatch.setattr(
            parcels.Leaf, "__init__", lambda leaf, at, kind, blob: (sent.append(kind), real(leaf, at, kind, blob))[1]
        )
        ours, theirs = on(processes, model, data, batchnorm="final"), on(None, model, data, batchnorm="final")
        for number, background in enumerate([walk[4], {name: t.clone() for name, t in walk[4].items()}, walk[0], walk[4]]):
            for scope in ("conv1", "fc2"):
                got = nv.measure_path(ours, path, [0.0, 0.3, 1.0], scope=scope, background=background)
                assert equal(got, nv.measure_path(theirs, path, [0.0, 0.3, 1.0], scope=scope, background=background))
            assert sent.count("background") == (1 if number < 2 else 2)
        assert sent.count("job") == 8
        nv.measure_path(ours, path, [0.0, 1.0], scope="fc2", background=walk[1])
        nv.measure_path(ours, path, [0.0, 1.0], scope="fc2", background=walk[0])
        assert sent.count("background") == 4  # the workers keep two of them
        folder = os.path.dirname(ours._workshop.crew.channel.kit.path)
        assert sorted(name.partition("-")[0] for name in os.listdir(folder)) == ["background", "background", "kit"]

    def test_the_same_values_in_another_order_of_memory_are_others(self, processes, model, data):
        crew = on(processes, model, data)._workshop.crew
        image = torch.randn(2, 3, 4, 5)
        one, other = (crew.background({"x": x}) for x in (image, image.to(memory_format=torch.channels_last)))
        assert one is not other
        assert crew.background({"x": image.clone()}) is one

    def test_threads_forget_a_sweep(self, threads, model, data, path):
        before = alive(Job, Station)
        evaluator = on(threads, model, data)
        nv.measure_path(evaluator, path)
        assert not more_than(before, Job, Station)
        steps = nv.iter_path(evaluator, path)
        next(steps)
        steps.close()
        assert not more_than(before, Job, Station)


def alive(*kinds):
    """Which objects of these kinds are in memory."""
    return {id(thing): type(thing).__name__ for thing in gc.get_objects() if type(thing) in kinds}


def more_than(before, *kinds, seconds=20.0):
    """Names of what is in memory and was not before, once there is nothing or some seconds have gone: workers let go later."""
    until = time.monotonic() + seconds
    while True:
        left = [name for place, name in alive(*kinds).items() if place not in before]
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.05)


class TestTrouble:
    def test_the_error_of_a_loss_comes_through_with_its_traceback(self, pool, model, data, path):
        with pytest.raises(KeyError, match="my own words") as caught:
            nv.measure_path(on(pool, model, data, loss=bad_loss), path)
        if not isinstance(pool, ThreadPoolExecutor):
            assert "in bad_loss" in str(caught.value.__cause__)
        assert pool.submit(os.getpid).result(timeout=10) > 0  # the pool is whole

    def test_an_error_that_cannot_travel_comes_as_words(self, processes, model, data, path):
        with pytest.raises(ExecutorError, match="Mine: 3 words") as caught:
            nv.measure_path(on(processes, model, data, loss=untravelled_loss), path)
        assert "in untravelled_loss" in str(caught.value.__cause__)
        assert isinstance(Failure.of(ValueError("x")).raised(), ValueError)

    @pytest.mark.slow
    def test_a_worker_killed_on_the_way_loses_nothing(self, model, data, path):
        expected = nv.measure_path(on(None, model, data), path)
        before = set(multiprocessing.active_children())
        with ProcessPoolExecutor(2, mp_context=SPAWN) as pool:
            evaluator = on(pool, model, data, loss=dies_once)
            with pytest.warns(RuntimeWarning, match="executor: it is broken"):
                got = nv.measure_path(evaluator, path)
            assert equal(got, expected)
            assert "BrokenProcessPool" in got.provenance["lost"]
            with pytest.warns(RuntimeWarning, match="Make a new executor"):
                assert equal(nv.measure_path(evaluator, path), expected)
        assert set(multiprocessing.active_children()) <= before

    @pytest.mark.slow
    def test_killed_while_points_are_recalibrated(self, model, data, path, monkeypatch):
        monkeypatch.setattr("nnvis_widgets.core.evaluator.HEARTBEAT", 0.0)
        options = {"batchnorm": "recalibrate", "calibration": factories.images(40, seed=3)}
        with ProcessPoolExecutor(2, mp_context=SPAWN) as pool, pytest.warns(RuntimeWarning):
            results = list(nv.iter_path(on(pool, model, data, loss=dies_once, **options), path))
        got, fractions = results[-1], [r.fraction for r in results]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0
        assert equal(got, nv.measure_path(on(None, model, data, **options), path))

    @pytest.mark.slow
    def test_workers_that_never_work_are_an_error(self, model, data, path):
        with ProcessPoolExecutor(1, mp_context=SPAWN) as pool, pytest.raises(ExecutorError, match="before they had measured"):
            nv.measure_path(on(pool, model, data, loss=dies), path)

    def test_a_pool_that_is_shut_down(self, model, data, path):
        pool = ThreadPoolExecutor(1)
        pool.shutdown()
        with pytest.raises(ExecutorError, match=r"executor: .* shut down has to be made anew"):
            nv.measure_path(on(pool, model, data), path)

    def test_a_pool_that_is_shut_down_on_the_way(self, model, data, path):
        pool = ThreadPoolExecutor(1)
        steps = nv.iter_path(on(pool, model, data, loss=slow_loss, engine="plain"), path, [0.0, 0.5, 1.0])
        while next(steps).fraction == 0:
            pass
        pool.shutdown(cancel_futures=True)
        with pytest.warns(RuntimeWarning, match="has stopped"):
            *_, last = steps
        assert equal(last, nv.measure_path(on(None, model, data, engine="plain"), path, [0.0, 0.5, 1.0]))

    @pytest.mark.timeout(60)
    def test_a_pool_whose_waiting_tiles_are_cancelled(self, model, data, path):
        # such a future is done, but concurrent.futures.wait never says so
        pool = ThreadPoolExecutor(1)
        gate, started = threading.Event(), threading.Event()
        pool.submit(lambda: (started.set(), gate.wait(20)))
        steps = nv.iter_path(on(pool, model, data, batchnorm="final"), path, [0.0, 0.5, 1.0])
        assert started.wait(20)
        assert next(steps).fraction == 0  # its tiles wait behind the task above
        pool.shutdown(wait=False, cancel_futures=True)
        gate.set()
        with pytest.raises(ExecutorError, match=r"executor: its workers were lost before .* shut down has to be made anew"):
            list(steps)

    def test_other_samples_in_a_worker_are_refused(self, processes, model, path):
        with pytest.raises(nv.DataError if hasattr(nv, "DataError") else ValueError, match=r"data: .*(other samples|changed)"):
            nv.measure_path(on(processes, model, Changing(), loss=bad_loss), path)

    def test_rows_cut_in_two_ways_are_measured_once(self, threads, model, data, path, monkeypatch):
        # as where one worker has given its recording up, and another has not
        real, turn = executors.Shift._scores, [0]

        def scores(self, tile, future):
            turn[0] += 1
            for piece in real(self, tile, future):
                if piece is not None and turn[0] % 3 == 0 and len(piece.rows) > 1:
                    piece = executors._part(piece, list(range(len(piece.rows) - 1)), False)
                yield piece

        monkeypatch.setattr(executors.Shift, "_scores", scores)
        got = nv.measure_path(on(threads, model, data, engine={"together": 3}), path, scope="fc2")
        expected = nv.measure_path(on(None, model, data), path, scope="fc2")
        assert got.loss == pytest.approx(expected.loss, rel=1e-5)
        assert got.n == 57


class TestRefusals:
    @pytest.mark.parametrize("executor", [3, "processes", multiprocessing])
    def test_what_is_no_executor(self, model, data, executor):
        with pytest.raises(ExecutorError, match=r"executor: a concurrent.futures.Executor .* received"):
            on(executor, model, data)

    def test_a_pool_that_forks(self, model, data):
        with (
            ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool,
            pytest.raises(ExecutorError, match=r"executor: .*'spawn'"),
        ):
            on(pool, model, data)

    def test_what_cannot_travel_is_named_at_once(self, processes, model, data):
        lock = threading.Lock()

        def locked(output, target):
            with lock:
                return F.cross_entropy(output, target, reduction="none")

        before = files()
        with pytest.raises(ExecutorError, match=r"loss: worker processes need a copy of it, and .*locked cannot be pickled"):
            on(processes, model, data, loss=locked)
        with pytest.raises(ExecutorError, match=r"metrics: 'mine': worker processes"):
            on(processes, model, data, metrics={"mine": locked})
        with pytest.raises(ExecutorError, match=r"forward: worker processes .* a ThreadPoolExecutor needs no copy"):
            on(processes, model, data, forward=lambda m, b: (m(b[0]), (lock, b[1])[1]))
        assert files() == before

    def test_without_cloudpickle_functions_of_a_notebook_are_refused_with_the_remedy(self, processes, model, data, monkeypatch):
        monkeypatch.setattr(parcels, "pickler", pickle)
        with pytest.raises(ExecutorError, match=r"loss: .*<lambda> cannot be pickled .* top level of a module.* cloudpickle"):
            on(processes, model, data, loss=lambda o, t: F.cross_entropy(o, t, reduction="none"))
        on(processes, model, data, loss=slow_loss)


class TestInvariants:
    def test_nothing_of_the_users_is_changed(self, pool, model, data, path):
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        random, mode, count = torch.get_rng_state(), model.training, torch.get_num_threads()
        nv.measure_path(on(pool, model, data), path)
        assert factories.same(before, dict(model.state_dict()))
        assert torch.equal(torch.get_rng_state(), random)
        assert (model.training, torch.get_num_threads()) == (mode, count)
        assert not model._forward_pre_hooks

    def test_weights_trained_meanwhile_do_not_reach_the_workers(self, threads, model, data, path):
        evaluator = on(threads, model, data)
        expected = nv.measure_path(evaluator, path)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1.0)
        assert equal(nv.measure_path(evaluator, path), expected)

    def test_two_sweeps_at_once_in_one_pool(self, threads, model, data, path):
        evaluator = on(threads, model, data)
        expected = {scope: nv.measure_path(on(None, model, data), path, scope=scope) for scope in ("fc1", "conv1")}
        running = {scope: nv.iter_path(evaluator, path, scope=scope) for scope in expected}
        latest = {}
        while running:
            for scope in list(running):
                result = next(running[scope], None)
                if result is None:
                    del running[scope]
                else:
                    latest[scope] = result
        assert all(equal(latest[scope], expected[scope]) for scope in expected)


class TestTiles:
    @pytest.mark.parametrize(("batches", "rows", "workers"), [(1, 41, 2), (8, 41, 7), (3, 2, 16), (100, 5, 4), (1, 1, 8)])
    def test_workers_rarely_wait(self, batches, rows, workers):
        cuts = cuts_of(batches, rows, workers, 4 * workers)
        assert len(cuts) == batches
        assert all(1 <= parts <= rows for parts in cuts)
        # whoever is free takes the next
        busy = [0.0] * workers
        for parts in cuts:
            for _ in range(parts):
                busy[busy.index(min(busy))] += 1 / parts
        assert max(cuts) == rows or batches / workers / max(busy) >= 0.9

    def test_two_workers_do_half_each(self):
        for batches in range(1, 20):
            busy = [0.0, 0.0]
            for parts in cuts_of(batches, 61, 2, 8):
                for _ in range(parts):
                    busy[busy.index(min(busy))] += 1 / parts
            assert max(busy) <= 1.05 * batches / 2

    def test_shares_hold_every_group_once(self):
        groups = in_groups(list(range(41)), 6)
        for parts in (1, 2, 7, 8, 41):
            assert [g for part in range(parts) for g in share(groups, part, parts)] == groups


class TestThreadsOfWorkers:
    @pytest.mark.parametrize(("cores", "workers", "before", "expected"), [(8, 2, 8, 4), (8, 2, 1, 1), (2, 4, 2, 1), (8, 0, 8, 8)])
    def test_are_their_share_of_the_cores_and_never_more_than_was_set(self, monkeypatch, cores, workers, before, expected):
        seen = []
        now = [before]
        monkeypatch.setattr(remote, "_cores", lambda: cores)
        monkeypatch.setattr(torch, "get_num_threads", lambda: now[0])
        monkeypatch.setattr(torch, "set_num_threads", lambda count: now.__setitem__(0, count))
        monkeypatch.setattr(remote, "_listener", lambda *_: seen.append(now[0]) or (lambda: True))
        assert remote.remote(None, None, None, None, None, ("file", ""), workers) is None
        assert seen == [expected]
        assert now == [before]


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def idle(client, seconds=5.0):
    """Whether no worker has anything to do, after some seconds at most."""
    until = time.monotonic() + seconds
    while any(client.processing().values()) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(client.processing().values())


class TestDask:
    @pytest.mark.parametrize("batchnorm", ["final", "recalibrate"])
    @pytest.mark.parametrize("scope", [None, "fc2"])
    def test_the_same_bits(self, client, model, data, path, scope, batchnorm):
        got = nv.measure_path(on(client, model, data, batchnorm=batchnorm), path, scope=scope)
        assert equal(got, nv.measure_path(on(None, model, data, batchnorm=batchnorm), path, scope=scope))
        assert (got.provenance["executor"], got.provenance["workers"]) == ("dask", 2)

    def test_cancel_reaches_the_workers(self, client, model, data, path):
        evaluator = on(client, model, data, loss=slow_loss, engine="plain")
        steps = nv.iter_path(evaluator, path)
        next(steps)
        steps.close()
        assert idle(client)
        expected = nv.measure_path(on(None, model, data, engine="plain"), path, [0.0, 1.0])
        assert equal(nv.measure_path(evaluator, path, [0.0, 1.0]), expected)

    def test_the_error_of_a_loss(self, client, model, data, path):
        with pytest.raises(KeyError, match="my own words") as caught:
            nv.measure_path(on(client, model, data, loss=bad_loss), path)
        assert "in bad_loss" in str(caught.value.__cause__)
        assert idle(client)

    def test_an_asynchronous_client_and_one_without_workers_are_refused(self, model, data, monkeypatch, client):
        for name, value, words in (("asynchronous", True, "asynchronous=True"), ("nthreads", lambda self, **_: {}, "has none")):
            with monkeypatch.context() as patch:
                patch.setattr(type(client), name, value)
                with pytest.raises(ExecutorError, match=f"executor: .*{words}"):
                    on(client, model, data)


def kinds_on(client, expected=None, seconds=20.0):
    """What the cluster holds of ours, once it is what is expected or some seconds have gone."""
    until = time.monotonic() + seconds
    while True:
        held = {key.partition("-")[0].removeprefix("nnvis_") for key in client.who_has() if key.startswith("nnvis_")}
        if expected in (None, held) or time.monotonic() > until:
            return held
        time.sleep(0.05)


@pytest.fixture
def nannies():
    distributed = pytest.importorskip("distributed")
    import dask

    environment = {"distributed.nanny.pre-spawn-environ": {**clusters.ROOMY, "OMP_NUM_THREADS": 1}}
    with (
        dask.config.set(environment),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


class TestDaskForgets:
    KINDS = (Job, Station, Kit, Bench, parcels.Parcel)

    @pytest.fixture(params=["client", "nannies"])
    def workers(self, request):
        """A cluster in this process, and one of processes; nothing here waits for the garbage collector."""
        client = request.getfixturevalue(request.param)
        gc.collect()
        client.run(gc.disable)
        yield client
        client.run(gc.enable)

    def more_on(self, client, before, *kinds, seconds=20.0):
        """What the workers have unpacked since, once there is nothing or some seconds have gone: dask lets go in its own time."""
        until = time.monotonic() + seconds
        while True:
            there = client.run(alive, *kinds)
            left = {
                worker: sorted(found[place] for place in found.keys() - before[worker].keys()) for worker, found in there.items()
            }
            if not any(left.values()) or time.monotonic() > until:
                return {worker: names for worker, names in left.items() if names}
            time.sleep(0.05)

    def test_a_sweep_that_is_over_and_an_evaluator_that_is_gone(self, workers, model, data, path):
        before = workers.run(alive, *self.KINDS)
        evaluator = on(workers, model, data, batchnorm="recalibrate")
        nv.measure_path(evaluator, path)
        assert self.more_on(workers, before, Kit, seconds=0)
        assert not self.more_on(workers, before, Job, Station)
        steps = nv.iter_path(evaluator, path)
        next(steps)
        steps.close()
        assert not self.more_on(workers, before, Job, Station)
        assert kinds_on(workers, {"kit", "background"}) == {"kit", "background"}
        del evaluator, steps
        assert not self.more_on(workers, before, *self.KINDS)
        assert kinds_on(workers, set()) == set()


class TestDaskLosesWorkers:
    def test_killed_on_the_way_and_while_a_sweep_is_sent(self, nannies, model, data, path):
        evaluator = on(nannies, model, data, loss=slow_loss, engine="plain")
        expected = nv.measure_path(on(None, model, data, engine="plain"), path)
        steps = nv.iter_path(evaluator, path)
        while next(steps).fraction < 0.1:
            pass
        os.kill(next(iter(nannies.run(os.getpid).values())), signal.SIGKILL)
        *_, last = steps
        assert equal(last, expected)
        assert "lost" not in last.provenance
        # the scheduler does not know yet that this one is dead
        os.kill(next(iter(nannies.run(os.getpid).values())), signal.SIGKILL)
        last = nv.measure_path(evaluator, path)
        assert equal(last, expected)
        assert "lost" not in last.provenance

    def test_killed_on_a_surface(self, nannies, model, data):
        plane = nv.random_plane(model)
        options = {"batchnorm": "recalibrate", "engine": "plain"}
        expected = nv.measure_surface(on(None, model, data, **options), plane, resolution=5)
        steps = nv.iter_surface(on(nannies, model, data, loss=slow_loss, **options), plane, resolution=5)
        while next(steps).fraction < 0.3:
            pass
        os.kill(next(iter(nannies.run(os.getpid).values())), signal.SIGKILL)
        *_, last = steps
        assert np.array_equal(last.loss, expected.loss)
        assert last.fraction == 1.0

    @pytest.mark.parametrize("begun", [False, True])
    def test_without_any_worker_the_sweep_is_finished_here(self, model, data, path, begun, monkeypatch):
        distributed = pytest.importorskip("distributed")
        monkeypatch.setattr(clusters, "PATIENCE", 0.5)
        expected = nv.measure_path(on(None, model, data, engine="plain"), path)
        with (
            distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
            distributed.Client(cluster) as client,
        ):
            steps = nv.iter_path(on(client, model, data, loss=slow_loss, engine="plain"), path)
            while begun and next(steps).fraction < 0.1:
                pass
            cluster.scale(0)
            with pytest.warns(RuntimeWarning, match="executor: it has no workers"):
                *_, last = steps
            assert equal(last, expected)
            assert "Deserted" in last.provenance["lost"]

    def test_a_client_that_is_closed_on_the_way(self, model, data, path):
        distributed = pytest.importorskip("distributed")
        expected = nv.measure_path(on(None, model, data, engine="plain"), path)
        with distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
            client = distributed.Client(cluster)
            evaluator = on(client, model, data, loss=slow_loss, engine="plain")
            steps = nv.iter_path(evaluator, path)
            while next(steps).fraction < 0.1:
                pass
            client.close()
            with pytest.warns(RuntimeWarning, match="executor: it has"):
                *_, last = steps
            assert equal(last, expected)
            with pytest.warns(RuntimeWarning, match="executor: it has no workers"):
                assert equal(nv.measure_path(evaluator, path), expected)
