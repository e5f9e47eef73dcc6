"""What a workbench gives away, code that makes its picture again and pictures that carry it, and the states that it takes.

May import: results, views.recipe; explorers by their settings alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..results import Result
from ..views.recipe import beside, with_recipe

if TYPE_CHECKING:
    from .base import Explorer
    from .workbench import Workbench


STATE = "state: what snapshot() returned, or the path of a .json file that Save wrote"


def as_state(given: Any) -> Mapping[str, Any]:
    """Return a state that was given, or read from a file; refuse what has not the form of one."""
    state = given
    if isinstance(given, (str, os.PathLike)):
        try:
            state = json.loads(Path(given).read_text(encoding="utf-8"))
        except OSError as error:
            raise FileNotFoundError(f"{STATE}; {given!s} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise ValueError(f"{STATE}; {given!s} holds no JSON") from error
    if not isinstance(state, Mapping):
        where = "" if state is given else f" in {given!s}"
        raise TypeError(f"{STATE}; received {state!r:.60}{where}")
    runs = state.get("explorers", {})
    if not (isinstance(runs, Mapping) and all(isinstance(one, Mapping) for one in runs.values())) or not all(
        isinstance(settings, Mapping) for one in runs.values() for settings in one.values()
    ):
        raise TypeError(f"{STATE}; its 'explorers' are {{tab: {{run: {{setting: value}}}}}}, received {runs!r:.60}")
    return state


def changed(explorer: Explorer) -> dict[str, Any]:
    """Return the settings of an explorer that are not those that it has by itself."""
    traits = explorer.traits()
    settings = explorer.snapshot()
    return {name: value for name, value in settings.items() if value != traits[name].default_value}


def as_code(workbench: Workbench) -> str:
    """Return a call for each explorer in front, and one for the whole workbench."""
    many, more = len(workbench.runs) > 1, ", train=train, data=data" if "Preliminary" in workbench.tabs else ""
    lines = ["import nnvis_widgets as nv", "", "# evaluator and run: yours, as you gave them to the workbench"]
    for run, explorer in named(workbench).items():
        source = f"run[{run!r}]" if many else "run"
        if workbench.tab == "Preliminary":
            lines.append(f"study = nv.PreliminaryStudy(evaluator, train, data, run={source})")
            lines.append(f"study.restore({explorer.snapshot()!r})")
            continue
        # a monitor measures nothing
        given = [source] if workbench.tab == "Monitor" else ["evaluator", source]
        settings = [f"{name}={value!r}" for name, value in changed(explorer).items()]
        lines.append(f"nv.{type(explorer).__name__}({', '.join([*given, *settings])})")
    made, restored = f"workbench = nv.Workbench(evaluator, run{more})", f"workbench.restore({workbench.snapshot()!r})"
    return "\n".join([*lines, "", "# or all of it", made, restored])


def recorded_picture(workbench: Workbench) -> bytes | None:
    """Return the pictures of the explorers in front, two side by side, as a PNG with the recipe inside; None before the first."""
    found = {name: png for name, explorer in named(workbench).items() if (png := explorer.still()) is not None}
    if not found:
        return None
    png = next(iter(found.values())) if len(workbench.runs) == 1 else beside(list(found.values()), list(found))
    results = {name: _provenance(explorer.results) for name, explorer in named(workbench).items() if name in found}
    return with_recipe(png, {"code": workbench.code(), "results": next(iter(results.values())) if len(results) == 1 else results})


def named(workbench: Workbench) -> dict[str, Explorer]:
    """Return the explorers in front by the names of their runs."""
    shown = workbench.shown
    return {run: explorer for (_, run), explorer in workbench.explorers.items() if any(explorer is one for one in shown)}


def _provenance(results: dict[str, Result]) -> dict[str, Any]:
    return {name: getattr(result, "provenance", {}) for name, result in results.items()}
