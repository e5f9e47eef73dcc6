"""A claim about a measured number, and what several of them come to.

May import: nothing of ours. A claim is a number with its interval and the bound that it has to lie above or below: the rule of a
verdict is data, and no verdict is written by hand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

HOLDS, IN_PART, FAILS, UNDECIDED, MISSING = "holds", "in part", "does not hold", "undecided", "not measured"
VERDICTS = (HOLDS, IN_PART, FAILS, UNDECIDED, MISSING)


@dataclass(frozen=True)
class Claim:
    """That a number lies above a bound, or below it.

    Attributes
    ----------
    what : str
        The number, in words.
    value, low, high : float
        It, and its 95 % interval; NaN where it could not be measured. An exact number has an interval without width.
    bound : float
    above : bool
        The claim is that the number lies above the bound; else below it.
    unit : str

    Examples
    --------
    >>> Claim("drop", 0.4, 0.3, 0.5, bound=0.25).answer, Claim("drop", 0.4, 0.3, 0.5, bound=0.4).answer
    (True, None)
    """

    what: str
    value: float
    low: float
    high: float
    bound: float = field(kw_only=True)
    above: bool = field(default=True, kw_only=True)
    unit: str = field(default="", kw_only=True)

    @property
    def answer(self) -> bool | None:
        """Whether the whole interval lies on the side that is claimed, or on the other one; None where the bound is inside."""
        return answer_of(self.low, self.high, self.bound, self.above)


def answer_of(low: float, high: float, bound: float, above: bool) -> bool | None:
    """Return whether an interval lies on the claimed side of a bound; None where it does on neither, or is unknown."""
    if math.isnan(low) or math.isnan(high):
        return None
    if not above:
        low, high, bound = -high, -low, -bound
    return True if low > bound else False if high <= bound else None


def verdict_of(answers: Sequence[bool | None]) -> str:
    """Return what the claims of one statement come to in one run.

    All of them hold: it "holds". Some do: "in part". None does, and at least one is refuted: it "does not hold". Else the intervals
    do not tell.
    """
    if answers and all(answers):
        return HOLDS
    return IN_PART if any(answers) else FAILS if False in answers else UNDECIDED


def verdict_over(verdicts: Sequence[str]) -> str:
    """Return what the verdicts of several runs come to.

    The same in all that were measured: that one. Supported in some: "in part". Supported in none and refuted in at least one: it
    "does not hold".
    """
    known = [word for word in verdicts if word != MISSING]
    if not known:
        return MISSING
    if len(set(known)) == 1:
        return known[0]
    return IN_PART if {HOLDS, IN_PART} & set(known) else FAILS
