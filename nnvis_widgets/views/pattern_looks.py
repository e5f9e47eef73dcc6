"""How each pattern of a single weight looks wherever it is drawn: words, colour, marker and icon. Never colour alone.

May import: results. The colours are those of `ParameterScan.plot`, but for the two that a dark page swallows.
"""

from __future__ import annotations

import html
from dataclasses import dataclass

from ..results.parameters import PATTERN_STYLES
from ..results.patterns import PATTERNS
from .theme import INK

UNKNOWN = ""  # not measured yet, or a preview that reaches too little of the curve
_ON_BOTH_GROUNDS = {"#0072B2": "#2B8CCB", "#000000": INK}


@dataclass(frozen=True)
class Look:
    """Of one pattern: `marker` is bqplot's, `icon` a character; `words` say both curves, `region` fits into the diagram."""

    colour: str
    marker: str
    icon: str
    words: str
    short: str
    region: str


def _look(name: str, marker: str, icon: str, words: str, short: str, region: str | None = None) -> Look:
    colour = PATTERN_STYLES[name][0]
    return Look(_ON_BOTH_GROUNDS.get(colour, colour), marker, icon, words, short, region or short)


LOOKS = {
    "descending-convex": _look(
        "descending-convex", "circle", "●", "descending linear, convex quadratic", "descending, convex", "convex"
    ),
    "ascending-concave": _look(
        "ascending-concave", "triangle-up", "▲", "ascending linear, concave quadratic", "ascending, concave", "concave"
    ),
    "flat-region": _look("flat-region", "square", "■", "descending linear, quadratic with a flat region", "flat region", "flat"),
    "bump": _look("bump", "diamond", "◆", "convex linear, quadratic with a bump", "bump"),
    "wave": _look("wave", "triangle-down", "▼", "ascending linear, quadratic with a wave", "wave"),
    "no-effect": _look("no-effect", "point", "·", "no effect above the noise floor", "no effect"),
    "not-moved": _look("not-moved", "crosshair", "✕", "not moved", "not moved"),
    "coincident": _look("coincident", "cross", "✚", "the quadratic path shows the linear shape", "same shape", "same"),
    "complex": _look("complex", "plus", "✳", "complex: none of these", "complex"),
    UNKNOWN: Look("#8A8A8A", "ellipse", "○", "not known yet", "not known", "not known"),
}
ORDER = (*PATTERNS, UNKNOWN)


def icon(name: str) -> str:
    """Return the coloured icon of a pattern as HTML."""
    look = LOOKS[name]
    return f'<span aria-hidden="true" style="color:{look.colour}">{look.icon}</span>'


def named(name: str) -> str:
    """Return icon and words of a pattern as HTML."""
    return f"{icon(name)} {html.escape(LOOKS[name].words)}"
