"""The training monitor: losses, accuracies, movement and trajectory of a training while it runs.

May import: core, runs, results, views, ipywidgets. The recorder pushes from inside the user's loop, so the picture moves even
where the kernel is busy with that loop; clicks arrive only where the loop gives the kernel a turn.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import ipywidgets as widgets
import numpy as np
import traitlets

from ..jobs import Step
from ..results import Trajectory
from ..runs.finished import Finished
from ..runs.listening import Notice
from ..views.monitor import MonitorScene, MonitorView
from ..views.static import Still, monitor_still
from ..views.theme import style_sheet
from .assist import Assist
from .base import Explorer
from .exploration import Exploration
from .monitor_controls import MonitorControls
from .monitor_keys import KEYS, LABELS, press
from .monitor_scene import scene
from .monitor_study import MonitorStudy
from .monitor_words import notes, readout, status_line, summary

INTERVAL = 0.2  # seconds between two redraws


class TrainingMonitor(Explorer):
    """A training while it runs: what is recorded, how far each layer moves, and the way through weight space.

    Make and display it before the loop. It is told of every checkpoint by the recorder and redraws at most five times a second,
    and less often where that would cost the training more than 2 % of its time.

    Parameters
    ----------
    recorder : Recorder, or Run
        Of a run that is over, what was recorded.
    evaluator : Evaluator or dict of str to Evaluator, optional
        For `explore`.
    explorers : dict of str to callable, optional
        Title, and what makes a widget of (evaluator, run); default: the explorers of this package.
    **settings
        Initial values of the traits below.

    Attributes
    ----------
    log_loss : bool
        Losses on a logarithmic axis.
    live : bool
        Redraw while the training runs.
    epoch : float or None
        Marked in all figures, with what was recorded there; a click on a figure chooses the nearest checkpoint's.
    study : MonitorStudy
        The numbers behind the picture.
    results : dict of str to Result
        "trajectory": the checkpoints in the plane of their principal components, once there are two.
    starved : bool
        Whether the training gave the kernel no turn between the last two records, so that no click could arrive.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> nv.TrainingMonitor(demo.run, demo.evaluator)
    TrainingMonitor(Run(...: 5 checkpoints, epochs 0 to 4))

    Of a training that goes on, in a notebook:

    >>> recorder = nv.Recorder(model, "runs/lenet")                      # doctest: +SKIP
    >>> display(nv.TrainingMonitor(recorder, evaluator))                 # doctest: +SKIP
    >>> with recorder:                                                   # doctest: +SKIP
    ...     for epoch in range(1, 16):
    ...         recorder.record(epoch=epoch, train_loss=train_one_epoch())
    ...         await asyncio.sleep(0)           # clicks arrive here
    ...         if recorder.stop_requested:
    ...             break
    """

    RESTYLE: ClassVar[tuple[str, ...]] = ("log_loss", "live", "epoch")

    log_loss = traitlets.Bool(False)
    live = traitlets.Bool(True)
    epoch = traitlets.Float(None, allow_none=True)

    def __init__(
        self,
        recorder: Any,
        evaluator: Any = None,
        *,
        explorers: Mapping[str, Callable[[Any, Any], widgets.Widget]] | None = None,
        **settings: Any,
    ):
        if not (hasattr(recorder, "subscribe") and hasattr(recorder, "stop_requested")):
            if not (hasattr(recorder, "epochs") and hasattr(recorder, "__getitem__")):
                raise TypeError(f"recorder: an nv.Recorder(model, folder) or an nv.Run, received a {type(recorder).__name__}")
            recorder = Finished(recorder)
        self.recorder, self.evaluator = recorder, evaluator
        self._explorers = explorers
        self.study = MonitorStudy(recorder)
        self.starved, self._turned, self._asked = False, True, False
        self._drawn_at = -np.inf
        self._timer: asyncio.TimerHandle | None = None
        self._thread = threading.get_ident()
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None
        self.view = MonitorView(self.choose)
        super().__init__(**settings)
        self.controls = MonitorControls(self)
        self.status_line = widgets.HTML().add_class("nnvis-state")
        self.notes = widgets.HTML().add_class("nnvis-notes")
        self.readout = widgets.HTML().add_class("nnvis-read")
        self.exploration = Exploration(lambda error: self.status.say(error))
        self._assist = Assist(LABELS, KEYS, lambda key, _shift: press(self, key))
        self.status.layout.display = "none"  # nothing is computed in the background: of the status only its errors are shown
        self.children = [
            style_sheet(), self._assist, self.controls, self.status_line, self.notes, self.status, self.status.error,
            self.readout, self.view, self.exploration,
        ]  # fmt: skip
        self._unsubscribe = recorder.subscribe(self._hear)
        if recorder.begun:
            self.study.look_back()
            if recorder.recording:
                self.study.budget.begin()
        self._draw()

    # ---- buttons, as methods

    def bookmark(self, label: str | None = None) -> None:
        """Mark the last checkpoint in the recorder's index."""
        self.recorder.bookmark(label)
        self.controls.label.value = ""

    def stop(self) -> None:
        """Ask the training to end: its loop finds ``recorder.stop_requested`` true."""
        self.recorder.request_stop()
        self._draw()

    def explore(self) -> widgets.Widget:
        """Open the explorers on the run so far, below the figures, in place of those that are there; return the one in front.

        Each is made when its tab is first chosen: two would compete for the machine.

        Raises
        ------
        ValueError
            There is no evaluator, or not yet a second checkpoint.
        """
        reason = self.unexplorable
        if reason:
            raise ValueError(f"explore: {reason}")
        run = self.recorder.run
        makers = _default_explorers() if self._explorers is None else self._explorers
        title = f"<b>The run so far</b>: {len(run)} checkpoints, to epoch {run.epochs[-1]:.4g}"
        return self.exploration.show(title, {name: partial(make, self.evaluator, run) for name, make in makers.items()})

    @property
    def over(self) -> bool:
        """Whether this is a run that nothing is added to."""
        return isinstance(self.recorder, Finished)

    @property
    def unexplorable(self) -> str:
        """Why the explorers cannot be opened now; empty where they can."""
        if self.evaluator is None:
            return "needs an evaluator: nv.TrainingMonitor(recorder, evaluator)"
        return "" if len(self.study) > 1 else "needs two checkpoints"

    def choose(self, epoch: float | None) -> None:
        """Mark the checkpoint nearest to an epoch; None marks none."""
        epochs = self.study.epochs
        if epoch is None or not len(epochs):
            self.epoch = None
        else:
            self.epoch = float(epochs[np.argmin(np.abs(epochs - epoch))])

    def walk(self, step: int) -> None:
        """Mark the checkpoint so many after the marked one; where none is, the last one's."""
        epochs = self.study.epochs
        if len(epochs):
            at = len(epochs) - 1 if self.epoch is None else int(np.argmin(np.abs(epochs - self.epoch))) + step
            self.epoch = float(epochs[min(max(at, 0), len(epochs) - 1)])

    def attempt(self, act: Callable[[], Any]) -> None:
        """Do what a button says, and say what is in the way."""
        self.status.say(None)
        try:
            act()
        except Exception as error:
            self.status.say(error)

    def close(self) -> None:
        """Stop to listen, and remove the widget with everything in it; the recorder goes on."""
        if not self._closed and hasattr(self, "_unsubscribe"):
            self._unsubscribe()
            self.exploration.clear()
            if self._timer is not None:
                self._timer.cancel()
        super().close()

    # ---- what the recorder says, in the training's thread

    def _hear(self, notice: Notice) -> None:
        self.study.hear(notice)
        if self._reaches_loop:
            if notice.kind == "checkpoint":
                self.starved, self._turned = not self._turned, False
            else:
                self._turned = True
            self._loop.call_soon_threadsafe(self._turn)
        if notice.kind != "checkpoint" or self.live:
            self._ask(now=notice.kind != "checkpoint")

    def _turn(self) -> None:
        self._turned = True

    @property
    def _reaches_loop(self) -> bool:
        return self._loop is not None and self._loop.is_running()

    def _ask(self, now: bool = False) -> None:
        """Draw at once or at the next time that is allowed; widgets change in the thread of their event loop only."""
        if self._reaches_loop and threading.get_ident() != self._thread:
            if now or not self._asked:
                self._asked = True
                self._loop.call_soon_threadsafe(self._ask, now)
            return
        self._asked = False
        wait = 0.0 if now else max(self._drawn_at + INTERVAL - _clock(), self.study.budget.wait("drawing"))
        if wait <= 0:
            self._draw()
        elif self._reaches_loop and self._timer is None:
            self._timer = self._loop.call_later(wait, self._due)

    def _due(self) -> None:
        self._timer = None
        if not self._closed:
            self._ask()

    # ---- what is drawn

    def _steps(self) -> list[Step]:
        return []

    def _draw(self) -> None:
        if self._closed:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            with self.study.lock, self.study.budget.paid("drawing"):
                self._show()
        except Exception as error:  # a picture that fails must not end the training
            self.status.say(error)
        self._drawn_at = _clock()

    def _show(self) -> None:
        study = self.study
        frame = study.frame
        if frame is not None:
            self.results = {
                "trajectory": Trajectory(
                    xy=frame.xy, off_plane=frame.off_plane, explained=frame.explained, epochs=study.epochs[list(frame.keys)]
                )
            }
        self.view.show(self.scene())
        self.status_line.value, self.notes.value = status_line(self), notes(self)
        self.readout.value = readout(self)
        self._assist.summary = summary(self)
        self.controls.follow()

    def sketch(self) -> Still | None:
        """Return the four figures, not yet drawn; None before the first record."""
        with self.study.lock:
            return monitor_still(self.scene()) if len(self.study) else None

    def _sources(self, run: str) -> list[str]:
        return [run] if self.evaluator is None else [run, "evaluator"]

    def scene(self) -> MonitorScene:
        """Return everything that the figures show, as data."""
        return scene(self.study, self.log_loss, self.epoch, self.over)


def _default_explorers() -> dict[str, Callable[[Any, Any], widgets.Widget]]:
    # explorers know nothing of each other: they are found under their public names, and only those that there are
    import nnvis_widgets

    names = {"Paths": "PathExplorer", "Surface": "SurfaceExplorer"}
    return {title: getattr(nnvis_widgets, name) for title, name in names.items() if name in nnvis_widgets.__all__}


def _clock() -> float:
    return time.perf_counter()
