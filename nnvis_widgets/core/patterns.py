"""Timing, turning point, phase diagram and labels of single weights. Pure numpy.

The code is in `results.patterns` and `results.labelling`, below the instrument: a result that was saved is labelled anew by other
rules, and a view draws the phase diagram, where there is no torch.
"""

from __future__ import annotations

from ..results.labelling import Label, Labels, classify, classify_many, rounding_noise
from ..results.patterns import PATTERNS, SHAPES, WINDOW, PatternRules, expected_pattern, turning_point, turns_within, u

__all__ = [
    "PATTERNS",
    "SHAPES",
    "WINDOW",
    "Label",
    "Labels",
    "PatternRules",
    "classify",
    "classify_many",
    "expected_pattern",
    "rounding_noise",
    "turning_point",
    "turns_within",
    "u",
]
