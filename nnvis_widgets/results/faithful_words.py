"""What a faithfulness report found, in one sentence: is the quadratic path closer, and by its timing or by its shape?

May import: numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .faithfulness import FaithfulnessReport

UNITS = {"log_loss": "mean |difference of log loss|", "loss": "mean |difference of loss|"}


def sentence_of(report: FaithfulnessReport) -> str:
    """Return what was found; of a partial result, what is found so far."""
    if not report.n:
        return "Nothing measured yet."
    clock = "epochs" if "epochs" in report.clocks else report.clocks[0]
    quadratic, linear, speed = ("quadratic", clock), ("linear", clock), ("speed-only", clock)
    space = "log_loss" if np.isfinite(report.difference(quadratic, linear)[0]) else "loss"
    values = report.distances(space)[0]

    def far(path: str, when: str = clock) -> str:
        return f"{values[report.paths.index(path), report.clocks.index(when)]:.2g}"

    gap, low, high = report.difference(linear, quadratic, space)
    if not np.isfinite(gap):
        return "The loss of a path or of a checkpoint is not finite, so there is no telling which path is closer to this training."
    against = f"({far('quadratic')} against {far('linear')})"
    if report.eta < 0.01 and abs(report.rho - report.knots[report.paths.index("quadratic"), report.clocks.index(clock)]) < 0.01:
        found = f"the linear and the quadratic path are nearly one (rho {report.rho:.2f}, eta {report.eta:.2f})"
        return f"{_premise(report, space)} {found}."
    if not low > 0:
        word = "farther from" if high < 0 else "not clearly closer to"
        found = f"the quadratic path is {word} the training than the straight line {against}"
    else:
        found = f"the quadratic path is closer to the training than the straight line {against}"
        found += _why(report, gap, report.difference(speed, quadratic, space), far("speed-only"))
        if "arc length" in report.clocks and clock == "epochs":
            retimed = report.difference(("linear", "arc length"), quadratic, space)
            if retimed[2] < 0:
                found += f"; a straight line timed by the way travelled is closer still ({far('linear', 'arc length')})"
            elif report.difference(("linear", "arc length"), quadratic, "kl")[2] < 0:
                # one space says this and another that: whoever reads one number must hear of it
                found += "; in predictions a straight line timed by the way travelled is closer still"
                return f"{_premise(report, space)} {found}."
    return f"{_premise(report, space)} {found}{_elsewhere(report, clock, gap)}."


def _premise(report: FaithfulnessReport, space: str) -> str:
    return f"In this one run, by {UNITS[space]} at {len(report.checkpoints)} held-out checkpoints (n = {report.n}),"


def _why(report: FaithfulnessReport, gap: float, shape: tuple[float, float, float], without: str) -> str:
    """Return which part of a gain is timing, by the path that has the quadratic one's timing and the straight line's shape."""
    value, low, high = shape
    if not np.isfinite(value):
        return ""
    bend = f"without its bend (eta {report.eta:.2f})"
    if high < 0:
        return f", by its timing: {bend} it would be closer ({without})"
    if not low > 0:
        return f", by its timing: {bend} it would be as close ({without})"
    share = value / gap
    if share >= 0.995:
        return f", by its shape: {bend} it would be no closer than the line ({without})"
    return f": {1 - share:.0%} of that is timing, {share:.0%} is shape (eta {report.eta:.2f})"


def _elsewhere(report: FaithfulnessReport, clock: str, gap: float) -> str:
    """Return whether the predictions say the same; where they cannot be compared, whether the weights do."""
    kl = report.difference(("linear", clock), ("quadratic", clock), "kl")
    if np.isfinite(kl[0]):
        return _agreement("predictions are", gap, kl)
    return _agreement("weights are", gap, report.difference(("linear", clock), ("quadratic", clock), "weights"))


def _agreement(what: str, gap: float, other: tuple[float, float, float]) -> str:
    value, low, high = other
    if low <= 0 <= high:
        return f"; its {what} not clearly closer to the training's"
    return f"; its {what} {'closer' if value > 0 else 'farther'}, {'too' if (value > 0) == (gap > 0) else 'though'}"
