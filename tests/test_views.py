"""Views as data: the weight map's cells, the static picture, ticks and limits. No browser."""

import numpy as np
import pytest

from nnvis_widgets.results import PathResult
from nnvis_widgets.views.curves import Curve, CurvesView, Scene, _limits, _tick_format
from nnvis_widgets.views.static import rendered, static_bundle, still_of
from nnvis_widgets.views.weight_map import MOST_CELLS, WeightMap, arrange


def result(kind="linear", loss=(2.0, 1.0, 0.5), scope="fc1", **more):
    loss = np.array(loss, dtype=float)
    k = len(loss)
    values = {
        "alphas": np.linspace(0, 1, k), "loss": loss, "loss_se": np.full(k, 0.1), "diff_se": np.linspace(0.2, 0, k),
        "metrics": {"accuracy": np.linspace(0.1, 0.9, k)}, "metrics_diff_se": {"accuracy": np.zeros(k)},
        "n": 20, "kind": kind, "scope": scope, "distance": 1.5, "provenance": {"split": "test", "batchnorm": "final"},
    }  # fmt: skip
    return PathResult(**{**values, **more})


def test_a_matrix_is_shown_as_it_is():
    values = np.arange(35.0).reshape(5, 7)
    cells, shown = arrange(values)
    np.testing.assert_array_equal(cells, np.arange(35).reshape(5, 7))
    np.testing.assert_array_equal(shown, values)


def test_filters_become_a_table_of_tiles_with_gaps():
    values = np.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    cells, _ = arrange(values)
    assert cells.shape == (2 * 5 - 1, 3 * 6 - 1)
    assert (cells[4] == -1).all()
    assert cells[5 + 1, 6 + 2] == np.ravel_multi_index((1, 1, 1, 2), values.shape)


@pytest.mark.parametrize("shape", [(1,), (), (41,), (6, 1, 3, 3), (5, 7), (4, 3, 9), (3, 2, 2, 3, 2)])
def test_every_weight_has_exactly_one_cell(shape):
    values = np.random.default_rng(0).random(shape)
    cells, shown = arrange(values)
    there = cells[cells >= 0]
    np.testing.assert_array_equal(np.sort(there), np.arange(values.size))
    np.testing.assert_array_equal(shown[cells >= 0], values.ravel()[there])


def test_a_large_tensor_shows_the_largest_weight_of_each_block():
    values = np.zeros((3 * MOST_CELLS, 10))
    values[7, 4] = 5.0
    cells, shown = arrange(values)
    assert cells.shape == (MOST_CELLS, 10)
    row, column = np.argwhere(shown == 5.0)[0]
    assert (row, column) == (2, 4)
    assert cells[row, column] == 74


def test_a_click_picks_the_weight_under_it_and_gaps_pick_nothing():
    picked = []
    view = WeightMap(picked.append)
    view.show(np.ones((2, 3, 2, 2)), "conv")
    view.pick(0.5, view.grid.shape[0] - 0.5)
    view.pick(2.5, 0.5)
    view.pick(-1.0, 0.5)
    view.pick(3.5, 1.5)
    assert picked == [0, np.ravel_multi_index((1, 1, 0, 0), (2, 3, 2, 2))]


def test_points_that_are_not_finite_are_left_out_of_the_line():
    view = CurvesView()
    view.show(Scene({"linear": result(loss=(np.nan, 3.0, np.inf, 1.0, 0.5))}))
    line = view._plots["loss"].lines["linear"]
    np.testing.assert_array_equal(line.x, [0.25, 0.75, 1.0])
    np.testing.assert_array_equal(line.y, [3.0, 1.0, 0.5])


def test_nothing_measured_draws_nothing_and_breaks_nothing():
    view = CurvesView()
    view.show(Scene({"linear": result(loss=(np.nan, np.nan, np.nan))}))
    plot = view._plots["loss"]
    assert not plot.lines["linear"].visible
    assert np.isfinite(plot.lines["linear"].y).all()
    assert (plot.y.min, plot.y.max) == (0.0, 1.0)


def test_crossings_are_marked_where_the_curves_part_on_both_sides():
    training = result("training", loss=(2.0, 0.5, 0.5), epochs=np.array([0.0, 5.0, 10.0]))
    linear = result(loss=(2.5, 1.0, 0.0))
    view = CurvesView()
    view.show(Scene({"linear": linear, "training": training}))
    marks = view._plots["loss"].crossings
    assert marks.visible
    np.testing.assert_allclose(marks.x, [0.75])
    np.testing.assert_allclose(marks.y, [0.5])
    view.show(Scene({"linear": linear, "training": training}, crossings=False))
    assert not marks.visible


def test_marks_are_made_once_and_changed():
    view = CurvesView()
    marks = list(view.figures["loss"].marks)
    view.show(Scene({"linear": result()}))
    view.show(Scene({"quadratic": result("quadratic")}, curves=[Curve(result(), "fc1", "#000000")]))
    assert view.figures["loss"].marks == marks


def test_curves_of_different_lengths_share_one_mark():
    view = CurvesView()
    short, long = result(loss=(3.0, 1.0)), result(loss=(4.0, 3.0, 2.0, 1.0))
    view.show(Scene({}, curves=[Curve(short, "a", "#111111"), Curve(long, "b", "#222222", 0.5)]))
    mark = view._plots["loss"].many["linear"]
    np.testing.assert_array_equal(mark.y, [[3.0, 1.0, 1.0, 1.0], [4.0, 3.0, 2.0, 1.0]])
    assert list(mark.opacities) == [1.0, 0.5]


def test_zoom_keeps_the_range_and_reset_returns_it():
    view = CurvesView()
    scene = Scene({"linear": result()})
    view.show(scene)
    whole = view._x.min, view._x.max, view._plots["loss"].y.max
    view.zoom(True)
    view._x.min, view._x.max, view._plots["loss"].y.max = 0.4, 0.6, 1.1
    view.show(scene)
    assert view._x.min == 0.4
    view.reset(scene)
    assert (view._x.min, view._x.max, view._plots["loss"].y.max) == whole


@pytest.mark.parametrize(("span", "expected"), [(2.4, ".1f"), (0.03, ".3f"), (6e-5, ".6f"), (300.0, ".0f"), (0.0, ".3f")])
def test_ticks_have_the_decimals_that_tell_them_apart(span, expected):
    assert _tick_format(span) == expected


def test_limits_enclose_what_is_finite_and_never_collapse():
    low, high = _limits([np.array([1.0, np.inf, np.nan]), np.array([[3.0], [2.0]])])
    assert low < 1.0 < 3.0 < high
    low, high = _limits([np.array([0.7])])
    assert low < 0.7 < high


def test_the_static_picture_is_a_png_hidden_beside_the_live_widget():
    png = rendered({"": still_of({"linear": result(), "training": result("training", epochs=np.arange(3.0))})})
    assert png.startswith(b"\x89PNG")
    bundle = static_bundle(png)
    assert "body:has(.nnvis)" in bundle["text/html"]
    assert bundle["image/png"] in bundle["text/html"]
    assert still_of({}) is None
    assert static_bundle(None)["text/html"] == ""
