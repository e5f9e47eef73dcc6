"""Fixtures that several test files use; the small models and states are in factories.py."""

from __future__ import annotations

import os

import factories
import pytest
import torch

import nnvis_widgets as nv

# the models here are so small that a second thread only waits for the first, the longer the busier the machine
torch.set_num_threads(1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """The whole suite runs on several workers; tests that are named run in this process, where they start at once."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return 0
    return min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file stays on one worker, and so do all tests in the browser: what they share is made once."""
    from xdist.scheduler import LoadFileScheduling

    class OneBrowser(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return "browser" if "/browser/" in nodeid else super()._split_scope(nodeid)

    return OneBrowser(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """On several workers the browser comes first, then files with long tests: no worker is left alone with them."""
    several = bool(items) and hasattr(items[0].config, "workerinput")
    order = [("browser",), ("slow", "notebook")] if several else []

    def place(item):
        found = [at for at, names in enumerate(order) if any(map(item.get_closest_marker, names))]
        return found[0] if found else len(order) + (item.get_closest_marker("browser") is not None)

    items.sort(key=place)


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


@pytest.fixture
def record_property(record_property):
    """As pytest's own, with values that can travel from a worker of the test run: numpy's numbers cannot."""
    return lambda name, value: record_property(name, str(value))
