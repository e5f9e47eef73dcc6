"""The workbench as a Voila page, where a cell's messages are over before the page listens. Controls: the tests in JupyterLab."""

from __future__ import annotations

import json
import re

import numpy as np
import pages
import pytest
from driver import Explorer

CELL = """
import nnvis_widgets as nv
demo = nv.load_demo("digits")
bench = nv.Workbench(nv.Evaluator(demo.model, demo.test, samples=100, name="test"), demo.run, tab="Surface")
bench.shown[0].resolution = 9
bench
"""


@pytest.fixture(scope="module")
def surface(new_page, chromium, tmp_path_factory, cache, demo):
    folder = tmp_path_factory.mktemp("workbench_voila")
    cell = {"cell_type": "code", "execution_count": None, "id": "a", "metadata": {}, "outputs": [], "source": CELL.strip()}
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    notebook = folder / "workbench.ipynb"
    notebook.write_text(json.dumps({"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
    with pages.serve("voila", folder, cache, str(notebook)) as url:
        page = new_page(1500, 1500)
        page.goto(url)
        page.locator(".nnvis-contour image").first.wait_for()
        surface = Explorer(page)
        surface.root = page.locator(".nnvis:has(> * .nnvis-contour)")
        yield surface
        page.complaints.raise_any()


def test_the_landscape_is_drawn_with_the_whole_run(surface, demo):
    surface.root.locator(".nnvis-solid canvas").first.wait_for()
    shown = surface.root.locator(".nnvis-solid-epoch .widget-readout")
    pages.until(surface.page, lambda: float(shown.inner_text()) == demo.run.epochs[-1], "the run up to its last epoch")


def test_a_click_asks_the_model(surface):
    image = surface.part("contour").locator("image").first
    image.scroll_into_view_if_needed()
    box = image.bounding_box()
    surface.page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.3 * box["height"])
    answer = r"A \(\S+, \S+\) loss \S+ \[\S+, \S+\] accuracy \S+%"
    pages.until(surface.page, lambda: re.search(answer, surface.text("inspector .nnvis-read")), "an answer")
    assert surface.root.locator(".nnvis-cards img").count() == 12


def test_a_control_changes_the_plane(surface):
    surface.press("plane-kind", "Random")
    pages.until(surface.page, lambda: "filter-normalised" in surface.text("legend"), "a random plane")


def test_each_tab_opens_and_its_picture_can_be_taken_away(surface):
    page, bench = surface.page, surface.page.locator(".nnvis-workbench")
    for title, part, name in (("Monitor", "movement", "monitor"), ("Layers", "rowspace", "layers"), ("Paths", "loss", "paths")):
        bench.locator(".lm-TabBar-tab", has_text=re.compile(f"^{title}$")).click()
        explorer = Explorer(page)
        explorer.root = bench.locator(f".nnvis:has(> * .nnvis-{part})")
        explorer.part(part).locator("svg").first.wait_for()
        pages.until(page, lambda explorer=explorer: not explorer.part("cancel").is_enabled(), "a picture")
        bench.locator(".nnvis-png").click()
        pages.until(
            page, lambda name=name: bench.locator(f".nnvis-given a[download='{name}.svg']").count(), f"the {title} as a file"
        )


def test_a_dot_of_the_diagram_is_clicked_and_dragged(surface):
    page = surface.page
    page.locator(".nnvis-workbench .lm-TabBar-tab", has_text=re.compile("^Weights$")).click()
    weights = Explorer(page)
    weights.root = page.locator(".nnvis-workbench .nnvis:has(> * .nnvis-phase)")
    weights.part("phase").wait_for()
    pages.until(page, lambda: "n = " in weights.text("state") and not weights.part("cancel").is_enabled(), "a scan")
    weights.still(weights.part("phase"))

    def dots():
        found = (
            weights.part("phase")
            .locator("path.dot")
            .evaluate_all(
                "all => all.map(e => e.getBoundingClientRect()).map(b => [b.x + b.width / 2, b.y + b.height / 2, b.width])"
            )
        )
        found = np.array([one for one in found if one[2] > 0])
        centres, rings = found[:, :2], found[:, 2] > 15
        assert rings.sum() == 1
        return centres[~rings], centres[rings][0]

    (places, ring), before = pages.until(page, dots, "dots and a ring"), weights.text("read")
    at = places[np.linalg.norm(places - ring, axis=1).argmax()]
    page.mouse.click(*at)
    pages.until(page, lambda: weights.text("read") != before, "another weight")
    page.mouse.move(*at)
    page.mouse.down()
    page.mouse.move(at[0] - 40, at[1], steps=4)
    page.mouse.up()
    pages.until(page, lambda: "What if" in weights.text("whatif-words"), "what if")
