import factories
import numpy as np
import pytest
import torch
from torch import nn

import nnvis_widgets as nv
from nnvis_widgets.core.plane import PlaneError
from nnvis_widgets.core.states import StateError


def vector(state, names):
    return np.concatenate([state[name].double().numpy().reshape(-1) for name in names])


def mixed(state, plane, x, y):
    """The state at a point, added up in float64."""
    one, two = plane.directions
    return {n: (t.double() + x * one[n].double() + y * two[n].double() if n in one else t) for n, t in state.items()}


class Kinds(nn.Module):
    """One of each kind of weight that has filters of its own shape."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 6, 3, groups=2)
        self.depthwise = nn.Conv1d(5, 5, 2, groups=5)
        self.up = nn.ConvTranspose2d(4, 6, (2, 3))
        self.grouped_up = nn.ConvTranspose1d(4, 6, 3, groups=2)
        self.linear = nn.Linear(7, 3)
        self.tokens = nn.Embedding(9, 4)
        self.attention = nn.MultiheadAttention(4, 2)
        self.norm = nn.LayerNorm(4)
        self.normed_up = nn.utils.parametrizations.weight_norm(nn.ConvTranspose1d(2, 3, 4))


@pytest.fixture
def kinds():
    model = factories.made(Kinds)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.uniform_(0.5, 1.0, generator=torch.Generator().manual_seed(1))
    return model


# which elements make one output, for each weight, written out by hand
FILTERS = {
    "conv.weight": lambda w: [w[i] for i in range(6)],
    "depthwise.weight": lambda w: [w[i] for i in range(5)],
    "up.weight": lambda w: [w[:, o] for o in range(6)],
    "grouped_up.weight": lambda w: [w[2 * g : 2 * g + 2, o] for g in range(2) for o in range(3)],
    "linear.weight": lambda w: [w[i] for i in range(3)],
    "tokens.weight": lambda w: [w[i] for i in range(9)],
    "attention.in_proj_weight": lambda w: [w[i] for i in range(12)],
    "attention.out_proj.weight": lambda w: [w[i] for i in range(4)],
    "normed_up.parametrizations.weight.original1": lambda w: [w[:, o] for o in range(3)],
}


class TestRandom:
    @pytest.mark.parametrize("name", FILTERS)
    def test_each_filter_of_a_direction_is_as_long_as_the_models(self, kinds, name):
        plane = nv.random_plane(kinds, seed=4)
        weights = FILTERS[name](dict(kinds.named_parameters())[name].detach().double())
        for direction in plane.directions:
            filters = FILTERS[name](direction[name].double())
            assert [float(f.norm()) for f in filters] == pytest.approx([float(w.norm()) for w in weights], rel=1e-6)
            assert len({round(float(f.reshape(-1)[0] / w.reshape(-1)[0]), 6) for f, w in zip(filters, weights, strict=True)}) > 1

    def test_a_bare_state_takes_the_first_dimension_and_with_its_model_the_right_one(self, kinds):
        state = dict(kinds.state_dict())
        bare, known = (
            nv.random_plane(state).directions[0]["up.weight"],
            nv.random_plane(state, model=kinds).directions[0]["up.weight"],
        )
        weight = state["up.weight"]
        assert bare.flatten(1).norm(dim=1) == pytest.approx(weight.flatten(1).norm(dim=1), rel=1e-6)
        assert known.movedim(1, 0).flatten(1).norm(dim=1) == pytest.approx(weight.movedim(1, 0).flatten(1).norm(dim=1), rel=1e-6)
        assert torch.equal(known, nv.random_plane(kinds).directions[0]["up.weight"])

    def test_layer_scales_whole_tensors_and_none_leaves_the_numbers_as_drawn(self, kinds):
        layer, raw = nv.random_plane(kinds, normalize="layer"), nv.random_plane(kinds, normalize=None)
        for direction, drawn in zip(layer.directions, raw.directions, strict=True):
            for name in layer.moved:
                assert float(direction[name].norm()) == pytest.approx(float(kinds.state_dict()[name].norm()), rel=1e-6)
                ratio = direction[name] / drawn[name]
                assert float(ratio.max()) == pytest.approx(float(ratio.min()), rel=1e-5)
        assert layer.extent == (-1, 1, -1, 1)
        # where the numbers are as drawn, the default range is again one length of the weights
        weights = [kinds.state_dict()[name] for name in raw.moved]
        length = float(torch.cat([w.reshape(-1) for w in weights]).norm())
        assert raw.extent[1] * raw.lengths[0] == pytest.approx(length, rel=1e-5)

    def test_one_dimensional_tensors_move_only_when_asked_to_and_then_as_one_filter(self, kinds):
        still = nv.random_plane(kinds)
        assert all(kinds.get_parameter(name).dim() > 1 for name in still.moved)
        magnitudes = "normed_up.parametrizations.weight.original0"  # of a weight norm, shape (2, 1, 1): one number a filter
        assert magnitudes not in still.moved
        assert magnitudes not in nv.random_plane(dict(kinds.state_dict())).moved
        assert not still.directions[0]["linear.bias"].any()
        moving = nv.random_plane(kinds, ignore_1d=False)
        direction, bias = moving.directions[1]["linear.bias"], kinds.linear.bias.detach()
        assert float(direction.norm()) == pytest.approx(float(bias.norm()), rel=1e-6)
        assert not np.allclose(direction.abs(), bias.abs())
        direction, given = moving.directions[0][magnitudes], kinds.get_parameter(magnitudes).detach()
        assert float(direction.norm()) == pytest.approx(float(given.norm()), rel=1e-6)
        assert not np.allclose(direction.abs(), given.abs())

    def test_the_numbers_are_gaussian_and_the_directions_independent(self):
        model = factories.made(lambda: nn.Linear(300, 211))
        one, two = (d["weight"].double().reshape(-1).numpy() for d in nv.random_plane(model, normalize=None).directions)
        n = len(one)
        for sample in (one, two):
            assert abs(sample.mean()) < 4 / np.sqrt(n)
            assert abs(sample.var() - 1) < 4 * np.sqrt(2 / n)
            assert abs((sample**4).mean() - 3) < 4 * np.sqrt(96 / n)
        assert abs(np.corrcoef(one, two)[0, 1]) < 4 / np.sqrt(n)
        assert abs(nv.random_plane(model).cosine) < 4 / np.sqrt(n)

    def test_seeds_repeat_and_differ_whatever_the_order_of_the_tensors(self, kinds):
        state = dict(kinds.state_dict())
        backwards = dict(reversed(state.items()))
        first = nv.random_plane(state, seed=0)
        assert nv.random_plane(backwards, seed=0).digest == first.digest
        assert len({nv.random_plane(state, seed=seed).digest for seed in (0, 1, 2, -1, 2**70)}) == 5
        assert nv.random_plane(state).digest == first.digest  # 0 is the default, and a seed
        for tensor in ("linear.weight", "conv.weight"):
            assert not torch.equal(first.directions[0][tensor], first.directions[1][tensor])

    def test_no_global_random_state_is_touched(self, model):
        before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        nv.random_plane(model)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002

    def test_frozen_parameters_stay_when_the_model_is_known(self, model):
        model.conv1.weight.requires_grad_(False)
        assert "conv1.weight" not in nv.random_plane(model).moved
        assert nv.random_plane(model).about["frozen"] == 1
        assert "conv1.weight" in nv.random_plane(dict(model.state_dict())).moved
        model.requires_grad_(False)
        with pytest.raises(PlaneError, match=r"frozen.*state_dict\(\)"):
            nv.random_plane(model)

    def test_filters_of_zeros_stay_and_are_counted(self, model):
        with torch.no_grad():
            model.conv1.weight[1] = 0
        plane = nv.random_plane(model)
        for direction in plane.directions:
            assert not direction["conv1.weight"][1].any()
            assert direction["conv1.weight"][0].all()
            assert torch.isfinite(direction["conv1.weight"]).all()
        assert plane.about["zero_filters"] == 1

    def test_it_does_not_follow_the_model_when_that_is_trained_on(self, model):
        plane = nv.random_plane(dict(model.state_dict()))
        center = plane.digest, plane.center["fc1.weight"].clone()
        with torch.no_grad():
            model.fc1.weight.add_(1)
        assert torch.equal(plane.center["fc1.weight"], center[1])
        assert nv.random_plane(model).digest != center[0]

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.complex64])
    def test_weights_of_other_types_have_directions_of_at_least_float32(self, dtype):
        state = {"weight": torch.randn(5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)}
        plane = nv.random_plane(state)
        direction = plane.directions[0]["weight"]
        assert direction.dtype == torch.promote_types(dtype, torch.float32)
        assert direction.norm(dim=1) == pytest.approx(state["weight"].to(direction.dtype).norm(dim=1), rel=1e-5)
        assert plane.state_at(0.5, 0.25)["weight"].dtype == dtype
        assert plane.coordinates(plane.state_at(0.5, -1.0)) == pytest.approx((0.5, -1.0), abs=2e-2)

    def test_what_cannot_be_done_is_refused(self, model):
        state = dict(model.state_dict())
        with pytest.raises(ValueError, match="normalize: one of 'filter', 'layer', None; received 'filters'"):
            nv.random_plane(model, normalize="filters")
        with pytest.raises(ValueError, match=r"seed: a whole number, received 1\.5"):
            nv.random_plane(model, seed=1.5)
        with pytest.raises(ValueError, match="already"):
            nv.random_plane(model, model=model)
        with pytest.raises(TypeError, match="model: a torch"):
            nv.random_plane(state, model=state)
        with pytest.raises(StateError, match="received a str"):
            nv.random_plane("model")
        with pytest.raises(StateError, match=r"'conv1.weight' holds NaN"):
            nv.random_plane({**state, "conv1.weight": state["conv1.weight"] * np.nan})
        with pytest.raises(PlaneError, match="ignore_1d=False"):
            nv.random_plane({"bias": torch.ones(3)})
        with pytest.raises(PlaneError, match="parallel"):
            nv.random_plane({"weight": torch.ones(1, 1)})


class TestPlane:
    def test_the_centre_is_stored_bit_for_bit(self, model, walk):
        plane = nv.random_plane(walk[-1])
        assert factories.same(plane.state_at(0, 0), walk[-1])
        assert factories.same(plane.center, walk[-1])

    def test_points_are_sums_and_buffers_and_types_are_the_centres(self, walk):
        plane = nv.random_plane(walk[-1])
        got, expected = plane.state_at(0.4, -1.3), mixed(walk[-1], plane, 0.4, -1.3)
        assert got.keys() == expected.keys()
        for name, tensor in got.items():
            assert tensor.dtype == walk[-1][name].dtype
            assert torch.allclose(tensor.double(), expected[name].double(), rtol=1e-5, atol=1e-6)
        assert torch.equal(got["bn1.num_batches_tracked"], walk[-1]["bn1.num_batches_tracked"])
        assert torch.equal(got["bn1.running_var"], walk[-1]["bn1.running_var"])

    def test_coordinates_are_those_that_a_state_was_made_with_for_slanting_directions(self):
        rng = np.random.default_rng(3)
        center = {"a": torch.tensor(rng.normal(size=(5, 7))), "b": torch.tensor(rng.normal(size=11))}
        one = {"a": torch.tensor(rng.normal(size=(5, 7)))}
        two = {"a": 3 * one["a"] + 0.2 * torch.tensor(rng.normal(size=(5, 7)))}
        plane = nv.Plane(center, [one, two])
        assert abs(plane.cosine) > 0.99
        for point in ((1.2, -0.7), (-13.9, 5.5), (0.0, 1.0)):
            assert plane.coordinates(plane.state_at(*point)) == pytest.approx(point, abs=1e-11)
        assert plane.cosine == pytest.approx(float((one["a"] * two["a"]).sum() / one["a"].norm() / two["a"].norm()), rel=1e-12)

    def test_what_the_directions_leave_alone_counts_off_the_plane_and_not_in_it(self):
        plane = nv.Plane({"w": torch.zeros(2, 2), "bias": torch.zeros(2)}, [{"w": torch.eye(2)}, {"w": torch.ones(2, 2)}])
        state = {"w": 2 * torch.eye(2) + torch.ones(2, 2), "bias": torch.tensor([3.0, 4.0])}
        assert plane.coordinates(state) == pytest.approx((2.0, 1.0))
        assert plane.off_plane(state) == pytest.approx(5 / np.sqrt(20 + 25))  # |bias| over |everything|
        assert plane.off_plane(plane.center) == 0.0

    def test_the_nearest_point_is_that_of_an_independent_least_squares(self, walk):
        plane = nv.random_plane(walk[-1], ignore_1d=False)
        names = list(plane.directions[0])
        basis = np.stack([vector(d, names) for d in plane.directions], axis=1)
        trajectory = plane.project(nv.Run.from_states(walk, epochs=[0, 1, 2, 4, 7]))
        for t, state in enumerate(walk):
            delta = vector(state, names) - vector(walk[-1], names)
            z, *_ = np.linalg.lstsq(basis, delta, rcond=None)
            assert trajectory.xy[t] == pytest.approx(z, abs=1e-9)
            off = np.linalg.norm(delta - basis @ z) / np.linalg.norm(delta) if delta.any() else 0.0
            assert trajectory.off_plane[t] == pytest.approx(off, abs=1e-12)
        assert trajectory.xy.shape == (5, 2)
        assert trajectory.explained is None
        assert trajectory.epochs.tolist() == [0, 1, 2, 4, 7]

    def test_a_tied_weight_is_counted_once_and_moves_in_both_places(self):
        model = factories.made(factories.Tied)
        plane = nv.random_plane(model)
        assert sorted(plane.directions[0]) == ["embedding.weight", "mix.bias", "mix.weight"]
        moved = plane.state_at(0.5, 0.5)
        assert torch.equal(moved["embedding.weight"], moved["decoder.weight"])
        assert not torch.equal(moved["embedding.weight"], model.embedding.weight)
        square = float(model.embedding.weight.detach().norm() ** 2 + model.mix.weight.detach().norm() ** 2)
        assert plane.lengths[0] ** 2 == pytest.approx(square, rel=1e-5)
        assert nv.random_plane(dict(model.state_dict())).digest == plane.digest
        assert plane.coordinates(moved) == pytest.approx((0.5, 0.5), abs=1e-6)

    def test_the_state_of_a_wrapped_model_has_coordinates_too(self, model, walk):
        wrapped = {f"module.{name}": tensor for name, tensor in walk[1].items()}
        plane = nv.random_plane(nn.DataParallel(model))
        assert plane.coordinates(wrapped) == plane.coordinates(walk[1])

    def test_the_digest_is_that_of_the_content(self, walk):
        one = nv.random_plane(walk[0])
        assert one.digest == nv.random_plane(walk[0]).digest
        assert one.digest != nv.random_plane(walk[1]).digest
        assert one.digest != nv.Plane(walk[0], one.directions[::-1]).digest

    def test_what_spans_no_plane_is_refused(self):
        center, one = {"w": torch.zeros(5)}, {"w": torch.arange(5.0)}
        for other, words in (
            ({"w": -2 * torch.arange(5.0)}, "parallel"),
            ({}, "one of them is zero"),
            ({"w": torch.full((5,), torch.inf)}, "NaN or infinity"),
            ({"w": torch.zeros(4)}, "shape"),
        ):
            with pytest.raises(PlaneError, match=words):
                nv.Plane(center, [one, other])
        with pytest.raises(PlaneError, match="two of them, received 1"):
            nv.Plane(center, [one])
        with pytest.raises(PlaneError, match="extent"):
            nv.Plane(center, [one, {"w": torch.ones(5)}], extent=(0, 1, -1, 1))
        plane = nv.Plane(center, [one, {"w": torch.ones(5)}])
        with pytest.raises(ValueError, match="x: a finite number, received nan"):
            plane.state_at(np.nan, 0)
        with pytest.raises(StateError, match="missing 'w'"):
            plane.coordinates({})
        with pytest.raises(TypeError, match="run: a Run"):
            plane.project({"w": torch.ones(5)})
        with pytest.raises(StateError, match="checkpoint 0 of the run"):
            plane.project(nv.Run.from_states([{"v": torch.ones(2)}]))


class TestAnyTwoDirections:
    def test_differences_to_other_states_put_these_at_1(self, walk):
        center, one, two = walk[4], walk[0], walk[2]
        plane = nv.Plane(center, [{name: other[name] - center[name] for name in center} for other in (one, two)])
        assert plane.coordinates(one) == pytest.approx((1, 0), abs=1e-6)
        assert plane.coordinates(two) == pytest.approx((0, 1), abs=1e-6)
        assert plane.off_plane(two) < 1e-6
        assert abs(plane.cosine) > 0.1  # oblique, and said to be
        assert f"cosine {plane.cosine:.2g}" in repr(plane)
        assert plane.numbers()["cosine"] == plane.cosine
        assert factories.same(plane.state_at(0, 0), center)

    def test_a_model_is_a_centre_and_tells_what_is_a_buffer(self):
        model = factories.made(factories.Counting)  # with a float buffer, which the names of a bare state do not tell
        state = dict(model.state_dict())
        other = factories.states(model, 2)[-1]
        directions = [{name: other[name] * 1.0 - state[name] * 1.0 for name in state}, {"fc.weight": torch.ones(3, 35)}]
        assert nv.Plane(state, directions).moved == ("scale", "fc.weight", "fc.bias")
        for plane in (nv.Plane(model, directions), nv.Plane(state, directions, model=model)):
            assert plane.moved == ("fc.weight", "fc.bias")
            assert plane.digest == nv.Plane(model, directions).digest
            surface = nv.measure_surface(nv.Evaluator(model, factories.images(), device="cpu"), plane, resolution=(7, 5))
            assert surface.loss.shape == (5, 7)
        with pytest.raises(ValueError, match="model: only beside a bare state"):
            nv.Plane(model, directions, model=model)

    def test_a_gradient_is_a_direction(self, model, walk, evaluator):
        slope = evaluator.differentiate(walk[4]).gradient()
        plane = nv.Plane(walk[4], [slope, {"fc1.weight": torch.eye(6, 32)}], model=model)
        surface = nv.measure_surface(evaluator, plane, x=[-1e-3, 0, 1e-3], y=[0, 1], scope="fc2.*")
        square = sum(float(slope[name].norm() ** 2) for name in ("fc2.weight", "fc2.bias"))
        assert (surface.loss[0, 2] - surface.loss[0, 0]) / 2e-3 == pytest.approx(square, rel=1e-3)

    def test_names_of_tied_and_wrapped_weights_are_understood_and_others_refused(self, model, walk):
        tied = factories.made(factories.Tied)
        two = {"mix.weight": torch.ones(5, 5)}
        by_alias = nv.Plane(tied, [{"decoder.weight": torch.ones(11, 5)}, two])
        assert by_alias.digest == nv.Plane(tied, [{"embedding.weight": torch.ones(11, 5)}, two]).digest
        wrapped = [{f"module.fc1.{kind}": torch.ones_like(walk[0][f"fc1.{kind}"])} for kind in ("weight", "bias")]
        assert nv.Plane(walk[0], wrapped).moved == ("fc1.weight", "fc1.bias")
        one = {"fc1.weight": torch.ones(6, 32)}
        with pytest.raises(
            PlaneError, match=r"directions: 'fc1\.weigth' is no weight of the centre, whose parameters are conv1\.weight"
        ):
            nv.Plane(model, [one, {"fc1.weigth": torch.ones(6, 32)}])
        with pytest.raises(PlaneError, match="directions: mappings of parameter names to tensors, received a Tensor"):
            nv.Plane(model, [one, torch.ones(6, 32)])


class TestThreePoints:
    def test_the_states_lie_where_the_plane_says(self, walk):
        plane = nv.three_point_plane(walk[0], walk[2], walk[4])
        assert factories.same(plane.state_at(0, 0), walk[4])
        points = plane.about["points"]
        assert points["c"] == [0, 0]
        assert points["a"][1] == 0
        assert points["b"][1] > 0
        for name, state in zip("abc", (walk[0], walk[2], walk[4]), strict=True):
            assert plane.coordinates(state) == pytest.approx(points[name], abs=1e-5)
            assert plane.off_plane(state) < 1e-6
            names = list(plane.directions[0])
            distance = np.linalg.norm(vector(state, names) - vector(walk[4], names))
            assert np.hypot(*points[name]) == pytest.approx(distance, rel=1e-6)
        assert plane.lengths == pytest.approx((1, 1), rel=1e-6)
        assert abs(plane.cosine) < 1e-6

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_the_linear_and_the_quadratic_path_lie_in_it(self, walk, dtype):
        a, b, c = ({n: t.to(dtype) if t.is_floating_point() else t for n, t in walk[i].items()} for i in (0, 2, 4))
        plane = nv.three_point_plane(a, b, c)
        tolerance = 3e-6 if dtype == torch.float32 else 1e-14
        where = np.array([plane.about["points"][name] for name in "abc"])
        for path, states in ((nv.LinearPath(a, c), [0, 2]), (nv.QuadraticPath(a, b, c), [0, 1, 2])):
            for alpha in np.linspace(-0.5, 1.5, 9):
                state = path.state_at(alpha)
                assert plane.off_plane(state) < tolerance
                expected = path.coefficients(alpha) @ where[states]
                assert plane.coordinates(state) == pytest.approx(expected, abs=1e3 * tolerance)
                if 0 <= alpha <= 1:
                    x0, x1, y0, y1 = plane.extent
                    assert x0 < expected[0] < x1
                    assert y0 < expected[1] < y1

    def test_equal_and_collinear_states_are_refused(self, walk):
        for states, words in (
            ((walk[0], walk[1], walk[0]), "a and c are equal"),
            ((walk[0], walk[1], walk[1]), "b and c are equal"),
            ((walk[1], walk[1], walk[0]), "a and b are equal"),
            ((walk[0], nv.LinearPath(walk[0], walk[4]).state_at(0.3), walk[4]), "on one line"),
        ):
            with pytest.raises(PlaneError, match=words):
                nv.three_point_plane(*states)
        with pytest.raises(StateError, match="b does not fit the model: missing"):
            nv.three_point_plane(walk[0], {}, walk[4])
        with pytest.raises(StateError, match=r"'conv1.bias' holds NaN"):
            nv.three_point_plane(walk[0], {**walk[2], "conv1.bias": walk[2]["conv1.bias"] * np.nan}, walk[4])
