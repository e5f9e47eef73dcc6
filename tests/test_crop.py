"""Edges that no later operation reads are not computed, and nothing else changes."""

import pytest
import torch
from torch import fx, nn
from torch.nn import functional as F

from nnvis_widgets.core.program.crop import crop
from nnvis_widgets.core.program.record import record
from nnvis_widgets.core.program.tidy import tidy

aten = torch.ops.aten


def inputs(dims=2):
    torch.manual_seed(dims)
    size = (13, 10)[:dims]
    return torch.randn(3, 2, *size), torch.randn(4, 2, *(3,) * dims), torch.randn(5, 4, *(3, 2)[:dims])


def recorded(function, given):
    return record(lambda *tensors: [function(*tensors)], given).graph


class Shapes(fx.Interpreter):
    """Runs a graph; `sizes` are the shapes of convolutions, `wrong` the nodes whose shape is another than they say."""

    def __init__(self, graph):
        super().__init__(fx.GraphModule(nn.Module(), graph))
        self.sizes, self.wrong = [], []

    def run_node(self, node):
        value = super().run_node(node)
        if isinstance(value, torch.Tensor) and node.op == "call_function":
            if node.target is aten.convolution.default:
                self.sizes.append(tuple(value.shape[2:]))
            if tuple(value.shape) != node.meta.get("shape", tuple(value.shape)):
                self.wrong.append(node)
        return value


def lenet(x, w, v):
    h = F.max_pool2d(F.relu(F.conv2d(x, w)), 2)
    return F.max_pool2d(F.conv2d(h, v), 2).flatten(1)


def far_edge_is_padded(x, w, v):
    return F.max_pool2d(F.conv2d(x, w, padding=(1, 0)), 2)


def whole_is_read_elsewhere(x, w, v):
    h = F.conv2d(x, w)
    return F.max_pool2d(h, 2).sum() + h.sum()


def residual(x, w, v):
    return (F.conv2d(x, w).tanh() + F.conv2d(x * 2, w))[:, :, :-3, 1:7:2]


def residual_with_more_of_one(x, w, v):
    h, g = F.conv2d(x, w), F.conv2d(x, w * 2)
    return (h + g)[:, :, :5].sum() + h[:, :, :7].sum()


def broadcast(x, w, v):
    return (F.conv2d(x, w) * x[:, :1, :11, :1])[:, :, :5]


def strides(x, w, v):
    return F.conv2d(F.relu(F.conv2d(x, w, dilation=2)), v, stride=(2, 3))


def last_rows(x, w, v):
    return F.conv2d(x, w)[:, :, -3:, :2]


def nothing(x, w, v):
    return F.conv2d(x, w)[:, :, 4:4].sum() + F.relu(x).sum()


def overlapping_windows(x, w, v):
    return F.max_pool2d(F.relu(F.conv2d(x, w)), 3, stride=2)


@pytest.mark.parametrize(
    ("function", "sizes"),
    [
        (lenet, [(8, 6), (2, 2)]),  # of (11, 8) and (3, 3)
        (far_edge_is_padded, [(13, 8)]),
        (whole_is_read_elsewhere, [(11, 8)]),
        (residual, [(8, 6), (8, 6)]),
        (residual_with_more_of_one, [(7, 8), (5, 8)]),
        (broadcast, [(11, 8)]),
        (strides, [(9, 5), (4, 2)]),
        (last_rows, [(11, 2)]),
        (overlapping_windows, [(11, 7)]),
    ],
)
def test_only_what_is_read_is_computed(function, sizes):
    given = inputs()
    graph = recorded(function, given)
    tidy(graph, channels_last=False)
    running = Shapes(graph)
    (value,) = running.run(*given)
    assert not running.wrong
    assert running.sizes == sizes
    torch.testing.assert_close(value, function(*given), rtol=1e-5, atol=1e-5)


def test_poolings_that_stay_and_empty_slices_give_the_plain_values():
    given = inputs()
    for function in (lenet, nothing, overlapping_windows):
        graph = recorded(function, given)
        crop(graph)
        torch.testing.assert_close(fx.GraphModule(nn.Module(), graph)(*given)[0], function(*given), rtol=1e-5, atol=1e-5)


def test_sequences_are_cropped_like_images():
    x, w, _ = inputs(1)
    graph = recorded(lambda x, w: F.conv1d(x, w).sigmoid()[:, :, :5], (x, w))
    crop(graph)
    running = Shapes(graph)
    assert torch.equal(running.run(x, w)[0], F.conv1d(x, w).sigmoid()[:, :, :5])
    assert running.sizes == [(5,)]
    assert not running.wrong
