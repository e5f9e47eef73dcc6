"""What a layer map measures: layers that are reset, turned into named steps of work.

May import: core, experiments, results, jobs, numpy; no widgets. It is what is left of the layer map when the screen is taken away.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..core.evaluator import Evaluator
from ..core.scope import Scope, ScopeError
from ..core.states import Layout
from ..core.units import units_of
from ..experiments.joint_reset import iter_joint_reset
from ..experiments.layer_history import iter_layer_history
from ..experiments.layers import iter_layers
from ..experiments.pairwise_resets import MOST, iter_pairwise_resets
from ..jobs import Step
from ..results import LayerStudy, Result

SAMPLES = 1000  # that layers are measured on unless more are asked for


@dataclass(frozen=True)
class LayerChoice:
    """What is reset, how, and on which samples it is measured."""

    kind: str
    at: int
    draws: int
    seed: int
    unit: str
    part: str
    split: str
    samples: int | None
    batchnorm: str | None

    @property
    def how(self) -> dict[str, Any]:
        """What is done to a layer: of the settings only those that this kind of reset has."""
        return {"at": self.at} if self.kind == "reinit" else {"draws": self.draws, "seed": self.seed}

    @property
    def key(self) -> Hashable:
        """What determines a measurement."""
        return (self.kind, *self.how.values(), *self.where)

    @property
    def where(self) -> tuple[Hashable, ...]:
        """What determines rows and samples."""
        return self.unit, self.part, self.split, self.samples, self.batchnorm


class LayerWork:
    """A run, evaluators of one model, and its layers.

    Attributes
    ----------
    evaluators : dict of str to Evaluator
        By split.
    run : Run
    layout : Layout
    initializer : callable or None
        For modules that cannot initialise themselves.
    """

    def __init__(self, evaluator: Evaluator | Mapping[str, Evaluator], run: Any, initializer: Callable[..., Any] | None = None):
        self.evaluators = dict(evaluator) if isinstance(evaluator, Mapping) else {getattr(evaluator, "name", ""): evaluator}
        for name, one in self.evaluators.items():
            if not isinstance(one, Evaluator):
                raise TypeError(f"evaluator: an Evaluator or {{split: Evaluator}}, received {type(one).__name__} for {name!r}")
        if not hasattr(run, "epochs") or len(run) < 1:
            raise TypeError(f"run: a Run with checkpoints in it, received {type(run).__name__}")
        self.run, self.initializer = run, initializer
        self.layout: Layout = next(iter(self.evaluators.values())).layout
        for name, one in self.evaluators.items():
            if one.layout.shapes != self.layout.shapes:
                raise ValueError(f"evaluator: the model of {name!r} has other parameters than {next(iter(self.evaluators))!r}'s")
        self._units: dict[tuple[str, str], dict[str, Scope]] = {}

    def defaults(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a layer map shows where its settings do not say."""
        split = "test" if "test" in self.evaluators else next(iter(self.evaluators))
        chosen = self.evaluators.get(settings.get("split", split))
        found = {"split": split, "samples": SAMPLES if chosen is not None and chosen.n > SAMPLES else None}
        if len(self.run) < 2:  # nothing to go back to
            found["kind"] = "rerandomise"
        return found

    @property
    def normalised(self) -> bool:
        """Whether the model has running statistics."""
        return next(iter(self.evaluators.values())).policy() != "none"

    def layers(self, unit: str, part: str) -> list[str]:
        """Return the names of the rows, in the order of the network."""
        return list(self._scopes(unit, part))

    def scope(self, name: str, unit: str, part: str) -> str | tuple[str, ...]:
        """Return what the weights of a row are called in the other explorers."""
        tensors = tuple(self._scopes(unit, part)[name].tensors)
        for called in (name, f"{name}.*"):
            with contextlib.suppress(ScopeError):
                if set(Scope.parse(called, self.layout).tensors) == set(tensors):
                    return called
        return tensors[0] if len(tensors) == 1 else tensors

    def _scopes(self, unit: str, part: str) -> dict[str, Scope]:
        if (unit, part) not in self._units:
            model = next(iter(self.evaluators.values())).model
            self._units[unit, part] = {scope.name: scope for scope in units_of(model, self.layout, unit, part)}
        return self._units[unit, part]

    # ---- work

    def check(self, choice: LayerChoice) -> None:
        """Refuse a measurement that makes no sense, in words."""
        if choice.kind == "reinit" and len(self.run) < 2:
            raise ValueError(
                "kind: this run has no initial checkpoint, and re-initialising needs one; kind='rerandomise' needs none"
            )
        self.layers(choice.unit, choice.part)

    def layers_step(self, name: str, choice: LayerChoice) -> Step:
        """Return the step that resets every layer by itself."""

        def make(_names: Any) -> Iterator[Mapping[str, Result]]:
            for study in iter_layers(**self._asked(choice)):
                yield {name: _named(choice.split, study)}

        return Step({name: ("layers", choice.key)}, make)

    def history_step(self, choice: LayerChoice) -> Step:
        """Return the step that resets every layer to every checkpoint."""

        def make(_names: Any) -> Iterator[Mapping[str, Result]]:
            for history in iter_layer_history(**self._where(choice)):
                yield {"history": _named(choice.split, history)}

        return Step({"history": ("history", choice.where)}, make)

    def joint_step(self, choice: LayerChoice, layers: tuple[str, ...]) -> Step:
        """Return the step that resets several layers at once."""

        def make(_names: Any) -> Iterator[Mapping[str, Result]]:
            for joint in iter_joint_reset(layers=list(layers), **self._asked(choice)):
                yield {"joint": _named(choice.split, joint)}

        return Step({"joint": ("joint", layers, choice.key)}, make)

    def pairs_step(self, choice: LayerChoice, known: Mapping[Hashable, Any]) -> Step:
        """Return the step that resets every two layers at once: of many, those that do most harm alone.

        It comes after the step of all layers alone, and finds their study in what is `known` by then.
        """

        def make(_names: Any) -> Iterator[Mapping[str, Result]]:
            study = known[("layers", choice.key)]
            for pairs in iter_pairwise_resets(layers=most_harmful(study), **self._asked(choice)):
                yield {"pairs": _named(choice.split, pairs)}

        return Step({"pairs": ("pairs", choice.key)}, make)

    def _where(self, choice: LayerChoice) -> dict[str, Any]:
        """Return the arguments of every measurement: of which model, on which rows and samples."""
        evaluator = self.evaluators[choice.split]
        samples = None if choice.samples is None else min(choice.samples, evaluator.n)
        return {"evaluator": evaluator, "run": self.run, "unit": choice.unit, "part": choice.part, "samples": samples,
                "batchnorm": choice.batchnorm}  # fmt: skip

    def _asked(self, choice: LayerChoice) -> dict[str, Any]:
        """Return these, and what is put in the place of a layer."""
        drawn = {"initializer": self.initializer} if choice.kind == "rerandomise" else {}
        return {**self._where(choice), "kind": choice.kind, **choice.how, **drawn}


def most_harmful(study: LayerStudy) -> list[str]:
    """Return the layers of a study whose pairs can be measured, in the order of the network: of many, the most harmful ones."""
    able = [number for number, name in enumerate(study.layers) if name not in study.problems]
    harm = study.loss_rise if np.isnan(study.criticality).all() else study.criticality
    worst = sorted(able, key=lambda number: -np.nan_to_num(harm[number], nan=-np.inf))[:MOST]
    return [study.layers[number] for number in sorted(worst)]


def _named(split: str, result: Any) -> Any:
    """Return a result under the name that the user gave the split here."""
    return replace(result, provenance={**result.provenance, "split": split})
