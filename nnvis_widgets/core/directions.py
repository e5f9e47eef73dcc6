"""Planes through a model: in random directions, and through three states.

May import: torch, numpy, core.states, core.scope, core.plane. The plane of a run's principal components: core.principal.
"""

from __future__ import annotations

import hashlib
import math
import operator
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from .plane import Plane, PlaneError, parts_of
from .scope import Scope
from .states import Layout, State, StateError, plain_names

NORMALIZATIONS = ("filter", "layer", None)
MARGIN = 0.2  # of what a plane is to show, on each side


def random_plane(
    center: State | nn.Module,
    *,
    normalize: str | None = "filter",
    seed: int = 0,
    ignore_1d: bool = True,
    model: nn.Module | None = None,
) -> Plane:
    """Return a plane through `center` in two independent Gaussian directions.

    Parameters
    ----------
    center : Module or State
        A model's present weights, or a state.
    normalize : {"filter", "layer", None}
        "filter": each filter of a direction gets the length of the centre's filter, ``d_i <- d_i |w_i| / |d_i|`` (Li et al.,
        2018). A filter is what makes one output: a row of a linear layer, an output channel of a convolution, one token's
        row of an embedding, one number of a query, key or value of an attention layer. "layer": the same for whole tensors.
        None: standard normal numbers as they are drawn.
    seed : int
        Of private generators, one for each direction and tensor: the same names and shapes give the same directions, in
        whatever order a state holds them, and the global random state is not touched.
    ignore_1d : bool
        True: biases, the parameters of normalisation layers and the magnitudes of a weight norm (one number a filter, whatever
        their shape) do not move. False: each of these tensors counts as one filter.
    model : Module, optional
        Whose weights a bare state holds. Names and shapes cannot tell that the filters of a transposed convolution lie along
        its second dimension, which tensors are buffers, and which parameters are frozen. With a model, frozen parameters
        (``requires_grad`` False) do not move.

    Returns
    -------
    Plane
        Of kind "random". ``x = 1`` is a change as large as the weights themselves (with None: 1 a weight).
        ``about["zero_filters"]``: filters of zeros, which stay.

    Raises
    ------
    ValueError
        Unknown normalisation, a centre with NaN, or nothing that may move.

    Examples
    --------
    >>> import torch
    >>> import nnvis_widgets as nv
    >>> plane = nv.random_plane({"weight": torch.tensor([[3.0, 4.0], [0.0, 0.0]])}, seed=1)
    >>> [round(float(length), 6) for length in plane.directions[0]["weight"].norm(dim=1)]
    [5.0, 0.0]
    """
    if normalize not in NORMALIZATIONS:
        raise ValueError(f"normalize: one of {', '.join(map(repr, NORMALIZATIONS))}; received {normalize!r}")
    try:
        seed = operator.index(seed)
    except TypeError:
        raise ValueError(f"seed: a whole number, received {seed!r}") from None
    module, layout, state = parts_of(center, model)
    frozen = [] if module is None else [name for name, p in module.named_parameters() if not p.requires_grad]
    floating = Scope.parse(None, layout).tensors
    moving = [name for name in floating if name not in frozen and state[name].numel() and not (ignore_1d and _flat(state, name))]
    if not moving:
        some = [name for name in floating if name not in frozen]
        why = "its parameters have one dimension each: pass ignore_1d=False" if some else "all of its parameters are frozen"
        hint = "" if some else " (requires_grad is False): pass its state, nv.random_plane(model.state_dict())"
        raise PlaneError(f"center: there is nothing to move, {why}{hint}")
    groups = {name: _transposed_groups(module, name) for name in moving}
    zero, directions = 0, []
    for which in range(2):
        direction = {}
        zero = 0
        for name in moving:
            drawn = _normal(state[name], seed, which, _hashed(name, layout))
            scale = "layer" if normalize and _flat(state, name) else normalize
            direction[name], zeros = _normalized(drawn, state[name], scale, groups[name])
            zero += zeros
        directions.append(direction)
    about = {"normalize": normalize, "seed": seed, "ignore_1d": bool(ignore_1d), "zero_filters": zero, "frozen": len(frozen)}
    span = 1.0 if normalize else _relative(state, directions[0])
    return Plane(state, directions, kind="random", layout=layout, extent=(-span, span, -span, span), about=about)


def three_point_plane(a: State, b: State, c: State, *, model: nn.Module | None = None) -> Plane:
    """Return the plane through three states, such as the initial, a middle and the final one of a run.

    The linear path from `a` to `c` and the quadratic path through `b` lie wholly in it.

    Parameters
    ----------
    a, b, c : State
        `c`, for a run the trained model, is the centre (0, 0). The directions are orthonormal (Garipov et al., 2018), so
        coordinates are Euclidean distances: `a` lies at (|a - c|, 0), and `b` at y > 0. ``about["points"]`` holds the three.
    model : Module, optional
        Whose states these are; tells parameters from buffers where names do not.

    Raises
    ------
    ValueError
        Two states are equal, or the three lie on one line.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> plane = nv.three_point_plane(demo.run.initial, demo.run.mid, demo.run.final, model=demo.model)
    >>> [round(coordinate, 3) + 0.0 for coordinate in plane.coordinates(demo.run.final)]
    [0.0, 0.0]
    """
    layout = Layout.of(model) if model is not None else Layout.of_state(plain_names(c) if isinstance(c, Mapping) else c)
    first, second, center = (layout.check(state, name) for state, name in ((a, "a"), (b, "b"), (c, "c")))
    names = list(Scope.parse(None, layout).tensors)
    for name in names:
        for state, which in ((first, "a"), (second, "b"), (center, "c")):
            if not torch.isfinite(state[name]).all():
                raise StateError(f"{which}: {name!r} holds NaN or infinity; a plane through a diverged state is not defined")
    u = {name: _double(first[name]) - _double(center[name]) for name in names}
    v = {name: _double(second[name]) - _double(center[name]) for name in names}
    length, other = math.sqrt(_inner(u, u)), math.sqrt(_inner(v, v))
    apart = {name: u[name] - v[name] for name in names}
    between = math.sqrt(_inner(apart, apart))
    for size, pair in ((length, "a and c"), (other, "b and c"), (between, "a and b")):
        if not size:
            raise PlaneError(f"three_point_plane: {pair} are equal, so the three states span no plane; take three different ones")
    along = _inner(u, v) / length**2
    for name in names:
        v[name] -= along * u[name]
    off = math.sqrt(_inner(v, v))
    # what lies nearer to the line than the rounding of the weights is on it
    grain = max(torch.finfo(state[name].dtype).eps for state in (first, second, center) for name in names)
    weights = {name: _double(center[name]) for name in names}
    if off <= max(1e-7 * other, grain * math.sqrt(_inner(weights, weights))):
        raise PlaneError(
            f"three_point_plane: the three states lie on one line (the second is {off:.3g} off it), so they span no plane; "
            "take another middle state, or nv.random_plane or nv.pca_plane"
        )
    directions = [{name: u[name] / length for name in names}, {name: v[name] / off for name in names}]
    points = np.array([[length, 0.0], [along * length, off], [0.0, 0.0]])
    # the quadratic path leaves the triangle
    alphas = np.linspace(0.0, 1.0, 101)[:, None]
    parabola = np.hstack([2 * (alphas - 0.5) * (alphas - 1), 4 * alphas * (1 - alphas), 2 * alphas * (alphas - 0.5)]) @ points
    extent = covering(np.vstack([points, parabola]))
    about = {"points": {name: [float(x), float(y)] for name, (x, y) in zip("abc", points, strict=True)}}
    return Plane(center, directions, kind="three points", layout=layout, extent=extent, about=about)


def covering(points: np.ndarray) -> tuple[float, float, float, float]:
    """Return the edges x from, x to, y from, y to of what covers points and the centre with a margin."""
    low, high = np.minimum(points.min(0), 0.0), np.maximum(points.max(0), 0.0)
    margin = MARGIN * (high - low)
    (x0, y0), (x1, y1) = low - margin, high + margin
    return float(x0), float(x1), float(y0), float(y1)


def _hashed(name: str, layout: Layout) -> str:
    # which name of a tied weight counts depends on the order of the names; the first in the alphabet does not
    return min([name, *(alias for alias, own in layout.aliases.items() if own == name)])


def _normal(like: Tensor, seed: int, which: int, name: str) -> Tensor:
    """Return standard normal numbers of a tensor's shape in float64; a complex number has two of them."""
    number = hashlib.blake2b(f"{seed}|{which}|{name}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(number, "little", signed=True))
    shape = (*like.shape, 2) if like.is_complex() else like.shape
    drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
    return torch.view_as_complex(drawn) if like.is_complex() else drawn


def _flat(state: State, name: str) -> bool:
    """Whether a tensor has one number for each filter, which only could be turned round."""
    magnitudes = ".parametrizations." in name and name.endswith(".original0") and f"{name[:-1]}1" in state
    return state[name].dim() < 2 or (magnitudes and state[name].numel() == max(state[name].shape))


def _transposed_groups(module: nn.Module | None, name: str) -> int:
    """Return the number of groups where a tensor is the kernel of a transposed convolution, else 0."""
    if module is None:
        return 0
    owner = module.get_submodule(
        name.partition(".parametrizations.")[0] if ".parametrizations." in name else name.rpartition(".")[0]
    )
    if not isinstance(owner, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        return 0
    parameter = module.get_parameter(name)
    return owner.groups if parameter.dim() > 2 and parameter.shape[0] == owner.in_channels else 0


def _normalized(drawn: Tensor, center: Tensor, normalize: str | None, groups: int) -> tuple[Tensor, int]:
    """Return a drawn tensor with the filter norms of the centre's, and how many filters are zero."""
    dtype = torch.promote_types(center.dtype, torch.float32)
    if normalize is None:
        return drawn.to(dtype), 0
    # as (groups, what is summed, filters, what is summed); a transposed kernel is (inputs, outputs of a group, ...)
    if normalize == "layer":
        shape: tuple[int, ...] = (1, 1, 1, -1)
    elif groups:
        shape = (groups, center.shape[0] // groups, center.shape[1], -1)
    else:
        shape = (1, 1, center.shape[0], -1)
    noise, weights = drawn.reshape(shape), center.detach().cpu().to(drawn.dtype).reshape(shape)
    ours, theirs = _length(noise), _length(weights)
    scaled = noise * torch.where(ours > 0, theirs / ours, 0.0)
    return scaled.reshape(center.shape).to(dtype), int((theirs == 0).sum())


def _length(tensor: Tensor) -> Tensor:
    return tensor.abs().pow(2).sum(dim=(1, 3), keepdim=True).sqrt()


def _relative(state: State, direction: dict[str, Tensor]) -> float:
    """Return how many times a direction goes into the weights that it moves."""
    weights = {name: _double(state[name]) for name in direction}
    drawn = {name: _double(tensor) for name, tensor in direction.items()}
    return math.sqrt(_inner(weights, weights) / _inner(drawn, drawn)) or 1.0


def _double(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().to(torch.complex128 if tensor.is_complex() else torch.float64)


def _inner(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return sum(float((one[name].conj() * other[name]).real.sum()) for name in one)
