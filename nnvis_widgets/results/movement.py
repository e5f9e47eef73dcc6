"""How far the weights of each scope have travelled.

May import: results.base, numpy. pandas and matplotlib are imported by the methods that need them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .base import LINEAR, Result, new_axes

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes


@dataclass(frozen=True, repr=False, eq=False)
class MovementTable(Result):
    """How far the weights of each scope have travelled; one row a scope.

    Attributes
    ----------
    scopes, levels : list of str
    parameter_count : ndarray
    distance : ndarray
        Euclidean |D|, D = end - start.
    relative_distance, rms : ndarray
        |D| / |start| and |D| / sqrt(number of weights).
    arc_length, tortuosity : ndarray
        Sum of the distances between the `checkpoints` recorded checkpoints, and the same over |D|.
    cosine : ndarray
        Of the angle between start and end.
    rho, eta : ndarray
        Of the mid checkpoint: <mid - start, D> / |D|^2, and its distance from the line over |D|; NaN without one.
    """

    _shares_axes: ClassVar[bool] = False

    scopes: list[str]
    levels: list[str]
    parameter_count: np.ndarray
    distance: np.ndarray
    relative_distance: np.ndarray
    rms: np.ndarray
    arc_length: np.ndarray
    tortuosity: np.ndarray
    cosine: np.ndarray
    rho: np.ndarray
    eta: np.ndarray
    checkpoints: int

    def __repr__(self) -> str:
        return f"MovementTable({len(self.scopes)} scopes over {self.checkpoints} checkpoints; model {self.distance[0]:.4g})"

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row for each scope."""
        import pandas

        return pandas.DataFrame({e.name: getattr(self, e.name) for e in fields(self) if e.name != "checkpoints"})

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the distance of each scope as a bar; returns the axes."""
        axes = new_axes(ax)
        axes.barh(self.scopes[::-1], self.distance[::-1], color=LINEAR)
        axes.set_xlabel("distance travelled (Euclidean)")
        return axes
