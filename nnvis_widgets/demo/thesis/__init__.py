"""The sixth chapter of the thesis, statement by statement: what our measurements on its network say.

`chapter` has the statements and figures, `judging` the claims that each stands or falls with, `deciding` puts
them to the evidence, `studying` what is measured, `loading` the stored
runs. May import: anything of ours.
"""

from .chapter import FIGURES, STATEMENTS, FigureEntry, Statement
from .deciding import Evidence, judged
from .loading import Thesis, load_thesis
from .studying import Settings

__all__ = [
    "FIGURES",
    "STATEMENTS",
    "Evidence",
    "FigureEntry",
    "Settings",
    "Statement",
    "Thesis",
    "figures",
    "judged",
    "load_thesis",
]
