"""The line above a workbench: what is selected, the second run, and what can be taken away.

May import: ipywidgets, parts, core.scope.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from ..core.scope import Scope
from .assist import Assist
from .parts import button, download, dropdown, pictures

if TYPE_CHECKING:
    from .workbench import Workbench

_LABELS = {
    ".nnvis-compare select": "Run that stands beside the first one",
    ".nnvis-keep": "Save the state of the workbench", ".nnvis-back": "Open a saved state of the workbench",
    ".nnvis-code": "Show the code that makes this picture", ".nnvis-png": "Save the picture with its recipe",
}  # fmt: skip


class Bar(widgets.VBox):
    """One line of words and a few buttons; what they give stands below."""

    def __init__(self, workbench: Workbench):
        self._workbench, self._coded = workbench, False
        self.words = widgets.HTML(layout=widgets.Layout(flex="1 1 320px", min_width="0")).add_class("nnvis-selected")
        self._given = widgets.HTML(layout=widgets.Layout(width="100%")).add_class("nnvis-given")
        self._refused = widgets.HTML().add_class("nnvis-small")
        keep = button("Save", "save", self._keep, "nnvis-keep")
        code = button("Code", "code", self._show_code, "nnvis-code")
        png = button("Picture", "image", self._picture, "nnvis-png")
        back = widgets.FileUpload(accept=".json", description="Open", layout=widgets.Layout(width="104px")).add_class("nnvis-back")
        back.observe(self._opened, "value")
        hands: list[widgets.Widget] = [keep, back, code, png]
        if len(workbench.runs) > 1:
            # "" is one run: a list cannot tell None from nothing being chosen
            others = [("one run", ""), *((f"beside: {name}", name) for name in list(workbench.runs)[1:])]
            choice = dropdown(others, "nnvis-compare")
            longest = max(len(label) for label, _ in others)
            choice.layout.width = f"{min(max(8 * longest + 40, 120), 280)}px"
            traitlets.link((workbench, "compare"), (choice, "value"), (lambda name: name or "", lambda name: name or None))
            hands.insert(0, choice)
        self._assist = Assist(_LABELS, [], lambda _key, _shift: None)
        row = widgets.Box(
            [self.words, widgets.HBox(hands, layout=widgets.Layout(flex_flow="row wrap"))],
            layout=widgets.Layout(flex_flow="row wrap", align_items="center", width="100%"),
        )
        super().__init__([self._assist, row, self._refused, self._given])
        self.add_class("nnvis")
        self.update([])

    def update(self, refused: Sequence[Exception]) -> None:
        """Say what is selected, and what an explorer could not show of it."""
        bench = self._workbench
        name = "the whole model" if bench.scope is None else Scope.parse(bench.scope, bench.selection.layout).name
        epochs = next(iter(bench.runs.values())).epochs
        kind = "both paths" if bench.kind == "both" else f"{bench.kind} path"
        parts = [
            f"<b>{escape(name)}</b>",
            f"{kind} from epoch {epochs[bench.start]:g} to {epochs[bench.end]:g}, mid {epochs[bench.mid]:g}",
            f"α = {bench.alpha:.3f}",
        ]
        if bench.epoch is not None:
            parts.append(f"epoch {bench.epoch:g}")
        if bench.point is not None:
            parts.append(f"point ({bench.point[0]:.3g}, {bench.point[1]:.3g})")
        # what belongs together stays on one line
        spans = [f'<span class="item">{part}</span>' for part in [*parts, escape(bench.split)]]
        text = " · ".join(spans)
        if text != self.words.value:
            self.words.value = text
        words = "; ".join(str(error).splitlines()[0] for error in refused[:2])
        if self._refused.value != words:
            self._refused.value = escape(words)

    def forget(self) -> None:
        """Take away what was given: it is not what is shown any more."""
        if self._given.value:
            self._given.value = ""
        self._coded = False

    def _keep(self) -> None:
        content = json.dumps(self._workbench.snapshot(), indent=1).encode()
        self._coded = False
        words = "download the state; in Python: workbench.snapshot()"
        self._given.value = download(content, "application/json", "workbench.json", words)

    def _picture(self) -> None:
        self._coded = False
        self._given.value = pictures(self._workbench.picture, self._workbench.tab.lower())

    def _show_code(self) -> None:
        if self._coded:
            self.forget()
            return
        self._coded = True
        self._given.value = f'<pre style="white-space:pre-wrap;margin:4px 0">{escape(self._workbench.code())}</pre>'

    def _opened(self, change: Any) -> None:
        for upload in change.new:
            try:
                state = json.loads(bytes(upload["content"]))
                self._workbench.restore([state] if isinstance(state, str) else state)  # a file names no other file
                self._given.value = ""
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                self._given.value = f'<span class="nnvis-error">not opened: {escape(str(error).splitlines()[0])}</span>'
