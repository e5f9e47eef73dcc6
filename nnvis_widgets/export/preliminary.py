"""Figures of preliminary experiments: the picture of each quantity, and what was found in sentences below.

May import: results; uses `matplotlib.figure.Figure` directly, so neither a display nor pyplot's global state.
"""

from __future__ import annotations

import textwrap

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ..results import EpochStudy, SamplesNeeded, TestSizeStudy, TrainingSizeStudy
from .files import Picture

_PANEL, _LINE = (5.6, 4.2), 0.17  # inches
_CHARACTERS = 16.5  # of small print, in an inch


def preliminary_figure(result: EpochStudy | TrainingSizeStudy | TestSizeStudy | SamplesNeeded) -> Figure:
    """Return the loss and each metric of a preliminary experiment side by side, and what was found.

    Raises
    ------
    TypeError
        Another kind of result.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> study = nv.preliminary_test_size(demo.evaluator, state=demo.run.final, sizes=[50, 200, 450])
    >>> [axes.get_ylabel() for axes in nv.preliminary_figure(study).axes]
    ['loss', 'accuracy']
    """
    if not isinstance(result, (EpochStudy, TrainingSizeStudy, TestSizeStudy, SamplesNeeded)):
        raise TypeError(f"result: of a preliminary experiment, received a {type(result).__name__}")
    quantities = [None] if isinstance(result, SamplesNeeded) else result.quantities[:3]
    width = _PANEL[0] * len(quantities)
    lines = [line for part in result.explain() for line in textwrap.wrap(part, int(width * _CHARACTERS), subsequent_indent="   ")]
    foot = _LINE * (len(lines) + 1)
    height = _PANEL[1] + foot
    layout = ConstrainedLayoutEngine(rect=(0, foot / height, 1, 1 - foot / height))
    figure = Picture("preliminary_figure(*results)", [result], figsize=(width, height), layout=layout)
    for axes, quantity in zip(figure.subplots(1, len(quantities), squeeze=False)[0], quantities, strict=True):
        if isinstance(result, SamplesNeeded):
            result.plot(axes)
        else:
            result.plot(axes, quantity=str(quantity))
    figure.text(0.01, 0.01, "\n".join(lines), fontsize="small", va="bottom", linespacing=1.25)
    return figure
