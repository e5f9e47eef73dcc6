import threading
import time

import factories
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

import nnvis_widgets as nv
from nnvis_widgets.core import evaluator as module
from nnvis_widgets.core.data import DataError
from nnvis_widgets.core.program.split import Piece
from nnvis_widgets.core.states import StateError
from nnvis_widgets.core.tiles import coarse_to_fine

pytestmark = pytest.mark.usefixtures("unhurried")


class TestMeasure:
    def test_is_the_mean_of_a_plain_loop_in_float64(self, model, walk, data, evaluator):
        values = factories.naive(model, walk[2], data)
        got = evaluator.measure(walk[2])
        assert got.loss == pytest.approx(values.mean(), rel=1e-6)
        assert got.loss_se == pytest.approx(values.std(ddof=1) / 57**0.5, rel=1e-5)
        with torch.no_grad():
            right = (factories.loaded(model, walk[2])(data[0]).argmax(1) == data[1]).double().numpy()
        assert got.metrics["accuracy"] == pytest.approx(right.mean(), abs=1e-15)
        assert got.metrics_se["accuracy"] == pytest.approx(right.std(ddof=1) / 57**0.5, rel=1e-12)
        assert got.n == 57

    def test_in_float64_to_the_last_digits(self, data):
        model = factories.made(factories.ConvNet).double()
        data = (data[0].double(), data[1])
        got = nv.Evaluator(model, data, device="cpu", batch_size=16).measure()
        assert got.loss == pytest.approx(factories.naive(model, model.state_dict(), data).mean(), rel=1e-14)

    def test_without_a_state_takes_the_weights_of_that_moment(self, model, data, evaluator):
        before = evaluator.measure()
        with torch.no_grad():
            model.fc2.bias.add_(torch.tensor([3.0, 0.0, 0.0]))
        after = evaluator.measure()
        assert after.loss == evaluator.measure(model.state_dict()).loss != before.loss

    @pytest.mark.parametrize("batch_size", [1, 5, 57, 500])
    def test_does_not_depend_on_the_batches(self, model, walk, data, evaluator, batch_size):
        got = nv.Evaluator(model, data, device="cpu", batch_size=batch_size).measure()
        assert got.loss == pytest.approx(evaluator.measure().loss, rel=1e-6)
        assert got.loss_se == pytest.approx(evaluator.measure().loss_se, rel=1e-5)

    def test_of_weights_that_diverged_is_nan_not_an_error(self, walk, evaluator):
        walk[1]["fc2.bias"][0] = np.nan
        assert np.isnan(evaluator.measure(walk[1]).loss)

    def test_of_losses_too_large_for_the_type_is_infinite(self, data):
        model = factories.made(lambda: factories.ConvNet(norm=False))
        got = nv.Evaluator(model, data, device="cpu", loss=lambda o, t: o.abs().sum(1) * 1e38 * 1e38).measure()
        assert got.loss == np.inf


class TestObserve:
    def test_gives_every_output_in_the_order_of_the_samples(self, model, walk, data, evaluator):
        output, target = evaluator.observe(walk[1])
        order = evaluator._samples.order
        with torch.no_grad():
            assert torch.allclose(output, factories.loaded(model, walk[1])(data[0])[order], atol=1e-6)
        assert torch.equal(target, data[1][order])
        assert not output.is_inference()
        assert F.cross_entropy(output.double(), target).item() == pytest.approx(evaluator.measure(walk[1]).loss, rel=1e-6)

    def test_needs_tensors(self, model, data):
        got = nv.Evaluator(
            model, data, device="cpu", forward=lambda m, b: (m(b[0]), {"y": b[1]}), loss=lambda o, t: F.cross_entropy(o, t["y"])
        )
        with pytest.raises(TypeError, match="outputs and targets must be tensors, received Tensor, dict"):
            got.observe()


class TestProvenance:
    def test_says_what_it_takes_to_repeat_the_measurement(self, model, walk, data):
        about = nv.Evaluator(model, data, device="cpu", batch_size=16, name="train", seed=4, samples=40).measure().provenance
        assert (
            about.items()
            >= {
                "split": "train",
                "n": 40,
                "samples": 40,
                "seed": 4,
                "stratified": True,
                "loss": "cross_entropy",
                "scope": "model",
                "dtype": "float32",
                "device": "cpu",
                "batch_size": 16,
                "compiled": False,
                "batchnorm": "of each checkpoint",
            }.items()
        )
        assert about["versions"]["torch"] == torch.__version__

    def test_digests_tell_weights_and_data_apart(self, model, walk, data, evaluator):
        other = nv.Evaluator(model, factories.images(57, seed=1), device="cpu", batch_size=16)
        one, two, three = evaluator.measure(walk[0]), evaluator.measure(walk[1]), other.measure(walk[0])
        assert one.provenance["weights"] != two.provenance["weights"]
        assert one.provenance["data"] == two.provenance["data"] != three.provenance["data"]
        assert one.provenance["weights"] == three.provenance["weights"]


class TestTheSameBits:
    def test_twice(self, model, walk, data, evaluator):
        again = nv.Evaluator(model, data, device="cpu", batch_size=16)
        path = nv.QuadraticPath(walk[0], walk[2], walk[4])
        one, two = nv.measure_path(evaluator, path), nv.measure_path(again, path)
        for name in ("loss", "loss_se", "diff_se"):
            assert np.array_equal(getattr(one, name), getattr(two, name))
        assert one.provenance == two.provenance

    def test_whatever_the_clock_says(self, walk, evaluator, monkeypatch):
        path = nv.LinearPath(walk[0], walk[4])
        expected = nv.measure_path(evaluator, path)
        monkeypatch.setattr(module, "HEARTBEAT", -1.0)  # a yield after every point on every batch
        results = list(nv.iter_path(evaluator, path))
        assert len(results) >= 4 * 41
        for name in ("loss", "loss_se", "diff_se"):
            assert np.array_equal(getattr(results[-1], name), getattr(expected, name))

    def test_whether_weights_are_kept_between_batches_or_made_again(self, walk, evaluator, monkeypatch):
        path = nv.QuadraticPath(walk[0], walk[2], walk[4])
        expected = nv.measure_path(evaluator, path).loss
        monkeypatch.setattr("nnvis_widgets.core.points._KEEP_BYTES", 0)
        assert np.array_equal(nv.measure_path(evaluator, path).loss, expected)


class TestModels:
    def measured(self, model, data, states=None, **options):
        """Compare a linear path and its ends with the plain loop."""
        states = factories.states(model, 2) if states is None else states
        got = nv.Evaluator(model, data, device="cpu", batch_size=16, **options)
        path = nv.LinearPath(*states)
        result = nv.measure_path(got, path, [0.0, 0.3, 1.0])
        expected = [factories.naive(model, path.state_at(alpha), data).mean() for alpha in (0.0, 0.3, 1.0)]
        assert result.loss == pytest.approx(expected, rel=1e-6)
        return result

    def test_without_biases(self, data):
        model = factories.made(lambda: factories.ConvNet(norm=False, bias=False))
        self.measured(model, data)
        layout = nv.Evaluator(model, data, device="cpu").layout
        assert layout.layers["fc1"] == ("fc1.weight",)

    def test_frozen(self, data):
        model = factories.made(lambda: factories.ConvNet(norm=False)).requires_grad_(False)
        self.measured(model, data)

    def test_tied(self):
        model = factories.made(factories.Tied)
        tokens = torch.randint(0, 11, (23,), generator=torch.Generator().manual_seed(0))
        states = factories.states(model, 2)
        got = nv.Evaluator(model, (tokens, tokens.flip(0)), device="cpu")
        result = nv.measure_path(got, nv.LinearPath(*states), [0.3])
        mixed = {name: 0.7 * states[0][name] + 0.3 * states[1][name] for name in states[0]}
        with torch.no_grad():
            expected = F.cross_entropy(factories.loaded(model, mixed, torch.float64)(tokens), tokens.flip(0))
        assert result.loss[0] == pytest.approx(float(expected), rel=1e-6)
        own = [name for name in states[0] if name != "decoder.weight"]
        squares = sum(float((states[1][name].double() - states[0][name].double()).square().sum()) for name in own)
        assert result.distance == pytest.approx(squares**0.5, rel=1e-12)

    def test_one_module_under_two_names(self, data):
        class Twice(nn.Module):
            def __init__(self):
                super().__init__()
                self.first = nn.Sequential(nn.Linear(35, 35), nn.BatchNorm1d(35))
                self.second = self.first
                self.head = nn.Linear(35, 3)

            def forward(self, x):
                return self.head(self.second(self.first(x.flatten(1))))

        model = factories.made(Twice)
        first, last = factories.states(model, 2)
        first |= {name: last[name] for name in last if "running" in name}  # at both ends the statistics of the end
        result = self.measured(model, data, [first, last], batchnorm="final")
        path = nv.LinearPath(*factories.states(model, 2))
        assert len(nv.measure_path(nv.Evaluator(model, data, device="cpu"), path, [0.5]).loss) == 1  # recalibrated
        assert result.scope == "model"

    def test_weight_norm_moves_its_originals(self, data):
        model = factories.made(lambda: nn.Sequential(nn.Flatten(), parametrizations.weight_norm(nn.Linear(35, 3))))
        result = self.measured(model, data)
        scope = "1.parametrizations.weight.original0"
        path = nv.LinearPath(*factories.states(model, 2))
        assert nv.measure_path(nv.Evaluator(model, data, device="cpu"), path, [0.0], scope=scope).scope == scope
        assert np.isfinite(result.loss).all()

    @pytest.mark.slow
    @pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
    def test_wrapped_models_and_their_states(self, model, walk, data, evaluator, wrap):
        wrapped = wrap(model)
        got = nv.Evaluator(wrapped, data, device="cpu", batch_size=16)
        assert got.measure().loss == evaluator.measure().loss
        assert got.measure(wrapped.state_dict()).loss == evaluator.measure().loss
        assert got.layout.layers == evaluator.layout.layers

    def test_half_precision_is_interpolated_in_float32_and_measured_in_its_own_type(self, data):
        model = factories.made(lambda: factories.ConvNet(norm=False)).bfloat16()
        data = (data[0].bfloat16(), data[1])
        states = factories.states(model, 2)
        seen = []

        def forward(net, batch):
            seen.append(net.fc1.weight.detach().clone())
            return net(batch[0]), batch[1]

        got = nv.Evaluator(model, data, device="cpu", batch_size=57, forward=forward, engine="plain")
        seen.clear()
        result = nv.measure_path(got, nv.LinearPath(*states), [0.0, 0.3, 1.0])
        mixed = (0.7 * states[0]["fc1.weight"].float() + 0.3 * states[1]["fc1.weight"].float()).bfloat16()
        for expected in (states[0]["fc1.weight"], mixed, states[1]["fc1.weight"]):
            assert sum(torch.equal(expected, weight) for weight in seen) == 1
        assert result.provenance["dtype"] == "bfloat16"

    def test_complex_weights(self, data):
        class Complex(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = nn.Parameter(torch.randn(35, 3, dtype=torch.complex64))

            def forward(self, x):
                return (x.flatten(1).to(self.weight.dtype) @ self.weight).abs()

        model = factories.made(Complex)
        states = factories.states(model, 2)
        got = nv.Evaluator(model, data, device="cpu")
        result = nv.measure_path(got, nv.LinearPath(*states), [0.3])
        weight = 0.7 * states[0]["weight"].to(torch.complex128) + 0.3 * states[1]["weight"].to(torch.complex128)
        expected = F.cross_entropy((data[0].flatten(1).to(torch.complex128) @ weight).abs(), data[1])
        assert result.loss[0] == pytest.approx(float(expected), rel=1e-6)
        assert result.distance == pytest.approx(float((states[1]["weight"] - states[0]["weight"]).norm()), rel=1e-6)

    def test_dropout_is_off_even_when_the_model_is_in_training(self, data):
        model = factories.made(lambda: nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(35, 3))).train()
        self.measured(model, data)
        assert model.training


class TestSubsets:
    def test_are_nested_and_say_how_many(self, model, walk, data, evaluator):
        order = evaluator._samples.order[:20]
        got = nv.Evaluator(model, data, device="cpu", batch_size=16, samples=20)
        assert (got.n, got.measure().n) == (20, 20)
        expected = factories.naive(model, walk[-1], (data[0][order], data[1][order])).mean()
        assert got.measure().loss == pytest.approx(expected, rel=1e-6)


class TestThreads:
    def curves(self, evaluators, path, scopes):
        """Measure in as many threads as evaluators, all at once."""
        answers, start = {}, threading.Barrier(len(evaluators))

        def work(k):
            start.wait()
            answers[k] = nv.measure_path(evaluators[k], path, np.linspace(0, 1, 9), scope=scopes[k]).loss

        threads = [threading.Thread(target=work, args=(k,)) for k in range(len(evaluators))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return answers

    @pytest.mark.parametrize("shared", [False, True])
    def test_give_the_numbers_that_each_gives_alone(self, model, walk, data, shared):
        def make():
            def slow(net, batch):
                first = net.fc1.weight.sum()
                time.sleep(0.001)
                assert net.fc1.weight.sum() == first
                return net(batch[0]), batch[1]

            return nv.Evaluator(model, data, device="cpu", batch_size=16, forward=slow)

        evaluators = [make()] * 3 if shared else [make() for _ in range(3)]
        scopes, path = [None, "fc1", "conv1"], nv.LinearPath(walk[0], walk[4])
        alone = [nv.measure_path(evaluators[k], path, np.linspace(0, 1, 9), scope=scope).loss for k, scope in enumerate(scopes)]
        answers = self.curves(evaluators, path, scopes)
        assert all(np.array_equal(alone[k], answers[k]) for k in range(3))

    def test_two_generators_of_one_evaluator_taken_in_turns(self, walk, evaluator):
        path = nv.LinearPath(walk[0], walk[4])
        alone = [nv.measure_path(evaluator, path, scope=scope).loss for scope in ("fc1", "conv1")]
        last = [None, None]
        for pair in zip(*(nv.iter_path(evaluator, path, scope=scope) for scope in ("fc1", "conv1")), strict=True):
            last = [result.loss for result in pair]
        assert all(np.array_equal(a, b) for a, b in zip(alone, last, strict=True))


class TestRefused:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"device": "cuda:99"}, r"device: 'auto' or one of cpu.*; received 'cuda:99'"),
            ({"device": "meta"}, r"received 'meta' \(it holds no values\)"),
            ({"device": "gpu"}, "received 'gpu'"),
            ({"compile": "yes"}, "compile: 'auto', True or False, received 'yes'"),
            ({"batch_size": 0}, "batch_size"),
            ({"samples": 58}, "samples: a whole number from 1 to 57"),
        ],
    )
    def test_options_that_do_not_exist(self, model, data, options, message):
        with pytest.raises(ValueError, match=message):
            nv.Evaluator(model, data, **{"device": "cpu", **options})

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
    def test_a_cuda_device_where_there_is_none(self, model, data):
        with pytest.raises(ValueError, match="device: 'auto' or one of cpu; received 'cuda'"):
            nv.Evaluator(model, data, device="cuda")

    def test_a_class_in_place_of_a_model(self, data):
        with pytest.raises(TypeError, match=r"model: a torch.nn.Module, received type"):
            nv.Evaluator(factories.ConvNet, data)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: nn.Linear(5, 3, device="meta"), "on the meta device and have no values"),
            (lambda: nn.LazyLinear(3), "is a lazy parameter without a shape"),
            (lambda: nn.Flatten(), "it has no parameters"),
        ],
    )
    def test_models_without_values(self, data, make, message):
        with pytest.raises(StateError, match=message):
            nv.Evaluator(make(), data, device="cpu")

    def test_a_forward_pass_that_is_random(self, data):
        class Noisy(factories.ConvNet):
            def forward(self, x):
                return super().forward(x) + torch.randn(len(x), 3)

        model = factories.made(Noisy)
        before = torch.get_rng_state()
        with pytest.raises(StateError, match="draws from torch's global random state even in eval mode"):
            nv.Evaluator(model, data, device="cpu")
        assert torch.equal(torch.get_rng_state(), before)

    def test_a_forward_pass_with_noise_of_its_own(self, model, data):
        rng = np.random.default_rng(0)

        def forward(net, batch):
            return net(batch[0]) + float(rng.normal()), batch[1]

        with pytest.raises(StateError, match="two passes over the same batch with the same weights differ"):
            nv.Evaluator(model, data, device="cpu", forward=forward)

    def test_states_of_another_model(self, evaluator):
        with pytest.raises(StateError, match=r"state does not fit the model: missing 'conv1.weight'"):
            evaluator.measure({"w": torch.zeros(1)})


@pytest.mark.parametrize("points", [1, 2, 3, 5, 12, 41])
@pytest.mark.parametrize("first", [None, 0, -1])
def test_points_are_visited_once_each_from_coarse_to_fine(points, first):
    reference = None if first is None else first % points
    order = coarse_to_fine(points, reference)
    assert sorted(order) == list(range(points))
    assert reference is None or order[0] == reference
    for m in range(4, points, 8):
        gaps = np.diff(sorted(order[:m]))
        assert gaps.max() <= 4 * points / m


class TestTheFirstBatch:
    def test_of_another_type_names_both(self, model, data):
        with pytest.raises(DataError, match=r"data: the first batch.*float64 \(57, 1, 5, 7\).*weights are float32") as refused:
            nv.Evaluator(model, (data[0].double().numpy(), data[1].numpy()), device="cpu")
        assert "inputs.to(torch.float32), or model.to(torch.float64)" in str(refused.value)
        assert isinstance(refused.value.__cause__, RuntimeError)

    def test_of_another_shape_names_both(self, model, data):
        shapes = r"holds float32 \(57, 2, 5, 7\), int64 \(57,\).*'conv1\.weight' with shape \(3, 1, 3, 3\)"
        with pytest.raises(DataError, match=shapes):
            nv.Evaluator(model, (data[0].expand(-1, 2, -1, -1), data[1]), device="cpu")


def test_a_preview_comes_before_the_compiler_and_nothing_of_it_stays(monkeypatch):
    calls = []

    def compiled(piece):
        return lambda *inputs: calls.append(1) or piece._plain.forward(*inputs)

    monkeypatch.setattr(Piece, "compiled", property(compiled))
    model = factories.made(lambda: factories.ConvNet(norm=False))
    states = factories.states(model, 3)
    path, alphas = nv.LinearPath(states[0], states[2]), [0.0, 0.3, 0.7, 1.0]
    expected = nv.measure_path(nv.Evaluator(model, factories.images(27), device="cpu", batch_size=9), path, alphas)
    evaluator = nv.Evaluator(model, factories.images(27), device="cpu", batch_size=9, compile=True)
    results = nv.iter_path(evaluator, path, alphas)
    preview = next(results)
    assert calls == []
    assert (preview.fraction, preview.n, preview.provenance["compiled"]) == (0.0, 9, False)
    assert preview.provenance["engine"]["compile"] is False
    *_, last = results
    assert len(calls) >= 4 * 3
    assert (last.n, last.fraction, last.provenance["compiled"]) == (27, 1.0, True)
    assert last.provenance["engine"]["compile"] is True
    np.testing.assert_allclose(last.loss, expected.loss, rtol=1e-6)
    first = next(iter(nv.iter_path(evaluator, path, alphas)))
    assert first.provenance["compiled"] is True  # it is there by now


@pytest.mark.parametrize("on_disk", [False, True])
def test_only_the_last_of_the_partial_results_is_complete(monkeypatch, evaluator, walk, on_disk):
    monkeypatch.setattr("nnvis_widgets.core.evaluator.HEARTBEAT", -1.0)
    if on_disk:
        fractions = [result.fraction for result in nv.iter_training(evaluator, nv.Run.from_states(walk))]
    else:
        family = evaluator.family(None, [walk[0], walk[-1]], walk[-1])
        fractions = [sweep.fraction for sweep in evaluator.sweep(family, [[1, 0], [0.5, 0.5], [0, 1]])]
    assert fractions[-1] == 1.0
    assert fractions.count(1.0) == 1
