"""How many epochs a training needs: what `preliminary_epochs` returns.

May import: results.base, results.on_splits, numpy. pandas and matplotlib are imported by the methods that need them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .base import Result, new_axes
from .on_splits import ARM_COLOURS, OnSplits

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

SPLIT_WIDTHS = {"train": 1.0, "validation": 2.5, "test": 2.5}
FORCED = 0.1  # of the first learning rate: below it, a curve is flat because its steps are small


@dataclass(frozen=True, repr=False, eq=False)
class EpochStudy(OnSplits, Result):
    """Loss and metrics after each epoch of R trainings, and how many epochs are enough; A arms, E epochs.

    Attributes
    ----------
    arms : list of str
        Schedules of the learning rate that were asked for; "as given" where the training offers none.
    epochs : ndarray of int, shape (E,)
    arm, init, order : ndarray of int, shape (R,)
        Of each training: its arm, and the seeds of its initial weights and of the order of its samples.
    varies : list of str
        "both": one of the independent trainings that the choice rests on. "init", "order": only that seed is another than in the
        first one.
    loss : dict of str to ndarray, shape (R, E)
        For each split; NaN for what is still to come.
    metrics : dict of str to ndarray, shape (R, E)
        Named "split/metric".
    rate : ndarray, shape (R, E)
        Learning rate during the epoch, where the training tells it.
    excess, excess_high : ndarray, shape (A, E)
        ``L(e) - min L`` of the independent trainings that are complete, and its simultaneous upper bound over epochs, samples and
        seeds (see `nnvis_widgets.core.choosing`); NaN where no training is.
    init_sd, order_sd : ndarray, shape (A,)
        Spread of the loss after the last epoch where only that seed varies; NaN where it was not varied by itself.
    judged : str
        The split that the choice was made on.
    delta, confidence : float
        An epoch is enough where the upper bound is below delta.
    n : int
        Samples of the split that is judged.
    notes : list of str
        What a reader has to know.
    fraction : float
    provenance : dict
    """

    _shares_axes: ClassVar[bool] = False

    arms: list[str]
    epochs: np.ndarray
    arm: np.ndarray
    init: np.ndarray
    order: np.ndarray
    varies: list[str]
    loss: dict[str, np.ndarray]
    metrics: dict[str, np.ndarray]
    rate: np.ndarray
    excess: np.ndarray
    excess_high: np.ndarray
    init_sd: np.ndarray
    order_sd: np.ndarray
    judged: str
    delta: float
    confidence: float
    n: int
    notes: list[str] = field(default_factory=list)
    fraction: float = 1.0
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def chosen(self) -> np.ndarray:
        """The smallest epoch that is enough in each arm, shape (A,); NaN where none is, or only the last (see `falling`)."""
        enough = self._enough
        return np.array([self.epochs[row].min() if row[:-1].any() else np.nan for row in enough], dtype=float)

    @property
    def falling(self) -> np.ndarray:
        """Whether no epoch of an arm but the last is enough, shape (A,): the minimum of a falling loss always is."""
        enough = self._enough
        return enough[:, -1] & ~enough[:, :-1].any(axis=1)

    @property
    def _enough(self) -> np.ndarray:
        return self.excess_high < self.delta

    def with_delta(self, delta: float) -> EpochStudy:
        """Return the same study judged by another tolerance; nothing is trained or measured."""
        return replace(self, delta=_positive("delta", delta))

    def seeds(self, arm: int = 0) -> np.ndarray:
        """Return which trainings of an arm are independent and complete."""
        own = (self.arm == arm) & np.array([kind == "both" for kind in self.varies])
        return np.flatnonzero(own & ~np.isnan(self.loss[self.judged][:, -1]))

    @property
    def planned(self) -> int:
        """How many independent trainings of each arm were asked for."""
        return sum(kind == "both" for kind in self.varies) // len(self.arms)

    def mean(self, arm: int = 0, quantity: str = "loss", split: str | None = None) -> np.ndarray:
        """Return the mean curve of the independent trainings of an arm, (E,); NaN where none is complete."""
        values = self.values(quantity, split)[self.seeds(arm)]
        return values.mean(axis=0) if len(values) else np.full(len(self.epochs), np.nan)

    @property
    def rate_left(self) -> np.ndarray:
        """Learning rate of each epoch as a share of the first, shape (A, E); NaN where the training does not tell it."""
        at = np.flatnonzero(self.epochs >= 1)[0]
        rows = [self.rate[self.seeds(arm)] for arm in range(len(self.arms))]
        empty = np.full(len(self.epochs), np.nan)
        return np.stack([(row / row[:, at : at + 1]).mean(axis=0) if len(row) else empty for row in rows])

    @property
    def forced(self) -> np.ndarray:
        """Whether each arm's curve is flat from the chosen epoch on because the learning rate is, shape (A,)."""
        picks = [np.flatnonzero(self.epochs == epoch) for epoch in self.chosen]
        return np.array([bool(len(at) and self.rate_left[a, at[0]] < FORCED) for a, at in enumerate(picks)])

    def explain(self) -> list[str]:
        """Return in sentences what was found, arm by arm, and what stands against reading more into it."""
        return [self._arm_in_words(arm) for arm in range(len(self.arms))] + list(self.notes)

    def _arm_in_words(self, arm: int) -> str:
        name = "" if len(self.arms) == 1 else f"{self.arms[arm]}: "
        count, chosen = len(self.seeds(arm)), self.chosen[arm]
        if not count:
            return f"{name}no training is complete yet."
        seeds = (
            f"{count} {'seed' if count == 1 else 'seeds'}"
            if count == self.planned
            else f"{self._yet}{count} of {self.planned} seeds"
        )
        basis = f"({self.confidence:.0%}, {seeds}, n = {self.n})"
        lowest, last = self.excess[arm, -1] <= 0, self.epochs[-1]
        if self.falling[arm]:
            end = "the loss is lowest at the last one" if lowest else "only the last one is shown to be as low as any"
            return f"{name}{self._no_plateau}: {end}; train longer {basis}."
        if np.isnan(chosen):
            at = int(np.argmin(self.excess_high[arm]))
            longer = "The mean loss is lowest at the last epoch, so train longer. " if lowest else ""
            return (
                f"{name}no epoch is shown to be within {self.delta:.3g} of the lowest {self.judged} loss; the bound is smallest at "
                f"epoch {self.epochs[at]} ({self.excess_high[arm, at]:.2g}) {basis}. {longer}More seeds, more samples or a larger "
                "delta would tell."
            )
        at = int(np.flatnonzero(self.epochs == chosen)[0])
        words = (
            f"{name}{chosen:g} epochs are enough: the {self.judged} loss is then at most {self.excess_high[arm, at]:.2g} above its "
            f"lowest within {last} epochs {basis}."
        )
        fall = self.excess[arm, -2]
        if lowest and fall * last > self.delta:
            words += f" It still fell by {fall:.2g} in the last one: training as long again may bring more than {self.delta:.3g}."
        left = self.rate_left[arm, at]
        if self.forced[arm]:
            words += (
                f" This end is forced by the decay of the learning rate: in that epoch it is {left:.1%} of the first, and with "
                "steps that small any curve is flat, whether or not there is more to learn."
            )
        elif np.isfinite(left):
            words += f" The learning rate is then still {left:.0%} of the first: the curve does not end because the steps do."
        return words

    @property
    def _no_plateau(self) -> str:
        return f"no plateau within {self.epochs[-1]} {'epoch' if self.epochs[-1] == 1 else 'epochs'}"

    @property
    def _yet(self) -> str:
        # a training whose loss is not a number is finished, and in no mean
        return "so far, " if self.fraction < 1 else "only "

    @property
    def _so_far(self) -> str:
        """How many of the independent trainings are complete; empty when all are."""
        counts = [len(self.seeds(arm)) for arm in range(len(self.arms))]
        if min(counts) == self.planned:
            return ""
        return f"{self._yet}{'/'.join(map(str, dict.fromkeys(counts)))} of {self.planned} seed{'s' * (self.planned != 1)}"

    def __repr__(self) -> str:
        ends = zip(self.arms, self.chosen, self.falling, strict=True)
        chosen = ", ".join(
            f"{name}: {self._no_plateau if falling else 'none enough' if np.isnan(epoch) else f'{epoch:g} enough'}"
            for name, epoch, falling in ends
        )
        so_far = f"{self._so_far}; " if self._so_far else ""
        return (
            f"EpochStudy({len(self.arm)} trainings x {len(self.epochs)} epochs; {so_far}{chosen}; delta {self.delta:g}, "
            f"{self.judged}, n = {self.n})"
        )

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row for each training and epoch: seeds, learning rate, losses and metrics of each split."""
        import pandas

        runs, epochs = self.rate.shape
        columns: dict[str, Any] = {
            "arm": np.repeat([self.arms[a] for a in self.arm], epochs),
            "init": np.repeat(self.init, epochs),
            "order": np.repeat(self.order, epochs),
            "varies": np.repeat(self.varies, epochs),
            "epoch": np.tile(self.epochs, runs),
            "rate": self.rate.ravel(),
        }
        high = np.stack([self.excess_high[a] for a in self.arm]).ravel()
        return pandas.DataFrame({**columns, **self._columns(), "excess_high": high})

    def plot(self, ax: Axes | None = None, quantity: str = "loss") -> Axes:
        """Draw each training as a thin line, the means as thick ones, and the chosen epochs; returns the axes."""
        axes = new_axes(ax)
        for arm, name in enumerate(self.arms):
            colour = ARM_COLOURS[arm % len(ARM_COLOURS)]
            for split in self.splits:
                style = "--" if split == "train" else ":" if split != self.judged else "-"
                values = self.values(quantity, split)
                for run in np.flatnonzero(self.arm == arm):
                    axes.plot(self.epochs, values[run], style, color=colour, linewidth=0.6, alpha=0.45)
                label = f"{name}, {split}" if len(self.arms) > 1 else split
                width = SPLIT_WIDTHS.get(split, 1.5)
                axes.plot(self.epochs, self.mean(arm, quantity, split), style, color=colour, linewidth=width, label=label)
            if np.isfinite(self.chosen[arm]):
                axes.axvline(self.chosen[arm], color=colour, linestyle="-.", linewidth=1)
        axes.set(xlabel="epoch", ylabel=quantity)
        axes.locator_params(axis="x", integer=True)
        counts = "/".join(str(len(self.seeds(arm))) for arm in range(len(self.arms)))
        seeds = f"seeds: {counts}{f' of {self.planned}' if self._so_far else ''} (thin lines)"
        short = [name for name, falling in zip(self.arms, self.falling, strict=True) if falling]
        named = f"{', '.join(short)}: " if short and len(self.arms) > 1 else ""
        end = f"\n{named}{self._no_plateau}, train longer" if short else ""
        axes.set_title(f"chosen on {self.judged}, n = {self.n}, {seeds}{end}", fontsize="small")
        axes.legend(fontsize="small")
        return axes


def _positive(name: str, value: Any) -> float:
    if not isinstance(value, (int, float)) or not np.isfinite(value) or value <= 0:
        raise ValueError(f"{name}: a finite number above 0, received {value!r}")
    return float(value)
