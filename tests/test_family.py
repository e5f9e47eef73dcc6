import factories
import numpy as np
import pytest
import torch

import nnvis_widgets as nv
from nnvis_widgets.core.family import WeightFamily, check_alphas, check_states, combine
from nnvis_widgets.core.scope import Scope
from nnvis_widgets.core.states import Layout, StateError


def made(values, dtype=torch.float64):
    return {"w": torch.tensor(values, dtype=dtype)}


class TestCoefficients:
    def test_linear(self):
        path = nv.LinearPath(made([0.0]), made([1.0]))
        assert np.array_equal(path.coefficients(0.25), [0.75, 0.25])
        assert np.array_equal(path.coefficients(1.5), [-0.5, 1.5])

    @pytest.mark.parametrize("alpha", [-0.5, 0.1, 0.75, 1.5])
    def test_quadratic_with_the_mid_at_a_half(self, alpha):
        row = nv.QuadraticPath(made([0.0]), made([1.0]), made([2.0])).coefficients(alpha)
        expected = [2 * (alpha - 0.5) * (alpha - 1), -4 * alpha * (alpha - 1), 2 * alpha * (alpha - 0.5)]
        assert row == pytest.approx(expected, abs=1e-15)

    @pytest.mark.parametrize("alpha", np.linspace(-0.4, 1.4, 13))
    def test_the_basis_sums_to_one_and_reproduces_its_positions(self, alpha):
        path = nv.LagrangePath([made([0.0])] * 4, [0.0, 0.2, 0.7, 1.0])
        row = path.coefficients(alpha)
        assert row.sum() == pytest.approx(1, abs=1e-13)
        assert row @ path.positions == pytest.approx(alpha, abs=1e-13)

    @pytest.mark.parametrize("nudge", [0.0, 9e-13, -9e-13])
    @pytest.mark.parametrize("kind", ["linear", "quadratic", "lagrange"])
    def test_within_a_trillionth_of_a_knot_it_is_the_knot(self, kind, nudge):
        ends = [made([0.0]), made([1.0])]
        path = {
            "linear": lambda: nv.LinearPath(*ends),
            "quadratic": lambda: nv.QuadraticPath(ends[0], made([3.0]), ends[1], mid_at=0.3),
            "lagrange": lambda: nv.LagrangePath([ends[0], made([2.0]), made([5.0]), ends[1]]),
        }[kind]()
        for k, knot in enumerate(path.positions):
            assert np.array_equal(path.coefficients(knot + nudge), np.eye(len(path.positions))[k])


class TestStateAt:
    def test_a_knot_is_the_stored_tensor_itself(self, walk):
        path = nv.QuadraticPath(walk[0], walk[2], walk[4])
        for alpha, stored in ((0.0, walk[0]), (0.5, walk[2]), (1.0, walk[4])):
            state = path.state_at(alpha)
            assert state.keys() == stored.keys()
            assert all(state[name] is stored[name] for name in stored)

    def test_four_knots_agree_with_the_polynomial_that_numpy_fits(self):
        rng = np.random.default_rng(0)
        values, knots = rng.normal(size=(4, 5, 7)), [0.0, 0.2, 0.7, 1.0]
        path = nv.LagrangePath([made(v) for v in values], knots)
        fitted = np.polynomial.polynomial.polyfit(knots, values.reshape(4, 35), 3)
        for alpha in (-0.3, 0.1, 0.5, 0.9, 1.2):
            expected = np.polynomial.polynomial.polyval(alpha, fitted).reshape(5, 7)
            assert path.state_at(alpha)["w"].numpy() == pytest.approx(expected, abs=1e-11)

    @pytest.mark.parametrize("alpha", [-0.5, 0.2, 0.5, 0.8, 1.5])
    def test_quadratic_minus_linear_is_the_excursion_of_the_mid(self, alpha):
        rng = torch.Generator().manual_seed(0)
        start, mid, end = (torch.randn(5, 7, generator=rng, dtype=torch.float64) for _ in range(3))
        quadratic = nv.QuadraticPath(*({"w": w} for w in (start, mid, end))).state_at(alpha)["w"]
        linear = nv.LinearPath({"w": start}, {"w": end}).state_at(alpha)["w"]
        excursion = mid - (start + end) / 2
        assert torch.allclose(quadratic - linear, 4 * alpha * (1 - alpha) * excursion, atol=1e-14)
        if alpha in (-0.5, 1.5):
            assert torch.allclose(quadratic - linear, -3 * excursion, atol=1e-13)

    @pytest.mark.parametrize("alpha", [-0.25, 0.3, 0.75])
    def test_timing_and_excursion_rebuild_the_quadratic(self, alpha):
        rng = torch.Generator().manual_seed(1)
        start, mid, end = (torch.randn(35, generator=rng, dtype=torch.float64) for _ in range(3))
        delta = end - start
        rho = float((mid - start) @ delta / (delta @ delta))
        across = mid - start - rho * delta
        u = alpha + 4 * alpha * (1 - alpha) * (rho - 0.5)
        state = nv.QuadraticPath({"w": start}, {"w": mid}, {"w": end}).state_at(alpha)["w"]
        assert torch.allclose(state, start + u * delta + 4 * alpha * (1 - alpha) * across, atol=1e-13)

    def test_between_knots_the_buffers_are_those_of_the_end(self, walk):
        state = nv.LinearPath(walk[0], walk[-1]).state_at(0.4)
        for name in ("bn1.running_mean", "bn1.running_var", "bn1.num_batches_tracked"):
            assert state[name] is walk[-1][name]
        assert torch.allclose(state["fc1.weight"], 0.6 * walk[0]["fc1.weight"] + 0.4 * walk[-1]["fc1.weight"], atol=1e-6)

    def test_a_tied_weight_stays_tied(self):
        first, last = factories.states(factories.made(factories.Tied), 2)
        state = nv.LinearPath(first, last).state_at(0.5)
        assert state["decoder.weight"] is state["embedding.weight"]

    def test_keeps_the_type_and_interpolates_half_precision_in_float32(self):
        start, end = made([1.0, 3.0], torch.bfloat16), made([2.0, -5.0], torch.bfloat16)
        state = nv.LinearPath(start, end).state_at(0.3)["w"]
        assert state.dtype == torch.bfloat16
        expected = (start["w"].double() * 0.7 + end["w"].double() * 0.3).to(torch.bfloat16)
        assert torch.equal(state, expected)

    def test_complex_weights(self):
        state = nv.LinearPath({"w": torch.tensor([0j])}, {"w": torch.tensor([4 - 8j])}).state_at(0.25)["w"]
        assert torch.equal(state, torch.tensor([1 - 2j]))

    def test_a_weight_that_did_not_move_gets_no_rounding_noise(self):
        fixed = torch.tensor([0.1, 0.7, 1.3])
        path = nv.QuadraticPath(*({"w": fixed.clone(), "v": torch.full((2,), v)} for v in (0.0, 0.2, 1.0)))
        for alpha in np.linspace(-0.5, 1.5, 23):
            assert torch.equal(path.state_at(alpha)["w"], fixed)

    @pytest.mark.parametrize("alpha", [np.nan, np.inf, "half", None])
    def test_refuses_an_alpha_that_is_no_finite_number(self, alpha):
        with pytest.raises(ValueError, match="alpha: a finite number"):
            nv.LinearPath(made([0.0]), made([1.0])).state_at(alpha)


class TestFamily:
    def test_outside_the_scope_the_background_itself(self, model, walk):
        layout = Layout.of(model)
        family = WeightFamily(layout, Scope.parse("fc1", layout), [walk[0], walk[1]], walk[4])
        weights = family.parameters([0.25, 0.75])
        for name in layout.shapes:
            if name.startswith("fc1."):
                expected = 0.25 * walk[0][name].double() + 0.75 * walk[1][name].double()
                assert torch.allclose(weights[name].double(), expected, atol=1e-6)
            else:
                assert weights[name] is walk[4][name]

    def test_an_element_moves_alone_and_writes_into_no_state(self, model, walk):
        layout = Layout.of(model)
        before = [{name: t.clone() for name, t in state.items()} for state in walk]
        family = WeightFamily(layout, Scope.parse(("fc1.weight", (5, 17)), layout), [walk[0], walk[1]], walk[4])
        weight = family.parameters([0.5, 0.5])["fc1.weight"]
        changed = torch.nonzero(weight != walk[4]["fc1.weight"]).tolist()
        assert changed == [[5, 17]]
        assert all(factories.same(a, b) for a, b in zip(before, walk, strict=True))

    def test_no_coefficients_are_zeros(self):
        assert torch.equal(combine([], torch.ones(5, 7)), torch.zeros(5, 7))

    def test_coefficients_need_not_sum_to_one(self):
        assert torch.equal(combine([(2.0, torch.ones(3)), (3.0, torch.ones(3))], torch.ones(3)), torch.full((3,), 5.0))


class TestRefused:
    @pytest.mark.parametrize(
        ("alphas", "message"),
        [
            ([0.0, np.nan], r"finite numbers only, received nan among 2"),
            ([0.0, np.inf], r"received inf"),
            ([], r"a non-empty vector.*received shape \(0,\)"),
            ([[0.0, 1.0]], r"received shape \(1, 2\)"),
            (0.5, r"received shape \(\)"),
            (["a"], r"a vector of numbers, received \['a'\]"),
            ([0.0, [1.0]], r"a vector of numbers"),
        ],
    )
    def test_alphas(self, alphas, message):
        with pytest.raises(ValueError, match=f"alphas: .*{message}|alphas: {message}"):
            check_alphas(alphas, (0.0, 1.0))

    def test_alphas_near_a_knot_are_moved_onto_it_and_the_users_array_is_left_alone(self):
        given = np.array([1e-13, 0.3, 1 - 1e-13])
        kept = given.copy()
        assert check_alphas(given, (0.0, 1.0)).tolist() == [0.0, 0.3, 1.0]
        assert np.array_equal(given, kept)

    @pytest.mark.parametrize(
        ("build", "message"),
        [
            (lambda a: nv.LagrangePath([a]), "at least two checkpoints, received 1"),
            (lambda a: nv.LagrangePath(a), "at least two checkpoints, received 1"),
            (lambda a: nv.LagrangePath([a, a], [0.0, 0.9]), r"ascending from 0 to 1, received \[0.0, 0.9\]"),
            (lambda a: nv.LagrangePath([a, a, a], [0.0, 0.5, 0.5]), "ascending"),
            (lambda a: nv.LagrangePath([a, a, a], [0.0, np.nan, 1.0]), "ascending"),
            (lambda a: nv.LagrangePath([a, a, a], [0.0, 1.0]), "one number for each of the 3 states"),
            (lambda a: nv.QuadraticPath(a, a, a, mid_at=1.0), "mid_at: between 0 and 1, received 1.0"),
            (lambda a: nv.LinearPath(a, torch.nn.Linear(1, 1)), "received a Linear"),
            (lambda a: nv.LinearPath(torch.nn.Linear(1, 1), a), "received a Linear"),
            (lambda a: nv.LinearPath(a, {"v": a["w"]}), "missing 'w'; unknown 'v'"),
            (lambda a: nv.LinearPath(a, made([0.0, 1.0])), r"'w' has shape \(2,\), the model's has \(1,\)"),
        ],
    )
    def test_paths(self, build, message):
        with pytest.raises(ValueError, match=message):
            build(made([0.0]))

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_a_diverged_checkpoint_as_a_knot(self, model, walk, value):
        walk[2]["fc1.bias"][3] = value
        with pytest.raises(StateError, match=r"state 3: 'fc1.bias' holds NaN or infinity.*Take an earlier checkpoint"):
            check_states(Layout.of(model), walk, "state")
