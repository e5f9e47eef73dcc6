"""What evidence says to statements: every claim of every statement on every run, as one result.

May import: results, chapter, numpy. Verdicts follow from the numbers, in `results.claims`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...results import Claim, Statements
from .chapter import STATEMENTS, Statement
from .judging import Studies

TEXTS = ("says", "where", "source", "remark")


@dataclass(frozen=True)
class Evidence:
    """The studies of one run, or of what several trainings have in common.

    Attributes
    ----------
    name, group : str
        What the run is called, and which it is counted with, such as its schedule.
    studies : dict of str to Result
    """

    name: str
    group: str
    studies: Studies


def judged(evidence: Sequence[Evidence], statements: Sequence[Statement] = STATEMENTS, **about: Any) -> Statements:
    """Return what the evidence says to the statements; those that none of it bears on are "not measured"."""
    if not evidence:
        raise ValueError("evidence: at least one run's, received none")
    rows: list[tuple[int, Claim]] = []
    numbers: list[np.ndarray] = []
    for at, statement in enumerate(statements):
        found = [statement.claims(one.studies) if statement.measured(one.studies) else None for one in evidence]
        like = next((claims for claims in found if claims is not None), [Claim("", *(float("nan"),) * 3, bound=0.0)])
        if any([c.bound for c in claims] != [c.bound for c in like] for claims in found if claims is not None):
            raise ValueError(
                f"evidence: runs on equally many samples, since bounds of {statement.key!r} depend on it; judge those on "
                f"{_sizes(evidence)} apart"
            )
        for line, claim in enumerate(like):
            rows.append((at, claim))
            each = [claims[line] if claims is not None else None for claims in found]
            numbers.append(np.array([[np.nan] * 3 if c is None else [c.value, c.low, c.high] for c in each]))
    value, low, high = np.moveaxis(np.array(numbers), 2, 0)
    counts = [one.studies["training"].n for one in evidence if "training" in one.studies]
    return Statements(
        keys=[statement.key for statement in statements],
        **{name: [getattr(statement, name) for statement in statements] for name in TEXTS},
        of=np.array([at for at, _ in rows]),
        claims=[claim.what for _, claim in rows],
        units=[claim.unit for _, claim in rows],
        bound=np.array([claim.bound for _, claim in rows]),
        above=np.array([claim.above for _, claim in rows]),
        runs=[one.name for one in evidence],
        groups=[one.group for one in evidence],
        value=value,
        low=low,
        high=high,
        n=max(counts, default=0),
        provenance=dict(about),
    )


def _sizes(evidence: Sequence[Evidence]) -> str:
    return " and ".join(sorted({str(one.studies["training"].n) for one in evidence if "training" in one.studies}))
