"""The sentences of a path explorer: legend, state line and read-outs.

May import: results, views. Nothing here changes anything.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np

from ..core.scope import Scope
from ..results import PathResult, caption
from ..views.curves import Scene
from ..views.theme import CROSSING, INK, KIND_COLOURS, KIND_DASHES, PIN, swatch

if TYPE_CHECKING:
    from .path_explorer import PathExplorer


def legend(explorer: PathExplorer, scene: Scene) -> str:
    """Return what each line is, as HTML."""
    items = []
    for kind, result in scene.paths.items():
        if kind == "training":
            items.append(f"{swatch(INK, 'dot')} training (recorded checkpoints)")
        else:
            items.append(f"{swatch(KIND_COLOURS.get(kind, PIN), KIND_DASHES.get(kind, 'solid'))}{kind}")
            if scene.band and np.isfinite(result.diff_se).any():
                items[-1] += " &plusmn; 2 paired s.e."
    if "training" in scene.paths and scene.crossings and len(scene.paths) > 1:
        items.append(f"{swatch(CROSSING, 'ring')} crosses the training curve")
    if explorer.view == "weights" and scene.curves:
        tensor = scene.curves[0].result.scope.partition("[")[0]
        kinds = dict.fromkeys(curve.result.kind for curve in scene.curves)
        items += [f"{swatch(KIND_COLOURS[kind], KIND_DASHES[kind])}{kind}" for kind in kinds]
        items.append(
            f"the {len(scene.curves) // len(kinds)} weights of {html.escape(tensor)} that travelled farthest; fainter: less far"
        )
    else:
        shown: set[str] = set()
        for curve in scene.curves:
            if curve.result.scope not in shown:
                shown.add(curve.result.scope)
                items.append(f"{swatch(curve.colour)}{html.escape(curve.result.scope)}")
        if {curve.result.kind for curve in scene.curves} == {"linear", "quadratic"}:
            items.append("solid: linear, dashed: quadratic")
    items += [f"{swatch(PIN)}pinned: {html.escape(curve.label)}" for curve in scene.pinned]
    if scene.alpha_range[0] < 0 or scene.alpha_range[1] > 1:
        items.append("grey ground: extrapolation")
    return "".join(f'<span class="item">{item}</span>' for item in items) or "&nbsp;"


def state_line(explorer: PathExplorer) -> str:
    """Return what was measured: scope, distances, n, split, BatchNorm policy, and what the picture cannot show."""
    results = [r for r in explorer.results.values() if isinstance(r, PathResult)]
    if not results:
        return "nothing measured yet"
    first = results[0]
    about = first.provenance
    policies = dict.fromkeys(str(r.provenance.get("batchnorm", "not recorded")) for r in results if r.kind != "training")
    policies = policies or {str(about.get("batchnorm", "not recorded")): None}
    parts = [
        f"<b>{html.escape(first.scope if explorer.view == 'path' else explorer.view)}</b>",
        f"{html.escape(str(about.get('split', 'data')))}, n = {_span([r.n for r in results])} of {about.get('samples', first.n)}",
        f"BatchNorm: {html.escape('; '.join(policies))}",
        f"{about.get('dtype', '')} on {about.get('device', '')}",
    ]
    line = " &middot; ".join(parts)
    notes = []
    if explorer.view == "path":
        if first.kind != "training" and first.distance == 0.0:
            notes.append(f"<b>{html.escape(first.scope)} did not move</b> between these checkpoints: there is no path.")
        elif first.kind != "training":
            share = f", {first.relative_distance:.0%} of its start" if np.isfinite(first.relative_distance) else ""
            notes.append(f"distance travelled {first.distance:.4g}{share}")
        quadratic = explorer.results.get("quadratic")
        if isinstance(quadratic, PathResult) and np.isfinite(quadratic.rho):
            notes.append(
                f"at the mid checkpoint &rho; = {quadratic.rho:.2f} of the straight way was covered, "
                f"&eta; = {quadratic.eta:.2f} beside it"
            )
        if first.scope != "model" and first.kind != "training":
            other = "start" if explorer.background == "initial" else "end"
            notes.append(f"all other weights stay at the {other} checkpoint, so no real training curve belongs here")
        if "training" in explorer.results:
            notes.append("&alpha; is drawn over epochs; the path itself knows no time")
            if explorer.results["training"].provenance.get("batchnorm") not in policies:
                notes.append("the dots use the BatchNorm statistics recorded in each checkpoint, so they need not meet the ends")
    bad = sum(int((~np.isfinite(r.loss)).sum()) for r in results if r.fraction == 1.0)
    if bad:
        notes.append(f"<b>{bad} points are not finite</b> and not drawn")
    if explorer.log_loss and any((r.loss <= 0).any() for r in results):
        notes.append("losses of 0 or less have no logarithm and are not drawn")
    return line + ("<br>" + "; ".join(notes) + "." if notes else "")


def readout(explorer: PathExplorer) -> str:
    """Return the values under the cursor, interpolated between measured points."""
    alpha = explorer.alpha
    cells = [f"&alpha; = <b>{alpha:.3f}</b>"]
    if explorer.study is not None and explorer.view == "path" and explorer.level == "model":
        epochs = explorer.study.run.epochs
        cells.append(f"epoch <b>{epochs[explorer.start] + alpha * (epochs[explorer.end] - epochs[explorer.start]):.2f}</b>")
    if explorer.view == "path":
        for kind, result in explorer.results.items():
            if not isinstance(result, PathResult) or kind == "training":
                continue
            line = swatch(KIND_COLOURS.get(kind, PIN), KIND_DASHES.get(kind, "solid"))
            text = f"{line}{kind}: loss <b>{_number(result.at(alpha))}</b>"
            if explorer.metric in result.metrics:
                text += f" {html.escape(str(explorer.metric))} <b>{_number(result.at(alpha, explorer.metric))}</b>"
            if explorer.study is not None and Scope.parse(explorer.scope, explorer.study.layout).level == "element":
                value = explorer.study.weight_value(explorer.scope, kind, explorer.ends, explorer.mid_at, alpha)
                text += f" weight <b>{value:.5g}</b>"
            cells.append(text)
        training = explorer.results.get("training")
        if explorer.epoch is not None and isinstance(training, PathResult) and training.epochs is not None and training.n:
            at = int(np.abs(training.epochs - explorer.epoch).argmin())
            text = f"{swatch(INK, 'ring')} training at epoch {training.epochs[at]:g}: loss <b>{_number(training.loss[at])}</b>"
            if explorer.metric in training.metrics:
                text += f" {html.escape(str(explorer.metric))} <b>{_number(training.metrics[explorer.metric][at])}</b>"
            cells.append(text)
    return " ".join(f'<span class="item">{cell}</span>' for cell in cells)


def summary(explorer: PathExplorer) -> str:
    """Return what the picture shows in one plain sentence, for a screen reader."""
    results = [r for r in explorer.results.values() if isinstance(r, PathResult) and r.kind != "training" and r.n]
    if not results:
        return "Nothing measured yet."
    curves = "; ".join(
        f"{r.scope}, {r.kind}: loss {_number(r.at(0.0))} at alpha 0, {_number(r.at(1.0))} at alpha 1"
        for r in sorted(results, key=lambda r: -r.distance)[:4]
    )
    more = f"; and {len(results) - 4} more curves" if len(results) > 4 else ""
    return f"{curves}{more}. {caption(results[0].provenance, results[0].n)}."


def _number(value: float) -> str:
    return f"{value:.4f}" if np.isfinite(value) else "not measured"


def _span(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low} to {high}"
