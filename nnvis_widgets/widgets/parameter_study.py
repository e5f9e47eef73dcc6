"""What a parameter explorer measures: a choice of weights between checkpoints, turned into a step of work.

May import: core, experiments, results, jobs, numpy, path_study; no widgets. It is what is left of the explorer when the screen is
taken away.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..experiments.parameters import iter_parameters
from ..jobs import Step
from ..results import ParameterScan, Result
from .path_study import PathStudy, grid

KEPT = 64 * 2**20  # bytes of resampled curves of the scans that were looked at last
FILED = 8 * 2**20  # bytes of them in a file, which has to pass through a browser


@dataclass(frozen=True)
class Choice:
    """Which weights, and what of their curves.

    Attributes
    ----------
    split : str
    scope : None, str, or (str, index)
    choose : {"distance", "effect", "random", "list"}
    weights : tuple
        For "list".
    count, seed : int
    alpha_range : (float, float)
    points : int
    samples : int or None
    """

    split: str
    scope: Any
    choose: str
    weights: tuple
    count: int
    seed: int
    alpha_range: tuple[float, float]
    points: int
    samples: int | None

    @property
    def key(self) -> Hashable:
        """What the measurement depends on: not on a list that is not asked for, nor on a seed that draws nothing."""
        listed = self.choose == "list"
        drawn = self.seed if self.choose in ("random", "effect") else None
        alphas = grid(self.alpha_range, self.points, (0.0, 0.5, 1.0)).tobytes()
        rest = self.weights if listed else self.count
        return self.split, repr(self.scope), self.choose, rest, drawn, alphas, self.samples


class ParameterStudy(PathStudy):
    """A run, evaluators of one model, and scans of single weights between its first and last checkpoint."""

    def scan_step(self, choice: Choice, mid: int | None, rules: Mapping[str, float], again: bool) -> Step:
        """Return the step that measures the weights of a choice with the mid checkpoint there.

        `again`: what is known of them cannot tell its confidences under these rules, and is kept beside.
        """
        evaluator = self.evaluators[choice.split]

        def make(_names: Sequence[str]) -> Iterator[Mapping[str, Result]]:
            scans = iter_parameters(
                evaluator, self.run, choice.scope, count=choice.count, mid=mid,
                choose=list(choice.weights) if choice.choose == "list" else choice.choose,
                alphas=grid(choice.alpha_range, choice.points, (0.0, 0.5, 1.0)), seed=choice.seed, samples=choice.samples,
                rules=dict(rules),
            )  # fmt: skip
            for scan in scans:  # under the name that the user gave the split here
                yield {"scan": replace(scan, provenance={**scan.provenance, "split": choice.split})}

        return Step({"scan": (choice.key, mid, tuple(sorted(rules.items()))) if again else (choice.key, mid)}, make)

    def values(self, checkpoint: int, scan: ParameterScan) -> np.ndarray:
        """Return the values of the weights of a scan at a checkpoint, shape (P,)."""
        state = self.state(checkpoint)
        return np.array([float(state[tensor][index]) for tensor, index in scan.index])


def follows(scan: ParameterScan, rules: Mapping[str, float]) -> bool:
    """Return whether these conventions are in force in a scan."""
    return all(scan.rules[name] == value for name, value in rules.items())


def retold(scan: ParameterScan, rules: Mapping[str, float]) -> bool:
    """Return whether a scan can tell its confidences, if it has any, under these conventions without being measured again."""
    return scan.resampled is not None or follows(scan, rules) or not np.isfinite(scan.votes).any()


def without_resamples(scan: ParameterScan, most: int) -> ParameterScan:
    """Return a scan without its resampled curves where these take more than so many bytes."""
    return replace(scan, resampled=None) if scan.resampled is not None and scan.resampled.nbytes > most else scan


def trim(known: MutableMapping[Hashable, Any], most: int) -> None:
    """Drop the resampled curves of scans, those that were looked at longest ago, so that all together take so many bytes."""
    for key, scan in reversed(list(known.items())):
        if isinstance(scan, ParameterScan) and scan.resampled is not None:
            most -= scan.resampled.nbytes
            if most < 0:
                known[key] = replace(scan, resampled=None)
