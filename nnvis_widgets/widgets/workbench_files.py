"""What a workbench gives away, states, code that makes its picture again, pictures that carry it, and the states that it takes.

May import: views.static, keeping, workbench_settings; explorers by what they tell of themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from ..views.static import rendered
from .base import Explorer
from .keeping import GIVEN, check_format, mapping_of
from .workbench_settings import WorkbenchSettings

STATE = "state: what snapshot() returned, or the path of a .json file that Save wrote"
Key = tuple[str, str]  # a tab and a run


class WorkbenchFiles(WorkbenchSettings):
    """Between the settings and `Workbench`, which holds the explorers."""

    explorers: dict[Key, Explorer]
    _waiting: dict[Key, dict[str, Any]]  # settings of explorers that have not been made
    _moved: bool

    def _in_front(self) -> list[Key]:
        raise NotImplementedError

    def _together(self) -> AbstractContextManager[None]:
        raise NotImplementedError

    @property
    def _shown(self) -> dict[str, Explorer]:
        """The explorers in front by the names of their runs."""
        return {key[1]: self.explorers[key] for key in self._in_front() if key in self.explorers}

    def code(self) -> str:
        """Return the lines of Python that make what is in front again: a call for each explorer, and one for the whole."""
        many = len(self.runs) > 1
        lines = ["import nnvis_widgets as nv", "", f"{GIVEN} to the workbench"]
        for run, explorer in self._shown.items():
            lines += explorer.made(f"run[{run!r}]" if many else "run")
        more = [f"{name}={name}" for name in ("recorder", "train", "data") if getattr(self._given, name) is not None]
        made = f"workbench = nv.Workbench({', '.join(['evaluator', 'run', *more])})"
        return "\n".join([*lines, "", "# or all of it", made, f"workbench.restore({self.snapshot()!r})"])

    def picture(self, format: str = "png") -> bytes | None:
        """Return what is in front as a picture, with its code and the provenance of its results inside; None before the first one.

        Parameters
        ----------
        format : {"png", "svg", "pdf"}
        """
        check_format(format)
        sketches = {name: sketch for name, explorer in self._shown.items() if (sketch := explorer.sketch()) is not None}
        if not sketches:
            return None
        results = {name: self._shown[name].recipe()["results"] for name in sketches}
        first = next(iter(sketches))
        recipe = {"code": self.code(), "results": results[first] if len(results) == 1 else results}
        return rendered(sketches if len(self.runs) > 1 else {"": sketches[first]}, format, recipe)

    def snapshot(self) -> dict[str, Any]:
        """Return the selection and the settings of every explorer, as a dictionary that `restore` takes, also through JSON."""
        explorers: dict[str, dict[str, Any]] = {}
        for (tab, run), explorer in self.explorers.items():
            explorers.setdefault(tab, {})[run] = explorer.snapshot()
        for (tab, run), settings in self._waiting.items():
            explorers.setdefault(tab, {}).setdefault(run, settings)
        return {**{name: getattr(self, name) for name in self.SETTINGS}, "explorers": explorers}

    def restore(self, state: Any) -> None:
        """Set what `snapshot` returned, or the path of a file that Save wrote; all of it or, when a part is refused, nothing."""
        state = mapping_of(state, STATE)
        wanted = self._checked(state)
        before, waiting = self.snapshot(), dict(self._waiting)
        try:
            self._set(state, wanted)
        except Exception:
            self._waiting = waiting
            self._set(before, _by_key(before["explorers"]))
            raise

    def _checked(self, state: Mapping[str, Any]) -> dict[Key, dict[str, Any]]:
        """Return the settings of explorers in a state, or refuse what is no state of this workbench."""
        for name in state:
            if name not in (*self.SETTINGS, "explorers"):
                raise TypeError(f"{STATE}; it has no {name!r}, only {', '.join((*self.SETTINGS, 'explorers'))}")
        tabs = state.get("explorers", {})
        if not (isinstance(tabs, Mapping) and all(isinstance(runs, Mapping) for runs in tabs.values())) or not all(
            isinstance(settings, Mapping) for runs in tabs.values() for settings in runs.values()
        ):
            raise TypeError(f"{STATE}; its 'explorers' are {{tab: {{run: {{setting: value}}}}}}, received {tabs!r:.60}")
        wanted = _by_key(tabs)
        for tab, run in wanted:
            if tab not in self.tabs or run not in self.runs:
                raise ValueError(f"state: it holds settings of {tab!r} for the run {run!r}, which are not here")
        return wanted

    def _set(self, state: Mapping[str, Any], wanted: Mapping[Key, dict[str, Any]]) -> None:
        with self._together():
            chosen = {name: state[name] for name in self.SETTINGS if name in state}
            for name, value in chosen.items():
                setattr(self, name, value)
            for key, settings in wanted.items():
                if key in self.explorers:
                    self.explorers[key].restore(settings)
                else:
                    self._waiting[key] = settings
            for name, value in chosen.items():  # again: an explorer whose settings change leads
                setattr(self, name, value)
            self._moved = True


def _by_key(tabs: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[Key, dict[str, Any]]:
    return {(tab, run): dict(settings) for tab, runs in tabs.items() for run, settings in runs.items()}
