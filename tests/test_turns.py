"""Points of a plane share sums: the same bits in any order, and the order that shares most."""

import numpy as np
import pytest
import torch

from nnvis_widgets.core.program.lean import mixture
from nnvis_widgets.core.program.turns import Sums, fastest, in_turn

GRID = np.array([[1.0, x, y] for x in (-1, 0, 0.5, 2) for y in (0, -0.5, 3)])


def counted(rows, fast):
    """Return the sums of two sets of tensors, and a list of the rows that were added up."""
    torch.manual_seed(0)
    sets = [{"a": torch.randn(5), "b": torch.randn(2, 3)} for _ in range(rows.shape[1])]
    added = []

    def add(row, tensors):
        added.append(tuple(row))
        return mixture(row, tensors)

    return Sums(rows, fast, sets, add), sets, added


def at(sums, k, name):
    row, sets = sums.at(k)
    return mixture(row, [each[name] for each in sets])


def test_every_row_is_the_combination_of_its_sets_and_the_same_bits_in_any_order():
    forth, sets, _ = counted(GRID, 1)
    back, _, _ = counted(GRID, 1)
    values = [at(forth, k, "b") for k in range(len(GRID))]
    for k in reversed(range(len(GRID))):
        assert torch.equal(at(back, k, "b"), values[k])
        expected = sum(c * each["b"].double() for c, each in zip(GRID[k], sets, strict=True))
        torch.testing.assert_close(values[k].double(), expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(values[3], sets[0]["b"])  # the centre itself


def test_in_turn_each_sum_is_made_once_and_only_of_what_is_asked_for():
    sums, _, added = counted(GRID, fastest(GRID))
    order = in_turn(GRID, [7, *range(7), *range(8, len(GRID))])
    assert sorted(order) == list(range(len(GRID)))
    for k in order:
        at(sums, k, "a")
    assert added == [(1.0, -0.5), (1.0, 0.0), (1.0, 3.0)]


@pytest.mark.parametrize(
    ("rows", "fast"),
    [
        (GRID, 1),
        (GRID[:, [1, 0, 2]], 0),
        (GRID[:, [1, 2, 0]], 0),
        (GRID[[5]], 1),
        (GRID[:, :2], None),
        (GRID[:, 1:], None),
        (np.array([[1, 0, 0], [0.375, 0.75, -0.125]]), None),
    ],
)
def test_a_plane_around_a_centre_has_a_coefficient_that_is_added_last(rows, fast):
    assert fastest(rows) == fast
    if fast is None:
        assert in_turn(rows, [1, 0]) == [1, 0]
        sums, sets, added = counted(rows, fast)
        assert sums.at(1) == (rows[1].tolist(), sets)
        assert not added
