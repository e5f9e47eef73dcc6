"""What is said of layers that were replaced: the class of each, under which thresholds, and what a reader must know.

May import: results.of_layers, numpy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Self

import numpy as np

from .base import NAN
from .of_layers import OfLayers

MARGIN, CRITICAL_ABOVE = 0.01, 0.25
ONE_RUN = "one training run: another seed may give other labels"


def labels_of(
    metric: str,
    low: np.ndarray,
    high: np.ndarray,
    drop_high: np.ndarray,
    moved: np.ndarray,
    *,
    margin: float = MARGIN,
    critical_above: float = CRITICAL_ABOVE,
) -> np.ndarray:
    """Return the class of each layer, an array of words of the shape of `low`.

    By equivalence, not by absence of evidence: *ambient* is shown to be harmless (the whole interval of the drop lies below the
    margin), *critical* is shown to be harmful (the whole interval of the criticality lies above the threshold), and what is
    shown to be neither is *intermediate*.
    """
    harmless = (drop_high if metric != "loss" else high) < margin
    words = np.where(low > critical_above, "critical", np.where(harmless, "ambient", "intermediate"))
    return np.where(~moved, "not moved", np.where(np.isfinite(low) & np.isfinite(high), words, "undefined"))


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Labelled(OfLayers):
    """What a study and a history of layers have in common: what a layer is, thresholds that can be changed, and notes."""

    unit: str = "module"
    part: str = "all"
    margin: float = MARGIN
    critical_above: float = CRITICAL_ABOVE

    def relabelled(self, *, margin: float | None = None, critical_above: float | None = None) -> Self:
        """Return the same measurement with other thresholds; nothing is measured again.

        Parameters
        ----------
        margin : float, optional
            The drop that counts as none: a share of the samples (0.05 is five points); where there is no accuracy,
            a criticality.
        critical_above : float, optional
            The criticality above which a layer is critical.
        """
        accuracy = self.metric == "accuracy"
        margin = self.margin if margin is None else _threshold("margin", margin, MARGIN)
        critical_above = (
            self.critical_above if critical_above is None else _threshold("critical_above", critical_above, CRITICAL_ABOVE)
        )
        if accuracy and margin >= 1:
            raise ValueError(f"margin: a share of 0 to 1: 0.05 is five points; received {margin:g}")
        if accuracy and critical_above > 1:
            raise ValueError(f"critical_above: 0 (no harm) to 1 (chance), such as {CRITICAL_ABOVE}; received {critical_above:g}")
        return replace(self, margin=margin, critical_above=critical_above)

    @property
    def too_few(self) -> str:
        """Why no layer can be shown to be harmless, whatever was measured; empty where one can."""
        critical = float(self.provenance.get("critical", NAN))
        needed = critical**2 * (1 - self.margin) / self.margin if self.margin > 0 else np.inf
        if self.metric != "accuracy" or not self.n < needed:
            return ""
        return f"{self.n} samples cannot show a layer to be harmless to within {self.margin:.2%} of accuracy" + (
            f": it takes at least {int(needed) + 1}" if np.isfinite(needed) else ""
        )

    def _common_notes(self) -> list[str]:
        """Return why the criticality is undefined, where it is."""
        if not self.learned:
            return [
                f"the trained model's {self.metric} of {self.reference.get(self.metric, NAN):.4g} is not better than chance "
                f"({self.chance:.4g}) beyond doubt: it has not learnt, and criticality is undefined"
            ]
        if not np.isfinite(self.chance):
            return [f"what a constant answer would achieve is unknown, so there is only the rise of the {self.metric}"]
        return []


def _threshold(name: str, value: Any, usual: float) -> float:
    if not isinstance(value, Real) or isinstance(value, bool) or not np.isfinite(float(value)) or value < 0:
        raise ValueError(f"{name}: a number of at least 0, such as {usual}; received {value!r}")
    return float(value)
