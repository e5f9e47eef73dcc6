"""Single weights: samples that a unit leaves silent are left out, and operations within short rows go another way."""

import numpy as np
import pytest
import torch
from torch import nn

import nnvis_widgets as nv
from nnvis_widgets.core.program import awake, rows

ALPHAS = np.linspace(-0.5, 1.5, 9)


class Net(nn.Module):
    def __init__(self, between):
        super().__init__()
        self.one, self.two, self.three, self.between = nn.Linear(7, 6), nn.Linear(6, 5), nn.Linear(5, 4), between

    def forward(self, x):
        return self.three(torch.relu(self.two(self.between(self.one(x)))))


def states(model, count=3):
    made = []
    for seed in range(count):
        torch.manual_seed(seed)
        made.append({name: torch.randn_like(value) for name, value in model.state_dict().items()})
    return made


@pytest.fixture
def seen(monkeypatch):
    """How many samples of how many were visited, for each batch."""
    found = []
    plain = awake.Awake.__init__

    def watched(self, stages, count, known, stacked, batch):
        plain(self, stages, count, known, stacked, batch)
        samples = len(self._asleep[0]) if self._picked is not None else self._change.shape[1]
        found.append((samples if self._picked is None else len(self._picked), samples))

    monkeypatch.setattr(awake.Awake, "__init__", watched)
    return found


@pytest.mark.parametrize(
    ("between", "spares"), [(nn.ReLU(), True), (nn.Hardtanh(), True), (nn.Tanh(), False), (nn.Identity(), False)]
)
def test_a_silent_unit_spares_its_samples_and_the_curve_is_the_plain_one(between, spares, seen):
    model = Net(between).double()
    torch.manual_seed(5)
    data = torch.randn(53, 7).double() * 3, torch.randint(0, 4, (53,))
    start, _, end = states(model)
    scope = ("one.weight", (2, 3))
    moved = {**end, "one.weight": end["one.weight"].clone()}
    moved["one.weight"][2, 3] += 0.3
    paths = [nv.LinearPath(moved, end), nv.QuadraticPath(start, moved, end)]
    mine, theirs = (
        nv.measure_paths(nv.Evaluator(model, data, batch_size=20, device="cpu", engine=engine), paths, [scope], ALPHAS).values()
        for engine in ("auto", "plain")
    )
    for one, other in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(one.loss, other.loss, rtol=1e-12)
        np.testing.assert_array_equal(one.metrics["accuracy"], other.metrics["accuracy"])
    # what is affine all the way to the next layer changes for all samples: there is nothing to look for
    assert len(seen) == (0 if isinstance(between, nn.Identity) else 3)
    assert all((visited < samples) == spares for visited, samples in seen)


def test_a_sample_that_is_not_finite_is_not_left_out(seen):
    model = Net(nn.ReLU())
    torch.manual_seed(5)
    x = torch.randn(40, 7)
    x[3] = float("nan")
    start, _, end = states(model)
    curve, plain = (
        nv.measure_path(
            nv.Evaluator(model, (x, torch.randint(0, 4, (40,), generator=torch.Generator().manual_seed(1))), batch_size=40,
                         device="cpu", engine=engine),
            nv.LinearPath(start, end), ALPHAS, scope=("one.weight", (0, 0)),
        )
        for engine in ("auto", "plain")
    )  # fmt: skip
    assert np.isnan(curve.loss).all()
    np.testing.assert_array_equal(curve.loss, plain.loss)
    assert seen


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3, 11, 10), (13, 3), (2, 5, 1)])
def test_short_rows_side_by_side_have_the_same_softmax(shape, dtype):
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype) * 8
    eps = 8 * torch.finfo(dtype).eps
    for mine, theirs in ((rows.log_softmax, torch.log_softmax), (rows.softmax, torch.softmax)):
        torch.testing.assert_close(mine(values).double(), theirs(values.double(), -1), rtol=eps, atol=eps)


def test_the_place_of_the_largest_is_that_of_argmax_with_ties_and_without_numbers():
    values = torch.randn(4, 50, 7, generator=torch.Generator().manual_seed(0)).mul(2).round()
    values[0, 0, 3] = values[1, 1, 0] = float("nan")
    values[2, 2] = float("-inf")
    assert torch.equal(rows.place_of_largest(values, -1), values.argmax(-1))
    assert torch.equal(rows.place_of_largest(values.transpose(1, 2), 1), values.argmax(-1))
