"""What a workbench makes its tabs of: each from what it was given, under its public name, when it is first looked at.

May import: core, experiments.asking. Explorers are found by their public names, so that none is imported before it is shown.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core.evaluator import Evaluator
from ..experiments.asking import offered, pool_of, splits_of

TABS = {
    "Paths": "PathExplorer", "Layers": "LayerMap", "Weights": "ParameterExplorer", "Surface": "SurfaceExplorer",
    "Monitor": "TrainingMonitor", "Preliminary": "PreliminaryStudy",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Given:
    """What a workbench was given.

    Attributes
    ----------
    evaluators : dict of str to Evaluator
    runs : dict of str to Run
    recorder : Recorder or None
        Of a training that goes on.
    train, data
        A training as a function, and its data, for preliminary experiments; None where there is none.
    """

    evaluators: Mapping[str, Evaluator]
    runs: Mapping[str, Any]
    recorder: Any = None
    train: Any = None
    data: Any = None

    def check(self) -> None:
        """Refuse what could not be made later."""
        if self.train is not None:
            offered(self.train)
            splits_of(self._evaluator)
            if self.data is None:
                raise ValueError("data: with train, the training data (or their labels, or how many samples they are)")
            pool_of(self.data)
        elif self.data is not None:
            raise ValueError("train: data are of a training; give it too, or leave them out")

    @property
    def tabs(self) -> tuple[str, ...]:
        """The tabs that there can be."""
        return tuple(tab for tab in TABS if tab != "Preliminary" or self.train is not None)

    @property
    def _evaluator(self) -> Any:
        return dict(self.evaluators) if len(self.evaluators) > 1 else next(iter(self.evaluators.values()))

    def make(self, tab: str, name: str, on_open: Any) -> Any:
        """Return what stands in a tab for a run; `on_open` is called with a scope whose paths are asked for."""
        import nnvis_widgets

        make, run = getattr(nnvis_widgets, TABS[tab]), self.runs[name]
        if tab == "Monitor":
            first = run is next(iter(self.runs.values()))
            return make(self.recorder if self.recorder is not None and first else run)
        if tab == "Preliminary":
            return make(self._evaluator, self.train, self.data, run=run)
        extra = {"on_open": on_open} if "on_open" in inspect.signature(make.__init__).parameters else {}
        return make(self._evaluator, run, **extra)
