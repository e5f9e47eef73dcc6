"""The controls of a surface explorer: each one is a hand on a trait, and follows the trait when a script moves it.

May import: views, ipywidgets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from .parts import Files, button, check, columns_of, dropdown, listed, settings_panel, title, toggle, wide
from .surface_settings import RESOLUTIONS, WIDER
from .surface_words import NAMES

if TYPE_CHECKING:
    from .surface_explorer import SurfaceExplorer

_KINDS = [("Three-point", "three-point"), ("PCA", "pca"), ("Random", "random"), ("Hessian", "hessian"), ("Two runs", "runs")]
_SCALES = [("scale: automatic", "auto"), ("linear", "linear"), ("log10", "log10"), ("clipped at the 98th percentile", "clipped")]
_POLICIES = [("BatchNorm: the evaluator's", None), ("final statistics", "final"), ("recalibrated", "recalibrate"),
             ("of each batch", "batch")]  # fmt: skip


class SurfaceControls:
    """Builds the panel beside the pictures.

    Attributes
    ----------
    toolbar : widgets.Box
        Plane and quantity: what is changed most, above everything else.
    panel : widgets.VBox
    cursor_row : widgets.Box
        The epoch slider with its play button, and what acts on the pictures.
    link : widgets.Widget
        Of the player and its slider, in the browser.
    second : widgets.ToggleButton
        While pressed, a click marks B instead of A.
    """

    def __init__(self, explorer: SurfaceExplorer):
        """Make the places; `furnish` fills them."""
        self._explorer = explorer
        flow = {"flex_flow": "row wrap", "width": "100%"}
        self.toolbar = widgets.Box(layout=widgets.Layout(min_height="36px", **flow)).add_class("nnvis-toolbar")
        self.cursor_row = widgets.Box(layout=widgets.Layout(min_height="36px", align_items="center", **flow))
        self.panel = settings_panel() if explorer.study is not None else None

    def furnish(self) -> None:
        """Build the controls."""
        explorer = self._explorer
        self.second = widgets.ToggleButton(description="Second point", icon="plus", layout=widgets.Layout(width="130px"))
        self.second.tooltip = "the next click marks B, to be compared with A (also: Ctrl and click)"
        self.second.add_class("nnvis-second")
        self.toolbar.children = self._choices()
        self.cursor_row.children = self._player()
        if self.panel is None:
            return
        self.panel.children = columns_of(
            [*self._plane(), *self._grid()], [*self._data(), *self._picture()], [*self._landscape(), self._files()]
        )
        explorer.observe(lambda _change: self._follow(), ["plane_kind", "run", "slices", "solid"])
        self._follow()

    def _choices(self) -> list[widgets.Widget]:
        explorer, study = self._explorer, self._explorer.study
        surface = explorer.surface
        row: list[widgets.Widget] = []
        if study is not None:
            kinds = [(label, kind) for label, kind in _KINDS if not study.refusal(kind, explorer.run)]
            self.kind = toggle([*kinds, *((name, name) for name in study.planes)], "nnvis-plane-kind")
            traitlets.link((explorer, "plane_kind"), (self.kind, "value"))
            row.append(self.kind)
            quantities = next(iter(study.evaluators.values())).quantities
        else:
            quantities = ("loss", *(surface.metrics if surface is not None else ()))
        if len(quantities) > 1:
            self.quantity = toggle([(name, name) for name in quantities], "nnvis-quantity")
            traitlets.link((explorer, "quantity"), (self.quantity, "value"))
            row.append(self.quantity)
        slices = widgets.ToggleButton(description="Six slices", icon="th", layout=widgets.Layout(width="110px"))
        slices.tooltip = "six random slices side by side"
        traitlets.link((explorer, "slices"), (slices, "value"))
        if study is not None:
            row.append(slices.add_class("nnvis-slices-button"))
        return row

    def _plane(self) -> list[widgets.Widget]:
        explorer, study = self._explorer, self._explorer.study
        assert study is not None
        self._about = widgets.HTML().add_class("nnvis-small")
        self.run = dropdown([(f"centre: end of {name}", name) for name in study.runs], "nnvis-run")
        traitlets.link((explorer, "run"), (self.run, "value"))
        self.run.layout.display = None if len(study.runs) > 1 else "none"
        self.mid = dropdown([("mid", 0)], "nnvis-mid")
        self.normalize = dropdown(
            [("filter-normalised", "filter"), ("layer-normalised", "layer"), ("not normalised", None)], "nnvis-normalize"
        )
        listed(explorer, "normalize", self.normalize, "{}")
        self.seed = widgets.BoundedIntText(min=0, max=2**31, description="seed", layout=wide(), style={"description_width": "40px"})
        self.seed.add_class("nnvis-seed")
        traitlets.link((explorer, "seed"), (self.seed, "value"))
        self.another = button("Another slice", "random", explorer.another_slice, "nnvis-another")
        self.another.layout.width = "130px"
        self.still = check(explorer, "ignore_1d", "biases and norms stay", "auto")
        self._seeds = widgets.HBox([self.seed, self.another], layout=wide())
        return [title("Plane"), self._about, self.run, self.mid, self.normalize, self._seeds, self.still]

    def _grid(self) -> list[widgets.Widget]:
        explorer = self._explorer
        self.resolution = dropdown([(f"{count} x {count} points", count) for count in RESOLUTIONS], "nnvis-resolution")
        self.widen = dropdown([(f"span x {width:g}", width) for width in WIDER], "nnvis-widen")
        for name, control in (("resolution", self.resolution), ("widen", self.widen)):
            listed(explorer, name, control, "{:g}")
        self.resolution.layout.flex, self.widen.layout.flex = "1 1 132px", "1 1 96px"
        self.span = widgets.Text(placeholder="half width: automatic", layout=wide(), continuous_update=False).add_class(
            "nnvis-span"
        )
        self.span.tooltip = "half the width along both axes; empty: what covers the runs"
        self.span.observe(self._type_span, "value")
        explorer.observe(lambda change: self._show(self.span, change.new), "span")
        self._show(self.span, explorer.span)
        return [title("Grid"), widgets.HBox([self.resolution, self.widen], layout=wide()), self.span]

    def _data(self) -> list[widgets.Widget]:
        explorer, study = self._explorer, self._explorer.study
        assert study is not None
        self.split = dropdown([(f"data: {name} (n = {one.n})", name) for name, one in study.evaluators.items()], "nnvis-split")
        traitlets.link((explorer, "split"), (self.split, "value"))
        most = max(one.n for one in study.evaluators.values())
        counts = [count for count in (250, 500, 1000, 2000, 5000, 10000, 20000) if count < most]
        self.samples = dropdown([("all samples", None), *((f"first {count} samples", count) for count in counts)], "nnvis-samples")
        listed(explorer, "samples", self.samples, "first {} samples")
        rows = [title("Data"), self.split, self.samples]
        if next(iter(study.evaluators.values())).layout.statistics:
            self.batchnorm = dropdown(_POLICIES, "nnvis-batchnorm")
            listed(explorer, "batchnorm", self.batchnorm, "{}")
            rows.append(self.batchnorm)
        return rows

    def _picture(self) -> list[widgets.Widget]:
        explorer = self._explorer
        self.scale = dropdown(_SCALES, "nnvis-scale")
        traitlets.link((explorer, "scale"), (self.scale, "value"))
        self.colours = dropdown([("cividis", "cividis"), ("viridis", "viridis")], "nnvis-colours")
        traitlets.link((explorer, "colours"), (self.colours, "value"))
        self.scale.layout.flex, self.colours.layout.flex = "1 1 146px", "1 1 82px"
        self.levels = widgets.IntSlider(min=0, max=30, description="isolines", layout=wide(), style={"description_width": "60px"})
        self.levels.add_class("nnvis-levels")
        traitlets.link((explorer, "levels"), (self.levels, "value"))
        boxes = [check(explorer, name, label) for name, label in (("trajectory", "trajectory"), ("paths", "both paths"))]
        flow = widgets.Layout(flex_flow="row wrap")
        return [
            title("Picture"),
            widgets.HBox([self.scale, self.colours], layout=wide()),
            self.levels,
            widgets.HBox(boxes, layout=flow),
        ]

    def _landscape(self) -> list[widgets.Widget]:
        explorer = self._explorer
        boxes = [check(explorer, name, label, "31%") for name, label in (("solid", "3-D"), ("isolines", "isolines"),
                                                                        ("wireframe", "wires"))]  # fmt: skip
        style, sliders = {"description_width": "60px"}, []
        for name, label, low in (("exaggeration", "height x", 0.1), ("opacity", "opacity", 0.1)):
            high = 3.0 if name == "exaggeration" else 1.0
            slider = widgets.FloatSlider(min=low, max=high, step=0.05, description=label, layout=wide(), style=style)
            traitlets.link((explorer, name), (slider.add_class(f"nnvis-{name}"), "value"))
            sliders.append(slider)
        cameras = [button(label, "video-camera", lambda preset=preset: explorer.camera(preset), f"nnvis-camera-{preset}")
                   for label, preset in (("Corner", "corner"), ("Top", "top"), ("Front", "front"), ("Side", "side"))]  # fmt: skip
        for one in cameras:
            one.layout.width, one.icon = "68px", ""
        self._three = widgets.VBox([*sliders, widgets.HBox(cameras)], layout=wide())
        return [title("3-D"), widgets.HBox(boxes, layout=widgets.Layout(flex_flow="row wrap")), self._three]

    def _files(self) -> widgets.Widget:
        return Files(self._explorer, "nnvis_surface", self._explorer.open_result)

    # ---- the training, played

    def _player(self) -> list[widgets.Widget]:
        explorer = self._explorer
        self.play = widgets.Play(min=0, max=1, step=1, interval=250, layout=widgets.Layout(width="auto")).add_class("nnvis-play")
        self.epoch = widgets.IntSlider(
            min=0, max=1, readout=False, description="training", layout=widgets.Layout(flex="1 1 260px"),
            style={"description_width": "60px"},
        ).add_class("nnvis-epoch")  # fmt: skip
        self.link = widgets.jslink((self.epoch, "value"), (self.play, "value"))  # it begins with the first
        self._epoch_words = widgets.Label()
        self._last: list[float] = []
        self.epoch.observe(self._move_epoch, "value")
        explorer.observe(lambda _change: self._show_epoch(), ["epoch", "run"])
        self._show_epoch()
        flow = {"flex_flow": "row wrap", "align_items": "center"}
        flat = widgets.Box([self.play, self.epoch, self._epoch_words], layout=widgets.Layout(flex="1 1 auto", **flow))
        solid = explorer.pictures.solid.player
        # one player at a time: that of the 3-D view moves it without the kernel
        traitlets.dlink((solid.layout, "display"), (flat.layout, "display"), lambda shown: None if shown == "none" else "none")
        return [solid, flat, self.second]

    def _move_epoch(self, change: Any) -> None:
        epochs = self.epochs
        if self._following or not epochs:
            return
        self._explorer.epoch = None if change.new >= len(epochs) - 1 else epochs[change.new]

    _following = False

    @property
    def epochs(self) -> list[float]:
        """Epochs of the run that the player walks through."""
        study = self._explorer.study
        if study is not None:
            return [float(epoch) for epoch in study.runs[self._explorer.run].epochs]
        surface = self._explorer.surface
        return [] if surface is None or surface.epochs is None else surface.epochs.tolist()

    def _show_epoch(self) -> None:
        epochs = self.epochs
        if not epochs:
            return
        at = self._explorer.epoch
        index = len(epochs) - 1 if at is None else max((i for i, epoch in enumerate(epochs) if epoch <= at), default=0)
        self._following = True
        if self.epoch.max != len(epochs) - 1:
            self.play.max = self.epoch.max = max(len(epochs) - 1, 1)
        if self.epoch.value != index:
            self.epoch.value = index
        self._following = False
        self._epoch_words.value = f"epoch {epochs[index]:g} of {epochs[-1]:g}"

    # ---- following the traits

    def _follow(self) -> None:
        explorer, study = self._explorer, self._explorer.study
        assert study is not None
        kind = explorer.plane_kind
        self._about.value = NAMES.get(kind, "A plane of your own.")
        epochs = study.runs[explorer.run].epochs
        options = [(f"mid: epoch {epoch:g}", index) for index, epoch in enumerate(epochs) if 0 < index < len(epochs) - 1]
        if options and list(self.mid.options) != options:
            if hasattr(self, "_mid_link"):
                self._mid_link.unlink()
            self.mid.options = options
            self._mid_link = traitlets.link((explorer, "mid"), (self.mid, "value"))
        random = kind == "random" or explorer.slices
        self.mid.layout.display = None if kind == "three-point" else "none"
        self.normalize.layout.display = self.still.layout.display = None if random else "none"
        self._seeds.layout.display = None if random or kind == "hessian" else "none"
        self.another.layout.display = None if random else "none"
        self._three.layout.display = None if explorer.solid else "none"

    def _type_span(self, change: Any) -> None:
        text = change.new.strip()
        try:
            self._explorer.span = float(text) if text else None
        except (ValueError, traitlets.TraitError) as error:
            self._explorer.status.say(
                ValueError(f"half width: a positive number, or nothing for automatic; received {text!r} ({error})")
            )

    @staticmethod
    def _show(box: widgets.Text, value: float | None) -> None:
        text = "" if value is None else f"{value:g}"
        if box.value != text:
            box.value = text
