"""What a layer map shows, as data: studies become rows.

May import: results, views, numpy. Nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..results import JointReset, LayerHistory, LayerStudy
from ..results.layers import AGAINST
from ..views.layer_chart import LayerScene
from ..views.layer_history import HistoryScene
from ..views.layer_pairs import PairScene
from ..views.layer_rows import Row, Together, interval
from ..views.layer_scatter import ScatterScene

if TYPE_CHECKING:
    from .layer_map import LayerMap


def layer_scene(explorer: LayerMap, only: Sequence[str] | None = None) -> LayerScene | None:
    """Return the dot plot, of some layers or of all; None before anything is measured."""
    study = explorer.layer_study
    if study is None:
        return None
    rows = ordered(explorer, study)
    return LayerScene(
        rows=[row for row in rows if only is None or row.name in only],
        axis="criticality κ: 0 no harm, 1 chance" if _harm(explorer) else "loss after the reset minus loss of the trained model",
        **_common(explorer, study),
    )


def scatter_scene(explorer: LayerMap) -> ScatterScene | None:
    """Return the points against a distance; None before anything is measured."""
    study = explorer.layer_study
    if study is None:
        return None
    return ScatterScene(
        rows=rows(study, explorer.metric, explorer.joint),
        against=np.asarray(getattr(study, explorer.against), dtype=float),
        axis="criticality κ" if _harm(explorer) else "rise of the loss",
        across=AGAINST[explorer.against],
        **_common(explorer, study),
    )


def pair_scene(explorer: LayerMap) -> PairScene | None:
    """Return the matrix of pairs; None before anything of it is measured."""
    pairs, study = explorer.layer_pairs, explorer.layer_study
    if pairs is None:
        return None
    alone = dict(zip(study.layers, study.label, strict=True)) if study is not None else {}
    return PairScene(
        layers=pairs.layers, labels=[alone.get(name, "undefined") for name in pairs.layers], criticality=pairs.criticality,
        low=pairs.low, high=pairs.high, interaction=pairs.interaction, interaction_low=pairs.interaction_low,
        interaction_high=pairs.interaction_high,
        chosen=[pairs.layers.index(name) for name in explorer.joint if name in pairs.layers],
    )  # fmt: skip


def _harm(explorer: LayerMap) -> bool:
    """Whether the axis is that of the criticality: a matrix of pairs is always about it."""
    return explorer.metric == "criticality" or explorer.view == "pairs"


def _common(explorer: LayerMap, study: LayerStudy) -> dict[str, Any]:
    """Return what rows and points have in common."""
    harm = _harm(explorer)
    return {
        "quantity": "κ" if harm else "loss rise", "zones": zones(study) if harm else None, "picked": explorer.selected,
        "together": _together(explorer) if harm else None,
    }  # fmt: skip


def history_scene(explorer: LayerMap) -> HistoryScene | None:
    """Return the map of layers by checkpoints; None before anything of it is measured."""
    history = explorer.layer_history
    if history is None:
        return None
    at = history.checkpoints.index(explorer.at) if explorer.at in history.checkpoints else len(history.epochs) - 1
    labels, since = history.label[at], history.shown_since
    made = [
        Row(name, str(labels[number]), float(history.criticality[at, number]), chosen=name in explorer.joint)
        for number, name in enumerate(history.layers)
    ]
    worst = np.nanmax(np.nan_to_num(history.criticality, nan=-np.inf), axis=0)
    order = np.argsort(-worst, kind="stable") if explorer.order == "rank" else np.arange(len(made))
    values, low, high = (np.asarray(part).T[order] for part in (history.criticality, history.low, history.high))
    return HistoryScene(
        rows=[made[number] for number in order], epochs=history.epochs, values=values, low=low, high=high,
        since=since[order] if history.fraction == 1 else np.full(len(made), np.nan),
        picked=explorer.selected, at=at, zones=zones(history), unshown=history.unshown,
    )  # fmt: skip


def ordered(explorer: LayerMap, study: LayerStudy) -> list[Row]:
    """Return the rows of a study from the top: in the order of the network or by harm."""
    metric = "criticality" if _harm(explorer) else explorer.metric
    made = rows(study, metric, explorer.joint, explorer.results.get("draws"), explorer.results.get("history"))
    if explorer.order == "rank":
        made.sort(key=lambda row: -row.value if np.isfinite(row.value) else np.inf)
    return made


def rows(study: LayerStudy, metric: str, joint: Sequence[str], redrawn: Any = None, history: Any = None) -> list[Row]:
    """Return one row a layer, in the order of the network."""
    harm = metric == "criticality"
    value, low, high = (
        (study.criticality, study.low, study.high) if harm else (study.loss_rise, study.loss_rise_low, study.loss_rise_high)
    )
    draws = study.draws_criticality if harm else study.draws_loss_rise
    labels = study.label
    others = [values for name, values in study.policies.items() if name != policy_in_force(study)] if harm else []
    made = []
    for number, name in enumerate(study.layers):
        made.append(
            Row(
                name=name, label=labels[number], value=float(value[number]), low=float(low[number]), high=float(high[number]),
                others=[float(values[number]) for values in others],
                draws=np.asarray(draws[number]) if study.kind == "rerandomise" else np.empty(0),
                count=int(study.parameter_count[number]), moved=float(study.relative_distance[number]),
                rank=ranks(study, number), strip=_of(redrawn, name, "draws_criticality"),
                spark=_of(history, name, "criticality"), chosen=name in joint, note=note(study, number),
            )
        )  # fmt: skip
    return made


def note(study: LayerStudy, number: int) -> str:
    """Return why a layer has nothing to show, or nothing."""
    name = study.layers[number]
    if name in study.problems:
        return f"{name}: {study.problems[name]}"
    if study.fraction < 1 or np.isfinite(study.loss_rise[number]):
        return ""
    return f"{name}: the model answered with no finite number"


def zones(study: LayerStudy | LayerHistory) -> tuple[float, float] | None:
    """Return below which criticality everything is ambient and above which it is critical; None where it is not defined."""
    if study.metric == "loss":
        return (study.margin, study.critical_above) if np.isfinite(study.chance) else None
    span = study.reference.get(study.metric, np.nan) - study.chance
    return (study.margin / span, study.critical_above) if span > 0 else None


def policy_in_force(study: LayerStudy) -> str:
    """Return under which BatchNorm policy the intervals were measured, of those that are shown."""
    same = [name for name, values in study.policies.items() if np.array_equal(values, study.criticality, equal_nan=True)]
    return same[0] if same else ""


def ranks(study: LayerStudy, number: int) -> str:
    """Return the interval of a layer's rank, or nothing where there is none."""
    ends = dict.fromkeys((int(study.rank_low[number]), int(study.rank_high[number])))
    return "–".join(map(str, ends)) if 0 not in ends else ""


def _of(result: Any, name: str, what: str) -> np.ndarray:
    """Return what another result knows of a layer."""
    if not isinstance(result, (LayerStudy, LayerHistory)) or name not in result.layers:
        return np.empty(0)
    values, place = np.asarray(getattr(result, what)), list(result.layers).index(name)
    return values[:, place] if isinstance(result, LayerHistory) else values[place]


def _together(explorer: LayerMap) -> Together | None:
    if len(explorer.joint) < 2:
        return None
    name, found = f"{len(explorer.joint)} together", explorer.results.get("joint")
    if not isinstance(found, JointReset) or set(found.layers) != set(explorer.joint):
        return Together(name, np.nan, np.nan, np.nan, np.nan, "measuring ...")
    words = (
        f"κ {interval(found.criticality, found.low, found.high)}; sum of single resets {found.sum_of_singles:.2f}; together minus "
        f"sum {interval(found.interaction, found.interaction_low, found.interaction_high)}"
    )
    return Together(name, found.criticality, found.low, found.high, found.sum_of_singles, words)
