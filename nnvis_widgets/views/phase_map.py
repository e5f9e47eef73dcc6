"""The regions of the (rho, u*) diagram: which pattern a loss with one minimum shows where, as pixels, borders and places for words.

May import: results, numpy, scipy, pattern_looks. Nothing here draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from ..results.patterns import PATTERNS, PatternRules, expected_pattern
from .pattern_looks import LOOKS

_CELLS = (60, 80)  # of rho and of u*
_FINER = 6
_LOW, _HALF_LETTER = 3.0, 0.5  # of a name: how much wider than high it may be; half of a letter, in cells


@dataclass(frozen=True, eq=False)
class Regions:
    """The diagram over a window.

    Attributes
    ----------
    rho, u_star : ndarray, shape (X,), (Y,)
        Centres of the cells, ascending.
    code : ndarray of int, shape (Y, X)
        Positions in `PATTERNS`.
    places : list of (str, float, float)
        Pattern, rho and u*, where each connected region has most room for its name.
    """

    rho: np.ndarray
    u_star: np.ndarray
    code: np.ndarray
    places: list[tuple[str, float, float]]

    def pixels(self, opacity: float = 0.2) -> np.ndarray:
        """Return the regions in their colours, (Y, X, 4) of uint8, the highest u* first; darker where two regions meet."""
        table = np.zeros((len(PATTERNS), 4), np.uint8)
        for row, name in enumerate(PATTERNS):
            colour = LOOKS[name].colour
            rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)] if colour.startswith("#") else [128] * 3
            table[row] = [*rgb, round(255 * opacity) if name != "coincident" else 0]
        found = table[self.code]
        border = np.zeros(self.code.shape, bool)
        border[1:] |= self.code[1:] != self.code[:-1]
        border[:, 1:] |= self.code[:, 1:] != self.code[:, :-1]
        found[border] = [128, 128, 128, 150]
        return found[::-1]


def regions(rules: Mapping[str, float], rho: tuple[float, float], u_star: tuple[float, float]) -> Regions:
    """Return the regions within a window under these conventions; what was computed before is remembered."""
    return _regions(PatternRules.of(dict(rules)), rho, u_star)


@lru_cache(maxsize=8)
def _regions(rules: PatternRules, rho: tuple[float, float], u_star: tuple[float, float]) -> Regions:
    x, y = (_centres(span, n) for span, n in zip((rho, u_star), _CELLS, strict=True))
    coarse = _codes(x, y, np.ones((len(y), len(x)), bool), rules)
    places = _places(x, y, coarse)
    # finer along the borders only: elsewhere a cell and its parts are of one pattern
    near = ndimage.maximum_filter(coarse, 3) != ndimage.minimum_filter(coarse, 3)
    x, y = (_centres(span, _FINER * n) for span, n in zip((rho, u_star), _CELLS, strict=True))
    parts = np.ones((_FINER, _FINER), int)
    code, near = np.kron(coarse, parts), np.kron(near, parts).astype(bool)
    return Regions(x, y, np.where(near, _codes(x, y, near, rules), code), places)


def _centres(span: tuple[float, float], count: int) -> np.ndarray:
    return np.linspace(*span, 2 * count + 1)[1::2]


def _codes(x: np.ndarray, y: np.ndarray, wanted: np.ndarray, rules: PatternRules) -> np.ndarray:
    code = np.zeros(wanted.shape, int)
    for row, column in np.argwhere(wanted):
        code[row, column] = PATTERNS.index(expected_pattern(float(x[column]), float(y[row]), rules))
    return code


def _places(x: np.ndarray, y: np.ndarray, code: np.ndarray) -> list[tuple[str, float, float]]:
    places = []
    for number, name in enumerate(PATTERNS):
        parts, count = ndimage.label(code == number)
        for part in range(1, count + 1):
            # words are wide and low: a step up or down is as long as several to the side
            room = ndimage.distance_transform_edt(np.pad(parts == part, 1), sampling=(_LOW, 1.0))[1:-1, 1:-1]
            if room.max() < _HALF_LETTER * (len(LOOKS[name].region) + 2):  # a sliver: its name would lie outside of it
                continue
            best = np.argwhere(room >= room.max() - 0.5)
            row, column = best[np.abs(best - best.mean(0)).sum(1).argmin()]
            places.append((name, float(x[column]), float(y[row])))
    return places
