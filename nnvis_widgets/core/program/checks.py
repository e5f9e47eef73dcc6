"""Whether two ways to the same scores agree.

May import: torch.
"""

from __future__ import annotations

import torch
from torch import Tensor


def identical(one: Tensor, other: Tensor) -> bool:
    """Return whether two vectors of scores are the same bit for bit."""
    return one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())


def agree(mine: Tensor, theirs: Tensor, eps: float) -> bool:
    """Return whether two vectors of scores are the same up to rounding; whole numbers may differ in a tie or two."""
    if mine.shape != theirs.shape:
        return False
    one, other = mine.double(), theirs.double()
    if bool((other == other.round()).all() and (one == one.round()).all()):
        return int((one != other).sum()) <= 1 + one.numel() // 50
    # accumulated over a deep network, the rounding of single operations grows by a few orders of magnitude
    tolerance = min(2e3 * eps, 0.05)
    finite = other[torch.isfinite(other)]
    scale = float(finite.abs().max()) if finite.numel() else 1.0
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance * (scale or 1.0), equal_nan=True)
