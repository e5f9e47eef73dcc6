"""The thesis's network on real digits, trained while you wait and recorded: something to explore at once.

May import: anything of ours. Data: scikit-learn's 1797 handwritten digits (embedded), or MNIST and Fashion-MNIST through
torchvision. Images become tensors once; the recorded run is kept under the user's cache folder, by content.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .core.evaluator import Evaluator
from .core.states import digest
from .runs.recorder import Recorder
from .runs.run import INDEX, Run

Split = tuple[Tensor, Tensor]
SIZE = 32
DATASETS = ("digits", "mnist", "fashion-mnist")
OPTIMIZERS = ("sgd", "momentum", "adam")
SCHEDULES = ("step", "constant")
# MNIST: nnvis's code (learning rate 0.01, momentum 0.5, decay 0.7 an epoch, batch 64). The digits have 45 times fewer
# images: they need larger and more frequent steps to get as far in as many epochs, and shifts of up to two pixels to
# generalise (98 % of the held-out images over four seeds, 96 to 97 % without).
_SETTINGS = {
    "digits": {"lr": 0.1, "momentum": 0.5, "batch": 16, "shift": 2},
    "mnist": {"lr": 0.01, "momentum": 0.5, "batch": 64, "shift": 0},
    "fashion-mnist": {"lr": 0.01, "momentum": 0.5, "batch": 64, "shift": 0},
}
_DECAY = 0.7


class LeNet(nn.Module):
    """The thesis's network (Nemcova, 2021): two 3 x 3 convolutions and three linear layers, 81 194 weights.

    Input (n, 1, 32, 32), output (n, 10) log-probabilities. Parameters: conv1 60, conv2 880, fc1 69 240, fc2 10 164, fc3 850.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 3)
        self.conv2 = nn.Conv2d(6, 16, 3)
        self.fc1 = nn.Linear(16 * 6 * 6, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return log-probabilities of the ten classes."""
        x = F.max_pool2d(F.relu(self.conv1(images)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        x = F.relu(self.fc2(x))
        return F.log_softmax(self.fc3(x), dim=1)


@dataclass(frozen=True)
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
    """

    model: nn.Module
    run: Run
    evaluator: Evaluator
    train: Split
    test: Split


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
    """
    for name, value, known in (("data", data, DATASETS), ("schedule", schedule, SCHEDULES), ("optimizer", optimizer, OPTIMIZERS)):
        if value not in known:
            raise ValueError(f"{name}: one of {', '.join(map(repr, known))}; received {value!r}")
    if not isinstance(epochs, int) or epochs < 1:
        raise ValueError(f"epochs: a whole number of at least 1, received {epochs!r}")
    home = Path(cache) if cache is not None else _cache_folder()
    train, test = _digits() if data == "digits" else _torchvision(data, Path(root) if root is not None else home / "data")
    plan = {
        **_SETTINGS[data],
        "data": [digest({"images": images, "labels": labels}) for images, labels in (train, test)],
        "epochs": epochs, "seed": seed, "schedule": schedule, "optimizer": optimizer, "decay": _DECAY, "recipe": 1,
        "torch": torch.__version__,
    }  # fmt: skip
    key = hashlib.blake2b(json.dumps(plan, sort_keys=True).encode(), digest_size=8).hexdigest()
    folder = home / "runs" / f"{data}-{schedule}-{optimizer}-{epochs}-{seed}-{key}"
    model = _seeded_lenet(seed)
    run = _cached(folder, epochs + 1)
    if run is None:
        _train_into(folder, model, train, test, plan, progress)
        run = Run.open(folder)
    model.load_state_dict(run.final)
    evaluator = Evaluator(model, test, name="test", calibration=train, device=device)
    return Demo(model, run, evaluator, train, test)


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
    images, labels = train
    order = torch.Generator().manual_seed(plan["seed"])
    lr, momentum = plan["lr"], {"sgd": plan["momentum"], "momentum": 0.9}.get(plan["optimizer"], 0.0)
    if plan["optimizer"] == "adam":
        optimizer: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
    decay = torch.optim.lr_scheduler.ExponentialLR(optimizer, plan["decay"] if plan["schedule"] == "step" else 1.0)
    for epoch in range(1, plan["epochs"] + 1):
        model.train()
        total = 0.0
        for batch in torch.randperm(len(images), generator=order).split(plan["batch"]):
            inputs = images[batch]
            if plan["shift"]:
                down, right = torch.randint(-plan["shift"], plan["shift"] + 1, (2,), generator=order).tolist()
                inputs = inputs.roll((down, right), (2, 3))
            optimizer.zero_grad()
            loss = F.nll_loss(model(inputs), labels[batch])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        decay.step()
        model.eval()
        with torch.inference_mode():
            outputs = torch.cat([model(part) for part in test[0].split(500)])
        yield (
            epoch,
            {
                "train_loss": total / len(images),
                "test_loss": float(F.nll_loss(outputs.double(), test[1])),
                "test_accuracy": float((outputs.argmax(1) == test[1]).double().mean()),
            },
        )


def _seeded_lenet(seed: int) -> LeNet:
    """Return a LeNet whose initial weights depend on the seed alone; the global random state is not touched."""
    with torch.device("meta"):
        model = LeNet()
    model.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in model.children():
            fan_in = layer.weight[0].numel()  # type: ignore[index]
            for parameter in layer.parameters():
                # PyTorch's own default for these layers: uniform within 1 / sqrt(fan in)
                parameter.uniform_(-(fan_in**-0.5), fan_in**-0.5, generator=generator)
    return model


def _digits() -> tuple[Split, Split]:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    parts = train_test_split(bunch.images, bunch.target, test_size=450, stratify=bunch.target, random_state=0)
    train_x, test_x, train_y, test_y = (np.asarray(part) for part in parts)
    return (_images(train_x / 16.0), torch.from_numpy(train_y)), (_images(test_x / 16.0), torch.from_numpy(test_y))


def _torchvision(name: str, root: Path) -> tuple[Split, Split]:
    from torchvision import datasets

    source = {"mnist": datasets.MNIST, "fashion-mnist": datasets.FashionMNIST}[name]
    splits = []
    for train in (True, False):
        try:
            part = source(root=str(root), train=train, download=False)
        except RuntimeError:
            try:
                part = source(root=str(root), train=train, download=True)
            except Exception as error:
                raise RuntimeError(
                    f"data: {name} is not in {root} and could not be downloaded ({type(error).__name__}). Pass root= with the "
                    f"folder that holds {source.__name__}/raw, or use data='digits', which needs no download"
                ) from error
        splits.append((_images(part.data.numpy() / 255.0), part.targets.clone()))
    return splits[0], splits[1]


def _images(grey: np.ndarray) -> Tensor:
    """Return (n, 1, 32, 32) float32 images, resized bilinearly, with the mean and the spread of MNIST's pixels removed."""
    images = torch.from_numpy(np.ascontiguousarray(grey, dtype=np.float32)).unsqueeze(1)
    resized = F.interpolate(images, (SIZE, SIZE), mode="bilinear", align_corners=False)
    return (resized - 0.1307) / 0.3081


def _cache_folder() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("nnvis_widgets", appauthor=False))
