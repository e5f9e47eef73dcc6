import copy

import factories
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nnvis_widgets as nv
from nnvis_widgets.core.data import DataError
from nnvis_widgets.core.scope import Scope


def evaluator(model, data, policy="auto", **options):
    return nv.Evaluator(model, data, **{"device": "cpu", "batch_size": 16, "batchnorm": policy, **options})


def mean_loss(model, state, data):
    return factories.naive(model, state, data).mean()


@pytest.fixture
def path(walk):
    return nv.QuadraticPath(walk[0], walk[2], walk[4])


ALPHAS = [-0.25, 0.0, 0.3, 0.75, 1.0]


def test_final_keeps_the_statistics_of_the_background(model, walk, data, path):
    got = nv.measure_path(evaluator(model, data, "final"), path, ALPHAS)
    for alpha, loss in zip(ALPHAS, got.loss, strict=True):
        buffers = {name: walk[4][name] for name in walk[4] if name.startswith("bn1.") and name not in ("bn1.weight", "bn1.bias")}
        assert loss == pytest.approx(mean_loss(model, {**path.state_at(alpha), **buffers}, data), rel=1e-6)
    assert got.provenance["batchnorm"] == "final"


def test_final_takes_them_from_another_background_when_there_is_one(model, walk, data, path):
    got = nv.measure_path(evaluator(model, data, "final"), path, [0.3], scope="fc1", background=walk[1])
    state = {**walk[1], **{name: path.state_at(0.3)[name] for name in ("fc1.weight", "fc1.bias")}}
    assert got.loss[0] == pytest.approx(mean_loss(model, state, data), rel=1e-6)


def test_interpolate_mixes_them_as_the_weights_on_a_line(model, walk, data):
    line = nv.LinearPath(walk[0], walk[4])
    got = nv.measure_path(evaluator(model, data, "interpolate"), line, [0.0, 0.3, 1.0])
    for alpha, loss in zip([0.0, 0.3, 1.0], got.loss, strict=True):
        state = line.state_at(alpha)
        for name in ("bn1.running_mean", "bn1.running_var"):
            state[name] = (1 - alpha) * walk[0][name] + alpha * walk[4][name]
        assert loss == pytest.approx(mean_loss(model, state, data), rel=1e-6)


def test_interpolated_variances_stay_positive_where_the_parabola_dips_below_zero(model, walk, data):
    for state, variance in zip((walk[0], walk[2], walk[4]), (1.0, 0.01, 0.01), strict=True):
        state["bn1.running_var"].fill_(variance)
    path = nv.QuadraticPath(walk[0], walk[2], walk[4])
    assert path.coefficients(0.75) @ [1.0, 0.01, 0.01] == pytest.approx(-0.11375)  # what it would be
    got = nv.measure_path(evaluator(model, data, "interpolate"), path, [0.75])
    state = path.state_at(0.75)
    state["bn1.running_mean"] = sum(c * s["bn1.running_mean"] for c, s in zip(path.coefficients(0.75), path.states, strict=True))
    state["bn1.running_var"] = torch.full((3,), 0.01)
    assert got.loss[0] == pytest.approx(mean_loss(model, state, data), rel=1e-5)


def test_batch_uses_the_statistics_of_the_measured_batch(model, data, path):
    got = nv.measure_path(evaluator(model, data, "batch", batch_size=57), path, [0.3])
    twin = factories.loaded(model, path.state_at(0.3))
    twin.bn1.train()
    with torch.no_grad():
        assert got.loss[0] == pytest.approx(float(F.cross_entropy(twin(data[0]), data[1])), rel=1e-5)
    assert got.provenance["batchnorm"] == "of each batch"


@pytest.mark.parametrize("own", [True, False])
def test_recalibrate_is_what_update_bn_leaves_in_a_model(model, data, path, own):
    calibration = None if own else factories.images(50, seed=9)
    got = evaluator(model, data, "recalibrate", calibration=calibration)
    result = nv.measure_path(got, path, ALPHAS)
    samples = got._calibration
    assert samples.n == (57 if own else 50)
    batches = [samples.batch(number)[0] for number in range(3)]  # the full ones
    for alpha, loss in zip(ALPHAS, result.loss, strict=True):
        twin = copy.deepcopy(model)
        twin.load_state_dict(path.state_at(alpha))
        torch.optim.swa_utils.update_bn(batches, twin)
        assert loss == pytest.approx(mean_loss(model, twin.state_dict(), data), rel=1e-6)
    source = "the measured data" if own else "training data"
    assert result.provenance["batchnorm"] == f"recalibrated on 48 samples of {source}"


def test_recalibration_takes_2048_samples_at_most(model, path):
    many = factories.images(2300)
    got = evaluator(model, factories.images(57), "recalibrate", calibration=many)
    assert got.batchnorm_policy() == "recalibrated on 2048 samples of training data"
    assert (
        evaluator(model, many, "recalibrate", batch_size=100).batchnorm_policy()
        == "recalibrated on 2000 samples of the measured data"
    )


def test_the_calibration_data_are_in_the_provenance(model, data, path):
    digests = {
        nv.measure_path(evaluator(model, data, calibration=factories.images(40, seed=seed)), path, [1.0]).provenance["calibration"]
        for seed in (8, 9)
    }
    assert len(digests) == 2
    assert "" not in digests


@pytest.mark.parametrize("kind", ["subset", "loader", "few"])
def test_calibration_may_be_a_part_of_a_data_set(model, data, path, kind):
    whole = torch.utils.data.TensorDataset(*factories.images(90, seed=9))
    part = torch.utils.data.Subset(whole, range(40) if kind != "few" else range(9))
    calibration = torch.utils.data.DataLoader(part, shuffle=True) if kind == "loader" else part
    result = nv.measure_path(evaluator(model, data, calibration=calibration), path, [0.5])
    assert result.provenance["batchnorm"] == f"recalibrated on {9 if kind == 'few' else 32} samples of training data"


def test_recalibrated_instance_norm(data):
    net = factories.made(
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.InstanceNorm2d(3, track_running_stats=True), nn.Flatten(), nn.Linear(45, 3))
    )
    first, last = factories.states(net, 2)
    got = evaluator(net, data, "recalibrate", batch_size=57)
    loss = nv.measure_path(got, nv.LinearPath(first, last), [1.0]).loss[0]
    with torch.no_grad():
        activations = F.conv2d(got._samples.batch(0)[0], last["0.weight"], last["0.bias"])
        expected = {**last, "1.running_mean": activations.mean((0, 2, 3)), "1.running_var": activations.var((2, 3)).mean(0)}
    assert loss == pytest.approx(mean_loss(net, expected, data), rel=1e-5)


class TestAuto:
    @pytest.mark.parametrize(
        ("scope", "policy"),
        [
            (None, "recalibrated on 48 samples of the measured data"),
            ("conv1", "recalibrated on 48 samples of the measured data"),
            (("conv1.bias", 2), "recalibrated on 48 samples of the measured data"),
            ("bn1", "final"),
            ("conv2", "final"),
            ("fc2", "final"),
            (["conv2", "conv1.bias"], "recalibrated on 48 samples of the measured data"),
        ],
    )
    def test_recalibrates_what_lies_before_a_norm_and_keeps_the_rest(self, evaluator, path, scope, policy):
        assert nv.measure_path(evaluator, path, [1.0], scope=scope).provenance["batchnorm"] == policy
        assert evaluator.batchnorm_policy(Scope.parse(scope, evaluator.layout)) == policy

    def test_a_model_without_norms_says_so(self, data):
        net = factories.made(lambda: factories.ConvNet(norm=False))
        assert evaluator(net, data).measure().provenance["batchnorm"] == "no BatchNorm"

    def test_layer_norm_is_no_batch_norm(self):
        net = factories.made(lambda: nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.Linear(7, 3)))
        data = factories.vectors(dtype=torch.float32)
        assert evaluator(net, data, loss=F.mse_loss).batchnorm_policy() == "no BatchNorm"

    def test_a_norm_that_keeps_no_statistics_depends_on_the_batch_and_says_so(self, data):
        net = factories.made(lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(35, track_running_stats=False), nn.Linear(35, 3)))
        assert evaluator(net, data).measure().provenance["batchnorm"] == "of each batch"

    def test_a_weight_tied_to_a_layer_before_the_norm_lies_before_it(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.last = nn.Linear(5, 5, bias=False)
                self.first = nn.Linear(5, 5, bias=False)
                self.first.weight = self.last.weight
                self.norm = nn.BatchNorm1d(5)

            def forward(self, x):
                return self.last(self.norm(self.first(x)))

        data = (factories.vectors()[0].float(), torch.zeros(31, dtype=torch.int64))
        got = evaluator(factories.made(Net), data)
        assert got.batchnorm_policy(Scope.parse("last.weight", got.layout)).startswith("recalibrated")


class TestCheckpoints:
    def test_are_measured_with_their_own_statistics(self, model, walk, data, evaluator, run):
        curve = nv.measure_training(evaluator, run)
        assert curve.loss == pytest.approx([mean_loss(model, state, data) for state in walk], rel=1e-6)
        assert curve.provenance["batchnorm"] == "of each checkpoint"
        assert evaluator.measure(walk[1]).loss == curve.loss[1]

    def test_in_the_models_training_mode_too(self, model, walk, data):
        model.train()
        assert nv.Evaluator(model, data, device="cpu").measure().loss == pytest.approx(mean_loss(model, walk[-1], data), rel=1e-6)


class TestOtherBuffers:
    @pytest.mark.parametrize("policy", ["auto", "final", "interpolate"])
    def test_come_from_the_background_and_are_never_mixed(self, data, policy):
        net = factories.made(factories.Counting)
        first, last = factories.states(net, 2)
        first["order"] = first["order"].flip(0)
        first["mask"] = ~first["mask"]
        got = nv.measure_path(evaluator(net, data, policy), nv.LinearPath(first, last), [0.0, 0.4])
        for alpha, loss in zip([0.0, 0.4], got.loss, strict=True):
            weights = {name: (1 - alpha) * first[name] + alpha * last[name] for name in ("fc.weight", "fc.bias")}
            assert loss == pytest.approx(mean_loss(net, {**last, **weights}, data), rel=1e-6)

    def test_a_counter_of_batches_is_not_interpolated(self, model, walk, data):
        seen = []

        def forward(net, batch):
            seen.append(int(net.bn1.num_batches_tracked))
            return net(batch[0]), batch[1]

        measured = evaluator(model, data, "interpolate", forward=forward)
        seen.clear()
        nv.measure_path(measured, nv.LinearPath(walk[0], walk[4]), [0.0, 0.5, 1.0])
        assert set(seen) == {int(walk[4]["bn1.num_batches_tracked"])}

    def test_a_forward_pass_that_counts_its_calls_counts_in_a_copy(self, data):
        class Counts(factories.Counting):
            def forward(self, x):
                self.scale += 0.1  # the user's bug, perhaps; not to be carried from point to point
                return super().forward(x)

        net = factories.made(Counts)
        states = factories.states(net, 2)
        kept = copy.deepcopy(states)
        got = evaluator(net, data)
        path = nv.LinearPath(*states)
        one = nv.measure_path(got, path, [0.0, 0.5, 1.0])
        two = nv.measure_path(got, path, [1.0, 0.5, 0.0])
        assert np.array_equal(one.loss, two.loss[::-1])
        assert all(factories.same(a, b) for a, b in zip(kept, states, strict=True))
        assert got.measure(states[0]).loss == got.measure(states[0]).loss


class TestRefused:
    def test_an_unknown_policy(self, model, data):
        with pytest.raises(ValueError, match=r"batchnorm: one of 'auto', 'final', .*; received 'none'"):
            evaluator(model, data, "none")

    @pytest.mark.parametrize("calibration", [(factories.images(20)[0],), factories.images(20)[0], factories.vectors()])
    def test_calibration_data_that_the_model_cannot_read(self, model, data, calibration):
        with pytest.raises(ValueError, match="calibration: training samples in the form of `data`"):
            evaluator(model, data, calibration=calibration)

    @pytest.mark.parametrize("policy", ["recalibrate", "batch"])
    def test_a_norm_of_ones_own_cannot_be_recalibrated(self, policy, data):
        class Own(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(35, 3)
                self.register_buffer("running_mean", torch.zeros(35))

            def forward(self, x):
                return self.fc(x.flatten(1) - self.running_mean)

        net = factories.made(Own)
        assert evaluator(net, data).batchnorm_policy() == "final"
        with pytest.raises(ValueError, match="'running_mean' belongs to another kind of module"):
            evaluator(net, data, policy)


class TwoNorms(nn.Module):
    """A norm before the middle layer and one after it."""

    def __init__(self):
        super().__init__()
        self.first, self.bn_a = nn.Linear(5, 4), nn.BatchNorm1d(4)
        self.middle, self.bn_b = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.last = nn.Linear(4, 3)

    def forward(self, x):
        x = torch.tanh(self.bn_a(self.first(x)))
        return self.last(torch.tanh(self.bn_b(self.middle(x))))


@pytest.mark.parametrize(
    ("scope", "moved"),
    [(None, "ab"), ("first", "ab"), ("bn_a", "ab"), ("middle", "b"), ("bn_b", "b"), (("middle.bias", 1), "b"), ("last", "")],
)
def test_interpolate_leaves_the_statistics_of_what_a_layer_scope_does_not_reach(scope, moved):
    net = factories.made(TwoNorms)
    start, end = factories.states(net, 2)
    for name in ("bn_a", "bn_b"):
        end[f"{name}.running_mean"] = end[f"{name}.running_mean"] + 1.5
    data = (factories.vectors(dtype=torch.float32)[0], torch.arange(31) % 3)
    line = nv.LinearPath(start, end)
    got = nv.measure_path(evaluator(net, data, "interpolate"), line, [0.4], scope=scope)
    measured = nv.Evaluator(net, data, device="cpu")
    family = measured.family(scope, [start, end], end)
    state = {**end, **family.moved(line.coefficients(0.4))}
    for letter in moved:
        for tail in ("running_mean", "running_var"):
            name = f"bn_{letter}.{tail}"
            state[name] = 0.6 * start[name] + 0.4 * end[name]
    assert got.loss[0] == pytest.approx(mean_loss(net, state, data), rel=1e-5)


@pytest.mark.parametrize("policy", ["batch", "recalibrate"])
def test_a_last_batch_of_one_sample_joins_the_one_before_it(policy):
    net = factories.made(TwoNorms)
    data = (factories.vectors(65, dtype=torch.float32)[0], torch.arange(65) % 3)
    got = nv.measure_path(evaluator(net, data, policy, batch_size="auto"), nv.LinearPath(*factories.states(net, 2)), [0.5])
    assert got.n == 65
    assert np.isfinite(got.loss).all()
    assert got.provenance["batchnorm"] == {
        "batch": "of each batch",
        "recalibrate": "recalibrated on 65 samples of the measured data",
    }.get(policy)


@pytest.mark.parametrize("policy", ["batch", "recalibrate"])
def test_one_sample_has_no_statistics(policy):
    net = factories.made(TwoNorms)
    data = (factories.vectors(1, dtype=torch.float32)[0], torch.tensor([1]))
    path = nv.LinearPath(*factories.states(net, 2))
    with pytest.raises(DataError, match=r"batchnorm: a batch of one sample has no variance.*batchnorm='final'"):
        nv.measure_path(evaluator(net, data, policy), path, [0.5])
    assert nv.measure_path(evaluator(net, data, "final"), path, [0.5]).n == 1
