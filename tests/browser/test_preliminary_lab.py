"""Preliminary experiments in JupyterLab: a training is started, watched, stopped and gone on with, and every tab is opened."""

import json
import re

import numpy as np
import pages
import pytest

CELL = """
import time, torch, nnvis_widgets as nv
from torch import nn
torch.set_num_threads(1)
TRUE = torch.tensor([1.0, 2.0, -1.0])

def made(n, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=generator)
    return x, x @ TRUE + 0.5 * torch.randn(n, generator=generator)

class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(3))

    def forward(self, x):
        return x @ self.w

DATA = made(160, 0)
PAUSE = 0.6

def train(*, subset, epochs, seed, schedule="decayed"):
    model, generator = Line(), torch.Generator().manual_seed(seed)
    for epoch in range(1, epochs + 1):
        rate = 0.02 * (0.8 ** epoch if schedule == "decayed" else 1)
        for batch in torch.as_tensor(subset)[torch.randperm(len(subset), generator=generator)].split(8):
            model.zero_grad()
            nn.functional.mse_loss(model(DATA[0][batch]), DATA[1][batch]).backward()
            with torch.no_grad():
                model.w -= rate * model.w.grad
        time.sleep(PAUSE)
        yield epoch, model, {"lr": rate}

def evaluator(name, seed):
    return nv.Evaluator(Line(), made(200, seed), loss=nn.functional.mse_loss, device="cpu", name=name)

run = nv.Run.from_states([{"w": TRUE * share} for share in (0.0, 0.5, 0.9, 0.95)])
study = nv.PreliminaryStudy({"validation": evaluator("validation", 1), "test": evaluator("test", 2)}, train, DATA, run=run)
with study.panel("epochs").together():
    study.panel("epochs").epochs, study.panel("epochs").seeds = 7, 2
study
"""
LINE = """(figure, width) => [...figure.querySelectorAll('path.line')].filter(e => e.getBoundingClientRect().width > 0
  && parseFloat(getComputedStyle(e).strokeWidth) === width).map(e => e.getAttribute('d'))"""


class Study:
    """A preliminary study on a page."""

    def __init__(self, page, url, folder):
        cell = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": CELL.strip()}
        kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
        (folder / "preliminary.ipynb").write_text(
            json.dumps({"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 4})
        )
        self.page, self.lab = page, pages.Lab(page, url, "preliminary.ipynb")
        self.lab.run_all()
        self.root = page.locator(".nnvis-preliminary").first
        self.root.wait_for()

    def part(self, name):
        return self.root.locator(f".nnvis-{name}:visible").first

    def text(self, name):
        return re.sub(r"\s+", " ", self.part(name).inner_text()).strip()

    def said(self, name):
        """Text that may be empty, and is then invisible."""
        return " ".join(self.root.locator(f".nnvis-{name}").all_inner_texts())

    def until(self, condition, what):
        try:
            return pages.until(self.page, condition, what)
        except AssertionError as error:
            said = self.root.locator(".nnvis-found, .nnvis-progress-text, .nnvis-error").all_inner_texts()
            raise AssertionError(f"{error}; the study says {' | '.join(said)}") from None

    def tab(self, name):
        self.root.locator(".lm-TabBar-tab", has_text=re.compile(f"^{re.escape(name)}$")).click()

    @property
    def working(self):
        return self.part("cancel").is_enabled()

    def lines(self, figure, width):
        """How many points each line of a width has that is drawn."""
        drawn = self.part(figure).evaluate(LINE, width)
        assert not any("NaN" in path or "Infinity" in path for path in drawn)
        return [len(re.findall("[ML]", path)) for path in drawn]

    def ticks(self, figure, axis):
        texts = self.part(figure).locator("g.axis").nth(axis).locator(".tick text").all_text_contents()
        return [float(text.replace("\u2212", "-")) for text in texts if text]


@pytest.fixture(scope="module")
def study(new_page, lab_url, folder):
    return Study(new_page(), lab_url, folder)


def test_a_study_from_the_first_epoch_to_the_number_of_samples(study):
    assert "4 trainings of 7 epochs" in study.text("offer")
    study.part("start").click()
    study.until(lambda: study.working and max(study.lines("epoch-curves", 1), default=0) > 0, "a curve that grows")
    study.part("cancel").click()
    study.until(lambda: not study.working and "cancelled" in study.said("progress-text"), "a study that was stopped")
    study.lab.python("PAUSE = 0")
    study.part("start").click()
    study.until(lambda: not study.working and study.lines("epoch-curves", 2.8) == [7, 7], "two mean curves of 7 epochs")
    assert study.ticks("epoch-curves", 0) == [2, 4, 6]
    assert "7 epochs" in study.text("found") or "no epoch is shown" in study.text("found")

    # a tolerance that nothing could miss, by keyboard
    handle = study.part("delta").locator(".noUi-handle")
    for _ in range(24):
        handle.press("ArrowRight")
    study.until(lambda: study.text("found").count("epochs are enough") == 2, "a choice for both schedules")
    assert study.lab.python("print(study.panel('epochs').delta)") == "1.0"

    study.tab("Training size")
    study.part("start").wait_for()
    study.lab.python(
        "p = study.panel('training size')\nwith p.together():\n    p.epochs, p.halvings, p.subsets, p.seeds = 3, 3, 2, 2"
    )
    study.until(lambda: "14 trainings on 20, 40, 80, 160 samples" in study.text("offer"), "what is asked for")
    study.part("start").click()
    study.until(lambda: not study.working and study.ticks("training-size", 0) == [20, 40, 80, 160], "four sizes")
    assert "mixes data and compute" in study.text("found")

    study.tab("Test size")
    study.until(lambda: len(study.lines("test-size", 2.2)) == 4, "spread and error, above and below")
    found = study.text("found")
    sd = float(study.lab.python("print(study.results['test size'].sd['loss'])"))
    shown = float(re.search(r"known to ± ([\d.]+)", found)[1])
    assert shown == pytest.approx(1.96 * sd / np.sqrt(200), rel=0.05)

    study.tab("How many samples?")
    study.until(lambda: study.lines("samples-needed", 2.4) == [60, 60], "two lines")
    assert re.search(r"takes [\d\u202f ]+ samples", study.text("found"))
    study.page.complaints.raise_any()


def test_the_pictures_follow_the_theme(study):
    study.lab.theme("JupyterLab Dark")
    try:
        for tab, figure in (("Epochs", "epoch-curves"), ("How many samples?", "samples-needed")):
            study.tab(tab)
            colour = study.part(figure).locator("text.axislabel").first.evaluate("e => getComputedStyle(e).fill")
            assert min(int(part) for part in re.findall(r"\d+", colour)[:3]) > 180
    finally:
        study.lab.theme("JupyterLab Light")
    study.page.complaints.raise_any()
