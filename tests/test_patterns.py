"""Timing, phase diagram and labels of single weights, against closed forms and families of curves whose pattern is known."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest

from nnvis_widgets.core import patterns
from nnvis_widgets.core.patterns import PATTERNS, PatternRules, classify, classify_many, expected_pattern, turning_point, u

ALPHAS = np.linspace(-0.5, 1.5, 41)


def family(rho, u_star, f):
    """Return linear and quadratic curves of ``f(u, u_star)`` for many weights."""
    rho, u_star = np.asarray(rho, dtype=float), np.asarray(u_star, dtype=float)
    return f(ALPHAS[None], u_star[:, None]), f(u(ALPHAS[None], rho[:, None]), u_star[:, None])


def bowl(x, at):
    return (x - at) ** 2


def tilted(k):
    """Return ``(u - b)^2 + k u^3`` with its local minimum at u_star: 2 (u* - b) + 3 k u*^2 = 0."""
    return lambda x, at: (x - at - 1.5 * k * at**2) ** 2 + k * x**3


def labels(rho, u_star, f=bowl, tolerance=1e-9, **rules):
    return classify_many(ALPHAS, *family(rho, u_star, f), np.asarray(rho), tolerance, rules)


def near_boundary(rho, u_star, d_rho=0.02, d_star=0.06):
    """Whether another region of the phase diagram is within 0.02 in rho and 0.06 in u*."""
    here = expected_pattern(rho, u_star)
    return any(expected_pattern(rho + a, u_star + b) != here for a in (-d_rho, 0, d_rho) for b in (-d_star, 0, d_star))


class TestTiming:
    def test_it_passes_its_three_knots_and_is_the_lagrange_path_of_one_weight(self):
        rho = np.array([-0.4, 0.2, 0.5, 0.75, 1.3])
        assert np.array_equal(u(0.0, rho), np.zeros(5))
        assert np.array_equal(u(1.0, rho), np.ones(5))
        assert u(0.5, rho) == pytest.approx(rho, abs=1e-15)
        start, end = 0.3, -1.1
        basis = (2 * (ALPHAS - 0.5) * (ALPHAS - 1), -4 * ALPHAS * (ALPHAS - 1), 2 * ALPHAS * (ALPHAS - 0.5))
        for share in rho:
            value = basis[0] * start + basis[1] * (start + share * (end - start)) + basis[2] * end
            assert start + u(ALPHAS, share) * (end - start) == pytest.approx(value, abs=1e-12)

    def test_the_turning_point_is_where_its_slope_vanishes_and_lies_at_or_beyond_the_end(self):
        rho = np.concatenate([np.linspace(-2, 0.49, 40), np.linspace(0.51, 3, 40), [0.75]])
        alpha, top = turning_point(rho)
        step = 1e-4
        assert u(alpha + step, rho) - u(alpha - step, rho) == pytest.approx(np.zeros(81), abs=1e-9)
        assert u(alpha, rho) == pytest.approx(top, rel=1e-9)
        assert (top[rho > 0.5] >= 1 - 1e-12).all()  # the inequality of the means
        assert (top[rho < 0.5] <= 1e-12).all()
        assert turning_point(0.75)[1] == 1.0
        assert np.isinf(turning_point(0.5)).all()

    def test_it_turns_round_inside_the_window_beyond_an_eighth_from_one_half(self):
        assert patterns.turns_within(np.array([0.375, 0.4, 0.5, 0.6, 0.625])).tolist() == [True, False, False, False, True]
        assert patterns.turns_within(np.array([0.25, 0.3, 0.7, 0.75]), (0.0, 1.0)).tolist() == [True, False, False, True]

    def test_importing_it_needs_no_torch_of_its_own(self):
        code = "import sys; import nnvis_widgets.results.labelling; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestPhaseDiagram:
    def test_the_classifier_finds_the_regions_of_the_table_on_families_of_curves(self, record_property):
        rng = np.random.default_rng(0)
        agreed, excluded, everywhere, seen = [], [], [], set()
        for f in (bowl, tilted(0.02), tilted(-0.02)):
            rho, u_star = rng.uniform(-0.3, 1.5, 2000), rng.uniform(-3.0, 3.5, 2000)
            expected = [expected_pattern(*pair) for pair in zip(rho, u_star, strict=True)]
            near = np.array([near_boundary(*pair) for pair in zip(rho, u_star, strict=True)])
            right = np.array(expected) == np.array(labels(rho, u_star, f).pattern)
            agreed.append(right[~near].mean())
            everywhere.append(right.mean())
            excluded.append(near.mean())
            seen.update(np.array(expected)[~near])
        record_property(
            "share of right labels outside the margin, share within it, share right of all", (agreed, excluded, everywhere)
        )
        print(f"right outside the margin {agreed}, excluded {excluded}, right of all {everywhere}")
        assert min(agreed) >= 0.95
        assert max(excluded) <= 0.2
        assert seen == {*patterns.SHAPES, "coincident"}

    def test_its_corners(self):
        for rho in (0.63, 0.8, 1.0, 1.4):
            _, top = turning_point(rho)
            low = float(u(-0.5, rho))
            assert expected_pattern(rho, low - 0.01) == "ascending-concave"
            assert expected_pattern(rho, low + 0.01) == expected_pattern(rho, -0.01) == "wave"
            assert expected_pattern(rho, 0.01) == "bump"
            assert expected_pattern(rho, top + 2.0) == expected_pattern(rho, math.inf) == "descending-convex"
            assert expected_pattern(1 - rho, 1 - (top + 2.0)) == "descending-convex"
        assert expected_pattern(0.75, 1.0) == expected_pattern(1.0, 1.125) == "flat-region"  # the quartic minimum
        assert expected_pattern(0.6, 2.0) == expected_pattern(0.5, 0.0) == "coincident"
        assert expected_pattern(math.nan, 0.5) == "complex"

    def test_the_flat_region_is_that_of_a_curve_of_ten_thousand_points(self):
        alpha = np.linspace(0, 1, 10_001)
        for rho in (0.7, 0.76, 0.9, 1.0, 1.2):
            for u_star in np.linspace(1.0, 2.2, 25):
                curve = (u(alpha, rho) - u_star) ** 2
                near = np.abs(curve - curve[-1]) <= 0.05 * np.ptp(curve)
                runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[False], near, [False]]).astype(int)))[: 2 * 10])[::2]
                top = turning_point(rho)[1]
                bump = (top - u_star) ** 2 if u_star < top else 0.0
                flat = runs.max() * 1e-4 >= 0.4 and bump <= 0.05 * np.ptp(curve)
                if abs(runs.max() * 1e-4 - 0.4) > 1e-3:
                    assert (expected_pattern(rho, u_star) == "flat-region") == flat, (rho, u_star)


class TestLabels:
    def test_a_constant_has_no_effect_and_noise_neither(self, record_property):
        assert classify(ALPHAS, np.full(41, 3.0), np.full(41, 3.0), 0.9).pattern == "no-effect"
        rng = np.random.default_rng(1)
        linear, quadratic = rng.normal(0, 3e-8, (2, 4000, 41))
        noise = patterns.rounding_noise(rng.normal(0, 3e-8, (200, 7)) + 1e-6 * np.arange(7))
        assert noise == pytest.approx(3e-8, rel=0.1)
        share = np.mean(np.array(classify_many(ALPHAS, linear, quadratic, 0.95, 6 * noise).pattern) == "no-effect")
        record_property("share of pure noise that is called no-effect", share)
        assert share >= 0.95

    def test_rounding_noise_is_what_straight_pieces_show(self):
        straight = np.outer([0.0, 1e-3, 5.0], np.arange(7)) + 2
        assert patterns.rounding_noise(straight) < 1e-14
        noisy = straight + np.random.default_rng(0).normal(0, 1e-6, straight.shape)
        noisy[0, 4] += 1.0  # a kink in one of them
        assert patterns.rounding_noise(noisy) == pytest.approx(1e-6, rel=0.6)
        assert np.isnan(patterns.rounding_noise(np.full((2, 7), np.nan)))

    def test_reading_the_curves_from_the_other_end_gives_the_same_pattern(self):
        rng = np.random.default_rng(2)
        rho, u_star = rng.uniform(-0.3, 1.5, 500), rng.uniform(-3, 3.5, 500)
        linear, quadratic = family(rho, u_star, tilted(0.02))
        there = classify_many(ALPHAS, linear, quadratic, rho)
        back = classify_many(ALPHAS, linear[:, ::-1], quadratic[:, ::-1], 1 - rho)
        assert there.pattern == back.pattern
        assert there.sequence == back.sequence
        assert (there.mirrored != back.mirrored).all()
        assert there.persistence == pytest.approx(back.persistence, rel=1e-9)

    def test_units_and_offsets_of_the_loss_change_nothing(self):
        rng = np.random.default_rng(3)
        rho, u_star = rng.uniform(-0.3, 1.5, 500), rng.uniform(-3, 3.5, 500)
        curves = family(rho, u_star, tilted(-0.02))
        plain = classify_many(ALPHAS, *curves, rho, 1e-6)
        scaled = classify_many(ALPHAS, *(3e-5 * curve + 7 for curve in curves), rho, 3e-11)
        agree = np.mean(np.array(plain.pattern) == np.array(scaled.pattern))
        assert agree > 0.995  # an offset of 7 costs digits

    def test_a_loss_that_saturates_descends_is_flat_or_ascends(self):
        def hinge(x, at):
            return np.log1p(np.exp(4 * (at - x)))

        assert labels([0.9, 0.9], [2.0, 0.4], hinge).pattern == ["descending-convex", "flat-region"]
        assert labels([0.9], [0.5], lambda x, at: hinge(-x, at)).pattern == ["ascending-concave"]
        assert labels([0.1], [0.5], lambda x, at: hinge(x, at)).pattern == ["ascending-concave"]  # its mirror image

    def test_what_cannot_be_read(self):
        bumpy = classify_many(
            ALPHAS, np.cos(9 * ALPHAS)[None], np.cos(9 * u(ALPHAS, 0.9))[None], np.array([0.9]), moved=np.array([True])
        )
        assert bumpy.pattern == ["complex"]
        curves = family([0.9, 0.9, 0.9], [0.5, 0.5, 0.5], bowl)
        curves[0][1] = np.nan  # not measured
        curves[0][2, 3] = np.inf  # diverged at one point
        assert classify_many(ALPHAS, *curves, np.full(3, 0.9)).pattern == ["bump", "", "complex"]
        assert classify_many(ALPHAS, *curves, 0.9, moved=np.zeros(3, dtype=bool)).pattern == ["not-moved"] * 3
        unknown = np.full((1, 41), np.nan)
        assert classify_many(ALPHAS, curves[0][:1], unknown, np.array([np.nan])).pattern == ["complex"]
        assert classify_many(ALPHAS, 0 * curves[0][:1], unknown, np.array([np.nan])).pattern == ["no-effect"]
        with pytest.raises(ValueError, match=r"alphas: a vector of at least 5 numbers with 0 and 1 among them.*received 4 points"):
            classify(ALPHAS[:4], np.zeros(4), np.zeros(4), 0.9)
        with pytest.raises(ValueError, match=r"rules: conventions are noise, shape.*received 'plateu'"):
            classify(ALPHAS, ALPHAS, ALPHAS, 0.9, 0.0, {"plateu": 1.0})
        with pytest.raises(ValueError, match=r"rules: plateau is a positive number, such as 0.05; received -1"):
            PatternRules.of(plateau=-1)

    def test_extrema_are_those_that_a_search_by_hand_finds(self):
        rng = np.random.default_rng(4)
        curves = np.cumsum(rng.normal(size=(200, 30)), axis=1)
        found = patterns.classify_many(np.linspace(0, 1, 30), curves, curves, 0.9)
        tolerance = found.tolerance
        for curve, limit, sequence in zip(curves, tolerance, found.sequence, strict=True):
            assert sequence == by_hand(curve, limit)

    def test_the_height_of_a_bump_is_its_rise_over_the_higher_valley(self):
        curve = np.interp(ALPHAS, [-0.5, 0.0, 0.5, 1.0, 1.5], [3.0, 1.0, 2.5, 1.4, 3.0])
        label = classify(ALPHAS, (ALPHAS - 0.5) ** 2, curve, 0.9)
        assert (label.sequence, round(label.persistence, 9)) == ("mMm", 1.1)
        assert label.pattern in PATTERNS

    def test_points_in_any_order_give_the_same_label(self):
        order = np.random.default_rng(5).permutation(41)
        linear, quadratic = family([0.95], [0.4], bowl)
        assert classify(ALPHAS[order], linear[0, order], quadratic[0, order], 0.95) == classify(
            ALPHAS, linear[0], quadratic[0], 0.95
        )


def by_hand(curve, tolerance):
    """Extrema by repeatedly removing the lowest pair of neighbouring turns that is not above the tolerance."""
    turns = (
        [(0, "end")]
        + [
            (k, "m" if curve[k] < curve[k - 1] else "M")
            for k in range(1, len(curve) - 1)
            if (curve[k] - curve[k - 1]) * (curve[k + 1] - curve[k]) < 0
        ]
        + [(len(curve) - 1, "end")]
    )
    while len(turns) > 2:
        steps = [abs(curve[b] - curve[a]) for (a, _), (b, _) in itertools.pairwise(turns)]
        least = int(np.argmin(steps))
        if steps[least] > tolerance:
            break
        if least == 0:
            turns[:2] = [(turns[1][0], "end")]
        elif least == len(steps) - 1:
            turns[-2:] = [(turns[-2][0], "end")]
        else:
            del turns[least : least + 2]
    return "".join(kind for _, kind in turns if kind != "end")
