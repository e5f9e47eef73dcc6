"""The four tabs of a preliminary study: epochs, training size, test size, samples for a difference.

May import: experiments, results, views, widgets.preliminary_panels.
"""

from __future__ import annotations

from typing import Any, ClassVar

import ipywidgets as widgets
import traitlets

from ..experiments.asking import pool_of
from ..experiments.preliminary import iter_preliminary_epochs
from ..experiments.sample_size import iter_preliminary_test_size
from ..experiments.samples_needed import iter_samples_needed
from ..experiments.training_size import iter_preliminary_training_size
from ..jobs import Step
from ..results import EpochStudy, SamplesNeeded, TestSizeStudy, TrainingSizeStudy
from ..views.preliminary import EpochsView, SamplesView, TestSizeView, TrainingSizeView
from .parts import check
from .preliminary_panels import Panel, Tolerance, chosen, number


class EpochsPanel(Panel):
    """How many epochs?

    Attributes
    ----------
    epochs, seeds, separate : int
        As for `preliminary_epochs`.
    delta : float
        An epoch is enough where the loss is less than this above its lowest.
    quantity : str
    log_loss : bool
    """

    NAME, KIND, ACTION, WAITS = "epochs", EpochStudy, "Train", True
    RECOMPUTE: ClassVar = ("epochs", "seeds", "separate")
    RESTYLE: ClassVar = ("quantity", "delta", "log_loss")
    _heading = "How many epochs?"

    epochs = traitlets.Int(15, min=1)
    seeds = traitlets.Int(5, min=1)
    separate = traitlets.Int(0, min=0)
    delta = traitlets.Float(0.01)
    log_loss = traitlets.Bool(False)

    @traitlets.validate("delta")
    def _valid_delta(self, proposal: Any) -> float:
        if not proposal.value > 0:
            raise ValueError(f"delta: above 0, received {proposal.value}")
        return proposal.value

    def _made_view(self) -> EpochsView:
        return EpochsView()

    def _controls(self) -> list[widgets.Widget]:
        found = [number(self, "epochs", "epochs", 1, 10_000), number(self, "seeds", "independent seeds", 1, 100)]
        if self.source is not None and "order" in self.source.offered:
            tip = "further trainings in which only the weights, and only the order, have another seed"
            found.append(number(self, "separate", "varied one by one", 0, 100, tip))
        return found

    def _styles(self) -> list[widgets.Widget]:
        return [Tolerance(self, "delta", "delta"), check(self, "log_loss", "log loss", "90px")]

    def _offer(self) -> str:
        assert self.source is not None
        arms = 2 if "schedule" in self.source.offered else 1
        trainings = arms * (self.seeds + 2 * self.separate)
        rates = ", with a decayed and a constant learning rate" if arms == 2 else ""
        return f"{trainings} trainings of {self.epochs} epochs{rates}; finished ones are not made again"

    def _steps(self) -> list[Step]:
        if self.source is None:
            return []
        source, numbers = self.source, {name: getattr(self, name) for name in self.RECOMPUTE}

        def make(_names: Any) -> Any:
            for study in iter_preliminary_epochs(source.train, source.evaluators, source.data, **numbers, **source.kept):
                yield {self.NAME: study}

        return [Step({self.NAME: tuple(numbers.values())}, make)]

    def _shown(self) -> EpochStudy | None:
        study = self.results.get(self.NAME)
        return study.with_delta(self.delta) if isinstance(study, EpochStudy) else None

    def _show(self, result: EpochStudy) -> None:
        self._view.show(result, self.quantity, self.log_loss)

    def _caption(self, result: EpochStudy) -> str:
        seeds = "/".join(str(len(result.seeds(arm))) for arm in range(len(result.arms)))
        return f"complete seeds: {seeds}; bounds for all epochs at once, over samples and seeds; {super()._caption(result)}"


class TrainingSizePanel(Panel):
    """How many training samples?

    Attributes
    ----------
    epochs, subsets, seeds : int
        As for `preliminary_training_size`.
    halvings : int
        Sizes: all of the training samples, a half, a quarter, ... so many times.
    quantity : str
    """

    NAME, KIND, ACTION, WAITS = "training size", TrainingSizeStudy, "Train", True
    RECOMPUTE: ClassVar = ("epochs", "halvings", "subsets", "seeds")
    _heading = "How many training samples?"

    epochs = traitlets.Int(15, min=1)
    halvings = traitlets.Int(4, min=1)
    subsets = traitlets.Int(3, min=1)
    seeds = traitlets.Int(3, min=1)

    def _made_view(self) -> TrainingSizeView:
        return TrainingSizeView()

    def _controls(self) -> list[widgets.Widget]:
        return [
            number(self, "epochs", "epochs", 1, 10_000),
            number(self, "halvings", "halvings of the data", 1, 12),
            number(self, "subsets", "random subsets", 1, 50),
            number(self, "seeds", "seeds on each", 1, 50),
        ]

    @property
    def sizes(self) -> list[int]:
        """The sizes that are trained on."""
        assert self.source is not None
        total, _ = pool_of(self.source.data)
        return sorted({size for k in range(self.halvings + 1) if (size := total // 2**k) >= 2})

    def _offer(self) -> str:
        assert self.source is not None
        sizes = self.sizes
        count = ((len(sizes) - 1) * self.subsets + 1) * self.seeds
        arms = 2 if "steps" in self.source.offered else 1
        named = ", ".join(map(str, sizes)) if len(sizes) < 7 else f"{sizes[0]}, {sizes[1]} ... {sizes[-1]}"
        return f"{arms * count} trainings on {named} samples{', equal epochs and equal steps' if arms == 2 else ''}"

    def _steps(self) -> list[Step]:
        if self.source is None:
            return []
        source, sizes = self.source, self.sizes
        numbers = {"epochs": self.epochs, "subsets": self.subsets, "seeds": self.seeds}

        def make(_names: Any) -> Any:
            kept = source.kept
            for study in iter_preliminary_training_size(
                source.train, source.evaluators, source.data, sizes=sizes, **numbers, **kept
            ):
                yield {self.NAME: study}

        return [Step({self.NAME: (*sizes, *numbers.values())}, make)]

    def _caption(self, result: TrainingSizeStudy) -> str:
        subsets, seeds = result.values().shape[2:]
        return f"{subsets} random nested subsets x {seeds} seeds; {super()._caption(result)}"


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


PANELS: dict[str, type[Panel]] = {panel.NAME: panel for panel in (EpochsPanel, TrainingSizePanel, TestSizePanel, SamplesPanel)}


def _last_split(source: Any) -> str:
    return "" if source is None else list(source.evaluators)[-1]


def _one_of(source: Any, proposal: Any) -> str:
    if source is not None and proposal.value not in source.evaluators:
        raise ValueError(f"split: one of {', '.join(map(repr, source.evaluators))}, received {proposal.value!r}")
    return proposal.value
