"""Statements and what measurements say to them: numbers with intervals, run by run, and verdicts that follow from rules.

May import: results.base, results.claims, results.statement_words, numpy. pandas and matplotlib are imported by the methods that
need them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .base import NAN, Result, new_axes
from .claims import MISSING, answer_of, verdict_of, verdict_over
from .statement_words import COLOURS, ICONS, card, number, overview, rule, table, tally

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes


@dataclass(frozen=True, repr=False, eq=False)
class Statements(Result):
    """S statements, the C claims that they stand or fall with, and R runs that these were measured on.

    A statement holds in a run where the 95 % interval of each of its claims lies on the claimed side of its bound, holds in part
    where some do, does not hold where none does and at least one lies on the other side, and is undecided where intervals do not
    tell. Over several runs it is what it is in all of them; "in part" where it is supported in some only.

    Attributes
    ----------
    keys, where, says, source, remark : list of str, (S,)
        A short name; where the statement stands; the statement, paraphrased; how its wording is known; what a reader of the verdict
        has to know.
    of : ndarray of int, shape (C,)
        The statement of each claim.
    claims, units : list of str, (C,)
    bound, above : ndarray, shape (C,)
        A claim is that its number lies above its bound, or below it.
    runs, groups : list of str, (R,)
        What each run is called, and which it is counted with, such as its schedule.
    value, low, high : ndarray, shape (C, R)
        The numbers and their 95 % intervals; NaN where a run has no such number.
    n : int
        Samples that the runs were measured on.
    provenance : dict
    """

    _shares_axes: ClassVar[bool] = False

    keys: list[str]
    where: list[str]
    says: list[str]
    source: list[str]
    remark: list[str]
    of: np.ndarray
    claims: list[str]
    units: list[str]
    bound: np.ndarray
    above: np.ndarray
    runs: list[str]
    groups: list[str]
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: int
    provenance: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Statements]:
        return (self[key] for key in self.keys)

    def __getitem__(self, keys: str | list[str]) -> Statements:
        """Return one statement by its key, or several, as a `Statements` of these."""
        wanted = [keys] if isinstance(keys, str) else list(keys)
        for key in wanted:
            if key not in self.keys:
                raise KeyError(f"key: one of {', '.join(self.keys)}; received {key!r}")
        at = [self.keys.index(key) for key in wanted]
        rows = [row for index in at for row in np.flatnonzero(self.of == index)]
        texts: dict[str, Any] = {
            name: [getattr(self, name)[index] for index in at] for name in ("keys", "where", "says", "source", "remark")
        }
        named: dict[str, Any] = {name: [getattr(self, name)[row] for row in rows] for name in ("claims", "units")}
        arrays = {name: getattr(self, name)[rows] for name in ("bound", "above", "value", "low", "high")}
        of = np.array([at.index(self.of[row]) for row in rows], dtype=int)
        return Statements(
            **texts, **named, **arrays, of=of, runs=self.runs, groups=self.groups, n=self.n, provenance=self.provenance
        )

    def __repr__(self) -> str:
        words = [self.verdict(key) for key in self.keys]
        counts = ", ".join(f"{words.count(word)} {word}" for word in ICONS if word in words)
        return f"Statements({len(self)} statements, {len(self.claims)} claims x {len(self.runs)} runs: {counts}; n = {self.n})"

    def answers(self, key: str) -> np.ndarray:
        """Return for each claim of a statement and each run 1 where it holds, 0 where it is refuted, NaN else: (claims, R)."""
        rows = self._rows(key)
        found = np.full((len(rows), len(self.runs)), NAN)
        for line, row in enumerate(rows):
            for run in range(len(self.runs)):
                answer = answer_of(self.low[row, run], self.high[row, run], self.bound[row], bool(self.above[row]))
                found[line, run] = NAN if answer is None else float(answer)
        return found

    def verdicts(self, key: str) -> list[str]:
        """Return the verdict of each run on a statement, (R,)."""
        rows, words = self._rows(key), []
        for run, answers in enumerate(self.answers(key).T):
            measured = np.isfinite(self.value[rows, run]).any()
            known = [None if np.isnan(answer) else bool(answer) for answer in answers]
            words.append(verdict_of(known) if measured else MISSING)
        return words

    def verdict(self, key: str, group: str | None = None) -> str:
        """Return the verdict of all runs on a statement, or of those of one group."""
        verdicts = self.verdicts(key)
        if group is not None and group not in self.groups:
            raise KeyError(f"group: one of {', '.join(self.group_names)}; received {group!r}")
        return verdict_over([word for word, its in zip(verdicts, self.groups, strict=True) if group in (None, its)])

    @property
    def group_names(self) -> list[str]:
        """The groups, in the order of the runs."""
        return list(dict.fromkeys(self.groups))

    def rule(self, key: str) -> list[str]:
        """Return in words what has to be so for a statement to hold: a line for each claim."""
        return [rule(self.claims[row], bool(self.above[row]), self.bound[row], self.units[row]) for row in self._rows(key)]

    def numbers(self, key: str, group: str) -> list[str]:
        """Return the numbers of a statement's claims in a group: the mean over its runs, and the ends of all their intervals."""
        runs = [run for run, its in enumerate(self.groups) if its == group]
        lines = []
        for row in self._rows(key):
            value, low, high = (part[row, runs][np.isfinite(self.value[row, runs])] for part in (self.value, self.low, self.high))
            lines.append(number(value.mean(), low.min(), high.max(), self.units[row]) if len(value) else "")
        return lines

    def _rows(self, key: str) -> np.ndarray:
        if key not in self.keys:
            raise KeyError(f"key: one of {', '.join(self.keys)}; received {key!r}")
        return np.flatnonzero(self.of == self.keys.index(key))

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row for each statement: where, statement, source, the first claim's number and the verdict in each group."""
        import pandas

        rows = []
        for at, key in enumerate(self.keys):
            row = {"key": key, "where": self.where[at], "statement": self.says[at], "source": self.source[at]}
            row["number"] = self.claims[self._rows(key)[0]]
            for group in self.group_names:
                row |= {f"{group}: number": self.numbers(key, group)[0], f"{group}: verdict": self.counted(key, group)}
            rows.append(row | {"verdict": self.verdict(key), "remark": self.remark[at]})
        return pandas.DataFrame(rows)

    def claims_to_pandas(self) -> pandas.DataFrame:
        """Return one row for each claim and run: the number, its interval, the bound, and whether the claim holds."""
        import pandas

        rows = []
        for key in self.keys:
            for row, answers in zip(self._rows(key), self.answers(key), strict=True):
                about = {"key": key, "claim": self.claims[row], "bound": self.bound[row], "above": bool(self.above[row])}
                for run, answer in enumerate(answers):
                    numbers = {name: getattr(self, name)[row, run] for name in ("value", "low", "high")}
                    rows.append(
                        {
                            "group": self.groups[run],
                            "run": self.runs[run],
                            **about,
                            **numbers,
                            "unit": self.units[row],
                            "holds": answer,
                        }
                    )
        return pandas.DataFrame(rows).dropna(subset="value").reset_index(drop=True)

    def to_markdown(self) -> str:
        """Return the table of the statements as Markdown."""
        return table(self)

    def _repr_html_(self) -> str:
        return card(self, self.keys[0]) if len(self) == 1 else overview(self)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw one row a statement and one column a run, the verdict as a mark of its own shape and colour; returns the axes."""
        axes = new_axes(ax)
        if ax is None:
            axes.figure.set_size_inches(max(5.5, 2.2 + 0.55 * len(self.runs)), 1.4 + 0.3 * len(self))  # type: ignore[union-attr]
        for row, key in enumerate(self.keys):
            for run, word in enumerate(self.verdicts(key)):
                if word != MISSING:
                    marker, colour = COLOURS[word][1], COLOURS[word][0]
                    axes.plot([run], [row], marker, color=colour, markeredgecolor="0.2", markersize=9, linestyle="")
        for word, (colour, marker) in COLOURS.items():
            if word != MISSING:
                axes.plot([], [], marker, color=colour, markeredgecolor="0.2", linestyle="", label=word)
        axes.set_yticks(range(len(self)), self.keys)
        axes.set_xticks(range(len(self.runs)), self.runs, rotation=60, ha="right", fontsize="small")
        axes.set(xlim=(-0.6, len(self.runs) - 0.4), ylim=(len(self) - 0.4, -0.6))
        axes.grid(color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize="small", borderaxespad=0.0)
        return axes

    def counted(self, key: str, group: str) -> str:
        """Return the verdict of a group, with the number of its runs that have it where they do not agree."""
        words = [w for w, its in zip(self.verdicts(key), self.groups, strict=True) if its == group and w != MISSING]
        return tally(self.verdict(key, group), words)
