"""The sixth chapter of the thesis, statement by statement: what our measurements on its network say.

`chapter` has the statements, `figures` the figures that they belong to, `judging` the claims that each stands or falls with,
`deciding` puts them to the evidence, `studying` what is measured, `loading` the stored runs, `stored` what is kept with the package
of MNIST. May import: anything of ours.
"""

from .chapter import STATEMENTS, Statement
from .deciding import Evidence, judged
from .figures import FIGURES, FigureEntry
from .loading import Thesis, load_thesis
from .stored import Cards, Kept, keep, on_mnist
from .studying import Settings

__all__ = [
    "FIGURES",
    "STATEMENTS",
    "Cards",
    "Evidence",
    "FigureEntry",
    "Kept",
    "Settings",
    "Statement",
    "Thesis",
    "judged",
    "keep",
    "load_thesis",
    "on_mnist",
]
