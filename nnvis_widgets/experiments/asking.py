"""What a train function of the user's is asked for, what it may answer, and what is refused.

May import: core, results, numpy, torch.
"""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, nn

from ..core.evaluator import Evaluator
from ..core.reading import reader
from ..core.states import State, copied, snapshot
from ..results.on_splits import SPLITS

Train = Callable[..., Iterator[Any]]
REQUIRED = ("subset", "epochs", "seed")
OPTIONAL = ("steps", "order", "schedule")
_FORM = "def train(*, subset, epochs, seed): ... yield epoch, model"
_YIELDS = "train: it yields (epoch, model) or (epoch, model, {'lr': ..., 'steps': ...})"
_EXAMPLE = """such as
    for epoch in range(1, epochs + 1):
        train_one_epoch(model); yield epoch, model"""


class TrainError(ValueError):
    """A training that does not do what it was asked for."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What one training is asked for.

    Attributes
    ----------
    subset : ndarray of int
        Indices of the training samples.
    epochs, seed : int
    more : dict
        Of the optional arguments those that are given: steps, order, schedule.
    """

    subset: np.ndarray
    epochs: int
    seed: int
    more: dict[str, Any] = field(default_factory=dict)

    def arguments(self) -> dict[str, Any]:
        """Return what the user's function is called with; the indices are a copy, which it may shuffle."""
        return {"subset": self.subset.copy(), "epochs": self.epochs, "seed": self.seed, **self.more}

    @property
    def steps(self) -> int | None:
        """How many optimiser steps, where these and not the epochs say when the training ends."""
        return self.more.get("steps")

    def progress(self, epoch: int, told: Mapping[str, Any]) -> float:
        """Return which share of the training is over after an epoch."""
        return epoch / self.epochs if self.steps is None else float(told.get("steps", 0.0)) / self.steps


def offered(train: Any) -> set[str]:
    """Return the optional arguments that a train function takes; refuse one that cannot be called as it will be."""
    if not callable(train):
        raise TypeError(f"train: a function, {_FORM}; received {type(train).__name__}")
    try:
        parameters = inspect.signature(train).parameters
    except (TypeError, ValueError) as error:
        raise TypeError(f"train: a function whose arguments can be read, {_FORM}") from error
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = {name for name, p in parameters.items() if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    missing = [name for name in REQUIRED if name not in named and not anything]
    if missing:
        raise TypeError(f"train: it is called with {', '.join(REQUIRED)} by name, and has no {', '.join(missing)}. {_FORM}")
    needed = [n for n, p in parameters.items() if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    other = [name for name in needed if name not in (*REQUIRED, *OPTIONAL)]
    if other:
        raise TypeError(
            f"train: it is called with {', '.join((*REQUIRED, *OPTIONAL))} only, and needs {', '.join(other)} too; bind it with "
            "functools.partial"
        )
    return {name for name in OPTIONAL if name in named}


def started(train: Train, asked: Asked) -> Iterator[Any]:
    """Return what a training yields, one by one; refuse one that returns something instead."""
    steps = train(**asked.arguments())
    # a model of several modules can be iterated over too, and so can a state_dict
    if not isinstance(steps, Iterable) or isinstance(steps, (nn.Module, Mapping, str, Tensor)):
        raise TrainError(
            f"train: a generator that yields (epoch, model) after each epoch; it returned {_article(steps)}. Yield in the loop, "
            f"{_EXAMPLE}"
        )
    return iter(steps)


def _article(value: Any) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"


def taken(yielded: Any, before: Sequence[int], asked: Asked) -> tuple[int, State, Mapping[str, Any]]:
    """Return the epoch, a copy of the weights, and what the training tells beside; refuse what does not follow `before`."""
    if not isinstance(yielded, tuple) or len(yielded) not in (2, 3):
        raise TrainError(
            f"{_YIELDS}; received {type(yielded).__name__}{f' of {len(yielded)}' if isinstance(yielded, tuple) else ''}. Yield "
            f"pairs in the loop, {_EXAMPLE}"
        )
    epoch, model, told = (*yielded, {})[:3]
    if not isinstance(epoch, (int, np.integer)) or isinstance(epoch, bool) or epoch < 0:
        raise TrainError(f"{_YIELDS}; the epoch is a whole number, 0 before training; received {epoch!r}")
    if not isinstance(model, (nn.Module, Mapping)):
        raise TrainError(f"{_YIELDS}; the model is a torch.nn.Module or its state_dict(); received {type(model).__name__}")
    if not isinstance(told, Mapping):
        raise TrainError(f"{_YIELDS}; received {type(told).__name__} as its third part")
    if before and epoch <= before[-1]:
        raise TrainError(f"train: epoch {epoch} came after epoch {before[-1]}; each once, in order")
    if epoch > asked.epochs and asked.steps is None:
        raise TrainError(f"train: asked for {asked.epochs} epochs, it yielded epoch {epoch}")
    return int(epoch), snapshot(model) if isinstance(model, nn.Module) else copied(model, "cpu"), told


def check_end(came: Sequence[int], different: int, told: Mapping[str, Any], asked: Asked) -> None:
    """Refuse a training that stopped before or after what it was asked for, or whose weights never differed."""
    if not came or came[-1] < 1:
        raise TrainError("train: it yielded no trained model; yield epoch, model after each epoch")
    if different == 1 and len([epoch for epoch in came if epoch]) > 1:
        raise TrainError(
            "train: all epochs have the same weights; yield inside the training loop (a list of one model holds its last weights "
            "many times)"
        )
    if asked.steps is not None:
        if told.get("steps", asked.steps) != asked.steps:
            raise TrainError(f"train: asked for {asked.steps} optimiser steps, it says that it made {told['steps']}")
    elif list(came) != list(range(0 if came[0] == 0 else 1, asked.epochs + 1)):
        raise TrainError(
            f"train: asked for {asked.epochs} epochs, it yielded {', '.join(map(str, came[:3]))} ... {came[-1]} "
            "(range(1, epochs) ends one short of epochs; range(1, epochs + 1) does not)"
        )


def pool_of(data: Any) -> tuple[int, np.ndarray | None]:
    """Return how many training samples there are, and their class labels where they can be read."""
    if isinstance(data, numbers.Integral) and not isinstance(data, bool):
        size, labels = int(data), None
    elif isinstance(data, (np.ndarray, Tensor)) and data.ndim == 1:
        given = data if isinstance(data, np.ndarray) else data.detach().cpu().numpy()
        size, labels = len(given), given if given.dtype.kind in "iub" else None
    else:
        _, size, labels = reader(data)
    if size < 1:
        raise ValueError(f"data: the training data (a Dataset, a loader, tensors), their labels, or their number; got {data!r}")
    # with hardly a sample a class, such as the targets of a regression on whole numbers, there are no shares to keep
    return size, labels if labels is not None and len(np.unique(labels)) <= size / 10 else None


def splits_of(evaluator: Any) -> dict[str, Evaluator]:
    """Return evaluators by the part that their samples play; a single one judges."""
    if isinstance(evaluator, Evaluator):
        return {"test" if evaluator.name == "test" else "validation": evaluator}
    rule = f"evaluator: an nv.Evaluator, or {{split: nv.Evaluator}} with splits of {', '.join(map(repr, SPLITS))}"
    if not isinstance(evaluator, Mapping) or not all(isinstance(part, Evaluator) for part in evaluator.values()):
        raise TypeError(f"{rule}; received {type(evaluator).__name__}")
    unknown = [name for name in evaluator if name not in SPLITS]
    if unknown:
        raise ValueError(f"{rule}; received {unknown[0]!r}")
    if not {"validation", "test"} & set(evaluator):
        raise ValueError(f"{rule}; one of them is 'validation' or 'test', since a training loss tells nothing of new samples")
    return {name: evaluator[name] for name in SPLITS if name in evaluator}


def whole(name: str, value: Any, least: int = 1) -> int:
    """Return a whole number, or refuse it."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name}: a whole number of at least {least}, received {value!r}")
    return int(value)


def share(name: str, value: Any) -> float:
    """Return a number between 0 and 1, or refuse it."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < 1:
        raise ValueError(f"{name}: between 0 and 1, such as 0.95; received {value!r}")
    return float(value)


def positive(name: str, value: Any) -> float:
    """Return a finite number above 0, or refuse it."""
    if not isinstance(value, (int, float, np.floating)) or isinstance(value, bool) or not np.isfinite(value) or value <= 0:
        raise ValueError(f"{name}: a finite number above 0, received {value!r}")
    return float(value)
