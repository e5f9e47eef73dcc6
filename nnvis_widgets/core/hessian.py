"""The plane of the directions in which the loss curves most, upwards and downwards.

May import: torch, numpy, core.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from torch import nn

from .curvature import Curvature, CurvatureError, drained
from .evaluator import Evaluator
from .lanczos import extremes
from .plane import Plane, PlaneError
from .scope import Scope
from .states import Layout, State, copied, snapshot, unwrap

BASIS_BYTES = 512 * 2**20  # of Lanczos vectors
RISE = 9.0  # by how many times the loss at the centre the quadratic term has risen at the edge of the default range
USELESS = 0.5  # a residual of this share of the largest eigenvalue says nothing about either

SYMMETRIC = 1e-3  # of the largest eigenvalue: float32 rounds to 1e-7 of it, and a term that is missing is of its own size


def hessian_plane(
    evaluator: Evaluator,
    center: State | nn.Module | None = None,
    *,
    seed: int = 0,
    scope: Any = None,
    samples: int | None = 2048,
    tolerance: float = 1e-3,
    max_products: int = 100,
) -> Plane:
    """Return the plane of the eigenvectors of the largest and the smallest eigenvalue of the loss's Hessian.

    A random slice shows the mean of all eigenvalues, and saddles look like bowls in it (Boettcher and Wheeler, 2022); this one
    shows the two extremes, with their signs.

    Parameters
    ----------
    evaluator : Evaluator
        Its loss, on its samples, in this thread. Running statistics are those of the centre (see `Curvature`), so under the
        BatchNorm policy "recalibrate" a surface may curve otherwise.
    center : State or Module, optional
        What lies at (0, 0); default: the present weights of the evaluator's model.
    seed : int
        Of the start vector, from a private generator.
    scope : optional
        As in `measure_path`: only these weights move, and the eigenvalues are those of their block of the Hessian. Default: all
        that are not frozen (``requires_grad`` False) in the evaluator's model.
    samples : int or None
        The Hessian is that of the mean loss over the evaluator's first so many samples (in whole batches), a stratified subset;
        None takes all.
    tolerance : float
        Of each residual ``|Hv - lambda v|``, relative to ``|lambda|`` (or to a hundredth of the larger one where that is more).
    max_products : int
        Hessian-vector products that may be spent, the two that measure the residuals included: at least 4. Each takes six
        to eight times as long as a measurement of the same samples.

    Returns
    -------
    Plane
        Of kind "hessian". The directions have length 1, so coordinates are Euclidean distances; the entry of largest size is
        positive. ``about["eigenvalues"]``: the largest and the smallest, with sign; ``about["residuals"]``: an eigenvalue lies
        within this distance of each; ``about["converged"]``: whether both are within the tolerance, else `max_products` came
        first and what was reached is returned; ``about["products"]``, ``about["samples"]``, ``about["loss"]``.
        ``extent`` is, along each direction, where the quadratic term ``lambda x^2 / 2`` alone has changed the loss by nine times
        its value at the centre: one decade of a logarithmic colour scale, the same whatever the unit of the loss. It is at most
        the length of the weights that move, the change that ``x = 1`` is on a filter-normalised random plane.

    Raises
    ------
    CurvatureError
        No second derivatives (an operation has none, half precision), NaN in them, or `max_products` too few for any answer.
    PlaneError
        Nothing to move, or a loss that is linear in the weights.

    Notes
    -----
    Of float32 weights a residual is hardly less than 1e-6 of the largest eigenvalue.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> plane = nv.hessian_plane(demo.evaluator, samples=64, max_products=8)
    >>> plane
    Plane(hessian: 81194 weights move, cosine ..., curvature ... ± ... and ... ± ...)
    >>> len(plane.about["eigenvalues"])
    2
    """
    return drained(
        iter_hessian_plane(
            evaluator, center, seed=seed, scope=scope, samples=samples, tolerance=tolerance, max_products=max_products
        )
    )


def iter_hessian_plane(
    evaluator: Evaluator,
    center: State | nn.Module | None = None,
    *,
    seed: int = 0,
    scope: Any = None,
    samples: int | None = 2048,
    tolerance: float = 1e-3,
    max_products: int = 100,
) -> Generator[float, None, Plane]:
    """Yield, after each batch, the share of `max_products` that is spent; the generator's return value is the `Plane`.

    It ends with 1.0, often long before all products are spent. Closing it stops the work within a batch.
    """
    # not itself a generator function: bad input is refused when it is called, not at the first step
    if not isinstance(evaluator, Evaluator):
        raise TypeError(f"evaluator: the first argument, an nv.Evaluator; received {type(evaluator).__name__}")
    seed, most = _whole("seed", seed), _whole("max_products", max_products, 4)
    if not (isinstance(tolerance, (int, float)) and 0 < tolerance < 1):
        raise ValueError(f"tolerance: a number between 0 and 1, received {tolerance!r}")
    given = evaluator.model if center is None else center
    state = copied(evaluator.layout.check(snapshot(given) if isinstance(given, nn.Module) else given, "center"), "cpu")
    parsed, frozen = Scope.parse(scope, evaluator.layout), set()
    if scope is None:
        frozen = {name for name, parameter in unwrap(evaluator.model).named_parameters() if not parameter.requires_grad}
        parsed = Scope(parsed.name, parsed.level, {name: None for name in parsed.tensors if name not in frozen})
        if not parsed.tensors:
            raise PlaneError("evaluator: all parameters of its model are frozen (requires_grad is False); name some with scope=")
    curvature = evaluator.differentiate(state, scope=parsed, samples=samples)
    if curvature.size < 2:
        raise PlaneError(f"scope: {parsed.name!r} is a single weight, and a plane needs two; measure it with nv.measure_path")
    about = {
        "seed": seed,
        "scope": parsed.name,
        "frozen": len(frozen),
        "split": evaluator.name,
        "samples": curvature.n,
        "tolerance": float(tolerance),
    }
    return _plane(curvature, state, evaluator.layout, about, most)


def _plane(curvature: Curvature, state: State, layout: Layout, about: dict[str, Any], most: int) -> Generator[float, None, Plane]:
    basis = min(48, max(4, BASIS_BYTES // (8 * curvature.size)))
    search = extremes(curvature.size, seed=about["seed"], tolerance=about["tolerance"], most=most - 2, basis=basis)
    vector, spent = next(search), 0
    while True:
        _, product = yield from _product(curvature, vector, spent, most)
        spent += 1
        try:
            vector = search.send(product)
        except StopIteration as finished:
            vectors, converged, asymmetry = finished.value
            break
    if asymmetry > SYMMETRIC:
        raise CurvatureError(
            f"model: the second derivatives that torch gives are not symmetric (off by {asymmetry:.2g} of the largest), so they "
            "are not those of the loss. An operation of the model or the loss takes for a constant what depends on the "
            "weights: say it with torch's elementary ones"
        )
    values, residuals = np.zeros(2), np.zeros(2)
    for k in range(2):
        vectors[k] *= np.sign(vectors[k][np.abs(vectors[k]).argmax()])
        loss, product = yield from _product(curvature, vectors[k], spent, most)
        spent += 1
        values[k] = vectors[k] @ product
        residuals[k] = np.linalg.norm(product - values[k] * vectors[k])
    largest = float(np.abs(values).max())
    if not largest:
        raise PlaneError("evaluator: the loss is linear in these weights, so there is no direction in which it curves most")
    if residuals.max() > USELESS * largest:
        raise CurvatureError(
            f"max_products: {most} are too few, the residuals are {residuals[0]:.2g} and {residuals[1]:.2g} of eigenvalues "
            f"{values[0]:.2g} and {values[1]:.2g}; take more"
        )
    about |= {
        "eigenvalues": values.tolist(),
        "residuals": residuals.tolist(),
        "converged": converged,
        "products": spent,
        "loss": loss,
    }
    length = float(curvature.vector({name: state[name] for name in curvature.names}).norm())
    reach = [_reach(loss, abs(value), length) for value in values]
    extent = -reach[0], reach[0], -reach[1], reach[1]
    directions = [curvature.state(torch.from_numpy(vector)) for vector in vectors]
    made = Plane(state, directions, kind="hessian", layout=layout, extent=extent, about=about)
    yield 1.0
    return made


def _product(curvature: Curvature, vector: np.ndarray, spent: int, most: int) -> Generator[float, None, tuple[float, np.ndarray]]:
    steps = curvature.iter_product(torch.from_numpy(vector))
    while True:
        try:
            share = next(steps)
        except StopIteration as finished:
            loss, product = finished.value
            break
        yield (spent + share) / (most + 1)
    if not (math.isfinite(loss) and bool(torch.isfinite(product).all())):
        raise CurvatureError(
            f"center: the loss there ({loss:.3g}) or its second derivatives are NaN or infinite; a model that diverged has no "
            "Hessian plane"
        )
    return loss, product.numpy()


def _reach(loss: float, value: float, length: float) -> float:
    """Return half the width of the default range along an eigenvector."""
    edges = [math.sqrt(2 * RISE * abs(loss) / value)] if value and loss else []
    return min([*edges, length] if length else edges, default=1.0) or 1.0


def _whole(name: str, value: Any, least: int | None = None) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or (least is not None and number < least):
        raise ValueError(f"{name}: a whole number{'' if least is None else f' of at least {least}'}, received {value!r}")
    return number
