"""The sentences of a parameter explorer: legend, what is known of a weight, what-if, honesty strip, table, spoken summary.

May import: results, views. Nothing here changes anything.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np

from ..results import ParameterScan
from ..results.patterns import PatternRules, expected_pattern
from ..views.pattern_looks import LOOKS, icon, named
from ..views.theme import CROSSING, INK, KIND_COLOURS, KIND_DASHES, swatch
from .parameter_preview import COUNTING, INTERPOLATED

if TYPE_CHECKING:
    from .parameter_explorer import ParameterExplorer


_NO_CONFIDENCE = {
    INTERPOLATED: "preview by interpolation",
    COUNTING: "confidence under these conventions is being measured",
    "partial": "confidence comes with the last samples",
    "means": "no confidence: the loss is one number a batch",
    "file": "no confidence under these conventions: the file holds no resampled curves",
    "cancelled": "no confidence under these conventions: that was cancelled",
}


def legend(explorer: ParameterExplorer) -> str:
    """Return what lines and marks mean, as HTML."""
    scan = explorer.scan
    items = [f"{swatch(KIND_COLOURS[kind], KIND_DASHES[kind])}{kind}" for kind in ("linear", "quadratic")]
    items[-1] += " (&plusmn; 2 paired s.e.)" if explorer.band else ""
    items += [
        "grey band: noise floor",
        f"{swatch(CROSSING, 'dash_dotted')}u*: lowest loss on the weight's line",
        "&#9711; the quadratic path turns round",
        "hollow, faint or ?: uncertain" + (f" (confidence &lt; {scan.rules['confidence']:g})" if scan is not None else ""),
        "&uarr; &darr; the minimum lies beyond what was measured",
    ]
    if explorer.over == "u":
        items[2:2] = [f"{swatch(INK)}f(u), which both read", "green ground: u* in 95 % of the resamples"]
    return "".join(f'<span class="item">{item}</span>' for item in items)


def detail_words(explorer: ParameterExplorer) -> str:
    """Return what is known of the selected weight, as HTML."""
    scan, row = explorer.scan, explorer.row
    if scan is None or row is None:
        return ""
    name, confidence = scan.pattern[row], float(scan.confidence[row])
    parts = [f"<b>{html.escape(scan.names[row])}</b>"]
    shape = f"this data: <strong>{named(name)}</strong>" + (" (read from alpha 1 to 0)" if name and scan.mirrored[row] else "")
    if np.isfinite(confidence):
        second = scan.second[row]
        shape += f", confidence {confidence:.2f}" + (f", else {html.escape(LOOKS[second].short)}" if second else "")
        shape += ", <strong>uncertain</strong>" if scan.uncertain[row] else ""
    elif name not in ("", "not-moved"):
        shape += f", {_NO_CONFIDENCE[_silence(explorer, scan)]}"
    parts.append(shape)
    beyond = scan.population[row]
    if beyond:
        parts.append(f"beyond this data: {named(beyond)} (q = {scan.q_value[row]:.2g})")
    if name == "not-moved":
        return _items(parts)
    if np.isfinite(scan.u_star[row]):
        star = f"u* = {scan.u_star[row]:.2f}"
        if scan.u_star_edge[row]:
            star += " or beyond: the edge of what was measured"
        elif np.isfinite([scan.u_star_low[row], scan.u_star_high[row]]).all():
            star += f" [{scan.u_star_low[row]:.2f}, {scan.u_star_high[row]:.2f}]"
        parts.append(star)
    if np.isfinite(scan.rho[row]):
        parts.append(f"rho = {scan.rho[row]:.3f}")
        expected = expected_pattern(float(scan.rho[row]), float(scan.u_star[row]), PatternRules.of(scan.rules))
        parts.append(f"its region: {icon(expected)} {html.escape(LOOKS[expected].short)}")
    if scan.persistence[row] > 0:
        parts.append(f"bump {scan.persistence[row]:.3g} high")
    moved = f"moved {scan.distance[row]:.4g}"
    if np.isfinite(scan.relative_distance[row]):
        moved += f" ({scan.relative_distance[row]:.2g} &times; the r.m.s. of its layer)"
    parts.append(moved)
    if np.isfinite(scan.effect[row]):
        parts.append(f"first-order effect {scan.effect[row]:+.3g}")
    parts.append(f"noise floor {scan.noise_floor:.1g}, flat below {scan.tolerance[row]:.1g}")
    if explorer.alpha is not None:
        linear, quadratic = (np.interp(explorer.alpha, scan.alphas, curves[row]) for curves in (scan.linear, scan.quadratic))
        parts.append(f"at &alpha; = {explorer.alpha:.2f}: linear {linear:.5g}, quadratic {quadratic:.5g}")
    return _items(parts)


def _silence(explorer: ParameterExplorer, scan: ParameterScan) -> str:
    """Return why a scan tells no confidence."""
    if "preview" in scan.provenance:
        return str(scan.provenance["preview"])
    if scan.fraction < 1:
        return "partial"
    if "each batch" in str(scan.provenance.get("loss_is")):
        return "means"
    return "file" if explorer.study is None or explorer._filed else "cancelled"


def what_if_words(explorer: ParameterExplorer) -> str:
    """Return what a dragged dot means, or how to drag one."""
    imagined, scan, row = explorer.imagined, explorer.scan, explorer.row
    if imagined is None or scan is None or row is None:
        return (
            "Drag a dot sideways (or move the slider): what if the weight had gone another share of its way at the mid checkpoint? "
            "u* is a property of the measured loss and stays."
        )
    known = f"{imagined.covered:.0%} of its curve lies where the loss has been measured"
    return (
        f"<b>What if</b> the weight were {imagined.mid:.5g} at the mid checkpoint (measured: {scan.mid[row]:.5g}), "
        f"rho = {imagined.rho:.3f} (measured: {scan.rho[row]:.3f})? {named(imagined.pattern)}. "
        f"Orange: interpolated from the measured loss, {known}; grey: measured."
    )


def state_line(explorer: ParameterExplorer) -> str:
    """Return what was measured, on what, chosen how, by which conventions, and what the picture cannot show."""
    scan = explorer.scan
    if scan is None:
        return "nothing measured yet"
    about, rules = scan.provenance, scan.rules
    line = [
        f"<b>{len(scan)} of {scan.scanned:,} weights</b> of {html.escape(scan.scope)}, {_chosen(scan)}",
        f"{html.escape(str(about.get('split', 'data')))}, n = {scan.n} of {about.get('samples', scan.n)}",
        f"BatchNorm: {html.escape(str(about.get('batchnorm', 'not recorded')))}",
        f"{about.get('dtype', '')} on {about.get('device', '')}",
        "seeds: 1 run",
    ]
    epochs = list(about.get("selection", {}).get("epochs", ()))
    if len(epochs) == 3:
        if "preview" in about and explorer.study is not None:
            epochs[1] = float(explorer.study.run.epochs[explorer.mid])
        line.append(f"start, mid, end: epochs {', '.join(f'{epoch:g}' for epoch in epochs)}")
    notes = []
    preview = about.get("preview")
    if preview == INTERPOLATED:
        notes.append("<b>preview</b> for this mid checkpoint: read from the measured loss, being measured")
    elif scan.fraction < 1:
        notes.append(f"{scan.fraction:.0%} measured")
    elif not np.isfinite(scan.votes).any() and any(name not in ("", "not-moved") for name in scan.pattern):
        notes.append(f"<b>{_NO_CONFIDENCE[_silence(explorer, scan)]}</b>")
    asked = np.isfinite(scan.q_value)
    if asked.any():
        notes.append(
            f"effect beyond this data established for {int(scan.established.sum())} of {int(asked.sum())} at a false-discovery "
            f"rate of {rules['false_discovery']:.0%}"
        )
    agree, dots = _agreement(scan)
    if dots:
        notes.append(
            f"{agree} of {dots} dots have the pattern of their region (those on a border, and losses with two minima, need not)"
        )
    lost = scan.counts()["not-moved"]
    if lost:
        notes.append(f"{lost} have not moved and no place in the diagram")
    if why := scan.provenance.get("selection", {}).get("no_effect"):
        instead = ", so in order of distance" if explorer.sort == "effect" else ""
        notes.append(f"no first-order effects{instead} ({html.escape(why)})")
    if scan.choose in ("distance", "effect"):
        notes.append("chosen as the largest: not typical of the others")
    conventions = (
        f"noise floor {rules['noise']:g} &times; rounding; a rise counts from {rules['shape']:g} of the range; flat: within "
        f"{100 * rules['plateau']:.3g}% for {rules['plateau_length']:g} of alpha; convex within {100 * rules['convexity']:.3g}%; "
        f"uncertain below {rules['confidence']:g}"
    )
    return " &middot; ".join(line) + "<br>" + "; ".join(notes) + (". " if notes else "") + f"Conventions: {conventions}."


def _chosen(scan: ParameterScan) -> str:
    return {"distance": "those that moved most", "effect": "those of the largest first-order effect", "random": "drawn at random",
            "list": "named one by one"}.get(scan.choose, html.escape(str(scan.choose)))  # fmt: skip


def _agreement(scan: ParameterScan) -> tuple[int, int]:
    rules = PatternRules.of(scan.rules)
    known = [row for row, name in enumerate(scan.pattern) if name and name != "no-effect" and np.isfinite(scan.rho[row])]
    same = sum(scan.pattern[row] == expected_pattern(float(scan.rho[row]), float(scan.u_star[row]), rules) for row in known)
    return same, len(known)


def summary(explorer: ParameterExplorer) -> str:
    """Return what the picture shows in plain sentences, for a screen reader."""
    scan, row = explorer.scan, explorer.row
    if scan is None or row is None:
        return "Nothing measured yet."
    counts = ", ".join(f"{count} {LOOKS[name].words}" for name, count in scan.counts().items() if count)
    about = f"{len(scan)} weights of {scan.scope}: {counts or 'no pattern known yet'}."
    imagined = explorer.imagined
    name = scan.pattern[row] if imagined is None else imagined.pattern
    one = f"{scan.names[row]}: {'what if, ' if imagined is not None else ''}{LOOKS[name].words}"
    if np.isfinite(scan.confidence[row]) and imagined is None:
        one += f", confidence {scan.confidence[row]:.2f}"
    if np.isfinite(scan.rho[row]):
        one += f", rho {scan.rho[row] if imagined is None else imagined.rho:.2f}, u star {scan.u_star[row]:.2f}"
    return f"{about} {one}."


def table(explorer: ParameterExplorer) -> str:
    """Return the weights of the picture as a folded table, in the order in which they are shown."""
    scan = explorer.scan
    if scan is None:
        return ""
    heads = ("weight", "pattern", "confidence", "beyond this data", "q", "rho", "u*", "moved", "effect")
    lines = []
    for row in explorer.order:
        cells = (
            html.escape(scan.names[row]), LOOKS[scan.pattern[row]].words, _number(scan.confidence[row], ".2f"),
            LOOKS[scan.population[row]].words if scan.population[row] else "", _number(scan.q_value[row], ".2g"),
            _number(scan.rho[row], ".3f"), _number(scan.u_star[row], ".3f"), _number(scan.distance[row], ".4g"),
            _number(scan.effect[row], ".3g"),
        )  # fmt: skip
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{name}</th>" for name in heads)
    return (
        f"<details><summary>Table of the {len(lines)} weights</summary><div style='max-height:340px;overflow:auto'>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div></details>"
    )


def _number(value: float, form: str) -> str:
    return f"{value:{form}}" if np.isfinite(value) else ""


def _items(parts: list[str]) -> str:
    return " ".join(f'<span class="item">{part}</span>' for part in parts)
