"""What everybody is measured on: one model, its recorded states, the same images as tensors, two directions.

Written to one file, so that every process (ours, each peer's, the limits) reads the same bits.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import nnvis_widgets as nv

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = 8000
State = dict[str, Tensor]


class WideLeNet(nn.Module):
    """The demo's LeNet with every hidden width multiplied; `width=1` has the same shapes."""

    def __init__(self, width: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6 * width, 3)
        self.conv2 = nn.Conv2d(6 * width, 16 * width, 3)
        self.fc1 = nn.Linear(16 * width * 6 * 6, 120 * width)
        self.fc2 = nn.Linear(120 * width, 84 * width)
        self.fc3 = nn.Linear(84 * width, 10)

    forward = nv.LeNet.forward


def resnet18() -> nn.Module:
    """Return a ResNet-18 for 32 x 32 images: a 3 x 3 stem that keeps the size, no pooling after it, ten classes."""
    from torchvision.models import resnet18 as build

    model = build(num_classes=10)
    model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


BUILDERS = {"LeNet": nv.LeNet, "ResNet-18": resnet18, "LeNet x 2": lambda: WideLeNet(2), "LeNet x 4": lambda: WideLeNet(4)}


@dataclass
class Problem:
    """A model at its final weights, three states of its training, data, and two directions of a plane.

    Attributes
    ----------
    builder : str
        Which of `BUILDERS` makes the model.
    states : list of dict
        Initial, mid, final.
    directions : list of dict
        Two, zero where nothing moves; the plane is ``final + x * directions[0] + y * directions[1]``.
    """

    builder: str
    states: list[State]
    images: Tensor
    labels: Tensor
    directions: list[State]
    about: str = ""

    @property
    def data(self) -> tuple[Tensor, Tensor]:
        """Images and labels, as an evaluator takes them."""
        return self.images, self.labels

    def model(self, state: State | None = None) -> nn.Module:
        """Return a new model in eval mode, at the final weights unless others are given."""
        model = BUILDERS[self.builder]()
        model.load_state_dict(self.states[-1] if state is None else state)
        return model.eval()

    def state(self, scope: object, row: tuple[float, ...], dtype: torch.dtype = torch.float64) -> State:
        """Return weights by definition, computed in `dtype`.

        A row of three are coefficients of initial, mid and final, inside the scope (None, a layer's name, or (tensor, index));
        outside of it the final weights. A row of two are coordinates in the plane.
        """
        final = {k: v.to(dtype) if v.is_floating_point() else v for k, v in self.states[-1].items()}
        parameters = {name for name, _ in self.model().named_parameters()}
        if len(row) == 2:
            moved = {k: v.to(dtype) for k, v in final.items() if k in parameters}
            for c, direction in zip(row, self.directions, strict=True):
                moved = {k: v + c * direction[k].to(dtype) if k in direction else v for k, v in moved.items()}
            return {**final, **moved}
        mixed = {k: sum(c * s[k].to(dtype) for c, s in zip(row, self.states, strict=True)) for k in parameters}
        if scope is None:
            return {**final, **mixed}
        if isinstance(scope, tuple):
            name, index = scope
            tensor = final[name].clone()
            tensor[index] = mixed[name][index]
            return {**final, name: tensor}
        inside = {k: v for k, v in mixed.items() if k.rpartition(".")[0] == scope}
        if not inside:
            raise ValueError(f"scope: no parameters in {scope!r}")
        return {**final, **inside}

    def save(self, path: Path) -> Path:
        """Write everything to one file and return its path."""
        torch.save(vars(self), path)
        return path

    @classmethod
    def load(cls, path: str | os.PathLike) -> Problem:
        """Return what `save` wrote."""
        return cls(**torch.load(path, weights_only=True))


def furthest(start: State, end: State, name: str) -> tuple[str, tuple[int, ...]]:
    """Return the scope of the single weight of a tensor that moved furthest."""
    moved = (end[name] - start[name]).abs()
    # not torch.unravel_index: its first call imports sympy, three quarters of a second of no path
    return name, tuple(int(i) for i in np.unravel_index(int(moved.argmax()), moved.shape))


def filter_directions(final: State, seed: int = 0) -> list[State]:
    """Return two Gaussian directions with each filter's norm that of the weights (Li et al., 2018); biases stay."""
    generator = torch.Generator().manual_seed(seed)
    directions = []
    for _ in range(2):
        direction = {}
        for name, tensor in final.items():
            if tensor.is_floating_point() and tensor.ndim > 1:
                noise = torch.randn(tensor.shape, generator=generator)
                axes = tuple(range(1, tensor.ndim))
                norms = [torch.linalg.vector_norm(t, dim=axes, keepdim=True) for t in (tensor, noise)]
                direction[name] = noise * norms[0] / norms[1]
            else:
                direction[name] = torch.zeros_like(tensor)
        directions.append(direction)
    return directions


def mnist_folder() -> Path | None:
    """Return the folder that holds MNIST as torchvision keeps it: NNVIS_MNIST, or shared/data beside the project."""
    for folder in (os.environ.get("NNVIS_MNIST"), ROOT.parent / "shared" / "data"):
        if folder and (Path(folder) / "MNIST" / "raw").is_dir():
            return Path(folder)
    return None


def thesis(samples: int = SAMPLES, progress: Callable[[int, int], Any] | None = None) -> Problem:
    """Return the thesis's LeNet on MNIST (digits, tiled, where MNIST is not there); trained once, then from the cache."""
    folder = mnist_folder()
    demo = nv.load_demo("digits" if folder is None else "mnist", root=folder, progress=progress)
    images, labels = demo.test
    about = f"the first {samples} test images of MNIST"
    if folder is None:
        times = -(-samples // len(images))
        images, labels = images.repeat(times, 1, 1, 1), labels.repeat(times)
        about = f"scikit-learn's digits tiled to {samples} (set NNVIS_MNIST for MNIST)"
    states = [dict(state) for state in (demo.run.initial, demo.run.mid, demo.run.final)]
    return Problem("LeNet", states, images[:samples].clone(), labels[:samples].clone(), filter_directions(states[-1]), about)


def random_problem(builder: str, shape: tuple[int, ...], samples: int, seed: int = 0) -> Problem:
    """Return a model with random weights on random images: for sizes that nobody trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        images, labels = torch.randn(samples, *shape), torch.randint(0, 10, (samples,))
        models = [BUILDERS[builder]() for _ in range(3)]
        for model in models:
            with torch.no_grad():  # running statistics that fit, so that activations keep their size
                for module in model.modules():
                    if isinstance(module, nn.BatchNorm2d):
                        module.momentum = None
                model.train()(images[:128])
    states = [{k: v.clone() for k, v in model.state_dict().items()} for model in models]
    # neighbours of the last one: a path between unrelated weights says nothing about rounding near a trained model
    near = [{k: v + 0.5 * (s[k] - v) if v.is_floating_point() else v for k, v in states[2].items()} for s in states[:2]]
    return Problem(builder, [*near, states[2]], images, labels, filter_directions(states[2]), f"{samples} random images")


def plain_loop(model: nn.Module, images: Tensor, labels: Tensor, batch: int) -> tuple[float, int]:
    """Return mean loss and number of correct answers as a user's own loop gets them."""
    total, correct = 0.0, 0
    with torch.no_grad():
        for x, y in zip(images.split(batch), labels.split(batch), strict=True):
            output = model(x)
            total += F.cross_entropy(output, y, reduction="sum").item()
            correct += int((output.argmax(1) == y).sum())
    return total / len(images), correct
