"""What a training monitor knows: recorded numbers, movement of the layers, the principal plane, and what knowing it costs.

May import: core, runs, numpy. No widgets: everything here can be tested, and used, without a screen.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy as np

from ..core.distances import distances
from ..core.live_principal import LiveFrame, LivePrincipal
from ..core.scope import movable_layers
from ..core.states import State
from ..runs.checkpoint import fill_epochs
from ..runs.listening import Notice

SHARE = 0.02  # of the training's time that a monitor may cost
BEFORE = 50  # checkpoints of an earlier part of the run whose weights are read
_LOSSES = ("loss", "nll", "entropy")
_SCORES = ("acc", "f1", "auc", "precision", "recall", "top")


class Budget:
    """What has been spent of a training's time, by kind of work, and whether more may be.

    Parameters
    ----------
    clock : callable
        Seconds.
    share : float
        Of the time since `begin`, for all kinds of work together.
    """

    KINDS = ("weights", "drawing")  # each may have half of it: neither starves the other

    def __init__(self, clock: Callable[[], float] = time.perf_counter, share: float = SHARE):
        self._clock, self._limit = clock, share
        self._began = self._ended = 0.0
        self._spent = {"notes": 0.0, **dict.fromkeys(self.KINDS, 0.0)}
        self._prices: dict[str, deque[float]] = {kind: deque(maxlen=5) for kind in self._spent}
        self.running = False

    def begin(self) -> None:
        """Start to count, from nothing."""
        self.__init__(self._clock, self._limit)  # type: ignore[misc]
        self._began, self.running = self._clock(), True

    def end(self) -> None:
        """Stop to count: what comes after the training costs it nothing."""
        if self.running:
            self._ended, self.running = self._clock(), False

    @property
    def elapsed(self) -> float:
        """Seconds of training so far."""
        return (self._clock() if self.running else self._ended) - self._began

    @property
    def spent(self) -> float:
        """Seconds of it that went into watching."""
        return sum(self._spent.values())

    @property
    def share(self) -> float:
        """What was spent, as a share of the training's time; NaN before there is any."""
        return self.spent / self.elapsed if self.elapsed > 0 else float("nan")

    def wait(self, kind: str) -> float:
        """Return the seconds until work of this kind, at its usual price, would keep within its share; 0: now."""
        if not self.running:
            return 0.0
        # a little is left for what is always done
        allowed = 0.95 * self._limit / len(self.KINDS)
        # the median: one piece of work that another process interrupted does not make the next one dear
        price = median(self._prices[kind]) if self._prices[kind] else 0.0
        return max(0.0, (self._spent[kind] + price) / allowed - self.elapsed)

    @contextmanager
    def paid(self, kind: str) -> Iterator[None]:
        """Measure a piece of work."""
        start = self._clock()
        try:
            yield
        finally:
            price = self._clock() - start
            self._prices[kind].append(price)
            if self.running:
                self._spent[kind] += price


class MonitorStudy:
    """Everything that a monitor shows, gathered from a recorder's notices.

    Attributes
    ----------
    budget : Budget
    lock : threading.RLock
        The training may write in one thread while the picture is read in another.
    metrics : list of dict
        What was recorded beside each checkpoint.
    moved : dict of str to list of float
        By layer, ``|theta_t - theta_0| / |theta_0|`` at the checkpoints `weighed`.
    weighed, skipped : list of int
        Checkpoints whose weights were looked at, and those for which there was no time.
    diverged : list of int
        Checkpoints whose weights are not finite.
    bookmarks : list of (int, str or None)
    """

    def __init__(self, recorder: Any, clock: Callable[[], float] = time.perf_counter):
        self._recorder, self._clock = recorder, clock
        self.budget = Budget(clock)
        self.lock = threading.RLock()
        self.layers = movable_layers(recorder.layout)
        self.state = "waiting"
        self._clear()

    def _clear(self) -> None:
        self._epochs: list[float | None] = []
        self.metrics: list[dict[str, float]] = []
        self.moved: dict[str, list[float]] = {layer: [] for layer in self.layers}
        self.weighed: list[int] = []
        self.skipped: list[int] = []
        self.diverged: list[int] = []
        self.bookmarks: list[tuple[int, str | None]] = []
        self._times: list[tuple[float, float]] = []
        self._live: LivePrincipal | None = None
        self._frame: LiveFrame | None = None
        self._start: State = {}

    def __len__(self) -> int:
        return len(self._epochs)

    # ---- what comes in

    def look_back(self) -> None:
        """Take in what the recorder's folder holds already."""
        run = self._recorder.run
        with self.lock:
            self._clear()
            self.metrics, self.bookmarks = [dict(getattr(c, "metrics", {})) for c in run], list(getattr(run, "bookmarks", ()))
            self._epochs = [float(epoch) for epoch in run.epochs]
            self._start = run.initial
            self._live = LivePrincipal(self._start, self._recorder.layout, self._read)
            chosen = np.unique(np.linspace(0, len(run) - 1, min(BEFORE, len(run))).round().astype(int)).tolist()
            self.skipped = [index for index in range(len(run)) if index not in set(chosen)]
            for index in chosen:
                self._weigh(index, run[index].state)
            self.state = "running" if self._recorder.recording else "ended"

    def hear(self, notice: Notice) -> None:
        """Take in a notice of the recorder; what costs more than its share of the time is left out."""
        with self.lock:
            if notice.kind == "start":
                self.look_back()
                self.budget.begin()
                self._times = [(self.epochs[-1], self._clock())]
            elif notice.kind == "checkpoint":
                with self.budget.paid("notes"):
                    self._note(notice)
                if notice.index in (*self.weighed[-1:], *self.diverged[-1:]):  # an epoch that ends with its last step
                    return
                if self.budget.wait("weights") > 0:
                    self.skipped.append(notice.index)
                    return
                with self.budget.paid("weights"):
                    self._weigh(notice.index, notice.state or {})
            elif notice.kind == "bookmark":
                self.bookmarks = list(self._recorder.run.bookmarks)
            elif notice.kind == "end":
                self.budget.end()
                self.state = "ended"
                if self.skipped and self.skipped[-1] == len(self) - 1:  # the trained weights belong into the picture
                    self._weigh(self.skipped.pop(), self._recorder.run.final)

    def _note(self, notice: Notice) -> None:
        if notice.index == len(self._epochs):
            self._epochs.append(notice.epoch)
            self.metrics.append(dict(notice.metrics))
        else:
            self._epochs[notice.index], self.metrics[notice.index] = notice.epoch, dict(notice.metrics)
        if notice.epoch is not None:
            self._times.append((notice.epoch, self._clock()))

    def _weigh(self, index: int, state: State) -> None:
        live = self._live
        if live is None:
            return
        if index and not live.append(index, state):
            self.diverged.append(index)
            return
        self._frame = None
        self.weighed.append(index)
        for layer, names in self.layers.items():
            moved = distances([self._start[name] for name in names], [state[name] for name in names])
            self.moved[layer].append(moved["relative_distance"])

    def _read(self, index: int) -> State:
        return self._recorder.run[index].state

    # ---- what is known

    @property
    def epochs(self) -> np.ndarray:
        """Epochs of all checkpoints, shape (T,); steps within an epoch have their share of it."""
        return np.array(fill_epochs(self._epochs))

    @property
    def epoch_seconds(self) -> float:
        """Seconds of an epoch: the median of the last five; NaN before the first is over."""
        last = self._times[-6:]
        spans = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.pairwise(last) if b[0] > a[0]]
        return float(np.median(spans)) if spans else float("nan")

    @property
    def frame(self) -> LiveFrame | None:
        """The checkpoints in their principal plane, computed when it is asked for."""
        with self.lock:
            if self._frame is None and self._live is not None:
                self._frame = self._live.frame()
            return self._frame

    @property
    def stride(self) -> int:
        """Of how many checkpoints the principal plane keeps one."""
        return 1 if self._live is None else self._live.stride

    def names(self, group: str) -> list[str]:
        """Return the metrics that were recorded, of the "losses", the "metrics" or the "rest", by what they are called."""
        names = dict.fromkeys(name for row in self.metrics for name in row)
        return [name for name in names if _group(name) == group]

    def series(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the checkpoints at which a metric was recorded, and its values; what is not finite stays."""
        at = [index for index, row in enumerate(self.metrics) if name in row]
        return np.array(at, dtype=int), np.array([self.metrics[index][name] for index in at], dtype=float)

    def not_finite(self) -> list[tuple[str, int]]:
        """Return each metric that became NaN or infinite, and the first checkpoint at which it was."""
        found = []
        for name in (*self.names("losses"), *self.names("metrics")):
            at, values = self.series(name)
            bad = np.flatnonzero(~np.isfinite(values))
            if len(bad):
                found.append((name, int(at[bad[0]])))
        return found


def _group(name: str) -> str:
    low = name.lower()
    if any(part in low for part in _LOSSES):
        return "losses"
    return "metrics" if any(part in low for part in _SCORES) else "rest"
