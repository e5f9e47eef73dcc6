"""What experiments return: frozen objects with arrays, their coordinates, n, errors and provenance.

May import: store, numpy. Importing any of them registers all, so that `load` knows every kind.
"""

from .base import Measurement, Result, ResultSet, caption, load
from .claims import Claim
from .course import WeightCourse
from .epochs import EpochStudy
from .faithful_runs import FaithfulnessAgreement
from .faithfulness import SPACES, FaithfulnessReport
from .history import LayerHistory
from .inspection import Inspection
from .joint import JointReset, LayerAgreement
from .layers import LayerStudy
from .movement import MovementTable
from .pairwise import PairwiseReset
from .parameters import ParameterScan
from .path import COLOURS, LINES, PathResult
from .sample_size import SamplesNeeded, TestSizeStudy
from .statements import Statements
from .surface import SurfaceResult, Trajectory
from .training_size import TrainingSizeStudy

__all__ = [
    "COLOURS",
    "Claim",
    "EpochStudy",
    "LINES",
    "SPACES",
    "FaithfulnessAgreement",
    "FaithfulnessReport",
    "Inspection",
    "JointReset",
    "PairwiseReset",
    "LayerAgreement",
    "LayerHistory",
    "LayerStudy",
    "Measurement",
    "MovementTable",
    "ParameterScan",
    "PathResult",
    "Result",
    "ResultSet",
    "SamplesNeeded",
    "Statements",
    "SurfaceResult",
    "TestSizeStudy",
    "TrainingSizeStudy",
    "Trajectory",
    "WeightCourse",
    "caption",
    "load",
]
