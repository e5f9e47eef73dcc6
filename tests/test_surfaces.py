import copy
import dataclasses

import factories
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nnvis_widgets as nv
from nnvis_widgets.core import evaluator as module
from nnvis_widgets.core.plane import PlaneError
from nnvis_widgets.core.scope import ScopeError
from nnvis_widgets.core.states import StateError
from nnvis_widgets.core.tiles import nested_grids
from nnvis_widgets.experiments.grids import around_zero, places

pytestmark = pytest.mark.usefixtures("unhurried")
X, Y = np.linspace(-1.5, 1.5, 7), np.linspace(-1, 1, 5)


@pytest.fixture
def plane(model, walk):
    return nv.random_plane(model, seed=2)


@pytest.fixture
def final(model, walk, data):
    """An evaluator whose running statistics stay: every cell is then a plain evaluation of one state."""
    return nv.Evaluator(model, data, device="cpu", batch_size=16, batchnorm="final")


class Bowl(nn.Module):
    """A model whose loss is its weights' distance from a target in a fixed metric: exactly a quadratic form."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2, 3, dtype=torch.float64))

    def forward(self, x):
        return ((self.w.reshape(-1) - x) ** 2 * torch.arange(1.0, 7.0, dtype=torch.float64)).sum(1)


class TestValues:
    def test_a_bowl_is_the_bowl_that_was_made_cell_by_cell(self):
        model = Bowl()
        unit = [torch.zeros(2, 3, dtype=torch.float64) for _ in range(2)]
        unit[0][0, 1], unit[1][1, 2] = 1.0, 1.0  # the second weight, of curvature 2, and the sixth, of curvature 6
        plane = nv.Plane(dict(model.state_dict()), [{"w": unit[0]}, {"w": unit[1]}])
        data = torch.zeros(9, 6, dtype=torch.float64), torch.zeros(9)
        evaluator = nv.Evaluator(model, data, loss=lambda output, _: output, metrics={"half": lambda o, _: o / 2}, device="cpu")
        got = nv.measure_surface(evaluator, plane, x=X, y=Y)
        assert got.loss.shape == (5, 7)
        for i, y in enumerate(Y):
            for j, x in enumerate(X):
                assert got.loss[i, j] == pytest.approx(2 * x**2 + 6 * y**2, rel=1e-15, abs=1e-15)
        assert got.metrics["half"] == pytest.approx(got.loss / 2)
        assert (got.n == 9).all()
        assert got.loss_se == pytest.approx(0)
        assert got.loss[0, 3] == 6  # row is y
        assert got.loss[2, 0] == 4.5

    def test_a_linear_model_under_squared_error_is_a_known_quadratic(self):
        model = factories.made(lambda: nn.Linear(5, 3)).double()
        inputs, targets = factories.vectors()
        plane = nv.random_plane(model, ignore_1d=False, seed=5)
        got = nv.measure_surface(
            nv.Evaluator(model, (inputs, targets), loss=F.mse_loss, device="cpu", batch_size=8), plane, x=X, y=Y
        )

        def outputs(state):
            return (inputs @ state["weight"].T + state["bias"]).detach().numpy()

        rest = outputs(plane.center) - targets.numpy()
        one, two = (outputs(direction) for direction in plane.directions)
        expected = np.array([[((rest + x * one + y * two) ** 2).mean() for x in X] for y in Y])
        assert got.loss == pytest.approx(expected, rel=1e-13)

    def test_each_cell_is_the_loss_of_the_state_there(self, final, plane, data):
        got = nv.measure_surface(final, plane, x=X, y=Y)
        for i, j in ((0, 0), (1, 4), (4, 6), (2, 3)):
            expected = factories.naive(final.model, plane.state_at(X[j], Y[i]), data)
            assert got.loss[i, j] == pytest.approx(expected.mean(), rel=1e-5)
            assert got.loss_se[i, j] == pytest.approx(expected.std(ddof=1) / np.sqrt(57), rel=1e-5)
            center = factories.naive(final.model, plane.center, data)
            paired = (expected - center).std(ddof=1) / np.sqrt(57)
            assert got.diff_se[i, j] == pytest.approx(paired, rel=1e-4, abs=1e-9)

    @pytest.mark.parametrize("resolution", [3, (7, 5), (4, 6)])
    def test_the_centre_is_a_cell_and_its_loss_the_measured_one_bit_for_bit(self, final, plane, walk, run, resolution):
        hessian = nv.hessian_plane(final, max_products=8)
        for made in (plane, nv.pca_plane(run), nv.three_point_plane(walk[0], walk[2], walk[4]), hessian):
            got = nv.measure_surface(final, made, resolution=resolution)
            width, height = (resolution, resolution) if isinstance(resolution, int) else resolution
            assert got.loss.shape == (height, width) == (len(got.y), len(got.x))
            expected = final.measure(made.center)
            at = got.loss[got.y == 0, got.x == 0]
            assert at.tolist() == [expected.loss]
            assert got.center_loss == expected.loss
            assert got.metrics["accuracy"][got.y == 0, got.x == 0].tolist() == [expected.metrics["accuracy"]]
            assert got.loss_se[got.y == 0, got.x == 0].tolist() == [expected.loss_se]
            assert got.diff_se[got.y == 0, got.x == 0].tolist() == [0.0]

    def test_a_grid_without_the_centre_has_the_same_numbers_and_paired_errors(self, final, plane):
        whole = nv.measure_surface(final, plane, x=X, y=Y)
        part = nv.measure_surface(final, plane, x=X[4:], y=Y)
        assert part.loss.shape == (5, 3)
        for name in ("loss", "loss_se", "diff_se", "n"):
            assert np.array_equal(getattr(part, name), getattr(whole, name)[:, 4:])
        assert part.center_loss == whole.center_loss == whole.loss[2, 3]

    def test_on_the_plane_of_three_states_the_paths_have_the_losses_of_the_paths(self, final, walk):
        path = nv.QuadraticPath(walk[0], walk[2], walk[4])
        plane = nv.three_point_plane(walk[0], walk[2], walk[4])
        alphas = [0.0, 0.25, 0.5, 0.8, 1.0]
        curve = nv.measure_path(final, path, alphas)
        for alpha, loss in zip(alphas, curve.loss, strict=True):
            x, y = plane.coordinates(path.state_at(alpha))
            got = nv.measure_surface(final, plane, x=[x - 1, x], y=[y, y + 1])
            assert got.loss[0, 1] == pytest.approx(loss, rel=1e-4)

    def test_a_scope_moves_its_own_weights_only(self, final, plane, walk, data):
        got = nv.measure_surface(final, plane, x=X, y=Y, scope="fc1")
        moved = plane.state_at(X[1], Y[4])
        state = {**walk[4], "fc1.weight": moved["fc1.weight"]}
        assert got.loss[4, 1] == pytest.approx(factories.naive(final.model, state, data).mean(), rel=1e-5)
        assert got.provenance["scope"] == "fc1"
        with pytest.raises(PlaneError, match=r"nothing in 'fc1.bias'; it moves 'conv1.weight'"):
            nv.measure_surface(final, plane, scope="fc1.bias")

    def test_tied_and_half_precision_weights(self):
        tied = factories.made(factories.Tied)
        tokens = torch.arange(44) % 11
        evaluator = nv.Evaluator(tied, (tokens, tokens.roll(1)), device="cpu")
        plane = nv.random_plane(tied)
        got = nv.measure_surface(evaluator, plane, resolution=3)
        assert got.loss[0, 2] == pytest.approx(evaluator.measure(plane.state_at(1, -1)).loss, rel=1e-6)
        half = factories.made(lambda: nn.Linear(5, 3)).bfloat16()
        x, _ = factories.vectors()
        evaluator = nv.Evaluator(half, (x.bfloat16(), torch.arange(31) % 3), device="cpu")
        got = nv.measure_surface(evaluator, nv.random_plane(half), resolution=3)
        assert got.loss[1, 1] == evaluator.measure().loss
        assert got.loss[0, 2] == evaluator.measure(nv.random_plane(half).state_at(1, -1)).loss

    def test_what_diverged_stays_as_it_is(self, walk):
        model = Bowl()
        data = torch.zeros(4, 6, dtype=torch.float64), torch.zeros(4)

        def loss(output, _):
            return torch.where(output > 60, torch.inf, torch.where(output > 30, torch.nan, -output))

        plane = nv.Plane(dict(model.state_dict()), [{"w": torch.ones(2, 3)}, {"w": torch.eye(3)[:2]}])
        got = nv.measure_surface(nv.Evaluator(model, data, loss=loss, device="cpu"), plane, x=X, y=Y)
        assert np.isposinf(got.loss).any()
        assert np.isnan(got.loss).any()
        assert (got.loss[np.isfinite(got.loss)] <= 0).all()
        assert (got.n == 4).all()
        words = f"{(~np.isfinite(got.loss)).sum()} cells not finite"
        assert words in repr(got)
        assert words in got.plot().get_title()


class TestBatchNorm:
    def test_a_plane_before_a_batchnorm_is_recalibrated_and_one_behind_is_not(self, evaluator, model, plane):
        recalibrated = nv.measure_surface(evaluator, plane, resolution=3)
        assert "recalibrated" in recalibrated.provenance["batchnorm"]
        model.conv1.requires_grad_(False)
        behind = nv.measure_surface(evaluator, nv.random_plane(model), resolution=3)
        assert behind.provenance["batchnorm"] == "final"
        assert recalibrated.loss[0, 0] != nv.measure_surface(evaluator, plane, x=[-1, 0], y=[-1, 0], scope="fc1").loss[0, 0]

    def test_filters_of_another_scale_before_a_batchnorm_give_the_same_surface(self, model, walk, data):
        """Rescaling a filter changes nothing that follows a BatchNorm, so filter-normalised surfaces are equal (Li et al.)."""
        model.load_state_dict(walk[0])
        twin = copy.deepcopy(model)
        with torch.no_grad():
            scale = torch.tensor([0.2, 3.0, 10.0])[:, None, None, None]
            twin.conv1.weight.mul_(scale)
            twin.conv1.bias.mul_(scale.reshape(-1))
            for net in (model, twin):
                net.bn1.eps = 1e-12

        def surface(net, **options):
            evaluator = nv.Evaluator(net, data, device="cpu", batch_size=57, batchnorm="recalibrate")
            return nv.measure_surface(evaluator, nv.random_plane(net, **options), x=X, y=Y).loss

        assert surface(model) == pytest.approx(surface(twin), rel=1e-3)
        assert not np.allclose(surface(model, normalize=None), surface(twin, normalize=None), rtol=0.02)

    def test_layers_of_another_scale_without_batchnorm_too(self):
        """ReLU is homogeneous: twice a layer's weights and half of the next one's are the same function."""
        model = factories.made(lambda: factories.ConvNet(norm=False, bias=False))
        twin = copy.deepcopy(model)
        with torch.no_grad():
            for layer, scale in (("conv1", 5.0), ("conv2", 0.5), ("fc1", 0.2), ("fc2", 2.0)):
                twin.get_submodule(layer).weight.mul_(scale)

        def surface(net, **options):
            evaluator = nv.Evaluator(net, factories.images(), device="cpu", batch_size=57)
            return nv.measure_surface(evaluator, nv.random_plane(net, **options), x=X, y=Y).loss

        for normalize in ("filter", "layer"):
            assert surface(model, normalize=normalize) == pytest.approx(surface(twin, normalize=normalize), rel=1e-4)
        assert not np.allclose(surface(model, normalize=None), surface(twin, normalize=None), rtol=0.02)

    def test_interpolated_statistics_of_directions_do_not_exist(self, model, data, plane):
        evaluator = nv.Evaluator(model, data, device="cpu", batchnorm="interpolate")
        with pytest.raises(ValueError, match=r"batchnorm: 'interpolate'.*'recalibrate', 'final' or 'batch'"):
            nv.iter_surface(evaluator, plane)


class TestPartialResults:
    def test_the_first_batch_comes_from_coarse_to_fine_and_every_cell_says_its_n(self, final, plane, monkeypatch):
        monkeypatch.setattr(module, "HEARTBEAT", -1.0)
        results = list(nv.iter_surface(final, plane, resolution=9))
        whole = results[-1]
        first = [r for r in results if (r.n == 0).any()]
        assert len(first) >= 79
        for result in results:
            assert result.n.dtype.kind == "i"
            assert np.array_equal(np.isnan(result.loss), result.n == 0)
            assert np.array_equal(np.isnan(result.metrics["accuracy"]), result.n == 0)
        assert first[0].n.sum() == 16  # one batch of one cell: the centre
        assert first[0].n[4, 4] == 16
        coarse = next(r for r in first if (r.n > 0).sum() == 25)
        assert (coarse.n[::2, ::2] == 16).all()
        assert (whole.n == 57).all()
        assert whole.fraction == 1.0
        assert [r.fraction for r in results] == sorted(r.fraction for r in results)
        assert "not measured" in repr(coarse)
        assert "not measured" in coarse.plot().get_title()

    def test_a_partial_result_is_the_surface_of_its_samples(self, final, plane, data, monkeypatch):
        steps = nv.iter_surface(final, plane, x=X, y=Y)
        partial = next(steps)
        steps.close()
        assert (partial.n == 16).all()
        order = final._samples.order[:16]
        for i, j in ((0, 6), (3, 1)):
            chosen = tuple(part[order] for part in data)
            expected = factories.naive(final.model, plane.state_at(X[j], Y[i]), chosen)
            assert partial.loss[i, j] == pytest.approx(expected.mean(), rel=1e-5)
        assert partial.provenance["n"] == 16

    def test_impatience_changes_no_number(self, final, plane, monkeypatch):
        calm = nv.measure_surface(final, plane, x=X, y=Y)
        monkeypatch.setattr(module, "HEARTBEAT", -1.0)
        hasty = nv.measure_surface(final, plane, x=X, y=Y)
        for name in ("loss", "loss_se", "diff_se", "n"):
            assert np.array_equal(getattr(calm, name), getattr(hasty, name))

    def test_memory_does_not_grow_with_the_samples(self, model, walk, plane, monkeypatch):
        """Between two batches only sums are kept: nothing has both a points and a samples axis."""
        kept = []
        original = module.Book.forget

        def forget(book, batch):
            original(book, batch)
            kept.append(sum(len(v) for v in (book._pending, book._kept)))

        monkeypatch.setattr(module.Book, "forget", forget)
        nv.measure_surface(nv.Evaluator(model, factories.images(90), device="cpu", batch_size=8), plane, resolution=5)
        assert len(kept) == 12
        assert not any(kept)


class TestOrder:
    @pytest.mark.parametrize("shape", [(33, 33), (5, 7), (1, 2), (2, 9), (65, 33)])
    @pytest.mark.parametrize("center", [(0, 0), None])
    def test_every_cell_once_the_centre_first_and_grids_nested(self, shape, center):
        center = center or (shape[0] // 2, shape[1] // 2)
        order = nested_grids(*shape, center)
        assert sorted(order) == list(range(shape[0] * shape[1]))
        assert order[0] == center[0] * shape[1] + center[1]

    def test_33_by_33_comes_as_3_5_9_17_33(self):
        order = nested_grids(33, 33, (16, 16))
        for step in (16, 8, 4, 2):
            side = 32 // step + 1
            expected = {i * 33 + j for i in range(0, 33, step) for j in range(0, 33, step)}
            assert set(order[: side * side]) == expected


class TestResult:
    @pytest.fixture
    def result(self, final, plane, run):
        return nv.measure_surface(final, plane, x=X, y=Y).with_trajectory(plane.project(run))

    def test_it_comes_back_from_its_file(self, result, tmp_path):
        result.save(tmp_path / "s")
        back = nv.load(tmp_path / "s")
        assert isinstance(back, nv.SurfaceResult)
        for name in ("x", "y", "loss", "loss_se", "diff_se", "n", "trajectory", "off_plane", "epochs"):
            assert np.array_equal(getattr(back, name), getattr(result, name)), name
            assert getattr(back, name).dtype == getattr(result, name).dtype
        assert np.array_equal(back.metrics["accuracy"], result.metrics["accuracy"])
        assert back.plane == result.plane
        assert back.provenance == result.provenance
        assert repr(back) == repr(result)

    def test_several_surfaces_share_a_table_and_no_axes(self, result):
        both = nv.ResultSet({"one": result, "two": result})
        assert len(both.to_pandas()) == 70
        with pytest.raises(TypeError, match="plot: only paths with paths"):
            both.plot()

    def test_a_trajectory_too(self, run, tmp_path):
        for plane in (nv.pca_plane(run), nv.random_plane(run.final)):
            trajectory = plane.project(run)
            trajectory.save(tmp_path / "t")
            back = nv.load(tmp_path / "t")
            assert np.array_equal(back.xy, trajectory.xy)
            assert (back.explained is None) == (trajectory.explained is None)
            assert back.to_pandas().columns.tolist() == ["epoch", "x", "y", "off_plane"]
            assert repr(back).startswith("Trajectory(5 checkpoints")
            assert trajectory.plot().get_xlabel() == "x"

    def test_the_table_has_a_row_for_each_cell_x_running_fastest(self, result):
        table = result.to_pandas()
        assert len(table) == 35
        assert table["x"][:7].tolist() == X.tolist()
        assert set(table["y"][:7]) == {-1.0}
        row = table[(table["x"] == X[5]) & (table["y"] == Y[1])].iloc[0]
        assert row["loss"] == result.loss[1, 5]
        assert row["accuracy_diff_se"] == result.metrics_diff_se["accuracy"][1, 5]
        assert row["n"] == 57

    def test_it_says_what_it_is_and_cannot_be_written_to(self, result, plane):
        assert repr(result).startswith("SurfaceResult(random plane: 5 x 7 points, x -1.5 to 1.5, y -1 to 1, loss ")
        assert repr(result).endswith("n = 57, test)")
        assert result.plane["digest"] == plane.digest
        assert result.plane["seed"] == 2
        assert result.provenance["weights"][0] == result.provenance["background"]
        with pytest.raises(ValueError, match="read-only"):
            result.loss[0, 0] = 0
        with pytest.raises(KeyError, match=r"quantity: 'loss' or one of \['accuracy'\], received 'acc'"):
            result.plot(quantity="acc")
        with pytest.raises(TypeError, match=r"trajectory: as plane.project"):
            result.with_trajectory(result.trajectory)

    def test_the_picture_shows_the_centre_the_trajectory_and_what_is_missing(self, result):
        axes = result.plot()
        assert axes.get_title() == "test, n = 57, BatchNorm: final"
        assert [tuple(line.get_xydata()[0]) for line in axes.lines if line.get_marker() == "*"] == [(0, 0)]
        assert any(np.array_equal(line.get_xydata(), result.trajectory) for line in axes.lines)
        assert axes.get_xlim() == (-1.5, 1.5)
        assert axes.get_ylim() == (-1, 1)
        assert axes.patches[0].get_hatch() == "///"

    def test_colours_leave_out_what_is_not_finite(self, result):
        loss = result.loss.copy()
        loss[0, :2] = np.inf, np.nan
        loss[1, 1] = 1e30
        drawn = dataclasses.replace(result, loss=loss).plot(log=False)
        assert "2 cells not finite" in drawn.get_title()
        assert drawn.collections[0].get_clim()[1] < 1e30
        for odd in (np.full((5, 7), np.nan), np.zeros((5, 7)), np.full((5, 7), -2.0)):
            dataclasses.replace(result, loss=odd).plot()
        with pytest.raises(ValueError, match="log: only for a quantity that is positive everywhere"):
            dataclasses.replace(result, loss=-result.loss).plot(log=True)


class TestRefusals:
    def test_bad_input_is_refused_when_the_generator_is_made(self, final, plane):
        for options, words in (
            ({"x": [0, 0]}, "x: finite numbers in ascending order"),
            ({"y": [1, 0]}, "y: finite numbers in ascending order"),
            ({"x": [0, np.nan]}, "x: finite numbers"),
            ({"x": 3}, "x: a vector of at least two coordinates .*nv.measure_path"),
            ({"x": "wide"}, "x: a vector of numbers, received 'wide'"),
            ({"resolution": 2}, "resolution: a whole number of at least 3, or two of them for x and y; received 2"),
            ({"resolution": 5.0}, "resolution: a whole number"),
            ({"resolution": (3, 4, 5)}, "resolution: a whole number"),
            ({"span": 0}, "span: a positive number"),
            ({"span": np.inf}, "span: a positive number"),
            ({"span": 1, "x": X, "y": Y}, "span: x and y say already"),
        ):
            with pytest.raises(ValueError, match=words):
                nv.iter_surface(final, plane, **options)
        with pytest.raises(ScopeError, match="fcl"):
            nv.iter_surface(final, plane, scope="fcl")
        with pytest.raises(TypeError, match="evaluator: the first argument"):
            nv.iter_surface(plane, final)
        with pytest.raises(TypeError, match=r"plane: as nv.random_plane"):
            nv.iter_surface(final, plane.center)

    def test_a_plane_of_another_model_is_refused(self, final):
        with pytest.raises(StateError, match="plane: its centre does not fit the model"):
            nv.measure_surface(final, nv.random_plane({"w": torch.ones(5, 7)}))

    def test_a_plane_that_would_move_a_buffer_or_part_tied_weights_is_refused(self):
        class Masked(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(35, 3)
                self.register_buffer("mask", torch.ones(5, 7))

            def forward(self, x):
                return self.fc((x * self.mask).flatten(1))

        model = factories.made(Masked)
        evaluator = nv.Evaluator(model, factories.images(), device="cpu")
        with pytest.raises(PlaneError, match="it moves 'mask', which is a buffer of this model; make the plane with model="):
            nv.measure_surface(evaluator, nv.random_plane(dict(model.state_dict())))
        known = nv.measure_surface(evaluator, nv.random_plane(dict(model.state_dict()), model=model), resolution=3)
        assert np.isfinite(known.loss).all()
        tied = factories.made(factories.Tied)
        tokens = torch.arange(44) % 11
        evaluator = nv.Evaluator(tied, (tokens, tokens.roll(1)), device="cpu")
        parted = {name: tensor.clone() for name, tensor in tied.state_dict().items()}
        with pytest.raises(PlaneError, match="one tied weight"):
            nv.measure_surface(evaluator, nv.random_plane(parted))
        assert np.isfinite(nv.measure_surface(evaluator, nv.random_plane(parted, model=tied), resolution=3).loss).all()

    def test_ranges_are_what_was_asked_for(self, final, plane, run):
        assert nv.measure_surface(final, plane, resolution=3, span=(2.0, 0.5)).x.tolist() == [-2, 0, 2]
        got = nv.measure_surface(final, plane, resolution=(3, 5))
        assert got.x.tolist() == [-1, 0, 1]
        assert got.y.tolist() == [-1, -0.5, 0, 0.5, 1]
        assert nv.measure_surface(final, plane, resolution=3, x=[-3, 0, 0.1, 8]).x.tolist() == [-3, 0, 0.1, 8]
        principal = nv.pca_plane(run)
        got = nv.measure_surface(final, principal, resolution=9)
        x0, x1, y0, y1 = principal.extent
        assert got.x[0] <= x0
        assert got.x[-1] >= x1
        assert got.y[0] <= y0
        assert got.y[-1] >= y1
        assert 0 in got.x
        assert 0 in got.y


def counting(evaluator, monkeypatch):
    """Return a list that grows by the rows of each sweep."""
    swept = []
    original = evaluator.sweep

    def sweep(family, rows, **options):
        swept.append(np.array(rows))
        return original(family, rows, **options)

    monkeypatch.setattr(evaluator, "sweep", sweep)
    return swept


class TestGrids:
    @pytest.mark.parametrize("extent", [(-1.0, 1.0), (-0.37, 1.91), (-3.3, 0.1), (-0.1, 7.7)])
    def test_each_grid_is_in_the_next_bit_for_bit_and_covers_what_it_should(self, extent):
        by_count = {count: around_zero(extent, count) for count in (9, 17, 33, 65, 129)}
        for count, values in by_count.items():
            assert len(values) == count
            assert 0.0 in values
            assert values[0] <= extent[0]
            assert values[-1] >= extent[1]
            assert (np.diff(values) > 0).all()
            for coarse in (known for number, known in by_count.items() if number < count):
                assert set(coarse.tolist()) <= set(values.tolist())

    @pytest.mark.parametrize("count", [3, 5, 9, 17, 33])
    def test_with_a_span_small_ones_too_and_twice_the_span_at_twice_the_points(self, count):
        values = around_zero((-1, 1), count, 0.7)
        assert set(values.tolist()) <= set(around_zero((-1, 1), 2 * count - 1, 0.7).tolist())
        assert set(values.tolist()) <= set(around_zero((-1, 1), 2 * count - 1, 1.4).tolist())
        assert values[0] == -0.7 == -values[-1]

    def test_other_counts_have_as_many_points_below_zero_as_fit_best(self):
        assert around_zero((-1, 3), 5).tolist() == [-1, 0, 1, 2, 3]
        assert around_zero((-1, 2), 7).tolist() == [-1, -0.5, 0, 0.5, 1, 1.5, 2]

    def test_places_are_those_of_equal_numbers(self):
        assert places(np.array([-3.0, -1, 0, 0.1, 5]), np.array([-1.0, 0, 0.1, 0.3])).tolist() == [-1, 0, 1, 2, -1]
        assert places(np.array([0.1, 7.0]), np.array([0.1 + 1e-16, 0.2])).tolist() == [-1, -1]


class TestKnown:
    FIELDS = ("loss", "loss_se", "diff_se", "n")

    def same(self, got, expected):
        for name in self.FIELDS:
            assert getattr(got, name) == pytest.approx(getattr(expected, name), rel=1e-5, abs=1e-8, nan_ok=True), name
        for name in ("metrics", "metrics_se", "metrics_diff_se"):
            assert getattr(got, name)["accuracy"] == pytest.approx(getattr(expected, name)["accuracy"], rel=1e-5, abs=1e-8)

    def test_a_finer_grid_costs_its_new_cells_and_the_centre(self, final, run, monkeypatch):
        plane = nv.pca_plane(run)
        coarse = nv.measure_surface(final, plane, resolution=(17, 9))
        fresh = nv.measure_surface(final, plane, resolution=(33, 17))
        swept = counting(final, monkeypatch)
        got = nv.measure_surface(final, plane, resolution=(33, 17), known=coarse)
        (rows,) = swept
        assert len(rows) == 33 * 17 - 17 * 9 + 1
        assert len(np.unique(rows, axis=0)) == len(rows)
        cells = {(x, y) for _, x, y in rows.tolist()}
        assert cells & {(x, y) for x in coarse.x for y in coarse.y} == {(0, 0)}
        assert np.array_equal(got.loss[::2, ::2], coarse.loss)
        assert got.provenance["reused"] == 17 * 9
        assert coarse.provenance["reused"] == 0
        assert got.fraction == 1.0
        assert got.center_loss == coarse.center_loss
        self.same(got, fresh)
        assert got.provenance["data"] == fresh.provenance["data"]

    def test_a_wider_one_costs_what_lies_outside(self, final, plane, monkeypatch, tmp_path):
        nv.measure_surface(final, plane, resolution=(5, 9), span=(0.7, 2.0)).save(tmp_path / "s")
        small = nv.load(tmp_path / "s")
        swept = counting(final, monkeypatch)
        wide = nv.measure_surface(final, plane, resolution=(9, 17), span=(1.4, 4.0), known=small)
        assert len(swept[0]) == 9 * 17 - 45 + 1
        assert np.array_equal(wide.loss[4:13, 2:7], small.loss)
        assert np.array_equal(wide.metrics_diff_se["accuracy"][4:13, 2:7], small.metrics_diff_se["accuracy"])
        self.same(wide, nv.measure_surface(final, plane, resolution=(9, 17), span=(1.4, 4.0)))
        own = nv.measure_surface(final, plane, x=[-3.5, *small.x, 9], y=small.y, known=wide)
        assert len(swept[-1]) == 2 * 9 + 1
        assert own.provenance["reused"] == 45

    def test_a_part_is_measured_no_more_and_a_grid_beside_it_whole(self, final, plane, monkeypatch):
        whole = nv.measure_surface(final, plane, x=X, y=Y)
        swept = counting(final, monkeypatch)
        results = list(nv.iter_surface(final, plane, x=X[4:], y=Y[:3], known=whole))
        assert not swept
        assert len(results) == 1
        assert np.array_equal(results[0].loss, whole.loss[:3, 4:])
        assert results[0].center_loss == whole.center_loss
        assert results[0].fraction == 1.0
        assert results[0].provenance["reused"] == 9
        other = nv.measure_surface(final, plane, x=X + 0.01, y=Y, known=whole)
        assert len(swept[0]) == 36
        assert other.provenance["reused"] == 0

    def test_a_grid_without_the_centre_keeps_its_loss(self, final, plane, monkeypatch):
        side = nv.measure_surface(final, plane, x=X[5:], y=Y)
        got = nv.measure_surface(final, plane, x=X[4:], y=Y, known=side)
        assert got.center_loss == side.center_loss
        self.same(got, nv.measure_surface(final, plane, x=X[4:], y=Y))
        # what is known may lack the centre: that alone is then measured
        half = dataclasses.replace(side, fraction=0.5)
        swept = counting(final, monkeypatch)
        again = nv.measure_surface(final, plane, x=X[5:], y=Y, known=half)
        assert swept[0].tolist() == [[1, 0, 0]]
        assert again.center_loss == side.center_loss
        assert np.array_equal(again.loss, side.loss)

    def test_it_is_there_from_the_first_partial_result_on(self, final, plane, monkeypatch):
        coarse = nv.measure_surface(final, plane, resolution=(9, 5))
        monkeypatch.setattr(module, "HEARTBEAT", -1.0)
        results = list(nv.iter_surface(final, plane, resolution=(17, 9), known=coarse))
        assert (results[0].n > 0).sum() == 45
        for result in results:
            assert np.array_equal(result.loss[::2, ::2], coarse.loss)
            assert (result.n[::2, ::2] == 57).all()
            assert result.center_loss == coarse.center_loss
            assert np.array_equal(np.isnan(result.loss), result.n == 0)
            assert result.provenance["n"] == 57
        middle = next(r for r in results if (r.n == 16).any() and (r.n > 0).all())
        # a stopped one is known in turn: its complete cells, and no others
        again = nv.measure_surface(final, plane, resolution=(17, 9), known=middle)
        assert again.provenance["reused"] == 45
        self.same(again, results[-1])

    def test_what_a_stopped_one_has_not_finished_is_measured(self, final, plane):
        steps = nv.iter_surface(final, plane, resolution=3)
        partial = next(steps)
        steps.close()
        assert (partial.n == 16).all()
        assert nv.measure_surface(final, plane, resolution=5, known=partial).provenance["reused"] == 0

    def test_what_diverged_is_known_too(self, monkeypatch):
        model = Bowl()
        plane = nv.Plane(dict(model.state_dict()), [{"w": torch.ones(2, 3)}, {"w": torch.eye(3)[:2]}])
        data = torch.zeros(4, 6, dtype=torch.float64), torch.zeros(4)
        evaluator = nv.Evaluator(model, data, loss=lambda o, _: torch.where(o > 30, torch.nan, o), device="cpu")
        coarse = nv.measure_surface(evaluator, plane, resolution=(3, 5), span=2)
        assert np.isnan(coarse.loss).any()
        swept = counting(evaluator, monkeypatch)
        got = nv.measure_surface(evaluator, plane, resolution=(5, 9), span=2, known=coarse)
        assert len(swept[0]) == 45 - 15 + 1
        assert np.isnan(got.loss[::2, ::2]).sum() == np.isnan(coarse.loss).sum()

    def test_recalibrated_cells_too(self, evaluator, plane):
        coarse = nv.measure_surface(evaluator, plane, resolution=(3, 5))
        got = nv.measure_surface(evaluator, plane, resolution=(5, 9), known=coarse)
        self.same(got, nv.measure_surface(evaluator, plane, resolution=(5, 9)))

    def test_others_are_refused_with_the_reason(self, final, evaluator, plane, model, data, walk):
        known = nv.measure_surface(final, plane, x=X, y=Y)

        def tried(evaluator, plane=plane, **options):
            nv.iter_surface(evaluator, plane, x=X, y=Y, known=known, **options)

        def made(**options):
            return nv.Evaluator(model, data, **{"device": "cpu", "batch_size": 16, "batchnorm": "final", **options})

        tried(made())
        for act, words in (
            (lambda: tried(final, nv.random_plane(model, seed=3)), r"known: a surface of this plane \(random, .*leave it out"),
            (lambda: tried(evaluator), r"another BatchNorm policy \('final', here 'recalibrated on 48 samples"),
            (lambda: tried(final, batchnorm="batch"), r"another BatchNorm policy \('final', here 'of each batch'"),
            (lambda: tried(final, scope="fc1"), "another scope"),
            (lambda: tried(made(seed=1)), r"another order of the samples \(seed\) \(0, here 1\)"),
            (lambda: tried(made(batch_size=19)), r"another batch size \(16, here 19\)"),
            (lambda: tried(made(samples=40)), "measured on 57 samples, and the evaluator has 40"),
            (lambda: tried(made(loss=F.multi_margin_loss)), r"another loss \('cross_entropy', here 'multi_margin_loss'"),
            (lambda: tried(made(metrics={"right": lambda o, t: (o.argmax(1) == t).float()})), r"its metrics are \['accuracy'\]"),
        ):
            with pytest.raises(ValueError, match=words):
                act()
        others = nv.Evaluator(model, (data[0] + 1, data[1]), device="cpu", batch_size=16, batchnorm="final")
        with pytest.raises(ValueError, match="another data"):
            tried(others)
        with pytest.raises(TypeError, match="known: a SurfaceResult of the same plane, received dict"):
            nv.iter_surface(final, plane, known={})


class TestSamples:
    def test_it_stops_after_the_first_complete_batches_that_hold_them(self, final, plane, data, monkeypatch):
        results = list(nv.iter_surface(final, plane, x=X, y=Y, samples=20))
        got = results[-1]
        assert (got.n == 32).all()
        assert got.fraction == 1.0
        assert [r.fraction for r in results] == [0.5, 1.0]
        assert got.provenance["n"] == 32
        chosen = tuple(part[final._samples.order[:32]] for part in data)
        expected = factories.naive(final.model, plane.state_at(X[5], Y[1]), chosen)
        assert got.loss[1, 5] == pytest.approx(expected.mean(), rel=1e-5)
        assert got.loss_se[1, 5] == pytest.approx(expected.std(ddof=1) / np.sqrt(32), rel=1e-5)

    @pytest.mark.parametrize(("asked", "n"), [(1, 16), (16, 16), (17, 32), (49, 57), (57, 57), (None, 57)])
    def test_whole_batches(self, final, asked, n):
        assert final.covered(asked) == n

    def test_a_batch_of_one_belongs_to_the_one_before(self, model):
        evaluator = nv.Evaluator(model, factories.images(33), device="cpu", batch_size=16)
        assert [evaluator.covered(samples) for samples in (16, 17, 32, 33)] == [16, 33, 33, 33]

    def test_known_cells_of_as_many_are_taken_over_and_of_others_not(self, final, plane):
        few = nv.measure_surface(final, plane, resolution=3, samples=16)
        assert nv.measure_surface(final, plane, resolution=5, samples=10, known=few).provenance["reused"] == 9
        assert nv.measure_surface(final, plane, resolution=5, known=few).provenance["reused"] == 0

    def test_with_workers_the_same(self, model, data, plane, walk, final):
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(2) as pool:
            evaluator = nv.Evaluator(model, data, device="cpu", batch_size=16, batchnorm="final", executor=pool)
            got = nv.measure_surface(evaluator, plane, x=X, y=Y, samples=20)
        expected = nv.measure_surface(final, plane, x=X, y=Y, samples=20)
        assert np.array_equal(got.loss, expected.loss)
        assert (got.n == 32).all()

    def test_impossible_numbers_are_refused_at_once(self, final, plane):
        for samples in (0, 58, 2.5, True):
            with pytest.raises(ValueError, match=r"samples: a whole number from 1 to 57"):
                nv.iter_surface(final, plane, samples=samples)


class TestPolicy:
    def test_a_surface_may_have_another_policy_than_its_evaluator(self, evaluator, final, plane):
        got = nv.measure_surface(evaluator, plane, x=X, y=Y, batchnorm="final")
        assert got.provenance["batchnorm"] == "final"
        assert np.array_equal(got.loss, nv.measure_surface(final, plane, x=X, y=Y).loss)
        recalibrated = nv.measure_surface(final, plane, x=X, y=Y, batchnorm="auto")
        assert recalibrated.loss == pytest.approx(nv.measure_surface(evaluator, plane, x=X, y=Y).loss, rel=1e-6)
        assert recalibrated.provenance["calibration"]

    def test_it_is_checked_like_the_evaluators_own(self, final, plane):
        with pytest.raises(ValueError, match=r"batchnorm: one of 'auto', 'final'.*received 'fresh'"):
            nv.iter_surface(final, plane, batchnorm="fresh")
        with pytest.raises(ValueError, match="batchnorm: 'interpolate' mixes"):
            nv.iter_surface(final, plane, batchnorm="interpolate")
