"""The tour as a Voila page: the same widgets without a notebook around them; a few of each kind of control are moved."""

from __future__ import annotations

import numpy as np
import pytest
from driver import Explorer


@pytest.fixture
def explorer(voila):
    yield Explorer(voila)
    voila.complaints.raise_any()


def agree(plot, name, result):
    assert plot.at(name, result.alphas) == pytest.approx(result.loss, abs=plot.tolerance)


def test_the_model_s_paths_are_drawn_beside_the_training_run(explorer, truth):
    explorer.press("level", "Model")  # the tour's later cells have left it at a layer
    explorer.drawn("quadratic", 41)
    explorer.until(lambda: explorer.plot()["training"].shown, "the training run")
    for kind in ("linear", "quadratic"):
        agree(explorer.plot(), kind, truth(kind, None))


def test_a_layer_a_kind_and_the_cursor(explorer, truth):
    explorer.press("level", "Layer")
    explorer.until(lambda: "fc1" in explorer.layers(), "the list of layers")
    explorer.layer("fc1")
    explorer.press("kind", "Linear")
    explorer.until(lambda: agree(explorer.plot(), "linear", truth("linear", "fc1")) is None, "the path of fc1")
    assert not explorer.plot()["quadratic"].shown
    explorer.slide("alpha", "Home", *["ArrowRight"] * 3)
    explorer.until(lambda: explorer.plot().cursor == pytest.approx(0.03, abs=0.001), "the cursor at 0.03")


def test_one_weight_by_its_index(explorer, truth):
    explorer.press("level", "Parameter")
    explorer.until(lambda: explorer.part("index").is_visible(), "the index box")
    explorer.type("index", "3, 17")
    one = truth("linear", ("fc1.weight", (3, 17)), np.linspace(-0.5, 1.5, 5))
    explorer.until(lambda: not explorer.working and agree(explorer.plot(), "linear", one) is None, "the path of that weight")
    assert explorer.plot()["outside low"].shown
