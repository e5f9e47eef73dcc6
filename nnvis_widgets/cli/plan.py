"""Which paths a command asks for: scopes, kinds and alphas, checked before the first is measured."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.family import LagrangePath, LinearPath, QuadraticPath
from ..core.scope import Scope, element_index, movable_layers
from ..core.states import Layout
from ..experiments.paths import ELEMENT_ALPHAS, MODEL_ALPHAS
from ..runs.run import Run
from .options import Refused


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes
    ----------
    scopes : list of Scope
        Each once, in the order of the work.
    kinds : list of str
        "linear", "quadratic" or both.
    everything : bool
        Add the largest-moved weight of each layer once the run is known.
    """

    scopes: list[Scope]
    kinds: list[str]
    everything: bool
    alpha: tuple[float, float] | None
    points: int
    mid: str

    @classmethod
    def of(cls, options: argparse.Namespace, layout: Layout, checkpoints: int) -> Plan:
        """Return the plan for a model of this layout and a run of so many checkpoints, or refuse it."""
        if options.alpha is not None and not options.alpha[0] < options.alpha[1]:
            raise Refused(f"argument --alpha: LOW below HIGH, such as 0 1; received {options.alpha[0]:g} {options.alpha[1]:g}")
        kinds = ["linear", "quadratic"] if options.path == "both" else [options.path]
        if checkpoints < 2:
            raise Refused(f"argument --run: a path needs two checkpoints, and this run holds {checkpoints}")
        if checkpoints < 3 and "quadratic" in kinds:
            raise Refused(
                f"argument --path: a quadratic path needs a checkpoint between the first and the last, and this run holds "
                f"{checkpoints} in all; --path linear works, received {options.path}"
            )
        check_mid(options.mid, checkpoints)
        scopes = _scopes(options, layout)
        return cls(scopes, kinds, options.everything, tuple(options.alpha) if options.alpha else None, options.points, options.mid)

    def alphas(self, scope: Scope) -> np.ndarray:
        """Return the alphas for a scope."""
        return np.linspace(*(self.alpha or (ELEMENT_ALPHAS if scope.level == "element" else MODEL_ALPHAS)), self.points)

    def mid_index(self, run: Run) -> int | None:
        """Return the index of the mid checkpoint; None where the run has none."""
        return mid_index(self.mid, run) if len(run) > 2 else None

    def paths(self, run: Run) -> dict[str, LagrangePath]:
        """Return the path of each kind through the run."""
        ends, mid = (run.initial, run.final), self.mid_index(run)
        return {
            kind: LinearPath(*ends) if kind == "linear" else QuadraticPath(ends[0], run[mid].state, ends[1]) for kind in self.kinds
        }


def layer_scopes(layout: Layout) -> list[Scope]:
    """Return each layer that can be moved; the tensors of one that owns other types too, or has no name."""
    return [Scope.parse(name, layout) for name in movable_layers(layout)]


def largest_moved(scope: Scope, run: Run, layout: Layout) -> Scope | None:
    """Return the single weight of a scope that lies farthest from where it began; None where none moved."""
    start, end = run.initial, run.final
    best, found = 0.0, None
    for name in scope.tensors:
        gap = (end[name] - start[name]).abs().reshape(-1)
        if gap.numel() and float(gap.max()) > best:
            best, found = float(gap.max()), (name, element_index(int(gap.argmax()), layout.shapes[name]))
    return Scope.parse(found, layout) if found else None


def check_mid(mid: str, checkpoints: int) -> None:
    """Refuse a mid checkpoint that a run of so many has not."""
    if mid in ("half", "distance"):
        return
    last = checkpoints - 2
    inside = f"an index from 1 to {last}" if last >= 1 else "no index, since the run holds only its ends"
    number = int(mid) if mid.isdecimal() else math.nan
    if not 1 <= number <= last:
        raise Refused(f"argument --mid: half, distance, or {inside}; received {mid!r}")


def mid_index(mid: str, run: Run) -> int:
    """Return the index of the mid checkpoint of a run that has one."""
    if mid == "half":
        return run.mid_index
    return run.index_by_distance() if mid == "distance" else int(mid)


@contextmanager
def refusing(argument: str) -> Iterator[None]:
    """Turn a refusal of the library into one that names the argument of the command line."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise Refused(f"argument {argument}: {error}") from error


def _scopes(options: argparse.Namespace, layout: Layout) -> list[Scope]:
    wanted: list[Scope] = []
    chosen = options.layer or options.parameter
    if options.whole_model or options.everything or not chosen:
        wanted.append(Scope.parse(None, layout))
    if options.everything:
        wanted += layer_scopes(layout)
    for name in options.layer:
        if name == "all":
            wanted += layer_scopes(layout)
            continue
        with refusing("--layer"):
            wanted.append(Scope.parse(name, layout))
    for tensor, text in options.parameter:
        with refusing("--parameter"):
            wanted.append(Scope.parse((tensor, _index(text)), layout))
    return unique(wanted)


def unique(scopes: list[Scope]) -> list[Scope]:
    """Return the scopes without repetitions."""
    return list({(scope.level, scope.name): scope for scope in scopes}.values())


def _index(text: str) -> tuple[int, ...]:
    parts: list[Any] = [] if text == "()" else text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise ValueError(f"INDEX is whole numbers joined by commas, such as 0,0,1,2; received {text!r}")
    return tuple(int(part) for part in parts)
