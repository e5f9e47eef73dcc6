"""What a scan would show for other values at the mid checkpoint: the measured loss of each weight, read at another speed.

May import: results, views, numpy, scipy; no widgets. Both curves of a weight are one function f of how far it has gone, so moving
the mid checkpoint needs no new measurement as far as f is known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import Akima1DInterpolator

from ..results import ParameterScan
from ..results.labelling import classify_many
from ..results.patterns import PatternRules, turning_point, u
from ..views.pattern_looks import UNKNOWN

INTERPOLATED, COUNTING = "interpolated", "counting"  # what of a scan is a preview: its curves, or its confidences
_CLOSE = 1e-6  # measured points that lie closer are one: the slope between them would be rounding


@dataclass(frozen=True, eq=False)
class WhatIf:
    """One weight with another value at the mid checkpoint.

    Attributes
    ----------
    rho, mid : float
        Share of the way there, and the value.
    u, quadratic : ndarray, shape (K,)
        How far the weight has gone at each alpha, and the loss there by interpolation; NaN where none was measured.
    pattern : str
        "" where too little of the curve is known.
    """

    rho: float
    mid: float
    u: np.ndarray
    quadratic: np.ndarray
    pattern: str

    @property
    def covered(self) -> float:
        """Share of the curve that lies where the loss has been measured."""
        return float(np.isfinite(self.quadratic).mean())


class Lines:
    """The measured loss of each weight of a scan along its line.

    Parameters
    ----------
    scan : ParameterScan
    """

    def __init__(self, scan: ParameterScan):
        self.scan = scan
        self._known: dict[int, Akima1DInterpolator | None] = {}

    def knots(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Return where the loss of a weight was measured, ascending, and the losses: of both its curves."""
        scan = self.scan
        at = np.concatenate([scan.alphas, scan.u[row]])
        loss = np.concatenate([scan.linear[row], scan.quadratic[row]])
        keep = np.isfinite(at) & np.isfinite(loss)
        at, loss = at[keep], loss[keep]
        order = np.argsort(at, kind="stable")
        at, loss = at[order], loss[order]
        apart = np.concatenate([[True], np.diff(at) > _CLOSE])[: len(at)]
        return at[apart], loss[apart]

    def at(self, row: int, shares: np.ndarray) -> np.ndarray:
        """Return the loss of a weight where it has gone these shares of its way, NaN outside of what was measured."""
        if row not in self._known:
            at, loss = self.knots(row)
            self._known[row] = Akima1DInterpolator(at, loss, method="makima") if len(at) > 1 else None
        known = self._known[row]
        if known is None:
            return np.full(np.shape(shares), np.nan)
        low, high = known.x[0], known.x[-1]
        shares = np.where(np.abs(shares - low) <= _CLOSE, low, np.where(np.abs(shares - high) <= _CLOSE, high, shares))
        return np.asarray(known(shares))

    def what_if(self, row: int, rho: float) -> WhatIf:
        """Return the curve of one weight with the mid checkpoint at this share of its way."""
        scan = self.scan
        shares = np.asarray(u(scan.alphas, rho))
        quadratic = self.at(row, shares)
        rules = PatternRules.of(scan.rules)
        moved = scan.distance[[row]] > 0
        found = classify_many(
            scan.alphas, scan.linear[[row]], quadratic[None], np.array([rho]), scan.noise_floor, rules, moved
        ).pattern[0]
        found = found if np.isfinite(quadratic).all() else UNKNOWN
        mid = float(scan.start[row] + rho * (scan.final[row] - scan.start[row]))
        return WhatIf(rho, mid, shares, quadratic, found)

    def moved_to(self, mid: np.ndarray) -> ParameterScan:
        """Return the scan with these values at the mid checkpoint: curves by interpolation, labels of these curves.

        `provenance["preview"]` says so; what the samples would say of it (confidence, errors) is not known.
        """
        scan = self.scan
        with np.errstate(divide="ignore", invalid="ignore"):
            rho = np.where(scan.distance > 0, (mid - scan.start) / (scan.final - scan.start), np.nan)
        shares = np.asarray(u(scan.alphas, rho[:, None]))
        quadratic = np.stack([self.at(row, shares[row]) for row in range(len(scan))]) if len(scan) else scan.quadratic
        turn, top = turning_point(rho)
        again = replace(
            scan, mid=np.asarray(mid, float), rho=rho, u=shares, quadratic=quadratic, alpha_turn=turn, u_turn=top,
            quadratic_diff_se=np.full_like(scan.quadratic_diff_se, np.nan), votes=np.full_like(scan.votes, np.nan),
            resampled=None, provenance={**scan.provenance, "preview": INTERPOLATED},
        )  # fmt: skip
        again = again.labelled(PatternRules.of(scan.rules))
        known = np.isfinite(quadratic).all(axis=1) | ~np.isfinite(rho)
        names = [name if there else UNKNOWN for name, there in zip(again.pattern, known.tolist(), strict=True)]
        return replace(again, pattern=names)
