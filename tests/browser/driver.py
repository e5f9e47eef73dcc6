"""An explorer seen from outside: driven with mouse and keys, read as a reader does.

Curves are taken from the drawn paths and turned into numbers with the tick labels of their own axes (picture.py). Nothing here
asks the kernel what it meant to draw.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from pages import PATIENCE, until
from picture import READ, Plot

_HOLD = """(handle, [key, times]) => { handle.focus();
  for (let i = 0; i < times; i++) handle.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true })) }"""
REST = {
    "start": "epoch 0", "mid": "epoch 7", "end": "epoch 15", "knot": "mid drawn at 0.5", "background": "rest of the model: end",
}  # fmt: skip


class Explorer:
    """A path explorer on a page. Controls are named by their style classes without the prefix."""

    def __init__(self, page: Any, number: int = 0):
        self.page = page
        self.root = page.locator(".nnvis").nth(number)

    def part(self, name: str) -> Any:
        """Return the locator of a part by its class."""
        return self.root.locator(f".nnvis-{name}").first

    def plot(self, name: str = "loss") -> Plot:
        """Return what a plot shows now."""
        return Plot(self.part(name).evaluate(READ))

    def text(self, name: str) -> str:
        """Return the text of a part."""
        return re.sub(r"\s+", " ", self.part(name).inner_text()).strip()

    def until(self, condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
        """Wait for a condition; a failure tells what the explorer says."""
        try:
            return until(self.page, condition, what, seconds)
        except AssertionError as error:
            focus = self.page.evaluate("document.activeElement.className")
            parts = (self.text(name) for name in ("level", "range", "progress-text", "state", "read", "error"))
            raise AssertionError(
                f"{error}; the explorer says {' | '.join(parts)}; working: {self.working}; focus: {focus}"
            ) from None

    @property
    def working(self) -> bool:
        """Whether a computation can be cancelled, or the picture is still that of earlier settings."""
        return self.part("cancel").is_enabled() or "nnvis-stale" in self.part("curves").get_attribute("class")

    def drawn(self, name: str, points: int, plot: str = "loss") -> np.ndarray:
        """Wait until nothing is computed and a mark shows a curve of so many points that moves no more; return it."""
        before = np.empty((0, 2))

        def complete() -> Any:
            nonlocal before
            # a browser with too much to do draws later than it says that the work is done: axes first, curves after them
            last, before = before, self.plot(plot).curve(name)
            return not self.working and len(before) == points and np.array_equal(last, before)

        self.until(complete, f"a complete curve {name!r} of {points} points")
        return before

    def still(self, part: Any) -> dict[str, float]:
        """Bring a part into view and return its box once it has stopped moving: what is above it may still be growing."""
        part.scroll_into_view_if_needed()
        before: dict[str, float] | None = None

        def stopped() -> bool:
            nonlocal before
            last, before = before, part.bounding_box()
            return before is not None and before == last

        self.until(stopped, "a part that stands still")
        assert before is not None
        return before

    # ---- hands

    def press(self, control: str, text: str) -> None:
        """Click the button of a group of toggles that has this text."""
        self.part(control).locator("button", has_text=re.compile(f"^\\s*{text}\\s*$")).click()

    def pressed(self, control: str) -> str:
        """Return the text of the active toggle."""
        return self.part(control).locator("button.mod-active").inner_text().strip()

    def click(self, button: str) -> None:
        """Click a single button."""
        self.part(button).click()

    def choose(self, control: str, text: str) -> None:
        """Choose from a drop-down by the label of the entry."""
        self.part(control).locator("select").select_option(label=text)

    def chosen(self, control: str) -> str:
        """Return the label of the chosen entry."""
        text = self.part(control).locator("select").evaluate("e => e.selectedOptions.length ? e.selectedOptions[0].text : ''")
        return text.replace("\u00a0", " ")

    def type(self, control: str, text: str) -> None:
        """Replace the text of a box and press Enter."""
        box = self.part(control).locator("input")
        box.click()
        box.press("ControlOrMeta+a")
        self.page.keyboard.type(text)
        self.page.keyboard.press("Enter")

    def typed(self, control: str) -> str:
        """Return the text of a box."""
        return self.part(control).locator("input").input_value()

    def tick(self, control: str, on: bool) -> None:
        """Click a check box unless it is right already."""
        box = self.part(f"{control}-box").locator("input")
        if box.is_checked() != on:
            box.click()

    def slide(self, control: str, *keys: str, handle: str = "") -> None:
        """Press keys on the handle of a slider ("-lower", "-upper" where there are two)."""
        part = self.part(control).locator(f".noUi-handle{handle}")
        for key in keys:
            part.press(
                key
            )  # which takes the focus each time: JupyterLab detaches cells and attaches them again as it lays them out

    def hold(self, control: str, key: str, times: int, handle: str = "") -> None:
        """Press a key on the handle of a slider faster than a loaded machine can press it from outside the browser."""
        self.part(control).locator(f".noUi-handle{handle}").evaluate(_HOLD, [key, times])

    def slider(self, control: str, handle: str = "") -> float:
        """Return where the handle of a slider stands."""
        return float(self.part(control).locator(f".noUi-handle{handle}").get_attribute("aria-valuetext"))

    def layers(self) -> list[str]:
        """Return the names in the list of layers and tensors."""
        texts = self.part("layers").locator("option").all_text_contents()
        return [text.replace("\u00a0", " ").split()[0] for text in texts]

    def layer(self, name: str) -> None:
        """Click the entry of a layer in the list."""
        self.part("layers").locator("option").nth(self.layers().index(name)).click()

    def heard(self) -> None:
        """Wait until the kernel has read all that was said so far: it reads in order, and answers to a move of alpha."""
        self.slide("alpha", "ArrowLeft" if self.slider("alpha") > 0.5 else "ArrowRight")
        self.until(lambda: f"α = {self.slider('alpha'):.3f}" in self.text("read"), "an answer to a move of alpha")

    def rest(self, level: str = "Model", kind: str = "Both", layer: str | None = None) -> None:
        """Bring the controls to where a test begins, by hand, and wait for the picture."""
        if self.part("zoom").get_attribute("class").find("mod-active") >= 0:
            self.click("zoom")
        if "mod-active" in self.part("faithful").get_attribute("class"):
            self.part("faithful").evaluate("button => button.click()")  # where it is hidden, too
        for control, text in (("view", "This path"), ("level", level), ("kind", kind)):
            if self.pressed(control) != text:
                self.press(control, text)
                self.until(lambda control=control, text=text: self.pressed(control) == text, f"{control} {text}")
        for control, text in REST.items():
            if self.chosen(control) != text:
                self.choose(control, text)
        for control in ("log_loss", "band", "training", "crossings"):
            self.tick(control, control != "log_loss")
        if self.typed("points") != "41":
            self.type("points", "41")
        if layer is not None and self.chosen("layers").replace("\u00a0", " ").split()[:1] != [layer]:
            self.layer(layer)
        self.heard()
        for handle, place in zip(("-lower", "-upper"), (-0.5, 1.5) if level == "Parameter" else (0.0, 1.0), strict=True):
            steps = round((place - self.slider("range", handle)) / 0.05)
            self.slide("range", *["ArrowRight" if steps > 0 else "ArrowLeft"] * abs(steps), handle=handle)
        self.until(lambda: not self.working and not self.text("error"), "at rest")
        self.click("unpin")
        self.click("reset")
