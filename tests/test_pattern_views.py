"""Views of many single weights, as bqplot marks: pages of small pictures, the diagram, one weight in detail, a preview."""

import numpy as np
import pytest
from factories import ELEMENT_ALPHAS as ALPHAS
from factories import parabola_scan as made

from nnvis_widgets.results.patterns import PATTERNS, PatternRules, expected_pattern, turning_point, u
from nnvis_widgets.views.multiples import COLUMNS, MultiplesView, grouped, paginate
from nnvis_widgets.views.pattern_looks import LOOKS, ORDER
from nnvis_widgets.views.phase import PhaseView
from nnvis_widgets.views.phase_map import regions
from nnvis_widgets.views.plot import in_browser
from nnvis_widgets.views.weight_detail import WeightDetail
from nnvis_widgets.views.weight_line import WeightLine
from nnvis_widgets.widgets.parameter_preview import Lines
from nnvis_widgets.widgets.parameter_scene import detail_of, pages_of


@pytest.fixture
def scan():
    """Seven parabolas: three bumps, a mirrored one, one of each of three other patterns."""
    rho = (1.0, 0.95, 0.9, 0.1, 1.0, 1.0, 0.5)
    return made(rho=rho, u_star=(0.5, 0.4, 0.6, 0.6, 2.5, -1.0, 0.4), distance=np.array([1.0, 3, 2, 4, 5, 6, 7]))


class TestLooks:
    def test_every_pattern_differs_from_all_others_without_colour(self):
        assert set(LOOKS) == {*PATTERNS, ""} == set(ORDER)
        for what in ("marker", "icon", "words", "short", "region"):
            assert len({getattr(look, what) for look in LOOKS.values()}) == len(LOOKS), what


class TestPages:
    def test_groups_flow_over_pages_under_their_headings(self):
        pages = paginate([("bump", range(8)), ("wave", range(8, 38))], columns=6, rows=4.0)
        assert [[cell.row for cell in page.cells] for page in pages] == [list(range(14)), list(range(14, 32)), list(range(32, 38))]
        assert [page.headings for page in pages] == [
            ((0.0, "bump", 0, 8), (2.34, "wave", 0, 30)), ((0.0, "wave", 6, 30),), ((0.0, "wave", 24, 30),)
        ]  # fmt: skip
        assert pages[0].cells[6] == type(pages[0].cells[6])(6, 0, 1.34)
        assert all(page.height <= 4.0 for page in pages)
        assert paginate([]) == []

    def test_they_are_grouped_by_pattern_and_sorted_within(self, scan):
        assert grouped(scan, scan.distance) == [
            ("descending-convex", [4]), ("bump", [3, 1, 2, 0]), ("wave", [5]), ("coincident", [6])
        ]  # fmt: skip
        assert grouped(scan, scan.distance, "wave") == [("wave", [5])]
        by_effect = pages_of(scan, "effect", "bump")  # there are no effects: by distance
        assert [cell.row for cell in by_effect[0].cells] == [3, 1, 2, 0]


class TestMultiples:
    def drawn(self, view, cell, kind="linear"):
        mark = view.lines["sure"][kind]
        inside = (mark.x >= cell.x) & (mark.x < cell.x + 1) & (mark.y <= -cell.y) & (mark.y >= -cell.y - 1) & np.isfinite(mark.y)
        return mark.y[inside]

    def test_each_curve_is_drawn_in_its_cell_from_its_lowest_to_its_highest_loss(self, scan):
        view = MultiplesView(lambda row: None)
        (page,) = pages_of(scan, "distance", "all")
        view.show(scan, page, None, False)
        for cell in page.cells:
            both = np.concatenate([self.drawn(view, cell), self.drawn(view, cell, "quadratic")])
            losses = np.concatenate([scan.linear[cell.row], scan.quadratic[cell.row]])
            shares = (losses - losses.min()) / np.ptp(losses)
            np.testing.assert_allclose((both - both.min()) / np.ptp(both), shares, atol=1e-9)
            assert np.ptp(both) == pytest.approx(0.73)
        texts = view.names.text.tolist()
        assert texts == [f"[{row}, 7]" for row in (4, 3, 1, 2, 0, 5, 6)]
        assert (
            view.headings.text.tolist()[1]
            == "◆ convex linear, quadratic with a bump (4); 1 here mirrored (rho < 1/2): read right to left"
        )
        for mark in view.figure.marks:
            if mark.visible and hasattr(mark, "y"):
                assert np.isfinite(np.asarray(mark.y)[..., -1]).all()  # bqplot stumbles over a line that ends with nothing

    def test_one_scale_makes_small_ranges_small(self, scan):
        view = MultiplesView(lambda row: None)
        (page,) = pages_of(scan, "distance", "all")
        view.show(scan, page, None, True)
        heights = {cell.row: np.ptp(self.drawn(view, cell)) for cell in page.cells}
        spans = {row: np.ptp(scan.linear[row]) for row in range(7)}
        widest = max(np.ptp(np.concatenate([scan.linear, scan.quadratic])), 0.0)
        for row in range(7):
            assert heights[row] == pytest.approx(0.73 * spans[row] / widest)

    def test_a_click_picks_and_a_selection_is_framed(self, scan):
        picked = []
        view = MultiplesView(picked.append)
        (page,) = pages_of(scan, "distance", "all")
        view.show(scan, page, 2, False)
        cell = page.cells[3]
        assert cell.row == 2
        assert view.frame.x.min() == pytest.approx(cell.x, abs=0.02)
        view.pick(cell.x + 0.4, -cell.y - 0.5)
        view.pick(4.5, -page.height + 0.1)  # beside the last group
        view.pick(0.5, -0.1)  # a heading
        assert picked == [2]
        view.select(None)
        assert not view.frame.visible
        view.show(scan, None, None, False)
        assert not any(mark.visible for mark in view.figure.marks)

    def test_uncertain_ones_are_marked_in_words_and_faint_and_noise_stays_flat(self):
        votes = np.zeros((4, 9))
        votes[:, PATTERNS.index("bump")] = 0.6
        scan = made(votes=votes, linear=np.full((4, 41), 2.0), quadratic=np.full((4, 41), 2.0 + 1e-12))
        view = MultiplesView(lambda row: None)
        (page,) = paginate([("bump", [0, 3])])
        view.show(scan, page, None, False)
        assert view.names.text.tolist() == ["[0, 7] ?", "[3, 7] ?"]
        assert view.lines["uncertain"]["linear"].visible
        assert not view.lines["sure"]["linear"].visible
        assert np.ptp(view.lines["uncertain"]["linear"].y[:41]) < 1e-4

    def test_two_hundred_weights_are_two_lines_of_a_page(self):
        count = 200
        scan = made(rho=np.linspace(0.8, 1.1, count), u_star=np.linspace(-2.5, 3, count))
        pages = pages_of(scan, "distance", "all")
        assert sum(len(page.cells) for page in pages) == count
        assert max(len(page.cells) for page in pages) <= 5 * COLUMNS
        view = MultiplesView(lambda row: None)
        marks = view.figure.marks
        for page in pages:
            view.show(scan, page, None, False)
        assert view.figure.marks == marks


class TestPhase:
    def test_each_dot_lies_at_its_rho_and_u_star_with_the_marker_of_its_pattern(self, scan):
        view = PhaseView(lambda row: None, lambda row, rho: None)
        view.show(scan, np.ones(7, bool))
        found = {row: (name, at) for name, rows in view.rows.items() for at, row in enumerate(rows.tolist())}
        assert sorted(found) == list(range(7))
        for row, (key, at) in found.items():
            mark = view.dots[key]
            assert key == scan.pattern[row]
            assert mark.marker == LOOKS[key].marker
            assert (mark.x[at], mark.y[at]) == (scan.rho[row], scan.u_star[row])
            assert mark.names[at] == scan.names[row]
        view.show(scan, np.arange(7) != 5)
        assert not view.dots["wave"].visible

    def test_what_lies_beyond_is_drawn_at_the_edge_with_an_arrow(self):
        scan = made(u_star=(0.5, 9.0, -2.0, 0.6), u_star_edge=np.array([0, 1, -1, 0]))
        view = PhaseView(lambda row: None, lambda row, rho: None)
        view.show(scan, np.ones(4, bool))
        assert view.arrows["↑"].text.tolist() == ["↑"]
        assert view.arrows["↑"].y.tolist() == [view._y.max]
        assert view.arrows["↓"].x.tolist() == [0.5]
        assert not view.arrows["→"].visible
        key = next(name for name, rows in view.rows.items() if 1 in rows.tolist())
        assert view.dots[key].y[view.rows[key].tolist().index(1)] == view._y.max < 9.0

    def test_weights_that_have_not_moved_have_no_place(self):
        scan = made(distance=np.array([1.0, 0, 1, 1]), rho=np.array([1.0, np.nan, 0.5, 0.1]))
        view = PhaseView(lambda row: None, lambda row, rho: None)
        view.show(scan, np.ones(4, bool))
        assert sum(len(rows) for rows in view.rows.values()) == 3
        view.mark(scan, 1, None)
        assert not view.ring.visible

    def test_clicks_and_drags_name_the_weight(self, scan):
        picked, dragged = [], []
        view = PhaseView(picked.append, lambda row, rho: dragged.append((row, rho)))
        view.show(scan, np.ones(7, bool))
        mark, grip = view.dots["bump"], view.children[1]
        low, high = view._x.min, view._x.max

        def at(rho):
            return (rho - low) / (high - low)

        grip._told({"pick": scan.names[1], "turn": 1})
        grip._told({"pick": "a dot of yesterday", "turn": 2})
        assert (picked, grip.heard) == ([1], 2)
        grip._told({"drag": scan.names[2], "at": at(0.7), "turn": 3})
        assert dragged == [(2, pytest.approx(0.7))]
        before = mark.x.copy()
        view.mark(scan, 2, 0.7)
        view.show(scan, np.arange(7) == 2)
        np.testing.assert_array_equal(mark.x, before)  # the browser moves what it holds, and nothing else moves
        assert view.ring.x.tolist() == [0.7]
        grip._told({"drop": scan.names[2], "at": at(0.7), "turn": 4})
        assert dragged[1:] == [(2, pytest.approx(0.7))]
        assert mark.x.tolist() == [0.7]  # what came in meanwhile
        view.show(scan, np.ones(7, bool))
        view.mark(scan, 1, None)
        np.testing.assert_array_equal(mark.x, scan.rho[[0, 1, 2, 3]])
        assert not view.trace.visible

    def test_one_half_is_drawn_while_all_dots_are_in_it(self):
        view = PhaseView(lambda row: None, lambda row, rho: None)
        view.show(made(rho=(1.0, 0.9, 0.8, 0.7)), np.ones(4, bool))
        assert view._x.min > 0.4
        view.mark(made(rho=(1.0, 0.9, 0.8, 0.7)), 0, 0.2)
        assert view._x.min < 0

    def test_the_regions_are_those_of_the_theory_with_a_name_inside_each(self):
        found = regions({}, (-0.35, 1.4), (-3.0, 4.0))
        rng = np.random.default_rng(0)
        for row, column in rng.integers(0, found.code.shape, (400, 2)):
            expected = expected_pattern(found.rho[column], found.u_star[row])
            assert PATTERNS[found.code[row, column]] == expected
        names = [name for name, *_ in found.places]
        assert {*names} == {*PATTERNS[:5], "coincident"}
        for name, rho, u_star in found.places:
            assert expected_pattern(rho, u_star) == name
        pixels = found.pixels()
        assert pixels.shape == (*found.code.shape, 4)
        assert pixels[0, 0].tolist()[:3] != pixels[-1, 0].tolist()[:3]  # the highest u* is the uppermost row
        wide = regions({**vars(PatternRules(plateau=0.4))}, (-0.35, 1.4), (-3.0, 4.0))
        flat = PATTERNS.index("flat-region")
        assert (wide.code == flat).sum() > (found.code == flat).sum()


class TestDetail:
    def test_it_draws_both_curves_their_bands_and_the_way(self, scan):
        view = WeightDetail()
        view.show(detail_of(scan, 1, None, True))
        np.testing.assert_array_equal(view.lines["quadratic"].y, scan.quadratic[1])
        np.testing.assert_allclose(view.bands["linear"].y, scan.linear[1] + np.array([[-2], [2]]) * scan.linear_diff_se[1])
        np.testing.assert_array_equal(view.shares["linear"].y, ALPHAS)
        np.testing.assert_allclose(view.shares["quadratic"].y, u(ALPHAS, 0.95))
        assert view.minimum.y.tolist() == [0.4, 0.4]
        assert (view.turn.x[0], view.turn.y[0]) == pytest.approx(tuple(map(float, turning_point(0.95))))
        np.testing.assert_allclose(view.floor.y[:, 0], scan.linear[1, 30] + np.array([-1, 1]) * scan.noise_floor)
        assert not view.before["loss"].visible
        view.show(detail_of(scan, 6, None, False))
        assert not view.turn.visible  # half-way at the mid: it does not turn round
        assert not view.bands["linear"].visible
        view.show(None)
        assert not any(mark.visible for figure in view.figures.values() for mark in figure.marks)

    def test_an_alpha_is_marked_in_both_figures_and_chosen_by_a_click(self, scan):
        chosen = []
        view = WeightDetail(chosen.append)
        view.show(detail_of(scan, 1, None, True))
        assert not any(cursor.visible for cursor in view.cursors)
        view.move_cursor(0.25)
        assert [cursor.x.tolist() for cursor in view.cursors if cursor.visible] == [[0.25, 0.25]] * 2
        for figure in view.figures.values():
            figure.interaction._handle_custom_msg({"event": "click", "domain": {"x": -0.4, "y": 0.1}}, [])
        assert chosen == [-0.4, -0.4]
        view.move_cursor(None)
        assert not any(cursor.visible for cursor in view.cursors)

    def test_another_mid_is_drawn_over_what_was_measured(self, scan):
        view = WeightDetail()
        imagined = Lines(scan).what_if(1, 0.7)
        view.show(detail_of(scan, 1, imagined, True))
        np.testing.assert_array_equal(view.before["loss"].y, scan.quadratic[1])
        np.testing.assert_array_equal(view.lines["quadratic"].y, imagined.quadratic)
        assert not view.bands["quadratic"].visible
        assert view.bands["linear"].visible

    def test_a_flat_curve_is_written_as_a_difference(self):
        scan = made(linear=2.5 + 1e-9 * np.tile(ALPHAS, (4, 1)), quadratic=np.full((4, 41), 2.5))
        view = WeightDetail()
        view.show(detail_of(scan, 0, None, True))
        assert view.figures["loss"].axes[1].label == "loss − 2.5"
        np.testing.assert_allclose(view.lines["linear"].y, 1e-9 * (ALPHAS - 1), atol=1e-15)


class TestLine:
    def test_one_function_and_two_ways_along_it(self, scan):
        view = WeightLine()
        view.show(detail_of(scan, 1, None, True))
        np.testing.assert_array_equal(view.points["linear"].x, ALPHAS)
        for kind in ("linear", "quadratic"):  # both are read from the same parabola
            np.testing.assert_allclose(view.points[kind].y, (view.points[kind].x - 0.4) ** 2, atol=1e-12)
        np.testing.assert_allclose(view.curve.y, (view.curve.x - 0.4) ** 2, atol=2e-3)
        assert (np.diff(view.curve.x) > 0).all()
        assert set(scan.u[1]) | set(ALPHAS) <= {*view.points["linear"].x, *view.points["quadratic"].x}
        np.testing.assert_allclose(view.ways["quadratic"].x, u(view.ways["quadratic"].y, 0.95))
        assert view.stops["quadratic"].y.tolist() == [-0.5, 0.0, 0.5, 1.0, 1.5]
        assert view.stops["quadratic"].x[1:4].tolist() == pytest.approx([0.0, 0.95, 1.0])
        assert (view.turn.y[0], view.turn.x[0]) == pytest.approx(tuple(map(float, turning_point(0.95))))
        assert [mark.x.tolist() for mark in view.minima] == [[0.4, 0.4]] * 2
        assert view.spreads[0].x.tolist() == pytest.approx([0.3, 0.5])
        assert not view.before.visible
        view.show(None)
        assert not any(mark.visible for figure in view.figures.values() for mark in figure.marks)

    def test_values_of_the_weight_stand_where_it_has_them(self):
        scan = made(start=np.array([0.2, 2.0, 0.0, 0.0]), final=np.array([-0.1, 2.0, 1.0, 1.0]))
        view = WeightLine()
        view.show(detail_of(scan, 0, None, False))
        for place in view._values.tick_values:
            assert float(view._values.tick_labels[in_browser(place)]) == pytest.approx(0.2 - 0.3 * place, abs=1e-6)
        assert len(view._values.tick_values) >= 4
        assert not view.spreads[0].visible
        view.show(detail_of(scan, 1, None, False))
        assert not view._values.visible  # it has not moved

    def test_another_mid_is_another_way_along_the_same_function(self, scan):
        view, imagined = WeightLine(), Lines(scan).what_if(1, 0.7)
        view.show(detail_of(scan, 1, None, True))
        before = view.curve.y.copy()
        view.show(detail_of(scan, 1, imagined, True))
        np.testing.assert_array_equal(view.curve.y, before)
        np.testing.assert_array_equal(view.before.x, scan.u[1])
        np.testing.assert_allclose(view.ways["quadratic"].x, u(ALPHAS, 0.7))
        np.testing.assert_array_equal(view.points["quadratic"].y, imagined.quadratic)


class TestPreview:
    def test_points_that_were_measured_are_met_and_others_are_near(self, scan):
        lines = Lines(scan)
        for row in range(7):
            np.testing.assert_allclose(lines.at(row, scan.alphas), scan.linear[row], rtol=0, atol=1e-12)
            np.testing.assert_allclose(lines.at(row, scan.u[row]), scan.quadratic[row], rtol=0, atol=1e-12)
        between = np.linspace(-0.47, 1.43, 70)
        np.testing.assert_allclose(lines.at(1, between), (between - 0.4) ** 2, atol=2e-3)
        assert np.isnan(lines.at(6, np.array([-0.6, 1.6]))).all()

    def test_the_present_mid_gives_the_present_scan(self, scan):
        again = Lines(scan).moved_to(scan.mid)
        np.testing.assert_allclose(again.quadratic, scan.quadratic, atol=1e-12)
        assert again.pattern == scan.pattern
        assert again.provenance["preview"] == "interpolated"
        assert np.isnan(again.confidence).all()
        np.testing.assert_array_equal(again.linear, scan.linear)

    def test_another_mid_gives_what_would_be_measured_there_where_the_loss_is_known(self):
        before = made(rho=(1.0, 1.0, 1.0, 1.0), u_star=(0.5, 2.5, -1.0, 1.1))
        there = made(rho=(0.8, 0.7, 0.9, 0.75), u_star=(0.5, 2.5, -1.0, 1.1))
        again = Lines(before).moved_to(there.mid)
        np.testing.assert_allclose(again.rho, there.rho)
        np.testing.assert_allclose(again.quadratic, there.quadratic, atol=5e-3)
        assert again.pattern == there.pattern

    def test_one_weight_alone_gives_the_same(self, scan):
        lines = Lines(scan)
        one = lines.what_if(0, 0.8)
        all_of_them = lines.moved_to(np.full(7, 0.8))
        np.testing.assert_array_equal(one.quadratic, all_of_them.quadratic[0])
        assert one.pattern == all_of_them.pattern[0]
        assert (one.mid, one.covered) == (0.8, 1.0)

    def test_what_was_not_measured_is_not_known(self):
        scan = made(rho=(0.6, 0.6, 0.6, 0.6))
        far = Lines(scan).what_if(0, 1.2)
        assert 0.3 < far.covered < 0.9
        assert far.pattern == ""
