"""How much worse a model does at some rows of a sweep than at its trained weights, on the scale of what it has learnt.

May import: core, numpy. Everything is paired: the same samples at every row. The criticality is a ratio of two means over the
samples, ``mean(d) / mean(g)`` with d the drop and g the gap to the best constant answer; its error is that of the mean of
``(d - ratio g) / mean(g)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.resampling import DRAWS, Band, normal_critical, paired_shares, rank_intervals, simultaneous, standard_errors
from ..core.tally import Sweep
from .shared import sample_values

PREVIEW = 100  # resamples for a partial result


@dataclass(frozen=True, eq=False)
class Harm:
    """What was lost in L cells, each a mixture of rows.

    Attributes
    ----------
    metric : str
        What the criticality is about.
    criticality : Band
    drop, rise : Band
        Of the accuracy (NaN where there is none), and of the loss.
    rank_low, rank_high : ndarray of int, shape (L,)
    row_criticality, row_rise : ndarray, shape (rows,)
        Of each row by itself.
    chance : float
    learned : bool
    reference : dict of str to float
    """

    metric: str
    criticality: Band
    drop: Band
    rise: Band
    rank_low: np.ndarray
    rank_high: np.ndarray
    row_criticality: np.ndarray
    row_rise: np.ndarray
    chance: float
    learned: bool
    reference: dict[str, float]

    @property
    def scale(self) -> dict[str, Any]:
        """What the results say of it: metric, reference, chance, learned."""
        return {name: getattr(self, name) for name in ("metric", "reference", "chance", "learned")}


def harm(sweep: Sweep, mixture: np.ndarray, constant: dict[str, np.ndarray], *, reference: int = 0, tests: int = 1) -> Harm:
    """Return what was lost in each cell.

    Parameters
    ----------
    sweep : Sweep
        Where its paired differences are taken to the row `reference`.
    mixture : ndarray, shape (cells, rows)
        The weight of each row in a cell: 1 for one row, 1/R for the mean of R draws, 1 and -1 for an interaction. A cell without
        any has lost nothing, exactly.
    constant : dict of str to ndarray, shape (n,)
        As ``Evaluator.constant`` gives it.
    reference : int
    tests : int
        How many such sweeps the intervals are to hold for together.
    """
    given: dict[str, Any] = {"draws": DRAWS if sweep.fraction == 1.0 else PREVIEW, "confidence": 1 - 0.05 / tests}
    metric = "accuracy" if "accuracy" in sweep.tallies else "loss"
    bands, lost = {}, {}
    for quantity in ("loss", "accuracy"):
        bands[quantity], lost[quantity] = _lost(sweep, quantity, mixture, reference, given)
    gap, gap_se, chance = _gap(sweep, metric, constant, reference)
    weights = _weights(sweep, metric)
    mean_gap = _mean(gap, weights) if gap is not None else np.nan
    learned = gap is None or _above_zero(gap, weights)
    mean_gap = mean_gap if learned else np.nan
    values = lost[metric]
    low, high = np.zeros(len(mixture), dtype=int), np.zeros(len(mixture), dtype=int)
    if values is not None:
        low, high = rank_intervals(values, weights, draws=given["draws"])
    rows = {name: _row_losses(sweep, name, reference) for name in bands}
    return Harm(
        metric=metric,
        criticality=_ratio(bands[metric], values, gap, mean_gap, gap_se, weights, shares=metric == "accuracy"),
        drop=bands["accuracy"],
        rise=bands["loss"],
        rank_low=low,
        rank_high=high,
        row_criticality=rows[metric] / mean_gap,
        row_rise=rows["loss"],
        chance=chance,
        learned=learned,
        reference={name: float(tally.mean[reference]) for name, tally in sweep.tallies.items()},
    )


def _lost(
    sweep: Sweep, quantity: str, mixture: np.ndarray, reference: int, given: dict[str, Any]
) -> tuple[Band, np.ndarray | None]:
    """Return the bands of the drop of the accuracy or the rise of the loss in each cell, and the values of single samples."""
    cells = len(mixture)
    if quantity not in sweep.tallies:
        nothing = np.full(cells, np.nan)
        return Band(nothing, nothing, nothing, nothing, np.nan), None
    active = (mixture != 0).any(1)
    known = sample_values(sweep, quantity)
    if known is None:
        return _from_sums(sweep, quantity, mixture, reference, given["confidence"]), None
    values = np.zeros((cells, known.shape[1]))
    sign = 1.0 if quantity == "accuracy" else -1.0
    with np.errstate(invalid="ignore", over="ignore"):
        for cell in np.flatnonzero(active):
            for row in np.flatnonzero(mixture[cell]):
                values[cell] += sign * mixture[cell, row] * (known[reference].astype(float) - known[row])
    moved = values[active]
    weights = _weights(sweep, quantity)
    if not len(moved):
        nothing = np.zeros(0)
        band = Band(nothing, nothing, nothing, nothing, normal_critical(given["confidence"]))
    elif quantity == "accuracy" and np.isin(moved[np.isfinite(moved)], (-1.0, 0.0, 1.0)).all():
        band = paired_shares(moved, **given)
    else:
        band = simultaneous(moved, weights, **given)
        if quantity == "accuracy":  # where the answers to none of the samples changed, those to others might
            unseen = np.where(band.se == 0.0, band.critical**2 / (known.shape[1] + band.critical**2), 0.0)
            band = Band(band.mean, band.se, band.low - unseen, band.high + unseen, band.critical)
    mean, se, low, high = np.zeros((4, cells))
    mean[active], se[active], low[active], high[active] = band.mean, band.se, band.low, band.high
    return Band(mean, se, low, high, band.critical), values


def _from_sums(sweep: Sweep, quantity: str, mixture: np.ndarray, reference: int, confidence: float) -> Band:
    """Return wider bands, of Bonferroni, where single samples are not known: errors of a mixture at most add up."""
    tally, rows = sweep.tallies[quantity], _row_losses(sweep, quantity, reference)
    mean, se = np.zeros(len(mixture)), np.zeros(len(mixture))
    for cell, weights in enumerate(mixture):
        used = np.flatnonzero(weights)
        mean[cell], se[cell] = weights[used] @ rows[used], np.abs(weights[used]) @ tally.diff_se[used]
    critical = normal_critical(confidence, int((mixture != 0).any(1).sum()))
    return Band(mean, se, mean - critical * se, mean + critical * se, critical)


def _row_losses(sweep: Sweep, quantity: str, reference: int) -> np.ndarray:
    if quantity not in sweep.tallies:
        return np.full(len(sweep.tallies["loss"].mean), np.nan)
    mean = sweep.tallies[quantity].mean
    with np.errstate(invalid="ignore"):
        return mean[reference] - mean if quantity == "accuracy" else mean - mean[reference]


def _gap(sweep: Sweep, metric: str, constant: dict[str, np.ndarray], reference: int) -> tuple[np.ndarray | None, float, float]:
    """Return by how much the trained model does better on each sample than a constant answer, its error, and what that achieves."""
    if metric not in constant:
        return None, np.nan, np.nan
    flat = constant[metric][: sweep.n]
    weights = _weights(sweep, metric)
    known = sample_values(sweep, metric, np.array([reference]))
    own = np.full(sweep.n, sweep.tallies[metric].mean[reference]) if known is None else known[0].astype(float)
    gap = own - flat if metric == "accuracy" else flat - own
    error = float(standard_errors(gap[None], weights)[0]) + (sweep.tallies[metric].se[reference] if known is None else 0.0)
    return gap, error, _mean(flat, weights)


def _above_zero(gap: np.ndarray, weights: np.ndarray | None) -> bool:
    if not np.isfinite(gap).all():
        return False
    shares = weights is None and np.isin(gap, (-1.0, 0.0, 1.0)).all()
    band = paired_shares(gap[None], draws=PREVIEW) if shares else simultaneous(gap[None], weights, draws=PREVIEW)
    return bool(band.low[0] > 0)


def _ratio(
    drop: Band,
    values: np.ndarray | None,
    gap: np.ndarray | None,
    mean_gap: float,
    gap_se: float,
    weights: np.ndarray | None,
    *,
    shares: bool,
) -> Band:
    """Return the band of drop / gap: that of the drop, wider or narrower as the ratio's own error is.

    No answer is known to be the same on samples that were not seen: no share is known better than within c^2 / (n + c^2).
    """
    mean = drop.mean / mean_gap
    scale = np.ones(len(mean))
    if gap is not None and np.isfinite(mean_gap):
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            if values is None:  # how drop and gap go together is not known: their errors at most add up
                own = drop.se + np.abs(mean) * gap_se
            else:
                own = standard_errors(values - mean[:, None] * gap, weights)
            scale = np.where(drop.se > 0, own / drop.se, 1.0)
    least = np.zeros(len(mean))
    if shares and values is not None:
        unseen = drop.critical**2 / (values.shape[1] + drop.critical**2)
        least = np.where(drop.low < drop.high, unseen / mean_gap, 0.0)
    below = np.maximum((drop.mean - drop.low) / mean_gap * scale, least)
    above = np.maximum((drop.high - drop.mean) / mean_gap * scale, least)
    return Band(mean, drop.se / mean_gap * scale, mean - below, mean + above, drop.critical)


def _weights(sweep: Sweep, quantity: str) -> np.ndarray | None:
    return None if quantity != "loss" or sweep.sample_weights is None else sweep.sample_weights[: sweep.n]


def _mean(values: np.ndarray, weights: np.ndarray | None) -> float:
    return float(np.average(values, weights=weights))
