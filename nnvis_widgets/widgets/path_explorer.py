"""The path explorer: pick a layer or a weight, choose linear or quadratic, and watch loss and accuracy along the path.

May import: core, experiments, results, views, ipywidgets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np

from ..core.scope import Scope, movable_layers
from ..jobs import Step
from ..results import FaithfulnessReport, PathResult, Result, ResultSet
from ..views.curves import Curve, CurvesView, Scene
from ..views.static import Still, still_of
from ..views.theme import KIND_COLOURS, PIN, SERIES, style_sheet
from .assist import Assist
from .parts import beside
from .path_controls import PathControls
from .path_faith import CLOCKS, FaithCard
from .path_keys import KEYS, LABELS, press
from .path_settings import RANGES, PathSettings
from .path_study import PathStudy, grid
from .path_words import legend, readout, state_line, summary


class PathExplorer(PathSettings):
    """Loss and metrics along linear and quadratic paths, live, at the level of the model, a layer or one weight.

    Parameters
    ----------
    evaluator : Evaluator or dict of str to Evaluator
        One for each split, of one model.
    run : Run
    **settings
        Initial values of the traits below.

    Attributes
    ----------
    scope : None, str, or (str, index)
        Which weights follow the path, as in `nnvis_widgets.measure_path`.
    level : {"model", "layer", "parameter"}
        Follows `scope`; setting it returns to the last scope of that level.
    view : {"path", "layers", "weights"}
        The path of `scope`; of the model and all layers in one plot; of the `count` farthest-moved weights of one tensor.
    kind : {"linear", "quadratic", "both"}
    start, mid, end : int
        Indices of checkpoints.
    knot : {"half", "epoch"}
        Where on the quadratic path the mid checkpoint lies: at 0.5, or at its share of the epochs.
    alpha_range : (float, float)
    points : int
    background : {"final", "initial"}
        The weights outside the scope: of the end or of the start checkpoint.
    split : str
    count : int
    training : bool
        Measure the recorded checkpoints too (drawn at model level).
    faithful : bool
        Compare the paths of the whole model, over the whole run, with the checkpoints that they do not pass.
    alpha : float
        Where the cursor stands.
    epoch : float or None
        Of the recorded checkpoint that has a ring around it; a click on a dot of the training chooses it.
    metric : str or None
        What the second plot shows.
    log_loss, band, crossings : bool

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> nv.PathExplorer(demo.evaluator, demo.run)
    PathExplorer(view='path', scope=None, kind='both', split='test'; run: 5 checkpoints)
    """

    def __init__(self, evaluator: Any, run: Any, **settings: Any):
        self.study: PathStudy | None = PathStudy(evaluator, run)
        last = len(run) - 1
        self._remembered: dict[str, Any] = {}
        self._ranges = dict(RANGES)
        defaults = {
            "mid": run.mid_index if len(run) > 2 else 0,
            "end": last,
            "kind": "both" if len(run) > 2 else "linear",
            "split": "test" if "test" in self.study.evaluators else next(iter(self.study.evaluators)),
        }
        metrics = [name for name in self.study.evaluators[defaults["split"]].quantities if name != "loss"]
        defaults["metric"] = metrics[0] if metrics else None
        self._build({**defaults, **settings})
        self._recompute_when_live()

    @classmethod
    def from_result(cls, result: Result) -> PathExplorer:
        """Return an explorer that shows a saved result; what needs the model and the data is switched off."""
        results = result.results if isinstance(result, ResultSet) else {getattr(result, "kind", "path"): result}
        paths = [one for one in results.values() if isinstance(one, PathResult)]
        if not paths or not all(isinstance(one, (PathResult, FaithfulnessReport)) for one in results.values()):
            raise TypeError(f"result: a PathResult or a ResultSet of them, received {type(result).__name__}")
        self = cls.__new__(cls)
        self.study, self._remembered, self._ranges = None, {}, dict(RANGES)
        alphas = np.concatenate([path.alphas for path in paths])
        metrics = list(dict.fromkeys(name for path in paths for name in path.metrics))
        self._build({"alpha_range": (float(alphas.min()), float(alphas.max())), "metric": metrics[0] if metrics else None})
        self.results = dict(results)
        self._draw()
        return self

    def _build(self, settings: dict[str, Any]) -> None:
        self._pinned: list[Curve] = []
        self.curves = CurvesView(self._choose)
        super().__init__(**settings)
        self.controls = PathControls(self)
        self.legend = widgets.HTML().add_class("nnvis-legend")
        self.state_line = widgets.HTML().add_class("nnvis-state")
        self.readout = widgets.HTML().add_class("nnvis-read")
        spread = widgets.Layout(justify_content="space-between", align_items="flex-start", width="100%", min_height="52px")
        self.legend.layout.flex, self.legend.layout.min_width = "1 1 0", "0"
        top = widgets.Box([self.legend, self.status], layout=spread)
        self.card = FaithCard(self)
        picture = [top, self.curves, self.controls.cursor_row, self.readout, self.state_line, self.card, self.status.error]
        self._assist = Assist(LABELS, KEYS, lambda key, shift: press(self, key, shift))
        columns = beside(self.controls.panel if self.study is not None else None, picture)
        self.children = [style_sheet(), self._assist, self.controls.toolbar, columns]

    def _first_scope(self, level: str) -> Any:
        assert self.study is not None
        if level == "model":
            return None
        layer = self._remembered.get("layer", next(iter(movable_layers(self.study.layout))))
        if level == "layer":
            return layer
        tensor = next(iter(Scope.parse(layer, self.study.layout).tensors))
        return tensor, self.study.largest(tensor, self.ends, 1)[0]

    # ---- what is measured

    @property
    def ends(self) -> tuple[int, int | None, int]:
        """Indices of the start, the mid (None when it is not between the others) and the end checkpoint."""
        return self.start, (self.mid if self.start < self.mid < self.end else None), self.end

    @property
    def mid_at(self) -> float:
        """Where on the quadratic path the mid checkpoint lies."""
        start, mid, end = self.ends
        if self.knot == "half" or mid is None or self.study is None:
            return 0.5
        epochs = self.study.run.epochs
        return float((epochs[mid] - epochs[start]) / (epochs[end] - epochs[start]))

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of path that the picture shows."""
        return ("linear", "quadratic") if self.kind == "both" else (self.kind,)

    def _scopes(self) -> Sequence[Any]:
        assert self.study is not None
        if self.view == "layers":
            return [None, *movable_layers(self.study.layout)]
        if self.view == "weights":
            tensor = next(iter(Scope.parse(self.scope, self.study.layout).tensors))
            return [(tensor, index) for index in self.study.largest(tensor, self.ends, self.count)]
        return [self.scope]

    def _steps(self) -> list[Step]:
        if self.study is None:
            return []
        if not self.start < self.end:
            raise ValueError(f"start, end: the path runs forward in training, received checkpoints {self.start} and {self.end}")
        steps = self.study.steps(
            self.split, self._scopes(), self.kinds, self.ends, self.mid_at,
            grid(self.alpha_range, self.points, (0.0, self.mid_at, 1.0)), self.background,
            many=self.view != "path",
            training=self.training and self.view == "path" and self.level == "model" and self._whole_run,
        )  # fmt: skip
        if self.faithful and self.comparable:
            steps.append(self.study.faithfulness(self.split, self.mid, self.mid_at, CLOCKS))  # last: the curves come first
        return steps

    @property
    def _whole_run(self) -> bool:
        return self.study is not None and self.start == 0 and self.end == len(self.study.run) - 1

    @property
    def comparable(self) -> bool:
        """Whether the picture is of paths that can be compared with the run: the whole model's, over five checkpoints or more."""
        whole = self._whole_run and self.study is not None and len(self.study.run) >= 5
        return whole and self.view == "path" and self.level == "model" and self.ends[1] is not None

    # ---- what is drawn

    def scene(self) -> Scene:
        """Return everything that the plots show, as data."""
        many = self._many
        paths = (
            {}
            if many
            else {kind: r for kind, r in self._paths().items() if kind in (*self.kinds, "training") or self.study is None}
        )
        epochs = None
        if self.study is not None and self.view == "path" and self.level == "model":
            epochs = float(self.study.run.epochs[self.start]), float(self.study.run.epochs[self.end])
        return Scene(
            paths=paths, curves=self._overview() if many else (), pinned=tuple(self._pinned), alpha_range=self.alpha_range,
            alpha=self.alpha, epochs=epochs, epoch=self.epoch, metric=self.metric, log=self.log_loss, band=self.band and not many,
            crossings=self.crossings,
        )  # fmt: skip

    @property
    def _many(self) -> bool:
        """Whether the picture is an overview; of a saved one only the names of its results tell."""
        if self.study is not None:
            return self.view != "path"
        return any(name not in ("linear", "quadratic", "lagrange", "training") for name in self._paths())

    def _paths(self) -> dict[str, PathResult]:
        return {name: result for name, result in self.results.items() if isinstance(result, PathResult)}

    def _overview(self) -> list[Curve]:
        curves = []
        names = list(dict.fromkeys(result.scope for result in self._paths().values()))
        farthest = max((result.distance for result in self._paths().values()), default=0.0) or 1.0
        some_complete = any(result.fraction >= 1.0 for result in self._paths().values())
        for result in self._paths().values():
            if some_complete and result.fraction < 1.0:  # on fewer samples than its neighbours, so not to be compared with them
                continue
            if self.view == "weights":
                # of the tensor's own weights the farthest is opaque: opacity must not tell the width of a layer
                colour, opacity = KIND_COLOURS[result.kind], 0.12 + 0.88 * result.distance / farthest
            else:
                colour, opacity = SERIES[names.index(result.scope) % len(SERIES)], 1.0
            curves.append(Curve(result, f"{result.scope} {result.kind}", colour, opacity))
        return curves

    def sketch(self) -> Still | None:
        """Return the picture of the paths that are shown, with the present scale and metric, not yet drawn."""
        shown = self._paths() if self._many else dict(self.scene().paths)
        return still_of(shown, self.metric, log=self.log_loss, band=self.band)

    def _stale(self) -> None:
        self.curves.add_class("nnvis-stale")

    def _draw(self) -> None:
        self.curves.remove_class("nnvis-stale")
        scene = self.scene()
        self.curves.show(scene)
        self.legend.value = legend(self, scene)
        self.state_line.value = state_line(self)
        self.readout.value = readout(self)
        self.card.show()
        self._assist.summary = summary(self)

    def _restyle(self, name: str) -> None:
        if name == "alpha":
            self.curves.move_cursor(self.alpha)
            self.readout.value = readout(self)
        else:
            self._draw()

    def _choose(self, epoch: float) -> None:
        self.epoch = None if epoch == self.epoch else epoch

    # ---- buttons, as methods

    def pin(self) -> None:
        """Keep the curves of the picture, in grey, for comparison with what is chosen next."""
        for result in self._paths().values():
            if result.kind != "training":
                self.pin_result(result)

    def pin_result(self, result: PathResult, label: str | None = None) -> None:
        """Keep a result in the picture, e.g. one that was saved by another run."""
        label = label or f"{result.scope} {result.kind}, {result.provenance.get('split', '')}"
        self._pinned.append(Curve(result, label, PIN, 0.9))
        self._draw()

    def unpin(self) -> None:
        """Remove everything that was pinned."""
        self._pinned.clear()
        self._draw()

    def zoom(self, on: bool = True) -> None:
        """Let the mouse drag the plots and the wheel zoom them."""
        self.curves.zoom(on)

    def reset_zoom(self) -> None:
        """Return to the range that shows everything."""
        self.curves.reset(self.scene())

    def next_largest(self) -> None:
        """Move on to the weight of the same tensor that travelled next farthest."""
        if self.study is None:
            raise ValueError("next_largest: a saved result holds no weights; make an explorer from an evaluator and a run")
        if self.level != "parameter":
            self.level = "parameter"
        else:
            self.scope = self.scope[0], self.study.next_largest(*self.scope, self.ends)

    def open_result(self, result: Result | Mapping[str, Any]) -> None:
        """Pin what a file of `save_result` holds."""
        results = result.results.values() if isinstance(result, ResultSet) else [result]
        for one in results:
            if not isinstance(one, (PathResult, FaithfulnessReport)):
                raise TypeError(f"result: paths can be shown here, received {type(one).__name__}")
        for one in results:
            if isinstance(one, PathResult) and one.kind != "training":
                self.pin_result(one, f"{one.scope} {one.kind}, opened")
