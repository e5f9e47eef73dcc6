"""Fixtures that several test files use; the small models and states are in factories.py."""

from __future__ import annotations

import factories
import pytest
import torch

import nnvis_widgets as nv

# the models here are so small that a second thread only waits for the first, the longer the busier the machine
torch.set_num_threads(1)


@pytest.fixture
def model():
    return factories.made(factories.ConvNet)


@pytest.fixture
def data():
    return factories.images()


@pytest.fixture
def walk(model):
    """Five states of the model, and the model itself holds the last one."""
    states = factories.states(model, 5)
    model.load_state_dict(states[-1])
    return states


@pytest.fixture
def run(walk):
    return nv.Run.from_states(walk)


@pytest.fixture
def evaluator(model, walk, data):
    return nv.Evaluator(model, data, device="cpu", batch_size=16)


@pytest.fixture
def unhurried(monkeypatch):
    """Partial results after each batch only, however slow the machine is; tests that want more set the heartbeat themselves."""
    monkeypatch.setattr("nnvis_widgets.core.evaluator.HEARTBEAT", float("inf"))
