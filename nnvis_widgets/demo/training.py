"""The training of the thesis's network as a function to experiment with: for `preliminary_epochs` and its like.

May import: core, and the rest of the demo. The data are those of `load_demo`, and a part of the training images is kept as
validation.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..core.data import stratified_order
from ..core.evaluator import Evaluator
from .images import Split, cache_folder, check_names, images_of
from .network import DECAY, SETTINGS, seeded_lenet, trained

_VALIDATION = {"digits": 300, "mnist": 10_000, "fashion-mnist": 10_000}


@dataclass(frozen=True, eq=False, repr=False)
class DemoTraining:
    """A training to experiment with: ``preliminary_epochs(study.train, study.evaluators, study.data)``.

    Attributes
    ----------
    train : Train
        Called with subset, epochs, seed, and if you like steps, order, schedule.
    evaluators : dict of "train", "validation", "test" to Evaluator
    data : tuple of Tensor
        The images that there are to train with, and their labels; the validation images are not among them.
    """

    train: Train
    evaluators: dict[str, Evaluator]
    data: Split

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} n = {evaluator.n}" for name, evaluator in self.evaluators.items())
        said = ", ".join(f"{name} {value}" for name, value in self.train.plan.items())
        return f"DemoTraining(LeNet on images {tuple(self.data[0].shape)}: {said}; evaluators {sizes})"


@dataclass(frozen=True, eq=False)
class Train:
    """Trains a LeNet on some of the images; one seed and one subset give one training, bit for bit.

    Attributes
    ----------
    data : tuple of Tensor
    plan : dict
        Learning rate, momentum, batch size, shift, optimizer.
    """

    data: Split
    plan: dict[str, Any]

    def __call__(
        self, *, subset: Any, epochs: int, seed: int, steps: int | None = None, order: int | None = None, schedule: str = "decayed"
    ) -> Iterator[tuple[int, nn.Module, dict[str, float]]]:
        """Yield (epoch, model, {"lr": ..., "steps": ...}) after each epoch.

        Parameters
        ----------
        subset : array_like of int
            Indices of the images.
        epochs, seed : int
        steps : int, optional
            End after so many optimiser steps, whatever the epochs; the learning rate decays over these.
        order : int, optional
            Seed of the order of the images; that of the weights is then `seed` alone.
        schedule : {"decayed", "constant"}
            "decayed": the learning rate is multiplied by 0.7 after each epoch.
        """
        if schedule not in ("decayed", "constant"):
            raise ValueError(f"schedule: 'decayed' or 'constant', received {schedule!r}")
        model = seeded_lenet(seed)
        plan = self.plan | {"epochs": epochs, "schedule": {"decayed": "step"}.get(schedule, schedule)}
        drawn = torch.Generator().manual_seed(seed if order is None else order)
        for epoch, _, rate, made in trained(model, self.data, torch.as_tensor(np.asarray(subset)), plan, drawn, steps):
            yield epoch, model, {"lr": rate, "steps": made}


def load_demo_training(
    data: str = "digits",
    *,
    optimizer: str = "sgd",
    samples: int | None = None,
    root: str | os.PathLike | None = None,
    cache: str | os.PathLike | None = None,
    device: str = "auto",
) -> DemoTraining:
    """Return the training of the thesis's LeNet as a function, with evaluators on training, validation and test images.

    Parameters
    ----------
    data : {"digits", "mnist", "fashion-mnist"}
    optimizer : {"sgd", "momentum", "adam"}
    samples : int, optional
        Keep so many of the training images, drawn by class. Default: all (1047 digits, 50 000 of MNIST).
    root, cache : path, optional
        As for `load_demo`.
    device : str
        Of the evaluators. Training is on the CPU.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo_training("digits", samples=100)
    >>> demo
    DemoTraining(LeNet on images (100, 1, 32, 32): ...; evaluators train n = 100, validation n = 300, test n = 450)
    >>> [epoch for epoch, model, about in demo.train(subset=range(50), epochs=2, seed=0)]
    [1, 2]
    """
    check_names(data=data, optimizer=optimizer)
    images, test = images_of(data, root, Path(cache) if cache is not None else cache_folder())
    order = torch.from_numpy(stratified_order(images[1].numpy(), np.random.default_rng(0)))
    there = len(order) - _VALIDATION[data]
    if samples is not None and not (isinstance(samples, int) and 10 <= samples <= there):
        raise ValueError(f"samples: a whole number from 10 to {there}, received {samples!r}")
    kept = order[: there if samples is None else samples].sort().values
    train, validation = ((images[0][part], images[1][part]) for part in (kept, order[there:].sort().values))
    model = seeded_lenet(0)
    splits = {"train": train, "validation": validation, "test": test}
    return DemoTraining(
        Train(train, {**SETTINGS[data], "optimizer": optimizer, "decay": DECAY}),
        {
            # the curve of the training images is looked at and nothing is chosen on it: as many as for validation will do
            name: Evaluator(
                model, split, name=name, device=device, samples=min(len(split[1]), _VALIDATION[data]) if name == "train" else None
            )
            for name, split in splits.items()
        },
        train,
    )
