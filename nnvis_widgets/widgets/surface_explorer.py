"""The surface explorer: the loss on a plane around the trained model, the way of training, the model where one clicks.

May import: core, experiments, results, views, ipywidgets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.plane import Plane
from ..jobs import Step
from ..results import Result, ResultSet, SurfaceResult
from .surface_drawing import SurfaceDrawing
from .surface_study import SurfaceStudy


class SurfaceExplorer(SurfaceDrawing):
    """The loss surface around the trained model, in 2-D and 3-D, live; a click asks the model there.

    Parameters
    ----------
    evaluator : Evaluator or dict of str to Evaluator
        One for each split, of one model.
    run : Run or dict of str to Run
        Several runs, such as those of other optimisers, are drawn on one plane.
    planes : dict of str to Plane, optional
        Planes of your own, to be chosen by their names.
    **settings
        Initial values of the traits below.

    Attributes
    ----------
    plane_kind : str
        "three-point", "pca", "random", "hessian", "runs" (the ends of two runs), or the name of one of `planes`.
    run : str
        Whose final weights are the centre.
    mid : int
        The checkpoint between start and end of a three-point plane.
    normalize : {"filter", "layer", None}
    seed : int
    ignore_1d : bool
        Of a random plane, as in `nnvis_widgets.random_plane`.
    resolution : int
        Points along each side. Cells of 9, 17, 33, 65 are not measured again in the next.
    span : float or None
        Half the width; None covers the runs with a margin, and is 1 for a normalised random plane.
    widen : float
        Times the span; by factors of two, what has been measured is kept.
    split : str
    samples : int or None
        The surface is measured on the first so many samples, stratified by class; None takes all.
    batchnorm : str or None
        Policy for running statistics; None is the evaluator's own.
    slices : bool
        Six random slices side by side.
    training : bool
        Measure the recorded checkpoints too, for their true heights.
    quantity : str
        "loss" or the name of a metric.
    scale : {"auto", "linear", "log10", "clipped"}
    levels : int
        Isolines.
    colours : {"cividis", "viridis"}
    trajectory, paths : bool
    epoch : float or None
        The trajectory is drawn up to here; None draws all of it.
    alpha : float or None
        A diamond on each path of a three-point plane, so far along it; None draws none.
    solid : bool
        Show the 3-D view.
    exaggeration, opacity : float
    wireframe, isolines : bool
        Of the 3-D view.
    point, other : (float, float) or None
        A and B: where the model is asked.
    checkpoint : (str, int) or None
        Name of the run and index of the checkpoint that is asked.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> nv.SurfaceExplorer(demo.evaluator, demo.run)
    SurfaceExplorer(run='run', plane_kind='three-point', split='test'; run: 5 checkpoints)
    """

    def __init__(self, evaluator: Any, run: Any, *, planes: Mapping[str, Plane] | None = None, **settings: Any):
        self.study: SurfaceStudy | None = SurfaceStudy(evaluator, run, planes)
        self._build({**self.study.defaults(settings), **settings})
        self._recompute_when_live()

    @classmethod
    def from_result(cls, result: Result) -> SurfaceExplorer:
        """Return an explorer that shows a saved surface; what needs the model and the data is switched off."""
        results = result.results if isinstance(result, ResultSet) else {"surface": result}
        if not isinstance(results.get("surface"), SurfaceResult):
            raise TypeError(f"result: a SurfaceResult, or what save_result wrote; received {type(result).__name__}")
        self = cls.__new__(cls)
        self.study = None
        self._build({})
        self.results = dict(results)
        self._draw()
        return self

    # ---- what there is

    @property
    def plane(self) -> Plane:
        """The plane of the present settings, made where it has not been."""
        if self.study is None:
            raise ValueError("plane: a saved result holds no weights; make an explorer from an evaluator and a run")
        return self.study.plane(self.plane_choice)

    def _steps(self) -> list[Step]:
        if self.study is None:
            return []
        return self.study.steps(self.plane_choice, self.grid_choice, slices=self.slices, training=self.training)

    def _sources(self, run: str) -> list[str]:
        return [*super()._sources(run), *(["planes=planes"] if self.study is not None and self.study.planes else [])]

    # ---- buttons, as methods

    def another_slice(self) -> None:
        """Show a random plane with the next seed."""
        with self.together():
            if self.plane_kind == "random":
                self.seed += 1
            self.plane_kind = "random"

    def clear_points(self) -> None:
        """Forget the marked points and the chosen checkpoint."""
        with self.hold_trait_notifications():
            self.point = self.other = self.checkpoint = None

    def camera(self, preset: str) -> None:
        """Look at the 3-D view from "corner", "top", "front" or "side"."""
        self._furnish()
        self.pictures.solid.camera(preset)

    def open_result(self, result: Result) -> None:
        """Show a saved surface in place of the present one, until a setting changes."""
        results = result.results if isinstance(result, ResultSet) else {"surface": result}
        if not isinstance(results.get("surface"), SurfaceResult):
            raise TypeError(f"result: surfaces can be shown here, received {type(result).__name__}")
        self.cancel()
        self.results = dict(results)
        self._draw()

    async def done(self) -> None:
        """Return when nothing is being computed and nothing is waiting to be, here and in the inspector."""
        await super().done()
        await self.inspector.done()

    def close(self) -> None:
        """Cancel the work, end its threads, and remove the widget with everything in it."""
        if not self._closed and getattr(self, "_furnished", False):
            self.inspector.close()
        super().close()
