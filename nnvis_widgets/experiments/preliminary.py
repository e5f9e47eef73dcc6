"""How many epochs does an experiment need? Several trainings, measured after every epoch.

May import: core, results, numpy. The models that the user's train function yields are measured like any other weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..core.choosing import excess
from ..core.evaluator import Evaluator
from ..results import EpochStudy
from .asking import Asked, Train, pool_of, positive, share, whole
from .shared import answer
from .trainings import SAME_SEEDS, Curve, Trainings

Splits = Evaluator | Mapping[str, Evaluator]
SCHEDULES = ("decayed", "constant")
NO_SAMPLES = "The loss does not count every sample alike, or is known for batches only: bounds are over seeds, not over samples."
ONE_SCHEDULE = (
    "One schedule of the learning rate only: whether the curves end because the rate does cannot be told. Let train take schedule= "
    "('decayed' or 'constant')."
)
ONE_SEED = "One seed: the bounds are over samples alone, and say nothing of other initial weights and orders."
_APART = 1000  # seeds of orders that are varied by themselves do not meet those of the independent trainings


def iter_preliminary_epochs(
    train: Train,
    evaluator: Splits,
    data: Any,
    *,
    epochs: int = 15,
    seeds: int = 5,
    separate: int = 0,
    schedules: Sequence[str] | None = None,
    delta: float = 0.01,
    confidence: float = 0.95,
    folder: Any = None,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[EpochStudy]:
    """Yield partial results of `preliminary_epochs`: after each epoch of each training."""
    trainings = Trainings(train, evaluator, folder, settings)
    subset = np.arange(pool_of(data)[0])
    epochs, seeds, separate = whole("epochs", epochs), whole("seeds", seeds), whole("separate", separate, 0)
    delta, confidence = positive("delta", delta), share("confidence", confidence)
    if separate and "order" not in trainings.offered:
        raise ValueError("separate: only where train takes order= too, the seed of the samples' order beside that of the weights")
    arms = _arms(trainings, schedules)
    pairs = [("both", s, s) for s in range(seeds)]
    pairs += [("init", _APART + k, 0) for k in range(separate)] + [("order", 0, _APART + k) for k in range(separate)]
    plans = []
    for varies, init, order in pairs:
        for number, arm in enumerate(arms):
            more: dict[str, Any] = {"order": order} if "order" in trainings.offered else {}
            more |= {"schedule": arm} if "schedule" in trainings.offered else {}
            plans.append((number, varies, init, order, Asked(subset, epochs, init, more)))
    return _epochs(trainings, plans, list(arms), delta, confidence)


def preliminary_epochs(
    train: Train,
    evaluator: Splits,
    data: Any,
    *,
    epochs: int = 15,
    seeds: int = 5,
    separate: int = 0,
    schedules: Sequence[str] | None = None,
    delta: float = 0.01,
    confidence: float = 0.95,
    folder: Any = None,
    settings: Mapping[str, Any] | None = None,
) -> EpochStudy:
    """Return loss and metrics after each epoch of several trainings, and the smallest number of epochs that is enough.

    Enough means within `delta` of the lowest loss of these epochs, so the last of them proves nothing: where it alone is, the study
    says that there is no plateau, and `chosen` is NaN.

    Parameters
    ----------
    train : callable
        Your training loop: ``train(subset=indices, epochs=15, seed=0)`` builds a model from the seed, trains it on those samples
        of the training data, and yields ``(epoch, model)`` after each epoch from 1 to `epochs` (and, if you like, 0 before). It may
        yield a third part, ``{"lr": 0.1, "steps": 840}``: the learning rate of the epoch, and the optimiser steps so far. If it
        takes ``order=``, that seeds the order of the samples and ``seed`` only the weights; if it takes ``schedule=``, it is called
        with "decayed" and "constant".
    evaluator : Evaluator, or dict of "train", "validation", "test" to Evaluator
        What measures the models. Epochs are chosen on "validation"; the curves of the others are shown. A single evaluator judges.
    data : DataLoader, Dataset, tuple of tensors, labels, or int
        The training data, or how many samples they are.
    epochs, seeds : int
    separate : int
        So many further trainings in which only the weights, and only the order, have another seed than in the first one.
    schedules : sequence of str, optional
        Default: "decayed" and "constant" where the training offers a schedule.
    delta : float
        In units of the loss: an epoch is enough where ``L(e) - min L`` is below it.
    confidence : float
        With which this holds for all epochs at once, over samples and seeds (`nnvis_widgets.core.choosing`).
    folder : path, optional
        Keeps each finished training. Called again, also after it was interrupted, the study takes from there what was trained by
        the same code on the same samples with the same settings, measured on the same data; nothing else.
    settings : dict, optional
        With a folder: what the training depends on and its code does not show, such as files that it reads.

    Returns
    -------
    EpochStudy

    Raises
    ------
    TrainError
        The training does not do what it was asked for.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo_training("digits", samples=100)
    >>> nv.preliminary_epochs(demo.train, demo.evaluators, demo.data, epochs=2, seeds=2, schedules=["decayed"])
    EpochStudy(...)
    """
    return answer(
        iter_preliminary_epochs(
            train, evaluator, data, epochs=epochs, seeds=seeds, separate=separate, schedules=schedules, delta=delta,
            confidence=confidence, folder=folder, settings=settings,
        )
    )  # fmt: skip


def _arms(trainings: Trainings, schedules: Sequence[str] | None) -> Sequence[str]:
    offers = "schedule" in trainings.offered
    if schedules is None:
        return SCHEDULES if offers else ("as given",)
    if isinstance(schedules, str) or not schedules or not all(isinstance(name, str) for name in schedules):
        raise ValueError(f"schedules: a list of names such as {list(SCHEDULES)}, received {schedules!r}")
    if not offers:
        raise ValueError("schedules: only where train takes schedule=")
    return tuple(dict.fromkeys(schedules))


def _epochs(trainings: Trainings, plans: list, arms: list[str], delta: float, confidence: float) -> Iterator[EpochStudy]:
    curves: list[Curve] = [Curve() for _ in plans]
    last = plans[0][-1].epochs
    bounds = {arm: (np.full(last, np.nan), np.full(last, np.nan)) for arm in range(len(arms))}
    notes: list[str] = []
    if "schedule" not in trainings.offered:
        notes.append(ONE_SCHEDULE)
    provenance = trainings.provenance()
    for number, (arm, _, _, _, asked) in enumerate(plans):
        for curve in trainings.run(asked):
            curves[number] = curve
            if curve.complete:
                own = [c for c, (a, varies, *_) in zip(curves, plans, strict=True) if a == arm and varies == "both" and c.complete]
                bounds[arm] = _bounded(own, trainings.judged, last, confidence)
                if len({one.weights for one in own}) < len(own) and SAME_SEEDS not in notes:
                    notes.append(SAME_SEEDS)
                if curve.samples is None and NO_SAMPLES not in notes:
                    notes.append(NO_SAMPLES)
            yield _epoch_study(trainings, plans, arms, curves, bounds, notes, provenance, delta, confidence)


def _bounded(own: list[Curve], judged: str, last: int, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    if not own:
        return np.full(last, np.nan), np.full(last, np.nan)
    means = np.stack([curve.values[f"{judged}/loss"][-last:] for curve in own])
    singles = [curve.samples for curve in own]
    mean_of: np.ndarray | None = None
    if all(single is not None for single in singles):
        mean_of = np.stack([np.stack(single[-last:]) for single in singles if single is not None]).mean(axis=0, dtype=np.float64)
    found = excess(means, mean_of, confidence=confidence)
    return found.mean, found.high


def _epoch_study(
    trainings: Trainings, plans: list, arms: list[str], curves: list[Curve], bounds: dict, notes: list[str],
    provenance: dict[str, Any], delta: float, confidence: float,
) -> EpochStudy:  # fmt: skip
    last = plans[0][-1].epochs
    untrained = any(curve.epochs and curve.epochs[0] == 0 for curve in curves)
    epochs = np.arange(0 if untrained else 1, last + 1)
    table = {
        f"{split}/{quantity}": np.stack([_placed(curve, curve.values.get(f"{split}/{quantity}", []), epochs) for curve in curves])
        for split, quantities in trainings.quantities.items()
        for quantity in quantities
    }
    loss = {split: table[f"{split}/loss"] for split in trainings.evaluators}
    varies, arm = [plan[1] for plan in plans], np.array([plan[0] for plan in plans])
    final = loss[trainings.judged][:, -1]
    complete = [a for a, kind, curve in zip(arm, varies, curves, strict=True) if kind == "both" and curve.complete]
    alone = [ONE_SEED] if 1 in np.bincount(complete, minlength=len(arms)) else []
    pad = np.full(len(epochs) - last, np.nan)  # epoch 0 is shown and not chosen
    return EpochStudy(
        arms=arms,
        epochs=epochs,
        arm=arm,
        init=np.array([plan[2] for plan in plans]),
        order=np.array([plan[3] for plan in plans]),
        varies=varies,
        loss=loss,
        metrics={name: values for name, values in table.items() if not name.endswith("/loss")},
        rate=np.stack([_placed(curve, curve.told.get("lr", []), epochs) for curve in curves]),
        excess=np.stack([np.concatenate([pad, bounds[a][0]]) for a in range(len(arms))]),
        excess_high=np.stack([np.concatenate([pad, bounds[a][1]]) for a in range(len(arms))]),
        init_sd=_spread_of("init", final, arm, varies, len(arms)),
        order_sd=_spread_of("order", final, arm, varies, len(arms)),
        judged=trainings.judged,
        delta=delta,
        confidence=confidence,
        n=trainings.n,
        notes=trainings.notes + notes + alone,
        fraction=float(np.mean([1.0 if curve.complete else curve.progress for curve in curves])),
        provenance=provenance,
    )


def _placed(curve: Curve, values: Sequence[float], epochs: np.ndarray) -> np.ndarray:
    row = np.full(len(epochs), np.nan)
    row[np.array(curve.epochs, dtype=int) - epochs[0]] = values if len(values) else np.nan
    return row


def _spread_of(what: str, final: np.ndarray, arm: np.ndarray, varies: list[str], arms: int) -> np.ndarray:
    """Return the spread over trainings that differ from the first of their arm in one seed only, that one included."""
    kinds, answer = np.array(varies), np.full(arms, np.nan)
    for a in range(arms):
        first = np.flatnonzero((arm == a) & (kinds == "both"))[:1]
        values = final[np.concatenate([first, np.flatnonzero((arm == a) & (kinds == what))])]
        if len(values) > 1 and np.isfinite(values).all():
            answer[a] = values.std(ddof=1)
    return answer
