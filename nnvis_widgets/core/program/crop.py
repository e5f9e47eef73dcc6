"""What nobody reads is not computed: the last rows and columns of images that a later pooling leaves out.

May import: torch, core.program. A pooling of 13 x 13 by windows of 2 x 2 looks at 12 x 12, so the convolution before it need not
give more, and what comes before that convolution need not either. Only far edges are left out: no value that is read changes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from .entrywise import Node, is_entrywise, operation_of

aten = torch.ops.aten
Shape = tuple[int, ...]


def crop(graph: fx.Graph) -> None:
    """Rewrite a recorded graph in place; shapes in ``meta`` are then those of what is computed."""
    read = _read(graph)
    for node in list(graph.nodes):
        operation = operation_of(node)
        if node not in read:
            continue
        if operation is aten.slice:
            source, dim, start, _, step = _slice(node)
            node.args = (source, dim, start, start + _span(read[node][dim], step), step)
            node.meta["shape"] = _with(source.meta["shape"], dim, read[node][dim])
            continue
        for given in node.all_input_nodes:
            if given.op == "placeholder":  # samples: cut once a batch
                node.replace_input_with(given, _cut(graph, node, given, _wanted(node, given, read)))
        if operation is aten.convolution:
            node.meta["shape"] = *node.meta["shape"][:2], *_windows(node, node.args[0].meta["shape"])
            continue
        images = node.all_input_nodes
        node.meta["shape"] = tuple(map(min, *[image.meta["shape"] for image in images], node.meta["shape"]))
        for image in images:
            node.replace_input_with(image, _cut(graph, node, image, node.meta["shape"]))


def _read(graph: fx.Graph) -> dict[Node, Shape]:
    """Return how much is read of the values whose operations can give less, counted from the beginning of each axis."""
    read: dict[Node, Shape] = {}
    for node in reversed(graph.nodes):
        operation, shape = operation_of(node), node.meta.get("shape")
        if shape is None or not all("shape" in given.meta for given in node.all_input_nodes):
            continue
        window = operation is aten.convolution and len(shape) > 2 and not node.args[6]
        if node.users and (window or operation is aten.slice or is_entrywise(node)):
            wanted = [_wanted(user, node, read) for user in node.users]
            read[node] = tuple(map(max, zip(*wanted, strict=True)))
    return read


def _wanted(user: Node, source: Node, read: dict[Node, Shape]) -> Shape:
    """Return how much of `source` one of its users reads."""
    whole: Shape = source.meta["shape"]
    if user not in read:
        return whole
    wanted = read[user]
    if operation_of(user) is aten.slice:
        _, dim, start, _, step = _slice(user)
        return _with(wanted, dim, start + _span(wanted[dim], step))
    if operation_of(user) is aten.convolution:
        if source is not user.args[0]:
            return whole
        spans = zip(whole[2:], wanted[2:], *_geometry(user), strict=True)
        # what is padded at the far edge has to be there
        return (*whole[:2], *(n if padded else stride * (m - 1) + width for n, m, width, stride, padded in spans))
    return wanted


def _with(shape: Shape, dim: int, length: int) -> Shape:
    return (*shape[:dim], length, *shape[dim + 1 :])


def _span(entries: int, step: int) -> int:
    return step * (entries - 1) + 1 if entries else 0


def _geometry(convolution: Node) -> tuple[list[int], list[int], list[int]]:
    """Return how wide the windows of a convolution are, how far apart, and what is padded."""
    _, weight, _, stride, padding, dilation, *_ = convolution.args
    kernel = weight.meta["shape"][2:]
    times = len(kernel)
    stride, padding, dilation = (list(value) * (times if len(value) == 1 else 1) for value in (stride, padding, dilation))
    return [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)], stride, padding


def _windows(convolution: Node, given: Shape) -> list[int]:
    """Return how many windows a convolution has along each axis of its images."""
    spans = zip(given[2:], *_geometry(convolution), strict=True)
    return [(n + 2 * padded - width) // stride + 1 for n, width, stride, padded in spans]


def _cut(graph: fx.Graph, before: Node, source: Node, wanted: Shape | list[int]) -> Node:
    """Return the beginning of a value along each axis that is longer than what is wanted of it."""
    for dim, (length, there) in enumerate(zip(wanted, source.meta["shape"], strict=True)):
        if length < there:
            with graph.inserting_before(before):
                first = graph.call_function(aten.slice.Tensor, (source, dim, 0, length))
            first.meta.update(source.meta, shape=_with(source.meta["shape"], dim, length))
            source = first
    return source


def _slice(node: Node) -> tuple[Node, int, int, int, int]:
    """Return what is sliced, along which axis, from where, to where and how far apart, all counted from the beginning."""
    given: list[Any] = [*node.args, *(0, None, None, 1)[len(node.args) - 1 :]]
    source, dim, start, end, step = given
    dim %= len(source.meta["shape"])
    first, last, step = slice(start, end, step).indices(source.meta["shape"][dim])
    return source, dim, first, last, step
