import collections

import factories
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nnvis_widgets as nv
from nnvis_widgets.core import evaluator as module
from nnvis_widgets.core.scope import ScopeError
from nnvis_widgets.core.states import StateError

pytestmark = pytest.mark.usefixtures("unhurried")
FIELDS = ("loss", "loss_se", "diff_se")


def linear_net(depth):
    """A linear network in float64 with mean squared error, and three states of it."""
    model = factories.made(lambda: factories.Deep(depth)).double()
    evaluator = nv.Evaluator(model, factories.vectors(), loss=F.mse_loss, device="cpu", batch_size=8)
    return evaluator, factories.states(model, 3)


def residual(x, y, degree):
    """Largest distance of the points from the polynomial of this degree that fits them best, over the largest value."""
    fitted = np.polynomial.Polynomial.fit(x, y, degree)
    return np.abs(fitted(x) - y).max() / np.abs(y).max()


def progress(state, other, alpha):
    return {name: state[name] + alpha * (other[name] - state[name]) for name in state}


class TestClosedForms:
    @pytest.mark.parametrize("depth", [1, 2, 3])
    def test_a_linear_path_through_a_linear_net_is_a_polynomial_of_twice_its_depth(self, depth):
        evaluator, states = linear_net(depth)
        got = nv.measure_path(evaluator, nv.LinearPath(states[0], states[2]), np.linspace(-1, 2, 31))
        assert residual(got.alphas, got.loss, 2 * depth) < 1e-13
        assert residual(got.alphas, got.loss, 2 * depth - 1) > 1e-4

    def test_a_quadratic_path_through_a_linear_model_is_of_degree_four(self):
        evaluator, states = linear_net(1)
        got = nv.measure_path(evaluator, nv.QuadraticPath(*states), np.linspace(-1, 2, 31))
        assert residual(got.alphas, got.loss, 4) < 1e-13
        assert residual(got.alphas, got.loss, 3) > 1e-3

    def test_a_path_through_four_checkpoints_is_of_degree_six(self):
        evaluator, states = linear_net(1)
        path = nv.LagrangePath([*states, factories.states(evaluator.model, 2, seed=5)[1]], [0.0, 0.3, 0.6, 1.0])
        got = nv.measure_path(evaluator, path, np.linspace(-0.2, 1.2, 31))
        assert got.kind == "lagrange"
        assert residual(got.alphas, got.loss, 6) < 1e-13
        assert residual(got.alphas, got.loss, 5) > 1e-6

    def test_for_one_weight_the_quadratic_is_the_line_read_at_another_speed(self):
        evaluator, states = linear_net(3)
        scope, alphas = ("layers.1.weight", (2, 1)), np.linspace(-0.5, 1.5, 23)
        quadratic = nv.measure_path(evaluator, nv.QuadraticPath(*states), alphas, scope=scope)
        rho = quadratic.rho
        start, mid, end = (float(state["layers.1.weight"][2, 1]) for state in states)
        assert rho == pytest.approx((mid - start) / (end - start), rel=1e-10)
        assert quadratic.eta == pytest.approx(0, abs=1e-12)
        speed = alphas + 4 * alphas * (1 - alphas) * (rho - 0.5)
        line = nv.measure_path(evaluator, nv.LinearPath(states[0], states[2]), speed, scope=scope)
        assert quadratic.loss == pytest.approx(line.loss, rel=1e-13)
        assert np.ptp(quadratic.loss) > 1e-3

    def test_a_mid_halfway_makes_the_quadratic_the_line(self):
        evaluator, (start, _, end) = linear_net(2)
        mid = progress(start, end, 0.5)
        quadratic, line = (
            nv.measure_path(evaluator, path, np.linspace(-0.5, 1.5, 9))
            for path in (nv.QuadraticPath(start, mid, end), nv.LinearPath(start, end))
        )
        assert (quadratic.rho, quadratic.eta) == (pytest.approx(0.5), pytest.approx(0, abs=1e-14))
        assert quadratic.loss == pytest.approx(line.loss, rel=1e-13)

    @pytest.mark.parametrize("kind", ["linear", "quadratic"])
    def test_reversed_ends_reverse_the_curve(self, kind):
        evaluator, (start, mid, end) = linear_net(2)
        there, back = {
            "linear": (nv.LinearPath(start, end), nv.LinearPath(end, start)),
            "quadratic": (nv.QuadraticPath(start, mid, end, mid_at=0.3), nv.QuadraticPath(end, mid, start, mid_at=0.7)),
        }[kind]
        alphas = np.linspace(-0.5, 1.5, 21)
        one, two = nv.measure_path(evaluator, there, alphas), nv.measure_path(evaluator, back, alphas)
        assert one.loss == pytest.approx(two.loss[::-1], rel=1e-12)
        assert one.distance == two.distance

    def test_all_layers_together_are_the_model(self, walk, evaluator):
        path = nv.QuadraticPath(walk[0], walk[2], walk[4])
        whole = nv.measure_path(evaluator, path)
        union = nv.measure_path(evaluator, path, scope=list(evaluator.layout.layers))
        for name in FIELDS:
            assert np.array_equal(getattr(whole, name), getattr(union, name))
        assert union.distance == pytest.approx(whole.distance, rel=1e-14)
        assert union.scope == "conv1 + bn1 + conv2 + fc1 + fc2"

    def test_outside_the_scope_nothing_matters_but_the_background(self, walk, evaluator):
        path = nv.LinearPath(walk[0], walk[4])
        mixed = nv.LinearPath({**walk[1], **{n: walk[0][n] for n in ("fc1.weight", "fc1.bias")}}, walk[4])
        one, two = (nv.measure_path(evaluator, p, scope="fc1") for p in (path, mixed))
        assert np.array_equal(one.loss, two.loss)
        other = nv.measure_path(evaluator, path, scope="fc1", background=walk[0])
        assert other.loss[0] == pytest.approx(evaluator.measure(walk[0]).loss, rel=1e-6)
        assert not np.array_equal(one.loss, other.loss)


class TestKnots:
    def test_the_weights_that_are_measured_are_the_stored_ones_bit_for_bit(self, model, walk, data):
        seen = {}

        def forward(net, batch):
            seen[len(seen)] = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
            return net(batch[0]), batch[1]

        evaluator = nv.Evaluator(model, data, device="cpu", batch_size=57, forward=forward, batchnorm="final", engine="plain")
        seen.clear()
        nv.measure_path(evaluator, nv.QuadraticPath(walk[0], walk[2], walk[4], mid_at=0.3), [1.0, 0.0, 0.1 + 0.2])
        names = [name for name, _ in model.named_parameters()]
        # the end, which all differences are taken to, comes first; then from coarse to fine
        for k, state in enumerate((walk[4], walk[2], walk[0])):
            assert all(torch.equal(seen[k][name], state[name]) for name in names)

    def test_the_ends_of_a_single_weight_too(self, model, walk, data):
        seen = []

        def forward(net, batch):
            seen.append(net.fc1.weight.detach().clone())
            return net(batch[0]), batch[1]

        evaluator = nv.Evaluator(model, data, device="cpu", batch_size=57, forward=forward, engine="plain")
        seen.clear()
        nv.measure_path(evaluator, nv.LinearPath(walk[0], walk[4]), [0.0, 1.0], scope=("fc1.weight", (3, 20)))
        assert torch.equal(seen[0], walk[4]["fc1.weight"])
        assert torch.nonzero(seen[1] != walk[4]["fc1.weight"]).tolist() == [[3, 20]]
        assert seen[1][3, 20] == walk[0]["fc1.weight"][3, 20]


class TestNumbers:
    ALPHAS = (-0.3, 0.0, 0.5, 0.8, 1.0)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("kind", ["linear", "quadratic"])
    @pytest.mark.parametrize("scope", [None, "fc1", "conv2.weight", ("fc1.weight", (3, 20)), ["conv1", ("fc2.bias", 1)]])
    def test_loss_accuracy_and_both_errors_against_a_plain_loop(self, dtype, kind, scope):
        model = factories.made(lambda: factories.ConvNet(norm=False)).to(dtype)
        data = factories.images(41, dtype=dtype)
        states = factories.states(model, 3)
        path = nv.LinearPath(states[0], states[2]) if kind == "linear" else nv.QuadraticPath(*states)
        evaluator = nv.Evaluator(model, data, device="cpu", batch_size=16)
        got = nv.measure_path(evaluator, path, self.ALPHAS, scope=scope)
        losses, rights = [], []
        for alpha in self.ALPHAS:
            moved, state = path.state_at(alpha), {name: tensor.clone() for name, tensor in states[2].items()}
            for part in scope if isinstance(scope, list) else [scope]:
                for name in state:
                    if isinstance(part, tuple) and name == part[0]:
                        state[name][part[1]] = moved[name][part[1]]
                    elif part is None or (isinstance(part, str) and (name == part or name.rpartition(".")[0] == part)):
                        state[name] = moved[name]
            losses.append(factories.naive(model, state, data))
            with torch.no_grad():
                output = factories.loaded(model, state, torch.float64)(data[0].double())
            rights.append((output.argmax(1) == data[1]).double().numpy())
        losses, rights = np.array(losses), np.array(rights)
        tight = 1e-12 if dtype == torch.float64 else 1e-6
        assert got.loss == pytest.approx(losses.mean(1), rel=tight)
        assert got.loss_se == pytest.approx(losses.std(1, ddof=1) / 41**0.5, rel=10 * tight)
        scale = (losses - losses[4]).std(1, ddof=1) / 41**0.5
        assert got.diff_se == pytest.approx(scale, rel=1e-9 if dtype == torch.float64 else 1e-3, abs=10 * tight)
        assert got.diff_se[4] == 0.0
        assert got.metrics["accuracy"] == pytest.approx(rights.mean(1), abs=1e-15)
        assert got.metrics_se["accuracy"] == pytest.approx(rights.std(1, ddof=1) / 41**0.5, abs=1e-12)
        paired = (rights - rights[4]).std(1, ddof=1) / 41**0.5
        assert got.metrics_diff_se["accuracy"] == pytest.approx(paired, abs=1e-12)

    def test_paired_errors_are_to_the_end_even_where_the_end_is_no_point_of_the_grid(self, walk, evaluator):
        path = nv.LinearPath(walk[0], walk[4])
        without, within = nv.measure_path(evaluator, path, [0.2, 0.9]), nv.measure_path(evaluator, path, [0.2, 0.9, 1.0])
        assert without.loss.shape == (2,)
        assert np.array_equal(without.diff_se, within.diff_se[:2])
        assert np.array_equal(without.loss, within.loss[:2])

    def test_alphas_in_any_order_and_more_than_once(self, walk, evaluator):
        path = nv.LinearPath(walk[0], walk[4])
        got = nv.measure_path(evaluator, path, [1.0, 0.25, 0.25, 0.0])
        expected = nv.measure_path(evaluator, path, [0.0, 0.25, 1.0])
        assert np.array_equal(got.loss, expected.loss[[2, 1, 1, 0]])

    @pytest.mark.parametrize(("scope", "ends"), [(None, (0, 1)), ("fc1", (0, 1)), (("fc1.bias", 2), (-0.5, 1.5))])
    def test_without_alphas_41_points_and_a_margin_for_a_single_weight(self, walk, evaluator, scope, ends):
        got = nv.measure_path(evaluator, nv.LinearPath(walk[0], walk[4]), scope=scope)
        assert np.array_equal(got.alphas, np.linspace(*ends, 41))
        assert {0.0, 1.0} <= set(got.alphas)

    def test_distances_are_those_of_the_scope(self, walk, evaluator):
        got = nv.measure_path(evaluator, nv.QuadraticPath(walk[0], walk[2], walk[4]), [1.0], scope="fc2.bias")
        start, mid, end = (walk[k]["fc2.bias"].double() for k in (0, 2, 4))
        delta = end - start
        rho = float((mid - start) @ delta / delta.square().sum())
        assert got.distance == pytest.approx(float(delta.norm()), rel=1e-12)
        assert got.relative_distance == pytest.approx(float(delta.norm() / start.norm()), rel=1e-12)
        assert got.rho == pytest.approx(rho, rel=1e-10)
        assert got.eta == pytest.approx(float((mid - start - rho * delta).norm() / delta.norm()), rel=1e-10)
        assert got.positions.tolist() == [0.0, 0.5, 1.0]

    def test_a_scope_that_did_not_move_says_so_and_its_curve_is_flat(self, walk, evaluator):
        for state in walk:
            state["fc1.weight"], state["fc1.bias"] = walk[4]["fc1.weight"].clone(), walk[4]["fc1.bias"].clone()
        got = nv.measure_path(evaluator, nv.QuadraticPath(walk[0], walk[2], walk[4]), scope="fc1")
        assert got.distance == 0.0
        assert np.isnan(got.rho)
        assert len(set(got.loss.tolist())) == 1
        assert got.diff_se.tolist() == [0.0] * 41

    def test_what_diverges_on_the_way_stays_so(self):
        model = factories.made(lambda: nn.Linear(5, 3))
        states = factories.states(model, 2)
        states[0]["weight"] = torch.full((3, 5), -1e30)
        states[1]["weight"] = torch.full((3, 5), 1e30)
        x, y = factories.vectors(dtype=torch.float32)
        got = nv.measure_path(nv.Evaluator(model, (x, y), loss=F.mse_loss, device="cpu"), nv.LinearPath(*states), [0.0, 0.5, 1.0])
        assert got.loss[[0, 2]].tolist() == [np.inf, np.inf]
        assert np.isfinite(got.loss[1])


class TestPartialResults:
    @pytest.fixture
    def path(self, walk):
        return nv.QuadraticPath(walk[0], walk[2], walk[4])

    @pytest.fixture
    def headless(self, data):
        """An evaluator whose BatchNorm policy looks at no samples, and a path of its model."""
        model = factories.made(lambda: factories.ConvNet(norm=False))
        states = factories.states(model, 3)
        return lambda **options: nv.Evaluator(model, data, device="cpu", batch_size=16, **options), nv.QuadraticPath(*states)

    def test_the_last_one_is_the_answer(self, evaluator, path):
        *_, last = nv.iter_path(evaluator, path)
        answer = nv.measure_path(evaluator, path)
        for name in FIELDS:
            assert np.array_equal(getattr(last, name), getattr(answer, name))
        assert last.provenance == answer.provenance
        assert (last.fraction, last.n) == (1.0, 57)

    def test_cover_more_samples_each_time(self, evaluator, path):
        results = list(nv.iter_path(evaluator, path))
        sizes = [result.n for result in results if not np.isnan(result.loss).any()]
        assert sorted(set(sizes)) == [16, 32, 48, 57]
        assert sizes == sorted(sizes)
        fractions = [result.fraction for result in results]
        assert fractions == sorted(fractions)

    def test_each_is_the_whole_answer_for_fewer_samples(self, headless):
        make, path = headless
        seen = set()
        for result in nv.iter_path(make(), path, np.linspace(0, 1, 7)):
            fewer = nv.measure_path(make(samples=result.n), path, np.linspace(0, 1, 7))
            for name in FIELDS:
                assert np.array_equal(getattr(result, name), getattr(fewer, name))
            assert result.provenance["data"] == fewer.provenance["data"]
            seen.add(result.n)
        assert seen == {16, 32, 48, 57}

    def test_a_yielded_result_does_not_change_afterwards(self, evaluator, path):
        kept = [
            (result, result.loss.copy(), result.diff_se.copy(), result.n, dict(result.provenance))
            for result in nv.iter_path(evaluator, path)
        ]
        for result, loss, diff_se, n, provenance in kept:
            assert np.array_equal(result.loss, loss, equal_nan=True)
            assert np.array_equal(result.diff_se, diff_se, equal_nan=True)
            assert (result.n, result.provenance) == (n, provenance)

    def test_within_the_first_batch_points_to_come_are_nan_and_the_rest_is_right(self, headless, monkeypatch):
        make, path = headless
        alphas = np.linspace(0, 1, 9)
        first = nv.measure_path(make(samples=16), path, alphas)
        monkeypatch.setattr(module, "HEARTBEAT", -1.0)
        results = list(nv.iter_path(make(), path, alphas))
        early = [result for result in results if np.isnan(result.loss).any()]
        assert [int(np.isfinite(result.loss).sum()) for result in early] == list(range(1, 9))
        for result in early:
            done = np.isfinite(result.loss)
            assert result.n == 16
            for name in FIELDS:
                assert np.array_equal(getattr(result, name)[done], getattr(first, name)[done])
        # later, only complete batches count
        assert {result.n for result in results if not np.isnan(result.loss).any()} == {16, 32, 48, 57}

    def test_stopping_early_is_harmless(self, evaluator, path):
        expected = nv.measure_path(evaluator, path).loss
        for count in range(1, 4):
            generator = nv.iter_path(evaluator, path)
            partial = [next(generator) for _ in range(count)][-1]
            generator.close()
            assert partial.n == 16 * count
            assert np.isfinite(partial.loss).all()
            assert np.array_equal(nv.measure_path(evaluator, path).loss, expected)

    def test_several_scopes_grow_into_a_table(self, evaluator, path):
        scopes = ["fc1", None, ("fc2.bias", 1)]
        sizes = []
        for results in nv.iter_paths(evaluator, path, scopes, [0.0, 0.5, 1.0]):
            sizes.append(len(results))
        assert list(results) == ["fc1", "model", "fc2.bias[1]"]
        assert sizes == sorted(sizes)
        for scope, result in zip(scopes, results.values(), strict=True):
            alone = nv.measure_path(evaluator, path, [0.0, 0.5, 1.0], scope=scope, compared=scopes)
            assert np.array_equal(result.loss, alone.loss)


class TestTraining:
    def test_is_what_measure_gives_at_each_checkpoint(self, walk, evaluator):
        run = nv.Run.from_states(walk, epochs=[0, 1, 2, 4, 8])
        curve = nv.measure_training(evaluator, run)
        assert curve.loss.tolist() == [evaluator.measure(state).loss for state in walk]
        assert curve.alphas.tolist() == [0, 1 / 8, 2 / 8, 4 / 8, 1]
        assert curve.epochs.tolist() == [0, 1, 2, 4, 8]
        assert (curve.kind, curve.scope, curve.n) == ("training", "model", 57)
        assert curve.diff_se[-1] == 0.0

    def test_paired_errors_are_to_the_last_checkpoint(self, model, walk, data, evaluator, run):
        losses = np.array([factories.naive(model, state, data) for state in walk])
        expected = (losses - losses[-1]).std(1, ddof=1) / 57**0.5
        assert nv.measure_training(evaluator, run).diff_se == pytest.approx(expected, rel=1e-4, abs=1e-9)

    def test_checkpoints_to_come_are_nan_in_every_column(self, evaluator, run):
        results = list(nv.iter_training(evaluator, run))
        assert [int(np.isfinite(result.loss).sum()) for result in results] == [1, 2, 3, 4, 5]
        for result in results:
            ready = np.isfinite(result.loss)
            assert np.isfinite(result.loss[-1])  # the trained model first
            for values in (result.loss_se, result.diff_se, result.metrics["accuracy"], result.metrics_se["accuracy"]):
                assert np.array_equal(np.isfinite(values), ready)

    def test_a_slow_model_yields_before_its_data_have_all_been_read(self, evaluator, run, monkeypatch):
        expected = nv.measure_training(evaluator, run)
        fresh = nv.Evaluator(evaluator.model, factories.images(), device="cpu", batch_size=16)
        monkeypatch.setattr(module, "HEARTBEAT", -1.0)
        results = list(nv.iter_training(fresh, run))
        assert np.isnan(results[0].loss).all()
        assert np.array_equal(results[-1].loss, expected.loss)
        assert results[-1].provenance == expected.provenance

    def test_the_ends_of_a_path_without_norms_are_the_ends_of_the_training(self, data):
        model = factories.made(lambda: factories.ConvNet(norm=False))
        states = factories.states(model, 4)
        evaluator = nv.Evaluator(model, data, device="cpu")
        curve = nv.measure_training(evaluator, nv.Run.from_states(states))
        path = nv.measure_path(evaluator, nv.LinearPath(states[0], states[-1]), [0.0, 1.0])
        assert path.loss.tolist() == curve.loss[[0, -1]].tolist()
        assert path.distance == curve.distance

    def test_one_checkpoint_is_a_training_too(self, walk, evaluator):
        curve = nv.measure_training(evaluator, nv.Run.from_states(walk[:1]))
        assert curve.alphas.tolist() == [0.0]
        assert curve.distance == 0.0


class TestRefusedWhenItIsCalled:
    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"scope": "fcl"}, ScopeError, "did you mean"),
            ({"scope": ("fc1.weight", (6, 0))}, ScopeError, "indices run from"),
            ({"alphas": [0.0, np.nan]}, ValueError, "alphas: finite numbers only"),
            ({"alphas": []}, ValueError, "alphas: a non-empty vector"),
            ({"alphas": [[0.0, 1.0]]}, ValueError, r"received shape \(1, 2\)"),
            ({"background": {"w": torch.zeros(1)}}, StateError, "background does not fit the model"),
        ],
    )
    @pytest.mark.parametrize("call", [nv.iter_path, nv.measure_path])
    def test_what_cannot_be_measured(self, walk, evaluator, options, error, message, call):
        with pytest.raises(error, match=message):
            call(evaluator, nv.LinearPath(walk[0], walk[4]), **options)

    def test_states_of_another_model(self, evaluator):
        other = factories.states(factories.made(lambda: factories.Deep(2)), 2)
        with pytest.raises(StateError, match="state 1 does not fit the model"):
            nv.iter_path(evaluator, nv.LinearPath(*other))

    def test_nan_at_a_knot(self, walk, evaluator):
        walk[2]["fc1.weight"][0, 0] = np.nan
        with pytest.raises(StateError, match=r"state 2: 'fc1.weight' holds NaN or infinity"):
            nv.iter_path(evaluator, nv.QuadraticPath(walk[0], walk[2], walk[4]))

    def test_states_in_place_of_a_path(self, walk, evaluator):
        with pytest.raises(TypeError, match="path: a LinearPath, QuadraticPath or LagrangePath, received tuple"):
            nv.iter_path(evaluator, (walk[0], walk[4]))

    def test_every_scope_of_several_before_the_first_is_measured(self, walk, evaluator):
        path = nv.LinearPath(walk[0], walk[4])
        with pytest.raises(ScopeError, match="did you mean"):
            nv.iter_paths(evaluator, path, ["fc1", "fcl"])
        with pytest.raises(ValueError, match=r"scopes: at least one"):
            nv.iter_paths(evaluator, path, [])

    def test_a_run_of_another_model(self, evaluator):
        run = nv.Run.from_states(factories.states(factories.made(lambda: factories.Deep(2)), 2))
        with pytest.raises(StateError, match="checkpoint 1 of the run does not fit the model"):
            nv.iter_training(evaluator, run)


def test_arguments_in_the_wrong_order_or_of_another_kind(evaluator, walk):
    path = nv.LinearPath(walk[0], walk[4])
    with pytest.raises(TypeError, match=r"evaluator: the first argument is an nv\.Evaluator\(model, data\), received LinearPath"):
        nv.measure_path(path, evaluator)
    with pytest.raises(TypeError, match=r"path: a LinearPath, QuadraticPath or LagrangePath, received list"):
        nv.measure_path(evaluator, [walk[0], walk[4]])
    with pytest.raises(TypeError, match=r"run: a Run, such as .*nv\.Run\.from_states\(\[state, \.\.\.\]\); received a list"):
        nv.measure_training(evaluator, walk)
    with pytest.raises(TypeError, match="evaluator: the first argument"):
        nv.measure_training(nv.Run.from_states(walk), evaluator)


def test_the_provenance_of_a_training_curve_names_its_checkpoints(evaluator, run, walk, monkeypatch):
    reads = collections.Counter()
    state = type(run[0]).state.fget

    def counted(checkpoint):
        reads[checkpoint.index] += 1
        return state(checkpoint)

    monkeypatch.setattr(type(run[0]), "state", property(counted))
    results = list(nv.iter_training(evaluator, run))
    weights = results[-1].provenance["weights"]
    assert weights == [checkpoint.digest for checkpoint in run]
    assert nv.measure_path(evaluator, nv.LinearPath(walk[0], walk[4]), [0.0]).provenance["weights"] == [weights[0], weights[4]]
    # those at the ends are read for the distance too
    assert all(reads[index] <= (2 if index in (0, 4) else 1) for index in range(5))


def test_paths_that_are_compared_share_one_batchnorm_policy_and_end_in_one_point():
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 3))
    start = {name: value.clone() for name, value in net.state_dict().items()}
    end = {name: value + 0.1 if value.is_floating_point() else value for name, value in start.items()}
    measuring = nv.Evaluator(net, (torch.randn(60, 5), torch.randint(0, 3, (60,))))
    path = nv.LinearPath(start, end)
    for results in nv.iter_paths(measuring, path, [None, "0", "3"], [0.0, 1.0]):
        together = results
    assert {result.provenance["batchnorm"] for result in together.values()} == {"recalibrated on 60 samples of the measured data"}
    assert len({float(result.loss[-1]) for result in together.values()}) == 1
    alone = nv.measure_path(measuring, path, [0.0, 1.0], scope="3")
    assert alone.provenance["batchnorm"] == "final"
    assert nv.measure_path(measuring, path, [1.0], scope="3", compared=["0"]).loss[0] == together["0"].loss[-1]


class TestTogether:
    SCOPES = (None, "fc1", ("conv1.weight", (1, 0, 2, 0)), ("conv1.weight", (0, 0, 0, 1)), ("fc2.bias", 1), ("fc1.weight", (2, 5)))

    def test_two_paths_at_many_scopes_are_what_each_is_alone(self, evaluator, walk):
        paths = [nv.LinearPath(walk[0], walk[4]), nv.QuadraticPath(walk[0], walk[2], walk[4])]
        grid = [-0.4, 0.0, 0.3, 0.5, 1.0, 1.4]
        together = nv.measure_paths(evaluator, paths, self.SCOPES, grid)
        assert [kind for _, kind in together] == ["linear", "quadratic"] * len(self.SCOPES)
        for (_, kind), result, scope in zip(together, together.values(), np.repeat(np.arange(len(self.SCOPES)), 2), strict=True):
            path = paths[kind == "quadratic"]
            alone = nv.measure_path(evaluator, path, grid, scope=self.SCOPES[scope], compared=self.SCOPES)
            assert result.loss == pytest.approx(alone.loss, rel=1e-6, abs=1e-8)
            assert result.diff_se == pytest.approx(alone.diff_se, rel=1e-3, abs=1e-7)
            assert np.array_equal(result.metrics["accuracy"], alone.metrics["accuracy"])
            assert (result.kind, result.scope, result.n, result.rho) == (
                alone.kind,
                alone.scope,
                alone.n,
                pytest.approx(alone.rho, nan_ok=True),
            )

    def test_the_knots_of_both_are_measured_once(self, evaluator, walk, monkeypatch):
        paths = [nv.LinearPath(walk[0], walk[4]), nv.QuadraticPath(walk[0], walk[2], walk[4])]
        rows = []
        original = type(evaluator).sweep
        monkeypatch.setattr(type(evaluator), "sweep", lambda s, f, r, **kw: rows.append(r) or original(s, f, r, **kw))
        results = nv.measure_paths(evaluator, paths, ["fc1"], [0.0, 0.25, 1.0])
        assert len(rows[0]) == 4  # 0 and 1 are the same point on both
        assert results["fc1", "linear"].loss[[0, 2]].tolist() == results["fc1", "quadratic"].loss[[0, 2]].tolist()

    def test_single_weights_share_one_pass_over_the_samples(self, model, walk):
        evaluator = nv.Evaluator(model, factories.images(19), device="cpu", batch_size=8, batchnorm="final")
        convolutions = []
        scopes = [("conv1.weight", (i % 2, 0, 0, i // 2)) for i in range(4)]
        path = nv.LinearPath(walk[0], walk[4])
        nv.measure_paths(evaluator, path, scopes[:1], [0.0, 0.5])

        class Watch(torch.utils._python_dispatch.TorchDispatchMode):
            def __torch_dispatch__(self, func, types, args=(), kwargs=None):
                if func is torch.ops.aten.convolution.default:
                    convolutions.append(tuple(args[1].shape))
                return func(*args, **(kwargs or {}))

        with Watch():
            nv.measure_paths(evaluator, path, scopes, [0.0, 0.5])
        whole = [shape for shape in convolutions if shape == tuple(model.conv1.weight.shape)]
        assert len(whole) == 3  # once for each batch, not for each weight or point

    def test_what_is_no_path_is_refused(self, evaluator, walk):
        with pytest.raises(ValueError, match="different kinds"):
            nv.measure_paths(evaluator, [nv.LinearPath(walk[0], walk[4])] * 2, [None])
        with pytest.raises(ValueError, match="path"):
            nv.measure_paths(evaluator, [], [None])


class TestLossesOfSingleSamples:
    @pytest.fixture
    def parts(self):
        model = factories.made(factories.ConvNet)
        return model, factories.images(29), factories.states(model, 3)

    @pytest.mark.parametrize("scope", [None, "fc2", ("fc1.weight", (3, 20))])
    def test_they_are_those_of_a_naive_loop_in_the_order_of_the_evaluator(self, parts, scope):
        model, data, states = parts
        evaluator = nv.Evaluator(model, data, device="cpu", batch_size=9, batchnorm="final")
        path = nv.LinearPath(states[0], states[2])
        *parts, last = nv.iter_path(evaluator, path, [0.0, 0.3, 1.0], scope=scope)
        assert all(part.sample_losses is None for part in parts)
        assert (last.sample_losses.dtype, last.sample_losses.shape) == (np.float32, (3, 29))
        family = evaluator.family(scope, [states[0], states[2]], states[2])
        state = {**states[2], **family.moved(np.array([0.7, 0.3]))}
        order = evaluator._samples.order
        np.testing.assert_allclose(last.sample_losses[1], factories.naive(model, state, data)[order], rtol=2e-5, atol=1e-6)
        np.testing.assert_allclose(last.sample_losses.mean(1), last.loss, rtol=1e-6)
        rise = last.sample_losses[0] - last.sample_losses[2]
        np.testing.assert_allclose(last.diff_se[0], rise.std(ddof=1) / np.sqrt(29), rtol=1e-4)

    def test_all_curves_of_a_pass_have_their_own(self, parts):
        model, data, states = parts
        evaluator = nv.Evaluator(model, data, device="cpu", batch_size=9, batchnorm="final")
        both = nv.measure_paths(
            evaluator,
            [nv.LinearPath(states[0], states[2]), nv.QuadraticPath(*states)],
            ["fc2", ("fc2.bias", 1)],
            [0.0, 0.25, 0.5, 1.0],
        )
        for result in both.values():
            np.testing.assert_allclose(result.sample_losses.mean(1), result.loss, rtol=1e-6)

    def test_checkpoints_have_them_too_and_a_file_keeps_them(self, parts, tmp_path):
        model, data, states = parts
        evaluator = nv.Evaluator(model, data, device="cpu", batch_size=9)
        result = nv.measure_training(evaluator, nv.Run.from_states(states))
        np.testing.assert_allclose(result.sample_losses.mean(1), result.loss, rtol=1e-6)
        result.save(tmp_path / "training")
        assert np.array_equal(nv.load(tmp_path / "training").sample_losses, result.sample_losses)

    def test_they_are_not_kept_beyond_their_budget(self, parts, monkeypatch):
        model, data, states = parts
        evaluator = nv.Evaluator(model, data, device="cpu", batch_size=9)
        monkeypatch.setattr("nnvis_widgets.experiments.paths.SAMPLE_BYTES", 4 * 3 * 29 - 1)
        path = nv.LinearPath(states[0], states[2])
        assert nv.measure_path(evaluator, path, [0.0, 0.5, 1.0]).sample_losses is None
        assert nv.measure_path(evaluator, path, [0.0, 1.0]).sample_losses is not None

    def test_a_loss_that_is_a_mean_has_none(self, parts):
        model, data, states = parts
        evaluator = nv.Evaluator(model, data, device="cpu", batch_size=9, loss=lambda o, t: F.cross_entropy(o, t))
        assert nv.measure_path(evaluator, nv.LinearPath(states[0], states[2]), [0.0, 1.0]).sample_losses is None
