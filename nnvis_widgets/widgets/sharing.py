"""What explorers have in common with each other: one selection, as each of them has it.

May import: core.scope, numpy, traitlets, widgets.base. The explorers themselves are known by the names of their classes and traits
alone, so that none of them is imported, and none of them knows of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.scope import Scope
from ..core.states import Layout
from .base import Explorer

SKIP: Any = object()  # an explorer that cannot show a part of the selection keeps what it shows
# the mid checkpoint before the point: it is one of the plane that lies through it
SELECTION = ("scope", "kind", "alpha", "start", "mid", "end", "epoch", "split", "point")
CHECKPOINTS = ("start", "mid", "end")  # indices: another run has others


def _same(_explorer: Any, value: Any, _selection: Any) -> Any:
    return value


@dataclass(frozen=True)
class Shared:
    """One part of the selection, and the trait of an explorer that holds it.

    Attributes
    ----------
    name : str
        Of the part of the selection.
    trait : str
    into : callable
        ``into(explorer, value, selection)``: the value of the trait, or `SKIP`.
    out : callable
        ``out(explorer, value, selection)``: the value for the selection, or `SKIP`.
    entailed : bool
        Whether it is told when it changes because another part is followed.
    """

    name: str
    trait: str
    into: Callable[[Any, Any, Any], Any] = _same
    out: Callable[[Any, Any, Any], Any] = _same
    entailed: bool = True


def _layer_row(explorer: Any, scope: Any, selection: Any) -> Any:
    """The row of a layer map that holds a scope; where several do (its tensors), the one that is named."""
    rows = explorer.layers
    if scope is None or not rows:
        return None
    if isinstance(scope, str) and scope in rows:
        return scope
    wanted = set(Scope.parse(scope, selection.layout).tensors)
    holding = [row for row in rows if wanted <= set(Scope.parse(_row_scope(explorer, row, selection), selection.layout).tensors)]
    return holding[0] if holding else SKIP


def _row_scope(explorer: Any, row: str | None, _selection: Any) -> Any:
    """The weights of a row of a layer map: a block, or the biases of a layer alone, are not called what their row is."""
    return SKIP if row is None else explorer.study.scope(row, explorer.unit, explorer.part)


def _epochs_of(explorer: Any) -> Any:
    study = explorer.study
    if hasattr(study, "epochs"):
        return study.epochs
    return (study.run if hasattr(study, "run") else study.runs[explorer.run]).epochs


def _between(explorer: Any, value: int, _selection: Any) -> Any:
    """A mid checkpoint, where it lies between the first and the last of an explorer's run."""
    return value if 0 < value < len(_epochs_of(explorer)) - 1 else SKIP


def _marked(explorer: Any, value: float | None, _selection: Any) -> float | None:
    """An epoch, where an explorer's run has got so far."""
    epochs = _epochs_of(explorer)
    return value if value is not None and len(epochs) and value <= epochs[-1] else None


def _up_to(explorer: Any, value: float | None, selection: Any) -> float | None:
    """An epoch that a way is drawn up to: none is all of it."""
    found = _marked(explorer, value, selection)
    return None if found is not None and found >= _epochs_of(explorer)[-1] else found


def counterparts(one: Any, other: Any) -> list[int]:
    """Return for each checkpoint of a run that of another run which had as large a share of its epochs behind it.

    The ends are each other's, and what lies between them lies between them there, where there is anything.

    Examples
    --------
    >>> counterparts([0, 1, 2, 3, 4, 5], [0, 10, 20, 30])
    [0, 1, 1, 2, 2, 3]
    """
    first, second = (np.asarray(epochs, dtype=float) for epochs in (one, other))
    shares, there = ((epochs - epochs[0]) / ((epochs[-1] - epochs[0]) or 1.0) for epochs in (first, second))
    nearest = np.abs(shares[:, None] - there[None]).argmin(axis=1)
    if len(there) > 2:
        nearest[1:-1] = np.clip(nearest[1:-1], 1, len(there) - 2)
    nearest[0], nearest[-1] = 0, len(there) - 1
    return nearest.tolist()


def _known_kind(_explorer: Any, value: str, _selection: Any) -> Any:
    return value if value in ("linear", "quadratic", "both") else SKIP


def _within(explorer: Any, value: float, _selection: Any) -> float:
    low, high = explorer.alpha_range
    return min(max(value, low), high)


def _inside(explorer: Any, value: float, _selection: Any) -> float | None:
    low, high = explorer.alpha_range
    return value if low <= value <= high else None


def _on_the_path(_explorer: Any, value: float | None, selection: Any) -> Any:
    """An alpha; beyond the ends only where the selection is a single weight, whose paths go on there."""
    if value is None:
        return SKIP
    single = selection.scope is not None and Scope.parse(selection.scope, selection.layout).level == "element"
    return value if single or 0.0 <= value <= 1.0 else SKIP


def _reset_to(explorer: Any, value: int, _selection: Any) -> Any:
    return value if 0 <= value < len(explorer.study.run) else SKIP


def _from_reset(_explorer: Any, value: int, selection: Any) -> Any:
    return value if value < selection.end else SKIP


def _scanned(_explorer: Any, scope: Any, selection: Any) -> Any:
    """The weights that a scan chooses from: a layer or a tensor; of a single weight its tensor, of the whole model SKIP."""
    if scope is None:
        return SKIP
    parsed = Scope.parse(scope, selection.layout)
    return next(iter(parsed.tensors)) if parsed.level == "element" else scope


def _weight(explorer: Any, scope: Any, selection: Any) -> Any:
    """The dot of a single weight, where the scan holds it."""
    if scope is None or Scope.parse(scope, selection.layout).level != "element":
        return SKIP
    scan = explorer.scan
    known = [] if scan is None else [(tensor, tuple(index)) for tensor, index in scan.index]
    return scope if scope in known else SKIP


def _unless_nothing(_explorer: Any, value: Any, _selection: Any) -> Any:
    return SKIP if value is None else value


def _scan_scope_out(_explorer: Any, value: Any, selection: Any) -> Any:
    """A scan of the tensor in which the chosen weight lies says nothing new."""
    scope = selection.scope
    if scope is not None and Scope.parse(scope, selection.layout).level == "element":
        inside = set(Scope.parse(scope, selection.layout).tensors) <= set(Scope.parse(value, selection.layout).tensors)
        return SKIP if inside else value
    return value


_BOTH = (Shared("mid", "mid", into=_between), Shared("split", "split"))
_EPOCH = Shared("epoch", "epoch", into=_marked)
# the scope first: it brings its own range of alpha
SHARED: Mapping[str, tuple[Shared, ...]] = {
    "PathExplorer": (
        Shared("scope", "scope"),
        Shared("kind", "kind", into=_known_kind),
        Shared("start", "start"),
        Shared("end", "end"),
        Shared("alpha", "alpha", into=_within),
        Shared("mid", "mid"),
        Shared("split", "split"),
        _EPOCH,
    ),
    "LayerMap": (
        Shared("split", "split"),
        Shared("start", "at", into=_reset_to, out=_from_reset),
        Shared("scope", "selected", into=_layer_row, out=_row_scope),
    ),
    "ParameterExplorer": (
        *_BOTH,
        Shared("scope", "scope", into=_scanned, out=_scan_scope_out),
        Shared("scope", "selected", into=_weight, out=_unless_nothing),
        Shared("alpha", "alpha", into=_inside, out=_on_the_path),
    ),
    "SurfaceExplorer": (*_BOTH, Shared("alpha", "alpha", out=_unless_nothing), Shared("epoch", "epoch", into=_up_to),
                        Shared("point", "point", entailed=False)),
    "TrainingMonitor": (_EPOCH,),
}  # fmt: skip


@dataclass
class Selection:
    """What is selected, with the model that it is a selection of."""

    layout: Layout
    values: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None


class Member:
    """One explorer that shares a selection.

    Parameters
    ----------
    explorer : Explorer
    on_choice : callable
        ``on_choice(member, {part of the selection: value})``: something was chosen in the explorer. What is set by `follow` is no
        choice, and is not told; what it entails (another range of alpha, say) is.
    epochs : (array_like, array_like), optional
        Of the run whose checkpoints the selection names, and of the explorer's own, where that is another: an index stands for
        the checkpoint at the same share of the epochs. Points of the one's plane mean nothing in that of the other.
    """

    def __init__(
        self, explorer: Explorer, on_choice: Callable[[Member, dict[str, Any]], None], epochs: tuple[Any, Any] | None = None
    ):
        self.explorer = explorer
        self._there = None if epochs is None else counterparts(*epochs)
        self._back = None if epochs is None else counterparts(*epochs[::-1])
        known = SHARED.get(type(explorer).__name__, ())
        self.shared = tuple(shared for shared in known if epochs is None or shared.name != "point")
        self._on_choice = on_choice
        self._given: dict[str, Any] | None = None
        self.selection: Selection | None = None
        names = list(dict.fromkeys(shared.trait for shared in self.shared))
        if names:
            explorer.observe(self._chosen, names)

    def follow(self, selection: Selection) -> list[Exception]:
        """Show a selection as far as the explorer can; return what it refused. Equal values are not assigned."""
        self.selection, refused = selection, []
        if not self.shared:
            return []
        self._given = {}
        try:
            with self.explorer.together():
                for shared in self.shared:
                    present = getattr(self.explorer, shared.trait)
                    value = shared.into(self.explorer, self._mine(shared.name, selection.values[shared.name], present), selection)
                    if value is SKIP:
                        continue
                    self._given[shared.trait] = value
                    if present != value:
                        try:
                            setattr(self.explorer, shared.trait, value)
                        except Exception as error:
                            refused.append(error)
        finally:
            self._given = None
        return refused

    def _mine(self, name: str, value: Any, present: Any) -> Any:
        """Return what a value is for the explorer's own run; of several checkpoints that are one there, the present one."""
        if self._there is None or self._back is None or name not in CHECKPOINTS:
            return value
        return present if self._back[present] == value else self._there[value]

    def _chosen(self, change: Any) -> None:
        if self.selection is None or (self._given is not None and self._given.get(change.name, SKIP) is not SKIP):
            return
        told: dict[str, Any] = {}
        for shared in self.shared:
            if shared.trait == change.name and (shared.entailed or self._given is None):
                back = self._back if shared.name in CHECKPOINTS else None
                value = shared.out(self.explorer, change.new if back is None else back[change.new], self.selection)
                if value is not SKIP:
                    told[shared.name] = value
        if told:
            self._on_choice(self, told)
