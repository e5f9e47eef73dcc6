"""The sentences of a layer map: legend, what the words mean, state line, and what is known of one layer.

May import: results, views. Nothing here changes anything.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np

from ..results import LayerHistory, LayerStudy, PairwiseReset, caption
from ..views.layer_pairs import told
from ..views.layer_rows import icon, interval
from ..views.theme import OTHER
from .layer_scenes import note, pair_scene, policy_in_force, ranks

if TYPE_CHECKING:
    from .layer_map import LayerMap

TERMS = (
    "<b>critical</b> = harmful to reset (the thesis calls these layers “robust”); <b>ambient</b> = harmless to reset, one layer at "
    "a time and on these data: it may still not be pruned. κ = (trained − reset) / (trained − chance): 0 no harm, 1 chance."
)


def legend(explorer: LayerMap) -> str:
    """Return what each icon means under the present thresholds, as HTML."""
    study, shown = explorer.layer_study, _shown(explorer)
    if explorer.view == "pairs":
        return ""  # the matrix has its own
    metric = shown.metric if shown is not None else "accuracy"
    margin = (
        f"drop surely below {100 * explorer.margin:g} point{'s' * (explorer.margin != 0.01)}"
        if metric != "loss"
        else f"κ surely below {explorer.margin:g}"
    )
    items = [
        f"{icon('critical')} critical: κ surely above {explorer.critical_above:g}",
        f"{icon('intermediate')} intermediate: neither",
        f"{icon('ambient')} ambient: {margin}",
    ]
    if explorer.view == "layers" and study is not None:
        labels = set(study.label)
        items += [f"{icon('not moved')} did not move"] * ("not moved" in labels)
        items += [f"{icon('undefined')} undefined"] * ("undefined" in labels and study.fraction == 1)
        others = [name for name in study.policies if name != policy_in_force(study)]
        items += [f"◯ BatchNorm: {html.escape(', '.join(others))}"] * bool(others and explorer.metric == "criticality")
        items += ["• one draw"] * (study.kind == "rerandomise")
        if explorer.joint and explorer.order == "distance":
            items.append(f'<span style="color:{OTHER}">□</span> reset together')
        elif len(explorer.joint) > 1 and explorer.metric == "criticality":
            items.append(
                f'<span style="color:{OTHER}">■</span> reset together, <span style="color:{OTHER}">□</span> sum of the single ones'
            )
    return "".join(f'<span class="item">{item}</span>' for item in items)


def state_line(explorer: LayerMap) -> str:
    """Return what was measured: reset, n, split, BatchNorm policy, intervals, draws, seeds; and what to beware of."""
    shown = _shown(explorer)
    if shown is None:
        return "nothing measured yet"
    about = shown.provenance
    policies = [*getattr(shown, "policies", {})] or [about.get("batchnorm", "not recorded")]
    what, over = _about(shown)
    parts = [
        f"<b>{html.escape(what)}</b>, all others trained",
        f"{html.escape(str(about.get('split', 'data')))}, n = {shown.n} of {about.get('samples', shown.n)}",
        f"BatchNorm: {html.escape(' and '.join(map(str, policies)))}",
        f"{about.get('dtype', '')} on {about.get('device', '')}",
        f"intervals: 95 %, simultaneous over {over}",
        "this run: 1 seed, another may give other labels",
    ]
    return " &middot; ".join(parts) + "".join(f"<br>{text}." for text in notes(explorer, shown))


def _shown(explorer: LayerMap) -> LayerStudy | LayerHistory | PairwiseReset | None:
    """Return the result of the picture."""
    return {"layers": explorer.layer_study, "history": explorer.layer_history, "pairs": explorer.layer_pairs}[explorer.view]


def _about(shown: LayerStudy | LayerHistory | PairwiseReset) -> tuple[str, str]:
    """Return what was done to the layers, and what its intervals hold for."""
    count = len(shown.layers)
    if isinstance(shown, PairwiseReset):
        return shown.what, f"{len(shown.pairs)} pairs, their interactions and {count} layers"
    rows = f"{count} {shown.unit}{'s' * (count != 1)}"
    if isinstance(shown, LayerStudy):
        return shown.what, rows
    return f"each {shown.unit} put back to each checkpoint", f"{rows} and all checkpoints"


def notes(explorer: LayerMap, shown: LayerStudy | LayerHistory | PairwiseReset) -> list[str]:
    """Return what to beware of."""
    trained, chance, metric = shown.reference.get(shown.metric, np.nan), shown.chance, html.escape(shown.metric)
    if not shown.learned:
        found = [
            f"<b>the model has not learnt</b>: its {metric} of {trained:.4g} is not better than chance ({chance:.4g}) beyond "
            "doubt, so κ is undefined; the loss still ranks the layers"
        ]
    elif not np.isfinite(chance):
        found = [f"the {metric} of chance is not known, so there is no κ; the loss still ranks the layers"]
    else:
        found = [f"{metric}: trained {trained:.4g}, chance {chance:.4g}"]
    if explorer.metric == "loss" and explorer.view == "layers":
        found[0] += "; a rise of the loss has no upper end: read the order, not the size"
    if isinstance(shown, PairwiseReset):
        whole = len(explorer.layers)
        return found + [f"of {whole} rows the {len(shown.layers)} that do most harm alone"] * (len(shown.layers) < whole)
    if shown.too_few and shown.fraction == 1.0:
        found.append(f"<b>too few samples</b>: {shown.too_few}")
    if not isinstance(shown, LayerStudy):
        return found
    if shown.kind == "reinit" and shown.at == 0 and shown.epoch > 0:
        found.append(f"no initial weights were recorded: the first checkpoint is of epoch {shown.epoch:g}")
    found += _stale_statistics(shown)
    silent = [text for number in range(len(shown.layers)) if (text := note(shown, number))]
    found += [f"grey: {html.escape(text)}" for text in silent[:4]]
    found += [f"and {len(silent) - 4} more"] * (len(silent) > 4)
    return found


def _stale_statistics(study: LayerStudy) -> list[str]:
    """Return which layers seem critical only because the BatchNorm statistics behind them belong to other weights."""
    final, labels = study.policies.get("final"), study.label
    if final is None or policy_in_force(study) == "final":
        return []
    only = [
        name for name, value, high, label in zip(study.layers, final, study.high, labels, strict=True)
        if value > max(study.critical_above, high) and label in ("ambient", "intermediate")
    ]  # fmt: skip
    if not only:
        return []
    names = html.escape(", ".join(only[:5])) + (f" and {len(only) - 5} more" if len(only) > 5 else "")
    return [f"◯ beyond {study.critical_above:g}, the statistics of the trained model no longer fit what is reset: {names}"]


def readout(explorer: LayerMap) -> str:
    """Return what is known of the chosen layer."""
    shown, name = _shown(explorer), explorer.selected
    if shown is None:
        return ""
    if isinstance(shown, PairwiseReset):
        return _items(_of_pair(explorer, shown))
    if name not in shown.layers:
        return "Click a row to open its paths, or choose one with the arrow keys; tick several to reset them together."
    number = list(shown.layers).index(name)
    cells = _at_checkpoint(explorer, shown, number) if isinstance(shown, LayerHistory) else _of_layer(shown, number)
    return _items([f"<b>{html.escape(name)}</b>", *cells])


def _items(cells: list[str]) -> str:
    return " ".join(f'<span class="item">{cell}</span>' for cell in cells)


def _of_pair(explorer: LayerMap, pairs: PairwiseReset) -> list[str]:
    """Return what is known of the two layers that are reset together."""
    known = [name for name in explorer.joint if name in pairs.layers]
    if len(known) != 2 or len(explorer.joint) != 2:
        return ["Click a cell to reset its two layers together; the arrow keys go from cell to cell."]
    scene = pair_scene(explorer)
    row, column = sorted((pairs.layers.index(name) for name in known), reverse=True)
    values = (float(part[row, column]) for part in (pairs.criticality, pairs.low, pairs.high))
    alone = " and ".join(f"{pairs.criticality[at, at]:.2f}" for at in (column, row))
    return [
        f"<b>{html.escape(' + '.join(known))}</b>",
        f"κ of both {interval(*values)}",
        f"alone {alone}",
        told(scene, row, column),
    ]


def _of_layer(study: LayerStudy, number: int) -> list[str]:
    label = study.label[number]
    cells = [f"{icon(label)} {label}", f"κ {_kappa(study, number)}"]
    drop = [100 * float(part[number]) for part in (study.accuracy_drop, study.accuracy_drop_low, study.accuracy_drop_high)]
    if np.isfinite(drop[0]):
        cells.append(f"accuracy {_signed(-drop[0], 1)} points [{_signed(-drop[2], 1)}, {_signed(-drop[1], 1)}]")
    rise = [float(part[number]) for part in (study.loss_rise, study.loss_rise_low, study.loss_rise_high)]
    if np.isfinite(rise[0]):
        cells.append(f"loss {_signed(rise[0], 3)} [{_signed(rise[1], 3)}, {_signed(rise[2], 3)}]")
    rank = ranks(study, number)
    cells += [f"rank {rank} of {len(study.layers)}"] * bool(rank)
    if study.kind == "rerandomise" and np.isfinite(study.draw_sd[number]):
        cells.append(f"s.d. of the draws {study.draw_sd[number]:.2f}")
    return [*cells, f"{int(study.parameter_count[number]):,} weights, moved by {study.distance[number]:.3g}"]


def _at_checkpoint(explorer: LayerMap, history: LayerHistory, number: int) -> list[str]:
    at = history.checkpoints.index(explorer.at) if explorer.at in history.checkpoints else len(history.epochs) - 1
    label = str(history.label[at, number])
    values = (float(part[at, number]) for part in (history.criticality, history.low, history.high))
    cells = [f"put back to epoch {history.epochs[at]:g}: {icon(label)} {label}", f"κ {interval(*values)}"]
    since = history.shown_since[number]
    if history.fraction == 1:
        cells.append(f"no harm from epoch {since:g} on" if np.isfinite(since) else "not shown to be harmless before the end")
    return cells


def summary(explorer: LayerMap) -> str:
    """Return what the picture shows in plain sentences, for a screen reader: the chosen layer first."""
    if explorer.view == "pairs":
        return _of_pairs(explorer)
    if explorer.view == "history":
        history = explorer.layer_history
        if history is None:
            return "Nothing measured yet."
        since = "; ".join(
            f"{name} from epoch {epoch:g}"
            for name, epoch in zip(history.layers, history.shown_since, strict=True)
            if epoch == epoch
        )
        return f"Layers that can be put back without harm: {since or 'none'}. {caption(history.provenance, history.n)}."
    study = explorer.layer_study
    if study is None:
        return "Nothing measured yet."
    lines, names = [], list(study.layers)
    if explorer.selected in names:
        number = names.index(explorer.selected)
        lines.append(f"{explorer.selected}: {study.label[number]}, criticality {_kappa(study, number)}.")
    worst = [at for at in np.argsort(-np.nan_to_num(study.criticality, nan=-np.inf)) if np.isfinite(study.criticality[at])]
    ranked = "; ".join(f"{names[at]} {study.criticality[at]:.2f} {study.label[at]}" for at in worst[:6])
    lines.append(f"Criticality, {study.what}, most harmful first: {ranked or 'undefined'}.")
    return " ".join([*lines, caption(study.provenance, study.n) + "."])


def _of_pairs(explorer: LayerMap) -> str:
    pairs, scene = explorer.layer_pairs, pair_scene(explorer)
    if pairs is None or scene is None:
        return "Nothing measured yet."
    known = [pair for pair in pairs.pairs if np.isfinite(pairs.interaction[pair])]
    known.sort(key=lambda pair: (pair not in [tuple(scene.chosen)], -abs(pairs.interaction[pair])))
    said = (f"{pairs.layers[a]} and {pairs.layers[b]}: {told(scene, a, b)}" for a, b in known[:4])
    return f"Interactions of pairs, strongest first: {'; '.join(said) or 'undefined'}. {caption(pairs.provenance, pairs.n)}."


def _kappa(study: LayerStudy, number: int) -> str:
    return interval(*(float(part[number]) for part in (study.criticality, study.low, study.high)))


def _signed(value: float, digits: int) -> str:
    """Return a number with its sign, and no negative zero."""
    return f"{round(value, digits) + 0.0:+.{digits}f}" if digits == 1 else f"{value + 0.0:+.{digits}g}"
