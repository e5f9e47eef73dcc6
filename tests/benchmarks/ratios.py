"""The main table: our tasks against the fastest peer, side by side in one run, so that a changing load falls on both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import ours
from benchmarks.peers import BATCHES, Peer, PeerFailed
from benchmarks.problem import Problem, furthest
from benchmarks.tasks import Task
from benchmarks.truth import PEER_RELATIVE, Truth, Verdict

Say = Callable[[str], None]


@dataclass
class Timing:
    """Seconds a point of one peer at one batch size, and how wrong it was; measured again in every round."""

    peer: str
    batch: int | None
    seconds: list[float] = field(default_factory=list)
    error: float = 0.0
    claimed: float = 0.0

    @property
    def words(self) -> str:
        """Peer and batch size, marked where values are wrong."""
        size = "all data" if self.batch is None else f"batch {self.batch}"
        wrong = "" if self.error <= PEER_RELATIVE else " WRONG"
        return f"{self.peer} ({size}{wrong})"


@dataclass
class Row:
    """What was measured for one task: the fastest peer and we, by round."""

    task: Task
    default: list[tuple[float, str]] = field(default_factory=list)
    best: list[tuple[float, str]] = field(default_factory=list)
    calls: list[list[float]] = field(default_factory=list)
    verdict: Verdict = field(default_factory=lambda: Verdict(0.0, 0.0, True))
    how: dict[str, Any] = field(default_factory=dict)
    skipped: str = ""

    def ratios(self, call: int, against: str = "default") -> list[float]:
        """Return peer over ours in each round, for call 0 or -1; empty without peers."""
        return [theirs / calls[call] for (theirs, _), calls in zip(getattr(self, against), self.calls, strict=False)]

    def times(self, call: int) -> list[float]:
        """Return our seconds in each round."""
        return [calls[call] for calls in self.calls]


class Race:
    """The peers and we on one problem.

    Attributes
    ----------
    survey : dict
        By kind: what every peer took at its default and at each of the other batch sizes.
    """

    def __init__(self, problem: Problem, file: Path, peers: list[Peer], points: int, say: Say, batches: Sequence[int] = BATCHES):
        self.problem, self.file, self.peers, self.points, self.say = problem, file, list(peers), points, say
        self.batches = batches
        self.truth = Truth(problem)
        self.survey: dict[str, dict[tuple[str, int | None], Timing]] = {}
        self.failures: list[str] = []

    def look(self, kind: str) -> None:
        """Measure every peer at every batch size once, and check its values: which of them is its best."""
        if kind in self.survey:
            return
        self.survey[kind] = {}
        for peer in self._able(kind):
            for batch in dict.fromkeys([peer.default, *(self.batches if peer.batches else [])]):
                self._time(kind, peer, batch, self.points)

    def _able(self, kind: str) -> list[Peer]:
        return [peer for peer in self.peers if kind in peer.kinds]

    def _time(self, kind: str, peer: Peer, batch: int | None, points: int) -> float | None:
        # what a peer does for a layer does not depend on the layer: the whole model runs at every point
        scopes = {"layer": "fc1", "weight": furthest(self.problem.states[0], self.problem.states[-1], "fc1.weight")}
        scope = scopes.get(kind)
        try:
            answer = peer.measure(kind, scope, batch, points)
        except PeerFailed as error:
            self.failures.append(f"{error} ({kind}, batch {batch})")
            return None
        timing = self.survey[kind].setdefault((peer.name, batch), Timing(peer.name, batch))
        timing.seconds.append(answer["seconds"])
        timing.error = max(timing.error, self.truth.relative(scope, answer["rows"], answer["losses"]))
        if answer["claimed"]:
            timing.claimed = max(timing.claimed, self.truth.relative(scope, answer["claimed"], answer["losses"]))
        self.say(f"  {timing.words}: {answer['seconds']:.3f} s a point")
        return answer["seconds"]

    def run(self, task: Task, rounds: int, calls: int = 3) -> Row:
        """Return a row: in each round we in a fresh process, then the peers at their defaults and at their best."""
        row = Row(task)
        self.say(f"{task.name}:")
        self.look(task.kind)
        for _ in range(rounds):
            answer = self._ours(row, calls)
            if answer is None:
                break
            seconds: dict[tuple[str, int | None], float | None] = {}
            for which in ("default", "best"):
                fastest = min(self._round(task.kind, which, seconds), default=None)
                if fastest:
                    getattr(row, which).append((fastest[0] * task.total, fastest[1]))
            row.calls.append([call["seconds"] for call in answer["calls"]])
            for call in (answer["calls"][0], answer["calls"][-1]):
                scope = (call["scope"][0], tuple(call["scope"][1])) if isinstance(call["scope"], list) else call["scope"]
                row.verdict = row.verdict.merge(self.truth.check(scope, call["rows"], call["loss"], call["correct"]))
                row.how = call["how"]
            self.say(f"  ours: {', '.join(f'{s:.2f}' for s in row.calls[-1])} s")
        return row

    def _ours(self, row: Row, calls: int) -> dict[str, Any] | None:
        try:
            answer = ours.launch(self.file, row.task, calls=calls)
        except ours.Failed as error:
            answer = {"skipped": f"failed: {error}"}
        row.skipped = answer.get("skipped", "")
        return None if row.skipped else answer

    def _round(self, kind: str, which: str, seconds: dict[tuple[str, int | None], float | None]) -> Iterator[tuple[float, str]]:
        """Yield what each peer takes at its default or at its best; in one round no setting is measured twice."""
        for peer in self._able(kind):
            known = [timing for timing in self.survey[kind].values() if timing.peer == peer.name]
            if not known:
                continue
            batch = peer.default if which == "default" else min(known, key=lambda t: median(t.seconds)).batch
            if (peer.name, batch) not in seconds:
                seconds[peer.name, batch] = self._time(kind, peer, batch, self.points)
            measured, timing = seconds[peer.name, batch], self.survey[kind].get((peer.name, batch))
            # a peer whose values are wrong is shown, but is no measure of speed
            if measured is not None and timing is not None and timing.error <= PEER_RELATIVE:
                yield measured, timing.words
