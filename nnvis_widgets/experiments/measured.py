"""A scan of single weights while it is measured: sums and single losses of a sweep become curves, errors and labels.

May import: core, results, numpy.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..core.patterns import PatternRules
from ..core.resampling import false_discovery
from ..core.tally import Sweep
from ..results import ParameterScan
from ..results.labelling import votes_of
from ..results.patterns import line_minimum
from .evidence import Resamples, evidence
from .shared import sample_values

RESAMPLE_BYTES = 32 * 2**20  # that the resampled curves of a result may take
_AT_ONCE = 8  # weights whose differences are in memory at once


class Measured:
    """The arrays of a scan to be.

    Parameters
    ----------
    scan : ParameterScan
        Of the chosen weights, without measurements; its noise floor is in force, and its effects where there are no `slopes`.
    columns : ndarray of int, shape (K,) or (2 K,)
        Which of a weight's rows in a sweep each point is.
    rows : int
        How many rows a weight has; the first is that of alpha 1.
    n : int
        Samples of a complete measurement.
    fresh : int
        What is said beyond the samples is said of those from this one on.
    slopes : (ndarray, ndarray), optional
        Gradient times way of each weight on the first `fresh` samples, and on all.
    seed : int
    """

    def __init__(
        self,
        scan: ParameterScan,
        columns: np.ndarray,
        rows: int,
        n: int,
        fresh: int,
        slopes: tuple[np.ndarray, np.ndarray] | None,
        seed: int,
    ):
        self._scan, self._columns, self._rows, self._n = scan, columns, rows, n
        self._fresh, self._slopes, self._seed = fresh, slopes, seed
        shape = len(scan), 2 * len(scan.alphas)
        self._curves, self._errors = np.full(shape, np.nan), np.full(shape, np.nan)
        alone = ("half_width", "p_value", "u_star", "u_star_low", "u_star_high")
        self._alone = {name: np.full(len(scan), np.nan) for name in alone}
        self._edge = np.zeros(len(scan), dtype=int)
        self._votes = np.array(scan.votes)
        self._kept: dict[int, np.ndarray] = {}
        self._rules = PatternRules.of(scan.rules)
        self._resamples: dict[int, Resamples] = {}
        self._loaded = (0.0, 0.0)  # how much the samples count that the weights were chosen by, and all

    def enter(self, begin: int, count: int, sweep: Sweep) -> None:
        """Take what has been measured of `count` weights from number `begin` on."""
        tally, points = sweep.tallies["loss"], len(self._columns)
        own = slice(begin, begin + count)
        before = self._curves[own].copy()
        self._curves[own, :points] = tally.mean.reshape(count, self._rows)[:, self._columns]
        self._errors[own, :points] = tally.diff_se.reshape(count, self._rows)[:, self._columns]
        there = (self._scan.distance[own] > 0) & np.isfinite(self._curves[own]).any(1)
        fresh = ~np.equal(before, self._curves[own]).all(1)  # a tile holds some of the weights
        for number in (np.flatnonzero(there & fresh) + begin).tolist():
            self._alone["u_star"][number], self._edge[number] = line_minimum(self._shares(number), self._curves[number])
        if sweep.fraction < 1.0 or sweep.n < self._n:
            return
        losses = sample_values(sweep, "loss")
        if losses is None:
            return
        weights = sweep.sample_weights
        counted = np.ones(sweep.n) if weights is None else weights[: sweep.n]
        self._loaded = float(counted[: self._fresh].sum()), float(counted.sum())
        for first in range(0, count, _AT_ONCE):
            some = range(first, min(first + _AT_ONCE, count))
            differences = []
            for k in some:
                rows = losses[k * self._rows : (k + 1) * self._rows]
                with np.errstate(invalid="ignore"):
                    differences.append(rows - rows[0])
            self._weigh([begin + k for k in some], differences, None if weights is None else counted)

    def _weigh(self, numbers: list[int], differences: list[np.ndarray], weights: np.ndarray | None) -> None:
        n, fresh = differences[0].shape[1], self._fresh
        found = evidence(differences, self._drawn(n), weights)
        self._resampled(numbers, found.curves)
        if fresh >= n:
            return  # the weights were chosen by all of the samples there are
        if fresh:
            held_out = [rows[:, fresh:] for rows in differences]
            found = evidence(held_out, self._drawn(n - fresh), None if weights is None else weights[fresh:])
        alphas = self._scan.alphas
        inside = self._columns[np.tile((alphas >= 0) & (alphas <= 1), len(self._columns) // len(alphas))]
        self._alone["p_value"][numbers] = found.p_value
        self._alone["half_width"][numbers] = found.critical * found.se[:, inside].max(1)

    def _drawn(self, n: int) -> Resamples:
        if n not in self._resamples:
            self._resamples[n] = Resamples(n, self._seed)
        return self._resamples[n]

    def _resampled(self, numbers: list[int], curves: np.ndarray) -> None:
        """Take the resampled differences of some weights, (weights, draws, rows)."""
        scan, points = self._scan, len(self._columns)
        whole = np.full((*curves.shape[:2], 2 * len(scan.alphas)), np.nan, dtype=np.float32)
        whole[:, :, :points] = curves[:, :, self._columns]
        if whole[0].nbytes * len(scan) <= RESAMPLE_BYTES:
            self._kept.update(zip(numbers, whole, strict=True))
        moved = scan.distance[numbers] > 0
        for number, own in zip(np.array(numbers)[moved].tolist(), whole[moved], strict=True):
            places = line_minimum(self._shares(number), own)[0]
            if np.isfinite(places).all():
                low_and_high = np.quantile(places, [0.025, 0.975])
                self._alone["u_star_low"][number], self._alone["u_star_high"][number] = low_and_high
        self._votes[numbers] = votes_of(whole, scan.alphas, scan.rho[numbers], scan.noise_floor, self._rules, moved)

    def _shares(self, number: int) -> np.ndarray:
        return np.concatenate([self._scan.alphas, self._scan.u[number]])

    def result(self, fraction: float, n: int, provenance: dict[str, Any]) -> ParameterScan:
        """Return what has been measured so far, labelled."""
        scan, points = self._scan, len(self._scan.alphas)
        heights = np.fmax(np.ptp(self._curves[:, :points], axis=1), np.ptp(self._curves[:, points:], axis=1))
        # what is below the noise floor is no effect, however often the rounding repeats itself
        p_value = np.where(heights <= scan.noise_floor, 1.0, self._alone["p_value"])
        p_value = np.where(np.isnan(self._alone["p_value"]), np.nan, p_value)
        kept = None
        if fraction == 1.0 and len(self._kept) == len(scan):
            kept = np.array([self._kept[number] for number in range(len(scan))])
        alone: dict[str, Any] = {**self._alone, "p_value": p_value}
        done = replace(
            scan,
            linear=self._curves[:, :points],
            quadratic=self._curves[:, points:],
            linear_diff_se=self._errors[:, :points],
            quadratic_diff_se=self._errors[:, points:],
            u_star_edge=self._edge,
            effect=self._effect(),
            votes=self._votes,
            q_value=false_discovery(p_value),
            resampled=kept,
            n=n,
            fraction=fraction,
            provenance=provenance,
            **alone,
        )
        return done.labelled(self._rules)

    def _effect(self) -> np.ndarray:
        """Return gradient times way: what is known from the start, or that on the samples that the weights were not chosen by."""
        if self._slopes is None:
            return self._scan.effect
        (half, whole), (chosen, counted) = self._slopes, self._loaded
        if counted <= chosen:
            return np.full(len(self._scan), np.nan)
        return (whole * counted - half * chosen) / (counted - chosen)
