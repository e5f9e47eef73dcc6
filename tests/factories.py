"""Small models, data and states for the tests: seeded, asymmetric (5 x 7 images), and free of global random state."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nnvis_widgets.results import ParameterScan, patterns

HEIGHT, WIDTH, CLASSES = 5, 7, 3


def made(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """Return a model whose initial weights depend on the seed alone; the global random state stays where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


class ConvNet(nn.Module):
    """Two convolutions with BatchNorm after the first, two linear layers after the last BatchNorm."""

    def __init__(self, norm: bool = True, bias: bool = True):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 3, 3, bias=bias)
        self.bn1 = nn.BatchNorm2d(3) if norm else nn.Identity()
        self.conv2 = nn.Conv2d(3, 4, 2, bias=bias)
        self.fc1 = nn.Linear(32, 6, bias=bias)
        self.fc2 = nn.Linear(6, CLASSES, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.conv2(x)).flatten(1)
        return self.fc2(F.relu(self.fc1(x)))


class Tied(nn.Module):
    """A token model whose output layer is its embedding."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 5)
        self.mix = nn.Linear(5, 5)
        self.decoder = nn.Linear(5, 11, bias=False)
        self.decoder.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.decoder(torch.tanh(self.mix(self.embedding(tokens))))


class Counting(nn.Module):
    """Integer and boolean buffers that no path may interpolate, and a float buffer that is no running statistic."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(35, CLASSES)
        self.register_buffer("order", torch.randperm(35))
        self.register_buffer("mask", torch.rand(35) > 0.3)
        self.register_buffer("scale", torch.rand(35) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc((x.flatten(1) * self.scale * self.mask)[:, self.order])


class Deep(nn.Module):
    """A linear network of some depth: its output is a polynomial of that degree in a scale of its weights."""

    def __init__(self, depth: int):
        super().__init__()
        widths = [5, *([4] * (depth - 1)), 3]
        self.layers = nn.Sequential(*(nn.Linear(a, b) for a, b in itertools.pairwise(widths)))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def images(n: int = 57, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 1, HEIGHT, WIDTH, generator=rng, dtype=torch.float64).to(dtype)
    return x, torch.randint(0, CLASSES, (n,), generator=rng)


def vectors(n: int = 31, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Inputs (n, 5) and real targets (n, 3)."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(n, 5, generator=rng, dtype=torch.float64).to(dtype), torch.randn(
        n, 3, generator=rng, dtype=torch.float64
    ).to(dtype)


def states(model: nn.Module, count: int = 3, seed: int = 1, size: float = 0.3) -> list[dict[str, Tensor]]:
    """Return states as a training would leave them: a random walk from the model's weights, variances positive."""
    rng = torch.Generator().manual_seed(seed)
    state = copy.deepcopy(dict(model.state_dict()))
    walk = []
    for step in range(count):
        new: dict[str, Tensor] = {}
        made_for: dict[int, Tensor] = {}
        for name, tensor in state.items():
            if tensor.data_ptr() in made_for:  # tied
                new[name] = made_for[tensor.data_ptr()]
            elif name.endswith("num_batches_tracked"):
                new[name] = tensor + 7
            elif not (tensor.is_floating_point() or tensor.is_complex()):
                new[name] = tensor.clone()
            else:
                kind = torch.complex128 if tensor.is_complex() else torch.float64
                noise = (torch.randn(tensor.shape, generator=rng, dtype=kind) * size * (step > 0)).to(tensor.dtype)
                new[name] = tensor * torch.exp(noise) if name.endswith("running_var") else tensor + noise
            made_for[tensor.data_ptr()] = new[name]
        state = new
        walk.append(new)
    return walk


def loaded(model: nn.Module, state: dict[str, Tensor], dtype: torch.dtype | None = None) -> nn.Module:
    """Return a copy of the model with these weights, in eval mode."""
    twin = copy.deepcopy(model)
    twin.load_state_dict(state)
    return (twin if dtype is None else twin.to(dtype)).eval()


def naive(model: nn.Module, state: dict[str, Tensor], data: tuple[Tensor, Tensor], loss: Callable = F.cross_entropy) -> np.ndarray:
    """Return the loss of each sample: one sample at a time, in float64, in a loop of its own."""
    twin = loaded(model, state, torch.float64)
    with torch.no_grad():
        return np.array([float(loss(twin(x[None].double()), t[None])) for x, t in zip(*data, strict=True)])


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two states agree in every name and every bit."""
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) and one[k].dtype == other[k].dtype for k in one)


ELEMENT_ALPHAS = np.linspace(-0.5, 1.5, 41)


def parabola_scan(rho=(1.0, 0.95, 0.5, 0.1), u_star=(0.5, 2.5, 0.4, 0.6), **changed):
    """Return a scan of single weights whose losses are parabolas along their lines; every label is certain."""
    rho, u_star = np.array(rho, float), np.array(u_star, float)
    count, alphas = len(rho), ELEMENT_ALPHAS
    shares = patterns.u(alphas, rho[:, None])
    linear, quadratic = (alphas - u_star[:, None]) ** 2, (shares - u_star[:, None]) ** 2
    turn, top = patterns.turning_point(rho)
    one = np.ones(count)
    fields = {
        "index": [("fc1.weight", (k, 7)) for k in range(count)], "alphas": alphas, "linear": linear, "quadratic": quadratic,
        "linear_diff_se": 1e-3 * linear, "quadratic_diff_se": 1e-3 * quadratic, "u": shares, "start": 0 * one, "mid": rho,
        "final": one, "distance": one, "relative_distance": one, "effect": np.full(count, np.nan), "rho": rho, "alpha_turn": turn,
        "u_turn": top, "u_star": u_star, "u_star_low": u_star - 0.1, "u_star_high": u_star + 0.1,
        "u_star_edge": np.zeros(count, dtype=int), "p_value": 1e-3 * one, "q_value": 1e-3 * one, "half_width": 1e-3 * one,
        "votes": np.zeros((count, 9)), "rounding": 1e-8, "choose": "distance", "scope": "fc1", "scanned": 900, "n": 50,
        "provenance": {"split": "test", "batchnorm": "none"},
    }  # fmt: skip
    scan = ParameterScan(**{**fields, **changed}).labelled(patterns.PatternRules())
    if "votes" in changed:
        return scan
    return replace(scan, votes=np.array([[float(name == label) for name in patterns.PATTERNS] for label in scan.pattern]))
