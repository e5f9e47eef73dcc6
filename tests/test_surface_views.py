"""The pictures of a surface, without a browser: what is drawn, on an asymmetric grid of 5 x 7 with holes."""

import base64
import dataclasses
import io

import ipywidgets as widgets
import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from nnvis_widgets.results import SurfaceResult
from nnvis_widgets.views import ground
from nnvis_widgets.views.confusion import ConfusionView
from nnvis_widgets.views.contour import ContourView
from nnvis_widgets.views.sample_cards import Card, as_picture, cards
from nnvis_widgets.views.slices import SlicesView
from nnvis_widgets.views.surface_scene import SurfaceScene, Track, bilinear, filled
from nnvis_widgets.views.variance import VarianceView

X, Y = np.linspace(-1.5, 1.5, 7), np.linspace(-1, 1, 5)
PLANE = 2 + X[None] + 3 * Y[:, None] + np.zeros((5, 7))
BOWL = 1 + X[None] ** 2 + 3 * Y[:, None] ** 2


def surface(loss=BOWL, n=None, plane=None, metrics=None):
    zero = np.zeros_like(loss)
    n = np.full(loss.shape, 9) if n is None else n
    return SurfaceResult(X, Y, loss, zero, zero, metrics or {}, n, plane or {})


def partial(loss=PLANE):
    n = np.full(loss.shape, 9)
    n[:, 1::2] = 0
    n[1::2] = 0
    return surface(np.where(n > 0, loss, np.nan), n)


TRACK = Track(
    "sgd", np.array([[-1.0, -0.5], [0.0, 0.0], [0.5, 0.25]]), np.array([0.0, 0.8, 0.2]), np.array([0.0, 1.0, 3.0]), colour="#FF8800"
)


class TestScene:
    def test_unmeasured_cells_of_a_plane_are_interpolated_exactly_inside_what_is_known(self):
        scene = SurfaceScene(partial())
        assert scene.filled() == pytest.approx(PLANE)
        assert np.isnan(scene.values[:, 1]).all()

    def test_what_diverged_stays_nan_and_counts(self):
        holed = BOWL.copy()
        holed[1, 4], holed[2, 5] = np.inf, np.nan
        scene = SurfaceScene(surface(holed))
        assert scene.diverged == 2
        assert np.argwhere(np.isnan(scene.filled())).tolist() == [[1, 4], [2, 5]]

    def test_with_one_row_known_the_others_take_their_nearest(self):
        values = np.full((3, 4), np.nan)
        values[0] = [1.0, 2.0, 3.0, 4.0]
        answer = filled(values, np.isfinite(values), np.arange(4.0), np.array([0.0, 1.0, 5.0]))
        assert (answer == values[0]).all()

    def test_nothing_known_stays_nothing(self):
        values = np.full((3, 4), np.nan)
        assert np.isnan(filled(values, np.zeros((3, 4), bool), np.arange(4.0), np.arange(3.0))).all()

    def test_heights_are_bilinear_on_an_uneven_grid_and_nan_outside(self):
        x, y = np.array([0.0, 1.0, 4.0]), np.array([-2.0, 3.0])
        grid = 1 + 2 * x[None] - y[:, None] + 0.5 * x[None] * y[:, None]
        places = np.array([[0.25, 0.0], [3.0, 2.5], [4.0, 3.0], [4.1, 0.0], [1.0, -2.1]])
        expected = 1 + 2 * places[:, 0] - places[:, 1] + 0.5 * places[:, 0] * places[:, 1]
        found = bilinear(grid, x, y, places)
        assert found[:3] == pytest.approx(expected[:3])
        assert np.isnan(found[3:]).all()

    def test_a_corner_that_is_nan_does_not_matter_where_it_has_no_weight(self):
        grid = np.array([[1.0, 2.0], [3.0, np.nan]])
        found = bilinear(grid, np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.array([[0.5, 0.0], [0.5, 0.5]]))
        assert found[0] == 1.5
        assert np.isnan(found[1])

    @pytest.mark.parametrize(("top", "logarithmic"), [(19.0, False), (21.0, True)])
    def test_logarithms_from_a_span_of_a_factor_of_twenty(self, top, logarithmic):
        loss = np.full((5, 7), 1.0)
        loss[0, 0] = top
        scene = SurfaceScene(surface(loss))
        assert scene.logarithmic is logarithmic
        assert scene.label == ("log10 loss" if logarithmic else "loss")
        assert scene.values.max() == pytest.approx(np.log10(top) if logarithmic else top)

    def test_a_loss_that_reaches_zero_has_no_logarithm_even_when_asked(self):
        loss = BOWL - 1
        assert SurfaceScene(surface(loss), scale="log10").logarithmic is False

    def test_colours_of_a_loss_end_at_the_98th_percentile_those_of_an_accuracy_begin_at_the_2nd(self):
        loss = np.arange(35.0).reshape(5, 7) + 1
        loss[4, 6] = 1e6
        scene = SurfaceScene(surface(loss, metrics={"accuracy": loss[::-1] / 1e6}), scale="linear")
        assert scene.limits == (1.0, np.percentile(loss, 98))
        accuracy = dataclasses.replace(scene, quantity="accuracy")
        assert accuracy.limits == (np.percentile(loss / 1e6, 2), 1.0)

    def test_clipped_heights_end_where_the_colours_do(self):
        loss = BOWL.copy()
        loss[0, 0] = 100.0
        scene = SurfaceScene(surface(loss), scale="clipped")
        assert scene.values.max() == pytest.approx(np.percentile(loss, 98))
        assert scene.values[2, 3] == 1.0

    def test_a_flat_surface_has_limits_on_both_sides_and_no_isolines(self):
        scene = SurfaceScene(surface(np.full((5, 7), 4.0)))
        assert scene.limits == (2.0, 6.0)
        assert len(scene.isolines) == 0

    def test_isolines_are_as_many_as_wanted_at_quantiles(self):
        scene = SurfaceScene(surface(PLANE), levels=3, scale="linear")
        assert scene.isolines == pytest.approx(np.quantile(PLANE, [0.25, 0.5, 0.75]))


class TestGround:
    def test_pixels_are_the_colours_of_the_values_between_the_grids_points(self):
        scene = SurfaceScene(surface(PLANE), scale="linear")
        found = ground.pixels(scene, 61, 41)
        x, y = np.linspace(-1.5, 1.5, 61), np.linspace(1, -1, 41)
        low, high = scene.limits
        expected = colormaps["cividis"]((2 + x[None] + 3 * y[:, None] - low) / (high - low), bytes=True)
        assert np.abs(found.astype(int) - expected).max() <= 2  # colours change by one step at most from rounding

    def test_what_is_not_measured_is_pale_what_diverged_is_grey_hatched(self):
        part = partial()
        loss = part.loss.copy()
        loss[2, 2] = np.inf
        found = ground.pixels(SurfaceScene(surface(loss, part.n)), 70, 50)
        assert found[-1, 0, 3] == 255
        assert found[25 - 12, 17, 3] == 110  # a cell that is between measured ones
        patch = found[25, 19:28]
        assert {tuple(pixel) for pixel in patch} & {(128, 128, 128, 255)}
        assert {tuple(pixel) for pixel in patch} & {(160, 160, 160, 255)}

    def test_nothing_measured_is_transparent(self):
        nothing = surface(np.full((5, 7), np.nan), np.zeros((5, 7), int))
        assert (ground.pixels(SurfaceScene(nothing), 14, 10)[..., 3] == 0).all()

    def test_isolines_of_a_plane_are_straight_and_at_their_level(self):
        scene = SurfaceScene(surface(PLANE), levels=4, scale="linear")
        pieces = ground.isolines(scene)
        assert len(pieces) == 4
        for level, points in pieces:
            assert 2 + points[:, 0] + 3 * points[:, 1] == pytest.approx(level)

    def test_no_isoline_crosses_a_hole(self):
        holed = PLANE.copy()
        holed[2, 3] = np.nan
        for _, points in ground.isolines(SurfaceScene(surface(holed), levels=9, scale="linear")):
            assert (np.abs(points).sum(axis=1) > 0.49).all()  # the diamond between the hole's four neighbours

    def test_ticks_are_the_quantitys_own_values_at_their_logarithms_places(self):
        loss = np.geomspace(0.04, 5, 35).reshape(5, 7)
        scene = SurfaceScene(surface(loss), scale="log10")
        low, high = scene.limits
        marks = ground.ticks(scene)
        assert [text for _, text in marks] == ["0.05", "0.1", "0.2", "0.5", "1", "2"]
        for place, text in marks:
            assert place == pytest.approx((np.log10(float(text)) - low) / (high - low))

    @pytest.mark.parametrize("loss", [np.full((5, 7), 4.0), 3 + 1e-7 * PLANE, PLANE * 1e9, PLANE * 1e-9])
    def test_ticks_of_any_range_are_distinct_and_inside(self, loss):
        marks = ground.ticks(SurfaceScene(surface(loss), scale="linear"))
        assert 2 <= len(marks) <= 9
        assert len({text for _, text in marks}) == len(marks)
        assert all(-1e-9 <= place <= 1 + 1e-9 for place, _ in marks)

    def test_the_bar_says_that_values_go_on_beyond_it(self):
        assert "&#9650;" in ground.colour_bar(SurfaceScene(surface(), scale="clipped"), 100)
        whole = SurfaceScene(surface(PLANE), scale="linear", span=(-10.0, 20.0))
        assert "&#9650;" not in ground.colour_bar(whole, 100)
        assert "&#9660;" in ground.colour_bar(dataclasses.replace(whole, span=(0.0, 20.0)), 100)

    def test_ink_is_light_on_dark_and_dark_on_light(self):
        scene = SurfaceScene(surface(PLANE), scale="linear")
        assert ground.ink(scene, scene.limits[0])[0] == "#FFFFFF"
        assert ground.ink(scene, scene.limits[1])[0] == "#000000"


@pytest.fixture
def view():
    heard = []
    view = ContourView(lambda *place: heard.append(place), lambda *which: heard.append(which))
    view.heard = heard
    return view


@pytest.fixture
def scene():
    return SurfaceScene(surface(), tracks=(TRACK,), paths={"linear": TRACK.xy[[0, -1]]}, points={"A": (0.5, -0.5)})


class TestContour:
    def test_one_unit_is_as_long_along_both_axes(self, view, scene):
        view.show(scene)
        width, height = view._size
        assert width / 3 == pytest.approx(height / 2, rel=0.01)

    def test_lengths_of_the_directions_count(self, view, scene):
        view.show(dataclasses.replace(scene, surface=surface(plane={"lengths": (1.0, 1.5)})))
        width, height = view._size
        assert width / 3 == pytest.approx(height / 3, rel=0.01)

    def test_a_narrow_place_is_kept_to(self, view, scene):
        view.room = 500
        view.show(scene)
        assert int(view.figure.layout.width.removesuffix("px")) <= 500

    def test_a_click_is_a_checkpoint_within_its_reach_else_the_ground_and_outside_nothing(self, view, scene):
        view.show(scene)
        view.click(0.01, 0.01)
        view.click(1.0, -0.75, second=True)
        view.click(1.6, 0.0)
        assert view.heard == [("sgd", 1), (1.0, -0.75, True)]

    def test_only_checkpoints_that_are_drawn_can_be_clicked(self, view, scene):
        view.show(dataclasses.replace(scene, epoch=1.0))
        assert view.checkpoint_at(*TRACK.xy[2]) is None
        assert view.checkpoint_at(*TRACK.xy[1]) == ("sgd", 1)

    def test_the_runs_end_moves_between_checkpoints(self, view, scene):
        view.show(dataclasses.replace(scene, epoch=2.0))
        marks = view._marks
        assert (marks._ends.x[0], marks._ends.y[0]) == pytest.approx((0.25, 0.125))
        assert marks._dots.x.tolist() == [-1.0, 0.0]
        assert marks._starts.x.tolist() == [-1.0]

    def test_dots_shrink_with_what_the_plane_hides(self, view, scene):
        view.show(scene)
        assert view._marks._dots.size == pytest.approx([1.0, 1 - 0.85 * 0.8, 1 - 0.85 * 0.2])

    def test_the_straight_way_between_two_points(self, view, scene):
        view.show(dataclasses.replace(scene, points={"A": (0.5, -0.5), "B": (1.0, 1.0)}))
        line = view._marks._between[0]
        assert (line.visible, line.x.tolist(), line.y.tolist()) == (True, [0.5, 1.0], [-0.5, 1.0])
        view.show(scene)
        assert not line.visible

    def test_the_legend_counts_what_is_not_measured_and_what_diverged(self, view, scene):
        part = partial()
        loss = part.loss.copy()
        loss[2, 2] = np.inf
        view.show(dataclasses.replace(scene, surface=surface(loss, part.n)))
        assert "pale: 23 points not measured yet" in view._legend.value
        assert "grey: 1 points not finite" in view._legend.value
        assert "the smaller a dot" in view._legend.value

    def test_what_has_not_changed_is_not_painted_again(self, view, scene):
        view.show(scene)
        before = view._marks.raster.mark.image
        view.show(dataclasses.replace(scene, epoch=1.0))
        assert view._marks.raster.mark.image is before
        view.show(dataclasses.replace(scene, colours="viridis"))
        assert view._marks.raster.mark.image is not before

    def test_a_page_that_still_loads_finds_the_picture_that_was_replaced_just_now(self, view, scene):
        view.show(scene)
        before = view._marks.raster.mark.image
        view.show(dataclasses.replace(scene, colours="viridis"))
        assert before in view.unshown  # and not closed
        assert before.value

    def test_names_are_escaped(self, view, scene):
        view.show(dataclasses.replace(scene, tracks=(dataclasses.replace(TRACK, name="<b>"),)))
        assert "<b>" not in view._legend.value
        assert "&lt;b&gt;" in view._legend.value

    def test_cleared_it_says_why_and_hears_no_click(self, view, scene):
        view.show(scene)
        view.clear("no surface & nothing")
        assert "no surface &amp; nothing" in view._message.value
        assert not any(mark.visible for mark in view.figure.marks)
        view.click(0.0, 0.0)
        assert view.heard == []


class TestConfusion:
    COUNTS = np.array([[5, 0, 1], [2, 2, 0], [0, 0, 7]])

    def test_rows_are_targets_the_first_uppermost_and_picks_come_back_as_such(self):
        picked = []
        view = ConfusionView(lambda *cell: picked.append(cell))
        view.show(self.COUNTS, None, "25 samples", (1, 0))
        view.pick(0.3, 1.2)  # the middle row is its own height
        view.pick(2.0, 2.0)
        view.pick(0.0, 3.0)
        assert picked == [(1, 0), (0, 2)]
        assert (view._frame.x[0], view._frame.y[0]) == (0.0, 1.0)

    def test_counts_stand_at_their_cells_in_an_ink_that_is_seen(self):
        view = ConfusionView(lambda *cell: None)
        view.show(self.COUNTS, None, "25 samples", None)
        written = {
            (float(x), float(y)): text
            for mark in view._counts.values()
            for x, y, text in zip(mark.x, mark.y, mark.text, strict=True)
        }
        assert written == {(0.0, 2.0): "5", (2.0, 2.0): "1", (0.0, 1.0): "2", (1.0, 1.0): "2", (2.0, 0.0): "7"}
        assert list(view._counts["#FFFFFF"].text) == ["1"]
        assert not view._frame.visible

    def test_colours_are_shares_of_a_row(self):
        view = ConfusionView(lambda *cell: None)
        view.show(self.COUNTS, None, "", None)
        pixels = np.asarray(Image.open(io.BytesIO(view._raster.mark.image.value)))
        assert (pixels == colormaps["cividis"](self.COUNTS / [[6], [4], [7]], bytes=True)).all()

    def test_names_of_classes_stand_at_both_axes_of_many_only_every_tenth(self):
        view = ConfusionView(lambda *cell: None)
        view.show(self.COUNTS, ["cat", "dog", "owl"], "", None)
        assert view._axes[0].tick_labels == {"0": "cat", "1": "dog", "2": "owl"}
        assert view._axes[1].tick_labels == {"2": "cat", "1": "dog", "0": "owl"}
        view.show(np.eye(25, dtype=int), None, "", None)
        assert list(view._axes[0].tick_labels.values()) == ["0", "10", "20"]
        assert not any(mark.visible for mark in view._counts.values())

    def test_a_class_without_samples_is_no_division_by_zero(self):
        view = ConfusionView(lambda *cell: None)
        with np.errstate(all="raise"):
            view.show(np.array([[3, 0], [0, 0]]), None, "", None)


class TestCards:
    def test_colours_come_first_or_last_and_one_channel_is_grey(self):
        values = np.arange(24.0).reshape(3, 2, 4)
        assert as_picture(values).shape == (2, 4, 3)
        assert (as_picture(values) == as_picture(np.moveaxis(values, 0, -1))).all()
        assert as_picture(values[:1]).shape == (2, 4)
        assert as_picture(np.zeros((5, 2, 4))) is None
        assert as_picture(np.array([["a", "b"], ["c", "d"]])) is None

    def test_a_constant_sample_and_one_with_nan_are_pictures(self):
        assert (as_picture(np.full((2, 3), 7.0)) == 0).all()
        assert as_picture(np.array([[np.nan, 1.0], [2.0, 3.0]])).tolist() == [[0, 0], [127, 255]]

    def test_a_changed_prediction_is_framed_and_the_numbers_are_written(self):
        changed = Card(np.zeros((8, 8), np.uint8), 3, 5, 0.61, 3, 0.99, 1.2345)
        html = cards([changed, dataclasses.replace(changed, predicted=3)], "2 of <9>")
        assert "2 of &lt;9&gt;" in html
        assert html.count("#D55E00") == 1
        assert "here <b>5</b> 61%" in html
        assert "trained <b>3</b> 99%" in html
        assert "loss 1.23" in html
        assert 'width="56" height="56"' in html

    def test_the_picture_in_a_card_is_the_sample(self):
        sample = np.arange(6, dtype=np.uint8).reshape(2, 3)
        html = cards([Card(sample)], "")
        encoded = html.split("base64,")[1].split('"')[0]
        assert (np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded)))) == sample).all()

    def test_what_is_not_known_is_not_written(self):
        html = cards([Card(target=-100)], "")
        assert "ignored" in html
        assert "here" not in html
        assert "<img" not in html


class TestVariance:
    def test_bars_are_shares_of_the_run_and_of_the_walk(self):
        view = VarianceView()
        run, walk = np.array([0.7, 0.2, 0.1]), np.array([0.6, 0.15, 0.07, 0.04])
        view.show(run, walk)
        assert view._bars.y == pytest.approx(np.stack([run, walk[:3]]))
        assert "90% in two components" in view._words.value
        assert "75%" in view._words.value
        assert view._axis.tick_values == pytest.approx([0, 0.2, 0.4, 0.6])


class TestSlices:
    def test_all_have_the_colours_of_the_widest_range_and_a_button_chooses(self):
        chosen = []
        view = SlicesView(chosen.append)
        view.show({"slice 0": surface(), "slice 3": surface(2 * BOWL)}, "loss", "cividis", {"slice 0": (0.5, 2.0)})
        (low, top), (other, _) = (view._tiles[name] for name in ("slice 0", "slice 3"))
        pictures = [np.asarray(Image.open(io.BytesIO(image.value)).convert("RGB")).astype(int) for image in (low, other)]
        # the second surface is twice the first everywhere, so at the same place it is never darker
        assert pictures[1][5, 5].sum() > pictures[0][5, 5].sum()
        assert "curvature at the centre 0.5 to 2" in view._words.value
        top.click()
        assert chosen == ["slice 0"]

    def test_only_the_slice_that_changed_is_drawn_again(self):
        view = SlicesView(print)
        both = {"slice 0": surface(), "slice 1": surface(3 * BOWL)}
        view.show(both, "loss", "cividis", {})
        sent = []
        for name, (image, _) in view._tiles.items():
            image.observe(lambda change, name=name: sent.append(name), "value")
        inside = BOWL.copy()
        inside[2, 4] = 1.5
        view.show({**both, "slice 0": surface(inside)}, "loss", "cividis", {})
        assert sent == ["slice 0"]  # neither the least nor the greatest: the common range has not moved
        sent.clear()
        view.show({**both, "slice 0": surface(inside)}, "loss", "cividis", {})
        assert sent == []

    def test_one_surface_that_has_no_logarithm_makes_all_linear(self):
        view = SlicesView(print)
        steep = BOWL**9
        view.show({"slice 0": surface(steep), "slice 1": surface(BOWL - 1)}, "loss", "cividis", {})
        assert "(loss, 0 to" in view._words.value

    def test_what_is_no_longer_shown_is_closed_and_comes_back(self):
        view = SlicesView(print)
        view.show({"slice 0": surface(), "slice 1": surface(2 * BOWL)}, "loss", "cividis", {})
        view.show({"slice 1": surface(2 * BOWL)}, "loss", "cividis", {})
        assert [type(box) for box in view._row.children] == [widgets.VBox]
        view.show({"slice 0": surface(), "slice 1": surface(2 * BOWL)}, "loss", "cividis", {})
        assert len(view._row.children) == 2
