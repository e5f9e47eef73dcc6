"""The parameter explorer: many single weights, their patterns, and the diagram that explains them.

May import: core, experiments, results, views, ipywidgets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..jobs import Step
from ..results import ParameterScan, Result, ResultSet
from ..results.patterns import PatternRules
from .openings import Maker
from .parameter_drawing import ParameterDrawing
from .parameter_preview import COUNTING, INTERPOLATED, Lines
from .parameter_study import FILED, KEPT, ParameterStudy, retold, trim, without_resamples


class ParameterExplorer(ParameterDrawing):
    """Both paths of many single weights, sorted by pattern, and why each has its pattern.

    Parameters
    ----------
    evaluator : Evaluator or dict of str to Evaluator
        One for each split, of one model.
    run : Run
    explorers : dict of str to callable, optional
        Title, and what makes a widget of (evaluators, run, scope), for `explore`; default: the path explorer.
    on_open : callable, optional
        Called with the weight that is opened, in place of opening anything below.
    **settings
        Initial values of the traits below.

    Attributes
    ----------
    scope : None, str, or (str, index)
        Among which weights is chosen: of the model (None), a layer, a tensor.
    choose : {"distance", "effect", "random", "list"}
        Those that moved most, that matter most, any, or those in `weights`.
    weights : tuple of (str, index)
    count, seed : int
    mid : int
        The checkpoint between the first and the last. While it moves, curves are read from what is measured already, and then
        measured.
    alpha_range : (float, float)
        Patterns are defined on (-0.5, 1.5).
    points : int
    split : str
    samples : int or None
    selected : (str, index) or None
        The weight that is shown large; None is the first in the present order.
    what_if : float or None
        The rho to which its dot is dragged: its curve with another value at the mid checkpoint, from the measured loss.
    sort : {"distance", "effect", "confidence"}
    only : str
        A pattern, or "all".
    page : int
    shared_scale : bool
        One scale of the loss for all small pictures of a page.
    band : bool
    alpha : float or None
        Marked on the curves of the weight that is shown large, with the losses there; a click on them chooses it.
    over : {"alpha", "u"}
        The weight that is shown large: its curves over alpha, or the one function behind them over u, its share of the way.
    plateau_length, plateau, noise : float
        Conventions of the labels: how long a flat region is, within which share of the range, and how many times the rounding
        noise is a difference. They label anew, and measure nothing.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> nv.ParameterExplorer(demo.evaluator, demo.run)
    ParameterExplorer(scope=None, choose='distance', split='test'; run: 5 checkpoints)
    """

    def __init__(
        self,
        evaluator: Any,
        run: Any,
        *,
        explorers: Mapping[str, Maker] | None = None,
        on_open: Callable[[Any], None] | None = None,
        **settings: Any,
    ):
        self._on_open = on_open
        self.study: ParameterStudy | None = ParameterStudy(evaluator, run)
        splits = self.study.evaluators
        defaults = {"mid": run.mid_index if len(run) > 2 else 0, "split": "test" if "test" in splits else next(iter(splits))}
        self._build({**defaults, **settings}, explorers)
        self._recompute_when_live()

    @classmethod
    def from_result(cls, result: Result) -> ParameterExplorer:
        """Return an explorer that shows a saved scan; what needs the model and the data is switched off."""
        self = cls.__new__(cls)
        self.study, self._on_open = None, None
        self._build({}, None)
        self.open_result(result)
        return self

    def _mid(self) -> int | None:
        return self.mid if self.study is not None and len(self.study.run) > 2 else None

    def _steps(self) -> list[Step]:
        if self.study is None:
            return []
        if self.choose == "list" and not self.weights:
            raise ValueError("weights: name the weights of a list, such as [('fc1.weight', (0, 3))]")
        return [self.study.scan_step(self.choice, self._mid(), self.rules, again=self._lost())]

    # ---- work

    @property
    def _known(self) -> ParameterScan | None:
        """What has been measured under the present settings, first of all; not a file that is shown."""
        known = None if self._filed else self._cache.get((self.choice.key, self._mid()))
        return known if isinstance(known, ParameterScan) else None

    def _lost(self) -> bool:
        """Whether that cannot tell its confidences under the present conventions, and is to be measured again."""
        return self._known is not None and not retold(self._known, self.rules)

    def _follow_rules(self) -> None:
        if self._preview is not None and self._preview.provenance["preview"] == INTERPOLATED:
            self._stale()
        elif self._known is not None and self._known.resampled is None:
            self._recompute()

    def _stale(self) -> None:
        """Show another mid checkpoint at once, as far as the measured losses reach; all else is only marked as old."""
        before = self._measured
        if self._known is not None:  # under other conventions: labels need no more than the curves
            again = self._by_rules(self._known)
            self._preview = replace(again, provenance={**again.provenance, "preview": COUNTING})
            self._draw()
            return
        if before is None or self.study is None or before[0] != self.choice.key or self._mid() is None:
            self._preview = None
            for part in self._pictures:
                part.add_class("nnvis-stale")
            return
        whole = before[1].labelled(PatternRules.of(before[1].rules, **self.rules))
        self._lines = Lines(whole)
        self._preview = self._lines.moved_to(self.study.values(self.mid, whole))
        self._draw()

    def _partial(self, delivered: tuple[dict[str, Result], float]) -> bool:
        if self._preview is None:
            return super()._partial(delivered)
        # the preview is of all samples, unlike what is coming in, and stays until that is complete
        results, fraction = delivered
        if self._preview.provenance["preview"] != COUNTING:
            self.results = results
        job = self._worker.job
        if job is not None and job.state == "running":
            self.status.advance(fraction, job.seconds)
        return True

    def _succeed(self, steps: Any) -> None:
        self._preview = None
        for step in steps:
            self._filed = False
            for key in step.keys.values():
                self._cache[key] = self._cache.pop(key)  # looked at last
        trim(self._cache, KEPT)
        super()._succeed(steps)
        if self._lost() and any((self.choice.key, self._mid()) in step.keys.values() for step in steps):
            self._recompute()  # the conventions have been changed while it was measured

    def _cancelled(self) -> None:
        super()._cancelled()
        if self._preview is not None:
            self._preview = None
            self._draw()

    def _fail(self, error: BaseException) -> None:
        if self._preview is not None:
            self._preview = None
            self._draw()
        super()._fail(error)

    # ---- files

    def save_result(self, path: Any) -> None:
        """Write what the picture shows to one file; `nnvis_widgets.load` and `from_result` read it.

        Resampled curves of more than 8 MiB are left out: the file has its confidences, but none under other conventions.
        """
        whole = self.results
        try:
            self.results = {
                name: without_resamples(one, FILED) if isinstance(one, ParameterScan) else one for name, one in whole.items()
            }
            super().save_result(path)
        finally:
            self.results = whole

    def open_result(self, result: Result) -> None:
        """Show a saved scan in place of the present one, until a setting changes."""
        results = result.results if isinstance(result, ResultSet) else {"scan": result}
        if not isinstance(results.get("scan"), ParameterScan):
            raise TypeError(f"result: a ParameterScan, or what save_result wrote; received {type(result).__name__}")
        self.cancel()
        self._preview, self._filed = None, True
        self.results = {}
        for name in self.rules:  # its own conventions
            setattr(self, name, results["scan"].rules[name])
        self.results = dict(results)
        self._lines = Lines(results["scan"])
        self._draw()

    def close(self) -> None:
        """Cancel the work, close what was opened, and remove the widget with everything in it."""
        if not self._closed and hasattr(self, "openings"):
            self.openings.clear()
        super().close()
