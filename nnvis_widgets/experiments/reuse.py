"""What is known of a surface before it is measured: the cells of an earlier one with the same weights, samples and policy.

May import: core, results, numpy, experiments.grids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.evaluator import Evaluator
from ..core.family import WeightFamily
from ..core.plane import Plane
from ..results import SurfaceResult
from .grids import places

# what two measurements must have in common for their cells to stand in one picture, and the words for it
_SAME = {
    "scope": "scope",
    "weights": "weights",
    "background": "weights",
    "loss": "loss",
    "loss_is": "loss",
    "output": "output",
    "batchnorm": "BatchNorm policy",
    "calibration": "calibration data",
    "seed": "order of the samples (seed)",
    "stratified": "order of the samples",
    "batch_size": "batch size",
    "n": "number of samples",
    "data": "data",
    "dtype": "type of the weights",
    "device": "device",
}
_ARRAYS = ("loss", "loss_se", "diff_se", "n")
_GROUPS = ("metrics", "metrics_se", "metrics_diff_se")


@dataclass(frozen=True, eq=False)
class Known:
    """The cells of a grid, those filled that are known.

    Attributes
    ----------
    taken : ndarray of bool, shape (Y, X)
    arrays : dict
        Fields of a `SurfaceResult` of this grid; NaN, and n = 0, where nothing is known.
    provenance : dict
        Of what is known; empty where nothing is.
    center_loss : float or None
        At (0, 0), where it was measured on all samples.
    """

    taken: np.ndarray
    arrays: dict[str, Any]
    provenance: dict[str, Any]
    center_loss: float | None

    def with_measured(self, measured: dict[str, Any]) -> dict[str, Any]:
        """Return the arrays with measured cells filled in, which are given in the order in which they are missing here."""
        missing = ~self.taken

        def filled(known: np.ndarray, values: np.ndarray) -> np.ndarray:
            whole = known.copy()
            whole[missing] = values
            return whole

        answer: dict[str, Any] = {name: filled(self.arrays[name], measured[name]) for name in _ARRAYS}
        for group in _GROUPS:
            answer[group] = {name: filled(known, measured[group][name]) for name, known in self.arrays[group].items()}
        return answer


def known_cells(
    evaluator: Evaluator,
    family: WeightFamily,
    policy: str,
    plane: Plane,
    grid: tuple[np.ndarray, np.ndarray],
    samples: int | None,
    known: SurfaceResult | None,
) -> Known:
    """Return what an earlier surface knows of a grid (x, y); refuse one of other weights, samples or policy.

    Its cells count where they were measured on as many samples as this surface will be.
    """
    x, y = grid
    n = evaluator.covered(samples)
    names = [name for name in evaluator.quantities if name != "loss"]
    taken = np.zeros((len(y), len(x)), dtype=bool)
    rows, columns = taken, taken
    if known is not None:
        _check(known, evaluator, family, policy, plane)
        rows, columns = np.meshgrid(places(y, known.y), places(x, known.x), indexing="ij")
        taken = (rows >= 0) & (columns >= 0) & (known.n[rows, columns] == n)

    def placed(of: np.ndarray | None) -> np.ndarray:
        return np.full(taken.shape, np.nan) if of is None else np.where(taken, of[rows, columns], np.nan)

    arrays: dict[str, Any] = {name: placed(getattr(known, name, None)) for name in _ARRAYS if name != "n"}
    arrays["n"] = np.where(taken, n, 0)
    for group in _GROUPS:
        arrays[group] = {name: placed(getattr(known, group, {}).get(name)) for name in names}
    if known is None or not taken.any():
        return Known(taken, arrays, {}, None)
    at_zero = taken & (y == 0.0)[:, None] & (x == 0.0)
    center = float(arrays["loss"][at_zero][0]) if at_zero.any() else None
    if center is None and known.fraction == 1.0:  # in a partial result it may stand for fewer samples than a cell does
        center = known.center_loss
    return Known(taken, arrays, known.provenance, center)


def _check(known: Any, evaluator: Evaluator, family: WeightFamily, policy: str, plane: Plane) -> None:
    if not isinstance(known, SurfaceResult):
        raise TypeError(f"known: a SurfaceResult of the same plane, received {type(known).__name__}")
    if known.plane.get("digest") != plane.digest:
        raise ValueError(
            f"known: a surface of this plane ({plane.kind}, {plane.digest[:8]}), received one of another "
            f"({known.plane.get('kind')}, {str(known.plane.get('digest'))[:8]}); leave it out, and all cells are measured"
        )
    names = [name for name in evaluator.quantities if name != "loss"]
    n = known.provenance.get("n")
    wrong = ""
    if sorted(known.metrics) != sorted(names):
        wrong = f"its metrics are {sorted(known.metrics)}, the evaluator's are {sorted(names)}"
    elif not isinstance(n, int) or not 1 <= n <= evaluator.n:
        wrong = f"it was measured on {n} samples, and the evaluator has {evaluator.n}"
    else:
        ours = evaluator.promised(family, policy=policy, samples=n)
        differing = next((key for key in _SAME if known.provenance.get(key) != ours[key]), None)
        if differing is not None:
            theirs = known.provenance.get(differing)
            wrong = f"it has another {_SAME[differing]} ({_short(theirs)}, here {_short(ours[differing])})"
    if wrong:
        raise ValueError(
            f"known: a surface measured as this one will be; {wrong}. Give it the evaluator and the options of then, or leave it "
            "out, and all cells are measured"
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
