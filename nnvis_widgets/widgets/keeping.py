"""What can be taken away from a widget and brought back: its settings, code that makes it again, pictures that carry that code.

May import: results, views. Of explorers, preliminary studies and the workbench.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..results import Result
from ..views.recipe import FORMATS
from ..views.static import Still, rendered, still_of

GIVEN = "# evaluator and run: yours, as you gave them"


def mapping_of(given: Any, what: str) -> Mapping[str, Any]:
    """Return a mapping that was given, or read from a JSON file; `what` begins a refusal: the argument, and what it can be."""
    found = given
    if isinstance(given, (str, os.PathLike)):
        try:
            found = json.loads(Path(given).read_text(encoding="utf-8"))
        except OSError as error:
            raise FileNotFoundError(f"{what}; {given!s:.300} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise ValueError(f"{what}; {given!s:.300} holds no JSON, or only a part of one") from error
    if not isinstance(found, Mapping):
        raise TypeError(f"{what}; received {found!r:.60}{'' if found is given else f' in {given!s}'}")
    return found


def settings_of(given: Any, owner: Any, known: Iterable[str]) -> Mapping[str, Any]:
    """Return the settings of an explorer that were given, or read from a file; refuse what is none of its settings."""
    name, known = type(owner).__name__, tuple(known)
    what = f"settings: what snapshot() of a {name} returned, or the path of a .json file that holds it"
    settings = mapping_of(given, what)
    for one in settings:
        if one not in known:
            raise TypeError(f"{what}; {name} has no setting {one!r}, only {', '.join(known)}")
    return settings


class Keeping:
    """What an explorer or a preliminary study gives away."""

    results: dict[str, Result]

    def made(self, run: str = "run") -> list[str]:
        """Return the lines that make it again from an `evaluator` and a run under this name."""
        raise NotImplementedError

    def sketch(self) -> Still | None:
        """Return the picture of what is shown, not yet drawn; None before there is anything."""
        return still_of(self.results)

    def code(self) -> str:
        """Return the lines of Python that make it again, with the present settings, from your evaluator and run."""
        return "\n".join(["import nnvis_widgets as nv", "", GIVEN, *self.made()])

    def recipe(self) -> dict[str, Any]:
        """Return what its pictures carry: the code, and the provenance of the results."""
        return {"code": self.code(), "results": {name: _provenance(result) for name, result in self.results.items()}}

    def picture(self, format: str = "png") -> bytes | None:
        """Return what is shown as a picture with its recipe inside (`nnvis_widgets.recipe_of` reads it); None before the first one.

        Parameters
        ----------
        format : {"png", "svg", "pdf"}
        """
        check_format(format)
        sketch = self.sketch()
        return None if sketch is None else rendered({"": sketch}, format, self.recipe())

    def still(self) -> bytes | None:
        """Return what is shown as a PNG, for a notebook without a kernel; None before there is anything."""
        sketch = self.sketch()
        return None if sketch is None else rendered({"": sketch})


def check_format(format: Any) -> None:
    """Refuse an unknown format of a picture."""
    if format not in FORMATS:
        raise ValueError(f"format: one of {', '.join(map(repr, FORMATS))}, received {format!r}")


def _provenance(result: Result) -> dict[str, Any]:
    return getattr(result, "provenance", {})
