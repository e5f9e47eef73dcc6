"""What a surface explorer draws: its pictures and words, all from one scene and the settings; first what a first look needs.

May import: results, views, ipywidgets, the other rooms of the surface explorer.
"""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets

from ..core.plane import Plane
from ..results import SurfaceResult, Trajectory
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
from .surface_words import axis_labels, curvatures, heading, state_line, summary

_OF_SOLID = ("exaggeration", "wireframe", "isolines", "opacity")
_BREATH = 0.25  # seconds in which the first picture reaches the page: building the rest keeps this thread busy
_PATIENCE = 2.0  # seconds after which the controls come, picture or not


class SurfaceDrawing(SurfaceSettings):
    """Between the settings and `SurfaceExplorer`, which says what is measured."""

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

    # ---- what is shown

    @property
    def surface(self) -> SurfaceResult | None:
        """The surface of the picture; None before the first one."""
        found = self.results.get("surface")
        return found if isinstance(found, SurfaceResult) else None

    @property
    def trajectories(self) -> dict[str, Trajectory]:
        """The runs on the plane of the picture."""
        return trajectories(self)

    def scene(self) -> SurfaceScene | None:
        """Return everything that the pictures show, as data; None before the first surface."""
        return scene_of(self)

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

    @property
    def unshown(self) -> list[widgets.Widget]:
        """Widgets of ours that are in no container now."""
        return [self.variance, self.controls.link] if self._furnished else []
