import inspect

import factories
import numpy as np
import pytest
import torch
import zoo
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import nn
from torch.func import functional_call, hessian
from torch.nn import functional as F

import nnvis_widgets as nv
from nnvis_widgets.core.curvature import CurvatureError
from nnvis_widgets.core.lanczos import extremes
from nnvis_widgets.core.plane import PlaneError
from nnvis_widgets.core.scope import ScopeError
from nnvis_widgets.core.states import StateError

SPECTRUM = np.array([-3.0, -0.5, 0.25, 1.0, 2.0, 4.5, 11.0])


class Bowl(nn.Module):
    """A model whose output for any input is a quadratic form of its weights, with a spectrum and eigenvectors that are known."""

    def __init__(self, spectrum=SPECTRUM):
        super().__init__()
        size = len(spectrum)
        basis = np.linalg.qr(np.random.default_rng(0).normal(size=(size, size)))[0]
        self.register_buffer("basis", torch.tensor(basis))
        self.register_buffer("form", torch.tensor(basis * spectrum @ basis.T))
        self.a = nn.Parameter(torch.full((2, 1), 0.5, dtype=torch.float64))
        self.b = nn.Parameter(torch.arange(float(size - 2), dtype=torch.float64))

    def forward(self, x):
        w = torch.cat([self.a.reshape(-1), self.b])
        return 0.5 * (w @ self.form @ w) * x[:, 0]


def bowl(spectrum=SPECTRUM, n=11):
    model = Bowl(np.asarray(spectrum))
    inputs = torch.linspace(0.5, 1.5, n, dtype=torch.float64)[:, None]  # with mean 1: the mean loss is the form itself
    return nv.Evaluator(model, (inputs, torch.zeros(n)), loss=lambda output, _: output, device="cpu", batch_size=4)


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(5, 4), nn.Linear(4, 3, bias=False)

    def forward(self, x):
        return self.two(torch.tanh(self.one(x)))


def mlp():
    model = factories.made(Mlp).double()
    return model, factories.vectors()


def flat(state, names=None):
    return torch.cat([state[name].reshape(-1).double() for name in names or state])


def exact(model, data, loss=F.mse_loss):
    """The gradient and the whole Hessian of the mean loss, by torch's own, over all samples at once."""
    weights = {name: p.detach() for name, p in model.named_parameters()}
    buffers = dict(model.named_buffers())

    def value(vector):
        parts = vector.split([w.numel() for w in weights.values()])
        moved = {n: part.reshape(w.shape) for (n, w), part in zip(weights.items(), parts, strict=True)}
        return loss(functional_call(model, {**moved, **buffers}, (data[0],)), data[1])

    at = flat(weights)
    return torch.func.grad(value)(at), hessian(value)(at)


def columns(curvature):
    steps = [curvature.product(curvature.state(row)) for row in torch.eye(curvature.size, dtype=torch.float64)]
    return torch.stack([flat(step) for step in steps])


class TestDerivatives:
    @pytest.mark.parametrize("loss", [F.mse_loss, lambda output, target: ((output - target) ** 2).mean()])
    def test_they_are_those_of_all_samples_at_once_whatever_the_last_batch(self, loss):
        model, data = mlp()
        curvature = nv.Evaluator(model, data, loss=loss, device="cpu", batch_size=7).differentiate()  # 31 = 4 * 7 + 3
        slope, whole = exact(model, data)
        assert curvature.n == 31
        assert curvature.size == 36
        assert flat(curvature.gradient()) == pytest.approx(slope, abs=1e-14)
        assert columns(curvature) == pytest.approx(whole, abs=1e-14)
        assert {name: tuple(t.shape) for name, t in curvature.gradient().items()} == {
            "one.weight": (4, 5),
            "one.bias": (4,),
            "two.weight": (3, 4),
        }

    def test_products_are_differences_of_gradients(self):
        model = factories.made(factories.ConvNet)
        state = factories.states(model, 3)[-1]
        state = {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
        evaluator = nv.Evaluator(model.double(), factories.images(dtype=torch.float64), device="cpu", batch_size=16)
        rng = torch.Generator().manual_seed(1)
        direction = {n: torch.randn(p.shape, generator=rng, dtype=torch.float64) for n, p in model.named_parameters()}
        step = 1e-6
        ahead, behind = (
            flat(
                evaluator.differentiate({**state, **{n: state[n] + sign * step * d for n, d in direction.items()}}).gradient(),
                direction,
            )
            for sign in (1, -1)
        )
        product = flat(evaluator.differentiate(state).product(direction), direction)
        assert float((product - (ahead - behind) / (2 * step)).norm() / product.norm()) < 1e-6
        # and gradients those of losses
        up, down = (
            evaluator.measure({**state, **{n: state[n] + sign * step * d for n, d in direction.items()}}).loss for sign in (1, -1)
        )
        slope = float(flat(evaluator.differentiate(state).gradient(), direction) @ flat(direction))
        assert slope == pytest.approx((up - down) / (2 * step), rel=1e-6)

    def test_float32_is_close_and_adds_batches_in_float64(self):
        model, data = mlp()
        slope, whole = exact(model, data)
        single = nv.Evaluator(model.float(), [part.float() for part in data], loss=F.mse_loss, device="cpu", batch_size=7)
        curvature = single.differentiate()
        assert flat(curvature.gradient()).dtype == torch.float64
        assert flat(curvature.gradient()) == pytest.approx(slope, abs=1e-6)
        assert columns(curvature) == pytest.approx(whole, abs=2e-6)

    def test_class_weights_and_ignored_labels_count_as_in_the_measured_mean(self):
        model = factories.made(Mlp).double()
        x, _ = factories.vectors()
        y = torch.arange(31) % 3
        y[:20:4] = -100
        loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 4.0, 0.5], dtype=torch.float64))
        curvature = nv.Evaluator(model, (x, y), loss=loss, metrics={}, device="cpu", batch_size=7).differentiate()
        slope, whole = exact(model, (x, y), loss)
        assert flat(curvature.gradient()) == pytest.approx(slope, abs=1e-14)
        assert columns(curvature) == pytest.approx(whole, abs=1e-14)

    def test_a_scope_is_a_block_of_the_hessian(self):
        model, data = mlp()
        evaluator = nv.Evaluator(model, data, loss=F.mse_loss, device="cpu", batch_size=7)
        slope, whole = exact(model, data)
        two = evaluator.differentiate(scope="two")
        assert columns(two) == pytest.approx(whole[24:, 24:], abs=1e-14)
        assert two.names == ("two.weight",)
        single = evaluator.differentiate(scope=[("one.weight", (1, 2)), ("one.weight", (3, 4))])
        assert single.size == 2
        assert flat(single.gradient()).nonzero().reshape(-1).tolist() == [7, 19]
        assert flat(single.gradient())[[7, 19]] == pytest.approx(slope[[7, 19]], abs=1e-14)
        product = flat(single.product({"one.weight": torch.ones(4, 5), "two.weight": torch.ones(3, 4)}))
        assert product[[7, 19]] == pytest.approx(whole[[7, 19]][:, [7, 19]].sum(1), abs=1e-14)

    def test_running_statistics_are_constants_whatever_the_policy(self):
        model = factories.made(factories.ConvNet).double()
        state = factories.states(model, 2)[-1]
        data = factories.images(dtype=torch.float64)
        twin = factories.loaded(model, state)
        loss = F.cross_entropy(twin(data[0]), data[1])
        expected = flat(dict(enumerate(torch.autograd.grad(loss, list(twin.parameters())))))
        for policy in ("final", "recalibrate", "batch"):
            evaluator = nv.Evaluator(model, data, device="cpu", batch_size=16, batchnorm=policy)
            assert flat(evaluator.differentiate(state).gradient()) == pytest.approx(expected, abs=1e-13)

    def test_a_tied_weight_has_the_derivative_of_both_places(self):
        model = factories.made(factories.Tied).double()
        tokens = torch.arange(44) % 11
        data = tokens, tokens.roll(1)
        slope, _ = exact(model, data, F.cross_entropy)
        curvature = nv.Evaluator(model, data, device="cpu", batch_size=15).differentiate()
        assert sorted(curvature.names) == ["embedding.weight", "mix.bias", "mix.weight"]
        assert flat(curvature.gradient()) == pytest.approx(slope, abs=1e-14)

    def test_a_complex_weight_is_two_real_ones(self):
        class Turn(nn.Module):
            def __init__(self):
                super().__init__()
                self.z = nn.Parameter(torch.tensor([1.0 + 2.0j, 0.5 - 1.0j], dtype=torch.complex128))

            def forward(self, x):
                return x * (self.z.real**2 + 3 * self.z.imag**2).sum()

        data = torch.ones(3, 1, dtype=torch.float64), torch.zeros(3, 1)
        evaluator = nv.Evaluator(Turn(), data, loss=lambda output, _: output[:, 0], device="cpu")
        curvature = evaluator.differentiate()
        assert curvature.size == 4
        assert curvature.gradient()["z"].tolist() == [2 + 12j, 1 - 6j]
        assert curvature.product({"z": torch.tensor([1 + 1j, 0 - 2j])})["z"].tolist() == [2 + 6j, -12j]

    def test_the_first_samples_in_whole_batches_are_enough(self):
        model, data = mlp()
        evaluator = nv.Evaluator(model, data, loss=F.mse_loss, device="cpu", batch_size=7)
        curvature = evaluator.differentiate(samples=10)
        assert curvature.n == 14
        chosen = evaluator._samples.order[:14]
        slope, _ = exact(model, tuple(part[chosen] for part in data))
        assert flat(curvature.gradient()) == pytest.approx(slope, abs=1e-14)
        assert evaluator.differentiate(samples=10**6).n == 31

    @pytest.mark.parametrize(
        "build",
        [
            lambda: nn.TransformerEncoderLayer(6, 2, dim_feedforward=5, batch_first=True),
            lambda: nn.Sequential(nn.Conv1d(4, 3, 2), nn.MaxPool1d(2), nn.GELU(), nn.Dropout(), nn.Flatten()),
            lambda: nn.Sequential(nn.LayerNorm(6), nn.utils.parametrizations.weight_norm(nn.Linear(6, 3))),
            lambda: nn.LSTM(6, 3, batch_first=True),
            lambda: nn.Sequential(nn.Linear(6, 3), nn.Hardsigmoid(inplace=True), nn.Linear(3, 2), nn.Hardsigmoid()),
        ],
    )
    @pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
    def test_fused_layers_have_right_second_derivatives_in_any_mode_of_the_users(self, build, mode):
        model = factories.made(build).double()
        inputs = torch.randn(9, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        with mode():
            evaluator = nv.Evaluator(model, (inputs, torch.zeros(9)), loss=lambda o, _: o.pow(2).mean(), device="cpu", batch_size=4)
            evaluator.measure()
            curvature = evaluator.differentiate()
            direction = {name: torch.ones(p.shape) for name, p in model.named_parameters()}
            product = flat(curvature.product(direction), direction)
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        ahead, behind = (
            flat(evaluator.differentiate({**state, **{n: state[n] + s * d for n, d in direction.items()}}).gradient(), direction)
            for s in (1e-6, -1e-6)
        )
        assert float((product - (ahead - behind) / 2e-6).norm() / product.norm()) < 1e-5

    @pytest.mark.parametrize("name", [name for name in zoo.CASES if name != "writes in place"])
    def test_every_kind_of_network_has_a_symmetric_hessian_and_the_slope_of_its_losses(self, name):
        case = zoo.CASES[name]
        model = factories.made(case.build)
        model = model.double() if case.dtype == torch.float64 else model
        state = factories.states(model, 2, size=0.05)[1]
        evaluator = nv.Evaluator(model, case.data(), loss=case.loss, forward=case.forward, device="cpu", batch_size=9)
        curvature = evaluator.differentiate(state)
        rng = torch.Generator().manual_seed(0)
        u, v = (torch.randn(curvature.size, generator=rng, dtype=torch.float64) for _ in range(2))
        hu, hv = (curvature.vector(curvature.product(curvature.state(vector))) for vector in (u, v))
        assert abs(float(u @ hv - v @ hu)) < 1e-6 * float(hu.norm() * v.norm())
        slope = curvature.vector(curvature.gradient())
        along = curvature.state(slope / slope.norm())

        def at(step):
            moved = {**state, **{n: (state[n] + step * d).to(state[n].dtype) for n, d in along.items()}}
            return evaluator.measure(moved | {alias: moved[n] for alias, n in evaluator.layout.aliases.items()}).loss

        assert (at(1e-3) - at(-1e-3)) / 2e-3 == pytest.approx(float(slope.norm()), rel=1e-2)

    def test_what_cannot_be_differentiated_is_said(self):
        model, data = mlp()

        class Once(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x**2

            @staticmethod
            @torch.autograd.function.once_differentiable
            def backward(ctx, grad):
                return 2 * ctx.saved_tensors[0] * grad

        def square(output, target):
            return Once.apply(output - target).mean(1)

        once = nv.Evaluator(model, data, loss=square, device="cpu").differentiate()
        assert flat(once.gradient()) == pytest.approx(exact(model, data)[0], abs=1e-14)
        with pytest.raises(CurvatureError, match=r"no derivative of the order.*elementary ones.*once_differentiable"):
            once.product(once.gradient())
        detached = nv.Evaluator(model, data, loss=lambda o, t: (o.detach() - t).pow(2).mean(1), device="cpu").differentiate()
        with pytest.raises(CurvatureError, match=r"does not depend on the weights.*detach\(\)"):
            detached.gradient()
        half = nv.Evaluator(factories.made(Mlp).bfloat16(), [p.bfloat16() for p in data], loss=F.mse_loss, device="cpu")
        with pytest.raises(CurvatureError, match=r"is bfloat16.*float\(\)"):
            half.differentiate()
        good = nv.Evaluator(model, data, loss=F.mse_loss, device="cpu")
        for samples in (0, 1.5, True, "all"):
            with pytest.raises(ValueError, match="samples: a whole number of at least 1, or None"):
                good.differentiate(samples=samples)
        with pytest.raises(StateError, match=r"'one\.weigth' is no parameter"):
            good.differentiate().product({"one.weigth": torch.ones(4, 5)})
        with pytest.raises(StateError, match=r"'two.weight' has shape \(4, 3\)"):
            good.differentiate().product({"two.weight": torch.ones(4, 3)})
        with pytest.raises(ScopeError, match="three"):
            good.differentiate(scope="three")


class TestLanczos:
    @staticmethod
    def solved(matrix, **options):
        search = extremes(len(matrix), **options)
        vector, count = next(search), 0
        while True:
            count += 1
            try:
                vector = search.send(matrix @ vector)
            except StopIteration as finished:
                vectors, converged, asymmetry = finished.value
                assert asymmetry < 1e-10
                return vectors, converged, count

    @pytest.mark.parametrize("basis", [4, 9, 48])
    @pytest.mark.parametrize("size", [2, 3, 7, 200])
    def test_it_finds_what_eigsh_finds(self, size, basis):
        matrix = np.random.default_rng(size).normal(size=(size, size))
        matrix += matrix.T
        vectors, converged, count = self.solved(matrix, tolerance=1e-8, most=2000, basis=basis)
        assert converged
        assert size > 48 or basis < 48 or count <= size
        operator = LinearOperator(matrix.shape, matvec=lambda v: matrix @ v, dtype=float)
        for vector, which in zip(vectors, ("LA", "SA"), strict=True):
            if size > 2:
                value, expected = eigsh(operator, k=1, which=which, v0=np.ones(size))
            else:
                value, expected = (part[..., [-1 if which == "LA" else 0]] for part in np.linalg.eigh(matrix))
            assert vector @ matrix @ vector == pytest.approx(value[0], rel=1e-12)
            assert abs(vector @ expected[:, 0]) == pytest.approx(1, abs=1e-9)

    def test_repeated_eigenvalues_a_multiple_of_one_and_zero(self):
        turn = np.linalg.qr(np.random.default_rng(1).normal(size=(9, 9)))[0]
        vectors, converged, count = self.solved(turn @ np.diag([4.0] * 3 + [1.0] * 4 + [-2.0] * 2) @ turn.T)
        assert converged
        assert count <= 4
        for matrix in (3 * np.eye(9), np.zeros((9, 9))):
            vectors, converged, _ = self.solved(matrix)
            assert converged
            assert vectors @ vectors.T == pytest.approx(np.eye(2), abs=1e-12)

    def test_products_that_do_not_suffice_give_what_was_reached(self):
        matrix = np.diag(np.linspace(-1, 1, 300))
        vectors, converged, count = self.solved(matrix, most=10)
        assert not converged
        assert count == 10
        assert 0.8 < vectors[0] @ matrix @ vectors[0] < 1
        assert -1 < vectors[1] @ matrix @ vectors[1] < -0.8


class TestHessianPlane:
    def test_of_a_quadratic_form_it_is_known_exactly(self):
        evaluator = bowl()
        plane = nv.hessian_plane(evaluator, evaluator.model.state_dict(), tolerance=1e-9)
        assert plane.kind == "hessian"
        assert plane.about["eigenvalues"] == pytest.approx([11.0, -3.0], rel=1e-12)
        assert max(plane.about["residuals"]) < 1e-7
        assert plane.about["converged"]
        assert plane.about["products"] <= 9  # as many as there are eigenvalues, and two for the residuals
        assert plane.about["samples"] == 11
        basis = evaluator.model.basis
        for direction, column in zip(plane.directions, (6, 0), strict=True):
            found = flat(direction, ["a", "b"])
            assert found[found.abs().argmax()] > 0
            assert float(found.norm()) == pytest.approx(1, rel=1e-12)
            assert abs(float(found @ basis[:, column])) == pytest.approx(1, abs=1e-12)
        assert abs(plane.cosine) < 1e-12
        assert repr(plane).startswith("Plane(hessian: 7 weights move, cosine")
        assert "curvature 11 ± " in repr(plane)
        assert " and -3 ± " in repr(plane)
        assert plane.numbers()["eigenvalues"] == plane.about["eigenvalues"]

    def test_the_surface_over_it_is_the_form_cell_by_cell(self):
        evaluator = bowl()
        plane = nv.hessian_plane(evaluator, tolerance=1e-10)
        x, y = np.linspace(-1, 1, 7), np.linspace(-2, 2, 5)
        got = nv.measure_surface(evaluator, plane, x=x, y=y)
        centre = flat(plane.center, ["a", "b"])
        one, two = (float(flat(d, ["a", "b"]) @ evaluator.model.form @ centre) for d in plane.directions)
        loss = got.loss[2, 3]
        expected = loss + one * x[None] + two * y[:, None] + (11 * x[None] ** 2 - 3 * y[:, None] ** 2) / 2
        assert got.loss == pytest.approx(expected, rel=1e-10)
        assert got.plane["kind"] == "hessian"
        assert factories.same(plane.state_at(0, 0), dict(evaluator.model.state_dict()))

    def test_its_range_is_a_decade_of_the_loss_and_at_most_the_weights_length(self):
        evaluator = bowl()
        plane = nv.hessian_plane(evaluator)
        loss, length = evaluator.measure().loss, float(flat(plane.center, ["a", "b"]).norm())
        assert plane.about["loss"] == pytest.approx(loss, rel=1e-12)
        for edge, value in zip(plane.extent[1::2], (11.0, 3.0), strict=True):
            assert edge == pytest.approx(min(np.sqrt(18 * abs(loss) / value), length), rel=1e-6)
        with torch.no_grad():
            evaluator.model.a.zero_()
            evaluator.model.b.zero_()
        assert nv.hessian_plane(evaluator).extent == (-1, 1, -1, 1)  # neither a loss nor a length

    def test_of_a_network_it_is_that_of_the_whole_hessian(self):
        model, data = mlp()
        evaluator = nv.Evaluator(model, data, loss=F.mse_loss, device="cpu", batch_size=7)
        values, vectors = np.linalg.eigh(exact(model, data)[1].numpy())
        plane = nv.hessian_plane(evaluator, tolerance=1e-9)
        assert plane.about["eigenvalues"] == pytest.approx([values[-1], values[0]], rel=1e-8)
        assert values[0] < 0
        for direction, expected in zip(plane.directions, (vectors[:, -1], vectors[:, 0]), strict=True):
            found = flat(direction).numpy()
            assert abs(found @ expected) == pytest.approx(1, abs=1e-8)
            assert found[np.abs(found).argmax()] > 0
        single = nv.hessian_plane(nv.Evaluator(model.float(), [p.float() for p in data], loss=F.mse_loss, device="cpu"))
        assert single.about["eigenvalues"] == pytest.approx([values[-1], values[0]], rel=1e-3)
        assert single.directions[0]["one.weight"].dtype == torch.float32

    def test_random_slices_do_not_see_the_saddle_that_it_shows(self):
        spectrum = np.linspace(-2.0, 4.0, 60) + 0.2
        evaluator = bowl(spectrum)
        assert nv.hessian_plane(evaluator, max_products=200).about["eigenvalues"] == pytest.approx([4.2, -1.8], rel=1e-4)
        draws = np.random.default_rng(0).normal(size=(2000, 60))
        draws /= np.linalg.norm(draws, axis=1, keepdims=True)
        curves = np.einsum("ij,jk,ik->i", draws, evaluator.model.form.numpy(), draws)
        assert curves.min() > -0.8  # far from -1.8
        assert curves.mean() == pytest.approx(spectrum.mean(), abs=0.05)

    def test_equal_curvature_everywhere_is_a_plane_and_none_is_refused(self):
        plane = nv.hessian_plane(bowl([2.0] * 5))
        assert plane.about["eigenvalues"] == pytest.approx([2.0, 2.0])
        assert abs(plane.cosine) < 1e-12
        with pytest.raises(PlaneError, match="linear in these weights"):
            nv.hessian_plane(bowl([0.0] * 5))

    def test_frozen_weights_stay_unless_they_are_named(self):
        model, data = mlp()
        model.one.requires_grad_(False)
        evaluator = nv.Evaluator(model, data, loss=F.mse_loss, device="cpu")
        plane = nv.hessian_plane(evaluator)
        assert plane.moved == ("two.weight",)
        assert plane.about["frozen"] == 2
        values = np.linalg.eigvalsh(exact(model, data)[1][24:, 24:].numpy())
        assert plane.about["eigenvalues"] == pytest.approx(values[[-1, 0]], rel=1e-3)
        assert nv.hessian_plane(evaluator, scope="one").moved == ("one.weight", "one.bias")
        model.requires_grad_(False)
        with pytest.raises(PlaneError, match="frozen"):
            nv.hessian_plane(evaluator)

    def test_seeds_repeat_and_the_answer_hardly_depends_on_them(self):
        model, data = mlp()
        evaluator = nv.Evaluator(model, data, loss=F.mse_loss, device="cpu")
        torch.manual_seed(3)
        first = nv.hessian_plane(evaluator)
        torch.manual_seed(4)
        assert nv.hessian_plane(evaluator).digest == first.digest
        for seed in (1, -1, 2**70):
            other = nv.hessian_plane(evaluator, seed=seed, tolerance=1e-8)
            assert other.digest != first.digest
            for one, two in zip(first.directions, other.directions, strict=True):
                assert float(flat(one) @ flat(two)) > 0.99  # of one sign too

    def test_it_can_be_stopped_between_two_batches_and_says_how_far_it_is(self):
        evaluator = bowl(np.linspace(-1, 3, 40))
        steps = nv.iter_hessian_plane(evaluator, max_products=12)
        assert inspect.isgenerator(steps)
        shares = []
        while True:
            try:
                shares.append(next(steps))
            except StopIteration as finished:
                plane = finished.value
                break
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
        assert len(shares) == 12 * 3 + 1
        assert plane.about["products"] == 12
        assert not plane.about["converged"]
        assert max(plane.about["residuals"]) > 1e-3 * 3
        asked = []
        replica, real = evaluator._replica, evaluator._replica.call
        replica.call = lambda *given: asked.append(1) or real(*given)
        stopped = nv.iter_hessian_plane(evaluator)
        assert not asked
        next(stopped)
        stopped.close()
        assert len(asked) == 1

    def test_residuals_are_of_products_with_the_stored_directions(self):
        evaluator = bowl(np.linspace(-1, 3, 40))
        plane = nv.hessian_plane(evaluator, max_products=10)
        curvature = evaluator.differentiate()
        for direction, value, residual in zip(plane.directions, plane.about["eigenvalues"], plane.about["residuals"], strict=True):
            found = curvature.vector(curvature.product(direction)) - value * curvature.vector(direction)
            assert float(found.norm()) == pytest.approx(residual, rel=1e-6)

    def test_bad_input_is_refused_when_the_generator_is_made(self):
        model, data = mlp()
        evaluator = nv.Evaluator(model, data, loss=F.mse_loss, device="cpu")
        for options, words in (
            ({"seed": 1.5}, r"seed: a whole number, received 1\.5"),
            ({"max_products": 3}, "max_products: a whole number of at least 4, received 3"),
            ({"max_products": "many"}, "max_products: a whole number"),
            ({"tolerance": 0}, "tolerance: a number between 0 and 1"),
            ({"samples": 0}, "samples: a whole number"),
            ({"scope": "three"}, "three"),
            ({"scope": ("one.bias", 1)}, "single weight"),
            ({"center": {}}, "center does not fit the model: missing"),
        ):
            with pytest.raises(ValueError, match=words):
                nv.iter_hessian_plane(evaluator, **options)
        with pytest.raises(TypeError, match="evaluator: the first argument"):
            nv.iter_hessian_plane(model)

    def test_second_derivatives_that_are_not_of_one_function_are_not_believed(self):
        class Forgetful(torch.autograd.Function):
            """A product whose slope along the first factor is, differentiated again, no function of the second."""

            @staticmethod
            def forward(ctx, x, y):
                ctx.save_for_backward(x, y)
                return x * y

            @staticmethod
            def backward(ctx, grad):
                x, y = ctx.saved_tensors
                return grad * y.detach(), grad * x

        def forward(model, batch):
            hidden = torch.tanh(model.one(batch[0]))
            return model.two(Forgetful.apply(hidden, model.one.bias.expand_as(hidden))), batch[1]

        model, data = mlp()
        evaluator = nv.Evaluator(model, data, loss=F.mse_loss, device="cpu", forward=forward)
        with pytest.raises(CurvatureError, match="not symmetric"):
            nv.hessian_plane(evaluator)

    def test_a_centre_that_diverged_and_too_few_products_are_said(self):
        model, data = mlp()
        evaluator = nv.Evaluator(model, data, loss=F.mse_loss, device="cpu")
        state = {name: tensor * np.nan for name, tensor in model.state_dict().items()}
        with pytest.raises(ValueError, match="NaN or infinite"):
            nv.hessian_plane(evaluator, state)
        with pytest.raises(CurvatureError, match=r"max_products: 4 are too few.*take more"):
            nv.hessian_plane(bowl(np.r_[np.geomspace(1, 1e-3, 20), np.zeros(300)]), max_products=4)
