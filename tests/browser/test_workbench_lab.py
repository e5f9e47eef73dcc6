"""The workbench in JupyterLab: every link in both directions, how much is said for one move of a hand, and what stays in memory."""

from __future__ import annotations

import json
import re

import pages
import pytest
from driver import Explorer

CELL = """
import nnvis_widgets as nv
demo = nv.load_demo("digits")
evaluator = nv.Evaluator(demo.model, demo.test, samples=200)
bench = nv.Workbench(evaluator, {"first": demo.run, "short": nv.Run.from_states([c.state for c in demo.run][:6])})
bench
"""
MEMORY = "import gc, os; gc.collect(); print(int(open('/proc/self/statm').read().split()[1]) * os.sysconf('SC_PAGE_SIZE'))"


class Bench:
    """A workbench on a page of its own."""

    def __init__(self, page, url, folder):
        code = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": CELL.strip()}
        kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
        notebook = {"cells": [code], "metadata": kernel, "nbformat": 4, "nbformat_minor": 4}
        (folder / "workbench.ipynb").write_text(json.dumps(notebook))
        self.page, self.frames = page, 0
        page.on("websocket", self._count)
        self.lab = pages.Lab(page, url, "workbench.ipynb")
        self.lab.run_all()
        self.root = page.locator(".nnvis-workbench")
        self.root.wait_for()

    def _count(self, socket):
        if "/channels" in socket.url:
            for event in ("framesent", "framereceived"):
                socket.on(event, lambda _payload: setattr(self, "frames", self.frames + 1))

    def words(self):
        return re.sub(r"\s+", " ", self.root.locator(".nnvis-selected").inner_text()).strip()

    def until(self, condition, what):
        try:
            return pages.until(self.page, condition, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; the workbench says {self.words()!r}") from None

    def tab(self, title, part, number=0):
        """Choose a tab and return the explorer in it, the one that has this part."""
        tab = self.root.locator(".lm-TabBar-tab", has_text=re.compile(f"^{title}$"))
        if "lm-mod-current" not in tab.get_attribute("class"):
            tab.click()
        found = Explorer(self.page)
        found.root = self.root.locator(f".nnvis:has(> * .nnvis-{part})").nth(number)
        found.part(part).wait_for()
        return found

    def quiet(self):
        """Wait until nothing has been said between page and kernel for half a second; return how much was said until then."""
        while True:
            before = self.frames
            self.page.wait_for_timeout(500)
            if self.frames == before:
                return before


@pytest.fixture(scope="module")
def bench(new_page, lab_url, folder):
    return Bench(new_page(1600, 1100), lab_url, folder)


@pytest.fixture(autouse=True)
def no_complaints(bench):
    yield
    bench.page.complaints.raise_any()


def test_a_choice_in_one_explorer_is_seen_in_all(bench):
    paths = bench.tab("Paths", "loss")
    paths.drawn("linear", 41)
    paths.press("level", "Layer")
    paths.layer("fc1")
    bench.until(lambda: bench.words().startswith("fc1"), "fc1 is selected")
    layers = bench.tab("Layers", "rowspace")
    bench.until(
        lambda: "fc1" in layers.text("read") and not layers.part("cancel").is_enabled(), "fc1 is the chosen layer of the map"
    )
    weights = bench.tab("Weights", "phase")
    bench.until(lambda: not weights.part("cancel").is_enabled(), "a scan of fc1")
    assert bench.words().startswith("fc1")
    surface = bench.tab("Surface", "contour")
    surface.choose("mid", "mid: epoch 3")
    bench.until(lambda: "mid 3" in bench.words(), "the mid of the surface is everybody's")
    paths = bench.tab("Paths", "loss")
    assert paths.chosen("layers").split()[0] == "fc1"
    bench.until(lambda: paths.chosen("mid") == "epoch 3", "the path goes through epoch 3")
    paths.slide("alpha", "ArrowLeft", "ArrowLeft")
    bench.until(lambda: "α = 0.98" in bench.words(), "alpha is 0.98")
    surface = bench.tab("Surface", "contour")
    bench.until(lambda: "alpha on each path" in surface.text("contour-legend") if surface.root.locator(".nnvis-contour-legend").count()
                else "alpha on each path" in surface.root.inner_text(), "alpha is marked on both paths")  # fmt: skip


def test_a_row_of_the_layer_map_opens_its_paths(bench):
    bench.tab("Layers", "rowspace")
    bench.lab.python("bench.shown[0].selected = 'conv2'")
    bench.until(lambda: bench.words().startswith("conv2"), "conv2 is selected")
    bench.lab.python("bench.open_scope('conv2')")
    paths = bench.tab("Paths", "loss")
    bench.until(lambda: paths.chosen("layers").split()[0] == "conv2", "the paths of conv2")
    paths.drawn("linear", 41)


def test_two_runs_stand_side_by_side(bench):
    bench.tab("Paths", "loss")
    bench.root.locator(".nnvis-compare select").select_option(label="beside: short")
    one, two = (bench.tab("Paths", "loss", number) for number in (0, 1))
    curves = [explorer.drawn("linear", 41) for explorer in (one, two)]
    assert abs(curves[0][0, 1] - curves[1][0, 1]) > 1e-3  # conv2 put back costs a shorter training something else
    two.slide("alpha", "ArrowLeft")
    bench.until(lambda: one.slider("alpha") == two.slider("alpha"), "one alpha for both")
    boxes = [explorer.part("loss").bounding_box() for explorer in (one, two)]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    assert abs(boxes[0]["y"] - boxes[1]["y"]) < 40
    bench.root.locator(".nnvis-compare select").select_option(label="one run")
    bench.until(lambda: bench.root.locator(".nnvis-loss:visible").count() == 1, "one run")


def test_what_can_be_taken_away(bench):
    bench.root.locator(".nnvis-code").click()
    bench.until(lambda: "nv.PathExplorer(evaluator" in bench.root.locator(".nnvis-given").inner_text(), "the code")
    for button, name in (("png", "paths.png"), ("keep", "workbench.json")):
        bench.root.locator(f".nnvis-{button}").click()
        link = bench.root.locator(f".nnvis-given a[download='{name}']")
        link.wait_for()
        assert len(link.get_attribute("href")) > 500


def test_a_move_is_said_in_few_messages_and_two_hundred_of_them_leave_nothing_behind(bench):
    paths = bench.tab("Paths", "loss")
    bench.quiet()
    heap = bench.page.context.new_cdp_session(bench.page)

    def memory():
        heap.send("HeapProfiler.collectGarbage")
        return int(bench.lab.python(MEMORY)), heap.send("Runtime.getHeapUsage")["usedSize"]

    def moves(count):
        for key in ("ArrowLeft", "ArrowRight"):
            paths.hold("alpha", key, count)
            bench.quiet()

    moves(10)  # what is made at the first move
    before, said = memory(), bench.quiet()
    paths.slide("alpha", "ArrowLeft")
    one = bench.quiet() - said
    assert one <= 40, f"{one} messages for one move of alpha"
    moves(100)
    after = memory()
    assert after[0] - before[0] < 30e6, f"the kernel grew by {(after[0] - before[0]) / 1e6:.0f} MB"
    assert after[1] - before[1] < 15e6, f"the page grew by {(after[1] - before[1]) / 1e6:.0f} MB"
