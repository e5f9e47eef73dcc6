"""A plane through weight space: weights at its points, and where other weights lie in it.

May import: torch, numpy, core.states, core.scope, core.family, results. How planes are chosen: core.directions, core.principal.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..results import Trajectory
from .family import WeightFamily
from .scope import Scope
from .states import Layout, RunLike, State, StateError, check_run, copied, digest, named_like, plain_names, snapshot, unwrap

PARALLEL = 1e-10  # of sin^2 between the directions: below it coordinates are noise


class PlaneError(ValueError):
    """Weights or directions that span no plane."""


class Plane:
    """The weights ``theta(x, y) = center + x * directions[0] + y * directions[1]``.

    Made by `random_plane`, `pca_plane`, `three_point_plane` and `hessian_plane`, or from any two directions. It holds copies:
    what becomes of the model or the states that it was made from changes nothing. Buffers are those of the centre at every
    point, or follow an evaluator's policy.

    Parameters
    ----------
    center : State or Module
    directions : sequence of two mappings of str to Tensor
        Parameters that are not named do not move, and buffers never do. A direction is a difference of weights: towards
        another state it is ``{name: other[name] - center[name] for name in center}``, and ``x = 1`` is then that state.
    model : Module, optional
        Whose weights a bare state holds: tells parameters from buffers where names do not.
    kind : str
    layout : Layout, optional
        The same, of a model that is not at hand.
    extent : tuple of four floats, optional
        x from, x to, y from, y to: what a surface should cover.
    explained, spectrum : ndarray, optional
        Of a principal plane: shares of the variance of its run along the two directions, and along all of them.
    scores : ndarray, shape (T, 2), optional
        Where the checkpoints of that run lie.
    about : dict, optional
        How the directions were chosen, as JSON can hold it.

    Raises
    ------
    PlaneError
        The directions are zero or parallel, or do not fit the centre.

    Examples
    --------
    Towards another run's final state, and down the gradient:

    >>> import torch
    >>> import nnvis_widgets as nv
    >>> model = torch.nn.Linear(2, 1)
    >>> here = model.state_dict()
    >>> other = {"weight": torch.tensor([[3.0, 4.0]]), "bias": torch.tensor([5.0])}
    >>> data = torch.ones(4, 2), torch.zeros(4, 1)
    >>> evaluator = nv.Evaluator(model, data, loss=torch.nn.functional.mse_loss, device="cpu")
    >>> towards = {name: other[name] - here[name] for name in here}
    >>> plane = nv.Plane(model, [towards, evaluator.differentiate(here).gradient()])
    >>> [round(coordinate, 3) + 0.0 for coordinate in plane.coordinates(other)]
    [1.0, 0.0]

    Coordinates are those of the nearest point, by least squares, also where directions are oblique:

    >>> plane = nv.Plane({"w": torch.zeros(3)}, [{"w": torch.tensor([1.0, 0, 0])}, {"w": torch.tensor([1.0, 2.0, 0])}])
    >>> plane.coordinates({"w": torch.tensor([1.5, 1.0, 7.0])})
    (1.0, 0.5)
    """

    def __init__(
        self,
        center: State | nn.Module,
        directions: Sequence[Mapping[str, Tensor]],
        *,
        model: nn.Module | None = None,
        kind: str = "custom",
        layout: Layout | None = None,
        extent: tuple[float, float, float, float] = (-1.0, 1.0, -1.0, 1.0),
        explained: np.ndarray | None = None,
        spectrum: np.ndarray | None = None,
        scores: np.ndarray | None = None,
        about: Mapping[str, Any] | None = None,
    ):
        if len(directions) != 2:
            raise PlaneError(f"directions: two of them, received {len(directions)}")
        if not (extent[0] < 0 < extent[1] and extent[2] < 0 < extent[3]):
            raise PlaneError(f"extent: x from, x to, y from, y to, with the centre 0 between them; received {extent}")
        self.kind, self.extent, self.about = kind, tuple(float(edge) for edge in extent), dict(about or {})
        _, known, state = parts_of(center, model)
        self.layout = layout or known
        self.explained, self.spectrum, self._scores = explained, spectrum, scores
        self._center = copied(self.layout.check(state, "center"), "cpu")
        self._names = list(Scope.parse(None, self.layout).tensors)
        for name in self._names:
            if not torch.isfinite(self._center[name]).all():
                raise StateError(f"center: {name!r} holds NaN or infinity; a plane through a diverged model is not defined")
        first, second = (self._fitted(direction) for direction in directions)
        self._directions = first, second
        self._gram = np.array([[self._inner(one, other) for one in self._directions] for other in self._directions])
        product = self._gram[0, 0] * self._gram[1, 1]
        if not np.isfinite(self._gram).all():
            raise PlaneError("directions: they hold NaN or infinity")
        if not product or 1.0 - self._gram[0, 1] ** 2 / product < PARALLEL:
            what = "one of them is zero" if not product else f"they are parallel (cosine {self.cosine:.12f})"
            raise PlaneError(f"directions: two that span a plane; {what}")

    def _fitted(self, direction: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a direction as every parameter that can be interpolated, zero where it is not named."""
        if not isinstance(direction, Mapping):
            raise PlaneError(f"directions: mappings of parameter names to tensors, received a {type(direction).__name__}")
        known = [*self.layout.shapes, *self.layout.buffers, *self.layout.aliases]
        named = named_like(direction, known)
        unknown = sorted(named.keys() - set(known))
        if unknown:
            raise PlaneError(
                f"directions: {unknown[0]!r} is no weight of the centre, whose parameters are {', '.join(self._names)}"
            )
        for alias, name in self.layout.aliases.items():
            if alias in named:
                named.setdefault(name, named[alias])
        fitted = {}
        for name in self._names:
            like = self._center[name]
            dtype = torch.promote_types(like.dtype, torch.float32)
            given = named.get(name)
            if given is not None and given.shape != like.shape:
                raise PlaneError(f"directions: {name!r} has shape {tuple(given.shape)}, the centre's {tuple(like.shape)}")
            fitted[name] = torch.zeros(like.shape, dtype=dtype) if given is None else given.detach().to("cpu", dtype, copy=True)
        return fitted

    @property
    def center(self) -> dict[str, Tensor]:
        """The weights and buffers at (0, 0), as they were stored."""
        return dict(self._center)

    @property
    def directions(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The two directions: every parameter that can be interpolated, tied ones once, float32 or float64."""
        return dict(self._directions[0]), dict(self._directions[1])

    @cached_property
    def moved(self) -> tuple[str, ...]:
        """Names of the parameters along which any of the directions leads."""
        return tuple(name for name in self._names if any(bool(d[name].any()) for d in self._directions))

    @property
    def lengths(self) -> tuple[float, float]:
        """Euclidean lengths of the two directions."""
        return math.sqrt(self._gram[0, 0]), math.sqrt(self._gram[1, 1])

    @property
    def cosine(self) -> float:
        """Cosine of the angle between the directions; about 1 / sqrt(number of weights) for random ones."""
        return float(self._gram[0, 1] / math.sqrt(self._gram[0, 0] * self._gram[1, 1]))

    @cached_property
    def digest(self) -> str:
        """32 hexadecimal digits that identify the centre and the directions."""
        parts = [("center", self._center), ("x", self._directions[0]), ("y", self._directions[1])]
        return digest((f"{part} {name}", tensor) for part, state in parts for name, tensor in state.items())

    @property
    def random_walk(self) -> np.ndarray | None:
        """What the `spectrum` of a long random walk would be, 6 / (pi k)^2 (Antognini and Sohl-Dickstein, 2018)."""
        return None if self.spectrum is None else 6.0 / (np.pi * np.arange(1, len(self.spectrum) + 1)) ** 2

    def __repr__(self) -> str:
        share = "" if self.explained is None else f", explains {self.explained[0]:.1%} + {self.explained[1]:.1%}"
        pairs = zip(self.about.get("eigenvalues", ()), self.about.get("residuals", ()), strict=True)
        curves = " and ".join(f"{value:.3g} ± {residual:.1g}" for value, residual in pairs)
        curves = f", curvature {curves}" if curves else ""
        return f"Plane({self.kind}: {self.layout.count(self.moved)} weights move, cosine {self.cosine:.2g}{share}{curves})"

    def numbers(self) -> dict[str, Any]:
        """Return what describes the plane in a result, as JSON can hold it."""
        return {
            "kind": self.kind,
            "digest": self.digest,
            "cosine": self.cosine,
            "lengths": list(self.lengths),
            "explained": None if self.explained is None else [float(share) for share in self.explained],
            "weights": self.layout.count(self.moved),
            **self.about,
        }

    def family(self, layout: Layout, scope: Scope) -> WeightFamily:
        """Return the weights at rows (1, x, y), for a model with this layout and the parameters of a scope."""
        return WeightFamily(layout, scope, [self._center, *self._directions], self._center)

    def state_at(self, x: float, y: float) -> dict[str, Tensor]:
        """Return the state at a point, with the centre's buffers and types; the stored tensors themselves at (0, 0)."""
        for name, value in (("x", x), ("y", y)):
            if not isinstance(value, (int, float, np.integer, np.floating)) or not math.isfinite(value):
                raise ValueError(f"{name}: a finite number, received {value!r}")
        scope = Scope("model", "model", dict.fromkeys(self.moved))
        weights = {**self._center, **self.family(self.layout, scope).moved((1.0, float(x), float(y)))}
        weights.update({alias: weights[name] for alias, name in self.layout.aliases.items()})
        return {name: tensor.to(self._center[name].dtype) for name, tensor in weights.items() if name in self._center}

    def coordinates(self, state: State) -> tuple[float, float]:
        """Return the point of the plane that is nearest to a state, by least squares over all parameters that move.

        ``z = G^-1 D' (theta - center)`` with ``G = D'D``; the directions need not be orthonormal.
        """
        x, y, _ = self._located(self.layout.check(state, "state"))
        return x, y

    def off_plane(self, state: State) -> float:
        """Return the share of a state's distance from the centre that lies outside the plane; 0 for the centre.

        ``|theta - center - x d1 - y d2| / |theta - center|`` over all parameters, those that the directions leave alone too.
        """
        return self._located(self.layout.check(state, "state"))[2]

    def project(self, run: RunLike) -> Trajectory:
        """Return where the checkpoints of a run lie: nearest points, and the share of their distance that the plane misses."""
        steps = self.iter_project(run)
        while True:
            try:
                next(steps)
            except StopIteration as finished:
                return finished.value

    def iter_project(self, run: RunLike) -> Generator[float, None, Trajectory]:
        """Yield the share of the checkpoints that have been read; the generator's return value is the `Trajectory`."""
        check_run(run)
        return self._walk(run)

    def _walk(self, run: RunLike) -> Generator[float, None, Trajectory]:
        found = np.zeros((len(run), 3))
        for index in range(len(run)):
            found[index] = self._located(self.layout.check(run[index].state, f"checkpoint {index} of the run"))
            yield (index + 1) / len(run)
        xy = found[:, :2]
        # shares of the variance belong to the run that the plane was made from, and to no other
        own = False
        if self._scores is not None and self._scores.shape == xy.shape:
            own = float(np.abs(xy - self._scores).max()) < 1e-4 * float(np.abs(self._scores).max())
        epochs = np.array(run.epochs, dtype=float)
        return Trajectory(xy=xy, off_plane=found[:, 2], explained=self.explained if own else None, epochs=epochs)

    def _located(self, state: State) -> tuple[float, float, float]:
        dots = np.zeros(2)
        square = rest = 0.0
        for name in self._names:
            delta = _real(state[name]) - _real(self._center[name])
            dots += [float(delta @ _real(direction[name])) for direction in self._directions]
            square += float(delta @ delta)
        z = np.linalg.solve(self._gram, dots)
        for name in self._names:  # a second pass: |delta|^2 - z'Gz would cancel
            delta = _real(state[name]) - _real(self._center[name])
            for coordinate, direction in zip(z, self._directions, strict=True):
                delta -= float(coordinate) * _real(direction[name])
            rest += float(delta @ delta)
        return float(z[0]), float(z[1]), math.sqrt(rest / square) if square else 0.0

    def _inner(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
        return sum(float(_real(one[name]) @ _real(other[name])) for name in self._names)


def parts_of(center: Any, model: nn.Module | None) -> tuple[nn.Module | None, Layout, State]:
    """Return the unwrapped model if there is one, the layout, and the state of a centre."""
    if isinstance(center, nn.Module):
        if model is not None:
            raise ValueError("model: only beside a bare state; the center is a model already")
        return unwrap(center), Layout.of(center), snapshot(center)
    if model is not None and not isinstance(model, nn.Module):
        raise TypeError(f"model: a torch.nn.Module, received a {type(model).__name__}")
    state = plain_names(center) if isinstance(center, Mapping) else center
    layout = Layout.of_state(state) if model is None else Layout.of(model)
    return None if model is None else unwrap(model), layout, layout.check(state, "center")


def _real(tensor: Tensor) -> Tensor:
    """Return a tensor as a new or shared float64 vector; a complex number counts as two."""
    tensor = tensor.detach().cpu()
    return (torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor).reshape(-1).to(torch.float64)
