"""The surface explorer in JupyterLab: planes, controls, and the model that is asked where the picture is clicked.

Numbers that the page shows are compared with plain PyTorch in this process; places come from the tick labels of the drawn axes.
"""

from __future__ import annotations

import json
import re

import numpy as np
import pages
import pytest
import torch
from driver import Explorer
from torch.nn import functional as F

import nnvis_widgets as nv

CELL = """
import nnvis_widgets as nv
demo = nv.load_demo("digits")
explorer = nv.SurfaceExplorer(demo.evaluator, demo.run, resolution=9)
explorer
"""
GROUND = """root => { const figure = root.querySelector('.nnvis-contour');
  const box = figure.querySelector('image').getBoundingClientRect();
  const axes = [...figure.querySelectorAll('g.axis')].map(axis => [...axis.querySelectorAll('.tick')].map(tick => {
    const line = tick.querySelector('line').getBoundingClientRect();
    return [parseFloat(tick.textContent.replace('\\u2212', '-')), line.x + line.width / 2, line.y + line.height / 2] }));
  return { box: [box.x, box.y, box.width, box.height], axes } }"""


class Surface(Explorer):
    """A surface explorer on a page."""

    def until(self, condition, what, seconds=pages.PATIENCE):
        try:
            return pages.until(self.page, condition, what, seconds)
        except AssertionError as error:
            parts = (self.text(name) for name in ("legend", "progress-text", "state", "inspector .nnvis-read", "error"))
            raise AssertionError(f"{error}; the explorer says {' | '.join(parts)}; working: {self.working}") from None

    def heading(self):
        return self.text("legend")

    def drawn_lines(self):
        """Return how many characters describe the lines that are seen on the ground."""
        lines = self.part("contour").locator("path.line")
        return lines.evaluate_all(
            "all => all.filter(e => e.getBoundingClientRect().width > 0).reduce((sum, e) => sum + (e.getAttribute('d') || '').length, 0)"
        )

    def measured(self):
        """Wait until all of the surface is there."""
        self.until(lambda: not self.working and "interpolated" not in self.text("state"), "a whole surface")

    def ground(self):
        """Return the box of the coloured ground, and what turns a pixel into a coordinate for each axis: (slope, offset)."""
        self.part("contour").scroll_into_view_if_needed()
        found = self.root.evaluate(GROUND)
        lines = []
        for axis, ticks in enumerate(found["axes"][:2]):
            values = np.array(ticks)
            lines.append(np.polyfit(values[:, 1 + axis], values[:, 0], 1))
        return found["box"], lines

    def pixel(self, x, y):
        _, lines = self.ground()
        return [(value - offset) / slope for value, (slope, offset) in zip((x, y), lines, strict=True)]

    def ask(self, across, down, *held):
        """Click the ground at these shares of its width and height; return the place in coordinates of the plane."""
        box, lines = self.ground()
        px, py = box[0] + across * box[2], box[1] + down * box[3]
        for key in held:
            self.page.keyboard.down(key)
        self.page.mouse.click(px, py)
        for key in held:
            self.page.keyboard.up(key)
        return [float(np.polyval(line, pixel)) for line, pixel in zip(lines, (px, py), strict=True)]

    def answer(self, name="A"):
        """Wait for what is said of a marked point: its place, its loss and its accuracy."""
        pattern = rf"{name} \((\S+), (\S+)\) loss (\S+) \[\S+, \S+\] accuracy (\S+)%"
        found = self.until(lambda: re.search(pattern, self.text("inspector .nnvis-read")), f"an answer for {name}")
        return [float(value) for value in found.groups()]


@pytest.fixture(scope="module")
def notebook(new_page, lab_url, folder):
    cell = {"cell_type": "code", "execution_count": None, "id": "a", "metadata": {}, "outputs": [], "source": CELL.strip()}
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    (folder / "surface.ipynb").write_text(json.dumps({"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
    lab = pages.Lab(new_page(1500, 1500), lab_url, "surface.ipynb")
    lab.run_all()
    return lab


@pytest.fixture(scope="module")
def explored(notebook):
    surface = Surface(notebook.page)
    surface.part("contour").wait_for()
    surface.measured()
    return surface


@pytest.fixture
def surface(explored):
    yield explored
    explored.measured()
    assert not explored.text("error")
    explored.page.complaints.raise_any()


@pytest.fixture(scope="module")
def plane(demo):
    run = demo.run
    return nv.three_point_plane(run[0].state, run[run.mid_index].state, run[len(run) - 1].state)


def plain_answer(demo, plane, x, y):
    """Loss and accuracy in percent at a point of a plane, by a model that is loaded and run."""
    model = nv.LeNet()
    one, two = plane.directions
    model.load_state_dict({name: value + x * one[name] + y * two[name] for name, value in plane.center.items()})
    with torch.no_grad():
        output = model(demo.test[0])
    return F.nll_loss(output, demo.test[1]).item(), 100 * (output.argmax(1) == demo.test[1]).float().mean().item()


def test_a_click_asks_the_model_there(surface, demo, plane):
    assert surface.heading().startswith("three-point plane")
    x, y = surface.ask(0.5, 0.3)
    shown_x, shown_y, loss, accuracy = surface.answer()
    assert (shown_x, shown_y) == pytest.approx((x, y), abs=0.05)
    assert (loss, accuracy) == pytest.approx(plain_answer(demo, plane, shown_x, shown_y), rel=2e-3)
    assert surface.root.locator(".nnvis-cards img").count() == 12
    for mark, place in (("A", (x, y)), ("★", (0.0, 0.0))):
        box = surface.part("contour").locator("svg text", has_text=re.compile(f"^{mark}$")).bounding_box()
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        assert middle == pytest.approx(surface.pixel(*place), abs=3), mark
    surface.click("clear")
    surface.until(lambda: "Click the picture" in surface.text("inspector .nnvis-read"), "nothing marked")


def test_two_points_are_compared_along_the_line_between_them(surface, demo, plane):
    surface.ask(0.3, 0.6)
    first = surface.answer("A")
    surface.ask(0.7, 0.4, "Control")
    second = surface.answer("B")
    words = surface.until(
        lambda: re.search(r"loss at B minus loss at A: ([+-]\S+) ± (\S+)", surface.text("inspector")), "a difference"
    )
    truth = plain_answer(demo, plane, *second[:2])[0] - plain_answer(demo, plane, *first[:2])[0]
    assert float(words[1]) == pytest.approx(truth, abs=2e-3)
    assert surface.root.locator(".nnvis-inspector .nnvis-loss path.line").count() > 0
    surface.click("clear")


def test_a_cell_of_the_confusion_matrix_shows_its_samples(surface):
    surface.ask(0.45, 0.4)
    surface.answer()
    part = surface.part("confusion")
    part.scroll_into_view_if_needed()
    counts = part.locator("text").all_text_contents()
    assert any(re.fullmatch(r"\d+", count.strip()) for count in counts)
    box = part.locator("image").first.bounding_box()
    surface.page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 0.45 * box["height"])  # column 2, row 4
    surface.until(lambda: "target 4, predicted 2" in surface.text("cards"), "the samples of a cell")
    surface.click("uncell")
    surface.until(lambda: "predicted differently" in surface.text("cards"), "the samples that changed")
    surface.click("clear")


def test_a_dot_of_the_way_is_a_checkpoint(surface, demo, plane):
    x, y = plane.project(demo.run).xy[2]
    surface.page.mouse.click(*surface.pixel(x, y))
    text = surface.until(
        lambda: re.search(r"the model at epoch 2 itself loss (\S+) .* the projection of epoch 2 onto the plane \(\S+, \S+\) loss (\S+)",
                          surface.text("inspector .nnvis-read")), "a checkpoint and its projection")  # fmt: skip
    model = nv.LeNet()
    model.load_state_dict(demo.run[2].state)
    with torch.no_grad():
        own = F.nll_loss(model(demo.test[0]), demo.test[1]).item()
    assert float(text[1]) == pytest.approx(own, rel=2e-3)
    assert float(text[2]) == pytest.approx(plain_answer(demo, plane, x, y)[0], rel=2e-3)
    surface.click("clear")


def test_planes(surface):
    surface.press("plane-kind", "PCA")
    surface.until(lambda: "explains" in surface.heading(), "the principal plane")
    surface.until(lambda: "principal component 1" in surface.text("contour"), "names at the axes")
    surface.measured()
    shares = [int(share) for share in re.search(r"explains (\d+)% \+ (\d+)%", surface.heading()).groups()]
    assert sum(shares) > 80
    assert surface.part("variance").is_visible()

    surface.press("plane-kind", "Random")
    surface.until(lambda: "seed 0, filter-normalised" in surface.heading(), "a random plane")
    surface.click("another")
    surface.until(lambda: "seed 1, filter-normalised" in surface.heading(), "another slice")
    assert surface.typed("seed") == "1"
    surface.choose("normalize", "layer-normalised")
    surface.until(lambda: "seed 1, layer-normalised" in surface.heading(), "another normalisation")
    surface.measured()

    surface.press("plane-kind", "Hessian")
    surface.until(lambda: "curvature" in surface.heading(), "a plane of curvature")
    surface.measured()
    surface.press("plane-kind", "Three-point")
    surface.until(lambda: surface.heading().startswith("three-point plane"), "the plane of the paths")


def test_quantity_scale_colours_and_isolines(surface):
    surface.press("quantity", "accuracy")
    surface.until(lambda: "accuracy" in surface.text("curves"), "accuracies")
    surface.press("quantity", "loss")
    surface.until(lambda: "logarithmic colours" in surface.text("curves"), "logarithms, as the loss spans much")
    surface.choose("scale", "linear")
    surface.until(lambda: "logarithmic colours" not in surface.text("curves"), "no logarithms")
    surface.choose("scale", "scale: automatic")
    before = surface.part("contour").locator("image").get_attribute("href")
    surface.choose("colours", "viridis")
    surface.until(lambda: surface.part("contour").locator("image").get_attribute("href") != before, "other colours")
    surface.choose("colours", "cividis")
    before = surface.drawn_lines()
    surface.hold("levels", "Home", 1)
    surface.until(lambda: surface.drawn_lines() < before, "no isolines")
    surface.hold("levels", "ArrowRight", 12)


def test_grid(surface, notebook):
    def spans():
        _, lines = surface.ground()
        return abs(lines[0][0])

    before = spans()
    surface.choose("widen", "span x 2")
    surface.until(lambda: spans() == pytest.approx(2 * before, rel=0.05), "twice the width")
    surface.choose("widen", "span x 1")
    surface.choose("resolution", "17 x 17 points")
    surface.until(lambda: notebook.python("print(explorer.surface.loss.shape)") == "(17, 17)", "a finer grid")
    surface.measured()
    notebook.python("explorer.resolution = 9")
    surface.until(lambda: surface.chosen("resolution") == "9 x 9 points", "what Python has set")


def test_what_is_drawn_on_the_ground(surface):
    assert "run" in surface.text("curves")
    surface.tick("trajectory", False)
    surface.until(lambda: "★ end" not in surface.text("curves"), "no trajectory")
    surface.tick("paths", False)
    surface.until(lambda: "linear path" not in surface.text("curves"), "no paths")
    surface.tick("trajectory", True)
    surface.tick("paths", True)
    surface.until(lambda: "quadratic path" in surface.text("curves"), "both")


def test_the_landscape_stands_below_and_can_be_put_away(surface):
    canvas = surface.root.locator(".nnvis-solid canvas").first
    canvas.wait_for()
    surface.until(lambda: "drawn × 0.6 of the width" in surface.root.inner_text(), "its vertical scale")
    surface.hold("exaggeration", "ArrowRight", 4)
    surface.until(lambda: "drawn × 0.72 of the width" in surface.root.inner_text(), "a higher one")
    surface.hold("exaggeration", "ArrowLeft", 4)
    for preset in ("top", "front", "side", "corner"):
        surface.click(f"camera-{preset}")
    box = surface.still(canvas)
    surface.page.mouse.click(box["x"] + 0.45 * box["width"], box["y"] + 0.62 * box["height"])
    surface.until(lambda: surface.text("inspector .nnvis-read") != "" and "Click" not in surface.text("inspector .nnvis-read"), "A")
    surface.click("clear")
    surface.tick("solid", False)
    surface.until(lambda: not canvas.is_visible(), "the flat view alone")
    surface.tick("solid", True)
    surface.until(canvas.is_visible, "both views")


def test_six_slices(surface):
    surface.click("slices-button")
    surface.until(
        lambda: "6 random slices" in surface.text("slices") and surface.root.locator(".nnvis-slices img").count() == 6, "six"
    )
    surface.measured()
    surface.root.locator(".nnvis-slices button", has_text="seed 3").click()
    surface.until(lambda: "seed 3" in surface.heading(), "the slice that was chosen")
    surface.click("slices-button")
    surface.press("plane-kind", "Three-point")


def test_keys(surface):
    surface.part("curves").focus()
    surface.page.keyboard.press("g")
    surface.until(lambda: surface.chosen("scale") == "log10", "logarithms")
    surface.page.keyboard.press("g")
    surface.until(lambda: surface.chosen("scale") == "linear", "none")
    surface.choose("scale", "scale: automatic")
    surface.part("curves").focus()
    surface.page.keyboard.press("ArrowRight")
    x, y, *_ = surface.answer()
    assert x > 0
    assert y == 0
    surface.click("clear")
