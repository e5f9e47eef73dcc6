"""How many training samples does an experiment need? With as many epochs, and with as many steps, on nested random subsets.

May import: core, results, numpy, scipy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import special, stats

from ..core.data import stratified_order
from ..core.power_law import PowerLaw, power_law
from ..results import TrainingSizeStudy
from .asking import Asked, Train, pool_of, share, whole
from .preliminary import Splits
from .shared import answer
from .trainings import SAME_SEEDS, SAME_SUBSETS, Curve, Trainings

EQUAL_EPOCHS, EQUAL_STEPS = "equal epochs", "equal steps"
NO_STEPS = (
    "Equal epochs only: smaller subsets also mean fewer optimiser steps, so the curve mixes data and compute. Let train take "
    "steps= and stop after so many."
)
STEPS_UNKNOWN = (
    "The arm of equal steps was not trained, since nobody says how many steps the training on the largest size makes: yield "
    "(epoch, model, {'steps': so_far}), or pass steps=."
)


def iter_preliminary_training_size(
    train: Train,
    evaluator: Splits,
    data: Any,
    *,
    epochs: int = 15,
    sizes: Sequence[int] | None = None,
    subsets: int = 3,
    seeds: int = 3,
    steps: int | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    folder: Any = None,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[TrainingSizeStudy]:
    """Yield partial results of `preliminary_training_size`: after each epoch of each training."""
    trainings = Trainings(train, evaluator, folder, settings, without=("train",))
    total, labels = pool_of(data)
    epochs, subsets, seeds = whole("epochs", epochs), whole("subsets", subsets), whole("seeds", seeds)
    confidence = share("confidence", confidence)
    chosen = _sizes(sizes, total, labels)
    if steps is not None:
        steps = whole("steps", steps)
        if "steps" not in trainings.offered:
            raise ValueError("steps: only where train takes steps=, after which it stops whatever the epochs")
    orders = []
    for number in range(subsets):
        rng = np.random.default_rng([whole("seed", seed, 0), number])
        orders.append(rng.permutation(total) if labels is None else stratified_order(labels, rng))
    return _Study(trainings, orders, chosen, epochs, seeds, steps, confidence).results()


def preliminary_training_size(
    train: Train,
    evaluator: Splits,
    data: Any,
    *,
    epochs: int = 15,
    sizes: Sequence[int] | None = None,
    subsets: int = 3,
    seeds: int = 3,
    steps: int | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    folder: Any = None,
    settings: Mapping[str, Any] | None = None,
) -> TrainingSizeStudy:
    """Return the loss of models trained on random subsets of several sizes, with equal epochs and with equal steps.

    Parameters
    ----------
    train : callable
        As for `preliminary_epochs`. The second arm needs it to take ``steps=``: it then stops after so many optimiser steps,
        whatever the epochs, and yields at least once, at the end.
    evaluator : Evaluator, or dict of "validation", "test" to Evaluator
        A "train" evaluator is left out: most of its samples are new to a model that was trained on a subset.
    data : DataLoader, Dataset, tuple of tensors, labels, or int
        The training data, their labels, or how many they are. Where labels are known, subsets keep the shares of the classes.
    epochs : int
    sizes : sequence of int, optional
        Default: five, from a sixteenth to all of the samples, each twice the one before.
    subsets, seeds : int
        Random subsets, each nested (the smaller sizes of one lie in its larger ones), and trainings on each. Of all samples there
        is only one subset.
    steps : int, optional
        Of the second arm. Default: those of the training on the largest size, where it tells them ("steps" in what it yields).
    seed : int
        Of the subsets.
    confidence, folder, settings
        As for `preliminary_epochs`.

    Returns
    -------
    TrainingSizeStudy

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo_training("digits", samples=100)
    >>> sizes = nv.preliminary_training_size(
    ...     demo.train, demo.evaluators, demo.data, epochs=1, sizes=[50, 100], subsets=2, seeds=2, steps=3
    ... )
    >>> sizes
    TrainingSizeStudy(...)
    """
    return answer(
        iter_preliminary_training_size(
            train, evaluator, data, epochs=epochs, sizes=sizes, subsets=subsets, seeds=seeds, steps=steps, seed=seed,
            confidence=confidence, folder=folder, settings=settings,
        )
    )  # fmt: skip


def _sizes(sizes: Sequence[int] | None, total: int, labels: np.ndarray | None) -> np.ndarray:
    least = 2 if labels is None else len(np.unique(labels))
    if sizes is None:
        halved = [total // 2**k for k in range(4, -1, -1)]
        return np.unique([max(size, min(least, total)) for size in halved])
    chosen = np.array([whole("sizes", size) for size in sizes])
    if not len(chosen) or chosen.max() > total or (np.diff(chosen) <= 0).any():
        raise ValueError(f"sizes: ascending whole numbers up to {total} (the training samples), received {list(sizes)}")
    return chosen


class _Study:
    """The trainings of one study, smallest sizes first, and what is known of them."""

    def __init__(
        self, trainings: Trainings, orders: list[np.ndarray], sizes: np.ndarray, epochs: int, seeds: int, steps: int | None,
        confidence: float,
    ):  # fmt: skip
        self._trainings, self._orders, self._sizes = trainings, orders, sizes
        self._epochs, self._seeds, self._steps, self._confidence = epochs, seeds, steps, confidence
        self._total = len(orders[0])
        self._arms = [EQUAL_EPOCHS] + ([EQUAL_STEPS] if "steps" in trainings.offered else [])
        shape = len(self._arms), len(sizes), len(orders), seeds
        names = [f"{split}/{quantity}" for split, quantities in trainings.quantities.items() for quantity in quantities]
        self._values = {name: np.full(shape, np.nan) for name in names}
        self._notes = [] if len(self._arms) > 1 else [NO_STEPS]
        self._provenance: dict[str, Any] = {}
        self._ends: dict[tuple[int, int, int, int], str] = {}
        self._fits: list[PowerLaw] = [PowerLaw(reason="no size is complete yet")] * len(self._arms)
        places = [(a, k, j, s) for a, k, j, s in np.ndindex(*shape) if j == 0 or sizes[k] < self._total]
        # the work of one: samples that it goes over
        self._work = {place: float(sizes[place[1]] if place[0] == 0 else sizes[-1]) for place in places}

    def results(self) -> Iterator[TrainingSizeStudy]:
        self._provenance = self._trainings.provenance()
        done, whole_work, study = 0.0, sum(self._work.values()), self._study()
        for place, work in self._work.items():
            arm, k, j, s = place
            if arm and self._steps is None:
                self._notes.append(STEPS_UNKNOWN)
                self._fits[arm] = PowerLaw(reason="it was not trained")
                yield self._study()
                return
            more: dict[str, Any] = {"steps": self._steps} if arm else {}
            more |= {"order": s} if "order" in self._trainings.offered else {}
            for curve in self._trainings.run(Asked(self._orders[j][: self._sizes[k]], self._epochs, s, more), last_only=True):
                if curve.complete:
                    self._enter(place, curve)
                    study = self._study()
                yield replace(study, fraction=(done + work * curve.progress) / whole_work)
            done += work

    def _enter(self, place: tuple[int, int, int, int], curve: Curve) -> None:
        for name, values in self._values.items():
            values[place] = curve.values[name][-1]
        arm, k, j, s = place
        for other, weights in self._ends.items():
            same = weights == curve.weights and other[0] == arm and other != place
            note = SAME_SEEDS if other[1:3] == (k, j) else SAME_SUBSETS if other[3] == s else ""
            if same and note and note not in self._notes:
                self._notes.append(note)
        self._ends[place] = curve.weights
        made = curve.told["steps"][-1]
        if place[0] == 0 and place[1] == len(self._sizes) - 1 and self._steps is None and np.isfinite(made):
            self._steps = int(made)
        last = place[2] == len(self._orders) - 1 or self._sizes[place[1]] == self._total
        if place[3] == self._seeds - 1 and last:
            self._fits[place[0]] = self._fitted(place[0])

    def _units(self, arm: int, k: int) -> np.ndarray:
        """Return what may be taken as independent at a size: the means of its complete subsets, or the seeds of its only one."""
        values = self._values[f"{self._trainings.judged}/loss"][arm, k]
        if len(self._orders) == 1 or self._sizes[k] == self._total:
            return values[0][~np.isnan(values[0])]
        return values[~np.isnan(values).any(axis=1)].mean(axis=1)

    def _fitted(self, arm: int) -> PowerLaw:
        units = [self._units(arm, k) for k in range(len(self._sizes))]
        units = [unit for unit in units if len(unit)]  # sizes are trained in ascending order
        sizes = self._sizes[: len(units)]
        degrees = sum(len(unit) - 1 for unit in units)
        if not degrees:
            return PowerLaw(reason="one subset and one seed of each size: no errors to fit with")
        errors = _smoothed(sizes, units)
        return power_law(sizes, [unit.mean() for unit in units], errors, degrees, confidence=self._confidence)

    def _study(self) -> TrainingSizeStudy:
        loss = self._values[f"{self._trainings.judged}/loss"]
        shape = loss.shape[:2]
        mean, low, high, subset_sd, seed_sd = (np.full(shape, np.nan) for _ in range(5))
        for place in np.ndindex(*shape):
            units = self._units(*place)
            if not len(units):
                continue
            mean[place] = units.mean()
            if len(units) > 1:
                half = stats.t.ppf((1 + self._confidence) / 2, len(units) - 1) * units.std(ddof=1) / np.sqrt(len(units))
                low[place], high[place] = mean[place] - half, mean[place] + half
            known = ~np.isnan(loss[place]).any(axis=1)
            if known.sum() > 1:
                subset_sd[place] = units.std(ddof=1)
            if loss.shape[3] > 1 and known.any():
                seed_sd[place] = np.sqrt(loss[place][known].var(axis=1, ddof=1).mean())
        return TrainingSizeStudy(
            sizes=self._sizes,
            arms=list(self._arms),
            loss={split: self._values[f"{split}/loss"] for split in self._trainings.evaluators},
            metrics={name: values for name, values in self._values.items() if not name.endswith("/loss")},
            mean=mean,
            low=low,
            high=high,
            subset_sd=subset_sd,
            seed_sd=seed_sd,
            fits={name: np.array([getattr(fit, name) for fit in self._fits]) for name in ("a", "b", "c", "doubling")},
            unidentified=[fit.reason for fit in self._fits],
            steps=float("nan") if len(self._arms) == 1 or self._steps is None else float(self._steps),
            judged=self._trainings.judged,
            confidence=self._confidence,
            n=self._trainings.n,
            notes=self._trainings.notes + self._notes,
            provenance=self._provenance,
        )


def _smoothed(sizes: np.ndarray, units: list[np.ndarray]) -> np.ndarray:
    """Return the standard error of each size, its variance smoothed over sizes: each alone has two degrees of freedom."""
    degrees = np.array([len(unit) - 1 for unit in units])
    counts = degrees + 1
    variances = np.array([unit.var(ddof=1) if len(unit) > 1 else np.nan for unit in units])
    usable = degrees > 0
    if (variances[usable] == 0).any():
        return np.where(usable, np.sqrt(variances / counts), np.nan)
    # the logarithm of a sample variance lies below that of the variance by as much, on average
    half = degrees[usable] / 2
    logs = np.log(variances[usable]) - (special.digamma(half) - np.log(half))
    design = np.stack([np.ones(usable.sum()), np.log(sizes[usable] / sizes[-1])], 1)[:, : min(2, usable.sum())]
    weights = np.sqrt(1 / special.polygamma(1, half))
    line, *_ = np.linalg.lstsq(design * weights[:, None], logs * weights, rcond=None)
    full = np.stack([np.ones(len(sizes)), np.log(sizes / sizes[-1])], 1)[:, : design.shape[1]]
    return np.sqrt(np.exp(full @ line) / counts)
