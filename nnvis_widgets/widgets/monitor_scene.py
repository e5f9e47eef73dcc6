"""What the figures of a training monitor show, as data, from what its study knows.

May import: views.monitor, views.theme, numpy. Nothing here changes anything.
"""

from __future__ import annotations

import numpy as np

from ..views.monitor import CHARTS, Chart, MonitorScene, Series, Way
from ..views.theme import SERIES
from .monitor_study import MonitorStudy
from .monitor_words import chart_caption, way_caption

DRAWN = 400  # points of a line


def scene(study: MonitorStudy, log_loss: bool, epoch: float | None = None, over: bool = False) -> MonitorScene:
    """Return the four figures, with an epoch marked in each; of a run that is over those that show something."""
    way = Way(way_caption(study))
    if not len(study):
        return MonitorScene({name: Chart(chart_caption(name, ())) for name in CHARTS}, way)
    epochs = study.epochs
    charts = {}
    for name, label in (("losses", "loss"), ("metrics", "")):
        series = []
        for number, metric in enumerate(study.names(name)):
            at, values = study.series(metric)
            series.append(_series(metric, epochs[at], values, number))
        charts[name] = Chart(chart_caption(name, series), label, series, log=log_loss and name == "losses")
    charts["movement"] = _movement(study, epochs)
    if over:
        charts = {name: chart for name, chart in charts.items() if chart.series}
    frame = study.frame
    if frame is not None:
        marked = [place for place, key in enumerate(frame.keys) if any(index == key for index, _ in study.bookmarks)]
        way = Way(way.caption, frame.xy, epochs[list(frame.keys)], marked)
    return MonitorScene(charts, way, sorted({float(epochs[index]) for index, _ in study.bookmarks}), epoch)


def _movement(study: MonitorStudy, epochs: np.ndarray) -> Chart:
    last = {layer: values[-1] for layer, values in study.moved.items() if values and np.isfinite(values[-1])}
    # as many as there are colours: those that moved most, in the order of the model
    most = sorted(last, key=lambda layer: -last[layer])[: len(SERIES)]
    numbered = [(number, layer) for number, layer in enumerate(study.moved) if layer in most]
    series = [_series(layer, epochs[study.weighed], np.array(study.moved[layer]), number) for number, layer in numbered]
    more = f"<span class='nnvis-small'>the {len(most)} of {len(last)} that moved most</span>" if len(last) > len(most) else ""
    return Chart(chart_caption("movement", series, more), "|θ − θ₀| / |θ₀|", series)


def _series(name: str, x: np.ndarray, y: np.ndarray, number: int) -> Series:
    """Return a line of at most `DRAWN` points, the last one among them."""
    every = -(-len(x) // DRAWN)
    at = np.arange(len(x) - 1, -1, -every)[::-1] if every > 1 else slice(None)
    return Series(name, x[at], y[at], number % len(SERIES))
