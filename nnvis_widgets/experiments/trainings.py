"""The user's training, asked for again and again with other seeds and samples: measured, and kept when it is finished.

May import: core, store, numpy. The user trains, the library measures: each model that a training yields is one row of a family,
measured by the evaluators. A finished training is kept under a digest of everything that it depends on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__, store
from ..core.evaluator import Evaluator
from ..core.fingerprint import fingerprint
from ..core.states import State, digest, snapshot
from .asking import Asked, Train, check_end, offered, splits_of, started, taken
from .shared import SAMPLE_BYTES, sample_losses

_MATTERS = ("n", "data", "loss", "loss_is", "output", "dtype", "device", "versions")
TEST_CHOOSES = (
    "Chosen on test data: they are validation data from now on, and the loss at what was chosen is too good. Keep a part of the "
    "training data as validation, and give the test data beside it."
)
CHANGES = (
    "Something that the train function refers to changes while it trains, such as a list that it appends to. It counts as a part "
    "of the training, so what is kept will not be found again: give the function its own."
)
SAME_SEEDS = (
    "Trainings with other seeds end with the same weights, bit for bit: the train function does not use its seed, and what is "
    "said of seeds says nothing."
)
SAME_SUBSETS = (
    "Trainings on other subsets end with the same weights, bit for bit: the train function does not use its subset, and what is "
    "said of sizes says nothing."
)


@dataclass(eq=False)
class Curve:
    """What has been measured of one training.

    Attributes
    ----------
    epochs : list of int
        Those that were measured.
    values : dict of str to list of float
        Named "split/quantity", one number an epoch.
    samples : list of ndarray or None
        Loss of each sample of the judged split at each epoch, where it is known and all count alike.
    told : dict of str to list of float
        What the training says of these epochs beside the model: "lr", "steps"; NaN where it does not.
    progress : float
    weights : str
        Digest of the last weights.
    complete : bool
    """

    epochs: list[int] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    samples: list[np.ndarray] | None = field(default_factory=list)
    told: dict[str, list[float]] = field(default_factory=dict)
    progress: float = 0.0
    weights: str = ""
    complete: bool = False


class Memory(dict[str, Curve]):
    """Keeps the finished trainings of one train function as long as it lives, in place of a folder."""

    def __init__(self) -> None:
        super().__init__()
        self._train: Train | None = None

    def check(self, train: Train) -> None:
        """Refuse another function than the first."""
        self._train = self._train or train
        if train is not self._train:
            raise ValueError("folder: a memory keeps the trainings of one train function")


class Trainings:
    """A train function, the evaluators that measure what it yields, and the folder that keeps what is finished.

    Parameters
    ----------
    train : callable
    evaluator : Evaluator, or mapping of "train", "validation", "test" to Evaluator
    folder : path or Memory, optional
    settings : mapping, optional
        Whatever else a training depends on and a digest of its code cannot see.
    without : sequence of str
        Splits that are not measured.

    Attributes
    ----------
    offered : set of str
        Optional arguments that the function takes.
    evaluators : dict of str to Evaluator
    judged : str
        The split that a choice is made on: "validation", or "test" where there is no other.
    n : int
        Samples of that split.
    notes : list of str
    """

    def __init__(
        self,
        train: Train,
        evaluator: Any,
        folder: Any = None,
        settings: Mapping[str, Any] | None = None,
        without: tuple[str, ...] = (),
    ):
        self.offered = offered(train)
        self._train = train
        self.evaluators = {name: part for name, part in splits_of(evaluator).items() if name not in without}
        self.judged = "validation" if "validation" in self.evaluators else "test"
        self.n = self.evaluators[self.judged].n
        self.notes = [] if self.judged == "validation" else [TEST_CHOOSES]
        self._memory = folder if isinstance(folder, Memory) else None
        self._folder = None if folder is None or self._memory is not None else Path(folder)
        self._about: dict[str, Any] = {}
        if self._memory is not None:
            self._memory.check(train)
            self._about = {"judged": self.judged}
        elif self._folder is not None:
            if self._folder.exists() and not self._folder.is_dir():
                raise ValueError(f"folder: where finished trainings are kept, received the file {self._folder}")
            identity = _identified(train, self.evaluators, settings)
            self._about = {"train": identity, "version": __version__, "judged": self.judged}
        elif settings is not None:
            raise ValueError("settings: only with folder=; they say which of the trainings that it keeps are the same")

    @property
    def quantities(self) -> dict[str, tuple[str, ...]]:
        """What is measured on each split."""
        return {name: evaluator.quantities for name, evaluator in self.evaluators.items()}

    def provenance(self) -> dict[str, Any]:
        """Return what it takes to repeat the measurements on the judged split; the data are read for it."""
        return self._promised(self.evaluators[self.judged])

    def run(self, asked: Asked, *, last_only: bool = False) -> Iterator[Curve]:
        """Yield the growing curve of one training after each epoch; one that the folder keeps at once and whole.

        With `last_only` nothing is measured before the training is over.
        """
        key, about = self._key(asked, last_only)
        kept = self._kept(key)
        if kept is not None:
            yield kept
            return
        curve, seen = Curve(), set[str]()
        came: list[int] = []
        state: State | None = None
        told: Mapping[str, Any] = {}
        steps = started(self._train, asked)
        with closing(steps) if hasattr(steps, "close") else nullcontext():  # type: ignore[type-var]
            for yielded in steps:
                epoch, state, told = taken(yielded, came, asked)
                curve.weights = digest(state)
                seen.add(curve.weights if epoch else "")
                came.append(epoch)
                curve.progress = min(asked.progress(epoch, told), 1.0)
                if not last_only:
                    self._measure(curve, epoch, state, told)
                    if curve.progress < 1.0:
                        yield curve
                elif curve.progress < 1.0:
                    yield curve
        check_end(came, len(seen - {""}), told, asked)
        if last_only and state is not None:
            self._measure(curve, came[-1], state, told)
        curve.progress, curve.complete = 1.0, True
        if self._memory is not None:
            self._memory[key] = curve
        if self._folder is not None:
            _write(self._folder / f"{key}.safetensors", curve, about)
            if CHANGES not in self.notes and fingerprint(self._train)[0] != self._about["train"][0]:
                self.notes.append(CHANGES)
        yield curve

    def _measure(self, curve: Curve, epoch: int, state: State, told: Mapping[str, Any]) -> None:
        for name, evaluator in self.evaluators.items():
            family = evaluator.family(None, [state], background=state)
            for sweep in evaluator.sweep(family, [[1.0]], policy="stored", keep=SAMPLE_BYTES if name == self.judged else 0):
                last = sweep
            values = last.at(0)
            for quantity, value in {"loss": values["loss"], **values["metrics"]}.items():
                curve.values.setdefault(f"{name}/{quantity}", []).append(value)
            if name == self.judged:
                single = sample_losses(last, slice(None))
                if single is None or curve.samples is None or not _alike(single[0], values["loss"]):
                    curve.samples = None
                else:
                    curve.samples.append(single[0])
        curve.epochs.append(epoch)
        for name in ("lr", "steps"):
            curve.told.setdefault(name, []).append(float(told.get(name, np.nan)))

    def _promised(self, evaluator: Evaluator) -> dict[str, Any]:
        state = snapshot(evaluator.model)
        promised = evaluator.promised(evaluator.family(None, [state], state), policy="stored")
        return {name: value for name, value in promised.items() if name not in ("weights", "background", "scope")}

    def _kept(self, key: str) -> Curve | None:
        if self._memory is not None:
            return self._memory.get(key)
        return None if self._folder is None else _read(self._folder / f"{key}.safetensors")

    def _key(self, asked: Asked, last_only: bool) -> tuple[str, dict[str, Any]]:
        if not self._about:
            return "", {}
        if "measured" not in self._about:
            promised = {name: (self._promised(evaluator), evaluator) for name, evaluator in self.evaluators.items()}
            self._about["measured"] = {
                name: {key: about[key] for key in _MATTERS} | {"quantities": list(evaluator.quantities)}
                for name, (about, evaluator) in promised.items()
            }
        subset = hashlib.blake2b(asked.subset.astype(np.int64).tobytes(), digest_size=16).hexdigest()
        about = self._about | {
            "subset": subset, "size": len(asked.subset), "epochs": asked.epochs, "seed": asked.seed, "more": asked.more,
            "last_only": last_only,
        }  # fmt: skip
        return hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=12).hexdigest(), about


def _identified(train: Train, evaluators: Mapping[str, Evaluator], settings: Mapping[str, Any] | None) -> list[str]:
    code, unreadable = fingerprint(train)
    # of the evaluators' models the code: their weights are those that the training yields
    measured = {name: [part.functions, type(part.model), repr(part.model)] for name, part in evaluators.items()}
    measuring, more = fingerprint(measured)
    if (unreadable or more) and settings is None:
        raise ValueError(
            f"folder: a kept training is taken only for the same one, and what {', '.join([*unreadable, *more][:3])} holds cannot "
            "be told. Name all that the training depends on, such as settings={'lr': 0.1, 'data': 'v2'}, or leave folder= out"
        )
    told, opaque = fingerprint(dict(settings or {}))
    if opaque:
        raise ValueError(f"settings: numbers, strings, arrays and lists of these; {', '.join(opaque[:3])} cannot be told apart")
    return [code, measuring, told]


def _alike(single: np.ndarray, mean: float) -> bool:
    """Whether the mean of single losses is the loss: it is not where classes have weights, and then they cannot be resampled."""
    return not np.isfinite(mean) or bool(np.isclose(single.astype(float).mean(), mean, rtol=1e-4, atol=1e-6))


def _write(path: Path, curve: Curve, about: Mapping[str, Any]) -> None:
    arrays = {f"values/{name}": np.array(values, dtype=float) for name, values in curve.values.items()}
    arrays |= {f"told/{name}": np.array(values, dtype=float) for name, values in curve.told.items()}
    arrays["epochs"] = np.array(curve.epochs, dtype=np.int64)
    if curve.samples:
        arrays["samples"] = np.stack(curve.samples)
    store.write_arrays(path, arrays, {"training": dict(about), "weights": curve.weights})


def _read(path: Path) -> Curve | None:
    """Return a kept training; None where there is none, or its file is damaged: it is then made anew."""
    try:
        arrays, about = store.read_arrays(path)
    except (FileNotFoundError, store.StoreError):
        return None
    if not {"training", "weights"} <= about.keys() or "epochs" not in arrays:
        return None
    groups: dict[str, dict[str, list[float]]] = {"values": {}, "told": {}}
    for name, array in arrays.items():
        group, _, key = name.partition("/")
        if key:
            groups[group][key] = array.tolist()
    samples = list(arrays["samples"]) if "samples" in arrays else None
    return Curve(arrays["epochs"].tolist(), groups["values"], samples, groups["told"], 1.0, str(about["weights"]), True)
