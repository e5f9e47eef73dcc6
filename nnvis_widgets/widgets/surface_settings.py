"""What can be chosen in a surface explorer: traits, checked at the border.

May import: traitlets, core.batchnorm, views.surface_scene, widgets.base, widgets.surface_study.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import traitlets

from ..core.batchnorm import POLICIES
from ..views.surface_scene import COLOURMAPS, SCALES
from .base import Explorer
from .surface_choice import GridChoice, PlaneChoice
from .surface_study import SurfaceStudy

RESOLUTIONS = (9, 17, 33, 65)
WIDER = (0.25, 0.5, 1.0, 2.0, 4.0)


class SurfaceSettings(Explorer):
    """The traits of `SurfaceExplorer`, documented there."""

    run = traitlets.Unicode("run")
    plane_kind = traitlets.Unicode("three-point")
    mid = traitlets.Int(0)
    normalize = traitlets.Enum(["filter", "layer", None], "filter")
    seed = traitlets.Int(0)
    ignore_1d = traitlets.Bool(True)
    resolution = traitlets.Int(33)
    span = traitlets.Float(None, allow_none=True)
    widen = traitlets.Float(1.0)
    split = traitlets.Unicode("test")
    samples = traitlets.Int(None, allow_none=True)
    batchnorm = traitlets.Unicode(None, allow_none=True)
    slices = traitlets.Bool(False)
    training = traitlets.Bool(True)

    quantity = traitlets.Unicode("loss")
    scale = traitlets.Enum(list(SCALES), "auto")
    levels = traitlets.Int(12, min=0, max=60)
    colours = traitlets.Enum(list(COLOURMAPS), "cividis")
    trajectory = traitlets.Bool(True)
    paths = traitlets.Bool(True)
    epoch = traitlets.Float(None, allow_none=True)
    alpha = traitlets.Float(None, allow_none=True)
    solid = traitlets.Bool(True)
    exaggeration = traitlets.Float(1.0)
    wireframe = traitlets.Bool(False)
    isolines = traitlets.Bool(True)
    opacity = traitlets.Float(1.0)
    point = traitlets.Tuple(traitlets.Float(), traitlets.Float(), default_value=None, allow_none=True)
    other = traitlets.Tuple(traitlets.Float(), traitlets.Float(), default_value=None, allow_none=True)
    checkpoint = traitlets.Tuple(traitlets.Unicode(), traitlets.Int(), default_value=None, allow_none=True)

    RECOMPUTE: ClassVar = (
        "run", "plane_kind", "mid", "normalize", "seed", "ignore_1d", "resolution", "span", "widen", "split", "samples",
        "batchnorm", "slices", "training",
    )  # fmt: skip
    RESTYLE: ClassVar = (
        "quantity", "scale", "levels", "colours", "trajectory", "paths", "epoch", "alpha", "solid", "exaggeration", "wireframe",
        "isolines", "opacity", "point", "other", "checkpoint",
    )  # fmt: skip

    study: SurfaceStudy | None

    @property
    def plane_choice(self) -> PlaneChoice:
        """Which plane the settings ask for."""
        return PlaneChoice(self.plane_kind, self.run, self.mid, self.normalize, self.seed, self.ignore_1d, self.split)

    @property
    def grid_choice(self) -> GridChoice:
        """Where the settings ask for a surface, and on which samples."""
        return GridChoice(self.split, self.resolution, self.span, self.widen, self.samples, self.batchnorm)

    # ---- settings at the border

    @traitlets.validate("run")
    def _valid_run(self, proposal: Any) -> str:
        return self._one_of(proposal, self.study.runs if self.study else None)

    @traitlets.validate("split")
    def _valid_split(self, proposal: Any) -> str:
        return self._one_of(proposal, self.study.evaluators if self.study else None)

    @traitlets.validate("quantity")
    def _valid_quantity(self, proposal: Any) -> str:
        return self._one_of(proposal, next(iter(self.study.evaluators.values())).quantities if self.study else None)

    @traitlets.validate("plane_kind")
    def _valid_kind(self, proposal: Any) -> str:
        refusal = self.study.refusal(proposal.value, self.run) if self.study else ""
        if refusal:
            raise ValueError(f"plane_kind: {refusal}; received {proposal.value!r}")
        return proposal.value

    @traitlets.validate("mid")
    def _valid_mid(self, proposal: Any) -> int:
        if self.study is None:
            return proposal.value
        size = len(self.study.runs[self.run])
        if size > 2 and not 0 < proposal.value < size - 1:
            raise ValueError(f"mid: a checkpoint between the first and the last, 1 to {size - 2}; received {proposal.value}")
        return proposal.value

    @traitlets.validate("resolution")
    def _valid_resolution(self, proposal: Any) -> int:
        if not 3 <= proposal.value <= 257:
            raise ValueError(f"resolution: 3 to 257 points along each side, received {proposal.value}")
        return proposal.value

    @traitlets.validate("span", "widen", "exaggeration")
    def _valid_positive(self, proposal: Any) -> float | None:
        value = proposal.value
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ValueError(f"{proposal.trait.name}: a positive number, received {value}")
        return value

    @traitlets.validate("opacity")
    def _valid_opacity(self, proposal: Any) -> float:
        if not 0.05 <= proposal.value <= 1:
            raise ValueError(f"opacity: 0.05 to 1, received {proposal.value}")
        return proposal.value

    @traitlets.validate("samples")
    def _valid_samples(self, proposal: Any) -> int | None:
        if proposal.value is not None and proposal.value < 1:
            raise ValueError(f"samples: None for all, or at least 1, received {proposal.value}")
        return proposal.value

    @traitlets.validate("batchnorm")
    def _valid_batchnorm(self, proposal: Any) -> str | None:
        known = [name for name in POLICIES if name != "interpolate"]
        if proposal.value is not None and proposal.value not in known:
            raise ValueError(
                f"batchnorm: None (the evaluator's own) or one of {', '.join(map(repr, known))} (directions have no running "
                f"statistics to interpolate); received {proposal.value!r}"
            )
        return proposal.value

    @traitlets.validate("point", "other")
    def _valid_point(self, proposal: Any) -> tuple[float, float] | None:
        if proposal.value is not None and not all(map(math.isfinite, proposal.value)):
            raise ValueError(f"{proposal.trait.name}: two finite coordinates of the plane, received {proposal.value}")
        return proposal.value

    @traitlets.validate("checkpoint")
    def _valid_checkpoint(self, proposal: Any) -> tuple[str, int] | None:
        if proposal.value is not None and self.study is not None:
            name, index = proposal.value
            if name not in self.study.runs or not 0 <= index < len(self.study.runs[name]):
                raise ValueError(f"checkpoint: (name of a run, index of a checkpoint), received {proposal.value}")
        return proposal.value

    @traitlets.observe("run")
    def _another_run(self, _change: Any) -> None:
        """A checkpoint or a kind of plane of the run before may not exist in this one."""
        if self.study is None:
            return
        with self.together():
            size = len(self.study.runs[self.run])
            if self.study.refusal(self.plane_kind, self.run):
                self.plane_kind = "random"
            if size > 2 and not 0 < self.mid < size - 1:
                self.mid = self.study.runs[self.run].mid_index

    @traitlets.observe(*(name for name in ("run", "plane_kind", "mid", "normalize", "seed", "ignore_1d")))
    def _another_plane(self, _change: Any) -> None:
        """Points of one plane mean nothing on another."""
        self.point = self.other = self.checkpoint = None

    def _one_of(self, proposal: Any, known: Any) -> str:
        if known is not None and proposal.value not in known:
            raise ValueError(f"{proposal.trait.name}: one of {', '.join(map(repr, known))}, received {proposal.value!r}")
        return proposal.value
