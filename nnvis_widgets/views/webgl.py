"""What only the browser knows: whether it can draw in three dimensions, the background of the page, clicks into the picture.

May import: anywidget, traitlets.
"""

from __future__ import annotations

import anywidget
import traitlets

_ESM = """
function webgl() {
  try {
    const context = document.createElement("canvas").getContext("webgl2") || document.createElement("canvas").getContext("webgl");
    if (!context) return false;
    context.getExtension("WEBGL_lose_context")?.loseContext();  // browsers keep only a few of them
    return true;
  } catch (error) { return false; }
}
function background(node) {
  for (; node; node = node.parentElement) {
    const parts = getComputedStyle(node).backgroundColor.match(/[\\d.]+/g)?.map(Number);
    if (parts && (parts.length < 4 || parts[3] > 0.5)) return parts.slice(0, 3);
  }
  return [255, 255, 255];
}
function render({ model, el }) {
  // a click into the canvas beside this widget; dragging turns the picture
  let stage = null, sizes = null, pressed = null, count = 0, again = 0;
  const press = (event) => { pressed = event.target.matches("canvas") ? [event.clientX, event.clientY] : null; };
  const release = (event) => {
    if (!pressed || !event.target.matches("canvas")) return;
    const still = Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) < 4;
    pressed = null;
    if (!still || event.button !== 0) return;
    const box = event.target.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    model.set("click", [2 * x - 1, 1 - 2 * y, box.width, box.height, event.ctrlKey || event.metaKey ? 1 : 0, ++count]);
    model.save_changes();
  };
  el.style.cssText = "position:absolute;width:0;height:0";
  const look = () => {
    if (!el.isConnected) { clearTimeout(again); again = setTimeout(look, 100); return; }  // a busy page attaches it later
    if (!stage) {
      stage = el.closest(".nnvis-solid") || el.parentElement;
      sizes = new ResizeObserver(() => {
        const widths = { room: stage.clientWidth, row: stage.parentElement?.clientWidth || 0 };
        const changed = Object.keys(widths).filter((name) => widths[name] && Math.abs(widths[name] - model.get(name)) >= 6);
        if (!changed.length) return;  // 0: it is hidden
        for (const name of changed) model.set(name, widths[name]);
        model.save_changes();
      });
      for (const one of [stage, stage.parentElement]) if (one) sizes.observe(one);
      stage.addEventListener("pointerdown", press, true);
      stage.addEventListener("pointerup", release, true);
    }
    const colour = background(el.parentElement);
    model.set("background", "#" + colour.map((part) => Math.round(part).toString(16).padStart(2, "0")).join(""));
    model.save_changes();
  };
  model.set("available", webgl());
  model.save_changes();
  const frame = requestAnimationFrame(look);
  // the colours of a new theme arrive with a style sheet, after the attribute has changed
  const later = () => { look(); for (const wait of [200, 1000]) setTimeout(look, wait); };
  const watch = new MutationObserver(later);
  watch.observe(document.body, { attributes: true, attributeFilter: ["class", "style", "data-jp-theme-name"] });
  return () => { cancelAnimationFrame(frame); clearTimeout(again); watch.disconnect(); sizes?.disconnect();
    stage?.removeEventListener("pointerdown", press, true);
    stage?.removeEventListener("pointerup", release, true); };
}
export default { render };
"""


class BrowserFacts(anywidget.AnyWidget):
    """An invisible widget that tells Python about the page that shows it.

    Attributes
    ----------
    available : bool or None
        Whether the browser has WebGL; None until it has answered.
    background : str
        The colour behind the widget, such as "#ffffff"; follows the theme.
    room, row : int
        Widths of the `nnvis-solid` box and of what it stands in, in pixels; 0 while they are not known.
    click : list of float
        The latest click into the canvas of the same `nnvis-solid` box: u and v from -1 (left, bottom) to 1 (right, top), width
        and height of the canvas in pixels, 1 if Ctrl or Cmd was held, and how many clicks there were; empty before the first.
    """

    _esm = _ESM
    available = traitlets.Bool(None, allow_none=True).tag(sync=True)
    click = traitlets.List(traitlets.Float()).tag(sync=True)
    room = traitlets.Int(0).tag(sync=True)
    row = traitlets.Int(0).tag(sync=True)
    background = traitlets.Unicode("#ffffff").tag(sync=True)

    @property
    def dark(self) -> bool:
        """Whether light ink is read better than dark on the background."""
        red, green, blue = (int(self.background[i : i + 2], 16) for i in (1, 3, 5))
        return 0.299 * red + 0.587 * green + 0.114 * blue < 128
