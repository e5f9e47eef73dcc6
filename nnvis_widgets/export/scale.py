"""How the values of a surface become heights and colours. May import: results."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..results import SurfaceResult
from ..results.surface import LOG_FROM


@dataclass(frozen=True)
class Scale:
    """How values become heights and colours: linear or log10, and from where to where.

    Attributes
    ----------
    quantity : str
    log : bool
    low, high : float
        On the scale; values beyond are drawn as these.
    cut : float or None
        The value above which colours and heights say no more.
    """

    quantity: str
    log: bool
    low: float
    high: float
    cut: float | None

    @classmethod
    def of(cls, surface: SurfaceResult, quantity: str, log: bool | None = None) -> Scale:
        """Return the scale for a quantity of a surface; logarithms for a positive loss that spans more than a factor of 20."""
        values, _ = surface.values(quantity)
        finite = values[np.isfinite(values)]
        positive = bool(finite.size) and finite.min() > 0
        if log and not positive:
            raise ValueError(f"log: only for a quantity that is positive everywhere; {quantity} is not, take log=False")
        log = log if log is not None else quantity == "loss" and positive and bool(finite.max() > LOG_FROM * finite.min())
        if not finite.size:
            return cls(quantity, False, 0.0, 1.0, None)
        scaled = np.log10(finite) if log else finite
        low, high = float(scaled.min()), float(scaled.max())
        near = float(np.percentile(scaled, 98))
        # a few cells far above all others would leave one colour for the rest
        cut = None if quantity != "loss" or high - low <= 1.5 * (near - low) or not near > low else near
        high = high if cut is None else cut
        if not high > low:
            low, high = low - 0.5 * (abs(low) or 1.0), low + 0.5 * (abs(low) or 1.0)
        return cls(quantity, log, low, high, None if cut is None else float(10**cut if log else cut))

    def heights(self, values: Any) -> np.ndarray:
        """Return values on the scale; what is not finite (or not positive, where logarithms are taken) is NaN."""
        given = np.asarray(values, dtype=float)
        good = np.isfinite(given) & ((given > 0) | (not self.log))
        scaled = np.full(given.shape, np.nan)
        scaled[good] = np.clip(np.log10(given[good]) if self.log else given[good], self.low, self.high)
        return scaled

    def ticks(self) -> tuple[list[float], list[str]]:
        """Return places on the scale and the values that are written there."""
        if not self.log:
            step = 10 ** math.floor(math.log10((self.high - self.low) / 3))
            step *= next(factor for factor in (1, 2, 5, 10) if (self.high - self.low) / (step * factor) <= 7)
            places = np.arange(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1) * step
            return places.tolist(), [f"{value:.6g}" for value in places]
        decades = range(math.floor(self.low), math.ceil(self.high) + 1)
        for digits in ((1,), (1, 3), (1, 2, 5), tuple(range(1, 10))):
            values = [digit * 10.0**decade for decade in decades for digit in digits]
            values = [value for value in values if self.low <= math.log10(value) <= self.high]
            if len(values) >= 4:
                break
        return [math.log10(value) for value in values], [f"{value:g}" for value in values]

    def words(self) -> str:
        """Return what the scale is, for the label of an axis."""
        return self.quantity + (" (log scale)" if self.log else "") + (f", cut at {self.cut:.3g}" if self.cut is not None else "")
