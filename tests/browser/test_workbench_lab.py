"""The workbench in JupyterLab: every link in both directions, how much is said for one move of a hand, and what stays in memory."""

from __future__ import annotations

import json
import re

import pages
import pytest
from driver import Explorer

import nnvis_widgets as nv

CELL = """
import nnvis_widgets as nv
demo = nv.load_demo("digits")
evaluators = {name: nv.Evaluator(demo.model, getattr(demo, name), samples=100, name=name) for name in ("test", "train")}
bench = nv.Workbench(evaluators, {"first": demo.run, "short": nv.Run.from_states([c.state for c in demo.run][:6])})
bench.restore({"explorers": {"Surface": {"first": {"resolution": 9}}}})  # it is made when its tab is first chosen
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


def said(bench, what):
    bench.until(lambda: what in bench.words(), what)


def test_what_is_chosen_on_the_paths_is_seen_in_all(bench):
    paths = bench.tab("Paths", "loss")
    paths.drawn("linear", 41)
    paths.press("level", "Layer")
    paths.layer("fc1")
    bench.until(lambda: bench.words().startswith("fc1"), "fc1 is selected")
    paths.press("kind", "Quadratic")
    said(bench, "quadratic path")
    paths.slide("alpha", "ArrowLeft", "ArrowLeft")
    said(bench, "α = 0.98")
    for end, epoch in (("start", 1), ("mid", 5), ("end", 14)):
        paths.choose(end, f"epoch {epoch}")
    said(bench, "from epoch 1 to 14, mid 5")
    layers = bench.tab("Layers", "rowspace")
    bench.until(lambda: "fc1" in layers.text("read") and not layers.part("cancel").is_enabled(), "fc1 is the chosen layer")
    bench.until(lambda: layers.chosen("at") == "back to epoch 1", "the same start")
    weights = bench.tab("Weights", "phase")
    bench.until(lambda: not weights.part("cancel").is_enabled(), "a scan of fc1")
    bench.until(lambda: "fc1" in weights.part("layers").locator("option:checked").inner_text(), "fc1 in the list")
    bench.until(lambda: "epoch 5" in weights.root.inner_text(), "the mid checkpoint of the scan")
    surface = bench.tab("Surface", "contour")
    bench.until(lambda: surface.chosen("mid") == "mid: epoch 5", "the plane through epoch 5")
    bench.until(lambda: "alpha on each path" in surface.root.inner_text(), "alpha is marked on both paths")


def test_what_is_chosen_on_the_surface_is_seen_in_all(bench):
    surface = bench.tab("Surface", "contour")
    surface.choose("mid", "mid: epoch 3")
    said(bench, "mid 3")
    bench.until(lambda: not surface.part("cancel").is_enabled() and "interpolated" not in surface.text("state"), "a whole surface")
    surface.part("split").locator("select").select_option(index=1)
    said(bench, "· train")
    box = surface.still(surface.part("contour").locator("image, canvas").first)
    bench.page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    said(bench, "point (")
    player = "solid-epoch" if surface.part("solid-epoch").is_visible() else "epoch"
    surface.slide(player, "Home")
    said(bench, "epoch 0 ·")
    surface.hold(player, "ArrowRight", 32 if player == "solid-epoch" else 4)  # eighths of an epoch, or whole ones
    said(bench, "epoch 4 ·")
    monitor = bench.tab("Monitor", "movement")
    bench.until(lambda: "epoch 4" in monitor.text("read"), "epoch 4 in the monitor")
    paths = bench.tab("Paths", "loss")
    bench.until(lambda: (paths.chosen("mid"), paths.chosen("split").split()[1]) == ("epoch 3", "train"), "the same mid and split")
    paths.press("level", "Model")
    paths.choose("start", "epoch 0")
    paths.choose("end", "epoch 15")
    bench.until(lambda: "training at epoch 4" in paths.text("read"), "the checkpoint on the training curve")
    bench.until(lambda: abs(paths.plot()["epoch"].dots[0, 0] - 4 / 15) < 0.01, "a ring around it")
    paths.choose("mid", "epoch 7")
    bench.until(lambda: "point (" not in bench.words(), "a point of another plane is none of this one")


def test_what_is_chosen_in_the_monitor_is_seen_in_all(bench):
    monitor = bench.tab("Monitor", "movement")
    box = monitor.still(monitor.part("movement").locator(".plotarea_events, .plotarea_background").first)
    bench.page.mouse.click(box["x"] + 0.8 * box["width"], box["y"] + 0.5 * box["height"])
    said(bench, "epoch 12")
    monitor.part("curves").press("ArrowLeft")
    said(bench, "epoch 11")
    surface = bench.tab("Surface", "contour")
    bench.until(lambda: "epoch 11" in surface.root.inner_text(), "the way up to epoch 11")
    monitor = bench.tab("Monitor", "movement")
    monitor.part("curves").press("Escape")
    bench.until(lambda: "epoch 11" not in bench.words(), "no epoch")


def test_what_is_chosen_among_layers_and_weights_is_seen_in_all(bench):
    layers = bench.tab("Layers", "rowspace")
    layers.choose("at", "back to epoch 2")
    said(bench, "from epoch 2 to 15")
    layers.choose("at", "back to epoch 0")
    said(bench, "from epoch 0 to 15")
    layers.part("split").locator("select").select_option(index=0)
    said(bench, "· test")
    bench.until(lambda: not layers.part("cancel").is_enabled(), "rows")
    layers.root.locator(".nnvis-names [data-row]").nth(1).click()  # which opens the paths of conv2
    paths = bench.tab("Paths", "loss")
    bench.until(lambda: paths.chosen("layers").split()[0] == "conv2", "the paths of conv2")
    bench.until(lambda: paths.pressed("kind") == "Quadratic", "the same path")
    paths.press("kind", "Both")
    paths.drawn("linear", 41)
    weights = bench.tab("Weights", "phase")
    bench.until(lambda: not weights.part("cancel").is_enabled() and "conv2" in weights.text("state"), "a scan of conv2")
    box = weights.still(weights.part("u").locator(".plotarea_events, .plotarea_background").first)
    bench.page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    bench.until(lambda: "α = 0.5" in bench.words() or "α = 0.49" in bench.words(), "the middle of the window")
    bench.until(lambda: "linear" in weights.text("read").partition("at α = ")[2], "the losses there")
    weights.slide("mid", "ArrowRight")
    said(bench, "mid 8")
    weights.part("split").locator("select").select_option(index=1)
    said(bench, "· train")
    bench.until(lambda: not weights.part("cancel").is_enabled() and "train, n = " in weights.text("state"), "the other split")
    weights.click("paths")  # of the weight that is shown large
    paths = bench.tab("Paths", "loss")
    bench.until(lambda: bench.words().startswith("conv2.weight["), "one weight")
    bench.until(lambda: paths.pressed("level") == "Parameter", "the level of one weight")
    paths.choose("mid", "epoch 7")
    paths.part("split").locator("select").select_option(index=0)
    paths.press("level", "Layer")
    bench.until(lambda: bench.words().startswith("conv2 ·"), "conv2")


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


def test_what_can_be_taken_away_and_brought_back(bench, tmp_path):
    paths = bench.tab("Paths", "loss")
    bench.root.locator(".nnvis-code").click()
    bench.until(lambda: "nv.PathExplorer(evaluator" in bench.root.locator(".nnvis-given").inner_text(), "the code")
    files = {}
    for button, name in (("png", "paths.png"), ("keep", "workbench.json")):
        bench.root.locator(f".nnvis-{button}").click()
        link = bench.root.locator(f".nnvis-given a[download='{name}']")
        link.wait_for()
        with bench.page.expect_download() as download:
            link.click()
        files[name] = tmp_path / name
        download.value.save_as(files[name])
    assert "nv.PathExplorer(evaluator, run['first']" in nv.recipe_of(files["paths.png"])["code"]
    before = bench.words()
    paths.tick("log_loss", True)
    bench.until(lambda: not bench.root.locator(".nnvis-given a").count(), "no link to a state that has passed")
    paths.slide("alpha", "ArrowLeft", "ArrowLeft", "ArrowLeft")
    bench.tab("Monitor", "movement").part("curves").press("ArrowLeft")
    bench.until(lambda: bench.words() != before and "epoch 15" in bench.words(), "another state")
    with bench.page.expect_file_chooser() as chooser:
        bench.root.locator(".nnvis-back").click()
    chooser.value.set_files(files["workbench.json"])
    bench.until(lambda: bench.words() == before, "the state that was saved")
    paths = bench.tab("Paths", "loss")
    bench.until(lambda: not paths.part("log_loss-box").locator("input").is_checked(), "the losses as they were")
    (tmp_path / "broken.json").write_text(json.dumps({"scope": "fc9"}))
    with bench.page.expect_file_chooser() as chooser:
        bench.root.locator(".nnvis-back").click()
    chooser.value.set_files(tmp_path / "broken.json")
    bench.until(lambda: "fc9" in bench.root.locator(".nnvis-given").inner_text(), "why it is not opened")
    assert bench.words() == before


def test_a_move_is_said_in_few_messages(bench):
    """Of each kind of move that computes nothing: what is drawn is there, so that nothing but the move itself is told."""
    paths = bench.tab("Paths", "loss")
    paths.press("level", "Model")
    paths.drawn("linear", 41)
    bench.tab("Monitor", "movement")
    counts = {}

    def count(name, act):
        before = bench.quiet()
        act()
        counts[name] = bench.quiet() - before

    paths = bench.tab("Paths", "loss")
    for text in ("Quadratic", "Both"):
        paths.press("kind", text)
        bench.quiet()
    count("alpha", lambda: paths.slide("alpha", "ArrowLeft"))
    count("kind", lambda: paths.press("kind", "Linear"))
    count("kind again", lambda: paths.press("kind", "Both"))
    count("tab", lambda: bench.tab("Monitor", "movement"))
    monitor = bench.tab("Monitor", "movement")
    count("epoch", lambda: monitor.part("curves").press("ArrowLeft"))
    count("another epoch", lambda: monitor.part("curves").press("ArrowLeft"))
    count("back", lambda: bench.tab("Paths", "loss"))
    assert max(counts.values()) <= 45, counts
    assert max(counts["alpha"], counts["epoch"], counts["another epoch"]) <= 20, counts


def test_two_hundred_actions_leave_nothing_behind(bench):
    bench.tab("Paths", "loss")
    bench.quiet()
    heap = bench.page.context.new_cdp_session(bench.page)

    def memory():
        heap.send("HeapProfiler.collectGarbage")
        return int(bench.lab.python(MEMORY)), heap.send("Runtime.getHeapUsage")["usedSize"]

    def act(rounds):
        paths = bench.tab("Paths", "loss")
        for key in ("ArrowLeft", "ArrowRight"):
            paths.hold("alpha", key, 12 * rounds)
            bench.quiet()
        for _ in range(rounds):  # nine of other kinds each
            for text in ("Linear", "Both"):
                paths.press("kind", text)
            monitor = bench.tab("Monitor", "movement")
            for key in ("ArrowLeft", "ArrowRight", "Escape"):
                monitor.part("curves").press(key)
            bench.tab("Surface", "contour")
            bench.tab("Layers", "rowspace")
            paths = bench.tab("Paths", "loss")
        bench.quiet()

    act(1)  # what is made at the first move
    before = memory()
    act(6)  # of 33 actions
    after = memory()
    assert after[0] - before[0] < 30e6, f"the kernel grew by {(after[0] - before[0]) / 1e6:.0f} MB"
    assert after[1] - before[1] < 15e6, f"the page grew by {(after[1] - before[1]) / 1e6:.0f} MB"
