"""Scans of single weights: the result, and what is measured for it, against naive float64 evaluation."""

from dataclasses import asdict

import numpy as np
import pytest

import nnvis_widgets as nv
from nnvis_widgets.core.patterns import PATTERNS, PatternRules, turning_point, u
from nnvis_widgets.results import ParameterScan
from nnvis_widgets.results.labelling import votes_of

ALPHAS = np.linspace(-0.5, 1.5, 41)


def made(rho=(1.0, 0.95, 0.5, 0.1), u_star=(0.5, 2.5, 0.4, 0.6), n=50, resamples=20, **changed):
    """Return a scan of parabolas; the last weight but one has its mid half-way."""
    rho, u_star = np.array(rho), np.array(u_star)
    count = len(rho)
    shares = u(ALPHAS, rho[:, None])
    linear, quadratic = (ALPHAS - u_star[:, None]) ** 2, (shares - u_star[:, None]) ** 2
    both = np.concatenate([linear - linear[:, [30]], quadratic - linear[:, [30]]], axis=1)
    resampled = (both[:, None] + np.random.default_rng(0).normal(0, 1e-4, (count, resamples, 1)) * (both**2)[:, None]).astype("f4")
    turn, top = turning_point(rho)
    nothing, one = np.full(count, np.nan), np.ones(count)
    fields = {
        "index": [("fc1.weight", (k, 7)) for k in range(count)], "alphas": ALPHAS, "linear": linear, "quadratic": quadratic,
        "linear_diff_se": 1e-3 * linear, "quadratic_diff_se": 1e-3 * quadratic, "u": shares, "start": 0 * one, "mid": rho,
        "final": one, "distance": one, "relative_distance": one, "effect": nothing, "rho": rho, "alpha_turn": turn, "u_turn": top,
        "u_star": u_star, "u_star_low": u_star - 0.1, "u_star_high": u_star + 0.1, "u_star_edge": np.zeros(count, dtype=int),
        "p_value": 1e-3 * one, "q_value": 1e-3 * one, "half_width": 1e-3 * one, "rounding": 1e-8, "choose": "distance",
        "scope": "fc1", "scanned": 900, "n": n, "resampled": resampled, "provenance": {"split": "test", "batchnorm": "none"},
    }  # fmt: skip
    votes = [votes_of(resampled[k], ALPHAS, rho[k], 6e-8, PatternRules()) for k in range(count)]
    return ParameterScan(**{**fields, "votes": np.array(votes), **changed}).labelled(PatternRules())


class TestResult:
    def test_it_says_what_it_holds(self):
        scan = made()
        assert scan.pattern == ["bump", "descending-convex", "coincident", "bump"]
        assert scan.mirrored.tolist() == [False, False, False, True]
        assert scan.counts()["bump"] == 2
        assert list(scan.counts()) == list(PATTERNS)
        assert repr(scan) == (
            "ParameterScan(4 of 900 weights of fc1 by distance: 1 descending-convex, 2 bump, 1 coincident; "
            "alpha -0.5 to 1.5, n = 50, test)"
        )
        assert scan.names[3] == "fc1.weight[3, 7]"
        assert (scan.confidence > 0.9).all()
        assert scan.second == ["", "", "", ""]
        assert not scan.uncertain.any()
        assert scan.population == scan.pattern
        assert scan.noise_floor == pytest.approx(6e-8)

    def test_other_rules_give_other_labels_without_measuring(self):
        scan = made(rho=(1.0, 1.0), u_star=(1.05, 2.0))
        assert scan.pattern == ["flat-region", "descending-convex"]
        strict = scan.relabelled(plateau_length=0.9)
        assert strict.pattern[0] == "bump"
        assert strict.rules["plateau_length"] == 0.9
        assert strict.votes[0, PATTERNS.index("bump")] > 0.5
        assert strict.relabelled(plateau_length=0.4).pattern == scan.pattern
        assert np.array_equal(strict.relabelled(plateau_length=0.4).votes, scan.votes)
        deaf = scan.relabelled(noise=1e10)
        assert deaf.noise_floor == pytest.approx(100.0)
        assert deaf.pattern == ["no-effect", "no-effect"]
        assert scan.relabelled(plateau=0.05).pattern == scan.pattern
        assert np.isnan(made(resampled=None).relabelled(plateau=0.1).confidence).all()
        with pytest.raises(ValueError, match="rules: conventions are"):
            scan.relabelled(w=0.2)

    def test_what_holds_beyond_the_samples_is_said_apart(self):
        scan = made(q_value=np.array([0.001, 0.06, 0.01, np.nan]), half_width=np.array([1e-3, 1e-3, 100.0, 1e-3]))
        assert scan.population == ["bump", "no-effect", "complex", ""]
        assert scan.established.tolist() == [True, False, True, False]
        assert scan.relabelled(false_discovery=0.1).population[1] == "descending-convex"
        assert made(distance=np.zeros(4)).pattern == made(distance=np.zeros(4)).population == ["not-moved"] * 4

    def test_it_is_saved_loaded_tabled_and_drawn(self, tmp_path):
        from matplotlib.figure import Figure

        scan = made()
        scan.save(tmp_path / "scan")
        again = nv.load(tmp_path / "scan")
        assert again.index == scan.index
        assert again.pattern == scan.pattern
        assert again.rules == asdict(PatternRules())
        assert np.array_equal(again.resampled, scan.resampled)
        assert again.relabelled(plateau=0.2).pattern == scan.relabelled(plateau=0.2).pattern
        made(resampled=None).save(tmp_path / "small")
        assert nv.load(tmp_path / "small").resampled is None
        table = scan.to_pandas()
        assert table.shape[0] == 4
        assert list(table["pattern"]) == scan.pattern
        curves = scan.curves_to_pandas()
        assert len(curves) == 4 * 41
        assert np.array_equal(curves["quadratic"][41:82], scan.quadratic[1])
        axes = scan.plot(Figure().add_subplot())
        assert [text.get_text() for text in axes.get_legend().get_texts()] == [
            "descending-convex (1)",
            "bump (2)",
            "coincident (1)",
        ]
