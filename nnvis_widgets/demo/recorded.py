"""The thesis's network, trained while you wait and recorded: something to explore at once.

May import: core, runs, and the rest of the demo. The recorded run is kept under the user's cache folder, by content.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ..core.evaluator import Evaluator
from ..core.states import digest
from ..runs.recorder import Recorder
from ..runs.run import INDEX, Run
from .images import Split, cache_folder, check_names, images_of
from .network import DECAY, SETTINGS, seeded_lenet, trained


@dataclass(frozen=True, repr=False)
class Demo:
    """A trained model, its recorded run and its data.

    Attributes
    ----------
    model : LeNet
        With the final weights.
    run : Run
    evaluator : Evaluator
        On the test images.
    train, test : tuple of Tensor
        Images (n, 1, 32, 32) and labels (n,).
    settings : dict
        What `load_demo` was asked for: data, epochs, schedule, optimizer, seed.
    """

    model: nn.Module
    run: Run
    evaluator: Evaluator
    train: Split
    test: Split
    settings: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        said = dict(self.settings)
        shapes = ", ".join(f"{name} {tuple(part[0].shape)}" for name, part in (("train", self.train), ("test", self.test)))
        rest = "".join(f", {name} {value}" for name, value in said.items() if name != "data")
        return f"Demo({type(self.model).__name__} on {said.get('data', 'images')}: {shapes}{rest})"


def load_demo(
    data: str = "digits",
    epochs: int = 15,
    seed: int = 0,
    schedule: str = "step",
    optimizer: str = "sgd",
    *,
    root: str | os.PathLike | None = None,
    cache: str | os.PathLike | None = None,
    device: str = "auto",
    progress: Callable[[int, int], Any] | None = None,
) -> Demo:
    """Return the thesis's LeNet with its recorded training run, trained now or read from the cache.

    Parameters
    ----------
    data : {"digits", "mnist", "fashion-mnist"}
        "digits" needs no download.
    epochs : int
    seed : int
        Of the initial weights and of the order of the images.
    schedule : {"step", "constant"}
        "step" multiplies the learning rate by 0.7 after each epoch.
    optimizer : {"sgd", "momentum", "adam"}
        "sgd" has momentum 0.5, as in the thesis's code; "momentum" has 0.9.
    root : path, optional
        Folder that torchvision keeps its data sets in. Default: the cache folder; downloaded there when missing.
    cache : path, optional
        Where recorded runs are kept. Default: the user's cache folder.
    device : str
        Of the evaluator. Training is on the CPU, so that one seed gives one run.
    progress : callable, optional
        Called with (epoch, epochs) after each epoch of training.

    Raises
    ------
    ValueError
        An unknown name.
    RuntimeError
        The data are not there and cannot be downloaded.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> demo
    Demo(LeNet on digits: train (1347, 1, 32, 32), test (450, 1, 32, 32), epochs 4, schedule step, optimizer sgd, seed 0)
    >>> demo.run, demo.evaluator
    (Run(...: 5 checkpoints, epochs 0 to 4), Evaluator(LeNet on test: n = 450, loss, accuracy; ...))
    """
    check_names(data=data, schedule=schedule, optimizer=optimizer)
    if not isinstance(epochs, int) or epochs < 1:
        raise ValueError(f"epochs: a whole number of at least 1, received {epochs!r}")
    home = Path(cache) if cache is not None else cache_folder()
    train, test = images_of(data, root, home)
    plan = {
        **SETTINGS[data],
        "data": [digest({"images": images, "labels": labels}) for images, labels in (train, test)],
        "epochs": epochs, "seed": seed, "schedule": schedule, "optimizer": optimizer, "decay": DECAY, "recipe": 1,
        "torch": torch.__version__,
    }  # fmt: skip
    key = hashlib.blake2b(json.dumps(plan, sort_keys=True).encode(), digest_size=8).hexdigest()
    folder = home / "runs" / f"{data}-{schedule}-{optimizer}-{epochs}-{seed}-{key}"
    model = seeded_lenet(seed)
    run = _cached(folder, epochs + 1)
    if run is None:
        _train_into(folder, model, train, test, plan, progress)
        run = Run.open(folder)
    model.load_state_dict(run.final)
    evaluator = Evaluator(model, test, name="test", calibration=train, device=device)
    settings = {"data": data, "epochs": epochs, "schedule": schedule, "optimizer": optimizer, "seed": seed}
    return Demo(model, run, evaluator, train, test, settings)


def _cached(folder: Path, checkpoints: int) -> Run | None:
    """Return the run in a cache folder; one that has been damaged since (a full disk, a cleaner) is removed."""
    if not folder.is_dir():
        return None
    try:
        run = Run.open(folder)
        if len([checkpoint.state for checkpoint in run]) == checkpoints:
            return run
    except (ValueError, KeyError, OSError):
        pass
    shutil.rmtree(folder)
    return None


def _train_into(
    folder: Path, model: nn.Module, train: Split, test: Split, plan: dict[str, Any], progress: Callable[[int, int], Any] | None
) -> None:
    """Train beside the final place and move there when complete: a cache that is found is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".training-"))
    try:
        with Recorder(model, beside) as recorder:
            for epoch, metrics in _epochs(model, train, test, plan):
                recorder.record(epoch=epoch, **metrics)
                if progress is not None:
                    progress(epoch, plan["epochs"])
        try:
            os.rename(beside, folder)
        except OSError:
            if not (folder / INDEX).is_file():  # else another process was first with the same run
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _epochs(model: nn.Module, train: Split, test: Split, plan: dict[str, Any]):
    order = torch.Generator().manual_seed(plan["seed"])
    for epoch, loss, _, _ in trained(model, train, torch.arange(len(train[0])), plan, order):
        model.eval()
        with torch.inference_mode():
            outputs = torch.cat([model(part) for part in test[0].split(500)])
        yield (
            epoch,
            {
                "train_loss": loss,
                "test_loss": float(F.nll_loss(outputs.double(), test[1])),
                "test_accuracy": float((outputs.argmax(1) == test[1]).double().mean()),
            },
        )
