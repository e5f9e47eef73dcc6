"""Networks of torchvision, untrained and on small pictures: each is recorded, and agrees with the plain pass."""

import copy

import factories
import numpy as np
import pytest
import torch
from torch import nn

import nnvis_widgets as nv

torchvision = pytest.importorskip("torchvision")
models = torchvision.models
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unhurried")]
NETS = {
    "resnet18": lambda: models.resnet18(num_classes=5),
    "mobilenet_v2": lambda: models.mobilenet_v2(num_classes=5),
    "vgg11_bn": lambda: nn.Sequential(models.vgg11_bn().features, nn.Flatten(), nn.Linear(512 * 4, 5)),
    "densenet121": lambda: models.densenet121(num_classes=5),
    "efficientnet_b0": lambda: models.efficientnet_b0(num_classes=5),
    "googlenet": lambda: models.googlenet(num_classes=5, aux_logits=False, init_weights=False),
    "shufflenet_v2": lambda: models.shufflenet_v2_x0_5(num_classes=5),
    "vit": lambda: models.VisionTransformer(
        image_size=64, patch_size=16, num_layers=3, num_heads=4, hidden_dim=48, mlp_dim=96, num_classes=5
    ),
    "swin_t": lambda: models.swin_t(num_classes=5),
    "convnext_tiny": lambda: models.convnext_tiny(num_classes=5),
}
ROWS = np.array([[0.5, 0.5], [0.0, 1.0], [1.2, -0.2]])


def end_of_training(model):
    """Return two states of a network: its own, and one with other weights in every layer."""
    start = copy.deepcopy(model.state_dict())
    return [start, factories.states(model, 2, size=0.01)[1]]


@pytest.mark.parametrize("name", NETS)
def test_it_is_recorded_and_agrees_with_the_plain_pass(name):
    model = factories.made(NETS[name]).eval()
    rng = torch.Generator().manual_seed(0)
    data = torch.randn(6, 3, 64, 64, generator=rng), torch.randint(0, 5, (6,), generator=rng)
    states = end_of_training(model)
    last = [layer for layer, module in model.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))][-1]
    auto, plain = (
        nv.Evaluator(model, data, device="cpu", batch_size=6, batchnorm="final", engine=engine) for engine in ("auto", "plain")
    )
    for scope in (None, last):
        mine, theirs = ([*e.sweep(e.family(scope, states, states[1]), ROWS)][-1].tallies["loss"].mean for e in (auto, plain))
        assert mine == pytest.approx(theirs, rel=1e-4 if scope is None else 1e-5)
        assert np.ptp(theirs) > 0
    assert auto.fallback == ""
