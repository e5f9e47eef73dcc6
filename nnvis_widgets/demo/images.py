"""The images of the demo: scikit-learn's 1797 handwritten digits (embedded), or MNIST and Fashion-MNIST through torchvision.

May import: torch, numpy. Images become tensors once.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Split = tuple[Tensor, Tensor]
SIZE = 32
DATASETS = ("digits", "mnist", "fashion-mnist")
OPTIMIZERS = ("sgd", "momentum", "adam")
SCHEDULES = ("step", "constant")


def check_names(**given: str) -> None:
    """Refuse an unknown name of data, schedule or optimizer."""
    known = {"data": DATASETS, "schedule": SCHEDULES, "optimizer": OPTIMIZERS}
    for name, value in given.items():
        if value not in known[name]:
            raise ValueError(f"{name}: one of {', '.join(map(repr, known[name]))}; received {value!r}")


def images_of(data: str, root: str | os.PathLike | None, home: Path) -> tuple[Split, Split]:
    """Return training and test images with their labels."""
    return _digits() if data == "digits" else _torchvision(data, Path(root) if root is not None else home / "data")


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


def cache_folder() -> Path:
    """Return the folder under the user's cache that runs and data are kept in."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("nnvis_widgets", appauthor=False))
