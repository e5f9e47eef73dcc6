"""What a mean over n samples is worth, and how many a difference takes: against closed forms and simulation."""

import itertools

import factories
import numpy as np
import pytest
import torch
from torch import nn

import nnvis_widgets as nv

# least squares with known noise: y = x + e, and the model's weight is off by `off`; the loss of a sample is (off x - e)^2
NOISE, OFF, COUNT = 0.5, 0.2, 400


def regression(n=COUNT, seed=0):
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 1, generator=rng)
    return x, x[:, 0] + NOISE * torch.randn(n, generator=rng)


class Line(nn.Module):
    def __init__(self, weight=1.0 + OFF):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([weight]))

    def forward(self, x):
        return x @ self.w


def evaluator_of(data=None, **options):
    given = {"loss": nn.functional.mse_loss, "device": "cpu", "batch_size": 100}
    return nv.Evaluator(Line(), data or regression(), **(given | options))


class TestTestSize:
    def test_known_noise_gives_the_closed_form(self):
        study = nv.preliminary_test_size(evaluator_of(regression(20_000)), sizes=[100, 20_000], repeats=2)
        variance = NOISE**2 + OFF**2  # of a normal residual: its square has mean v and variance 2 v^2
        assert study.mean["loss"] == pytest.approx(variance, rel=0.03)
        assert study.error["loss"][0] == pytest.approx(np.sqrt(2) * variance / 10, rel=0.05)
        assert study.spread["loss"][0] == pytest.approx(study.error["loss"][0] * np.sqrt(1 - 100 / 20_000))

    @pytest.mark.parametrize(("population", "size"), [(5, 3), (6, 2), (6, 6)])
    def test_the_finite_population_formula_against_every_subset_there_is(self, population, size):
        losses = np.random.default_rng(0).exponential(1, population)
        study = nv.preliminary_test_size(losses, sizes=[size], repeats=1)
        means = [np.mean(subset) for subset in itertools.combinations(losses, size)]
        assert study.spread["loss"][0] == pytest.approx(np.std(means), rel=1e-12, abs=1e-12)
        assert study.error["loss"][0] == pytest.approx(losses.std(ddof=1) / np.sqrt(size))

    def test_repeats_are_as_many_as_said_and_agree_with_the_formula(self):
        losses = np.random.default_rng(1).exponential(1, 797)
        study = nv.preliminary_test_size(losses, sizes=[10, 80, 640, 797], repeats=400)
        assert study.means["loss"].shape == (400, 4)
        assert len(np.unique(study.means["loss"][:, 0])) == 400
        assert study.observed["loss"][:3] == pytest.approx(study.spread["loss"][:3], rel=0.12)  # 3 of 1 / sqrt(2 * 400)
        assert nv.preliminary_test_size(losses).repeats == 100

    def test_no_spread_at_n_equal_to_all_is_not_no_error(self):
        losses = np.random.default_rng(2).exponential(1, 50)
        study = nv.preliminary_test_size(losses, sizes=[25, 50])
        assert study.spread["loss"][-1] == study.observed["loss"][-1] == 0.0
        assert study.error["loss"][-1] == pytest.approx(losses.std(ddof=1) / np.sqrt(50))
        assert "No spread is not no error" in study.explain()[1]

    def test_losses_and_accuracies_are_what_their_names_say(self, model, walk, data, evaluator):
        study = nv.preliminary_test_size(evaluator, state=walk[2])
        losses = factories.naive(model, walk[2], data)
        assert study.quantities == ["loss", "accuracy"]
        assert study.mean["loss"] == pytest.approx(losses.mean(), rel=1e-5)
        assert study.sd["loss"] == pytest.approx(losses.std(ddof=1), rel=1e-5)
        right = study.mean["accuracy"]
        assert right == pytest.approx(float((factories.loaded(model, walk[2])(data[0]).argmax(1) == data[1]).double().mean()))
        assert study.sd["accuracy"] == pytest.approx(np.sqrt(right * (1 - right) * 57 / 56))
        assert study.to_pandas().groupby("quantity")["mean"].first()["accuracy"] == right

    def test_samples_are_measured_once_whatever_the_repeats(self, monkeypatch):
        evaluator = evaluator_of()
        rows = []
        observe = evaluator.observe_at
        monkeypatch.setattr(evaluator, "observe_at", lambda *a, **k: (rows.append(len(b.samples)) or b for b in observe(*a, **k)))
        partial = list(nv.iter_preliminary_test_size(evaluator, repeats=30))
        assert rows == [100] * 4
        assert [result.fraction for result in partial] == [0.25, 0.5, 0.75, 1.0]
        assert [result.n for result in partial] == [100, 200, 300, 400]

    def test_class_weights(self):
        model = factories.made(factories.ConvNet)
        x, y = factories.images(400)
        weights = torch.tensor([1.0, 4.0, 0.5])
        evaluator = nv.Evaluator(model, (x, y), loss=nn.CrossEntropyLoss(weight=weights), device="cpu")
        study = nv.preliminary_test_size(evaluator, sizes=[50, 200, 400], repeats=300)
        measured = evaluator.measure()
        assert study.mean["loss"] == pytest.approx(measured.loss, rel=1e-6)
        assert study.error["loss"][-1] == pytest.approx(measured.loss_se, rel=1e-6)
        assert study.observed["loss"][:2] == pytest.approx(study.spread["loss"][:2], rel=0.15)
        assert "weighs" in study.notes[0]

    def test_refusals(self):
        mean_only = evaluator_of(loss=lambda output, target: ((output - target) ** 2).mean())
        for act, words in (
            (lambda: nv.preliminary_test_size(mean_only), "whole batches only"),
            (lambda: nv.iter_preliminary_test_size([1.0, np.nan]), "finite"),
            (lambda: nv.iter_preliminary_test_size({"loss": [1, 2], "accuracy": [1]}), "shape"),
            (lambda: nv.iter_preliminary_test_size([1.0, 2.0], sizes=[3]), "up to 2"),
            (lambda: nv.iter_preliminary_test_size([1.0, 2.0], repeats=0), "repeats"),
            (lambda: nv.iter_preliminary_test_size([1.0, 2.0], state={}), "only with an evaluator"),
        ):
            with pytest.raises(ValueError, match=words):
                act()


class TestSamplesNeeded:
    def test_the_formula_by_hand(self):
        first, second = np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.5, 1.0, 2.5, 3.0])
        needed = nv.samples_needed([first, second], delta=0.1)
        z = 1.959963984540054
        assert needed.paired == pytest.approx((z * np.std([0.5, 0, 0.5, 0], ddof=1) / 0.1) ** 2)
        assert needed.unpaired == pytest.approx(z**2 * (first.var(ddof=1) + second.var(ddof=1)) / 0.01)
        assert needed.paired_power == pytest.approx(needed.paired * ((z + 0.8416212) / z) ** 2, rel=1e-6)
        assert needed.difference == 0.25
        assert needed.gain == needed.unpaired / needed.paired

    def test_so_many_samples_give_an_interval_of_delta_and_power(self):
        rng = np.random.default_rng(0)

        def draw(n):
            first = rng.exponential(1, n)
            return first, first + 0.05 + rng.normal(0, 0.3, n)

        needed = nv.samples_needed(draw(20_000), delta=0.05)
        n, more = int(needed.paired), int(needed.paired_power)
        assert n == pytest.approx((1.96 * 0.3 / 0.05) ** 2, rel=0.05)
        found = dict.fromkeys((n, more), 0)
        for size in found:
            for _ in range(600):
                first, second = draw(size)
                d = second - first
                found[size] += abs(d.mean()) > 1.96 * d.std(ddof=1) / np.sqrt(size)
        assert found[n] / 600 == pytest.approx(0.5, abs=0.06)
        assert found[more] / 600 == pytest.approx(0.8, abs=0.05)

    def test_the_interval_holds_the_number_that_endless_pilots_would_give(self):
        rng = np.random.default_rng(3)
        truth, held = (1.959964 / 0.1) ** 2, 0
        for k in range(100):
            difference = rng.normal(0, 1, 200)
            needed = nv.samples_needed([np.zeros(200), difference], delta=0.1, seed=k)
            held += needed.paired_low <= truth <= needed.paired_high
        assert held >= 88

    def test_two_models_of_an_evaluator_batch_by_batch(self):
        evaluator, (x, y) = evaluator_of(), regression()
        states = [{"w": torch.tensor([w])} for w in (1.0, 1.1)]
        partial = list(nv.iter_samples_needed(evaluator, states, delta=0.01, pilot=150))
        assert [result.n for result in partial] == [100, 200]
        assert partial[-1].fraction == 1.0
        losses = [((w * x[:, 0] - y) ** 2).double().numpy() for w in (1.0, 1.1)]
        whole = nv.samples_needed(evaluator, states, delta=0.01, pilot=400)
        by_hand = nv.samples_needed(losses, delta=0.01)
        assert whole.paired == pytest.approx(by_hand.paired, rel=1e-4)
        assert whole.unpaired == pytest.approx(by_hand.unpaired, rel=1e-4)
        assert whole.available == 400
        assert "cannot be resolved" in nv.samples_needed(evaluator, states, delta=0.001).notes[-1]
        assert by_hand.paired < by_hand.unpaired / 3

    def test_without_a_delta_it_is_the_difference_of_the_pilot_which_may_be_none(self):
        rng = np.random.default_rng(0)
        needed = nv.samples_needed(rng.normal(0, 1, (2, 100)))
        assert needed.delta_is == "observed"
        assert needed.delta == abs(needed.difference)
        assert "may be none at all" in needed.notes[0]

    def test_a_pilot_without_differences_tells_nothing(self):
        same = np.random.default_rng(0).normal(0, 1, 50)
        needed = nv.samples_needed([same, same], delta=0.1)
        assert np.isnan(needed.paired)
        assert "larger pilot" in needed.explain()[0]

    def test_accuracies(self, evaluator, walk):
        needed = nv.samples_needed(evaluator, [walk[0], walk[1]], quantity="accuracy", delta=0.02, pilot=57)
        assert needed.quantity == "accuracy"
        one, two = (nv.inspect_state(evaluator, state) for state in walk[:2])
        right = [(part.predicted == part.target).astype(float) for part in (one, two)]
        assert needed.difference == pytest.approx(right[1].mean() - right[0].mean())
        assert needed.sd_paired == pytest.approx((right[1] - right[0]).std(ddof=1))

    def test_refusals(self):
        evaluator = evaluator_of()
        for act, words in (
            (lambda: nv.iter_samples_needed([[1.0, 2.0]]), r"shape \(2, n\)"),
            (lambda: nv.iter_samples_needed([[1.0, np.inf], [1.0, 2.0]]), "finite"),
            (lambda: nv.iter_samples_needed([[1.0, 2.0], [1.0, 2.0]], delta=0.0), "delta"),
            (lambda: nv.iter_samples_needed([[1.0, 2.0], [1.0, 2.0]], [{}, {}]), "only with an evaluator"),
            (lambda: nv.iter_samples_needed(evaluator), "the two states"),
            (lambda: nv.iter_samples_needed(evaluator, [{}, {}], quantity="accuracy"), "quantity: one of 'loss'"),
        ):
            with pytest.raises(ValueError, match=words):
                act()


@pytest.mark.parametrize("quantity", ["loss", "accuracy"])
def test_results_can_be_kept_read_and_drawn(quantity, evaluator, walk, tmp_path):
    from matplotlib.figure import Figure

    results = (
        nv.preliminary_test_size(evaluator, repeats=5),
        nv.samples_needed(evaluator, walk[:2], quantity=quantity, delta=0.1),
    )
    for result in results:
        result.save(tmp_path / "result")
        back = nv.load(tmp_path / "result")
        assert repr(back) == repr(result)
        assert back.to_pandas().equals(result.to_pandas())
        assert back.explain() == result.explain()
        assert back.plot(Figure().add_subplot()).lines
    axes = results[0].plot(Figure().add_subplot(), quantity=quantity)
    dots = axes.lines[0]
    assert np.array_equal(np.unique(dots.get_xdata()), results[0].sizes)
    assert np.array_equal(np.sort(dots.get_ydata()), np.sort(results[0].means[quantity].ravel()))
