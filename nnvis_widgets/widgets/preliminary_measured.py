"""The two tabs of a preliminary study that only measure: test size, and samples for a difference.

May import: experiments, results, views, widgets.preliminary_panels.
"""

from __future__ import annotations

from typing import Any, ClassVar

import ipywidgets as widgets
import traitlets

from ..experiments.sample_size import iter_preliminary_test_size
from ..experiments.samples_needed import iter_samples_needed
from ..jobs import Step
from ..results import SamplesNeeded, TestSizeStudy
from ..views.preliminary import SamplesView, TestSizeView
from .preliminary_panels import Panel, Tolerance, chosen, number


class TestSizePanel(Panel):
    """What is a number worth that was measured on n samples?

    Attributes
    ----------
    split : str
    repeats : int
        Random subsets of each size.
    quantity : str
    """

    __test__ = False
    NAME, KIND = "test size", TestSizeStudy
    RECOMPUTE: ClassVar = ("split", "repeats")
    _heading = "How many test samples?"

    split = traitlets.Unicode("")
    repeats = traitlets.Int(100, min=1)

    @traitlets.default("split")
    def _first_split(self) -> str:
        return _last_split(self.source)

    @traitlets.validate("split")
    def _valid_split(self, proposal: Any) -> str:
        return _one_of(self.source, proposal)

    def _made_view(self) -> TestSizeView:
        return TestSizeView()

    def _controls(self) -> list[widgets.Widget]:
        assert self.source is not None
        splits = [(name, name) for name in self.source.evaluators]
        return [chosen(self, "split", "samples of", splits), number(self, "repeats", "random subsets", 1, 1000)]

    def _offer(self) -> str:
        assert self.source is not None
        which = "the final checkpoint" if self.source.run is not None else "the model as it is"
        return f"{which}, each sample measured once"

    def _steps(self) -> list[Step]:
        if self.source is None:
            return []
        source, split, repeats = self.source, self.split, self.repeats

        def make(_names: Any) -> Any:
            state = None if source.run is None else source.run[len(source.run) - 1].state
            for study in iter_preliminary_test_size(source.evaluators[split], state=state, repeats=repeats):
                yield {self.NAME: study}

        return [Step({self.NAME: (split, repeats)}, make)]


class SamplesPanel(Panel):
    """How many samples does the difference between two checkpoints take?

    Attributes
    ----------
    split : str
    first, second : int
        Indices of the checkpoints.
    measure : str
        "loss", or a metric: what the difference is in.
    pilot : int
        Samples that are measured for it.
    delta : float or None
        The difference that matters; None is that of the pilot.
    """

    NAME, KIND = "samples", SamplesNeeded
    RECOMPUTE: ClassVar = ("split", "first", "second", "measure", "pilot")
    RESTYLE: ClassVar = ("quantity", "delta")
    _heading = "How many samples for this difference?"

    split = traitlets.Unicode("")
    first = traitlets.Int(0)
    second = traitlets.Int(0)
    measure = traitlets.Unicode("loss")
    pilot = traitlets.Int(500, min=2)
    delta = traitlets.Float(None, allow_none=True)

    @traitlets.default("split")
    def _first_split(self) -> str:
        return _last_split(self.source)

    @traitlets.default("first")
    def _before_last(self) -> int:
        return 0 if self.source is None else max(len(self.source.run) - 2, 0)

    @traitlets.default("second")
    def _last(self) -> int:
        return 0 if self.source is None else len(self.source.run) - 1

    @traitlets.validate("split")
    def _valid_split(self, proposal: Any) -> str:
        return _one_of(self.source, proposal)

    @traitlets.validate("first", "second")
    def _valid_checkpoint(self, proposal: Any) -> int:
        if self.source is not None and not 0 <= proposal.value < len(self.source.run):
            raise ValueError(f"{proposal.trait.name}: a checkpoint from 0 to {len(self.source.run) - 1}, received {proposal.value}")
        return proposal.value

    @traitlets.validate("delta")
    def _valid_delta(self, proposal: Any) -> float | None:
        if proposal.value is not None and not proposal.value > 0:
            raise ValueError(f"delta: None for the difference of the pilot, or above 0; received {proposal.value}")
        return proposal.value

    def _made_view(self) -> SamplesView:
        return SamplesView()

    def _controls(self) -> list[widgets.Widget]:
        assert self.source is not None
        splits = [(name, name) for name in self.source.evaluators]
        checkpoints = [(f"{k}: epoch {epoch:g}", k) for k, epoch in enumerate(self.source.run.epochs)]
        measures = [(name, name) for name in self.source.evaluators[self.split].quantities]
        return [
            chosen(self, "first", "from checkpoint", checkpoints),
            chosen(self, "second", "to checkpoint", checkpoints),
            chosen(self, "measure", "difference in", measures),
            chosen(self, "split", "samples of", splits),
            number(self, "pilot", "pilot of", 2, 10_000_000),
        ]

    def _styles(self) -> list[widgets.Widget]:
        self._slider = Tolerance(self, "delta", "difference to resolve", -5, 1)
        return [self._slider]

    def _steps(self) -> list[Step]:
        if self.source is None:
            return []
        source, asked = self.source, {"quantity": self.measure, "pilot": self.pilot}
        split, first, second = self.split, self.first, self.second

        def make(_names: Any) -> Any:
            states = [source.run[at].state for at in (first, second)]
            for needed in iter_samples_needed(source.evaluators[split], states, **asked):
                yield {self.NAME: needed}

        return [Step({self.NAME: (split, first, second, *asked.values())}, make)]

    def _shown(self) -> SamplesNeeded | None:
        needed = self.results.get(self.NAME)
        if not isinstance(needed, SamplesNeeded):
            return None
        return needed if self.delta is None or not needed.delta else needed.with_delta(self.delta)

    def _show(self, result: SamplesNeeded) -> None:
        self._slider.show(result.delta)
        self._view.show(result)

    def _caption(self, result: SamplesNeeded) -> str:
        return (
            f"pilot: {result.difference:+.3g} ± {1.96 * result.difference_se:.2g} in {result.quantity}; correlation of the two "
            f"models' samples {result.correlation:.2f}; {super()._caption(result)}"
        )


def _last_split(source: Any) -> str:
    return "" if source is None else list(source.evaluators)[-1]


def _one_of(source: Any, proposal: Any) -> str:
    if source is not None and proposal.value not in source.evaluators:
        raise ValueError(f"split: one of {', '.join(map(repr, source.evaluators))}, received {proposal.value!r}")
    return proposal.value
