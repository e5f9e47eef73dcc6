"""Which points faithfulness is measured at: every path, on every clock, at every held-out checkpoint, as rows of one family.

May import: core, numpy, torch. The anchors are the knots, the held-out checkpoints, and the origins of the controls.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..core.clocks import Travel, apart, frechet, gram, laid_along
from ..core.scope import Scope
from ..core.states import Layout, State

PATHS = ("linear", "quadratic", "speed-only", "piecewise-linear", "quadratic by distance")
CLOCKS = ("epochs", "arc length", "progress", "free")
ORIGINS = ("unrelated", "noise", "zero")
GRID = 201  # places on a path that free alignments and Frechet distances are sought among
BETWEEN = 20  # points on the straight way from one checkpoint to the next, for Frechet distances


@dataclass(eq=False)
class Rows:
    """Rows of coefficients, each listed once."""

    anchors: int
    listed: list[np.ndarray] = field(default_factory=list)
    _numbers: dict[bytes, int] = field(default_factory=dict)

    def number(self, row: np.ndarray) -> int:
        """Return the number of a row, which is listed if it was not."""
        row = np.asarray(row, dtype=float) + 0.0  # no negative zero: it would be another row
        if row.tobytes() not in self._numbers:
            self._numbers[row.tobytes()] = len(self.listed)
            self.listed.append(row)
        return self._numbers[row.tobytes()]


@dataclass(frozen=True, eq=False)
class FaithfulPlan:
    """What is measured.

    Attributes
    ----------
    paths, clocks, origins : list of str
    rows : ndarray, shape (rows, anchors)
        The checkpoints first: `ends` and `held`.
    held : ndarray of int, shape (H,)
        Rows of the held-out checkpoints.
    at : ndarray of int, shape (P, C, H)
        Rows of the paths' points; -1 where a path has no place on a clock.
    alphas : ndarray, shape (P, C, H)
        Where on the paths these are.
    knots : ndarray, shape (P, C)
        Where on a path its mid knot is; NaN for one without.
    weights : ndarray, shape (P, C, H)
        Distances in weight space over |D|.
    frechet : ndarray, shape (P,)
    controls : ndarray of int, shape (O, A)
        Rows of the straight lines from the origins to the end.
    """

    paths: list[str]
    clocks: list[str]
    origins: list[str]
    rows: np.ndarray
    held: np.ndarray
    at: np.ndarray
    alphas: np.ndarray
    knots: np.ndarray
    weights: np.ndarray
    frechet: np.ndarray
    controls: np.ndarray


def basis(alphas: np.ndarray, knot: float) -> np.ndarray:
    """Return the Lagrange basis of the knots 0, `knot`, 1, shape (K, 3); one-hot at the knots."""
    a = np.asarray(alphas, dtype=float)
    columns = [(a - knot) * (a - 1) / knot, a * (a - 1) / (knot * (knot - 1)), a * (a - knot) / (1 - knot)]
    return np.stack(columns, axis=-1)


def mixing(path: str, knot: float, rho: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return what gives the coefficients (K, 3) of start, mid and end of a path at places (K,) on it.

    Parameters
    ----------
    path : str
    knot : float
        Where on the path the mid checkpoint lies.
    rho : float
        Share of the straight way that the mid checkpoint has covered: "speed-only" is start + u (end - start) with the u of the
        quadratic path, so it has that path's timing, and none of its way round.
    """

    def linear(alphas: np.ndarray) -> np.ndarray:
        return np.stack([1 - alphas, np.zeros_like(alphas), alphas], axis=-1)

    def quadratic(alphas: np.ndarray) -> np.ndarray:
        return basis(alphas, knot)

    def speed_only(alphas: np.ndarray) -> np.ndarray:
        weights = basis(alphas, knot)
        return linear(weights[..., 1] * rho + weights[..., 2])

    def piecewise(alphas: np.ndarray) -> np.ndarray:
        first, last = np.clip(1 - alphas / knot, 0, 1), np.clip((alphas - knot) / (1 - knot), 0, 1)
        return np.stack([first, 1 - first - last, last], axis=-1)

    return {"linear": linear, "speed-only": speed_only, "piecewise-linear": piecewise}.get(path, quadratic)


def plan(
    layout: Layout,
    scope: Scope,
    anchors: Sequence[State],
    indices: Sequence[int],
    held: Sequence[int],
    mids: tuple[int, int],
    mid_at: float,
    travelled: Travel,
    clocks: Sequence[str],
    origins: Sequence[str],
    control_alphas: np.ndarray,
) -> FaithfulPlan:
    """Return the rows of everything that is measured.

    Parameters
    ----------
    anchors : sequence of State
        The checkpoints of a run with these `indices`, in their order, then an origin for each of `origins`.
    held : sequence of int
        Indices of the held-out checkpoints.
    mids : (int, int)
        Indices of the mid checkpoint, and of that which is nearest to half of the way.
    mid_at : float
        Where on a path through the first of them it lies on the clock of epochs; on the others, where the clock has it.
    """
    place = {index: k for k, index in enumerate(indices)}
    last = len(indices) - 1
    one_hot = np.eye(len(anchors))
    products = gram(anchors[: len(indices)], scope)
    inner = np.zeros((len(anchors), len(anchors)))
    inner[: len(indices), : len(indices)] = products
    rows = Rows(len(anchors))
    for k in range(len(indices)):
        rows.number(one_hot[k])
    targets = one_hot[[place[index] for index in held]]
    shape = len(PATHS), len(clocks), len(held)
    at, alphas, knots = np.full(shape, -1), np.full(shape, np.nan), np.full(shape[:2], np.nan)
    leash = np.full(len(PATHS), np.nan)
    trace = _trace(one_hot[: len(indices)])

    for p, path in enumerate(PATHS):
        mid = mids[1] if path == PATHS[-1] else mids[0]

        def spread(coefficients: np.ndarray, mid: int = mid) -> np.ndarray:
            return coefficients @ one_hot[[0, place[mid], last]]

        natural = float(travelled.clocks["arc length"][mid]) if path == PATHS[-1] else mid_at
        for c, clock in enumerate(clocks):
            knot = natural if clock == "free" else float(travelled.clocks[clock][mid])
            knot = mid_at if clock == "epochs" and path != PATHS[-1] else knot
            if not 0 < knot < 1:
                if path != "linear":
                    continue
                knot = 0.5
            mixed = mixing(path, knot, float(travelled.progress[mid]))

            def along(a: np.ndarray, mixed=mixed, spread=spread) -> np.ndarray:
                return spread(mixed(np.asarray(a, dtype=float)))

            places = laid_along(along, targets, inner, GRID) if clock == "free" else travelled.clocks[clock][list(held)]
            alphas[p, c] = places
            at[p, c] = [rows.number(row) for row in along(places)]
            if path != "linear":
                knots[p, c] = knot
        if 0 < natural < 1:
            mixed = mixing(path, natural, float(travelled.progress[mid]))
            leash[p] = frechet(trace, spread(mixed(np.linspace(0, 1, GRID))), inner) / travelled.distance

    names = ["initial", *origins] if origins else []
    controls = np.zeros((len(names), len(control_alphas)), dtype=int)
    for o in range(len(names)):
        start = one_hot[0 if o == 0 else len(indices) + o - 1]
        controls[o] = [rows.number((1 - a) * start + a * one_hot[last]) for a in control_alphas]
    listed = np.array(rows.listed)
    weights = np.where(at < 0, np.nan, apart(listed[at], targets, inner) / travelled.distance)
    numbers = np.array([place[index] for index in held])
    return FaithfulPlan(list(PATHS), list(clocks), names, listed, numbers, at, alphas, knots, weights, leash, controls)


def _trace(checkpoints: np.ndarray) -> np.ndarray:
    """Return points on the straight ways from one checkpoint to the next."""
    shares = np.arange(BETWEEN)[:, None] / BETWEEN
    ways = [one + shares * (other - one) for one, other in itertools.pairwise(checkpoints)]
    return np.concatenate([*ways, checkpoints[-1:]])


def origin(kind: str, initial: State, layout: Layout, seed: int) -> dict[str, Tensor]:
    """Return a state from which this training did not start; buffers are those of `initial`.

    "unrelated" has the entries of each tensor of `initial` in another order: for weights that were drawn independently of one
    distribution, another draw of it. "noise" is normal of mean 0 with each tensor's own mean square, "zero" is 0.
    """
    generator = torch.Generator().manual_seed(seed)
    state = dict(initial)
    for name in layout.shapes:
        tensor = initial[name].detach().cpu()
        if not tensor.is_floating_point() and not tensor.is_complex():
            continue
        if kind == "unrelated":
            order = torch.randperm(tensor.numel(), generator=generator)
            state[name] = tensor.reshape(-1)[order].reshape(tensor.shape)
        elif kind == "noise":
            size = tensor.abs().double().square().mean().sqrt()
            kind_of_number = torch.complex64 if tensor.is_complex() else torch.float32
            noise = torch.randn(tensor.shape, generator=generator, dtype=kind_of_number)
            state[name] = (noise * size).to(tensor.dtype)
        else:
            state[name] = torch.zeros_like(tensor)
    state.update({alias: state[name] for alias, name in layout.aliases.items()})
    return state
