"""The buttons of a training monitor; of a run that is over, those that still mean something.

May import: ipywidgets, parts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from .parts import pictures

if TYPE_CHECKING:
    from .training_monitor import TrainingMonitor


class MonitorControls(widgets.Box):
    """Bookmark, stop, explore, how the figures are drawn, and the picture to take away."""

    def __init__(self, monitor: TrainingMonitor):
        self._monitor = monitor
        self.label = widgets.Text(placeholder="label", layout=widgets.Layout(width="130px")).add_class("nnvis-label")
        self.bookmark = self._button("Bookmark", "bookmark", lambda: monitor.bookmark(self.label.value.strip() or None))
        self.stop = self._button("Stop", "stop", monitor.stop)
        self.explore = self._button("Explore", "compass", monitor.explore)
        self.why = widgets.HTML().add_class("nnvis-small")
        log = widgets.Checkbox(description="log loss", indent=False, layout=widgets.Layout(width="90px")).add_class("nnvis-log")
        traitlets.link((monitor, "log_loss"), (log, "value"))
        self.live = widgets.Checkbox(description="live", indent=False, layout=widgets.Layout(width="60px"))
        traitlets.link((monitor, "live"), (self.live.add_class("nnvis-live"), "value"))
        self.picture = self._button("Picture", "image", self._offer)
        self.link = widgets.HTML().add_class("nnvis-download")
        explore = [self.explore, self.why] if monitor.evaluator is not None or not monitor.over else []
        parts = (
            [*explore, log] if monitor.over else [self.bookmark, self.label, self.stop, *explore, widgets.HBox([log, self.live])]
        )
        super().__init__(
            [*parts, self.picture, self.link], layout=widgets.Layout(flex_flow="row wrap", align_items="center", width="100%")
        )

    def follow(self) -> None:
        """Let buttons be pressed that do something now."""
        ended = self._monitor.study.state != "running"
        self.bookmark.disabled = self.stop.disabled = ended
        self.bookmark.tooltip = self.stop.tooltip = "nothing is being recorded" if ended else None
        reason = self._monitor.unexplorable
        self.explore.disabled, self.why.value = bool(reason), reason

    def _offer(self) -> None:
        self.link.value = pictures(self._monitor.picture, "nnvis_training")

    @property
    def unshown(self) -> list[widgets.Widget]:
        """Widgets of ours that are in no container now."""
        return [self.bookmark, self.label, self.stop, self.explore, self.why, self.live]

    def _button(self, text: str, icon: str, act: Callable[[], Any]) -> widgets.Button:
        made = widgets.Button(description=text, icon=icon, layout=widgets.Layout(width="110px"))
        made.add_class(f"nnvis-{text.lower()}").on_click(lambda _button: self._monitor.attempt(act))
        return made
