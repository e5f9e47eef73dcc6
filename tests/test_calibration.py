"""Recalibrated statistics from the recorded pass: the numbers of the model in training mode, shared where nothing moves."""

import copy

import factories
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import nnvis_widgets as nv
from nnvis_widgets.core import calibration
from nnvis_widgets.core.family import Families
from nnvis_widgets.core.points import Points


class Residual(nn.Module):
    """A stem, a block with a shortcut, and a second block: BatchNorm after each convolution, ReLU in place."""

    def __init__(self):
        super().__init__()
        self.stem, self.bn0 = nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv1, self.bn1 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4, momentum=None)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4, momentum=0.01, affine=False)
        self.conv3, self.bn3 = nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)
        self.fc, self.relu = nn.Linear(5, 3), nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.relu(self.bn0(self.stem(x)))
        y = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(x + self.bn2(self.conv2(y)))
        return self.fc(self.relu(self.bn3(self.conv3(x))).mean((2, 3)))


class Flat(nn.Module):
    """BatchNorm1d over (n, c), over (n, c, l), and one layer that is used twice."""

    def __init__(self):
        super().__init__()
        self.first, self.bn_a = nn.Linear(35, 6), nn.BatchNorm1d(6)
        self.middle, self.bn_b = nn.Linear(6, 6), nn.BatchNorm1d(6)
        self.conv, self.bn_c = nn.Conv1d(2, 4, 2), nn.BatchNorm1d(4)
        self.last = nn.Linear(8, 3)

    def forward(self, x):
        x = torch.tanh(self.bn_a(self.first(x.flatten(1))))
        x = torch.tanh(self.bn_b(self.middle(x)))
        x = torch.tanh(self.bn_b(self.middle(x)))
        return self.last(torch.tanh(self.bn_c(self.conv(x.view(-1, 2, 3)))).flatten(1))


class Instances(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 3, 3), nn.InstanceNorm2d(3, affine=True, track_running_stats=True), nn.ReLU(), nn.Conv2d(3, 2, 2),
            nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(16, 3),
        )  # fmt: skip


class Odd(nn.BatchNorm2d):
    """Keeps half of what it sees."""

    def forward(self, x):
        y = super().forward(x)
        if self.training and self.running_mean is not None:
            self.running_mean.mul_(0.5)
        return y


class Asks(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.fc = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Linear(45, 3)

    def forward(self, x):
        x = self.bn(self.conv(x))
        return self.fc((x if x.abs().max().item() < 1e9 else -x).flatten(1))


ROWS = [[1.0, 0.0], [0.0, 1.0], [0.7, 0.3], [1.25, -0.25], [0.3, 0.3], [0.5, 0.5], [0.1, 0.9]]


def setting(build, n=57, **options):
    net = factories.made(build)
    states = factories.states(net, 2)
    given = {"device": "cpu", "batch_size": 16, "batchnorm": "recalibrate", **options}
    return net, states, nv.Evaluator(net, factories.images(n), **given)


def points_of(evaluator, family, rows):
    parts = (evaluator._replica, evaluator._batchnorm, evaluator._scorer, evaluator._recordings)
    points = Points(*parts, family, np.asarray(rows, dtype=float), "recalibrate")
    points.load(evaluator._samples.batch(0), evaluator._samples.size(0))
    list(points.groups(list(range(len(rows)))))
    return points


def assert_calibrated(evaluator, family, rows, rtol=1e-6):
    found = points_of(evaluator, family, rows)._calibration
    replica, samples = evaluator._replica, evaluator._calibration
    for k, row in enumerate(rows):
        batches = [samples.batch(number) for number in range(samples.n // samples.batch_size)]
        expected = replica.recalibrated(family.parameters(row), replica.buffers(family.background), batches)
        mine = found.buffers(k)
        assert mine.keys() == expected.keys()
        for name in evaluator.layout.statistics:
            scale = float(expected[name].abs().max())
            assert torch.allclose(mine[name], expected[name], rtol=rtol, atol=rtol * scale), (name, k)
            assert mine[name].dtype == expected[name].dtype
    return found


SCOPES = [
    *((Residual, scope) for scope in (None, "stem", "conv2", "bn1", "bn1.bias", ("conv1.weight", (1, 2, 0, 1)), "conv3", "fc")),
    *((Residual, scope) for scope in (["bn0.weight", "conv3"], ["conv1", ("fc.bias", 1)])),
    *((Flat, scope) for scope in (None, "first", "middle", "bn_a", "bn_b", ("middle.weight", (2, 3)), "conv")),
    *((Instances, scope) for scope in (None, "0", "1", "3", "4")),
]


@pytest.mark.parametrize(("build", "scope"), SCOPES, ids=str)
def test_every_row_has_the_statistics_of_the_model_in_training_mode(build, scope):
    _, states, evaluator = setting(build)
    assert_calibrated(evaluator, evaluator.family(scope, states, states[1]), ROWS, rtol=2e-6)
    assert evaluator.fallback == ""


@pytest.mark.parametrize("build", [Residual, Flat])
def test_they_are_those_that_update_bn_leaves(build):
    net, states, evaluator = setting(build)
    family = evaluator.family(None, states, states[1])
    found = points_of(evaluator, family, ROWS)._calibration
    batches = [evaluator._calibration.batch(number)[0] for number in range(3)]
    for k, row in enumerate(ROWS):
        twin = copy.deepcopy(net)
        twin.load_state_dict({**states[1], **family.parameters(row)})
        torch.optim.swa_utils.update_bn(batches, twin)
        for name in evaluator.layout.statistics:
            expected = twin.state_dict()[name]
            assert torch.allclose(found.buffers(k)[name], expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max())), name


def test_what_lies_before_the_scope_is_the_same_at_every_point():
    _, states, evaluator = setting(Residual)
    points = points_of(evaluator, evaluator.family("conv2", states, states[1]), ROWS)
    assert points._calibration.moving == [f"bn{i}.running_{tail}" for i in (2, 3) for tail in ("mean", "var")]
    own = points_of(evaluator, evaluator.family("bn1", states, states[1]), ROWS)._calibration.moving
    assert own == points._calibration.moving  # the statistics of a layer do not depend on its own scale and shift


class Convolutions(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls += func is torch.ops.aten.convolution.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("policy", ["recalibrate", "interpolate", "final"])
@pytest.mark.parametrize("held", [None, 0])
def test_layers_before_the_scope_run_once_a_batch_for_all_points(policy, held, monkeypatch):
    if held is not None:
        monkeypatch.setattr(calibration, "HELD_BYTES", held)
    _, states, evaluator = setting(Residual, n=48, batchnorm=policy)
    path, alphas = nv.LinearPath(*states), np.linspace(0, 1, 11)
    nv.measure_path(evaluator, path, alphas, scope="conv2")  # recorded and checked once
    with Convolutions() as counted:
        nv.measure_path(evaluator, path, alphas, scope="conv2")
    shared, head, rest = 2, 2, 11  # stem and conv1; conv2 at two anchors; conv3 at eleven points
    phases = 3 * (shared + head + rest) * (2 if policy == "recalibrate" else 1)
    # eleven points are calibrated five at first, then the rest
    again = 3 * (shared + head) if policy == "recalibrate" and held == 0 else 0
    if policy == "final":  # several points in one call
        phases = counted.calls
    assert counted.calls == phases + again
    assert evaluator.fallback == ""


def test_single_weights_of_one_layer_share_what_lies_before_it():
    _, states, evaluator = setting(Residual, n=48)
    paths, alphas = {"linear": nv.LinearPath(*states)}, np.linspace(0, 1, 4)
    scopes = [("conv3.weight", (c, 1, 0, 2)) for c in range(4)]
    alone = [nv.measure_path(evaluator, paths["linear"], alphas, scope=scope) for scope in scopes]
    list(evaluator.sweep(Families([evaluator.family(s, states, states[1]) for s in scopes], [4] * 4), np.tile(ROWS[:4], (4, 1))))
    with Convolutions() as counted:
        family = Families([evaluator.family(s, states, states[1]) for s in scopes], [4] * 4)
        sweep = list(evaluator.sweep(family, np.tile([[1 - a, a] for a in alphas], (4, 1)), reference=None))[-1]
    assert sweep.tallies["loss"].mean == pytest.approx(np.concatenate([result.loss for result in alone]), rel=1e-6)
    assert evaluator.fallback == ""
    # of both phases: stem, conv1, conv2 and the whole of conv3 once a batch, then one channel at the anchors of each weight
    assert counted.calls <= 2 * 3 * (4 + 4 * 2)


@pytest.mark.parametrize("build", [Residual, Flat, Instances])
@pytest.mark.parametrize("scope", [None, 1, 2, 3])
def test_paths_equal_those_of_the_plain_loop(build, scope):
    net = factories.made(build).double()
    states = factories.states(net, 3)
    data = factories.images(57)
    data, training = (data[0].double(), data[1]), factories.images(70, seed=4)
    if scope is not None:
        names = [name for name, module in net.named_modules() if list(module.parameters(recurse=False))]
        scope = names[scope]
    results = []
    for engine in ("auto", "plain"):
        evaluator = nv.Evaluator(
            net, data, device="cpu", batch_size=16, batchnorm="recalibrate", engine=engine,
            calibration=(training[0].double(), training[1]),
        )  # fmt: skip
        results.append(nv.measure_path(evaluator, nv.QuadraticPath(*states), np.linspace(-0.25, 1.25, 7), scope=scope))
        assert evaluator.fallback == ("" if engine == "auto" else "engine='plain'")
    mine, plain = results
    assert mine.loss == pytest.approx(plain.loss, rel=1e-6)
    assert mine.loss_se == pytest.approx(plain.loss_se, rel=1e-6)
    assert mine.diff_se == pytest.approx(plain.diff_se, rel=1e-6, abs=1e-12)
    assert np.array_equal(mine.metrics["accuracy"], plain.metrics["accuracy"])
    assert mine.provenance["batchnorm"] == plain.provenance["batchnorm"] == "recalibrated on 64 samples of training data"


def test_groups_and_what_is_kept_between_them_change_no_bit(monkeypatch):
    _, states, evaluator = setting(Residual)
    path, alphas = nv.LinearPath(*states), np.linspace(0, 1, 17)
    kept = nv.measure_path(evaluator, path, alphas, scope="conv1")
    monkeypatch.setattr(calibration, "HELD_BYTES", 0)
    monkeypatch.setattr(calibration, "FIRST", 2)
    again = nv.measure_path(evaluator, path, alphas, scope="conv1")
    assert np.array_equal(kept.loss, again.loss)
    assert np.array_equal(kept.diff_se, again.diff_se)


class TestPartialResults:
    def test_come_in_the_middle_of_the_calibration_and_are_valid(self, monkeypatch):
        monkeypatch.setattr("nnvis_widgets.core.evaluator.HEARTBEAT", 0.0)
        _, states, evaluator = setting(Residual)
        path = nv.LinearPath(*states)
        results = list(nv.iter_path(evaluator, path, np.linspace(0, 1, 11)))
        fractions = [result.fraction for result in results]
        assert fractions == sorted(fractions)
        assert 0 <= fractions[0] < 0.05
        assert fractions[-1] == 1.0
        assert np.isnan(results[0].loss).all()
        assert results[0].n == 16
        assert "PathResult" in repr(results[0])
        results[0].to_pandas()
        # a first picture at five points, before the others are calibrated
        assert any(np.isfinite(result.loss).sum() == 5 for result in results)
        assert np.isfinite(results[-1].loss).all()

    def test_one_for_each_batch_of_each_point(self, monkeypatch):
        monkeypatch.setattr("nnvis_widgets.core.evaluator.HEARTBEAT", 0.0)
        _, states, evaluator = setting(Residual)
        yields = sum(1 for _ in evaluator.sweep(evaluator.family(None, states, states[1]), ROWS))
        assert yields >= len(ROWS) * (3 + 4)

    @pytest.mark.parametrize("engine", ["auto", "plain"])
    @pytest.mark.parametrize("after", [1, 4, 9])
    def test_a_sweep_that_is_left_leaves_nothing_behind(self, engine, after, monkeypatch):
        net, states, evaluator = setting(Residual, engine=engine)
        path, alphas = nv.LinearPath(*states), np.linspace(0, 1, 5)
        before = copy.deepcopy(net.state_dict())
        expected = nv.measure_path(setting(Residual, engine=engine)[2], path, alphas)
        with monkeypatch.context() as patch:
            patch.setattr("nnvis_widgets.core.evaluator.HEARTBEAT", 0.0)
            generator = nv.iter_path(evaluator, path, alphas)
            for _ in range(after):
                next(generator)
            generator.close()
        assert not torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()
        assert all(not module.training and not module._forward_pre_hooks for module in evaluator._replica.norms.values())
        assert [norm.momentum for norm in evaluator._replica.norms.values()] == [0.1, None, 0.01, 0.1]
        assert factories.same(before, net.state_dict())
        assert np.array_equal(nv.measure_path(evaluator, path, alphas).loss, expected.loss)


class TestFallback:
    def net(self, norm):
        return lambda: nn.Sequential(nn.Conv2d(1, 3, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(45, 3))

    def check(self, build, reason):
        _, states, evaluator = setting(build)
        family = evaluator.family(None, states, states[1])
        assert_calibrated(evaluator, family, ROWS)
        assert reason in evaluator.fallback
        assert np.isfinite(nv.measure_path(evaluator, nv.LinearPath(*states), [0.0, 0.5]).loss).all()

    def test_a_model_that_reads_values_is_called_at_each_point(self):
        self.check(Asks, "it reads the value of a tensor in python")

    def test_layers_that_talk_to_other_processes_are_left_to_torch(self):
        _, _, evaluator = setting(self.net(nn.SyncBatchNorm(3)))
        assert evaluator.fallback == "calibration: SyncBatchNorm talks to other processes"

    def test_a_layer_with_rules_of_its_own_is_found_out(self):
        self.check(self.net(Odd(3)), "calibration: recorded, it gives another '1.running_mean' than the model in training mode")

    def test_a_recording_that_goes_wrong_is_found_out_and_given_up(self, monkeypatch):
        from nnvis_widgets.core.program import statistics

        right = statistics._statistics
        monkeypatch.setattr(statistics, "_statistics", lambda norm, x: (right(norm, x)[0], right(norm, x)[1] * 1.01))
        self.check(Residual, "calibration: recorded, it gives another 'bn0.running_var' than the model in training mode")

    def test_models_that_differentiate_inside_are_calibrated_plainly(self):
        net, states, _ = setting(Residual)

        def forward(model, batch):
            x = batch[0].clone().requires_grad_()
            (slope,) = torch.autograd.grad(model(x).logsumexp(1).sum(), x)
            return slope.flatten(1)[:, :3], batch[1]

        options = {"device": "cpu", "batch_size": 16, "batchnorm": "recalibrate", "forward": forward, "grad": True}
        evaluator = nv.Evaluator(net, factories.images(40), **options)
        assert np.isfinite(nv.measure_path(evaluator, nv.LinearPath(*states), [0.5]).loss).all()


def test_a_batch_of_other_size_at_the_end_is_left_out():
    _, states, evaluator = setting(Residual, n=41)
    calibration = points_of(evaluator, evaluator.family(None, states, states[1]), ROWS)._calibration
    assert calibration.steps == 2
    assert evaluator.batchnorm_policy() == "recalibrated on 32 samples of the measured data"


def test_checkpoints_on_disk_are_recalibrated_one_by_one():
    net = factories.made(Residual)
    walk = factories.states(net, 4)
    evaluator = nv.Evaluator(net, factories.images(), device="cpu", batch_size=16, batchnorm="recalibrate")

    class Lazy:
        def __len__(self):
            return len(walk)

        def __getitem__(self, index):
            return walk[index]

    listed = list(evaluator.sweep(evaluator.family(None, walk, walk[-1]), np.eye(4)))[-1].tallies["loss"].mean
    lazy = list(evaluator.sweep(evaluator.family(None, Lazy(), walk[-1]), np.eye(4)))[-1].tallies["loss"].mean
    assert lazy == pytest.approx(listed, rel=1e-6)


def test_an_unused_layer_keeps_fresh_statistics():
    class Spare(factories.ConvNet):
        def __init__(self):
            super().__init__()
            self.spare = nn.BatchNorm1d(3)

    _, states, evaluator = setting(Spare)
    found = assert_calibrated(evaluator, evaluator.family(None, states, states[1]), ROWS, rtol=2e-6)
    assert float(found.buffers(0)["spare.running_var"].sum()) == 3.0
    assert evaluator.fallback == ""


def test_what_has_diverged_stays_so_at_its_points():
    net, states, evaluator = setting(Residual)
    data = factories.images(57)
    assert F.cross_entropy(net(data[0]), data[1]).isfinite()
    states[0]["conv1.weight"] = states[0]["conv1.weight"] * 1e30
    family = evaluator.family("conv1", states, states[1])
    rows = [[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]]
    loss = list(evaluator.sweep(family, rows))[-1].tallies["loss"].mean
    assert np.isfinite(loss[0])
