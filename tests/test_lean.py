"""Pieces of a recorded forward pass as they are run: the values of the plain pass, nothing written that is still read."""

import pytest
import torch
from torch import fx, nn
from torch.nn import functional as F

from nnvis_widgets.core.program.leading import leading, rows_times
from nnvis_widgets.core.program.lean import lean, mixture, pool_quickly
from nnvis_widgets.core.program.record import record
from nnvis_widgets.core.program.tidy import tidy

aten = torch.ops.aten


def graph_of(function, *inputs):
    recording = record(lambda *given: [function(*given)], inputs)
    tidy(recording.graph, channels_last=False)
    return recording.graph


def targets(graph):
    return [node.target for node in graph.nodes if node.op == "call_function"]


def run(graph, *inputs):
    return fx.GraphModule(nn.Module(), graph)(*inputs)[0]


def images(channels=1, height=11, width=8):
    torch.manual_seed(height)
    return torch.randn(5, channels, height, width)


@pytest.mark.parametrize(
    ("channels", "kernel", "padding", "size"),
    [
        (1, (3, 3), 0, (11, 8)),
        (3, (3, 3), 1, (10, 7)),
        (2, (2, 3), (1, 0), (9, 9)),
        (1, (5, 4), 2, (8, 12)),
        (3, (5, 5), 0, (9, 8)),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_and_its_pooling_give_the_plain_values(channels, kernel, padding, size, bias):
    x, w = images(channels, *size), torch.randn(4, channels, *kernel)
    b = torch.randn(4) if bias else None

    def net(x, w, *b):
        return F.relu(F.max_pool2d(F.conv2d(x, w, *b, padding=padding), 2))

    inputs = (x, w) if b is None else (x, w, b)
    graph = graph_of(net, *inputs)
    pool_quickly(graph)
    strided = [node for node in graph.nodes if node.target is aten.convolution.default and node.args[3] == [2, 2]]
    assert len(strided) == (channels * kernel[0] * kernel[1] <= 32)  # beyond that the arithmetic would cost more than the slices
    torch.testing.assert_close(run(graph, *inputs), net(*inputs), rtol=1e-6, atol=1e-6)


def test_maxima_of_rows_first_are_the_same_bits():
    x = images(3)
    graph = graph_of(lambda x: F.max_pool2d(x + 1, 2), x)
    before = targets(graph).count(aten.maximum.default)
    pool_quickly(graph)
    assert (before, targets(graph).count(aten.maximum.default)) == (3, 2)
    assert torch.equal(run(graph, x), F.max_pool2d(x + 1, 2))
    x[2, 1, 4, 4] = float("nan")
    assert torch.equal(run(graph, x).isnan(), F.max_pool2d(x + 1, 2).isnan())


def test_corners_that_are_wanted_themselves_are_kept():
    x, w = images(), torch.randn(4, 1, 3, 3)

    def both(x, w):
        h = F.conv2d(x, w)
        return F.max_pool2d(h, 2).sum() + h.sum()

    graph = graph_of(both, x, w)
    pool_quickly(graph)
    assert all(node.args[3] == [1, 1] for node in graph.nodes if node.target is aten.convolution.default)
    torch.testing.assert_close(run(graph, x, w), both(x, w))


def test_results_are_written_over_what_nobody_reads_again():
    x, w, b = images(2), torch.randn(4, 2, 3, 3), torch.randn(4)

    def net(x, w, b):
        h = torch.tanh(F.relu(F.conv2d(x, w, b)) + 1)
        return h * 2 - F.conv2d(x, w, b)

    graph = lean(graph_of(net, x, w, b))
    names = [str(target.overloadpacket).removeprefix("aten.") for target in targets(graph)]
    assert names == ["convolution", "relu_", "add_", "tanh_", "mul_", "convolution", "sub_"]
    copies = [t.clone() for t in (x, w, b)]
    assert torch.equal(run(graph, x, w, b), net(x, w, b))
    assert all(map(torch.equal, copies, (x, w, b)))


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(lambda x: F.relu(x), id="an input"),
        pytest.param(lambda x: F.relu((x + 1)[1:]), id="a view"),
        pytest.param(lambda x: F.relu((x + 1).view(-1)), id="another view"),
        pytest.param(lambda x: (x + 1) * F.relu(x + 1), id="two values"),
        pytest.param(lambda x: (h := x + 1) * F.relu(h), id="read twice"),
        pytest.param(lambda x: (h := x + 1) * h, id="read twice by one"),
        pytest.param(lambda x: (x[:, :1] + 1) * x, id="another shape"),
        pytest.param(lambda x: (x > 0) + x, id="another dtype"),
        pytest.param(lambda x: F.dropout(x, 0.5, training=False) + 1, id="dropout that drops nothing"),
        pytest.param(lambda x: torch.maximum(h := x + 1, h.flip(1)) + h, id="maximum of one that is read again"),
        pytest.param(lambda x: F.relu(x.expand(5, 2, 11, 8) * 1), id="expanded"),
        pytest.param(lambda x: F.relu(x.reshape(5, 2, 88)).sum() + x, id="reshaped"),
        pytest.param(lambda x: F.batch_norm(x, x.mean((0, 2, 3)), x.var((0, 2, 3))).relu() + x, id="batch norm"),
        pytest.param(lambda x: F.silu(F.gelu(x, approximate="tanh")).sub(x, alpha=0.5), id="keyword arguments"),
    ],
)
def test_what_somebody_still_reads_is_left_alone(function):
    x = images(2)
    copy = x.clone()
    assert torch.equal(run(lean(graph_of(function, x)), x), function(x))
    assert torch.equal(x, copy)


def test_what_is_affine_is_mixed_where_it_is_first_used():
    first, second, other = images(2), images(2) + 1, images(2) - 2
    graph = graph_of(lambda a, b: F.relu(torch.maximum(F.relu(b), a)), first, other)
    mixed = lean(graph, [next(iter(graph.nodes))])
    kinds = [getattr(target, "overloadpacket", target) for target in targets(mixed)]
    assert kinds == [aten.relu, mixture, aten.maximum, aten.relu_]
    anchors = [first.clone(), second.clone()]
    value = fx.GraphModule(nn.Module(), mixed)([0.25, 0.75], anchors, other)[0]
    torch.testing.assert_close(value, torch.maximum(other, first + 0.75).relu())
    at_anchor = fx.GraphModule(nn.Module(), mixed)([1.0, 0.0], anchors, other)[0]
    assert torch.equal(at_anchor, torch.maximum(other.relu(), first))
    assert torch.equal(anchors[0], first)
    assert torch.equal(anchors[1], second)


@pytest.mark.parametrize(
    "row", [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 2.0, 0.0), (0.3, 0.7, 0.0), (1.0, -2.0, 0.5), (0.2, 0.3, 4.0)]
)
def test_a_mixture_is_new_memory_with_the_sum_in_it(row):
    torch.manual_seed(1)
    anchors = [torch.randn(3, 5) for _ in row]
    copies = [anchor.clone() for anchor in anchors]
    value = mixture(row, anchors)
    torch.testing.assert_close(value, sum(c * anchor for c, anchor in zip(row, copies, strict=True)))
    value.add_(1)
    assert all(map(torch.equal, anchors, copies))


def test_an_anchor_without_a_part_in_it_may_have_diverged():
    assert torch.equal(mixture((0.0, 1.0), [torch.full((2,), float("inf")), torch.ones(2)]), torch.ones(2))


def test_log_probabilities_are_not_normalised_twice():
    x = images(1)[:, 0, 0]
    graph = graph_of(lambda x: F.log_softmax(F.log_softmax(x, 1), 1), x)
    assert targets(graph).count(aten._log_softmax.default) == 1
    torch.testing.assert_close(run(graph, x), F.log_softmax(x, 1))
    graph = graph_of(lambda x: F.log_softmax(F.log_softmax(x, 1), 0), x)
    assert targets(graph).count(aten._log_softmax.default) == 2


def several(function, values, *others):
    """Return the values of a function at several points by the rewritten graph, None where it cannot be, and by a loop."""
    graph = graph_of(function, values[0], *others)
    first, *rest = [node for node in graph.nodes if node.op == "placeholder"]
    ranks = {first: values.ndim - 1, **{node: other.ndim for node, other in zip(rest, others, strict=True)}}
    led = leading(graph, ranks, {first})
    expected = torch.stack([function(value, *others) for value in values])
    return None if led is None else run(lean(led), values.clone(), *others), expected


def linear_inputs(points=4, n=5, inside=7, outside=3):
    torch.manual_seed(2)
    return torch.randn(points, n, inside), torch.randn(outside), torch.randn(outside, inside), torch.randn(n, outside)


@pytest.mark.parametrize("outside", [1, 3, 16, 20])
def test_several_points_at_once_are_what_they_are_alone(outside):
    h, b, w, base = linear_inputs(outside=outside)
    labels = torch.arange(5) % outside

    def net(h, b, w, base, labels, index):
        o = torch.addmm(b, F.relu(h), w) * 2 + base
        return F.log_softmax(o, 1).gather(1, index).squeeze(1) - torch.softmax(o, -1).argmax(1).eq(labels).float()

    got, expected = several(net, h, b, w.t(), base, labels, labels[:, None])
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_a_rank_one_update_is_one_pass():
    h, _, _, base = linear_inputs(inside=1)
    row = torch.randn(1, 3)
    got, expected = several(lambda h, base, row: torch.addmm(base, F.relu(h), row), h, base, row)
    torch.testing.assert_close(got, expected)
    values = torch.randn(4, 5, 2)
    torch.testing.assert_close(rows_times(base, values, torch.ones(2, 3)), base + values @ torch.ones(2, 3))


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(lambda h, b: h[:, 0] + h, id="a lower rank that moves"),
        pytest.param(lambda h, b: h.argmax(), id="argmax of everything"),
        pytest.param(lambda h, b: h.sum(0), id="an operation that is not known"),
        pytest.param(lambda h, b: h.argmax(1, keepdim=True), id="an option that is not known"),
        pytest.param(lambda h, b: b * 2, id="a result that does not move"),
        pytest.param(lambda h, b: torch.addmm(b, h, h, beta=0.5), id="a product of two that move"),
    ],
)
def test_what_is_not_known_is_left_to_vmap(function):
    h = torch.randn(4, 5, 5)
    graph = graph_of(function, h[0], torch.randn(5))
    first, other = [node for node in graph.nodes if node.op == "placeholder"]
    assert leading(graph, {first: 2, other: 1}, {first}) is None
