"""The parameter explorer in JupyterLab: every control and link, and what is drawn then.

Curves, dots and words are read from the page; what they should be comes from plain measurements in this process.
"""

from __future__ import annotations

import json
import re

import numpy as np
import pages
import pytest
from driver import Explorer

import nnvis_widgets as nv

CELL = """
import nnvis_widgets as nv
demo = nv.load_demo("digits")
explorer = nv.ParameterExplorer(demo.evaluator, demo.run, scope="fc3", count=40, points=21)
explorer
"""
_CELLS = """root => { const figure = root.querySelector('.nnvis-multiples');
  const shown = e => e.getBoundingClientRect().width > 0, box = figure.getBoundingClientRect();
  const lines = [...figure.querySelectorAll('path.line')].filter(shown).map(e => [getComputedStyle(e).strokeDasharray !== 'none',
    getComputedStyle(e).stroke, e.getAttribute('d')]);
  const texts = [...figure.querySelectorAll('text.label')].filter(shown).map(e => { const at = e.getBoundingClientRect();
    return [e.textContent, at.x - box.x, at.y + at.height / 2 - box.y] });
  return { width: box.width, height: box.height, lines, texts } }"""
_DOTS = """root => { const figure = root.querySelector('.nnvis-phase');
  const centre = e => { const at = e.getBoundingClientRect(); return [at.x + at.width / 2, at.y + at.height / 2] };
  const axis = [...figure.querySelectorAll('g.axis')].map(one => [...one.querySelectorAll('.tick')].map(tick => [
    parseFloat(tick.textContent.replace('\\u2212', '-')), ...centre(tick.querySelector('line'))]));
  const dots = [...figure.querySelectorAll('path.dot')].filter(e => e.getBoundingClientRect().width > 0 &&
    e.getBoundingClientRect().width < 15).map(centre);
  const words = [...figure.querySelectorAll('text.label')].filter(e => e.getBoundingClientRect().width > 0).map(e => e.textContent);
  return { axis, dots, words } }"""


class Weights(Explorer):
    """A parameter explorer on a page."""

    def until(self, condition, what, seconds=pages.PATIENCE):
        try:
            return pages.until(self.page, condition, what, seconds)
        except AssertionError as error:
            parts = (self.text(name) for name in ("mid", "progress-text", "state", "read", "whatif-words", "error"))
            raise AssertionError(f"{error}; the explorer says {' | '.join(parts)}; working: {self.working}") from None

    @property
    def working(self):
        return self.part("cancel").is_enabled() or self.root.locator(".nnvis-stale").count() > 0

    def measured(self, *words):
        self.until(
            lambda: not self.working and "preview" not in self.text("state") and all(word in self.text("state") for word in words),
            f"a whole scan, {words}",
        )

    def cells(self):
        """Return names of the weights on the page with the pixels of their pictures, and headings."""
        found = self.root.evaluate(_CELLS)
        names = [text for text in found["texts"] if text[0].startswith(("[", "fc", "conv"))]
        return found, names, [text[0] for text in found["texts"] if text not in names]

    def curve(self, name, dashed):
        """Return the drawn curve of a weight in pixels, (K, 2), upwards."""
        found, names, _ = self.cells()
        label = next(text for text in names if text[0].removesuffix(" ?") == name)
        parts = []
        for dash, _, path in found["lines"]:
            if dash == dashed:
                parts += [np.array(re.findall(r"(-?[\d.]+),(-?[\d.]+)", part), float) for part in path.split("M") if part]
        width = found["width"] / 6
        inside = [one for one in parts if len(one) > 5 and label[1] - 5 < one[:, 0].min() and one[:, 0].max() < label[1] + width
                  and label[2] - 5 < one[:, 1].mean() < label[2] + 95]  # fmt: skip
        assert len(inside) == 1, (name, dashed, len(inside))
        return inside[0] * [1, -1]

    def dots(self):
        """Return rho and u* of every dot, (P, 2), and their pixels."""
        found = self.root.evaluate(_DOTS)
        pixels = np.array(found["dots"])
        lines = [np.polyfit([tick[1 + axis] for tick in ticks], [tick[0] for tick in ticks], 1) for axis, ticks in
                 enumerate(found["axis"][:2])]  # fmt: skip
        return np.stack([np.polyval(line, pixels[:, axis]) for axis, line in enumerate(lines)], 1), pixels, found["words"]

    def settled(self):
        """Wait until the small pictures move no more; return them."""
        before = None

        def same():
            nonlocal before
            last, before = before, self.cells()
            return last == before and before

        return self.until(same, "small pictures that stand still")

    def selected(self):
        return re.match(r"(\S+)\[([\d, ]+)\]", self.text("read")).group(0).replace(", ", ",")

    def counts(self):
        labels = self.part("only").locator("button").all_inner_texts()
        return {label.strip().rsplit(" ", 1)[0]: int(label.strip().rsplit(" ", 1)[1]) for label in labels}


@pytest.fixture(scope="module")
def notebook(new_page, lab_url, folder):
    cell = {"cell_type": "code", "execution_count": None, "id": "a", "metadata": {}, "outputs": [], "source": CELL.strip()}
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    (folder / "weights.ipynb").write_text(json.dumps({"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
    lab = pages.Lab(new_page(1600, 1700), lab_url, "weights.ipynb")
    lab.run_all()
    return lab


@pytest.fixture
def weights(notebook):
    weights = Weights(notebook.page)
    weights.part("phase").wait_for()
    weights.measured("40 of 850 weights of fc3")
    yield weights
    assert not weights.text("error")
    notebook.page.complaints.raise_any()


@pytest.fixture(scope="module")
def scan(demo):
    return nv.measure_parameters(
        demo.evaluator, demo.run, "fc3", count=40, mid=demo.run.mid_index, alphas=np.linspace(-0.5, 1.5, 21)
    )


def shape(values):
    return (values - values.min()) / np.ptp(values)


def test_small_pictures_dots_and_counts_are_those_of_the_measurement(weights, scan):
    _, names, headings = weights.cells()
    counts = {name: count for name, count in scan.counts().items() if count}
    assert weights.counts()["all"] == 40
    assert sorted(list(weights.counts().values())[1:]) == sorted(counts.values())
    assert len(headings) >= 1
    weights.settled()
    for label, _, _ in names[:4]:
        (row,) = [
            at for at, name in enumerate(scan.names) if name.endswith(label.removesuffix(" ?")) or name == label.removesuffix(" ?")
        ]
        both = np.concatenate([scan.linear[row], scan.quadratic[row]])
        drawn = weights.until(
            lambda label=label: np.concatenate(
                [weights.curve(label.removesuffix(" ?"), dashed) for dashed in (False, True)]
            ).tolist(),
            f"the curves of {label}",
        )
        drawn = np.array(drawn)[:, 1]
        np.testing.assert_allclose(shape(drawn), shape(both), atol=0.02)
        assert label.endswith("?") == bool(scan.uncertain[row])
    places, _, words = weights.dots()
    assert len(places) == 40
    expected = np.stack([np.clip(scan.rho, places[:, 0].min() - 1e-3, 1.4), scan.u_star], 1)
    for at in expected:
        assert (np.abs(places - at) < 0.03).all(1).any(), at
    assert sum("bump" in word for word in words) >= 1
    assert words.count("↑") == int((scan.u_star_edge > 0).sum())
    assert words.count("↓") == int((scan.u_star_edge < 0).sum())


def test_dots_are_clicked_dragged_and_put_back(weights, scan):
    places, pixels, _ = weights.dots()
    apart = np.array([np.sort(np.linalg.norm(pixels - at, axis=1))[1] for at in pixels])
    first = weights.selected()
    at = [one.replace(", ", ",") for one in scan.names].index(first)
    apart[np.abs(places - [scan.rho[at], scan.u_star[at]]).sum(1) < 0.1] = 0  # another one
    apart[np.abs(places[:, 0] - 0.95) > 0.3] = 0  # not on the frame
    weights.page.mouse.click(*pixels[apart.argmax()])
    name = weights.until(lambda: (one := weights.selected()) != first and one, "a selected weight")
    row = [one.replace(", ", ",") for one in scan.names].index(name)
    assert "Drag a dot" in weights.text("whatif-words")  # a click is no drag
    place = [scan.rho[row], scan.u_star[row]]
    weights.until(lambda: (np.abs(weights.dots()[0] - place) < 0.05).all(1).any(), "a dot of its usual size")
    weights.still(weights.part("phase"))  # JupyterLab brings a cell that is clicked into view
    places, pixels, _ = weights.dots()
    at = pixels[np.abs(places - [scan.rho[row], scan.u_star[row]]).sum(1).argmin()]
    weights.page.mouse.move(*at)
    weights.page.mouse.down()
    for step in range(1, 6):
        weights.page.mouse.move(at[0] - 8 * step, at[1] + 3 * step)
    words = weights.until(
        lambda: re.search(
            r"at the mid checkpoint \(measured: (\S+)\), rho = (\S+) \(measured: (\S+)\)", weights.text("whatif-words")
        ),
        "what if, while the dot is in the hand",
    )
    weights.page.mouse.up()
    assert float(words[3].rstrip(")")) == pytest.approx(scan.rho[row], abs=2e-3)
    moved = weights.until(
        lambda: (found := re.search(r"rho = (\S+) \(measured", weights.text("whatif-words"))) and float(found[1]), "the dragged rho"
    )
    assert moved < scan.rho[row] - 0.02
    weights.until(lambda: (np.abs(weights.dots()[0] - [moved, scan.u_star[row]]) < 0.05).all(1).any(), "a dot moved sideways only")
    assert "interpolated from the measured loss" in weights.text("whatif-words")
    weights.click("measured")
    weights.until(lambda: "Drag a dot" in weights.text("whatif-words"), "as measured")
    weights.until(lambda: (np.abs(weights.dots()[0] - [scan.rho[row], scan.u_star[row]]) < 0.03).all(1).any(), "the dot back")


def test_the_mid_checkpoint_moves_the_dots(weights, demo, scan):
    there = demo.run.mid_index - 5
    weights.slide("mid", *["ArrowLeft"] * 5)
    epoch = f"{demo.run.epochs[there]:g}"
    weights.measured(f"epochs 0, {epoch}, 15")
    again = nv.measure_parameters(demo.evaluator, demo.run, "fc3", count=40, mid=there, alphas=np.linspace(-0.5, 1.5, 21))
    assert again.index == scan.index

    def arrived():
        places = weights.dots()[0]
        low, high = places[:, 0].min() - 1e-3, places[:, 0].max() + 1e-3
        return all(
            (np.abs(places - at) < 0.04).all(1).any() for at in zip(np.clip(again.rho, low, high), again.u_star, strict=True)
        )

    weights.until(arrived, "all dots at their new places")
    assert sorted(list(weights.counts().values())[1:]) == sorted(count for count in again.counts().values() if count)
    assert "Drag a dot" in weights.text("whatif-words")  # no hand has moved the slider of rho
    weights.click("half")
    weights.measured(f"epochs 0, {demo.run.epochs[demo.run.index_by_distance(0.5)]:g}, 15")
    weights.slide("mid", *["ArrowRight"] * (demo.run.mid_index - demo.run.index_by_distance(0.5)))
    weights.measured(f"epochs 0, {demo.run.epochs[demo.run.mid_index]:g}, 15")


def test_pictures_are_filtered_sorted_turned_scaled_and_opened(weights):
    label, count = max(list(weights.counts().items())[1:], key=lambda pair: pair[1])
    weights.press("only", re.escape(f"{label} {count}"))
    weights.until(lambda: len(weights.cells()[2]) == 1, "one pattern among the small pictures")
    weights.until(lambda: len(weights.dots()[0]) == count, f"{count} dots")
    weights.press("only", "all 40")
    weights.until(lambda: len(weights.dots()[0]) >= 40, "all patterns")
    order = [text for text, *_ in weights.cells()[1]]
    weights.choose("sort", "sort: confidence")
    weights.until(lambda: [text for text, *_ in weights.cells()[1]] != order, "another order")
    weights.choose("sort", "sort: distance")
    weights.until(lambda: [text for text, *_ in weights.cells()[1]] == order, "the first order")
    weights.click("after")
    weights.until(lambda: "page 2" in weights.text("page") and [t for t, *_ in weights.cells()[1]] != order, "the second page")
    weights.click("before")
    weights.until(lambda: [text for text, *_ in weights.cells()[1]] == order, "the first page")
    weights.tick("band", False)
    weights.until(lambda: "s.e." not in weights.text("legend"), "no band")
    weights.tick("band", True)
    _, names, _ = weights.settled()
    box = weights.still(weights.part("multiples"))
    weights.page.mouse.click(box["x"] + names[2][1] + 30, box["y"] + names[2][2] + 40)
    paths = Explorer(weights.page, 1)
    paths.part("index").wait_for()
    index = re.search(r"\[(.+)\]", names[2][0])[1]
    paths.until(lambda: paths.typed("index") == index and not paths.working, "the paths of the weight")
    weights.part("curves").press("ArrowRight")
    weights.until(
        lambda: index.replace(" ", "") not in weights.selected() and paths.typed("index") != index, "the next weight, in both"
    )
    weights.click("paths")
    weights.until(lambda: weights.page.locator(".nnvis").count() == 1, "closed paths")


def test_weights_are_chosen_otherwise(weights):
    weights.choose("choose", "weights: random")
    weights.measured("drawn at random")
    before = [text for text, *_ in weights.cells()[1]]
    weights.type("seed", "3")
    weights.until(lambda: [text for text, *_ in weights.cells()[1]] != before, "other weights")
    weights.type("count", "12")
    weights.measured("12 of 850")
    weights.choose("samples", "first 100 samples")
    weights.measured("n = 128 of")
    weights.type("points", "11")
    weights.slide("range", "ArrowRight", handle="-lower")
    weights.measured("n = 128 of")
    weights.layer("conv1")
    weights.measured("of conv1")
    weights.choose("choose", "weights: largest effect")
    weights.measured("of the largest first-order effect")
    weights.choose("choose", "weights: a list")
    box = weights.part("list").locator("textarea")
    box.fill("fc3.weight 1, 5\nfc2.bias 3")
    box.blur()
    weights.layer("all")
    weights.measured("named one by one")
    assert {text for text, *_ in weights.cells()[1]} <= {"fc3.weight[1, 5]", "fc3.weight[1, 5] ?", "fc2.bias[3]", "fc2.bias[3] ?"}
    weights.choose("choose", "weights: moved most")
    weights.type("count", "40")
    weights.choose("samples", "all samples")
    weights.slide("range", "ArrowLeft", handle="-lower")
    weights.layer("fc3")
    weights.type("points", "21")
    weights.measured("40 of 850 weights of fc3", "those that moved most")


def test_it_fits_narrow_and_dark_pages_and_tells_screen_readers(weights, notebook):
    plots = weights.part("curves")
    weights.until(lambda: "40 weights of fc3" in plots.get_attribute("aria-label"), "a spoken summary")
    assert weights.part("mid").locator(".noUi-handle").get_attribute("aria-label") == "mid checkpoint"
    notebook.theme("JupyterLab Dark")
    weights.page.set_viewport_size({"width": 760, "height": 1700})
    weights.until(lambda: weights.part("phase").bounding_box()["width"] < 720, "a narrow diagram")
    for part in ("phase", "loss", "u", "multiples"):
        weights.until(
            lambda part=part: (box := weights.part(part).bounding_box())["x"] >= 0 and box["x"] + box["width"] <= 760,
            f"{part} within",
        )
    assert weights.part("loss").bounding_box()["y"] > weights.part("phase").bounding_box()["y"] + 300  # below, not beside
    notebook.theme("JupyterLab Light")
    weights.page.set_viewport_size({"width": 1600, "height": 1700})
