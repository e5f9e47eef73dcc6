"""The tour in JupyterLab: scripts and hands move the same settings, the kernel stays free, nothing is drawn twice, both themes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import driver
import numpy as np
import pytest


@pytest.fixture
def settled(lab):
    explorer = driver.Explorer(lab.page)
    explorer.rest("Model")
    explorer.drawn("linear", 41)
    yield explorer
    lab.page.complaints.raise_any()


def test_a_script_moves_the_controls(lab, settled):
    lab.python("explorer.scope = ('conv2.weight', (1, 2, 0, 1)); explorer.kind = 'quadratic'; explorer.alpha = 0.5")
    settled.until(
        lambda: settled.pressed("level") == "Parameter" and settled.pressed("kind") == "Quadratic", "the toggles to follow"
    )
    settled.until(lambda: settled.typed("index") == "1, 2, 0, 1", "the index box to follow")
    settled.until(lambda: "conv2.weight[1, 2, 0, 1]" in settled.text("state"), "the path of that weight")
    settled.until(lambda: settled.plot().cursor == pytest.approx(0.5, abs=0.001), "the cursor at 0.5")


# what a slow machine makes of ten moves is read from the kernel's clock: when it heard of them, what it began, what it ended
_WATCH = """
import time
heard, ended, begun = [], [], explorer._worker.started
listen = lambda change: heard.append(time.monotonic())
explorer.observe(listen, "alpha_range")
succeed = explorer._succeed
explorer._succeed = lambda steps: (ended.append(1), succeed(steps))
explorer._cache.clear()
"""
_REPORT = """
import json
explorer.unobserve(listen, "alpha_range")
del explorer._succeed
print(json.dumps([heard, explorer._worker.started - begun, len(ended)]))
"""


def test_ten_quick_moves_start_few_computations_of_which_the_last_is_drawn(lab, settled):
    settled.rest("Layer", layer="fc1")
    lab.python(_WATCH)
    settled.hold("range", "ArrowRight", 10, handle="-upper")
    settled.until(
        lambda: not settled.working and settled.plot().curve("quadratic")[-1, 0] == pytest.approx(1.5, abs=0.001),
        "a curve up to 1.5",
    )
    heard, started, completed = json.loads(lab.python(_REPORT))
    pauses = int((np.diff(heard) > 0.14).sum())  # a kernel that was away so long has no quick moves to merge
    assert 1 <= started <= 2, (started, heard)
    assert 1 <= completed <= 1 + pauses, (completed, heard)


def test_keys_that_come_faster_than_the_kernel_reads_are_all_heard(lab, settled):
    settled.rest("Parameter")
    lab.python("explorer.alpha = 0.0")
    settled.until(lambda: "α = 0.000" in settled.text("read"), "alpha 0")
    lab.python("import time; slowly = lambda change: time.sleep(0.15); explorer.observe(slowly, 'alpha')")
    for _ in range(3):  # each time the browser's sum of steps is not the decimal number that the kernel makes of it
        settled.slide("alpha", "ArrowLeft")
        settled.hold("alpha", "ArrowLeft", 3)
    settled.until(lambda: "α = -0.120" in settled.text("read"), "alpha twelve steps back")
    assert settled.slider("alpha") == pytest.approx(-0.12)
    lab.python("explorer.unobserve(slowly, 'alpha')")


_SECONDS = """name => new Promise(done => { const root = document.querySelector('.nnvis'), state = root.querySelector('.nnvis-state');
  root.querySelector('.nnvis-layers select').addEventListener('change', () => { const begun = performance.now();
    new MutationObserver((_, watch) => { if (state.textContent.startsWith(name + ' ')) { watch.disconnect();
      requestAnimationFrame(() => setTimeout(() => { window.nnvisSeconds = (performance.now() - begun) / 1000 })) } })
      .observe(state, { subtree: true, childList: true, characterData: true }) }, { once: true }); done() })"""


def test_the_first_partial_curve_follows_the_click(lab, settled, capsys):
    settled.rest("Layer", layer="conv1")
    lab.python("explorer._cache.clear()")
    lab.page.evaluate(_SECONDS, "fc2")
    settled.layer("fc2")
    settled.until(lambda: settled.text("state").startswith("fc2 ") and settled.plot()["linear"].shown, "a first curve of fc2")
    seconds = settled.until(lambda: lab.page.evaluate("window.nnvisSeconds"), "a time")
    with capsys.disabled():
        print(f" [first partial curve after {seconds:.2f} s] ", end="")
    assert seconds < 10  # not a speed claim: a busy machine is slow, but the curve must not wait for the whole path
    settled.drawn("quadratic", 41)


def test_the_kernel_answers_while_a_path_is_measured(lab, settled):
    settled.rest("Layer", layer="conv1")
    settled.type("points", "1001")
    settled.until(lambda: "%" in settled.text("progress-text"), "a computation on its way")
    # asked in the cell itself: when this page looks again, the work may be over
    answer = lab.python("print(6 * 7, explorer._worker.busy, explorer.status.bar.value < 1)")
    assert answer == "42 True True"
    settled.type("points", "41")  # which also stops the computation
    settled.drawn("quadratic", 41)


def test_keys_on_the_plots_do_not_reach_the_notebook(lab, settled):
    cells = lab.page.locator(".jp-Cell").count()
    plots = settled.part("curves")
    for key, kind in (("l", "Linear"), ("b", "Both")):
        plots.press(key)
        settled.until(lambda kind=kind: settled.pressed("kind") == kind, f"kind {kind}")
    plots.press("m")
    settled.until(lambda: settled.plot().cursor == pytest.approx(0.5, abs=0.001), "the cursor at the middle checkpoint")
    for key, alpha in (("ArrowRight", 0.51), ("Shift+ArrowLeft", 0.41)):
        plots.press(key)
        settled.until(lambda alpha=alpha: settled.plot().cursor == pytest.approx(alpha, abs=0.001), f"the cursor at {alpha}")
    assert lab.page.locator(".jp-Cell").count() == cells, "b is JupyterLab's key for a new cell"
    assert settled.part("alpha").locator(".noUi-handle").get_attribute("aria-label").startswith("alpha")
    settled.until(lambda: "linear: loss" in plots.get_attribute("aria-label"), "a summary for screen readers")


def test_the_static_picture_is_saved_but_hidden_beside_the_live_widget(lab, settled, folder):
    lab.command("docmanager:save")

    def pictures():
        saved = json.loads((folder / "01_paths.ipynb").read_text())
        outputs = [output.get("data", {}) for cell in saved["cells"] for output in cell.get("outputs", [])]
        return [
            data["image/png"] for data in outputs if "image/png" in data and "nnvis-static" in "".join(data.get("text/html", ""))
        ]

    settled.until(lambda: len(pictures()) == 2, "a picture of each explorer in the saved notebook")
    static = lab.page.locator("img.nnvis-static")
    assert static.count() >= 1
    assert not static.first.is_visible()
    assert lab.page.locator(".nnvis-loss").count() == 2, "each explorer is rendered once"


def test_both_themes_keep_curves_and_text_apart_from_the_ground(lab, settled):
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        lab.theme(theme)
        settled.until(lambda: settled.plot()["linear"].shown, "the curves")
        for selector in (".nnvis-loss .axislabel", ".nnvis-loss .tick text", ".nnvis-state", ".nnvis-legend"):
            assert contrast(lab.page, selector) >= 4.5, f"{selector} in {theme}"
        if "NNVIS_SCREENSHOTS" in os.environ:
            place = Path(os.environ["NNVIS_SCREENSHOTS"])
            place.mkdir(parents=True, exist_ok=True)
            settled.root.screenshot(path=place / f"{theme.split()[-1].lower()}.png")


def contrast(page, selector: str) -> float:
    """Return the contrast ratio (WCAG 2) of a text and the page behind it."""
    text, ground = page.locator(selector).first.evaluate(
        """e => { const colour = c => c.match(/[\\d.]+/g).map(Number);
          let back = e; while (back && ['rgba(0, 0, 0, 0)', 'transparent'].includes(getComputedStyle(back).backgroundColor)) back = back.parentElement;
          const style = getComputedStyle(e);
          return [colour(e.namespaceURI.endsWith('svg') ? style.fill : style.color), colour(getComputedStyle(back || document.body).backgroundColor)] }"""
    )

    def luminance(colour):
        parts = np.array(colour[:3]) / 255
        return float(np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])

    if len(text) == 4:  # a translucent text lets the ground through
        text = [text[3] * t + (1 - text[3]) * g for t, g in zip(text[:3], ground[:3], strict=True)]
    light, dark = sorted((luminance(text), luminance(ground)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
