"""What ipywidgets cannot do from Python: names for screen readers, a spoken summary, keys, word of what is on the screen.

May import: anywidget, traitlets. One small anywidget of ours; it looks only inside the explorer that it stands in.
"""

from __future__ import annotations

from collections.abc import Callable

import anywidget
import traitlets

_ESM = """
const OF_SLIDERS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End"];
// among the plots stand controls: what they do with a key, the plots must not do as well
const isFor = (target, key) =>
  target.closest(".noUi-handle") ? OF_SLIDERS.includes(key)
  : target.closest("button, summary, a") ? ["Enter", " "].includes(key)
  : !!target.closest("input, select, textarea, [contenteditable=true]") && key !== "Escape";
function render({ model, el }) {
  el.setAttribute("role", "status");
  el.setAttribute("aria-live", "polite");
  el.style.cssText = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)";
  const root = () => el.closest(".nnvis");
  const name = () => {
    const home = root();
    if (!home) return;
    for (const [selector, label] of Object.entries(model.get("labels")))
      for (const node of home.querySelectorAll(selector)) node.setAttribute("aria-label", label);
    // in JupyterLab's command mode the arrows would leave the list for the next cell
    for (const list of home.querySelectorAll("select")) list.setAttribute("data-lm-suppress-shortcuts", "true");
    const plots = home.querySelector(".nnvis-curves");
    if (plots && !plots.hasAttribute("tabindex")) {
      plots.setAttribute("tabindex", "0");
      plots.setAttribute("role", "group");
      // JupyterLab would take letters for its own shortcuts and insert or delete cells
      plots.setAttribute("data-lm-suppress-shortcuts", "true");
      plots.addEventListener("keydown", (event) => {
        if (event.ctrlKey || event.metaKey || event.altKey || !model.get("keys_used").includes(event.key)) return;
        if (isFor(event.target, event.key)) return;
        event.preventDefault();
        event.stopPropagation();
        model.send({ key: event.key, shift: event.shiftKey });
      });
      plots.addEventListener("mousedown", (event) => {
        plots.focus({ preventScroll: true, focusVisible: false });
        if (event.shiftKey) event.stopPropagation(); // JupyterLab would take it for a selection of cells
      });
    }
    if (plots) plots.setAttribute("aria-label", model.get("summary"));
    for (const rows of home.querySelectorAll(".nnvis-rows")) {
      if (rows.dataset.heard || rows.closest(".nnvis") !== home) continue;
      rows.dataset.heard = "1";
      rows.addEventListener("click", (event) => choose(rows, event));
    }
  };
  // a row is a row all across the picture, whatever stands in it
  const choose = (rows, event) => {
    const cell = event.target.closest("[data-cell]");
    if (cell) return model.send({ cell: cell.dataset.cell.split(",").map(Number) });
    const row = [...rows.querySelectorAll("[data-row]")].find((one) => {
      const box = one.getBoundingClientRect();
      return box.top <= event.clientY && event.clientY < box.bottom;
    });
    const second = event.shiftKey || event.ctrlKey || event.metaKey || !!event.target.closest("[data-check]");
    if (row) model.send({ row: +row.dataset.row, second });
  };
  // the sliders' own Home and End go to the ends that they were made with; one step away from the present end, an arrow
  // does the rest as for any other key
  const toTheEnd = (event) => {
    const handle = event.target, slider = handle.closest(".noUi-target")?.noUiSlider;
    if (!slider || !["Home", "End"].includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    const { range, step } = slider.options, home = event.key === "Home";
    slider.setHandle(+handle.dataset.handle, home ? range.min + step : range.max - step);
    handle.dispatchEvent(new KeyboardEvent("keydown", { key: home ? "ArrowLeft" : "ArrowRight", bubbles: true, cancelable: true }));
  };
  const say = () => { el.textContent = model.get("summary"); name(); };
  model.on("change:summary", say);
  // messages arrive in their order: whatever was told before the number is on the screen when it is sent back
  const answer = () => model.send({ shown: model.get("asked") });
  model.on("change:asked", answer);
  answer();
  // a picture of many columns has to know how many fit
  const measure = new ResizeObserver(([entry]) => model.send({ width: Math.round(entry.contentRect.width) }));
  const watch = new MutationObserver(name);
  let home = null;
  const start = () => {
    home = root();
    if (!home) return setTimeout(start, 100);
    watch.observe(home, { childList: true, subtree: true });
    home.addEventListener("keydown", toTheEnd, true);
    const place = model.get("measured") && home.querySelector(model.get("measured"));
    if (place) measure.observe(place);
    say();
  };
  start();
  return () => {
    watch.disconnect();
    measure.disconnect();
    model.off("change:asked", answer);
    home?.removeEventListener("keydown", toTheEnd, true);
  };
}
export default { render };
"""


class Assist(anywidget.AnyWidget):
    """Names controls for screen readers, speaks `summary`, and hands on what is pressed.

    Parameters
    ----------
    labels : dict of str to str
        What is said of the parts that a selector finds.
    keys : list of str
        That mean something on the plots.
    on_key : callable
        ``on_key(key, shift)``
    on_row : callable, optional
        ``on_row(number, second)``: a row of the picture is clicked; `second` with Shift, Ctrl or Cmd, or on its check box.
    on_cell : callable, optional
        ``on_cell(row, column)``: a cell of a matrix is clicked.
    measured : str
        Selector of the part whose width is told to `on_width`.
    on_width : callable, optional
        ``on_width(pixels)``
    """

    _esm = _ESM
    labels = traitlets.Dict().tag(sync=True)
    summary = traitlets.Unicode().tag(sync=True)
    keys_used = traitlets.List().tag(sync=True)
    asked = traitlets.Int(0).tag(sync=True)
    measured = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        labels: dict[str, str],
        keys: list[str],
        on_key: Callable[[str, bool], None],
        on_row: Callable[[int, bool], None] | None = None,
        measured: str = "",
        on_width: Callable[[int], None] | None = None,
        on_cell: Callable[[int, int], None] | None = None,
    ):
        super().__init__(labels=labels, keys_used=keys, measured=measured)
        self._on_key, self._on_row, self._on_width, self._on_cell = on_key, on_row, on_width, on_cell
        self._shown = 0
        self.on_msg(lambda _widget, content, _buffers: self._heard(content))

    def ask(self) -> None:
        """Let the browser say when it shows all that it has been told so far; `shown` is false until then."""
        self.asked += 1

    @property
    def shown(self) -> bool:
        """Whether what a hand does now, it does to what the kernel has said last."""
        return self._shown >= self.asked

    def _heard(self, content: dict) -> None:
        if "shown" in content:
            self._shown = max(self._shown, int(content["shown"]))
        elif "width" in content:
            if self._on_width is not None:
                self._on_width(int(content["width"]))
        elif "cell" in content:
            if self._on_cell is not None:
                self._on_cell(*map(int, content["cell"]))
        elif "row" not in content:
            self._on_key(content.get("key", ""), bool(content.get("shift")))
        elif self._on_row is not None:
            self._on_row(int(content["row"]), bool(content.get("second")))
