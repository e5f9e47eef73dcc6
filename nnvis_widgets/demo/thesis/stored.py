"""What was measured on MNIST, kept with the package: for readers who have not got these images, or the hour that it takes.

May import: results, chapter, loading. Nobody writes these files by hand: `keep` does, from what `load_thesis` and
`compare_faithfulness` return. Numbers and bounds are kept; what a statement says is in `chapter` alone.
"""

from __future__ import annotations

import datetime
import html
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...results import FaithfulnessAgreement, Statements, load
from ...results.statement_words import ICONS, cards
from .chapter import STATEMENTS
from .deciding import TEXTS
from .loading import Thesis

NAMES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}
FOLDER = Path(__file__).parent / "mnist"


@dataclass(frozen=True, eq=False)
class Kept:
    """Statements on stored runs, and how faithful paths were to these.

    Attributes
    ----------
    statements : Statements
    faithfulness : dict of str to FaithfulnessAgreement
        One for each schedule.
    """

    statements: Statements
    faithfulness: dict[str, FaithfulnessAgreement]

    @property
    def about(self) -> str:
        """What was measured, on how much, when and with which versions."""
        known = self.statements.provenance
        data, seeds = NAMES.get(known["data"], known["data"]), ", ".join(map(str, known["seeds"]))
        versions = ", ".join(f"{name} {version}" for name, version in known["versions"].items())
        return (
            f"{data}: seeds {seeds} with each of the schedules {' and '.join(known['schedules'])}, n = {self.statements.n} test "
            f"images; measured until {known['date']} with {versions}"
        )

    def __repr__(self) -> str:
        return f"{self.about}\n{self.statements!r}"

    def _repr_html_(self) -> str:
        return f"<p>Stored results. {html.escape(self.about)}.</p>"


def on_mnist(folder: str | os.PathLike = FOLDER) -> Kept:
    """Return what was measured on MNIST, as it is kept with the package: nothing is trained or measured.

    Parameters
    ----------
    folder : path
        Where `keep` has put it.

    Examples
    --------
    >>> from nnvis_widgets.demo import thesis as chapter
    >>> mnist = chapter.on_mnist()
    >>> mnist.statements
    Statements(18 statements, 38 claims x ... runs: ... holds, ...; n = 10000)
    >>> print(mnist.faithfulness["constant"].sentence)
    Over ... runs..., by log loss at held-out checkpoints (n = 10000), the quadratic path is closer to the training ...
    """
    home = Path(folder)
    statements = load(home / "statements.safetensors")
    assert isinstance(statements, Statements)
    now = {statement.key: statement for statement in STATEMENTS}
    texts: dict[str, Any] = {name: [getattr(now[key], name) for key in statements.keys] for name in TEXTS}
    faithful = {schedule: load(home / f"faithfulness-{schedule}.safetensors") for schedule in statements.provenance["schedules"]}
    return Kept(replace(statements, **texts), faithful)  # type: ignore[arg-type]


def keep(
    thesis: Thesis, faithfulness: Mapping[str, FaithfulnessAgreement], folder: str | os.PathLike = FOLDER, date: str | None = None
) -> None:
    """Write the statements of a thesis, and one agreement for each of its schedules, for `on_mnist`.

    Parameters
    ----------
    thesis : Thesis
    faithfulness : dict of str to FaithfulnessAgreement
    folder : path
    date : str, optional
        Default: today.
    """
    schedules = thesis.statements.provenance["schedules"]
    if set(faithfulness) != set(schedules):
        raise ValueError(
            f"faithfulness: one agreement for each of {', '.join(schedules)}; received {', '.join(faithfulness) or 'none'}"
        )
    home = Path(folder)
    home.mkdir(parents=True, exist_ok=True)
    about: dict[str, Any] = {**thesis.statements.provenance, "date": date or datetime.date.today().isoformat()}
    replace(thesis.statements, provenance=about).save(home / "statements.safetensors")
    for schedule, agreement in faithfulness.items():
        short = {
            name: value for name, value in agreement.provenance.items() if name != "reports"
        }  # they are long, and say the same
        replace(agreement, provenance=short).save(home / f"faithfulness-{schedule}.safetensors")


@dataclass(frozen=True, eq=False)
class Cards:
    """The same statements on several data sets, one card for each: ``Cards({"digits": a, "MNIST": b})["accuracy"]``."""

    parts: dict[str, Statements]

    def __getitem__(self, key: str) -> Card:
        for found in self.parts.values():
            found[key]  # says which there are
        return Card(self.parts, key)


@dataclass(frozen=True, eq=False)
class Card:
    """One statement, with its numbers and verdicts on each data set."""

    parts: dict[str, Statements]
    key: str

    def __repr__(self) -> str:
        words = {name: found.verdict(self.key) for name, found in self.parts.items()}
        return f"{self.key}: " + ", ".join(f"{name} {ICONS[word]} {word}" for name, word in words.items())

    def _repr_html_(self) -> str:
        return cards(self.parts, self.key)
