"""Small architectures of many kinds, each with data, a loss and a few scopes: what the engine is tried on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import factories
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

CLASSES = factories.CLASSES


@dataclass(frozen=True)
class Case:
    """What to measure: `scopes` are moved one after the other, on 23 samples in batches of 9, so the last one is short."""

    build: Callable[[], nn.Module]
    scopes: tuple
    data: Callable[[], Any] = lambda: factories.images(23)
    loss: Any = None
    forward: Any = None
    dtype: torch.dtype = torch.float32
    options: dict[str, Any] = field(default_factory=dict)


def tokens(n: int = 23, length: int = 6, seed: int = 3) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 11, (n, length), generator=rng), torch.randint(0, 11, (n, length), generator=rng)


def sequences(n: int = 23, length: int = 7, width: int = 4) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(4)
    return torch.randn(n, length, width, generator=rng), torch.randint(0, CLASSES, (n,), generator=rng)


def large(n: int = 23) -> tuple[Tensor, Tensor]:
    """Images of 10 x 14."""
    rng = torch.Generator().manual_seed(5)
    return torch.randn(n, 2, 10, 14, generator=rng), torch.randint(0, CLASSES, (n,), generator=rng)


class Residual(nn.Module):
    def __init__(self, norm: Callable[[int], nn.Module] = nn.BatchNorm2d):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.bn = norm(4)
        self.conv1, self.bn1 = nn.Conv2d(4, 4, 3, padding=1, bias=False), norm(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), norm(4)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn(self.stem(x)))
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += x
        return self.fc(self.relu(y).mean((2, 3)))


class Branches(nn.Module):
    """Branches that are concatenated, one of them twice through the same module."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(1, 3, 1)
        self.b = nn.Conv2d(1, 2, 3, padding=1)
        self.twice = nn.Conv2d(2, 2, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(5 * 2 * 3, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        b = self.twice(F.gelu(self.twice(F.silu(self.b(x)))))
        return self.fc(self.pool(torch.cat([torch.sigmoid(self.a(x)), b], 1)).flatten(1))


class Gpt(nn.Module):
    """Two blocks with a causal attention written out by hand in the first one, and a head that is the embedding."""

    def __init__(self, width: int = 8):
        super().__init__()
        self.embedding, self.position = nn.Embedding(11, width), nn.Embedding(6, width)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm1": nn.LayerNorm(width),
                    "qkv": nn.Linear(width, 3 * width),
                    "out": nn.Linear(width, width),
                    "norm2": nn.LayerNorm(width),
                    "up": nn.Linear(width, 2 * width),
                    "down": nn.Linear(2 * width, width),
                }
            )
            for _ in range(2)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 11, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("mask", torch.tril(torch.ones(6, 6, dtype=torch.bool)))

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        x = self.embedding(tokens) + self.position(torch.arange(length, device=tokens.device))
        for number, block in enumerate(self.blocks):
            q, k, v = (t.unflatten(-1, (2, -1)).transpose(1, 2) for t in block["qkv"](block["norm1"](x)).chunk(3, dim=-1))
            if number:
                y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            else:
                scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
                y = scores.masked_fill(~self.mask[:length, :length], float("-inf")).softmax(-1) @ v
            x = x + block["out"](y.transpose(1, 2).flatten(2))
            x = x + block["down"](F.gelu(block["up"](block["norm2"](x))))
        return self.head(self.norm(x)).transpose(1, 2)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter = nn.Linear(4, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.1, batch_first=True)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.fc(self.layer(x).mean(1))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]):
        super().__init__()
        self.enter = nn.Linear(4, 4)
        self.rnn = kind(4, 5, num_layers=2, batch_first=True, bidirectional=kind is nn.LSTM)
        self.fc = nn.Linear(10 if kind is nn.LSTM else 5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.rnn(torch.tanh(self.enter(x)))[0][:, -1])


class UNet(nn.Module):
    """Pixels are classified: outputs (n, classes, 10, 14)."""

    def __init__(self):
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
        self.bottom = nn.Conv2d(6, 6, 3, padding=1)
        self.up = nn.ConvTranspose2d(6, 4, 2, stride=2)
        self.last = nn.Conv2d(8, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = F.relu(self.down1(x))
        x = F.relu(self.bottom(F.relu(self.down2(F.max_pool2d(skip, 2)))))
        x = F.interpolate(self.up(x), size=skip.shape[2:], mode="bilinear", align_corners=False)
        return self.last(torch.cat([skip, x], 1))


def pixels() -> tuple[Tensor, Tensor]:
    x, _ = large()
    return x, (x.sum(1) > 0).long() + (x[:, 0] > 1).long()


class Mobile(nn.Module):
    """Depthwise and grouped convolutions, shuffled channels, squeeze and excitation, padding that reflects."""

    def __init__(self):
        super().__init__()
        self.enter = nn.Conv2d(2, 8, 3, stride=2, padding=1, padding_mode="reflect")
        self.depth = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.group = nn.Conv2d(8, 8, 1, groups=2)
        self.squeeze = nn.Conv2d(8, 8, 1)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardswish(self.enter(x))
        x = F.relu6(self.norm(self.depth(x)), inplace=True)
        x = F.channel_shuffle(self.group(x), 2)
        x = x * F.hardsigmoid(self.squeeze(F.adaptive_avg_pool2d(x, 1)))
        return self.fc(self.dropout(F.adaptive_max_pool2d(x, 1).flatten(1)))


class Written(nn.Module):
    """Writes in place wherever that is allowed, into tensors that it has made itself too."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(35, 6), nn.Linear(6, 6)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x.flatten(1))
        x[:, :2] *= 0.5
        x[:, 3] = 1.0
        x.clamp_(-1.0, 2.0)
        kept = torch.zeros(len(x), 6, dtype=x.dtype, device=x.device)
        kept[:, ::2] = x[:, ::2]
        x = self.b(x).add_(kept)
        F.leaky_relu(x, 0.1, inplace=True)
        x.masked_fill_(x > 2, 2.0)
        return self.fc(x)


class Rearranging(nn.Module):
    """Control flow in python on shapes, einsum, padding, rolling, tensors that are unpacked."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Parameter(torch.randn(7, 6))
        self.table = nn.Parameter(torch.randn(3, 5, 5))
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.fc = nn.Linear(30, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.einsum("nchw,wd->nhd", x, self.mix)
        if x.shape[0] % 2:
            x = torch.roll(x, 1, 1)
        for table in self.table.unbind(0)[: x.shape[1] // 2]:
            x = torch.tanh(table @ x) + F.pad(x[:, 1:], (0, 0, 0, 1), value=0.5)
        top, bottom = x.split([2, 3], dim=1)
        return self.fc(torch.cat([bottom, top], 1).reshape(len(x), -1) ** 2 * self.scale)


class Two(nn.Module):
    """Two inputs and two outputs, of which the first is measured."""

    def __init__(self):
        super().__init__()
        self.image, self.vector = nn.Linear(35, 6), nn.Linear(5, 6)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, image: Tensor, vector: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.tanh(self.image(image.flatten(1)) * self.vector(vector))
        return self.fc(x), x


def two_inputs() -> list[dict[str, Any]]:
    """A data set of dictionaries, one entry of which is text."""
    (image, target), (vector, _) = factories.images(23), factories.vectors(23, dtype=torch.float32)
    return [{"image": i, "vector": v, "label": t, "name": "a sample"} for i, v, t in zip(image, vector, target, strict=True)]


class Normed(nn.Module):
    """Weights that are computed from others."""

    def __init__(self):
        super().__init__()
        self.weight = parametrizations.weight_norm(nn.Conv2d(1, 3, 3))
        self.spectral = parametrizations.spectral_norm(nn.Linear(45, 6))
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.tanh(self.spectral(torch.tanh(self.weight(x)).flatten(1))))


class Fourier(nn.Module):
    """Complex weights on the spectrum of the image."""

    def __init__(self):
        super().__init__()
        self.filter = nn.Parameter(torch.randn(5, 4, dtype=torch.cfloat))
        self.mix = nn.Parameter(torch.randn(4, 3, dtype=torch.cfloat))
        self.fc = nn.Linear(15, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.fft.rfft2(x[:, 0]) * self.filter
        return self.fc((x @ self.mix).abs().flatten(1))


class Frozen(factories.ConvNet):
    def __init__(self):
        super().__init__()
        self.conv1.requires_grad_(False)
        self.bn1.requires_grad_(False)


def sequential() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ELU(inplace=True), nn.MaxPool2d(2, stride=1),
        nn.Flatten(), nn.Linear(32, 6), nn.BatchNorm1d(6), nn.Softplus(), nn.Linear(6, CLASSES),
    )  # fmt: skip


def grouped() -> nn.Module:
    return Residual(lambda width: nn.GroupNorm(2, width))


def instanced() -> nn.Module:
    return Residual(lambda width: nn.InstanceNorm2d(width, affine=True, track_running_stats=True))


def of_dictionary(model: nn.Module, batch: dict) -> tuple[Any, Tensor]:
    return model(batch["image"], batch["vector"])[0], batch["label"]


def contrast(output: Tensor, target: Tensor) -> Tensor:
    """A loss over the whole batch, of which there is only a mean."""
    near = F.normalize(output, dim=1)
    return (near @ near.T - (target[:, None] == target).to(output.dtype)).square().mean()


def weighted(**kwargs: Any) -> nn.Module:
    return nn.CrossEntropyLoss(weight=torch.tensor([0.2, 1.0, 3.0]), **kwargs)


def regression() -> tuple[Tensor, Tensor]:
    return factories.vectors(23, dtype=torch.float32)


CASES: dict[str, Case] = {
    "sequential": Case(sequential, (None, "0", "5.weight", ("8.weight", (1, 2)))),
    "convnet": Case(
        factories.ConvNet, (None, "conv1", "bn1", "conv2", "fc1.weight", ("fc1.weight", (3, 20)), ["conv1", ("fc2.bias", 1)])
    ),
    "residual": Case(Residual, (None, "stem", "conv1", "bn2", "fc")),
    "group norm": Case(grouped, (None, "stem", "bn1", "conv2.weight")),
    "instance norm": Case(instanced, (None, "stem", "bn2", "fc")),
    "branches": Case(Branches, (None, "a", "twice", ["a", "fc.bias"])),
    "tied": Case(factories.Tied, (None, "embedding.weight", "mix"), tokens, forward=lambda m, b: (m(b[0]).transpose(1, 2), b[1])),
    "gpt": Case(Gpt, (None, "embedding.weight", "position", "blocks.0.qkv", "blocks.1.down", "norm"), tokens),
    "attention": Case(Attention, (None, "enter", "attention.*", "attention.in_proj_weight", "layer.*", "fc"), sequences),
    "lstm": Case(lambda: Recurrent(nn.LSTM), (None, "enter", "rnn", "fc", ("rnn.weight_hh_l1", (2, 3))), sequences),
    "gru": Case(lambda: Recurrent(nn.GRU), (None, "rnn", "fc"), sequences),
    "u-net": Case(UNet, (None, "down1", "up", "last"), pixels),
    "mobile": Case(Mobile, (None, "enter", "depth", "norm", "squeeze", "fc"), large),
    "writes in place": Case(Written, (None, "a", "b.bias", ("a.weight", (2, 30)))),
    "rearranging": Case(Rearranging, (None, "mix", "table", "scale", ("table", (1, 2, 3)))),
    "two inputs": Case(Two, (None, "image", "vector.weight", "fc"), two_inputs, forward=of_dictionary),
    "parametrized": Case(Normed, (None, "weight.*", "spectral.*", "weight.parametrizations.weight.original0", "fc")),
    "complex": Case(Fourier, (None, "filter", "mix", "fc", ("mix", (1, 2)))),
    "float64": Case(
        factories.ConvNet, (None, "conv2", "fc1"), lambda: factories.images(23, dtype=torch.float64), dtype=torch.float64
    ),
    "frozen": Case(Frozen, (None, "conv1", "fc1")),
    "buffers of all kinds": Case(factories.Counting, (None, "fc.bias")),
    "mean squared error": Case(lambda: factories.Deep(3), (None, "layers.1"), regression, loss=F.mse_loss),
    "smooth error, in rows": Case(
        lambda: factories.Deep(3), (None, "layers.2"), regression, loss=lambda o, t: F.smooth_l1_loss(o, t, reduction="none")
    ),
    "class weights": Case(factories.ConvNet, (None, "fc1"), loss=weighted()),
    "ignored labels": Case(factories.ConvNet, (None, "fc1"), loss=weighted(ignore_index=1, label_smoothing=0.1)),
    "a mean of each batch": Case(factories.ConvNet, (None, "fc2"), loss=contrast),
    "negative log likelihood": Case(
        factories.ConvNet,
        (None, "conv2"),
        loss=partial(F.nll_loss, ignore_index=2),
        forward=lambda m, b: (m(b[0]).log_softmax(1), b[1]),
    ),
}  # fmt: skip
