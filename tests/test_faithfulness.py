import dataclasses
import itertools
import sys
from concurrent.futures import ThreadPoolExecutor

import factories
import numpy as np
import pandas
import pytest
import torch
from sklearn.isotonic import isotonic_regression
from torch import nn
from torch.nn import functional as F

import nnvis_widgets as nv
from nnvis_widgets.__main__ import main
from nnvis_widgets.core.clocks import apart, ascending, frechet, gram, laid_along, travel
from nnvis_widgets.core.scope import Scope
from nnvis_widgets.experiments.faithful_paths import PATHS, basis, origin
from nnvis_widgets.export import origins_figure
from nnvis_widgets.results import SPACES
from nnvis_widgets.results.faithfulness import highest_rise

pytestmark = pytest.mark.usefixtures("unhurried")
ON_OUTPUTS = ("log_loss", "loss", "kl", "disagreement")
LINEAR, QUADRATIC, SPEED, PIECEWISE, BY_DISTANCE = range(5)


def mixed(parts):
    """A state as a float64 sum of (factor, state), rounded once; buffers of the last."""
    names = [name for name, tensor in parts[-1][1].items() if tensor.is_floating_point() and "running" not in name]
    return {**parts[-1][1], **{name: sum(c * state[name].double() for c, state in parts).float() for name in names}}


@pytest.fixture
def corners(model):
    return factories.states(model, 3, size=0.2)


@pytest.fixture
def final(model, data):
    return nv.Evaluator(model, data, device="cpu", batch_size=16, batchnorm="final")


def straight(corners, places):
    return nv.Run.from_states([mixed([(1 - p, corners[0]), (p, corners[2])]) for p in places])


def bent(corners, places):
    """A run on the parabola through three states, the second at 1/2."""
    return nv.Run.from_states([mixed(list(zip(basis(np.array(p), 0.5), corners, strict=True))) for p in places])


class TestRunsWhoseAnswerIsKnown:
    def test_of_an_even_straight_run_every_path_is_the_run(self, final, corners):
        got = nv.measure_faithfulness(final, straight(corners, np.arange(9) / 8), draws=20)
        assert got.eta == pytest.approx(0, abs=1e-6)
        assert got.rho == pytest.approx(0.5, abs=1e-6)
        assert got.weights == pytest.approx(0, abs=1e-4)  # free places are found on a grid of 5e-5
        for space in ON_OUTPUTS:
            assert got.distances(space)[0] == pytest.approx(0, abs=1e-4)
        assert got.frechet == pytest.approx(0, abs=6e-3)  # a place of its grid
        assert "nearly one" in got.sentence

    def test_of_a_straight_run_with_another_timing_the_retimed_line_is_the_run(self, final, corners):
        got = nv.measure_faithfulness(final, straight(corners, (np.arange(9) / 8) ** 0.3), draws=20)
        assert got.weights[LINEAR, 1:3] == pytest.approx(0, abs=1e-6)
        assert got.weights[LINEAR, 0].mean() > 0.1
        assert got.weights[LINEAR, 3] == pytest.approx(0, abs=1e-4)
        for space in ON_OUTPUTS[:3]:
            assert got.distances(space)[0][LINEAR, 1:3] == pytest.approx(0, abs=1e-5)
            assert got.distances(space)[0][LINEAR, 0] > 1e-3
        # it has no way round that could be dropped, so the quadratic path and its speed are one
        assert got.weights[QUADRATIC] == pytest.approx(got.weights[SPEED], abs=1e-6)
        assert got.distances("kl")[0][QUADRATIC] == pytest.approx(got.distances("kl")[0][SPEED], abs=1e-6)
        assert "by its timing" in got.sentence

    def test_of_a_parabola_the_quadratic_path_is_the_run_and_its_speed_is_not(self, final, corners):
        got = nv.measure_faithfulness(final, bent(corners, np.arange(9) / 8), draws=200)
        assert got.weights[QUADRATIC, 0] == pytest.approx(0, abs=1e-6)
        assert got.distances()[0][QUADRATIC, 0] == pytest.approx(0, abs=1e-5)
        assert got.distances("kl")[2][QUADRATIC, 0] == pytest.approx(0, abs=1e-9)
        assert got.weights[QUADRATIC, 3] == pytest.approx(0, abs=1e-4)
        assert got.frechet[QUADRATIC] < 0.02 < got.frechet[LINEAR]  # the ways between checkpoints cut the bend
        assert got.skill("kl")[0][QUADRATIC, 0] == pytest.approx(1, abs=1e-6)
        # a line with its timing is as far as the bend: 4 a (1 - a) eta
        a = got.times[0]
        assert got.weights[SPEED, 0] == pytest.approx(4 * a * (1 - a) * got.eta, rel=1e-5)

    def test_of_a_run_with_one_corner_the_piecewise_linear_path_is_the_run(self, final, corners):
        bends = [[(1 - 2 * p, corners[0]), (2 * p, corners[1])] for p in (0, 0.1, 0.35)]
        bends += [[(2 - 2 * p, corners[1]), (2 * p - 1, corners[2])] for p in (0.5, 0.6, 0.95, 1)]
        run = nv.Run.from_states([mixed(parts) for parts in bends], epochs=[0, 1, 3.5, 5, 6, 9.5, 10])
        got = nv.measure_faithfulness(final, run, draws=20)
        assert got.mid == 3
        assert got.weights[PIECEWISE, 0] == pytest.approx(0, abs=1e-6)
        assert got.weights[PIECEWISE, 1] == pytest.approx(0, abs=1e-6)  # with its knot where the clock has it
        assert got.frechet[PIECEWISE] < 0.01 < got.frechet[QUADRATIC]

    def test_on_the_clock_of_progress_the_speed_of_the_quadratic_path_is_that_of_the_line(self, evaluator, run):
        got = nv.measure_faithfulness(evaluator, run, clocks=["progress"], origins=[], draws=20)
        if np.isfinite(got.knots[SPEED, 0]):
            assert got.weights[SPEED] == pytest.approx(got.weights[LINEAR], abs=1e-9)


class TestAgainstNaiveEvaluation:
    @pytest.fixture
    def walked(self, model):
        return nv.Run.from_states(factories.states(model, 7, size=0.15), epochs=[0, 1, 2, 4, 5, 8, 10])

    def test_losses_and_divergences_are_those_of_float64_models(self, model, data, walked):
        evaluator = nv.Evaluator(model, data, device="cpu", batch_size=16, batchnorm="final")
        got = nv.measure_faithfulness(evaluator, walked, mid=3, mid_at=0.4, origins=[], draws=20)
        states = [checkpoint.state for checkpoint in walked]
        buffers = {name: tensor for name, tensor in states[-1].items() if "running" in name or "num_batches" in name}

        def answers(state):
            with torch.no_grad():
                return factories.loaded(model, {**state, **buffers}, torch.float64)(data[0].double())

        def path(name, alpha):
            if name == "linear":
                return nv.LinearPath(states[0], states[-1]).state_at(alpha)
            return nv.QuadraticPath(states[0], states[3], states[-1], 0.4).state_at(alpha)

        seen = 0
        for p, name in ((LINEAR, "linear"), (QUADRATIC, "quadratic")):
            for c, h in itertools.product(range(3) if name == "linear" else range(1), range(len(got.checkpoints))):
                real, mine = answers(states[got.checkpoints[h]]), answers(path(name, got.alphas[p, c, h]))
                losses = [float(F.cross_entropy(out, data[1])) for out in (real, mine)]
                kl = F.kl_div(mine.log_softmax(1), real.log_softmax(1), log_target=True, reduction="batchmean")
                assert got.run_loss[h] == pytest.approx(losses[0], rel=1e-5)
                assert got.path_loss[p, c, h] == pytest.approx(losses[1], rel=1e-5)
                assert got.per_checkpoint["log_loss"][p, c, h] == pytest.approx(abs(np.log(losses[1] / losses[0])), abs=1e-5)
                assert got.per_checkpoint["loss"][p, c, h] == pytest.approx(abs(losses[1] - losses[0]), abs=1e-5)
                assert got.per_checkpoint["kl"][p, c, h] == pytest.approx(float(kl), rel=1e-4, abs=1e-6)
                different = (real.argmax(1) != mine.argmax(1)).double().mean()
                assert got.per_checkpoint["disagreement"][p, c, h] == pytest.approx(float(different), abs=1e-9)
                there, here = (torch.cat([s[n].reshape(-1) for n in evaluator.layout.shapes]).double()
                               for s in (states[got.checkpoints[h]], path(name, got.alphas[p, c, h])))  # fmt: skip
                moved = torch.cat([(states[-1][n] - states[0][n]).reshape(-1) for n in evaluator.layout.shapes]).norm()
                assert got.weights[p, c, h] == pytest.approx(float((there - here).norm() / moved), rel=1e-4)
                seen += 1
        assert seen >= 12

    def test_the_points_are_those_that_the_clocks_tell(self, evaluator, walked):
        got = nv.measure_faithfulness(evaluator, walked, mid=2, origins=[], draws=20)
        table = nv.measure_movement(walked, [None], layout=evaluator.layout, mid=2)
        assert (got.rho, got.eta) == (pytest.approx(table.rho[0]), pytest.approx(table.eta[0]))
        assert got.alphas[LINEAR, 0] == pytest.approx(walked.epochs[got.checkpoints] / 10)
        states = [checkpoint.state for checkpoint in walked]
        steps = [0, *(torch.cat([(b[n] - a[n]).reshape(-1) for n in evaluator.layout.shapes]).norm()
                      for a, b in itertools.pairwise(states))]  # fmt: skip
        way = np.cumsum(steps) / np.sum(steps)
        assert got.alphas[LINEAR, 1] == pytest.approx(way[got.checkpoints], rel=1e-5)
        assert got.knots[QUADRATIC, :2] == pytest.approx([0.5, way[2]], rel=1e-5)
        assert np.isnan(got.knots[LINEAR]).all()
        assert (np.diff(got.alphas[QUADRATIC, 3]) >= 0).all()

    def test_clocks_of_the_users_are_read_as_they_stand(self, final, walked):
        times = {"steps": 100 + 7 * np.asarray(walked.epochs), "learning rate": np.sqrt(walked.epochs)}
        got = nv.measure_faithfulness(final, walked, clocks=["epochs"], times=times, origins=[], draws=20)
        assert got.clocks == ["epochs", "steps", "learning rate"]
        assert got.alphas[LINEAR, 2] == pytest.approx(np.sqrt(walked.epochs / 10)[got.checkpoints])
        assert got.knots[QUADRATIC, 2] == pytest.approx(np.sqrt(walked.epochs[got.mid] / 10))
        for space in ON_OUTPUTS:  # in a loop of equal epochs steps are the same clock
            assert got.distances(space)[0][LINEAR, 1] == pytest.approx(got.distances(space)[0][LINEAR, 0])
        point = nv.measure_path(final, nv.LinearPath(walked.initial, walked.final), got.alphas[LINEAR, 2]).loss
        assert got.path_loss[LINEAR, 2] == pytest.approx(point, rel=1e-5)
        for wrong in ([0, 1, 2], [0, 1, 2, 3, 2, 5, 6], [1.0] * 7, [0, 1, 2, 3, 4, 5, np.inf]):
            with pytest.raises(ValueError, match="times: 'steps' has to say of each of the 7 checkpoints"):
                nv.iter_faithfulness(final, walked, times={"steps": wrong})
        with pytest.raises(ValueError, match="times: other names than 'epochs'"):
            nv.iter_faithfulness(final, walked, times={"epochs": walked.epochs})

    @pytest.mark.parametrize("policy", ["final", "recalibrate"])
    def test_checkpoints_are_measured_under_the_policy_of_the_paths(self, model, data, walked, policy):
        evaluator = nv.Evaluator(model, data, device="cpu", batch_size=16, batchnorm=policy)
        got = nv.measure_faithfulness(evaluator, walked, clocks=["epochs"], origins=[], draws=20)
        for h, index in enumerate(got.checkpoints[:2]):
            path = nv.LinearPath(walked[int(index)].state, walked.final)
            assert got.run_loss[h] == pytest.approx(nv.measure_path(evaluator, path, [0.0, 1.0]).loss[0], rel=1e-5)
        assert got.provenance["batchnorm"] == evaluator.batchnorm_policy()

    def test_intervals_are_those_of_a_mean(self, final, walked, data):
        got = nv.measure_faithfulness(final, walked, checkpoints=[1], clocks=["epochs"], origins=[], draws=4000)
        value, low, high = (float(part[LINEAR, 0]) for part in got.distances("kl"))
        outputs = []
        for state in (walked[1].state, nv.LinearPath(walked.initial, walked.final).state_at(0.1)):
            buffers = {name: tensor for name, tensor in walked.final.items() if "running" in name}
            with torch.no_grad():
                outputs.append(factories.loaded(final.model, {**state, **buffers})(data[0]))
        kl = F.kl_div(outputs[1].log_softmax(1), outputs[0].log_softmax(1), log_target=True, reduction="none").sum(1)
        half = 1.96 * float(kl.std()) / 57**0.5
        assert value == pytest.approx(float(kl.mean()), rel=1e-4)
        assert (high - low) / 2 == pytest.approx(half, rel=0.15)
        assert low < value < high

    def test_differences_are_paired(self, final, walked):
        got = nv.measure_faithfulness(final, walked, origins=[], draws=300)
        gap, low, high = got.difference(("linear", "epochs"), ("quadratic", "epochs"), "kl")
        values, lows, highs = got.distances("kl")
        assert gap == pytest.approx(values[LINEAR, 0] - values[QUADRATIC, 0])
        assert low < gap < high
        assert got.difference(("linear", "epochs"), ("linear", "epochs")) == (0.0, 0.0, 0.0)
        assert high - low < (highs - lows)[LINEAR, 0] + (highs - lows)[QUADRATIC, 0]


class TestHeldOut:
    def test_no_knot_is_among_the_checkpoints(self, evaluator, run, model):
        walk = nv.Run.from_states(factories.states(model, 40))
        got = nv.measure_faithfulness(evaluator, walk, clocks=["epochs"], origins=[], draws=2, samples=1)
        assert not {0, 39, got.mid, got.mid_by_distance} & set(got.checkpoints.tolist())
        assert len(got.checkpoints) == 24
        assert np.diff(got.checkpoints).max() <= 3
        chosen = nv.measure_faithfulness(
            evaluator, walk, mid=-20, checkpoints=[5, 20, 7, got.mid_by_distance, 30], clocks=["epochs"], origins=[], draws=2
        )
        assert chosen.mid == 20
        assert chosen.checkpoints.tolist() == [5, 7, 30]

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"mid": 0}, "mid: a checkpoint between the first and the last, from 1 to 3; received 0"),
            ({"mid": 7}, "received 7"),
            ({"mid_at": 1.0}, "mid_at: between 0 and 1"),
            ({"clocks": ["lr"]}, "clocks: a list of some of 'epochs'"),
            ({"clocks": {"lr": range(5)}}, r"a clock of your own is times=\{'name': \[one number for each checkpoint\]\}"),
            ({"clocks": []}, "clocks: at least one"),
            ({"origins": "zero"}, "origins: a list"),
            ({"checkpoints": [2]}, "no knot; the mid knot is 2"),
            ({"draws": 0}, "draws"),
            ({"samples": 0}, "samples"),
        ],
    )
    def test_what_cannot_be_is_refused_at_once(self, evaluator, run, options, words):
        with pytest.raises(ValueError, match=words):
            nv.iter_faithfulness(evaluator, run, **options)

    def test_so_are_runs_that_are_no_test(self, evaluator, run, walk):
        with pytest.raises(ValueError, match="at least five checkpoints"):
            nv.iter_faithfulness(evaluator, nv.Run.from_states(walk[:4]))
        with pytest.raises(ValueError, match="so there is no path"):
            nv.measure_faithfulness(evaluator, nv.Run.from_states([*walk[:4], walk[0]]))
        broken = {**walk[1], "fc2.bias": walk[1]["fc2.bias"] * float("nan")}
        for at in (0, 1, len(walk) - 1):
            states = [*walk[:at], broken, *walk[at + 1 :]]
            with pytest.raises(ValueError, match=rf"checkpoint {at}: 'fc2\.bias' holds NaN or infinity"):
                nv.measure_faithfulness(evaluator, nv.Run.from_states(states))
        with pytest.raises(TypeError, match="evaluator"):
            nv.iter_faithfulness(None, run)


class TestPartialResults:
    def test_a_cancelled_one_is_the_complete_one_of_fewer_samples(self, evaluator, run):
        steps = nv.iter_faithfulness(evaluator, run, draws=50)
        fractions, part = [], None
        for report in steps:
            fractions.append(report.fraction)
            if report.n == 32:
                part = report
        assert report.fraction == 1.0
        assert report.n == 57
        assert fractions == sorted(fractions)
        whole = nv.measure_faithfulness(evaluator, run, draws=50, samples=32)
        for space in ON_OUTPUTS:
            assert part.distances(space)[0] == pytest.approx(whole.distances(space)[0], nan_ok=True)
            assert part.distances(space)[2] == pytest.approx(whole.distances(space)[2], nan_ok=True)

    def test_before_the_first_batch_there_is_a_report_without_numbers(self, evaluator, run):
        first = next(nv.iter_faithfulness(evaluator, run))
        assert first.n == 0
        assert first.sentence == "Nothing measured yet."
        assert np.isnan(first.distances("kl")[0]).all()
        assert len(first.to_pandas()) == 20
        assert "0 held-out" in repr(first)


class TestOtherModels:
    def test_outputs_that_are_numbers_are_compared_by_their_squares(self):
        model = factories.made(lambda: nn.Linear(5, 3))
        data = factories.vectors(dtype=torch.float32)
        run = nv.Run.from_states(factories.states(model, 6))
        evaluator = nv.Evaluator(model, data, device="cpu", loss=F.mse_loss)
        got = nv.measure_faithfulness(evaluator, run, clocks=["epochs"], origins=[], draws=20)
        state = run[int(got.checkpoints[0])].state
        line = nv.LinearPath(run.initial, run.final).state_at(got.alphas[LINEAR, 0, 0])
        gap = data[0] @ (state["weight"] - line["weight"]).T + state["bias"] - line["bias"]
        assert got.per_checkpoint["kl"][LINEAR, 0, 0] == pytest.approx(float(gap.square().sum(1).mean() / 2), rel=1e-4)
        assert np.isnan(got.distances("disagreement")[0]).all()
        assert "half the squared difference" in got.provenance["function"]

    def test_weights_of_classes_and_losses_of_whole_batches_keep_their_meaning(self, model, data, run):
        weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 4.0, 0.5]))
        options = {"clocks": ["epochs"], "origins": [], "draws": 50}
        evaluator = nv.Evaluator(model, data, device="cpu", loss=weighted, batchnorm="final")
        got = nv.measure_faithfulness(evaluator, run, **options)
        index = int(got.checkpoints[0])
        line = nv.measure_path(evaluator, nv.LinearPath(run[index].state, run.final), [0.0])
        assert got.run_loss[0] == pytest.approx(line.loss[0], rel=1e-6)
        means = nv.Evaluator(
            model, data, device="cpu", batch_size=16, loss=lambda o, t: F.cross_entropy(o, t) * 1.0, batchnorm="final"
        )
        got = nv.measure_faithfulness(means, run, **options)
        line = nv.measure_path(means, nv.LinearPath(run[index].state, run.final), [0.0])
        assert got.run_loss[0] == pytest.approx(line.loss[0], rel=1e-6)

    def test_a_loss_that_can_be_negative_has_no_logarithm_and_the_sentence_says_another_number(self, model, data, run):
        evaluator = nv.Evaluator(model, data, device="cpu", loss=lambda o, t: F.cross_entropy(o, t, reduction="none") - 9)
        got = nv.measure_faithfulness(evaluator, run, clocks=["epochs"], origins=[], draws=20)
        assert np.isnan(got.distances("log_loss")[0]).all()
        assert np.isfinite(got.distances("loss")[0]).all()
        assert "mean |difference of loss|" in got.sentence

    def test_an_engine_without_recordings_gives_the_same(self, model, data, run):
        plain, recorded = (
            nv.measure_faithfulness(nv.Evaluator(model, data, device="cpu", engine=engine), run, draws=20)
            for engine in ("plain", "auto")
        )
        assert (plain.provenance["engine"]["program"], recorded.provenance["engine"]["program"]) == ("plain", "recorded")
        for space in ("loss", "kl"):
            assert plain.distances(space)[0] == pytest.approx(recorded.distances(space)[0], rel=1e-4, nan_ok=True)

    def test_an_executor_changes_nothing_and_the_provenance_says_who_has_looked(self, model, data, run):
        with ThreadPoolExecutor(2) as pool:
            given = nv.measure_faithfulness(nv.Evaluator(model, data, device="cpu", executor=pool), run, draws=20)
        alone = nv.measure_faithfulness(nv.Evaluator(model, data, device="cpu"), run, draws=20)
        for space in ON_OUTPUTS:
            assert np.array_equal(given.distances(space)[0], alone.distances(space)[0], equal_nan=True)
        assert (given.provenance["executor"], given.provenance["workers"]) == ("serial", 1)


class TestControls:
    def test_the_largest_rise_is_measured_from_the_lowest_before(self):
        losses = np.array([[3, 2, 2.5, 1, 4, 0], [5, 4, 3, 2, 1, 0], [0, 1, 2, 3, 2, 5.0]])
        assert highest_rise(losses).tolist() == [3.0, 0.0, 5.0]

    def test_lines_from_other_origins_end_in_the_trained_weights(self, final, run, corners):
        got = nv.measure_faithfulness(final, run, draws=50)
        assert got.origins == ["initial", "unrelated", "noise", "zero"]
        line = nv.measure_path(final, nv.LinearPath(run.initial, run.final), got.control_alphas)
        assert got.control_loss[0] == pytest.approx(line.loss, rel=1e-5)
        assert got.control_loss[:, -1] == pytest.approx(np.full(4, line.loss[-1]), rel=1e-6)
        assert got.control_loss[3, 0] != got.control_loss[0, 0]
        rise, low, high = got.rises()
        assert rise == pytest.approx(highest_rise(got.control_loss))
        assert (low <= rise + 1e-9).all()
        assert (rise <= high + 1e-9).all()
        assert got.controls_to_pandas().shape == (4, 7)

    def test_an_unrelated_origin_has_the_same_entries_in_another_order(self, evaluator, run):
        layout, start = evaluator.layout, run.initial
        other = origin("unrelated", start, layout, 3)
        for name in layout.shapes:
            assert torch.equal(other[name].flatten().sort().values, start[name].flatten().sort().values)
        assert not torch.equal(other["fc1.weight"], start["fc1.weight"])
        noise = origin("noise", start, layout, 3)["fc1.weight"]
        assert float(noise.square().mean() / start["fc1.weight"].square().mean()) == pytest.approx(1, rel=0.3)
        assert not origin("zero", start, layout, 3)["conv1.bias"].any()
        assert factories.same(other, origin("unrelated", start, layout, 3))

    def test_the_unrelated_origin_may_be_where_another_training_began(self, final, run, model):
        other = factories.states(factories.made(factories.ConvNet, 9), 2)[0]
        got = nv.measure_faithfulness(final, run, origins=["unrelated"], unrelated=other, draws=10)
        line = nv.measure_path(final, nv.LinearPath(other, run.final), got.control_alphas)
        assert got.control_loss[1] == pytest.approx(line.loss, rel=1e-5)
        assert got.provenance["unrelated"] == "given"
        with pytest.raises(ValueError, match="received those of this run"):
            nv.measure_faithfulness(final, run, unrelated=run.initial)
        with pytest.raises(ValueError, match="not among the origins"):
            nv.iter_faithfulness(final, run, origins=["zero"], unrelated=other)
        with pytest.raises(ValueError, match=r"unrelated does not fit the model: missing 'fc2\.bias'"):
            nv.iter_faithfulness(final, run, unrelated={k: v for k, v in other.items() if k != "fc2.bias"})


class TestClocks:
    def test_ascending_is_isotonic_regression(self):
        values = np.concatenate([[0.0], np.random.default_rng(0).normal(np.linspace(0, 1, 30), 0.3), [1.0]])
        expected = np.clip(isotonic_regression(values), 0, 1)
        expected[[0, -1]] = 0, 1
        assert ascending(values) == pytest.approx(expected, abs=1e-12)

    def test_a_run_that_goes_back_has_travelled_farther_than_it_has_come(self, evaluator, corners):
        steps = travel(straight(corners, [0, 0.5, 0.25, 1]), evaluator.layout, Scope.parse(None, evaluator.layout))
        shares = []
        while True:
            try:
                shares.append(next(steps))
            except StopIteration as finished:
                got = finished.value
                break
        assert shares[-1] == 1.0
        assert got.clocks["arc length"] == pytest.approx([0, 1 / 3, 0.5, 1], rel=1e-5)
        assert got.progress == pytest.approx([0, 0.5, 0.25, 1], abs=1e-6)
        assert got.clocks["progress"] == pytest.approx([0, 0.375, 0.375, 1], abs=1e-6)

    def test_distances_come_from_inner_products(self, walk, evaluator):
        scope = Scope.parse(["conv1", "fc1.weight"], evaluator.layout)
        products = gram(walk, scope)
        flat = [torch.cat([part.reshape(-1) for part in scope.take(state)]).double().numpy() for state in walk]
        rng = np.random.default_rng(1)
        one, other = (rows / rows.sum(1, keepdims=True) for rows in rng.uniform(0.1, 1, (2, 6, 5)))
        expected = [np.linalg.norm((a - b) @ np.stack(flat)) for a, b in zip(one, other, strict=True)]
        assert apart(one, other, products) == pytest.approx(expected, rel=1e-9)

    def test_points_are_laid_along_a_path_in_their_order(self):
        products = np.diag([0.0, 1.0, 1.0])  # the plane: row (., x, y) is the point (x, y)
        points = np.array([[0, 0.2, 0.3], [0, 0.7, -0.1], [0, 0.4, 0.0], [0, 0.9, 0.5]])

        def line(a):
            return np.stack([1 - a, a, 0 * a], axis=-1)

        places = laid_along(line, points, products)
        assert places[[0, 3]] == pytest.approx([0.2, 0.9], abs=1e-4)
        # the two in the wrong order meet; any place between is as good for the sum of distances where both lie on the line
        assert 0.4 <= places[1] == pytest.approx(places[2], abs=1e-2)
        assert places[1] <= 0.7
        assert (np.diff(places) >= 0).all()

    def test_a_leash_is_as_long_as_two_lines_are_apart_and_longer_where_one_turns_back(self):
        products = np.diag([0.0, 1.0, 1.0])
        x = np.linspace(0, 1, 101)
        line = np.stack([0 * x, x, 0 * x], axis=1)
        assert frechet(line, line, products) == 0
        assert frechet(line, line + np.array([0, 0, 0.25]), products) == pytest.approx(0.25)
        there = np.concatenate([x[x <= 0.8], x[(x > 0.4) & (x < 0.8)][::-1], x[x > 0.4]])
        back = np.stack([0 * there, there, 0 * there], axis=1)
        assert frechet(line, back, products) == pytest.approx(0.2, abs=0.011)  # half of the way back


class TestReport:
    @pytest.fixture
    def report(self, evaluator, run):
        return nv.measure_faithfulness(evaluator, run, draws=60)

    def test_it_says_what_it_is(self, report, tmp_path):
        assert report.paths == list(PATHS)
        assert report.seeds == 1
        assert repr(report).startswith("FaithfulnessReport(5 paths x 4 clocks, 2 held-out checkpoints; |log loss| ")
        assert "n = 57, one run, test" in repr(report)
        table = report.to_pandas()
        assert len(table) == 20
        assert {f"{space}{tail}" for space in SPACES for tail in ("", "_low", "_high", "_skill")} <= set(table.columns)
        row = table[(table.path == "quadratic") & (table.clock == "arc length")].iloc[0]
        assert row["kl"] == pytest.approx(report.distances("kl")[0][QUADRATIC, 1])
        report.save(tmp_path / "report")
        again = nv.load(tmp_path / "report")
        assert again.sentence == report.sentence
        assert again.to_pandas().equals(table)
        assert again.provenance == report.provenance

    def test_it_draws_every_path_on_every_clock(self, report):
        from matplotlib.figure import Figure

        axes = report.plot(Figure().add_subplot(), space="kl", clocks=["epochs", "arc length"])
        assert [text.get_text() for text in axes.get_yticklabels()] == list(PATHS)
        assert len(axes.containers) == 2
        drawn = axes.containers[1].lines[0].get_xdata()
        assert drawn == pytest.approx(report.distances("kl")[0][:, 1], nan_ok=True)

    def test_what_it_has_not_is_refused(self, report):
        with pytest.raises(KeyError, match="space: one of 'weights'"):
            report.distances("norm")
        with pytest.raises(KeyError, match="clock: one of"):
            report.difference(("linear", "steps"), ("linear", "epochs"))

    def test_its_sentence_separates_timing_from_shape(self, report):
        against = "closer to the training than the straight line (0.3 against 1)"
        for (linear, quadratic, speed, retimed), words in (
            ((1.0, 0.3, 0.3, 0.2), [against, "by its timing", "closer still (0.2)"]),
            ((1.0, 0.3, 0.1, 0.9), [against, "by its timing: without its bend (eta 0.30) it would be closer (0.1)"]),
            ((1.0, 0.4, 0.7, 0.9), ["50% of that is timing, 50% is shape"]),
            ((1.0, 0.4, 1.1, 0.9), ["by its shape: without its bend"]),
            ((0.5, 0.9, 0.7, 0.4), ["farther from the training than the straight line (0.9 against 0.5)"]),
        ):
            draws = {name: array.copy() for name, array in report.draws.items()}
            single = {name: array.copy() for name, array in report.per_checkpoint.items()}
            for p, c, value in ((LINEAR, 0, linear), (QUADRATIC, 0, quadratic), (SPEED, 0, speed), (LINEAR, 1, retimed)):
                for space in ("log_loss", "kl"):
                    draws[space][p, c] = single[space][p, c] = value
            said = dataclasses.replace(report, draws=draws, per_checkpoint=single, eta=0.3).sentence
            for part in words:
                assert part in said
            assert said.startswith("In this one run, by mean |difference of log loss| at 2 held-out checkpoints (n = 57),")
            assert said.endswith("its predictions are farther, too." if quadratic > linear else "its predictions are closer, too.")

    def test_it_tells_where_predictions_say_another_thing_than_losses(self, report):
        draws = {name: array.copy() for name, array in report.draws.items()}
        single = {name: array.copy() for name, array in report.per_checkpoint.items()}
        for p, c, loss, kl in ((LINEAR, 0, 1.0, 0.9), (QUADRATIC, 0, 0.4, 0.35), (SPEED, 0, 0.7, 0.5), (LINEAR, 1, 0.6, 0.3)):
            draws["log_loss"][p, c] = single["log_loss"][p, c] = loss
            draws["kl"][p, c] = single["kl"][p, c] = kl
        said = dataclasses.replace(report, draws=draws, per_checkpoint=single).sentence
        assert said.endswith("in predictions a straight line timed by the way travelled is closer still.")
        assert "50% of that is timing" in said


class TestCommand:
    @pytest.fixture
    def ask(self, tmp_path, monkeypatch):
        """The command line on a recorded run of seven checkpoints, in a folder of its own."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.delitem(sys.modules, "their_model", raising=False)
        source = (
            "import torch\nmake = lambda: (torch.nn.Linear(5, 3), (torch.arange(200.0).reshape(40, 5) % 7, torch.arange(40) % 3))"
        )
        (tmp_path / "their_model.py").write_text(source)
        model = factories.made(lambda: nn.Linear(5, 3))
        with nv.Recorder(model, "run") as recorder:
            for epoch, state in enumerate(factories.states(model, 7)[1:], 1):
                model.load_state_dict(state)
                recorder.record(epoch=epoch)
        base = [
            "faithfulness",
            "--run",
            "run",
            "--source",
            "their_model:make",
            "--no-cuda",
            "--formats",
            "csv",
            "png",
            "--out",
            "out",
        ]
        yield lambda *more: main([*base, *more])
        sys.modules.pop("their_model", None)

    def test_it_writes_what_the_library_measures_and_says_the_sentence(self, ask, tmp_path, capsys):
        assert ask("--mid", "2", "--mid-at", "0.4") == 0
        report = nv.load("out/faithfulness.safetensors")
        assert (report.mid, report.knots[QUADRATIC, 0], report.n, len(report.clocks)) == (2, 0.4, 40, 4)
        assert report.sentence in capsys.readouterr().out
        names = {path.name for path in (tmp_path / "out").iterdir()}
        tables = {"faithfulness.csv", "origins.csv", "summary.csv"}
        assert names == tables | {"faithfulness.safetensors", "faithfulness.png", "origins.png"}
        table = pandas.read_csv("out/faithfulness.csv")
        assert table["kl"].to_numpy() == pytest.approx(report.to_pandas()["kl"].to_numpy())
        assert pandas.read_csv("out/summary.csv")["sentence"][0] == report.sentence
        assert ask("--no-origins", "--force", "--quiet") == 0
        assert nv.load("out/faithfulness.safetensors").origins == []

    @pytest.mark.parametrize(
        ("more", "words"),
        [
            (["--mid", "6"], ["--mid", "from 1 to 5"]),
            (["--mid-at", "1"], ["--mid-at", "between 0 and 1"]),
            (["--samples", "41"], ["--samples", "40"]),
        ],
    )
    def test_it_refuses_before_it_works(self, ask, tmp_path, capsys, more, words):
        assert ask(*more) == 2
        said = capsys.readouterr().err
        assert all(word in said for word in words), said
        assert not (tmp_path / "out").exists()

    def test_figures_show_every_path_and_every_origin(self, final, run):
        report = nv.measure_faithfulness(final, run, draws=20)
        figure = nv.faithfulness_figure(report)
        figure.canvas.draw()
        losses = figure.axes[0]
        drawn = {line.get_label(): line.get_ydata() for line in losses.lines}
        assert drawn["training"] == pytest.approx(report.run_loss)
        assert drawn["speed-only, epochs"] == pytest.approx(report.path_loss[SPEED, 0])
        assert report.sentence == " ".join(figure.get_suptitle().split())
        origins = origins_figure(report).axes[0]
        assert [line.get_label().split(":")[0] for line in origins.lines] == report.origins
        with pytest.raises(ValueError, match="origins"):
            origins_figure(dataclasses.replace(report, origins=[]))
