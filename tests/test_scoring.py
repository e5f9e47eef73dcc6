from functools import partial
from types import SimpleNamespace

import factories
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nnvis_widgets as nv
from nnvis_widgets.core.data import DataError
from nnvis_widgets.core.scoring import Scorer, accuracy, is_classification


def evaluator(model, data, **options):
    return nv.Evaluator(model, data, **{"device": "cpu", "batch_size": 16, **options})


@pytest.fixture
def net():
    return factories.made(lambda: factories.ConvNet(norm=False))


@pytest.fixture
def line():
    return factories.made(lambda: nn.Linear(5, 3)).double()


class TestLosses:
    @pytest.mark.parametrize(
        "loss",
        [
            None,
            nn.CrossEntropyLoss(),
            F.cross_entropy,
            partial(F.cross_entropy, reduction="mean"),
            lambda o, t: F.cross_entropy(o, t, reduction="none"),
            lambda o, t: -F.log_softmax(o, 1)[torch.arange(len(t)), t],
        ],
    )
    def test_each_spelling_of_cross_entropy_is_a_value_per_sample(self, net, data, loss):
        got = evaluator(net, data, loss=loss).measure()
        values = factories.naive(net, net.state_dict(), data)
        assert got.loss == pytest.approx(values.mean(), rel=1e-6)
        assert got.loss_se == pytest.approx(values.std(ddof=1) / 57**0.5, rel=1e-5)

    def test_of_log_probabilities_it_is_their_negative_likelihood(self, net, data):
        with_log_softmax = nn.Sequential(net, nn.LogSoftmax(1))
        values = factories.naive(with_log_softmax, with_log_softmax.state_dict(), data, F.nll_loss)
        assert evaluator(with_log_softmax, data).measure().loss == pytest.approx(values.mean(), rel=1e-6)

    @pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.2}])
    def test_a_module_with_options_keeps_them(self, net, data, options):
        loss = nn.CrossEntropyLoss(**options)
        values = factories.naive(net, net.state_dict(), data, loss)
        got = evaluator(net, data, loss=loss).measure()
        assert got.loss == pytest.approx(values.mean(), rel=1e-6)
        assert got.loss_se == pytest.approx(values.std(ddof=1) / 57**0.5, rel=1e-5)
        assert loss.reduction == "mean"

    def test_a_scalar_mean_keeps_the_mean_and_takes_its_error_from_batches(self, net, data):
        scalar = evaluator(net, data, loss=lambda o, t: F.cross_entropy(o, t), batch_size=19).measure()
        rows = evaluator(net, data, batch_size=19)
        assert scalar.loss == pytest.approx(rows.measure().loss, rel=1e-7)
        outputs, targets = rows.observe()
        means = [float(F.cross_entropy(o, t)) for o, t in zip(outputs.split(19), targets.split(19), strict=True)]
        assert scalar.loss_se == pytest.approx(np.std(means, ddof=1) / 3**0.5, rel=1e-5)

    @pytest.mark.parametrize("batch_size", [8, 50, 57])
    @pytest.mark.parametrize("ignored", [False, True])
    @pytest.mark.parametrize(
        "make",
        [
            lambda w: nn.CrossEntropyLoss(weight=w),
            lambda w: nn.CrossEntropyLoss(weight=w, label_smoothing=0.1),
            lambda w: nn.CrossEntropyLoss(),
            lambda w: F.cross_entropy,
            lambda w: partial(F.cross_entropy, weight=w),
        ],
    )
    def test_class_weights_and_ignored_labels_keep_the_users_number_in_batches_of_any_size(
        self, net, data, batch_size, ignored, make
    ):
        loss = make(torch.tensor([1.0, 5.0, 0.2]))
        if ignored:
            data[1][[3, 4, 50]] = -100
        with torch.no_grad():
            expected = float(loss(net.eval()(data[0]), data[1]))
        got = evaluator(net, data, loss=loss, batch_size=batch_size)
        measured = got.measure()
        assert measured.loss == pytest.approx(expected, rel=1e-6)
        assert measured.loss_se == pytest.approx(evaluator(net, data, loss=loss, batch_size=57).measure().loss_se, rel=1e-6)
        run = nv.Run.from_states([net.state_dict()])
        assert nv.measure_training(got, run).loss == pytest.approx([expected], rel=1e-6)
        assert nv.measure_training(got, run).provenance["loss_is"] == "per sample"

    def test_class_weights_of_a_likelihood_and_of_pixels(self):
        net = factories.made(lambda: nn.Sequential(nn.Conv2d(1, 4, 1), nn.LogSoftmax(1)))
        x, _ = factories.images(9)
        y = torch.randint(0, 4, (9, 5, 7), generator=torch.Generator().manual_seed(0))
        y[2, :3] = y[7] = 255
        loss = nn.NLLLoss(weight=torch.tensor([1.0, 3.0, 0.0, 0.5]), ignore_index=255)
        with torch.no_grad():
            expected = float(loss(net(x), y))
        for batch_size in (2, 4, 9):
            assert evaluator(net, (x, y), loss=loss, batch_size=batch_size).measure().loss == pytest.approx(expected, rel=1e-6)

    def test_the_error_of_a_weighted_loss_is_that_of_a_ratio(self, net, data):
        weights = torch.tensor([1.0, 5.0, 0.2])
        got = evaluator(net, data, loss=nn.CrossEntropyLoss(weight=weights), batch_size=8).measure()
        values, w = factories.naive(net, net.state_dict(), data), weights.double().numpy()[data[1]]
        mean = (w * values).sum() / w.sum()
        error = np.sqrt((w**2 * (values - mean) ** 2).sum() * 57 / 56) / w.sum()
        assert (got.loss, got.loss_se) == (pytest.approx(mean, rel=1e-6), pytest.approx(error, rel=1e-5))

    def test_label_smoothing_of_a_class_without_weight_is_refused(self, net, data):
        loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 0.0, 1.0]), label_smoothing=0.1)
        with pytest.raises(ValueError, match="give every class a weight above 0"):
            evaluator(net, data, loss=loss)

    def test_a_scalar_of_ones_own_is_visible_in_the_result(self, net, data):
        states = nv.LinearPath(net.state_dict(), net.state_dict())
        for loss, said in ((lambda o, t: F.cross_entropy(o, t), "mean of each batch"), (None, "per sample")):
            got = nv.measure_path(evaluator(net, data, loss=loss), states, [0.0])
            assert got.provenance["loss_is"] == said

    def test_regression(self, line):
        data = factories.vectors()
        values = factories.naive(line, line.state_dict(), data, F.mse_loss)
        for loss in (F.mse_loss, nn.MSELoss(), lambda o, t: (o - t) ** 2, lambda o, t: ((o - t) ** 2).mean(1)):
            got = evaluator(line, data, loss=loss).measure()
            assert got.loss == pytest.approx(values.mean(), rel=1e-14)
            assert got.loss_se == pytest.approx(values.std(ddof=1) / 31**0.5, rel=1e-12)
            assert got.metrics == {}

    def test_negative_losses_are_losses(self, line):
        got = evaluator(line, factories.vectors(), loss=lambda o, t: -100 - (o - t).abs().mean(1)).measure()
        assert got.loss < -100

    def test_a_loss_with_weights_of_its_own(self, line):
        class Scaled(nn.Module):
            def __init__(self):
                super().__init__()
                self.scale = nn.Parameter(torch.full((3,), 2.0, dtype=torch.float64))

            def forward(self, output, target):
                return (self.scale * (output - target) ** 2).mean(1)

        data = factories.vectors()
        plain = evaluator(line, data, loss=F.mse_loss).measure().loss
        assert evaluator(line, data, loss=Scaled()).measure().loss == pytest.approx(2 * plain, rel=1e-14)

    def test_a_loss_that_differentiates(self, line):
        def loss(output, target):
            return output.square().mean(1)

        def forward(model, batch):
            x = batch[0].detach().requires_grad_()
            return torch.autograd.grad(model(x).sum(), x)[0], batch[1]

        got = evaluator(line, factories.vectors(), forward=forward, loss=loss, grad=True).measure().loss
        assert got == pytest.approx(float(line.weight.detach().sum(0).square().mean()), rel=1e-14)

    def test_half_precision_outputs_are_scored_in_float32(self, data):
        net = factories.made(lambda: factories.ConvNet(norm=False)).bfloat16()
        data = (data[0].bfloat16(), data[1])
        got = evaluator(net, data)
        outputs, targets = got.observe()
        expected = F.cross_entropy(outputs.double(), targets)
        assert got.measure().loss == pytest.approx(float(expected), rel=1e-6)


class TestOutputs:
    def test_the_usual_containers_of_logits(self, net, data):
        expected = evaluator(net, data).measure().loss
        packs = (
            lambda o: SimpleNamespace(logits=o, loss=None),
            lambda o: {"logits": o},
            lambda o: (o,),
            lambda o: [o],
            lambda o: (o, o * 2, None),
        )
        for pack in packs:

            class Packed(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.net = net

                def forward(self, x, pack=pack):
                    return pack(self.net(x))

            assert evaluator(Packed(), data).measure().loss == expected

    def test_the_first_of_several_outputs_is_taken_and_recorded_unless_ones_own_forward_says_otherwise(self, net, data):
        class Two(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = net

            def forward(self, x):
                return self.net(x), x.flatten(1)

        states = nv.LinearPath(Two().state_dict(), Two().state_dict())
        plain = nv.measure_path(evaluator(Two(), data), states, [1.0])
        assert plain.provenance["output"] == "the first of 2"
        assert plain.loss[0] == evaluator(net, data).measure().loss
        whole = evaluator(Two(), data, forward=lambda m, b: (m(b[0]), b[1]), loss=lambda o, t: o[1].mean(1))
        got = nv.measure_path(whole, states, [1.0])
        assert got.provenance["output"] == "all"
        assert got.loss[0] == pytest.approx(float(data[0].flatten(1).mean()), abs=1e-7)

    def test_a_dictionary_without_logits_is_refused_with_its_keys(self, net, data):
        class Segmenter(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = net

            def forward(self, x):
                return {"out": self.net(x), "aux": None}

        with pytest.raises(DataError, match=r"dictionary with 'out', 'aux'.*\(model\(batch\[0\]\)\['out'\], batch\[1\]\)"):
            evaluator(Segmenter(), data)

    @pytest.mark.parametrize("classes", [4, 6])
    def test_sequences_with_the_classes_on_the_last_axis(self, classes):
        net = factories.made(lambda: nn.Linear(5, classes))
        x = torch.randn(9, 4, 5, generator=torch.Generator().manual_seed(0))
        y = torch.randint(0, 4, (9, 4), generator=torch.Generator().manual_seed(1))
        with pytest.raises(DataError, match=r"model\(batch\[0\]\)\.transpose\(1, 2\), batch\[1\]") as refused:
            evaluator(net, (x, y))
        assert "mse_loss" not in str(refused.value)
        got = evaluator(
            net,
            (x, y),
            forward=lambda model, batch: (model(batch[0]).transpose(1, 2), batch[1]),
            loss=F.cross_entropy if classes == 4 else None,
        )
        with torch.no_grad():
            assert got.measure().loss == pytest.approx(float(F.cross_entropy(net(x).transpose(1, 2), y)), rel=1e-6)

    def test_batches_that_are_dictionaries(self, net, data):
        pairs = [{"image": x, "label": int(y)} for x, y in zip(*data, strict=True)]
        got = evaluator(net, pairs, forward=lambda model, batch: (model(batch["image"]), batch["label"])).measure()
        assert got.loss == pytest.approx(evaluator(net, data).measure().loss, rel=1e-6)

    def test_without_forward_a_dictionary_is_refused_with_the_words_to_write(self, net, data):
        with pytest.raises(DataError, match=r"forward=lambda model, batch: \(model\(batch\['image'\]\)"):
            evaluator(net, [{"image": x} for x in data[0]])

    def test_a_forward_that_forgets_the_target(self, net, data):
        with pytest.raises(TypeError, match=r"forward: must return \(output, target\), received Tensor"):
            evaluator(net, data, forward=lambda model, batch: model(batch[0]))

    def test_pixels_each_with_a_class(self):
        net = factories.made(lambda: nn.Conv2d(1, 4, 1))
        x, _ = factories.images(9)
        y = torch.randint(0, 4, (9, 5, 7), generator=torch.Generator().manual_seed(0))
        got = evaluator(net, (x, y)).measure()
        with torch.no_grad():
            expected = F.cross_entropy(net(x).double(), y)
            right = (net(x).argmax(1) == y).double().mean()
        assert got.loss == pytest.approx(float(expected), rel=1e-6)
        assert got.metrics["accuracy"] == pytest.approx(float(right), rel=1e-6)


class TestMetrics:
    def test_accuracy_by_default(self, net, data):
        with torch.no_grad():
            expected = (net.eval()(data[0]).argmax(1) == data[1]).double().mean()
        assert evaluator(net, data).measure().metrics == {"accuracy": pytest.approx(float(expected), abs=1e-15)}

    def test_ones_own(self, line):
        got = evaluator(line, factories.vectors(), loss=F.mse_loss, metrics={"mae": lambda o, t: (o - t).abs().mean(1)}).measure()
        values = factories.naive(line, line.state_dict(), factories.vectors(), F.l1_loss)
        assert got.metrics["mae"] == pytest.approx(values.mean(), rel=1e-14)
        assert got.metrics_se["mae"] == pytest.approx(values.std(ddof=1) / 31**0.5, rel=1e-12)

    def test_accuracy_counts_each_sample(self):
        output = torch.tensor([[0.1, 0.9, 0.0], [0.9, 0.1, 0.0]])
        assert accuracy(output, torch.tensor([1, 2])).tolist() == [1.0, 0.0]

    @pytest.mark.parametrize(
        ("output", "target", "answer"),
        [
            (torch.zeros(5, 7), torch.zeros(5, dtype=torch.int64), True),
            (torch.zeros(5, 7), torch.zeros(5, dtype=torch.uint8), True),
            (torch.zeros(5, 7), torch.zeros(5), False),
            (torch.zeros(5, 7), torch.zeros(5, 1, dtype=torch.int64), False),
            (torch.zeros(5), torch.zeros(5, dtype=torch.int64), False),
            ({}, torch.zeros(5, dtype=torch.int64), False),
        ],
    )
    def test_what_is_a_classification(self, output, target, answer):
        assert is_classification(output, target) is answer


class TestRefused:
    @pytest.mark.parametrize(("targets", "hint"), [("real", "Pass loss="), ("column", r"batch\[1\]\.squeeze\(1\)")])
    def test_regression_targets_without_a_loss(self, line, targets, hint):
        x, y = factories.vectors()
        target = y if targets == "real" else torch.zeros(31, 1, dtype=torch.int64)
        with pytest.raises(DataError, match=rf"cross-entropy needs outputs \(n, classes, \.\.\.\).*{hint}"):
            evaluator(line, (x, target))

    @pytest.mark.filterwarnings("ignore:Using a target size")
    @pytest.mark.parametrize("loss", [F.mse_loss, nn.MSELoss(), lambda o, t: (o - t) ** 2, lambda o, t: ((o - t) ** 2).mean()])
    def test_a_column_against_a_row_that_would_become_a_table(self, loss):
        net = factories.made(lambda: nn.Linear(5, 1)).double()
        x, y = factories.vectors()
        with pytest.raises(ValueError, match=r"outputs \(16, 1\) and targets \(16,\) would broadcast.*squeeze\(1\)"):
            evaluator(net, (x, y[:, 0]), loss=loss)

    @pytest.mark.parametrize("loss", [lambda o, t: F.mse_loss(o.squeeze(1), t), lambda o, t: (o.squeeze(1) - t) ** 2])
    def test_a_column_that_the_users_loss_puts_in_order_is_fine(self, loss):
        net = factories.made(lambda: nn.Linear(5, 1)).double()
        x, y = factories.vectors()
        got = evaluator(net, (x, y[:, 0]), loss=loss).measure().loss
        with torch.no_grad():
            assert got == pytest.approx(float(F.mse_loss(net(x)[:, 0], y[:, 0])), rel=1e-14)

    @pytest.mark.parametrize(
        ("loss", "message"),
        [
            (lambda o, t: o.mean(0), r"loss: a tensor, scalar or one value per sample \(16\); received a float64 tensor \(3,\)"),
            (lambda o, t: 1.0, "received a float"),
            (lambda o, t: o.mean(1) > 0, r"real numbers, received a bool tensor \(16,\)"),
            (lambda o, t: F.mse_loss(o, t, reduction="sum"), "it sums over the samples of a batch"),
            (nn.MSELoss(reduction="sum"), "it sums over the samples of a batch"),
            (partial(F.mse_loss, reduction="sum"), "it sums over the samples of a batch"),
        ],
    )
    def test_losses_that_are_no_mean_over_samples(self, line, loss, message):
        with pytest.raises(ValueError, match=message):
            evaluator(line, factories.vectors(), loss=loss)

    @pytest.mark.parametrize(
        ("metrics", "message"),
        [
            ({"loss": lambda o, t: o[:, 0]}, "the name 'loss' is taken"),
            ({"mae": 3}, "'mae' must be a function"),
        ],
    )
    def test_metrics_that_cannot_be_called_so(self, line, metrics, message):
        with pytest.raises((ValueError, TypeError), match=message):
            evaluator(line, factories.vectors(), loss=F.mse_loss, metrics=metrics)

    def test_a_metric_of_the_wrong_shape(self, line):
        got = evaluator(line, factories.vectors(), loss=F.mse_loss, metrics={"mae": lambda o, t: o})
        with pytest.raises(
            ValueError, match=r"mae: expected one value per sample, shape \(16,\), or a scalar mean; received \(16, 3\)"
        ):
            got.measure()

    @pytest.mark.parametrize("label", [factories.CLASSES, 255, -1])
    @pytest.mark.parametrize("place", [0, 40])
    def test_a_label_that_the_model_has_no_output_for(self, net, data, label, place):
        order = evaluator(net, data)._samples.order
        data[1][order[place]] = label
        with pytest.raises(DataError, match=r"labels run from .* but the model has 3 outputs \(0 to 2\)"):
            nv.measure_path(evaluator(net, data, seed=0), nv.LinearPath(net.state_dict(), net.state_dict()))

    def test_scorer_gives_the_names_in_order(self):
        output, target = torch.zeros(5, 3), torch.zeros(5, dtype=torch.int64)
        assert Scorer(None, {"b": accuracy, "a": accuracy}, output, target, 5).names == ("loss", "b", "a")
