"""The landscape in JupyterLab: drawn, refined, clicked, played; and a page without WebGL says so."""

from __future__ import annotations

import io
import json
import os

import numpy as np
import pages
import pytest
from PIL import Image

SOURCE = """
import dataclasses
import numpy as np
import ipywidgets as widgets
import nnvis_widgets as nv
from nnvis_widgets.views.solid import SolidView
from nnvis_widgets.views.surface_scene import SurfaceScene, Track

demo = nv.load_demo("digits")
run = demo.run
plane = nv.three_point_plane(run.initial, run.mid, run.final)
there = plane.project(run)
true = nv.measure_training(demo.evaluator, run)
low, high = there.xy.min(0), there.xy.max(0)
x, y = (np.linspace(a - 0.2 * (b - a), b + 0.2 * (b - a), 17) for a, b in zip(low, high))
surface = nv.measure_surface(demo.evaluator, plane, x=x, y=y)
track = Track("digits", there.xy, there.off_plane, true.epochs, true.loss)
ends = plane.project(run).xy
scene = SurfaceScene(surface, tracks=(track,), paths={"linear": ends[[0, -1]]}, points={"A": (float(x[12]), float(y[4]))})
coarse = np.zeros((17, 17), bool); coarse[::4, ::4] = True
part = dataclasses.replace(surface, loss=np.where(coarse, surface.loss, np.nan), n=np.where(coarse, surface.n, 0))
said = []
view = SolidView(lambda x, y, second: said.append(("point", x, y, second)), lambda name, i: said.append((name, i)))
view.show(dataclasses.replace(scene, surface=part))
"""
# the drawing buffer cannot be read between frames: draw calls are counted, pixels are those of a screenshot
COUNT = """() => { window.__draws = []; for (const P of [WebGLRenderingContext.prototype, WebGL2RenderingContext.prototype]) {
  const plain = P.drawElements;
  P.drawElements = function (mode, count, ...rest) { window.__draws.push(count); return plain.call(this, mode, count, ...rest) } } }"""
BLIND = """() => { const plain = HTMLCanvasElement.prototype.getContext;
  HTMLCanvasElement.prototype.getContext = function (kind, ...rest) { return kind.startsWith('webgl') ? null : plain.call(this, kind, ...rest) } }"""


def _notebook(folder, name, *cells):
    (folder / name).write_text(
        json.dumps(
            {
                "cells": [
                    {"cell_type": "code", "execution_count": None, "id": f"c{i}", "metadata": {}, "outputs": [], "source": cell}
                    for i, cell in enumerate(cells)
                ],
                "metadata": {"kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}},
                "nbformat": 4,
                "nbformat_minor": 5,
            }
        )
    )


def _pixels(page):
    shot = page.locator(".nnvis-solid canvas").first.screenshot()
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)


def _still(page):
    """Return the pixels once two pictures in a row are the same."""
    before: list[np.ndarray] = []

    def same():
        before.append(_pixels(page))
        return len(before) > 1 and before[-1].shape == before[-2].shape and (before[-1] == before[-2]).all()

    pages.until(page, same, "a picture that stands still")
    return before[-1]


def _changed(one, other):
    return float((np.abs(one - other).sum(-1) > 30).mean())


@pytest.fixture(scope="module")
def solid(new_page, lab_url, folder):
    page = new_page(1000, 900)
    page.add_init_script(f"({COUNT})()")
    _notebook(folder, "solid.ipynb", SOURCE, "widgets.VBox([view, view.player])")
    lab = pages.Lab(page, lab_url, "solid.ipynb")
    lab.run_all()
    page.locator(".nnvis-solid canvas").first.wait_for()
    page.locator(".nnvis-solid canvas").first.scroll_into_view_if_needed()
    return lab


def _shot(page, name):
    if os.environ.get("NNVIS_SHOTS"):
        page.locator(".nnvis-solid").first.screenshot(path=f"{os.environ['NNVIS_SHOTS']}/{name}.png")


def test_it_is_drawn_refines_follows_the_theme_and_answers(solid):
    page = solid.page
    pages.until(
        page, lambda: page.evaluate("count => window.__draws.includes(count)", 16 * 16 * 6), "all triangles of 17 x 17 drawn"
    )
    coarse = _still(page)
    _shot(page, "coarse")
    assert len(np.unique(coarse.reshape(-1, 3), axis=0)) > 200
    assert (coarse[3, 3] == 255).all()
    solid.python("view.show(scene)")
    pages.until(page, lambda: _changed(_pixels(page), coarse) > 0.005, "heights that have changed")
    _still(page)
    assert solid.python("print(view.facts.available)") == "True"
    _shot(page, "light")

    solid.theme("JupyterLab Dark")
    pages.until(page, lambda: _pixels(page)[3, 3].max() < 64, "a dark background")
    _still(page)
    _shot(page, "dark")
    solid.theme("JupyterLab Light")
    pages.until(page, lambda: _pixels(page)[3, 3].min() > 200, "a light background")

    solid.python("view.camera('top')")
    box = page.locator(".nnvis-solid canvas").first.bounding_box()
    top = _still(page)
    _shot(page, "top")

    # seen from above, right is the first axis, and the second one points up, as in the flat picture; in the middle it is not stretched
    x, y = json.loads(solid.python("import json; print(json.dumps([list(x), list(y)]))"))
    page.mouse.click(box["x"] + 0.56 * box["width"], box["y"] + 0.57 * box["height"])
    said = pages.until(page, lambda: json.loads(solid.python("print(json.dumps(said))")), "a place on the surface")
    kind, clicked_x, clicked_y, second = said[0]
    assert (kind, second) == ("point", False)
    assert x[8] < clicked_x < x[12]
    assert y[4] < clicked_y < y[8]
    page.keyboard.down("Control")
    page.mouse.click(box["x"] + 0.44 * box["width"], box["y"] + 0.43 * box["height"])
    page.keyboard.up("Control")
    said = pages.until(page, lambda: json.loads(solid.python("print(json.dumps(said[1:]))")), "a second place")
    assert said[0][3] is True
    assert said[0][1] == pytest.approx(x[8] - (clicked_x - x[8]), abs=x[9] - x[8])
    # what is marked lies where it is clicked
    solid.python("view.show(dataclasses.replace(scene, points={}))")
    pages.until(page, lambda: _changed(_pixels(page), top) > 0.0005, "no pin")
    top = _still(page)
    solid.python(f"view.show(dataclasses.replace(scene, points={{'A': ({clicked_x}, {clicked_y})}}))")
    pages.until(page, lambda: _changed(_pixels(page), top) > 0.0005, "a pin")
    with_pin = _still(page)
    moved = np.argwhere(np.abs(with_pin - top).sum(-1) > 60).mean(0) / with_pin.shape[:2]
    assert moved == pytest.approx([0.57, 0.56], abs=0.06)
    # dragging turns and asks nothing
    page.mouse.move(box["x"] + 300, box["y"] + 250)
    page.mouse.down()
    page.mouse.move(box["x"] + 380, box["y"] + 240, steps=6)
    page.mouse.up()
    pages.until(page, lambda: _changed(_pixels(page), with_pin) > 0.05, "a turned landscape")
    assert len(json.loads(solid.python("print(json.dumps(said))"))) == 2

    solid.python("view.camera('corner'); view.epoch = 0.0")
    pages.until(page, lambda: _changed(_pixels(page), top) > 0.05, "another camera")
    start = _still(page)
    _shot(page, "start")
    page.locator(".jupyter-widget-play button, .widget-play button").first.click()
    pages.until(page, lambda: float(solid.python("print(view.epoch)")) == 15.0, "the end of the training")
    assert _changed(_still(page), start) > 0.002
    _shot(page, "end")
    page.complaints.raise_any()


def test_a_browser_without_webgl_is_recognised(new_page, lab_url, folder):
    page = new_page(1000, 900)
    page.add_init_script(f"({BLIND})()")
    _notebook(folder, "blind.ipynb", "from nnvis_widgets.views.webgl import BrowserFacts\nfacts = BrowserFacts()\nfacts")
    lab = pages.Lab(page, lab_url, "blind.ipynb")
    lab.run_all()
    pages.until(page, lambda: lab.python("print(facts.available)") == "False", "an answer about WebGL")
    page.complaints.raise_any()
