"""A hand on the dots of a figure: clicks and sideways drags, told by the name of the dot.

May import: anywidget, traitlets. One small anywidget of ours, beside the figure. bqplot's own drag writes the place of the dot into
the mark from the browser, after the kernel may have put it back; it tells a dot by a number that is old once dots come and go; and
a click is lost where the box of a tooltip, which nobody sees, lies over the dot. Here the kernel alone says where dots are: while
one is in the hand its picture follows the pointer, and the kernel is asked no faster than it answers.
"""

from __future__ import annotations

from collections.abc import Callable

import anywidget
import traitlets

_ESM = """
const REACH = 12, STILL = 4, PATIENCE = 1000; // pixels, pixels, milliseconds
function render({ model, el }) {
  el.style.display = "none";
  let host = null, held = null, asked = null, open = -PATIENCE, turn = 0;
  const send = (content) => { open = performance.now(); model.send({ ...content, turn: ++turn }); };
  const next = () => {
    if (!asked || performance.now() - open < PATIENCE) return;
    send(asked);
    asked = null;
  };
  const heard = () => { open = -PATIENCE; next(); };
  model.on("change:heard", heard);
  const nearest = (event) => {
    let best = null;
    for (const group of host.querySelectorAll(".object_grp")) {
      const name = group.__data__?.name, box = name && group.querySelector("path.dot")?.getBoundingClientRect();
      if (!box || !box.width) continue;
      const x = box.x + box.width / 2, far = Math.hypot(event.clientX - x, event.clientY - box.y - box.height / 2);
      if (far <= (best ? best.far : REACH)) best = { group, name, x, far };
    }
    return best;
  };
  const press = (event) => {
    if (!event.isPrimary || event.button !== 0 || !event.target.closest("svg")) return;
    held = nearest(event);
    if (!held) return;
    const ground = host.querySelector(".plotarea_background"), box = ground.getBoundingClientRect();
    held.from = [event.clientX, event.clientY];
    held.place = (x) => (x - box.x) / box.width;
    held.wide = +ground.getAttribute("width");
    held.y = held.group.getAttribute("transform").match(/,\\s*([-\\d.e]+)/)[1];
    host.setPointerCapture(event.pointerId);
  };
  const at = (event) => held.place(held.x + event.clientX - held.from[0]);
  const move = (event) => {
    if (!held) return;
    held.moved ||= Math.hypot(event.clientX - held.from[0], event.clientY - held.from[1]) >= STILL;
    if (!held.moved) return;
    const there = at(event);
    held.group.setAttribute("transform", `translate(${held.wide * Math.min(Math.max(there, 0), 1)},${held.y})`);
    asked = { drag: held.name, at: there };
    next();
  };
  const release = (event) => {
    if (!held) return;
    asked = null;
    send(held.moved ? { drop: held.name, at: at(event) } : { pick: held.name });
    held = null;
  };
  const hands = { pointerdown: press, pointermove: move, pointerup: release, pointercancel: release };
  const start = () => {
    host = el.closest(".nnvis-dots");
    if (!host) return setTimeout(start, 100);
    host.style.touchAction = "pan-y";
    host.style.userSelect = "none";
    for (const [type, hand] of Object.entries(hands)) host.addEventListener(type, hand, true);
  };
  start();
  return () => {
    model.off("change:heard", heard);
    for (const [type, hand] of Object.entries(hands)) host?.removeEventListener(type, hand, true);
  };
}
export default { render };
"""


class Grip(anywidget.AnyWidget):
    """Tells of clicks on named dots, and of drags; stands in a box of the class `nnvis-dots`, beside the figure.

    Parameters
    ----------
    on_pick : callable
        ``on_pick(name)``: a dot is clicked, or the ground within 12 pixels of it.
    on_drag : callable
        ``on_drag(name, place, held)``: where a dot is, as a share of the plot's width; `held` is false when it is let go.
    """

    _esm = _ESM
    heard = traitlets.Int(0).tag(sync=True)

    def __init__(self, on_pick: Callable[[str], None], on_drag: Callable[[str, float, bool], None]):
        super().__init__()
        self._on_pick, self._on_drag = on_pick, on_drag
        self.on_msg(lambda _widget, content, _buffers: self._told(content))

    def _told(self, content: dict) -> None:
        try:
            if "pick" in content:
                self._on_pick(content["pick"])
            elif "drag" in content or "drop" in content:
                self._on_drag(content.get("drag", content.get("drop")), float(content["at"]), "drag" in content)
        finally:
            self.heard = int(content.get("turn", 0))
