"""A training that is watched: the figures move while its cell runs, and clicks arrive where the loop awaits."""

import json
import re

import pages
import pytest

SETUP = """
import asyncio, time, torch, nnvis_widgets as nv
from torch.nn import functional as F
torch.set_num_threads(1)
demo = nv.load_demo("digits")
(images, labels), test = demo.train, demo.test
torch.manual_seed(0)
model = nv.LeNet()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)

def train_one_epoch():
    total = 0.0
    for batch in torch.randperm(len(images)).split(32):
        optimizer.zero_grad()
        loss = F.nll_loss(model(images[batch]), labels[batch])
        loss.backward()
        optimizer.step()
        total += loss.item() * len(batch)
    with torch.no_grad():
        output = model(test[0])
    return {"train_loss": total / len(images), "test_loss": F.nll_loss(output, test[1]).item(),
            "test_accuracy": (output.argmax(1) == test[1]).float().mean().item()}

recorder = nv.Recorder(model, "runs/FOLDER")
monitor = nv.TrainingMonitor(recorder, demo.evaluator)
monitor
"""
AWAITING = """
with recorder:
    for epoch in range(1, 500):
        recorder.record(epoch=epoch, **train_one_epoch())
        await asyncio.sleep(0)
        if recorder.stop_requested:
            break
print("left at", epoch)
"""
SYNCHRONOUS = """
with recorder:
    for epoch in range(1, 500):
        recorder.record(epoch=epoch, **train_one_epoch())
"""


class Watched:
    """A notebook with a monitor and a training in the cell below it."""

    def __init__(self, page, url, folder, name, *cells):
        code = [
            {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": text.strip()} for text in cells
        ]
        kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
        notebook = {"cells": code, "metadata": kernel, "nbformat": 4, "nbformat_minor": 4}
        (folder / f"{name}.ipynb").write_text(json.dumps(notebook))
        self.page, self.lab = page, pages.Lab(page, url, f"{name}.ipynb")
        page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")  # which ends with the training
        self.root = page.locator(".nnvis").first
        self.root.wait_for()

    def text(self, part):
        return re.sub(r"\s+", " ", self.root.locator(f".nnvis-{part}").first.inner_text()).strip()

    def epoch(self):
        found = re.search(r"epoch (\d+)", self.text("state"))
        return int(found[1]) if found else 0

    def points(self, figure):
        """How many points each line of a figure has that is drawn by now; a hidden mark keeps two."""
        paths = self.root.locator(f".nnvis-{figure} .curve path.line").evaluate_all(
            "all => all.map(e => e.getAttribute('d') || '')"
        )
        assert not any("NaN" in path for path in paths)
        return [count for path in paths if (count := len(re.findall("[ML]", path))) > 2]

    def until(self, condition, what):
        return pages.until(self.page, condition, f"{what}; the monitor says {self.text('state')} | {self.text('notes')}")

    def busy(self):
        return "busy" in self.page.locator(".jp-Notebook-ExecutionIndicator").first.get_attribute("data-status")

    def outputs(self):
        return " ".join(self.page.locator(".jp-OutputArea-output").all_inner_texts())


@pytest.fixture(scope="module")
def awaiting(new_page, lab_url, folder):
    return Watched(new_page(), lab_url, folder, "awaiting", SETUP.replace("FOLDER", "awaiting"), AWAITING)


@pytest.fixture(scope="module")
def synchronous(new_page, lab_url, folder):
    return Watched(new_page(), lab_url, folder, "synchronous", SETUP.replace("FOLDER", "synchronous"), SYNCHRONOUS)


def test_in_an_awaiting_loop_the_figures_grow_and_the_buttons_work(awaiting, tmp_path):
    monitor = awaiting
    for figure, lines in (("losses", 2), ("metrics", 1), ("movement", 5), ("way", 1)):
        monitor.until(lambda f=figure, n=lines: len(monitor.points(f)) == n, f"{lines} lines of {figure}")
    before = monitor.epoch()
    monitor.until(lambda: monitor.epoch() > before + 2, "three epochs more")
    assert "busy" not in monitor.text("notes")
    assert re.search(r"this monitor: \d+\.\d% of the time", monitor.text("state"))
    monitor.root.locator(".nnvis-label input").fill("good")
    monitor.root.locator(".nnvis-bookmark").click()
    monitor.until(lambda: re.search(r"bookmarks: epoch \d+ \(good\)", monitor.text("state")), "a bookmark")
    monitor.root.locator(".nnvis-stop").click()
    monitor.until(lambda: "ended at epoch" in monitor.text("state"), "the end")
    monitor.until(lambda: f"left at {monitor.epoch()}" in monitor.outputs(), "what the loop says")
    assert monitor.root.locator(".nnvis-stop").is_disabled()
    monitor.page.complaints.raise_any()


def test_explore_opens_the_run_so_far(awaiting):
    awaiting.until(lambda: "ended at epoch" in awaiting.text("state"), "the end")
    awaiting.root.locator(".nnvis-explore").click()
    inner = awaiting.root.locator(".nnvis .nnvis-loss .svg-figure").first
    inner.wait_for(state="attached")
    awaiting.until(lambda: awaiting.root.locator(".nnvis .nnvis-loss path.line").count() > 0, "curves")
    awaiting.page.complaints.raise_any()


def test_in_a_synchronous_loop_the_figures_grow_and_the_monitor_says_that_no_clicks_arrive(synchronous):
    monitor = synchronous
    monitor.until(lambda: [p > 3 for p in monitor.points("losses")] == [True, True], "two lines that grow")
    monitor.until(lambda: "keeps the kernel busy" in monitor.text("notes"), "the line about clicks")
    before = monitor.epoch()
    monitor.until(lambda: monitor.epoch() > before + 2, "three epochs more")
    monitor.root.locator(".nnvis-stop").click()
    monitor.until(lambda: monitor.epoch() > before + 5, "more epochs: the click waits")
    monitor.lab.command("notebook:interrupt-kernel")
    monitor.until(lambda: "ended at epoch" in monitor.text("state"), "the end, interrupted")
    monitor.until(lambda: "Stop was requested" in monitor.text("notes"), "the click that had waited")
    monitor.page.complaints.raise_any()
