"""The pass that collects running statistics, recorded: its outputs are the means and variances of the normalisation layers.

May import: torch, core.replica, core.scoring, core.program. A layer in training mode is written as two operations, the
statistics of its input and the normalisation by them. So the graph says what is true: the statistics do not depend on the
layer's own scale and shift, and what is normalised by fixed statistics is affine in these.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

from ..replica import Replica
from ..scoring import Scorer
from .recordings import Engine, Recordings

aten = torch.ops.aten
# the same arguments: input, weight, bias, mean, variance, training, momentum, epsilon
_NORMS = (aten.native_batch_norm.default, aten.cudnn_batch_norm.default)
_TAILS = ("running_mean", "running_var", "num_batches_tracked")


class Statistics(Recordings):
    """Recordings whose scores are the running statistics that one batch leaves in a model, in the order of `names`.

    Attributes
    ----------
    names : list of str
        Of the buffers.
    """

    def __init__(self, replica: Replica, scorer: Scorer, engine: Engine):
        super().__init__(replica, scorer, engine)
        self.names = [f"{name}.{tail}" for name in replica.norms for tail in ("running_mean", "running_var")]
        if any(isinstance(norm, nn.SyncBatchNorm) for norm in replica.norms.values()):
            self.reason = self.reason or "SyncBatchNorm talks to other processes"

    def _results(self, given: dict[str, Tensor], batch: Any, n: int) -> list[tuple[str, Tensor]]:
        with self._replica.training(1.0), _watched(self._replica) as seen:
            self._replica.call(given, batch)
        results = []
        for name in self._replica.norms:
            # a layer that the pass does not enter keeps what it was reset to
            fresh = given[f"model.{name}.running_mean"]
            uses = seen.get(name) or [(torch.zeros_like(fresh), torch.ones_like(fresh))]
            for values in zip(*uses, strict=True):
                results.append(("score", values[0] if len(values) == 1 else torch.stack(values).mean(0)))
        return results

    def _tidy(self, graph: fx.Graph) -> None:
        known = {node.args[0]: node for node in graph.nodes if node.target is aten.batch_norm_update_stats.default}
        for node in list(graph.nodes):
            if node.target in _NORMS and node.args[5]:
                source, scale, shift, _, _, _, _, eps = node.args
                with graph.inserting_before(node):
                    if source not in known:
                        known[source] = graph.call_function(aten.batch_norm_update_stats.default, (source, None, None, 1.0))
                    mean, var = (graph.call_function(operator.getitem, (known[source], i)) for i in (0, 1))
                    again = graph.call_function(aten.native_batch_norm.default, (source, scale, shift, mean, var, False, 0.0, eps))
                again.meta.update(node.meta)
                node.replace_all_uses_with(again)
        super()._tidy(graph)


@contextmanager
def _watched(replica: Replica) -> Iterator[dict[str, list[tuple[Tensor, Tensor]]]]:
    """Note mean and variance of what each normalisation layer is given, and keep it from writing them."""
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {}
    buffers: dict[nn.Module, dict[str, Tensor | None]] = {}

    def before(name: str, norm: _NormBase, inputs: tuple[Tensor, ...]) -> None:
        seen.setdefault(name, []).append(_statistics(norm, inputs[0]))
        buffers[norm] = {tail: norm._buffers.get(tail) for tail in _TAILS}
        norm._buffers.update(dict.fromkeys(_TAILS))

    def after(norm: nn.Module, _inputs: Any, _output: Any) -> None:
        norm._buffers.update(buffers.pop(norm, {}))

    with ExitStack() as stack:
        for name, norm in replica.norms.items():
            stack.callback(norm.register_forward_pre_hook(lambda m, i, name=name: before(name, m, i)).remove)
            stack.callback(norm.register_forward_hook(after, always_call=True).remove)
        yield seen


def _statistics(norm: _NormBase, source: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and unbiased variance, (channels,), as the layer would keep them."""
    if isinstance(norm, _InstanceNorm):  # the average of the samples' own statistics
        unbatched = source.dim() == norm._get_no_batch_dim()
        source = source.reshape(1, -1, *source.shape[1 if unbatched else 2 :])
    count = source.numel() // source.shape[1]
    if count < 2:
        raise ValueError("expected more than 1 value per channel when training")
    mean, var = aten.batch_norm_update_stats(source, None, None, 1.0)
    var = var * (count / (count - 1))
    if len(mean) == norm.num_features:
        return mean, var
    return mean.view(-1, norm.num_features).mean(0), var.view(-1, norm.num_features).mean(0)
