"""The parameter explorer in JupyterLab: every control and link, and what is drawn then.

Curves, dots and words are read from the page; what they should be comes from plain measurements in this process.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise

import numpy as np
import pages
import pytest
from driver import Explorer

import nnvis_widgets as nv

CELL = """
import nnvis_widgets as nv
demo = nv.load_demo("digits")
splits = {"test": demo.evaluator, "train": nv.Evaluator(demo.model, demo.train, name="train")}
explorer = nv.ParameterExplorer(splits, demo.run, scope="fc3", count=40, points=21)
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


_MIDDLE = "e => { const at = e.getBoundingClientRect(); return at.x + at.width / 2 }"


class Weights(Explorer):
    """A parameter explorer on a page."""

    def until(self, condition, what, seconds=pages.PATIENCE):
        try:
            return pages.until(self.page, condition, what, seconds)
        except AssertionError as error:
            parts = [self.text(name) for name in ("mid", "progress-text", "state", "read", "whatif-words")]
            raise AssertionError(
                f"{error}; the explorer says {' | '.join([*parts, self.problem()])}; working: {self.working}"
            ) from None

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

    def imagines(self, rho):
        """Wait until the words say what if the weight had gone this share of its way, and the slider stands there."""
        self.until(
            lambda: abs(float(re.findall(r"rho = (\S+) \(measured", self.text("whatif-words"))[0]) - rho) < 6e-4,
            f"what if rho were {rho:.3f}",
        )
        self.until(lambda: abs(self.slider("whatif") - rho) < 3e-3, "the slider there")

    def selected(self):
        return re.match(r"(\S+)\[([\d, ]+)\]", self.text("read")).group(0).replace(", ", ",")

    def still_dots(self, part):
        """Return the boxes of the visible dots of a figure that moves no more."""
        self.still(self.part(part))
        boxes = [one.bounding_box() for one in self.part(part).locator("path.dot").all()]
        return [box for box in boxes if box and box["width"] > 0]

    def order(self):
        """Return the names on the small pictures."""
        return [text for text, *_ in self.cells()[1]]

    def search(self, text):
        box = self.part("search").locator("input")
        box.fill(text)

    def problem(self, where=""):
        """Return what the explorer complains about, beside its list of weights (".nnvis-panel ") or anywhere."""
        return " ".join(self.root.locator(f"{where}.nnvis-error").all_inner_texts()).strip()

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
    assert not weights.problem()
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
    weights.until(lambda: len(weights.dots()[0]) == 40, "40 dots")
    places, _, words = weights.dots()
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
    # the very next click counts, also where the box of a tooltip lies; then all dots are where they were
    there = {
        name.replace(", ", ","): np.array(at) for name, at in zip(scan.names, zip(scan.rho, scan.u_star, strict=True), strict=True)
    }
    for _ in range(4):
        places, pixels, _ = weights.dots()
        near = {key: np.abs(places - one).sum(1).argmin() for key, one in there.items() if key != name}
        other = max(near, key=lambda key: np.delete(np.linalg.norm(pixels - pixels[near[key]], axis=1), near[key]).min())
        weights.page.mouse.click(*pixels[near[other]])
        weights.until(lambda other=other: weights.selected() == other, f"a click on {other} right after the drag of {name}", 10)
        weights.until(lambda name=name: (np.abs(weights.dots()[0] - there[name]) < 0.03).all(1).any(), "the dragged dot back")
        name = other
        places, pixels, _ = weights.dots()
        at = pixels[np.abs(places - there[name]).sum(1).argmin()]
        weights.page.mouse.move(*at)
        weights.page.mouse.down()
        weights.page.mouse.move(at[0] - 20, at[1], steps=3)
        weights.page.mouse.up()
    row = list(there).index(name)
    weights.click("measured")
    weights.until(lambda: "Drag a dot" in weights.text("whatif-words"), "as measured")
    # the very next keys count from there
    weights.slide("whatif", "ArrowLeft", "ArrowLeft")
    there = 0.005 * round(scan.rho[row] / 0.005)
    weights.imagines(there - 0.01)
    weights.until(lambda: (np.abs(weights.dots()[0] - [scan.rho[row], scan.u_star[row]]) < 0.03).all(1).any(), "the dot back")


def test_keys_move_the_dot_and_put_it_back(weights, scan):
    plots = weights.part("curves")
    row = [one.replace(", ", ",") for one in scan.names].index(weights.selected())
    plots.press("r")
    weights.until(lambda: "Drag a dot" in weights.text("whatif-words"), "as measured")
    plots.press("Shift+ArrowLeft")
    plots.press("Shift+ArrowLeft")
    plots.press("Shift+ArrowRight")
    weights.imagines(scan.rho[row] - 0.01)
    plots.press("r")
    weights.until(lambda: "Drag a dot" in weights.text("whatif-words"), "as measured after Shift")
    there = 0.005 * round(scan.rho[row] / 0.005)
    weights.slide("whatif", *["ArrowLeft"] * 3)
    weights.imagines(there - 0.015)
    # faster than the kernel can follow: what the browser holds back of the slider comes after the key, and must not count
    for _ in range(3):
        weights.hold("whatif", "ArrowLeft", 12)
        plots.press("r")
        weights.until(lambda: "Drag a dot" in weights.text("whatif-words"), "as measured after the slider")
        weights.page.wait_for_timeout(400)
        assert "Drag a dot" in weights.text("whatif-words")
        weights.until(lambda: weights.slider("whatif") == pytest.approx(there), "the slider back")
    weights.slide("whatif", "ArrowRight")
    weights.imagines(there + 0.005)
    assert not weights.part("measured").is_disabled()
    weights.click("measured")
    weights.until(lambda: weights.part("measured").is_disabled(), "nothing to put back")


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
    # keys on the slider right after the button: whichever of them comes first, all agree
    weights.click("half")
    weights.hold("mid", "ArrowRight", 2)
    weights.page.wait_for_timeout(300)
    weights.until(lambda: f"epochs 0, {weights.text('mid').split()[-1]}, 15" in weights.text("state"), "one mid checkpoint")
    weights.click("half")
    weights.measured(f"epochs 0, {demo.run.epochs[demo.run.index_by_distance(0.5)]:g}, 15")
    missing = demo.run.mid_index - demo.run.index_by_distance(0.5)
    for _ in range(missing + 1):
        weights.part("curves").press("ArrowUp")
    weights.part("curves").press("ArrowDown")
    weights.measured(f"epochs 0, {demo.run.epochs[demo.run.mid_index]:g}, 15")


def test_one_weight_is_drawn_over_its_line(weights, scan):
    plots = weights.part("curves")
    row = [one.replace(", ", ",") for one in scan.names].index(weights.selected())
    weights.press("over", "over the weight's line")
    weights.until(lambda: weights.part("line").locator("path.dot").count() >= 42, "dots of both paths")
    assert weights.part("u").count() == 0
    found = np.array([[at["x"] + at["width"] / 2, -at["y"] - at["height"] / 2] for at in weights.still_dots("line")])
    losses = np.concatenate([scan.linear[row], scan.quadratic[row]])
    places = np.concatenate([scan.alphas, scan.u[row]])
    for drawn, true in zip(found.T, (places, losses), strict=True):
        np.testing.assert_allclose(shape(np.sort(drawn)), shape(np.sort(true)), atol=0.02)
    values = weights.part("way").locator("g.axis").first.locator(".tick").all()
    texts = [float(tick.text_content().replace("\N{MINUS SIGN}", "-")) for tick in values]
    line = np.polyfit(texts, [tick.locator("line").evaluate(_MIDDLE) for tick in values], 1)
    ends = np.polyval(line, [scan.start[row], scan.final[row]])
    ticks = weights.part("line").locator("g.axis").first.locator(".tick").all()
    shares = {tick.text_content(): tick.locator("line").evaluate(_MIDDLE) for tick in ticks}
    np.testing.assert_allclose(ends, [shares["0"], shares["1"]], atol=2)
    plots.press("u")
    weights.part("u").wait_for()
    assert weights.pressed("over") == "over alpha"


def test_conventions_label_anew(weights, scan):
    weights.slide("plateau_length", *["ArrowLeft"] * 4)
    weights.slide("plateau", *["ArrowRight"] * 10)
    weights.slide("noise", *["ArrowRight"] * 4)
    again = scan.relabelled(plateau_length=0.2, plateau=0.1, noise=8.0)
    assert again.counts() != scan.counts()
    weights.measured("noise floor 8 × rounding", "flat: within 10% for 0.2 of alpha")
    expected = sorted(count for count in again.counts().values() if count)
    weights.until(lambda: sorted(list(weights.counts().values())[1:]) == expected, "counts by other conventions")
    weights.slide("plateau_length", *["ArrowRight"] * 4)
    weights.slide("plateau", *["ArrowLeft"] * 10)
    weights.slide("noise", *["ArrowLeft"] * 4)
    weights.measured("noise floor 6 × rounding", "flat: within 5% for 0.4 of alpha")


def test_pictures_are_filtered_sorted_turned_scaled_and_opened(weights, scan):
    plots = weights.part("curves")
    label, count = max(list(weights.counts().items())[1:], key=lambda pair: pair[1])
    weights.press("only", re.escape(f"{label} {count}"))
    weights.until(lambda: len(weights.cells()[2]) == 1, "one pattern among the small pictures")
    weights.until(lambda: len(weights.dots()[0]) == count, f"{count} dots")
    weights.press("only", "all 40")
    weights.until(lambda: len(weights.dots()[0]) >= 40, "all patterns")
    order = weights.order()
    weights.choose("sort", "sort: confidence")
    weights.until(lambda: weights.order() != order, "another order")
    weights.choose("sort", "sort: effect")

    def by_effect():
        rows = [
            next(at for at, name in enumerate(scan.names) if name.endswith(label.removesuffix(" ?"))) for label in weights.order()
        ]
        pairs = [(one, two) for one, two in pairwise(rows) if scan.pattern[one] == scan.pattern[two]]
        return pairs and all(abs(scan.effect[one]) >= abs(scan.effect[two]) * (1 - 1e-3) for one, two in pairs)

    weights.until(by_effect, "the order by effect within each pattern")
    weights.choose("sort", "sort: distance")
    weights.until(lambda: weights.order() == order, "the order by distance")
    for there, back in (("button", "button"), ("key", "key")):
        weights.click("after") if there == "button" else plots.press("PageDown")
        weights.until(lambda: "page 2" in weights.text("page") and weights.order() != order, f"the second page by a {there}")
        weights.click("before") if back == "button" else plots.press("PageUp")
        weights.until(lambda: "page 1" in weights.text("page") and weights.order() == order, f"the first page by a {back}")
    assert weights.part("before").is_disabled()
    weights.tick("band", False)
    weights.until(lambda: "s.e." not in weights.text("legend"), "no band")
    weights.tick("band", True)
    weights.until(lambda: "s.e." in weights.text("legend"), "a band")

    # one loss scale: heights in pixels are losses, whatever the picture; and each its own again
    names = [text.removesuffix(" ?") for text, *_ in weights.settled()[1]][:6]
    rows = [next(at for at, name in enumerate(scan.names) if name.endswith(label)) for label in names]
    heights = np.ptp(scan.linear[rows], axis=1)
    own = [weights.curve(name, False) for name in names]
    for _ in range(2):
        weights.tick("shared_scale", True)

        def proportional():
            drawn = np.array([np.ptp(weights.curve(name, False)[:, 1]) for name in names])
            np.testing.assert_allclose(drawn / drawn.max(), heights / heights.max(), atol=0.03)
            return True

        weights.until(proportional, "one scale")
        weights.tick("shared_scale", False)
        weights.until(lambda: all(np.allclose(weights.curve(n, False), o, atol=0.5) for n, o in zip(names, own, strict=True)),
                      "each its own scale again")  # fmt: skip

    _, names, _ = weights.settled()
    box = weights.still(weights.part("multiples"))
    weights.page.mouse.click(box["x"] + names[2][1] + 30, box["y"] + names[2][2] + 40)
    paths = Explorer(weights.page, 1)
    paths.part("index").wait_for()
    index = re.search(r"\[(.+)\]", names[2][0])[1]
    paths.until(lambda: paths.typed("index") == index and not paths.working, "the paths of the weight")
    plots.press("ArrowRight")
    weights.until(
        lambda: index.replace(" ", "") not in weights.selected() and paths.typed("index") != index, "the next weight, in both"
    )
    plots.press("ArrowLeft")
    weights.until(lambda: index.replace(" ", "") in weights.selected() and paths.typed("index") == index, "and back, in both")
    weights.click("paths")
    weights.until(lambda: weights.page.locator(".nnvis").count() == 1, "closed paths")
    for opened, how in ((lambda: plots.press("Enter"), "Enter"), (lambda: weights.click("paths"), "its button")):
        opened()
        Explorer(weights.page, 1).part("index").wait_for()
        assert weights.text("paths") == "Close paths", how
        weights.click("paths")
        weights.until(lambda: weights.page.locator(".nnvis").count() == 1, "closed paths")


def test_weights_are_chosen_otherwise(weights):
    weights.choose("choose", "weights: random")
    weights.measured("drawn at random")
    before = weights.order()
    weights.type("seed", "3")
    weights.until(lambda: weights.order() != before, "other weights")
    weights.type("count", "12")
    weights.measured("12 of 850")
    weights.choose("samples", "first 100 samples")
    weights.measured("n = 128 of")
    weights.choose("split", "data: train (n = 1347)")
    weights.measured("train, n = 169 of 1347")
    weights.choose("split", "data: test (n = 450)")
    weights.measured("test, n = 128 of 450")
    weights.type("points", "11")
    weights.slide("range", "ArrowRight", handle="-lower")
    weights.slide("range", *["ArrowLeft"] * 12, handle="-upper")  # never below 1: patterns are told from there
    ends = pytest.approx((-0.45, 1.0))
    weights.until(lambda: (weights.slider("range", "-lower"), weights.slider("range", "-upper")) == ends, "a range with 1")
    weights.measured("n = 128 of")
    ticks = weights.part("u").locator("g.axis").first.locator(".tick text")
    weights.until(lambda: (found := ticks.all_text_contents()) and found[-1] == "1.0" and found[0] in ("\N{MINUS SIGN}0.4", "-0.4"),
                  "alpha from -0.45 to 1")  # fmt: skip
    weights.search("conv")
    weights.until(lambda: weights.layers() == ["conv1", "weight", "bias", "conv2", "weight", "bias"], "only convolutions")
    weights.layer("conv1")
    weights.measured("of conv1")
    weights.search("nothing like it")
    weights.until(lambda: "nothing" in weights.layers(), "word that there is none")
    weights.search("")
    weights.until(lambda: weights.layers()[0] == "all", "all layers again")
    weights.choose("choose", "weights: largest effect")
    weights.measured("of the largest first-order effect")
    weights.choose("choose", "weights: a list")
    box = weights.part("list").locator("textarea")
    box.fill("fc3.weight 1, 5\nfc2.bias 3\nnonsense")
    box.blur()
    weights.until(lambda: "received 'nonsense'" in weights.problem(".nnvis-panel "), "what is wrong with the list")
    box.fill("fc3.weight 1, 5\nfc2.bias 3")
    box.blur()
    weights.until(lambda: not weights.problem(".nnvis-panel "), "nothing wrong with the list")
    weights.layer("all")
    weights.measured("named one by one")
    assert {text for text, *_ in weights.cells()[1]} <= {"fc3.weight[1, 5]", "fc3.weight[1, 5] ?", "fc2.bias[3]", "fc2.bias[3] ?"}
    weights.choose("choose", "weights: moved most")
    weights.type("count", "40")
    weights.choose("samples", "all samples")
    weights.slide("range", "ArrowLeft", handle="-lower")
    weights.slide("range", *["ArrowRight"] * 10, handle="-upper")
    weights.layer("fc3")
    weights.type("points", "21")
    weights.measured("40 of 850 weights of fc3", "those that moved most")


def test_work_is_cancelled_and_results_go_to_a_file_and_come_back(weights, scan, demo, tmp_path):
    plots = weights.part("curves")
    for stop, how in ((lambda: weights.click("cancel"), "the button"), (lambda: plots.press("Escape"), "Escape")):
        weights.type("count", "500")
        weights.type("points", "201")
        weights.until(lambda: weights.part("cancel").is_enabled(), "work that can be cancelled")
        stop()
        weights.until(lambda: "cancelled" in weights.text("progress-text") and not weights.part("cancel").is_enabled(), how)
        weights.type("points", "21")
        weights.type("count", "40")
        weights.measured("40 of 850 weights of fc3")

    weights.click("save")
    link = weights.part("link")
    link.wait_for()
    with weights.page.expect_download() as download:
        link.click()
    assert download.value.suggested_filename == "nnvis_parameters.safetensors"
    download.value.save_as(tmp_path / "mine.safetensors")
    saved = nv.load(tmp_path / "mine.safetensors").results["scan"]
    np.testing.assert_array_equal(saved.quadratic, scan.quadratic)
    assert saved.pattern == scan.pattern

    def upload(path):
        with weights.page.expect_file_chooser() as chooser:
            weights.click("open")
        chooser.value.set_files(path)

    (tmp_path / "none.safetensors").write_bytes(b"no result")
    upload(tmp_path / "none.safetensors")
    weights.until(lambda: weights.problem(), "word that this is no result")
    other = nv.measure_parameters(demo.evaluator, demo.run, "fc2", count=5, alphas=np.linspace(-0.5, 1.5, 21))
    other.save(tmp_path / "other")
    upload(next(tmp_path.glob("other*")))
    weights.measured(f"5 of {other.scanned:,} weights of fc2")
    weights.until(lambda: len(weights.dots()[0]) == 5 and len(weights.order()) == 5, "five weights")
    row = weights.page.locator(".nnvis-table tbody tr")
    weights.part("table").locator("summary").click()
    assert {text.split("\t")[0] for text in row.all_inner_texts()} == set(other.names)
    weights.part("table").locator("summary").click()
    weights.type("count", "41")
    weights.measured("41 of 850 weights of fc3")
    weights.type("count", "40")
    weights.measured("40 of 850 weights of fc3")


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
    weights.until(lambda: len({round(x) for _, x, _ in weights.cells()[1]}) < 6, "fewer small pictures in a row")
    assert weights.part("loss").bounding_box()["y"] > weights.part("phase").bounding_box()["y"] + 300  # below, not beside
    notebook.theme("JupyterLab Light")
    weights.page.set_viewport_size({"width": 1600, "height": 1700})
