"""Scans of single weights as figures: small multiples by pattern, and the phase diagram.

May import: results, numpy, matplotlib.
"""

from __future__ import annotations

import textwrap
from itertools import zip_longest

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..results import COLOURS, ParameterScan, caption
from ..results.parameters import PATTERN_STYLES
from .files import Picture

_ACROSS = 6
MOST = 48  # panels of one figure


def scan_figure(scan: ParameterScan, most: int = MOST) -> Figure:
    """Return small multiples, a panel for each weight, grouped by pattern: the linear and the quadratic curve.

    Parameters
    ----------
    scan : ParameterScan
    most : int
        Panels; of each pattern the first weights of the scan are drawn, in turn until there are so many.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> from nnvis_widgets.export import scan_figure
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> scan = nv.measure_parameters(demo.evaluator, demo.run, "fc3", count=4, choose="random")
    >>> scan_figure(scan).get_suptitle()
    '4 of 850 weights of fc3, by random'
    """
    if most < 1:
        raise ValueError(f"most: at least 1 panel, received {most}")
    shown, rows = _shown(scan, most), []
    for name, numbers in shown.items():
        rows += [(name, numbers[first : first + _ACROSS]) for first in range(0, len(numbers), _ACROSS)]
    across = max((len(numbers) for _, numbers in rows), default=1)
    figure = Picture(
        f"scan_figure(*results, most={most})",
        [scan],
        figsize=(2.1 * max(across, 3), 1.0 + 1.9 * max(len(rows), 1)),
        layout="constrained",
    )
    grid = figure.subplots(max(len(rows), 1), across, squeeze=False, sharex=True)
    for axes in grid.ravel():
        axes.set_axis_off()
    for panels, (name, numbers) in zip(grid, rows, strict=False):
        for axes, number in zip(panels, numbers, strict=False):
            axes.set_axis_on()
            _pair(axes, scan, number)
        colour, _ = PATTERN_STYLES[name]
        count = scan.counts()[name]
        panels[0].set_ylabel(f"{name}\n({count} of {len(scan)})", color=colour, fontsize="small", fontweight="bold")
    handles = grid[0, 0].get_lines()[:2]
    if handles:
        figure.legend(handles, ["linear", "quadratic"], loc="outside upper right", fontsize="small", ncols=2)
    drawn = sum(map(len, shown.values()))
    some = "" if drawn == len(scan) else f"; {drawn} drawn"
    figure.suptitle(
        f"{len(scan)} of {scan.scanned} weights of {scan.scope}, by {scan.choose}{some}", fontsize="medium", x=0.02, ha="left"
    )
    width = 30 * max(across, 3)
    lines = [textwrap.fill(line, width, break_on_hyphens=False) for line in _caption(scan).splitlines()]
    figure.supxlabel("\n".join(lines), fontsize="x-small")
    return figure


def phase_figure(scan: ParameterScan) -> Figure:
    """Return the phase diagram: each weight at the share of its way at the mid checkpoint, and the place of its minimum.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> from nnvis_widgets.export import phase_figure
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> scan = nv.measure_parameters(demo.evaluator, demo.run, "fc3", count=4, choose="random")
    >>> phase_figure(scan).axes[0].get_xlabel()
    'rho: share of the way at the mid checkpoint'
    """
    figure = Picture("phase_figure(*results)", [scan], figsize=(8.6, 5.4), layout="constrained")
    scan.plot(figure.add_subplot())
    lost = int((~np.isfinite(scan.rho)).sum())
    beyond = int((np.isfinite(scan.u_star) & (scan.u_star_edge != 0)).sum())
    words = "shaded: what the theory expects of a loss with one minimum"
    if beyond:
        words += f"; {beyond} minima at the edge of what was measured: they lie there or beyond"
    if lost:
        words += f"; {lost} weights without rho are not drawn"
    figure.supxlabel(words, fontsize="x-small")
    return figure


def _shown(scan: ParameterScan, most: int) -> dict[str, list[int]]:
    """Return the numbers of the weights that are drawn, by pattern: one of each pattern in turn."""
    groups = {name: [k for k, one in enumerate(scan.pattern) if one == name] for name, count in scan.counts().items() if count}
    turns = [k for turn in zip_longest(*groups.values()) for k in turn if k is not None][:most]
    return {name: [k for k in numbers if k in set(turns)] for name, numbers in groups.items()}


def _pair(axes: Axes, scan: ParameterScan, number: int) -> None:
    order = np.argsort(scan.alphas, kind="stable")
    x = scan.alphas[order]
    end = scan.linear[number][scan.alphas == 1.0][0]
    for kind, style in (("linear", "-"), ("quadratic", "--")):
        change, error = (getattr(scan, name)[number][order] for name in (kind, f"{kind}_diff_se"))
        change = 1e3 * (change - end)
        axes.plot(x, change, style, color=COLOURS[kind], linewidth=1.3)
        axes.fill_between(x, change - 2e3 * error, change + 2e3 * error, color=COLOURS[kind], alpha=0.15, linewidth=0)
    for start, stop in ((x[0], 0.0), (1.0, x[-1])):
        if start < stop:
            axes.axvspan(start, stop, color="0.93", zorder=0)
    axes.set_xlim(x[0], x[-1])
    confidence = scan.confidence[number]
    marks = "" if np.isnan(confidence) else f" {confidence:.0%}"
    marks += " mirrored" if scan.mirrored[number] else ""
    marks += ", beyond" if scan.established[number] else ""
    axes.set_title(f"{scan.names[number]}\nrho {scan.rho[number]:.2f}{marks}", fontsize=7)
    axes.tick_params(labelsize=6)


def _caption(scan: ParameterScan) -> str:
    bands = "change of the loss in thousandths against alpha, shaded outside 0 to 1; bands: two paired standard errors"
    share = (
        f"%: resamples that agree; beyond: an effect beyond these samples, false-discovery rate {scan.rules['false_discovery']:g}"
    )
    return f"{bands}\n{share}; noise floor {scan.noise_floor:.1g}; {caption(scan.provenance, scan.n)}"
