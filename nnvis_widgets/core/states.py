"""Named weights: which tensors a model has, snapshots, digests, and how far weights have moved.

May import: torch, numpy. A *state* is a mapping from the names of ``state_dict()`` to tensors. A *layout* says what each
name is: a parameter, a running statistic of a normalisation layer, or another buffer; tied parameters count once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

State = Mapping[str, Tensor]

# Wrappers whose state_dict carries one more prefix: DataParallel and DDP, torch.compile, SWA's AveragedModel.
_WRAPPERS = ("module", "_orig_mod")
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class StateError(ValueError):
    """Weights whose names, shapes or values do not fit the model or the run."""


class RunLike(Protocol):
    """What the experiments need of a run: epochs, and states that are read when asked for."""

    @property
    def epochs(self) -> Any: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Any: ...


def unwrap(model: nn.Module) -> nn.Module:
    """Return the user's module inside DataParallel, DistributedDataParallel and torch.compile wrappers."""
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(model, wrappers):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod  # type: ignore[assignment]
        else:
            return model


def plain_names(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors of a state without the prefixes that wrappers put before every name."""
    named = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    for _ in range(4):
        for prefix in _WRAPPERS:
            if named and all(name.startswith(f"{prefix}.") for name in named):
                named = {name[len(prefix) + 1 :]: value for name, value in named.items()}
                break
        else:
            break
    return named


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a model's parameters and buffers on the CPU; names that are tied share one tensor."""
    copies: dict[tuple, Tensor] = {}
    state = {}
    for name, tensor in plain_names(unwrap(model).state_dict()).items():
        if tensor.is_meta:
            raise StateError(f"{name!r} is on the meta device and has no values: load the weights first")
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype) if tensor.numel() else (name,)
        if key not in copies:
            copies[key] = tensor.detach().to("cpu", copy=True)
        state[name] = copies[key]
    return state


def digest(state: State | Iterable[tuple[str, Tensor]]) -> str:
    """Return 32 hexadecimal digits that identify names, shapes, types and every bit of the tensors."""
    total = hashlib.blake2b(digest_size=16)
    items = state.items() if isinstance(state, Mapping) else state
    for name, tensor in items:
        total.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        total.update(memoryview((flat.view(torch.uint8) if flat.numel() else flat).numpy()))
    return total.hexdigest()


@dataclass(frozen=True)
class Layout:
    """What the names of a state are.

    Attributes
    ----------
    shapes : dict of str to torch.Size
        The parameters, tied ones once, in the model's order.
    dtypes : dict of str to torch.dtype
    aliases : dict of str to str
        Second names of tied parameters, and the name that counts.
    statistics : dict of str to str
        Floating running statistics of normalisation layers, and ``"mean"`` or ``"var"``.
    buffers : dict of str to torch.Size
        Every persistent buffer, running statistics and counters included.
    """

    shapes: dict[str, torch.Size]
    dtypes: dict[str, torch.dtype]
    aliases: dict[str, str] = field(default_factory=dict)
    statistics: dict[str, str] = field(default_factory=dict)
    buffers: dict[str, torch.Size] = field(default_factory=dict)

    @classmethod
    def of(cls, model: nn.Module) -> Layout:
        """Return the layout of a model."""
        model = unwrap(model)
        seen: dict[int, str] = {}
        shapes, dtypes, aliases = {}, {}, {}
        for name, parameter in model.named_parameters(remove_duplicate=False):
            if isinstance(parameter, nn.parameter.UninitializedParameter):
                raise StateError(f"{name!r} is a lazy parameter without a shape: run the model once on a batch first")
            if id(parameter) in seen:
                aliases[name] = seen[id(parameter)]
                continue
            seen[id(parameter)] = name
            shapes[name], dtypes[name] = parameter.shape, parameter.dtype
        persistent = plain_names(model.state_dict())
        buffers = {n: b.shape for n, b in model.named_buffers(remove_duplicate=False) if n in persistent}
        return cls(shapes, dtypes, aliases, _running_statistics(buffers), buffers)

    @classmethod
    def of_state(cls, state: State, parameters: Iterable[str] | None = None) -> Layout:
        """Return the layout of a bare state; without `parameters`, names of running statistics tell the buffers."""
        if parameters is None:
            parameters = [
                name
                for name, tensor in state.items()
                if (tensor.is_floating_point() or tensor.is_complex()) and name.rpartition(".")[2] not in _STATISTICS
            ]
        seen: dict[int, str] = {}
        aliases: dict[str, str] = {}
        for name in parameters:
            if id(state[name]) in seen:
                aliases[name] = seen[id(state[name])]
            else:
                seen[id(state[name])] = name
        own = set(seen.values()) | set(aliases)
        buffers = {name: tensor.shape for name, tensor in state.items() if name not in own}
        return cls(
            {name: state[name].shape for name in seen.values()},
            {name: state[name].dtype for name in seen.values()},
            aliases,
            _running_statistics(buffers),
            buffers,
        )

    @property
    def layers(self) -> dict[str, tuple[str, ...]]:
        """Modules that own parameters themselves, in order, each with the names of those parameters."""
        layers: dict[str, list[str]] = {}
        for name in self.shapes:
            # a parametrised tensor (weight norm and the like) belongs to the module that it is a parameter of
            layers.setdefault(name.partition(".parametrizations.")[0] if ".parametrizations." in name
                              else name.rpartition(".")[0], []).append(name)
        return {layer: tuple(names) for layer, names in layers.items()}

    def count(self, names: Iterable[str] | None = None) -> int:
        """Return how many single weights the named parameters (default: all) hold."""
        return sum(self.shapes[name].numel() for name in (self.shapes if names is None else names))

    def check(self, state: State, what: str) -> dict[str, Tensor]:
        """Return `state` under this layout's names, or refuse it with the first difference.

        Raises
        ------
        StateError
            A name is missing or unknown, or a shape differs.
        """
        state = plain_names(state)
        for alias, name in self.aliases.items():
            if name not in state and alias in state:
                state[name] = state[alias]
        expected = {**self.shapes, **self.buffers}
        missing = [name for name in expected if name not in state]
        unknown = [name for name in state if name not in expected and name not in self.aliases]
        if missing or unknown:
            raise StateError(
                f"{what} does not fit the model: "
                + "; ".join(
                    f"{kind} {', '.join(map(repr, names[:4]))}{' ...' if len(names) > 4 else ''}"
                    for kind, names in (("missing", missing), ("unknown", unknown))
                    if names
                )
                + ". States are state_dict()s (parameters and buffers) of the same model"
            )
        for name, shape in expected.items():
            if state[name].shape != shape:
                raise StateError(
                    f"{what}: {name!r} has shape {tuple(state[name].shape)}, the model's has {tuple(shape)}: "
                    "the two come from different models"
                )
        return state


def _running_statistics(buffers: Mapping[str, Any]) -> dict[str, str]:
    kinds = {"running_mean": "mean", "running_var": "var"}
    return {name: kinds[tail] for name in buffers if (tail := name.rpartition(".")[2]) in kinds}


def distances(start: Sequence[Tensor], end: Sequence[Tensor], mid: Sequence[Tensor] | None = None) -> dict[str, float]:
    """Return how far a selection of weights has moved from `start` to `end`.

    Parameters
    ----------
    start, end, mid : sequence of Tensor
        The same tensors of the selection in each state.

    Returns
    -------
    dict
        ``distance`` |D| with D = end - start; ``relative_distance`` |D| / |start|; ``rms`` |D| / sqrt(number of weights);
        ``cosine`` of the angle between start and end. With `mid`: ``rho`` = <mid - start, D> / |D|^2, the share of
        the straight way covered at the mid checkpoint, and ``eta`` = |mid - start - rho D| / |D|, how far it lies off it.
        What is undefined (nothing moved, a start of zeros) is NaN.
    """
    moved = dot = start2 = end2 = along = 0.0
    count = 0
    for index, (first, last) in enumerate(zip(start, end, strict=True)):
        a, b = _double(first), _double(last)
        delta = b - a
        count += a.numel()
        moved += _inner(delta, delta)
        dot, start2, end2 = dot + _inner(a, b), start2 + _inner(a, a), end2 + _inner(b, b)
        if mid is not None:
            along += _inner(_double(mid[index]) - a, delta)
    nan = float("nan")
    distance = moved**0.5
    answer = {
        "distance": distance,
        "relative_distance": distance / start2**0.5 if start2 else nan,
        "rms": (moved / count) ** 0.5 if count else nan,
        "cosine": dot / (start2 * end2) ** 0.5 if start2 and end2 else nan,
    }
    if mid is not None:
        answer["rho"] = rho = along / moved if moved else nan
        off2 = 0.0  # a second pass: |mid - start|^2 - rho^2 |D|^2 would cancel
        for first, last, between in zip(start, end, mid, strict=True):
            a, b = _double(first), _double(last)
            rest = _double(between) - a - rho * (b - a)
            off2 += _inner(rest, rest)
        answer["eta"] = (off2 / moved) ** 0.5 if moved else nan
    return answer


def _double(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu()
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64).reshape(-1)


def _inner(a: Tensor, b: Tensor) -> float:
    return float(torch.vdot(a, b).real) if a.is_complex() else float(torch.dot(a, b))
