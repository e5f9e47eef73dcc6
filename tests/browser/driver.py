"""What the browser tests share: servers on this machine, a page that remembers its complaints, and an explorer seen from outside.

The explorer is driven with mouse and keys, and read as a reader does: curves are taken from the drawn paths and turned into
numbers with the tick labels of their own axes. Nothing here asks the kernel what it meant to draw.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PATIENCE = float(os.environ.get("NNVIS_PATIENCE", "120"))  # seconds; a busy machine is slow, not wrong
CHROMIUM_OPTIONS = [
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
]  # fmt: skip
FONT_AWESOME = "https://cdn.jsdelivr.net/npm/@fortawesome/"  # Voila's template asks for its icons there
# the marks of one plot in the order in which they are drawn
MARKS = (
    "outside low", "outside high", "band linear", "band quadratic", "band lagrange", "pinned", "many linear", "many quadratic",
    "linear", "quadratic", "lagrange", "points linear", "points quadratic", "points lagrange", "training", "crossings", "cursor",
)  # fmt: skip
PAIR = re.compile(r"(-?[\d.]+(?:e-?\d+)?),(-?[\d.]+(?:e-?\d+)?)")


def find_chromium() -> str | None:
    """Return the browser named by CHROMIUM, or one on the PATH."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return os.environ.get("CHROMIUM") or next((found for found in map(shutil.which, names) if found), None)


# ---- servers


@contextlib.contextmanager
def serve(program: str, folder: Path, cache: Path, *options: str) -> Iterator[str]:
    """Run `program` ("lab" or "voila") on a free port with its own empty configuration, and give its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = folder / f"{program}-home"
    environment = dict(
        os.environ, JUPYTER_CONFIG_DIR=str(home / "config"), JUPYTER_DATA_DIR=str(home / "data"), JUPYTER_RUNTIME_DIR=str(home / "run"),
        IPYTHONDIR=str(home / "ipython"), XDG_CACHE_HOME=str(cache), OMP_NUM_THREADS="1",
    )  # fmt: skip
    quiet = {
        "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
    }
    (home / "config" / "labconfig").mkdir(parents=True)  # a question about news would lie over the buttons in the corner
    (home / "config" / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(quiet))
    log = folder / f"{program}.log"
    command = [sys.executable, "-m", {"lab": "jupyterlab", "voila": "voila"}[program], *options, "--no-browser"]
    command += {
        "lab": ["--allow-root", "--expose-app-in-browser", f"--ServerApp.root_dir={folder}", "--ServerApp.ip=127.0.0.1",
                f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=", "--ServerApp.password=",
                "--LabApp.news_url="],
        "voila": ["--Voila.ip=127.0.0.1", f"--port={port}", "--VoilaConfiguration.extension_denylist=@jupyter-notebook/lab-extension"],
    }[program]  # fmt: skip
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{program} did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Complaints:
    """Errors of a page and requests that would have left the machine."""

    def __init__(self, page: Any):
        self.errors: list[str] = []
        self.foreign: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: self._request(request.url))
        page.route(FONT_AWESOME + "**", lambda route: route.fulfill(status=200, content_type="text/css", body=""))

    def _request(self, url: str) -> None:
        if not url.startswith(("http://127.0.0.1", "data:", "blob:", FONT_AWESOME)):
            self.foreign.append(url)

    def raise_any(self) -> None:
        """Fail with what the page has complained about since the last call."""
        errors, foreign = list(dict.fromkeys(self.errors)), list(dict.fromkeys(self.foreign))
        self.errors.clear()
        self.foreign.clear()
        assert not errors, "errors on the page:\n" + "\n".join(error[:600] for error in errors[:8])
        assert not foreign, f"requests that leave the machine: {foreign}"


def until(page: Any, condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Return what `condition` returns once it is true; a failing assertion or a missing part of the picture counts as not yet."""
    deadline, last = time.monotonic() + seconds, None
    while True:
        try:
            if value := condition():
                return value
            last = None
        except (AssertionError, IndexError, KeyError, ValueError) as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:.0f} s: not {what}" + (f"; {last}" if last else ""))
        page.wait_for_timeout(60)


class Lab:
    """A notebook in JupyterLab."""

    def __init__(self, page: Any, url: str, notebook: str):
        self.page = page
        page.goto(f"{url}/lab/tree/{notebook}?reset")
        page.wait_for_function(_READY)

    def command(self, name: str, **arguments: Any) -> None:
        """Run one of JupyterLab's commands, as its menu does, and wait for its end."""
        self.page.evaluate("([name, arguments]) => window.jupyterapp.commands.execute(name, arguments)", [name, arguments])

    def run_all(self) -> None:
        """Run all cells; an error in one of them fails."""
        self.command("notebook:run-all-cells")
        wrong = self.page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']")
        assert wrong.count() == 0, wrong.first.inner_text()

    def python(self, code: str) -> str:
        """Run code in the notebook's kernel, as a cell would, and return what it prints."""
        text, wrong = self.page.evaluate(_EXECUTE, code)
        assert not wrong, wrong
        return text.strip()

    def theme(self, name: str) -> None:
        """Change to "JupyterLab Light" or "JupyterLab Dark"."""
        self.command("apputils:change-theme", theme=name)
        self.page.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=name)


_READY = """() => { const app = window.jupyterapp; if (!app || !app.commands.hasCommand('notebook:run-all-cells')) return false;
  const panel = app.shell.currentWidget, kernel = panel?.sessionContext?.session?.kernel;
  return !!(panel?.context?.isReady && kernel?.status === 'idle') }"""
_EXECUTE = """async code => { const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const future = kernel.requestExecute({ code, store_history: false }); let text = '', wrong = '';
  future.onIOPub = ({ header, content }) => { if (header.msg_type === 'stream') text += content.text;
    if (header.msg_type === 'error') wrong = content.ename + ': ' + content.evalue };
  await future.done; return [text, wrong] }"""


# ---- what is drawn

_READ = """figure => {
  const place = e => { const t = e.getAttribute('transform') || ''; return (t.match(/-?[\\d.]+(?:e-?\\d+)?/g) || ['0', '0']).map(Number) };
  const shown = e => getComputedStyle(e).display !== 'none';
  const ground = figure.querySelector('.plotarea_background');
  return {
    size: [+ground.getAttribute('width'), +ground.getAttribute('height')],
    axes: [...figure.querySelectorAll('.svg-background g.axis')].map(axis => ({
      shown: shown(axis.parentNode), label: (axis.querySelector('.axislabel') || {}).textContent || '',
      ticks: [...axis.querySelectorAll('.tick')].map(t => [t.textContent, ...place(t)]) })),
    marks: [...figure.querySelector('.svg-figure > g > g').children].filter(m => !m.classList.contains('g_legend')).map(mark => ({
      shown: shown(mark),
      curves: [...mark.querySelectorAll('.curve')].map(c => {
        const line = c.querySelector('.line'), style = getComputedStyle(line);
        return { d: line.getAttribute('d') || '', opacity: +style.opacity, colour: style.stroke, dash: style.strokeDasharray } }),
      dots: [...mark.querySelectorAll('.object_grp')].map(place) })),
  } }"""


@dataclass(frozen=True)
class Mark:
    """One mark as drawn, in the numbers of the axes: curves and dots of shape (n, 2)."""

    shown: bool
    curves: list[np.ndarray]
    dots: np.ndarray
    opacities: list[float]
    colours: list[str]
    dashes: list[str]


class Plot:
    """One of the two plots at one moment."""

    def __init__(self, found: dict[str, Any]):
        self.width, self.height = found["size"]
        x, y, epoch = found["axes"]
        self.x_label, self.y_label = x["label"], y["label"]
        self.epochs = [_number(text) for text, *_ in epoch["ticks"]] if epoch["shown"] else None
        self._x, self._y = _scale(x["ticks"], 0), _scale(y["ticks"], 1)
        self._epoch = _scale(epoch["ticks"], 0) if epoch["shown"] else None
        self.limits = tuple(self.data([[0.0, 0.0], [self.width, 0.0]])[:, 0])
        self.tolerance = 0.004 * abs(float(np.diff(self.data([[0.0, 0.0], [0.0, self.height]])[:, 1])[0]))
        assert len(found["marks"]) == len(MARKS), f"{len(found['marks'])} marks are drawn"
        self.marks = {name: self._mark(entry) for name, entry in zip(MARKS, found["marks"], strict=True)}

    def data(self, pixels: Any) -> np.ndarray:
        """Return numbers as the axes show them, from places in the plot."""
        pixels = np.asarray(pixels, dtype=float).reshape(-1, 2)
        return np.stack([np.polyval(self._x, pixels[:, 0]), np.polyval(self._y, pixels[:, 1])], axis=1)

    def epoch_at(self, alpha: float) -> float:
        """Return what the upper axis shows above an alpha."""
        assert self._epoch is not None, "there is no axis of epochs"
        return float(np.polyval(self._epoch, (alpha - self._x[1]) / self._x[0]))

    def __getitem__(self, name: str) -> Mark:
        return self.marks[name]

    def curve(self, name: str) -> np.ndarray:
        """Return the single curve of a mark that must be visible."""
        mark = self.marks[name]
        assert mark.shown, f"{name} is hidden"
        assert len(mark.curves) == 1, f"{name} has {len(mark.curves)} curves"
        return mark.curves[0]

    def at(self, name: str, alphas: Any) -> np.ndarray:
        """Return the drawn values at alphas."""
        curve = self.curve(name)
        return np.interp(alphas, curve[:, 0], curve[:, 1])

    @property
    def cursor(self) -> float:
        """The alpha at which the vertical line stands."""
        return float(self.curve("cursor")[0, 0])

    def _mark(self, entry: dict[str, Any]) -> Mark:
        curves = [self.data([(float(x), float(y)) for x, y in PAIR.findall(curve["d"])]) for curve in entry["curves"]]
        return Mark(
            entry["shown"], curves, self.data(entry["dots"]) if entry["dots"] else np.empty((0, 2)),
            [c["opacity"] for c in entry["curves"]], [c["colour"] for c in entry["curves"]], [c["dash"] for c in entry["curves"]],
        )  # fmt: skip


def _number(text: str) -> float:
    return float(text.replace("\u2212", "-").replace(",", ""))


def _scale(ticks: list, axis: int) -> np.ndarray:
    """Return slope and offset that turn places into the numbers on the tick labels."""
    assert len(ticks) > 1, "an axis without two ticks"
    # d3 moves its ticks by half a pixel, so that a hair line covers whole ones
    return np.polyfit([tick[1 + axis] - 0.5 for tick in ticks], [_number(tick[0]) for tick in ticks], 1)


# ---- the explorer

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
        return Plot(self.part(name).evaluate(_READ))

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
        """Wait until nothing is computed and a mark shows a curve of so many points; return it."""

        def complete() -> Any:
            return not self.working and len(self.plot(plot).curve(name)) == points

        self.until(complete, f"a complete curve {name!r} of {points} points")
        return self.plot(plot).curve(name)

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
        return self.part(control).locator("select").evaluate("e => e.selectedOptions.length ? e.selectedOptions[0].text : ''")

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
