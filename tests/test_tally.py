import numpy as np
import pytest
import torch

from nnvis_widgets.core.tally import Book, Tally


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(size=(4, 50)) * [[1], [10], [0.1], [3]] + 5


def filled(values, cuts=(), reference=2, origin=0.0):
    tally = Tally(len(values))
    for part in np.split(values + origin, cuts, axis=1):
        tally.add(part, np.ones(part.shape[1]), part[reference])
    return tally


def test_means_and_standard_errors_are_the_textbook_ones(values):
    tally = filled(values, [7, 30])
    assert tally.mean == pytest.approx(values.mean(1), rel=1e-14)
    assert tally.se == pytest.approx(values.std(1, ddof=1) / 50**0.5, rel=1e-12)
    differences = values - values[2]
    assert tally.diff_se == pytest.approx(differences.std(1, ddof=1) / 50**0.5, rel=1e-12)
    assert tally.diff_se[2] == 0.0


def test_a_small_spread_on_a_large_mean_is_not_lost(values):
    # the textbook's sum of squares has lost all of it: (1e9)^2 has no room for ones
    assert filled(values, [7], origin=1e9).se == pytest.approx(filled(values).se, rel=1e-6)


def test_a_constant_has_no_error():
    tally = filled(np.full((2, 9), 0.1), [4], reference=1)
    assert tally.se.tolist() == [0.0, 0.0]
    assert tally.mean == pytest.approx([0.1, 0.1], abs=1e-17)


def test_the_bits_do_not_depend_on_how_many_points_are_added_at_once(values):
    alone, together = Tally(4), Tally(4)
    for k in (2, 0, 3, 1):
        alone.add(values[k : k + 1], np.ones(50), values[2], np.array([k]))
    together.add(values, np.ones(50), values[2])
    for name in ("mean", "se", "diff_se"):
        assert np.array_equal(getattr(alone, name), getattr(together, name))


def test_batch_means_weigh_by_their_size():
    tally = Tally(1)
    sizes, means = np.array([10.0, 10.0, 4.0]), np.array([1.0, 2.0, 4.0])
    for size, mean in zip(sizes, means, strict=True):
        tally.add(np.array([[mean]]), np.array([size]), np.array([0.0]))
    expected = (sizes * means).sum() / 24
    assert tally.mean == pytest.approx([expected], rel=1e-15)
    assert tally.se == pytest.approx([(((sizes * (means - expected)) ** 2).sum() / 24**2 * 3 / 2) ** 0.5], rel=1e-12)


def test_nothing_measured_is_nan_and_one_observation_has_no_error():
    tally = Tally(2)
    tally.add(np.array([[3.0]]), np.ones(1), np.array([3.0]), np.array([1]))
    assert np.isnan(tally.mean[0])
    assert tally.mean[1] == 3.0
    assert np.isnan(tally.se).all()
    assert np.isnan(tally.diff_se).all()


def test_without_a_reference_there_is_no_paired_error():
    tally = Tally(1)
    tally.add(np.array([[1.0, 2.0]]), np.ones(2), None)
    assert tally.se == pytest.approx([0.5])
    assert np.isnan(tally.diff_se).all()


@pytest.mark.parametrize(("value", "mean"), [(np.nan, np.nan), (np.inf, np.inf), (-np.inf, -np.inf)])
@pytest.mark.parametrize("place", [0, 3])
def test_what_diverged_stays_so_and_spoils_no_other_point(values, value, mean, place):
    values[1, place] = value
    tally = filled(values, [2])
    assert np.array_equal(tally.mean[1], mean, equal_nan=True)
    assert np.isnan(tally.se[1])
    assert np.isfinite(tally.mean[[0, 2, 3]]).all()
    assert np.isfinite(tally.diff_se[[0, 2, 3]]).all()


def test_a_book_pairs_each_batch_with_the_reference_point_of_that_batch(values):
    book = Book(["loss", "double"], 4, reference=2)
    for batch, part in enumerate(np.split(values, [20], axis=1)):
        for k in (2, 0):
            book.note([k], [torch.tensor(part[k])[None], torch.tensor(2 * part[k])[None]])
        book.enter(batch, part.shape[1])
        for k in (1, 3):
            book.note([k], [torch.tensor(part[k])[None], torch.tensor(2 * part[k])[None]])
        book.enter(batch, part.shape[1])
        book.forget(batch)
    assert np.array_equal(book.tallies["loss"].diff_se, filled(values, [20]).diff_se)
    assert np.array_equal(book.tallies["double"].mean, filled(2 * values, [20]).mean)


def test_a_book_keeps_the_values_of_samples_of_each_quantity_that_has_them(values):
    book = Book(["loss", "mean", "double"], 4, reference=None, samples=50)
    weights = torch.arange(50.0)
    for batch, part in enumerate(np.split(values, [20], axis=1)):
        rows = torch.tensor(part)
        book.note(range(4), [rows, rows.mean(1), 2 * rows], weights[20 * batch : 20 * batch + part.shape[1]])
        book.enter(batch, part.shape[1], 20 * batch)
        if batch == 0:
            assert np.isnan(book.samples["loss"][:, 20:]).all()
    assert book.samples.keys() == {"loss", "double"}
    assert np.array_equal(book.samples["loss"], values.astype(np.float32))
    assert np.array_equal(book.samples["double"], (2 * values).astype(np.float32))
    assert book.samples["loss"].dtype == np.float32
    assert book.sample_weights.tolist() == weights.tolist()


@pytest.mark.parametrize(("room", "names"), [(0, None), (799, None), (800, ["loss"]), (1700, ["loss", "accuracy"])])
def test_they_stay_within_the_bytes_they_may_take(room, names):
    book = Book(["loss", "accuracy"], 4, None, samples=50, keep=room)
    assert (book.samples if names is None else list(book.samples)) == names
