"""What experiments return: frozen objects with arrays, their coordinates, n, errors and provenance.

May import: store, numpy. Importing any of them registers all, so that `load` knows every kind.
"""

from .base import Measurement, Result, ResultSet, caption, load
from .faithfulness import SPACES, FaithfulnessReport
from .history import LayerHistory
from .inspection import Inspection
from .joint import JointReset, LayerAgreement
from .layers import LayerStudy
from .movement import MovementTable
from .path import COLOURS, LINES, PathResult
from .surface import SurfaceResult, Trajectory

__all__ = [
    "COLOURS",
    "LINES",
    "SPACES",
    "FaithfulnessReport",
    "Inspection",
    "JointReset",
    "LayerAgreement",
    "LayerHistory",
    "LayerStudy",
    "Measurement",
    "MovementTable",
    "PathResult",
    "Result",
    "ResultSet",
    "SurfaceResult",
    "Trajectory",
    "caption",
    "load",
]
