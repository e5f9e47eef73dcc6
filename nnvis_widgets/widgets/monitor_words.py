"""The sentences of a training monitor: captions, status line, notes, and a summary for screen readers.

May import: views.theme, numpy. Nothing here changes anything.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..views.monitor import Series
from ..views.theme import CROSSING, INK, QUADRATIC, SERIES, swatch

if TYPE_CHECKING:
    from .monitor_study import MonitorStudy
    from .training_monitor import TrainingMonitor

CODE = "recorder.record(epoch=epoch, train_loss=..., test_accuracy=...)"
HINT = "Click a figure, or take the arrow keys there, to mark an epoch and read what was recorded."
TITLES = {"losses": "Loss", "metrics": "Accuracy", "movement": "Movement of the layers", "way": "Way through weight space"}


def chart_caption(name: str, series: Sequence[Series], more: str = "") -> str:
    """Return the title of a chart and its lines, each with its latest value."""
    if not series:
        what = {"losses": "loss", "metrics": "accuracy"}.get(name)
        empty = f"none recorded; <code>recorder.record(epoch=epoch, test_{what}=...)</code>" if what else "no checkpoint yet"
        return f"<b>{TITLES[name]}</b><br><span class='nnvis-small'>{empty}</span>"
    percent = name == "movement"
    items = [f"{swatch(SERIES[s.colour])}{html.escape(s.name)} {_value(s.y[-1], percent)}" for s in series]
    return f"<b>{TITLES[name]}</b><br>" + "".join(f'<span class="item">{item}</span>' for item in items) + more


def way_caption(study: MonitorStudy) -> str:
    """Return what the trajectory shows and how much of the run it can show."""
    frame = study.frame
    if frame is None:
        return f"<b>{TITLES['way']}</b><br><span class='nnvis-small'>two checkpoints that differ are needed</span>"
    marks = [("#9711", INK, "start"), ("#9670", QUADRATIC, "now")]
    if any(index in frame.keys for index, _ in study.bookmarks):
        marks.append(("#9650", CROSSING, "bookmark"))
    signs = [f'<span style="color:{colour}">&{sign};</span> {text}' for sign, colour, text in marks]
    shown, chance = frame.explained.sum(), frame.random_walk.sum()
    return (
        f"<b>{TITLES['way']}</b> &nbsp; " + "".join(f'<span class="item">{sign}</span>' for sign in signs) + "<br>"
        f"<span class='nnvis-small'>PC 1 and 2 hold {shown:.0%} of the variance (random walk of {len(frame.keys)} points: "
        f"{chance:.0%})</span>"
    )


def status_line(monitor: TrainingMonitor) -> str:
    """Return where the training is, how fast it goes, and what watching it costs."""
    study = monitor.study
    if study.state == "waiting":
        return (
            "<b>waiting for the first record</b>"
            f"<pre style='margin:4px 0'>with recorder:\n    for epoch in range(1, epochs + 1):\n        ...\n        {CODE}</pre>"
        )
    epoch = study.epochs[-1]
    parts = [f"<b>epoch {epoch:.4g}</b>" if study.state == "running" else f"<b>ended at epoch {epoch:.4g}</b>"]
    if np.isfinite(study.epoch_seconds):
        parts.append(f"{study.epoch_seconds:.3g} s an epoch")
    if np.isfinite(study.budget.share):
        parts.append(f"this monitor: {study.budget.share:.1%} of the time")
    parts.append(f"{len(study)} checkpoint{'s' * (len(study) > 1)}")
    parts.append("seeds: 1")
    for name in study.names("rest"):
        parts.append(f"{html.escape(name)} {_value(study.series(name)[1][-1])}")
    if study.bookmarks:
        marks = [f"epoch {study.epochs[i]:.4g}" + (f" ({html.escape(label)})" if label else "") for i, label in study.bookmarks]
        parts.append("bookmarks: " + ", ".join(marks))
    return " &middot; ".join(parts)


def notes(monitor: TrainingMonitor) -> str:
    """Return what a reader of the picture has to know beside it, one line each."""
    study, lines = monitor.study, []
    if study.state == "waiting":
        return ""
    epochs = study.epochs
    for name, index in study.not_finite():
        lines.append(f"<b>{html.escape(name)} is not finite</b> at epoch {epochs[index]:.4g}: a gap in its line.")
    if study.diverged:
        first = epochs[study.diverged[0]]
        lines.append(f"<b>Weights are NaN or infinite</b> at epoch {first:.4g}: they have no place in the lower figures.")
    if len(study) > 1 and not any(study.metrics):
        lines.append(
            "No numbers were recorded beside the weights." if monitor.over else f"No numbers recorded yet: <code>{CODE}</code>"
        )
    if monitor.recorder.stop_requested:
        lines.append(
            "Stop requested: the loop ends where it reads <code>recorder.stop_requested</code>."
            if study.state == "running"
            else "Stop was requested."
        )
    if study.skipped:
        watched = "to cost less than 2 % of the training's time" if study.budget.elapsed > 0 else "evenly spread"
        lines.append(f"Movement and way: {len(study.weighed)} of {len(study)} checkpoints, {watched}.")
    if study.stride > 1:
        lines.append(f"Way: one of {study.stride} checkpoints.")
    if monitor.starved and study.state == "running":
        lines.append(
            "This cell keeps the kernel busy: clicks on Bookmark and Stop arrive when it ends. Interrupting it is safe, what was "
            "recorded is kept. For clicks that arrive: <code>await asyncio.sleep(0)</code> after <code>recorder.record(...)</code>."
        )
    return "<br>".join(lines)


def readout(monitor: TrainingMonitor) -> str:
    """Return what was recorded at the marked epoch, and how far the layers had moved by then."""
    study, epoch = monitor.study, monitor.epoch
    if epoch is None or not len(study):
        return f'<span class="nnvis-small">{HINT if len(study) else "&nbsp;"}</span>'
    index = int(np.argmin(np.abs(study.epochs - epoch)))
    cells = [f"epoch <b>{study.epochs[index]:.4g}</b>"]
    for name, value in study.metrics[index].items():
        cells.append(f"{html.escape(name)} <b>{_value(value)}</b>")
    if index in study.weighed:
        at = study.weighed.index(index)
        cells += [f"{html.escape(layer)} moved <b>{_value(moved[at], True)}</b>" for layer, moved in study.moved.items()][:8]
    return "".join(f'<span class="item">{cell}</span>' for cell in cells)


def summary(monitor: TrainingMonitor) -> str:
    """Return what the picture shows in one plain sentence, for a screen reader."""
    study = monitor.study
    if study.state == "waiting":
        return "Waiting for the first record."
    names = [*study.names("losses"), *study.names("metrics")]
    values = "; ".join(f"{name} {_value(study.series(name)[1][-1])}" for name in names)
    return f"Epoch {study.epochs[-1]:.4g}. {values or 'No numbers recorded'}."


def _value(value: float, percent: bool = False) -> str:
    if not np.isfinite(value):
        return f"<b>{value}</b>"
    if percent:
        return f"{value:.0%}" if value >= 0.1 else f"{value:.1%}"
    return f"{value:.4g}"
