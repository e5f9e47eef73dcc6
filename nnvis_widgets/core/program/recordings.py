"""The recorded forward passes of one evaluator: one for each form of batch, made when it is first met.

May import: torch, core.replica, core.scoring, core.data, core.program.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_flatten, tree_unflatten

from ..data import leaves
from ..replica import Replica
from ..scoring import Scorer
from .affine import Kind, kinds_of
from .awake import stages
from .local import localise
from .record import Unrecordable, record
from .split import Split, split
from .tidy import tidy

PROGRAMS = ("recorded", "modules", "plain")
_FORMS = 6  # batches of more forms than this (padded text) would be recorded more often than measured


@dataclass(frozen=True)
class Engine:
    """How points are computed.

    Attributes
    ----------
    program : {"recorded", "modules", "plain"}
        A recorded forward pass where it agrees with the plain one; the plain one, without the modules that all points of a
        batch share; or all of the plain one.
    head : bool
        Whether what is affine in the coefficients is computed once for each anchor.
    together : int
        Most points that are computed in one call.
    channels_last : bool
        Memory format of images and kernels.
    compile : bool
        Whether what is computed at each point goes through ``torch.compile``.
    """

    program: str = "recorded"
    head: bool = True
    together: int = 64
    channels_last: bool = True
    compile: bool = False

    @classmethod
    def of(cls, wanted: Any, device: torch.device) -> Engine:
        """Return the engine that "auto", "plain", or a mapping of some of the attributes stands for."""
        auto = cls(channels_last=device.type == "cpu")
        if isinstance(wanted, Engine):
            return wanted
        if wanted == "auto":
            return auto
        if wanted in PROGRAMS:
            return replace(auto, program=wanted)
        names = {entry.name: type(getattr(auto, entry.name)) for entry in fields(cls)}
        if isinstance(wanted, Mapping) and all(type(value) is names.get(name) for name, value in wanted.items()):
            chosen = replace(auto, **wanted)
            if chosen.program in PROGRAMS and chosen.together >= 1:
                return chosen
        allowed = ", ".join(f"{name!r}: {getattr(auto, name)!r}" for name in names)
        raise ValueError(f"engine: 'auto', {', '.join(map(repr, PROGRAMS))}, or a mapping like {{{allowed}}}; received {wanted!r}")


@dataclass(frozen=True, eq=False)
class Recorded:
    """A forward pass with its scores, as a graph.

    Attributes
    ----------
    graph : torch.fx.Graph
    weights, buffers : dict of str to Node
        Placeholders by the names of a state; those that the pass does not use are left out.
    batch : list of Node or None
        Placeholders of the tensors in a batch, in order; None where one is not used.
    scores : list of Node
        The loss and the metrics.
    sample_weights, target : Node or None
    constants : dict of Node to Tensor
    row, unit, change : Node or None
        In a pass that is rewritten for one unit: the weights that lead into it, its number, and what it gives the others.
    """

    graph: fx.Graph
    weights: dict[str, fx.Node]
    buffers: dict[str, fx.Node]
    batch: list[fx.Node]
    scores: list[fx.Node]
    sample_weights: fx.Node | None
    target: fx.Node | None
    constants: dict[fx.Node, Tensor]
    row: fx.Node | None = None
    unit: fx.Node | None = None
    change: fx.Node | None = None
    splits: dict[Any, Split] = field(default_factory=dict)
    units: dict[str, Recorded] = field(default_factory=dict)

    def split(self, inputs: Mapping[fx.Node, Kind], head: bool) -> Split:
        """Return the four parts for placeholders of these kinds; the same object for the same kinds."""
        key = (tuple(inputs.items()), head)
        if key not in self.splits:
            also = [node for node in (self.sample_weights, self.target) if node is not None]
            kinds = kinds_of(self.graph, inputs)
            made = split(self.graph, kinds, self.scores, also=also, head=head)
            self.splits[key] = replace(made, stages=stages(self.graph, kinds, self.scores, self.change))
        return self.splits[key]

    def of_unit(self, name: str) -> Recorded:
        """Return the pass rewritten for one row of a weight: one unit of a linear layer, one channel of a convolution."""
        if name not in self.units:
            local = localise(self.graph, self.weights[name], self.scores)
            copies = local.copies
            self.units[name] = Recorded(
                graph=local.graph,
                weights={n: copies[node] for n, node in self.weights.items()},
                buffers={n: copies[node] for n, node in self.buffers.items()},
                batch=[copies[node] for node in self.batch],
                scores=local.scores,
                sample_weights=copies.get(self.sample_weights),  # type: ignore[arg-type]
                target=copies.get(self.target),  # type: ignore[arg-type]
                constants={copies[node]: value for node, value in self.constants.items()},
                row=local.row,
                unit=local.unit,
                change=local.change,
            )
        return self.units[name]


class Recordings:
    """Records the forward pass of a replica and its scores, once for each form of batch.

    Attributes
    ----------
    reason : str
        Why there is no recording; empty where there is.
    no_modules : str
        Why no module may be left out of a plain pass either.
    checks : Counter
        How often a program, by its form of batch and its outline, was compared with the plain pass.
    """

    def __init__(self, replica: Replica, scorer: Scorer, engine: Engine):
        self._replica, self._scorer, self.engine = replica, scorer, engine
        grad = "grad=True: it differentiates inside" if replica.grad else ""
        self.reason = grad if engine.program == "recorded" else f"engine={engine.program!r}"
        self.no_modules = "engine='plain'" if engine.program == "plain" else "it is compiled" if replica.compiled else grad
        self.checks: Counter[Any] = Counter()
        self._made: dict[Any, Recorded] = {}
        self._previewed: set[Any] = set()

    def eager(self, *sweep: Any) -> Recordings | None:
        """Return the same recordings for points that need no compiler; None where a sweep like this has not to wait for one."""
        if not self.engine.compile or self.reason or sweep in self._previewed:
            return None
        self._previewed.add(sweep)
        twin = copy.copy(self)
        twin.engine = replace(self.engine, compile=False)
        return twin

    def used(self, policy: str = "") -> dict[str, Any]:
        """Return what a later evaluator is given to compute in the same way under a BatchNorm policy, as plain values."""
        recorded = not self.reason and policy != "batch"
        return {**asdict(self.engine), "program": "recorded" if recorded else "plain" if self.no_modules else "modules"}

    def of(self, batch: Any, n: int, state: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> Recorded | None:
        """Return the recording for a batch of this form; None where there is none, and `reason` then says why.

        Parameters
        ----------
        batch : as collated, on the device
        n : int
            How many samples it holds.
        state, buffers : mapping of str to Tensor
            Any weights of the model; the recording does not depend on their values.
        """
        if self.reason:
            return None
        form = form_of(batch)
        if form is None:
            self.reason = "its batches hold tensors inside objects that torch does not open"
            return None
        if form not in self._made:
            if len(self._made) >= _FORMS:
                self.reason = f"its batches come in more than {_FORMS} forms"
                return None
            try:
                self._made[form] = self._record(batch, n, state, buffers)
            except Unrecordable as error:
                self.reason = str(error)
                return None
            except (RuntimeError, TypeError, ValueError, AttributeError, KeyError) as error:
                # python that expects a plain tensor, or an operation that torch cannot trace: the plain pass still works
                self.reason = f"it cannot be recorded ({in_short(error)})"
                return None
        return self._made[form]

    def _record(self, batch: Any, n: int, state: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> Recorded:
        replica = self._replica
        weights = {name: _other(state[name].to(replica.device, dtype)) for name, dtype in replica.dtypes.items()}
        entries, spec = tree_flatten(batch)
        places = [i for i, entry in enumerate(entries) if isinstance(entry, Tensor)]
        samples = [_other(e).roll(1, 0) if e.ndim and len(e) == n > 1 else _other(e) for e in (entries[i] for i in places)]
        kinds: list[str] = []

        def run(*flat: Tensor) -> list[Tensor]:
            rest = iter(flat)
            given = {f"model.{name}": next(rest) for name in (*weights, *buffers)}
            again = list(entries)
            for place in places:
                again[place] = next(rest)
            kinds[:], results = zip(*self._results(given, tree_unflatten(again, spec), n), strict=True)
            return list(results)

        recording = record(run, [*weights.values(), *map(_other, buffers.values()), *samples])
        self._tidy(recording.graph)
        # tidying replaces nodes: what came out is read from the graph itself
        outputs = list(next(node for node in recording.graph.nodes if node.op == "output").args[0])
        named = dict(zip((*weights, *buffers), recording.inputs, strict=False))
        return Recorded(
            graph=recording.graph,
            weights={name: named[name] for name in weights if named[name].users},
            buffers={name: named[name] for name in buffers if named[name].users},
            batch=recording.inputs[len(named) :],
            scores=[node for node, kind in zip(outputs, kinds, strict=True) if kind == "score"],
            sample_weights=next((node for node, kind in zip(outputs, kinds, strict=True) if kind == "sample weights"), None),
            target=next((node for node, kind in zip(outputs, kinds, strict=True) if kind == "target"), None),
            constants={node: recording.constants[str(node.target)] for node in recording.graph.nodes if node.op == "get_attr"},
        )

    def _results(self, given: dict[str, Tensor], batch: Any, n: int) -> list[tuple[str, Tensor]]:
        """Return what is recorded, each with its kind: "score", "sample weights" or "target"."""
        output, target = self._replica.call(given, batch)
        results = [("score", score) for score in self._scorer(output, target, n)]
        also = (("sample weights", self._scorer.weights(target)), ("target", target))
        return [*results, *((kind, value) for kind, value in also if isinstance(value, Tensor))]

    def _tidy(self, graph: fx.Graph) -> None:
        engine = self.engine
        tidy(graph, engine.channels_last, slices=self._replica.device.type == "cpu", rounding=engine.head)


def _other(tensor: Tensor) -> Tensor:
    """Return other values than those that a recording is checked on: one that went into it as a constant is then found out."""
    return tensor * 0.9375 if tensor.is_floating_point() or tensor.is_complex() else tensor.clone()


def in_short(error: Exception) -> str:
    """Return the kind of an error and the beginning of what it says."""
    said = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {said if len(said) <= 200 else said[:200] + '...'}"


def form_of(batch: Any) -> tuple | None:
    """Return what two batches must share to be measured with one recording; None where tensors hide inside objects."""
    entries, spec = tree_flatten(batch)
    tensors = [entry for entry in entries if isinstance(entry, Tensor)]
    if len(tensors) != sum(isinstance(leaf, Tensor) for leaf in leaves(batch)):
        return None
    described = tuple((tuple(e.shape), e.dtype, e.device) if isinstance(e, Tensor) else (type(e), repr(e)) for e in entries)
    return (str(spec), described)


def tensors_of(batch: Any) -> list[Tensor]:
    """Return the tensors in a batch, in the order of `Recorded.batch`."""
    return [entry for entry in tree_flatten(batch)[0] if isinstance(entry, Tensor)]


def images_last(tensor: Tensor) -> Tensor:
    """Return images and kernels with their channels last in memory; other tensors as they are."""
    if tensor.ndim == 4 and tensor.is_floating_point():
        return tensor.to(memory_format=torch.channels_last)
    return tensor
