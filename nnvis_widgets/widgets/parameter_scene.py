"""What the pictures of a parameter explorer are given: pages in their order, and one weight in detail.

May import: results, views, numpy; no widgets are made here.
"""

from __future__ import annotations

import numpy as np

from ..results import ParameterScan
from ..results.patterns import turning_point, u
from ..views.multiples import COLUMNS, Page, grouped, paginate
from ..views.weight_detail import Detail
from .parameter_preview import Lines, WhatIf

_DENSE = 161  # points of the curve between those that were measured


def pages_of(scan: ParameterScan, sort: str, only: str, columns: int = COLUMNS) -> list[Page]:
    """Return the pages of small pictures: by pattern, and in each the largest first; by distance where nothing else is known."""
    keys = {"distance": scan.distance, "effect": np.abs(scan.effect), "confidence": scan.confidence}[sort]
    if not np.isfinite(keys).any():
        keys = scan.distance
    return paginate(grouped(scan, keys, None if only == "all" else only), columns)


def detail_of(scan: ParameterScan, row: int, imagined: WhatIf | None, band: bool, lines: Lines | None = None) -> Detail:
    """Return one weight as it is drawn large: as measured, or with another value at the mid checkpoint over what was measured."""
    loss = {"linear": scan.linear[row], "quadratic": scan.quadratic[row]}
    shares = {"linear": scan.alphas, "quadratic": scan.u[row]}
    error = {"linear": 2 * scan.linear_diff_se[row], "quadratic": 2 * scan.quadratic_diff_se[row]}
    before, rho = {}, float(scan.rho[row])
    if imagined is not None:
        before = {"loss": loss["quadratic"], "u": shares["quadratic"]}
        loss["quadratic"], shares["quadratic"], rho = imagined.quadratic, imagined.u, imagined.rho
        del error["quadratic"]
    alpha = float(turning_point(rho)[0])
    end = np.flatnonzero(scan.alphas == 1.0)
    return Detail(
        alphas=scan.alphas, loss=loss, error=error, u=shares, before=before, line=_line(lines or Lines(scan), row),
        ends=(float(scan.start[row]), float(scan.final[row])), u_star=float(scan.u_star[row]),
        u_star_range=(float(scan.u_star_low[row]), float(scan.u_star_high[row])),
        turn=(alpha, float(u(alpha, rho)) if np.isfinite(alpha) else np.nan),
        level=float(scan.linear[row, end[0]]) if len(end) else np.nan, tolerance=float(scan.noise_floor), band=band,
    )  # fmt: skip


def _line(lines: Lines, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the loss of a weight along its line, at the measured points and between them."""
    known, _ = lines.knots(row)
    if len(known) < 2:
        return known, known
    at = np.union1d(known, np.linspace(known[0], known[-1], _DENSE))
    return at, lines.at(row, at)
