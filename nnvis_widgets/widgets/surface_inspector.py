"""Click = ask the model: what it answers at a point of the plane, at a second one, and at a checkpoint or its projection.

May import: core, results, views, ipywidgets. Part of the surface explorer, with work of its own: a click answers while the surface
is still being measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets as widgets
import numpy as np
import traitlets

from ..jobs import Step
from ..results import Inspection, PathResult
from ..views.confusion import ConfusionView
from ..views.curves import CurvesView, Scene
from ..views.sample_cards import Card, as_picture, cards
from .base import Explorer
from .parts import button, fill, toggle
from .surface_words import point_words

if TYPE_CHECKING:
    from .surface_explorer import SurfaceExplorer

CARDS = 12
_ASK = "Click the picture: the model is asked there. Ctrl-click, or 'Second point', to compare; click a dot for a checkpoint."


class SurfaceInspector(Explorer):
    """The panel below a surface.

    Attributes
    ----------
    shown : {"A", "B", "checkpoint", "projection"}
        Whose confusion matrix and samples are seen.
    cell : (int, int) or None
        Target and prediction of the samples that are seen; None for those that changed most.
    """

    shown = traitlets.Enum(["A", "B", "checkpoint", "projection"], "A")
    cell = traitlets.Tuple(traitlets.Int(), traitlets.Int(), default_value=None, allow_none=True)

    RECOMPUTE: ClassVar = ()
    RESTYLE: ClassVar = ("shown", "cell")

    def __init__(self, explorer: SurfaceExplorer):
        self._explorer = explorer
        super().__init__()
        self._words = widgets.HTML(_ASK).add_class("nnvis-read")
        self._which = toggle([("A", "A")], "nnvis-shown")
        self._choosing = False
        self._which.observe(self._chosen, "value")
        self._confusion = ConfusionView(self._pick)
        self._all = button("Changed first", "random", self._uncell, "nnvis-uncell")
        self._all.layout.width = "130px"
        self._cards = widgets.HTML().add_class("nnvis-cards")
        self._profile = CurvesView()
        self._profile_words = widgets.HTML().add_class("nnvis-small")
        self._clear = button("Clear", "eraser", self._explorer.clear_points, "nnvis-clear")
        flexible = widgets.Layout(flex="1 1 320px", min_width="280px")
        self._matrix = widgets.VBox([self._confusion], layout=widgets.Layout(flex="0 0 330px"))
        self._samples = widgets.VBox([self._all, self._cards], layout=flexible)
        self._detail = widgets.Box(layout=widgets.Layout(flex_flow="row wrap", width="100%"))
        self._line = widgets.VBox()
        head = widgets.Box(
            [self._which, self._clear, self.status], layout=widgets.Layout(flex_flow="row wrap", justify_content="space-between")
        )
        self.children = [head, self._words, self._line, self._detail, self.status.error]
        self.add_class("nnvis-inspector")
        traitlets.dlink(
            (self.status.cancel, "disabled"), (self.status.layout, "visibility"), lambda idle: "hidden" if idle else None
        )
        self._draw()

    # ---- work

    def _steps(self) -> list[Step]:
        explorer = self._explorer
        points = {name: point for name, point in (("A", explorer.point), ("B", explorer.other)) if point is not None}
        if explorer.study is None or not (points or explorer.checkpoint):
            return []
        return explorer.study.questions(explorer.plane_choice, explorer.grid_choice, points, explorer.checkpoint)

    def ask(self) -> None:
        """Ask the model at what is marked now."""
        self.cell = None
        wanted = "checkpoint" if self._explorer.checkpoint else "B" if self._explorer.other else "A"
        if self.shown != wanted and not (wanted == "checkpoint" and self.shown == "projection"):
            self.shown = wanted
        steps = self._steps()
        if not steps:
            self.cancel()
            self.results = {}
        self._recompute()

    @property
    def unshown(self) -> list[widgets.Widget]:
        """Widgets of ours that are in no container now."""
        return [self._matrix, self._samples, self._profile, self._profile_words]

    # ---- what is drawn

    def _draw(self) -> None:
        if not hasattr(self, "_line"):
            return
        found = {name: r for name, r in self.results.items() if isinstance(r, Inspection) and name != "trained"}
        trained = self.results.get("trained")
        self._choices(list(found))
        self._words.value = "<br>".join(point_words(self._title(name), r, trained) for name, r in found.items()) or _ASK
        self._clear.layout.display = None if found else "none"
        self._draw_profile(found)
        self._draw_samples(found.get(self.shown), trained)

    def _title(self, name: str) -> str:
        if name in ("checkpoint", "projection") and self._explorer.checkpoint and self._explorer.study:
            run, index = self._explorer.checkpoint
            runs = self._explorer.study.runs
            which = f" of {run}" if len(runs) > 1 else ""
            words = {"checkpoint": "the model at epoch {}{} itself", "projection": "the projection of epoch {}{} onto the plane"}
            return words[name].format(f"{runs[run].epochs[index]:g}", which)
        return name

    def _choices(self, names: list[str]) -> None:
        labels = {"A": "A", "B": "B", "checkpoint": "Checkpoint itself", "projection": "Its projection"}
        options = [(labels[name], name) for name in names]
        self._choosing = True
        if list(self._which.options) != options:
            self._which.options = options or [("A", "A")]
        if self.shown in names:
            self._which.value = self.shown
        self._choosing = False
        self._which.layout.display = None if len(names) > 1 else "none"

    def _chosen(self, change: Any) -> None:
        if not self._choosing and change.new is not None:
            self.shown = change.new

    def _draw_profile(self, found: dict[str, Inspection]) -> None:
        profile = self.results.get("profile")
        fill(self._line, [self._profile_words, self._profile] if isinstance(profile, PathResult) else [])
        if not isinstance(profile, PathResult):
            return
        quantity = self._explorer.quantity
        metric = next((name for name in profile.metrics if quantity in ("loss", name)), next(iter(profile.metrics), None))
        self._profile.show(Scene(paths={"linear": profile}, metric=metric))
        difference = ""
        if {"A", "B"} <= found.keys():
            rise = found["B"].loss - found["A"].loss
            error = float(profile.diff_se[0])
            difference = (
                f"; loss at B minus loss at A: {rise:+.4g} &plusmn; {1.96 * error:.2g} (95 %, paired over the same samples)"
            )
        self._profile_words.value = f"On the straight line from A (alpha 0) to B (alpha 1), n = {profile.n}{difference}"

    def _draw_samples(self, here: Inspection | None, trained: Any) -> None:
        classified = here is not None and here.predicted is not None
        if here is None or not isinstance(trained, Inspection):
            fill(self._detail, [])
            return
        fill(self._detail, [self._matrix, self._samples] if classified else [self._samples])
        if classified:
            self._confusion.show(
                here.confusion(), None, f"{self._title(self.shown)}: rows are targets, columns predictions", self.cell
            )
        places = self._places(here, trained)
        words = "predicted differently than by the trained model first, then by change of loss"
        if self.cell is not None:
            words = f"target {self.cell[0]}, predicted {self.cell[1]}"
        self._all.layout.display = None if self.cell is not None else "none"
        self._cards.value = cards(self._made(here, trained, places), f"{len(places)} samples: {words}")

    def _places(self, here: Inspection, trained: Inspection) -> np.ndarray:
        if self.cell is None or here.predicted is None or here.target is None:
            return here.interesting(trained, CARDS)
        order = here.interesting(trained, here.n)
        return order[(here.target[order] == self.cell[0]) & (here.predicted[order] == self.cell[1])][:CARDS]

    def _made(self, here: Inspection, trained: Inspection, places: np.ndarray) -> list[Card]:
        study, split = self._explorer.study, self._explorer.split
        inputs = study.pictures(split, places) if study is not None and len(places) else []
        made = []
        for number, place in enumerate(places):
            one = inputs[number] if hasattr(inputs, "__getitem__") and hasattr(inputs, "shape") else None
            made.append(
                Card(
                    picture=None if one is None else as_picture(np.asarray(one.detach().cpu() if hasattr(one, "detach") else one)),
                    target=None if here.target is None else int(here.target[place]),
                    predicted=None if here.predicted is None else int(here.predicted[place]),
                    probability=_probability(here, place),
                    reference=None if trained.predicted is None else int(trained.predicted[place]),
                    reference_probability=_probability(trained, place),
                    loss=None if here.losses is None else float(here.losses[place]),
                )
            )
        return made

    def _pick(self, target: int, predicted: int) -> None:
        self.cell = None if self.cell == (target, predicted) else (target, predicted)

    def _uncell(self) -> None:
        self.cell = None

    def _restyle(self, name: str) -> None:
        if name == "shown" and self.cell is not None:
            self.cell = None
        else:
            self._draw()


def _probability(found: Inspection, place: int) -> float | None:
    if found.probabilities is None or found.predicted is None:
        return None
    return float(found.probabilities[place, found.predicted[place]])
