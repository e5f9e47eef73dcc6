"""The layer map in JupyterLab: rows, controls, links to other explorers; what is drawn is compared with what is measured here."""

from __future__ import annotations

import json
import re

import numpy as np
import pages
import picture
import pytest
from driver import Explorer

import nnvis_widgets as nv

CELL = """
import nnvis_widgets as nv
demo = nv.load_demo("digits")
train = nv.Evaluator(demo.model, demo.train, name="train", samples=300)
explorer = nv.LayerMap({"test": demo.evaluator, "train": train}, demo.run, draws=3)
explorer
"""
LAYERS = ["conv1", "conv2", "fc1", "fc2", "fc3"]
LABELS = ("critical", "intermediate", "ambient", "not moved", "undefined")
MARKS = (
    "zone ambient", "zone critical", "picked", "guides", "stems", "draws", "links", *(f"whisker {label}" for label in LABELS),
    "joint gap", "joint line", "others", *(f"dot {label}" for label in LABELS), "total", "joint", "word ambient", "word critical",
)  # fmt: skip
BOXES = """root => Object.fromEntries([['names', '.nnvis-names .nnvis-row'], ['cells', '.nnvis-cells tbody tr'],
  ['dots', '.nnvis-dots .object_grp path.element']].map(([name, selector]) => [name, [...root.querySelectorAll(selector)]
    .filter(e => e.getBoundingClientRect().width > 0).map(e => { const b = e.getBoundingClientRect(); return [b.x, b.y + b.height / 2] })]))"""


class Chart:
    """The dot plot at one moment: dots and intervals in the numbers of the axis, by row from the top."""

    def __init__(self, found):
        assert len(found["marks"]) == len(MARKS), f"{len(found['marks'])} marks are drawn"
        self.axis = found["axes"][0]["label"]
        self._x = picture._scale(found["axes"][0]["ticks"], 0)
        self.marks = dict(zip(MARKS, found["marks"], strict=True))

    def shown(self, name):
        return self.marks[name]["shown"]

    def dots(self, name):
        """Return {row: values} of a mark that is seen."""
        rows = {}
        for x, y in self.marks[name]["dots"] if self.shown(name) else ():
            rows.setdefault(int(y // 26), []).append(float(np.polyval(self._x, x)))
        return rows

    def rows(self):
        """Return what is drawn of each row: its label, its value and its interval."""
        found = {}
        for label in LABELS:
            ends = {}
            for curve in self.marks[f"whisker {label}"]["curves"] if self.shown(f"whisker {label}") else ():
                points = [(float(x), float(y)) for x, y in picture.PAIR.findall(curve["d"])]
                ends[int(points[0][1] // 26)] = [float(np.polyval(self._x, x)) for x, _ in points]
            for row, values in self.dots(f"dot {label}").items():
                found[row] = label, values[0], ends.get(row)
        return [found[row] for row in sorted(found)]

    def ends(self, name):
        """Return from where to where a zone or a line goes along the axis."""
        places = [float(x) for curve in self.marks[name]["curves"] for x, _ in picture.PAIR.findall(curve["d"])]
        return [float(np.polyval(self._x, x)) for x in (min(places), max(places))]


class Layers(Explorer):
    """A layer map on a page."""

    def until(self, condition, what, seconds=pages.PATIENCE):
        try:
            return pages.until(self.page, condition, what, seconds)
        except AssertionError as error:
            parts = (self.text(name) for name in ("legend", "progress-text", "state", "read", "error"))
            raise AssertionError(f"{error}; the map says {' | '.join(parts)}; working: {self.working}") from None

    def chart(self):
        return Chart(self.part("dots").evaluate(picture.READ))

    def names(self):
        return [re.sub(r"\s+", " ", text).strip() for text in self.root.locator(".nnvis-names .nnvis-row").all_inner_texts()]

    def table(self):
        """Return the texts of the table's cells, row by row, without the name."""
        rows = self.root.locator(".nnvis-cells tbody tr")
        return [
            row.split("\t")
            for row in rows.evaluate_all("all => all.map(r => [...r.querySelectorAll('td')].map(c => c.innerText).join('\\t'))")
        ]

    def shows(self, study, order=None):
        """Wait until the plot and the table show a study."""
        order = range(len(study.layers)) if order is None else order

        def right():
            drawn = self.chart().rows()
            assert [name.split()[-1] for name in self.names()[: len(order)]] == [study.layers[i] for i in order]
            for (label, value, ends), i in zip(drawn, order, strict=True):
                assert label == study.label[i]
                assert value == pytest.approx(study.criticality[i], abs=0.01)
                if study.high[i] > study.low[i] + 0.01:
                    assert ends == pytest.approx([study.low[i], study.high[i]], abs=0.01)
            for cells, i in zip(self.table(), order, strict=False):
                assert cells[0] == study.label[i]
                assert float(cells[1].split()[0]) == pytest.approx(study.criticality[i], abs=0.0051)
                assert int(cells[3].replace(",", "")) == study.parameter_count[i]
            return not self.working

        self.until(right, f"a picture of {study}")

    def click_row(self, name, *held, part="dots"):
        """Click a row by its layer, on the plot or on its name."""
        place = next(number for number, text in enumerate(self.names()) if text.split()[-1] == name)
        box = self.still(self.part(part))
        for key in held:
            self.page.keyboard.down(key)
        self.page.mouse.click(box["x"] + box["width"] * 0.9, box["y"] + 30 + (place + 0.5) * 26)
        for key in held:
            self.page.keyboard.up(key)

    def picked(self):
        text = self.root.locator(".nnvis-names .nnvis-picked")
        return text.first.inner_text().split()[-1] if text.count() else None


@pytest.fixture(scope="module")
def notebook(new_page, lab_url, folder):
    cell = {"cell_type": "code", "execution_count": None, "id": "a", "metadata": {}, "outputs": [], "source": CELL.strip()}
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    (folder / "layers.ipynb").write_text(json.dumps({"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
    lab = pages.Lab(new_page(1750, 1500), lab_url, "layers.ipynb")
    lab.run_all()
    return lab


@pytest.fixture
def layers(notebook):
    found = Layers(notebook.page)
    notebook.python(
        "with explorer.together():\n"
        "    explorer.restore(dict(kind='reinit', at=0, draws=3, seed=0, split='test', unit='module', part='all',\n"
        "                          samples=None, view='layers', joint=(), metric='criticality', margin=0.01,\n"
        "                          critical_above=0.25, order='network', selected=None, against='relative_distance'))\n"
        "explorer.close_explorers()"
    )
    found.part("dots").locator(".svg-figure").wait_for(state="attached")
    yield found
    found.until(lambda: not found.working and not found.text("error"), "at rest")
    found.page.complaints.raise_any()


@pytest.fixture(scope="module")
def study(demo):
    return nv.measure_layers(demo.evaluator, demo.run)


def test_rows_hold_what_is_measured_and_stand_in_one_line(layers, study):
    layers.shows(study)
    boxes = layers.root.evaluate(BOXES)
    assert len(boxes["names"]) == len(boxes["cells"]) == len(boxes["dots"]) == 5
    for name, cell in zip(boxes["names"], boxes["cells"], strict=True):
        assert cell[1] == pytest.approx(name[1], abs=1.5)
        assert min(abs(dot[1] - name[1]) for dot in boxes["dots"]) < 2.5
    span = study.reference["accuracy"] - study.chance
    chart = layers.chart()
    assert chart.ends("zone ambient")[1] == pytest.approx(0.01 / span, abs=0.01)
    assert chart.ends("zone critical")[0] == pytest.approx(0.25, abs=0.01)
    for words in ("n = 450 of 450", "test", "simultaneous over 5 modules", "1 seed", "BatchNorm"):
        assert words in layers.text("state")
    assert "robust" in layers.text("terms")
    for label in set(study.label):
        assert label in layers.text("legend")


def test_order_metric_and_thresholds_only_change_the_picture(layers, study):
    layers.shows(study)
    layers.press("order", "Most harm first")
    layers.shows(study, np.argsort(-study.criticality, kind="stable"))
    layers.press("order", "Network order")
    layers.press("metric", "Loss rise")
    rises = dict(zip(LAYERS, study.loss_rise, strict=True))
    layers.until(
        lambda: [row[1] for row in layers.chart().rows()] == pytest.approx(list(rises.values()), abs=0.02 * max(rises.values())),
        "rises",
    )
    assert not layers.chart().shown("zone critical")
    assert "loss" in layers.chart().axis
    layers.press("metric", r"Accuracy \(κ\)")
    layers.press("order", "Against distance")
    words = layers.part("against").locator("text.label")

    def placed():
        found = words.evaluate_all("all => all.map(e => [e.textContent, e.getBoundingClientRect().x])")
        return {text: x for text, x in found if text}

    layers.until(lambda: set(placed()) >= set(LAYERS), "a name at each point")
    layers.choose("across", "number of weights")
    by_count = [name for _, name in sorted(zip(study.parameter_count, LAYERS, strict=True))]
    layers.until(lambda: sorted(LAYERS, key=placed().get) == by_count, "points in the order of their weights")
    layers.part("against").locator(".object_grp path.element:visible").last.click()
    layers.until(lambda: layers.picked() == "fc3" and "Paths of fc3" in layers.root.inner_text(), "its row and its paths")
    layers.click("close")
    layers.press("order", "Network order")
    layers.type("above", "0.9")
    layers.type("margin", "12")
    layers.shows(study.relabelled(margin=0.12, critical_above=0.9))
    assert layers.chart().ends("zone critical")[0] == pytest.approx(0.9, abs=0.01)
    assert "12 points" in layers.text("legend")


def test_checkpoint_unit_part_and_samples_measure_anew(layers, demo):
    layers.choose("at", "back to epoch 2")
    layers.shows(nv.measure_layers(demo.evaluator, demo.run, at=2))
    assert "put back to epoch 2" in layers.text("state")
    layers.choose("part", "biases only")
    layers.shows(nv.measure_layers(demo.evaluator, demo.run, at=2, part="biases"))
    layers.choose("rows-of", "one row: a tensor")
    layers.choose("part", "weights and biases")
    layers.choose("samples", "n = 250")
    layers.shows(nv.measure_layers(demo.evaluator, demo.run, at=2, unit="tensor", samples=250))
    assert "n = 256 of 450" in layers.text("state"), "whole batches"
    layers.choose("samples", "all samples")
    layers.until(lambda: "n = 450 of 450" in layers.text("state"), "all samples")
    train = nv.Evaluator(demo.model, demo.train, name="train", samples=300)
    layers.choose("split", f"data: train (n = {train.n})")
    layers.shows(nv.measure_layers(train, demo.run, at=2, unit="tensor"))
    assert "train" in layers.text("state")


def test_draws_are_dots_on_the_rows_and_small_ones_beside_them(layers, demo, study):
    layers.press("kind", "Re-randomise")
    drawn = nv.measure_layers(demo.evaluator, demo.run, kind="rerandomise", draws=3)
    layers.shows(drawn)

    def same():
        dots = layers.chart().dots("draws")
        return all(
            sorted(dots[row]) == pytest.approx(sorted(values), abs=0.01) for row, values in enumerate(drawn.draws_criticality)
        )

    layers.until(same, "each draw on its row")
    layers.type("draws", "5")
    layers.until(lambda: sum(map(len, layers.chart().dots("draws").values())) == 25, "25 draws")
    layers.until(lambda: "5 draws" in layers.text("state") and not layers.working, "all of them measured")
    layers.type("seed", "4")
    layers.shows(nv.measure_layers(demo.evaluator, demo.run, kind="rerandomise", draws=5, seed=4))
    layers.press("kind", "Re-initialise")
    layers.shows(study)
    layers.until(lambda: layers.root.locator(".nnvis-strip circle").count() == 25, "small dots beside the plot")


def test_a_row_opens_the_paths_of_its_layer(layers):
    layers.click_row("conv2")
    layers.until(lambda: layers.picked() == "conv2", "conv2 framed")
    paths = layers.root.locator(".nnvis").first
    layers.until(lambda: paths.locator(".nnvis-state").first.inner_text().startswith("conv2"), "the paths of conv2")
    assert layers.text("read").startswith("conv2")
    layers.click_row("fc3", part="names")
    layers.until(lambda: paths.locator(".nnvis-state").first.inner_text().startswith("fc3"), "the paths of fc3")
    layers.until(lambda: paths.locator(".nnvis-cancel").is_disabled(), "measured paths")
    layers.click("close")
    layers.until(lambda: layers.root.locator(".nnvis").count() == 0, "no paths")


def test_several_rows_are_reset_together(layers, demo, study):
    layers.shows(study)
    layers.click_row("conv1", "Shift")
    layers.click_row("fc2", "Shift")
    joint = nv.measure_joint_reset(demo.evaluator, demo.run, ["conv1", "fc2"])

    def right():
        chart = layers.chart()
        assert chart.dots("joint") == {5: [pytest.approx(joint.criticality, abs=0.015)]}
        assert chart.dots("total") == {5: [pytest.approx(joint.sum_of_singles, abs=0.015)]}
        return f"sum of single resets {joint.sum_of_singles:.2f}" in " ".join(layers.table()[5])

    layers.until(right, "the joint reset beside the sum")
    assert layers.text("set") == "conv1, fc2"
    assert layers.root.locator(".nnvis").count() == 0, "collecting opens nothing"
    layers.press("view", "Pairs")
    pairs = nv.measure_pairwise_resets(demo.evaluator, demo.run)
    cells = layers.part("pairs").locator("tbody td")
    layers.until(lambda: cells.count() == 25 and not layers.working, "every two layers")
    texts = cells.evaluate_all("all => all.map(cell => cell.firstChild.textContent)")
    shown = np.array([float(text.rstrip("*")) for text in texts]).reshape(5, 5)
    np.testing.assert_allclose(shown, np.where(np.tri(5, k=-1), pairs.interaction, pairs.criticality), atol=0.0051)
    marked = np.array([text.endswith("*") for text in texts]).reshape(5, 5)
    np.testing.assert_array_equal(marked, np.tril(pairs.established, -1))
    framed = layers.root.locator(".nnvis-pairs td.framed")
    assert framed.evaluate_all("all => all.map(cell => cell.dataset.cell)") == ["0,3", "3,0"]
    cells.nth(5 * 4 + 3).click()
    layers.until(lambda: layers.text("set") == "fc2, fc3" and not layers.working, "the layers of the cell")
    both = nv.measure_joint_reset(demo.evaluator, demo.run, ["fc2", "fc3"])
    layers.until(
        lambda: layers.chart().dots("joint") == {2: [pytest.approx(both.criticality, abs=0.015)]}, "their joint reset below"
    )
    assert f"κ of both {pairs.criticality[4, 3]:.2f}" in layers.text("read")
    layers.part("curves").press("ArrowUp")
    layers.until(lambda: layers.text("set") == "fc1, fc2", "the cell above, across the diagonal")
    layers.press("view", "Layers")
    layers.root.locator(".nnvis-names [data-check]").nth(0).click()
    layers.until(lambda: layers.text("set") == "conv1, fc1, fc2", "three of them")


def test_keys_move_collect_and_open(layers, study):
    layers.shows(study)
    picture_box = layers.part("curves")
    assert "Criticality" in picture_box.get_attribute("aria-label")
    for key, name in (("ArrowDown", "conv1"), ("ArrowDown", "conv2"), ("End", "fc3"), ("ArrowUp", "fc2")):
        picture_box.press(key)
        layers.until(lambda name=name: layers.picked() == name, name)
    assert picture_box.get_attribute("aria-label").startswith("fc2: ")
    picture_box.press(" ")
    layers.until(lambda: layers.text("set") == "fc2", "fc2 in the set")
    picture_box.press("Enter")
    layers.until(lambda: "Paths of fc2" in layers.root.inner_text(), "its paths")
    labelled = layers.part("margin").locator("input").get_attribute("aria-label")
    assert labelled == "ambient below this drop, in points"


def test_layers_by_epochs(layers, demo, study):
    layers.shows(study)
    layers.press("view", "Layers by epochs")
    history = nv.measure_layer_history(demo.evaluator, demo.run)
    expected = sorted(f"{value + 0.0:.2f}".replace("0.", ".", 1) for value in history.criticality.round(2).ravel())

    def written():
        texts = layers.part("history").locator(".svg-figure text").all_text_contents()
        return sorted(text for text in texts if re.fullmatch(r"-?\d?\.\d\d", text)) == expected

    layers.until(lambda: not layers.working and written(), "all values in the cells")
    image = layers.still(layers.part("history").locator("image"))
    layers.page.mouse.click(image["x"] + image["width"] * 3.5 / 16, image["y"] + image["height"] * 1.5 / 5)
    layers.until(lambda: "put back to epoch 3" in layers.text("read") and layers.picked() == "conv2", "conv2 at epoch 3")
    assert f"κ {history.criticality[3, 1]:.2f}" in layers.text("read")
    points = layers.part("profile").locator("path.line").evaluate_all("all => all.map(e => e.getAttribute('d') || '')")
    assert max(len(re.findall("[ML]", path)) for path in points) == 16
    layers.press("view", "Layers")
    layers.until(lambda: layers.root.locator(".nnvis-spark polyline").count() == 5, "small lines beside the plot")


def test_a_saved_map_and_a_narrow_page(layers, notebook, study):
    layers.shows(study)
    layers.click("save")
    layers.until(lambda: layers.part("download").locator("a").get_attribute("download") == "nnvis_layers.safetensors", "a file")
    before = [box["x"] for box in (layers.still(layers.part("dots")), layers.still(layers.part("numbers")))]
    assert before[1] > before[0]
    layers.page.set_viewport_size({"width": 760, "height": 1300})
    layers.until(
        lambda: layers.part("numbers").bounding_box()["y"] > layers.part("dots").bounding_box()["y"] + 100, "the table below"
    )
    assert layers.root.locator(".nnvis-cells tbody th").first.is_visible()
    layers.page.set_viewport_size({"width": 1750, "height": 1500})
    notebook.theme("JupyterLab Dark")
    layers.shows(study)
    ink = layers.part("names").locator(".nnvis-row").first.evaluate("e => getComputedStyle(e).color")
    assert min(map(int, re.findall(r"\d+", ink)[:3])) > 150
    notebook.theme("JupyterLab Light")
