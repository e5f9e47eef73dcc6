"""The tour in JupyterLab: scripts and hands move the same settings, nothing is drawn twice, both themes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def settled(lab, explorer):
    explorer.rest("Model")
    explorer.drawn("linear", 41)
    return explorer


def test_a_script_moves_the_controls(lab, settled):
    lab.python("explorer.scope = ('conv2.weight', (1, 2, 0, 1)); explorer.kind = 'quadratic'; explorer.alpha = 0.5")
    settled.until(
        lambda: settled.pressed("level") == "Parameter" and settled.pressed("kind") == "Quadratic", "the toggles to follow"
    )
    settled.until(lambda: settled.typed("index") == "1, 2, 0, 1", "the index box to follow")
    settled.until(lambda: "conv2.weight[1, 2, 0, 1]" in settled.text("state"), "the path of that weight")
    settled.until(lambda: settled.plot().cursor == pytest.approx(0.5, abs=0.001), "the cursor at 0.5")


def test_the_first_partial_curve_follows_the_click(lab, settled, capsys):
    settled.press("level", "Layer")
    settled.drawn("linear", 41)
    lab.python("explorer._cache.clear()")
    row = settled.part("layers").locator("option").nth(settled.layers().index("fc2"))
    begun = time.monotonic()
    row.click()
    settled.until(lambda: settled.text("state").startswith("fc2 ") and settled.plot()["linear"].shown, "a first curve of fc2")
    seconds = time.monotonic() - begun
    with capsys.disabled():
        print(f" [first partial curve after {seconds:.2f} s] ", end="")
    assert seconds < 10  # not a speed claim: a busy machine is slow, but the curve must not wait for the whole path
    settled.drawn("quadratic", 41)


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
