"""The thesis's network and its training loop.

May import: torch. One seed gives one training; global random generators are not touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# MNIST: nnvis's code (learning rate 0.01, momentum 0.5, decay 0.7 an epoch, batch 64). The digits have 45 times fewer
# images: they need larger and more frequent steps to get as far in as many epochs, and shifts of up to two pixels to
# generalise (98 % of the held-out images over four seeds, 96 to 97 % without).
SETTINGS: dict[str, dict[str, Any]] = {
    "digits": {"lr": 0.1, "momentum": 0.5, "batch": 16, "shift": 2},
    "mnist": {"lr": 0.01, "momentum": 0.5, "batch": 64, "shift": 0},
    "fashion-mnist": {"lr": 0.01, "momentum": 0.5, "batch": 64, "shift": 0},
}
DECAY = 0.7


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


def seeded_lenet(seed: int) -> LeNet:
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


def trained(
    model: nn.Module,
    data: tuple[Tensor, Tensor],
    subset: Tensor,
    plan: dict[str, Any],
    order: torch.Generator,
    steps: int | None = None,
) -> Iterator[tuple[int, float, float, int]]:
    """Train a model in place; yield after each epoch its number, the mean loss, the learning rate, the optimiser steps so far.

    `plan` says how: lr, momentum, batch, shift, epochs, schedule, optimizer, decay. With `steps` it ends after so many, whatever
    the epochs, and the learning rate decays as it does in the planned epochs when these have as many.
    """
    images, labels = data
    lr, momentum = plan["lr"], {"sgd": plan["momentum"], "momentum": 0.9}.get(plan["optimizer"], 0.0)
    if plan["optimizer"] == "adam":
        optimizer: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
    decay = torch.optim.lr_scheduler.ExponentialLR(optimizer, plan["decay"] if plan["schedule"] == "step" else 1.0)
    batches = -(-len(subset) // plan["batch"])
    last = batches * plan["epochs"] if steps is None else steps
    period = batches if steps is None else -(-steps // plan["epochs"])
    made, epoch = 0, 0
    while made < last:
        epoch += 1
        model.train()
        total, seen = 0.0, 0
        used = optimizer.param_groups[0]["lr"]
        for batch in subset[torch.randperm(len(subset), generator=order)].split(plan["batch"])[: last - made]:
            inputs = images[batch]
            if plan["shift"]:
                down, right = torch.randint(-plan["shift"], plan["shift"] + 1, (2,), generator=order).tolist()
                inputs = inputs.roll((down, right), (2, 3))
            optimizer.zero_grad()
            loss = F.nll_loss(model(inputs), labels[batch])
            loss.backward()
            optimizer.step()
            total, seen, made = total + loss.item() * len(batch), seen + len(batch), made + 1
            if made % period == 0:
                decay.step()
        yield epoch, total / seen, used, made
