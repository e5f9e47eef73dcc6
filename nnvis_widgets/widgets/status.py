"""What an explorer says of its work: progress, time left, cancel, and errors that help.

May import: ipywidgets.
"""

from __future__ import annotations

import html
import traceback
from collections.abc import Callable

import ipywidgets as widgets

FIRST = 0.01  # of the work: before it, there is no telling how long the rest will take


class Status(widgets.HBox):
    """A progress bar with the remaining time and a cancel button; `error` is a line of its own, to be placed below.

    Attributes
    ----------
    error : widgets.HTML
    text, bar, cancel : widgets
    """

    def __init__(self, on_cancel: Callable[[], None]):
        self.bar = widgets.FloatProgress(min=0.0, max=1.0, layout=widgets.Layout(width="120px", visibility="hidden"))
        self.text = widgets.HTML().add_class("nnvis-small").add_class("nnvis-progress-text")
        self.cancel = widgets.Button(description="Cancel", icon="stop", disabled=True, layout=widgets.Layout(width="90px"))
        self.cancel.add_class("nnvis-cancel").on_click(lambda _button: on_cancel())
        self.error = widgets.HTML().add_class("nnvis-error")
        super().__init__([self.text, self.bar, self.cancel], layout=widgets.Layout(align_items="center", min_height="34px"))

    def begin(self) -> None:
        """Show that work has begun."""
        self.bar.value, self.bar.layout.visibility = 0.0, "visible"
        self.cancel.disabled = False
        self.text.value = "starting ..."
        self.say(None)

    def advance(self, fraction: float, seconds: float) -> None:
        """Show how much is done after so many seconds, and about how long the rest will take."""
        self.bar.value = fraction
        if 0 < fraction < 1:
            left = seconds * (1 - fraction) / fraction
            # the first steps prepare the others: what they took says nothing of these
            known = fraction >= FIRST and left >= 1
            self.text.value = f"{fraction:.0%}, about {left:.0f} s left" if known else f"{fraction:.0%}"

    def idle(self, text: str = "") -> None:
        """Show that nothing is being worked on."""
        self.bar.layout.visibility = "hidden"
        self.cancel.disabled = True
        self.text.value = text

    def say(self, error: BaseException | None) -> None:
        """Show an error in one line with its traceback folded below, or none."""
        if error is None:
            self.error.value = ""
            return
        trace = html.escape("".join(traceback.format_exception(error)))
        self.error.value = (
            f"<b>{type(error).__name__}:</b> {html.escape(str(error))}"
            f"<details><summary>details</summary><pre style='white-space:pre-wrap'>{trace}</pre></details>"
        )
