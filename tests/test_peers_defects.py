"""Defects that were found in other tools of this field, each as a test that would catch it here.

The numbers are those of the list of defects that this project keeps; the rest belong to studies.
"""

import itertools
import os
import subprocess
import sys
import textwrap

import factories
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

import nnvis_widgets as nv


def test_1_a_measured_weight_leaves_no_trace_in_the_next_measurement(walk, evaluator):
    path = nv.QuadraticPath(walk[0], walk[2], walk[4])
    fresh = nv.Evaluator(evaluator.model, factories.images(), device="cpu", batch_size=16)
    expected = nv.measure_path(fresh, path, scope=("fc2.bias", 0)).loss
    for index in ((0, 0), (2, 17), (5, 31)):
        got = nv.measure_path(evaluator, path, scope=("fc1.weight", index))  # ends at alpha = 1.5
        assert got.alphas[-1] == 1.5
    assert np.array_equal(nv.measure_path(evaluator, path, scope=("fc2.bias", 0)).loss, expected)


def test_2_weights_1_11_and_11_1_are_two_weights():
    model = factories.made(lambda: nn.Linear(12, 12))
    states = factories.states(model, 2)
    x = torch.randn(29, 12, generator=torch.Generator().manual_seed(0))
    evaluator = nv.Evaluator(model, (x, torch.arange(29) % 12), device="cpu")
    path = nv.LinearPath(*states)
    one, two = (nv.measure_path(evaluator, path, scope=("weight", index)) for index in ((1, 11), (11, 1)))
    assert one.scope != two.scope
    assert not np.allclose(one.loss, two.loss, rtol=1e-9)


@pytest.mark.parametrize("change", ["data", "states", "range", "samples"])
def test_2_a_result_is_never_answered_with_that_of_other_inputs(model, walk, data, evaluator, change):
    path = nv.LinearPath(walk[0], walk[4])
    first = nv.measure_path(evaluator, path, [0.0, 0.5, 1.0])
    options = {"samples": 30} if change == "samples" else {}
    other = nv.Evaluator(model, factories.images(seed=3) if change == "data" else data, device="cpu", batch_size=16, **options)
    second = nv.measure_path(
        other,
        nv.LinearPath(walk[1], walk[4]) if change == "states" else path,
        [0.0, 0.7, 1.0] if change == "range" else [0.0, 0.5, 1.0],
    )
    assert second.loss[1] != first.loss[1]
    assert (second.provenance != first.provenance) or change == "range"


@pytest.mark.parametrize("checkpoints", [3, 5])
def test_3_the_principal_plane_is_centred_on_the_trained_model_and_keeps_every_point(walk, evaluator, checkpoints):
    run = nv.Run.from_states(walk[-checkpoints:])
    plane = nv.pca_plane(run)
    assert factories.same(plane.center, walk[-1])
    trajectory = plane.project(run)
    assert trajectory.xy.shape == (checkpoints, 2)
    assert trajectory.xy[-1].tolist() == [0.0, 0.0]
    assert np.hypot(*trajectory.xy[0]) > 0
    assert len(plane.spectrum) == checkpoints - 1


@pytest.mark.parametrize("resolution", [3, 4, 20, 21, (6, 9)])
def test_4_the_trained_model_is_on_the_grid(model, data, walk, resolution):
    evaluator = nv.Evaluator(model, data, device="cpu", batch_size=57, batchnorm="final", samples=5)
    expected = evaluator.measure().loss
    for plane in (nv.random_plane(model), nv.pca_plane(nv.Run.from_states(walk)), nv.hessian_plane(evaluator, max_products=8)):
        surface = nv.measure_surface(evaluator, plane, resolution=resolution)
        assert surface.loss[surface.y == 0, surface.x == 0].tolist() == [expected]


def test_4_alpha_0_is_evaluated(evaluator, walk):
    path = nv.measure_path(evaluator, nv.LinearPath(walk[0], walk[4]))
    assert path.alphas[0] == 0
    assert path.loss[0] == pytest.approx(nv.measure_path(evaluator, nv.LinearPath(walk[0], walk[4]), [0.0, 1.0]).loss[0])


def test_5_nor_at_the_last_point_of_a_surface(model, walk, evaluator):
    model.train()
    model.conv2.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    plane = nv.random_plane(model)
    for _ in nv.iter_surface(evaluator, plane, resolution=3):
        assert factories.same(dict(model.state_dict()), before)
    plane.state_at(1, 1)
    plane.project(nv.Run.from_states(walk))
    assert factories.same(dict(model.state_dict()), before)
    assert [name for name, part in model.named_modules() if not part.training] == ["conv2"]


@pytest.mark.parametrize("policy", ["final", "recalibrate", "batch"])
def test_6_a_surface_of_a_net_with_batchnorm_is_finite_and_changes_no_statistics(model, walk, data, policy):
    """Directions know nothing of running statistics, so no point has a negative variance, and the policy is in the result."""
    evaluator = nv.Evaluator(model, data, device="cpu", batch_size=16, batchnorm=policy)
    plane = nv.random_plane(model, ignore_1d=False)
    assert not {name for name in plane.directions[0] if "running" in name or "num_batches" in name}
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    surface = nv.measure_surface(evaluator, plane, resolution=5, span=3.0)
    assert np.isfinite(surface.loss).all()
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    corner = plane.state_at(3.0, -3.0)
    assert torch.equal(corner["bn1.running_var"], walk[4]["bn1.running_var"])
    assert surface.provenance["batchnorm"].startswith({"batch": "of each batch", "recalibrate": "recalibrated"}.get(policy, policy))
    other = nv.Evaluator(model, data, device="cpu", batch_size=16, batchnorm="batch" if policy != "batch" else "final")
    assert not np.allclose(nv.measure_surface(other, plane, resolution=5, span=3.0).loss, surface.loss, rtol=1e-3)


def test_6_nor_does_the_plane_of_the_hessian(model, data, walk):
    data = data[0].double(), data[1]
    evaluator = nv.Evaluator(model.double().train(), data, device="cpu", batch_size=16)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    plane = nv.hessian_plane(evaluator, max_products=30)
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    assert not {name for name in plane.directions[0] if "running" in name or "num_batches" in name}
    # its curvature is that of the surface whose statistics stay
    evaluator = nv.Evaluator(model, data, device="cpu", batch_size=16, batchnorm="final")
    step = 1e-5
    row = nv.measure_surface(evaluator, plane, x=[-step, 0, step], y=[-step, 0, step]).loss[1]
    assert plane.about["loss"] == pytest.approx(row[1], rel=1e-12)
    assert (row[0] - 2 * row[1] + row[2]) / step**2 == pytest.approx(plane.about["eigenvalues"][0], rel=1e-3)


def test_8_a_grid_that_is_no_square_is_filled_where_it_says():
    model = factories.made(lambda: nn.Linear(2, 1, bias=False)).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 2.0]]))
    directions = [{"weight": torch.tensor([[1.0, 0.0]])}, {"weight": torch.tensor([[0.0, 1.0]])}]
    inputs = torch.tensor([[1.0, 10.0], [1.0, 10.0]], dtype=torch.float64)
    # the loss is the output itself, a plane of values that are negative, zero and positive: none of them means "missing"
    evaluator = nv.Evaluator(model, (inputs, torch.zeros(2)), loss=lambda output, _: output[:, 0] - 21, device="cpu")
    plane = nv.Plane(dict(model.state_dict()), directions)
    x, y = np.arange(-3.0, 4.0), np.arange(-2.0, 3.0)
    surface = nv.measure_surface(evaluator, plane, x=x, y=y)
    assert surface.loss.shape == (5, 7)
    assert np.array_equal(surface.loss, x[None, :] + 10 * y[:, None])
    assert (surface.n == 2).all()
    table = surface.to_pandas()
    assert (table["loss"] == table["x"] + 10 * table["y"]).all()


def test_9_directions_are_gaussian_nearly_orthogonal_and_0_is_a_seed():
    model = factories.made(lambda: nn.Linear(200, 150))
    plane = nv.random_plane(model, normalize=None, seed=0)
    for direction in plane.directions:
        values = direction["weight"]
        assert abs(float(values.mean())) < 0.05
        assert float(values.min()) < -3
        assert float(values.std()) == pytest.approx(1, abs=0.05)
    assert abs(plane.cosine) < 0.05
    torch.manual_seed(1)
    assert nv.random_plane(model, normalize=None, seed=0).digest == plane.digest
    assert nv.random_plane(model, normalize=None, seed=1).digest != plane.digest


def test_9_eigenvectors_are_orthogonal_and_0_is_a_seed_of_theirs_too(evaluator):
    plane = nv.hessian_plane(evaluator, seed=0)
    assert abs(plane.cosine) < 1e-6
    assert nv.hessian_plane(evaluator).digest == plane.digest
    assert nv.hessian_plane(evaluator, seed=1).digest != plane.digest


@pytest.mark.parametrize("name", ["Filter", "weight", "dfilter", "", 1])
def test_10_an_unknown_normalisation_is_refused(model, name):
    with pytest.raises(ValueError, match="normalize: one of 'filter', 'layer', None"):
        nv.random_plane(model, normalize=name)


@pytest.mark.parametrize("normalize", ["filter", "layer"])
def test_10_weights_that_are_all_zero_stay_zero_and_finite(model, data, normalize):
    with torch.no_grad():
        model.fc1.bias.zero_()
        model.conv2.weight.zero_()
    plane = nv.random_plane(model, normalize=normalize, ignore_1d=False)
    for direction in plane.directions:
        assert not direction["fc1.bias"].any()
        assert not direction["conv2.weight"].any()
        assert all(torch.isfinite(tensor).all() for tensor in direction.values())
    assert np.isfinite(nv.measure_surface(nv.Evaluator(model, data, device="cpu"), plane, resolution=3).loss).all()


def level_training(asked):
    """A training in which nothing but the last bias moves, and what it was asked for."""

    def train(*, subset, epochs, seed):
        asked.append(subset.copy())
        model = factories.made(factories.ConvNet, seed)
        for epoch in range(1, epochs + 1):
            with torch.no_grad():
                model.fc2.bias[0] += 0.1 * len(subset) / 57
            yield epoch, model

    return train


def test_11_losses_are_losses_and_accuracies_accuracies_on_the_axis_that_was_trained(model, data):
    evaluator = nv.Evaluator(model, data, device="cpu", name="validation")
    study = nv.preliminary_epochs(level_training([]), evaluator, data, epochs=3, seeds=2)
    for run, seed in enumerate(study.init):
        for column, epoch in enumerate(study.epochs):
            trained = factories.made(factories.ConvNet, int(seed))
            with torch.no_grad():
                for _ in range(epoch):
                    trained.fc2.bias[0] += 0.1
            state = dict(trained.state_dict())
            expected = factories.naive(model, state, data).mean()
            right = (factories.loaded(model, state)(data[0]).argmax(1) == data[1]).double().mean()
            assert study.loss["validation"][run, column] == pytest.approx(expected, rel=1e-5)
            assert study.metrics["validation/accuracy"][run, column] == pytest.approx(float(right))
    lines = study.plot(Figure().add_subplot(), quantity="accuracy").lines
    assert np.array_equal(lines[0].get_xdata(), [1, 2, 3])
    assert np.array_equal(lines[0].get_ydata(), study.metrics["validation/accuracy"][0])


def test_11_a_layers_curve_is_drawn_on_the_axis_it_was_measured_on(evaluator, walk):
    path = nv.LinearPath(walk[0], walk[4])
    axes = Figure().add_subplot()
    for scope, alphas in (("conv1", [-0.5, 0.25, 1.5]), ("fc2", [0.0, 0.5, 0.75, 1.0])):
        result = nv.measure_path(evaluator, path, alphas, scope=scope)
        result.plot(axes, label=scope)
        (line,) = [line for line in axes.lines if line.get_label() == scope]
        assert np.array_equal(line.get_xdata(), alphas)
        assert np.array_equal(line.get_ydata(), result.loss)


def test_11_a_random_subset_is_random(model, data):
    asked = []
    evaluator = nv.Evaluator(model, data, device="cpu", name="validation")
    nv.preliminary_training_size(level_training(asked), evaluator, data, epochs=1, sizes=[20, 40], subsets=2, seeds=1)
    assert [len(subset) for subset in asked] == [20, 20, 40, 40]
    for small, large in ((asked[0], asked[2]), (asked[1], asked[3])):
        assert set(small) < set(large) <= set(range(57))
        assert set(small) != set(range(20))
        assert np.bincount(data[1][large]) == pytest.approx(np.bincount(data[1]) * 40 / 57, abs=1.01)
    assert set(asked[0]) != set(asked[1])


def test_11_as_many_epochs_and_repeats_as_were_asked_for(model, data):
    evaluator = nv.Evaluator(model, data, device="cpu", name="validation")

    def one_short(*, subset, epochs, seed):
        return itertools.islice(level_training([])(subset=subset, epochs=epochs, seed=seed), epochs - 1)

    with pytest.raises(ValueError, match="asked for 4 epochs"):
        nv.preliminary_epochs(one_short, evaluator, data, epochs=4, seeds=1)
    assert nv.preliminary_test_size(evaluator).means["loss"].shape[0] == 100
    assert nv.preliminary_test_size(evaluator, repeats=7).means["loss"].shape[0] == 7


def test_12_what_is_measured_twice_is_the_same_twice(model, data, walk):
    """No noise is added to a plane or a surface, and the global random state is in neither."""

    def measured(seed):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        evaluator = nv.Evaluator(model, data, device="cpu", batch_size=16)
        planes = (
            nv.random_plane(model),
            nv.pca_plane(nv.Run.from_states(walk)),
            nv.three_point_plane(walk[0], walk[2], walk[4]),
            nv.hessian_plane(evaluator),
        )
        return [(plane.digest, nv.measure_surface(evaluator, plane, resolution=(7, 5))) for plane in planes]

    for (digest, one), (again, two) in zip(measured(0), measured(1), strict=True):
        assert digest == again
        for name in ("x", "y", "loss", "loss_se", "diff_se", "n"):
            assert np.array_equal(getattr(one, name), getattr(two, name)), name


def test_5_the_model_is_not_left_at_the_last_point_nor_in_eval_mode(model, walk, evaluator):
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for _ in nv.iter_path(evaluator, nv.LinearPath(walk[0], walk[4]), np.linspace(-1, 2, 7)):
        pass
    assert factories.same(dict(model.state_dict()), before)
    assert all(module.training for module in model.modules())


def test_7_a_quadratic_through_a_weight_that_moved_evenly_moves_it(model, data):
    start, mid, end = ({name: t.clone() for name, t in model.state_dict().items()} for _ in range(3))
    for state, value in ((start, -2.0), (mid, 0.5), (end, 3.0)):  # no second-order term: a parabola that is a line
        state["fc2.weight"][1, 4] = value
    evaluator = nv.Evaluator(model, data, device="cpu", batch_size=16)
    scope, alphas = ("fc2.weight", (1, 4)), np.linspace(0, 1, 11)
    quadratic = nv.measure_path(evaluator, nv.QuadraticPath(start, mid, end), alphas, scope=scope)
    line = nv.measure_path(evaluator, nv.LinearPath(start, end), alphas, scope=scope)
    assert quadratic.rho == 0.5
    assert np.ptp(line.loss) > 1e-3
    assert quadratic.loss == pytest.approx(line.loss, rel=1e-6)
    assert float(nv.QuadraticPath(start, mid, end).state_at(0.25)["fc2.weight"][1, 4]) == pytest.approx(-0.75)


@pytest.mark.parametrize("build", [lambda: factories.ConvNet(bias=False), factories.Counting, factories.ConvNet])
@pytest.mark.parametrize("frozen", [False, True])
def test_13_layers_without_bias_frozen_and_with_integer_buffers_are_measured(data, build, frozen, tmp_path):
    model = factories.made(build).requires_grad_(not frozen)
    states = factories.states(model, 3)
    evaluator = nv.Evaluator(model, data, device="cpu", batch_size=16)
    path = nv.QuadraticPath(*states)
    for scope in (None, *evaluator.layout.layers):
        got = nv.measure_path(evaluator, path, [0.0, 0.4, 1.0], scope=scope)
        assert np.isfinite(got.loss).all()
        assert got.loss[0] != got.loss[2]
        assert got.distance > 0
    with nv.Recorder(model, tmp_path / "run"):
        pass
    assert factories.same(nv.Run.open(tmp_path / "run").initial, dict(model.state_dict()))


def test_13_a_tied_weight_keeps_its_length_and_moves_in_both_places():
    model = factories.made(factories.Tied)
    states = factories.states(model, 3)
    tokens = torch.arange(44) % 11
    evaluator = nv.Evaluator(model, (tokens, tokens.roll(1)), device="cpu")
    by_owner, by_alias = (
        nv.measure_path(evaluator, nv.LinearPath(states[0], states[2]), scope=name)
        for name in ("embedding.weight", "decoder.weight")
    )
    assert np.array_equal(by_owner.loss, by_alias.loss)
    delta = states[2]["embedding.weight"].double() - states[0]["embedding.weight"].double()
    assert by_owner.distance == pytest.approx(float(delta.norm()), rel=1e-12)


@pytest.mark.slow
def test_14_nothing_is_written_where_the_user_named_no_folder_and_importing_configures_nothing(tmp_path):
    script = """
        import logging, os, pathlib, warnings
        import torch
        package = pathlib.Path(__import__("nnvis_widgets").__file__).parent
        roots = package, pathlib.Path.cwd(), pathlib.Path.home()
        listed = lambda: {p for root in roots for p in root.rglob("*") if "__pycache__" not in p.parts}
        before, filters = listed(), warnings.filters[:]
        import nnvis_widgets as nv
        model = torch.nn.Linear(5, 3)
        states = [{k: v.clone() * f for k, v in model.state_dict().items()} for f in (0.0, 1.0)]
        evaluator = nv.Evaluator(model, (torch.randn(20, 5), torch.randint(0, 3, (20,))), device="cpu")
        nv.measure_path(evaluator, nv.LinearPath(*states))
        nv.measure_training(evaluator, nv.Run.from_states(states))
        assert listed() == before, listed() - before
        assert not logging.root.handlers and logging.root.level == logging.WARNING
        assert "nnvis_widgets" not in " ".join(logging.root.manager.loggerDict)
    """
    environment = {**os.environ, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=120, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr


class Boom:
    def __reduce__(self):
        return (os.mkdir, (os.environ["NNVIS_TEST_BOOM"],))


def test_14_no_pickle_is_run(tmp_path, monkeypatch):
    monkeypatch.setenv("NNVIS_TEST_BOOM", str(tmp_path / "boom"))
    torch.save({"state_dict": {"w": torch.zeros(3)}, "extra": Boom()}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="weights_only=True"):
        nv.Run.from_checkpoints([tmp_path / "a.pt"]).initial
    with pytest.raises(ValueError, match="is not a complete safetensors file"):
        nv.load(tmp_path / "a.pt")
    assert not (tmp_path / "boom").exists()
