"""What a workbench gives away, code that makes its picture again and pictures that carry it, and the states that it takes.

May import: views.static, keeping; explorers by what they tell of themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..views.static import rendered
from .keeping import GIVEN, check_format, mapping_of

if TYPE_CHECKING:
    from .base import Explorer
    from .workbench import Workbench


STATE = "state: what snapshot() returned, or the path of a .json file that Save wrote"


def as_state(given: Any) -> Mapping[str, Any]:
    """Return a state that was given, or read from a file; refuse what has not the form of one."""
    state = mapping_of(given, STATE)
    runs = state.get("explorers", {})
    if not (isinstance(runs, Mapping) and all(isinstance(one, Mapping) for one in runs.values())) or not all(
        isinstance(settings, Mapping) for one in runs.values() for settings in one.values()
    ):
        raise TypeError(f"{STATE}; its 'explorers' are {{tab: {{run: {{setting: value}}}}}}, received {runs!r:.60}")
    return state


def as_code(workbench: Workbench) -> str:
    """Return a call for each explorer in front, and one for the whole workbench."""
    many, more = len(workbench.runs) > 1, ", train=train, data=data" if "Preliminary" in workbench.tabs else ""
    lines = ["import nnvis_widgets as nv", "", f"{GIVEN} to the workbench"]
    for run, explorer in named(workbench).items():
        lines += explorer.made(f"run[{run!r}]" if many else "run")
    made, restored = f"workbench = nv.Workbench(evaluator, run{more})", f"workbench.restore({workbench.snapshot()!r})"
    return "\n".join([*lines, "", "# or all of it", made, restored])


def recorded_picture(workbench: Workbench, format: str) -> bytes | None:
    """Return what is in front, two runs side by side, as a picture with the recipe inside; None before the first one."""
    check_format(format)
    shown = {name: explorer for name, explorer in named(workbench).items() if explorer.sketch() is not None}
    if not shown:
        return None
    results = [explorer.recipe()["results"] for explorer in shown.values()]
    found = results[0] if len(results) == 1 else dict(zip(shown, results, strict=True))
    names = list(shown) if len(workbench.runs) > 1 else [""]
    sketches = {name: explorer.sketch() for name, explorer in zip(names, shown.values(), strict=True)}
    return rendered(sketches, format, {"code": workbench.code(), "results": found})


def named(workbench: Workbench) -> dict[str, Explorer]:
    """Return the explorers in front by the names of their runs."""
    shown = workbench.shown
    return {run: explorer for (_, run), explorer in workbench.explorers.items() if any(explorer is one for one in shown)}
