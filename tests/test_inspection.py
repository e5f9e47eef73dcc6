import dataclasses

import factories
import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional as F

import nnvis_widgets as nv
from nnvis_widgets.core.data import DataError
from nnvis_widgets.core.plane import PlaneError
from nnvis_widgets.core.resampling import Z95, wilson

pytestmark = pytest.mark.usefixtures("unhurried")
X, Y = np.linspace(-1.5, 1.5, 7), np.linspace(-1, 1, 5)


@pytest.fixture
def plane(model, walk):
    return nv.random_plane(model, seed=2)


@pytest.fixture
def final(model, walk, data):
    return nv.Evaluator(model, data, device="cpu", batch_size=16, batchnorm="final")


def answers(model, state, data):
    with torch.no_grad():
        return factories.loaded(model, state, torch.float64)(data[0].double())


class TestAtAPoint:
    def test_it_is_what_the_model_answers_there(self, final, plane, data):
        got = nv.inspect_point(final, plane, X[5], Y[1])
        state = plane.state_at(X[5], Y[1])
        outputs = answers(final.model, state, data)
        assert sorted(got.samples.tolist()) == list(range(57))
        assert got.losses == pytest.approx(factories.naive(final.model, state, data)[got.samples], rel=1e-5, abs=1e-6)
        assert got.losses.dtype == np.float64
        assert got.predicted.tolist() == outputs.argmax(1)[got.samples].tolist()
        assert got.target.tolist() == data[1][got.samples].tolist()
        assert got.probabilities == pytest.approx(outputs.softmax(1)[got.samples].numpy(), rel=1e-4)
        assert got.probabilities.shape == (57, 3)
        assert got.probabilities.dtype == np.float32
        assert (got.classes, got.n, got.point) == (3, 57, (1.0, -0.5))
        assert got.loss == pytest.approx(got.losses.mean(), rel=1e-12)
        assert got.loss_se == pytest.approx(got.losses.std(ddof=1) / np.sqrt(57), rel=1e-9)
        assert got.metrics["accuracy"] == (got.predicted == got.target).mean()

    @pytest.mark.parametrize("policy", ["recalibrate", "final", "batch"])
    def test_it_is_the_cell_of_the_surface(self, evaluator, plane, policy):
        surface = nv.measure_surface(evaluator, plane, x=X, y=Y, batchnorm=policy)
        for i, j in ((0, 6), (2, 3), (3, 1)):
            got = nv.inspect_point(evaluator, plane, X[j], Y[i], batchnorm=policy)
            assert got.loss == pytest.approx(surface.loss[i, j], rel=1e-6)
            assert got.loss_se == pytest.approx(surface.loss_se[i, j], rel=1e-5)
            assert got.metrics["accuracy"] == surface.metrics["accuracy"][i, j]
            for key in ("batchnorm", "weights", "data", "calibration", "n", "scope"):
                assert got.provenance[key] == surface.provenance[key], key

    def test_also_with_fewer_samples(self, evaluator, plane):
        surface = nv.measure_surface(evaluator, plane, x=X, y=Y, samples=20)
        got = nv.inspect_point(evaluator, plane, X[4], Y[4], samples=20)
        assert got.n == len(got.losses) == 32
        assert got.loss == pytest.approx(surface.loss[4, 4], rel=1e-6)

    @pytest.mark.parametrize("n", [33, 35])
    def test_an_odd_last_batch_is_one_of_all(self, model, walk, plane, n):
        data = factories.images(n)
        evaluator = nv.Evaluator(model, data, device="cpu", batch_size=16, batchnorm="final")
        got = nv.inspect_point(evaluator, plane, 0.3, -0.2)
        assert len(got.losses) == len(got.predicted) == n
        assert got.losses == pytest.approx(factories.naive(model, plane.state_at(0.3, -0.2), data)[got.samples], rel=1e-5)

    def test_the_centre_is_the_centre(self, final, plane):
        got = nv.inspect_point(final, plane, 0, 0)
        assert got.distance == 0.0
        assert got.loss == pytest.approx(final.measure(plane.center).loss, rel=1e-6)

    def test_the_distance_is_that_of_the_weights_also_on_an_oblique_plane(self, final, walk):
        oblique = nv.three_point_plane(walk[0], walk[2], walk[4])
        first, second = oblique.directions
        skewed = nv.Plane(oblique.center, [first, {name: tensor + first[name] for name, tensor in second.items()}])
        assert abs(skewed.cosine) > 0.3
        got = nv.inspect_point(final, skewed, -0.7, 0.4)
        state = skewed.state_at(-0.7, 0.4)
        expected = sum(float(((state[k] - skewed.center[k]).double() ** 2).sum()) for k in skewed.moved) ** 0.5
        assert got.distance == pytest.approx(expected, rel=1e-5)

    def test_bad_input_is_refused(self, final, plane):
        for act, error, words in (
            (lambda: nv.inspect_point(final, plane, np.nan, 0), ValueError, "x, y: two finite numbers"),
            (lambda: nv.inspect_point(final, plane, "a", 0), ValueError, "x, y: two finite numbers"),
            (lambda: nv.inspect_point(final, plane, 0, 0, samples=58), ValueError, "samples: a whole number from 1 to 57"),
            (lambda: nv.inspect_point(final, plane, 0, 0, batchnorm="interpolate"), ValueError, "batchnorm: 'interpolate'"),
            (lambda: nv.inspect_point(final, plane, 0, 0, batchnorm="?"), ValueError, "batchnorm: one of"),
            (lambda: nv.inspect_point(final, plane.center, 0, 0), TypeError, r"plane: as nv.random_plane"),
            (lambda: nv.inspect_point(plane, final, 0, 0), TypeError, "evaluator: the first argument"),
            (lambda: nv.inspect_state(plane, plane.center), TypeError, "evaluator: the first argument"),
            (lambda: nv.inspect_state(final, {"w": torch.ones(2)}), ValueError, "state"),
        ):
            with pytest.raises(error, match=words):
                act()


class TestAtAState:
    def test_a_state_has_its_own_buffers(self, evaluator, model, walk, data):
        got = nv.inspect_state(evaluator, walk[1])
        assert got.losses == pytest.approx(factories.naive(model, walk[1], data)[got.samples], rel=1e-5)
        assert (got.point, got.distance) == (None, None)
        assert got.loss == pytest.approx(evaluator.measure(walk[1]).loss, rel=1e-6)
        assert got.provenance["batchnorm"] == "of each checkpoint"
        output, target = evaluator.observe(walk[1])
        assert got.predicted.tolist() == output.argmax(1).tolist()
        assert got.target.tolist() == target.tolist()


class TestIntervals:
    @pytest.mark.parametrize(("right", "n"), [(0, 7), (3, 7), (57, 57), (41, 57), (1, 1000)])
    def test_wilsons_are_the_roots_of_his_equation(self, right, n):
        low, high = wilson(right / n, n)
        # (share - p)^2 = z^2 p (1 - p) / n
        z2, share = Z95**2 / n, right / n
        assert [low, high] == pytest.approx(sorted(np.roots([1 + z2, -2 * share - z2, share**2]).real), abs=1e-7)
        theirs = stats.binomtest(right, n).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((theirs.low, theirs.high), rel=1e-9, abs=1e-12)

    def test_of_zeros_and_ones_his_and_of_others_the_normal_one(self, model, walk, data):
        metrics = {"right": lambda o, t: o.argmax(1) == t, "margin": lambda o, t: o.max(1).values}
        evaluator = nv.Evaluator(model, data, metrics=metrics, device="cpu", batch_size=16)
        got = nv.inspect_state(evaluator, walk[2])
        right = int((got.predicted == got.target).sum())
        theirs = stats.binomtest(right, 57).proportion_ci(method="wilson")
        assert got.metrics_low["right"] == pytest.approx(theirs.low)
        assert got.metrics_high["right"] == pytest.approx(theirs.high)
        margins = evaluator.observe(walk[2])[0].max(1).values.double().numpy()
        half = stats.norm.ppf(0.975) * margins.std(ddof=1) / np.sqrt(57)
        assert got.metrics_low["margin"] == pytest.approx(margins.mean() - half, rel=1e-6)
        assert got.metrics_high["margin"] == pytest.approx(margins.mean() + half, rel=1e-6)


class TestClasses:
    def test_the_confusion_matrix_is_a_count_of_pairs(self, final, plane):
        got = nv.inspect_point(final, plane, 0.5, 1)
        counts = got.confusion()
        for target in range(3):
            for predicted in range(3):
                pairs = [1 for t, p in zip(got.target, got.predicted, strict=True) if (t, p) == (target, predicted)]
                assert counts[target, predicted] == len(pairs)
        assert counts.sum() == 57
        assert np.trace(counts) == round(got.metrics["accuracy"] * 57)

    def test_ignored_labels_are_in_no_row_of_it(self, model, walk, data):
        labels = data[1].clone()
        labels[[0, 5, 50]] = 1
        for loss, ignored in ((nn.CrossEntropyLoss(ignore_index=1), 1), (nn.CrossEntropyLoss(), -100)):
            own = torch.where(labels == 1, ignored, labels)
            got = nv.inspect_state(nv.Evaluator(model, (data[0], own), loss=loss, device="cpu", batch_size=16), walk[1])
            kept = own.numpy()[got.samples] != ignored
            assert ((got.target == -1) == ~kept).all()
            assert got.confusion().sum() == kept.sum()
            with torch.no_grad():
                assert got.loss == pytest.approx(float(loss(answers(model, walk[1], data), own)), rel=1e-5)
            assert np.isnan(got.to_pandas()["p_target"][~kept]).all()

    def test_outputs_that_are_log_probabilities_or_probabilities(self, model, walk, data):
        expected = nv.inspect_state(nv.Evaluator(model, data, device="cpu"), walk[1])
        for forward, loss in (
            (lambda m, b: (m(b[0]).log_softmax(1), b[1]), nn.NLLLoss()),
            (lambda m, b: (m(b[0]).softmax(1), b[1]), lambda o, t: F.nll_loss(o.log(), t, reduction="none")),
        ):
            got = nv.inspect_state(nv.Evaluator(model, data, forward=forward, loss=loss, device="cpu"), walk[1])
            assert got.probabilities == pytest.approx(expected.probabilities, rel=1e-4)
            assert got.loss == pytest.approx(expected.loss, rel=1e-4)

    def test_a_regression_has_losses_and_no_classes(self):
        model = factories.made(lambda: nn.Linear(5, 3)).double()
        inputs, targets = factories.vectors()
        evaluator = nv.Evaluator(model, (inputs, targets), loss=F.mse_loss, device="cpu", batch_size=8)
        plane = nv.random_plane(model, ignore_1d=False)
        got, other = nv.inspect_point(evaluator, plane, 0.5, -1), nv.inspect_point(evaluator, plane, 0, 0)
        state = plane.state_at(0.5, -1)
        outputs = (inputs @ state["weight"].T + state["bias"]).detach()
        assert got.losses == pytest.approx(((outputs - targets) ** 2).mean(1).numpy()[got.samples], rel=1e-12)
        assert got.predicted is got.target is got.probabilities is got.classes is None
        assert got.metrics == {}
        assert got.changed(other).tolist() == []
        assert got.interesting(other, 5).tolist() == np.argsort(-np.abs(got.losses - other.losses))[:5].tolist()
        assert list(got.to_pandas().columns) == ["sample", "loss"]
        assert got.plot().get_xlabel() == "loss of a sample"
        with pytest.raises(ValueError, match="confusion: the outputs"):
            got.confusion()

    def test_a_loss_of_batches_has_no_losses_of_samples(self, model, walk, data):
        def loss(output, target):
            return F.cross_entropy(output, target) + output.mean() ** 2

        got = nv.inspect_state(nv.Evaluator(model, data, loss=loss, device="cpu", batch_size=19), walk[1])
        assert got.losses is None
        assert np.isfinite(got.loss)
        assert got.interesting(got, 3).tolist() == [0, 1, 2]
        assert got.confusion().sum() == 57

    def test_targets_that_are_no_tensors(self, model, walk, data):
        got = nv.inspect_state(
            nv.Evaluator(
                model,
                data,
                device="cpu",
                forward=lambda m, b: (m(b[0]), {"y": b[1]}),
                loss=lambda o, t: F.cross_entropy(o, t["y"], reduction="none"),
            ),
            walk[1],
        )
        assert got.predicted is None
        assert len(got.losses) == 57

    def test_a_score_for_each_token_is_no_class_of_a_sample(self):
        model = factories.made(lambda: nn.Conv1d(2, 4, 1))
        rng = torch.Generator().manual_seed(0)
        data = torch.randn(9, 2, 5, generator=rng), torch.randint(0, 4, (9, 5), generator=rng)
        got = nv.inspect_state(nv.Evaluator(model, data, device="cpu"), dict(model.state_dict()))
        assert got.predicted is None
        assert got.losses.shape == (9,)


class TestComparison:
    @pytest.fixture
    def pair(self, final, plane):
        return nv.inspect_point(final, plane, 1, -1), nv.inspect_point(final, plane, 0, 0)

    def test_changed_are_those_predicted_differently_the_largest_change_of_loss_first(self, pair):
        here, there = pair
        changed = here.changed(there)
        assert 0 < len(changed) < 57
        assert set(changed) == {i for i in range(57) if here.predicted[i] != there.predicted[i]}
        sizes = np.abs(here.losses - there.losses)[changed]
        assert (np.diff(sizes) <= 0).all()
        assert here.changed(here).tolist() == []

    def test_interesting_are_the_changed_and_then_those_whose_loss_changed(self, pair):
        here, there = pair
        changed = here.changed(there)
        everything = here.interesting(there, 57)
        assert sorted(everything) == list(range(57))
        assert everything[: len(changed)].tolist() == changed.tolist()
        assert (np.diff(np.abs(here.losses - there.losses)[everything[len(changed) :]]) <= 0).all()
        assert len(here.interesting(there)) == 12
        assert here.interesting(there, 3).tolist() == changed[:3].tolist()

    def test_what_diverged_changed_most_and_what_diverged_at_both_not_at_all(self, pair):
        here, there = pair
        one, two = here.losses.copy(), there.losses.copy()
        one[4], one[9], one[20] = np.nan, np.inf, np.inf
        two[20] = np.inf
        one[30] = two[30] = np.nan
        one, two = dataclasses.replace(here, losses=one), dataclasses.replace(there, losses=two)
        order = one._by_change(two).tolist()
        assert set(order[:2]) == {4, 9}
        assert {20, 30} <= set(order[-2:])

    def test_other_samples_are_refused(self, final, plane, pair):
        with pytest.raises(ValueError, match=r"reference: an inspection of the same samples \(n = 57 here, 16 there\)"):
            pair[0].changed(nv.inspect_point(final, plane, 0, 0, samples=3))
        with pytest.raises(TypeError, match="reference: an Inspection, received NoneType"):
            pair[0].interesting(None)


class TestInputs:
    def test_they_are_those_of_the_arrays(self, final, plane, data):
        got = nv.inspect_point(final, plane, 1, -1)
        chosen = got.interesting(nv.inspect_point(final, plane, 0, 0), 5)
        assert torch.equal(final.inputs(chosen), data[0][got.samples[chosen]])
        assert torch.equal(final.inputs([56, 0]), data[0][got.samples[[56, 0]]])

    def test_only_those_samples_are_read(self, model, data):
        read = []

        class Pictures(torch.utils.data.Dataset):
            def __len__(self):
                return 57

            def __getitem__(self, index):
                read.append(index)
                return {"image": data[0][index], "label": data[1][index]}

        evaluator = nv.Evaluator(model, Pictures(), device="cpu", batch_size=16, forward=lambda m, b: (m(b["image"]), b["label"]))
        order = nv.inspect_state(evaluator, dict(model.state_dict())).samples
        read.clear()
        batch = evaluator.inputs([50, 3])
        assert read == order[[50, 3]].tolist()
        assert set(batch) == {"image", "label"}
        assert len(batch["image"]) == 2

    def test_impossible_places_are_refused(self, final):
        for positions in ([57], [-1], [], 3, [0.5]):
            with pytest.raises(DataError, match="positions: a list of whole numbers from 0 to 56"):
                final.inputs(positions)


class TestResult:
    def test_it_comes_back_from_its_file(self, final, plane, walk, tmp_path):
        for got in (nv.inspect_point(final, plane, 1, -1), nv.inspect_state(final, walk[0])):
            got.save(tmp_path / "i")
            back = nv.load(tmp_path / "i")
            assert isinstance(back, nv.Inspection)
            for name in ("samples", "losses", "predicted", "target", "probabilities"):
                assert np.array_equal(getattr(back, name), getattr(got, name))
                assert getattr(back, name).dtype == getattr(got, name).dtype
            for name in ("loss", "loss_se", "metrics", "metrics_low", "metrics_high", "n", "classes", "point", "distance"):
                assert getattr(back, name) == getattr(got, name), name
            assert back.provenance == got.provenance
            assert repr(back) == repr(got)

    def test_it_says_what_it_is(self, final, plane, walk):
        got = nv.inspect_point(final, plane, 1, -1)
        assert repr(got).startswith(f"Inspection((1, -1), {got.distance:.4g} from the centre: loss {got.loss:.4f} ± ")
        assert f"accuracy {got.metrics['accuracy']:.4f} [{got.metrics_low['accuracy']:.4f}, " in repr(got)
        assert repr(nv.inspect_state(final, walk[0])).startswith("Inspection(a state: loss ")
        with pytest.raises(ValueError, match="read-only"):
            got.losses[0] = 0

    def test_the_table_has_a_row_for_each_sample(self, final, plane):
        got = nv.inspect_point(final, plane, 1, -1)
        table = got.to_pandas()
        assert table.columns.tolist() == ["sample", "loss", "target", "predicted", "p_target", "p_predicted"]
        assert table["p_target"][5] == got.probabilities[5, got.target[5]]
        assert (table["p_predicted"] >= table["p_target"]).all()
        assert np.exp(-table["loss"]).to_numpy() == pytest.approx(table["p_target"].to_numpy(), rel=1e-4)

    def test_the_picture_is_the_confusion_matrix(self, final, plane):
        got = nv.inspect_point(final, plane, 1, -1)
        axes = got.plot()
        counts = got.confusion()
        share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        assert np.array_equal(np.asarray(axes.images[0].get_array()), share)
        assert axes.images[0].get_cmap().name == "cividis"
        assert [text.get_text() for text in axes.texts] == [str(number) for number in counts.reshape(-1)]
        assert axes.get_ylabel() == "target"


class TestLine:
    def test_it_is_the_straight_way_from_the_first_to_the_second(self, final, plane, data):
        a, b = (-1.5, 1.0), (0.75, 0.25)
        got = nv.measure_line(final, plane, a, b, points=4)
        assert got.kind == "linear"
        assert got.scope == "model"
        assert got.alphas.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
        for alpha, loss in zip(got.alphas, got.loss, strict=True):
            state = plane.state_at(*(p + alpha * (q - p) for p, q in zip(a, b, strict=True)))
            assert loss == pytest.approx(factories.naive(final.model, state, data).mean(), rel=1e-5)
        last, first = (factories.naive(final.model, plane.state_at(*point), data) for point in (b, a))
        assert got.diff_se[0] == pytest.approx((first - last).std(ddof=1) / np.sqrt(57), rel=1e-4)
        assert got.diff_se[-1] == 0
        start, end = plane.state_at(*a), plane.state_at(*b)
        moved = {name: end[name] - start[name] for name in plane.moved}
        squares = [sum(float((state[name].double() ** 2).sum()) for name in plane.moved) for state in (start, moved)]
        assert got.distance == pytest.approx(squares[1] ** 0.5, rel=1e-5)
        assert got.relative_distance == pytest.approx((squares[1] / squares[0]) ** 0.5, rel=1e-5)
        assert got.provenance["line"] == {"from": [-1.5, 1.0], "to": [0.75, 0.25], "plane": plane.digest}
        assert got.sample_losses.shape == (4, 57)

    @pytest.mark.parametrize("policy", ["recalibrate", "final"])
    def test_it_agrees_with_the_cells_of_the_surface(self, evaluator, plane, policy):
        surface = nv.measure_surface(evaluator, plane, x=X, y=Y, batchnorm=policy)
        across = nv.measure_line(evaluator, plane, (X[1], Y[4]), (X[5], Y[4]), points=5, batchnorm=policy)
        assert across.loss == pytest.approx(surface.loss[4, 1:6], rel=1e-6)
        up = nv.measure_line(evaluator, plane, (X[6], Y[0]), (X[6], Y[4]), points=5, batchnorm=policy)
        assert up.loss == pytest.approx(surface.loss[:, 6], rel=1e-6)
        assert up.metrics["accuracy"].tolist() == surface.metrics["accuracy"][:, 6].tolist()

    def test_bit_for_bit_where_the_statistics_stay(self, final, plane):
        surface = nv.measure_surface(final, plane, x=X, y=Y)
        up = nv.measure_line(final, plane, (X[6], Y[0]), (X[6], Y[4]), points=5)
        assert np.array_equal(up.loss, surface.loss[:, 6])

    def test_partial_results_and_fewer_samples(self, final, plane):
        results = list(nv.iter_line(final, plane, (0, 0), (1, 1), points=5, samples=20))
        assert [r.n for r in results] == [16, 32]
        assert [r.fraction for r in results] == [0.5, 1.0]
        assert results[-1].sample_losses.shape == (5, 32)
        assert results[-1].sample_losses.mean(1) == pytest.approx(results[-1].loss, rel=1e-5)

    def test_bad_input_is_refused_when_the_generator_is_made(self, final, plane):
        for a, b, options, words in (
            ((0, 0), (0, 0), {}, "b: another point than a"),
            ((0, np.inf), (0, 0), {}, "a: two finite numbers"),
            ((0, 0), 3, {}, "b: two finite numbers, where in the plane; received 3"),
            ((0, 0), (1, 1), {"points": 1}, "points: a whole number of at least 2, received 1"),
            ((0, 0), (1, 1), {"points": 2.0}, "points: a whole number"),
            ((0, 0), (1, 1), {"samples": 0}, "samples: a whole number from 1 to 57"),
            ((0, 0), (1, 1), {"batchnorm": "interpolate"}, "batchnorm: 'interpolate'"),
        ):
            with pytest.raises(ValueError, match=words):
                nv.iter_line(final, plane, a, b, **options)
        tied = factories.made(factories.Tied)
        parted = {name: tensor.clone() for name, tensor in tied.state_dict().items()}
        tokens = torch.arange(44) % 11
        with pytest.raises(PlaneError, match="one tied weight"):
            nv.iter_line(nv.Evaluator(tied, (tokens, tokens), device="cpu"), nv.random_plane(parted), (0, 0), (1, 0))
