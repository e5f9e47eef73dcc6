"""The surface explorer: the loss on a plane around the trained model, the way of training, the model where one clicks.

May import: core, experiments, results, views, ipywidgets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets

from ..core.plane import Plane
from ..jobs import Step
from ..results import Result, ResultSet, SurfaceResult, Trajectory
from ..views.slices import SlicesView
from ..views.static import Still, still_of
from ..views.surface_scene import SurfaceScene
from ..views.theme import style_sheet
from ..views.variance import VarianceView
from .assist import Assist
from .parts import beside, fill, later
from .surface_controls import SurfaceControls
from .surface_inspector import SurfaceInspector
from .surface_keys import KEYS, LABELS, press
from .surface_pictures import SurfacePictures
from .surface_scenes import along, scene_of, trajectories
from .surface_settings import SurfaceSettings
from .surface_study import SurfaceStudy
from .surface_words import axis_labels, curvatures, heading, state_line, summary

_OF_SOLID = ("exaggeration", "wireframe", "isolines", "opacity")
_BREATH = 0.25  # seconds in which the first picture reaches the page: building the rest keeps this thread busy
_PATIENCE = 2.0  # seconds after which the controls come, picture or not


class SurfaceExplorer(SurfaceSettings):
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

    def _build(self, settings: dict[str, Any]) -> None:
        """Build what a first look needs: everything else would stand before the picture in the page's queue."""
        self.pictures = SurfacePictures(self._clicked, self._picked, self._walked)
        super().__init__(**settings)
        self._furnished = False
        self._controls = SurfaceControls(self)
        self.heading = widgets.HTML().add_class("nnvis-legend")
        self.state_line = widgets.HTML().add_class("nnvis-state")
        self.heading.layout.flex, self.heading.layout.min_width = "1 1 0", "0"
        spread = widgets.Layout(justify_content="space-between", align_items="flex-start", width="100%", min_height="52px")
        top = widgets.Box([self.heading, self.status], layout=spread)
        self._below = widgets.VBox()
        columns = beside(self._controls.panel, [
            top, self.pictures, self._controls.cursor_row, self.pictures.words, self.state_line, self.status.error, self._below,
        ])  # fmt: skip
        self._assist = Assist(LABELS, KEYS, lambda key, shift: press(self, key, shift))
        self.children = [style_sheet(), self._assist, self._controls.toolbar, columns]
        self.pictures.flat.clear("measuring ..." if self.study is not None else "")
        later(_PATIENCE, self._furnish)

    def _furnish(self) -> None:
        """Build what a first look does not need: controls, the landscape, the panel of questions."""
        if self._furnished or self._closed:
            return
        self._furnished = True
        self.pictures.furnish()
        self.pictures.want_solid(self.solid)
        for name in _OF_SOLID:
            setattr(self.pictures.solid, name, getattr(self, name))
        self._controls.furnish()
        self._inspector = SurfaceInspector(self)
        self._inspector.layout.display = None if self.study is not None else "none"
        self.slices_view = SlicesView(self._choose_slice)
        self.variance, self._variance_place = VarianceView(), widgets.VBox()
        self._below.children = [self._variance_place, self.slices_view, self._inspector]
        self._draw()

    @property
    def controls(self) -> SurfaceControls:
        """The controls, built where they have not been."""
        self._furnish()
        return self._controls

    @property
    def inspector(self) -> SurfaceInspector:
        """The panel below the pictures, built where it has not been."""
        self._furnish()
        return self._inspector

    # ---- what there is

    @property
    def surface(self) -> SurfaceResult | None:
        """The surface of the picture; None before the first one."""
        found = self.results.get("surface")
        return found if isinstance(found, SurfaceResult) else None

    @property
    def plane(self) -> Plane:
        """The plane of the present settings, made where it has not been."""
        if self.study is None:
            raise ValueError("plane: a saved result holds no weights; make an explorer from an evaluator and a run")
        return self.study.plane(self.plane_choice)

    @property
    def trajectories(self) -> dict[str, Trajectory]:
        """The runs on the plane of the picture."""
        return trajectories(self)

    def _steps(self) -> list[Step]:
        if self.study is None:
            return []
        return self.study.steps(self.plane_choice, self.grid_choice, slices=self.slices, training=self.training)

    def scene(self) -> SurfaceScene | None:
        """Return everything that the pictures show, as data; None before the first surface."""
        return scene_of(self)

    def _sources(self, run: str) -> list[str]:
        return [*super()._sources(run), *(["planes=planes"] if self.study is not None and self.study.planes else [])]

    def sketch(self) -> Still | None:
        """Return the picture of the surface, of its loss and the metric that is shown, not yet drawn."""
        return still_of(self.results, self.quantity)

    # ---- what is drawn

    def _stale(self) -> None:
        self.pictures.add_class("nnvis-stale")

    def _draw(self) -> None:
        scene = self.scene()
        if scene is None:
            return
        self.pictures.remove_class("nnvis-stale")
        known = self.study.known(self.plane_choice) if self.study is not None else None
        plane = known[0] if known is not None else None
        self.pictures.show(scene, axis_labels(plane, scene.surface))
        self.heading.value, self.state_line.value = heading(self), state_line(self)
        self._assist.summary = summary(self, scene, self.trajectories)
        if self._furnished:
            self._draw_beside(scene, plane)
        else:
            later(_BREATH, self._furnish)

    def _draw_beside(self, scene: SurfaceScene, plane: Plane | None) -> None:
        spectrum = plane.spectrum if plane is not None else None
        fill(self._variance_place, [self.variance] if spectrum is not None else [])
        if plane is not None and spectrum is not None:
            self.variance.show(spectrum, plane.random_walk)
        found = {name: r for name, r in self.results.items() if name.startswith("slice ") and isinstance(r, SurfaceResult)}
        self.slices_view.layout.display = None if self.slices and found else "none"
        if self.slices and found:
            self.slices_view.show(found, scene.quantity, self.colours, {name: curvatures(r) for name, r in found.items()})

    def _restyle(self, name: str) -> None:
        self._furnish()
        if name in ("point", "other", "checkpoint"):
            self.inspector.ask()
        elif name in _OF_SOLID:
            setattr(self.pictures.solid, name, getattr(self, name))
        elif name == "solid":
            self.pictures.want_solid(self.solid)
        elif name == "epoch":
            self.pictures.walk(self.epoch, self.controls.epochs[-1] if self.controls.epochs else 0.0)
            return
        elif name == "alpha":
            self.pictures.go_along(along(self))
            return
        self._draw()

    def _walked(self, epoch: float) -> None:
        epochs = self.controls.epochs
        if epochs:
            self.epoch = None if epoch >= epochs[-1] else float(epoch)

    # ---- hands

    def _clicked(self, x: float, y: float, second: bool) -> None:
        """Mark a point; where one is marked and a second one is wanted, that one."""
        if self.study is None:
            return
        second = second or self.controls.second.value
        with self.hold_trait_notifications():
            self.checkpoint = None
            if second and self.point is not None:
                self.other = (float(x), float(y))
            else:
                self.point, self.other = (float(x), float(y)), None

    def _picked(self, track: str, index: int) -> None:
        if self.study is not None and track in self.study.runs:
            with self.hold_trait_notifications():
                self.point = self.other = None
                self.checkpoint = (track, int(index))

    def _choose_slice(self, name: str) -> None:
        with self.together():
            self.plane_kind, self.seed = "random", int(name.removeprefix("slice "))

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

    @property
    def unshown(self) -> list[widgets.Widget]:
        """Widgets of ours that are in no container now."""
        return [self.variance, self.controls.link] if self._furnished else []

    async def done(self) -> None:
        """Return when nothing is being computed and nothing is waiting to be, here and in the inspector."""
        await super().done()
        await self.inspector.done()

    def close(self) -> None:
        """Cancel the work, end its threads, and remove the widget with everything in it."""
        if not self._closed and getattr(self, "_furnished", False):
            self.inspector.close()
        super().close()
