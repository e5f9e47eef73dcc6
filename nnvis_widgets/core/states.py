"""Named weights: which tensors a model has, snapshots, and digests.

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

from .distances import distances as distances

State = Mapping[str, Tensor]

# Wrappers whose state_dict carries one more prefix: DataParallel and DDP, torch.compile, SWA's AveragedModel.
_WRAPPERS = ("module", "_orig_mod")
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class StateError(ValueError):
    """Weights whose names, shapes or values do not fit the model or the run."""


class RunLike(Protocol):
    """What the experiments need of a run: epochs, and states that are read when asked for."""

    @property
    def epochs(self) -> Any:
        """Epochs of the checkpoints, ascending."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Any: ...


def check_run(run: Any) -> RunLike:
    """Return `run`, or refuse what is none."""
    if not (hasattr(run, "epochs") and hasattr(run, "__len__") and hasattr(run, "__getitem__")):
        raise TypeError(f"run: a Run, such as nv.Run.open(folder) or nv.Run.from_states([state, ...]); received {_named(run)}")
    return run


def _named(value: Any) -> str:
    return f"the {type(value).__name__} {value!r}" if isinstance(value, (str, int, float)) else f"a {type(value).__name__}"


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
    start = len(_wrapper_prefix(named))
    return {name[start:]: value for name, value in named.items()}


def _wrapper_prefix(names: Iterable[str]) -> str:
    """Return what wrappers have put before every one of these names, such as "_orig_mod.module."."""
    names, prefix = list(names), ""
    while names:
        longer = [f"{prefix}{wrapper}." for wrapper in _WRAPPERS if all(n.startswith(f"{prefix}{wrapper}.") for n in names)]
        if not longer:
            break
        prefix = longer[0]
    return prefix


def same_memory(tensor: Tensor) -> tuple:
    """Return a key that two tensors share only where they are the same values in the same memory (tied weights)."""
    if tensor.is_meta or not tensor.numel() or tensor.layout != torch.strided:
        return (id(tensor),)
    return (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a model's parameters and buffers on the CPU; names that are tied share one tensor."""
    copies: dict[tuple, Tensor] = {}
    state = {}
    for name, tensor in unwrap(model).state_dict().items():
        if not isinstance(tensor, Tensor):  # extra state
            continue
        if isinstance(tensor, nn.parameter.UninitializedParameter):
            raise StateError(f"{name!r} is a lazy parameter without a shape: run the model once on a batch first")
        if tensor.is_meta:
            raise StateError(f"{name!r} is on the meta device and has no values: load the weights first")
        key = same_memory(tensor)
        if key not in copies:
            copies[key] = tensor.detach().to("cpu", copy=True)
        state[name] = copies[key]
    return state


def copied(state: State, device: str | torch.device | None = None) -> dict[str, Tensor]:
    """Return a state in memory of its own; names that are tied share one tensor, as they did."""
    copies: dict[tuple, Tensor] = {}
    for tensor in state.values():
        key = same_memory(tensor)
        if key not in copies:
            copies[key] = tensor.detach().to(device or tensor.device, copy=True)
    return {name: copies[same_memory(tensor)] for name, tensor in state.items()}


def digest(state: State | Iterable[tuple[str, Tensor]]) -> str:
    """Return 32 hexadecimal digits that identify names, shapes, types and every bit of the tensors."""
    total = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(state.items() if isinstance(state, Mapping) else state, key=lambda item: item[0]):
        total.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        total.update(raw_bytes(tensor))
    return total.hexdigest()


def raw_bytes(tensor: Tensor) -> memoryview:
    """Return the bytes of a tensor of any type, row by row."""
    flat = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
    return (flat.view(torch.uint8) if flat.numel() else flat.to(torch.uint8)).numpy().data


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
        persistent = model.state_dict()
        buffers = {n: b.shape for n, b in model.named_buffers(remove_duplicate=False) if n in persistent}
        return cls(shapes, dtypes, aliases, _running_statistics(buffers), buffers)

    @classmethod
    def of_state(cls, state: State, parameters: Iterable[str] | None = None) -> Layout:
        """Return the layout of a bare state; without `parameters`, names of running statistics tell the buffers."""
        if not isinstance(state, Mapping):
            raise StateError(f"states: mappings of names to tensors, such as model.state_dict(); received a {type(state).__name__}")
        if parameters is None:
            parameters = [
                name
                for name, tensor in state.items()
                if (tensor.is_floating_point() or tensor.is_complex()) and name.rpartition(".")[2] not in _STATISTICS
            ]
        seen: dict[tuple, str] = {}
        aliases: dict[str, str] = {}
        for name in parameters:
            # by memory, not by object: state_dict() makes a new tensor object for each name of a tied weight
            first = seen.setdefault(same_memory(state[name]), name)
            if first != name:
                aliases[name] = first
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
            layers.setdefault(
                name.partition(".parametrizations.")[0] if ".parametrizations." in name else name.rpartition(".")[0], []
            ).append(name)
        return {layer: tuple(names) for layer, names in layers.items()}

    def count(self, names: Iterable[str] | None = None) -> int:
        """Return how many single weights the named parameters (default: all) hold."""
        return sum(self.shapes[name].numel() for name in (self.shapes if names is None else names))

    def check(self, state: State, what: str) -> dict[str, Tensor]:
        """Return `state` under this layout's names, or refuse it with the first difference.

        Raises
        ------
        StateError
            A name is missing or unknown, a shape differs, or two names of one tied weight have different values.
        """
        if not isinstance(state, Mapping):
            raise StateError(f"{what}: a state, such as model.state_dict(); received a {type(state).__name__}")
        expected = {**self.shapes, **self.buffers}
        state = named_like(state, [*expected, *self.aliases])
        for alias, name in self.aliases.items():
            if alias in state and not _equal(state.setdefault(name, state[alias]), state[alias]):
                raise StateError(
                    f"{what}: {name!r} and {alias!r} are one tied weight of the model, but differ here; measure them with a model "
                    "in which they are not tied"
                )
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


def named_like(state: State, names: Sequence[str]) -> dict[str, Tensor]:
    """Return the state's tensors with the prefixes of wrappers that `names` have, in place of those that it has."""
    named = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if named.keys() <= set(names):
        return named
    theirs, ours = len(_wrapper_prefix(named)), _wrapper_prefix(names)
    return {ours + name[theirs:]: value for name, value in named.items()}


def _equal(one: Tensor, other: Tensor) -> bool:
    same = one is other or same_memory(one) == same_memory(other)
    return same or (one.shape == other.shape and raw_bytes(one) == raw_bytes(other))


def _running_statistics(buffers: Mapping[str, Any]) -> dict[str, str]:
    kinds = {"running_mean": "mean", "running_var": "var"}
    return {name: kinds[tail] for name in buffers if (tail := name.rpartition(".")[2]) in kinds}


def refuse_split(model: nn.Module) -> None:
    """Refuse a model whose weights have no values, lie on several devices, or are none."""
    devices = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    if any(device.type == "meta" for device in devices):
        raise StateError("model: some of its weights are on the meta device and have no values: load them first")
    if len(devices) > 1:
        raise StateError(
            f"model: its weights lie on {len(devices)} devices ({', '.join(sorted(map(str, devices)))}); move it to one"
        )
    if not any(True for _ in model.parameters()):
        raise StateError("model: it has no parameters")
