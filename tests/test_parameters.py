"""Scans of single weights: the result, and what is measured for it, against naive float64 evaluation."""

import copy
from dataclasses import asdict

import factories
import numpy as np
import pytest
import torch
from torch import nn

import nnvis_widgets as nv
from nnvis_widgets.core import evaluator as module
from nnvis_widgets.core.patterns import PATTERNS, PatternRules, classify, expected_pattern, turning_point, u
from nnvis_widgets.experiments import parameters
from nnvis_widgets.experiments.evidence import Resamples, evidence
from nnvis_widgets.results import ParameterScan
from nnvis_widgets.results.labelling import votes_of

ALPHAS = np.linspace(-0.5, 1.5, 41)


def made(rho=(1.0, 0.95, 0.5, 0.1), u_star=(0.5, 2.5, 0.4, 0.6), n=50, resamples=20, **changed):
    """Return a scan of parabolas; the last weight but one has its mid half-way."""
    rho, u_star = np.array(rho), np.array(u_star)
    count = len(rho)
    shares = u(ALPHAS, rho[:, None])
    linear, quadratic = (ALPHAS - u_star[:, None]) ** 2, (shares - u_star[:, None]) ** 2
    both = np.concatenate([linear - linear[:, [30]], quadratic - linear[:, [30]]], axis=1)
    resampled = (both[:, None] + np.random.default_rng(0).normal(0, 1e-4, (count, resamples, 1)) * (both**2)[:, None]).astype("f4")
    turn, top = turning_point(rho)
    nothing, one = np.full(count, np.nan), np.ones(count)
    fields = {
        "index": [("fc1.weight", (k, 7)) for k in range(count)], "alphas": ALPHAS, "linear": linear, "quadratic": quadratic,
        "linear_diff_se": 1e-3 * linear, "quadratic_diff_se": 1e-3 * quadratic, "u": shares, "start": 0 * one, "mid": rho,
        "final": one, "distance": one, "relative_distance": one, "effect": nothing, "rho": rho, "alpha_turn": turn, "u_turn": top,
        "u_star": u_star, "u_star_low": u_star - 0.1, "u_star_high": u_star + 0.1, "u_star_edge": np.zeros(count, dtype=int),
        "p_value": 1e-3 * one, "q_value": 1e-3 * one, "half_width": 1e-3 * one, "rounding": 1e-8, "choose": "distance",
        "scope": "fc1", "scanned": 900, "n": n, "resampled": resampled, "provenance": {"split": "test", "batchnorm": "none"},
    }  # fmt: skip
    votes = votes_of(resampled, ALPHAS, rho, 6e-8, PatternRules(), np.ones(count, dtype=bool))
    return ParameterScan(**{**fields, "votes": votes, **changed}).labelled(PatternRules())


class TestResult:
    def test_it_says_what_it_holds(self):
        scan = made()
        assert scan.pattern == ["bump", "descending-convex", "coincident", "bump"]
        assert scan.mirrored.tolist() == [False, False, False, True]
        assert scan.counts()["bump"] == 2
        assert list(scan.counts()) == list(PATTERNS)
        assert repr(scan) == (
            "ParameterScan(4 of 900 weights of fc1 by distance: 1 descending-convex, 2 bump, 1 coincident; "
            "alpha -0.5 to 1.5, n = 50, test)"
        )
        assert scan.names[3] == "fc1.weight[3, 7]"
        assert (scan.confidence > 0.9).all()
        assert scan.second == ["", "", "", ""]
        assert not scan.uncertain.any()
        assert scan.population == scan.pattern
        assert scan.noise_floor == pytest.approx(6e-8)

    def test_other_rules_give_other_labels_without_measuring(self):
        scan = made(rho=(1.0, 1.0), u_star=(1.05, 2.0))
        assert scan.pattern == ["flat-region", "descending-convex"]
        strict = scan.relabelled(plateau_length=0.9)
        assert strict.pattern[0] == "bump"
        assert strict.rules["plateau_length"] == 0.9
        assert strict.votes[0, PATTERNS.index("bump")] > 0.5
        assert strict.relabelled(plateau_length=0.4).pattern == scan.pattern
        assert np.array_equal(strict.relabelled(plateau_length=0.4).votes, scan.votes)
        deaf = scan.relabelled(noise=1e10)
        assert deaf.noise_floor == pytest.approx(100.0)
        assert deaf.pattern == ["no-effect", "no-effect"]
        assert scan.relabelled(plateau=0.05).pattern == scan.pattern
        assert np.isnan(made(resampled=None).relabelled(plateau=0.1).confidence).all()
        with pytest.raises(ValueError, match="rules: conventions are"):
            scan.relabelled(w=0.2)

    def test_what_holds_beyond_the_samples_is_said_apart(self):
        scan = made(q_value=np.array([0.001, 0.06, 0.01, np.nan]), half_width=np.array([1e-3, 1e-3, 100.0, 1e-3]))
        assert scan.population == ["bump", "no-effect", "complex", ""]
        assert scan.established.tolist() == [True, False, True, False]
        assert scan.relabelled(false_discovery=0.1).population[1] == "descending-convex"
        assert made(distance=np.zeros(4)).pattern == made(distance=np.zeros(4)).population == ["not-moved"] * 4

    def test_it_is_saved_loaded_tabled_and_drawn(self, tmp_path):
        from matplotlib.figure import Figure

        scan = made()
        scan.save(tmp_path / "scan")
        again = nv.load(tmp_path / "scan")
        assert again.index == scan.index
        assert again.pattern == scan.pattern
        assert again.rules == asdict(PatternRules())
        assert np.array_equal(again.resampled, scan.resampled)
        assert again.relabelled(plateau=0.2).pattern == scan.relabelled(plateau=0.2).pattern
        made(resampled=None).save(tmp_path / "small")
        assert nv.load(tmp_path / "small").resampled is None
        table = scan.to_pandas()
        assert table.shape[0] == 4
        assert list(table["pattern"]) == scan.pattern
        curves = scan.curves_to_pandas()
        assert len(curves) == 4 * 41
        assert np.array_equal(curves["quadratic"][41:82], scan.quadratic[1])
        axes = scan.plot(Figure().add_subplot())
        assert [text.get_text() for text in axes.get_legend().get_texts()] == [
            "descending-convex (1)",
            "bump (2)",
            "coincident (1)",
        ]


@pytest.fixture(scope="module")
def trained():
    """A small network that has learnt scikit-learn's digits, its run, and test images."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16.0, dtype=torch.float32), torch.tensor(labels)
    model = factories.made(lambda: nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.5)
    order = torch.Generator().manual_seed(0)
    states = [copy.deepcopy(model.state_dict())]
    for epoch in range(10):
        optimizer.param_groups[0]["lr"] = 0.3 * 0.7**epoch
        for batch in torch.randperm(1200, generator=order).split(16):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
        states.append(copy.deepcopy(model.state_dict()))
    return model, nv.Run.from_states(states), (x[1200:], y[1200:])


@pytest.fixture(scope="module")
def scanned(trained):
    model, run, data = trained
    evaluator = nv.Evaluator(model, data, device="cpu", batch_size=100)
    return evaluator, nv.measure_parameters(evaluator, run, count=40)


def naive(model, run, data, index, alphas, numbers=(0, 5, 10)):
    """Both curves of one weight in float64: a deep copy, one number written into it, the mean of the losses."""
    model, (x, y) = copy.deepcopy(model).double(), data
    model.load_state_dict(run[numbers[-1]].state)
    model.double().eval()
    tensor, position = index
    start, mid, end = (float(run[number].state[tensor][position]) for number in numbers)
    curves = []
    for basis in (
        lambda a: (1 - a) * start + a * end,
        lambda a: 2 * (a - 0.5) * (a - 1) * start - 4 * a * (a - 1) * mid + 2 * a * (a - 0.5) * end,
    ):
        values = []
        for alpha in alphas:
            with torch.no_grad():
                dict(model.named_parameters())[tensor][position] = basis(alpha)
                values.append(float(nn.functional.cross_entropy(model(x.double()), y)))
        curves.append(values)
    return np.array(curves)


class TestScan:
    def test_its_numbers_are_those_of_naive_evaluation_in_float64(self, trained):
        model, run, data = trained
        wide = nv.Evaluator(copy.deepcopy(model).double(), (data[0].double(), data[1]), device="cpu", batch_size=100)
        alphas = np.linspace(-0.5, 1.5, 9)
        for scope in ("0.weight", "2.bias"):
            scan = nv.measure_parameters(wide, run, scope, count=3, alphas=alphas)
            for k, index in enumerate(scan.index):
                linear, quadratic = naive(model, run, data, index, alphas)
                assert scan.linear[k] == pytest.approx(linear, rel=1e-12)
                assert scan.quadratic[k] == pytest.approx(quadratic, rel=1e-12)

    def test_both_curves_are_one_function_at_two_speeds(self, trained, scanned):
        _, run, _ = trained
        evaluator, scan = scanned
        ends = nv.LinearPath(run.initial, run.final)
        for k in (0, 17, 38):
            line = nv.measure_path(evaluator, ends, scan.u[k], scope=scan.index[k])
            assert scan.quadratic[k] == pytest.approx(line.loss, abs=2e-7)
            assert scan.u[k] == pytest.approx(u(scan.alphas, scan.rho[k]), abs=0)
            assert scan.start[k] + scan.rho[k] * (scan.final[k] - scan.start[k]) == pytest.approx(scan.mid[k], rel=1e-12)
        for alpha in (10, 30):  # 0 and 1: the same stored weights, the same bits
            assert np.array_equal(scan.linear[:, alpha], scan.quadratic[:, alpha])
        assert (scan.linear_diff_se[:, 30] == 0).all()
        path = nv.QuadraticPath(run.initial, run.mid, run.final)
        other = nv.measure_path(evaluator, path, scan.alphas, scope=scan.index[3])
        assert scan.quadratic[3] == pytest.approx(other.loss, rel=1e-6)
        assert scan.quadratic_diff_se[3] == pytest.approx(other.diff_se, rel=1e-3, abs=1e-7)
        assert scan.n == other.n
        assert scan.provenance["batchnorm"] == other.provenance["batchnorm"]

    def test_the_theory_predicts_the_extrema_of_the_measured_quadratic_curves(self, scanned, record_property):
        _, scan = scanned
        agreed, told = [], []
        for k in range(len(scan)):
            shares = np.concatenate([scan.alphas, scan.u[k]])
            order = np.argsort(shares)
            losses = np.concatenate([scan.linear[k], scan.quadratic[k]])[order]
            inside = np.interp(scan.u[k], scan.alphas, scan.linear[k])  # f as the linear curve alone knows it
            beyond = np.interp(scan.u[k], shares[order], losses)
            predicted = np.where((scan.u[k] >= -0.5) & (scan.u[k] <= 1.5), inside, beyond)
            label = classify(scan.alphas, scan.linear[k], predicted, scan.rho[k], scan.noise_floor)
            agreed.append(label.sequence == scan.sequence[k])
            if scan.u_star_edge[k] == 0:
                told.append(expected_pattern(scan.rho[k], scan.u_star[k]) == scan.pattern[k])
        record_property("sequences predicted, patterns of the phase diagram", (np.mean(agreed), np.mean(told)))
        print(f"sequences predicted {np.mean(agreed):.3f}, patterns of the phase diagram {np.mean(told):.3f} of {len(told)}")
        assert np.mean(agreed) >= 0.9
        assert np.mean(told) >= 0.7  # losses with kinks and several minima are not parabolas

    def test_the_noise_floor_is_that_of_the_arithmetic(self, trained, scanned):
        model, run, data = trained
        _, scan = scanned
        wide = nv.Evaluator(copy.deepcopy(model).double(), (data[0].double(), data[1]), device="cpu", batch_size=100)
        exact = nv.measure_parameters(wide, run, choose=scan.index[:12])
        noise = np.median(np.diff(scan.linear[:12] - exact.linear, n=2, axis=1).std(1)) / 6**0.5
        print(f"noise {scan.rounding:.2g}, float32 against float64 {noise:.2g}, float64 {exact.rounding:.2g}")
        assert noise / 4 < scan.rounding < 4 * noise  # it grows with the distance from the end, and is measured half-way
        assert exact.rounding < 1e-14
        assert scan.noise_floor == pytest.approx(6 * scan.rounding)

    def test_labels_are_stable_when_conventions_are_halved_or_doubled(self, scanned, record_property):
        _, scan = scanned
        stable = {}
        for name in ("plateau_length", "plateau", "noise", "shape", "convexity"):
            for factor in (0.5, 2.0):
                changed = scan.relabelled(**{name: scan.rules[name] * factor}).pattern
                stable[name, factor] = np.mean(np.array(changed) == np.array(scan.pattern))
        record_property("share of labels that stay", stable)
        print({f"{name} x {factor}": round(share, 3) for (name, factor), share in stable.items()})
        assert min(stable[name, factor] for name in ("noise", "shape", "convexity") for factor in (0.5, 2.0)) >= 0.8
        assert scan.relabelled().pattern == scan.pattern
        assert np.array_equal(scan.relabelled().votes, scan.votes)

    def test_what_has_not_moved_is_said_so_and_half_way_is_coincident(self, trained, scanned):
        _, run, _ = trained
        evaluator, _ = scanned
        states = [{name: t.clone() for name, t in state.items()} for state in (run.initial, run.mid, run.final)]
        for state in states:
            state["0.weight"][3, 20] = 0.25
        for state, value in zip(states, (-1.5, 0.25, 2.0), strict=True):
            state["0.weight"][4, 21] = value
        still, half = [("0.weight", (3, 20)), ("0.weight", (4, 21))]
        scan = nv.measure_parameters(evaluator, nv.Run.from_states(states), choose=[still, half])
        assert scan.pattern == ["not-moved", "coincident"]
        assert np.ptp(scan.linear[0]) == np.ptp(scan.quadratic[0]) == 0.0
        assert np.isnan([scan.rho[0], scan.p_value[0], scan.u_star[0]]).all()
        assert scan.rho[1] == 0.5
        assert np.ptp(scan.linear[1]) > 1e-3
        assert scan.quadratic[1] == pytest.approx(scan.linear[1], abs=1e-6)

    def test_without_a_checkpoint_between_there_is_no_quadratic_path(self, trained):
        model, run, data = trained
        evaluator = nv.Evaluator(model, data, device="cpu")
        scan = nv.measure_parameters(evaluator, nv.Run.from_states([run.initial, run.final]), count=2)
        assert np.isnan(scan.quadratic).all()
        assert np.isfinite(scan.linear).all()
        assert scan.pattern == ["complex", "complex"]
        again = nv.measure_parameters(evaluator, run, choose=scan.index, start=3, mid=4, end=7)
        assert again.provenance["selection"]["checkpoints"] == [3, 4, 7]
        assert again.mid[0] == float(run[4].state[scan.index[0][0]][scan.index[0][1]])
        assert again.linear[0, 30] == pytest.approx(evaluator.measure(run[7].state).loss, rel=1e-6)


class TestChoice:
    def test_by_distance(self, trained, scanned):
        _, run, _ = trained
        _, scan = scanned
        everything = torch.cat([(run.final[name] - run.initial[name]).abs().flatten() for name in run.final])
        assert scan.distance == pytest.approx(everything.topk(40).values.numpy(), rel=1e-6)
        assert scan.scanned == len(everything) == 64 * 24 + 24 + 240 + 10
        layer = torch.cat([(run.final[name] - run.initial[name]).flatten() for name in ("2.weight", "2.bias")])
        first = next(k for k, (tensor, _) in enumerate(scan.index) if tensor.startswith("2."))
        assert scan.relative_distance[first] == pytest.approx(scan.distance[first] / float(layer.square().mean().sqrt()), rel=1e-6)

    def test_by_effect_on_one_half_and_estimated_on_the_other(self, trained, scanned):
        model, run, (_, y) = trained
        evaluator, _ = scanned
        scan = nv.measure_parameters(evaluator, run, "0", count=5, choose="effect", alphas=np.linspace(-0.5, 1.5, 41))
        chosen = scan.provenance["selection"]["samples"]
        assert 0 < chosen < scan.n
        seen = evaluator._samples  # the evaluator's own order of the samples
        batches = [seen.there(number) for number in range(len(y) // 100 + (len(y) % 100 > 0))]
        inputs, labels = (torch.cat([batch[part] for batch in batches]) for part in (0, 1))

        def gradient(part):
            wide = copy.deepcopy(model).double()
            wide.load_state_dict(run.final)
            nn.functional.cross_entropy(wide.double()(inputs[part].double()), labels[part]).backward()
            way = {name: (run.final[name] - run.initial[name]).double() for name in run.final}
            return {name: p.grad * way[name] for name, p in wide.named_parameters()}

        first, rest = gradient(slice(0, chosen)), gradient(slice(chosen, None))
        sizes = torch.cat([first["0.weight"].abs().flatten(), first["0.bias"].abs()])
        picked = [abs(float(first[tensor][position])) for tensor, position in scan.index]
        assert picked == pytest.approx(sizes.topk(5).values.tolist(), rel=1e-4)
        assert scan.effect == pytest.approx([float(rest[tensor][position]) for tensor, position in scan.index], rel=1e-3, abs=1e-8)
        # the slope of the linear curve at its end, on all samples
        slope = (scan.linear[:, 31] - scan.linear[:, 29]) / 0.1
        whole = [
            (picked_by * chosen + held * (scan.n - chosen)) / scan.n
            for picked_by, held in zip([float(first[t][p]) for t, p in scan.index], scan.effect, strict=True)
        ]
        assert slope == pytest.approx(whole, rel=0.2, abs=1e-4)

    def test_where_all_samples_choose_none_are_left_to_say_how_large_the_effect_is(self, trained):
        model, run, data = trained
        one_batch = nv.Evaluator(model, data, device="cpu", batch_size=len(data[1]))
        scan = nv.measure_parameters(one_batch, run, "2.bias", count=2, choose="effect", alphas=np.linspace(0, 1, 5))
        assert np.isnan(scan.effect).all()
        assert np.isnan(scan.q_value).all()
        assert f"batch_size={len(data[1]) // 2}" in scan.provenance["selection"]["no_effect"]

    def test_at_random_and_from_a_list(self, trained, scanned):
        _, run, _ = trained
        evaluator, _ = scanned
        few = {"alphas": np.linspace(0, 1, 5), "samples": 50}
        one, same, other = (
            nv.measure_parameters(
                evaluator, run, ["0.bias", ("2.weight", (1, 2))], count=4, choose="random", seed=seed, **few
            ).index
            for seed in (0, 0, 1)
        )
        assert one == same != other
        assert len(set(one)) == 4
        assert {tensor for tensor, _ in one} <= {"0.bias", "2.weight"}
        listed = nv.measure_parameters(evaluator, run, "2.weight", choose=[(3, 4), ("2.weight", [0, 1])], **few)
        assert listed.index == [("2.weight", (3, 4)), ("2.weight", (0, 1))]
        assert listed.choose == "list"
        assert listed.n == 100
        assert np.isfinite(listed.effect).all()

    @pytest.mark.parametrize("choose", ["distance", "random", [("0.bias", (2,)), ("2.weight", (3, 4)), ("0.weight", (1, 30))]])
    def test_of_weights_chosen_otherwise_the_effect_is_that_on_all_samples(self, trained, scanned, choose):
        model, run, (x, y) = trained
        evaluator, _ = scanned
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        grads = [p.grad.clone() for p in model.parameters()]  # those of the last training step
        parts = list(nv.iter_parameters(evaluator, run, count=7, choose=choose, alphas=np.linspace(0, 1, 5)))
        wide = copy.deepcopy(model).double()
        wide.load_state_dict(run.final)
        nn.functional.cross_entropy(wide(x.double()), y).backward()
        slopes = {name: p.grad * (run.final[name] - run.initial[name]).double() for name, p in wide.named_parameters()}
        expected = [float(slopes[tensor][position]) for tensor, position in parts[-1].index]
        assert parts[-1].effect == pytest.approx(expected, rel=1e-3, abs=1e-8)
        assert np.abs(parts[-1].effect).max() > 1e-5
        assert all(part.effect.shape == (len(part),) for part in parts)
        measured = [part for part in parts if np.isfinite(part.linear).any()]
        assert measured
        assert all(np.array_equal(part.effect, parts[-1].effect) for part in measured)
        with torch.inference_mode():
            again = nv.measure_parameters(evaluator, run, count=7, choose=choose, alphas=np.linspace(0, 1, 5))
        assert np.array_equal(again.effect, parts[-1].effect)
        assert "no_effect" not in parts[-1].provenance["selection"]
        assert [p.requires_grad for p in model.parameters()] == [True] * 4
        assert all(torch.equal(p.grad, grad) for p, grad in zip(model.parameters(), grads, strict=True))
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())

    @pytest.mark.parametrize("way", ["detached", "numpy", "out of memory"])
    def test_without_a_derivative_there_is_no_effect_and_all_else(self, trained, scanned, way):
        model, run, data = trained
        expected = nv.measure_parameters(scanned[0], run, count=3, alphas=np.linspace(0, 1, 5))

        def forward(module, inputs):
            if way == "detached":
                return module(inputs).detach()
            if way == "numpy":
                return torch.from_numpy(module(inputs).numpy())
            if torch.is_grad_enabled():
                raise torch.OutOfMemoryError("no room")
            return module(inputs)

        evaluator = nv.Evaluator(
            model, data, device="cpu", batch_size=100, forward=lambda module, batch: (forward(module, batch[0]), batch[1])
        )
        scan = nv.measure_parameters(evaluator, run, count=3, alphas=np.linspace(0, 1, 5))
        assert np.isnan(scan.effect).all()
        assert scan.provenance["selection"]["no_effect"]
        np.testing.assert_allclose(scan.linear, expected.linear, rtol=1e-5)

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"choose": "largest"}, "choose: 'distance', 'effect', 'random' or a list such as .* received 'largest'"),
            ({"choose": []}, "choose: at least one weight"),
            ({"choose": [(0, 1)]}, r"choose: an index such as \(0, 1\) needs its tensor, since 'model' has 4"),
            ({"choose": [("2.weight", (0, 1))], "scope": "0"}, r"2.weight\[0, 1\] is not among the weights of the scope '0'"),
            ({"choose": [("0.bias", (1,)), ("0.bias", 1)]}, r"0.bias\[1\] is named twice"),
            ({"choose": [("0.bias", (24,))]}, "its indices run from"),
            ({"count": 0}, "count: a whole number of at least 1, received 0"),
            ({"scope": "fc1"}, "fc1"),
            ({"mid": 10}, "mid: a checkpoint between 0 and 10, received 10"),
            ({"start": 4, "end": 2}, "start, end: two checkpoints in the order of training"),
            ({"mid": "x"}, "mid: a checkpoint from 0 to 10, or from the end -1 to -11; received 'x'"),
            ({"choose": "random", "seed": -1}, "seed: a whole number of at least 0, received -1"),
            ({"seed": "a"}, "seed: a whole number of at least 0, received 'a'"),
            ({"end": 11}, "end: a checkpoint from 0 to 10"),
            ({"alphas": [0.0, 0.5, 1.0]}, "alphas: at least 5 points with 0 and 1 among them"),
            ({"alphas": np.linspace(0.1, 1, 9)}, "alphas: at least 5 points with 0 and 1"),
            ({"rules": {"w": 1}}, "rules: conventions are noise"),
        ],
    )
    def test_what_cannot_be_measured_is_refused_at_once(self, trained, scanned, wrong, says):
        _, run, _ = trained
        with pytest.raises(ValueError, match=says):
            nv.iter_parameters(scanned[0], run, **wrong)


class TestSamples:
    def test_partial_results_grow_and_any_of_them_can_be_the_last(self, trained, monkeypatch):
        model, run, data = trained
        monkeypatch.setattr(parameters, "SAMPLE_BYTES", 4 * 597 * 3 * 81)  # three weights a group
        monkeypatch.setattr(module, "HEARTBEAT", -1.0)
        evaluator = nv.Evaluator(model, data, device="cpu", batch_size=100)
        whole = nv.measure_parameters(evaluator, run, count=7)
        results = list(nv.iter_parameters(evaluator, run, count=7))
        fractions = [result.fraction for result in results]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0
        assert sum(fraction == 1.0 for fraction in fractions) == 1
        half = next(result for result in results if result.fraction > 0.5)
        assert half.pattern[:3] == whole.pattern[:3]
        assert half.pattern[6:] == [""]
        assert np.isnan(half.linear[6:]).all()
        assert np.isfinite(half.confidence[:3]).all()
        assert results[-1].pattern == whole.pattern
        assert np.array_equal(results[-1].linear, whole.linear)
        generator = nv.iter_parameters(evaluator, run, count=7)
        next(generator)
        generator.close()

    def test_groups_of_weights_change_no_number(self, trained, scanned, monkeypatch):
        _, run, _ = trained
        evaluator, scan = scanned
        monkeypatch.setattr(parameters, "SAMPLE_BYTES", 1)  # a single weight's losses at once
        one = nv.measure_parameters(evaluator, run, choose=scan.index[:5])
        assert np.array_equal(one.linear, scan.linear[:5])
        assert np.array_equal(one.quadratic, scan.quadratic[:5])
        assert np.array_equal(one.votes, scan.votes[:5])
        assert np.array_equal(one.p_value, scan.p_value[:5])

    def test_resampled_curves_are_those_of_the_samples(self, trained, scanned):
        _, run, _ = trained
        evaluator, scan = scanned
        path = nv.measure_path(evaluator, nv.LinearPath(run.initial, run.final), scan.alphas, scope=scan.index[7])
        from nnvis_widgets.core.resampling import bootstrap_weights, simultaneous

        differences = path.sample_losses - path.sample_losses[30]
        assert scan.resampled[7][:, :41] == pytest.approx(bootstrap_weights(scan.n, 300) @ differences.T, abs=1e-7)
        band = simultaneous(differences[10:31])
        assert scan.half_width[7] >= 0.8 * band.critical * band.se.max()
        inside = scan.u_star_low[7] <= scan.u_star[7] <= scan.u_star_high[7]
        assert inside or scan.u_star_edge[7]

    def test_class_weights_count(self, trained):
        model, run, data = trained
        loss = nn.CrossEntropyLoss(weight=torch.tensor([0.0, 5.0] + [1.0] * 8))
        weighed = nv.measure_parameters(nv.Evaluator(model, data, loss=loss, device="cpu"), run, count=3)
        kept = data[1] != 0
        twice = torch.cat([torch.arange(len(data[1]))[kept]] + [torch.arange(len(data[1]))[data[1] == 1]] * 4)
        copied = nv.Evaluator(model, (data[0][twice], data[1][twice]), device="cpu")
        copies = nv.measure_parameters(copied, run, choose=weighed.index)
        assert weighed.linear == pytest.approx(copies.linear, rel=1e-5)
        assert np.isfinite(weighed.confidence).all()
        spread = (weighed.resampled[0, :, :41].std(0) / np.maximum(weighed.linear_diff_se[0], 1e-12))[[0, 5, 20]]
        assert spread == pytest.approx(np.ones(3), rel=0.3)

    def test_losses_that_are_means_have_curves_and_no_confidence(self, trained):
        model, run, data = trained
        evaluator = nv.Evaluator(model, data, loss=lambda output, target: nn.functional.cross_entropy(output, target), device="cpu")
        scan = nv.measure_parameters(evaluator, run, count=2)
        assert np.isfinite(scan.quadratic).all()
        assert all(scan.pattern)
        assert np.isnan(scan.confidence).all() == ("each batch" in str(scan.provenance["loss_is"]))

    def test_p_values_are_honest_where_nothing_happens_and_small_where_something_does(self, record_property):
        rng = np.random.default_rng(0)
        n, shapes = 300, np.stack([ALPHAS - 1, (ALPHAS - 1) ** 2, (ALPHAS - 1) ** 3])
        resamples = Resamples(n, 0)

        def found(size):
            drawn = [((rng.exponential(1, (n, 3)) - 1 + size) @ shapes).T.astype("f4") for _ in range(300)]
            return evidence(drawn, resamples).p_value

        null, real = found(0.0), found(0.4)
        record_property("share of p < 0.05 and p < 0.005 without an effect", (np.mean(null < 0.05), np.mean(null < 0.005)))
        print(f"p < 0.05: {np.mean(null < 0.05):.3f}, p < 0.005: {np.mean(null < 0.005):.4f}; with an effect {np.median(real):.2g}")
        assert np.mean(null < 0.05) < 0.08
        assert np.mean(null < 0.005) < 0.02
        assert np.median(real) < 1e-4


class TestDefectsOfOthers:
    def test_indices_whose_digits_are_the_same_are_different_weights(self):
        model = factories.made(
            lambda: nn.Sequential(nn.Conv2d(12, 12, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(12 * 9, 3))
        )
        states = factories.states(model, 3)
        x, y = torch.randn(20, 12, 3, 3, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 3
        evaluator = nv.Evaluator(model, (x, y), device="cpu")
        pair = [("0.weight", (1, 10, 2, 0)), ("0.weight", (11, 0, 2, 0))]
        scan = nv.measure_parameters(evaluator, nv.Run.from_states(states), choose=pair)
        assert len(set(scan.names)) == 2
        assert not np.allclose(scan.linear[0], scan.linear[1])
        alone = [nv.measure_parameters(evaluator, nv.Run.from_states(states), choose=[one]).linear[0] for one in reversed(pair)]
        assert np.array_equal(alone[::-1], scan.linear)  # nothing of one is left in the other, in any order

    def test_a_weight_that_moved_evenly_moves_on_the_quadratic_path_too(self, trained, scanned):
        _, run, _ = trained
        evaluator, _ = scanned
        states = [{name: t.clone() for name, t in run.final.items()} for _ in range(3)]
        for state, value in zip(states, (-2.0, 0.5, 3.0), strict=True):  # no second-order term: a parabola that is a line
            state["2.weight"][1, 4] = value
        scan = nv.measure_parameters(evaluator, nv.Run.from_states(states), choose=[("2.weight", (1, 4))])
        assert np.ptp(scan.quadratic[0]) > 1e-3
        assert scan.quadratic[0] == pytest.approx(scan.linear[0], rel=1e-6)

    def test_running_statistics_follow_the_policy(self):
        model = factories.made(factories.ConvNet)
        states = factories.states(model, 3)
        evaluator = nv.Evaluator(model, factories.images(), device="cpu", batch_size=16, batchnorm="recalibrate")
        scan = nv.measure_parameters(
            evaluator, nv.Run.from_states(states), "conv1.weight", count=2, alphas=np.linspace(-0.5, 1.5, 5)
        )
        path = nv.LinearPath(states[0], states[2])
        for k, index in enumerate(scan.index):
            alone = nv.measure_path(evaluator, path, scan.alphas, scope=index)
            assert scan.linear[k] == pytest.approx(alone.loss, rel=1e-5)
