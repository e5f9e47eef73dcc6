"""What explorers have in common with each other: one selection, as each of them has it.

May import: core.scope, traitlets, widgets.base. The explorers themselves are known by the names of their classes and traits alone,
so that none of them is imported, and none of them knows of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..core.scope import Scope
from ..core.states import Layout
from .base import Explorer

SKIP: Any = object()  # an explorer that cannot show a part of the selection keeps what it shows
SELECTION = ("scope", "kind", "alpha", "start", "mid", "end", "split")


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
    """

    name: str
    trait: str
    into: Callable[[Any, Any, Any], Any] = _same
    out: Callable[[Any, Any, Any], Any] = _same


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


def _between(explorer: Any, value: int, _selection: Any) -> Any:
    """A mid checkpoint, where it lies between the first and the last of an explorer's run."""
    study = explorer.study
    run = getattr(study, "run", None)
    run = study.runs[explorer.run] if run is None else run
    return value if 0 < value < len(run) - 1 else SKIP


def _known_kind(_explorer: Any, value: str, _selection: Any) -> Any:
    return value if value in ("linear", "quadratic", "both") else SKIP


def _within(explorer: Any, value: float, _selection: Any) -> float:
    low, high = explorer.alpha_range
    return min(max(value, low), high)


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


_CHECKPOINTS = (Shared("mid", "mid", into=_between), Shared("split", "split"))
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
    ),
    "LayerMap": (
        Shared("split", "split"),
        Shared("start", "at", into=_reset_to, out=_from_reset),
        Shared("scope", "selected", into=_layer_row, out=_row_scope),
    ),
    "ParameterExplorer": (
        *_CHECKPOINTS,
        Shared("scope", "scope", into=_scanned, out=_scan_scope_out),
        Shared("scope", "selected", into=_weight, out=_unless_nothing),
    ),
    "SurfaceExplorer": (*_CHECKPOINTS, Shared("alpha", "alpha", out=_unless_nothing)),
}


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
    """

    def __init__(self, explorer: Explorer, on_choice: Callable[[Member, dict[str, Any]], None]):
        self.explorer = explorer
        self.shared = SHARED.get(type(explorer).__name__, ())
        self._on_choice = on_choice
        self._given: dict[str, Any] | None = None
        self.selection: Selection | None = None
        names = list(dict.fromkeys(shared.trait for shared in self.shared))
        if names:
            explorer.observe(self._chosen, names)

    def follow(self, selection: Selection) -> list[Exception]:
        """Show a selection as far as the explorer can; return what it refused. Equal values are not assigned."""
        self.selection, refused = selection, []
        self._given = {}
        try:
            with self.explorer.together():
                for shared in self.shared:
                    value = shared.into(self.explorer, selection.values[shared.name], selection)
                    if value is SKIP:
                        continue
                    self._given[shared.trait] = value
                    if getattr(self.explorer, shared.trait) != value:
                        try:
                            setattr(self.explorer, shared.trait, value)
                        except Exception as error:
                            refused.append(error)
        finally:
            self._given = None
        return refused

    def _chosen(self, change: Any) -> None:
        if self.selection is None or (self._given is not None and self._given.get(change.name, SKIP) is not SKIP):
            return
        told: dict[str, Any] = {}
        for shared in self.shared:
            if shared.trait == change.name:
                value = shared.out(self.explorer, change.new, self.selection)
                if value is not SKIP:
                    told[shared.name] = value
        if told:
            self._on_choice(self, told)
