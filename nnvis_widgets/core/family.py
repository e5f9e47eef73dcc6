"""Affine families of weights, and the paths that are drawn through checkpoints.

May import: torch, numpy, core.states, core.scope. Every experiment is a `WeightFamily` and some rows of coefficients.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .scope import Scope
from .states import Layout, State, StateError

KNOT_TOLERANCE = 1e-12
Coefficients = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class WeightFamily:
    """Weights that are affine in a few coefficients.

    ``theta(c) = sum_k c[k] * anchors[k]`` inside the scope, and the background outside of it. A row with a single 1 gives
    the stored tensors themselves, bit for bit.

    Attributes
    ----------
    layout : Layout
    scope : Scope
    anchors : sequence of State
        Read when needed, so a recorded run (checkpoints on disk) can be the anchors.
    background : State
        The weights outside the scope, and the buffers that are no running statistics.
    """

    layout: Layout
    scope: Scope
    anchors: Sequence[State]
    background: State

    def parameters(self, row: Coefficients) -> dict[str, Tensor]:
        """Return every parameter of the model at one row of coefficients, under its canonical name."""
        weights = {name: self.background[name] for name in self.layout.shapes}
        weights.update(self.moved(row))
        return weights

    def moved(self, row: Coefficients) -> dict[str, Tensor]:
        """Return the tensors of the scope at one row of coefficients."""
        terms = [(float(c), self.anchors[k]) for k, c in enumerate(row) if c != 0.0]
        moved = {}
        for name, index in self.scope.tensors.items():
            parts = [(c, anchor[name]) for c, anchor in terms]
            if index is None:
                moved[name] = combine(parts, self.background[name])
            else:
                tensor = self.background[name].clone(memory_format=torch.contiguous_format)
                picked = [(c, part.reshape(-1)[index.to(part.device)]) for c, part in parts]
                flat = tensor.view(-1)
                flat[index.to(tensor.device)] = combine(picked, flat[index.to(tensor.device)]).to(tensor.dtype)
                moved[name] = tensor
        return moved

    def trimmed(self) -> WeightFamily:
        """Return the same family without a background, and without the weights of anchors that no row can ask for."""
        unused = self.layout.shapes.keys() - self.scope.tensors.keys()
        anchors = [{name: tensor for name, tensor in anchor.items() if name not in unused} for anchor in self.anchors]
        return WeightFamily(self.layout, self.scope, anchors, {})

    def upon(self, background: State) -> WeightFamily:
        """Return the same family upon another background."""
        return WeightFamily(self.layout, self.scope, self.anchors, background)

    def on(self, device: torch.device, dtypes: Mapping[str, torch.dtype]) -> WeightFamily:
        """Return the same family with the tensors that it combines on a device, in the model's types (float32 at least)."""

        def place(name: str, tensor: Tensor) -> Tensor:
            dtype = dtypes.get(name, tensor.dtype)
            return tensor.to(device=device, dtype=torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype)

        anchors = [{name: place(name, anchor[name]) for name in self.scope.tensors} for anchor in self.anchors]
        background = {name: place(name, tensor) for name, tensor in self.background.items()}
        return WeightFamily(self.layout, self.scope, anchors, background)


@dataclass(frozen=True)
class Families:
    """Several families of one model with the same anchors and background, measured in one pass over the samples.

    Attributes
    ----------
    members : list of WeightFamily
    sizes : list of int
        How many rows each of them has; the rows of all stand one below the other.
    """

    members: list[WeightFamily]
    sizes: list[int]

    @property
    def scope(self) -> Scope:
        """What any of them moves."""
        return Scope.parse([member.scope for member in self.members], self.members[0].layout)

    @property
    def anchors(self) -> Sequence[State]:
        """The anchors of all."""
        return self.members[0].anchors

    @property
    def background(self) -> State:
        """The background of all."""
        return self.members[0].background

    def trimmed(self) -> Families:
        """Return the same families without a background, and without the weights of anchors that no row can ask for."""
        return Families([member.trimmed() for member in self.members], self.sizes)

    def upon(self, background: State) -> Families:
        """Return the same families upon another background."""
        return Families([member.upon(background) for member in self.members], self.sizes)


def combine(parts: Sequence[tuple[float, Tensor]], like: Tensor) -> Tensor:
    """Return ``sum c * tensor`` over `parts`; zeros like `like` for an empty sum.

    A single term with coefficient 1 is that tensor itself. Where the coefficients sum to one and the tensors are equal,
    the sum is that tensor too: weights that did not move get no rounding noise.
    """
    if not parts:
        return torch.zeros_like(like)
    first = parts[0][1]
    if len(parts) == 1 and parts[0][0] == 1.0:
        return first
    if abs(sum(c for c, _ in parts) - 1.0) < KNOT_TOLERANCE and all(torch.equal(first, t) for _, t in parts[1:]):
        return first
    wide = torch.promote_types(first.dtype, torch.float32)
    if parts[0][0] == 1.0:
        total, rest = torch.add(first.to(wide), parts[1][1].to(wide), alpha=parts[1][0]), parts[2:]
    else:
        total, rest = first.to(wide) * parts[0][0], parts[1:]
    for c, tensor in rest:
        total.add_(tensor.to(total.dtype), alpha=c)
    return total


class LagrangePath:
    """The polynomial of lowest degree through checkpoints: ``theta(a) = sum_k lambda_k(a) states[k]``.

    Parameters
    ----------
    states : sequence of State
        At least two checkpoints of one model.
    positions : sequence of float, optional
        Where on the path each one lies; the first is 0, the last is 1, ascending. Default: equally spaced.

    Examples
    --------
    >>> import torch
    >>> import nnvis_widgets as nv
    >>> path = nv.LagrangePath([{"w": torch.zeros(1)}, {"w": torch.ones(1)}])
    >>> float(path.state_at(0.25)["w"])
    0.25
    """

    kind = "lagrange"

    def __init__(self, states: Sequence[State], positions: Sequence[float] | None = None):
        self.states = [states] if isinstance(states, Mapping) else list(states)
        if len(self.states) < 2:
            raise ValueError(f"states: a path needs at least two checkpoints, received {len(self.states)}")
        knots = np.linspace(0.0, 1.0, len(self.states)) if positions is None else np.asarray(positions, dtype=float)
        if knots.shape != (len(self.states),):
            raise ValueError(f"positions: one number for each of the {len(self.states)} states, received {positions!r}")
        if knots[0] != 0.0 or knots[-1] != 1.0 or not np.all(np.diff(knots) > 0):
            raise ValueError(f"positions: ascending from 0 to 1, received {knots.tolist()}")
        self.positions = tuple(float(knot) for knot in knots)
        layout = Layout.of_state(self.states[0])
        for number, state in enumerate(self.states[1:], 2):
            layout.check(state, f"state {number} of the path")

    def __repr__(self) -> str:
        places = ", ".join(f"{position:g}" for position in self.positions)
        tensors = len(Layout.of_state(self.states[0]).shapes)
        return (
            f"{type(self).__name__}({len(self.states)} checkpoints at alpha {places}; {tensors} tensor{'s' * (tensors != 1)} move)"
        )

    def coefficients(self, alpha: float) -> np.ndarray:
        """Return the Lagrange basis at `alpha`, shape (number of states,); exactly one-hot within 1e-12 of a knot."""
        knots = np.asarray(self.positions)
        at = np.flatnonzero(np.abs(knots - alpha) <= KNOT_TOLERANCE)
        if len(at):
            return np.eye(len(knots))[at[0]]
        basis = np.ones(len(knots))
        for k, knot in enumerate(knots):
            others = np.delete(knots, k)
            basis[k] = np.prod((alpha - others) / (knot - others))
        return basis

    def state_at(self, alpha: float) -> dict[str, Tensor]:
        """Return the state at `alpha`: a stored state at a knot, else interpolated parameters with the end's buffers."""
        if not isinstance(alpha, numbers.Real) or not math.isfinite(alpha):
            raise ValueError(f"alpha: a finite number, received {alpha!r}")
        row = self.coefficients(float(alpha))
        if np.count_nonzero(row) == 1 and row.max() == 1.0:
            return dict(self.states[int(row.argmax())])
        layout = Layout.of_state(self.states[-1])
        family = WeightFamily(layout, Scope.parse(None, layout), self.states, self.states[-1])
        moved = {**self.states[-1], **family.moved(row)}
        moved.update({alias: moved[name] for alias, name in layout.aliases.items()})
        return {name: tensor.to(self.states[-1][name].dtype) for name, tensor in moved.items()}


class LinearPath(LagrangePath):
    """The straight line ``(1 - a) start + a end`` (Goodfellow, Vinyals and Saxe, 2015).

    Examples
    --------
    >>> import torch
    >>> import nnvis_widgets as nv
    >>> path = nv.LinearPath({"w": torch.zeros(1)}, {"w": torch.ones(1)})
    >>> float(path.state_at(1.5)["w"])
    1.5
    """

    kind = "linear"

    def __init__(self, start: State, end: State):
        super().__init__([start, end])


class QuadraticPath(LagrangePath):
    """The parabola through start, mid and end, with mid at `mid_at` (Nemcova, 2021: 0.5).

    Examples
    --------
    >>> import torch
    >>> import nnvis_widgets as nv
    >>> path = nv.QuadraticPath({"w": torch.zeros(1)}, {"w": torch.ones(1)}, {"w": torch.zeros(1)})
    >>> path, float(path.state_at(0.25)["w"])
    (QuadraticPath(3 checkpoints at alpha 0, 0.5, 1; 1 tensor move), 0.75)
    """

    kind = "quadratic"

    def __init__(self, start: State, mid: State, end: State, mid_at: float = 0.5):
        if not KNOT_TOLERANCE < mid_at < 1.0 - KNOT_TOLERANCE:
            raise ValueError(f"mid_at: between 0 and 1, received {mid_at!r}")
        super().__init__([start, mid, end], [0.0, mid_at, 1.0])


def check_alphas(alphas: Any, positions: Sequence[float]) -> np.ndarray:
    """Return alphas as a float64 vector, each within 1e-12 of a knot moved onto it.

    Raises
    ------
    ValueError
        Not a non-empty vector of finite numbers.
    """
    try:
        values = np.array(alphas, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"alphas: a vector of numbers, received {alphas!r}") from None
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"alphas: a non-empty vector such as numpy.linspace(0, 1, 41), received shape {values.shape}")
    if not np.all(np.isfinite(values)):
        raise ValueError(f"alphas: finite numbers only, received {values[~np.isfinite(values)][0]} among {values.size}")
    for knot in positions:
        values[np.abs(values - knot) <= KNOT_TOLERANCE] = knot
    return values


def check_states(
    layout: Layout, states: Sequence[State], what: str, numbers: Iterable[int] | None = None
) -> list[dict[str, Tensor]]:
    """Return the states under the model's names; refuse other names, other shapes and NaN at a knot.

    In errors they have these numbers: those of checkpoints in their run; default: 1, 2, ...
    """
    called = range(1, len(states) + 1) if numbers is None else list(numbers)
    checked = [layout.check(state, f"{what} {number}") for number, state in zip(called, states, strict=True)]
    for number, state in zip(called, checked, strict=True):
        for name in layout.shapes:
            if not torch.isfinite(state[name]).all():
                raise StateError(
                    f"{what} {number}: {name!r} holds NaN or infinity; a path through a diverged checkpoint is not defined. "
                    "Take an earlier checkpoint"
                )
    return checked
