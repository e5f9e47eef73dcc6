"""What a widget says of itself in one line, in place of its children with their HTML.

May import: nothing. ipywidgets writes out every trait; a notebook without its front end, a log and a debugger show that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TOLD = ("tab", "view", "scope", "kind", "run", "plane_kind", "unit", "choose", "split", "compare")


class OneLine:
    """A widget whose repr is its class, the settings that tell it from another, and the runs that it looks into."""

    def __repr__(self) -> str:
        named = [name for name in _TOLD if self.has_trait(name)]  # type: ignore[attr-defined]
        settings = ", ".join(f"{name}={getattr(self, name)!r}" for name in named)
        return f"{type(self).__name__}({'; '.join(filter(None, (settings, _looked_into(self))))})"


def _looked_into(widget: Any) -> str:
    """Return the runs of an explorer, a workbench, a monitor or a preliminary study in words."""
    recorder = getattr(widget, "recorder", None)
    if recorder is not None:
        return repr(recorder)
    holders = widget, getattr(widget, "study", None), getattr(widget, "source", None)
    for holder in holders:
        runs = getattr(holder, "runs", None)
        if isinstance(runs, Mapping):
            return ", ".join(f"{name}: {len(run)} checkpoints" for name, run in runs.items())
    for holder in holders[1:]:
        run = getattr(holder, "run", None)
        if run is not None:
            return f"run: {len(run)} checkpoints"
    return "no run" if any(holder is not None for holder in holders[1:]) else "a saved result"
