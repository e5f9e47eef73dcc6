"""What a workbench gives away: code that makes its picture again, and pictures that carry it.

May import: results, views.static; explorers by their settings alone.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from ..results import Result
from ..views.static import picture

if TYPE_CHECKING:
    from .base import Explorer
    from .workbench import Workbench


def changed(explorer: Explorer) -> dict[str, Any]:
    """Return the settings of an explorer that are not those that it has by itself."""
    traits = explorer.traits()
    settings = explorer.snapshot()
    return {name: value for name, value in settings.items() if value != traits[name].default_value}


def as_code(workbench: Workbench) -> str:
    """Return a call for each explorer in front, and one for the whole workbench."""
    many = len(workbench.runs) > 1
    lines = ["import nnvis_widgets as nv", "", "# evaluator and run: yours, as you gave them to the workbench"]
    for (tab, run), explorer in workbench.explorers.items():
        if explorer in workbench.shown and tab == workbench.tab:
            settings = "".join(f", {name}={value!r}" for name, value in changed(explorer).items())
            source = f"run[{run!r}]" if many else "run"
            lines.append(f"nv.{type(explorer).__name__}(evaluator, {source}{settings})")
    lines += ["", "# or all of it", "workbench = nv.Workbench(evaluator, run)", f"workbench.restore({workbench.snapshot()!r})"]
    return "\n".join(lines)


def recorded_picture(workbench: Workbench) -> bytes | None:
    """Return the picture of the first explorer in front that has one, as a PNG with the recipe inside."""
    for explorer in workbench.shown:
        png = picture(explorer.results)
        if png is not None:
            return _with_text(png, {"code": workbench.code(), "results": _provenance(explorer.results)})
    return None


def _provenance(results: dict[str, Result]) -> dict[str, Any]:
    return {name: getattr(result, "provenance", {}) for name, result in results.items()}


def _with_text(png: bytes, recipe: dict[str, Any]) -> bytes:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    about = PngInfo()
    about.add_itxt("nnvis_widgets", json.dumps(recipe, default=str))
    about.add_text("Software", "nnvis_widgets")
    out = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.save(out, format="PNG", pnginfo=about)
    return out.getvalue()
