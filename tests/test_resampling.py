import numpy as np
import pytest
from scipy import stats

from nnvis_widgets.core.resampling import (
    bootstrap_weights,
    false_discovery,
    kendall,
    normal_critical,
    paired_shares,
    rank_intervals,
    simultaneous,
)
from nnvis_widgets.core.tally import Tally


@pytest.fixture
def rng():
    return np.random.default_rng(0)


class TestBootstrapWeights:
    def test_are_counts_of_a_resample_over_its_size(self):
        weights = bootstrap_weights(50, 2000)
        assert (weights.shape, weights.dtype) == ((2000, 50), np.float32)
        counts = weights * 50
        assert np.array_equal(counts, counts.round())
        assert np.array_equal(counts.sum(1), np.full(2000, 50))
        # multinomial: each count has mean 1 and variance 1 - 1/n
        assert counts.mean(0) == pytest.approx(np.ones(50), abs=0.1)
        assert counts.var() == pytest.approx(1 - 1 / 50, abs=0.02)

    def test_are_those_of_the_seed_in_whatever_blocks_they_are_made(self, monkeypatch):
        whole = bootstrap_weights(7, 300, seed=3)
        assert whole.flags.writeable
        monkeypatch.setattr("nnvis_widgets.core.resampling._BLOCK", 64)
        assert bootstrap_weights(7, 300, seed=3).shape == whole.shape
        assert np.array_equal(bootstrap_weights(7, 300, seed=3), whole)
        assert not np.array_equal(bootstrap_weights(7, 300, seed=4), whole)


class TestSimultaneous:
    def test_means_and_errors_are_the_textbook_ones(self, rng):
        values = rng.normal(size=(3, 40)) * [[1], [10], [1e-3]] + [[0], [5], [1e3]]
        band = simultaneous(values)
        assert band.mean == pytest.approx(values.mean(1), rel=1e-12)
        assert band.se == pytest.approx(values.std(1, ddof=1) / 40**0.5, rel=1e-9)
        assert band.high - band.low == pytest.approx(2 * band.critical * band.se, rel=1e-6)

    def test_of_independent_normal_rows_the_critical_value_is_that_of_their_maximum(self, rng):
        band = simultaneous(rng.normal(size=(6, 1000)), draws=8000)
        assert band.critical == pytest.approx(stats.norm.ppf(0.5 + 0.95 ** (1 / 6) / 2), abs=0.07)

    def test_of_equal_rows_it_is_that_of_one(self, rng):
        row = rng.normal(size=1000)
        band = simultaneous(np.array([row, 3 * row, -row + 8]), draws=8000)
        assert band.critical == pytest.approx(1.96, abs=0.07)

    def test_a_row_that_did_not_move_is_exact_and_widens_no_other(self, rng):
        values = rng.normal(size=(3, 200))
        still = np.vstack([np.zeros(200), values, np.full(200, 0.1)])
        band = simultaneous(still)
        assert band.critical == simultaneous(values).critical
        assert (band.low[[0, -1]].tolist(), band.high[[0, -1]].tolist()) == ([0.0, 0.1], [0.0, 0.1])
        alone = simultaneous(still[[0, -1]])
        assert (alone.low.tolist(), alone.high.tolist()) == ([0.0, 0.1], [0.0, 0.1])

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_a_row_that_diverged_has_no_interval_and_leaves_the_others_theirs(self, rng, value):
        values = rng.normal(size=(3, 200))
        expected = simultaneous(values[:2])
        values[2, 5] = value
        band = simultaneous(values)
        assert np.isnan(band.low[2])
        assert np.array_equal(band.low[:2], expected.low)

    def test_weights_are_those_of_a_ratio_and_whole_ones_count_copies(self, rng):
        values = rng.normal(size=(2, 60))
        whole = rng.integers(0, 3, 60)
        band = simultaneous(values, whole)
        assert band.mean == pytest.approx(np.repeat(values, whole, axis=1).mean(1), rel=1e-12)
        tally = Tally(2)
        tally.add(values, whole.astype(float), None)
        assert band.se == pytest.approx(tally.se, rel=1e-9)
        assert simultaneous(values, np.full(60, 3.0)).low == pytest.approx(simultaneous(values).low, rel=1e-6)

    def test_a_sample_of_weight_0_may_have_any_loss(self, rng):
        values, weights = rng.normal(size=(2, 60)), np.ones(60)
        weights[7] = 0
        one = simultaneous(values, weights)
        values[:, 7] = 1e6
        other = simultaneous(values, weights)
        assert one.mean == pytest.approx(other.mean, rel=1e-9)
        assert one.high == pytest.approx(other.high, rel=1e-5)

    def test_heavy_tails_are_covered_as_often_as_promised(self, rng):
        # lognormal losses of paired layers, n = 400: intervals of 1.96 errors for each row cover all in two of three cases
        sigma = np.linspace(0.5, 1.2, 6)[:, None]
        covered, pointwise, cases = 0, 0, 150
        for case in range(cases):
            noise = 0.6 * rng.normal(size=(1, 400)) + 0.8 * rng.normal(size=(6, 400))
            band = simultaneous(np.exp(sigma * noise), draws=400, seed=case)
            truth = np.exp(sigma[:, 0] ** 2 / 2)
            covered += ((band.low <= truth) & (truth <= band.high)).all()
            pointwise += (np.abs(band.mean - truth) <= 1.96 * band.se).all()
        assert covered / cases > 0.95 - 3 * (0.95 * 0.05 / cases) ** 0.5
        assert pointwise / cases < 0.8

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"differences": np.zeros(4)}, r"differences: shape \(rows, samples\), received \(4,\)"),
            ({"weights": np.ones(3)}, r"weights: one number .* 5 samples"),
            ({"weights": -np.ones(5)}, "at least 0"),
            ({"confidence": 95}, "confidence: from 0.5 to below 1"),
            ({"draws": 3}, "draws: a whole number of at least 100"),
        ],
    )
    def test_what_it_cannot_take_is_refused(self, given, words):
        with pytest.raises(ValueError, match=words):
            simultaneous(**{"differences": np.zeros((2, 5)), **given})


class TestPairedShares:
    def test_the_bounds_are_the_roots_of_the_score(self):
        fewer, more, n = 30, 12, 400
        row = np.r_[np.ones(fewer), -np.ones(more), np.zeros(n - fewer - more)]
        band = paired_shares([row])
        for d in (band.low[0], band.high[0]):
            # Tango's constrained maximum likelihood, found here by search
            q = np.linspace(max(0, -d), (1 - d) / 2, 200001)[1:-1]
            with np.errstate(divide="ignore"):
                likelihood = fewer * np.log(q + d) + more * np.log(q) + (n - fewer - more) * np.log(1 - 2 * q - d)
            best = q[np.argmax(likelihood)]
            score = (fewer - more - n * d) / np.sqrt(n * (2 * best + d * (1 - d)))
            assert abs(score) == pytest.approx(band.critical, rel=1e-3)
        assert band.low[0] < band.mean[0] == (fewer - more) / n < band.high[0]

    def test_where_no_sample_changed_others_still_might(self):
        band = paired_shares(np.zeros((1, 200)))
        z2 = normal_critical() ** 2
        assert band.high[0] == pytest.approx(z2 / (200 + z2), rel=1e-6)
        assert band.low[0] == -band.high[0]

    def test_few_changes_are_covered_too(self, rng):
        share = np.array([0.002, 0.01, 0.05, 0.2])
        covered, cases = 0, 150
        for case in range(cases):
            band = paired_shares((rng.random((4, 400)) < share[:, None]).astype(float), draws=300, seed=case)
            covered += ((band.low <= share) & (share <= band.high)).all()
        assert covered / cases > 0.95 - 3 * (0.95 * 0.05 / cases) ** 0.5

    def test_many_changes_give_what_any_numbers_give(self, rng):
        values = (rng.random((3, 5000)) < 0.3).astype(float) - (rng.random((3, 5000)) < 0.1)
        one, other = paired_shares(values), simultaneous(values)
        assert one.low == pytest.approx(other.low, abs=3e-4)
        assert one.high == pytest.approx(other.high, abs=3e-4)

    def test_other_numbers_are_refused(self):
        with pytest.raises(ValueError, match="use simultaneous"):
            paired_shares([[0.5, 1.0]])


class TestRanks:
    def test_far_means_have_one_rank_and_near_ones_share(self, rng):
        values = rng.normal(size=(4, 300)) + np.array([[0.0], [5.0], [0.01], [-3.0]])
        low, high = rank_intervals(values)
        assert (low[[1, 3]].tolist(), high[[1, 3]].tolist()) == ([1, 4], [1, 4])
        assert (low[[0, 2]].tolist(), high[[0, 2]].tolist()) == ([2, 2], [3, 3])

    def test_rows_that_tie_span_the_ranks_they_share(self, rng):
        values = np.vstack([rng.normal(size=100) + 9, np.zeros((2, 100)), np.full(100, np.nan)])
        low, high = rank_intervals(values)
        assert (low.tolist(), high.tolist()) == ([1, 2, 2, 0], [1, 3, 3, 0])


class TestFalseDiscovery:
    def test_is_that_of_scipy_and_ignores_what_was_not_tested(self, rng):
        p = rng.random(40) ** 3
        assert false_discovery(p) == pytest.approx(stats.false_discovery_control(p), rel=1e-12)
        holes = np.insert(p, [0, 7, 40], np.nan)
        assert false_discovery(holes)[~np.isnan(holes)] == pytest.approx(false_discovery(p), rel=1e-12)
        assert false_discovery([]).shape == (0,)

    def test_refuses_what_is_no_probability(self):
        with pytest.raises(ValueError, match="from 0 to 1"):
            false_discovery([0.1, 1.2])


def test_kendall_counts_pairs_in_the_same_order():
    values = np.array([[1.0, 2, 3, 4], [1, 2, 4, 3], [4, 3, 2, 1], [1, 1, 1, 1], [1, np.nan, 3, 2]])
    tau = kendall(values)
    assert tau[0, :3].tolist() == pytest.approx([1, (5 - 1) / 6, -1])
    assert np.isnan(tau[0, 3])
    assert tau[0, 4] == pytest.approx((2 - 1) / 3)
    assert np.array_equal(tau, tau.T, equal_nan=True)
