"""The two tabs of a preliminary study that train: epochs, and training size.

May import: experiments, results, views, widgets.preliminary_panels.
"""

from __future__ import annotations

from typing import Any, ClassVar

import ipywidgets as widgets
import traitlets

from ..experiments.asking import pool_of
from ..experiments.preliminary import iter_preliminary_epochs
from ..experiments.training_size import iter_preliminary_training_size
from ..jobs import Step
from ..results import EpochStudy, TrainingSizeStudy
from ..views.preliminary import EpochsView, TrainingSizeView
from .parts import check
from .preliminary_panels import Panel, Tolerance, number


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
