"""The time that an experiment would take."""

import types

import pytest
import torch

import nnvis_widgets as nv
from nnvis_widgets.experiments import estimate


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(estimate.time, "monotonic", lambda: now[0])
    return now


def work(clock, start, rate, closed):
    """Partial results of something that takes `start` seconds to begin and then does `rate` of itself in a second."""
    try:
        clock[0] += start
        fraction = 0.0
        while fraction < 1.0:
            clock[0] += 0.2
            fraction = min(fraction + 0.2 * rate, 1.0)
            yield types.SimpleNamespace(fraction=fraction)
    finally:
        closed.append(clock[0] - 100.0)


def test_a_slow_start_is_counted_once(clock):
    closed = []
    assert nv.estimate_seconds(work(clock, 3.0, 0.01, closed), budget=1.0) == pytest.approx(3.0 + 100.0)
    assert closed == [pytest.approx(4.2)]


def test_what_ends_within_the_budget_is_measured(clock):
    assert nv.estimate_seconds(work(clock, 0.1, 2.0, [])) == pytest.approx(0.7)


def test_of_a_real_surface(unhurried):
    model = torch.nn.Linear(3, 2)
    evaluator = nv.Evaluator(model, (torch.randn(40, 3), torch.arange(40) % 2), device="cpu", batch_size=5)
    assert 0 < nv.estimate_seconds(nv.iter_surface(evaluator, nv.random_plane(model), resolution=9), budget=0.01) < 600


def test_what_does_not_say_how_far_it_is_is_refused(clock):
    with pytest.raises(TypeError, match="how much of the work"):
        nv.estimate_seconds(iter([{"a": 1}]))
    with pytest.raises(ValueError, match="at its end"):
        nv.estimate_seconds(iter([]))
